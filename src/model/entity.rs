//! Shared state: an entity, the operations on it, and what becomes of them.
//!
//! Owns: the rules of conflicts. Everything here is a decision over values: which log the entity stands in, who waits for
//! the outcome and how it is written down are others' business.
//!
//! [`decide`] is the table of the rules. What an operation writes is found by `plan`, what it writes over by `clocks`, and
//! what has to wait is kept by `propose` until `resolve` settles it.

mod audience;
mod change;
mod clocks;
mod content;
mod decide;
mod delta;
mod moved;
mod operation;
mod outcome;
mod plan;
mod propose;
mod recent;
mod resolve;
#[cfg(test)]
mod tests;
mod texts;
mod touch;
mod write;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use self::change::DEPTH;
pub use self::{
    audience::{Audience, Owner},
    clocks::{Clock, Clocks},
    content::Content,
    decide::decide,
    delta::{Delta, DeltaError, TextDelta},
    operation::{
        Action, Author, Change, Choice, OpId, Operation, Precondition, ReplicaId, Resolve, Stamp, Strategy, TextChange,
        TextEdit, Within,
    },
    outcome::{Base, Decision, Fate, Limits, Outcome, Overwritten, Remembered, Rollback, Seen, Settled},
    recent::Recent,
    texts::{KeptEdit, TextField},
};
use super::Position;

/// Stands for the place of the record that is being made: a record cannot hold its own position before it is appended.
/// Later than every real position.
pub const THIS: Position = Position(u64::MAX);

/// An entity as it stands at a version.
#[derive(Clone, Debug, PartialEq)]
pub struct Entity {
    /// Position of its last record; [`Position::START`] if there never was one, [`THIS`] while that record is made.
    pub version: Position,
    /// Its content, an object; of a tombstone, the content when it was deleted.
    pub data: Content,
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
    /// Who changed it last, and when; `None`: nobody since it was made.
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
    /// While its record is made, as several operations may share one: the version before that record. Not stored.
    #[serde(skip)]
    pub stands_at: Position,
}

/// Another content that somebody proposed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Alternative {
    /// Its id: that of the operation that proposed it.
    pub id: Uuid,
    /// Whether somebody has to choose.
    pub kind: AlternativeKind,
    /// The version that its author had seen.
    #[serde(default, skip_serializing_if = "is_start", with = "stored_version")]
    pub base: Position,
    /// What stood there then at the paths, as a merge patch; `None` if that is not known any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub was: Option<Value>,
    /// What was proposed for the paths, as a merge patch; `None`: to delete the entity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proposed: Option<Value>,
    /// Whether what was proposed is the whole content and no patch: then it replaces what stands.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub whole: bool,
    /// Fields that shall hold an explicit `null`, as JSON pointers: a merge patch cannot say that.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nulls: Vec<String>,
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

fn is_start(position: &Position) -> bool {
    *position == Position::START
}

fn is_this(position: &Position) -> bool {
    *position == THIS
}

fn this() -> Position {
    THIS
}

/// Positions in a stored state: the record's own place is written as 0, or left out.
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
        Self { version: Position::START, data: Content::default(), state: State::default() }
    }

    /// Whether it can be seen: made and not deleted.
    pub fn is_there(&self) -> bool {
        self.was_made() && !self.state.deleted
    }

    /// Whether it was ever made; it may be a tombstone.
    pub fn was_made(&self) -> bool {
        self.version != Position::START
    }

    /// The version of its last record that has a place: while a record is made, the one before it.
    pub fn stands_at(&self) -> Position {
        if self.version == THIS { self.state.stands_at } else { self.version }
    }

    /// Puts the position of its record wherever it says [`THIS`]: after the record was appended or read.
    pub fn settle(&mut self, position: Position) {
        settle(&mut self.version, position);
        let state = &mut self.state;
        state.clocks.settle(position);
        state.recent.settle(position);
        state.open.iter_mut().for_each(|open| settle(&mut open.base, position));
        state.texts.iter_mut().for_each(|text| text.settle(position));
        state.stands_at = Position::START;
    }
}

fn settle(version: &mut Position, position: Position) {
    if *version == THIS {
        *version = position;
    }
}
