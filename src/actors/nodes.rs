//! This node and the others, as all actors see them: the supervisor keeps the deadlines, every word heard counts.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use uuid::Uuid;

use super::{context::NodeContext, readiness::Readiness};
use crate::{
    backbone::{Health, shown::Line},
    model::peers::{Account, Hearing, Incarnation, Link, NodeId, Peer, Peers, short},
    wire::peer::Speaker,
};

/// The nodes of the cluster.
#[derive(Debug)]
pub struct Nodes {
    me: NodeId,
    /// This node's machine and port.
    name: Box<str>,
    incarnation: AtomicU64,
    /// Whether this node does not even hear itself.
    deaf: AtomicBool,
    peers: Mutex<Peers>,
}

impl Nodes {
    /// This node alone, under a name for people.
    pub fn new(name: &str) -> Self {
        Self {
            me: NodeId(Uuid::new_v4()),
            name: short(name),
            incarnation: AtomicU64::new(0),
            deaf: AtomicBool::new(false),
            peers: Mutex::default(),
        }
    }

    /// This node.
    pub fn me(&self) -> NodeId {
        self.me
    }

    /// This node's name for people.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// This node's incarnation now.
    pub fn incarnation(&self) -> Incarnation {
        Incarnation(self.incarnation.load(Ordering::Acquire))
    }

    /// This node was away: it is another incarnation from now on.
    pub fn return_anew(&self) {
        self.incarnation.fetch_add(1, Ordering::AcqRel);
    }

    /// This node as it speaks to the others.
    pub fn speaker(&self) -> Speaker {
        Speaker { node: self.me, incarnation: self.incarnation() }
    }

    /// Notes that another node was heard. Whether to listen to what it says.
    pub fn hear(&self, from: Speaker, now: Duration) -> Hearing {
        self.peers().hear(from.node, from.incarnation, now)
    }

    /// Whether this node hears nobody, itself included: then it cannot tell who is there.
    pub fn is_deaf(&self) -> bool {
        self.deaf.load(Ordering::Acquire)
    }

    /// Notes whether it is.
    pub(super) fn set_deaf(&self, is_deaf: bool) {
        self.deaf.store(is_deaf, Ordering::Release);
    }

    /// Whether those that it knows are all that there are.
    pub fn are_all_known(&self, now: Duration) -> bool {
        !self.is_deaf() && self.peers().are_all_known(now)
    }

    /// Whether there are others.
    pub fn any(&self) -> bool {
        self.peers().any()
    }

    /// The others.
    pub fn others(&self) -> Vec<(NodeId, Peer)> {
        self.peers().iter().collect()
    }

    /// The others, for those who keep the deadlines.
    pub(super) fn peers(&self) -> MutexGuard<'_, Peers> {
        // Whole between any two statements of its methods that could panic.
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What this node says of itself.
pub fn account(context: &NodeContext) -> Account {
    let readiness = Readiness::now(context);
    let Line { kind, server, made } = context.backbone.line();
    let (state, why) = health(context.backbone.health());
    Account {
        name: context.nodes.name.clone(),
        version: env!("CARGO_PKG_VERSION").into(),
        since: context.since(),
        status: readiness.word().into(),
        reason: readiness.reason().map(short),
        link: Link {
            kind: kind.into(),
            state: state.into(),
            reason: why.as_deref().map(short),
            server: server.as_deref().map(short),
            connects: made,
        },
        connections: context.connections.taken(),
        rooms: context.metrics.rooms.get().unsigned_abs(),
        hears: context.nodes.peers().count() as u64,
    }
}

/// The word for how a log serves, and what is wrong.
pub fn health(health: Health) -> (&'static str, Option<String>) {
    match health {
        Health::Serving => ("serving", None),
        Health::Degraded(why) => ("degraded", Some(why)),
        Health::Down(why) => ("down", Some(why)),
    }
}
