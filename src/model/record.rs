//! What everybody may know of a record without reading its content.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{
    EntityKey, EventId, EventType, InstanceId, Position,
    entity::{Audience, Owner},
    rights::Rights,
};

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
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum About {
    /// Something happened.
    Event,
    /// This entity changed.
    Entity(EntityKey),
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

/// Somebody who looks: whose private things it may see, and what it was granted to hear and read. Every path on which anything
/// is shown to anybody asks here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Viewer {
    owner: Option<Owner>,
    rights: Arc<Rights>,
}

impl Viewer {
    /// Whoever names no one owns nothing.
    pub fn new(owner: Option<Owner>, rights: Arc<Rights>) -> Self {
        Self { owner, rights }
    }

    /// Whether it may see everything that is not another's, so that nobody needs to ask for each.
    pub fn is_unrestricted(&self) -> bool {
        self.rights.subscribe.is_all() && self.rights.read.is_all()
    }

    /// Whether it may hear of events and signals of this type.
    pub fn hears(&self, event_type: &str) -> bool {
        self.rights.subscribe.admits(event_type)
    }

    /// Whether it may know of an entity.
    pub fn sees(&self, key: &EntityKey, audience: &Audience) -> bool {
        self.rights.read.admits(key) && !audience.excludes(self.owner.as_ref())
    }

    /// The same where only an owner, if there is one, is known.
    pub fn sees_what_is(&self, key: &EntityKey, private_to: Option<&Owner>) -> bool {
        self.rights.read.admits(key) && private_to.is_none_or(|owner| self.owner.as_ref() == Some(owner))
    }

    /// How a record of an entity looks to it; `None`: it is not for it.
    pub fn view(&self, key: &EntityKey, private: Option<&Private>) -> Option<View> {
        match private {
            _ if !self.rights.read.admits(key) => None,
            Some(private) if Some(&private.owner) != self.owner.as_ref() => private.outside.map(|_| View::Outside),
            _ => Some(View::Inside),
        }
    }
}

impl RecordMeta {
    /// How it looks to somebody; `None`: it is not for them.
    pub fn view(&self, viewer: &Viewer) -> Option<View> {
        match &self.about {
            About::Event => viewer.hears(self.event_type.as_str()).then_some(View::Inside),
            About::Entity(key) => viewer.view(key, self.private.as_deref()),
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
