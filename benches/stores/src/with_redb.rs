use std::path::Path;

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};

use crate::{Store, body, dedupe_key, log_key, room_of};

const LOG: TableDefinition<&[u8; 12], &[u8]> = TableDefinition::new("log");
const ORDER: TableDefinition<u64, u32> = TableDefinition::new("order");
const DEDUPE: TableDefinition<&[u8; 20], u64> = TableDefinition::new("dedupe");

pub struct Redb(Database);

impl Store for Redb {
    fn open(dir: &Path) -> Self {
        let mut builder = Database::builder();
        builder.set_cache_size(64 << 20);
        Self(builder.create(dir.join("log.redb")).expect("opens"))
    }

    fn commit(&mut self, first: u64, count: u64) {
        let mut write = self.0.begin_write().expect("begins");
        // Else opening after a crash walks the whole file.
        write.set_quick_repair(std::env::var_os("QUICK_REPAIR").is_some());
        {
            let mut log = write.open_table(LOG).expect("there");
            let mut order = write.open_table(ORDER).expect("there");
            let mut dedupe = write.open_table(DEDUPE).expect("there");
            for position in first..first + count {
                let room = room_of(position);
                let key = dedupe_key(room, position);
                assert!(dedupe.get(&key).expect("read").is_none());
                dedupe.insert(&key, position).expect("written");
                order.insert(position, room).expect("written");
                log.insert(&log_key(room, position), &body(position)[..]).expect("written");
            }
        }
        write.commit().expect("committed");
    }

    fn read_room(&self, room: u32) -> u64 {
        let read = self.0.begin_read().expect("begins");
        let log = read.open_table(LOG).expect("there");
        let (low, high) = (log_key(room, 0), log_key(room, u64::MAX));
        log.range::<&[u8; 12]>(&low..=&high)
            .expect("read")
            .map(|row| u64::from(row.expect("row").1.value().len() == 256))
            .sum()
    }

    fn delete(&mut self, from: u64, to: u64) {
        let write = self.0.begin_write().expect("begins");
        {
            let mut log = write.open_table(LOG).expect("there");
            let mut order = write.open_table(ORDER).expect("there");
            let mut dedupe = write.open_table(DEDUPE).expect("there");
            for position in from..to {
                let room = room_of(position);
                log.remove(&log_key(room, position)).expect("removed");
                dedupe.remove(&dedupe_key(room, position)).expect("removed");
                order.remove(position).expect("removed");
            }
        }
        write.commit().expect("committed");
    }
}
