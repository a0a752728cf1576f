"""Parts of the shared state that are followed: a region, some entities, or what a query finds.

Owns: the result as it stands, made anew whenever the node begins it anew. Must not know: connections.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from types import TracebackType

from .errors import Refused
from .streams import Pulse
from .told import Key
from .wire import Json, Message


class View(AsyncIterator["View"]):
    """A part of the shared state, as it stands. Iterated, it gives itself whenever something changed in it."""

    def __init__(self, name: str, asked: dict[str, Json], closed: Callable[[View], None]) -> None:
        self.name = name
        self._asked = asked
        self._closed = closed
        self._pulse = Pulse()
        self._beat = self._pulse.next()
        self._entities: dict[Key, dict[str, Json]] = {}
        self._versions: dict[Key, int] = {}
        self._is_whole = False
        self._refusal: Refused | None = None
        self._is_over = False

    @property
    def entities(self) -> dict[Key, dict[str, Json]]:
        """What is in it now."""
        return dict(self._entities)

    @property
    def is_whole(self) -> bool:
        """Whether all of it is here; not while its parts are coming."""
        return self._is_whole

    def version(self, key: Key) -> int:
        """An entity's version; 0: it is not in it."""
        return self._versions.get(key, 0)

    async def ready(self) -> View:
        """Waits until all of it is here; raises `Refused`."""
        while True:
            beat = self._pulse.next()
            if self._refusal is not None:
                raise self._refusal
            if self._is_whole:
                return self
            await beat.wait()

    def question(self) -> dict[str, Json]:
        """What asks the node for it. It must not keep records from whoever keeps entities."""
        return {"event_type": "subscribe", "data": {"subscription": self.name, "mute": False, **self._asked}}

    def hear(self, message: Message) -> None:
        """Takes a part of the result, or what changed in it."""
        data = message.fields
        if message.type.endswith((".sync", ".results")):
            if data["part"] == 1:
                self._entities.clear()
                self._versions.clear()
                self._is_whole = False
            for kind in ("node", "edge"):
                for one in data.get(f"{kind}s") or []:
                    rest = {name: value for name, value in one.items() if name not in ("id", "version")}
                    self._put(Key(kind, one["id"]), int(one["version"]), rest)
            for one in data.get("results") or []:
                self._put(Key(one["entity_type"], one["entity_id"]), int(one["version"]), one["data"])
            self._is_whole = bool(data["done"])
        else:
            for one in [*(data.get("entered") or []), *(data.get("changed") or [])]:
                self._put(Key(one["entity_type"], one["entity_id"]), int(one["version"]), one["data"])
            for one in data.get("left") or []:
                key = Key(one["entity_type"], one["entity_id"])
                self._entities.pop(key, None)
                self._versions.pop(key, None)
        self._pulse.beat()

    def refuse(self, data: dict[str, Json]) -> None:
        """The node does not give it, or not any more."""
        self._refusal = Refused(str(data.get("code")), str(data.get("message")), data.get("retry_after_ms"))
        self._pulse.beat()

    def close(self) -> None:
        """It is not wanted any more."""
        self._is_over = True
        self._closed(self)
        self._pulse.beat()

    def _put(self, key: Key, version: int, data: dict[str, Json]) -> None:
        self._entities[key] = data
        self._versions[key] = version

    def __aiter__(self) -> View:
        return self

    async def __anext__(self) -> View:
        while True:
            await self._beat.wait()
            self._beat = self._pulse.next()
            if self._refusal is not None:
                raise self._refusal
            if self._is_over:
                raise StopAsyncIteration
            if self._is_whole:
                return self

    async def __aenter__(self) -> View:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()
