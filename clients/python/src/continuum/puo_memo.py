"""The client that PUO Memo's users know, on the second envelope (`/ws`): handlers by message type, and one loop that never ends.

Owns: the names of that client. Must not know: entities, journals; who wants those takes `continuum.Client`.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
import os
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from .backoff import Backoff
from .transport import Ended, Final, WebSocketTransport

log = logging.getLogger("continuum")


class PuoMemoWebSocket:
    """Real-time updates of memories."""

    def __init__(self, token: str, url: str | None = None, reconnect_interval: float = 5) -> None:
        """`url` is that of the path `/ws`; without it, what `CONTINUUM_URL` says."""
        root = os.environ.get("CONTINUUM_URL", "ws://localhost:8420").rstrip("/")
        self.token = token
        self.url = url or f"{root}/ws"
        self.reconnect_interval = reconnect_interval
        """Seconds at most between two attempts, unless the node says otherwise."""
        self.handlers: dict[str, list[Callable[..., Any]]] = {}
        self._ws: WebSocketTransport | None = None
        self._stopped = asyncio.Event()
        self._cursor: str | None = None
        self._instance = f"puo-memo-{uuid.uuid4().hex[:12]}"

    async def connect(self) -> None:
        """Connects and calls handlers, again after every end, until `disconnect`. What was missed meanwhile comes then."""
        self._stopped.clear()
        backoff = Backoff()
        while not self._stopped.is_set():
            try:
                await self._once(backoff)
            except Final as final:
                log.error("the node does not let us in: %s", final)
                raise
            except Ended as ended:
                if self._stopped.is_set():
                    return
                drawn = int.from_bytes(os.urandom(4)) / 2**32
                hint = ended.hint_ms
                delay = min(backoff.failed(drawn) / 1000, self.reconnect_interval) if hint is None else hint / 1000
                log.info("WebSocket disconnected (%s); reconnecting in %.1f seconds", ended, delay)
                try:
                    await asyncio.wait_for(self._stopped.wait(), delay)
                except TimeoutError:
                    continue

    async def _once(self, backoff: Backoff) -> None:
        asked = {"instance_id": self._instance} | ({"since": self._cursor} if self._cursor else {})
        mark = "&" if "?" in self.url else "?"
        ws = await WebSocketTransport.open(f"{self.url}{mark}{urlencode(asked)}", self.token, None)
        self._ws = ws
        began = asyncio.get_running_loop().time()
        try:
            log.info("WebSocket connected")
            await self.send("subscribe", {"channels": ["memories", "tenant.updates"]})
            while True:
                await self._handle_message(await ws.receive())
        finally:
            self._ws = None
            backoff.lived((asyncio.get_running_loop().time() - began) * 1000)
            await ws.close()

    async def disconnect(self) -> None:
        """Ends it."""
        self._stopped.set()
        if self._ws is not None:
            await self._ws.close()

    async def send(self, message_type: str, data: dict[str, Any] | None = None) -> None:
        """Sends a message, if there is a connection."""
        if self._ws is None:
            log.warning("WebSocket not connected")
            return
        message: dict[str, Any] = {
            "id": str(uuid.uuid4()),
            "type": message_type,
            "timestamp": datetime.now(UTC).isoformat(),
        }
        if data is not None:
            message["data"] = data
        await self._ws.send(json.dumps(message))

    def on(self, event: str, handler: Callable[..., Any]) -> None:
        """Calls a function with the `data` of each message of a type."""
        self.handlers.setdefault(event, []).append(handler)

    def off(self, event: str, handler: Callable[..., Any]) -> None:
        """Calls it no more."""
        if handler in self.handlers.get(event, []):
            self.handlers[event].remove(handler)

    async def _handle_message(self, raw_message: str | bytes) -> None:
        try:
            message = json.loads(raw_message)
            message_type, data = message["type"], message.get("data")
        except (ValueError, KeyError, TypeError):
            log.error("not a message: %r", raw_message)
            return
        if isinstance(data, dict) and isinstance(data.get("cursor"), str):
            self._cursor = data["cursor"]
        elif "seq" in message and self._cursor is not None:
            self._cursor = f"{self._cursor.partition('.')[0]}.{message['seq']}"
        for handler in list(self.handlers.get(message_type, [])):
            try:
                result = handler(data)
                if inspect.isawaitable(result):
                    await result
            except Exception:
                # One who hears badly must not keep the others from hearing.
                log.exception("a handler of %s failed", message_type)
