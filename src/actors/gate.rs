//! Says when an outlet can take the next set of orders, and wakes the room only if it waits for that.
//!
//! Owns: invariant **no lost wake-up** (whoever finds the gate closed is told when it opens). One room, one outlet.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Shared by a room and one of its outlets, on two threads.
#[derive(Debug, Default)]
pub struct Gate {
    sent: AtomicU64,
    carried_out: AtomicU64,
    awaited: AtomicBool,
}

/// Whether somebody has to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Awaited {
    /// The room waits: send it `CarriedOut`.
    Yes,
    /// Nobody waits.
    No,
}

impl Gate {
    /// For the room: whether the next set may go. If not, it will be told when it may.
    pub fn is_open(&self) -> bool {
        if self.is_idle() {
            return true;
        }
        // Say so first, then look again: either the outlet sees the wish, or we see that it is done.
        self.awaited.store(true, Ordering::SeqCst);
        if self.is_idle() {
            self.awaited.store(false, Ordering::SeqCst);
            return true;
        }
        false
    }

    fn is_idle(&self) -> bool {
        self.sent.load(Ordering::SeqCst) == self.carried_out.load(Ordering::SeqCst)
    }

    /// For the room: a set is on its way.
    pub fn sent(&self) {
        self.sent.fetch_add(1, Ordering::SeqCst);
    }

    /// For the outlet: a set is carried out.
    pub fn carried_out(&self) -> Awaited {
        self.carried_out.fetch_add(1, Ordering::SeqCst);
        if self.awaited.swap(false, Ordering::SeqCst) { Awaited::Yes } else { Awaited::No }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_room_is_told_only_if_it_waits() {
        let gate = Gate::default();
        assert!(gate.is_open());
        gate.sent();
        assert_eq!(gate.carried_out(), Awaited::No);
        gate.sent();
        assert!(!gate.is_open());
        assert_eq!(gate.carried_out(), Awaited::Yes);
        assert!(gate.is_open());
    }

    #[test]
    fn no_wake_up_is_lost_between_two_threads() {
        const SETS: usize = 20_000;
        let gate = Gate::default();
        let (orders, to_outlet) = std::sync::mpsc::sync_channel(1);
        let (told, to_room) = std::sync::mpsc::sync_channel(SETS);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for () in to_outlet {
                    if gate.carried_out() == Awaited::Yes {
                        told.send(()).expect("the room listens");
                    }
                }
            });
            for _ in 0..SETS {
                while !gate.is_open() {
                    to_room.recv_timeout(std::time::Duration::from_secs(20)).expect("a wake-up was lost");
                }
                gate.sent();
                orders.send(()).expect("the outlet listens");
            }
            drop(orders);
        });
    }
}
