//! The numbers that stand for tenants in the tables.
//!
//! Owns: that a number is given once and is on disk no later than the first row that uses it. About 150 bytes of memory
//! a tenant.

use std::collections::HashMap;

use fjall::OwnedWriteBatch as WriteBatch;

use super::{
    rows::RoomRow,
    store::{Fault, Store},
};
use crate::model::{Position, TenantId};

/// Every tenant that was ever written to.
#[derive(Debug, Default)]
pub struct Rooms {
    by_tenant: HashMap<TenantId, RoomRow>,
    tenants: Vec<TenantId>,
    /// Numbered, but not yet in a commit that went through.
    fresh: Vec<TenantId>,
}

impl Rooms {
    /// Reads them from the store.
    pub fn load(store: &Store) -> Result<Self, Fault> {
        let mut rows = store.rooms()?;
        rows.sort_by_key(|(_, row)| row.room);
        if rows.iter().zip(0..).any(|((_, row), number)| row.room != number) {
            return Err(Fault::Broken("the tenants' numbers have holes".into()));
        }
        let tenants = rows.iter().map(|(tenant, _)| tenant.clone()).collect();
        Ok(Self { tenants, by_tenant: rows.into_iter().collect(), fresh: Vec::new() })
    }

    /// A tenant's number; a new tenant gets one.
    pub fn number(&mut self, tenant: &TenantId) -> Result<u32, Fault> {
        if let Some(row) = self.by_tenant.get(tenant) {
            return Ok(row.room);
        }
        let room = u32::try_from(self.tenants.len()).ok().filter(|room| *room < u32::MAX);
        let room = room.ok_or_else(|| Fault::Broken("there are too many tenants".into()))?;
        self.by_tenant.insert(tenant.clone(), RoomRow { room, trimmed_to: Position::START });
        self.tenants.push(tenant.clone());
        self.fresh.push(tenant.clone());
        Ok(room)
    }

    /// Adds the rows that are not on disk yet.
    pub fn write_fresh(&self, store: &Store, batch: &mut WriteBatch) {
        for tenant in &self.fresh {
            batch.insert(&store.meta, RoomRow::key(tenant), self.by_tenant[tenant].encode());
        }
    }

    /// What [`Self::write_fresh`] wrote was committed.
    pub fn fresh_are_kept(&mut self) {
        self.fresh.clear();
    }

    /// A tenant's row, if it ever wrote anything.
    pub fn row(&self, tenant: &TenantId) -> Option<RoomRow> {
        self.by_tenant.get(tenant).copied()
    }

    /// Whose number it is.
    pub fn tenant(&self, room: u32) -> Option<&TenantId> {
        self.tenants.get(usize::try_from(room).ok()?)
    }

    /// A committed trim.
    pub fn trimmed(&mut self, room: u32, to: Position) {
        let tenant = usize::try_from(room).ok().and_then(|room| self.tenants.get(room));
        if let Some(row) = tenant.and_then(|tenant| self.by_tenant.get_mut(tenant)) {
            row.trimmed_to = to;
        }
    }
}
