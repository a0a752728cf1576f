"""What goes beside the room's log: who is here, signals, subscriptions to parts of the state, what lies open.

Owns: bringing all of that back on each new connection. Must not know: records, writes.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace

from . import mirror
from .errors import ContinuumError
from .room import Instance, PresenceChange, Room, Signal
from .store import Db
from .token import TokenFailed
from .told import Key
from .wire import Json, Message, is_signal

log = logging.getLogger("continuum")

_SHORTLY_S = 0.1
"""After what opens or settles something it is asked what lies open: with what follows at once."""
_LATER_S = 10.0
"""Pause before it is asked again what could not be had…"""
_BEHIND_S = 1.0
"""…and what was had, and is older than what is here."""
_OPEN = 1_000
"""Most that lies open that is kept here."""


class Lines:
    """Everything of a connection that is no record and no write."""

    def __init__(self, room: Room, send: Callable[[dict[str, Json]], None]) -> None:
        self._room = room
        self._send = send
        self._look = asyncio.Event()
        self._open_at = 0
        """The last record that may have opened or settled something."""
        self._timers: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Asks what lies open whenever it may have changed."""
        room = self._room
        try:
            while True:
                await self._look.wait()
                await room.clock.sleep(_SHORTLY_S)
                self._look.clear()
                try:
                    listing = await conflicts(room)
                except (ContinuumError, TokenFailed, KeyError) as error:
                    log.debug("what lies open cannot be asked for now: %s", error)
                    self.wake_in(_LATER_S, self._look.set)
                    continue
                room.conflicts = listing.found
                room.say()
                # A later change may have settled what it was open with.
                if max([self._open_at, *(int(one["seen"]) for one in listing.found)]) > listing.position:
                    self.wake_in(_BEHIND_S, self._look.set)
        finally:
            for timer in self._timers:
                timer.cancel()

    def wake_in(self, seconds: float, wake: Callable[[], None]) -> None:
        """Does something later, as long as the connection stands."""

        async def later() -> None:
            await self._room.clock.sleep(seconds)
            wake()

        timer = asyncio.create_task(later())
        self._timers.add(timer)
        timer.add_done_callback(self._timers.discard)

    def look_for_conflicts(self, at: int = 0) -> None:
        """What lies open may have changed, by the record at a position."""
        self._open_at = max(self._open_at, at)
        if self._room.keeps != ():
            self._look.set()

    def ready(self, data: dict[str, Json]) -> None:
        """A connection began: who is here, and what it is to bring."""
        room = self._room
        listed = [_instance(one) for one in data.get("instances") or []]
        room.others = {one.instance: one for one in listed}
        room.present = int(data.get("instances_total") or len(listed) + 1)
        for one in listed:
            room.presence.offer(PresenceChange("joined", one))
        if room.own_presence is not None:
            self._send({"event_type": "user.presence", "data": room.own_presence})
        for view in room.views.values():
            self._send(view.question(room.keeps != ()))
        self.look_for_conflicts()

    def hear(self, message: Message) -> None:
        """Anything that is no record and answers no write; what is not known is passed over."""
        if message.type in ("instance_joined", "instance_left", "presence_changed"):
            self._presence(message)
        elif is_signal(message.type):
            self._signal(message)
        elif message.type.partition(".")[0] in ("region", "ids", "query"):
            view = self._room.views.get(str(message.fields.get("subscription")))
            if view is not None:
                view.hear(message)

    def refused(self, names: list[str], data: dict[str, Json]) -> None:
        """The node refused something that is no write."""
        view = next((self._room.views[name] for name in names if name in self._room.views), None)
        if view is not None:
            view.refuse(data)
        else:
            log.info("the node says: %s (%s)", data.get("message"), data.get("code"))

    def _presence(self, message: Message) -> None:
        room, data = self._room, message.fields
        if message.type == "presence_changed":
            room.present = int(data.get("instances_total") or room.present)
        elif message.type == "instance_joined":
            who = _instance(data)
            if who.instance not in room.others and who.instance != room.address.instance:
                room.present += 1
            room.others[who.instance] = who
            room.presence.offer(PresenceChange("joined", who))
        else:
            who = room.others.pop(str(data.get("instance_id")), _instance(data))
            room.present = max(1, room.present - 1)
            room.presence.offer(PresenceChange("left", who))
        room.moved.beat()

    def _signal(self, message: Message) -> None:
        room = self._room
        if message.instance == room.address.instance:
            return
        if message.type == "user.presence" and message.instance in room.others:
            who = replace(room.others[message.instance], data=message.data)
            room.others[message.instance] = who
            room.presence.offer(PresenceChange("updated", who))
        room.signals.offer(Signal(message.type, message.data, message.instance, message.user))
        room.moved.beat()


@dataclass(frozen=True)
class Listing:
    """What lies open in the room."""

    found: list[dict[str, Json]]
    """As the node has it, and what version of the entity was `seen` here then."""
    position: int
    """Up to where in the log it holds everything."""


async def conflicts(room: Room) -> Listing:
    """Asks what lies open in the room."""
    found: list[dict[str, Json]] = []
    positions: list[int] = []
    page: str | None = None
    while not positions or (page is not None and len(found) < _OPEN):
        answer = (await room.ask("GET", room.address.room("/conflicts", {"limit": 100, "page": page}))).json()
        found.extend(answer["conflicts"])
        positions.append(int(answer["position"]))
        page = answer.get("next")
    wanted = [one for one in found if room.keeps is None or one["entity_type"] in room.keeps]

    def seen(db: Db) -> list[int]:
        return [mirror.confirmed(db, Key(one["entity_type"], one["entity_id"]))[0] for one in wanted]

    # What is not mirrored yet is seen as the node shows it.
    versions = await room.run(seen)
    return Listing(
        [{**one, "seen": version or one["version"]} for one, version in zip(wanted, versions, strict=True)], min(positions)
    )


def _instance(data: dict[str, Json]) -> Instance:
    return Instance(
        str(data.get("instance_id")),
        data.get("connected_at"),
        tuple(data.get("capabilities") or ()),
        data.get("user_id"),
        data.get("user_name"),
    )
