//! Trimming: the oldest records first, a bounded number at a time; and taking out single records of a log used as a queue.
//!
//! Owns: what is too old or too much, and that an entity's last record outlives its place in the log. Must not know: the
//! clock, queues.

use std::{
    collections::{BTreeSet, HashMap},
    ops::Bound,
};

use fjall::{OwnedWriteBatch as WriteBatch, PersistMode};

use super::{
    group,
    rooms::Rooms,
    rows::{self, Damaged, EntityRow, META_TAIL, OrderRow, RoomRow, Tail},
    store::{Failure, Fault, Store},
};
use crate::model::{Position, Timestamp};

/// Greatest number of records that one step trims; between two steps the committer looks at what waits.
const STEP_RECORDS: usize = 1_000;

/// Up to where to trim; a record goes when any of them says so, and all before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Target {
    /// Records stored before this.
    pub before: Option<Timestamp>,
    /// The oldest until what is left sums to at most this many bytes.
    pub bytes: Option<u64>,
    /// Records up to here.
    pub to: Option<Position>,
}

impl Target {
    fn takes(&self, position: Position, row: &OrderRow, held: u64) -> bool {
        self.before.is_some_and(|before| row.stored_at < before)
            || self.bytes.is_some_and(|bytes| held > bytes)
            || self.to.is_some_and(|to| position <= to)
    }
}

/// Whether a step was the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Nothing more to trim.
    Done,
    /// There may be more.
    More,
}

/// Trims some records; returns the log's state behind it.
pub fn step(store: &Store, rooms: &mut Rooms, tail: Tail, target: Target) -> Result<(Tail, Progress), Failure> {
    let mut trim = Step::new(store, tail);
    let mut progress = Progress::Done;
    // From behind what is gone: trimmed rows leave marks that cost time to step over.
    let from = (Bound::Excluded(tail.trimmed.to_be_bytes()), Bound::Unbounded);
    for (count, row) in store.order.range(from).enumerate() {
        if count >= STEP_RECORDS {
            progress = Progress::More;
            break;
        }
        let (key, value) = row.into_inner()?;
        let (position, row) = (Position(rows::read_u64(&key, "order")?), OrderRow::decode(&value)?);
        if !target.takes(position, &row, trim.tail.bytes) {
            break;
        }
        trim.erase(position, &row)?;
        trim.tail.trimmed = position.0;
        trim.trimmed.insert(row.room, position);
    }
    let tail = trim.commit(rooms)?;
    Ok((tail, progress))
}

/// Trims some of one room's records up to a position; returns the log's state behind it.
pub fn step_of_room(
    store: &Store,
    rooms: &mut Rooms,
    tail: Tail,
    (room, to): (RoomRow, Position),
) -> Result<(Tail, Progress), Failure> {
    let mut trim = Step::new(store, tail);
    let range = (
        Bound::Excluded(rows::room_position(room.room, room.trimmed_to)),
        Bound::Included(rows::room_position(room.room, to.max(room.trimmed_to))),
    );
    let mut count = 0;
    for key in store.log.range(range).take(STEP_RECORDS) {
        let position = rows::position_in(&key.key()?)?;
        let row = store.order.get(position.0.to_be_bytes())?.ok_or(Damaged("order"))?;
        trim.erase(position, &OrderRow::decode(&row)?)?;
        trim.trimmed.insert(room.room, position);
        count += 1;
    }
    let tail = trim.commit(rooms)?;
    Ok((tail, if count < STEP_RECORDS { Progress::Done } else { Progress::More }))
}

/// Takes out single records; those that are gone already are left out. What was trimmed ends before the first record that
/// is left.
pub fn remove(store: &Store, rooms: &mut Rooms, tail: Tail, positions: &[Position]) -> Result<Tail, Failure> {
    let mut removal = Step::new(store, tail);
    let (mut gone, mut touched) = (BTreeSet::new(), BTreeSet::new());
    for position in positions {
        if let Some(row) = store.order.get(position.0.to_be_bytes())?
            && gone.insert(position.0)
        {
            let row = OrderRow::decode(&row)?;
            touched.insert(row.room);
            removal.erase(*position, &row)?;
        }
    }
    let mut trimmed = tail.end;
    for row in store.order.range((Bound::Excluded(tail.trimmed.to_be_bytes()), Bound::Unbounded)) {
        let position = rows::read_u64(&row.key()?, "order")?;
        if !gone.contains(&position) {
            trimmed = position - 1;
            break;
        }
    }
    if trimmed > tail.trimmed {
        removal.tail.trimmed = trimmed;
        removal.trimmed = touched.into_iter().map(|room| (room, Position(trimmed))).collect();
    }
    removal.commit(rooms)
}

struct Step<'a> {
    store: &'a Store,
    batch: WriteBatch,
    tail: Tail,
    /// The last trimmed record of each room.
    trimmed: HashMap<u32, Position>,
}

impl<'a> Step<'a> {
    fn new(store: &'a Store, tail: Tail) -> Self {
        let batch = store.db.batch().durability(Some(PersistMode::SyncData));
        Self { store, batch, tail, trimmed: HashMap::new() }
    }

    fn erase(&mut self, position: Position, row: &OrderRow) -> Result<(), Fault> {
        let key = rows::room_position(row.room, position);
        if row.is_entity {
            self.keep_entity(position, row.room, &key)?;
        }
        self.batch.remove(&self.store.log, key);
        self.batch.remove(&self.store.order, position.0.to_be_bytes());
        if let Some(id) = row.dedupe {
            self.batch.remove(&self.store.dedupe, rows::dedupe_key(row.room, id));
        }
        self.tail.bytes = self.tail.bytes.saturating_sub(u64::from(row.size));
        Ok(())
    }

    /// Moves the record into the entity's row if it is the entity's last.
    fn keep_entity(&mut self, position: Position, room: u32, log_key: &[u8]) -> Result<(), Fault> {
        let record = self.store.log.get(log_key)?.ok_or(Damaged("log"))?;
        let stored = rows::decode_record(position, &record)?;
        let key = rows::entity_key(room, group::entity_of(&stored.subject).ok_or(Damaged("order"))?);
        // An entity of a tenant that is being erased goes before its records.
        let Some(row) = self.store.entities.get(&key)? else { return Ok(()) };
        if EntityRow::decode(&row)?.position == position {
            self.batch.insert(&self.store.entities, key, EntityRow { position, kept: Some(&record) }.encode());
        }
        Ok(())
    }

    fn commit(mut self, rooms: &mut Rooms) -> Result<Tail, Failure> {
        if self.batch.is_empty() {
            return Ok(self.tail);
        }
        for (room, to) in &self.trimmed {
            let tenant = rooms.tenant(*room).ok_or(Damaged("order"))?;
            self.batch.insert(
                &self.store.meta,
                RoomRow::key(tenant),
                RoomRow { room: *room, trimmed_to: *to }.encode(),
            );
        }
        self.batch.insert(&self.store.meta, META_TAIL, self.tail.encode());
        self.batch.commit().map_err(|error| Failure::Commit(error.into()))?;
        for (room, to) in self.trimmed {
            rooms.trimmed(room, to);
        }
        Ok(self.tail)
    }
}
