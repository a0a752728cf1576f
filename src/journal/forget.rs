//! What the journal does about a tenant that was erased: entries of the old one go nowhere, and its dead letters neither.
//!
//! Owns: that a node which was away when a tenant was erased does not bring it back, and that what went is told only when it has
//! left the files. Must not know: who erased it.

use std::{
    collections::HashMap,
    future::Future,
    sync::{Mutex, MutexGuard, PoisonError, atomic::Ordering::Relaxed},
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
        self.gone.note(tenant, Removed { entries: 1, letters: 0 });
        self.end(tenant, position, Some(dedupe), Err(AppendError::Erasing)).await;
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
        self.forget_letters(tenant, since).await?;
        let swept = self.decide(|index| index.last_done());
        while !self.decide(|index| index.is_swept(swept)) && !self.is_closing() {
            sleep(LOOK).await;
        }
        let Removed { entries, letters } = self.gone.tell(tenant, self.store.scrub()).await?;
        Ok(Counts::from([("journal".to_owned(), entries), ("dead_letters".to_owned(), letters)]))
    }

    async fn forget_letters(&self, tenant: &TenantId, before: Timestamp) -> Result<(), BackboneError> {
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
            self.gone.note(tenant, Removed { entries: 0, letters: group.len() as u64 });
            let size = group.iter().map(|(_, size)| size).sum();
            self.decide(|index| index.unburied(size));
            self.dead.fetch_sub(group.len() as u64, Relaxed);
        }
        Ok(())
    }
}

/// How much of erased tenants was taken out, until it has left the files and that is told.
#[derive(Debug, Default)]
pub(super) struct Gone(Mutex<HashMap<TenantId, Removed>>);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Removed {
    entries: u64,
    letters: u64,
}

impl Gone {
    fn note(&self, tenant: &TenantId, more: Removed) {
        let mut known = self.known();
        let removed = known.entry(tenant.clone()).or_default();
        removed.entries += more.entries;
        removed.letters += more.letters;
    }

    /// Tells it once it is out of the files. While that fails it is still to be told.
    async fn tell<E>(&self, tenant: &TenantId, scrubbed: impl Future<Output = Result<(), E>>) -> Result<Removed, E> {
        scrubbed.await?;
        Ok(self.known().remove(tenant).unwrap_or_default())
    }

    fn known(&self) -> MutexGuard<'_, HashMap<TenantId, Removed>> {
        // Only counts.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::future::ready;

    use super::*;

    #[tokio::test]
    async fn what_was_taken_out_is_told_once_and_not_before_it_is_out_of_the_files() {
        let (gone, tenant) = (Gone::default(), "acme".parse().expect("a tenant"));
        gone.note(&tenant, Removed { entries: 2, letters: 0 });
        gone.note(&tenant, Removed { entries: 0, letters: 3 });
        assert_eq!(gone.tell(&tenant, ready(Err("no space"))).await, Err("no space"));
        let done = || ready(Ok::<_, &str>(()));
        assert_eq!(gone.tell(&tenant, done()).await, Ok(Removed { entries: 2, letters: 3 }));
        assert_eq!(gone.tell(&tenant, done()).await, Ok(Removed::default()));
    }
}
