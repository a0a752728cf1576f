//! What the owner's rules cost and say, for Prometheus.

use std::sync::atomic::AtomicU64;

use prometheus_client::{
    metrics::{
        counter::Counter,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};

/// Figures of the hook. Their sum is the number of questions that were asked.
#[derive(Debug)]
pub(super) struct HookFigures {
    pub(super) allowed: Counter<u64, AtomicU64>,
    pub(super) refused: Counter<u64, AtomicU64>,
    pub(super) failed: Counter<u64, AtomicU64>,
    pub(super) seconds: Histogram,
}

impl Default for HookFigures {
    fn default() -> Self {
        Self {
            allowed: Counter::default(),
            refused: Counter::default(),
            failed: Counter::default(),
            seconds: Histogram::new(exponential_buckets(0.001, 2.0, 14)),
        }
    }
}

impl HookFigures {
    pub(super) fn register(&self, registry: &mut Registry) {
        let Self { allowed, refused, failed, seconds } = self;
        registry.register("continuum_hook_allowed", "Questions that the owner's rules allowed", allowed.clone());
        registry.register("continuum_hook_refused", "Questions that the owner's rules refused", refused.clone());
        registry.register("continuum_hook_failed", "Questions that got no answer", failed.clone());
        registry.register("continuum_hook_seconds", "Time of a request to the owner's rules", seconds.clone());
    }
}
