//! Clocks forget, but only towards caution.

use proptest::prelude::*;

use super::super::{Clocks, Position, ReplicaId, clocks::FIELDS};

fn replica(name: u8) -> ReplicaId {
    ReplicaId(format!("r{name}").into())
}

/// All writes, and what each of them means for a write made on `base`.
#[derive(Default)]
struct Truth(Vec<(String, Position, u8)>);

impl Truth {
    /// Whether somebody else wrote the field, one above it or one below it after `base`, and that was not written over.
    fn clashes(&self, path: &str, base: Position, me: u8) -> bool {
        let within = |inner: &str, outer: &str| {
            inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        self.0.iter().enumerate().any(|(index, (written, version, by))| {
            let concerns = within(written, path) || within(path, written);
            let hides = |later: &str| within(written, later) || within(path, later) && within(later, written);
            let is_gone = || self.0[index + 1..].iter().any(|(later, ..)| hides(later));
            concerns && *version > base && *by != me && !is_gone()
        })
    }
}

fn path() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => (0..40_u8, 0..8_u8).prop_map(|(outer, inner)| format!("/f{outer}/g{inner}")),
        3 => (0..40_u8).prop_map(|outer| format!("/f{outer}")),
        2 => (0..40_u8, 0..8_u8, 0..3_u8).prop_map(|(outer, inner, last)| format!("/f{outer}/g{inner}/h{last}")),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_clash_is_forgotten_with_any_number_of_fields(
        writes in prop::collection::vec((path(), 0..3_u8), 1..400),
        checks in prop::collection::vec((path(), 0..500_u64, 0..3_u8), 60),
    ) {
        let (mut clocks, mut truth) = (Clocks::default(), Truth::default());
        clocks.reset(Position(1), &replica(0));
        truth.0.push((String::new(), Position(1), 0));
        for (version, (path, by)) in (2..).zip(&writes) {
            clocks.write(path, Position(version), Some(&replica(*by)));
            truth.0.push((path.clone(), Position(version), *by));
        }
        let stored = serde_json::to_value(&clocks).expect("clocks");
        prop_assert!(stored["at"].as_array().is_some_and(|clocks| clocks.len() <= FIELDS + 1));
        for (path, base, me) in &checks {
            let found = clocks.check(path, Position(*base), &replica(*me)).is_some();
            let really = truth.clashes(path, Position(*base), *me);
            prop_assert!(found || !really, "{path} on {base} by r{me}");
            // While nothing had to be forgotten, nothing clashes that does not.
            prop_assert!(found == really || writes.len() > FIELDS, "{path} on {base} by r{me}");
        }
    }
}

#[test]
fn a_name_that_begins_like_another_is_another_field() {
    let mut clocks = Clocks::default();
    clocks.reset(Position(1), &replica(0));
    clocks.write("/a", Position(5), Some(&replica(1)));
    assert!(clocks.check("/ab", Position(3), &replica(2)).is_none());
    assert!(clocks.check("/a/b", Position(3), &replica(2)).is_some());
    assert!(clocks.check("", Position(3), &replica(2)).is_some());
    assert!(clocks.check("/a", Position(5), &replica(2)).is_none());
    assert!(clocks.check("/a", Position(3), &replica(1)).is_none());
}

#[test]
fn what_several_wrote_is_nobodys_own() {
    let mut clocks = Clocks::default();
    clocks.write("/a", Position(5), None);
    assert!(clocks.check("/a", Position(3), &replica(1)).is_some());
}

#[test]
fn a_forgotten_clock_is_not_hidden_by_one_between_it_and_the_whole() {
    let mut clocks = Clocks::default();
    clocks.reset(Position(1), &replica(0));
    clocks.write("/a", Position(2), Some(&replica(0)));
    clocks.write("/a/b", Position(3), Some(&replica(1)));
    for field in 0..2 * FIELDS as u64 {
        clocks.write(&format!("/f{field}"), Position(4 + field), Some(&replica(2)));
        assert!(clocks.check("/a/b", Position(2), &replica(0)).is_some(), "{field}");
    }
}
