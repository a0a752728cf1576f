//! The seeds' metrics, for Prometheus.

use prometheus_client::{
    encoding::text::encode,
    metrics::{counter::Counter, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

use crate::replica::{Figures, Freshness, Status, figures::BOUNDS_MS};

/// All of it in the text form.
pub(super) fn text(figures: &Figures, status: &Status) -> String {
    let mut registry = Registry::with_prefix("continuum_agent");
    for (name, help, value) in [
        ("written", "Writes that were put into the journal", figures.written),
        ("settled", "Writes that came about", figures.settled),
        ("clashed", "Of these: met what others wrote", figures.clashed),
        ("refused", "Writes that were refused for good", figures.refused),
        ("reads_fresh", "Reads answered from here while everything was here (cache hits)", figures.hits),
        ("reads_behind", "Reads answered from here while it may have been behind (cache misses)", figures.misses),
        ("pulls", "Pulls after which everything was here", figures.pulled),
        ("pulls_given_up", "Pulls that took too long", figures.gave_up),
        ("connections", "Connections that were made", figures.connections),
    ] {
        let counter = Counter::<u64>::default();
        counter.inc_by(value);
        registry.register(name, help, counter);
    }
    let latency = Histogram::new(BOUNDS_MS.map(|ms| ms as f64 / 1e3));
    for (count, ms) in figures.latency.iter().zip(BOUNDS_MS.into_iter().chain([BOUNDS_MS[BOUNDS_MS.len() - 1] + 1])) {
        for _ in 0..*count {
            latency.observe(ms as f64 / 1e3);
        }
    }
    registry.register("sync_latency_seconds", "From a write until its fate was known, at most", latency);
    for (name, help, value) in [
        ("pending", "Writes that wait in the journal", status.pending),
        ("conflicted", "Conflicts and variants that are open", status.conflicted),
        ("dead_letters", "Refused writes that wait for a person", status.refused),
        ("synced", "1: everything was here less than a minute ago", u64::from(status.sync == Freshness::Synced)),
    ] {
        let gauge = Gauge::<i64>::default();
        gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        registry.register(name, help, gauge);
    }
    let mut out = String::new();
    // Writing into memory cannot fail.
    let _ = encode(&mut out, &registry);
    out
}
