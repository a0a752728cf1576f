//! The tenants that were erased, as this node knows them, and what follows for whoever comes with something of the old one.
//!
//! Owns: that whatever was issued for a tenant before its erasure is good for nothing afterwards. Must not know: how anything is
//! erased.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Bearer, Origin, TokenError};
use crate::model::{
    Position, TenantId, Timestamp,
    erasure::{Cleared, Erasure},
};

/// What a node says when it has let go of everything of a tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClearedRecord {
    /// Whose.
    pub tenant: String,
    /// For which erasure.
    pub receipt: Uuid,
    /// What the node let go of.
    pub cleared: Cleared,
}

/// What is known.
#[derive(Debug, Default)]
pub(super) struct Erasures {
    known: HashMap<TenantId, (Erasure, Position)>,
    cleared: HashMap<Uuid, Vec<Cleared>>,
}

impl Erasures {
    /// Takes one in.
    pub(super) fn learn(&mut self, tenant: TenantId, erasure: Erasure, version: Position) {
        if erasure.is_done() {
            self.cleared.remove(&erasure.receipt);
        }
        self.known.insert(tenant, (erasure, version));
    }

    /// Takes a node's word in.
    pub(super) fn learn_cleared(&mut self, record: ClearedRecord) {
        let runs = self.known.values().any(|(known, _)| known.receipt == record.receipt && !known.is_done());
        if !runs {
            return;
        }
        let nodes = self.cleared.entry(record.receipt).or_default();
        match nodes.iter_mut().find(|known| known.node == record.cleared.node) {
            // It says it again to whoever goes on with the work; what it let go of before is gone.
            Some(known) => crate::model::erasure::add(&mut known.removed, &record.cleared.removed),
            None => nodes.push(record.cleared),
        }
    }

    /// Which nodes have let go of everything.
    pub(super) fn cleared(&self, receipt: Uuid) -> Vec<Cleared> {
        self.cleared.get(&receipt).cloned().unwrap_or_default()
    }

    /// A tenant's last erasure, and where its record stands.
    pub(super) fn of(&self, tenant: &TenantId) -> Option<(Erasure, Position)> {
        self.known.get(tenant).cloned()
    }

    /// The one with a receipt.
    pub(super) fn with(&self, receipt: Uuid) -> Option<Erasure> {
        self.known.values().find(|(erasure, _)| erasure.receipt == receipt).map(|(erasure, _)| erasure.clone())
    }

    /// All.
    pub(super) fn all(&self) -> Vec<(TenantId, Erasure)> {
        self.known.iter().map(|(tenant, (erasure, _))| (tenant.clone(), erasure.clone())).collect()
    }

    /// Whether something that was issued then is the present tenant's.
    pub(super) fn is_of_old(&self, tenant: &TenantId, issued_at: Option<Timestamp>) -> bool {
        let erased = self.known.get(tenant).map(|(erasure, _)| erasure.began_at);
        erased.is_some_and(|began| issued_at.is_none_or(|at| at.0 <= began))
    }

    /// Whether a bearer holds, as far as erasures go, in a tenant.
    pub(super) fn check(&self, bearer: &Bearer, tenant: Option<&TenantId>) -> Result<(), TokenError> {
        if self.known.is_empty() {
            return Ok(());
        }
        let own = &bearer.identity.tenant;
        let is_running = |tenant: &TenantId| self.known.get(tenant).is_some_and(|(erasure, _)| !erasure.is_done());
        if is_running(own) || tenant.is_some_and(is_running) {
            return Err(TokenError::TenantErasing);
        }
        let is_key = matches!(bearer.origin, Origin::AdminKey);
        if !is_key && self.is_of_old(own, bearer.issued_at) { Err(TokenError::TenantErased) } else { Ok(()) }
    }
}
