"""One connection to a room, from its first message to its end: sends what waits, takes what comes.

Owns: the order between what came, what was written down and who is told; that a silent connection is noticed.
Must not know: how connections come about.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import uuid

from . import journal, mirror, taking
from .backoff import followed
from .clock import within
from .journal import Pending, Settled
from .lines import Lines
from .outbox import Outbox, passes
from .room import Room
from .store import Care, Db
from .taking import Fate, Frame, Missed, Ready, Reset, Step, Taken
from .token import AGAIN_S, TokenFailed, end_of, ends_at, renewal_in
from .told import Key, page
from .tracker import Gap, Novelty
from .transport import JOIN_S, Ended, Final, NoWebSocket, Transport
from .wire import Json, Malformed, Message, encode

log = logging.getLogger("continuum")

BATCH = 256
"""Messages that are taken in one transaction."""
_INBOX = 512
_AHEAD = 256
"""Writes that are looked at for what may go next."""
_ANSWER_S = 10.0
"""How long a node that was asked for a word may take."""
_STATE_AGAIN_S = 1.0
_SEND_S = 30.0

_Item = Message | Exception | None


class Serving:
    """A connection that stands."""

    def __init__(self, room: Room, transport: Transport, token: str | None) -> None:
        self._room = room
        self._transport = transport
        self._token_ends = ends_at(token)
        room.tokens.shown = token
        self._inbox: asyncio.Queue[_Item] = asyncio.Queue(_INBOX)
        self._outbox = Outbox()
        self._lines = Lines(room, self._send_later)
        self._out: list[str] = []
        self._began = self._heard = room.clock.now()
        self._pinged: float | None = None
        self.is_ready = False
        self._is_complete = False
        """All that was missed before this connection is here."""
        self._timeout_s = 90.0
        self._hint: int | None = None
        self._question = ""
        self._state_due: float | None = None
        self._why: Exception | None = None
        self._last_error: dict[str, Json] = {}
        self._renewal = asyncio.Event()

    async def run(self) -> None:
        """Until the connection ends, which is always raised."""
        room = self._room
        tasks = [asyncio.create_task(one) for one in (self._read(), self._keep(), self._renew(), self._lines.run())]
        room.wake = self._wake
        room.send_now = self._send_now
        room.want_entities = self._want_entities
        try:
            while True:
                batch = [await self._inbox.get()]
                while len(batch) < BATCH and not self._inbox.empty():
                    batch.append(self._inbox.get_nowait())
                await self._take(batch)
                if self.is_ready:
                    await self._send()
        except Ended as ended:
            if ended.hint_ms is None:
                ended.hint_ms = self._hint
            raise
        except Final as final:
            said = str(self._last_error.get("code") or final.code)
            raise Final(said if final.code == "unauthenticated" else final.code, final.message) from final
        finally:
            room.wake = room.want_entities = lambda: None
            room.send_now = lambda _: False
            room.tokens.shown = None
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _wake(self) -> None:
        # A full inbox wakes it anyway.
        with contextlib.suppress(asyncio.QueueFull):
            self._inbox.put_nowait(None)

    def _send_later(self, message: dict[str, Json]) -> None:
        self._out.append(encode(message))
        self._wake()

    def _send_now(self, message: dict[str, Json]) -> bool:
        if not self.is_ready or len(self._out) >= _INBOX:
            return False
        self._send_later(message)
        return True

    def _want_entities(self) -> None:
        self._state_due = self._room.clock.now()
        self._wake()

    # --- Reading ---

    async def _read(self) -> None:
        try:
            while True:
                message = Message.parse(await self._transport.receive())
                self._heard, self._pinged = self._room.clock.now(), None
                await self._inbox.put(message)
        except (Ended, Final, Malformed) as error:
            await self._inbox.put(self._why or error)

    async def _take(self, batch: list[_Item]) -> None:
        steps: list[Step] = []
        records: list[Message] = []
        end: Exception | None = None
        for item in batch:
            if item is None:
                continue
            if isinstance(item, Exception):
                end = item
                break
            try:
                self._see(item, steps, records)
            except (Gap, Malformed) as error:
                end = error
                break
            except (KeyError, TypeError, ValueError) as error:
                end = Malformed(f"{item.type}: {type(error).__name__} {error}")
                break
        await self._write_down(steps, records)
        if end is not None:
            raise end

    def _see(self, message: Message, steps: list[Step], records: list[Message]) -> None:
        room = self._room
        if room.tracker.see(message) is Novelty.REPEATED:
            return
        if message.is_record:
            records.append(message)
            if message.instance == room.address.instance and not self._is_complete:
                self._outbox.answered(str(message.event_id))
                steps.append(Missed(str(message.event_id), int(message.seq or 0)))
            steps.append(taking.record(message))
            return
        match message.type:
            case "session_ready":
                self._ready(message)
                steps.append(Ready(str(message.fields["epoch"])))
            case "resync":
                room.connection = room.now("online", transport=self._transport.name, resumed="reset")
                steps.append(Reset())
            case "caught_up":
                self._is_complete = True
            case "draining":
                self._hint = followed(int(message.fields.get("retry_after_ms") or 0))
            case "graph.sync":
                steps.append(page(message))
            case "update.retry":
                data = message.fields
                self._outbox.put_off(str(data["updateId"]), data.get("retry_after_ms"), room.clock.now())
            case "error":
                steps.extend(self._error(message.fields))
            case "authenticated":
                self._authenticated(message.fields)
            case _:
                fate = taking.fate(message)
                if fate is not None:
                    self._outbox.answered(fate.id)
                    steps.append(fate)
                else:
                    self._lines.hear(message)

    def _ready(self, message: Message) -> None:
        room, data = self._room, message.fields
        limits = data.get("limits") or {}
        room.message_bytes = int(limits.get("max_message_bytes") or room.message_bytes)
        self._timeout_s = int((data.get("heartbeat") or {}).get("timeout_ms") or 90_000) / 1000
        self._outbox.connected(int(limits.get("publishes_in_flight") or 64))
        self.is_ready, room.is_fresh = True, False
        resumed = "complete" if (data.get("resume") or {}).get("outcome") != "resync" else "reset"
        room.tell(room.now("online", transport=self._transport.name, resumed=resumed))
        self._lines.ready(data)

    def _error(self, data: dict[str, Json]) -> list[Step]:
        room, code = self._room, str(data.get("code"))
        self._last_error = data
        names = [str(name) for name in (data.get("event_id"), data.get("id")) if name is not None]
        hint = data.get("retry_after_ms")
        if self._question in names:
            self._state_due = room.clock.now() + (_STATE_AGAIN_S if hint is None else followed(int(hint)) / 1000)
            self._question = ""
            return []
        mine = next((name for name in names if name in self._outbox.flying), None)
        if mine is None:
            self._lines.refused(names, data)
            return []
        if passes(code, hint):
            self._outbox.put_off(mine, hint, room.clock.now())
            return []
        self._outbox.answered(mine)
        return [Fate(mine, Settled("refused", code=code, message=str(data.get("message") or "")))]

    def _authenticated(self, data: dict[str, Json]) -> None:
        self._token_ends = end_of(data.get("expires_at"), self._token_ends)
        self._renewal.set()

    # --- Writing down ---

    async def _write_down(self, steps: list[Step], records: list[Message]) -> None:
        room, cursor = self._room, self._room.tracker.cursor
        if not steps:
            self._fresh()
            room.say()
            return
        open_keys = frozenset(Key(one["entity_type"], one["entity_id"]) for one in room.conflicts)
        now_ms = int(room.clock.wall() * 1000)
        is_shared = room.options.journal is not None
        frame = Frame(room.address.instance, room.keeps, self._question, open_keys, now_ms, is_shared)
        taken: Taken = await room.store.run(lambda db: taking.take(db, steps, cursor, frame))
        if taken.wants_state:
            room.has_state = False
            self._state_due = room.clock.now()
        if taken.has_state:
            room.has_state = True
            self._question = ""
        elif any(isinstance(step, Ready) for step in steps) and not taken.wants_state:
            room.has_state = room.keeps != ()
        if taken.is_other_log:
            for subscription in list(room.subscriptions):
                subscription.begin_anew()
        self._fresh()
        if taken.counts is not None:
            room.counted(taken.counts)
        room.deliver(records)
        room.decide(taken.fates)
        if taken.opened is not None:
            self._lines.look_for_conflicts(taken.opened)
        room.touch(taken.touched)
        room.say()

    def _fresh(self) -> None:
        """If all is here that the node has told, it is as fresh as can be."""
        room = self._room
        has_state = room.keeps == () or room.has_state
        room.is_fresh = room.tracker.live and has_state and room.connection.state == "online"
        if room.is_fresh:
            room.fresh_at = room.clock.now()

    # --- Sending ---

    async def _send(self) -> None:
        now = self._room.clock.now()
        if self._state_due is not None and self._state_due <= now and not self._question:
            await self._ask_state()
        out, self._out = self._out, []
        for text in out:
            await self._put(text)
        while self._outbox.room(now) > 0:
            ready = await self._room.store.run(self._next, Care.QUICK)
            if not ready:
                break
            for write in ready:
                await self._go(write)
        if (until := self._outbox.pause_ends(now)) is not None:
            self._lines.wake_in(until - now, self._wake)

    def _next(self, db: Db) -> list[Pending]:
        room = self._room
        return mirror.take(db, self._outbox.choose(journal.waiting(db, _AHEAD), room.clock.now(), self._is_complete))

    async def _go(self, write: Pending) -> None:
        room = self._room
        text = encode(write.message(room.replica))
        self._outbox.sent(write)
        size = len(text.encode())
        if size > room.message_bytes:
            # Sent, it would cost the connection, again and again.
            words = f"{size} bytes as a message, of which the node takes {room.message_bytes}"
            self._outbox.answered(write.id)
            await self._write_down([Fate(write.id, Settled("refused", code="too_large", message=words))], [])
            return
        await self._put(text)

    async def _put(self, text: str) -> None:
        try:
            await within(self._room.clock, _SEND_S, self._transport.send(text))
        except TimeoutError as error:
            raise Ended("the node takes nothing") from error
        except Ended as ended:
            raise self._why or ended from ended

    async def _ask_state(self) -> None:
        room = self._room
        if room.keeps == ():
            return
        self._state_due, self._question = None, str(uuid.uuid4())
        whole = Frame(room.address.instance, room.keeps, self._question, frozenset(), 0)
        epoch = room.tracker.cursor.epoch if room.tracker.cursor else ""

        def begin(db: Db) -> bool:
            if mirror.whole(db) == whole.whole_of(epoch):
                return False
            mirror.begin_state(db, is_other_log=False)
            return True

        if not await room.store.run(begin):
            room.has_state, self._question = True, ""
            room.moved.beat()
            return
        asked = {} if room.keeps is None else {"types": list(room.keeps)}
        await self._put(encode({"event_type": "graph.sync", "event_id": self._question, "data": asked}))

    # --- Watching ---

    async def _keep(self) -> None:
        """Notices a connection that is dead, and keeps one that is idle from looking so."""
        clock, quiet_s = self._room.clock, self._room.options.quiet_s
        while True:
            await clock.sleep(min(5.0, quiet_s))
            now = clock.now()
            quiet = now - self._heard
            if not self.is_ready and now - self._began > JOIN_S:
                self._why = NoWebSocket("the node said nothing in time")
            elif quiet > self._timeout_s:
                self._why = Ended(f"nothing was heard from the node for {quiet:.0f} s", hint_ms=0)
            elif self._pinged is not None and now - self._pinged > _ANSWER_S:
                self._why = Ended("the node does not answer", hint_ms=0)
            elif self.is_ready and quiet >= quiet_s and self._pinged is None:
                self._pinged = now
                self._send_later({"event_type": "ping"})
            if self._state_due is not None and self._state_due <= now:
                self._wake()
            if self._why is not None:
                await self._transport.close()
                await self._inbox.put(self._why)
                return
            self._room.say()

    async def _renew(self) -> None:
        """Shows another token before the one in use ends, and whenever somebody gives one."""
        room, again = self._room, self._renewal_in()
        while True:
            self._renewal.clear()
            wait = again if room.tokens.is_asked else None
            given = asyncio.create_task(room.tokens.given.wait())
            told = asyncio.create_task(self._renewal.wait())
            timer = asyncio.create_task(room.clock.sleep(3600.0 if wait is None else wait))
            try:
                await asyncio.wait((given, told, timer), return_when=asyncio.FIRST_COMPLETED)
                is_due = room.tokens.given.is_set() or (timer.done() and wait is not None)
            finally:
                for task in (given, told, timer):
                    task.cancel()
                await asyncio.gather(given, told, timer, return_exceptions=True)
            if not is_due:
                again = self._renewal_in()
                continue
            room.tokens.given.clear()
            again = AGAIN_S
            try:
                token = await room.tokens.get()
            except TokenFailed as error:
                log.warning("%s", error)
                continue
            if token is None or token == room.tokens.shown:
                # Whoever keeps tokens until they end has no other one yet.
                continue
            room.tokens.shown = token
            self._token_ends = ends_at(token)
            again = self._renewal_in()
            self._send_later({"event_type": "auth", "data": {"token": token}})

    def _renewal_in(self) -> float | None:
        return renewal_in(self._room.tokens.shown, self._token_ends, self._room.clock.wall())
