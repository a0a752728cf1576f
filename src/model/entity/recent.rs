//! Which operations were applied lately, so that none is applied twice.

use serde::{Deserialize, Serialize};

use super::{OpId, Remembered, ReplicaId};

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
    outcome: Remembered,
}
