//! Which operations were applied lately, so that none is applied twice.

use serde::{Deserialize, Serialize};

use super::{Fate, OpId, Operation, Position, Remembered, ReplicaId, THIS, settle};

/// How many operations without numbers are remembered.
pub const IDS: usize = 64;

/// Of how many replicas the numbers are remembered.
pub const REPLICAS: usize = 64;

/// What is remembered.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Recent {
    /// Of operations with numbers: by replica.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    replicas: Vec<Numbered>,
    /// Of the others: the latest, oldest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ids: Vec<(OpId, Remembered)>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Numbered {
    replica: ReplicaId,
    /// The highest number that was applied.
    last: u64,
    /// Bit n: whether `last - n` was applied. A rolled-back operation was not.
    applied: u64,
    /// What became of the one with the highest number.
    outcome: Remembered,
}

impl Numbered {
    fn find(&self, number: u64) -> Option<Remembered> {
        let back = self.last.checked_sub(number).filter(|back| *back < u64::BITS.into())?;
        match back {
            0 => Some(self.outcome.clone()),
            _ if self.applied >> back & 1 == 1 => {
                Some(Remembered { version: self.outcome.version, fate: Fate::Applied })
            }
            _ => None,
        }
    }

    fn note(&mut self, number: u64, outcome: Remembered) {
        match number.checked_sub(self.last) {
            Some(ahead) => {
                self.applied =
                    u32::try_from(ahead).ok().and_then(|ahead| self.applied.checked_shl(ahead)).unwrap_or(0) | 1;
                self.last = number;
                self.outcome = outcome;
            }
            // It came after a later one of the same replica; below the window there is no place for it.
            None => {
                let back = self.last - number;
                self.applied |= u32::try_from(back).ok().and_then(|back| 1_u64.checked_shl(back)).unwrap_or(0);
                self.outcome.version = outcome.version;
            }
        }
    }
}

impl Recent {
    /// What became of an operation that was applied.
    pub fn find(&self, operation: &Operation) -> Option<Remembered> {
        match operation.number {
            Some(number) => self.replicas.iter().find(|known| known.replica == operation.replica)?.find(number),
            None => self.ids.iter().find(|(id, _)| *id == operation.id).map(|(_, outcome)| outcome.clone()),
        }
    }

    /// Remembers that an operation is applied.
    pub fn remember(&mut self, operation: &Operation, outcome: Remembered) {
        let Some(number) = operation.number else {
            self.ids.reserve_exact(1);
            self.ids.push((operation.id, outcome));
            if self.ids.len() > IDS {
                self.ids.remove(0);
            }
            return;
        };
        if let Some(known) = self.replicas.iter_mut().find(|known| known.replica == operation.replica) {
            return known.note(number, outcome);
        }
        self.replicas.reserve_exact(1);
        self.replicas.push(Numbered { replica: operation.replica.clone(), last: number, applied: 1, outcome });
        if self.replicas.len() > REPLICAS {
            let oldest = self.replicas.iter().enumerate().min_by_key(|(_, known)| known.outcome.version);
            let oldest = oldest.map_or(0, |(index, _)| index);
            self.replicas.remove(oldest);
        }
    }

    /// Every operation becomes one of the record that is being made.
    pub(super) fn restamp(&mut self) {
        self.replicas.iter_mut().for_each(|known| known.outcome.version = THIS);
        self.ids.iter_mut().for_each(|(_, outcome)| outcome.version = THIS);
    }

    /// How many entries are kept.
    pub(super) fn len(&self) -> usize {
        self.replicas.len() + self.ids.len()
    }

    pub(super) fn settle(&mut self, position: Position) {
        self.replicas.iter_mut().for_each(|known| settle(&mut known.outcome.version, position));
        self.ids.iter_mut().for_each(|(_, outcome)| settle(&mut outcome.version, position));
    }
}
