//! Who may see an entity.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Author, Entity, Stamp};
use crate::model::{
    EntityKey, InstanceId,
    place::{Place, place_in},
};

/// The visibility of what only its owner may see.
pub(super) const PRIVATE: &str = "private";

/// Who may see an entity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Audience {
    /// Everyone in the tenant.
    Everyone,
    /// Its owner.
    Only(Owner),
}

/// Whose a private entity is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Owner {
    /// A user's, on whatever instance.
    User(Arc<str>),
    /// An instance's, which named no user.
    Instance(InstanceId),
}

impl Audience {
    /// Whether somebody belongs to it.
    pub fn includes(&self, instance: &InstanceId, user: Option<&str>) -> bool {
        match self {
            Self::Everyone => true,
            Self::Only(Owner::User(owner)) => user == Some(&**owner),
            Self::Only(Owner::Instance(owner)) => instance == owner,
        }
    }
}

impl Author {
    /// Whose what it makes is: its user's, else its own.
    pub fn owner(&self) -> Owner {
        match &self.user {
            Some(user) => Owner::User(user.clone()),
            None => Owner::Instance(self.instance.clone()),
        }
    }
}

impl Audience {
    /// Who may see an entity whose content has this `visibility`: with `private` only whose it is, its creator.
    pub fn of(visibility: Option<&str>, created: Option<&Stamp>) -> Self {
        match (visibility, created) {
            (Some(PRIVATE), Some(created)) => Self::Only(created.by.owner()),
            _ => Self::Everyone,
        }
    }

    /// Whether somebody may not know of it; `None` is nobody's.
    pub fn excludes(&self, viewer: Option<&Owner>) -> bool {
        matches!(self, Self::Only(owner) if viewer != Some(owner))
    }
}

impl Entity {
    /// Where it lies; a tombstone where it was deleted.
    pub fn place(&self, key: &EntityKey) -> Option<Place> {
        place_in(key, self.data.text())
    }

    /// Who may see it.
    pub fn audience(&self) -> Audience {
        Audience::of(self.data.is_private().then_some(PRIVATE), self.state.created.as_ref())
    }

    /// Whether somebody may not know of it; `None` is nobody's. A tombstone of something private stays its owner's.
    pub fn is_hidden_from(&self, viewer: Option<&Owner>) -> bool {
        self.audience().excludes(viewer)
    }
}
