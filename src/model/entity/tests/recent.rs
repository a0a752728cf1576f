//! No operation is applied twice.

use serde_json::json;

use super::{super::*, support::*};

#[test]
fn a_repeat_is_told_what_became_of_it() {
    let mut log = made(note());
    let one = by("a").on(3).id(1).merge(json!({ "title": "two" }));
    log.run(one.clone());
    log.run(by("b").on(6).merge(json!({ "title": "three" })));
    let outcome = log.run(one);
    let remembered = Remembered { version: Position(6), fate: Fate::Confirmed(Seen::Head) };
    assert_eq!(outcome, Outcome::Repeat(remembered));
    assert_eq!((log.data()["title"].as_str(), log.version()), (Some("three"), 9));
}

#[test]
fn numbers_are_known_in_any_order_within_their_window() {
    let mut log = made(json!({}));
    for number in [5, 7, 6, 70, 68] {
        let outcome = log.run(by("a").number(number).merge(json!({ "n": number })));
        assert_eq!(word(&outcome), "confirmed", "{number}");
    }
    for (number, fate) in [(70, Fate::Confirmed(Seen::Head)), (68, Fate::Applied), (7, Fate::Applied)] {
        let outcome = log.run(by("a").number(number).merge(json!({ "n": 0 })));
        assert_eq!(outcome, Outcome::Repeat(Remembered { version: Position(log.version()), fate }), "{number}");
    }
    let before = log.version();
    for number in [69, 8, 5] {
        // The first two never came; what is below the window is decided by the table.
        log.run(by("a").number(number).merge(json!({ "n": number })));
    }
    assert_eq!(log.version(), before + 9);
    assert_eq!(word(&log.run(by("b").number(70).merge(json!({ "n": 1 })))), "confirmed", "another replica's");
}

#[test]
fn an_operation_that_was_rolled_back_is_decided_anew() {
    for number in [None, Some(4)] {
        let mut log = made(note());
        log.run(by("b").on(3).delete());
        let ask = number.map_or(by("a"), |number| by("a").number(number)).on(3).id(1);
        let late = ask.merge(json!({ "title": "two" }));
        assert_eq!(word(&log.run(late.clone())), "rollback deleted");
        log.run(by("b").restore());
        assert_eq!(word(&log.run(late.clone())), "merged /title", "what was restored was written anew");
        assert_eq!(word(&log.run(late)), "repeat");
    }
}

#[test]
fn what_lies_open_is_a_repeat_even_when_it_is_forgotten() {
    let mut log = made(note());
    log.run(by("b").on(3).merge(json!({ "title": "two" })));
    let late = by("a").on(3).id(1).with(Manual).merge(json!({ "title": "three" }));
    assert_eq!(word(&log.run(late.clone())), "pending");
    for _ in 0..80 {
        log.run(by("b").merge(json!({ "body": "x" })));
    }
    assert!(matches!(log.run(late), Outcome::Repeat(Remembered { fate: Fate::Pending(_), .. })));
    assert_eq!(log.head().state.open.len(), 1);
}

#[test]
fn memory_is_bounded() {
    let mut log = made(json!({}));
    for replica in 0..100 {
        log.run(by(&format!("r{replica}")).number(1).merge(json!({ "n": replica })));
        log.run(by("a").merge(json!({ "n": 0 })));
    }
    let state = serde_json::to_value(log.head().state).expect("a state");
    let count = |name: &str| state["recent"][name].as_array().map(Vec::len);
    assert_eq!((count("replicas"), count("ids")), (Some(64), Some(64)));
    assert_eq!(word(&log.run(by("r99").number(1).merge(json!({})))), "repeat");
    let oldest = by("r0").number(1).merge(json!({}));
    assert_eq!(word(&log.run(oldest)), "confirmed", "the oldest is forgotten");
}
