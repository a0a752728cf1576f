//! Of what keeps coming, the newest per type and sender: what waits of signals never grows with their number.
//!
//! Owns: the bound, and the order in which what waits is taken: nobody's turn comes twice before everybody's once. Must not
//! know: what waits for what.

use std::{
    collections::BTreeMap,
    ops::Bound::{Excluded, Unbounded},
};

use super::{EventType, InstanceId};

/// Type and sender.
pub type Pair = (EventType, InstanceId);

/// The newest of each type and sender.
#[derive(Clone, Debug)]
pub struct Newest<T> {
    of: BTreeMap<Pair, T>,
    /// Whose turn was last.
    last: Option<Pair>,
    most: usize,
}

impl<T> Newest<T> {
    /// Nothing yet, and never of more than `most` pairs.
    pub fn new(most: usize) -> Self {
        Self { of: BTreeMap::new(), last: None, most }
    }

    /// Puts one in the place of the one before it; one of a pair too many is lost.
    pub fn put(&mut self, pair: Pair, item: T) {
        if let Some(known) = self.of.get_mut(&pair) {
            *known = item;
        } else if self.of.len() < self.most {
            self.of.insert(pair, item);
        }
    }

    /// Takes the one whose turn it is.
    pub fn take_next(&mut self) -> Option<T> {
        let behind = self.last.as_ref().and_then(|last| self.of.range((Excluded(last), Unbounded)).next());
        let pair = behind.or_else(|| self.of.first_key_value()).map(|(pair, _)| pair.clone())?;
        let item = self.of.remove(&pair);
        self.last = Some(pair);
        item
    }

    /// Takes all.
    pub fn take_all(&mut self) -> Vec<T> {
        self.last = None;
        std::mem::take(&mut self.of).into_values().collect()
    }

    /// Forgets what came from a sender.
    pub fn forget(&mut self, sender: &InstanceId) {
        self.of.retain(|(_, known), _| known != sender);
    }

    /// All, by type and sender.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.of.values()
    }

    /// Whether nothing is here.
    pub fn is_empty(&self) -> bool {
        self.of.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(event_type: &str, sender: &str) -> Pair {
        (event_type.parse().expect("a type"), sender.parse().expect("an instance"))
    }

    #[test]
    fn of_each_type_and_sender_only_the_newest_waits() {
        let mut newest = Newest::new(10);
        for round in 0..1000 {
            for sender in ["a", "b"] {
                newest.put(pair("cursor.move", sender), (sender, round));
                newest.put(pair("typing", sender), (sender, -round));
            }
        }
        assert_eq!(newest.take_all(), [("a", 999), ("b", 999), ("a", -999), ("b", -999)]);
        assert!(newest.is_empty());
    }

    #[test]
    fn one_that_never_stops_does_not_keep_the_others_from_their_turn() {
        let mut newest = Newest::new(10);
        newest.put(pair("cursor.move", "z"), "z");
        let mut taken = Vec::new();
        for _ in 0..4 {
            newest.put(pair("cursor.move", "a"), "a");
            taken.extend(newest.take_next());
        }
        assert_eq!(taken, ["a", "z", "a", "a"]);
    }

    #[test]
    fn beyond_the_bound_new_pairs_are_lost_and_known_ones_are_not() {
        let mut newest = Newest::new(2);
        for (sender, value) in [("a", 1), ("b", 2), ("c", 3), ("a", 4)] {
            newest.put(pair("typing", sender), value);
        }
        newest.forget(&"b".parse().expect("an instance"));
        assert_eq!(newest.iter().copied().collect::<Vec<_>>(), [4]);
    }
}
