//! A room's figures over its whole history, trimmed or not: what `sync_response` tells.
//!
//! Owns: the fold and its stored form. Must not know: where it is stored, how `data` is read.

use std::collections::BTreeSet;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::Position;

const FORMAT: u8 = 1;

/// The figures, and how far the log is folded into them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Every record up to here is counted.
    pub through: Position,
    /// Number of `memory_added` records.
    pub messages: u64,
    /// Marks of the distinct learned concepts: eight bytes each, of which a room of 100,000 concepts keeps 100,000.
    concepts: BTreeSet<u64>,
}

/// What a record adds to the figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// A message was stored.
    Message,
    /// A concept of this name mark was learned.
    Concept(u64),
    /// Nothing.
    Nothing,
}

impl Counted {
    /// The mark of a concept's name, stable for good.
    pub fn concept(name: &str) -> Self {
        Self::Concept(uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_OID, name.as_bytes()).as_u64_pair().0)
    }
}

impl Tally {
    /// Folds one record in; one that is already counted changes nothing.
    pub fn apply(&mut self, position: Position, counted: Counted) {
        if position <= self.through {
            return;
        }
        self.through = position;
        match counted {
            Counted::Message => self.messages += 1,
            Counted::Concept(mark) => {
                self.concepts.insert(mark);
            }
            Counted::Nothing => {}
        }
    }

    /// Number of distinct concepts.
    pub fn concepts(&self) -> usize {
        self.concepts.len()
    }

    /// The stored form.
    pub fn to_bytes(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(17 + 8 * self.concepts.len());
        out.put_u8(FORMAT);
        out.put_u64(self.through.0);
        out.put_u64(self.messages);
        for mark in &self.concepts {
            out.put_u64(*mark);
        }
        out.freeze()
    }

    /// Reads the stored form; `None` if it is of another format or damaged (then fold the log again).
    pub fn from_bytes(mut bytes: Bytes) -> Option<Self> {
        if bytes.len() < 17 || !(bytes.len() - 17).is_multiple_of(8) || bytes.get_u8() != FORMAT {
            return None;
        }
        let (through, messages) = (Position(bytes.get_u64()), bytes.get_u64());
        let mut concepts = BTreeSet::new();
        while bytes.has_remaining() {
            concepts.insert(bytes.get_u64());
        }
        Some(Self { through, messages, concepts })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folding_twice_counts_once_and_the_stored_form_is_the_same() {
        let mut tally = Tally::default();
        for _ in 0..2 {
            tally.apply(Position(1), Counted::Message);
            tally.apply(Position(2), Counted::concept("a"));
            tally.apply(Position(3), Counted::concept("a"));
            tally.apply(Position(5), Counted::concept("b"));
        }
        assert_eq!((tally.messages, tally.concepts(), tally.through), (1, 2, Position(5)));
        assert_eq!(Tally::from_bytes(tally.to_bytes()), Some(tally));
        assert_eq!(Tally::from_bytes(Bytes::from_static(b"\x01short")), None);
    }
}
