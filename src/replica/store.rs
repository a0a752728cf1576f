//! The file on disk: SQLite, which many processes may have open, which loses nothing that it took, and which searches texts.
//!
//! Owns: the tables and their versions, that a transaction is on disk when it is done, and what becomes of a file that is
//! damaged. Must not know: what stands in the tables.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use super::salvage;
use rusqlite::{Connection, ErrorCode, OptionalExtension as _, Transaction, TransactionBehavior, params};

/// The form of the tables.
const FORM: i64 = 1;
/// How long one process waits for another one's transaction.
const PATIENCE: Duration = Duration::from_secs(10);

/// What writes leave free on the disk, in bytes: sending what waits takes space too.
const FREE: u64 = 1 << 20;
/// Statements that are kept ready: more than there are.
const STATEMENTS: usize = 64;
/// Pages of what is written down but not merged yet, of 4 KiB.
const UNMERGED: i64 = 100;

/// Most that is kept of what others sent and the node answered, beside what it is needed for, in bytes of each kind…
pub(super) const KEPT_BYTES: i64 = 16 << 20;
/// …looked after once in so many rows.
pub(super) const KEPT_TURNS: i64 = 16;

/// All tables. `fact` holds single values. `pending` is the journal; its numbers rise and are never given twice, as the node
/// knows repeats by them. `entity` is the mirror: `data` as the log has it, `local` with what is pending, `shown` the version that
/// its reader was shown.
const TABLES: &str = "
CREATE TABLE fact (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE pending (
    number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, kind TEXT NOT NULL, entity TEXT,
    base INTEGER, body TEXT NOT NULL, written_at INTEGER NOT NULL) STRICT;
CREATE INDEX pending_of ON pending (kind, entity, number);
CREATE TABLE refused (
    number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, kind TEXT NOT NULL, entity TEXT,
    base INTEGER, body TEXT NOT NULL, written_at INTEGER NOT NULL,
    code TEXT NOT NULL, reason TEXT NOT NULL, current TEXT, refused_at INTEGER NOT NULL) STRICT;
CREATE TABLE settled (
    turn INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, answer TEXT NOT NULL) STRICT;
CREATE TABLE entity (
    row INTEGER PRIMARY KEY, kind TEXT NOT NULL, id TEXT NOT NULL, version INTEGER NOT NULL, data TEXT, local TEXT,
    by TEXT, user TEXT, at TEXT, round INTEGER NOT NULL DEFAULT 0, shown INTEGER NOT NULL DEFAULT 0,
    UNIQUE (kind, id)) STRICT;
CREATE TABLE change (
    number INTEGER PRIMARY KEY AUTOINCREMENT, seq INTEGER NOT NULL, type TEXT NOT NULL, kind TEXT, entity TEXT,
    action TEXT NOT NULL, by TEXT NOT NULL, user TEXT, at TEXT NOT NULL, data TEXT) STRICT;
CREATE TABLE conflict (id TEXT PRIMARY KEY, kind TEXT NOT NULL, entity TEXT NOT NULL, body TEXT NOT NULL) STRICT;
CREATE VIRTUAL TABLE words USING fts5 (name, text, tokenize = 'unicode61 remove_diacritics 2');
";

/// Why something cannot be kept or read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// There is no space for it: nothing was written.
    #[error("the journal's disk is full: {0}; nothing was written, make space and write again")]
    Full(String),
    /// Another process does not let go of the file: nothing was written.
    #[error("another process holds the journal: {0}; nothing was written, write again")]
    Busy(String),
    /// A later version of this program made it.
    #[error("the journal at {0} was made by a later version of this program; use that one")]
    Later(PathBuf),
    /// Anything else; nothing was written.
    #[error("the journal cannot be used: {0}")]
    Broken(String),
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            // Without space for its index of what is not merged yet, SQLite says that it cannot write at all.
            Some(ErrorCode::DiskFull) => Self::Full(error.to_string()),
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Busy(error.to_string()),
            _ => Self::Broken(error.to_string()),
        }
    }
}

impl From<io::Error> for StoreError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full(error.to_string()),
            _ => Self::Broken(error.to_string()),
        }
    }
}

/// The open file.
#[derive(Clone, Debug)]
pub(super) struct Store(Arc<Opened>);

#[derive(Debug)]
struct Opened {
    /// What a caller is told of is on disk.
    sure: Mutex<Connection>,
    /// What can be got again from the node may be lost with the machine's power.
    quick: Mutex<Connection>,
    /// For looking, which waits for nobody who writes.
    looking: Mutex<Connection>,
    set_aside: Option<PathBuf>,
    dir: PathBuf,
}

/// How sure it has to be that something is on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Care {
    /// It is, when the transaction is done.
    Sure,
    /// It will be; until then the file is as it was before.
    Quick,
}

impl Store {
    /// Opens the store in a directory, or makes it. A file that is damaged is put beside it under another name, and what can still
    /// be read of what was promised is taken along.
    ///
    /// # Errors
    ///
    /// The directory cannot be used, or the file is damaged and another process goes on with it.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        fs::create_dir_all(dir)?;
        let path = dir.join("replica.db");
        // One after the other: nobody finds a file that is half mended.
        let turn = File::options().create(true).truncate(false).write(true).open(dir.join("open.lock"))?;
        turn.lock()?;
        let aside = salvage::finish(&path)?;
        let (sure, aside) = match whole(&path) {
            Err(OpenError::Damaged) => {
                let aside = salvage::mend(dir, &path)?;
                (connect(&path)?, aside)
            }
            opened => (opened.map_err(OpenError::told)?, aside),
        };
        Self::with(dir, sure, aside)
    }

    /// Opens what is there, as it is.
    ///
    /// # Errors
    ///
    /// There is nothing, or it is damaged.
    pub fn look(dir: &Path) -> Result<Self, StoreError> {
        let path = dir.join("replica.db");
        if !path.exists() {
            return Err(StoreError::Broken(format!("there is no journal in {}", dir.display())));
        }
        Self::with(dir, connect(&path)?, None)
    }

    fn with(dir: &Path, sure: Connection, set_aside: Option<PathBuf>) -> Result<Self, StoreError> {
        let again = || connect_with(&dir.join("replica.db"), Care::Quick).map(Mutex::new).map_err(OpenError::told);
        let (quick, looking) = (again()?, again()?);
        Ok(Self(Arc::new(Opened { sure: Mutex::new(sure), quick, looking, set_aside, dir: dir.to_owned() })))
    }

    /// Where the file went that was damaged, if this opening found it so.
    pub fn set_aside(&self) -> Option<&Path> {
        self.0.set_aside.as_deref()
    }

    /// Whether there is space for more than what is there already.
    ///
    /// # Errors
    ///
    /// There is not, or nobody knows.
    pub async fn has_space(&self) -> Result<(), StoreError> {
        let store = self.clone();
        off_thread(move || {
            let disk = rustix::fs::statvfs(&store.0.dir).map_err(io::Error::from)?;
            match disk.f_bavail.saturating_mul(disk.f_frsize) {
                free if free < FREE => Err(StoreError::Full(format!("{free} bytes are free, {FREE} have to be"))),
                _ => Ok(()),
            }
        })
        .await
    }

    /// Does something in one transaction, away from the runtime's own threads.
    ///
    /// # Errors
    ///
    /// What it says itself, or that the file does not take it: then nothing of it was done.
    pub async fn write<T: Send + 'static>(
        &self,
        care: Care,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let store = self.clone();
        off_thread(move || {
            let mut connection = held(if care == Care::Sure { &store.0.sure } else { &store.0.quick });
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let done = work(&transaction)?;
            transaction.commit()?;
            Ok(done)
        })
        .await
    }

    /// Looks at the file as it stands.
    ///
    /// # Errors
    ///
    /// It cannot be read.
    pub async fn read<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Transaction<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let store = self.clone();
        off_thread(move || {
            let mut connection = held(&store.0.looking);
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Deferred)?;
            look(&transaction)
        })
        .await
    }

    /// A number that is another one whenever the file was changed by another process, or by [`Care::Sure`] of this one.
    ///
    /// # Errors
    ///
    /// It cannot be read.
    pub async fn stamp(&self) -> Result<i64, StoreError> {
        let store = self.clone();
        off_thread(move || Ok(held(&store.0.quick).query_row("PRAGMA data_version", [], |row| row.get(0))?)).await
    }
}

fn held(connection: &Mutex<Connection>) -> MutexGuard<'_, Connection> {
    // A transaction that a panic left open was rolled back when it was dropped.
    connection.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn off_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(StoreError::Broken(error.to_string())))
}

enum OpenError {
    Damaged,
    Other(StoreError),
}

impl OpenError {
    fn told(self) -> StoreError {
        match self {
            Self::Damaged => StoreError::Broken("it is damaged; the next agent that opens it puts it aside".to_owned()),
            Self::Other(error) => error,
        }
    }
}

impl From<rusqlite::Error> for OpenError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => Self::Damaged,
            _ => Self::Other(error.into()),
        }
    }
}

/// Opens a file, or makes it.
pub(super) fn connect(path: &Path) -> Result<Connection, StoreError> {
    connect_with(path, Care::Sure).map_err(OpenError::told)
}

fn connect_with(path: &Path, care: Care) -> Result<Connection, OpenError> {
    let mut connection = Connection::open(path)?;
    connection.busy_timeout(PATIENCE)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", if care == Care::Sure { "FULL" } else { "NORMAL" })?;
    connection.pragma_update(None, "wal_autocheckpoint", UNMERGED)?;
    connection.pragma_update(None, "journal_size_limit", 1 << 20)?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let form: i64 = transaction.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    match form {
        0 => {
            transaction.execute_batch(TABLES)?;
            transaction.pragma_update(None, "user_version", FORM)?;
        }
        FORM => {}
        _ => return Err(OpenError::Other(StoreError::Later(path.to_owned()))),
    }
    transaction.commit()?;
    Ok(connection)
}

/// Connects to a file of which every page can be read.
fn whole(path: &Path) -> Result<Connection, OpenError> {
    let connection = connect_with(path, Care::Sure)?;
    let found: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if found == "ok" { Ok(connection) } else { Err(OpenError::Damaged) }
}

/// The time for people, in milliseconds since 1970. No decision looks at it.
pub(super) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// A single value.
pub(super) fn fact(transaction: &Transaction<'_>, name: &str) -> Result<Option<String>, StoreError> {
    let mut asked = transaction.prepare_cached("SELECT value FROM fact WHERE name = ?1")?;
    Ok(asked.query_row([name], |row| row.get(0)).optional()?)
}

/// Deletes rows until the latest of them hold at most so many bytes.
pub(super) fn latest(table: &str, order: &str, text: &str) -> String {
    format!(
        "DELETE FROM {table} WHERE {order} <= (SELECT max({order}) FROM (
             SELECT {order}, sum(octet_length({text})) OVER (ORDER BY {order} DESC) AS held FROM {table}) WHERE held > ?1)"
    )
}

/// Sets a single value.
pub(super) fn set_fact(transaction: &Transaction<'_>, name: &str, value: &str) -> Result<(), StoreError> {
    let text = "INSERT INTO fact (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = ?2";
    transaction.prepare_cached(text)?.execute(params![name, value])?;
    Ok(())
}

#[cfg(test)]
mod tests;
