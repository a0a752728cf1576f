//! The operations that wait for one entity: decided one after the other on its head, and written together as one record.
//!
//! Owns: that an operation is neither lost nor applied twice, however often its record is refused or its fate unknown;
//! that what its sender is told rests on nothing but what the log holds. Must not know: who waits, which log it is.
//!
//! A lane does one thing at a time and is told how it ended. While a record is under way, what comes gathers and goes into
//! the next one: a hot entity gets larger records, not more attempts.

#[cfg(test)]
mod tests;
mod together;
mod words;

use std::{collections::VecDeque, sync::Arc};

pub use self::together::{Deciding, Plan, Step, Together, Verdict};
pub use self::words::{Company, Do, Draft, Failure, Made, Refused, Said, Why};
use super::{
    Position,
    entity::{Action, Base, Content, Decision, Entity, Limits, Operation, Outcome, Rollback, THIS},
};

/// How often a record is tried on a head that has moved, before its operations are given back.
pub const TRIES: u32 = 24;
/// The same where nobody knows what became of the record: to find that out takes seconds.
pub const UNSURE: u32 = 8;
/// For how many records a lane that has met others lets them go first.
const POLITE: u32 = 8;
/// Operations in one record: as many as an entity remembers, so that none of a record whose answers were lost is forgotten
/// when it is repeated.
pub const TOGETHER: usize = 64;
/// Operations that may wait for one entity.
const WAITING: usize = 4096;

/// An entity's operations. `J` is whatever the caller needs to answer one.
#[derive(Debug)]
pub struct Lane<J> {
    /// The last state that is known to be in the log; `None` until it was read.
    head: Option<Arc<Entity>>,
    waiting: VecDeque<Waiting<J>>,
    busy: Busy<J>,
    /// One operation a record, because a larger one was refused for its size.
    alone: bool,
    /// So many records more this lane lets others go first: it has met them.
    polite: u32,
}

#[derive(Debug)]
struct Waiting<J> {
    job: J,
    operation: Arc<Operation>,
    tries: u32,
    base: KnownBase,
    /// Whether the head was read from the log since this operation came.
    fresh: bool,
    /// Whether it was tried on the guess that there is nothing.
    guessed: bool,
    /// Whether it makes the entity, as far as it is decided.
    is_new: bool,
    /// Whether a record with it may be in the log although nobody said so.
    unsure: bool,
}

#[derive(Debug, Default)]
enum KnownBase {
    #[default]
    NotAsked,
    Known(Content),
    Gone,
}

#[derive(Debug)]
enum Busy<J> {
    No,
    Loading,
    LoadingBase,
    Appending(Box<Attempt<J>>),
    Resting,
}

#[derive(Debug)]
struct Attempt<J> {
    next: Arc<Entity>,
    base: Position,
    /// Whether the head was only supposed.
    guessed: bool,
    decided: Vec<(Waiting<J>, Outcome)>,
}

impl<J> Default for Lane<J> {
    fn default() -> Self {
        // Mostly one comes and goes: room for more costs more than it.
        Self { head: None, waiting: VecDeque::with_capacity(1), busy: Busy::No, alone: false, polite: 0 }
    }
}

impl<J> Lane<J> {
    /// A lane whose head may be known; a head that is old costs one attempt, nothing else.
    pub fn new(head: Option<Arc<Entity>>) -> Self {
        Self { head, ..Self::default() }
    }

    /// Whether it waits for something that takes time.
    pub fn is_busy(&self) -> bool {
        !matches!(self.busy, Busy::No)
    }

    /// Whether nothing is to be done any more.
    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty() && matches!(self.busy, Busy::No)
    }

    /// The version that is known, if any.
    pub fn version(&self) -> Option<Position> {
        self.head.as_ref().map(|head| head.version)
    }

    /// The last state that is known to be in the log.
    pub fn into_head(self) -> Option<Arc<Entity>> {
        self.head
    }

    /// Somebody wants something done.
    ///
    /// # Errors
    ///
    /// Too many wait already; the job comes back.
    pub fn push(&mut self, job: J, operation: Arc<Operation>) -> Result<(), (J, Arc<Operation>)> {
        if self.waiting.len() >= WAITING {
            return Err((job, operation));
        }
        self.waiting.push_back(Waiting {
            job,
            operation,
            tries: 0,
            base: KnownBase::NotAsked,
            fresh: false,
            guessed: false,
            is_new: false,
            unsure: false,
        });
        Ok(())
    }

    /// The log has shown a later record of the entity.
    pub fn seen(&mut self, entity: Arc<Entity>) {
        if self.head.as_ref().is_none_or(|head| head.version < entity.version) {
            self.head = Some(entity);
        }
    }

    /// The head was read; or it could not be, and everybody who waits hears why.
    pub fn loaded(&mut self, head: Result<Arc<Entity>, Failure>) -> Vec<Do<J>> {
        self.busy = Busy::No;
        match head {
            Ok(entity) => {
                self.waiting.iter_mut().for_each(|waiting| waiting.fresh = true);
                // A feed may have brought a later one meanwhile.
                self.seen(entity);
                Vec::new()
            }
            Err(failure) => self.fail_all(failure),
        }
    }

    /// What stood at the first operation's base was read: `None` if the log does not hold it any more.
    pub fn base_loaded(&mut self, content: Result<Option<Content>, Failure>) -> Vec<Do<J>> {
        self.busy = Busy::No;
        match (content, self.waiting.front_mut()) {
            (Ok(content), Some(first)) => {
                first.base = content.map_or(KnownBase::Gone, KnownBase::Known);
                Vec::new()
            }
            (Err(failure), Some(_)) => self.fail_all(failure),
            (_, None) => Vec::new(),
        }
    }

    /// The pause is over.
    pub fn rested(&mut self) {
        self.busy = Busy::No;
    }

    /// Somebody elsewhere waits for their turn.
    pub fn give_way(&mut self) {
        self.polite = POLITE;
    }

    /// The record is in the log.
    pub fn appended(&mut self, position: Position) -> Vec<Do<J>> {
        let Busy::Appending(attempt) = std::mem::replace(&mut self.busy, Busy::No) else { return Vec::new() };
        let Attempt { next, base, decided, .. } = *attempt;
        let mut next = Arc::unwrap_or_clone(next);
        next.settle(position);
        self.alone = false;
        let company = if decided.len() > 1 { Company::Several } else { Company::Alone };
        let answers = decided.into_iter().map(|(waiting, mut outcome)| {
            settle(&mut outcome, position);
            let made = Made { base, company, is_new: waiting.is_new };
            answer(waiting, outcome, &next, Some(made))
        });
        let mut answers: Vec<_> = answers.collect();
        self.seen(Arc::new(next));
        if self.polite > 0 && !self.waiting.is_empty() {
            // Whoever has just won would win again, being the first to know the new head.
            self.polite -= 1;
            self.busy = Busy::Resting;
            answers.push(Do::Rest(Why::Polite));
        }
        answers
    }

    /// The record is not in the log, or perhaps.
    pub fn refused(&mut self, why: Refused) -> Vec<Do<J>> {
        let Busy::Appending(attempt) = std::mem::replace(&mut self.busy, Busy::No) else { return Vec::new() };
        let Attempt { base, guessed, decided, .. } = *attempt;
        if why == Refused::Conflict && guessed {
            self.put_back(decided);
            return Vec::new();
        }
        if why == Refused::Failed(Failure::TooLarge) && decided.len() > 1 {
            self.alone = true;
            self.put_back(decided);
            return Vec::new();
        }
        let (most, rest): (_, fn(u32) -> Why) = match why {
            Refused::Failed(failure) => {
                let failed = |(waiting, _): (Waiting<J>, Outcome)| fail(waiting, failure);
                return decided.into_iter().map(failed).collect();
            }
            Refused::Conflict => {
                self.polite = POLITE;
                (TRIES, Why::Lost)
            }
            Refused::Unknown => (UNSURE, Why::Unsure),
        };
        // The head that the record was made for stands no more, unless the feed has shown the one that does.
        if self.version().is_none_or(|version| version <= base) {
            self.head = None;
        }
        let (mut answers, mut again, mut tries) = (Vec::new(), Vec::new(), 0);
        for (mut waiting, outcome) in decided {
            waiting.tries += 1;
            waiting.unsure |= why == Refused::Unknown;
            tries = tries.max(waiting.tries);
            if waiting.tries >= most {
                answers.push(if waiting.unsure {
                    fail(waiting, Failure::Unknown)
                } else {
                    refuse(waiting, Said::Retry)
                });
            } else {
                again.push((waiting, outcome));
            }
        }
        self.put_back(again);
        self.busy = Busy::Resting;
        answers.push(Do::Rest(rest(tries)));
        answers
    }

    /// Whoever makes something believes that it is not there, and is mostly right: then nothing has to be read. The log's
    /// condition finds out.
    fn guess(&mut self) -> Option<Arc<Entity>> {
        let first = self.waiting.front_mut()?;
        let makes = matches!(first.operation.action, Action::Create(_)) && first.operation.base.is_none();
        (self.head.is_none() && makes && !std::mem::replace(&mut first.guessed, true)).then(|| Arc::new(Entity::none()))
    }

    fn put_back(&mut self, decided: Vec<(Waiting<J>, Outcome)>) {
        for (waiting, _) in decided.into_iter().rev() {
            self.waiting.push_front(waiting);
        }
    }

    fn fail_all(&mut self, failure: Failure) -> Vec<Do<J>> {
        self.waiting.drain(..).map(|waiting| fail(waiting, failure)).collect()
    }

    /// What is to be done now: any number of answers, then at most one thing that takes time.
    pub fn step(&mut self, limits: Limits) -> Vec<Do<J>> {
        if !matches!(self.busy, Busy::No) || self.waiting.is_empty() {
            return Vec::new();
        }
        let mut todo = Vec::with_capacity(1);
        let guess = self.guess();
        let guessed = guess.is_some();
        let Some(head) = self.head.clone().or(guess) else {
            self.busy = Busy::Loading;
            todo.push(Do::Load);
            return todo;
        };
        let base = head.version;
        let most = if self.alone { 1 } else { TOGETHER };
        let likely = self.waiting.len().min(most);
        let mut draft = Draft::on(head.clone(), likely);
        let mut decided: Vec<(Waiting<J>, Outcome)> = Vec::with_capacity(likely);
        while draft.parts.len() < most
            && let Some(mut waiting) = self.waiting.pop_front()
        {
            match super::entity::decide(&draft.next, &waiting.operation, waiting.base.as_base(), limits) {
                Decision::Append { next, outcome, texts } => {
                    waiting.is_new = draft.add(&waiting.operation, *next, texts);
                    decided.push((waiting, outcome));
                }
                // What rests on a record that is not written yet is not told before it is.
                Decision::Answer(outcome) if !draft.parts.is_empty() => {
                    waiting.is_new = false;
                    decided.push((waiting, outcome));
                }
                // A head that is remembered may be old; nothing but a condition of the log's would show that.
                Decision::Answer(Outcome::RolledBack(_)) if !waiting.fresh => {
                    self.waiting.push_front(waiting);
                    self.busy = Busy::Loading;
                    todo.push(Do::Load);
                    break;
                }
                Decision::Answer(outcome) => todo.push(answer(waiting, outcome, &head, None)),
                decision @ (Decision::NeedsBase | Decision::Ahead) if !draft.parts.is_empty() => {
                    let _ = decision; // decided anew on the next record
                    self.waiting.push_front(waiting);
                    break;
                }
                Decision::NeedsBase => {
                    todo.push(Do::LoadBase(waiting.operation.base.unwrap_or(base)));
                    self.waiting.push_front(waiting);
                    self.busy = Busy::LoadingBase;
                    break;
                }
                Decision::Ahead if waiting.fresh => todo.push(refuse(waiting, Said::Ahead { version: base })),
                Decision::Ahead => {
                    self.waiting.push_front(waiting);
                    self.busy = Busy::Loading;
                    todo.push(Do::Load);
                    break;
                }
            }
        }
        if !draft.parts.is_empty() {
            self.busy = Busy::Appending(Box::new(Attempt { next: draft.next.clone(), base, guessed, decided }));
            todo.push(Do::Append(Box::new(draft)));
        }
        todo
    }
}

impl KnownBase {
    fn as_base(&self) -> Base<'_> {
        match self {
            Self::NotAsked => Base::NotAsked,
            Self::Known(content) => Base::Known(content),
            Self::Gone => Base::Gone,
        }
    }
}

/// Gives what was decided as part of a record that record's place.
fn settle(outcome: &mut Outcome, position: Position) {
    let settle = |version: &mut Position| {
        if *version == THIS {
            *version = position;
        }
    };
    match outcome {
        Outcome::Resolved { overwritten, .. } => overwritten.iter_mut().for_each(|over| settle(&mut over.version)),
        Outcome::Pending(open) => settle(&mut open.base),
        Outcome::Repeat(remembered) => settle(&mut remembered.version),
        Outcome::Confirmed(_) | Outcome::RolledBack(_) => {}
    }
}

fn answer<J>(waiting: Waiting<J>, outcome: Outcome, entity: &Entity, made: Option<Made>) -> Do<J> {
    let said = said(&waiting.operation, outcome, entity, made);
    Do::Answer(waiting.job, waiting.operation, said)
}

/// What the sender of an operation is told of its outcome.
fn said(operation: &Operation, outcome: Outcome, entity: &Entity, made: Option<Made>) -> Said {
    let wants_current = matches!(outcome, Outcome::Pending(_) | Outcome::RolledBack(_));
    let is_seen =
        entity.is_there() && !entity.is_hidden_from(Some(&operation.stamp.by.owner())) && operation.reaches(entity);
    let current = (wants_current && is_seen).then(|| entity.data.clone());
    let version = match &outcome {
        // Of something hidden nothing is told.
        Outcome::RolledBack(Rollback::NotFound | Rollback::OutOfRegion) => Position::START,
        Outcome::Repeat(remembered) if remembered.version != THIS => remembered.version,
        _ => entity.version,
    };
    Said::Decided { outcome, version, made, current }
}

/// Of what may have been done nobody says that nothing was.
fn fail<J>(waiting: Waiting<J>, failure: Failure) -> Do<J> {
    let failure = if waiting.unsure { Failure::Unknown } else { failure };
    refuse(waiting, Said::Failed(failure))
}

fn refuse<J>(waiting: Waiting<J>, said: Said) -> Do<J> {
    Do::Answer(waiting.job, waiting.operation, said)
}
