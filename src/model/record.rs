//! What everybody may know of a record without reading its content.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{EventId, EventType, InstanceId, Position, entity::Owner};

/// A record's place in its room and who sent what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordMeta {
    /// Its position in the log.
    pub position: Position,
    /// The position of the record before it in the same room, [`Position::START`] for the first.
    pub prev: Position,
    /// Its publish id.
    pub id: EventId,
    /// The instance that published it; `None`: several did, and each of them has to see what the others did.
    pub sender: Option<InstanceId>,
    /// Its type.
    pub event_type: EventType,
    /// What it is about.
    pub about: About,
    /// Set if not everybody may see it as it is.
    pub private: Option<Arc<Private>>,
}

/// What a record is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About {
    /// Something happened.
    Event,
    /// An entity changed.
    Entity,
}

/// Who may see a record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Private {
    /// The one who sees it as it is.
    pub owner: Owner,
    /// What it is to the others; `None`: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outside: Option<Happened>,
}

/// From where a record is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum View {
    /// By somebody who may see what it is about.
    Inside,
    /// By somebody who may not: of what was not private before, or is not any more, there is something to see.
    Outside,
}

impl RecordMeta {
    /// How it looks to somebody; `None`: it is not for them. Whoever names no one owns nothing.
    pub fn view(&self, viewer: Option<&Owner>) -> Option<View> {
        match &self.private {
            Some(private) if Some(&private.owner) != viewer => private.outside.map(|_| View::Outside),
            _ => Some(View::Inside),
        }
    }
}

/// What a record means for its entity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Happened {
    /// It is there now.
    Created,
    /// It changed.
    Updated,
    /// It is gone.
    Deleted,
    /// Its content is as before; somebody has to choose.
    ConflictOpened,
    /// Its content is as before; another one is kept beside it.
    VariantKept,
    /// Its content is as before; a conflict or variant is settled.
    ConflictSettled,
}
