"""The journal: what was written here, from the moment it is kept until its fate is known.

Owns: that a write is sent under the same id and number however often it takes, that nothing leaves but by an answer of the node
or a person's word, and that what was refused for good stays with the reason. Must not know: connections, what entities look like.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from . import text as texts
from .errors import StorageFailed
from .store import Db, fact, set_fact
from .told import Key
from .wire import Json, encode

SETTLED = 4_096
"""How many settled writes are remembered for those who ask late."""
CHANGES = 10_000
"""How many records are kept for the other processes of this journal."""


@dataclass(frozen=True)
class Pending:
    """A write whose fate is open."""

    number: int
    id: str
    kind: str
    """The entity's type, or the event's."""
    entity: str | None
    """The entity's id; `None`: an event."""
    base: int | None
    body: dict[str, Json]
    """An operation's fields, or under `data` an event's content."""
    carried: texts.Ops | None
    """Of an edit of a text: its form on what is shown before it."""
    moved: int
    """How many edits of others it was carried over since it was made."""
    is_sent: bool
    landed: int | None
    """The version from which the mirror's content has it."""
    done: int | None
    """It was answered, and its record, of this version, did not come yet."""
    written_at: int

    @property
    def key(self) -> Key | None:
        """Which entity it is about."""
        return None if self.entity is None else Key(self.kind, self.entity)

    @property
    def text_path(self) -> str | None:
        """The text that it edits."""
        return None if self.carried is None else str(self.body["text"]["path"])

    def shown(self) -> dict[str, Json]:
        """Its fields in the form that applies to what is shown before it."""
        if self.carried is None:
            return self.body
        return {**self.body, "text": {"path": self.body["text"]["path"], "ops": list(self.carried)}}

    def message(self, replica: str) -> dict[str, Json]:
        """What it goes out as."""
        if self.entity is None:
            return {"event_type": self.kind, "event_id": self.id, "data": self.body["data"]}
        event: dict[str, Json] = {
            "op_id": self.id,
            "op_number": self.number,
            "replica_id": replica,
            "entity_type": self.kind,
            "entity_id": self.entity,
        }
        if self.base is not None:
            event["base_version"] = self.base
        return {"event_type": "sync_event", "event_id": self.id, "data": {"event": event | self.body}}


@dataclass(frozen=True)
class Settled:
    """What became of a write."""

    status: str
    """Of an operation: `confirmed`, `resolved` (it clashed, and how that was settled), `pending` (it waits for somebody's choice)
    or `rolled_back`; of an event: `stored` (the log has it) or `queued` (the node's journal has it, and brings it there by itself);
    of either: `refused`."""
    version: int | None = None
    """The entity's version, or the event's position."""
    code: str | None = None
    """Why it was rolled back or refused."""
    message: str | None = None
    """The same, for people."""
    resolution: str | None = None
    overwritten: tuple[dict[str, Any], ...] = ()
    """What was written over: `{path, value, version, by}`."""
    conflict_id: str | None = None
    duplicate: bool = False
    current: Json = None
    """What stood in its way."""

    @property
    def is_refusal(self) -> bool:
        """Whether it did not come about."""
        return self.status in ("rolled_back", "refused")


@dataclass(frozen=True)
class DeadLetter:
    """A write that was refused for good, and waits for a person."""

    number: int
    id: str
    kind: str
    entity: str | None
    base: int | None
    """The version that its author had seen."""
    body: dict[str, Json]
    code: str
    reason: str
    current: Json
    refused_at: int


_COLUMNS = "number, id, kind, entity, base, body, carried, moved, sent, landed, done, written_at"


def _read(row: tuple[Any, ...]) -> Pending:
    number, name, kind, entity, base, body, carried, moved, sent, landed, done, written_at = row
    ops = None if carried is None else texts.read(json.loads(carried))
    return Pending(number, name, kind, entity, base, json.loads(body), ops, moved, bool(sent), landed, done, written_at)


def _all(db: Db, rest: str, arguments: Iterable[Any] = ()) -> list[Pending]:
    return [_read(row) for row in db.execute(f"SELECT {_COLUMNS} FROM pending {rest}", tuple(arguments))]


def claim(db: Db, owner: str, instance: str) -> str:
    """Says whose journal it is, or raises `StorageFailed` if it is somebody else's. Gives the replica's name."""
    known = fact(db, "owner")
    if known not in (None, owner):
        raise StorageFailed("storage_failed", f"it is the journal of '{known}', not of '{owner}'")
    # Others are told the replica's name where they write over what was written here.
    replica = fact(db, "replica") or f"{instance[:24]}~{uuid.uuid4().hex[:8]}"
    set_fact(db, "owner", owner)
    set_fact(db, "replica", replica)
    return replica


def append(
    db: Db,
    name: str,
    kind: str,
    entity: str | None,
    base: int | None,
    body: dict[str, Json],
    carried: texts.Ops | None,
    at: int,
) -> int:
    """Puts a write behind the others. Gives its number."""
    ops = None if carried is None else encode(list(carried))
    text = encode(body)
    row = db.execute(
        "INSERT INTO pending (id, kind, entity, base, body, size, carried, written_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
        " RETURNING number",
        (name, kind, entity, base, text, len(text.encode()), ops, at),
    ).fetchone()
    return int(row[0])


def find(db: Db, name: str) -> Pending | None:
    """The write with an id."""
    return next(iter(_all(db, "WHERE id = ?", (name,))), None)


def waiting(db: Db, most: int) -> list[Pending]:
    """The first writes, in their order."""
    return _all(db, "ORDER BY number LIMIT ?", (most,))


def of_entity(db: Db, key: Key) -> list[Pending]:
    """What is pending for an entity, in its order."""
    return _all(db, "WHERE kind = ? AND entity = ? ORDER BY number", key)


def entities(db: Db) -> list[Key]:
    """Entities that have something pending."""
    return [Key(*row) for row in db.execute("SELECT DISTINCT kind, entity FROM pending WHERE entity IS NOT NULL")]


def mark_sent(db: Db, write: Pending, base: int | None, body: dict[str, Json]) -> None:
    """It goes out now, and from now on always in this form."""
    db.execute("UPDATE pending SET sent = 1, base = ?, body = ? WHERE id = ?", (base, encode(body), write.id))


def mark_landed(db: Db, name: str, version: int) -> None:
    """The mirror's content has it."""
    db.execute("UPDATE pending SET landed = ? WHERE id = ?", (version, name))


def mark_done(db: Db, name: str, version: int) -> None:
    """It was answered, but its record did not come yet."""
    db.execute("UPDATE pending SET done = ? WHERE id = ?", (version, name))


def recarry(db: Db, name: str, ops: texts.Ops, moved: int) -> None:
    """An edit of a text in another form: it was carried over so many edits."""
    db.execute("UPDATE pending SET carried = ?, moved = moved + ? WHERE id = ?", (encode(list(ops)), moved, name))


def leave_behind(db: Db, write: Pending, moved: int, but: int | None) -> None:
    """Edits behind one that goes out now: nodes follow only those that were made on the same version as it was (`but`)."""
    db.execute(
        "UPDATE pending SET moved = moved + ?"
        " WHERE kind = ? AND entity = ? AND number > ? AND carried IS NOT NULL AND base IS NOT ?",
        (moved, write.kind, write.entity, write.number, but),
    )


def remove(db: Db, name: str) -> None:
    """It is not pending any more."""
    db.execute("DELETE FROM pending WHERE id = ?", (name,))


def settle(db: Db, write: Pending, settled: Settled, now_ms: int) -> None:
    """Its fate is known: it is remembered, and kept with the reason if it did not come about."""
    if settled.is_refusal:
        body, current = encode(write.body), None if settled.current is None else encode(settled.current)
        what = (write.number, write.id, write.kind, write.entity, write.base, body, len(body.encode()), write.written_at)
        db.execute(
            "INSERT OR REPLACE INTO refused (number, id, kind, entity, base, body, size, written_at, code, reason, current,"
            " refused_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (*what, settled.code or "", settled.message or "", current, now_ms),
        )
    answer = encode({name: value for name, value in settled.__dict__.items() if value not in (None, (), False)})
    db.execute("INSERT OR REPLACE INTO settled (id, answer) VALUES (?, ?)", (write.id, answer))
    db.execute("DELETE FROM settled WHERE turn <= (SELECT max(turn) FROM settled) - ?", (SETTLED,))


def settled(db: Db, name: str) -> Settled | None:
    """What became of a write; `None`: it is pending, or was settled long ago."""
    row = db.execute("SELECT answer FROM settled WHERE id = ?", (name,)).fetchone()
    if row is None:
        return None
    answer = json.loads(row[0])
    answer["overwritten"] = tuple(answer.get("overwritten", ()))
    return Settled(**answer)


@dataclass(frozen=True)
class Counts:
    """What a journal holds."""

    pending: int
    """Writes whose fate is open."""
    refused: int
    """Writes that were refused."""
    size: int
    """Bytes of both."""


def counts(db: Db) -> Counts:
    """Counts what it holds."""
    pending, waiting = db.execute("SELECT count(*), ifnull(sum(size), 0) FROM pending WHERE done IS NULL").fetchone()
    refused, dead = db.execute("SELECT count(*), ifnull(sum(size), 0) FROM refused").fetchone()
    return Counts(pending, refused, waiting + dead)


def dead_letters(db: Db) -> list[DeadLetter]:
    """What was refused, in the order in which it was written."""
    columns = "number, id, kind, entity, base, body, code, reason, current, refused_at"
    rows = db.execute(f"SELECT {columns} FROM refused ORDER BY number")
    return [
        DeadLetter(number, name, kind, entity, base, json.loads(body), code, reason, json.loads(current or "null"), at)
        for number, name, kind, entity, base, body, code, reason, current, at in rows
    ]


def take_dead(db: Db, name: str) -> DeadLetter | None:
    """Takes one out of the dead letters."""
    letter = next((one for one in dead_letters(db) if one.id == name), None)
    db.execute("DELETE FROM refused WHERE id = ?", (name,))
    return letter


def tell(db: Db, records: Iterable[tuple[int, str]]) -> None:
    """Records, each with its position, for the other processes."""
    db.executemany("INSERT INTO change (seq, message) VALUES (?, ?)", records)
    db.execute("DELETE FROM change WHERE number <= (SELECT max(number) FROM change) - ?", (CHANGES,))


def told(db: Db, after: int) -> list[tuple[int, str]]:
    """Records that another process told, behind a place in their list."""
    return db.execute("SELECT number, message FROM change WHERE number > ? ORDER BY number LIMIT 1000", (after,)).fetchall()


def last_told(db: Db) -> int:
    """Where that list ends."""
    return int(db.execute("SELECT ifnull(max(number), 0) FROM change").fetchone()[0])
