"""What was written in memory while the disk took nothing, back to the disk.

Owns: that nothing which another process wrote there meanwhile is touched. Must not know: when the disk takes it again.
"""

from __future__ import annotations

import sqlite3
import time
from dataclasses import dataclass

Db = sqlite3.Connection

_NAMES = ("fact", "pending", "refused", "settled", "entity", "change")
_WRITE = "number, id, kind, entity, base, body, size, carried, moved, sent, landed, done, written_at"
_LETTER = "number, id, kind, entity, base, body, size, written_at, code, reason, current, refused_at"


@dataclass(frozen=True)
class Left:
    """What the disk had when it was left."""

    pending: frozenset[str] = frozenset()
    refused: frozenset[str] = frozenset()
    turn: int = 0
    """The last that was settled."""
    change: int = 0
    """The last that was told to the other processes."""


def leave(disk: Db, memory: Db) -> Left:
    """Takes all into memory."""
    # Nodes know repeats by their numbers: those that are given in memory must be none that the disk, or the memory of another
    # process, gives to something else.
    _give_from(memory, time.time_ns() // 1000)
    _give_from(memory, max(_given(memory), _given(disk)))
    for name in _NAMES:
        _copy(disk, memory, name)
    return _left(disk)


def bring(memory: Db, disk: Db, left: Left, is_leading: bool) -> None:
    """Brings back what is new. Only who leads settles writes and keeps the mirror: of those, nobody else has anything newer."""
    now = _left(memory)
    answers = memory.execute("SELECT id, answer FROM settled WHERE turn > ? ORDER BY turn", (left.turn,)).fetchall()
    disk.executemany("INSERT OR REPLACE INTO settled (id, answer) VALUES (?, ?)", answers)
    disk.executemany("DELETE FROM pending WHERE id = ?", [(name,) for name in left.pending - now.pending])
    disk.executemany("DELETE FROM refused WHERE id = ?", [(name,) for name in left.refused - now.refused])
    _add(memory, disk, "pending", _WRITE, now.pending - left.pending)
    _add(memory, disk, "refused", _LETTER, now.refused - left.refused)
    _give_from(disk, max(_given(disk), _given(memory)))
    if is_leading:
        stands = "SELECT base, body, carried, moved, sent, landed, done, id FROM pending"
        update = "UPDATE pending SET base = ?, body = ?, carried = ?, moved = ?, sent = ?, landed = ?, done = ? WHERE id = ?"
        disk.executemany(update, memory.execute(stands).fetchall())
        _copy(memory, disk, "entity")
        facts = memory.execute("SELECT name, value FROM fact WHERE name NOT IN ('owner', 'replica')").fetchall()
        disk.executemany("INSERT OR REPLACE INTO fact (name, value) VALUES (?, ?)", facts)
        told = memory.execute("SELECT seq, message FROM change WHERE number > ? ORDER BY number", (left.change,)).fetchall()
        disk.executemany("INSERT INTO change (seq, message) VALUES (?, ?)", told)
        return
    # Made on a text that may be another one by now: it goes out as it was made, and shows nothing until the node has brought it
    # over what was done since.
    made = [(name,) for name in now.pending - left.pending]
    disk.executemany("UPDATE pending SET carried = '[]', sent = 1 WHERE carried IS NOT NULL AND id = ?", made)


def _left(db: Db) -> Left:
    def names(table: str) -> frozenset[str]:
        return frozenset(row[0] for row in db.execute(f"SELECT id FROM {table}"))

    def last(table: str, number: str) -> int:
        return int(db.execute(f"SELECT ifnull(max({number}), 0) FROM {table}").fetchone()[0])

    return Left(names("pending"), names("refused"), last("settled", "turn"), last("change", "number"))


def _add(source: Db, target: Db, table: str, columns: str, names: frozenset[str]) -> None:
    rows = [row for row in source.execute(f"SELECT {columns} FROM {table} ORDER BY number") if row[1] in names]
    target.executemany(f"INSERT OR IGNORE INTO {table} ({columns}) VALUES ({','.join('?' * len(columns.split(',')))})", rows)


def _copy(source: Db, target: Db, name: str) -> None:
    rows = source.execute(f"SELECT * FROM {name}").fetchall()
    if rows:
        target.executemany(f"INSERT OR REPLACE INTO {name} VALUES ({','.join('?' * len(rows[0]))})", rows)


def _given(db: Db) -> int:
    """The last number that was given to a write."""
    row = db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'pending'").fetchone()
    return 0 if row is None else int(row[0])


def _give_from(db: Db, number: int) -> None:
    db.execute("DELETE FROM sqlite_sequence WHERE name = 'pending'")
    db.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('pending', ?)", (number,))
