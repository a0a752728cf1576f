"""The file on disk: SQLite, which several processes may have open and which loses nothing that it took.

Owns: the tables, that a sure transaction is on disk when it is done, who leads among the processes, and going on in memory where
the disk takes no more, until it does again. Must not know: what stands in the tables.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TypeVar

from . import heal
from .errors import Closed, StorageFailed
from .heal import Left

T = TypeVar("T")
Db = sqlite3.Connection

FORM = 1
"""The form of the tables."""
_PATIENCE_S = 10.0
"""How long one process waits for another one's transaction."""

_TABLES = """
CREATE TABLE fact (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE pending (
    number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, kind TEXT NOT NULL, entity TEXT, base INTEGER,
    body TEXT NOT NULL, size INTEGER NOT NULL, carried TEXT, moved INTEGER NOT NULL DEFAULT 0,
    sent INTEGER NOT NULL DEFAULT 0, landed INTEGER, done INTEGER, written_at INTEGER NOT NULL)
    STRICT;
CREATE INDEX pending_of ON pending (kind, entity, number);
CREATE INDEX pending_size ON pending (done, size);
CREATE TABLE refused (
    number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, kind TEXT NOT NULL, entity TEXT, base INTEGER, body TEXT NOT NULL,
    size INTEGER NOT NULL, written_at INTEGER NOT NULL,
    code TEXT NOT NULL, reason TEXT NOT NULL, current TEXT, refused_at INTEGER NOT NULL) STRICT;
CREATE TABLE settled (turn INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, answer TEXT NOT NULL) STRICT;
CREATE TABLE entity (
    kind TEXT NOT NULL, id TEXT NOT NULL, version INTEGER NOT NULL, data TEXT, round INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (kind, id)) STRICT;
CREATE TABLE change (number INTEGER PRIMARY KEY AUTOINCREMENT, seq INTEGER NOT NULL, message TEXT NOT NULL) STRICT;
"""
_NO_SPACE = ("SQLITE_FULL", "SQLITE_IOERR", "SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM", "SQLITE_AUTH")


class Care(Enum):
    """How sure it has to be that something is on disk when its transaction is done."""

    SURE = "FULL"
    """It is."""
    QUICK = "NORMAL"
    """It will be; until then the file is as it was before. For what the node tells again."""


@dataclass(frozen=True)
class Storage:
    """Where writes are kept."""

    kind: str
    """`disk` or `memory`: what is in memory is lost with the process."""
    reason: str | None = None
    """Why it is memory."""


class Store:
    """The open file. Everything that is done with it is done in one thread, in the order in which it was asked for."""

    def __init__(self, directory: Path | None) -> None:
        self._directory = directory
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="continuum-journal")
        self._db: Db | None = None
        self._disk: Db | None = None
        """Kept while the disk takes no more; `_db` is in memory then."""
        self._left = Left()
        self._lock: Db | None = None
        self.storage = Storage("memory", "no journal was asked for")
        self.set_aside: Path | None = None
        """Where a file went that was damaged."""

    async def open(self) -> None:
        """Opens the file, or makes it. Where there can be none, it goes on in memory and says so."""
        await self._in_thread(self._open)

    async def run(self, work: Callable[[Db], T], care: Care = Care.QUICK) -> T:
        """Does something in one transaction; raises `StorageFailed` if it cannot be kept."""
        return await self._in_thread(lambda: self._run(work, care))

    async def stamp(self) -> int:
        """Changes when another process has written."""
        return await self._in_thread(self._stamp)

    async def heal(self) -> bool:
        """If the disk was left: brings there what was written since, if it takes it again. Whether all is on disk."""
        return await self._in_thread(self._heal)

    async def lead(self) -> bool:
        """Whether this process leads from now on, until it ends or closes: one of all that have the file open does."""
        return await self._in_thread(self._lead)

    async def close(self) -> None:
        """Closes the file, and lets another process lead."""
        with contextlib.suppress(Closed):
            await self._in_thread(self._close)
        self._thread.shutdown(wait=False)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        try:
            future = asyncio.get_running_loop().run_in_executor(self._thread, work)
        except RuntimeError as error:
            raise Closed from error
        return await future

    def _open(self) -> None:
        if self._directory is not None:
            try:
                self._directory.mkdir(parents=True, exist_ok=True)
                self._db = self._opened(self._directory / "journal.db")
                self.storage = Storage("disk")
                return
            except (OSError, sqlite3.Error) as error:
                if _is_busy(error):
                    raise StorageFailed("storage_failed", f"another process does not let go of the journal: {error}") from error
                self.storage = Storage("memory", f"the journal at {self._directory} cannot be used: {error}")
        self._db = _memory()

    def _opened(self, path: Path) -> Db:
        try:
            return _prepare(path)
        except sqlite3.OperationalError as error:
            if not _is_busy(error):
                raise
            # Who changes how the file is written waits for nobody.
            return _prepare(path)
        except sqlite3.DatabaseError:
            # No database any more: what is in it may still be of use to somebody, but not to us.
            aside = path.with_name(f"{path.name}.damaged-{time.time_ns()}")
            path.rename(aside)
            for tail in ("-wal", "-shm"):
                path.with_name(path.name + tail).unlink(missing_ok=True)
            self.set_aside = aside
            return _prepare(path)

    def _stamp(self) -> int:
        try:
            return int((self._db or _gone()).execute("PRAGMA data_version").fetchone()[0])
        except sqlite3.Error as error:
            raise StorageFailed("storage_failed", f"the journal cannot be read: {error}") from error

    def _run(self, work: Callable[[Db], T], care: Care) -> T:
        try:
            return _transact(self._db or _gone(), work, care)
        except sqlite3.Error as error:
            if self.storage.kind == "memory" or not _is_out_of_space(error):
                raise StorageFailed("storage_failed", f"the journal takes nothing: {error}") from error
            self._leave_disk(error)
        try:
            return _transact(self._db or _gone(), work, care)
        except sqlite3.Error as error:
            raise StorageFailed("storage_failed", f"not even memory takes it: {error}") from error

    def _leave_disk(self, error: sqlite3.Error) -> None:
        disk, memory = self._db or _gone(), _memory()
        reason = f"the journal's disk takes nothing more: {error}"
        try:
            self._left = heal.leave(disk, memory)
        except sqlite3.Error as unread:
            self._left = Left()
            reason += f"; what waits there cannot be read now: {unread}"
        self._disk, self._db = disk, memory
        self.storage = Storage("memory", reason)

    def _heal(self) -> bool:
        if self._disk is None:
            return self.storage.kind == "disk"
        memory, disk = self._db or _gone(), self._disk
        try:
            _transact(disk, lambda disk: heal.bring(memory, disk, self._left, self._lock is not None), Care.SURE)
        except sqlite3.Error:
            return False
        self._db, self._disk = disk, None
        self.storage = Storage("disk")
        memory.close()
        return True

    def _lead(self) -> bool:
        if self._lock is not None or self._directory is None:
            return True
        try:
            lock = sqlite3.connect(self._directory / "leader.lock", timeout=0, isolation_level=None, check_same_thread=False)
        except sqlite3.Error:
            # Where no lock can be, no journal can be shared either.
            return self.storage.kind == "memory"
        try:
            lock.execute("BEGIN EXCLUSIVE")
        except sqlite3.Error as error:
            lock.close()
            return self.storage.kind == "memory" and "locked" not in str(error)
        self._take_over()
        self._lock = lock
        return True

    def _take_over(self) -> None:
        """Who leads goes on from what the one before left on the disk, also while it takes no more."""
        if self._disk is None:
            return
        memory, fresh = self._db or _gone(), _memory()
        try:
            left = heal.leave(self._disk, fresh)
            heal.bring(memory, fresh, self._left, is_leading=False)
        except sqlite3.Error:
            fresh.close()
            return
        self._db, self._left = fresh, left
        memory.close()

    def _close(self) -> None:
        self._heal()
        for db in (self._db, self._disk, self._lock):
            if db is not None:
                db.close()
        self._db = self._disk = self._lock = None


def fact(db: Db, name: str) -> str | None:
    """A single value."""
    row = db.execute("SELECT value FROM fact WHERE name = ?", (name,)).fetchone()
    return None if row is None else str(row[0])


def set_fact(db: Db, name: str, value: str) -> None:
    """Sets a single value."""
    db.execute("INSERT OR REPLACE INTO fact (name, value) VALUES (?, ?)", (name, value))


def _gone() -> Db:
    raise Closed


def _connect(path: Path | str) -> Db:
    # Transactions are begun and ended here, by name. The one thread that uses it is not the one of whoever closes it at the end.
    return sqlite3.connect(path, timeout=_PATIENCE_S, isolation_level=None, check_same_thread=False)


def _memory() -> Db:
    db = _connect(":memory:")
    db.executescript(_TABLES)
    return db


def _prepare(path: Path) -> Db:
    db = _connect(path)
    try:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("BEGIN IMMEDIATE")
        form = int(db.execute("PRAGMA user_version").fetchone()[0])
        if form > FORM:
            raise sqlite3.OperationalError("it was made by a later version of this package")
        if form == 0:
            for statement in _TABLES.split(";"):
                db.execute(statement)
            db.execute(f"PRAGMA user_version = {FORM}")
        db.execute("COMMIT")
    except BaseException:
        db.close()
        raise
    return db


def _transact(db: Db, work: Callable[[Db], T], care: Care) -> T:
    db.execute(f"PRAGMA synchronous = {care.value}")
    db.execute("BEGIN IMMEDIATE")
    try:
        result = work(db)
        db.execute("COMMIT")
    except BaseException:
        # A full disk may have ended the transaction already.
        with contextlib.suppress(sqlite3.Error):
            db.execute("ROLLBACK")
        raise
    return result


def _is_out_of_space(error: sqlite3.Error) -> bool:
    return str(getattr(error, "sqlite_errorname", "")).startswith(_NO_SPACE)


def _is_busy(error: Exception) -> bool:
    return str(getattr(error, "sqlite_errorname", "")).startswith(("SQLITE_BUSY", "SQLITE_LOCKED"))
