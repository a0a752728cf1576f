//! What something needs a grant for, and what is said to whoever has none. The only place where a right becomes a refusal.

use super::{Code, Refusal};
use crate::model::{
    EntityKey,
    entity::Author,
    rights::{Admin, Rights},
    signing::{holds_keys, signer},
};

/// What a grant is needed for.
#[derive(Clone, Copy, Debug)]
pub enum Need<'a> {
    /// To be in the room. What it hears there is looked at record by record.
    Connect,
    /// To hear events and signals; which ones is looked at record by record.
    Hear,
    /// To look at entities; which ones is looked at one by one.
    Look,
    /// To publish an event or a signal of this type.
    Publish(&'a str),
    /// To know who is here, and the room's figures.
    Presence,
    /// To see an entity.
    Read(&'a EntityKey),
    /// To make, change or delete an entity.
    Change(&'a EntityKey),
    /// To administer a tenant, or everything.
    Admin(Admin),
}

/// The type under which `subscribe` admits presence.
pub const PRESENCE: &str = "instance_joined";

impl Need<'_> {
    /// Whether these rights suffice.
    pub fn is_met(&self, rights: &Rights) -> bool {
        match self {
            Self::Connect | Self::Hear | Self::Look => true,
            Self::Publish(kind) => rights.publish.admits(kind),
            Self::Presence => rights.subscribe.admits(PRESENCE),
            Self::Read(key) => rights.read.may_admit(key),
            Self::Change(key) => rights.change.may_admit(key),
            Self::Admin(admin) => rights.admin >= *admin,
        }
    }

    /// Refuses whoever does not have it.
    ///
    /// # Errors
    ///
    /// Names the grant that is missing.
    pub fn check(&self, rights: &Rights) -> Result<(), Refusal> {
        if self.is_met(rights) {
            return Ok(());
        }
        let missing = match self {
            Self::Connect | Self::Hear | Self::Look => return Ok(()),
            Self::Publish(kind) => format!("'publish' of \"{kind}\""),
            Self::Presence => format!("'subscribe' to \"{PRESENCE}\""),
            Self::Read(EntityKey { kind, id }) => format!("'read' of \"{kind}:{id}\""),
            Self::Change(EntityKey { kind, id }) => format!("'change' of \"{kind}:{id}\""),
            Self::Admin(Admin::System) => "'admin' of the system".to_owned(),
            Self::Admin(_) => "'admin' of the tenant".to_owned(),
        };
        Err(Refusal::new(Code::Forbidden, format!("the grant {missing} is missing")))
    }
}

/// Refuses whoever would change what is another's own: public keys are changed by whose they are, and by administrators of the tenant. Who
/// may change another's keys could sign in that one's name. Asked beside [`Need::Change`], wherever something is changed.
///
/// # Errors
///
/// Names whose it is.
pub fn check_own(key: &EntityKey, author: &Author, rights: &Rights) -> Result<(), Refusal> {
    if !holds_keys(key) || *key.id == *signer(&author.owner()) || rights.admin >= Admin::Tenant {
        return Ok(());
    }
    let EntityKey { kind, id } = key;
    let message = format!("\"{kind}:{id}\" is changed by \"{id}\", or with the grant 'admin' of the tenant");
    Err(Refusal::new(Code::Forbidden, message))
}
