"""A room as one client has it: what its parts share, whether this process leads the journal or another one does.

Owns: who waits for what, and telling them. Must not know: connections; what leads to what is written down by `taking`.
"""

from __future__ import annotations

import asyncio
import json
import weakref
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

from . import journal
from .address import Address
from .errors import Blocked, Closed, NotOnline, Refused
from .events import Event, HistoryPage, Subscription
from .journal import Settled
from .options import Options
from .rest import Answer, request
from .status import Connection, State, Status, Sync, freshness
from .store import Care, Db, Store, fact
from .streams import Pulse, Streams
from .token import Tokens
from .told import Key
from .tracker import Cursor, Tracker
from .wire import MESSAGE_BYTES, Json, Message

if TYPE_CHECKING:
    from .interests import View

T = TypeVar("T")


@dataclass(frozen=True)
class Signal:
    """Something of the moment that another member sent; it is stored nowhere."""

    type: str
    data: Json
    instance: str
    user: str | None


@dataclass(frozen=True)
class Instance:
    """A member of the room."""

    instance: str
    connected_at: str | None = None
    capabilities: tuple[str, ...] = ()
    user: str | None = None
    user_name: str | None = None
    data: Json = None
    """What it last said of itself."""


@dataclass(frozen=True)
class PresenceChange:
    """Somebody came, left, or said something of themselves."""

    kind: str
    """`joined`, `left` or `updated`."""
    who: Instance


class Room:
    """What the parts of a client share."""

    def __init__(self, options: Options, address: Address, store: Store, replica: str) -> None:
        self.options = options
        self.address = address
        self.store = store
        self.replica = replica
        self.clock = options.clock
        self.tokens = Tokens(options.token, self.clock)
        self.tracker = Tracker(echo=True)
        self.connection = Connection("idle", self.clock.wall())
        self.fresh_at: float | None = None
        self.is_fresh = False
        """All that the node has is here, and written down."""
        self.has_state = False
        self.keeps: tuple[str, ...] | None = ()
        """Types of entities that are kept: `()` none, `None` all."""
        self.message_bytes = MESSAGE_BYTES
        self.pending = 0
        self.refused = 0
        self.conflicts: list[dict[str, Json]] = []
        self.shown: dict[str, int] = {}
        """Of conflicts as they were handed out: the versions of their entities."""
        self.others: dict[str, Instance] = {}
        self.present = 0
        self.own_presence: Json = None
        self.is_leading = False
        self.is_closed = False
        # What nobody reads any more goes by itself.
        self.subscriptions: weakref.WeakSet[Subscription] = weakref.WeakSet()
        self.signals: Streams[Signal] = Streams(options.queue)
        self.presence: Streams[PresenceChange] = Streams(options.queue)
        self.statuses: Streams[Status] = Streams(options.queue)
        self.views: dict[str, View] = {}
        self.fates: dict[str, asyncio.Future[Settled]] = {}
        self.moved = Pulse()
        self.changed: weakref.WeakValueDictionary[Key, Pulse] = weakref.WeakValueDictionary()
        self.wake: Callable[[], None] = lambda: None
        """Tells who leads that there is something to do."""
        self.send_now: Callable[[dict[str, Json]], bool] = lambda _: False
        """Sends a message that is kept nowhere; whether it went out."""
        self.want_entities: Callable[[], None] = lambda: None
        self._said: Status | None = None
        self.is_news = False
        """It stands otherwise than the other processes were told."""

    # --- Telling ---

    def tell(self, connection: Connection) -> None:
        """The connection stands otherwise."""
        self.connection = connection
        self.is_fresh = self.is_fresh and connection.state == "online"
        self.say()

    def say(self) -> None:
        """How it stands may have changed."""
        status = self.status
        # That it grows older is no news.
        news = replace(status, sync=replace(status.sync, age_s=None))
        if news != self._said:
            self._said, self.is_news = news, True
            self.statuses.offer(status)
        self.moved.beat()

    @property
    def status(self) -> Status:
        """How it stands."""
        age = None if self.fresh_at is None else max(0.0, self.clock.now() - self.fresh_at)
        sync = Sync(freshness(age), age, self.pending, len(self.conflicts), self.refused)
        return Status(self.connection, sync, self.store.storage)

    def deliver(self, messages: Iterable[Message]) -> None:
        """Records that are kept now."""
        for message in messages:
            event = Event.of(message)
            for subscription in list(self.subscriptions):
                subscription.offer(event)

    def touch(self, keys: Iterable[Key]) -> None:
        """These entities look otherwise."""
        for key in keys:
            pulse = self.changed.get(key)
            if pulse is not None:
                pulse.beat()
        self.moved.beat()

    def decide(self, fates: dict[str, Settled]) -> None:
        """These writes' fates are known."""
        for name, settled in fates.items():
            future = self.fates.pop(name, None)
            if future is not None and not future.done():
                future.set_result(settled)

    async def count(self) -> None:
        """Looks again how much waits."""
        self.counted(await self.store.run(journal.counts))

    def counted(self, counts: journal.Counts) -> None:
        """So much waits."""
        self.pending, self.refused = counts.pending, counts.refused
        self.say()

    # --- Asking ---

    async def run(self, work: Callable[[Db], T], care: Care = Care.QUICK) -> T:
        """Does something with what is kept here."""
        if self.is_closed:
            raise Closed
        return await self.store.run(work, care)

    async def until(self, holds: Callable[[], bool], timeout: float | None = None) -> bool:
        """Waits until something is so, looking again whenever something moved. Whether it is."""

        async def looking() -> None:
            while True:
                beat = self.moved.next()
                if holds():
                    return
                if self.is_closed:
                    raise Closed
                await beat.wait()

        try:
            await asyncio.wait_for(looking(), timeout)
        except TimeoutError:
            return holds()
        return True

    async def fate(self, name: str) -> Settled:
        """Waits until a write's fate is known."""
        future = self.fates.setdefault(name, asyncio.get_running_loop().create_future())
        known, write = await self.run(lambda db: (journal.settled(db, name), journal.find(db, name)))
        if known is None and write is None and not future.done():
            self.fates.pop(name, None)
            raise Refused("not_found", f"nothing was written here under {name}, or it was settled long ago")
        if known is not None:
            self.decide({name: known})
        return await asyncio.shield(future)

    async def ask(self, method: str, url: str, body: str | None = None) -> Answer:
        """A request over HTTP, with the connection's token, or another one while there is none."""
        token = self.tokens.shown or await self.tokens.get()
        return await request(method, url, body, token, self.options.tls)

    async def history(self, after: str, limit: int, types: Iterable[str] | None) -> HistoryPage:
        """A page of the room's past."""
        asked: dict[str, str | int | None] = {
            "after": after,
            "limit": limit,
            "types": None if types is None else ",".join(types),
        }
        page = (await self.ask("GET", self.address.room("/events", asked))).json()
        events = [Event.of(Message.parse(json.dumps(record))) for record in page["events"]]
        return HistoryPage(events, page["cursor"], bool(page["more"]), page.get("resync") is None)

    def need_online(self, what: str, socket: bool = False) -> None:
        """Raises `Blocked` or `NotOnline` where something cannot be done now."""
        now = self.connection
        if self.is_closed:
            raise Closed
        if now.state == "blocked":
            raise Blocked(now.code or "blocked", now.message or "")
        if now.state != "online":
            raise NotOnline("unavailable", f"there is no connection for {what}: {now.reason or now.state}")
        if not self.is_leading:
            raise NotOnline("unavailable", f"another process has this journal's connection: {what} is to be had there")
        if socket and now.transport != "websocket":
            raise NotOnline("unavailable", f"{what} needs WebSocket, which something on the way refuses")

    def now(self, state: State, **more: Json) -> Connection:
        """The connection's next status."""
        return Connection(state, self.clock.wall(), **more)

    async def cursor(self) -> Cursor | None:
        """Where this journal stands."""
        text = await self.store.run(lambda db: fact(db, "cursor"))
        return None if text is None else Cursor.parse(text)
