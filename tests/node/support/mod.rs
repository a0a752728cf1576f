//! What tests of a whole node need: a real process ([`Node`]), a well-behaved WebSocket client ([`Client`]), one that
//! writes bytes of its own ([`RawClient`]), and plain HTTP ([`http`]).
//!
//! Nothing here sleeps or tries twice: everything waits for what it needs, and [`DEADLINE`] is when it gives up.

#![allow(dead_code, unused_imports, reason = "test binaries share this module and each uses a part of it")]

mod client;
pub mod history;
pub mod http;
mod in_process;
pub mod issuer;
mod log;
mod node;
pub mod raw;
pub mod rules;
pub mod sse;
mod stalled;
mod wire;
mod written;

use std::{future::Future, time::Duration};

pub use client::{Client, Closed, Event};
pub use in_process::InProcess;
pub use issuer::Issuer;
pub use node::{Node, Port};
pub use raw::{Frame, RawClient};
pub use sse::{EventStream, Said};
pub use stalled::{PASSED_BY_RETENTION, Stalled};
pub use wire::Wire;

/// When a test gives up: far beyond what anything takes, even on a busy machine.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// Waits for something, at most until [`DEADLINE`].
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(DEADLINE, future).await {
        Ok(value) => value,
        Err(_) => panic!("gave up after {DEADLINE:?}: {what}"),
    }
}

/// Asks again and again until the answer is there, at most until [`DEADLINE`].
pub async fn until<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    within(what, async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::task::yield_now().await;
        }
    })
    .await
}

/// A fresh publish id.
pub fn new_id() -> String {
    uuid::Uuid::new_v4().to_string()
}
