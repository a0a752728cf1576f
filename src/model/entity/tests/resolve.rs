//! Conflicts and variants, settled.

use serde_json::{Value, json};

use super::{super::*, support::*};

/// `title` was changed by b (6), and a's change of `title` and `n` lies open under the id 1 (9).
fn open(strategy: Strategy) -> Log {
    let mut log = made(json!({ "title": "one", "n": 1 }));
    log.run(by("b").on(3).merge(json!({ "title": "two" })));
    log.run(by("a").on(3).id(1).with(strategy).merge(json!({ "title": "three", "n": 2 })));
    assert_eq!(log.head().state.open.len(), 1);
    log
}

#[test]
fn a_choice_holds_and_closes_what_was_open() {
    let choices = [
        (Choice::Current, json!({ "title": "two", "n": 1 })),
        (Choice::Proposed, json!({ "title": "three", "n": 2 })),
        (Choice::Merged(json!({ "title": "both" })), json!({ "title": "both", "n": 1 })),
    ];
    for (choice, expected) in choices {
        for strategy in [Manual, Version] {
            let mut log = open(strategy);
            let decided = by("c").on(9).id(2).resolve(1, choice.clone());
            assert_eq!(word(&log.run(decided.clone())), "confirmed");
            assert_eq!((log.data(), log.head().state.open.len()), (expected.clone(), 0));
            assert_eq!(word(&log.run(decided)), "repeat");
            assert_eq!(word(&log.run(by("c").resolve(1, Choice::Current))), "rollback nosuchconflict");
        }
    }
}

#[test]
fn a_choice_over_what_changed_meanwhile_is_asked_again() {
    // The field that clashed, and one that only the proposal would write.
    for patch in [json!({ "title": "four" }), json!({ "n": 4 })] {
        let mut log = open(Manual);
        log.run(by("b").on(9).merge(patch));
        let before = log.head();
        assert_eq!(word(&log.run(by("c").on(9).resolve(1, Choice::Proposed))), "pending");
        assert_eq!(log.head(), before, "nothing is appended");
        assert_eq!(word(&log.run(by("c").on(12).resolve(1, Choice::Proposed))), "confirmed");
    }
    let mut log = open(Manual);
    log.run(by("b").on(9).merge(json!({ "n": 4 })));
    assert_eq!(word(&log.run(by("c").on(9).resolve(1, Choice::Merged(json!({ "n": 5 }))))), "pending");
    assert_eq!(word(&log.run(by("c").on(9).resolve(1, Choice::Current))), "confirmed, merged", "it writes no n");
}

#[test]
fn a_choice_after_its_own_write_is_not_asked_again() {
    let mut log = open(Manual);
    log.run(by("c").on(9).merge(json!({ "title": "four" })));
    assert_eq!(word(&log.run(by("c").on(9).resolve(1, Choice::Proposed))), "confirmed");
}

#[test]
fn a_choice_made_before_a_deletion_is_asked_again() {
    let mut log = open(Manual);
    log.run(by("b").on(9).delete());
    assert_eq!(word(&log.run(by("c").on(9).resolve(1, Choice::Proposed))), "pending");
    assert_eq!(word(&log.run(by("c").on(12).resolve(1, Choice::Proposed))), "confirmed");
    assert!(log.head().is_there());
}

#[test]
fn a_deletion_that_was_proposed_is_done_when_it_is_chosen() {
    let mut log = made(note());
    log.run(by("b").on(3).merge(json!({ "title": "two" })));
    log.run(by("a").on(3).id(1).with(Manual).delete());
    let mut kept = log.clone();
    assert_eq!(word(&log.run(by("c").on(9).resolve(1, Choice::Proposed))), "confirmed");
    assert!(!log.head().is_there());
    assert_eq!(word(&kept.run(by("c").on(9).resolve(1, Choice::Current))), "confirmed");
    assert!(kept.head().is_there());
}

#[test]
fn a_deletion_that_was_proposed_is_asked_again_when_anything_changed() {
    let mut log = made(note());
    log.run(by("b").on(3).merge(json!({ "title": "two" })));
    log.run(by("a").on(3).id(1).with(Manual).delete());
    log.run(by("b").on(9).merge(json!({ "body": "new" })));
    assert_eq!(word(&log.run(by("c").on(9).resolve(1, Choice::Proposed))), "pending");
}

#[test]
fn an_update_of_a_tombstone_brings_it_back_when_it_is_chosen() {
    let mut log = made(json!({ "title": "one", "n": 1 }));
    log.run(by("b").on(3).delete());
    assert_eq!(word(&log.run(by("a").on(3).id(1).with(Manual).merge(json!({ "n": 2 })))), "pending");
    assert_eq!(word(&log.run(by("c").on(9).resolve(1, Choice::Proposed))), "confirmed");
    assert_eq!((log.head().is_there(), log.data()), (true, json!({ "title": "one", "n": 2 })));
}

#[test]
fn an_explicit_null_that_was_proposed_is_set_when_it_is_chosen() {
    let mut log = made(json!({ "a": 1, "b": 1 }));
    log.run(by("b").on(3).merge(json!({ "a": 2 })));
    let ops = json!([{ "op": "replace", "path": "/a", "value": { "x": null, "y": [null] } }, { "op": "replace", "path": "/b", "value": null }]);
    assert_eq!(word(&log.run(by("a").on(3).id(1).with(Manual).patch(ops))), "pending");
    assert_eq!(word(&log.run(by("c").on(9).resolve(1, Choice::Proposed))), "confirmed");
    assert_eq!(log.data(), json!({ "a": { "x": null, "y": [null] }, "b": null }));
}

#[test]
fn no_more_lies_open_than_is_allowed() {
    let mut log = made(json!({ "a": 1 }));
    log.run(by("b").on(3).merge(json!({ "a": 2 })));
    for n in 0..LIMITS.open {
        let strategy = if n % 2 == 0 { Manual } else { Version };
        log.run(by("a").on(3).with(strategy).merge(json!({ "a": n })));
    }
    let outcome = log.run(by("a").on(3).with(Version).merge(json!({ "a": 9 })));
    assert_eq!(outcome, Outcome::RolledBack(Rollback::TooManyOpen(LIMITS.open)));
}

#[test]
fn a_decision_that_is_no_object_is_refused() {
    let outcome = open(Manual).run(by("c").on(9).resolve(1, Choice::Merged(Value::Null)));
    assert!(matches!(outcome, Outcome::RolledBack(Rollback::PatchFailed(_))));
}
