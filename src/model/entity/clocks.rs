//! Which field was written last when and by whom.
//!
//! Owns: what a clash is. A field that was written by itself has a clock; one without has that of the nearest field above
//! it. Forgetting may only ever make a write look later, or as that of several: that costs a false clash, never a loss.
//!
//! Rests on this: a replica's operations come in the order in which it made them, so what it had seen never becomes less,
//! and what stands under its name is known to it. Repeats may come at any time; they are found before clocks are asked.

use serde::{Deserialize, Serialize, Serializer};

use super::{Position, ReplicaId, THIS, settle, stored_version, touch::is_within};

/// How many fields have clocks of their own, beside that of the whole.
pub const FIELDS: usize = 128;

/// One clock per field that was written by itself; a field without one has that of the nearest field above it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(from = "Stored<String, ReplicaId>")]
pub struct Clocks(Vec<Clock>);

/// When and by whom a field was written.
#[derive(Clone, Debug, PartialEq)]
pub struct Clock {
    /// JSON pointer; empty for the whole.
    pub path: String,
    /// When.
    pub version: Position,
    /// By whom; `None`: by several.
    pub replica: Option<ReplicaId>,
}

/// Clocks as they are stored. Mostly one replica wrote them all, so each is named once.
#[derive(Serialize, Deserialize)]
struct Stored<P, R> {
    by: Vec<R>,
    at: Vec<StoredClock<P>>,
}

/// Path, version, and whose of those that are named.
#[derive(Serialize, Deserialize)]
struct StoredClock<P>(P, #[serde(with = "stored_version")] Position, Option<usize>);

impl Serialize for Clocks {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut by: Vec<&ReplicaId> = Vec::with_capacity(1);
        let mut place_of = |replica| {
            by.iter().position(|known| *known == replica).unwrap_or_else(|| {
                by.push(replica);
                by.len() - 1
            })
        };
        let at = self
            .0
            .iter()
            .map(|clock| StoredClock(clock.path.as_str(), clock.version, clock.replica.as_ref().map(&mut place_of)));
        let at: Vec<_> = at.collect();
        Stored { by, at }.serialize(serializer)
    }
}

impl From<Stored<String, ReplicaId>> for Clocks {
    fn from(Stored { by, at }: Stored<String, ReplicaId>) -> Self {
        let clock = |StoredClock(path, version, place)| {
            // One that is not named is nobody's; that costs a false clash at most.
            Clock { path, version, replica: place.and_then(|place: usize| by.get(place).cloned()) }
        };
        Self(at.into_iter().map(clock).collect())
    }
}

impl Clock {
    /// Whether somebody else wrote here what a replica that has seen everything up to `base` does not know.
    fn clashes(&self, base: Position, replica: &ReplicaId) -> bool {
        self.version > base && self.replica.as_ref() != Some(replica)
    }

    /// Takes in what another clock says, which is forgotten.
    fn absorb(&mut self, other: &Self) {
        if self.replica != other.replica {
            self.replica = None;
        }
        self.version = self.version.max(other.version);
    }
}

impl Clocks {
    /// The latest write that a write of `path` clashes with: of the field itself, or the nearest above it, or any below it.
    pub fn check<'a>(&'a self, path: &str, base: Position, replica: &ReplicaId) -> Option<&'a Clock> {
        let concerned = self.holder(path).into_iter().chain(self.below(path));
        concerned.filter(|clock| clock.clashes(base, replica)).max_by_key(|clock| clock.version)
    }

    /// Notes that a field was written; `replica` is `None` if what stands there now is the work of several.
    pub fn write(&mut self, path: &str, version: Position, replica: Option<&ReplicaId>) {
        self.0.retain(|clock| !is_within(&clock.path, path));
        if self.0.is_empty() {
            self.0.reserve_exact(1); // most have no other
        }
        self.0.push(Clock { path: path.to_owned(), version, replica: replica.cloned() });
        while self.0.len() > FIELDS + usize::from(self.whole().is_some()) {
            self.forget_oldest();
        }
    }

    /// Notes that the entity was written as a whole and nothing of what stood there is left.
    pub fn reset(&mut self, version: Position, replica: &ReplicaId) {
        self.write("", version, Some(replica));
    }

    /// Notes that the entity was deleted or restored by a replica that had seen everything up to `base`. Its fields keep
    /// their clocks, as a tombstone keeps its content: what somebody wrote unseen before a deletion is unseen after it.
    pub fn mark(&mut self, version: Position, base: Position, replica: &ReplicaId) {
        let replica = (!self.whole_clashes(base, replica)).then(|| replica.clone());
        self.0.retain(|clock| !clock.path.is_empty());
        self.0.push(Clock { path: String::new(), version, replica });
    }

    /// Whether the entity was made, deleted or restored by somebody else after `base`.
    pub fn whole_clashes(&self, base: Position, replica: &ReplicaId) -> bool {
        self.whole().is_some_and(|clock| clock.clashes(base, replica))
    }

    /// When something at or below `path`, or the field that holds it, was written last.
    pub(super) fn last_write(&self, path: &str) -> Position {
        let concerned = self.holder(path).into_iter().chain(self.below(path));
        concerned.map(|clock| clock.version).max().unwrap_or(Position::START)
    }

    /// The fields that were written after `base` by this replica, or by several, of which it may be one.
    pub(super) fn own_writes(&self, base: Position, replica: &ReplicaId) -> impl Iterator<Item = &str> {
        let own = move |clock: &&Clock| clock.version > base && clock.replica.as_ref().is_none_or(|by| by == replica);
        self.0.iter().filter(own).map(|clock| clock.path.as_str())
    }

    pub(super) fn settle(&mut self, position: Position) {
        self.0.iter_mut().for_each(|clock| settle(&mut clock.version, position));
    }

    /// Every write becomes that of the record that is being made.
    pub(super) fn restamp(&mut self) {
        self.0.iter_mut().for_each(|clock| clock.version = THIS);
    }

    /// Whether there are no more than are kept.
    pub(super) fn are_bounded(&self) -> bool {
        self.0.len() <= FIELDS + 1
    }

    fn whole(&self) -> Option<&Clock> {
        self.0.iter().find(|clock| clock.path.is_empty())
    }

    /// The clock that holds for a field: its own, else the nearest above it.
    fn holder(&self, path: &str) -> Option<&Clock> {
        self.0.iter().filter(|clock| is_within(path, &clock.path)).max_by_key(|clock| clock.path.len())
    }

    fn below<'a>(&'a self, path: &str) -> impl Iterator<Item = &'a Clock> {
        self.0.iter().filter(move |clock| clock.path.len() > path.len() && is_within(&clock.path, path))
    }

    /// Drops the oldest field's clock; the whole's, which holds for that field from now on, says what it said. No clock
    /// between the two hides that: a write above a field takes the field's clock away, so what is above is older.
    fn forget_oldest(&mut self) {
        let fields = self.0.iter().enumerate().filter(|(_, clock)| !clock.path.is_empty());
        let Some((oldest, _)) = fields.min_by_key(|(_, clock)| clock.version) else { return };
        let gone = self.0.remove(oldest);
        match self.0.iter_mut().find(|clock| clock.path.is_empty()) {
            Some(whole) => whole.absorb(&gone),
            None => self.0.push(Clock { path: String::new(), ..gone }),
        }
    }
}
