//! The node's journal: takes publishes while the log is out of reach, on this node's disk, and brings them to the log in
//! order when it is back.
//!
//! Owns: invariant **kept** (what was answered `queued` is on disk until the log has it) and which way an append goes.
//! Must not know: rooms' members, sockets, which log it is. The parts: `entry` (bytes), `index` (order and budget),
//! `store` (disk), `desk` (what the parts share), `drain` (the task that sends), `pace` (how long it waits after a failure).
//!
//! The journal is a log too: an [`EmbeddedLog`] of its own, which brings group commit, flushed answers, recovery after a
//! crash and finding repeats. One fixed tenant of it holds the entries, another the dead letters.

mod accounts;
mod desk;
mod drain;
mod entry;
mod forget;
mod index;
mod lines;
mod look;
mod pace;
mod store;

use std::{
    io,
    panic::{self, AssertUnwindSafe},
    path::PathBuf,
    sync::Arc,
    thread,
};

use futures_util::FutureExt;
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, timeout_at},
};

use self::{desk::Desk, store::Store};
use crate::{
    backbone::{
        Append, AppendError, Appended, BackboneError, Expect, Health, Reply, SharedBackbone,
        embedded::{EmbeddedLog, OpenError},
    },
    model::{DedupeId, TenantId, Timestamp, erasure::Counts},
};

pub use accounts::OfTenant;
pub use entry::{Damaged, DeadLetter, Entry};
pub use look::{Look, look};
pub use pace::CAP as LONGEST_PAUSE;

/// Notices that may wait for one room.
const NOTICES: usize = 1024;

/// Settings of a journal; all are the caller's.
#[derive(Clone, Debug)]
pub struct JournalConfig {
    /// Where it lives; made if missing.
    pub dir: PathBuf,
    /// Entries, dead letters and what the store needs for each sum to at most this many bytes. A dead letter's reason
    /// comes on top.
    pub max_bytes: u64,
    /// Greatest number of entries in one flush.
    pub commit_records: usize,
    /// Entries of one flush may sum to this many bytes; a larger one is flushed alone.
    pub commit_bytes: usize,
    /// Entries that may wait for the disk.
    pub queue_appends: usize,
}

/// Why a journal could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Its store does not open.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// What it holds cannot be read.
    #[error("the journal cannot be read: {0}")]
    Read(#[from] BackboneError),
    /// The system gives it no thread.
    #[error("the journal has no thread: {0}")]
    Thread(#[from] io::Error),
}

/// Whether appends of the same room wait for the log's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ahead {
    /// None does.
    Nothing,
    /// Some do: whatever becomes of them, this one has to come behind them.
    Unanswered,
}

/// An entry has left the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drained {
    /// Which append.
    pub dedupe: DedupeId,
    /// Where it stands in the log, or why the log will never take it.
    pub end: Result<Appended, AppendError>,
}

/// Figures for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Entries that the log does not have.
    pub entries: usize,
    /// What the journal holds, bytes; dead letters too.
    pub bytes: u64,
    /// What it may hold.
    pub max_bytes: u64,
    /// When the oldest entry came.
    pub oldest: Option<Timestamp>,
    /// Entries that went to the log since the start.
    pub drained: u64,
    /// Dead letters that are kept.
    pub dead: u64,
    /// Appends that the journal had no room for since the start.
    pub refused: u64,
}

/// How the journal stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Nothing waits.
    Empty,
    /// This many entries wait.
    Holding(usize),
    /// It refused the last append that it was asked to keep, and would refuse it again.
    Full,
}

/// The journal of a node, in front of its log.
#[derive(Debug)]
pub struct Journal {
    desk: Arc<Desk>,
    closed: watch::Receiver<bool>,
}

impl Journal {
    /// Opens the journal, or makes it, reads what it holds and begins to drain it. Blocks while the store recovers: up to
    /// seconds after a crash.
    ///
    /// # Errors
    ///
    /// See [`JournalError`].
    pub async fn open(config: JournalConfig, backbone: SharedBackbone) -> Result<Arc<Self>, JournalError> {
        let log = EmbeddedLog::open(store::settings(&config))?;
        let (to, answers) = mpsc::channel(config.queue_appends);
        let desk = Arc::new(Desk::recover(Store::new(log), backbone, config.max_bytes, to).await?);
        let (closing, closed) = watch::channel(false);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        let drained = desk.clone();
        // Of its own: no actor's and no request's work delays what waits for the log.
        thread::Builder::new().name("journal".into()).spawn(move || {
            let working = AssertUnwindSafe(|| runtime.block_on(drain::run(drained.clone(), answers)));
            // Whatever happens, nobody may wait for ever for a thread that is gone.
            if panic::catch_unwind(working).is_err() {
                tracing::error!("the journal panicked and is closed; what it holds is read again at the next start");
            }
            drained.abandon();
            closing.send_replace(true);
        })?;
        Ok(Arc::new(Self { desk, closed }))
    }

    /// Appends to the log, or keeps the append while the log is out of reach or others of its room wait here. Returns at
    /// once. An append with a condition is never kept: what would have to be kept is what led to it.
    pub fn append(self: &Arc<Self>, append: Append, mut reply: Reply, ahead: Ahead) {
        if append.expect != Expect::Anything {
            return self.desk.backbone.append(append, reply);
        }
        if self.desk.backbone.tenancy(&append.tenant).is_closed {
            return reply.send(Err(AppendError::Erasing));
        }
        if self.goes_straight(&append.tenant, ahead) {
            reply.keeper = Some(self.desk.clone());
            return self.desk.backbone.append(append, reply);
        }
        self.desk.line_up(append, reply);
    }

    fn goes_straight(&self, tenant: &TenantId, ahead: Ahead) -> bool {
        // Nothing is locked while the journal is empty, which is the usual case.
        if !self.desk.is_idle() && self.desk.is_queued(tenant) {
            return false;
        }
        ahead == Ahead::Unanswered || self.desk.backbone.health_of(tenant) == Health::Serving
    }

    /// What becomes of a tenant's entries from here on. A listener that is far behind is dropped: its notices end. A newer
    /// listener takes the older one's place.
    pub fn notices(&self, tenant: &TenantId) -> mpsc::Receiver<Drained> {
        let (to, notices) = mpsc::channel(NOTICES);
        self.desk.listen(tenant, to);
        notices
    }

    /// How it stands.
    pub fn standing(&self) -> Standing {
        self.desk.standing()
    }

    /// The figures now.
    pub fn figures(&self) -> Figures {
        self.desk.figures()
    }

    /// What it holds of a tenant.
    pub fn of_tenant(&self, tenant: &TenantId) -> OfTenant {
        self.desk.of_tenant(tenant)
    }

    /// What it holds of the tenants behind one by name, at most so many: those of which something waits, or found no room.
    pub fn by_tenant(&self, after: Option<&TenantId>, most: usize) -> Vec<OfTenant> {
        self.desk.by_tenant(after, most)
    }

    /// The oldest publishes that the log will never take, at most so many.
    ///
    /// # Errors
    ///
    /// The store failed, or the journal is closed.
    pub async fn dead_letters(&self, most: usize) -> Result<Vec<DeadLetter>, BackboneError> {
        self.desk.store.letters(most).await
    }

    /// Lets go of everything that is of an earlier life of a tenant, entries and dead letters, and of its bytes on disk. The log has
    /// been told which life it is. Returns when nothing is left.
    ///
    /// # Errors
    ///
    /// The store failed, or the journal is closed; some of it may be left.
    pub async fn forget(&self, tenant: &TenantId) -> Result<Counts, BackboneError> {
        self.desk.refused.forget(tenant);
        self.desk.forget(tenant).await
    }

    /// Tries everything again at once and waits until nothing is left, but not past a time; returns how many entries stay.
    pub async fn settle(&self, deadline: Instant) -> usize {
        self.desk.hurry();
        // A deadline that passes is an answer too: what is left stays on disk.
        let _ = timeout_at(deadline, self.desk.emptied()).await;
        self.desk.waiting()
    }

    /// Finishes the writes under way, then closes. What waits stays on disk. The log should be closed before: what it
    /// gives up at its end is still kept.
    pub async fn close(&self) {
        self.desk.close();
        let mut closed = self.closed.clone();
        // Fails only when the thread is gone, and with it the journal.
        let _ = closed.wait_for(|closed| *closed).boxed().await;
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.desk.close();
    }
}
