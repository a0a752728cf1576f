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
/// How many bytes of memory one of its text takes once it is read, about.
const READ: usize = 4;

/// An entity's record.
#[derive(Clone, Debug)]
pub(super) struct Record {
    pub version: Position,
    pub body: Bytes,
}

/// An entity at rest. Most are never needed again, and rest as the record that they came as; what was needed twice is kept
/// read.
#[derive(Debug)]
pub(super) enum Head {
    Record(Record),
    /// With the length of its record.
    Read(Arc<Entity>, usize),
}

impl Head {
    fn version(&self) -> Position {
        match self {
            Self::Record(record) => record.version,
            Self::Read(entity, _) => entity.version,
        }
    }

    /// What it takes of the memory for heads.
    fn bytes(&self) -> usize {
        OVERHEAD
            + match self {
                Self::Record(record) => record.body.len(),
                Self::Read(_, body) => READ * body,
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
    pub(super) fn take(&mut self, tenant: &TenantId, key: &EntityKey) -> Option<Arc<Entity>> {
        let head = self.heads.pop(key)?;
        self.bytes -= head.bytes();
        match head {
            Head::Record(Record { version, body }) => record::read(tenant, key, version, &body).ok().map(Arc::new),
            Head::Read(entity, _) => Some(entity),
        }
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
