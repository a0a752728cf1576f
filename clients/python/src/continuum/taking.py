"""What the node's messages lead to, written down in one transaction with the cursor behind them.

Owns: that a cursor is never ahead of what was kept. Must not know: connections, who waits for what.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

from . import journal, mirror, told
from .errors import TextFailed
from .journal import Settled
from .store import Db, fact, set_fact
from .told import Key, Open, Page, Stands
from .tracker import Cursor
from .wire import Malformed, Message

log = logging.getLogger("continuum")


@dataclass(frozen=True)
class Ready:
    """A connection began, on this log."""

    epoch: str


@dataclass(frozen=True)
class Reset:
    """The cursor was not honoured: between what is here and what comes anything may be missing."""


@dataclass(frozen=True)
class Record:
    """A record of the log."""

    message: Message
    what: Stands | Open | None


@dataclass(frozen=True)
class Fate:
    """The node answered a write."""

    id: str
    settled: Settled


@dataclass(frozen=True)
class Missed:
    """A record of our own among what was missed. If it is a pending event's, that one's answer was lost."""

    id: str
    seq: int


Step = Ready | Reset | Record | Fate | Missed | Page


@dataclass
class Taken:
    """What came of it."""

    touched: set[Key] = field(default_factory=set)
    fates: dict[str, Settled] = field(default_factory=dict)
    wants_state: bool = False
    has_state: bool = False
    is_other_log: bool = False
    counts: journal.Counts | None = None
    """What the journal holds, if that is otherwise than before."""
    opened: int | None = None
    """Something was opened or settled that lies with an entity, by the record at this position as far as it is known."""


@dataclass(frozen=True)
class Frame:
    """What the steps are taken in."""

    me: str
    types: tuple[str, ...] | None
    """Of which types entities are kept; `()`: of none, `None`: of all."""
    question: str
    """The state was asked for under this id."""
    open: frozenset[Key]
    now_ms: int
    is_shared: bool = False
    """Other processes may have the journal open, too."""

    def keeps(self, key: Key) -> bool:
        """Whether an entity is kept."""
        return self.types is None or key.type in self.types

    def whole_of(self, epoch: str) -> str:
        """What the whole state is of."""
        return f"{epoch} {'*' if self.types is None else ','.join(self.types)}"


def take(db: Db, steps: Sequence[Step], cursor: Cursor | None, frame: Frame) -> Taken:
    """Takes all steps, in one transaction."""
    taken = Taken()
    records: list[tuple[int, str]] = []
    for step in steps:
        match step:
            case Ready(epoch):
                known = fact(db, "epoch")
                taken.is_other_log = taken.is_other_log or (known is not None and known != epoch)
                if frame.types == ():
                    # What is kept here does not go on: whoever wants it later has to read it anew.
                    set_fact(db, "whole", "")
                elif mirror.whole(db) != frame.whole_of(epoch):
                    mirror.begin_state(db, taken.is_other_log)
                    taken.wants_state = True
            case Reset():
                if frame.types != ():
                    mirror.begin_state(db, is_other_log=False)
                    taken.wants_state = True
            case Record(message, what):
                records.append((int(message.seq or 0), message.text))
                _record(db, message, what, frame, taken)
            case Fate(name, settled):
                _settle(db, name, settled, frame, taken)
            case Missed(name, seq):
                write = journal.find(db, name)
                if write is not None and write.key is None:
                    _settle(db, name, Settled("stored", version=seq, duplicate=True), frame, taken)
            case Page():
                _page(db, step, frame, taken, cursor)
    if records and frame.is_shared:
        journal.tell(db, records)
    if taken.fates or taken.is_other_log:
        taken.counts = journal.counts(db)
    if cursor is not None:
        set_fact(db, "cursor", str(cursor))
        set_fact(db, "epoch", cursor.epoch)
    return taken


def _settle(db: Db, name: str, settled: Settled, frame: Frame, taken: Taken) -> None:
    write = mirror.settle(db, name, settled, frame.now_ms, frame.keeps)
    if write is not None:
        taken.fates[name] = settled
        if settled.status == "pending" or settled.resolution == "variant":
            taken.opened = max(taken.opened or 0, settled.version or 0)
        if write.key is not None:
            taken.touched.add(write.key)


def _record(db: Db, message: Message, what: Stands | Open | None, frame: Frame, taken: Taken) -> None:
    if what is None or not frame.keeps(what.key):
        return
    if isinstance(what, Open) or what.key in frame.open:
        taken.opened = max(taken.opened or 0, what.version)
    if mirror.apply(db, what, frame.me, message.event_id):
        taken.touched.add(what.key)


def _page(db: Db, page: Page, frame: Frame, taken: Taken, cursor: Cursor | None) -> None:
    # A page of an answer that is not waited for any more says nothing of this one.
    if page.question != frame.question or cursor is None:
        return
    taken.touched.update(mirror.put_page(db, page))
    if page.is_last:
        taken.touched.update(mirror.end_state(db, frame.whole_of(cursor.epoch)))
        taken.has_state = True


def record(message: Message) -> Record:
    """A record as a step; one that has not the form that its type has is an event for whoever can read it."""
    try:
        return Record(message, told.record(message))
    except (Malformed, TextFailed) as error:
        log.warning("a record is not of the form that its type has: %s", error)
        return Record(message, None)


def fate(message: Message) -> Fate | None:
    """What an answer means for a write; `None`: it is none, or none that settles anything."""
    if not isinstance(message.data, dict):
        return None
    data = message.fields
    match message.type:
        case "ack" | "stored":
            settled = Settled("stored", version=int(data["seq"]), duplicate=bool(data.get("duplicate")))
            return Fate(str(data["event_id"]), settled)
        case "queued":
            return Fate(str(data["event_id"]), Settled("queued"))
        case "update.confirmed" | "update.conflict_resolved" | "update.conflict_pending" | "update.rollback":
            words = {"confirmed": "confirmed", "conflict_resolved": "resolved", "conflict_pending": "pending"}
            settled = Settled(
                words.get(message.type.removeprefix("update."), "rolled_back"),
                version=data.get("version"),
                code=data.get("code"),
                message=data.get("reason"),
                resolution=data.get("resolution"),
                overwritten=tuple(data.get("overwritten") or ()),
                conflict_id=data.get("conflict_id") or data.get("variant_id"),
                duplicate=bool(data.get("duplicate")),
                current=data.get("current"),
            )
            return Fate(str(data["updateId"]), settled)
    return None
