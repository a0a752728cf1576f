//! Fan-out: one room full of members, and events that each of them must get. Closed loop (a window) or open (a rate).

use std::{
    sync::{Arc, atomic::Ordering::SeqCst},
    time::Duration,
};

use hdrhistogram::Histogram;
use tokio::time::{Instant, sleep};

use crate::client::Since;

use super::{
    crowd::{Crowd, Plan, Start, histogram},
    metrics::{self, Usage},
    progress::{Counts, Progress},
    publisher::{Order, Pace, Published, Shape},
    publishers::Publishers,
    report::Figures,
    target::{Door, Target},
};

/// Presence is summed up once a second.
const QUIET: Duration = Duration::from_millis(1500);

/// How events are sent.
#[derive(Clone, Copy, Debug)]
pub enum Load {
    /// One publisher with so many in flight.
    Window(usize),
    /// So many publishers that send so many events a second together.
    Rate {
        /// Events a second, all publishers together.
        per_second: f64,
        /// How many publishers.
        publishers: usize,
    },
}

/// One run.
#[derive(Clone, Debug)]
pub struct FanOut {
    /// Where to.
    pub target: Target,
    /// Receivers.
    pub members: usize,
    /// Threads that carry them.
    pub threads: usize,
    /// Events, all publishers together.
    pub events: u64,
    /// Bytes of `data`.
    pub size: usize,
    /// How events are sent.
    pub load: Load,
    /// What frames look like.
    pub shape: Shape,
    /// When the run is over, finished or not.
    pub deadline: Instant,
}

struct Measured {
    before: Option<Usage>,
    joined: Option<Usage>,
    start: Option<Usage>,
    end: Option<Usage>,
    took: Duration,
    /// This process's own processor seconds: near a core a thread, the bench is what limits the figures.
    own_cpu: f64,
    published: Vec<Published>,
    unfinished: Option<String>,
}

impl FanOut {
    fn publishers(&self) -> usize {
        match self.load {
            Load::Window(_) => 1,
            Load::Rate { publishers, .. } => publishers,
        }
    }

    /// Runs and measures.
    pub async fn run(&self) -> anyhow::Result<Figures> {
        let before = metrics::settled(self.target.address).await;
        let crowd = Crowd::start(&Plan {
            target: self.target.clone(),
            members: self.members,
            publishers: self.publishers(),
            threads: self.threads,
            name: "bench".into(),
        });
        let all = self.members as u64;
        crowd.join(Start::At(Since::Latest)).await?;
        {
            let _bar = Progress::of("joining", &crowd.tally, Counts::CaughtUp, all);
            crowd.tally.wait("joining", self.deadline, |tally| tally.caught_up.load(SeqCst) >= all).await?;
        }
        let joined = metrics::settled(self.target.address).await;
        let mut measured = self.publish(&crowd).await?;
        (measured.before, measured.joined) = (before, joined);
        let (lost, doubled) = (crowd.tally.lost.load(SeqCst), crowd.tally.doubled.load(SeqCst));
        let delivered = crowd.tally.accounted() - lost;
        measured.unfinished = measured.unfinished.or(crowd.tally.failure());
        let harvest = crowd.finish()?;
        let sent: Vec<u64> = measured.published.iter().map(|published| published.sent).collect();
        let lost = lost + harvest.missing(&sent);
        Ok(self.figures(&measured, delivered, lost, doubled, &harvest.latency))
    }

    async fn publish(&self, crowd: &Crowd) -> anyhow::Result<Measured> {
        let count = self.publishers();
        let mut publishers = Vec::new();
        for publisher in 0..count {
            let events = self.events / count as u64;
            let pace = match self.load {
                Load::Window(window) => Pace::Window(window, Some((Arc::clone(&crowd.tally), self.members))),
                Load::Rate { per_second, .. } => Pace::Rate(per_second / count as f64),
            };
            let (target, deadline) = (self.target.by(Door::Sync), self.deadline);
            let order = Order { target, publisher, events, size: self.size, pace, shape: self.shape, deadline };
            publishers.push(order);
        }
        let publishers = Publishers::connect(publishers).await?;
        // The publishers' own joining is told to the room; that must be over before anything is measured.
        sleep(QUIET).await;
        let start = metrics::usage(self.target.address).await;
        let (began, own_cpu) = (Instant::now(), metrics::own_cpu_seconds());
        let expected = self.members as u64 * publishers.events();
        let bar = Progress::of("delivering", &crowd.tally, Counts::Deliveries, expected);
        let published = publishers.run().await?;
        let unfinished = crowd.tally.tail(expected, self.deadline).await;
        let (took, own_cpu) = (began.elapsed(), metrics::own_cpu_seconds() - own_cpu);
        drop(bar);
        let end = metrics::usage(self.target.address).await;
        Ok(Measured { before: None, joined: None, start, end, took, own_cpu, published, unfinished })
    }

    fn figures(&self, m: &Measured, delivered: u64, lost: u64, doubled: u64, latency: &Histogram<u64>) -> Figures {
        let mut figures = Figures::default();
        let millis = |quantile: f64| latency.value_at_quantile(quantile) as f64 / 1e6;
        let mut acks = histogram();
        for published in &m.published {
            // Auto-resizing histograms take each other in.
            acks.add(&published.latency).expect("an auto-resizing histogram takes any other");
        }
        let cpu = m.start.zip(m.end).map(|(start, end)| end.cpu_seconds - start.cpu_seconds);
        let refused: u64 = m.published.iter().map(|published| published.refused).sum();
        figures.add(
            "events_per_second",
            "events a second",
            m.published.iter().map(|p| p.sent).sum::<u64>() as f64 / m.took.as_secs_f64(),
        );
        figures.add("deliveries_per_second", "deliveries a second", delivered as f64 / m.took.as_secs_f64());
        figures.add_if_known(
            "cpu_seconds_per_million",
            "server CPU s per million deliveries",
            cpu.map(|cpu| cpu * 1e6 / delivered as f64),
        );
        figures.add_if_known(
            "cpu_percent",
            "server CPU, % of a core",
            cpu.map(|cpu| cpu * 100.0 / m.took.as_secs_f64()),
        );
        figures.add("bench_cpu_percent", "bench's own CPU, % of a core", m.own_cpu * 100.0 / m.took.as_secs_f64());
        figures.add("latency_p50_ms", "latency p50, ms", millis(0.5));
        figures.add("latency_p99_ms", "latency p99, ms", millis(0.99));
        figures.add("latency_max_ms", "latency max, ms", latency.max() as f64 / 1e6);
        figures.add("ack_p50_ms", "ack p50, ms", acks.value_at_quantile(0.5) as f64 / 1e6);
        figures.add("ack_p99_ms", "ack p99, ms", acks.value_at_quantile(0.99) as f64 / 1e6);
        add_memory(&mut figures, self.members, m.before, m.joined);
        let growth = m.joined.zip(m.end).map(|(joined, end)| (end.resident_bytes - joined.resident_bytes) / 1e6);
        figures.add_if_known("memory_growth_mb", "memory growth while delivering, MB", growth);
        figures.add("delivered", "delivered", delivered as f64);
        figures.add("refused", "publishes refused", refused as f64);
        figures.add("lost", "lost", lost as f64);
        figures.add("doubled", "doubled", doubled as f64);
        judge(&mut figures, lost, doubled);
        figures.problems.extend(m.unfinished.clone());
        figures.problems.extend(m.published.iter().find_map(|published| {
            published.refusal.as_ref().map(|why| format!("{refused} publishes were refused; the first: {why}"))
        }));
        figures
    }
}

/// Nothing may be lost or doubled, whatever is measured.
pub fn judge(figures: &mut Figures, lost: u64, doubled: u64) {
    if lost > 0 {
        figures.problems.push(format!("{lost} deliveries were lost"));
    }
    if doubled > 0 {
        figures.problems.push(format!("{doubled} deliveries were doubled"));
    }
}

/// Memory that a connection costs the server.
pub fn add_memory(figures: &mut Figures, members: usize, before: Option<Usage>, after: Option<Usage>) {
    let each = before.zip(after).map(|(before, after)| (after.resident_bytes - before.resident_bytes) / members as f64);
    figures.add_if_known("memory_per_connection", "server memory a connection, bytes", each);
}
