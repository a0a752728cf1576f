use std::path::Path;

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};

use crate::{Store, body, dedupe_key, log_key, room_of};

pub struct Fjall {
    db: Database,
    log: Keyspace,
    order: Keyspace,
    dedupe: Keyspace,
}

impl Store for Fjall {
    fn open(dir: &Path) -> Self {
        let db = Database::builder(dir).worker_threads(1).cache_size(64 << 20).open().expect("opens");
        let keyspace =
            |name| db.keyspace(name, || KeyspaceCreateOptions::default().max_memtable_size(16 << 20)).expect("opens");
        Self { log: keyspace("log"), order: keyspace("order"), dedupe: keyspace("dedupe"), db }
    }

    fn commit(&mut self, first: u64, count: u64) {
        let mut batch = self.db.batch().durability(Some(PersistMode::SyncData));
        for position in first..first + count {
            let room = room_of(position);
            let key = dedupe_key(room, position);
            assert!(!self.dedupe.contains_key(key).expect("read"));
            batch.insert(&self.dedupe, key, position.to_be_bytes());
            batch.insert(&self.order, position.to_be_bytes(), room.to_be_bytes());
            batch.insert(&self.log, log_key(room, position), body(position));
        }
        batch.commit().expect("committed");
    }

    fn read_room(&self, room: u32) -> u64 {
        self.log.prefix(room.to_be_bytes()).map(|row| u64::from(row.value().expect("row").len() == 256)).sum()
    }

    fn delete(&mut self, from: u64, to: u64) {
        let mut batch = self.db.batch().durability(Some(PersistMode::SyncData));
        for position in from..to {
            let room = room_of(position);
            batch.remove(&self.log, log_key(room, position));
            batch.remove(&self.dedupe, dedupe_key(room, position));
            batch.remove(&self.order, position.to_be_bytes());
        }
        batch.commit().expect("committed");
    }
}
