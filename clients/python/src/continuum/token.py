"""Tokens: asked for anew at each connection, and before the one in use ends.

Owns: where a token comes from, and when it ends as far as it says so. Must not know: whether it holds; only the node can tell.
"""

from __future__ import annotations

import asyncio
import base64
import inspect
import json
from collections.abc import Awaitable, Callable

Source = str | Callable[[], str | Awaitable[str]] | None
"""A token, or what gives one, or none where the node asks for none."""

_EARLY_S = 60.0
"""How long before its end a token is renewed, at most; of a short one, when a fifth is left."""


class TokenFailed(Exception):
    """What gives tokens gave none."""


class Tokens:
    """Where tokens come from."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.given = asyncio.Event()
        """Is set when somebody gives another one."""

    @property
    def is_asked(self) -> bool:
        """Whether another one can be had without anybody doing something."""
        return callable(self._source)

    def give(self, source: Source) -> None:
        """From now on this one."""
        self._source = source
        self.given.set()

    async def get(self) -> str | None:
        """The one to show now; raises `TokenFailed`."""
        source = self._source
        if not callable(source):
            return source
        try:
            token = source()
            return await token if inspect.isawaitable(token) else token
        except Exception as error:
            # Whatever went wrong there may go right the next time.
            raise TokenFailed(f"no token was given: {error}") from error


def ends_at(token: str | None) -> float | None:
    """When a JWT says that it ends, in seconds since 1970; `None` where it does not say."""
    parts = (token or "").split(".")
    if len(parts) != 3:
        return None
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
        end = claims["exp"]
    except (ValueError, KeyError, TypeError):
        return None
    return float(end) if isinstance(end, int | float) else None


def renewal_in(end: float | None, wall: float) -> float | None:
    """Seconds until a token that ends then is renewed."""
    if end is None:
        return None
    left = end - wall
    return max(0.0, left - min(_EARLY_S, left / 5))
