//! What a crowd has seen so far, shared between the threads of a bench.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use anyhow::bail;
use tokio::{
    sync::Notify,
    time::{Instant, sleep},
};

/// How often a waiting run looks at the figures.
const LOOK: Duration = Duration::from_millis(1);

/// Deliveries that do not come for so long do not come at all.
const TAIL: Duration = Duration::from_secs(5);

/// Counters that only rise.
#[derive(Debug, Default)]
pub struct Tally {
    /// Connections that were upgraded.
    pub joined: AtomicU64,
    /// Connections that have `caught_up`.
    pub caught_up: AtomicU64,
    /// Deliveries that came in their order, and those that were skipped.
    accounted: AtomicU64,
    /// Deliveries that were skipped.
    pub lost: AtomicU64,
    /// Deliveries that came a second time, or behind a later one.
    pub doubled: AtomicU64,
    /// Bytes that came, handshakes apart.
    pub bytes: AtomicU64,
    /// Connections that ended though nobody asked for it, or never came about.
    pub failed: AtomicU64,
    /// What the first of them said.
    first_failure: Mutex<Option<String>>,
    wanted: AtomicU64,
    reached: Notify,
}

/// What one read brought.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seen {
    /// New deliveries.
    pub delivered: u64,
    /// Numbers that were skipped.
    pub lost: u64,
    /// Numbers that had come before.
    pub doubled: u64,
}

impl Tally {
    /// Adds what one read brought.
    pub fn add(&self, bytes: usize, seen: Seen) {
        self.bytes.fetch_add(bytes as u64, SeqCst);
        if seen.lost > 0 {
            self.lost.fetch_add(seen.lost, SeqCst);
        }
        if seen.doubled > 0 {
            self.doubled.fetch_add(seen.doubled, SeqCst);
        }
        let more = seen.delivered + seen.lost;
        let before = self.accounted.fetch_add(more, SeqCst);
        let wanted = self.wanted.load(SeqCst);
        if before < wanted && before + more >= wanted {
            self.reached.notify_one();
        }
    }

    /// Deliveries that came, and those that never will.
    pub fn accounted(&self) -> u64 {
        self.accounted.load(SeqCst)
    }

    /// Returns once that many deliveries are accounted for; for one waiter at a time.
    pub async fn reach(&self, wanted: u64) {
        self.wanted.store(wanted, SeqCst);
        while self.accounted() < wanted {
            self.reached.notified().await;
        }
    }

    /// A connection ended though nobody asked for it.
    pub fn fail(&self, why: &anyhow::Error) {
        self.failed.fetch_add(1, SeqCst);
        let mut first = self.first_failure.lock().unwrap_or_else(PoisonError::into_inner);
        first.get_or_insert_with(|| format!("{why:#}"));
    }

    /// What the first connection that failed said.
    pub fn failure(&self) -> Option<String> {
        let first = self.first_failure.lock().unwrap_or_else(PoisonError::into_inner);
        first.clone().map(|why| format!("{} connections failed; the first: {why}", self.failed.load(SeqCst)))
    }

    /// Waits for deliveries that are under way, as long as some come. `Some` says that the time was up.
    pub async fn tail(&self, expected: u64, deadline: Instant) -> Option<String> {
        let (mut last, mut since) = (self.accounted(), Instant::now());
        while last < expected {
            sleep(LOOK).await;
            let now = self.accounted();
            if now > last {
                (last, since) = (now, Instant::now());
            }
            if Instant::now() > deadline {
                return Some("the last deliveries did not come in time".to_owned());
            }
            if since.elapsed() > TAIL || self.failure().is_some() {
                break;
            }
        }
        None
    }

    /// Waits until `done`; an error when a connection fails or the time is up.
    pub async fn wait(&self, what: &str, deadline: Instant, done: impl Fn(&Self) -> bool) -> anyhow::Result<()> {
        while !done(self) {
            if let Some(failure) = self.failure() {
                bail!("{what}: {failure}");
            }
            if Instant::now() >= deadline {
                bail!(
                    "{what}: not finished in time ({} joined, {} caught up, {} deliveries)",
                    self.joined.load(SeqCst),
                    self.caught_up.load(SeqCst),
                    self.accounted()
                );
            }
            sleep(LOOK).await;
        }
        Ok(())
    }
}
