//! From one node to others: writers on the first, readers on all, and how late what was published comes to each.

use std::{
    collections::BTreeSet,
    sync::{Arc, atomic::Ordering::SeqCst},
    time::Duration,
};

use anyhow::bail;
use hdrhistogram::Histogram;
use tokio::time::{Instant, sleep};

use super::{
    args::RelayArgs,
    crowd::{Crowd, Harvest, Plan, Start, histogram},
    fanout::judge,
    metrics::{self, Usage},
    progress::{Counts, Progress},
    publisher::{Order, Pace, Published, Shape},
    publishers::Publishers,
    report::Figures,
    target::Target,
};
use crate::client::Since;

/// Events of the first look at how fast it goes.
const FIRST_LOOK: u64 = 4_000;
/// How long the second look takes, which counts.
const SECOND_LOOK: Duration = Duration::from_secs(3);
/// Presence is summed up once a second.
const QUIET: Duration = Duration::from_millis(1500);

/// One run.
#[derive(Clone, Debug)]
pub struct Relay {
    /// The nodes; the first is published on.
    nodes: Vec<Target>,
    writers: usize,
    readers: usize,
    /// Events a second; `None` looks for the greatest and takes half of it.
    rate: Option<f64>,
    bytes: usize,
    seconds: u64,
    window: usize,
    deadline: Instant,
}

/// What one burst brought.
struct Burst {
    published: Vec<Published>,
    /// One for each node.
    harvests: Vec<Harvest>,
    lost: u64,
    doubled: u64,
    delivered: u64,
    /// From the first event to the last delivery.
    took: Duration,
    usage: Vec<(Option<Usage>, Option<Usage>)>,
    own_cpu: f64,
    problems: Vec<String>,
}

impl Relay {
    /// By its flags.
    pub fn new(args: &RelayArgs) -> anyhow::Result<Self> {
        let RelayArgs { urls, common, rate, bytes, seconds, readers, writers, in_flight } = args;
        if urls.len() < 2 {
            bail!("relay needs two nodes: give --url twice, the one that is published on first");
        }
        let tenant = common.tenant()?;
        let nodes = urls.iter().map(|url| Target::new(url.clone(), tenant.clone(), common.reach()));
        Ok(Self {
            nodes: nodes.collect::<Result<_, _>>()?,
            writers: *writers,
            readers: *readers,
            rate: *rate,
            bytes: *bytes,
            seconds: (*seconds).max(1),
            window: *in_flight,
            deadline: common.deadline(),
        })
    }

    /// Runs and measures.
    pub async fn run(&self) -> anyhow::Result<Figures> {
        let (mut greatest, mut problems) = (None, Vec::new());
        if self.rate.is_none() {
            let (rate, found) = self.greatest_rate().await?;
            (greatest, problems) = (Some(rate), found);
        }
        let rate = self.rate.or(greatest.map(|greatest| greatest / 2.0)).unwrap_or(1.0).max(1.0);
        let events = (rate * self.seconds as f64).ceil().max(1.0) as u64;
        let burst = self.burst("run", Pace::Rate(rate / self.writers as f64), events).await?;
        let mut figures = self.figures(&burst, rate, greatest);
        figures.problems.extend(problems);
        Ok(figures)
    }

    /// How many events a second come through to every reader, when the writers send as fast as they are acknowledged.
    async fn greatest_rate(&self) -> anyhow::Result<(f64, Vec<String>)> {
        let pace = Pace::Window((self.window / self.writers).max(1), None);
        let first = self.burst("look", pace.clone(), FIRST_LOOK).await?;
        let events = (first.rate() * SECOND_LOOK.as_secs_f64()).ceil().max(1.0) as u64;
        let second = self.burst("search", pace, events).await?;
        let mut figures = Figures::default();
        for burst in [&first, &second] {
            burst.judge(&mut figures);
        }
        let problems =
            figures.problems.into_iter().map(|problem| format!("while searching the greatest rate: {problem}"));
        Ok((second.rate(), problems.collect()))
    }

    /// Lets everybody in, publishes so many events, and waits for the last delivery.
    async fn burst(&self, name: &'static str, pace: Pace, events: u64) -> anyhow::Result<Burst> {
        let crowds = self.crowds(name).await?;
        let orders = (0..self.writers).map(|publisher| Order {
            target: self.nodes[0].clone(),
            publisher,
            events: (events / self.writers as u64).max(1),
            size: self.bytes,
            pace: pace.clone(),
            shape: Shape::Publish,
            deadline: self.deadline,
        });
        let publishers = Publishers::connect(orders.collect()).await?;
        // The writers' own joining is told to the room; that must be over before anything is measured.
        sleep(QUIET).await;
        let before = self.usage().await;
        let (began, own_cpu) = (Instant::now(), metrics::own_cpu_seconds());
        let expected = publishers.events() * self.readers as u64;
        let published = {
            let _bar = Progress::of(name, &crowds[1].tally, Counts::Deliveries, expected);
            publishers.run().await?
        };
        let mut problems = Vec::new();
        for crowd in &crowds {
            problems.extend(crowd.tally.tail(expected, self.deadline).await);
            problems.extend(crowd.tally.failure());
        }
        let (took, own_cpu) = (began.elapsed(), metrics::own_cpu_seconds() - own_cpu);
        let usage = before.into_iter().zip(self.usage().await).collect();
        let sent: Vec<u64> = published.iter().map(|published| published.sent).collect();
        let (mut harvests, mut lost, mut doubled, mut delivered) = (Vec::new(), 0, 0, 0);
        for crowd in crowds {
            let tally = Arc::clone(&crowd.tally);
            let harvest = crowd.finish()?;
            lost += tally.lost.load(SeqCst) + harvest.missing(&sent);
            doubled += tally.doubled.load(SeqCst);
            delivered += tally.accounted() - tally.lost.load(SeqCst);
            harvests.push(harvest);
        }
        Ok(Burst { published, harvests, lost, doubled, delivered, took, usage, own_cpu, problems })
    }

    /// A crowd on each node, all caught up.
    async fn crowds(&self, name: &str) -> anyhow::Result<Vec<Crowd>> {
        let plan = |(node, target): (usize, &Target)| Plan {
            target: target.clone(),
            members: self.readers,
            publishers: self.writers,
            threads: 1,
            name: format!("bench-{name}-{node}"),
        };
        let crowds: Vec<_> = self.nodes.iter().enumerate().map(plan).map(|plan| Crowd::start(&plan)).collect();
        let all = self.readers as u64;
        for crowd in &crowds {
            crowd.join(Start::At(Since::Latest)).await?;
        }
        for crowd in &crowds {
            crowd.tally.wait("joining", self.deadline, |tally| tally.caught_up.load(SeqCst) >= all).await?;
        }
        Ok(crowds)
    }

    async fn usage(&self) -> Vec<Option<Usage>> {
        let mut all = Vec::new();
        for node in &self.nodes {
            all.push(metrics::usage(node.address).await);
        }
        all
    }

    fn figures(&self, burst: &Burst, rate: f64, greatest: Option<f64>) -> Figures {
        let mut figures = Figures::default();
        if greatest.is_some() {
            figures.add_if_known("greatest_rate", "greatest rate, events a second", greatest);
        }
        figures.add("rate", "asked for, events a second", rate);
        figures.add("events_per_second", "events a second", burst.rate());
        let (near, far) = burst.harvests.split_at(1);
        add_latency(&mut figures, FAR, &together(far.iter().map(|harvest| &harvest.latency)));
        add_latency(&mut figures, NEAR, &together(near.iter().map(|harvest| &harvest.latency)));
        add_latency(&mut figures, ACK, &together(burst.published.iter().map(|published| &published.latency)));
        let percent = |seconds: f64| seconds * 100.0 / burst.took.as_secs_f64();
        let cpu: Vec<_> = burst
            .usage
            .iter()
            .map(|(before, after)| Some(after.as_ref()?.cpu_seconds - before.as_ref()?.cpu_seconds))
            .collect();
        let others = cpu[1..].iter().copied().sum::<Option<f64>>();
        figures.add_if_known("writing_cpu_percent", "CPU of the node published on, % of a core", cpu[0].map(percent));
        figures.add_if_known("reading_cpu_percent", "CPU of the other nodes, % of a core", others.map(percent));
        figures.add("bench_cpu_percent", "bench's own CPU, % of a core", percent(burst.own_cpu));
        figures.add("delivered", "delivered", burst.delivered as f64);
        figures.add("refused", "publishes refused", burst.refused() as f64);
        figures.add("lost", "lost", burst.lost as f64);
        figures.add("doubled", "doubled", burst.doubled as f64);
        figures.add("orders", "different orders seen", burst.orders() as f64);
        burst.judge(&mut figures);
        figures
    }
}

impl Burst {
    /// Events a second, up to the last delivery.
    fn rate(&self) -> f64 {
        self.published.iter().map(|published| published.sent).sum::<u64>() as f64 / self.took.as_secs_f64()
    }

    fn refused(&self) -> u64 {
        self.published.iter().map(|published| published.refused).sum()
    }

    /// In how many ways readers saw the events in order: more than one is too many.
    fn orders(&self) -> usize {
        self.harvests.iter().flat_map(Harvest::orders).collect::<BTreeSet<_>>().len()
    }

    fn judge(&self, figures: &mut Figures) {
        judge(figures, self.lost, self.doubled);
        if self.lost + self.doubled == 0 && self.orders() > 1 {
            figures.problems.push(format!("readers saw the events in {} different orders", self.orders()));
        }
        figures.problems.extend(self.problems.iter().cloned());
        let refused = self.refused();
        figures.problems.extend(self.published.iter().find_map(|published| {
            published.refusal.as_ref().map(|why| format!("{refused} publishes were refused; the first: {why}"))
        }));
    }
}

/// Keys and labels of p50, p99 and the greatest.
type Labels = [(&'static str, &'static str); 3];

const FAR: Labels = [
    ("relay_p50_ms", "latency to the other nodes p50, ms"),
    ("relay_p99_ms", "latency to the other nodes p99, ms"),
    ("relay_max_ms", "latency to the other nodes max, ms"),
];
const NEAR: Labels = [
    ("local_p50_ms", "latency on the same node p50, ms"),
    ("local_p99_ms", "latency on the same node p99, ms"),
    ("local_max_ms", "latency on the same node max, ms"),
];
const ACK: Labels = [("ack_p50_ms", "ack p50, ms"), ("ack_p99_ms", "ack p99, ms"), ("ack_max_ms", "ack max, ms")];

fn together<'a>(all: impl Iterator<Item = &'a Histogram<u64>>) -> Histogram<u64> {
    let mut sum = histogram();
    for one in all {
        sum.add(one).expect("an auto-resizing histogram takes any other");
    }
    sum
}

fn add_latency(figures: &mut Figures, [p50, p99, max]: Labels, latency: &Histogram<u64>) {
    for ((key, label), nanos) in
        [(p50, latency.value_at_quantile(0.5)), (p99, latency.value_at_quantile(0.99)), (max, latency.max())]
    {
        figures.add(key, label, nanos as f64 / 1e6);
    }
}
