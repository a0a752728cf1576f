//! What a lane wants done, and what it says to those who wait.

use std::sync::Arc;

use crate::model::{
    Position,
    entity::{Content, Entity, OpId, Operation, Outcome, Stamp},
    text::TextOps,
};

/// What a lane wants done.
#[derive(Debug)]
pub enum Do<J> {
    /// Read the entity's head where it is certain, then [`Lane::loaded`](super::Lane::loaded).
    Load,
    /// Read what stood at a version, then [`Lane::base_loaded`](super::Lane::base_loaded).
    LoadBase(Position),
    /// Append this on condition that the entity stands at `base`, then [`Lane::appended`](super::Lane::appended) or [`Lane::refused`](super::Lane::refused).
    Append(Box<Draft>),
    /// Wait a little, then [`Lane::rested`](super::Lane::rested).
    Rest(Why),
    /// Tell somebody what became of an operation.
    Answer(J, Arc<Operation>, Said),
}

/// Why a lane waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Others may want to go first.
    Polite,
    /// It has lost so many times; the others might be told.
    Lost(u32),
    /// So many times nobody knows what became of its record.
    Unsure(u32),
}

/// A record to be.
#[derive(Debug)]
pub struct Draft {
    /// The entity as it will stand.
    pub next: Arc<Entity>,
    /// As it stands; the record follows this version.
    pub before: Arc<Entity>,
    /// The edits of texts among the changes.
    pub texts: Vec<(String, TextOps)>,
    /// Who did what, in order.
    pub parts: Vec<(OpId, Stamp)>,
}

impl Draft {
    /// Nothing is done yet; so many operations are likely to become part of it.
    pub(super) fn on(head: Arc<Entity>, likely: usize) -> Self {
        Self { next: head.clone(), before: head, texts: Vec::new(), parts: Vec::with_capacity(likely) }
    }

    /// One more operation becomes part of it; says whether it was this one that made the entity.
    pub(super) fn add(&mut self, operation: &Operation, next: Entity, texts: Vec<(String, TextOps)>) -> bool {
        let is_new = next.is_there() && !self.next.is_there();
        self.next = Arc::new(next);
        self.texts.extend(texts);
        self.parts.push((operation.id, operation.stamp.clone()));
        is_new
    }
}

/// What became of an operation.
#[derive(Clone, Debug, PartialEq)]
pub enum Said {
    /// It was decided.
    Decided {
        /// How.
        outcome: Outcome,
        /// The entity's version now.
        version: Position,
        /// The version before, if this operation was part of a record that was appended now, with the content since.
        made: Option<Made>,
        /// What stands, where the sender has to know it: with a rollback or a conflict. `None`: it is not there.
        current: Option<Content>,
    },
    /// The entity moved on each time; nothing was done.
    Retry,
    /// The version that it names lies beyond the entity's; nothing was done.
    Ahead {
        /// The entity's.
        version: Position,
    },
    /// It could not be written.
    Failed(Failure),
}

/// The record that an operation became part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Made {
    /// The version before it.
    pub base: Position,
    /// Whether other operations are part of it too.
    pub company: Company,
    /// Whether it was this operation that made the entity, which was not there before it.
    pub is_new: bool,
}

/// Whether a record holds one operation or several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Company {
    /// One.
    Alone,
    /// Several.
    Several,
}

/// Why nothing could be read or written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Too many operations wait for this entity, or too much waits for the log.
    Busy,
    /// The log cannot be reached; nothing was done.
    Unavailable,
    /// The log takes no more; nothing was done.
    Full,
    /// The entity with all that is kept beside it is larger than the log takes; nothing was done.
    TooLarge,
    /// It is not known whether it was done; the same operation id again is safe.
    Unknown,
}

/// Why a record was not appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The entity stands at another version.
    Conflict,
    /// Nobody knows whether it was; the log has to be read.
    Unknown,
    /// For a reason that another head does not change.
    Failed(Failure),
}
