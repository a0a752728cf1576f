//! Signals on their way to those who listen: bounded queues that never hold up the sender.
//!
//! Owns: the rule "full means lost, and the listener is told". Must not know: what a signal says.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::model::TenantId;

/// Signals that may wait for one listener.
const WAITING: usize = 4096;

/// Who hears a signal.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Channel {
    /// The nodes that have this tenant's room.
    Room(TenantId),
    /// All nodes.
    Nodes,
}

/// What a listener gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SignalItem {
    /// A signal.
    Signal(Bytes),
    /// Signals may have been lost here: the line was interrupted, or the listener was too slow.
    Missed,
    /// Nothing more comes.
    Ended,
}

/// The listening end of a channel. Dropped, it is forgotten.
#[derive(Debug)]
pub struct Signals {
    queue: mpsc::Receiver<Bytes>,
    missed: Arc<AtomicBool>,
    wake: Arc<tokio::sync::Notify>,
    channel: Channel,
    listeners: Weak<Mutex<Listeners>>,
}

impl Signals {
    /// Waits for whatever comes next. Dropping the future loses nothing.
    pub async fn next(&mut self) -> SignalItem {
        loop {
            if self.missed.swap(false, Ordering::AcqRel) {
                return SignalItem::Missed;
            }
            tokio::select! {
                biased;
                received = self.queue.recv() => {
                    return received.map_or(SignalItem::Ended, SignalItem::Signal);
                }
                () = self.wake.notified() => {}
            }
        }
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        self.queue.close();
        if let Some(listeners) = self.listeners.upgrade() {
            prune(&mut lock(&listeners), &self.channel);
        }
    }
}

#[derive(Debug)]
struct Listener {
    queue: mpsc::Sender<Bytes>,
    missed: Arc<AtomicBool>,
    wake: Arc<tokio::sync::Notify>,
}

impl Listener {
    fn miss(&self) {
        self.missed.store(true, Ordering::Release);
        self.wake.notify_one();
    }
}

type Listeners = HashMap<Channel, Vec<Listener>>;

fn lock(listeners: &Mutex<Listeners>) -> MutexGuard<'_, Listeners> {
    // Whole between any two statements below, so a panic elsewhere leaves nothing to distrust.
    listeners.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Forgets a channel's listeners that are gone. Whether any is left.
fn prune(all: &mut Listeners, channel: &Channel) -> bool {
    let Some(listeners) = all.get_mut(channel) else { return false };
    listeners.retain(|listener| !listener.queue.is_closed());
    if listeners.is_empty() {
        all.remove(channel);
        return false;
    }
    true
}

/// The listeners of one node, by channel.
#[derive(Debug, Default)]
pub struct Hub {
    listeners: Arc<Mutex<Listeners>>,
}

impl Hub {
    fn listeners(&self) -> MutexGuard<'_, Listeners> {
        lock(&self.listeners)
    }

    /// Adds a listener.
    pub fn listen(&self, channel: Channel) -> Signals {
        let (queue, received) = mpsc::channel(WAITING);
        let (missed, wake) = (Arc::<AtomicBool>::default(), Arc::<tokio::sync::Notify>::default());
        let listener = Listener { queue, missed: missed.clone(), wake: wake.clone() };
        self.listeners().entry(channel.clone()).or_default().push(listener);
        Signals { queue: received, missed, wake, channel, listeners: Arc::downgrade(&self.listeners) }
    }

    /// Gives a signal to everyone who listens. Returns whether anyone does.
    pub fn give(&self, channel: &Channel, body: &Bytes) -> bool {
        let mut all = self.listeners();
        let Some(listeners) = all.get_mut(channel) else { return false };
        listeners.retain(|listener| match listener.queue.try_send(body.clone()) {
            Ok(()) => true,
            Err(mpsc::error::TrySendError::Full(_)) => {
                listener.miss();
                true
            }
            Err(mpsc::error::TrySendError::Closed(_)) => false,
        });
        if listeners.is_empty() {
            all.remove(channel);
            return false;
        }
        true
    }

    /// Tells everyone that signals may have been lost.
    pub fn miss_all(&self) {
        self.listeners().values().flatten().for_each(Listener::miss);
    }

    /// Whether anyone listens to a channel.
    pub fn has(&self, channel: &Channel) -> bool {
        prune(&mut self.listeners(), channel)
    }

    /// Ends every listener.
    pub fn close(&self) {
        self.listeners().clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_listener_that_is_dropped_is_forgotten_without_another_signal() {
        let hub = Hub::default();
        let room = Channel::Room("default".parse().expect("a tenant"));
        let (mut first, second) = (hub.listen(room.clone()), hub.listen(room.clone()));
        drop(second);
        assert_eq!(hub.listeners()[&room].len(), 1);
        assert!(hub.give(&room, &Bytes::from_static(b"x")));
        assert_eq!(first.next().await, SignalItem::Signal(Bytes::from_static(b"x")));
        drop(first);
        assert!(hub.listeners().is_empty());
    }
}
