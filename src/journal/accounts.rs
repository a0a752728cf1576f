//! What the journal tells about itself: as a whole, and tenant by tenant.
//!
//! Owns: that both are bounded. Must not know: who asks.

use std::{
    collections::BTreeMap,
    ops::Bound,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use super::{Figures, desk::Desk, index::Waits};
use crate::model::TenantId;

/// Tenants whose refusals are counted apart.
const COUNTED: usize = 1024;

/// What the journal holds of a tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OfTenant {
    /// Whose.
    pub tenant: TenantId,
    /// What waits.
    pub waits: Waits,
    /// Appends that found no room since the start.
    pub refused: u64,
}

/// Appends that found no room.
#[derive(Debug, Default)]
pub struct Refusals {
    all: AtomicU64,
    by_tenant: Mutex<BTreeMap<TenantId, u64>>,
}

impl Refusals {
    /// One more.
    pub fn count(&self, tenant: &TenantId) {
        self.all.fetch_add(1, Relaxed);
        let mut by_tenant = self.by_tenant();
        if let Some(count) = by_tenant.get_mut(tenant) {
            *count += 1;
        } else if by_tenant.len() < COUNTED {
            by_tenant.insert(tenant.clone(), 1);
        }
    }

    /// Nothing is known of a tenant any more.
    pub fn forget(&self, tenant: &TenantId) {
        self.by_tenant().remove(tenant);
    }

    /// All of them.
    pub fn all(&self) -> u64 {
        self.all.load(Relaxed)
    }

    /// Those of a tenant.
    fn of(&self, tenant: &TenantId) -> u64 {
        self.by_tenant().get(tenant).copied().unwrap_or_default()
    }

    fn by_tenant(&self) -> MutexGuard<'_, BTreeMap<TenantId, u64>> {
        // Numbers: whole whatever panicked.
        self.by_tenant.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Desk {
    /// See [`super::Journal::figures`].
    pub fn figures(&self) -> Figures {
        let (drained, dead, refused) = (self.drained.load(Relaxed), self.dead.load(Relaxed), self.refused.all());
        self.decide(|index| Figures {
            entries: index.waiting(),
            bytes: index.bytes(),
            max_bytes: index.max_bytes(),
            oldest: index.oldest(),
            drained,
            dead,
            refused,
        })
    }

    /// See [`super::Journal::of_tenant`].
    pub fn of_tenant(&self, tenant: &TenantId) -> OfTenant {
        let waits = self.decide(|index| index.waits(tenant));
        OfTenant { tenant: tenant.clone(), waits, refused: self.refused.of(tenant) }
    }

    /// See [`super::Journal::by_tenant`].
    pub fn by_tenant(&self, after: Option<&TenantId>, most: usize) -> Vec<OfTenant> {
        let mut known: BTreeMap<_, _> = self.decide(|index| index.list(after, most)).into_iter().collect();
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let refused: Vec<_> = {
            let by_tenant = self.refused.by_tenant();
            by_tenant.range::<TenantId, _>((from, Bound::Unbounded)).take(most).map(|(name, _)| name.clone()).collect()
        };
        for tenant in refused {
            known.entry(tenant).or_default();
        }
        let told = |(tenant, waits)| OfTenant { refused: self.refused.of(&tenant), tenant, waits };
        known.into_iter().take(most).map(told).collect()
    }
}
