"""What a connection to a room is, whatever carries it: texts in, texts out, and an end with a reason.

Owns: the reasons for which there is none, and which of them pass by themselves. Must not know: what the texts say.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import ssl
from collections.abc import Mapping
from typing import Any, Protocol

import websockets.asyncio.client
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI

from .backoff import followed

JOIN_S = 20.0
"""Longest time for connection, upgrade and first message together."""
_MOST_BYTES = 64 << 20
_FINAL_CODES = {
    1002: "protocol_error",
    1007: "invalid_json",
    4001: "unauthenticated",
    4003: "invalid_messages",
    4009: "replaced",
    4012: "rule_refused",
    4013: "tenant_erased",
}


class Ended(Exception):
    """The connection ended, or none came about; it is tried again."""

    def __init__(self, reason: str, hint_ms: int | None = None) -> None:
        super().__init__(reason)
        self.hint_ms = hint_ms


class NoWebSocket(Ended):
    """Something on the way does not let this way of connecting through, or does not speak it."""

    def __init__(self, reason: str, hint_ms: int | None = None, is_definite: bool = False) -> None:
        super().__init__(reason, hint_ms)
        self.is_definite = is_definite
        """It was refused, and did not merely break off."""


class Final(Exception):
    """Connecting again can only end the same way."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class Transport(Protocol):
    """A connection to a room. What it receives are a node's messages, whatever it has to do for that."""

    name: str
    """`websocket`, `sse` or `poll`."""

    async def receive(self) -> str | bytes:
        """The next message; raises `Ended` or `Final`."""

    async def send(self, text: str) -> None:
        """Sends a message; raises `Ended`."""

    async def close(self) -> None:
        """Ends it cleanly."""


class WebSocketTransport:
    """The usual one."""

    name = "websocket"

    def __init__(self, socket: websockets.asyncio.client.ClientConnection) -> None:
        self._socket = socket

    @classmethod
    async def open(cls, url: str, token: str | None, tls: ssl.SSLContext | None) -> WebSocketTransport:
        """Connects and upgrades; raises `Ended` or `Final`."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        # Without a context of one's own, what the system trusts is trusted.
        trusted: dict[str, Any] = {"ssl": tls} if tls is not None and url.startswith("wss:") else {}
        try:
            socket = await websockets.asyncio.client.connect(
                url,
                additional_headers=headers,
                open_timeout=JOIN_S,
                close_timeout=2.0,
                # Whether the node still lives is asked by messages, under the client's own clock.
                ping_interval=None,
                compression=None,
                max_size=_MOST_BYTES,
                max_queue=64,
                **trusted,
            )
        except InvalidStatus as error:
            raise refusal(error.response.status_code, error.response.headers, bytes(error.response.body or b"")) from error
        except (InvalidHandshake, EOFError) as error:
            raise NoWebSocket(f"no WebSocket comes about: {error}") from error
        except InvalidURI as error:
            raise Final("invalid_parameter", str(error)) from error
        except TimeoutError as error:
            raise NoWebSocket("the node did not answer in time") from error
        except ssl.SSLCertVerificationError as error:
            raise Final("untrusted", f"the node does not prove who it is: {error}") from error
        except OSError as error:
            raise Ended(f"cannot reach {url.partition('?')[0]}: {error}") from error
        return cls(socket)

    async def receive(self) -> str | bytes:
        try:
            return await self._socket.recv()
        except ConnectionClosed as closed:
            raise self._end(closed) from closed

    async def send(self, text: str) -> None:
        try:
            await self._socket.send(text)
        except ConnectionClosed as closed:
            raise self._end(closed) from closed

    async def close(self) -> None:
        with contextlib.suppress(OSError, asyncio.TimeoutError):
            await self._socket.close()

    @staticmethod
    def _end(closed: ConnectionClosed) -> Exception:
        frame = closed.rcvd
        if frame is None:
            return Ended(f"the connection broke: {closed}")
        words = frame.reason or "closed by the node"
        if frame.code in _FINAL_CODES:
            return Final(_FINAL_CODES[frame.code], words)
        said = re.search(r"retry in (\d+) ms", words) if frame.code == 1012 else None
        return Ended(f"{words} ({frame.code})", followed(int(said[1])) if said else None)


def refusal(status: int, headers: Mapping[str, str], body: bytes) -> Exception:
    """What an answer other than the one that was asked for means for the connection."""
    try:
        problem = json.loads(body)
        code = problem["code"]
        words = problem.get("detail") or problem.get("title") or code
    except (ValueError, KeyError, TypeError):
        # No node of ours says this: it is something on the way.
        return NoWebSocket(f"the answer was HTTP {status}", retry_after(headers), is_definite=True)
    if status in (408, 425, 429) or status >= 500:
        return Ended(f"{words} ({code})", retry_after(headers))
    if code == "upgrade_required":
        return NoWebSocket(words, is_definite=True)
    return Final(str(code), str(words))


def retry_after(headers: Mapping[str, str]) -> int | None:
    """`Retry-After` in ms, as long as is followed."""
    said = headers.get("Retry-After") or ""
    return followed(int(said) * 1000) if said.isascii() and said.isdigit() else None
