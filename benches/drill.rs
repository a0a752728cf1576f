//! The long run of the fault drill, on release binaries: `scripts/drill [EVENTS]`.
//!
//! Writers and readers on three nodes against three NATS servers; a node and the stream's leader are killed, the servers
//! stand still, stop and come back. Ends with a report, or with what was broken.

#[path = "../tests/nats_support/mod.rs"]
mod nats_support;
#[path = "../tests/cluster/settings.rs"]
mod settings;
#[path = "../tests/cluster/storm.rs"]
mod storm;
#[path = "../tests/node/support/mod.rs"]
mod support;

use std::time::Duration;

use settings::on;
use storm::Plan;

/// Events of a run that does not say how many.
const EVENTS: usize = 120_000;

fn main() {
    // Cargo adds a flag of its own.
    let events = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(EVENTS);
    let tell = |what: &str| println!("  {what}");
    let plan = Plan { events, writers: 4, window: 64, outage: Duration::from_secs(30), tell };
    println!("{events} events from {} writers on 3 nodes", 3 * plan.writers);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    println!("{}", runtime.block_on(storm::run(plan)));
}
