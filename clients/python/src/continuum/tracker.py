"""The cursor, and the proof that nothing is missing between what was seen and what came. Pure.

Owns: invariant **no silent loss**: every record joins onto the one before, or the client goes back to its cursor.
Must not know: connections.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

from .wire import Message


@dataclass(frozen=True)
class Cursor:
    """Everything up to here has been seen: `EPOCH.SEQ`, or with the first digits of that record's id."""

    epoch: str
    position: int
    fingerprint: str | None = None

    @classmethod
    def parse(cls, text: str) -> Cursor:
        """Reads one; `ValueError` if it is none."""
        epoch, position, *rest = text.split(".")
        if len(rest) > 1:
            raise ValueError(f"'{text}' is no cursor")
        return cls(epoch, int(position), rest[0] if rest else None)

    def __str__(self) -> str:
        tail = f".{self.fingerprint}" if self.fingerprint else ""
        return f"{self.epoch}.{self.position}{tail}"


class Gap(Exception):
    """A record is missing: connect again with the cursor."""


class Novelty(Enum):
    """What a message means for the reader."""

    NEW = "new"
    REPEATED = "repeated"


@dataclass
class Tracker:
    """Follows one room over any number of connections."""

    echo: bool
    cursor: Cursor | None = None
    live: bool = False
    """Between `caught_up` and `lagging`: all that there is has been seen."""
    _acknowledged: int = 0
    """Own records that were answered close the chain, but move the cursor only where that cannot skip anything."""

    @property
    def position(self) -> int:
        """The last position that was seen."""
        return self.cursor.position if self.cursor else 0

    def see(self, message: Message) -> Novelty:
        """Takes one message in the order in which it came; raises `Gap`."""
        if message.seq is not None and message.prev is not None:
            return self._record(message.seq, message.prev, message.event_id)
        data = message.fields
        match message.type:
            case "session_ready":
                self._start(str(data["epoch"]), int(data["resume"]["after"]))
            case "resync":
                self._acknowledged = 0
                self.cursor = Cursor.parse(data["cursor"])
                self.live = False
            case "advance":
                self._joins(int(data["from"]), int(data["to"]))
                self._move(int(data["to"]))
            case "caught_up":
                self.live = True
                self._move(int(data["position"]))
            case "lagging":
                self.live = False
            case "ack" | "stored":
                self._answered(int(data["seq"]), str(data["event_id"]), bool(data.get("duplicate")))
            case "update.confirmed" | "update.conflict_resolved" | "update.conflict_pending" | "update.rollback":
                # An answer to an operation stands in its record's place.
                self._acknowledged = max(self._acknowledged, int(data.get("version") or 0))
        return Novelty.NEW

    def _start(self, epoch: str, after: int) -> None:
        self.live = False
        self._acknowledged = 0
        if self.cursor is None or (self.cursor.epoch, self.cursor.position) != (epoch, after):
            self.cursor = Cursor(epoch, after)

    def _record(self, seq: int, prev: int, event_id: str | None) -> Novelty:
        if seq <= self.position:
            return Novelty.REPEATED
        self._joins(prev, seq)
        self._set(seq, event_id)
        return Novelty.NEW

    def _answered(self, seq: int, event_id: str, is_duplicate: bool) -> None:
        self._acknowledged = max(self._acknowledged, seq)
        # With echo the record itself moves the cursor; a repeat's answer may overtake what is still to come.
        if self.live and not is_duplicate and not self.echo and seq > self.position:
            self._set(seq, event_id)

    def _joins(self, prev: int, seq: int) -> None:
        last = max(self.position, self._acknowledged)
        if prev > last:
            raise Gap(f"a record is missing: after {last} came {seq}, whose predecessor is {prev}")

    def _move(self, position: int) -> None:
        if position > self.position:
            self._set(position, None)

    def _set(self, position: int, event_id: str | None) -> None:
        if self.cursor is not None:
            self.cursor = replace(self.cursor, position=position, fingerprint=event_id[:8] if event_id else None)
