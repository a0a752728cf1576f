//! `continuum bench`: puts a running node under load and says what that cost.
//!
//! Owns: the runs and their flags. Every run is bounded in time, stays on this machine unless told otherwise, and fails
//! when a delivery was lost or doubled. With `--reference` the same load goes to a bare server first, so that the
//! figures mean something on any machine.
//!
//! | file | owns |
//! | --- | --- |
//! | `fanout`, `publish`, `resume`, `idle` | the runs |
//! | `crowd`, `seat`, `tally` | thousands of members, what each has seen, what all have seen |
//! | `publisher`, `publishers` | who publishes |
//! | `frames`, `target`, `metrics` | bytes, connections, the server's own figures |
//! | `reference`, `reference_guest`, `child` | the bare server |
//! | `report`, `progress` | what a person sees |

mod child;
mod crowd;
mod fanout;
mod frames;
mod idle;
mod metrics;
mod progress;
mod publish;
mod publisher;
mod publishers;
mod reference;
mod reference_guest;
mod report;
mod resume;
mod seat;
mod tally;
mod target;

use std::{process::ExitCode, time::Duration};

use anyhow::Context;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::{client::BaseUrl, model::TenantId};

use fanout::{FanOut, Load};
use publisher::Shape;
use report::{Figures, Report};
use target::{Reach, Target};

/// Without `--events`, fan-out makes about so many deliveries.
const DELIVERIES: u64 = 1_000_000;

/// Put a running node under load and print what that cost.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    run: Run,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum Run {
    /// One publisher, many members of one room: what does a delivery cost?
    Fanout(FanoutArgs),
    /// Events at a fixed rate to many members: does the node keep up, and how late do they come?
    Overload(OverloadArgs),
    /// Durable publishes: how many a second are acknowledged, and how fast?
    Publish(PublishArgs),
    /// A crowd joins at once and gets all that it has missed.
    Resume(ResumeArgs),
    /// A crowd is cut off at once and returns with its cursors, while events are published.
    Storm(StormArgs),
    /// A crowd that is only there.
    Idle(IdleArgs),
    /// The bare server that `--reference` compares with.
    #[command(hide = true)]
    ReferenceServer(reference::Args),
}

#[derive(Clone, Debug, clap::Args)]
struct Common {
    /// The node; start it with --config config/bench.toml.
    #[arg(long, default_value = "ws://127.0.0.1:8420", env = "CONTINUUM_URL")]
    url: BaseUrl,
    /// The room; a new one when left out.
    #[arg(long)]
    tenant: Option<TenantId>,
    /// Print one JSON object instead of the table.
    #[arg(long)]
    json: bool,
    /// The run has failed when it takes longer.
    #[arg(long, default_value = "120s", value_parser = humantime::parse_duration)]
    timeout: Duration,
    /// Allow a node on another machine.
    #[arg(long)]
    remote: bool,
    /// Threads that carry the members.
    #[arg(long, default_value_t = 1)]
    threads: usize,
}

#[derive(Clone, Debug, clap::Args)]
struct FanoutArgs {
    #[command(flatten)]
    common: Common,
    /// Receivers.
    #[arg(long, default_value_t = 1_000)]
    members: usize,
    /// Events; by default so many that a million deliveries come of them.
    #[arg(long)]
    events: Option<u64>,
    /// Bytes of an event's data.
    #[arg(long, default_value_t = 128, value_parser = size)]
    size: usize,
    /// Events that are not yet acknowledged and delivered to everybody.
    #[arg(long, default_value_t = 1, value_parser = at_least_one)]
    in_flight: usize,
    #[command(flatten)]
    comparison: Comparison,
}

#[derive(Clone, Debug, clap::Args)]
struct OverloadArgs {
    #[command(flatten)]
    common: Common,
    /// Receivers.
    #[arg(long, default_value_t = 1_000)]
    members: usize,
    /// Events a second.
    #[arg(long, default_value_t = 3_000)]
    rate: u64,
    /// How long.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Bytes of an event's data.
    #[arg(long, default_value_t = 128, value_parser = size)]
    size: usize,
    /// Connections that publish.
    #[arg(long, default_value_t = 4, value_parser = at_least_one)]
    publishers: usize,
    #[command(flatten)]
    comparison: Comparison,
}

#[derive(Clone, Debug, clap::Args)]
struct PublishArgs {
    #[command(flatten)]
    common: Common,
    /// Connections, each in a room of its own.
    #[arg(long, default_value_t = 1, value_parser = at_least_one)]
    connections: usize,
    /// Unacknowledged events a connection.
    #[arg(long, default_value_t = 128, value_parser = at_least_one)]
    in_flight: usize,
    /// Events, all connections together.
    #[arg(long, default_value_t = 100_000)]
    events: u64,
    /// Bytes of an event's data.
    #[arg(long, default_value_t = 128, value_parser = size)]
    size: usize,
}

#[derive(Clone, Debug, clap::Args)]
struct ResumeArgs {
    #[command(flatten)]
    common: Common,
    /// How many join.
    #[arg(long, default_value_t = 5_000)]
    members: usize,
    /// Events that each has missed.
    #[arg(long, default_value_t = 1_000)]
    events: u64,
    /// Bytes of an event's data.
    #[arg(long, default_value_t = 128, value_parser = size)]
    size: usize,
}

#[derive(Clone, Debug, clap::Args)]
struct StormArgs {
    #[command(flatten)]
    common: Common,
    /// How many are cut off.
    #[arg(long, default_value_t = 5_000)]
    members: usize,
    /// Events that are published around the cut, over two seconds.
    #[arg(long, default_value_t = 100)]
    events: u64,
    /// Bytes of an event's data.
    #[arg(long, default_value_t = 128, value_parser = size)]
    size: usize,
}

#[derive(Clone, Debug, clap::Args)]
struct IdleArgs {
    #[command(flatten)]
    common: Common,
    /// How many are there.
    #[arg(long, default_value_t = 5_000)]
    members: usize,
    /// How long they are quiet.
    #[arg(long, default_value_t = 30)]
    seconds: u64,
}

#[derive(Clone, Debug, clap::Args)]
struct Comparison {
    /// Run the same against a bare server and print the ratio.
    #[arg(long)]
    reference: bool,
    /// Measure so many times and print the median of each figure.
    #[arg(long, default_value_t = 1, value_parser = at_least_one)]
    rounds: usize,
}

fn at_least_one(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|n| *n >= 1).ok_or_else(|| "must be a number from 1".to_owned())
}

fn size(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|n| *n <= 128 * 1024).ok_or_else(|| "must be a number up to 131072".to_owned())
}

/// Runs one bench; 1 when something was lost or doubled or did not finish.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    raise_file_limit();
    let common = match &args.run {
        Run::ReferenceServer(args) => return reference::run(args).map(|()| ExitCode::SUCCESS),
        Run::Fanout(args) => &args.common,
        Run::Overload(args) => &args.common,
        Run::Publish(args) => &args.common,
        Run::Resume(args) => &args.common,
        Run::Storm(args) => &args.common,
        Run::Idle(args) => &args.common,
    }
    .clone();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("no runtime")?;
    let report = runtime.block_on(async {
        // The run watches its own deadline and says what was missing; this is for what it did not foresee.
        let rounds = match &args.run {
            Run::Fanout(FanoutArgs { comparison, .. }) | Run::Overload(OverloadArgs { comparison, .. }) => {
                comparison.rounds
            }
            _ => 1,
        };
        let limit = common.timeout.saturating_mul(3).saturating_mul(u32::try_from(rounds).unwrap_or(u32::MAX));
        tokio::time::timeout(limit, measure(&args.run, &common)).await.context("the run did not finish")?
    })?;
    if common.json {
        println!("{}", report.json());
    } else {
        print!("{}", report.table());
    }
    Ok(if report.passed() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Each connection is a file; a failure shows when the limit is met.
fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    // Best effort: a smaller crowd needs no more than there is.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}

async fn measure(run: &Run, common: &Common) -> anyhow::Result<Report> {
    let reach = if common.remote { Reach::Anywhere } else { Reach::Loopback };
    let tenant = match &common.tenant {
        Some(tenant) => tenant.clone(),
        None => format!("bench-{:08x}", fastrand::u32(..)).parse()?,
    };
    let target = Target::new(common.url.clone(), tenant, reach)?;
    let (threads, deadline) = (common.threads.max(1), Instant::now() + common.timeout);
    let alone = |run, parameters, node| Report { run, parameters, node, reference: None };
    match run {
        Run::Fanout(args) => fan_out(args, &target).await,
        Run::Overload(args) => overload(args, &target).await,
        Run::Publish(args) => {
            let PublishArgs { connections, in_flight: window, events, size, .. } = *args;
            let parameters = json!({"connections": connections, "in_flight": window, "events": events, "size": size});
            let figures = publish::Publish { target, connections, window, events, size, deadline }.run().await?;
            Ok(alone("publish", parameters, figures))
        }
        Run::Resume(ResumeArgs { members, events, size, .. }) => {
            let parameters = json!({"members": members, "events": events, "size": size});
            let run = resume::Return { target, members: *members, threads, events: *events, size: *size, deadline };
            Ok(alone("resume", parameters, run.resume().await?))
        }
        Run::Storm(StormArgs { members, events, size, .. }) => {
            let parameters = json!({"members": members, "events": events, "size": size});
            let run = resume::Return { target, members: *members, threads, events: *events, size: *size, deadline };
            Ok(alone("storm", parameters, run.storm().await?))
        }
        Run::Idle(IdleArgs { members, seconds, .. }) => {
            let lasts = Duration::from_secs(*seconds);
            let run = idle::Idle { target, members: *members, threads, lasts, deadline };
            Ok(alone("idle", json!({"members": members, "seconds": seconds}), run.run().await?))
        }
        Run::ReferenceServer(_) => anyhow::bail!("the reference server measures nothing"),
    }
}

async fn fan_out(args: &FanoutArgs, target: &Target) -> anyhow::Result<Report> {
    let events = args.events.unwrap_or(DELIVERIES / args.members.max(1) as u64).max(1);
    let parameters = json!({"members": args.members, "events": events, "size": args.size, "in_flight": args.in_flight});
    let load = Load::Window(args.in_flight);
    let plan = plan(&args.common, target, args.members, events, args.size, load);
    compared("fanout", parameters, plan, args.common.timeout, &args.comparison).await
}

async fn overload(args: &OverloadArgs, target: &Target) -> anyhow::Result<Report> {
    let parameters = json!({
        "members": args.members, "rate": args.rate, "seconds": args.seconds, "size": args.size,
        "publishers": args.publishers,
    });
    let load = Load::Rate { per_second: args.rate as f64, publishers: args.publishers };
    let plan = plan(&args.common, target, args.members, args.rate * args.seconds, args.size, load);
    compared("overload", parameters, plan, args.common.timeout, &args.comparison).await
}

fn plan(common: &Common, target: &Target, members: usize, events: u64, size: usize, load: Load) -> FanOut {
    FanOut {
        target: target.clone(),
        members,
        threads: common.threads.max(1),
        events,
        size,
        load,
        shape: Shape::Publish,
        deadline: Instant::now() + common.timeout,
    }
}

/// Runs against the node, and against the reference if asked for; by turns, so that a busy machine is as busy for both.
async fn compared(
    run: &'static str,
    parameters: Value,
    mut plan: FanOut,
    timeout: Duration,
    comparison: &Comparison,
) -> anyhow::Result<Report> {
    let server = comparison.reference.then(child::Reference::start).transpose()?;
    let (mut node, mut reference) = (Vec::new(), Vec::new());
    for _ in 0..comparison.rounds {
        if let Some(server) = &server {
            let target = Target::new(server.url.clone(), plan.target.tenant.clone(), Reach::Loopback)?;
            let deadline = Instant::now() + timeout;
            let bare = FanOut { target, shape: Shape::ReadyMade, deadline, ..plan.clone() };
            reference.push(bare.run().await.context("the reference")?);
        }
        plan.deadline = Instant::now() + timeout;
        node.push(plan.run().await?);
    }
    let reference = server.map(|_| Figures::median(reference));
    Ok(Report { run, parameters, node: Figures::median(node), reference })
}
