//! What is in the journal, room by room: the decisions about order, room for more and removal, apart from any disk.
//!
//! Owns: invariant **queue** (a room's entries leave in the order in which they came, and nothing of the room passes
//! them) and invariant **budget** (what is admitted never sums to more than the journal may hold). Must not
//! know: the store, the log, clocks.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    ops::Bound,
};

use crate::{
    backbone::{AppendError, Appended},
    model::{Position, TenantId, Timestamp},
};

/// An entry's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Where it stands in the store.
    pub position: Position,
    /// What it costs the budget, bytes.
    pub size: u64,
    /// When it came.
    pub queued_at: Timestamp,
}

/// How an entry ended: in the log, or refused by it for good.
pub type End = Result<Appended, AppendError>;

/// The journal has no room for so many bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// What the store's "this is a repeat" means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// The first one waits, or waits again: an earlier write that had seemed to fail was found.
    Waits,
    /// The first one has ended.
    Ended(End),
}

/// Where a room stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    /// Nothing to send.
    #[default]
    Idle,
    /// In the list of those that may be sent.
    Ready,
    /// Being sent.
    Draining,
    /// To be tried again later.
    Resting,
}

#[derive(Debug, Default)]
struct Room {
    queue: VecDeque<Place>,
    /// Entries on their way to the store.
    writing: usize,
    /// What all these cost the budget.
    bytes: u64,
    phase: Phase,
}

/// What waits of a room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waits {
    /// Entries, those on their way to the store too.
    pub entries: usize,
    /// What they cost the budget.
    pub bytes: u64,
    /// When the oldest came, of those that the store has.
    pub oldest: Option<Timestamp>,
}

/// The whole.
#[derive(Debug)]
pub struct Index {
    /// By name, so that some of many can be listed.
    rooms: BTreeMap<TenantId, Room>,
    ready: VecDeque<TenantId>,
    /// Ended, and perhaps still in the store.
    done: HashMap<Position, (End, u64)>,
    /// Ended, and not yet given to be removed.
    removable: Vec<Position>,
    waiting: usize,
    bytes: u64,
    max_bytes: u64,
}

impl Index {
    /// Empty, for so many bytes at most.
    pub fn new(max_bytes: u64) -> Self {
        Self {
            rooms: BTreeMap::new(),
            ready: VecDeque::new(),
            done: HashMap::new(),
            removable: Vec::new(),
            waiting: 0,
            bytes: 0,
            max_bytes,
        }
    }

    /// Entries that the log does not have, those on their way to the store too.
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    /// What the journal holds, bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// What it may hold.
    pub fn max_bytes(&self) -> u64 {
        self.max_bytes
    }

    /// Whether so many bytes more would be admitted.
    pub fn has_room(&self, size: u64) -> bool {
        self.bytes.saturating_add(size) <= self.max_bytes
    }

    /// When the oldest entry came.
    pub fn oldest(&self) -> Option<Timestamp> {
        self.rooms.values().filter_map(|room| room.queue.front()).map(|place| place.queued_at).min()
    }

    /// What waits of a room.
    pub fn waits(&self, tenant: &TenantId) -> Waits {
        self.rooms.get(tenant).map(Room::waits).unwrap_or_default()
    }

    /// The same of those behind a tenant by name, at most so many.
    pub fn list(&self, after: Option<&TenantId>, most: usize) -> Vec<(TenantId, Waits)> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let rooms = self.rooms.range::<TenantId, _>((from, Bound::Unbounded)).take(most);
        rooms.map(|(tenant, room)| (tenant.clone(), room.waits())).collect()
    }

    /// Whether a publish of this room has to go behind others here.
    pub fn is_queued(&self, tenant: &TenantId) -> bool {
        self.rooms.get(tenant).is_some_and(|room| room.writing > 0 || !room.queue.is_empty())
    }

    /// The last of a room's entries that the store has.
    pub fn last_of(&self, tenant: &TenantId) -> Option<Position> {
        Some(self.rooms.get(tenant)?.queue.back()?.position)
    }

    /// How many entries of a room lie in the store up to a place, and how many are on their way there.
    pub fn count_to(&self, tenant: &TenantId, last: Position) -> (usize, usize) {
        let Some(room) = self.rooms.get(tenant) else { return (0, 0) };
        (room.queue.iter().take_while(|place| place.position <= last).count(), room.writing)
    }

    /// The last entry that has ended and may still be in the store.
    pub fn last_done(&self) -> Position {
        self.done.keys().copied().max().unwrap_or_default()
    }

    /// Whether whatever ended is gone from the store, up to a place.
    pub fn is_swept(&self, to: Position) -> bool {
        self.done.keys().all(|position| *position > to)
    }

    /// Dead letters are gone.
    pub fn unburied(&mut self, size: u64) {
        self.bytes = self.bytes.saturating_sub(size);
    }

    /// Whether a room's entries go to the log now, at most so many of them.
    pub fn is_moving(&self, tenant: &TenantId, most: usize) -> bool {
        let moves = |room: &Room| room.phase != Phase::Resting && room.queue.len() + room.writing <= most;
        self.is_queued(tenant) && self.rooms.get(tenant).is_some_and(moves)
    }

    /// Takes an entry on its way to the store in.
    pub fn admit(&mut self, tenant: &TenantId, size: u64) -> Result<(), Full> {
        if !self.has_room(size) {
            return Err(Full);
        }
        self.bytes += size;
        self.waiting += 1;
        let room = self.room(tenant);
        room.writing += 1;
        room.bytes += size;
        Ok(())
    }

    /// An entry that was found in the store when it was opened.
    pub fn recovered(&mut self, tenant: &TenantId, place: Place) {
        self.bytes += place.size;
        self.waiting += 1;
        self.room(tenant).bytes += place.size;
        self.enqueue(tenant, place);
    }

    /// A dead letter is kept; it takes room, and nothing removes it.
    pub fn buried(&mut self, size: u64) {
        self.bytes += size;
    }

    /// The store has it.
    pub fn written(&mut self, tenant: &TenantId, place: Place) {
        self.room(tenant).writing -= 1;
        self.enqueue(tenant, place);
    }

    /// The store does not have it.
    pub fn refused(&mut self, tenant: &TenantId, size: u64) {
        self.bytes -= size;
        self.waiting -= 1;
        let room = self.room(tenant);
        room.writing -= 1;
        room.bytes -= size;
        self.forget_if_empty(tenant);
    }

    /// The store had it before.
    pub fn repeated(&mut self, tenant: &TenantId, place: Place) -> Repeat {
        let end = self.done.get(&place.position).map(|(end, _)| end.clone());
        let is_known = end.is_some() || self.room(tenant).find(place.position).is_ok();
        if is_known {
            self.refused(tenant, place.size);
        } else {
            self.written(tenant, place);
        }
        end.map_or(Repeat::Waits, Repeat::Ended)
    }

    /// A room whose entries may be sent now; it is being drained from here on.
    pub fn next_ready(&mut self) -> Option<TenantId> {
        let tenant = self.ready.pop_front()?;
        self.room(&tenant).phase = Phase::Draining;
        Some(tenant)
    }

    /// The room's first entries, as far as they stand side by side in the store, at most so many.
    pub fn front(&self, tenant: &TenantId, most: usize) -> Vec<Place> {
        let Some(room) = self.rooms.get(tenant) else { return Vec::new() };
        let first = room.queue.front().map_or(0, |place| place.position.0);
        let side_by_side = |(place, position): &(&Place, u64)| place.position.0 == *position;
        room.queue.iter().zip(first..).take(most).take_while(side_by_side).map(|(place, _)| *place).collect()
    }

    /// An entry has ended; its place may be removed from the store.
    pub fn ended(&mut self, tenant: &TenantId, position: Position, end: End) {
        let Some(room) = self.rooms.get_mut(tenant) else { return };
        if let Ok(at) = room.find(position)
            && let Some(place) = room.queue.remove(at)
        {
            self.waiting -= 1;
            room.bytes -= place.size;
            self.done.insert(position, (end, place.size));
            self.removable.push(position);
        }
    }

    /// A room's draining ended without an error: what came meanwhile is ready.
    pub fn drained(&mut self, tenant: &TenantId) {
        self.room(tenant).phase = Phase::Idle;
        self.make_ready(tenant);
        self.forget_if_empty(tenant);
    }

    /// A room's draining failed: it is left alone until it is woken.
    pub fn rest(&mut self, tenant: &TenantId) {
        self.room(tenant).phase = Phase::Resting;
    }

    /// A room has rested.
    pub fn wake(&mut self, tenant: &TenantId) {
        if self.rooms.get(tenant).is_some_and(|room| room.phase == Phase::Resting) {
            self.drained(tenant);
        }
    }

    /// Places to remove from the store, at most so many.
    pub fn take_removable(&mut self, most: usize) -> Vec<Position> {
        let rest = self.removable.split_off(self.removable.len().min(most));
        std::mem::replace(&mut self.removable, rest)
    }

    /// They could not be removed: try again.
    pub fn still_there(&mut self, positions: Vec<Position>) {
        self.removable.extend(positions);
    }

    /// They are durably gone. Whatever the store had answered before it removed them has to be settled first.
    pub fn removed(&mut self, positions: &[Position]) {
        for position in positions {
            if let Some((_, size)) = self.done.remove(position) {
                self.bytes -= size;
            }
        }
    }

    fn room(&mut self, tenant: &TenantId) -> &mut Room {
        if !self.rooms.contains_key(tenant) {
            self.rooms.insert(tenant.clone(), Room::default());
        }
        self.rooms.get_mut(tenant).expect("it was put there if it was missing")
    }

    fn enqueue(&mut self, tenant: &TenantId, place: Place) {
        let room = self.room(tenant);
        // At the end, except for what an earlier write left behind.
        let at = room.find(place.position).unwrap_or_else(|at| at);
        room.queue.insert(at, place);
        self.make_ready(tenant);
    }

    fn make_ready(&mut self, tenant: &TenantId) {
        let room = self.room(tenant);
        if room.phase == Phase::Idle && !room.queue.is_empty() {
            room.phase = Phase::Ready;
            self.ready.push_back(tenant.clone());
        }
    }

    fn forget_if_empty(&mut self, tenant: &TenantId) {
        let is_empty = |room: &Room| room.queue.is_empty() && room.writing == 0 && room.phase == Phase::Idle;
        if self.rooms.get(tenant).is_some_and(is_empty) {
            self.rooms.remove(tenant);
        }
    }
}

impl Room {
    fn waits(&self) -> Waits {
        let oldest = self.queue.front().map(|place| place.queued_at);
        Waits { entries: self.queue.len() + self.writing, bytes: self.bytes, oldest }
    }

    fn find(&self, position: Position) -> Result<usize, usize> {
        self.queue.binary_search_by_key(&position, |place| place.position)
    }
}

#[cfg(test)]
mod tests;
