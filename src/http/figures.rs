//! Figures of the log and the journal for Prometheus, read when asked.

use std::{fmt, sync::Arc};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{counter::ConstCounter, gauge::ConstGauge},
};

use crate::{
    backbone::{Figure, FigureValue, SharedBackbone},
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

/// One metric under its name.
trait Put {
    fn put(&self, encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str) -> fmt::Result;
}

impl<M: EncodeMetric> Put for M {
    fn put(&self, encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str) -> fmt::Result {
        self.encode(encoder.encode_descriptor(name, help, None, self.metric_type())?)
    }
}
