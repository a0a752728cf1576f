//! Writers that send random operations on shared state while something dies, and what must hold of it afterwards.
//!
//! Every choice follows from a seed; what happens in between does not, as real nodes race. So nothing here foretells an
//! outcome: [`check`] reads everything back and holds it against what was sent, what was answered and what the log has.

#![allow(dead_code, reason = "test binaries share this module and each uses a part of it")]

mod answer;
mod check;
mod claims;
mod operation;
mod read;
mod writer;

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    net::SocketAddr,
};

use futures_util::future::join_all;
use tokio::sync::{RwLock, watch};

use self::{answer::Answer, operation::Sent, read::Snapshot, writer::Writer};
use crate::support::{Node, Port, within};

/// The tenant whose state it is.
const TENANT: &str = "t";
/// The type of all entities.
const KIND: &str = "doc";
/// The entities that all write to.
const ENTITIES: [&str; 4] = ["e0", "e1", "e2", "e3"];

/// How much is written.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Every choice follows from it.
    pub seed: u64,
    /// How many write.
    pub writers: usize,
    /// Operations of each.
    pub each: usize,
}

/// What writers share with whoever breaks things under them.
pub struct Room {
    plan: Plan,
    /// Where nodes serve. Held for reading while somebody connects, so that nothing is killed under a handshake.
    places: RwLock<Vec<Option<SocketAddr>>>,
    book: RefCell<Book>,
    /// How many operations were answered for good.
    answered: watch::Sender<usize>,
}

/// What was sent and answered.
#[derive(Default)]
struct Book {
    sent: BTreeMap<String, Sent>,
    /// Conflicts and variants that were heard of, with their entities.
    open: Vec<(&'static str, String)>,
    /// Counts operations, for values and marks that are written once.
    count: u32,
    snapshots: Vec<Snapshot>,
}

impl Room {
    /// Nodes that serve, and nothing written yet.
    pub fn new(plan: Plan, nodes: &[Node]) -> Self {
        println!("{plan:?}"); // shown when the test fails
        let places = RwLock::new(nodes.iter().map(|node| Some(node.address())).collect());
        Self { plan, places, book: RefCell::default(), answered: watch::Sender::new(0) }
    }

    /// Writes all that was planned; ends when each operation is answered.
    pub async fn write(&self) {
        let finished = Cell::new(false);
        let writers = async {
            join_all((0..self.plan.writers).map(|index| Writer::new(self, index).run(self.plan.each))).await;
            finished.set(true);
        };
        tokio::join!(writers, self.take_snapshots(&finished));
    }

    /// Takes the state in pages, again and again while it changes.
    async fn take_snapshots(&self, finished: &Cell<bool>) {
        for share in [20, 45, 70, 90] {
            self.reached(share).await;
            if finished.get() {
                return;
            }
            let places = self.places.read().await;
            let serving: Vec<_> = places.iter().flatten().copied().collect();
            // The log may be out of reach; another snapshot follows.
            if let Some(snapshot) = read::try_snapshot(&serving, 1).await {
                self.book.borrow_mut().snapshots.push(snapshot);
            }
        }
    }

    /// Waits until so many of a hundred operations are answered.
    pub async fn reached(&self, share: usize) {
        let wanted = self.plan.writers * self.plan.each * share / 100;
        let mut answered = self.answered.subscribe();
        let _ = within("the writers get on", answered.wait_for(|answered| *answered >= wanted)).await;
    }

    /// Kills a node; its writers go to others.
    pub async fn kill(&self, index: usize, node: &mut Node) {
        let mut places = self.places.write().await;
        places[index] = None;
        node.kill9().await;
    }

    /// Starts a killed node again on its directory.
    pub async fn start_again(&self, index: usize, node: &mut Node) {
        node.restart(Port::New).await;
        self.places.write().await[index] = Some(node.address());
    }

    /// Kills the only node and starts it again on its directory; its writers wait.
    pub async fn kill_and_start_again(&self, node: &mut Node) {
        let mut places = self.places.write().await;
        node.kill9().await;
        node.restart(Port::New).await;
        places[0] = Some(node.address());
    }

    /// Holds what stands on these nodes against what was sent and answered.
    pub async fn check(&self, nodes: &[Node]) {
        let book = self.book.take();
        assert_eq!(book.sent.len(), self.plan.writers * self.plan.each);
        let addresses: Vec<_> = nodes.iter().map(Node::address).collect();
        check::everything(&book.sent, &book.snapshots, &addresses).await;
    }

    /// Notes an answer; tells whether it settles the operation.
    fn note(&self, id: &str, answer: Answer) -> bool {
        let mut book = self.book.borrow_mut();
        if let Some(conflict) = answer.opens() {
            let entity = book.sent[id].operation.entity;
            book.open.push((entity, conflict));
        }
        let is_final = answer.is_final();
        let sent = book.sent.get_mut(id).expect("what is answered was sent");
        let is_first = is_final && !sent.is_answered();
        sent.answers.push(answer);
        drop(book);
        if is_first {
            self.answered.send_modify(|answered| *answered += 1);
        }
        is_final
    }
}
