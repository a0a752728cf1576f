//! The log on this machine's disk: one node, one directory, no other process.
//!
//! Owns: [`EmbeddedLog`], its settings and its figures; the parts are below. One thread writes (`committer`), a few
//! read (`readers`), callers only queue and wait. `docs/embedded-log.md` says which store is underneath and why, and
//! what happens when the disk fails.

mod committer;
mod erase;
mod group;
mod health;
mod journal;
mod live;
mod queue;
mod readers;
mod reads;
mod retention;
mod rooms;
mod rows;
mod shown;
mod stats;
mod store;
mod versions;

use std::{
    fmt,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
    thread::{self, JoinHandle},
    time::Duration,
};

use bytes::Bytes;
use futures_util::future::{self, BoxFuture, FutureExt};
use tokio::sync::{oneshot, watch};

use self::{
    committer::Committer,
    live::Live,
    queue::{Done, Queue, Task, Trim},
    readers::Readers,
    stats::Counters,
    store::{DirLock, Store},
};
use super::{
    Append, AppendError, Appended, Backbone, BackboneError, Channel, CursorUpdate, EntityMark, EntityPage, Extent,
    Feed, Figure, Health, Hub, Page, ReadBudget, Reply, Signals, Stored,
};
use crate::model::{Cursor, EntityKey, Epoch, InstanceId, Position, TenantId, Timestamp};

pub use rows::RECORD_OVERHEAD;
pub use stats::EmbeddedStats;
pub use store::{OpenError, is_in_use};

/// Settings of an embedded log; all are the caller's.
#[derive(Clone, Debug)]
pub struct EmbeddedConfig {
    /// Where the log lives; made if missing.
    pub data_dir: PathBuf,
    /// Records older than this are trimmed; `None` keeps them.
    pub retention_age: Option<Duration>,
    /// The oldest records are trimmed while bodies and [`RECORD_OVERHEAD`] sum to more than this many bytes, over all
    /// tenants; `None` keeps them. Entities' states do not count.
    pub retention_bytes: Option<u64>,
    /// How often age and size are looked at.
    pub sweep_interval: Duration,
    /// Greatest number of records in one commit.
    pub commit_records: usize,
    /// Bodies of one commit may sum to this many bytes; a larger record is committed alone.
    pub commit_bytes: usize,
    /// Appends (and kept cursors and tallies) that may wait.
    pub queue_appends: usize,
    /// Bytes that a feed holds before it lags.
    pub feed_bytes: usize,
}

/// What the log's threads and its callers share.
struct Shared {
    epoch: Epoch,
    queue: Queue,
    live: Live,
    signals: Hub,
    readers: Readers,
    counters: Counters,
    /// Readers read it, the committer writes through it; it is replaced only to be opened again after a failure.
    store: RwLock<Option<Store>>,
    scrubbing: tokio::sync::Mutex<()>,
    closed: watch::Sender<bool>,
}

impl Shared {
    fn store(&self) -> RwLockReadGuard<'_, Option<Store>> {
        // The option is replaced in single assignments, so a panic elsewhere leaves nothing to distrust.
        self.store.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn store_mut(&self) -> RwLockWriteGuard<'_, Option<Store>> {
        self.store.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A log in a directory of this machine. Closing (or dropping) it finishes what waits.
pub struct EmbeddedLog {
    shared: Arc<Shared>,
    committer: Mutex<Option<JoinHandle<()>>>,
}

impl fmt::Debug for EmbeddedLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedLog").field("epoch", &self.shared.epoch).finish_non_exhaustive()
    }
}

impl EmbeddedLog {
    /// Opens the log, or makes it. Blocks while the journal is read again: up to seconds after a crash.
    ///
    /// # Errors
    ///
    /// See [`OpenError`]; nothing is changed on disk by a refused open.
    pub fn open(config: EmbeddedConfig) -> Result<Self, OpenError> {
        let lock = DirLock::take(&config.data_dir)?;
        let (store, epoch) = Store::open(&config.data_dir)?;
        let (rooms, tail) = committer::load(&store)
            .map_err(|fault| OpenError::Corrupt { dir: config.data_dir.clone(), why: fault.to_string() })?;
        let shared = Arc::new(Shared {
            epoch,
            queue: Queue::new(config.queue_appends),
            live: Live::new(epoch, Position(tail.end), config.feed_bytes),
            signals: Hub::default(),
            readers: Readers::default(),
            counters: Counters::default(),
            store: RwLock::new(Some(store)),
            scrubbing: tokio::sync::Mutex::default(),
            closed: watch::Sender::new(false),
        });
        shared.counters.trimmed(tail);
        let refused = |source| OpenError::Io { dir: config.data_dir.clone(), source };
        let readers = Readers::start(&shared).map_err(refused)?;
        let committer = Committer::new(shared.clone(), config.clone(), (rooms, tail), readers, lock);
        let thread =
            thread::Builder::new().name("log-commit".into()).spawn(move || committer.run()).map_err(refused)?;
        Ok(Self { shared, committer: Mutex::new(Some(thread)) })
    }

    /// Trims what age and size say now; returns when it is done.
    ///
    /// # Errors
    ///
    /// The store failed, or the log is closed.
    pub fn sweep_now(&self) -> BoxFuture<'static, Result<(), BackboneError>> {
        self.ask(|done| Task::Trim(Trim::Expired, done))
    }

    /// Trims every record up to a position, whatever the settings say; returns when it is done.
    ///
    /// # Errors
    ///
    /// The store failed, or the log is closed.
    pub fn trim_to(&self, position: Position) -> BoxFuture<'static, Result<(), BackboneError>> {
        self.ask(|done| Task::Trim(Trim::To(position), done))
    }

    /// Takes out single records, wherever they stand; returns when they are durably gone. For a log that is used as a
    /// queue: whoever follows or resumes learns nothing of it. Each call is one commit.
    ///
    /// # Errors
    ///
    /// The store failed, or the log is closed; all of the records are still there.
    pub fn remove(&self, positions: Vec<Position>) -> BoxFuture<'static, Result<(), BackboneError>> {
        self.change(move |store, rooms, tail| retention::remove(store, rooms, tail, &positions))
    }

    /// The figures now. Cheap, but asks the file system for the journal's size.
    pub fn stats(&self) -> EmbeddedStats {
        let disk_bytes = self.shared.store().as_ref().and_then(|store| store.db.disk_space().ok());
        self.shared.counters.stats(disk_bytes.unwrap_or_default())
    }

    fn ask(&self, task: impl FnOnce(Done) -> Task) -> BoxFuture<'static, Result<(), BackboneError>> {
        let (done, answer) = oneshot::channel();
        if let Err(refused) = self.shared.queue.push(task(done)) {
            return future::ready(Err(refused)).boxed();
        }
        answer
            .map(|result| result.unwrap_or_else(|_| Err(BackboneError::Unavailable("the log is closed".into()))))
            .boxed()
    }
}

impl Drop for EmbeddedLog {
    fn drop(&mut self) {
        self.shared.queue.close();
        let thread = self.committer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // It catches its own panics; nothing is left to report.
            let _ = thread.join();
        }
    }
}

impl Backbone for EmbeddedLog {
    fn epoch(&self, _: &TenantId) -> Epoch {
        self.shared.epoch
    }

    fn health(&self) -> Health {
        if *self.shared.closed.borrow() { Health::Down("the log is closed".into()) } else { Health::Serving }
    }

    fn figures(&self) -> Vec<Figure> {
        self.stats().figures()
    }

    fn known_end(&self, _: &TenantId) -> Position {
        self.shared.live.end()
    }

    fn append(&self, append: Append, reply: Reply) {
        self.shared.queue.append(append, reply);
    }

    fn append_all(&self, appends: Vec<Append>) -> BoxFuture<'static, Result<Vec<Appended>, AppendError>> {
        self.shared.queue.append_all(appends).boxed()
    }

    fn follow(&self, tenant: &TenantId) -> BoxFuture<'static, Result<Feed, BackboneError>> {
        future::ready(self.shared.live.follow(tenant)).boxed()
    }

    fn read(
        &self,
        tenant: &TenantId,
        after: Position,
        budget: ReadBudget,
    ) -> BoxFuture<'static, Result<Page, BackboneError>> {
        let tenant = tenant.clone();
        self.shared.readers.read(move |store| reads::read(store, &tenant, after, budget))
    }

    fn extent(&self, tenant: &TenantId) -> BoxFuture<'static, Result<Extent, BackboneError>> {
        let tenant = tenant.clone();
        self.shared.readers.read(move |store| reads::extent(store, &tenant))
    }

    fn last_at(&self, tenant: &TenantId, at: Position) -> BoxFuture<'static, Result<Position, BackboneError>> {
        let tenant = tenant.clone();
        self.shared.readers.read(move |store| reads::last_at(store, &tenant, at))
    }

    fn count_after(
        &self,
        tenant: &TenantId,
        after: Position,
        at_most: usize,
    ) -> BoxFuture<'static, Result<usize, BackboneError>> {
        let tenant = tenant.clone();
        self.shared.readers.read(move |store| reads::count_after(store, &tenant, after, at_most))
    }

    fn position_at(&self, tenant: &TenantId, time: Timestamp) -> BoxFuture<'static, Result<Position, BackboneError>> {
        let tenant = tenant.clone();
        self.shared.readers.read(move |store| reads::position_at(store, &tenant, time))
    }

    fn entity(&self, tenant: &TenantId, key: &EntityKey) -> BoxFuture<'static, Result<Option<Stored>, BackboneError>> {
        let (tenant, key) = (tenant.clone(), key.clone());
        self.shared.readers.read(move |store| reads::entity(store, &tenant, &key))
    }

    fn entities(
        &self,
        tenant: &TenantId,
        from: Option<EntityMark>,
        budget: ReadBudget,
    ) -> BoxFuture<'static, Result<EntityPage, BackboneError>> {
        let tenant = tenant.clone();
        self.shared.readers.read(move |store| reads::entities(store, &tenant, from, budget))
    }

    fn cursor(
        &self,
        tenant: &TenantId,
        instance: &InstanceId,
    ) -> BoxFuture<'static, Result<Option<Cursor>, BackboneError>> {
        let (tenant, instance, epoch) = (tenant.clone(), instance.clone(), self.shared.epoch);
        self.shared.readers.read(move |store| {
            let kept = reads::cursor(store, &tenant, &instance)?;
            Ok(kept.map(|position| Cursor { epoch, position, fingerprint: None }))
        })
    }

    fn keep_cursors(&self, updates: Vec<CursorUpdate>) -> BoxFuture<'static, Result<(), BackboneError>> {
        let epoch = self.shared.epoch;
        let updates = updates.into_iter().filter(|update| update.epoch == epoch).collect();
        self.ask(|done| Task::Cursors(updates, done))
    }

    fn tally(&self, tenant: &TenantId) -> BoxFuture<'static, Result<Option<Bytes>, BackboneError>> {
        let tenant = tenant.clone();
        self.shared.readers.read(move |store| reads::tally(store, &tenant))
    }

    fn keep_tally(&self, tenant: &TenantId, tally: Bytes) -> BoxFuture<'static, Result<(), BackboneError>> {
        let tenant = tenant.clone();
        self.ask(|done| Task::Tally(tenant, tally, done))
    }

    fn signal(&self, channel: &Channel, body: Bytes) {
        self.shared.signals.give(channel, &body);
    }

    fn listen(&self, channel: Channel) -> BoxFuture<'static, Result<Signals, BackboneError>> {
        future::ready(Ok(self.shared.signals.listen(channel))).boxed()
    }

    fn close(&self) -> BoxFuture<'static, ()> {
        self.shared.signals.close();
        self.shared.queue.close();
        let mut closed = self.shared.closed.subscribe();
        async move {
            // Fails only when the sender is gone, and with it the whole log.
            let _ = closed.wait_for(|closed| *closed).await;
        }
        .boxed()
    }
}
