"""Tokens: asked for anew at each connection, and before the one in use ends.

Owns: where a token comes from, and when it ends as far as it says so. Must not know: whether it holds; only the node can tell.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import inspect
import json
from collections.abc import Awaitable, Callable
from datetime import datetime

from .clock import Clock, within

Source = str | Callable[[], str | Awaitable[str]] | None
"""A token, or what gives one, or none where the node asks for none."""

AGAIN_S = 10.0
"""Pause before another token is asked for where none came, or the one that is in use."""
_PATIENCE_S = 20.0
_EARLY_S = 60.0
"""How long before its end a token is renewed, at most; of a short one, when a fifth is left."""


class TokenFailed(Exception):
    """What gives tokens gave none."""


class Tokens:
    """Where tokens come from."""

    def __init__(self, source: Source, clock: Clock) -> None:
        self._source = source
        self._clock = clock
        self.shown: str | None = None
        """The one that the present connection was made with, or was shown since."""
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
            return await within(self._clock, _PATIENCE_S, token) if inspect.isawaitable(token) else token
        except TimeoutError as error:
            raise TokenFailed("no token was given in time") from error
        except Exception as error:
            # Whatever went wrong there may go right the next time.
            raise TokenFailed(f"no token was given: {error}") from error


def ends_at(token: str | None) -> float | None:
    """When a JWT says that it ends, in seconds since 1970; `None` where it does not say."""
    return _claim(token, "exp")


def renewal_in(token: str | None, end: float | None, wall: float) -> float | None:
    """Seconds until a token that ends then, by this machine's clock, is renewed; at least `AGAIN_S`, or of one that says how long
    it lives a tenth of that: with a clock that is wrong it must not be asked for all the time."""
    if end is None:
        return None
    left, life = end - wall, _life(token)
    return max(AGAIN_S if life is None else life / 10, left - min(_EARLY_S, left / 5))


def _life(token: str | None) -> float | None:
    end, begin = ends_at(token), _claim(token, "iat")
    return end - begin if end is not None and begin is not None and end > begin else None


def _claim(token: str | None, name: str) -> float | None:
    parts = (token or "").split(".")
    if len(parts) != 3:
        return None
    try:
        said = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))[name]
    except (ValueError, KeyError, TypeError):
        return None
    return float(said) if isinstance(said, int | float) else None


def end_of(said: object, otherwise: float | None) -> float | None:
    """When a token ends, as the node says it: seconds since 1970, or RFC 3339."""
    if isinstance(said, int | float):
        return float(said)
    if isinstance(said, str):
        with contextlib.suppress(ValueError):
            return datetime.fromisoformat(said).timestamp()
    return otherwise
