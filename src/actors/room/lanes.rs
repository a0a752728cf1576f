//! The entities that somebody changes right now, and those that are remembered for the next change.
//!
//! Owns: performing what lanes want (`model/lane.rs` decides).

mod heads;
pub(super) mod log;

use std::{collections::HashMap, ptr, sync::Arc, time::Duration};

use actix::{ActorFutureExt, AsyncContext, Context, Handler, WrapFuture};
use tokio::sync::oneshot;

use self::{
    heads::{Head, Heads, Record},
    log::{append_of, read_content, read_head, refused},
};
use super::{Room, together::Waiting};
use crate::{
    actors::{
        context::NodeContext,
        messages::{Gone, MemberKey, OperateFor, Order},
    },
    backbone::{Answer, AppendError, Appended, Channel, Stored, Subject},
    model::{
        EntityKey, Position, TenantId,
        entity::{Entity, Limits, Operation},
        lane::{Do, Draft, Failure, Lane, Refused, Said, Why},
    },
    wire::{
        answer::{Form, Told},
        entity::{self as record, EntityBody},
        operation::{Unit, Wanted},
        peer,
    },
};

/// Conflicts and variants that may be open with one entity.
pub(in crate::actors) const OPEN: usize = 16;
/// The first pause after an entity moved on under a record.
const FIRST_REST: Duration = Duration::from_millis(1);
/// How many times it is doubled.
const DOUBLED: u32 = 5;

/// Who waits for an operation.
#[derive(Debug)]
pub(super) enum Waiter {
    Member { key: MemberKey, token: u64, form: Form },
    Request(oneshot::Sender<Told>),
}

/// One operation's asker, and how it named it.
#[derive(Debug)]
struct Job {
    waiter: Waiter,
    reference: Arc<str>,
}

/// An entity with operations under way.
#[derive(Debug)]
struct Busy {
    lane: Lane<Job>,
    /// The record under way, or the last one.
    written: Option<EntityBody>,
    /// The latest record that was written or shown by the feed since the lane got busy.
    latest: Option<Record>,
    /// What was remembered of it: it is changed again and again.
    taken: Option<Head>,
}

impl Busy {
    fn know(&mut self, head: Record) {
        if self.latest.as_ref().is_none_or(|known| known.version < head.version) {
            self.latest = Some(head);
        }
    }

    /// Gives the lane what the feed has shown since: it need not be read from the log.
    fn catch_up(&mut self, tenant: &TenantId, key: &EntityKey) {
        if let Some(Record { version, body }) = &self.latest
            && self.lane.version().is_none_or(|known| known < *version)
            && let Ok(entity) = record::read(tenant, key, *version, body)
        {
            self.lane.seen(Arc::new(entity));
        }
    }
}

/// All of them.
#[derive(Debug)]
pub(super) struct Lanes {
    busy: HashMap<EntityKey, Busy>,
    heads: Heads,
}

impl Lanes {
    /// `capacity`: bytes of heads that are remembered.
    pub(super) fn new(capacity: usize) -> Self {
        Self { busy: HashMap::new(), heads: Heads::new(capacity) }
    }

    /// Nothing is under way for an entity any more.
    fn rest(&mut self, key: &EntityKey, busy: Busy) {
        let head = match (busy.latest, busy.taken) {
            (Some(latest), taken) => {
                let is_read = |head: &Arc<Entity>| taken.is_some() && head.version == latest.version;
                match busy.lane.into_head().filter(is_read) {
                    Some(entity) => Head::read(entity, &latest),
                    None => Head::Record(latest),
                }
            }
            // Nothing has become of it.
            (None, Some(taken)) => taken,
            (None, None) => return,
        };
        self.heads.keep(key.clone(), head);
    }

    /// Whether nothing is under way for any entity.
    pub(super) fn is_idle(&self) -> bool {
        self.busy.is_empty()
    }

    /// Entities for which something is under way.
    pub(super) fn count(&self) -> usize {
        self.busy.len()
    }

    /// Whether something is under way for an entity.
    pub(super) fn is_busy(&self, key: &EntityKey) -> bool {
        self.busy.get(key).is_some_and(|busy| busy.lane.is_busy())
    }

    /// Somebody elsewhere waits for their turn with these.
    pub(super) fn give_way(&mut self, entities: &[EntityKey]) {
        for key in entities {
            if let Some(busy) = self.busy.get_mut(key) {
                busy.lane.give_way();
            }
        }
    }

    /// An entity was changed past its lane. Of one at rest the feed tells.
    pub(super) fn changed(&mut self, key: &EntityKey, entity: Arc<Entity>) {
        if let Some(busy) = self.busy.get_mut(key) {
            busy.lane.seen(entity);
        }
    }

    /// Notes what the feed shows. If it is the very record that a lane has written, it need not be read: this is what reading
    /// would find.
    pub(super) fn see(&mut self, stored: &Stored) -> Option<record::Head> {
        let Subject::Entity(key) = &stored.subject else { return None };
        let Some(busy) = self.busy.get_mut(key) else {
            self.heads.see(key, stored.position, &stored.body);
            return None;
        };
        busy.know(Record { version: stored.position, body: stored.body.clone() });
        let ours = busy.written.as_ref().filter(|written| ptr::eq::<[u8]>(&*written.body, &*stored.body));
        ours.map(|written| written.head.clone())
    }
}

impl Room {
    pub(super) fn limits(&self) -> Limits {
        Limits { data_bytes: self.context.config.limits.max_message_bytes, open: OPEN }
    }

    /// Takes an operation in.
    pub(super) fn operate(&mut self, waiter: Waiter, wanted: Wanted, ctx: &mut Context<Self>) {
        let Wanted { key, operation, reference } = wanted;
        let job = Job { waiter, reference };
        // While somebody is busy with an entity, its head is there and not at rest.
        let taken = self.lanes.heads.take(&key);
        let head = taken.as_ref().and_then(|head| head.entity(&self.tenant, &key));
        let begin = || Busy { lane: Lane::new(head), written: None, latest: None, taken };
        let busy = self.lanes.busy.entry(key.clone()).or_insert_with(begin);
        if let Err((job, operation)) = busy.lane.push(job, operation) {
            self.tell_waiter(&key, job, &operation, Said::Failed(Failure::Busy));
        }
        self.turn(&key, ctx);
    }

    /// Lets a lane go on until it waits for something.
    pub(super) fn turn(&mut self, key: &EntityKey, ctx: &mut Context<Self>) {
        let limits = self.limits();
        let Some(busy) = self.lanes.busy.get_mut(key) else { return };
        if self.batches.holds(key) {
            return self.begin_batch(ctx);
        }
        let todo = busy.lane.step(limits);
        self.carry(key, todo, ctx);
        if self.lanes.busy.get(key).is_some_and(|busy| busy.lane.is_idle())
            && let Some(busy) = self.lanes.busy.remove(key)
        {
            self.lanes.rest(key, busy);
        }
    }

    fn carry(&mut self, key: &EntityKey, todo: Vec<Do<Job>>, ctx: &mut Context<Self>) {
        for one in todo {
            match one {
                Do::Answer(job, operation, said) => self.tell_waiter(key, job, &operation, said),
                Do::Load => self.load(key.clone(), ctx),
                Do::LoadBase(version) => self.load_base(key.clone(), version, ctx),
                Do::Append(draft) => self.append_draft(key, &draft, ctx),
                Do::Rest(why) => {
                    let key = key.clone();
                    let tries = match why {
                        Why::Polite => 1,
                        Why::Lost(tries) => {
                            tell_waits(&self.context, &self.tenant, [&key]);
                            tries
                        }
                        Why::Unsure(tries) => tries,
                    };
                    ctx.run_later(pause(tries), move |room, ctx| room.rested(&key, ctx));
                }
            }
        }
    }

    /// A pause is over. Others have not paused meanwhile.
    fn rested(&mut self, key: &EntityKey, ctx: &mut Context<Self>) {
        if let Some(busy) = self.lanes.busy.get_mut(key) {
            busy.catch_up(&self.tenant, key);
        }
        self.with_lane(key, ctx, |lane| {
            lane.rested();
            Vec::new()
        });
        self.flush(ctx);
    }

    /// Tells a lane something, does what it wants, and goes on. What the outlets have to do of it waits for the next flush:
    /// many lanes hear of their records at once.
    fn with_lane(
        &mut self,
        key: &EntityKey,
        ctx: &mut Context<Self>,
        tell: impl FnOnce(&mut Lane<Job>) -> Vec<Do<Job>>,
    ) {
        let Some(busy) = self.lanes.busy.get_mut(key) else { return };
        let todo = tell(&mut busy.lane);
        self.carry(key, todo, ctx);
        self.turn(key, ctx);
    }

    fn tell_waiter(&mut self, key: &EntityKey, job: Job, operation: &Operation, said: Said) {
        let delta = match &said {
            Said::Decided { made: Some(_), .. } => {
                self.lanes.busy.get(key).and_then(|busy| busy.written.as_ref()).map(|written| written.delta.clone())
            }
            _ => None,
        };
        let told = Told { key: key.clone(), op: operation.id, reference: job.reference, said, delta };
        self.context.metrics.count_operation(told.outcome_word());
        match job.waiter {
            Waiter::Member { key, token, form } => {
                self.post_settled(key, Order::Operated { key, token, form, told: vec![told] });
            }
            Waiter::Request(to) => {
                // Fails only when the client hung up: nobody is left to hear.
                let _ = to.send(told);
            }
        }
    }

    fn load(&mut self, key: EntityKey, ctx: &mut Context<Self>) {
        let (backbone, tenant, name) = (self.context.backbone.clone(), self.tenant.clone(), key.clone());
        let loading = async move { read_head(&backbone, &tenant, &name).await };
        ctx.spawn(loading.into_actor(self).map(move |loaded, room, ctx| {
            room.with_lane(&key, ctx, |lane| lane.loaded(loaded));
            room.flush(ctx);
        }));
    }

    fn load_base(&mut self, key: EntityKey, version: Position, ctx: &mut Context<Self>) {
        let (backbone, tenant, name) = (self.context.backbone.clone(), self.tenant.clone(), key.clone());
        let loading = async move { read_content(&backbone, &tenant, &name, version).await };
        ctx.spawn(loading.into_actor(self).map(move |loaded, room, ctx| {
            room.with_lane(&key, ctx, |lane| lane.base_loaded(loaded));
            room.flush(ctx);
        }));
    }

    fn append_draft(&mut self, key: &EntityKey, draft: &Draft, ctx: &mut Context<Self>) {
        let (append, written) = append_of(&self.tenant, key, draft, self.context.now());
        if let Some(busy) = self.lanes.busy.get_mut(key) {
            busy.written = Some(written);
        }
        if append.body.len() > self.context.config.limits.max_message_bytes {
            return self.refuse_draft(key, Refused::Failed(Failure::TooLarge), ctx);
        }
        if self.append_of_lane(key.clone(), append).is_err() {
            self.refuse_draft(key, Refused::Failed(Failure::Busy), ctx);
        }
    }

    /// Ends an append without the log, as if that had ended it: not from within the turn that made it.
    fn refuse_draft(&mut self, key: &EntityKey, why: Refused, ctx: &mut Context<Self>) {
        let key = key.clone();
        ctx.run_later(Duration::ZERO, move |room, ctx| {
            room.draft_ended(&key, Err(why), ctx);
            room.flush(ctx);
        });
    }

    /// An entity's record is in the log, or is not.
    pub(super) fn draft_answered(
        &mut self,
        key: &EntityKey,
        result: Result<Answer, AppendError>,
        ctx: &mut Context<Self>,
    ) {
        let ended = match result {
            Ok(Answer::Appended(Appended { position, .. })) => Ok(position),
            // Never: it does not go through the journal.
            Ok(Answer::Queued) => Err(Refused::Unknown),
            Err(error) => Err(refused(&error)),
        };
        self.draft_ended(key, ended, ctx);
    }

    fn draft_ended(&mut self, key: &EntityKey, ended: Result<Position, Refused>, ctx: &mut Context<Self>) {
        let tenant = &self.tenant;
        let Some(busy) = self.lanes.busy.get_mut(key) else { return };
        if let (Ok(version), Some(written)) = (ended, &busy.written) {
            busy.know(Record { version, body: written.body.clone() });
        } else {
            busy.catch_up(tenant, key);
        }
        self.with_lane(key, ctx, |lane| match ended {
            Ok(position) => lane.appended(position),
            Err(why) => lane.refused(why),
        });
    }
}

/// How long to wait after an entity moved on so many times: longer each time, up to a bound, and no two nodes alike.
pub(super) fn pause(tries: u32) -> Duration {
    (FIRST_REST * 2u32.pow(tries.min(DOUBLED))).mul_f64(fastrand::f64())
}

/// Tells other nodes that somebody here does not get their turn with entities.
pub(super) fn tell_waits<'a>(
    context: &NodeContext,
    tenant: &TenantId,
    entities: impl IntoIterator<Item = &'a EntityKey>,
) {
    if context.nodes.any() {
        let waits = peer::waits(context.nodes.speaker(), entities);
        context.backbone.signal(&Channel::Room(tenant.clone()), waits);
    }
}

impl Handler<OperateFor> for Room {
    type Result = Result<(), Gone>;

    fn handle(&mut self, OperateFor { wanted, unit, answers }: OperateFor, ctx: &mut Context<Self>) -> Self::Result {
        self.is_open()?;
        match unit {
            Unit::Operation => {
                for (wanted, answer) in wanted.into_iter().zip(answers) {
                    self.operate(Waiter::Request(answer), wanted, ctx);
                }
            }
            Unit::Batch => self.operate_together(Waiting::Request(answers), wanted, ctx),
        }
        self.tell_spent_later(ctx);
        self.tick_later(ctx);
        self.flush(ctx);
        Ok(())
    }
}
