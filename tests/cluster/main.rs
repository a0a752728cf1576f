//! Several real nodes on real NATS servers: one room across nodes, and what happens when nodes, servers and lines fail.

mod epochs;
mod federation;
#[path = "../nats_support/mod.rs"]
mod nats_support;
mod outage;
#[path = "../node/support/mod.rs"]
mod support;

use support::Node;

/// Starts a node on these servers. `settings` come behind the usual ones.
async fn node_on(urls: &str, settings: &[(&str, &str)]) -> Node {
    Node::start(&on(urls, settings)).await
}

/// The settings of a node on these servers.
fn on<'a>(urls: &'a str, settings: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    // The servers of tests have little room.
    let usual = [("backbone.kind", "nats"), ("nats.urls", urls), ("log.retention_bytes", "0")];
    usual.into_iter().chain(settings.iter().copied()).collect()
}
