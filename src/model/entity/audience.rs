//! Who may see an entity.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Entity;
use crate::model::InstanceId;

/// Who may see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Audience {
    /// The whole tenant.
    Everyone,
    /// One.
    Only(Owner),
}

/// Whose something private is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Owner {
    /// A user's, on whatever device.
    User(Arc<str>),
    /// An instance's that names no user.
    Instance(InstanceId),
}

impl Entity {
    /// Who may see it: `visibility: "private"` makes it its maker's.
    pub fn audience(&self) -> Audience {
        if self.data.get("visibility").is_none_or(|visibility| visibility != "private") {
            return Audience::Everyone;
        }
        match &self.state.created {
            Some(stamp) => Audience::Only(stamp.by.owner()),
            None => Audience::Everyone,
        }
    }
}

impl super::Author {
    /// Whose what it makes is: its user's, else its own.
    pub fn owner(&self) -> Owner {
        match &self.user {
            Some(user) => Owner::User(user.clone()),
            None => Owner::Instance(self.instance.clone()),
        }
    }
}
