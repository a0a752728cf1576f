"""The client: what a program does with a room.

Owns: the client's life, and that a write is kept before the call returns. Must not know: how what is kept reaches the node.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import uuid
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from . import journal, mirror
from .address import Address
from .errors import Blocked, Closed, Refused
from .events import Event, HistoryPage, Subscription
from .handles import Entity, Op
from .interests import View
from .journal import DeadLetter, Settled
from .lead import Lead
from .lines import conflicts
from .mirror import Seen
from .options import Options
from .presence import Presence
from .room import Room, Signal
from .status import Status
from .store import Care, Store
from .streams import Pulse, Stream
from .token import Source
from .told import Key
from .wire import Json, check, check_entity, is_signal, matches
from .writes import Writes

log = logging.getLogger("continuum")

T = TypeVar("T")

_FIRST_STATE_S = 2.0
"""How long the first who asks for an entity waits for the room's state, while there is a connection."""


class Client:
    """A room, as one instance has it. Use it with `async with`.

    Takes what `Options` has, by name: `Client("ws://localhost:8420", instance="claude-1", journal="~/.local/state/claude-1")`.
    """

    def __init__(self, url: str = "ws://localhost:8420", **options: Any) -> None:
        self._options = Options(url=url, **options)
        if not self._options.instance:
            raise ValueError("'instance' is missing: say who this is in the room")
        self._room: Room | None = None
        self._work: asyncio.Task[None] | None = None
        self._writes: Writes | None = None
        self._lead: Lead | None = None

    # --- Life ---

    async def __aenter__(self) -> Client:
        await self.open()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        await self.close()

    async def open(self) -> Client:
        """Opens the journal and begins to connect; does not wait for the connection."""
        if self._room is not None:
            if self._room.is_closed:
                raise Closed
            return self
        options = self._options
        path = None if options.journal is None else Path(options.journal).expanduser()
        store = Store(path)
        await store.open()
        address = Address(
            options.url,
            options.tenant,
            options.instance,
            options.user,
            options.user_name,
            None if options.types is None else tuple(options.types),
            tuple(options.capabilities),
        )
        owner = f"{options.tenant} {options.instance}"
        try:
            replica = await store.run(lambda db: journal.claim(db, owner, options.instance), Care.SURE)
            told = await store.run(journal.last_told)
            was_kept = await store.run(lambda db: mirror.whole(db) is not None or bool(journal.entities(db)))
        except BaseException:
            await store.close()
            raise
        room = self._room = Room(options, address, store, replica)
        self._writes = Writes(room)
        if options.entities is not None or was_kept:
            self._keep_entities(room)
        await room.count()
        self._lead = Lead(room, told)
        self._work = asyncio.create_task(self._lead.run(), name=f"continuum {owner}")
        self._work.add_done_callback(self._ended)
        return self

    async def close(self, flush: float = 5.0) -> int:
        """Sends what it can in so many seconds, and ends. Gives how many writes are left for the next who opens the journal."""
        room, work = self._room, self._work
        if room is None or work is None or room.is_closed:
            return 0
        await self._to_write.done()
        if room.connection.state == "online":
            with contextlib.suppress(Closed):
                await room.until(lambda: room.pending == 0, flush)
        left = room.pending
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
        self._end(room)
        await room.store.close()
        return left

    def _ended(self, work: asyncio.Task[None]) -> None:
        """The task behind it never ends by itself; if it does, whoever waits must not wait for ever."""
        if self._room is not None and not work.cancelled() and work.exception() is not None:
            log.error("the client ends: %r", work.exception())
            self._end(self._room)

    def _end(self, room: Room) -> None:
        room.is_closed = True
        room.tell(room.now("closed"))
        for stream in (room.signals, room.presence, room.statuses):
            stream.end()
        for subscription in list(room.subscriptions):
            subscription.end()
        for view in list(room.views.values()):
            view.close()
        for future in room.fates.values():
            if not future.done():
                future.set_exception(Closed())
                future.exception()
        room.touch(list(room.changed))

    # --- How it stands ---

    @property
    def status(self) -> Status:
        """The connection's status, how fresh what is here is, and where writes are kept."""
        return self._open.status

    def statuses(self) -> Stream[Status]:
        """Every change of the status."""
        return self._open.statuses.open()

    async def online(self, timeout: float | None = None) -> None:
        """Waits until there is a connection and all that was missed is here; raises `Blocked` or `TimeoutError`."""
        room = self._open

        def holds() -> bool:
            if room.connection.state == "blocked":
                raise Blocked(room.connection.code or "blocked", room.connection.message or "")
            is_fresh = room.is_fresh or not room.is_leading
            return room.connection.state == "online" and is_fresh and (room.keeps == () or room.has_state)

        if not await room.until(holds, timeout):
            raise TimeoutError(f"not online: {room.connection}")

    def connect_now(self) -> None:
        """Tries at once, instead of when its time comes; also after `blocked`."""
        if self._lead is not None and not self._open.is_closed:
            self._lead.connect_now()

    def give_token(self, token: Source) -> None:
        """From now on this token; on an open connection it is shown at once."""
        self._open.tokens.give(token)

    # --- Events ---

    async def publish(self, event_type: str, data: Json = None, event_id: str | None = None) -> Op:
        """Tells everybody that something happened. When this returns it is kept, and reaches the room when it can, once.

        A call that is cancelled may have been kept all the same; it is sent then."""
        return await self._to_write.event(event_type, data, event_id)

    def subscribe(self, *types: str, own: bool = False, changes: bool = False) -> Subscription:
        """Events of these types (all, without any), from now on. `own`: also one's own; `changes`: also those of entities."""
        room = self._open
        me = room.address.instance

        def wants(event: Event) -> bool:
            return (own or event.instance != me) and (changes or not event.is_change)

        async def read(after: int, wanted: Sequence[str] | None) -> HistoryPage:
            cursor = await room.cursor()
            return await room.history(f"{cursor.epoch if cursor else ''}.{after}", 500, wanted)

        subscription = Subscription(types or None, wants, read, Pulse(), room.subscriptions.discard, room.clock, room.options.queue)
        room.subscriptions.add(subscription)
        return subscription

    async def history(self, after: str = "earliest", limit: int = 100, types: Sequence[str] | None = None) -> HistoryPage:
        """A page of the room's past, behind a cursor, a time or `earliest`. Go on with its `cursor` while there is `more`."""
        return await self._open.history(after, limit, types)

    async def replay(self, after: str = "earliest", types: Sequence[str] | None = None) -> AsyncIterator[Event]:
        """All of the room's past, up to now."""
        more = True
        while more:
            page = await self.history(after, 500, types)
            for event in page.events:
                yield event
            after, more = page.cursor, page.more

    # --- Entities ---

    def entity(self, entity_type: str, entity_id: str) -> Entity:
        """An entity, whether it is there or not."""
        check_entity(entity_type, entity_id)
        return Entity(self, Key(entity_type, entity_id))

    async def change(
        self,
        entity_type: str,
        entity_id: str,
        action: str,
        *,
        base: int | None = None,
        seen: str | None = None,
        **fields: Any,
    ) -> Op:
        """Changes an entity, by `action` (`create`, `update`, `put`, `delete`, `restore`, `resolve`) and an operation's fields
        (`patch`, `data`, `ops`, `text`, `strategy`…). When this returns it is kept."""
        key = Key(entity_type, entity_id)
        check_entity(*key)
        await self._entities()
        return await self._to_write.operation(key, base, {"action": action, **fields}, seen)

    async def see(self, entity_type: str, entity_id: str) -> Seen:
        """An entity as it is seen here, with what is pending."""
        await self._entities()
        return await self._open.run(lambda db: mirror.see(db, Key(entity_type, entity_id)))

    async def entities(self, entity_type: str | None = None) -> Sequence[Seen]:
        """All entities that are there, of a type or of all, as they are seen here."""
        await self._entities()
        found = await self._open.run(lambda db: [mirror.see(db, key) for key in mirror.keys(db, entity_type)])
        return [seen for seen in found if seen.data is not None]

    def pulse(self, key: Key) -> Pulse:
        """Beats when an entity may look otherwise."""
        return self._open.changed.setdefault(key, Pulse())

    async def conflicts(self) -> Sequence[dict[str, Json]]:
        """What lies open in the room, as the node has it now, each with the version of its entity that is `seen` here."""
        await self._entities()
        room = self._open
        room.conflicts = (await conflicts(room)).found
        room.say()
        return self.open_conflicts

    @property
    def open_conflicts(self) -> Sequence[dict[str, Json]]:
        """The same, as far as was asked; `status.sync.conflicted` of them."""
        room = self._open
        room.shown = {str(one["conflict_id"]): int(one["seen"]) for one in room.conflicts}
        return list(room.conflicts)

    def shown(self, conflict_id: str) -> int:
        """With which version of its entity a conflict was handed out the last time; 0: it was not."""
        return self._open.shown.get(conflict_id, 0)

    # --- What was written ---

    async def settled(self, op_id: str, timeout: float | None = None) -> Settled:
        """Waits until a write's fate is known, also one of an earlier run on the same journal."""
        return await asyncio.wait_for(self._open.fate(op_id), timeout)

    async def flushed(self, timeout: float | None = None) -> bool:
        """Waits until nothing is pending; whether that is so."""
        room = self._open
        return await room.until(lambda: room.pending == 0, timeout)

    async def dead_letters(self) -> Sequence[DeadLetter]:
        """Writes that were refused for good, with the reasons."""
        return await self._open.run(journal.dead_letters)

    async def retry(self, op_id: str) -> Op:
        """Writes a dead letter once more, as another attempt of the same: on what its author had seen then, unless the refusal says
        that this stands no more. It is a dead letter until that is kept."""
        return await self._to_write.again(op_id)

    async def drop(self, op_id: str) -> None:
        """Forgets a dead letter."""
        letter = await self._open.run(lambda db: journal.take_dead(db, op_id), Care.SURE)
        if letter is None:
            raise Refused("not_found", f"there is no dead letter {op_id}")
        await self._open.count()

    # --- Of the moment ---

    @property
    def presence(self) -> Presence:
        """Who else is here."""
        return Presence(self._open)

    def signal(self, event_type: str, data: Json = None) -> None:
        """Tells those who are here now, and nobody later; raises `NotOnline` while nobody can be told."""
        room = self._open
        if not is_signal(event_type):
            raise Refused("invalid_type", f"'{event_type}' is no signal; those are cursor.move, typing, signal.*…")
        room.need_online("signals", socket=True)
        message = {"event_type": event_type, "data": {} if data is None else data}
        check(message, "the signal", room.message_bytes)
        room.send_now(message)

    def signals(self, *types: str) -> Stream[Signal]:
        """What others signal from now on; who reads slowly loses the oldest, which is counted."""
        return self._open.signals.open(lambda signal: matches(types or None, signal.type))

    # --- Parts of the state ---

    def follow_region(self, x: float, y: float, width: float, height: float) -> View:
        """The nodes in a rectangle, and the edges between them."""
        return self.follow({"region": {"x": x, "y": y, "width": width, "height": height}})

    def follow_neighbours(self, node: str, hops: int = 1) -> View:
        """The nodes around one, and the edges between them."""
        return self.follow({"region": {"node": node, "hops": hops}})

    def follow_ids(self, *keys: tuple[str, str]) -> View:
        """Some entities, by type and id."""
        return self.follow({"ids": [{"entity_type": kind, "entity_id": name} for kind, name in keys]})

    def follow_query(self, entity_type: str, where: str | None = None) -> View:
        """The entities of a type for which a CEL expression is true."""
        return self.follow({"query": {"entity_type": entity_type, **({} if where is None else {"where": where})}})

    def follow(self, asked: dict[str, Json]) -> View:
        """The same, in the protocol's words."""
        room = self._open

        def closed(view: View) -> None:
            if room.views.pop(view.name, None) is not None:
                room.send_now({"event_type": "unsubscribe", "data": {"subscriptions": [view.name]}})

        view = View(f"v-{uuid.uuid4().hex[:12]}", asked, closed)
        room.views[view.name] = view
        # Without a connection it is asked for when there is one.
        room.send_now(view.question(room.keeps != ()))
        return view

    # --- Inside ---

    @property
    def _open(self) -> Room:
        if self._room is None or self._room.is_closed:
            raise Closed
        return self._room

    @property
    def _to_write(self) -> Writes:
        if self._writes is None or self._open.is_closed:
            raise Closed
        return self._writes

    def _keep_entities(self, room: Room) -> None:
        wanted = self._options.entities
        room.keeps = None if wanted is None or wanted == "all" else tuple(wanted)

    async def _entities(self) -> None:
        """From now on entities are kept here."""
        room = self._open
        if room.keeps == ():
            self._keep_entities(room)
            room.want_entities()
            for view in room.views.values():
                room.send_now(view.question(keeps_entities=True))
        if not room.has_state and room.connection.state == "online":
            await room.until(lambda: room.has_state or room.connection.state != "online", _FIRST_STATE_S)
