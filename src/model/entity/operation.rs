//! What somebody wants done to an entity.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::{Content, Entity, THIS};
use crate::model::{EntityKey, InstanceId, Position, Timestamp, rights::Regions, text::TextOps};

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
    Replace(Content),
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
    Ops(TextOps),
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
    /// Makes it if it is not there, else changes it: a [`Change::Merge`] or [`Change::Replace`].
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

/// How the entity has to stand for an operation to be done at all: for senders that want no merging.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precondition {
    /// However it stands.
    #[default]
    Any,
    /// It is there, at this version.
    At(Position),
    /// It is there.
    Present,
    /// It is not there.
    Absent,
}

impl Precondition {
    /// Whether an entity stands as it has to.
    pub fn holds(self, entity: &Entity) -> bool {
        match self {
            Self::Any => true,
            // What others did in the same record nobody can have seen.
            Self::At(version) => entity.is_there() && entity.version == version && version != THIS,
            Self::Present => entity.is_there(),
            Self::Absent => !entity.is_there(),
        }
    }
}

/// Which entity, and where it has to lie for its sender to change it.
#[derive(Clone, Debug, PartialEq)]
pub struct Within {
    /// The entity, whose type says whether it has a place.
    pub key: EntityKey,
    /// Where.
    pub regions: Regions,
}

impl Operation {
    /// Whether its sender may change an entity that stands so.
    pub fn reaches(&self, entity: &Entity) -> bool {
        self.within.as_ref().is_none_or(|Within { key, regions }| regions.hold(entity.place(key)))
    }
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
    /// How the entity has to stand.
    pub only: Precondition,
    /// Where the entity has to lie, before and after; `None`: anywhere.
    pub within: Option<Within>,
    /// Who sends it, and when it arrived.
    pub stamp: Stamp,
}
