"""Leads a room: holds the connection, one after the other, for as long as the client lives. Never gives up by itself.

Owns: when to connect and how, what to do about each way a connection ends. Must not know: what messages say.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging

from . import journal
from .backoff import Backoff
from .clock import within
from .errors import ContinuumError, StorageFailed
from .httpways import PollTransport, SseTransport
from .rest import request
from .room import Instance, Room
from .serve import Serving
from .status import Connection
from .store import Care, Db, fact, set_fact
from .token import TokenFailed
from .tracker import Gap
from .transport import JOIN_S, Ended, Final, NoWebSocket, Transport, WebSocketTransport
from .wire import Malformed, Message

log = logging.getLogger("continuum")

TELL_S = 5.0
"""How often the other processes are told how fresh it all is, without other news."""
LOOK_S = 0.1
"""How often it is looked whether nobody leads, and whether other processes have written."""
_HEAL_S = 1.0
"""How often a disk that took nothing is tried again."""
_ANSWER_S = 5.0
_BROKEN = 3
SOCKET_AGAIN_S = 600.0
"""How long another way is used before WebSocket is tried again."""
_TOKEN_CODES = frozenset(("unauthenticated", "token_expired", "token_revoked", "identity_mismatch"))


class Lead:
    """The task behind a client."""

    def __init__(self, room: Room, told: int) -> None:
        self._room = room
        self._told = told
        self._token: str | None = None
        """One that was asked for already, for the next connection."""
        self._is_refused = False
        """The last token was, and no connection came about since."""
        """What was told to the processes of this journal, up to here."""
        self._backoff = Backoff()
        self._again = asyncio.Event()
        self._ways = list(room.options.transports)
        self._way = 0
        self._way_since = 0.0
        self._broken = 0
        """How often in a row a way broke off while the node answered requests."""
        self._stamp: int | None = None
        self._spoken = self._healed = room.clock.now()

    def connect_now(self) -> None:
        """Tries again at once, whatever it waits for."""
        if self._room.connection.state in ("waiting", "blocked"):
            self._room.tell(self._room.now("connecting"))
        self._again.set()

    async def run(self) -> None:
        """Leads whenever nobody else does, for ever."""
        room = self._room
        watching = asyncio.create_task(self._watch())
        try:
            while not await room.store.lead():
                await room.clock.sleep(LOOK_S)
            room.is_leading = True
            self._stamp = None
            room.tell(room.now("connecting"))
            while True:
                await self._once()
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)

    async def _once(self) -> None:
        """One connection, from the attempt to the pause behind it."""
        room, clock = self._room, self._room.clock
        began: float | None = None
        token: str | None = None
        hint: int | None = None
        try:
            room.tell(room.now("connecting"))
            if room.tracker.cursor is None:
                room.tracker.cursor = await room.cursor()
            token, self._token = self._token or await room.tokens.get(), None
            transport = await self._open(token)
            began, self._broken = clock.now(), 0
            serving = Serving(room, transport, token)
            try:
                await serving.run()
            finally:
                self._is_refused = self._is_refused and not serving.is_ready
                room.send_now = lambda _: False
                with contextlib.suppress(TimeoutError):
                    await within(clock, JOIN_S, transport.close())
        except Final as final:
            self._stands(began)
            await self._blocked(final, token)
            return
        except Ended as ended:
            reason, hint = str(ended), ended.hint_ms
            if isinstance(ended, NoWebSocket):
                await self._other_way(ended)
            elif began is None:
                # Nothing comes about on this way: that says nothing of the usual one.
                self._way = 0
        except (Gap, Malformed, TokenFailed) as error:
            reason = str(error)
        except Exception as error:
            # The journal took nothing, or something that nobody thought of: neither may end the client.
            log.warning("the connection is given up: %r", error, exc_info=not isinstance(error, StorageFailed))
            reason = str(error)
            # What came was not written down: it has to come once more.
            room.tracker.cursor = None
        self._stands(began)
        delay = self._backoff.failed(clock.random(), hint)
        room.tell(room.now("waiting", retry_in_ms=delay, reason=reason))
        await self._pause(delay / 1000)

    def _stands(self, began: float | None) -> None:
        self._room.others.clear()
        if began is not None:
            self._backoff.lived((self._room.clock.now() - began) * 1000)

    async def _open(self, token: str | None) -> Transport:
        room, clock = self._room, self._room.clock
        if self._way > 0 and clock.now() - self._way_since > SOCKET_AGAIN_S:
            self._way = 0
        cursor = room.tracker.cursor
        since = str(cursor) if cursor else room.options.since
        match self._ways[self._way]:
            case "websocket":
                opening = WebSocketTransport.open(room.address.socket(since), token, room.options.tls)
                try:
                    return await within(clock, JOIN_S, opening)
                except TimeoutError as error:
                    raise NoWebSocket("the node did not answer in time") from error
            case "sse":
                return await SseTransport.open(room.address, since, token, room.options.tls, clock)
            case _:
                return PollTransport(room.address, since, token, room.options.tls)

    async def _other_way(self, ended: NoWebSocket) -> None:
        # What merely broke off may have been a node that was just going away, or coming, or no node may be there at all.
        self._broken = self._broken + 1 if not ended.is_definite and await self._answers() else 0
        if ended.is_definite or self._broken >= _BROKEN:
            self._way = (self._way + 1) % len(self._ways)
            self._way_since = self._room.clock.now()
            self._broken = 0

    async def _answers(self) -> bool:
        """Whether a node answers requests."""
        room = self._room
        try:
            answer = await request("GET", room.address.node("/healthz"), tls=room.options.tls, timeout=_ANSWER_S)
            return bool(answer.json() == {"status": "alive"})
        except ContinuumError:
            return False

    async def _blocked(self, final: Final, token: str | None) -> None:
        """Waits until somebody gives another token, or asks for another attempt."""
        room = self._room
        renews = final.code in _TOKEN_CODES and room.tokens.is_asked
        if renews and not self._is_refused and await self._other_token(token):
            # What was at hand had ended, perhaps. One that is refused at once, too, is not the last of its kind.
            self._is_refused = True
            return
        room.tell(room.now("blocked", code=final.code, message=final.message))
        pause = None
        while True:
            if renews:
                pause = self._backoff.failed(room.clock.random()) / 1000
            if await self._pause(pause) or await self._other_token(token):
                return

    async def _other_token(self, refused: str | None) -> bool:
        try:
            token = await self._room.tokens.get()
        except TokenFailed:
            return False
        self._token = token if token != refused else None
        return self._token is not None

    async def _pause(self, seconds: float | None) -> bool:
        """Waits so long, or until somebody wants it to go on, which is what it says."""
        room = self._room
        wanted = [asyncio.create_task(event.wait()) for event in (self._again, room.tokens.given)]
        timer = None if seconds is None else asyncio.create_task(room.clock.sleep(seconds))
        tasks = [*wanted, *([] if timer is None else [timer])]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            return self._again.is_set() or room.tokens.given.is_set()
        finally:
            self._again.clear()
            room.tokens.given.clear()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    # --- Processes that share the journal ---

    async def _watch(self) -> None:
        """Notices what other processes have done, and makes up for a disk that was full."""
        room = self._room
        if room.options.journal is None:
            return
        while True:
            await room.clock.sleep(LOOK_S)
            try:
                await self._look()
            except Exception as error:
                log.warning("the journal cannot be looked at: %r", error, exc_info=not isinstance(error, StorageFailed))
                self._stamp = None

    async def _look(self) -> None:
        room, now = self._room, self._room.clock.now()
        if room.store.storage.kind == "memory" and now - self._healed > _HEAL_S:
            self._healed = now
            if await room.store.heal():
                self._stamp = None
        if room.is_leading and (room.is_news or now - self._spoken > TELL_S):
            await self._tell_others()
            room.is_news, self._spoken = False, now
        stamp = await room.store.stamp()
        if stamp == self._stamp:
            return
        room.decide(await room.store.run(self._settled))
        if room.is_leading:
            room.wake()
        else:
            await self._hear()
        await room.count()
        room.touch(list(room.changed))
        self._stamp = stamp

    def _settled(self, db: Db) -> dict[str, journal.Settled]:
        found = {name: journal.settled(db, name) for name in list(self._room.fates)}
        return {name: settled for name, settled in found.items() if settled is not None}

    async def _hear(self) -> None:
        """Takes what the process that leads told the others."""
        room = self._room
        live, told = await room.store.run(lambda db: (fact(db, "live"), journal.told(db, self._told)))
        if told:
            self._told = told[-1][0]
            room.deliver(Message.parse(text) for _, text in told)
        if live is not None:
            said = json.loads(live)
            room.connection = Connection(**said["connection"])
            room.has_state = said["has_state"]
            age = said["age_s"]
            room.fresh_at = None if age is None else room.clock.now() - age
            room.others = {one["instance"]: Instance(**one) for one in said["others"]}
            room.say()

    async def _tell_others(self) -> None:
        """How the connection stands, for the other processes of this journal."""
        room = self._room
        said = {
            "connection": room.connection.__dict__,
            "has_state": room.has_state,
            "age_s": room.status.sync.age_s,
            "others": [one.__dict__ for one in room.others.values()],
        }
        text = json.dumps(said)
        await room.store.run(lambda db: set_fact(db, "live", text), Care.QUICK)
