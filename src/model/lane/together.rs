//! Operations of which all are done or none, on several entities at once.
//!
//! Owns: what "done" means for a batch: every operation takes effect in what stands. One that is rolled back, would wait for
//! a person or be kept as a variant undoes them all, for the others may rest on it. A repeat of what was done is done.

#[cfg(test)]
mod tests;

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
};

use serde_json::Value;

use super::{Company, Draft, Failure, KnownBase, Made, Said, said, settle};
use crate::model::{
    EntityKey, Position,
    entity::{self, Decision, Entity, Limits, Operation, Outcome, Rollback, Settled},
};

/// A batch.
#[derive(Debug)]
pub struct Together {
    operations: Vec<(EntityKey, Arc<Operation>)>,
    /// What stood at the operations' bases, as far as it was looked up.
    bases: HashMap<usize, KnownBase>,
}

/// What is to be done about a batch.
#[derive(Debug)]
pub enum Step {
    /// Look up what stood at this version for the operation at this place, then decide again.
    LoadBase(usize, Position),
    /// Append these records, all or none.
    Append(Plan),
    /// Nothing is to be done; what each operation is told, in order.
    Answer(Vec<Said>),
}

/// The records of a batch.
#[derive(Debug)]
pub struct Plan {
    /// Each with its entity.
    pub drafts: Vec<(EntityKey, Draft)>,
    /// For each operation its outcome, its draft, and whether it made the entity.
    decided: Vec<(Outcome, usize, bool)>,
}

impl Together {
    /// A batch, as its sender wrote it.
    pub fn new(operations: Vec<(EntityKey, Arc<Operation>)>) -> Self {
        Self { operations, bases: HashMap::new() }
    }

    /// The entities that it is about, each once.
    pub fn keys(&self) -> Vec<EntityKey> {
        let mut keys: Vec<_> = self.operations.iter().map(|(key, _)| key.clone()).collect();
        keys.sort();
        keys.dedup();
        keys
    }

    /// The entity of the operation at a place.
    pub fn key(&self, at: usize) -> Option<&EntityKey> {
        self.operations.get(at).map(|(key, _)| key)
    }

    /// What stood at an operation's base was looked up: `None` if the log does not hold it any more.
    pub fn base_loaded(&mut self, at: usize, content: Option<Value>) {
        self.bases.insert(at, content.map_or(KnownBase::Gone, KnownBase::Known));
    }

    /// Decides on heads that were read from the log just now, one for each of [`Together::keys`].
    pub fn decide(&self, heads: &HashMap<EntityKey, Arc<Entity>>, limits: Limits) -> Step {
        let mut drafts: Vec<(EntityKey, Draft)> = Vec::new();
        let (mut places, mut decided) = (HashMap::new(), Vec::new());
        for (at, (key, operation)) in self.operations.iter().enumerate() {
            let place = match places.entry(key) {
                Entry::Occupied(place) => *place.get(),
                Entry::Vacant(place) => {
                    let head = heads.get(key).cloned().unwrap_or_else(|| Arc::new(Entity::none()));
                    drafts.push((key.clone(), Draft::on(head)));
                    *place.insert(drafts.len() - 1)
                }
            };
            let draft = &mut drafts[place].1;
            let base = self.bases.get(&at).unwrap_or(&KnownBase::NotAsked).as_base();
            let (outcome, is_new) = match entity::decide(&draft.next, operation, base, limits) {
                Decision::Append { next, outcome, texts } => match takes_effect(outcome, &next) {
                    Ok(outcome) => (outcome, draft.add(operation, *next, texts)),
                    Err(why) => {
                        return self.refused(at, said(operation, Outcome::RolledBack(why), &draft.before, None));
                    }
                },
                Decision::Answer(outcome @ Outcome::RolledBack(_)) => {
                    return self.refused(at, said(operation, outcome, &draft.before, None));
                }
                Decision::Answer(outcome) => (outcome, false),
                Decision::NeedsBase => return Step::LoadBase(at, operation.base.unwrap_or(draft.before.version)),
                Decision::Ahead => return self.refused(at, Said::Ahead { version: draft.before.version }),
            };
            decided.push((outcome, place, is_new));
        }
        let plan = Plan { drafts, decided };
        if plan.drafts.iter().all(|(_, draft)| draft.parts.is_empty()) {
            return Step::Answer(self.done(plan, &HashMap::new()).0);
        }
        Step::Append(plan)
    }

    /// The records are in the log, each where this says: what the operations are told, and the entities that got one, in
    /// the drafts' order.
    pub fn done(&self, plan: Plan, positions: &HashMap<EntityKey, Position>) -> (Vec<Said>, Vec<Entity>) {
        let settled: Vec<_> =
            plan.drafts.into_iter().map(|(key, draft)| Done::of(draft, positions.get(&key))).collect();
        let answers = self.operations.iter().zip(plan.decided);
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
        vec![said.clone(); self.operations.len()]
    }

    /// One record is larger than the log takes.
    pub fn too_large(&self, key: &EntityKey) -> Vec<Said> {
        let said =
            |(of, _): &(EntityKey, Arc<Operation>)| if of == key { Said::Failed(Failure::TooLarge) } else { apart() };
        self.operations.iter().map(said).collect()
    }

    fn refused(&self, at: usize, why: Said) -> Step {
        let mut answers: Vec<_> = self.operations.iter().map(|_| apart()).collect();
        answers[at] = why;
        Step::Answer(answers)
    }
}

impl Said {
    /// What is said of an operation of a batch of which another could not be done.
    pub fn apart() -> Self {
        apart()
    }
}

fn apart() -> Said {
    let outcome = Outcome::RolledBack(Rollback::BatchFailed);
    Said::Decided { outcome, version: Position::START, made: None, current: None }
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
