//! The log on NATS: streams in JetStream, one tail a shard, signals over core subjects.
//!
//! Owns: [`NatsLog`], its settings, and what its parts share; the parts are below. `docs/nats.md` says what lies where and
//! what each promise rests on.

mod api;
mod conditions;
pub mod definition;
mod direct;
mod erase;
mod examine;
mod kept;
mod line;
mod lines;
pub mod names;
mod publisher;
mod reads;
mod search;
mod settings;
mod setup;
mod shard;
mod shared;
mod shown;
mod tail;
mod together;

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::future::{self, BoxFuture, FutureExt};
use tokio::{
    runtime::Runtime,
    sync::{Notify, mpsc, watch},
    time::timeout,
};

use self::{
    line::Line,
    publisher::Job,
    shard::{Followed, Shard},
    shared::{Shared, Standing},
};
use super::{
    Append, AppendError, Appended, Backbone, BackboneError, Channel, CursorUpdate, EntityMark, EntityPage, Expect,
    Extent, Feed, Figure, FigureValue, Health, Page, ReadBudget, Reply, Signals, Stored, Tenancies,
};
use crate::model::{Cursor, EntityKey, Epoch, InstanceId, Position, TenantId, Timestamp};

pub use examine::examine;
pub use line::{Credentials, Tls, with_user_of};
pub use names::Names;
pub use settings::{NatsConfig, OpenError};

/// Threads of the runtime that the connection lives on. Connection, publisher and tails hand each other every record: on
/// one thread nobody has to be woken for that. At 56,000 publishes a second it is busy for a third of the time.
pub const THREADS: usize = 1;
/// How long opening waits for NATS before it goes on without.
const FIRST_LOOK: Duration = Duration::from_secs(5);
/// How long a room waits for its feed before it asks again.
const FEED: Duration = Duration::from_secs(3);

/// Figures since the log was opened, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NatsStats {
    /// Messages under a subject that is no record's: dropped.
    pub foreign: u64,
    /// Times that a tail was made anew.
    pub tails_remade: u64,
    /// Connections to NATS.
    pub connections: u64,
}

/// The log on NATS.
pub struct NatsLog {
    shared: Arc<Shared>,
    /// Repeats on their way to the search; gone when the log is closed.
    careful: Mutex<Option<mpsc::Sender<Job>>>,
    signals: lines::Lines,
    runtime: Option<Runtime>,
}

impl fmt::Debug for NatsLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NatsLog").field("shape", &self.shared.shape).finish_non_exhaustive()
    }
}

impl NatsLog {
    /// Connects. Waits a few seconds for NATS to be there; if it is not, the log opens all the same and looks for it in the
    /// background.
    ///
    /// # Errors
    ///
    /// See [`OpenError`]; a NATS that is merely away is no error.
    pub async fn open(config: NatsConfig) -> Result<Self, OpenError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("nats")
            .enable_all()
            .build()?;
        let handle = runtime.handle().clone();
        let opened = handle.spawn(Self::open_within(config, runtime));
        opened.await.map_err(|error| std::io::Error::other(error.to_string()))?
    }

    async fn open_within(config: NatsConfig, runtime: Runtime) -> Result<Self, OpenError> {
        let shape = config.shape();
        let names = &shape.names;
        let line = match Line::open(&config.target()).await {
            Ok(line) => line,
            Err(error) => {
                runtime.shutdown_background();
                return Err(error.into());
            }
        };
        let shards = (0..names.shards()).map(|shard| Arc::new(Shard::new(names, shard, config.feed_bytes)));
        let (jobs, waiting) = mpsc::channel(config.queue_appends.max(1));
        let (careful, searched) = mpsc::channel(config.queue_appends.max(1));
        let shared = Arc::new(Shared {
            shards: shards.collect(),
            shape,
            hub: Arc::default(),
            standing: watch::Sender::new(Standing::Waiting("no connection yet".into())),
            look_again: Notify::new(),
            jobs,
            busy: Arc::default(),
            most_busy: config.queue_appends,
            closing: watch::Sender::new(false),
            closed: watch::Sender::new(false),
            cursors: kept::Memory::default(),
            silenced: Notify::new(),
            up_since: Mutex::new(Instant::now()),
            runtime: runtime.handle().clone(),
            foreign: AtomicU64::default(),
            tails_remade: AtomicU64::default(),
            largest_body: config.largest_body,
            opened: AtomicBool::default(),
            tenancies: Tenancies::default(),
            line,
        });
        runtime.spawn(publisher::run(shared.clone(), waiting, config.window.max(1)));
        runtime.spawn(search::run(shared.clone(), searched));
        runtime.spawn(shared.clone().keep_watch());
        runtime.spawn(shared.clone().listen_for_life());
        for shard in &shared.shards {
            runtime.spawn(tail::run(shared.clone(), shard.clone()));
        }
        let signals = lines::Lines::start(&shared);
        let log = Self { careful: Mutex::new(Some(careful)), signals, runtime: Some(runtime), shared };
        log.first_look().await?;
        log.shared.opened.store(true, Relaxed);
        Ok(log)
    }

    async fn first_look(&self) -> Result<(), OpenError> {
        let mut standing = self.shared.standing.subscribe();
        let decided = standing.wait_for(|standing| !matches!(standing, Standing::Waiting(_)));
        match timeout(FIRST_LOOK, decided).await {
            Ok(Ok(standing)) => match &*standing {
                Standing::Wrong(why) => Err(OpenError::Wrong(why.clone())),
                Standing::Ready | Standing::Waiting(_) => Ok(()),
            },
            // Away, which is no error: appends go to the journal, rooms wait.
            _ => Ok(()),
        }
    }

    /// The figures now.
    pub fn stats(&self) -> NatsStats {
        NatsStats {
            foreign: self.shared.foreign.load(Relaxed),
            tails_remade: self.shared.tails_remade.load(Relaxed),
            connections: *self.shared.line.connections().borrow(),
        }
    }

    /// What the parts share, for a question; refused when the log is closed or was never reached.
    fn open_shared(&self) -> Result<Arc<Shared>, BackboneError> {
        let shared = &self.shared;
        if *shared.closing.borrow() {
            return Err(BackboneError::Unavailable("the log is closed".into()));
        }
        match &*shared.standing.borrow() {
            Standing::Waiting(why) | Standing::Wrong(why) => Err(BackboneError::Unavailable(why.clone())),
            Standing::Ready => Ok(shared.clone()),
        }
    }

    /// Asks, unless nobody can be asked.
    fn ask<T, F>(&self, question: impl FnOnce(Arc<Shared>) -> F) -> BoxFuture<'static, Result<T, BackboneError>>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, BackboneError>> + Send + 'static,
    {
        match self.open_shared() {
            Ok(shared) => question(shared).boxed(),
            Err(error) => future::ready(Err(error)).boxed(),
        }
    }
}

impl Drop for NatsLog {
    fn drop(&mut self) {
        self.shared.closing.send_replace(true);
        self.shared.shards.iter().for_each(|shard| shard.close());
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Backbone for NatsLog {
    fn epoch(&self, tenant: &TenantId) -> Epoch {
        self.shared.shard_of(tenant).epoch()
    }

    fn health(&self) -> Health {
        self.shared.health(None)
    }

    fn health_of(&self, tenant: &TenantId) -> Health {
        self.shared.health(Some(tenant))
    }

    fn figures(&self) -> Vec<Figure> {
        let NatsStats { foreign, tails_remade, connections } = self.stats();
        let counter = |name, help, value: u64| Figure { name, help, value: FigureValue::Counter(value as f64) };
        vec![
            counter("nats_foreign_messages", "Messages under subjects that are no record's, dropped", foreign),
            counter("nats_tails_remade", "Times that a shard's consumer was made anew", tails_remade),
            counter("nats_connections", "Connections made to NATS", connections),
        ]
    }

    fn known_end(&self, tenant: &TenantId) -> Position {
        self.shared.shard_of(tenant).settled_end()
    }

    fn append(&self, mut append: Append, reply: Reply) {
        if let Some(refused) = self.shared.refuse(&append) {
            return reply.send(Err(refused));
        }
        let shard = self.shared.shard_of(&append.tenant).clone();
        let subject = self.shared.shape.names.record(&append.tenant, &append.subject);
        let expected = match append.expect {
            Expect::Anything => None,
            Expect::Version(position) => Some(position.0),
        };
        let is_first = append.expect == Expect::Version(Position::START);
        let is_repeat = append.first_tried.is_some();
        let counted = publisher::Counted::new(&self.shared.busy);
        let (given, life) = (append.dedupe, self.shared.tenancies.of(&append.tenant).since);
        append.dedupe = given.in_life(life);
        let job = Job::new(append, (given, life), reply, shard, (subject, expected), counted);
        if is_first {
            // LOG would take it for an entity that it has only forgotten.
            return conditions::settle(self.shared.clone(), job);
        }
        let queue = match &*self.careful.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(careful) if is_repeat => careful.clone(),
            _ => self.shared.jobs.clone(),
        };
        if let Err(refused) = queue.try_send(job) {
            refused.into_inner().reply.send(Err(AppendError::Busy));
        }
    }

    fn append_all(&self, appends: Vec<Append>) -> BoxFuture<'static, Result<Vec<Appended>, AppendError>> {
        together::append_all(self.shared.clone(), appends).boxed()
    }

    fn follow(&self, tenant: &TenantId) -> BoxFuture<'static, Result<Feed, BackboneError>> {
        let tenant = tenant.clone();
        self.ask(|shared| async move {
            let soon = match shared.shard_of(&tenant).follow(&tenant)? {
                Followed::Now(feed) => return Ok(feed),
                Followed::Soon(soon) => soon,
            };
            match timeout(FEED, soon).await {
                Ok(Ok(feed)) => Ok(feed),
                _ => Err(BackboneError::Unavailable("the tail of the log cannot be made".into())),
            }
        })
    }

    fn read(
        &self,
        tenant: &TenantId,
        after: Position,
        budget: ReadBudget,
    ) -> BoxFuture<'static, Result<Page, BackboneError>> {
        let tenant = tenant.clone();
        self.ask(|shared| async move { shared.read(&tenant, after, budget).await })
    }

    fn extent(&self, tenant: &TenantId) -> BoxFuture<'static, Result<Extent, BackboneError>> {
        let tenant = tenant.clone();
        self.ask(|shared| async move { shared.extent(&tenant).await })
    }

    fn last_at(&self, tenant: &TenantId, at: Position) -> BoxFuture<'static, Result<Position, BackboneError>> {
        let tenant = tenant.clone();
        self.ask(move |shared| async move { shared.last_at(&tenant, at).await })
    }

    fn count_after(
        &self,
        tenant: &TenantId,
        after: Position,
        at_most: usize,
    ) -> BoxFuture<'static, Result<usize, BackboneError>> {
        let tenant = tenant.clone();
        self.ask(move |shared| async move { shared.count_after(&tenant, after, at_most).await })
    }

    fn position_at(&self, tenant: &TenantId, time: Timestamp) -> BoxFuture<'static, Result<Position, BackboneError>> {
        let tenant = tenant.clone();
        self.ask(move |shared| async move { shared.position_at(&tenant, time).await })
    }

    fn entity(&self, tenant: &TenantId, key: &EntityKey) -> BoxFuture<'static, Result<Option<Stored>, BackboneError>> {
        let (tenant, key) = (tenant.clone(), key.clone());
        self.ask(|shared| async move { shared.entity(&tenant, &key).await })
    }

    fn entities(
        &self,
        tenant: &TenantId,
        from: Option<EntityMark>,
        budget: ReadBudget,
    ) -> BoxFuture<'static, Result<EntityPage, BackboneError>> {
        let tenant = tenant.clone();
        self.ask(move |shared| async move { shared.entities(&tenant, from, budget).await })
    }

    fn cursor(
        &self,
        tenant: &TenantId,
        instance: &InstanceId,
    ) -> BoxFuture<'static, Result<Option<Cursor>, BackboneError>> {
        let (tenant, instance) = (tenant.clone(), instance.clone());
        self.ask(|shared| async move { shared.cursor(&tenant, &instance).await })
    }

    fn keep_cursors(&self, updates: Vec<CursorUpdate>) -> BoxFuture<'static, Result<(), BackboneError>> {
        self.ask(|shared| async move { shared.keep_cursors(updates).await })
    }

    fn tally(&self, tenant: &TenantId) -> BoxFuture<'static, Result<Option<Bytes>, BackboneError>> {
        let tenant = tenant.clone();
        self.ask(|shared| async move { shared.tally(&tenant).await })
    }

    fn keep_tally(&self, tenant: &TenantId, tally: Bytes) -> BoxFuture<'static, Result<(), BackboneError>> {
        let tenant = tenant.clone();
        self.ask(|shared| async move { shared.keep_tally(&tenant, tally).await })
    }

    fn signal(&self, channel: &Channel, body: Bytes) {
        self.signals.send(self.shared.shape.names.channel(channel), body);
    }

    fn listen(&self, channel: Channel) -> BoxFuture<'static, Result<Signals, BackboneError>> {
        let subscribed = self.signals.subscribed();
        lines::Lines::listen(self.shared.clone(), subscribed, channel).boxed()
    }

    fn close(&self) -> BoxFuture<'static, ()> {
        self.shared.closing.send_replace(true);
        *self.careful.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.shared.shards.iter().for_each(|shard| shard.close());
        self.shared.hub.close();
        let mut closed = self.shared.closed.subscribe();
        async move {
            // Fails only when the sender is gone, and with it the whole log.
            let _ = closed.wait_for(|closed| *closed).await;
        }
        .boxed()
    }
}
