//! The long run of the fault drill, on release binaries: `scripts/drill [EVENTS]`.
//!
//! Writers and readers on three nodes against three NATS servers; a node and the stream's leader are killed, the servers
//! stand still, stop and come back. Ends with a report, or with what was broken. `scripts/drill state [ENTITIES]` fills a room
//! instead and takes its state while it changes.

#[path = "../tests/node/large_state.rs"]
mod large_state;
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

/// Entities of a run that does not say how many, each of a little more than 1 KB.
const ENTITIES: usize = 100_000;
/// By how much a node's memory may rise while their state is taken, bytes.
const MOST: u64 = 32 * large_state::MIB;

fn main() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    // Cargo adds a flag of its own.
    let number = std::env::args().skip(1).find_map(|argument| argument.parse().ok());
    if std::env::args().any(|argument| argument == "state") {
        let plan = large_state::Plan { entities: number.unwrap_or(ENTITIES), most: MOST };
        println!("{}", runtime.block_on(large_state::run(plan)));
        return;
    }
    let events = number.unwrap_or(EVENTS);
    let tell = |what: &str| println!("  {what}");
    let plan = Plan { events, writers: 4, window: 64, outage: Duration::from_secs(30), tell };
    println!("{events} events from {} writers on 3 nodes", 3 * plan.writers);
    println!("{}", runtime.block_on(storm::run(plan)));
}
