//! What the journal does about a tenant that was erased: entries of the old one go nowhere, and its dead letters neither.
//!
//! Owns: that a node which was away when a tenant was erased does not bring it back. Must not know: who erased it.

use std::{
    collections::HashMap,
    sync::{MutexGuard, PoisonError, atomic::Ordering::Relaxed},
    time::Duration,
};

use tokio::time::sleep;

use super::desk::Desk;
use crate::{
    backbone::{AppendError, BackboneError},
    model::{
        DedupeId, Position, TenantId, Timestamp,
        erasure::{Counts, Erasure},
    },
};

/// How often it is looked whether everything is gone.
const LOOK: Duration = Duration::from_millis(20);
/// Dead letters removed at a time.
const GROUP: usize = 1_000;

/// Asks the log whether a tenant was erased, and notes the answer.
///
/// # Errors
///
/// The log cannot be read now, or what it says of the erasure cannot.
pub(super) async fn learn(desk: &Desk, tenant: &TenantId) -> Result<(), BackboneError> {
    let kept = desk.backbone.entity(&TenantId::system(), &Erasure::place(tenant)).await?;
    if let Some(kept) = kept {
        let (_, erasure) = Erasure::read(&kept.body).map_err(BackboneError::Store)?;
        desk.backbone.set_tenancy(tenant, erasure.tenancy());
    }
    Ok(())
}

impl Desk {
    /// An entry is of a tenant that was erased: nobody keeps it.
    pub(super) async fn drop_entry(&self, tenant: &TenantId, position: Position, dedupe: DedupeId) {
        *self.dropped().entry(tenant.clone()).or_default() += 1;
        self.end(tenant, position, Some(dedupe), Err(AppendError::Erasing)).await;
    }

    fn dropped(&self) -> MutexGuard<'_, HashMap<TenantId, u64>> {
        // Only counts.
        self.dropped.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// See [`super::Journal::forget`].
    pub(super) async fn forget(&self, tenant: &TenantId) -> Result<Counts, BackboneError> {
        let since = self.backbone.tenancy(tenant).since;
        let mut last = Position::START;
        loop {
            let (left, writing) = self.decide(|index| {
                last = last.max(index.last_of(tenant).unwrap_or_default());
                index.count_to(tenant, last)
            });
            let is_closed = self.backbone.tenancy(tenant).is_closed;
            // Once the tenant lives again, what comes is the new one's: only what was here in the beginning counts.
            if left == 0 && (writing == 0 || !is_closed) {
                break;
            }
            if self.is_closing() {
                return Err(BackboneError::Unavailable("the journal is closed".into()));
            }
            // The draining drops what is of an earlier life, also of rooms that rest.
            self.hurry();
            sleep(LOOK).await;
        }
        let letters = self.forget_letters(tenant, since).await?;
        let entries = self.dropped().remove(tenant).unwrap_or_default();
        let swept = self.decide(|index| index.last_done());
        while !self.decide(|index| index.is_swept(swept)) && !self.is_closing() {
            sleep(LOOK).await;
        }
        if entries > 0 || letters > 0 {
            self.store.scrub().await?;
        }
        Ok(Counts::from([("journal".to_owned(), entries), ("dead_letters".to_owned(), letters)]))
    }

    async fn forget_letters(&self, tenant: &TenantId, before: Timestamp) -> Result<u64, BackboneError> {
        let (mut after, mut found) = (Position::START, Vec::new());
        loop {
            let (letters, next) = self.store.letters_of(tenant, before, after).await?;
            found.extend(letters);
            let Some(next) = next else { break };
            after = next;
        }
        for group in found.chunks(GROUP) {
            let (_, removed) = self.store.remove(group.iter().map(|(position, _)| *position).collect()).await;
            removed?;
            let size = group.iter().map(|(_, size)| size).sum();
            self.decide(|index| index.unburied(size));
            self.dead.fetch_sub(group.len() as u64, Relaxed);
        }
        Ok(found.len() as u64)
    }
}
