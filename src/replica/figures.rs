//! How it went so far: the seeds' metrics, summed over all processes that had this replica open.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rusqlite::Transaction;
use serde::{Deserialize, Serialize};

use super::store::{StoreError, fact, set_fact};

/// Upper bounds of the latencies that are told apart, in milliseconds; what is above the last one comes on top.
pub const BOUNDS_MS: [u64; 12] = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 5_000, 60_000];

/// Counts. A write is settled when its fate is known, however long that takes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Figures {
    /// Writes that are on disk.
    pub written: u64,
    /// Writes that came about, also those below.
    pub settled: u64,
    /// Of these: clashed with what others wrote, and were merged, kept beside, or wait for a choice.
    pub clashed: u64,
    /// Writes that were refused for good.
    pub refused: u64,
    /// From the write until its fate was known: how many took at most [`BOUNDS_MS`], and how many longer.
    pub latency: [u64; BOUNDS_MS.len() + 1],
    /// The sum of these times, in milliseconds.
    pub latency_ms: u64,
    /// Reads that were answered from here while everything was here.
    pub hits: u64,
    /// Reads that were answered with what was here, while it may have been behind.
    pub misses: u64,
    /// Pulls after which everything was here.
    pub pulled: u64,
    /// Pulls that were given up.
    pub gave_up: u64,
    /// Connections that were made.
    pub connections: u64,
}

impl Figures {
    /// The share of settled writes that came about; `None`: there are none.
    pub fn success_rate(&self) -> Option<f64> {
        share(self.settled, self.settled + self.refused)
    }

    /// The share of reads that were answered from here while everything was here.
    pub fn hit_rate(&self) -> Option<f64> {
        share(self.hits, self.hits + self.misses)
    }

    /// The share of writes that clashed.
    pub fn conflict_rate(&self) -> Option<f64> {
        share(self.clashed, self.settled + self.refused)
    }

    /// The average time until a write's fate was known, in milliseconds.
    pub fn average_latency_ms(&self) -> Option<f64> {
        let count: u64 = self.latency.iter().sum();
        (count > 0).then(|| self.latency_ms as f64 / count as f64)
    }

    /// The bound under which so large a share of the latencies lies, in milliseconds; `None`: none, or above all bounds.
    pub fn latency_below_ms(&self, part: f64) -> Option<u64> {
        let count: u64 = self.latency.iter().sum();
        let mut sum = 0;
        self.latency.iter().zip(BOUNDS_MS).find_map(|(here, bound)| {
            sum += here;
            (count > 0 && sum as f64 >= part * count as f64).then_some(bound)
        })
    }

    /// Notes how long a write took.
    pub(super) fn took(&mut self, time: Duration) {
        let ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let at = BOUNDS_MS.iter().position(|bound| ms <= *bound).unwrap_or(BOUNDS_MS.len());
        self.latency[at] += 1;
        self.latency_ms = self.latency_ms.saturating_add(ms);
    }

    fn add(&mut self, other: &Self) {
        let Self { written, settled, clashed, refused, latency, latency_ms, .. } = other;
        let Self { hits, misses, pulled, gave_up, connections, .. } = other;
        for (sum, part) in [
            (&mut self.written, written),
            (&mut self.settled, settled),
            (&mut self.clashed, clashed),
            (&mut self.refused, refused),
            (&mut self.latency_ms, latency_ms),
            (&mut self.hits, hits),
            (&mut self.misses, misses),
            (&mut self.pulled, pulled),
            (&mut self.gave_up, gave_up),
            (&mut self.connections, connections),
        ] {
            *sum = sum.saturating_add(*part);
        }
        self.latency.iter_mut().zip(latency).for_each(|(sum, part)| *sum += part);
    }
}

fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// What this process counted and has not written down yet.
#[derive(Debug, Default)]
pub(super) struct Counter(Mutex<Figures>);

impl Counter {
    /// Counts something.
    pub fn count(&self, note: impl FnOnce(&mut Figures)) {
        note(&mut self.lock());
    }

    /// Takes what has to be written down, if there is anything.
    pub fn take(&self) -> Option<Figures> {
        let taken = std::mem::take(&mut *self.lock());
        (taken != Figures::default()).then_some(taken)
    }

    /// It could not be written down.
    pub fn give_back(&self, figures: &Figures) {
        self.lock().add(figures);
    }

    fn lock(&self) -> MutexGuard<'_, Figures> {
        // Only counts.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The sums.
pub(super) fn read(transaction: &Transaction<'_>) -> Result<Figures, StoreError> {
    Ok(fact(transaction, "figures")?.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default())
}

/// Adds to the sums.
pub(super) fn add(transaction: &Transaction<'_>, more: &Figures) -> Result<(), StoreError> {
    let mut sums = read(transaction)?;
    sums.add(more);
    let text = serde_json::to_string(&sums).map_err(|error| StoreError::Broken(error.to_string()))?;
    set_fact(transaction, "figures", &text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_shares_and_nothing_has_none() {
        let mut figures = Figures { settled: 3, refused: 1, clashed: 1, hits: 9, misses: 1, ..Figures::default() };
        assert_eq!(figures.success_rate(), Some(0.75));
        assert_eq!(figures.conflict_rate(), Some(0.25));
        assert_eq!(figures.hit_rate(), Some(0.9));
        assert_eq!((figures.average_latency_ms(), figures.latency_below_ms(0.5)), (None, None));
        for ms in [1, 3, 3, 100_000] {
            figures.took(Duration::from_millis(ms));
        }
        assert_eq!(figures.average_latency_ms(), Some(25_001.75));
        assert_eq!((figures.latency_below_ms(0.5), figures.latency_below_ms(0.99)), (Some(5), None));
        let mut sum = Figures::default();
        sum.add(&figures);
        sum.add(&figures);
        assert_eq!((sum.settled, sum.latency[2]), (6, 4));
        assert_eq!(Figures::default().success_rate(), None);
    }
}
