//! Where the entities that were written lately stand. To look it up in the store costs more than to write the record.
//!
//! Owns: that it says of no entity what the store does not say, or will say with the commit in the making: after a commit that
//! failed, and after anything was taken out of the store, it knows nothing.

use std::collections::HashMap;

use crate::model::Position;

/// Entities that are known; a commit may add as many as it has records. 100 to 400 bytes each, as long as their names are.
const MOST: usize = 16_384;

/// Versions by the entities' keys in the store.
#[derive(Debug, Default)]
pub struct Versions(HashMap<Vec<u8>, Position>);

impl Versions {
    /// Between two commits: makes room for the next one.
    pub fn begin(&mut self) {
        if self.0.len() >= MOST {
            self.0.clear();
        }
    }

    /// Where an entity stands, if that is known.
    pub fn get(&self, key: &[u8]) -> Option<Position> {
        self.0.get(key).copied()
    }

    /// The commit in the making puts an entity there.
    pub fn set(&mut self, key: Vec<u8>, version: Position) {
        self.0.insert(key, version);
    }

    /// Nothing is certain any more.
    pub fn forget(&mut self) {
        self.0.clear();
    }
}
