//! What a log does when a tenant is erased: it takes nothing of the tenant any more, and removes what there is, a part at a time.
//!
//! Owns: the contract of [`Erasing`], and [`Tenancies`], which every implementation asks before it takes anything. Must not
//! know: who decides that a tenant is erased.

use std::{
    collections::HashMap,
    sync::{
        PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
};

use futures_util::future::BoxFuture;

use super::{Append, AppendError, BackboneError, Subject};
use crate::model::{
    Epoch, Position, TenantId,
    erasure::{Counts, Floor, Tenancy},
};

/// One step of an erasure.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Erased {
    /// What it removed.
    pub removed: Counts,
    /// Set when there was nothing to remove: everything of the tenant lay before this position, and whatever is appended from
    /// here on lies behind it.
    pub floor: Option<Position>,
}

/// The part of a log that forgets on demand.
///
/// # Contract
///
/// **Closed.** While a tenant's [`Tenancy`] says so, appends of it end with [`AppendError::Erasing`], and cursors and tallies of it
/// are not kept. An append that was taken before is finished before [`Erasing::erase`] says that there is nothing more.
///
/// **Floor.** Positions up to the floor of a [`Tenancy`], or up to what [`Erasing::set_trimmed`] says, count as trimmed for the
/// tenant.
///
/// **Others.** Nothing of any other tenant changes: neither records nor positions nor repeats.
pub trait Erasing {
    /// Which life a tenant is in, as this node knows it.
    fn tenancy(&self, tenant: &TenantId) -> Tenancy;

    /// Notes what became known of a tenant; what is known already does not go back.
    fn set_tenancy(&self, tenant: &TenantId, tenancy: Tenancy);

    /// Removes some of what there is of a closed tenant, in bounded time.
    fn erase(&self, tenant: &TenantId) -> BoxFuture<'static, Result<Erased, BackboneError>>;

    /// How much there is of a tenant, by what holds it, asked from whoever leads.
    fn holdings(&self, tenant: &TenantId) -> BoxFuture<'static, Result<Counts, BackboneError>>;

    /// Removes single records of a tenant for good, an entity's with its state. Those that are gone already are left out. Returns how
    /// many were removed.
    fn strike(
        &self,
        tenant: &TenantId,
        records: Vec<(Position, Subject)>,
    ) -> BoxFuture<'static, Result<u64, BackboneError>>;

    /// From here on a tenant's positions up to this one count as trimmed. Whoever trims says so on every node first.
    fn set_trimmed(&self, tenant: &TenantId, to: Floor);

    /// Trims some of a tenant's records up to a position, in bounded time; what stands of entities stays. Whether there may be more
    /// to trim.
    fn trim_tenant(&self, tenant: &TenantId, to: Position) -> BoxFuture<'static, Result<bool, BackboneError>>;

    /// Makes what was removed leave the store's files, as far as the log can do that. May take long; the log serves meanwhile,
    /// but for moments.
    fn scrub(&self) -> BoxFuture<'static, Result<(), BackboneError>>;
}

/// What is known of the tenants that were ever erased.
#[derive(Debug, Default)]
pub struct Tenancies {
    /// Whether there is any; nobody else pays for the question.
    any: AtomicBool,
    known: RwLock<HashMap<TenantId, Tenancy>>,
    /// Of those that keep their records for a shorter time than all.
    trimmed: RwLock<HashMap<TenantId, Floor>>,
}

impl Tenancies {
    /// See [`Erasing::tenancy`].
    pub fn of(&self, tenant: &TenantId) -> Tenancy {
        if !self.any.load(Ordering::Acquire) {
            return Tenancy::default();
        }
        self.known.read().unwrap_or_else(PoisonError::into_inner).get(tenant).copied().unwrap_or_default()
    }

    /// See [`Erasing::set_tenancy`].
    pub fn set(&self, tenant: &TenantId, tenancy: Tenancy) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let entry = known.entry(tenant.clone()).or_default();
        *entry = entry.or_later(tenancy);
        self.any.store(true, Ordering::Release);
    }

    /// See [`Erasing::set_trimmed`]; what is known already does not go back.
    pub fn set_trimmed(&self, tenant: &TenantId, to: Floor) {
        let mut trimmed = self.trimmed.write().unwrap_or_else(PoisonError::into_inner);
        let entry = trimmed.entry(tenant.clone()).or_insert(to);
        if entry.epoch != to.epoch || entry.position < to.position {
            *entry = to;
        }
        self.any.store(true, Ordering::Release);
    }

    /// Up to where a tenant's positions in a log are of an earlier life, or trimmed for it alone.
    pub fn floor(&self, tenant: &TenantId, epoch: Epoch) -> Position {
        if !self.any.load(Ordering::Acquire) {
            return Position::START;
        }
        let trimmed = self.trimmed.read().unwrap_or_else(PoisonError::into_inner).get(tenant).copied();
        let trimmed = trimmed.and_then(|floor| floor.in_log(epoch)).unwrap_or(Position::START);
        self.of(tenant).floor_in(epoch).max(trimmed)
    }

    /// Whether anything of a tenant is taken now.
    pub fn takes(&self, tenant: &TenantId) -> bool {
        !self.of(tenant).is_closed
    }

    /// What an append of a closed tenant ends with.
    pub fn refuse(&self, append: &Append) -> Option<AppendError> {
        (!self.takes(&append.tenant)).then_some(AppendError::Erasing)
    }
}
