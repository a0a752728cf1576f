//! What is known of a tenant's lives: its name may be erased with all that it holds, and be used again by a new tenant.
//!
//! Owns: the form in which an erasure is kept, and what follows from it for the old tenant's records, cursors and tokens.
//! Must not know: where anything of the tenant lies.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{EntityKey, Epoch, Position, TenantId, Timestamp};

/// Under which type erasures are kept.
pub const KIND: &str = "erasure";

/// How much there is, or was removed, by the name of what holds it.
pub type Counts = BTreeMap<String, u64>;

/// Adds counts up.
pub fn add(to: &mut Counts, more: &Counts) {
    for (name, count) in more {
        *to.entry(name.clone()).or_default() += count;
    }
}

/// How far an erasure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Every node sends its members away and lets go of what it holds.
    Closing,
    /// Records are being removed.
    Removing,
    /// Nothing is left; the name can be used again.
    Done,
}

/// Up to where a tenant's positions in a log count as gone: they are of an earlier life, or were trimmed for it alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Floor {
    /// Which log.
    #[serde(with = "epoch_text")]
    pub epoch: Epoch,
    /// What there is of the tenant lies behind it.
    pub position: u64,
}

impl Floor {
    /// At a position of a log.
    pub fn new(epoch: Epoch, position: Position) -> Self {
        Self { epoch, position: position.0 }
    }

    /// Its position, if it is one of this log.
    pub fn in_log(self, epoch: Epoch) -> Option<Position> {
        (self.epoch == epoch).then_some(Position(self.position))
    }
}

/// What one node let go of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cleared {
    /// The node.
    pub node: Uuid,
    /// What it let go of: rooms, entries of its journal, dead letters.
    pub removed: Counts,
}

/// An erasure, as it is kept and as it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Erasure {
    /// Whose.
    pub tenant: String,
    /// Names it; whoever knows it may look at it.
    pub receipt: Uuid,
    /// How far it is.
    pub stage: Stage,
    /// When it began, milliseconds since 1970: whatever was issued or queued up to then is the old tenant's. Rises with every
    /// erasure of the name.
    pub began_at: i64,
    /// When nothing was left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<i64>,
    /// Which node works on it.
    pub by: Uuid,
    /// What was removed from the log and the registry so far.
    pub removed: Counts,
    /// What the nodes let go of.
    pub nodes: Vec<Cleared>,
    /// What was found when it was looked for in the end: every count is 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left: Option<Counts>,
    /// Where the next life begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub floor: Option<Floor>,
}

impl Erasure {
    /// One that begins now, at a node; later than any before it.
    pub fn begin(tenant: &TenantId, before: Option<&Self>, now: Timestamp, by: Uuid) -> Self {
        Self {
            tenant: tenant.to_string(),
            receipt: Uuid::new_v4(),
            stage: Stage::Closing,
            began_at: before.map_or(now.0, |before| now.0.max(before.began_at + 1)),
            ended_at: None,
            by,
            removed: Counts::new(),
            nodes: Vec::new(),
            left: None,
            floor: None,
        }
    }

    /// Where a tenant's erasure is kept.
    pub fn place(tenant: &TenantId) -> EntityKey {
        EntityKey::new(KIND, tenant.as_str()).expect("a tenant's name is an entity's id")
    }

    /// Reads what is kept.
    ///
    /// # Errors
    ///
    /// In words: it is none.
    pub fn read(body: &[u8]) -> Result<(TenantId, Self), String> {
        let erasure: Self = serde_json::from_slice(body).map_err(|error| error.to_string())?;
        let tenant = erasure.tenant.parse().map_err(|error: super::IdError| error.to_string())?;
        Ok((tenant, erasure))
    }

    /// Whether it is over.
    pub fn is_done(&self) -> bool {
        self.stage == Stage::Done
    }

    /// What follows for the tenant's log.
    pub fn tenancy(&self) -> Tenancy {
        Tenancy { since: Timestamp(self.began_at), is_closed: !self.is_done(), floor: self.floor }
    }
}

/// Which life a tenant's name is in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tenancy {
    /// It began behind the last erasure, which began then; 1970 if there was none.
    pub since: Timestamp,
    /// Nothing is taken now: the old one is being erased.
    pub is_closed: bool,
    /// Positions up to here are of the old one.
    pub floor: Option<Floor>,
}

impl Tenancy {
    /// The last position of a log that is of an earlier life.
    pub fn floor_in(&self, epoch: Epoch) -> Position {
        self.floor.and_then(|floor| floor.in_log(epoch)).unwrap_or(Position::START)
    }

    /// The later one of what two records say: what is known never goes back.
    pub fn or_later(self, other: Self) -> Self {
        // Of the same erasure the end comes last.
        if (self.since, !self.is_closed) >= (other.since, !other.is_closed) { self } else { other }
    }
}

mod epoch_text {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use super::Epoch;

    pub fn serialize<S: Serializer>(epoch: &Epoch, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(epoch)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Epoch, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenancy(since: i64, is_closed: bool) -> Tenancy {
        Tenancy { since: Timestamp(since), is_closed, floor: None }
    }

    #[test]
    fn what_is_known_of_a_tenant_never_goes_back() {
        let (old, begun, done) = (tenancy(1, false), tenancy(2, true), tenancy(2, false));
        for (one, other, later) in [(old, begun, begun), (begun, done, done), (old, done, done)] {
            assert_eq!((one.or_later(other), other.or_later(one)), (later, later));
        }
    }

    #[test]
    fn an_erasure_is_read_back_and_rises() {
        let tenant: TenantId = "acme".parse().expect("a tenant");
        let mut first = Erasure::begin(&tenant, None, Timestamp(50), Uuid::nil());
        first.floor = Some(Floor::new(Epoch(7), Position(9)));
        let body = serde_json::to_vec(&first).expect("JSON");
        assert_eq!(Erasure::read(&body), Ok((tenant.clone(), first.clone())));
        assert_eq!(first.tenancy().floor_in(Epoch(7)), Position(9));
        assert_eq!(first.tenancy().floor_in(Epoch(8)), Position::START);
        // Whatever the clock says.
        assert_eq!(Erasure::begin(&tenant, Some(&first), Timestamp(3), Uuid::nil()).began_at, 51);
    }
}
