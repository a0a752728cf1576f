//! A tenant's new records on their way to its room: a queue bounded in bytes that never holds up the writer.
//!
//! Owns: the rule "full means forget and say so". The log is the buffer: a lagging reader reads it there.

use std::{
    collections::VecDeque,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

use super::Stored;
use crate::model::{Epoch, Position};

/// What a feed brings.
#[derive(Debug)]
pub enum FeedItem {
    /// New records, in order, all that waited.
    Records(Vec<Stored>),
    /// The feed was not drained in time and forgot its content: read the log from the last known position, then go on;
    /// what the feed brings afterwards may overlap with what was read, and leaves no hole behind it.
    Lagged,
    /// The log ended or was made anew: follow again.
    Ended,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Stored>,
    bytes: usize,
    lagged: bool,
    ended: bool,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    wake: Notify,
    capacity: usize,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // The state is whole between any two statements below, so a panic elsewhere leaves nothing to distrust.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The reading end, for one room.
#[derive(Debug)]
pub struct Feed {
    /// All records with a later position come through this feed.
    pub after: Position,
    /// The log that it follows; it ends with that log.
    pub epoch: Epoch,
    shared: Arc<Shared>,
}

/// The writing end, for the backbone. Clones write to the same feed.
#[derive(Clone, Debug)]
pub struct FeedSender {
    shared: Arc<Shared>,
}

/// Makes a feed of a log that starts after a position and holds at most `capacity` bytes of bodies.
pub fn feed(epoch: Epoch, after: Position, capacity: usize) -> (FeedSender, Feed) {
    let shared = Arc::new(Shared { state: Mutex::default(), wake: Notify::new(), capacity });
    (FeedSender { shared: shared.clone() }, Feed { after, epoch, shared })
}

impl FeedSender {
    /// Offers records; a feed that cannot take them all forgets everything it holds and reports that it lagged.
    pub fn offer(&self, records: impl IntoIterator<Item = Stored>) {
        let mut state = self.shared.state();
        for record in records {
            if state.lagged {
                break;
            }
            state.bytes += record.body.len() + mem::size_of::<Stored>();
            state.waiting.push_back(record);
            if state.bytes > self.shared.capacity {
                *state = State { lagged: true, ended: state.ended, ..State::default() };
            }
        }
        drop(state);
        self.shared.wake.notify_one();
    }

    /// Makes the reader forget what waits and read the log: something was left out here.
    pub fn lag(&self) {
        let mut state = self.shared.state();
        *state = State { lagged: true, ended: state.ended, ..State::default() };
        drop(state);
        self.shared.wake.notify_one();
    }

    /// Tells the reader that nothing more comes.
    pub fn end(&self) {
        self.shared.state().ended = true;
        self.shared.wake.notify_one();
    }

    /// Whether the reading end is gone.
    pub fn is_abandoned(&self) -> bool {
        Arc::strong_count(&self.shared) == 1
    }
}

impl Feed {
    /// Waits for whatever comes next. Dropping the future loses nothing.
    pub async fn next(&mut self) -> FeedItem {
        loop {
            {
                let mut state = self.shared.state();
                if !state.waiting.is_empty() {
                    state.bytes = 0;
                    return FeedItem::Records(mem::take(&mut state.waiting).into());
                }
                if mem::take(&mut state.lagged) {
                    return FeedItem::Lagged;
                }
                if state.ended {
                    return FeedItem::Ended;
                }
            }
            self.shared.wake.notified().await;
        }
    }
}
