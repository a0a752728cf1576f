//! What all actors of a node share: settings, the log, figures, clocks. Nothing here decides anything.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use super::{
    metrics::{Count, Metrics},
    nodes::Nodes,
    tenants::Tenants,
};
use crate::{auth::Authority, backbone::SharedBackbone, config::Config, journal::Journal, model::Timestamp};

/// Shared by every actor of one node.
#[derive(Debug)]
pub struct NodeContext {
    /// The settings.
    pub config: Config,
    /// Who is let in.
    pub authority: Authority,
    /// The log.
    pub backbone: SharedBackbone,
    /// What keeps publishes while the log is out of reach; a log on this machine's own disk needs none.
    pub journal: Option<Arc<Journal>>,
    /// The figures.
    pub metrics: Metrics,
    /// This node and the others.
    pub nodes: Nodes,
    /// What tenants take, and what they may.
    pub tenants: Tenants,
    /// Open connections, for the limit per node.
    pub connections: Count,
    /// Requests over HTTP that publish or wait now; a draining node answers them before it stops.
    pub requests: Count,
    started: Instant,
    since: Timestamp,
    draining: AtomicBool,
    serials: AtomicU64,
}

impl NodeContext {
    /// Puts it together; the node's own clock starts now.
    pub fn new(
        config: Config,
        authority: Authority,
        backbone: SharedBackbone,
        journal: Option<Arc<Journal>>,
        metrics: Metrics,
        nodes: Nodes,
    ) -> Arc<Self> {
        Arc::new(Self {
            tenants: Tenants::new(&config.limits),
            config,
            authority,
            backbone,
            journal,
            metrics,
            nodes,
            connections: Count::default(),
            requests: Count::default(),
            started: Instant::now(),
            since: now(),
            draining: AtomicBool::new(false),
            serials: AtomicU64::new(1),
        })
    }

    /// Time since the node started: monotonic, for deadlines and budgets.
    pub fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    /// The wall clock, for people.
    pub fn now(&self) -> Timestamp {
        now()
    }

    /// When the node started, by the wall clock.
    pub fn since(&self) -> Timestamp {
        self.since
    }

    /// A number that no other actor, member or request of this node has.
    pub fn serial(&self) -> u64 {
        self.serials.fetch_add(1, Ordering::Relaxed)
    }

    /// Whether the node goes away.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// From now on nobody new is let in.
    pub fn start_draining(&self) {
        self.draining.store(true, Ordering::Release);
    }
}

fn now() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(since_epoch.as_millis() as i64)
}
