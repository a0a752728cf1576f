//! Durable publishes: connections in rooms of their own, each with a window of unacknowledged events; and, by turns with
//! them, a bare client of the NATS that the node stands on.

use std::net::ToSocketAddrs;

use anyhow::{Context, bail};
use async_nats::ServerAddr;
use hdrhistogram::Histogram;
use serde_json::json;
use tokio::time::Instant;

use super::{
    args::PublishArgs,
    crowd::histogram,
    metrics, processes,
    publisher::{Order, Pace, Shape},
    publishers::Publishers,
    raw::{self, Duty, RawStream},
    report::{Beside, Figures, Report},
    target::{Reach, Target},
};

/// What processor time is told for.
const CPU_UNIT: f64 = 100_000.0;

/// Runs against the node, and against bare clients if asked for; by turns, so that a busy machine is as busy for all.
pub async fn compared(args: &PublishArgs) -> anyhow::Result<Report> {
    let PublishArgs { connections, in_flight: window, rate, events, size, rounds, .. } = *args;
    let target = args.common.target(&args.node.url)?;
    let mut parameters = json!({"connections": connections, "events": events, "size": size});
    match rate {
        Some(rate) => parameters["rate"] = json!(rate),
        None => parameters["in_flight"] = json!(window),
    }
    if rounds > 1 {
        parameters["rounds"] = json!(rounds);
    }
    let server = args.nats.as_deref().map(|url| Server::new(url, args.nats_pid, args.common.reach())).transpose()?;
    let nats = server.as_ref().and_then(|server| server.pid);
    let mut run = Publish { target, connections, window, rate, events, size, deadline: args.common.deadline(), nats };
    let Some(server) = server else {
        let mut node = Vec::new();
        for _ in 0..rounds {
            run.deadline = args.common.deadline();
            node.push(run.run().await?);
        }
        return Ok(Report { run: "publish", parameters, node: Figures::median(node), beside: Vec::new() });
    };
    let streams = Streams::make(&server.url, args.nats_replicas, &run.target).await?;
    let measured = tokio::select! {
        measured = by_turns(&mut run, &streams, args) => measured,
        // The streams must go all the same.
        _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("interrupted")),
    };
    let deleted = streams.delete().await;
    let [node, writes, reads] = measured?;
    deleted.context("the streams of the comparison stay")?;
    let beside = vec![
        Beside { name: "bare client", key: "raw", ratio: "ratio_to_raw", figures: writes },
        Beside { name: "that reads", key: "raw_that_reads", ratio: "ratio_to_raw_that_reads", figures: reads },
    ];
    Ok(Report { run: "publish", parameters, node, beside })
}

async fn by_turns(run: &mut Publish, streams: &Streams, args: &PublishArgs) -> anyhow::Result<[Figures; 3]> {
    let mut rounds: [Vec<Figures>; 3] = Default::default();
    for _ in 0..args.rounds {
        run.deadline = args.common.deadline();
        rounds[0].push(run.run().await?);
        for (at, stream) in [(1, &streams.writes), (2, &streams.reads)] {
            run.deadline = args.common.deadline();
            rounds[at].push(run.bare(stream).await.context("the bare client")?);
        }
    }
    Ok(rounds.map(Figures::median))
}

/// The nats-server to compare with.
struct Server {
    url: String,
    pid: Option<u32>,
}

impl Server {
    fn new(url: &str, pid: Option<u32>, reach: Reach) -> anyhow::Result<Self> {
        let shown = crate::config::without_credentials(url);
        let address: ServerAddr = url.parse().with_context(|| format!("--nats {shown} is no URL"))?;
        let resolved =
            (address.host(), address.port()).to_socket_addrs().with_context(|| format!("cannot resolve {shown}"))?;
        let resolved: Vec<_> = resolved.collect();
        if reach == Reach::Loopback && !resolved.iter().all(|address| address.ip().is_loopback()) {
            bail!("{shown} is not on this machine; a bench may bring a server down, so say --remote if you mean it");
        }
        let pid = pid.or_else(|| resolved.iter().find_map(|address| processes::listening_on(*address)));
        Ok(Self { url: url.to_owned(), pid })
    }
}

/// One stream for each kind of bare client.
struct Streams {
    writes: RawStream,
    reads: RawStream,
}

impl Streams {
    async fn make(url: &str, replicas: u16, target: &Target) -> anyhow::Result<Self> {
        let writes = RawStream::make(url, replicas, &target.tenant, Duty::Write).await?;
        match RawStream::make(url, replicas, &target.tenant, Duty::WriteAndRead).await {
            Ok(reads) => Ok(Self { writes, reads }),
            Err(error) => {
                writes.delete().await?;
                Err(error)
            }
        }
    }

    async fn delete(self) -> anyhow::Result<()> {
        let (writes, reads) = (self.writes.delete().await, self.reads.delete().await);
        writes.and(reads)
    }
}

/// One run.
#[derive(Clone, Debug)]
pub struct Publish {
    /// Where to; its tenant is the stem of the rooms' names.
    pub target: Target,
    /// Connections.
    pub connections: usize,
    /// Unacknowledged events a connection.
    pub window: usize,
    /// Events a second instead, all connections together.
    pub rate: Option<f64>,
    /// Events, all connections together.
    pub events: u64,
    /// Bytes of `data`.
    pub size: usize,
    /// When the run is over, finished or not.
    pub deadline: Instant,
    /// The process of the nats-server that is compared with.
    pub nats: Option<u32>,
}

/// Processor seconds of ours and of the nats-server.
struct Cpu {
    own: f64,
    nats: Option<f64>,
}

impl Publish {
    fn cpu(&self) -> Cpu {
        Cpu { own: metrics::own_cpu_seconds(), nats: self.nats.and_then(processes::cpu_seconds) }
    }

    /// What each of so many publishers has to keep.
    fn pace(&self, publishers: usize) -> Pace {
        match self.rate {
            Some(rate) => Pace::Rate(rate / publishers as f64),
            None => Pace::Window(self.window * self.connections / publishers, None),
        }
    }

    /// Runs against the node and measures.
    pub async fn run(&self) -> anyhow::Result<Figures> {
        let mut orders = Vec::new();
        for publisher in 0..self.connections {
            orders.push(Order {
                // Rooms of their own: what one publishes is not delivered to the others.
                target: self.target.with_tenant(format!("{}-{publisher}", self.target.tenant).parse()?),
                publisher,
                events: self.events / self.connections as u64,
                size: self.size,
                pace: self.pace(self.connections),
                shape: Shape::Publish,
                deadline: self.deadline,
            });
        }
        let publishers = Publishers::connect(orders).await?;
        let (before, cpu) = (metrics::usage(self.target.address).await, self.cpu());
        let began = Instant::now();
        let published = publishers.run().await?;
        let seconds = began.elapsed().as_secs_f64();
        let cpu = (cpu, self.cpu());
        let after = metrics::usage(self.target.address).await;

        let mut latency = histogram();
        for publisher in &published {
            latency.add(&publisher.latency)?;
        }
        let acknowledged = published.iter().map(|p| p.acknowledged).sum::<u64>() as f64;
        let refused = published.iter().map(|p| p.refused).sum::<u64>();
        let node = before.zip(after).map(|(before, after)| after.cpu_seconds - before.cpu_seconds);
        let mut figures = acks(acknowledged, seconds, &latency);
        let million = node.map(|node| node * 1e6 / acknowledged);
        figures.add_if_known("cpu_seconds_per_million", "server CPU s per million publishes", million);
        self.add_cpu(&mut figures, &cpu, node, acknowledged);
        figures.add("acknowledged", "acknowledged", acknowledged);
        figures.add("refused", "publishes refused", refused as f64);
        if let Some(why) = published.iter().find_map(|p| p.refusal.as_ref()) {
            figures.problems.push(format!("{refused} publishes were refused; the first: {why}"));
        }
        Ok(figures)
    }

    /// The same with a bare client and measures: as many in flight as all connections together.
    async fn bare(&self, stream: &RawStream) -> anyhow::Result<Figures> {
        let order = raw::Order { events: self.events, pace: self.pace(1), size: self.size, deadline: self.deadline };
        let before = self.cpu();
        let published = stream.publish(order).await?;
        let cpu = (before, self.cpu());
        let acknowledged = published.acknowledged as f64;
        let mut figures = acks(acknowledged, published.took.as_secs_f64(), &published.latency);
        self.add_cpu(&mut figures, &cpu, None, acknowledged);
        figures.add("acknowledged", "acknowledged", acknowledged);
        Ok(figures)
    }

    /// What each process has cost; told only where processes are compared.
    fn add_cpu(&self, figures: &mut Figures, (before, after): &(Cpu, Cpu), node: Option<f64>, count: f64) {
        let nats = before.nats.zip(after.nats).map(|(before, after)| after - before);
        let each = |seconds: Option<f64>| seconds.map(|seconds| seconds * CPU_UNIT / count);
        if self.nats.is_some() {
            let own = after.own - before.own;
            figures.add_if_known("bench_cpu_per_100k", "bench CPU s per 100,000", each(Some(own)));
            figures.add_if_known("node_cpu_per_100k", "node CPU s per 100,000", each(node));
            figures.add_if_known("nats_cpu_per_100k", "nats-server CPU s per 100,000", each(nats));
            let all = nats.map(|nats| own + node.unwrap_or_default() + nats);
            figures.add_if_known("all_cpu_per_100k", "all three, CPU s per 100,000", each(all));
        }
    }
}

fn acks(acknowledged: f64, seconds: f64, latency: &Histogram<u64>) -> Figures {
    let mut figures = Figures::default();
    figures.add("acks_per_second", "acks a second", acknowledged / seconds);
    figures.add("ack_p50_ms", "ack p50, ms", latency.value_at_quantile(0.5) as f64 / 1e6);
    figures.add("ack_p99_ms", "ack p99, ms", latency.value_at_quantile(0.99) as f64 / 1e6);
    figures.add("ack_max_ms", "ack max, ms", latency.max() as f64 / 1e6);
    figures
}
