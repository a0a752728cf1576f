//! Shared state: an entity, the operations on it, and what becomes of them.
//!
//! Owns: the rules of conflicts. Everything here is a decision over values: which log the entity stands in, who waits for
//! the outcome and how it is written down are others' business.

mod audience;
mod clocks;
mod delta;
mod recent;
mod texts;

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

pub use self::{
    audience::{Audience, Owner},
    clocks::Clocks,
    delta::Delta,
    recent::Recent,
    texts::TextField,
};
use super::{InstanceId, Position, Timestamp};

/// Stands for the place of the record that is being made: a record cannot hold its own position before it is appended.
/// Later than every real position.
pub const THIS: Position = Position(u64::MAX);

/// An operation's id: the same id is applied once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OpId(pub Uuid);

/// One device or tab of a user: what it wrote itself never clashes with what it writes next. 1 to 128 bytes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ReplicaId(pub Arc<str>);

/// Who did something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Author {
    /// The instance.
    #[serde(rename = "instance_id")]
    pub instance: InstanceId,
    /// The user that it acts for, if it says so.
    #[serde(rename = "user_id", default, skip_serializing_if = "Option::is_none")]
    pub user: Option<Arc<str>>,
    /// The user's name for people.
    #[serde(rename = "user_name", default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Arc<str>>,
}

/// Who did something, and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// Who.
    pub by: Author,
    /// When, by the deciding node's clock: for people, no decision looks at it.
    pub at: Timestamp,
}

/// How a clash is settled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// The one that is later in the log.
    LastWriteWins,
    /// Field by field; texts by transformation.
    #[default]
    Merge,
    /// What stands stays, and both are kept.
    Version,
    /// What stands stays until a person chooses.
    #[serde(alias = "user_choice")]
    Manual,
}

/// What an operation changes.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// RFC 7396: an object; `null` removes.
    Merge(Value),
    /// RFC 6902.
    Patch(json_patch::Patch),
    /// An edit of one text.
    Text(TextChange),
    /// The whole content, an object.
    Replace(Value),
}

/// A change of the text at a path.
#[derive(Clone, Debug, PartialEq)]
pub struct TextChange {
    /// JSON pointer to a string.
    pub path: String,
    /// How it changes.
    pub edit: TextEdit,
}

/// How a text changes.
#[derive(Clone, Debug, PartialEq)]
pub enum TextEdit {
    /// By an edit of the text as it stood at the operation's base.
    Ops(super::text::TextOps),
    /// The whole text as it shall be; merged with what others did since the base.
    Whole(String),
}

/// What an operation does.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Makes it; the change is a [`Change::Replace`].
    Create(Change),
    /// Changes it.
    Update(Change),
    /// Makes it if it is not there, else changes it.
    Put(Change),
    /// Deletes it; a tombstone stays.
    Delete,
    /// Undoes the deletion.
    Restore,
    /// Settles an open conflict or a kept variant.
    Resolve(Resolve),
}

/// A person's decision.
#[derive(Clone, Debug, PartialEq)]
pub struct Resolve {
    /// Which conflict or variant.
    pub id: Uuid,
    /// What holds.
    pub choice: Choice,
}

/// What holds.
#[derive(Clone, Debug, PartialEq)]
pub enum Choice {
    /// What stands.
    Current,
    /// What was proposed.
    Proposed,
    /// Something else: a merge patch for what stands.
    Merged(Value),
}

/// Something that somebody wants done to an entity, checked for form.
#[derive(Clone, Debug, PartialEq)]
pub struct Operation {
    /// Its id.
    pub id: OpId,
    /// Who writes here; the instance's own id if it names none.
    pub replica: ReplicaId,
    /// Counts the replica's operations on whatever entities, rising.
    pub number: Option<u64>,
    /// What is to be done.
    pub action: Action,
    /// The version that its sender had seen; `None`: the head when it arrives (for [`Action::Create`]: that there is none).
    pub base: Option<Position>,
    /// How a clash is settled.
    pub strategy: Strategy,
    /// Who sends it, and when it arrived.
    pub stamp: Stamp,
}

/// An entity as it stands at a version.
#[derive(Clone, Debug, PartialEq)]
pub struct Entity {
    /// Position of its last record; [`Position::START`] if there never was one, [`THIS`] while that record is made.
    pub version: Position,
    /// Its content, an object; of a tombstone, the content when it was deleted.
    pub data: Value,
    /// What the rules need to know.
    pub state: State,
}

/// What the rules need to know of an entity beside its content.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    /// Whether it is a tombstone.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub deleted: bool,
    /// Who made it, and when; `None` only before it was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<Stamp>,
    /// Who changed it last, and when.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub changed: Option<Stamp>,
    /// Which field was written last when and by whom.
    pub clocks: Clocks,
    /// What was applied lately.
    pub recent: Recent,
    /// Conflicts that wait for a person, and variants that are kept.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub open: Vec<Alternative>,
    /// Fields that are edited as texts, each with its latest edits.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub texts: Vec<TextField>,
}

/// Another content that somebody proposed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Alternative {
    /// Its id: that of the operation that proposed it.
    pub id: Uuid,
    /// Whether somebody has to choose.
    pub kind: AlternativeKind,
    /// The version that its author had seen.
    #[serde(with = "stored_version")]
    pub base: Position,
    /// What stood there then at the paths, as a merge patch; `None` if that is not known any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub was: Option<Value>,
    /// What was proposed for the paths, as a merge patch; `None`: to delete the entity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proposed: Option<Value>,
    /// Which fields clashed, as JSON pointers; empty: the entity as a whole.
    pub paths: Vec<String>,
    /// Who proposed it, and when.
    pub stamp: Stamp,
}

/// Whether somebody has to choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlternativeKind {
    /// Yes.
    Conflict,
    /// It is kept beside what stands.
    Variant,
}

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
    Pending(Alternative),
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
    /// When it had been written; [`THIS`]: in the same record.
    pub version: Position,
    /// By whom.
    pub by: ReplicaId,
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
}

/// What is remembered of an operation that was applied.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Remembered {
    /// The version that it made.
    #[serde(with = "stored_version")]
    pub version: Position,
    /// What became of it.
    pub fate: Fate,
}

/// An outcome in short.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// As [`Outcome::Confirmed`].
    Confirmed(Seen),
    /// As [`Outcome::Resolved`], with the paths that were written over.
    Resolved(Settled, Vec<String>),
    /// As [`Outcome::Pending`], with the conflict's id.
    Pending(Uuid),
    /// It was applied; what exactly became of it is not kept any more.
    Applied,
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
        /// The entity as it will stand; its version is [`THIS`].
        next: Box<Entity>,
        /// What its sender is told.
        outcome: Outcome,
        /// Edits of texts among the changes, in order, as they are applied to the head.
        texts: Vec<(String, super::text::TextOps)>,
    },
    /// Nothing is appended; the outcome holds now.
    Answer(Outcome),
    /// Look up what stood at the operation's base and decide again.
    NeedsBase,
    /// The sender has seen a later version than this head: it is old, or the version is of another log.
    Ahead,
}

/// Positions in a stored state: the record's own place is written as 0.
mod stored_version {
    use serde::{Deserialize, Deserializer, Serializer};

    use super::{Position, THIS};

    pub fn serialize<S: Serializer>(version: &Position, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(if *version == THIS { 0 } else { version.0 })
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Position, D::Error> {
        let version = u64::deserialize(deserializer)?;
        Ok(if version == 0 { THIS } else { Position(version) })
    }
}

impl Entity {
    /// What stands where nothing was ever made.
    pub fn none() -> Self {
        Self { version: Position::START, data: Value::Null, state: State::default() }
    }

    /// Whether it can be seen: made and not deleted.
    pub fn is_there(&self) -> bool {
        self.version != Position::START && !self.state.deleted
    }
}

/// Decides what becomes of an operation on an entity.
pub fn decide(_head: &Entity, _operation: &Operation, _base: Base<'_>, _limits: Limits) -> Decision {
    Decision::Ahead
}

impl Entity {
    /// Gives what was written as this record's its place.
    pub fn settle(&mut self, position: Position) {
        self.version = position;
    }
}

impl Outcome {
    /// Gives what was written as this record's its place.
    pub fn settle(&mut self, position: Position) {
        match self {
            Self::Resolved { overwritten, .. } => {
                overwritten.iter_mut().filter(|o| o.version == THIS).for_each(|o| o.version = position);
            }
            Self::Repeat(remembered) if remembered.version == THIS => remembered.version = position,
            _ => {}
        }
    }
}
