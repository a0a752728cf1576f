"""Who else is in the room. Owns: nothing; it shows what the connection hears. Must not know: connections."""

from __future__ import annotations

from .room import Instance, PresenceChange, Room
from .streams import Stream
from .wire import Json, check


class Presence:
    """Who else is here, as of the present connection."""

    def __init__(self, room: Room) -> None:
        self._room = room

    @property
    def others(self) -> dict[str, Instance]:
        """The others, by their names; in a large room some of them."""
        return dict(self._room.others)

    @property
    def total(self) -> int:
        """How many are here, this one included."""
        return self._room.present

    def say(self, data: dict[str, Json]) -> None:
        """What the others shall know of this one, now and whenever it comes back."""
        check(data, "the presence", 4096)
        self._room.own_presence = data
        self._room.send_now({"event_type": "user.presence", "data": data})

    def changes(self) -> Stream[PresenceChange]:
        """Who comes, leaves and says something of themselves, from now on."""
        return self._room.presence.open()
