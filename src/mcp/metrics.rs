//! The seeds' metrics, for an answer and for Prometheus.

use prometheus_client::{
    encoding::{EncodeMetric, MetricEncoder, NoLabelSet, text::encode},
    metrics::{MetricType, counter::Counter, gauge::Gauge},
    registry::Registry,
};
use serde_json::{Value, json};

use crate::replica::{Figures, Freshness, Status, figures::BOUNDS_MS};

/// Under the seeds' own names.
pub(super) fn seeds(figures: &Figures) -> Value {
    json!({
        "avg_latency_ms": figures.average_latency_ms(),
        "p50_latency_below_ms": figures.latency_below_ms(0.5),
        "p99_latency_below_ms": figures.latency_below_ms(0.99),
        "success_rate": figures.success_rate(),
        "cache_hit_rate": figures.hit_rate(),
        "conflict_rate": figures.conflict_rate(),
        "total_syncs": figures.settled + figures.refused,
        "written": figures.written,
        "pulls": figures.pulled,
        "pulls_given_up": figures.gave_up,
        "connections": figures.connections,
    })
}

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
    let latency = Latency { counts: figures.latency, sum_ms: figures.latency_ms };
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

/// How long writes took, as it was counted.
#[derive(Debug)]
struct Latency {
    counts: [u64; BOUNDS_MS.len() + 1],
    sum_ms: u64,
}

impl EncodeMetric for Latency {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), std::fmt::Error> {
        let bounds = BOUNDS_MS.into_iter().map(|ms| ms as f64 / 1e3).chain([f64::INFINITY]);
        let buckets: Vec<(f64, u64)> = bounds.zip(self.counts).collect();
        encoder.encode_histogram::<NoLabelSet>(self.sum_ms as f64 / 1e3, self.counts.iter().sum(), &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replica::Link;

    #[test]
    fn however_many_were_counted_they_are_told_at_once() {
        let many = 1_u64 << 40;
        let mut figures = Figures { latency_ms: many, ..Figures::default() };
        (figures.latency[0], figures.latency[12]) = (many, 1);
        let (connection, sync) = (Link::Connecting, Freshness::Stale);
        let status = Status { connection, sync, age_s: None, pending: 0, conflicted: 0, refused: 0, blocked: None };
        let text = text(&figures, &status);
        for line in [
            format!("continuum_agent_sync_latency_seconds_bucket{{le=\"0.001\"}} {many}"),
            format!("continuum_agent_sync_latency_seconds_bucket{{le=\"60.0\"}} {many}"),
            format!("continuum_agent_sync_latency_seconds_bucket{{le=\"+Inf\"}} {}", many + 1),
            format!("continuum_agent_sync_latency_seconds_count {}", many + 1),
            "continuum_agent_sync_latency_seconds_sum 1099511627.776".to_owned(),
        ] {
            assert!(text.lines().any(|found| found == line), "{line}: {text}");
        }
    }
}
