//! Several real nodes on real NATS servers: one room across nodes, and what happens when nodes, servers and lines fail.

mod accounts;
mod entities;
mod epochs;
mod faults;
mod federation;
#[path = "../nats_support/mod.rs"]
mod nats_support;
mod outage;
mod random_state;
#[path = "../random_writers/mod.rs"]
mod random_writers;
mod roll;
mod rolling;
mod settings;
mod shared_state;
mod storm;
mod streams;
#[path = "../node/support/mod.rs"]
mod support;

use settings::on;
use support::Node;

/// Starts a node on these servers. `settings` come behind the usual ones.
async fn node_on(urls: &str, settings: &[(&str, &str)]) -> Node {
    Node::start(&on(urls, settings)).await
}
