//! The feeds of new records.
//!
//! Owns: that a feed starts exactly where the published log ends. Must not know: the store.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::{
    backbone::{BackboneError, Feed, FeedSender, Stored, feed},
    model::{Epoch, Position, TenantId},
};

#[derive(Debug, Default)]
struct State {
    end: Position,
    closed: bool,
    feeds: HashMap<TenantId, Vec<FeedSender>>,
}

/// Who follows what.
#[derive(Debug)]
pub struct Live {
    epoch: Epoch,
    state: Mutex<State>,
    capacity: usize,
}

impl Live {
    /// No feeds yet; each will hold at most `capacity` bytes.
    pub fn new(epoch: Epoch, end: Position, capacity: usize) -> Self {
        Self { epoch, state: Mutex::new(State { end, ..State::default() }), capacity }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic can at worst leave records out of one offer, and the committer that panicked ends all feeds.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new feed from the published end on.
    pub fn follow(&self, tenant: &TenantId) -> Result<Feed, BackboneError> {
        let mut state = self.state();
        if state.closed {
            return Err(BackboneError::Unavailable("the log is closed".into()));
        }
        let (sender, reader) = feed(self.epoch, state.end, self.capacity);
        let feeds = state.feeds.entry(tenant.clone()).or_default();
        feeds.retain(|feed| !feed.is_abandoned());
        feeds.push(sender);
        Ok(reader)
    }

    /// Gives committed records to those who follow, and moves the end. `record` is called only for followed tenants.
    pub fn publish<'a, T>(
        &self,
        end: Position,
        made: impl Iterator<Item = (&'a TenantId, T)>,
        record: impl Fn(T) -> Stored,
    ) {
        let mut state = self.state();
        state.end = end;
        if state.feeds.is_empty() {
            return;
        }
        let mut offers: HashMap<&TenantId, Vec<Stored>> = HashMap::new();
        for (tenant, made) in made.filter(|(tenant, _)| state.feeds.contains_key(tenant)) {
            offers.entry(tenant).or_default().push(record(made));
        }
        for (tenant, records) in offers {
            let Some(feeds) = state.feeds.get_mut(tenant) else { continue };
            feeds.retain(|feed| !feed.is_abandoned());
            for feed in feeds.iter() {
                feed.offer(records.iter().cloned());
            }
            if feeds.is_empty() {
                state.feeds.remove(tenant);
            }
        }
    }

    /// Forgets feeds that nobody reads any more, of quiet tenants too.
    pub fn prune(&self) {
        self.state().feeds.retain(|_, feeds| {
            feeds.retain(|feed| !feed.is_abandoned());
            !feeds.is_empty()
        });
    }

    /// The end of the log as it was given to those who follow.
    pub fn end(&self) -> Position {
        self.state().end
    }

    /// The log moved to `end` without a record.
    pub fn skip_to(&self, end: Position) {
        self.state().end = end;
    }

    /// Ends every feed: the log moved to `end` in a way that was not published.
    pub fn restart(&self, end: Position) {
        let mut state = self.state();
        state.end = end;
        state.feeds.drain().flat_map(|(_, feeds)| feeds).for_each(|feed| feed.end());
    }

    /// Ends every feed for good.
    pub fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        state.feeds.drain().flat_map(|(_, feeds)| feeds).for_each(|feed| feed.end());
    }
}
