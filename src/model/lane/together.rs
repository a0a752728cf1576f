//! Operations of which all are done or none, on several entities at once.
//!
//! Owns: what "done" means for a batch: every operation takes effect in what stands. One that is rolled back, would wait for
//! a person or be kept as a variant undoes them all, for the others may rest on it. A repeat of what was done is done.

#[cfg(test)]
mod tests;

use std::{collections::HashMap, sync::Arc};

use super::{Company, Draft, Failure, KnownBase, Made, Said, said, settle};
use crate::model::{
    EntityKey, Position,
    entity::{self, Content, Decision, Entity, Limits, Operation, Outcome, Rollback, Settled},
};

/// A batch.
#[derive(Debug)]
pub struct Together(Vec<(EntityKey, Arc<Operation>)>);

/// A batch that is being decided, one operation after the other.
#[derive(Debug)]
pub struct Deciding<'a> {
    batch: &'a Together,
    heads: &'a HashMap<EntityKey, Arc<Entity>>,
    plan: Plan,
    /// Where the drafts of its entities stand.
    places: HashMap<&'a EntityKey, usize>,
    /// What stood at the next operation's base, as far as it was looked up.
    base: KnownBase,
}

/// What is to be done about a batch.
#[derive(Debug)]
pub enum Step {
    /// Look up what stood at this version of this entity, then [`Deciding::base_loaded`].
    LoadBase(EntityKey, Position),
    /// It is decided.
    End(Verdict),
}

/// What a batch comes to.
#[derive(Debug)]
pub enum Verdict {
    /// Append these records, all or none.
    Append(Plan),
    /// Nothing is to be done; what each operation is told, in order.
    Answer(Vec<Said>),
}

/// The records of a batch.
#[derive(Debug, Default)]
pub struct Plan {
    /// Each with its entity.
    pub drafts: Vec<(EntityKey, Draft)>,
    /// For each operation its outcome, its draft, and whether it made the entity.
    decided: Vec<(Outcome, usize, bool)>,
}

impl Deciding<'_> {
    /// What stood at the base was looked up: `None` if the log does not hold it any more.
    pub fn base_loaded(&mut self, content: Option<Content>) {
        self.base = content.map_or(KnownBase::Gone, KnownBase::Known);
    }

    /// Goes on until something has to be looked up, or to the end.
    pub fn step(&mut self, limits: Limits) -> Step {
        let Self { batch, heads, plan, places, base } = self;
        let Plan { drafts, decided } = plan;
        let done = decided.len();
        for (at, (key, operation)) in batch.0.iter().enumerate().skip(done) {
            let place = *places.entry(key).or_insert_with(|| {
                let head = heads.get(key).cloned().unwrap_or_else(|| Arc::new(Entity::none()));
                drafts.push((key.clone(), Draft::on(head, 1)));
                drafts.len() - 1
            });
            let draft = &mut drafts[place].1;
            let known = std::mem::take(base);
            let refused = match entity::decide(&draft.next, operation, known.as_base(), limits) {
                Decision::Append { next, outcome, texts } => match takes_effect(outcome, &next) {
                    Ok(outcome) => {
                        let is_new = draft.add(operation, *next, texts);
                        decided.push((outcome, place, is_new));
                        continue;
                    }
                    Err(why) => said(operation, Outcome::RolledBack(why), &draft.before, None),
                },
                Decision::Answer(outcome @ Outcome::RolledBack(_)) => said(operation, outcome, &draft.before, None),
                Decision::Answer(outcome) => {
                    decided.push((outcome, place, false));
                    continue;
                }
                Decision::NeedsBase => {
                    return Step::LoadBase(key.clone(), operation.base.unwrap_or(draft.before.version));
                }
                Decision::Ahead => Said::Ahead { version: draft.before.version },
            };
            return Step::End(Verdict::Answer(batch.refused(at, refused)));
        }
        let plan = std::mem::take(plan);
        let writes = plan.drafts.iter().any(|(_, draft)| !draft.parts.is_empty());
        Step::End(if writes { Verdict::Append(plan) } else { Verdict::Answer(batch.done(plan, &HashMap::new()).0) })
    }
}

impl Together {
    /// A batch, as its sender wrote it.
    pub fn new(operations: Vec<(EntityKey, Arc<Operation>)>) -> Self {
        Self(operations)
    }

    /// The entities that it is about, each once.
    pub fn keys(&self) -> Vec<EntityKey> {
        let mut keys: Vec<_> = self.0.iter().map(|(key, _)| key.clone()).collect();
        keys.sort();
        keys.dedup();
        keys
    }

    /// Begins to decide on heads that were read from the log just now, one for each of [`Together::keys`].
    pub fn decide<'a>(&'a self, heads: &'a HashMap<EntityKey, Arc<Entity>>) -> Deciding<'a> {
        Deciding { batch: self, heads, plan: Plan::default(), places: HashMap::new(), base: KnownBase::NotAsked }
    }

    /// The records are in the log, each where this says: what the operations are told, and the entities that got one, in
    /// the drafts' order.
    pub fn done(&self, plan: Plan, positions: &HashMap<EntityKey, Position>) -> (Vec<Said>, Vec<Entity>) {
        let settled: Vec<_> =
            plan.drafts.into_iter().map(|(key, draft)| Done::of(draft, positions.get(&key))).collect();
        let answers = self.0.iter().zip(plan.decided);
        let answer =
            |((_, operation), (mut outcome, place, is_new)): (&(EntityKey, Arc<Operation>), (Outcome, usize, bool))| {
                let Done { entity, record } = &settled[place];
                let made = record.map(|made| {
                    settle(&mut outcome, entity.version);
                    Made { is_new, ..made }
                });
                said(operation, outcome, entity, made)
            };
        let said = answers.map(answer).collect();
        (said, settled.into_iter().filter(|done| done.record.is_some()).map(|done| done.entity).collect())
    }

    /// Nothing could be read or written.
    pub fn failed(&self, said: &Said) -> Vec<Said> {
        vec![said.clone(); self.0.len()]
    }

    /// One record is larger than the log takes.
    pub fn too_large(&self, key: &EntityKey) -> Vec<Said> {
        let said = |(of, _): &(EntityKey, Arc<Operation>)| {
            if of == key { Said::Failed(Failure::TooLarge) } else { Said::apart() }
        };
        self.0.iter().map(said).collect()
    }

    fn refused(&self, at: usize, why: Said) -> Vec<Said> {
        let mut answers: Vec<_> = self.0.iter().map(|_| Said::apart()).collect();
        answers[at] = why;
        answers
    }
}

impl Said {
    /// What is said of an operation of a batch of which another could not be done.
    pub fn apart() -> Self {
        let outcome = Outcome::RolledBack(Rollback::BatchFailed);
        Self::Decided { outcome, version: Position::START, made: None, current: None }
    }
}

/// An entity behind its record, if it got one.
struct Done {
    entity: Entity,
    record: Option<Made>,
}

impl Done {
    fn of(draft: Draft, position: Option<&Position>) -> Self {
        let Draft { next, before, parts, .. } = draft;
        let mut entity = Arc::unwrap_or_clone(next);
        let record = position.filter(|_| !parts.is_empty()).map(|position| {
            entity.settle(*position);
            let company = if parts.len() > 1 { Company::Several } else { Company::Alone };
            Made { base: before.version, company, is_new: false }
        });
        Self { entity, record }
    }
}

/// Whether an outcome is in what stands; else why it must not be part of a batch.
fn takes_effect(outcome: Outcome, next: &Entity) -> Result<Outcome, Rollback> {
    match outcome {
        Outcome::Pending(open) => Err(Rollback::Clash(open.paths)),
        Outcome::Resolved { how: Settled::Variant(id), .. } => {
            let kept = next.state.open.iter().find(|open| open.id == id);
            Err(Rollback::Clash(kept.map_or_else(Vec::new, |kept| kept.paths.clone())))
        }
        done => Ok(done),
    }
}
