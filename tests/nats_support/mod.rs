//! What tests against NATS need: real servers ([`NatsServer`], [`NatsCluster`]) that can be killed, paused and started
//! again on the same port and store, a line to a server that can be cut ([`Line`]), and raw requests ([`Admin`]).
//!
//! A test binary takes it in by `#[path = "../nats_support/mod.rs"] mod nats_support;`. The server's program is found as
//! [`program`] says; without one tests fail. Nothing here tries twice to become green: everything waits for what it needs,
//! and [`PATIENCE`] is when it gives up.

#![allow(dead_code, unused_imports, reason = "test binaries share this module and each uses a part of it")]

mod admin;
mod cluster;
mod config;
mod line;
#[allow(clippy::duplicate_mod, reason = "some test binaries take in the support for nodes as well")]
#[path = "../node/support/log.rs"]
mod log;
mod monitor;
mod port;
mod process;
mod program;
pub mod secured;
mod server;

use std::{future::Future, time::Duration};

pub use admin::{Admin, Message, Refused};
pub use cluster::NatsCluster;
pub use config::NatsConfig;
pub use line::Line;
pub use program::program;
pub use secured::SecuredCluster;
pub use server::NatsServer;

/// When a test gives up: far beyond what an election on a busy machine takes.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Between two times of asking the same: a server that does nothing but answer does not get on with what is waited for.
const PACE: Duration = Duration::from_millis(10);

/// Waits for something, at most until [`PATIENCE`] ends.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("gave up after {PATIENCE:?}: {what}"),
    }
}

/// Asks again and again until the answer is there, at most until [`PATIENCE`] ends.
pub async fn until<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    within(what, async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::time::sleep(PACE).await;
        }
    })
    .await
}
