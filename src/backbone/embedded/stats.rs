//! What the embedded log counts.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use super::rows::Tail;
use crate::{
    backbone::{Figure, FigureValue},
    model::Position,
};

/// Figures since the log was opened, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct EmbeddedStats {
    /// Flushed commits.
    pub commits: u64,
    /// Records made.
    pub records: u64,
    /// Appends that were repeats.
    pub duplicates: u64,
    /// Time spent writing and flushing commits, seconds.
    pub flush_seconds: f64,
    /// Time of the last flush, seconds.
    pub last_flush_seconds: f64,
    /// Records in the last flushed commit.
    pub last_records: u64,
    /// The last position given out.
    pub end: Position,
    /// Everything up to here was trimmed.
    pub trimmed: Position,
    /// Bodies and overhead of the records held: what `retention_bytes` bounds.
    pub held_bytes: u64,
    /// Size of the store's files, bytes; the newest journal counts with its whole reserved 64 MiB.
    pub disk_bytes: u64,
}

/// What the threads count.
#[derive(Debug, Default)]
pub struct Counters {
    commits: AtomicU64,
    records: AtomicU64,
    duplicates: AtomicU64,
    flush_nanos: AtomicU64,
    last_flush_nanos: AtomicU64,
    last_records: AtomicU64,
    end: AtomicU64,
    trimmed: AtomicU64,
    held_bytes: AtomicU64,
}

impl Counters {
    /// Counts a commit.
    pub fn count(&self, records: u64, duplicates: usize, flush: Option<Duration>, tail: Tail) {
        self.duplicates.fetch_add(duplicates.try_into().unwrap_or(u64::MAX), Relaxed);
        if let Some(flush) = flush {
            let nanos = u64::try_from(flush.as_nanos()).unwrap_or(u64::MAX);
            self.commits.fetch_add(1, Relaxed);
            self.records.fetch_add(records, Relaxed);
            self.flush_nanos.fetch_add(nanos, Relaxed);
            self.last_flush_nanos.store(nanos, Relaxed);
            self.last_records.store(records, Relaxed);
        }
        self.trimmed(tail);
    }

    /// Notes where the log stands.
    pub fn trimmed(&self, tail: Tail) {
        self.end.store(tail.end, Relaxed);
        self.trimmed.store(tail.trimmed, Relaxed);
        self.held_bytes.store(tail.bytes, Relaxed);
    }

    /// The figures now.
    pub fn stats(&self, disk_bytes: u64) -> EmbeddedStats {
        let seconds = |nanos: &AtomicU64| Duration::from_nanos(nanos.load(Relaxed)).as_secs_f64();
        EmbeddedStats {
            commits: self.commits.load(Relaxed),
            records: self.records.load(Relaxed),
            duplicates: self.duplicates.load(Relaxed),
            flush_seconds: seconds(&self.flush_nanos),
            last_flush_seconds: seconds(&self.last_flush_nanos),
            last_records: self.last_records.load(Relaxed),
            end: Position(self.end.load(Relaxed)),
            trimmed: Position(self.trimmed.load(Relaxed)),
            held_bytes: self.held_bytes.load(Relaxed),
            disk_bytes,
        }
    }
}

impl EmbeddedStats {
    /// The same for metrics.
    pub fn figures(&self) -> Vec<Figure> {
        let stats = self;
        let counter = |name, help, value| Figure { name, help, value: FigureValue::Counter(value) };
        let gauge = |name, help, value| Figure { name, help, value: FigureValue::Gauge(value) };
        vec![
            counter("log_commits", "Flushed commits", stats.commits as f64),
            counter("log_flush_seconds", "Time spent writing and flushing commits", stats.flush_seconds),
            gauge("log_held_bytes", "Bodies and overhead of the records held", stats.held_bytes as f64),
            gauge("log_disk_bytes", "Size of the store's files", stats.disk_bytes as f64),
        ]
    }
}
