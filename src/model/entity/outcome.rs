//! What becomes of an operation.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::{Alternative, Entity, Position, ReplicaId, is_this, stored_version, this};
use crate::model::text::TextOps;

/// What became of an operation.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// Done as it was asked. `Seen::Behind`: on top of changes that its sender had not seen (told as `merged`).
    Confirmed(Seen),
    /// It clashed and was settled.
    Resolved {
        /// How.
        how: Settled,
        /// What it wrote over.
        overwritten: Vec<Overwritten>,
    },
    /// It waits for a person.
    Pending(Box<Alternative>),
    /// Nothing was done.
    RolledBack(Rollback),
    /// It was done before.
    Repeat(Remembered),
}

/// Whether an operation's sender had seen the head.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Seen {
    /// Yes.
    Head,
    /// No.
    Behind,
}

/// How a clash was settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Settled {
    /// The later one holds.
    LastWriteWins,
    /// Field by field, texts by transformation.
    Merged,
    /// What stood stays, the other one is kept under this id.
    Variant(Uuid),
    /// It was deleted, and is there again.
    Recreated,
}

/// A value that was written over.
#[derive(Clone, Debug, PartialEq)]
pub struct Overwritten {
    /// JSON pointer.
    pub path: String,
    /// What stood there; `None`: nothing.
    pub value: Option<Value>,
    /// When it had been written; [`THIS`](super::THIS): in the same record.
    pub version: Position,
    /// By whom; `None`: by several.
    pub by: Option<ReplicaId>,
}

/// Why nothing was done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rollback {
    /// There is no such entity.
    #[error("there is no such entity")]
    NotFound,
    /// It was deleted, and the sender had not seen that.
    #[error("it was deleted meanwhile")]
    Deleted,
    /// It was changed, and the sender wanted to delete what it had seen.
    #[error("it was changed meanwhile")]
    Edited,
    /// The patch does not fit; a text says where.
    #[error("the patch does not fit: {0}")]
    PatchFailed(String),
    /// A `test` of a JSON patch failed.
    #[error("the test at {0} failed")]
    TestFailed(String),
    /// A text edit that reaches beyond its text, or no text at that path.
    #[error("the text edit does not fit: {0}")]
    TextFailed(String),
    /// A part of it was to be changed, and what stands there or would stand there is sealed or signed as a whole.
    #[error("it is sealed or signed as a whole: no part of it can be changed, send the whole content")]
    WholeOnly,
    /// The version that the edit was made on is not known any more.
    #[error("the version that this was made on is not kept any more")]
    BaseGone,
    /// Too many conflicts and variants are open.
    #[error("{0} conflicts and variants are open; settle some first")]
    TooManyOpen(usize),
    /// The content would become too large.
    #[error("the content would be larger than {0} bytes")]
    TooLarge(usize),
    /// No conflict or variant of this id is open.
    #[error("no conflict or variant of this id is open")]
    NoSuchConflict,
    /// It lies, or would come to lie, where its sender may not change anything.
    #[error("the entity lies, or would lie, outside the regions that the grant lets change")]
    OutOfRegion,
    /// It does not stand as its sender demands.
    #[error("the entity does not stand as the request demands")]
    PreconditionFailed,
    /// It clashes, and is of a batch of which all is to be done or nothing: nobody can be asked, and nothing kept aside.
    #[error("it clashes with what others wrote at {}", .0.join(", "))]
    Clash(Vec<String>),
    /// Another operation of a batch of which all is to be done or nothing could not be done.
    #[error("another operation of this batch could not be done, so nothing of it was")]
    BatchFailed,
}

/// What is remembered of an operation that was applied.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Remembered {
    /// The version that it made; a later one where that is not kept any more.
    #[serde(default = "this", skip_serializing_if = "is_this", with = "stored_version")]
    pub version: Position,
    /// What became of it.
    #[serde(default, skip_serializing_if = "Fate::is_usual")]
    pub fate: Fate,
}

/// An outcome in short.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// As [`Outcome::Confirmed`].
    Confirmed(Seen),
    /// As [`Outcome::Resolved`], with the paths that were written over, as many as are kept ([`Fate::PATHS`]).
    Resolved(Settled, Vec<String>),
    /// As [`Outcome::Pending`], with the conflict's id.
    Pending(Uuid),
    /// It was applied; what exactly became of it is not kept any more.
    Applied,
}

impl Default for Fate {
    fn default() -> Self {
        Self::Confirmed(Seen::Head)
    }
}

impl Fate {
    fn is_usual(&self) -> bool {
        *self == Self::default()
    }

    /// How many paths are kept: whoever writes over thousands of fields must not fill the entity with their names.
    pub const PATHS: usize = 32;

    /// What is kept of an outcome.
    pub(super) fn of(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Confirmed(seen) => Self::Confirmed(*seen),
            Outcome::Resolved { how, overwritten } => {
                Self::Resolved(*how, overwritten.iter().take(Self::PATHS).map(|over| over.path.clone()).collect())
            }
            Outcome::Pending(open) => Self::Pending(open.id),
            Outcome::Repeat(Remembered { fate, .. }) => fate.clone(),
            Outcome::RolledBack(_) => Self::Applied, // never kept: nothing was applied
        }
    }
}

/// What stood at an operation's base, as far as whoever decides has been told.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Base<'a> {
    /// Not looked up: most decisions do not need it.
    NotAsked,
    /// This content.
    Known(&'a Value),
    /// The log does not hold it any more.
    Gone,
}

/// What is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Greatest content, as JSON text, in bytes.
    pub data_bytes: usize,
    /// Conflicts and variants that may be open.
    pub open: usize,
}

/// What is to be done about an operation.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// Append a record with this state; the outcome holds once that is in the log.
    Append {
        /// The entity as it will stand; its version is [`THIS`](super::THIS).
        next: Box<Entity>,
        /// What its sender is told.
        outcome: Outcome,
        /// Edits of texts among the changes, in order, as they are applied to the head.
        texts: Vec<(String, TextOps)>,
    },
    /// Nothing is appended; the outcome holds now.
    Answer(Outcome),
    /// Look up what stood at the operation's base and decide again.
    NeedsBase,
    /// The sender has seen a later version than this head: it is old, or the version is of another log.
    Ahead,
}
