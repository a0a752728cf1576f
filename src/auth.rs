//! Who may do what. A grant is a value that the code needs to have: nobody publishes or joins without one.
//!
//! Owns: turning what a client presents into a [`Grant`]. Must not know: sockets, rooms.

use crate::model::{InstanceId, TenantId};

/// The right of one instance to join its tenant's room, to read it and to publish there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    tenant: TenantId,
    instance: InstanceId,
}

impl Grant {
    /// `auth.mode = none`: clients are who they say they are. The configuration lets this mode bind loopback only,
    /// unless told otherwise.
    pub fn unauthenticated(tenant: TenantId, instance: InstanceId) -> Self {
        Self { tenant, instance }
    }

    /// The tenant whose room it opens.
    pub fn tenant(&self) -> &TenantId {
        &self.tenant
    }

    /// The instance it speaks for.
    pub fn instance(&self) -> &InstanceId {
        &self.instance
    }
}
