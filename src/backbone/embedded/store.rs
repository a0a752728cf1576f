//! The tables on disk: opening, the directory's lock, and what the store's errors mean to us.
//!
//! Owns: which tables there are and how the store is set up. Must not know: feeds, queues, futures.

use std::{
    fs::{self, File, TryLockError},
    io,
    panic::{self, AssertUnwindSafe},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode, Readable, Snapshot};
use uuid::Uuid;

use super::{
    journal,
    rows::{self, Damaged, FORMAT, META_EPOCH, META_FORMAT, META_TAIL, RoomRow, Tail},
};
use crate::model::{Epoch, TenantId};

/// Blocks kept in memory, bytes.
const CACHE_BYTES: u64 = 32 << 20;
/// A table's memory before it is written out, bytes. The log's is the largest because the bodies are there.
const LOG_MEMORY_BYTES: u64 = 16 << 20;
const SIDE_MEMORY_BYTES: u64 = 4 << 20;
/// The journals' size from which tables that hold them back are written out, bytes; bounds the time to open after a crash.
const JOURNALS_BYTES: u64 = 128 << 20;

/// How long a commit waits for the store's background work before it counts as failed.
const BACKLOG_PATIENCE: Duration = Duration::from_secs(30);
/// The store blocks in a commit, for ever if its own thread died, at 4 waiting memories and 20 unmerged files: stay below.
const MOST_MEMORIES: usize = 3;
const MOST_FILES: usize = 18;

/// Why a data directory could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process (or another log in this one) has it.
    #[error("the data directory {} is in use by another node", .0.display())]
    Locked(PathBuf),
    /// Written by a later version of this program.
    #[error("the data directory {} has format {found}; this program knows formats up to {known}", .dir.display())]
    NewerFormat {
        /// Which directory.
        dir: PathBuf,
        /// What it says.
        found: u32,
        /// What we know.
        known: u32,
    },
    /// Not what we wrote.
    #[error("the data directory {} does not hold a sound log: {why}", .dir.display())]
    Corrupt {
        /// Which directory.
        dir: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The file system refused.
    #[error("the data directory {} cannot be used: {source}", .dir.display())]
    Io {
        /// Which directory.
        dir: PathBuf,
        /// What it said.
        source: io::Error,
    },
}

/// What a failed call of the store means.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// No space; the call may work again once there is some.
    #[error("no space left: {0}")]
    NoSpace(String),
    /// The store stopped taking writes after an earlier failure in its background work; this call wrote nothing.
    #[error("the store stopped after a background write failed (no space, or a failing disk)")]
    Stopped,
    /// The device or the data cannot be trusted any more.
    #[error("{0}")]
    Broken(String),
}

impl From<fjall::Error> for Fault {
    fn from(error: fjall::Error) -> Self {
        let io = match &error {
            fjall::Error::Io(io) | fjall::Error::Storage(fjall::LsmError::Io(io)) => Some(io.kind()),
            fjall::Error::Poisoned => return Self::Stopped,
            _ => None,
        };
        match io {
            Some(io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge) => {
                Self::NoSpace(error.to_string())
            }
            _ => Self::Broken(error.to_string()),
        }
    }
}

impl From<Damaged> for Fault {
    fn from(damaged: Damaged) -> Self {
        Self::Broken(damaged.to_string())
    }
}

/// Where a write failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// While it was prepared: nothing was written, and the next may do better.
    #[error(transparent)]
    Check(Fault),
    /// While it was written.
    #[error(transparent)]
    Commit(Fault),
}

impl<E: Into<Fault>> From<E> for Failure {
    /// Errors are of preparing unless said otherwise: there are many reads before one commit.
    fn from(error: E) -> Self {
        Self::Check(error.into())
    }
}

/// Holds a data directory for this process until dropped.
#[derive(Debug)]
pub struct DirLock(#[expect(dead_code, reason = "the open file is the lock")] File);

impl DirLock {
    /// Makes the directory if need be and takes it.
    pub fn take(dir: &Path) -> Result<Self, OpenError> {
        let refused = |source| OpenError::Io { dir: dir.into(), source };
        fs::create_dir_all(dir).map_err(refused)?;
        let file = File::options().create(true).truncate(false).write(true).open(dir.join("lock")).map_err(refused)?;
        match file.try_lock() {
            Ok(()) => Ok(Self(file)),
            Err(TryLockError::WouldBlock) => Err(OpenError::Locked(dir.into())),
            Err(TryLockError::Error(source)) => Err(refused(source)),
        }
    }
}

/// Whether a process has this directory open. Changes nothing.
///
/// # Errors
///
/// The directory's lock is not there or cannot be read.
pub fn is_in_use(dir: &Path) -> io::Result<bool> {
    match File::open(dir.join("lock"))?.try_lock_shared() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// The open tables.
pub struct Store {
    /// The whole.
    pub db: Database,
    /// Format, epoch, tail, rooms, cursors, tallies.
    pub meta: Keyspace,
    /// (room, position) to record.
    pub log: Keyspace,
    /// Position to [`rows::OrderRow`].
    pub order: Keyspace,
    /// (room, dedupe id) to position.
    pub dedupe: Keyspace,
    /// (room, entity) to [`rows::EntityRow`].
    pub entities: Keyspace,
}

impl Store {
    /// Opens or makes the tables below a directory that the caller has locked.
    pub fn open(dir: &Path) -> Result<(Self, Epoch), OpenError> {
        let corrupt = |why: String| OpenError::Corrupt { dir: dir.into(), why };
        let tables = dir.join("log");
        journal::check(&tables).map_err(|error| match error {
            journal::JournalError::Io(source) => OpenError::Io { dir: dir.into(), source },
            journal::JournalError::Damaged { .. } => corrupt(error.to_string()),
        })?;
        // The store has assertions about its own files; a foreign file must not take the process down with them.
        let opened = panic::catch_unwind(AssertUnwindSafe(|| Self::open_tables(&tables)));
        let store = match opened {
            Ok(Ok(store)) => store,
            Ok(Err(fjall::Error::Locked)) => return Err(OpenError::Locked(dir.into())),
            Ok(Err(fjall::Error::Io(source))) => return Err(OpenError::Io { dir: dir.into(), source }),
            Ok(Err(error)) => return Err(corrupt(error.to_string())),
            Err(_) => return Err(corrupt("its files are not what the store expects".into())),
        };
        let epoch = store.check_format(dir)?;
        Ok((store, epoch))
    }

    fn open_tables(path: &Path) -> Result<Self, fjall::Error> {
        let db = Database::builder(path)
            .worker_threads(1)
            .cache_size(CACHE_BYTES)
            .max_journaling_size(JOURNALS_BYTES)
            .open()?;
        let table =
            |name, memory| db.keyspace(name, move || KeyspaceCreateOptions::default().max_memtable_size(memory));
        Ok(Self {
            meta: table("meta", SIDE_MEMORY_BYTES)?,
            log: table("log", LOG_MEMORY_BYTES)?,
            order: table("order", SIDE_MEMORY_BYTES)?,
            dedupe: table("dedupe", SIDE_MEMORY_BYTES)?,
            entities: table("entities", SIDE_MEMORY_BYTES)?,
            db,
        })
    }

    fn check_format(&self, dir: &Path) -> Result<Epoch, OpenError> {
        let corrupt = |fault: Fault| OpenError::Corrupt { dir: dir.into(), why: fault.to_string() };
        let meta = |key| self.meta.get(key).map_err(|error| corrupt(error.into()));
        let Some(format) = meta(META_FORMAT)? else {
            return self.create(dir);
        };
        let found = rows::read_u32(&format, "meta").map_err(|damaged| corrupt(damaged.into()))?;
        if found > FORMAT {
            return Err(OpenError::NewerFormat { dir: dir.into(), found, known: FORMAT });
        }
        let epoch = meta(META_EPOCH)?.ok_or_else(|| corrupt(Damaged("meta").into()))?;
        rows::read_u64(&epoch, "meta").map(Epoch).map_err(|damaged| corrupt(damaged.into()))
    }

    /// Format, epoch and an empty tail in one flushed batch: a log has all of them or is not made yet.
    fn create(&self, dir: &Path) -> Result<Epoch, OpenError> {
        let corrupt = |fault: Fault| OpenError::Corrupt { dir: dir.into(), why: fault.to_string() };
        let rows_without_format = self.order.is_empty().map_err(|error| corrupt(error.into()))?;
        if !rows_without_format {
            return Err(corrupt(Fault::Broken("it has records but no format".into())));
        }
        let (high, low) = Uuid::new_v4().as_u64_pair();
        // Both halves have fixed bits, at different places.
        let epoch = Epoch(high ^ low);
        let mut batch = self.db.batch().durability(Some(PersistMode::SyncAll));
        batch.insert(&self.meta, META_FORMAT, FORMAT.to_be_bytes());
        batch.insert(&self.meta, META_EPOCH, epoch.0.to_be_bytes());
        batch.insert(&self.meta, META_TAIL, Tail::default().encode());
        batch.commit().map_err(|error| corrupt(error.into()))?;
        Ok(epoch)
    }

    /// The log's state as last committed.
    pub fn tail(&self) -> Result<Tail, Fault> {
        let row = self.meta.get(META_TAIL)?.ok_or(Damaged("meta"))?;
        Ok(Tail::decode(&row)?)
    }

    /// Every tenant's row.
    pub fn rooms(&self) -> Result<Vec<(TenantId, RoomRow)>, Fault> {
        let rows = self.meta.prefix([rows::ROOM_PREFIX]).map(|row| {
            let (key, value) = row.into_inner()?;
            Ok((RoomRow::tenant(&key)?, RoomRow::decode(&value)?))
        });
        rows.collect()
    }

    /// One tenant's row as a snapshot sees it.
    pub fn room(&self, at: &Snapshot, tenant: &TenantId) -> Result<Option<RoomRow>, Fault> {
        let row = at.get(&self.meta, RoomRow::key(tenant))?;
        Ok(row.map(|row| RoomRow::decode(&row)).transpose()?)
    }

    /// Waits until the store's own background work has caught up so far that a commit does not block.
    pub fn wait_for_background(&self) -> Result<(), Fault> {
        let begin = Instant::now();
        loop {
            let backlog = self.backlog();
            if backlog.memories < MOST_MEMORIES && backlog.files < MOST_FILES {
                return Ok(());
            }
            if begin.elapsed() > BACKLOG_PATIENCE {
                return Err(Fault::Stopped);
            }
            // A thread of its own that has nothing else to do until the store is through.
            thread::park_timeout(Duration::from_millis(2));
        }
    }

    fn tables(&self) -> [&Keyspace; 5] {
        [&self.meta, &self.log, &self.order, &self.dedupe, &self.entities]
    }

    /// Writes everything that is in memory to the tables' files, and waits for that.
    pub fn write_out(&self) -> Result<(), Fault> {
        for table in self.tables() {
            table.rotate_memtable()?;
        }
        let begin = Instant::now();
        while self.tables().iter().any(|table| table.sealed_memtable_count() > 0) {
            if begin.elapsed() > BACKLOG_PATIENCE {
                return Err(Fault::Stopped);
            }
            thread::park_timeout(Duration::from_millis(2));
        }
        Ok(())
    }

    /// Writes the tables' files anew, without what was removed. May take long; reads and writes go on.
    pub fn compact(&self) -> Result<(), Fault> {
        self.write_out()?;
        Ok(self.tables().iter().try_for_each(|table| table.major_compact())?)
    }

    /// The same tables, for somebody who does not hold the store while using them.
    pub fn share(&self) -> Self {
        let [meta, log, order, dedupe, entities] = self.tables().map(Keyspace::clone);
        Self { db: self.db.clone(), meta, log, order, dedupe, entities }
    }

    /// How far the store's own background work is behind: the greatest number of a table's memories that wait to be
    /// written and of files that wait to be merged.
    fn backlog(&self) -> Backlog {
        let tables = self.tables();
        Backlog {
            memories: tables.iter().map(|table| table.sealed_memtable_count()).max().unwrap_or_default(),
            files: tables.iter().map(|table| table.l0_table_count()).max().unwrap_or_default(),
        }
    }
}

/// See [`Store::backlog`].
#[derive(Clone, Copy, Debug)]
struct Backlog {
    /// Memories waiting to be written.
    memories: usize,
    /// Files waiting to be merged.
    files: usize,
}
