//! `continuum bench`: puts a running node under load and says what that cost.
//!
//! Owns: the runs and their flags. Every run is bounded in time, stays on this machine unless told otherwise, and fails
//! when a delivery was lost or doubled. With `--reference` the same load goes to a bare server first, so that the
//! figures mean something on any machine.
//!
//! | file | owns |
//! | --- | --- |
//! | `args` | the flags |
//! | `fanout`, `publish`, `relay`, `resume`, `idle` | the runs |
//! | `crowd`, `seat`, `tally` | thousands of members, what each has seen, what all have seen |
//! | `publisher`, `publishers` | who publishes |
//! | `frames`, `target`, `metrics` | bytes, connections, the server's own figures |
//! | `reference`, `reference_guest`, `child` | the bare server |
//! | `raw`, `processes` | the bare publisher on NATS, what processes of this machine cost |
//! | `report`, `progress` | what a person sees |

mod args;
mod child;
mod crowd;
mod fanout;
mod frames;
mod idle;
mod metrics;
mod operations;
mod processes;
mod progress;
mod publish;
mod publisher;
mod publishers;
mod raw;
mod reference;
mod reference_guest;
mod relay;
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

use args::{
    Common, Comparison, FanoutArgs, IdleArgs, OperationsArgs, OverloadArgs, PublishArgs, RelayArgs, ResumeArgs, Run,
    StormArgs,
};
use fanout::{FanOut, Load};
use publisher::Shape;
use report::{Beside, Figures, Report};
use target::{Reach, Target};

pub use args::Args;

/// Without `--events`, fan-out makes about so many deliveries.
const DELIVERIES: u64 = 1_000_000;

/// Runs one bench; 1 when something was lost or doubled or did not finish.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    raise_file_limit();
    let common = match &args.run {
        Run::ReferenceServer(args) => return reference::run(args).map(|()| ExitCode::SUCCESS),
        Run::Fanout(args) => &args.common,
        Run::Overload(args) => &args.common,
        Run::Publish(args) => &args.common,
        Run::Operations(args) => &args.common,
        Run::Relay(args) => &args.common,
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
            Run::Publish(PublishArgs { rounds, .. }) | Run::Operations(OperationsArgs { rounds, .. }) => *rounds,
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

impl Common {
    fn reach(&self) -> Reach {
        if self.remote { Reach::Anywhere } else { Reach::Loopback }
    }

    fn tenant(&self) -> anyhow::Result<TenantId> {
        match &self.tenant {
            Some(tenant) => Ok(tenant.clone()),
            None => Ok(format!("bench-{:08x}", fastrand::u32(..)).parse()?),
        }
    }

    fn target(&self, url: &BaseUrl) -> anyhow::Result<Target> {
        Target::new(url.clone(), self.tenant()?, self.reach())
    }

    fn deadline(&self) -> Instant {
        Instant::now() + self.timeout
    }
}

async fn measure(run: &Run, common: &Common) -> anyhow::Result<Report> {
    let (threads, deadline) = (common.threads.max(1), common.deadline());
    let alone = |run, parameters, node| Report { run, parameters, node, beside: Vec::new() };
    match run {
        Run::Fanout(args) => fan_out(args, &common.target(&args.node.url)?).await,
        Run::Overload(args) => overload(args, &common.target(&args.node.url)?).await,
        Run::Publish(args) => publish::compared(args).await,
        Run::Operations(args) => operations::compared(args).await,
        Run::Relay(args) => {
            let RelayArgs { rate, bytes, seconds, readers, writers, in_flight, .. } = args;
            let parameters = json!({
                "rate": rate, "bytes": bytes, "seconds": seconds, "readers": readers, "writers": writers,
                "in_flight": in_flight,
            });
            Ok(alone("relay", parameters, relay::Relay::new(args)?.run().await?))
        }
        Run::Resume(ResumeArgs { node, members, events, size, .. }) => {
            let (target, parameters) =
                (common.target(&node.url)?, json!({"members": members, "events": events, "size": size}));
            let run = resume::Return { target, members: *members, threads, events: *events, size: *size, deadline };
            Ok(alone("resume", parameters, run.resume().await?))
        }
        Run::Storm(StormArgs { node, members, events, size, .. }) => {
            let (target, parameters) =
                (common.target(&node.url)?, json!({"members": members, "events": events, "size": size}));
            let run = resume::Return { target, members: *members, threads, events: *events, size: *size, deadline };
            Ok(alone("storm", parameters, run.storm().await?))
        }
        Run::Idle(IdleArgs { node, members, seconds, .. }) => {
            let (target, lasts) = (common.target(&node.url)?, Duration::from_secs(*seconds));
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
    let plan = plan(&args.common, &target.by(args.path), args.members, events, args.size, load);
    compared("fanout", parameters, plan, args.common.timeout, &args.comparison).await
}

async fn overload(args: &OverloadArgs, target: &Target) -> anyhow::Result<Report> {
    let parameters = json!({
        "members": args.members, "rate": args.rate, "seconds": args.seconds, "size": args.size,
        "publishers": args.publishers,
    });
    let load = Load::Rate { per_second: args.rate as f64, publishers: args.publishers };
    let plan = plan(&args.common, &target.by(args.path), args.members, args.rate * args.seconds, args.size, load);
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
        deadline: common.deadline(),
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
    let (mut node, mut reference, mut against) = (Vec::new(), Vec::new(), Vec::new());
    let run_against = async |plan: &FanOut, url: &BaseUrl| {
        let target = plan.target.on(url)?;
        let other = FanOut { target, deadline: Instant::now() + timeout, ..plan.clone() };
        other.run().await.context("the other node")
    };
    for round in 0..comparison.rounds {
        // First one, then the other: whoever comes second has a warmer machine.
        if let Some(url) = comparison.against.as_ref().filter(|_| round % 2 == 0) {
            against.push(run_against(&plan, url).await?);
        }
        if let Some(server) = &server {
            let target = Target::new(server.url.clone(), plan.target.tenant.clone(), Reach::Loopback)?;
            let deadline = Instant::now() + timeout;
            let bare = FanOut { target, shape: Shape::ReadyMade, deadline, ..plan.clone() };
            reference.push(bare.run().await.context("the reference")?);
        }
        plan.deadline = Instant::now() + timeout;
        node.push(plan.run().await?);
        if let Some(url) = comparison.against.as_ref().filter(|_| round % 2 == 1) {
            against.push(run_against(&plan, url).await?);
        }
    }
    let beside = [("reference", "ratio", reference), ("against", "ratio_against", against)];
    let beside = beside.into_iter().filter(|(.., runs)| !runs.is_empty());
    let beside = beside.map(|(key, ratio, runs)| Beside { name: key, key, ratio, figures: Figures::median(runs) });
    Ok(Report { run, parameters, node: Figures::median(node), beside: beside.collect() })
}
