//! One commit: what was asked for is checked, also against what stands before it in the same commit, and written at once.
//!
//! Owns: repeats, conditions, positions and the rows of a record. Must not know: queues, feeds, answers' ways back.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use fjall::{OwnedWriteBatch as WriteBatch, PersistMode};

use super::{
    rooms::Rooms,
    rows::{self, EntityRow, META_TAIL, OrderRow, RECORD_OVERHEAD, Tail},
    store::{Fault, Store},
    versions::Versions,
};
use crate::{
    backbone::{Append, AppendError, Appended, CursorUpdate, Expect, Outcome, Reply, Subject},
    model::{DedupeId, EntityKey, Position, TenantId, Timestamp},
};

/// A commit in the making.
pub struct Group<'a> {
    store: &'a Store,
    rooms: &'a mut Rooms,
    versions: &'a mut Versions,
    batch: WriteBatch,
    tail: Tail,
    now: Timestamp,
    ids: HashMap<(u32, DedupeId), Position>,
    cursors: HashMap<Vec<u8>, Position>,
    records: u64,
}

/// What a commit did.
#[derive(Clone, Copy, Debug)]
pub struct Committed {
    /// The log's state behind it.
    pub tail: Tail,
    /// When they were stored.
    pub stored_at: Timestamp,
    /// Records made.
    pub records: u64,
    /// How long writing and flushing took; `None` if there was nothing to flush.
    pub flush: Option<Duration>,
}

impl<'a> Group<'a> {
    /// Begins behind `tail`; its records will be stored at `now`. If it is not committed, `versions` has to forget.
    pub fn new(store: &'a Store, rooms: &'a mut Rooms, versions: &'a mut Versions, tail: Tail, now: Timestamp) -> Self {
        versions.begin();
        Self {
            batch: store.db.batch(),
            store,
            rooms,
            versions,
            tail,
            now,
            ids: HashMap::new(),
            cursors: HashMap::new(),
            records: 0,
        }
    }

    /// Checks an append and adds its rows. The inner result is its answer once the commit went through.
    pub fn append(&mut self, append: &Append) -> Result<Result<Appended, AppendError>, Fault> {
        let room = self.rooms.number(&append.tenant)?;
        if is_deduped(append)
            && let Some(position) = self.find(room, append.dedupe)?
        {
            return Ok(Ok(Appended { position, outcome: Outcome::Duplicate }));
        }
        let entity = entity_of(&append.subject).map(|key| rows::entity_key(room, key));
        if let Expect::Version(expected) = append.expect {
            let current = self.version(entity.as_deref())?;
            if current != expected {
                return Ok(Err(AppendError::Conflict { current }));
            }
        }
        let position = self.add(room, append, entity);
        Ok(Ok(Appended { position, outcome: Outcome::Stored }))
    }

    /// Checks appends that belong together and adds their rows if all conditions hold; each is answered for itself, and
    /// none of them is there if one of the answers says so. They are of one tenant, about an entity each.
    pub fn append_all(
        &mut self,
        appends: &[(Append, Reply)],
        answers: &mut Vec<Result<Appended, AppendError>>,
    ) -> Result<(), Fault> {
        let mut wanted = Vec::with_capacity(appends.len());
        let mut all_hold = true;
        for (append, _) in appends {
            let room = self.rooms.number(&append.tenant)?;
            let entity = entity_of(&append.subject).map(|key| rows::entity_key(room, key));
            let current = self.version(entity.as_deref())?;
            all_hold &= append.expect == Expect::Version(current);
            wanted.push((room, append, entity, current));
        }
        for (room, append, entity, current) in wanted {
            answers.push(if all_hold {
                Ok(Appended { position: self.add(room, append, entity), outcome: Outcome::Stored })
            } else {
                Err(AppendError::Conflict { current })
            });
        }
        Ok(())
    }

    fn find(&self, room: u32, id: DedupeId) -> Result<Option<Position>, Fault> {
        if let Some(position) = self.ids.get(&(room, id)) {
            return Ok(Some(*position));
        }
        find(self.store, room, id)
    }

    /// Where an entity's last record stands; an event has none.
    fn version(&self, entity: Option<&[u8]>) -> Result<Position, Fault> {
        let Some(key) = entity else { return Ok(Position::START) };
        match self.versions.get(key) {
            Some(position) => Ok(position),
            None => version(self.store, key),
        }
    }

    fn add(&mut self, room: u32, append: &Append, entity: Option<Vec<u8>>) -> Position {
        let size = append.body.len().saturating_add(RECORD_OVERHEAD);
        let size = u32::try_from(size).unwrap_or(u32::MAX);
        self.tail.end += 1;
        self.tail.bytes += u64::from(size);
        self.tail.high = self.tail.high.max(self.now);
        self.records += 1;
        let position = Position(self.tail.end);
        let order = OrderRow {
            room,
            stored_at: self.now,
            high: self.tail.high,
            size,
            is_entity: entity.is_some(),
            dedupe: is_deduped(append).then_some(append.dedupe),
        };
        let record = rows::encode_record(self.now, &append.subject, &append.body);
        self.batch.insert(&self.store.log, rows::room_position(room, position), record);
        self.batch.insert(&self.store.order, position.0.to_be_bytes(), order.encode());
        if is_deduped(append) {
            self.batch.insert(&self.store.dedupe, rows::dedupe_key(room, append.dedupe), position.0.to_be_bytes());
            self.ids.insert((room, append.dedupe), position);
        }
        if let Some(key) = entity {
            self.batch.insert(&self.store.entities, key.as_slice(), EntityRow::in_log(position));
            self.versions.set(key, position);
        }
        position
    }

    /// Adds a cursor's row unless it would go back.
    pub fn cursor(&mut self, update: &CursorUpdate) -> Result<(), Fault> {
        let key = rows::cursor_key(self.rooms.number(&update.tenant)?, &update.instance);
        let kept = match self.cursors.get(&key) {
            Some(position) => Some(*position),
            None => match self.store.meta.get(&key)? {
                Some(row) => Some(Position(rows::read_u64(&row, "cursors")?)),
                None => None,
            },
        };
        if kept.is_none_or(|kept| kept < update.position) {
            self.batch.insert(&self.store.meta, key.as_slice(), update.position.0.to_be_bytes());
            self.cursors.insert(key, update.position);
        }
        Ok(())
    }

    /// Adds a tally's row.
    pub fn tally(&mut self, tenant: &TenantId, tally: &[u8]) -> Result<(), Fault> {
        let room = self.rooms.number(tenant)?;
        self.batch.insert(&self.store.meta, rows::tally_key(room), tally);
        Ok(())
    }

    /// Writes it all, or nothing. Records and cursors are on disk when this returns; a tally alone is left to the next flush.
    pub fn commit(mut self) -> Result<Committed, Fault> {
        if self.batch.is_empty() {
            return Ok(Committed { tail: self.tail, stored_at: self.now, records: 0, flush: None });
        }
        self.rooms.write_fresh(self.store, &mut self.batch);
        if self.records > 0 {
            self.batch.insert(&self.store.meta, META_TAIL, self.tail.encode());
        }
        let must_flush = self.records > 0 || !self.cursors.is_empty();
        let mode = must_flush.then_some(PersistMode::SyncData);
        let begin = Instant::now();
        self.batch.durability(mode).commit()?;
        self.rooms.fresh_are_kept();
        let flush = must_flush.then(|| begin.elapsed());
        Ok(Committed { tail: self.tail, stored_at: self.now, records: self.records, flush })
    }
}

/// Whether repeats of an append are known by its id. What has a condition is guarded by that, and costs no row.
fn is_deduped(append: &Append) -> bool {
    append.expect == Expect::Anything
}

/// Whether an append is in the store: found by its id, or by what it would have made of its entity.
pub fn was_written(store: &Store, room: u32, append: &Append) -> Result<bool, Fault> {
    match (append.expect, entity_of(&append.subject)) {
        (Expect::Version(expected), Some(key)) => Ok(version(store, &rows::entity_key(room, key))? != expected),
        _ => Ok(find(store, room, append.dedupe)?.is_some()),
    }
}

fn version(store: &Store, entity: &[u8]) -> Result<Position, Fault> {
    let Some(row) = store.entities.get(entity)? else { return Ok(Position::START) };
    Ok(EntityRow::decode(&row)?.position)
}

/// The record that was made with a dedupe id.
fn find(store: &Store, room: u32, id: DedupeId) -> Result<Option<Position>, Fault> {
    let row = store.dedupe.get(rows::dedupe_key(room, id))?;
    Ok(row.map(|row| rows::read_u64(&row, "dedupe").map(Position)).transpose()?)
}

/// An entity's key, if the record is an entity's.
pub fn entity_of(subject: &Subject) -> Option<&EntityKey> {
    match subject {
        Subject::Entity(key) => Some(key),
        Subject::Event(_) => None,
    }
}
