//! The node's figures for Prometheus. Labels are few and fixed: never a tenant, an instance or a type.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};

use crate::wire::Close;

/// From where a reader was served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Source {
    /// `ring`, `log` or `head`.
    pub source: &'static str,
}

/// How something ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OutcomeLabel {
    /// A fixed word.
    pub outcome: &'static str,
}

/// Counters and gauges; every field is shared by all threads and written without locks.
#[derive(Debug)]
pub struct Metrics {
    /// Open WebSocket connections.
    pub connections: Gauge<i64, AtomicI64>,
    /// Open event streams.
    pub streams: Gauge<i64, AtomicI64>,
    /// Rooms in memory.
    pub rooms: Gauge<i64, AtomicI64>,
    /// Appends by the first answer: `stored`, `duplicate`, `queued`, `conflict`, `refused`, `unknown`.
    pub published: Family<OutcomeLabel, Counter<u64, AtomicU64>>,
    /// Operations on entities by what became of them.
    pub operations: Family<OutcomeLabel, Counter<u64, AtomicU64>>,
    /// Records put on a connection's way, all members summed.
    pub delivered: Counter<u64, AtomicU64>,
    /// Messages read from connections.
    pub received: Counter<u64, AtomicU64>,
    /// Messages put on a connection's way: records, signals, answers and everything else.
    pub sent: Counter<u64, AtomicU64>,
    /// Signals passed on, as they came from their senders.
    pub signals: Counter<u64, AtomicU64>,
    /// Records not queued because the member was behind: read again from the log later.
    pub deferred: Counter<u64, AtomicU64>,
    /// Stored bodies that were no records of their room.
    pub damaged: Counter<u64, AtomicU64>,
    /// TLS handshakes that did not come to their end.
    pub tls_failed: Counter<u64, AtomicU64>,
    /// Bytes that wait in outboxes.
    pub outbox_bytes: Gauge<i64, AtomicI64>,
    /// Seconds from a room's append to its answer.
    pub append_latency: Histogram,
    /// Seconds from the log's taking a record to its being put on the way of the members at the head.
    pub delivery_latency: Histogram,
    /// Seconds for which a member that had fallen behind was behind.
    pub behind: Histogram,
    /// Deliveries that took longer than `telemetry.slow_delivery`.
    pub slow: Counter<u64, AtomicU64>,
    /// Connections whose outbox holds something.
    pub outboxes_waiting: Gauge<i64, AtomicI64>,
    /// Bytes in the outbox that held most when all were looked at last.
    pub slowest_bytes: Gauge<i64, AtomicI64>,
    /// Lag of the session that was farthest behind then, in seconds.
    pub slowest_lag: Gauge<f64, AtomicU64>,
    /// Catch-up pages by source.
    pub resumed: Family<Source, Counter<u64, AtomicU64>>,
    /// Connections ended by the node, by close code.
    pub closed: Family<CloseLabel, Counter<u64, AtomicU64>>,
    /// Rooms rebuilt after a fault.
    pub rooms_rebuilt: Counter<u64, AtomicU64>,
    /// Messages refused, all codes summed.
    pub refused: Counter<u64, AtomicU64>,
    /// Messages and requests refused for coming too fast, by limit.
    pub too_fast: Family<LimitLabel, Counter<u64, AtomicU64>>,
    /// Sockets of which is not known whose they are.
    pub strangers: Gauge<i64, AtomicI64>,
    /// Those that had to go because others came.
    pub strangers_ended: Counter<u64, AtomicU64>,
}

/// A limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct LimitLabel {
    /// Its key under `[limits]`.
    pub limit: &'static str,
}

/// A close code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct CloseLabel {
    /// The code.
    pub code: u32,
}

impl Metrics {
    /// Makes them and names them in a registry.
    pub fn new(registry: &mut Registry) -> Self {
        let metrics = Self {
            connections: Gauge::default(),
            streams: Gauge::default(),
            rooms: Gauge::default(),
            published: Family::default(),
            operations: Family::default(),
            delivered: Counter::default(),
            received: Counter::default(),
            sent: Counter::default(),
            signals: Counter::default(),
            deferred: Counter::default(),
            damaged: Counter::default(),
            tls_failed: Counter::default(),
            outbox_bytes: Gauge::default(),
            append_latency: Histogram::new(exponential_buckets(0.0001, 2.0, 16)),
            // Milliseconds is what clocks of logs tell.
            delivery_latency: Histogram::new(exponential_buckets(0.001, 2.0, 16)),
            behind: Histogram::new(exponential_buckets(0.01, 2.0, 16)),
            slow: Counter::default(),
            outboxes_waiting: Gauge::default(),
            slowest_bytes: Gauge::default(),
            slowest_lag: Gauge::default(),
            resumed: Family::default(),
            closed: Family::default(),
            rooms_rebuilt: Counter::default(),
            refused: Counter::default(),
            too_fast: Family::default(),
            strangers: Gauge::default(),
            strangers_ended: Counter::default(),
        };
        metrics.begin_at_zero();
        let m = &metrics;
        registry.register("continuum_connections", "Open WebSocket connections", m.connections.clone());
        registry.register("continuum_streams", "Open event streams", m.streams.clone());
        registry.register("continuum_rooms", "Rooms in memory", m.rooms.clone());
        registry.register("continuum_published", "Appends by outcome", m.published.clone());
        registry.register("continuum_operations", "Operations on entities by outcome", m.operations.clone());
        registry.register("continuum_delivered", "Records sent to members", m.delivered.clone());
        registry.register("continuum_received", "Messages read from connections", m.received.clone());
        registry.register("continuum_sent", "Messages sent, records among them", m.sent.clone());
        registry.register("continuum_signals", "Signals taken from connections", m.signals.clone());
        registry.register("continuum_deferred", "Records left to the log for slow members", m.deferred.clone());
        registry.register("continuum_tls_failed", "TLS handshakes that failed or took too long", m.tls_failed.clone());
        registry.register("continuum_dropped", "Stored bodies that were no records of their room", m.damaged.clone());
        registry.register("continuum_outbox_bytes", "Bytes waiting in outboxes", m.outbox_bytes.clone());
        registry.register("continuum_append_seconds", "Time from append to answer", m.append_latency.clone());
        let help = "Time from the log's taking a record to its being sent to the members at the head";
        registry.register("continuum_delivery_seconds", help, m.delivery_latency.clone());
        registry.register(
            "continuum_behind_seconds",
            "How long members that fell behind were behind",
            m.behind.clone(),
        );
        registry.register("continuum_slow_deliveries", "Deliveries over telemetry.slow_delivery", m.slow.clone());
        registry.register("continuum_outboxes_waiting", "Outboxes that hold something", m.outboxes_waiting.clone());
        registry.register("continuum_slowest_outbox_bytes", "Bytes in the fullest outbox", m.slowest_bytes.clone());
        registry.register("continuum_slowest_lag_seconds", "Lag of whoever is farthest behind", m.slowest_lag.clone());
        registry.register("continuum_resumed", "Catch-up pages by source", m.resumed.clone());
        registry.register("continuum_closed", "Connections ended by the node, by close code", m.closed.clone());
        registry.register("continuum_rooms_rebuilt", "Rooms rebuilt after a fault", m.rooms_rebuilt.clone());
        registry.register("continuum_refused", "Messages refused", m.refused.clone());
        registry.register("continuum_too_fast", "Messages and requests over a rate, by limit", m.too_fast.clone());
        registry.register("continuum_strangers", "Sockets not known yet", m.strangers.clone());
        registry.register("continuum_strangers_ended", "Such sockets ended for others", m.strangers_ended.clone());
        // The same under the names that PUO Memo's dashboards have.
        registry.register("puomemo_websocket_connections", "Active connections", m.connections.clone());
        registry.register("puomemo_websocket_messages_sent", "Messages sent", m.sent.clone());
        registry.register("puomemo_websocket_messages_received", "Messages received", m.received.clone());
        metrics
    }

    /// What has not happened yet is a zero that can rise, not a hole in a chart.
    fn begin_at_zero(&self) {
        for outcome in ["stored", "duplicate", "queued", "conflict", "refused", "unknown"] {
            drop(self.published.get_or_create(&OutcomeLabel { outcome }));
        }
        for source in ["ring", "log", "head"] {
            drop(self.resumed.get_or_create(&Source { source }));
        }
        for close in Close::ALL {
            drop(self.closed.get_or_create(&CloseLabel { code: u32::from(close.code()) }));
        }
    }

    /// Counts records that were put on connections' ways.
    pub fn count_delivered(&self, records: u64) {
        self.delivered.inc_by(records);
        self.sent.inc_by(records);
    }

    /// Counts an append's end.
    pub fn count_append(&self, outcome: &'static str) {
        self.published.get_or_create(&OutcomeLabel { outcome }).inc();
    }

    /// Counts an operation's end.
    pub fn count_operation(&self, outcome: &'static str) {
        self.operations.get_or_create(&OutcomeLabel { outcome }).inc();
    }

    /// Counts what came too fast.
    pub fn count_over(&self, limit: &'static str) {
        self.too_fast.get_or_create(&LimitLabel { limit }).inc();
    }

    /// Counts a catch-up page.
    pub fn count_resume(&self, source: &'static str) {
        self.resumed.get_or_create(&Source { source }).inc();
    }

    /// Number of appends that made a record.
    pub fn stored(&self) -> u64 {
        self.published.get_or_create(&OutcomeLabel { outcome: "stored" }).get()
    }
}

/// A gauge's change that cannot be forgotten: it is undone on drop.
#[derive(Debug)]
pub struct Held(Gauge<i64, AtomicI64>);

impl Held {
    /// Raises a gauge by one for as long as this lives.
    pub fn one(gauge: &Gauge<i64, AtomicI64>) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.dec();
    }
}

struct Taken<'a>(&'a Count);

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.0.give_back();
    }
}

/// A count that decides, where a gauge only shows.
#[derive(Debug, Default)]
pub struct Count {
    taken: AtomicU64,
    moves: AtomicU64,
}

impl Count {
    /// Takes one if fewer than `limit` are taken.
    pub fn take(&self, limit: u64) -> bool {
        self.moves.fetch_add(1, Ordering::Relaxed);
        self.taken.fetch_update(Ordering::AcqRel, Ordering::Acquire, |n| (n < limit).then_some(n + 1)).is_ok()
    }

    /// Takes one, given back on drop.
    pub fn hold(&self) -> impl Drop + '_ {
        self.taken.fetch_add(1, Ordering::AcqRel);
        Taken(self)
    }

    /// Gives one back.
    pub fn give_back(&self) {
        self.moves.fetch_add(1, Ordering::Relaxed);
        self.taken.fetch_sub(1, Ordering::AcqRel);
    }

    /// How many are taken.
    pub fn taken(&self) -> u64 {
        self.taken.load(Ordering::Acquire)
    }

    /// How often one was taken or given back so far.
    pub fn moves(&self) -> u64 {
        self.moves.load(Ordering::Relaxed)
    }
}
