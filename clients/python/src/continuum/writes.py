"""Writes, from the call until they are kept.

Owns: that what the journal took is counted and sent, also when nobody waits for the call any more, and that nothing is taken twice.
Must not know: how what is kept reaches the node.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable

from . import journal, mirror
from .errors import Refused, StorageFailed
from .handles import Op
from .room import Room
from .store import Care, Db
from .told import Key
from .wire import Json, check, check_event_type

Kept = tuple[str, int, dict[str, Json] | None]
"""A write's id, its number, and how its entity looks with it."""


class Writes:
    """Puts writes into the journal."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self._keeping: set[asyncio.Task[Op]] = set()

    async def event(self, kind: str, data: Json, event_id: str | None) -> Op:
        """An event. The same id again is the same write."""
        check_event_type(kind)
        name, body = event_id or str(uuid.uuid4()), {"data": {} if data is None else data}
        check({"event_type": kind, "event_id": name, **body}, "the event", self._room.message_bytes)

        def write(db: Db) -> Kept:
            known = journal.find(db, name)
            if known is not None:
                if (known.kind, known.entity, known.body) != (kind, None, body):
                    raise Refused("duplicate_id", f"something else waits under the id {name}")
                return name, known.number, None
            self._check_space(db)
            return name, journal.append(db, name, kind, None, None, body, None, self._now_ms()), None

        return await self._keep(write)

    async def operation(self, key: Key, base: int | None, body: dict[str, Json], seen: str | None) -> Op:
        """A change of an entity."""
        name = str(uuid.uuid4())
        as_sent = {"event_type": "sync_event", "event_id": name, "data": {"event": {"entity_id": key.id, **body}}}
        check(as_sent, "the operation", self._room.message_bytes - 512)

        def write(db: Db) -> Kept:
            self._check_space(db)
            return name, *mirror.write(db, name, key, base, body, seen, self._now_ms())

        return await self._keep(write, key)

    async def again(self, refused: str) -> Op:
        """Another attempt of what was refused."""
        name = str(uuid.uuid4())

        def write(db: Db) -> Kept:
            kept = mirror.retry(db, refused, name, self._now_ms())
            if kept is None:
                raise Refused("not_found", f"there is no dead letter {refused}")
            return name, *kept

        return await self._keep(write)

    async def done(self) -> None:
        """Waits until the journal has answered all calls."""
        await asyncio.gather(*self._keeping, return_exceptions=True)

    async def _keep(self, write: Callable[[Db], Kept], key: Key | None = None) -> Op:
        keeping = asyncio.create_task(self._kept(write, key))
        self._keeping.add(keeping)
        keeping.add_done_callback(self._keeping.discard)
        # Whoever does not wait for it any more cannot take it back either.
        return await asyncio.shield(keeping)

    async def _kept(self, write: Callable[[Db], Kept], key: Key | None) -> Op:
        room = self._room
        (name, number, optimistic), counts = await room.run(lambda db: (write(db), journal.counts(db)), Care.SURE)
        room.counted(counts)
        room.touch([] if key is None else [key])
        room.wake()
        return Op(room, name, number, optimistic)

    def _check_space(self, db: Db) -> None:
        used, most = journal.counts(db).size, self._room.options.journal_bytes
        if used >= most:
            raise StorageFailed("journal_full", f"{used} bytes wait, of {most} that may: wait until the node can be reached")

    def _now_ms(self) -> int:
        return int(self._room.clock.wall() * 1000)
