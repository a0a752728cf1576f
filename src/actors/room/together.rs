//! Batches of operations of which all are done or none, one at a time in a room.
//!
//! Owns: that a batch has its entities for itself on this node: their lanes rest while it reads, decides and writes
//! (`model/lane/together.rs` decides), so that a busy entity does not starve it. Other nodes are met as lanes meet them, by
//! the log's conditions.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
};

use actix::{ActorFutureExt, AsyncContext, Context, WrapFuture};
use futures_util::{StreamExt, TryStreamExt, stream};
use serde_json::value::RawValue;
use tokio::{sync::oneshot, time::sleep};

use super::{
    Room,
    lanes::{
        log::{append_of, read_content, read_head, refused},
        pause, tell_waits,
    },
};
use crate::{
    actors::{
        context::NodeContext,
        messages::{MemberKey, Order},
    },
    model::{
        EntityKey, Position, TenantId,
        entity::{Entity, Limits},
        lane::{Failure, Plan, Refused, Said, Step, TRIES, Together, UNSURE, Verdict},
    },
    wire::{
        answer::{Form, Told},
        operation::Wanted,
    },
};

/// Operations that may wait in batches.
const WAITING: usize = 4096;
/// Entities that are read at a time.
const AT_A_TIME: usize = 16;

/// Who waits for a batch.
#[derive(Debug)]
pub(super) enum Waiting {
    Member { key: MemberKey, token: u64, form: Form },
    Request(Vec<oneshot::Sender<Told>>),
}

#[derive(Debug)]
struct Job {
    waiting: Waiting,
    wanted: Vec<Wanted>,
}

/// All of a room's.
#[derive(Debug, Default)]
pub(super) struct Batches {
    in_line: VecDeque<Job>,
    /// Operations in line or under way.
    operations: usize,
    /// The entities that the present batch has for itself.
    held: HashSet<EntityKey>,
    /// The present batch, until its entities' lanes are at rest.
    next: Option<Job>,
}

/// How a batch ended.
struct Ended {
    said: Vec<Said>,
    records: HashMap<EntityKey, Written>,
}

/// A record of a batch.
struct Written {
    entity: Arc<Entity>,
    delta: Arc<RawValue>,
}

impl Batches {
    /// Whether there are none.
    pub(super) fn is_idle(&self) -> bool {
        self.operations == 0
    }

    /// Whether a batch has this entity for itself.
    pub(super) fn holds(&self, key: &EntityKey) -> bool {
        self.held.contains(key)
    }
}

impl Room {
    /// Takes a batch in.
    pub(super) fn operate_together(&mut self, waiting: Waiting, wanted: Vec<Wanted>, ctx: &mut Context<Self>) {
        let job = Job { waiting, wanted };
        if self.batches.operations + job.wanted.len() > WAITING {
            let said = vec![Said::Failed(Failure::Busy); job.wanted.len()];
            return self.tell_batch(job, Ended { said, records: HashMap::new() });
        }
        self.batches.operations += job.wanted.len();
        self.batches.in_line.push_back(job);
        self.next_batch(ctx);
    }

    fn next_batch(&mut self, ctx: &mut Context<Self>) {
        let batches = &mut self.batches;
        if batches.held.is_empty()
            && let Some(job) = batches.in_line.pop_front()
        {
            batches.held = job.wanted.iter().map(|wanted| wanted.key.clone()).collect();
            batches.next = Some(job);
            self.begin_batch(ctx);
        }
    }

    /// Begins the present batch if its entities' lanes are at rest.
    pub(super) fn begin_batch(&mut self, ctx: &mut Context<Self>) {
        if self.batches.held.iter().any(|key| self.lanes.is_busy(key)) {
            return;
        }
        let Some(job) = self.batches.next.take() else { return };
        let operations = job.wanted.iter().map(|wanted| (wanted.key.clone(), wanted.operation.clone())).collect();
        let work = Work { context: self.context.clone(), tenant: self.tenant.clone(), limits: self.limits() };
        let running = async move { work.run(Together::new(operations)).await };
        ctx.spawn(running.into_actor(self).map(|ended, room, ctx| room.batch_ended(job, ended, ctx)));
    }

    fn batch_ended(&mut self, job: Job, ended: Ended, ctx: &mut Context<Self>) {
        self.batches.operations -= job.wanted.len();
        for (key, Written { entity, .. }) in &ended.records {
            self.lanes.changed(key, entity.clone());
        }
        self.tell_batch(job, ended);
        let held = std::mem::take(&mut self.batches.held);
        held.iter().for_each(|key| self.turn(key, ctx));
        self.next_batch(ctx);
        self.flush(ctx);
    }

    fn tell_batch(&mut self, job: Job, Ended { said, records }: Ended) {
        let told = job.wanted.into_iter().zip(said).map(|(Wanted { key, operation, reference }, said)| {
            let delta = match &said {
                Said::Decided { made: Some(_), .. } => records.get(&key).map(|record| record.delta.clone()),
                _ => None,
            };
            Told { key, op: operation.id, reference, said, delta }
        });
        let told: Vec<_> = told.collect();
        told.iter().for_each(|told| self.context.metrics.count_operation(told.outcome_word()));
        match job.waiting {
            Waiting::Member { key, token, form } => {
                self.post_settled(key, Order::Operated { key, token, form, told });
            }
            Waiting::Request(answers) => {
                for (told, to) in told.into_iter().zip(answers) {
                    // Fails only when the client hung up: nobody is left to hear.
                    let _ = to.send(told);
                }
            }
        }
    }
}

/// What a batch needs while it runs.
struct Work {
    context: Arc<NodeContext>,
    tenant: TenantId,
    limits: Limits,
}

type Heads = HashMap<EntityKey, Arc<Entity>>;

impl Work {
    async fn run(&self, batch: Together) -> Ended {
        // Of what may have been done nobody says that nothing was.
        let mut unsure = false;
        let as_known = |failure, unsure| if unsure { Failure::Unknown } else { failure };
        for tries in 1..=TRIES {
            let plan = match self.plan(&batch).await {
                Ok(Verdict::Append(plan)) => plan,
                Ok(Verdict::Answer(said)) => return Ended { said, records: HashMap::new() },
                Err(failure) => return failed(&batch, as_known(failure, unsure)),
            };
            match self.append(&batch, plan).await {
                Ok(ended) => return ended,
                Err(Refused::Conflict) => tell_waits(&self.context, &self.tenant, &batch.keys()),
                Err(Refused::Unknown) => unsure = true,
                Err(Refused::Failed(failure)) => return failed(&batch, as_known(failure, unsure)),
            }
            if unsure && tries >= UNSURE {
                break;
            }
            sleep(pause(tries)).await;
        }
        let last = if unsure { Said::Failed(Failure::Unknown) } else { Said::Retry };
        Ended { said: batch.failed(&last), records: HashMap::new() }
    }

    /// Decides on the heads as they stand, with whatever else that takes.
    async fn plan(&self, batch: &Together) -> Result<Verdict, Failure> {
        let keys = batch.keys();
        let reads: Vec<_> = keys.iter().map(|key| self.read(key)).collect();
        let heads: Heads = stream::iter(reads).buffered(AT_A_TIME).try_collect().await?;
        let mut deciding = batch.decide(&heads);
        loop {
            match deciding.step(self.limits) {
                Step::LoadBase(key, version) => {
                    let content = read_content(&self.context.backbone, &self.tenant, &key, version).await?;
                    deciding.base_loaded(content);
                }
                Step::End(verdict) => return Ok(verdict),
            }
        }
    }

    async fn read(&self, key: &EntityKey) -> Result<(EntityKey, Arc<Entity>), Failure> {
        Ok((key.clone(), read_head(&self.context.backbone, &self.tenant, key).await?))
    }

    async fn append(&self, batch: &Together, plan: Plan) -> Result<Ended, Refused> {
        let (mut appends, mut deltas) = (Vec::new(), Vec::new());
        for (key, draft) in plan.drafts.iter().filter(|(_, draft)| !draft.parts.is_empty()) {
            let (append, made) = append_of(&self.tenant, key, draft, self.context.now());
            if append.body.len() > self.context.config.limits.max_message_bytes {
                return Ok(Ended { said: batch.too_large(key), records: HashMap::new() });
            }
            appends.push(append);
            deltas.push((key.clone(), made.delta));
        }
        let appended = self.context.backbone.append_all(appends).await.map_err(|error| refused(&error))?;
        let positions: HashMap<EntityKey, Position> =
            deltas.iter().zip(appended).map(|((key, _), appended)| (key.clone(), appended.position)).collect();
        let (said, entities) = batch.done(plan, &positions);
        let records = deltas.into_iter().zip(entities);
        let records = records.map(|((key, delta), entity)| (key, Written { entity: Arc::new(entity), delta }));
        Ok(Ended { said, records: records.collect() })
    }
}

fn failed(batch: &Together, failure: Failure) -> Ended {
    Ended { said: batch.failed(&Said::Failed(failure)), records: HashMap::new() }
}
