//! The other nodes: which there are, when each was heard last, and who fell silent.
//!
//! Owns: the times behind "a node that dies is declared gone within 15 s", and the rule that whoever cannot hear declares
//! nobody gone.

mod account;

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    sync::Arc,
    time::Duration,
};

use uuid::Uuid;

pub use account::{Account, Link, short};

/// Between two heartbeats of a node.
pub const BEAT: Duration = Duration::from_secs(3);
/// A node that does not hear its own heartbeats for this long does not hear the others either.
pub const DEAF_AFTER: Duration = Duration::from_secs(7);
/// Silence after which a node is gone.
pub const SILENCE: Duration = Duration::from_secs(12);
/// What is promised: the others' rooms say so by then.
pub const PROMISE: Duration = Duration::from_secs(15);

/// Most other nodes; whoever comes on top is not listened to.
pub const MOST_NODES: usize = 1024;
/// How many nodes that said farewell are remembered, so that their late words bring nobody back.
const DEPARTED: usize = 64;

/// A node's process: random, made when it starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub Uuid);

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Rises each time a node comes back from a pause.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Incarnation(pub u64);

/// What is known of another node.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Its incarnation.
    pub incarnation: Incarnation,
    /// When it was heard last, on the caller's clock.
    pub heard: Duration,
    /// What it said of itself last; `None`: it is of a version that does not tell.
    pub account: Option<Arc<Account>>,
    introduced: bool,
}

/// Whether a node is to be listened to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hearing {
    /// Yes.
    Listen,
    /// No: an earlier incarnation, one that said farewell, or one too many.
    Ignore,
}

/// Whether a node was known before its heartbeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Introduction {
    /// It was.
    Known,
    /// It is new, or back: the rooms have not heard of it by its heartbeat yet.
    New,
}

/// The other nodes.
#[derive(Debug, Default)]
pub struct Peers {
    known: BTreeMap<NodeId, Peer>,
    departed: VecDeque<NodeId>,
    /// Nobody counts as silent since before this: set while the node itself could not hear, and when it begins to listen.
    excused_until: Duration,
}

impl Peers {
    /// Notes a sign of life.
    pub fn hear(&mut self, node: NodeId, incarnation: Incarnation, now: Duration) -> Hearing {
        if let Some(peer) = self.known.get_mut(&node) {
            if incarnation < peer.incarnation {
                return Hearing::Ignore;
            }
            (peer.incarnation, peer.heard) = (incarnation, now);
            return Hearing::Listen;
        }
        if self.known.len() >= MOST_NODES || self.departed.contains(&node) {
            return Hearing::Ignore;
        }
        self.known.insert(node, Peer { incarnation, heard: now, account: None, introduced: false });
        Hearing::Listen
    }

    /// Notes that a known node's heartbeat was heard; the first time counts.
    pub fn introduce(&mut self, node: NodeId) -> Introduction {
        let before = self.known.get_mut(&node).map(|peer| std::mem::replace(&mut peer.introduced, true));
        if before == Some(false) { Introduction::New } else { Introduction::Known }
    }

    /// Notes what a known node says of itself.
    pub fn tell(&mut self, node: NodeId, account: Account) {
        if let Some(peer) = self.known.get_mut(&node).filter(|_| account.is_short()) {
            peer.account = Some(Arc::new(account));
        }
    }

    /// This node could not hear until now: everyone's silence is counted from here.
    pub fn excuse(&mut self, now: Duration) {
        self.excused_until = now;
    }

    /// A node said farewell. Returns whether it was known.
    pub fn depart(&mut self, node: NodeId) -> bool {
        self.departed.push_back(node);
        if self.departed.len() > DEPARTED {
            self.departed.pop_front();
        }
        self.known.remove(&node).is_some()
    }

    /// Takes out the nodes that were silent for [`SILENCE`].
    pub fn expire(&mut self, now: Duration) -> Vec<(NodeId, Incarnation)> {
        let since = self.excused_until;
        let silent = |peer: &Peer| now.saturating_sub(peer.heard.max(since)) >= SILENCE;
        let gone: Vec<_> =
            self.known.iter().filter(|(_, peer)| silent(peer)).map(|(node, peer)| (*node, peer.incarnation)).collect();
        for (node, _) in &gone {
            self.known.remove(node);
        }
        gone
    }

    /// Whether every living node was heard: who was not, all the while that this node could hear, is gone.
    pub fn are_all_known(&self, now: Duration) -> bool {
        now.saturating_sub(self.excused_until) >= SILENCE
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.known.len()
    }

    /// Whether there is any.
    pub fn any(&self) -> bool {
        !self.known.is_empty()
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (NodeId, Peer)> {
        self.known.iter().map(|(node, peer)| (*node, peer.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn node(number: u128) -> NodeId {
        NodeId(Uuid::from_u128(number))
    }

    #[test]
    fn the_times_stand_in_their_order() {
        // The supervisor looks once a second; rooms hear of it within a moment.
        let tick = SECOND;
        assert!(BEAT * 3 < SILENCE, "two lost heartbeats kill nobody");
        assert!(BEAT * 2 < DEAF_AFTER, "one lost heartbeat of its own makes nobody deaf");
        assert!(DEAF_AFTER + BEAT + tick < SILENCE, "a deaf node knows it before it blames others");
        assert!(SILENCE + 2 * tick < PROMISE, "the promise is kept with time to spare");
    }

    #[test]
    fn a_silent_node_is_gone_once_and_may_come_back() {
        let mut peers = Peers::default();
        assert_eq!(peers.hear(node(1), Incarnation(0), SECOND), Hearing::Listen);
        assert_eq!(peers.introduce(node(1)), Introduction::New);
        assert_eq!(peers.introduce(node(1)), Introduction::Known);
        assert_eq!(peers.expire(SECOND + SILENCE - Duration::from_millis(1)), []);
        assert_eq!(peers.expire(SECOND + SILENCE), [(node(1), Incarnation(0))]);
        assert_eq!(peers.expire(SECOND + SILENCE), []);
        // Cut off, not paused: the same incarnation is heard again.
        assert_eq!(peers.hear(node(1), Incarnation(0), 20 * SECOND), Hearing::Listen);
        assert_eq!(peers.introduce(node(1)), Introduction::New);
    }

    #[test]
    fn a_node_that_could_not_hear_blames_nobody_for_a_whole_timeout() {
        let mut peers = Peers::default();
        peers.hear(node(1), Incarnation(0), Duration::ZERO);
        peers.excuse(100 * SECOND);
        assert_eq!(peers.expire(100 * SECOND + SILENCE - SECOND), []);
        assert_eq!(peers.expire(100 * SECOND + SILENCE).len(), 1);
    }

    #[test]
    fn a_node_that_has_just_begun_to_hear_does_not_know_who_is_there() {
        let mut peers = Peers::default();
        assert!(!peers.are_all_known(SILENCE - Duration::from_millis(1)));
        assert!(peers.are_all_known(SILENCE));
        // Silent ones that are excused may live as well as those that were never heard.
        peers.excuse(20 * SECOND);
        assert!(!peers.are_all_known(20 * SECOND));
        assert!(!peers.are_all_known(20 * SECOND + SILENCE - Duration::from_millis(1)));
        assert!(peers.are_all_known(20 * SECOND + SILENCE));
    }

    #[test]
    fn words_from_before_a_pause_or_after_a_farewell_are_ignored() {
        let mut peers = Peers::default();
        peers.hear(node(1), Incarnation(2), Duration::ZERO);
        assert_eq!(peers.hear(node(1), Incarnation(1), SECOND), Hearing::Ignore);
        assert!(peers.depart(node(1)));
        assert_eq!(peers.hear(node(1), Incarnation(2), SECOND), Hearing::Ignore);
        assert!(!peers.any());
    }

    #[test]
    fn there_is_room_for_so_many_nodes_and_no_more() {
        let mut peers = Peers::default();
        for number in 0..MOST_NODES as u128 {
            assert_eq!(peers.hear(node(number), Incarnation(0), Duration::ZERO), Hearing::Listen);
        }
        assert_eq!(peers.hear(node(u128::MAX), Incarnation(0), Duration::ZERO), Hearing::Ignore);
        assert_eq!(peers.iter().count(), MOST_NODES);
    }
}
