//! Entities as they last stood, remembered for the next change.
//!
//! Owns: the bound on their memory. One that is remembered may be old: the log's condition finds out, at the cost of one
//! attempt.

use std::sync::Arc;

use bytes::Bytes;
use lru::LruCache;

use crate::{
    model::{EntityKey, Position, TenantId, entity::Entity},
    wire::entity as record,
};

/// What an entity in memory costs beside its text.
const OVERHEAD: usize = 512;
/// What a value of its content costs once it is read, its name included.
const VALUE: usize = 128;

/// An entity's record.
#[derive(Clone, Debug)]
pub(super) struct Record {
    pub version: Position,
    pub body: Bytes,
}

/// An entity at rest. Most are never needed again, and rest as the record that they came as; what was needed twice is kept
/// read.
#[derive(Clone, Debug)]
pub(super) enum Head {
    Record(Record),
    /// With what it takes of the memory for heads.
    Read(Arc<Entity>, usize),
}

impl Head {
    fn version(&self) -> Position {
        match self {
            Self::Record(record) => record.version,
            Self::Read(entity, _) => entity.version,
        }
    }

    /// An entity that stands as its record says.
    pub(super) fn read(entity: Arc<Entity>, record: &Record) -> Self {
        // No value without one of these before it.
        let values = record.body.iter().filter(|byte| matches!(byte, b',' | b'[' | b'{')).count();
        Self::Read(entity, OVERHEAD + record.body.len() + VALUE * values)
    }

    /// What it takes of the memory for heads.
    fn bytes(&self) -> usize {
        match self {
            Self::Record(record) => OVERHEAD + record.body.len(),
            Self::Read(_, bytes) => *bytes,
        }
    }

    /// The entity.
    pub(super) fn entity(&self, tenant: &TenantId, key: &EntityKey) -> Option<Arc<Entity>> {
        match self {
            Self::Record(Record { version, body }) => record::read(tenant, key, *version, body).ok().map(Arc::new),
            Self::Read(entity, _) => Some(entity.clone()),
        }
    }
}

/// All that are remembered; those that were needed longest ago are forgotten first.
#[derive(Debug)]
pub(super) struct Heads {
    heads: LruCache<EntityKey, Head>,
    bytes: usize,
    capacity: usize,
}

impl Heads {
    /// `capacity`: bytes of memory.
    pub(super) fn new(capacity: usize) -> Self {
        Self { heads: LruCache::unbounded(), bytes: 0, capacity }
    }

    /// Gives one away to whoever changes it.
    pub(super) fn take(&mut self, key: &EntityKey) -> Option<Head> {
        let head = self.heads.pop(key)?;
        self.bytes -= head.bytes();
        Some(head)
    }

    pub(super) fn keep(&mut self, key: EntityKey, head: Head) {
        self.bytes += head.bytes();
        let mut gone = self.heads.push(key, head).map(|(_, old)| old);
        loop {
            self.bytes -= gone.as_ref().map_or(0, Head::bytes);
            if self.bytes <= self.capacity {
                return;
            }
            gone = self.heads.pop_lru().map(|(_, old)| old);
            if gone.is_none() {
                return;
            }
        }
    }

    /// The log has shown a record; one that is remembered is so no more.
    pub(super) fn see(&mut self, key: &EntityKey, version: Position, body: &Bytes) {
        if self.heads.peek(key).is_some_and(|head| head.version() < version) {
            self.keep(key.clone(), Head::Record(Record { version, body: body.clone() }));
        }
    }
}

#[cfg(test)]
mod tests {
    //! What is remembered, and what that costs.

    use super::*;

    fn key(id: usize) -> EntityKey {
        EntityKey::new("note", &id.to_string()).expect("a key")
    }

    fn record(version: u64, bytes: usize) -> Record {
        Record { version: Position(version), body: vec![b'x'; bytes].into() }
    }

    fn read(version: u64, record: &Record) -> Head {
        Head::read(Arc::new(Entity { version: Position(version), ..Entity::none() }), record)
    }

    #[test]
    fn the_memory_is_bounded_and_the_oldest_goes_first() {
        let mut heads = Heads::new(10_000);
        for id in 0..100 {
            let record = record(id, 488);
            let head = if id % 2 == 0 { Head::Record(record) } else { read(id, &record) };
            heads.keep(key(id as usize), head);
            assert!(heads.bytes <= 10_000, "{}", heads.bytes);
        }
        let known: Vec<_> = (0..100).filter(|id| heads.take(&key(*id)).is_some()).collect();
        assert_eq!(known, (90..100).collect::<Vec<_>>());
        assert_eq!(heads.bytes, 0);
    }

    #[test]
    fn a_read_one_costs_what_its_values_do_and_gives_way_to_a_newer_record() {
        let mut heads = Heads::new(1_000_000);
        let many = Record { version: Position(1), body: "[0,0,0,0]".into() };
        heads.keep(key(1), read(1, &many));
        assert_eq!(heads.bytes, OVERHEAD + 9 + 4 * VALUE);
        heads.see(&key(1), Position(1), &"old".into());
        assert!(matches!(heads.take(&key(1)), Some(Head::Read(..))));
        heads.keep(key(1), read(1, &many));
        heads.see(&key(1), Position(2), &"newer".into());
        assert_eq!(heads.bytes, OVERHEAD + 5);
        heads.see(&key(2), Position(2), &"nobody asked".into());
        assert_eq!(heads.bytes, OVERHEAD + 5);
        assert!(matches!(heads.take(&key(1)), Some(Head::Record(Record { version: Position(2), .. }))));
    }
}
