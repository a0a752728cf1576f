//! The journal's disk: an embedded log, one fixed tenant of it for the entries, another for the dead letters.
//!
//! Owns: what stands where in it. Must not know: order among rooms, who waits for an answer.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt};
use tokio::sync::Mutex;
use uuid::Uuid;

use super::{
    JournalConfig,
    entry::{DeadLetter, Entry},
    index::{Index, Place},
};
use crate::{
    backbone::{
        Append, AppendError, Backbone, BackboneError, Erasing as _, Expect, Outcome, Page, ReadBudget, Reply, Stored,
        Subject, append_one,
        embedded::{EmbeddedConfig, EmbeddedLog, RECORD_OVERHEAD},
    },
    model::{DedupeId, Position, TenantId, Timestamp},
};

/// One read while recovering.
const PAGE: ReadBudget = ReadBudget { records: 4096, bytes: 4 << 20 };
/// One read while draining, bytes.
const RUN_BYTES: usize = 1 << 20;

/// See the file's head.
#[derive(Debug)]
pub struct Store {
    log: EmbeddedLog,
    entries: TenantId,
    dead: TenantId,
    leftovers: Arc<Leftovers>,
}

/// Whether an entry's death made a letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Buried {
    /// It takes so many bytes.
    New(u64),
    /// An earlier attempt had made it.
    Before,
}

impl Store {
    /// In an open log.
    pub fn new(log: EmbeddedLog) -> Self {
        let [entries, dead] = ["entries", "dead"].map(|name| name.parse().expect("a plain word is a tenant id"));
        Self { log, entries, dead, leftovers: Arc::default() }
    }

    /// Puts everything that it holds into an empty index; returns the number of dead letters.
    pub async fn recover(&self, index: &mut Index) -> Result<u64, BackboneError> {
        let (mut after, mut more) = (Position::START, true);
        while more {
            let page = self.log.read(&self.entries, after, PAGE).await?;
            for record in &page.records {
                after = record.position;
                let (tenant, queued_at) = match Entry::decode(&record.body) {
                    Ok(entry) => (entry.tenant, entry.queued_at),
                    // Put into a queue all the same: its turn comes, and it goes to the dead letters.
                    Err(_) => (self.entries.clone(), record.stored_at),
                };
                index.recovered(&tenant, Place { position: after, size: size_of(&record.body), queued_at });
            }
            more = page.more;
        }
        let (mut after, mut more, mut letters) = (Position::START, true, 0);
        while more {
            let page = self.log.read(&self.dead, after, PAGE).await?;
            page.records.iter().for_each(|letter| index.buried(size_of(&letter.body)));
            letters += page.records.len() as u64;
            after = page.records.last().map_or(after, |letter| letter.position);
            more = page.more;
        }
        Ok(letters)
    }

    /// Writes an entry; only queues it. A repeat is answered with the first one's place while that is here.
    pub fn put(&self, dedupe: DedupeId, body: Bytes, reply: Reply) {
        self.log.append(stored_as(&self.entries, dedupe, body), reply);
    }

    /// Reads the entries at these places, which stand side by side: at least the first.
    pub async fn read(&self, places: &[Place]) -> Result<Vec<Stored>, BackboneError> {
        let Some(first) = places.first() else { return Ok(Vec::new()) };
        let before = Position(first.position.0.saturating_sub(1));
        let budget = ReadBudget { records: places.len(), bytes: RUN_BYTES };
        let Page { mut records, .. } = self.log.read(&self.entries, before, budget).await?;
        // They stand side by side.
        let last = places.last().map_or(first.position, |last| last.position);
        records.retain(|record| record.position <= last);
        if records.is_empty() {
            return Err(BackboneError::Store(format!("the journal's entry {} is gone", first.position)));
        }
        Ok(records)
    }

    /// Copies an entry to the dead letters.
    pub async fn bury(&self, record: &Stored, reason: String) -> Result<Buried, AppendError> {
        let letter = DeadLetter { reason, entry: record.body.clone() }.encode();
        let size = size_of(&letter);
        // Under the entry's own place: dying again after a crash makes no second letter.
        let id = DedupeId(Uuid::from_u128(record.position.0.into()));
        let appended = append_one(&self.log, stored_as(&self.dead, id, letter)).await?;
        Ok(if appended.outcome == Outcome::Stored { Buried::New(size) } else { Buried::Before })
    }

    /// The oldest dead letters, at most so many.
    pub async fn letters(&self, most: usize) -> Result<Vec<DeadLetter>, BackboneError> {
        let page = self.log.read(&self.dead, Position::START, ReadBudget { records: most, ..PAGE }).await?;
        Ok(page.records.iter().filter_map(|letter| DeadLetter::decode(&letter.body).ok()).collect())
    }

    /// The dead letters of a tenant's life before a moment, some of them: where they stand and what they cost.
    pub async fn letters_of(
        &self,
        tenant: &TenantId,
        before: Timestamp,
        after: Position,
    ) -> Result<(Vec<(Position, u64)>, Option<Position>), BackboneError> {
        let page = self.log.read(&self.dead, after, PAGE).await?;
        let is_of = |letter: &&Stored| {
            let entry = DeadLetter::decode(&letter.body).and_then(|letter| Entry::decode(&letter.entry));
            entry.is_ok_and(|entry| entry.tenant == *tenant && entry.life < before)
        };
        let found = page.records.iter().filter(is_of).map(|letter| (letter.position, size_of(&letter.body)));
        let next = page.records.last().filter(|_| page.more).map(|last| last.position);
        Ok((found.collect(), next))
    }

    /// Makes whatever was taken out leave the files.
    pub async fn scrub(&self) -> Result<(), BackboneError> {
        self.leftovers.clear(self.log.scrub()).await
    }

    /// Takes entries out; on failure they are still there.
    pub fn remove(&self, positions: Vec<Position>) -> BoxFuture<'static, (Vec<Position>, Result<(), BackboneError>)> {
        let (removed, leftovers) = (self.log.remove(positions.clone()), self.leftovers.clone());
        async move {
            let removed = removed.await;
            leftovers.rise();
            (positions, removed)
        }
        .boxed()
    }

    /// Flushes and lets go of the disk.
    pub async fn close(&self) {
        self.log.close().await;
    }
}

/// Whether what was taken out may still be in the files.
#[derive(Debug)]
struct Leftovers {
    /// Rises with whatever is taken out.
    risen_to: AtomicU64,
    /// Up to where it has left the files.
    cleared_to: Mutex<u64>,
}

impl Default for Leftovers {
    fn default() -> Self {
        // An earlier process may have ended before it was through.
        Self { risen_to: AtomicU64::new(1), cleared_to: Mutex::new(0) }
    }
}

impl Leftovers {
    fn rise(&self) {
        self.risen_to.fetch_add(1, Ordering::AcqRel);
    }

    /// Has the files written anew, if there may be any. Whoever comes meanwhile waits for that.
    async fn clear<E>(&self, scrubbed: impl Future<Output = Result<(), E>>) -> Result<(), E> {
        let mut cleared_to = self.cleared_to.lock().await;
        let risen_to = self.risen_to.load(Ordering::Acquire);
        if *cleared_to < risen_to {
            scrubbed.await?;
            *cleared_to = risen_to;
        }
        Ok(())
    }
}

/// How the store of a journal is opened.
pub fn settings(config: &JournalConfig) -> EmbeddedConfig {
    EmbeddedConfig {
        data_dir: config.dir.clone(),
        // Only what was drained is taken out.
        retention_age: None,
        retention_bytes: None,
        sweep_interval: Duration::from_secs(3600),
        commit_records: config.commit_records,
        commit_bytes: config.commit_bytes,
        queue_appends: config.queue_appends,
        // Nobody follows it.
        feed_bytes: 1,
    }
}

/// What a record costs the budget.
pub fn size_of(body: &Bytes) -> u64 {
    (body.len() + RECORD_OVERHEAD) as u64
}

fn stored_as(name: &TenantId, dedupe: DedupeId, body: Bytes) -> Append {
    Append {
        tenant: name.clone(),
        subject: Subject::Event("entry".parse().expect("a plain word is an event type")),
        dedupe,
        expect: Expect::Anything,
        first_tried: None,
        body,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;

    use super::*;

    #[tokio::test]
    async fn the_files_are_written_anew_until_that_has_worked_and_then_when_more_was_taken_out() {
        let (leftovers, times) = (Leftovers::default(), AtomicU32::new(0));
        let scrub = |result: Result<(), &'static str>| {
            let times = &times;
            async move {
                times.fetch_add(1, Ordering::Relaxed);
                result
            }
        };
        // What an earlier process took out may still be there.
        assert_eq!(leftovers.clear(scrub(Err("no space"))).await, Err("no space"));
        assert_eq!(leftovers.clear(scrub(Err("no space"))).await, Err("no space"));
        assert_eq!(leftovers.clear(scrub(Ok(()))).await, Ok(()));
        assert_eq!(leftovers.clear(scrub(Ok(()))).await, Ok(()));
        assert_eq!(times.load(Ordering::Relaxed), 3);
        leftovers.rise();
        // What is taken out meanwhile is for the next time.
        let scrubbed = async {
            leftovers.rise();
            scrub(Ok(())).await
        };
        assert_eq!(leftovers.clear(scrubbed).await, Ok(()));
        assert_eq!(leftovers.clear(scrub(Ok(()))).await, Ok(()));
        assert_eq!(leftovers.clear(scrub(Ok(()))).await, Ok(()));
        assert_eq!(times.load(Ordering::Relaxed), 5);
    }
}
