"""The helpers of CONTINUUM's integration: tell the other instances what was remembered, learned and decided, and hear it.

Owns: one client for each tenant and instance that is spoken for. Must not know: how a client does it.

Where the node is and as whom it is asked stands in `CONTINUUM_URL`, `CONTINUUM_TOKEN`, `CONTINUUM_INSTANCE` and
`CONTINUUM_JOURNAL` (a directory; with it nothing is lost that was broadcast), or is said to `get_sync_manager().configure`.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

from .client import Client
from .errors import ContinuumError
from .events import Event
from .journal import Settled
from .rest import ask

log = logging.getLogger("continuum")

Handler = TypeVar("Handler", bound=Callable[..., Any])

_PATIENCE_S = 2.0
"""How long a broadcast waits for the node's answer; it goes on by itself after that."""


class EventType(StrEnum):
    """What instances tell each other."""

    MEMORY_ADDED = "memory_added"
    CONCEPT_LEARNED = "concept_learned"
    DECISION_MADE = "decision_made"
    INSTANCE_JOINED = "instance_joined"
    INSTANCE_LEFT = "instance_left"


@dataclass(frozen=True)
class SyncEvent:
    """Something that an instance told."""

    event_type: EventType
    tenant_id: str
    timestamp: str
    instance_id: str
    data: dict[str, Any] = field(default_factory=dict)


@dataclass
class _Loop:
    """What belongs to one event loop."""

    loop: asyncio.AbstractEventLoop
    clients: dict[tuple[str, str], Client] = field(default_factory=dict)
    listeners: dict[str, list[asyncio.Task[None]]] = field(default_factory=dict)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class SyncManager:
    """The clients that this program speaks through, and who wants to hear what."""

    def __init__(self) -> None:
        self._url: str | None = None
        self._token: str | None = None
        self._journal: str | None = None
        self._handlers: dict[EventType, list[Callable[..., Any]]] = {}
        self._here: _Loop | None = None

    def configure(self, url: str | None = None, token: str | None = None, journal: str | Path | None = None) -> None:
        """Where the node is, and where broadcasts are kept until it has them; before the first of them."""
        self._url, self._token = url or self._url, token or self._token
        self._journal = str(journal) if journal is not None else self._journal

    @property
    def url(self) -> str:
        """The node's base address."""
        return self._url or os.environ.get("CONTINUUM_URL") or "ws://localhost:8420"

    async def client(self, tenant_id: str, instance_id: str | None = None) -> Client:
        """The client of an instance, made when it is first asked for."""
        here = self._of_loop()
        instance = instance_id or os.environ.get("CONTINUUM_INSTANCE") or f"{socket.gethostname()}-{os.getpid()}"
        async with here.lock:
            known = here.clients.get((tenant_id, instance))
            if known is None:
                root = self._journal or os.environ.get("CONTINUUM_JOURNAL")
                journal = None if root is None else Path(root) / tenant_id / instance
                token = self._token or os.environ.get("CONTINUUM_TOKEN")
                known = Client(self.url, tenant=tenant_id, instance=instance, token=token, journal=journal)
                await known.open()
                here.clients[tenant_id, instance] = known
                # One client hears for all of its tenant: each event calls each handler once.
                if tenant_id not in here.listeners:
                    here.listeners[tenant_id] = self._listen(known, tenant_id)
        return known

    async def broadcast(
        self, event_type: EventType, tenant_id: str, instance_id: str | None, data: dict[str, Any]
    ) -> Settled | None:
        """Tells all instances of a tenant. Never fails for the node's sake: `None` says that it is on its way."""
        try:
            client = await self.client(tenant_id, instance_id)
            op = await client.publish(event_type.value, data)
            return await op.settled(_PATIENCE_S)
        except TimeoutError:
            return None
        except ContinuumError as error:
            log.warning("a broadcast was not taken: %s", error)
            return Settled("refused", code=error.code, message=error.message)

    def handle(self, event_type: EventType, handler: Callable[..., Any]) -> None:
        """Calls a function, or awaits a coroutine function, with each event of a type."""
        self._handlers.setdefault(event_type, []).append(handler)
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return
        self._listening = asyncio.create_task(self.listen())

    async def listen(self, tenant_id: str = "default", instance_id: str | None = None) -> None:
        """Begins to hear a tenant's events; the first broadcast in it does so too."""
        if tenant_id not in self._of_loop().listeners:
            await (await self.client(tenant_id, instance_id)).online(_PATIENCE_S)

    def get_stats(self) -> dict[str, Any]:
        """The node's figures: `total_connections`, `total_rooms`…"""
        figures: dict[str, Any] = self._get("/v1/stats")
        return figures

    def get_tenant_instances(self, tenant_id: str) -> list[dict[str, Any]]:
        """Who is connected in a tenant, on whichever node."""
        found: list[dict[str, Any]] = self._get(f"/v1/tenants/{tenant_id}/instances")["instances"]
        return found

    async def close(self) -> None:
        """Sends what it can, and ends all clients."""
        here, self._here = self._here, None
        if here is None or here.loop is not asyncio.get_running_loop():
            return
        tasks = [task for listener in here.listeners.values() for task in listener]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for client in here.clients.values():
            await client.close()

    def _get(self, path: str) -> Any:
        root = "http" + self.url.removeprefix("ws").removeprefix("http").rstrip("/")
        return ask("GET", root + path, token=self._token or os.environ.get("CONTINUUM_TOKEN"), timeout=5.0).json()

    def _of_loop(self) -> _Loop:
        loop = asyncio.get_running_loop()
        if self._here is None or self._here.loop is not loop:
            # What belonged to a loop that is over went with it.
            self._here = _Loop(loop)
        return self._here

    def _listen(self, client: Client, tenant_id: str) -> list[asyncio.Task[None]]:
        events = client.subscribe(own=True)
        changes = client.presence.changes()

        async def hear() -> None:
            async for event in events:
                await self._dispatch(_told(event, tenant_id))

        async def see() -> None:
            async for change in changes:
                names = {"joined": EventType.INSTANCE_JOINED, "left": EventType.INSTANCE_LEFT}
                if change.kind in names:
                    who = change.who
                    data = {"instance_id": who.instance, "connected_at": who.connected_at, "capabilities": list(who.capabilities)}
                    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
                    await self._dispatch(SyncEvent(names[change.kind], tenant_id, now, who.instance, data))

        return [asyncio.create_task(hear()), asyncio.create_task(see())]

    async def _dispatch(self, event: SyncEvent | None) -> None:
        if event is None:
            return
        for handler in self._handlers.get(event.event_type, []):
            try:
                result = handler(event)
                if inspect.isawaitable(result):
                    await result
            except Exception:
                # One who hears badly must not keep the others from hearing.
                log.exception("a handler of %s failed", event.event_type.value)


def _told(event: Event, tenant_id: str) -> SyncEvent | None:
    try:
        kind = EventType(event.type)
    except ValueError:
        return None
    data = event.data if isinstance(event.data, dict) else {}
    return SyncEvent(kind, tenant_id, event.timestamp, event.instance, data)


_manager = SyncManager()


def get_sync_manager() -> SyncManager:
    """The one of this program."""
    return _manager


def subscribe(event_type: EventType) -> Callable[[Handler], Handler]:
    """Calls the function below with each event of a type."""

    def decorate(handler: Handler) -> Handler:
        _manager.handle(event_type, handler)
        return handler

    return decorate


async def broadcast_memory_added(
    tenant_id: str,
    instance_id: str | None = None,
    user_message: str = "",
    ai_response: str = "",
    concepts_extracted: int = 0,
    **more: Any,
) -> Settled | None:
    """A message was stored."""
    data = {"user_message": user_message, "ai_response": ai_response, "concepts_extracted": concepts_extracted, **more}
    return await _manager.broadcast(EventType.MEMORY_ADDED, tenant_id, instance_id, data)


async def broadcast_concept_learned(
    tenant_id: str,
    instance_id: str | None = None,
    concept_name: str = "",
    concept_type: str | None = None,
    description: str | None = None,
    confidence: float | None = None,
    **more: Any,
) -> Settled | None:
    """A concept was extracted."""
    said = {"concept_type": concept_type, "description": description, "confidence": confidence}
    data = {"concept_name": concept_name, **{name: value for name, value in said.items() if value is not None}, **more}
    return await _manager.broadcast(EventType.CONCEPT_LEARNED, tenant_id, instance_id, data)


async def broadcast_decision_made(
    tenant_id: str,
    instance_id: str | None = None,
    decision: str = "",
    context: str | None = None,
    rationale: str | None = None,
    **more: Any,
) -> Settled | None:
    """A decision was recorded."""
    said = {"context": context, "rationale": rationale}
    data = {"decision": decision, **{name: value for name, value in said.items() if value is not None}, **more}
    return await _manager.broadcast(EventType.DECISION_MADE, tenant_id, instance_id, data)


def get_connection_stats() -> dict[str, Any]:
    """The node's figures."""
    return _manager.get_stats()


def get_tenant_instances(tenant_id: str) -> list[dict[str, Any]]:
    """Who is connected in a tenant."""
    return _manager.get_tenant_instances(tenant_id)
