//! Figures of the node, the log and the journal for Prometheus, read when asked.

use std::{fmt, sync::Arc};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
};

use crate::{
    actors::{context::NodeContext, readiness::Readiness},
    backbone::{Figure, FigureValue, Health, SharedBackbone},
    journal::{Figures, Journal},
};

/// Reads a log's figures at each scrape.
#[derive(Debug)]
pub struct LogFigures(SharedBackbone);

impl LogFigures {
    /// Of this log.
    pub fn new(backbone: SharedBackbone) -> Self {
        Self(backbone)
    }
}

impl Collector for LogFigures {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        for Figure { name, help, value } in self.0.figures() {
            let name = format!("continuum_{name}");
            match value {
                FigureValue::Counter(value) => ConstCounter::new(value).put(&mut encoder, &name, help)?,
                FigureValue::Gauge(value) => ConstGauge::new(value).put(&mut encoder, &name, help)?,
            }
        }
        Ok(())
    }
}

/// Reads a journal's figures at each scrape.
#[derive(Debug)]
pub struct JournalFigures(Arc<Journal>);

impl JournalFigures {
    /// Of this journal.
    pub fn new(journal: Arc<Journal>) -> Self {
        Self(journal)
    }
}

impl Collector for JournalFigures {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let Figures { entries, bytes, oldest, drained, dead, refused, .. } = self.0.figures();
        let oldest = oldest.map_or(0.0, |oldest| {
            let age = jiff::Timestamp::now().as_millisecond() - oldest.0;
            age.max(0) as f64 / 1000.0
        });
        let (entries, bytes, dead) = (entries as i64, bytes.cast_signed(), dead.cast_signed());
        let mut put = |name, help, metric: &dyn Put| metric.put(&mut encoder, name, help);
        put("continuum_journal_entries", "Publishes that wait for the log", &ConstGauge::new(entries))?;
        put("continuum_journal_bytes", "Bytes that the journal holds", &ConstGauge::new(bytes))?;
        put("continuum_journal_oldest_seconds", "Age of the oldest waiting publish", &ConstGauge::new(oldest))?;
        put("continuum_journal_dead", "Publishes kept that the log will never take", &ConstGauge::new(dead))?;
        put(
            "continuum_journal_drained",
            "Publishes that went from the journal to the log",
            &ConstCounter::new(drained),
        )?;
        put("continuum_journal_refused", "Publishes that the journal had no room for", &ConstCounter::new(refused))
    }
}

/// Reads how a node stands at each scrape.
#[derive(Debug)]
pub struct NodeFigures(Arc<NodeContext>);

impl NodeFigures {
    /// Of this node.
    pub fn new(context: Arc<NodeContext>) -> Self {
        Self(context)
    }
}

impl Collector for NodeFigures {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let context = &self.0;
        let is = |yes: bool| ConstGauge::new(i64::from(yes));
        let readiness = Readiness::now(context);
        let gets_traffic = matches!(readiness, Readiness::Ready | Readiness::Degraded(_));
        let started = ConstGauge::new(context.since().0 as f64 / 1000.0);
        let heard = ConstGauge::new(context.nodes.others().len() as i64);
        let limit = ConstGauge::new(context.config.limits.connections_per_node as f64);
        let is_serving = is(context.backbone.health() == Health::Serving);
        let mut put = |name, help, metric: &dyn Put| metric.put(&mut encoder, name, help);
        put("process_start_time_seconds", "When the node started, since the Unix epoch", &started)?;
        put("continuum_ready", "Whether /readyz says that the node takes traffic", &is(gets_traffic))?;
        put("continuum_draining", "Whether the node goes away", &is(context.is_draining()))?;
        put("continuum_log_serving", "Whether the log takes appends", &is_serving)?;
        put("continuum_nodes_heard", "Other nodes that this one hears", &heard)?;
        put("continuum_connections_limit", "limits.connections_per_node", &limit)?;
        put("continuum_deaf", "Whether the node does not hear even itself", &is(context.nodes.is_deaf()))?;
        if let Some(tracer) = &context.tracer {
            let lost = ConstCounter::new(tracer.lost());
            put("continuum_spans_lost", "Spans that the collector did not take", &lost)?;
        }
        if let Some(bytes) = free_bytes(context) {
            put("continuum_disk_free_bytes", "Free space where data_dir is", &ConstGauge::new(bytes as f64))?;
        }
        let mut version = encoder.encode_descriptor("continuum_build", "The version", None, MetricType::Gauge)?;
        ConstGauge::new(1_i64).encode(version.encode_family(&[("version", env!("CARGO_PKG_VERSION"))])?)?;
        let mut lags = encoder.encode_descriptor(
            "continuum_shard_lag",
            "Records of a shard that this node knows of and has not read, where it reads it",
            None,
            MetricType::Gauge,
        )?;
        for tail in context.backbone.tails() {
            let Some(read_to) = tail.read_to else { continue };
            let lag = tail.end.0.saturating_sub(read_to.0);
            ConstGauge::new(lag as f64).encode(lags.encode_family(&[("shard", tail.shard.to_string())])?)?;
        }
        Ok(())
    }
}

/// Free space where the node's own data is.
fn free_bytes(context: &NodeContext) -> Option<u64> {
    let disk = rustix::fs::statvfs(&context.config.data_dir).ok()?;
    Some(disk.f_bavail.saturating_mul(disk.f_frsize))
}

/// One metric under its name.
trait Put {
    fn put(&self, encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str) -> fmt::Result;
}

impl<M: EncodeMetric> Put for M {
    fn put(&self, encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str) -> fmt::Result {
        self.encode(encoder.encode_descriptor(name, help, None, self.metric_type())?)
    }
}
