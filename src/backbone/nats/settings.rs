//! What a log on NATS is opened with, and why that may fail.

use std::time::Duration;

use super::{
    definition::Shape,
    line::{Credentials, Target, TargetError, Tls},
    names::Names,
};

/// Settings of a log on NATS; all are the caller's.
#[derive(Clone, Debug)]
pub struct NatsConfig {
    /// The cluster's servers.
    pub urls: Vec<String>,
    /// Who we are.
    pub credentials: Credentials,
    /// How the line is secured.
    pub tls: Tls,
    /// What all subjects begin with: lower-case letters, digits, `_`, `-`.
    pub prefix: String,
    /// Shards, fixed when the system is installed.
    pub shards: u16,
    /// Copies of each stream.
    pub replicas: u16,
    /// Records older than this are trimmed; `None` keeps them.
    pub retention_age: Option<Duration>,
    /// Bytes of records over all shards; `None` sets no bound.
    pub retention_bytes: Option<u64>,
    /// Appends that may wait.
    pub queue_appends: usize,
    /// Appends that may be on their way to the stream at a time.
    pub window: usize,
    /// Bytes that a feed holds before it lags.
    pub feed_bytes: usize,
    /// The largest body that will be appended, for a warning at start.
    pub largest_body: usize,
    /// Messages that may wait in one subscription before some are dropped (and read again).
    pub subscription_capacity: usize,
}

impl NatsConfig {
    pub(super) fn target(&self) -> Target {
        Target {
            urls: self.urls.clone(),
            credentials: self.credentials.clone(),
            tls: self.tls.clone(),
            inbox_prefix: Names::new(&self.prefix, self.shards).inbox_prefix(),
            subscription_capacity: self.subscription_capacity,
        }
    }

    pub(super) fn shape(&self) -> Shape {
        let names = Names::new(&self.prefix, self.shards);
        let max_bytes = self.retention_bytes.map(|bytes| bytes / u64::from(names.shards()));
        Shape { names, replicas: self.replicas, max_age: self.retention_age, max_bytes }
    }
}

/// Why a log on NATS cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The target is none.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// NATS is there, and wrong. One line, with the mend.
    #[error("NATS cannot be used: {0}")]
    Wrong(String),
    /// No threads, no timers.
    #[error("cannot start a runtime for NATS: {0}")]
    Runtime(#[from] std::io::Error),
}
