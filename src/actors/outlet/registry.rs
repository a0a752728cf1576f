//! The outlets of this thread, by tenant.

use std::{cell::RefCell, collections::HashMap, rc::Rc};

use super::Shared;
use crate::model::TenantId;

thread_local! {
    static OUTLETS: RefCell<HashMap<TenantId, Rc<Shared>>> = RefCell::default();
}

/// The tenant's outlet on this thread.
pub(super) fn find(tenant: &TenantId) -> Option<Rc<Shared>> {
    OUTLETS.with_borrow(|outlets| outlets.get(tenant).cloned())
}

/// Makes an outlet known.
pub(super) fn put(tenant: TenantId, outlet: Rc<Shared>) {
    OUTLETS.with_borrow_mut(|outlets| outlets.insert(tenant, outlet));
}

/// Forgets an outlet, unless a newer one stands in its place.
pub(super) fn remove(tenant: &TenantId, id: u64) {
    OUTLETS.with_borrow_mut(|outlets| {
        if outlets.get(tenant).is_some_and(|known| known.id == id) {
            outlets.remove(tenant);
        }
    });
}
