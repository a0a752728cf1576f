//! A real log that can be made unreachable, and that has no memory of its own for repeats.

#![allow(dead_code, reason = "test binaries share this module and each uses a part of it")]

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
};

use bytes::Bytes;
use continuum::{
    backbone::{
        Answer, Append, AppendError, Appended, Backbone, BackboneError, Channel, CursorUpdate, EntityMark, EntityPage,
        Erased, Erasing, Extent, Feed, Figure, Health, Outcome, Page, ReadBudget, Reply, SharedBackbone, Signals,
        Stored, Subject,
        shown::{Line, ShardShown, Shown, Tail},
    },
    model::{
        Cursor, DedupeId, EntityKey, Epoch, InstanceId, Position, TenantId, Timestamp,
        erasure::{Counts, Floor, Tenancy},
    },
};
use futures_util::future::BoxFuture;
use tokio::{runtime::Handle, sync::mpsc};
use uuid::Uuid;

/// What happens to an append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// It reaches the log, and the answer comes back.
    Open,
    /// It does not reach the log, and nothing can be read either.
    CutBefore,
    /// It reaches the log, but the answer does not come back.
    CutAfter,
    /// It is under way until [`Switch::give_up`].
    Held,
}

/// What the log says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Says {
    /// That it serves.
    Serving,
    /// That something is away.
    Degraded,
    /// That it was never reached; it does not know its epoch either.
    NeverReached,
}

type Hook = Box<dyn Fn(&Append) + Send + Sync>;

/// See the file's head. An append whose body begins with `poison` is refused for good.
pub struct Switch {
    log: SharedBackbone,
    runtime: Handle,
    way: Mutex<(Way, Says)>,
    /// Rooms that go another way than the others.
    ways_of: Mutex<HashMap<TenantId, Way>>,
    /// Where records stand, by the id under which they came.
    known: Arc<Mutex<HashMap<DedupeId, Vec<Position>>>>,
    /// Called when the log has an append and nobody was told yet.
    hook: Arc<Mutex<Option<Hook>>>,
    held: Mutex<Vec<(Append, Reply)>>,
    /// Appends and questions that did not reach the log.
    pub cut: AtomicUsize,
    refusing: AtomicBool,
    behind: AtomicBool,
    /// How often it was asked where a time is.
    pub times_asked: AtomicUsize,
}

impl fmt::Debug for Switch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Switch").field("way", &self.way).finish_non_exhaustive()
    }
}

impl Switch {
    pub fn over(log: SharedBackbone) -> Arc<Self> {
        Arc::new(Self {
            log,
            runtime: Handle::current(),
            way: Mutex::new((Way::Open, Says::Serving)),
            ways_of: Mutex::default(),
            known: Arc::default(),
            hook: Arc::default(),
            held: Mutex::default(),
            cut: AtomicUsize::new(0),
            refusing: AtomicBool::new(false),
            behind: AtomicBool::new(false),
            times_asked: AtomicUsize::new(0),
        })
    }

    pub fn set(&self, way: Way, says: Says) {
        *self.way.lock().expect("sound") = (way, says);
    }

    pub fn set_for(&self, tenant: &TenantId, way: Way) {
        self.ways_of.lock().expect("sound").insert(tenant.clone(), way);
    }

    /// Calls this whenever the log has an append and nobody was told yet.
    pub fn when_taken(&self, hook: impl Fn(&Append) + Send + Sync + 'static) {
        *self.hook.lock().expect("sound") = Some(Box::new(hook));
    }

    /// From here on the log refuses every append for good.
    pub fn refuse_for_good(&self) {
        self.refusing.store(true, SeqCst);
    }

    /// From here on whoever is asked where a time is has not heard of anything that late.
    pub fn fall_behind(&self) {
        self.behind.store(true, SeqCst);
    }

    /// Gives up what is held, in the order in which it came.
    pub fn give_up(&self) {
        for (append, reply) in std::mem::take(&mut *self.held.lock().expect("sound")) {
            reply.give_up(append, AppendError::Unavailable("held and given up".into()));
        }
    }

    fn way_of(&self, tenant: &TenantId) -> Way {
        let way = self.way.lock().expect("sound").0;
        self.ways_of.lock().expect("sound").get(tenant).copied().unwrap_or(way)
    }

    fn says(&self) -> Says {
        self.way.lock().expect("sound").1
    }

    /// Asks the log, if it can be reached.
    fn ask<T: Send + 'static>(
        &self,
        answer: BoxFuture<'static, Result<T, BackboneError>>,
    ) -> BoxFuture<'static, Result<T, BackboneError>> {
        if self.way.lock().expect("sound").0 == Way::CutBefore {
            self.cut.fetch_add(1, SeqCst);
            return Box::pin(async { Err(BackboneError::Unavailable("cut off".into())) });
        }
        answer
    }

    /// A copy that the search finds: only behind the position that the append names.
    fn find(&self, append: &Append) -> Option<Position> {
        let after = append.first_tried?;
        let known = self.known.lock().expect("sound");
        known.get(&append.dedupe)?.iter().copied().find(|position| *position > after)
    }
}

impl Erasing for Switch {
    fn tenancy(&self, tenant: &TenantId) -> Tenancy {
        self.log.tenancy(tenant)
    }

    fn set_tenancy(&self, tenant: &TenantId, tenancy: Tenancy) {
        self.log.set_tenancy(tenant, tenancy);
    }

    fn erase(&self, tenant: &TenantId) -> BoxFuture<'static, Result<Erased, BackboneError>> {
        self.ask(self.log.erase(tenant))
    }

    fn holdings(&self, tenant: &TenantId) -> BoxFuture<'static, Result<Counts, BackboneError>> {
        self.ask(self.log.holdings(tenant))
    }

    fn strike(
        &self,
        tenant: &TenantId,
        records: Vec<(Position, Subject)>,
    ) -> BoxFuture<'static, Result<u64, BackboneError>> {
        self.ask(self.log.strike(tenant, records))
    }

    fn set_trimmed(&self, tenant: &TenantId, to: Floor) {
        self.log.set_trimmed(tenant, to);
    }

    fn trim_tenant(&self, tenant: &TenantId, to: Position) -> BoxFuture<'static, Result<bool, BackboneError>> {
        self.ask(self.log.trim_tenant(tenant, to))
    }

    fn scrub(&self) -> BoxFuture<'static, Result<(), BackboneError>> {
        self.ask(self.log.scrub())
    }
}

impl Shown for Switch {
    fn line(&self) -> Line {
        self.log.line()
    }

    fn tails(&self) -> Vec<Tail> {
        self.log.tails()
    }

    fn shards(&self) -> BoxFuture<'static, Vec<ShardShown>> {
        self.log.shards()
    }
}

impl Backbone for Switch {
    fn epoch(&self, tenant: &TenantId) -> Epoch {
        if self.says() == Says::NeverReached { Epoch::UNKNOWN } else { self.log.epoch(tenant) }
    }

    fn health(&self) -> Health {
        match self.says() {
            Says::Serving => Health::Serving,
            Says::Degraded => Health::Degraded("the switch is off".into()),
            Says::NeverReached => Health::Down("the switch was never on".into()),
        }
    }

    fn figures(&self) -> Vec<Figure> {
        self.log.figures()
    }

    fn known_end(&self, tenant: &TenantId) -> Position {
        if self.says() == Says::NeverReached { Position::START } else { self.log.known_end(tenant) }
    }

    fn append(&self, mut append: Append, reply: Reply) {
        let way = self.way_of(&append.tenant);
        let first_tried = append.first_tried.unwrap_or_else(|| self.known_end(&append.tenant));
        if way == Way::CutBefore {
            self.cut.fetch_add(1, SeqCst);
            append.first_tried = Some(first_tried);
            return reply.give_up(append, AppendError::Unavailable("cut off".into()));
        }
        if way == Way::Held {
            append.first_tried = Some(first_tried);
            return self.held.lock().expect("sound").push((append, reply));
        }
        if self.refusing.load(SeqCst) || append.body.starts_with(b"poison") {
            return reply.send(Err(AppendError::Refused("poison".into())));
        }
        if let Some(position) = self.find(&append) {
            return reply.send(Ok(Appended { position, outcome: Outcome::Duplicate }));
        }
        let (to, mut answer) = mpsc::channel(1);
        let fresh = Append { dedupe: DedupeId(Uuid::new_v4()), first_tried: None, ..append.clone() };
        self.log.append(fresh, Reply { token: 0, to, keeper: None });
        let (known, hook) = (self.known.clone(), self.hook.clone());
        self.runtime.spawn(async move {
            let (_, result) = answer.recv().await.expect("an answer");
            if let Ok(Answer::Appended(appended)) = &result {
                known.lock().expect("sound").entry(append.dedupe).or_default().push(appended.position);
                if let Some(hook) = &*hook.lock().expect("sound") {
                    hook(&append);
                }
            }
            if way == Way::CutAfter {
                append.first_tried = Some(first_tried);
                return reply.give_up(append, AppendError::Unknown("cut off".into()));
            }
            reply.send(result.map(|answer| match answer {
                Answer::Appended(appended) => appended,
                Answer::Queued => unreachable!("a log does not queue"),
            }));
        });
    }

    fn append_all(&self, appends: Vec<Append>) -> BoxFuture<'static, Result<Vec<Appended>, AppendError>> {
        if self.way.lock().expect("sound").0 == Way::CutBefore {
            return Box::pin(async { Err(AppendError::Unavailable("cut off".into())) });
        }
        self.log.append_all(appends)
    }

    fn follow(&self, tenant: &TenantId) -> BoxFuture<'static, Result<Feed, BackboneError>> {
        self.ask(self.log.follow(tenant))
    }

    fn read(
        &self,
        tenant: &TenantId,
        after: Position,
        budget: ReadBudget,
    ) -> BoxFuture<'static, Result<Page, BackboneError>> {
        self.ask(self.log.read(tenant, after, budget))
    }

    fn extent(&self, tenant: &TenantId) -> BoxFuture<'static, Result<Extent, BackboneError>> {
        self.ask(self.log.extent(tenant))
    }

    fn last_at(&self, tenant: &TenantId, at: Position) -> BoxFuture<'static, Result<Position, BackboneError>> {
        self.ask(self.log.last_at(tenant, at))
    }

    fn count_after(
        &self,
        tenant: &TenantId,
        after: Position,
        at_most: usize,
    ) -> BoxFuture<'static, Result<usize, BackboneError>> {
        self.ask(self.log.count_after(tenant, after, at_most))
    }

    fn position_at(&self, tenant: &TenantId, time: Timestamp) -> BoxFuture<'static, Result<Position, BackboneError>> {
        self.times_asked.fetch_add(1, SeqCst);
        if self.behind.load(SeqCst) {
            let end = self.known_end(tenant);
            return Box::pin(async move { Ok(end) });
        }
        self.ask(self.log.position_at(tenant, time))
    }

    fn entity(&self, tenant: &TenantId, key: &EntityKey) -> BoxFuture<'static, Result<Option<Stored>, BackboneError>> {
        self.ask(self.log.entity(tenant, key))
    }

    fn entities(
        &self,
        tenant: &TenantId,
        from: Option<EntityMark>,
        budget: ReadBudget,
    ) -> BoxFuture<'static, Result<EntityPage, BackboneError>> {
        self.ask(self.log.entities(tenant, from, budget))
    }

    fn cursor(
        &self,
        tenant: &TenantId,
        instance: &InstanceId,
    ) -> BoxFuture<'static, Result<Option<Cursor>, BackboneError>> {
        self.ask(self.log.cursor(tenant, instance))
    }

    fn keep_cursors(&self, updates: Vec<CursorUpdate>) -> BoxFuture<'static, Result<(), BackboneError>> {
        self.ask(self.log.keep_cursors(updates))
    }

    fn tally(&self, tenant: &TenantId) -> BoxFuture<'static, Result<Option<Bytes>, BackboneError>> {
        self.ask(self.log.tally(tenant))
    }

    fn keep_tally(&self, tenant: &TenantId, tally: Bytes) -> BoxFuture<'static, Result<(), BackboneError>> {
        self.ask(self.log.keep_tally(tenant, tally))
    }

    fn signal(&self, channel: &Channel, body: Bytes) {
        self.log.signal(channel, body);
    }

    fn listen(&self, channel: Channel) -> BoxFuture<'static, Result<Signals, BackboneError>> {
        self.log.listen(channel)
    }

    fn close(&self) -> BoxFuture<'static, ()> {
        self.log.close()
    }
}
