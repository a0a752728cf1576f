//! The flags of `continuum bench`.

use std::time::Duration;

use super::{reference, target::Door};
use crate::{client::BaseUrl, model::TenantId};

/// Put a running node under load and print what that cost.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Which run.
    #[command(subcommand)]
    pub run: Run,
}

#[derive(Clone, Debug, clap::Subcommand)]
pub enum Run {
    /// One publisher, many members of one room: what does a delivery cost?
    Fanout(FanoutArgs),
    /// Events at a fixed rate to many members: does the node keep up, and how late do they come?
    Overload(OverloadArgs),
    /// Durable publishes: how many a second are acknowledged, and how fast?
    Publish(PublishArgs),
    /// Operations on entities, beside plain publishes: on entities of their own, or on a hot one from several nodes.
    Operations(OperationsArgs),
    /// Events from one node to readers on others: how late do they come?
    Relay(RelayArgs),
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
pub struct Common {
    /// The room; a new one when left out.
    #[arg(long)]
    pub tenant: Option<TenantId>,
    /// Print one JSON object instead of the table.
    #[arg(long)]
    pub json: bool,
    /// The run has failed when it takes longer.
    #[arg(long, default_value = "120s", value_parser = humantime::parse_duration)]
    pub timeout: Duration,
    /// Allow a node on another machine.
    #[arg(long)]
    pub remote: bool,
    /// Threads that carry the members.
    #[arg(long, default_value_t = 1)]
    pub threads: usize,
}

#[derive(Clone, Debug, clap::Args)]
pub struct OneNode {
    /// The node; start it with --config config/bench.toml.
    #[arg(long, default_value = "ws://127.0.0.1:8420", env = "CONTINUUM_URL")]
    pub url: BaseUrl,
}

#[derive(Clone, Debug, clap::Args)]
pub struct FanoutArgs {
    #[command(flatten)]
    pub node: OneNode,
    #[command(flatten)]
    pub common: Common,
    /// Receivers.
    #[arg(long, default_value_t = 1_000)]
    pub members: usize,
    /// By which path they join.
    #[arg(long, value_enum, default_value_t = Door::Sync)]
    pub path: Door,
    /// Events; by default so many that a million deliveries come of them.
    #[arg(long)]
    pub events: Option<u64>,
    /// Bytes of an event's data.
    #[arg(long, default_value_t = 128, value_parser = size)]
    pub size: usize,
    /// Events that are not yet acknowledged and delivered to everybody.
    #[arg(long, default_value_t = 1, value_parser = at_least_one)]
    pub in_flight: usize,
    #[command(flatten)]
    pub comparison: Comparison,
}

#[derive(Clone, Debug, clap::Args)]
pub struct OverloadArgs {
    #[command(flatten)]
    pub node: OneNode,
    #[command(flatten)]
    pub common: Common,
    /// Receivers.
    #[arg(long, default_value_t = 1_000)]
    pub members: usize,
    /// By which path they join.
    #[arg(long, value_enum, default_value_t = Door::Sync)]
    pub path: Door,
    /// Events a second.
    #[arg(long, default_value_t = 3_000)]
    pub rate: u64,
    /// How long.
    #[arg(long, default_value_t = 10)]
    pub seconds: u64,
    /// Bytes of an event's data.
    #[arg(long, default_value_t = 128, value_parser = size)]
    pub size: usize,
    /// Connections that publish.
    #[arg(long, default_value_t = 4, value_parser = at_least_one)]
    pub publishers: usize,
    #[command(flatten)]
    pub comparison: Comparison,
}

#[derive(Clone, Debug, clap::Args)]
pub struct PublishArgs {
    #[command(flatten)]
    pub node: OneNode,
    #[command(flatten)]
    pub common: Common,
    /// Connections, each in a room of its own.
    #[arg(long, default_value_t = 1, value_parser = at_least_one)]
    pub connections: usize,
    /// Unacknowledged events a connection.
    #[arg(long, default_value_t = 128, value_parser = at_least_one)]
    pub in_flight: usize,
    /// Events a second, all connections together, whatever is acknowledged; when left out, as many as --in-flight lets.
    #[arg(long, value_parser = above_zero, conflicts_with = "in_flight")]
    pub rate: Option<f64>,
    /// Events, all connections together.
    #[arg(long, default_value_t = 100_000)]
    pub events: u64,
    /// Bytes of an event's data.
    #[arg(long, default_value_t = 128, value_parser = size)]
    pub size: usize,
    /// Measure so many times and print the median of each figure.
    #[arg(long, default_value_t = 1, value_parser = at_least_one)]
    pub rounds: usize,
    /// Compare with a bare async-nats client on this nats-server, e.g. nats://127.0.0.1:4222: the same number of records
    /// of the same size under the same window or rate, by turns with the node. Its streams are made for the run and deleted after it.
    #[arg(long, value_name = "URL")]
    pub nats: Option<String>,
    /// Process of the nats-server, for what it costs; found by the port of --nats when left out.
    #[arg(long, value_name = "PID", requires = "nats")]
    pub nats_pid: Option<u32>,
    /// Copies of the streams that are made for the comparison: as many as nats.replicas of the node.
    #[arg(long, default_value_t = 1, value_name = "COPIES", requires = "nats")]
    pub nats_replicas: u16,
}

#[derive(Clone, Debug, clap::Args)]
pub struct OperationsArgs {
    /// A node; may be given several times. Start them with --config config/bench.toml.
    #[arg(long = "url", value_name = "URL", default_value = "ws://127.0.0.1:8420")]
    pub urls: Vec<BaseUrl>,
    #[command(flatten)]
    pub common: Common,
    /// How many entities there are; 0: each operation makes a new one.
    #[arg(long, default_value_t = 0)]
    pub entities: u64,
    /// Connections to each node.
    #[arg(long, default_value_t = 1, value_parser = at_least_one)]
    pub connections: usize,
    /// Unanswered operations a connection.
    #[arg(long, default_value_t = 128, value_parser = at_least_one)]
    pub in_flight: usize,
    /// Operations, all connections together; as many publishes.
    #[arg(long, default_value_t = 50_000)]
    pub events: u64,
    /// Bytes of what is written.
    #[arg(long, default_value_t = 128, value_parser = size)]
    pub size: usize,
    /// Measure so many times and print the median of each figure.
    #[arg(long, default_value_t = 1, value_parser = at_least_one)]
    pub rounds: usize,
}

#[derive(Clone, Debug, clap::Args)]
pub struct RelayArgs {
    /// A node; give it twice or more. Events are published on the first; readers are on all of them. Start them with
    /// --config config/bench.toml.
    #[arg(long = "url", value_name = "URL", required = true)]
    pub urls: Vec<BaseUrl>,
    #[command(flatten)]
    pub common: Common,
    /// Events a second; when left out, half of the greatest rate that a short search finds.
    #[arg(long, value_parser = above_zero)]
    pub rate: Option<f64>,
    /// Bytes of an event's data.
    #[arg(long, default_value_t = 256, value_parser = size)]
    pub bytes: usize,
    /// How long.
    #[arg(long, default_value_t = 10)]
    pub seconds: u64,
    /// Readers on each node.
    #[arg(long, default_value_t = 1, value_parser = at_least_one)]
    pub readers: usize,
    /// Connections that publish.
    #[arg(long, default_value_t = 1, value_parser = at_least_one)]
    pub writers: usize,
    /// Unacknowledged events of all writers together, while the greatest rate is searched.
    #[arg(long, default_value_t = 256, value_parser = at_least_one)]
    pub in_flight: usize,
}

#[derive(Clone, Debug, clap::Args)]
pub struct ResumeArgs {
    #[command(flatten)]
    pub node: OneNode,
    #[command(flatten)]
    pub common: Common,
    /// How many join.
    #[arg(long, default_value_t = 5_000)]
    pub members: usize,
    /// Events that each has missed.
    #[arg(long, default_value_t = 1_000)]
    pub events: u64,
    /// Bytes of an event's data.
    #[arg(long, default_value_t = 128, value_parser = size)]
    pub size: usize,
}

#[derive(Clone, Debug, clap::Args)]
pub struct StormArgs {
    #[command(flatten)]
    pub node: OneNode,
    #[command(flatten)]
    pub common: Common,
    /// How many are cut off.
    #[arg(long, default_value_t = 5_000)]
    pub members: usize,
    /// Events that are published around the cut, over two seconds.
    #[arg(long, default_value_t = 100)]
    pub events: u64,
    /// Bytes of an event's data.
    #[arg(long, default_value_t = 128, value_parser = size)]
    pub size: usize,
}

#[derive(Clone, Debug, clap::Args)]
pub struct IdleArgs {
    #[command(flatten)]
    pub node: OneNode,
    #[command(flatten)]
    pub common: Common,
    /// How many are there.
    #[arg(long, default_value_t = 5_000)]
    pub members: usize,
    /// How long they are quiet.
    #[arg(long, default_value_t = 30)]
    pub seconds: u64,
}

#[derive(Clone, Debug, clap::Args)]
pub struct Comparison {
    /// Run the same against a bare server and print the ratio.
    #[arg(long)]
    pub reference: bool,
    /// Run the same against another node by turns, with other settings perhaps, and print the ratio [default: none]
    #[arg(long, value_name = "URL")]
    pub against: Option<BaseUrl>,
    /// Measure so many times and print the median of each figure.
    #[arg(long, default_value_t = 1, value_parser = at_least_one)]
    pub rounds: usize,
}

fn at_least_one(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|n| *n >= 1).ok_or_else(|| "must be a number from 1".to_owned())
}

fn size(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|n| *n <= 128 * 1024).ok_or_else(|| "must be a number up to 131072".to_owned())
}

fn above_zero(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|rate: &f64| rate.is_finite() && *rate > 0.0).ok_or_else(|| "must be above 0".to_owned())
}
