//! The questions that the log answers, each from one snapshot of the tables.
//!
//! Owns: what a page holds. Must not know: threads, futures, writing. A tenant that was never written to is empty.

use std::ops::Bound;

use fjall::{Readable, Snapshot};

use super::{
    rows::{self, Damaged, EntityRow, META_TAIL, OrderRow, RoomRow, Tail},
    store::{Fault, Store},
};
use crate::{
    backbone::{EntityMark, EntityPage, Extent, Page, ReadBudget, Stored},
    model::{EntityKey, InstanceId, Position, TenantId, Timestamp},
};

/// The tables as they stood at one moment, of one tenant.
struct View<'a> {
    store: &'a Store,
    at: Snapshot,
    room: Option<RoomRow>,
}

impl<'a> View<'a> {
    fn new(store: &'a Store, tenant: &TenantId) -> Result<Self, Fault> {
        let at = store.db.snapshot();
        let room = store.room(&at, tenant)?;
        Ok(Self { store, at, room })
    }

    fn tail(&self) -> Result<Tail, Fault> {
        let row = self.at.get(&self.store.meta, META_TAIL)?.ok_or(Damaged("meta"))?;
        Ok(Tail::decode(&row)?)
    }

    /// The room's log rows in a range of positions. Trimmed rows leave marks that cost time to step over, so a range
    /// starts behind them.
    fn log(&self, room: &RoomRow, after: Position, to: Position) -> fjall::Iter {
        let from = after.max(room.trimmed_to);
        if from >= to {
            // A range that ends before it starts is a panic in some collections; this one is merely empty.
            return self.at.prefix(&self.store.log, u32::MAX.to_be_bytes());
        }
        let (low, high) = (rows::room_position(room.room, from), rows::room_position(room.room, to));
        self.at.range(&self.store.log, (Bound::Excluded(low), Bound::Included(high)))
    }

    fn last_at(&self, room: &RoomRow, at: Position) -> Result<Position, Fault> {
        match self.log(room, Position::START, at).next_back() {
            Some(row) => Ok(rows::position_in(&row.key()?)?),
            None => Ok(Position::START),
        }
    }

    fn entity(&self, room: &RoomRow, row: &[u8]) -> Result<Stored, Fault> {
        let row = EntityRow::decode(row)?;
        if let Some(kept) = row.kept {
            return Ok(rows::decode_record(row.position, kept)?);
        }
        let key = rows::room_position(room.room, row.position);
        let record = self.at.get(&self.store.log, key)?.ok_or(Damaged("entities"))?;
        Ok(rows::decode_record(row.position, &record)?)
    }
}

/// Counts records against a budget.
struct Spent {
    budget: ReadBudget,
    records: usize,
    bytes: usize,
}

impl Spent {
    fn new(budget: ReadBudget) -> Self {
        Self { budget, records: 0, bytes: 0 }
    }

    /// Whether one more record with this body still fits; the first always does.
    fn takes(&mut self, body: usize) -> bool {
        let fits = self.records == 0 || (self.records < self.budget.records && self.bytes + body <= self.budget.bytes);
        self.records += usize::from(fits);
        self.bytes += body;
        fits
    }
}

/// See [`crate::backbone::Backbone::read`].
pub fn read(store: &Store, tenant: &TenantId, after: Position, budget: ReadBudget) -> Result<Page, Fault> {
    let view = View::new(store, tenant)?;
    let Some(room) = view.room else { return Ok(Page::default()) };
    let mut page = Page { trimmed_to: room.trimmed_to, ..Page::default() };
    let mut spent = Spent::new(budget);
    for row in view.log(&room, after, Position(u64::MAX)) {
        let (key, value) = row.into_inner()?;
        let record = rows::decode_record(rows::position_in(&key)?, &value)?;
        if !spent.takes(record.body.len()) {
            page.more = true;
            break;
        }
        page.records.push(record);
    }
    Ok(page)
}

/// See [`crate::backbone::Backbone::extent`].
pub fn extent(store: &Store, tenant: &TenantId) -> Result<Extent, Fault> {
    let view = View::new(store, tenant)?;
    let end = Position(view.tail()?.end);
    let Some(room) = view.room else { return Ok(Extent { end, ..Extent::default() }) };
    let last = view.last_at(&room, Position(u64::MAX))?.max(room.trimmed_to);
    Ok(Extent { trimmed_to: room.trimmed_to, last, end })
}

/// See [`crate::backbone::Backbone::last_at`].
pub fn last_at(store: &Store, tenant: &TenantId, at: Position) -> Result<Position, Fault> {
    let view = View::new(store, tenant)?;
    view.room.map_or(Ok(Position::START), |room| view.last_at(&room, at))
}

/// See [`crate::backbone::Backbone::count_after`].
pub fn count_after(store: &Store, tenant: &TenantId, after: Position, at_most: usize) -> Result<usize, Fault> {
    let view = View::new(store, tenant)?;
    let Some(room) = view.room else { return Ok(0) };
    let mut count = 0;
    for row in view.log(&room, after, Position(u64::MAX)).take(at_most) {
        row.key()?;
        count += 1;
    }
    Ok(count)
}

/// See [`crate::backbone::Backbone::position_at`]. `high` never falls, so the first record whose `high` reaches the time is
/// found by halving; every record stored at the time or later stands there or behind.
pub fn position_at(store: &Store, tenant: &TenantId, time: Timestamp) -> Result<Position, Fault> {
    let view = View::new(store, tenant)?;
    let tail = view.tail()?;
    let (mut before, mut reached) = (tail.trimmed, tail.end + 1);
    while before + 1 < reached {
        let middle = before + (reached - before) / 2;
        // A record that was taken out leaves a hole; the next one stands for it.
        let range = (Bound::Included(middle.to_be_bytes()), Bound::Excluded(reached.to_be_bytes()));
        let Some(row) = view.at.range(&view.store.order, range).next() else {
            reached = middle;
            continue;
        };
        let (key, row) = row.into_inner()?;
        if OrderRow::decode(&row)?.high >= time {
            reached = middle;
        } else {
            before = rows::read_u64(&key, "order")?;
        }
    }
    Ok(Position(before))
}

/// See [`crate::backbone::Backbone::entity`].
pub fn entity(store: &Store, tenant: &TenantId, key: &EntityKey) -> Result<Option<Stored>, Fault> {
    let view = View::new(store, tenant)?;
    let Some(room) = view.room else { return Ok(None) };
    let row = view.at.get(&store.entities, rows::entity_key(room.room, key))?;
    row.map(|row| view.entity(&room, &row)).transpose()
}

/// See [`crate::backbone::Backbone::entities`]. Entities come by rising key. A mark holds where the log stood when the first
/// page was read, in eight bytes, and the row after which to go on.
pub fn entities(
    store: &Store,
    tenant: &TenantId,
    from: Option<EntityMark>,
    budget: ReadBudget,
) -> Result<EntityPage, Fault> {
    let view = View::new(store, tenant)?;
    let (as_of, after) = match from.as_ref().map(|EntityMark(mark)| mark.split_first_chunk::<8>()) {
        Some(Some((as_of, after))) => (Position(u64::from_be_bytes(*as_of)), Some(after)),
        Some(None) => return Err(Damaged("mark").into()),
        None => (Position(view.tail()?.end), None),
    };
    let mut page = EntityPage { as_of, ..EntityPage::default() };
    let Some(room) = view.room else { return Ok(page) };
    let prefix = room.room.to_be_bytes();
    let low = match after {
        // Marks travel through clients: one that leads into another room is not ours.
        Some(row) if !row.starts_with(&prefix) || rows::entity_in(row).is_err() => return Err(Damaged("mark").into()),
        Some(row) => Bound::Excluded(row.to_vec()),
        None => Bound::Included(prefix.to_vec()),
    };
    // UTF-8 never holds 0xff, so this lies behind every key of the room and before the next room's.
    let high = Bound::Excluded([&prefix[..], &[0xff]].concat());
    let mut spent = Spent::new(budget);
    for row in view.at.range(&store.entities, (low, high)) {
        let (key, value) = row.into_inner()?;
        let record = view.entity(&room, &value)?;
        if !spent.takes(record.body.len()) {
            let last = page.entities.last().map(|(key, _)| rows::entity_key(room.room, key));
            page.next = last.map(|last| EntityMark([&as_of.0.to_be_bytes()[..], &last].concat().into()));
            break;
        }
        page.entities.push((rows::entity_in(&key)?, record));
    }
    Ok(page)
}

/// See [`crate::backbone::Backbone::cursor`].
pub fn cursor(store: &Store, tenant: &TenantId, instance: &InstanceId) -> Result<Option<Position>, Fault> {
    let view = View::new(store, tenant)?;
    let Some(room) = view.room else { return Ok(None) };
    let row = view.at.get(&store.meta, rows::cursor_key(room.room, instance))?;
    Ok(row.map(|row| rows::read_u64(&row, "cursors").map(Position)).transpose()?)
}

/// See [`crate::backbone::Backbone::tally`].
pub fn tally(store: &Store, tenant: &TenantId) -> Result<Option<bytes::Bytes>, Fault> {
    let view = View::new(store, tenant)?;
    let Some(room) = view.room else { return Ok(None) };
    let row = view.at.get(&store.meta, rows::tally_key(room.room))?;
    Ok(row.map(|row| bytes::Bytes::copy_from_slice(&row)))
}
