//! Who may do what. A grant is a value that the code needs to have: nobody publishes or joins without one.
//!
//! Owns: turning what a client presents into a [`Grant`]. Must not know: sockets, rooms.

use std::sync::Arc;

use crate::model::{InstanceId, TenantId, entity::Author};

/// The right of one instance to join its tenant's room, to read it, to publish and to change entities there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    tenant: TenantId,
    author: Author,
}

impl Grant {
    /// `auth.mode = none`: clients are who they say they are. The configuration lets this mode bind loopback only,
    /// unless told otherwise.
    pub fn unauthenticated(tenant: TenantId, instance: InstanceId) -> Self {
        Self { tenant, author: Author { instance, user: None, name: None } }
    }

    /// The same for an instance that acts for a user.
    pub fn acting_for(mut self, user: Option<Arc<str>>, name: Option<Arc<str>>) -> Self {
        self.author.user = user;
        self.author.name = name;
        self
    }

    /// The tenant whose room it opens.
    pub fn tenant(&self) -> &TenantId {
        &self.tenant
    }

    /// The instance it speaks for.
    pub fn instance(&self) -> &InstanceId {
        &self.author.instance
    }

    /// Who changes what it changes.
    pub fn author(&self) -> &Author {
        &self.author
    }
}
