//! JSON patches, whole contents, and what they touch.

use serde_json::{Value, json};

use super::{super::*, support::*};

fn listed() -> Log {
    let mut log = made(json!({ "list": ["a", "b"], "o": { "x": 1 }, "n": 1 }));
    log.run(by("b").on(3).patch(json!([{ "op": "add", "path": "/list/0", "value": "new" }])));
    log
}

#[test]
fn a_failing_test_changes_nothing() {
    let mut log = listed();
    let ops = json!([{ "op": "replace", "path": "/n", "value": 2 }, { "op": "test", "path": "/o/x", "value": 7 }]);
    assert_eq!(log.run(by("a").patch(ops)), Outcome::RolledBack(Rollback::TestFailed("/o/x".to_owned())));
    let ops = json!([{ "op": "test", "path": "/gone", "value": 7 }]);
    assert_eq!(log.run(by("a").patch(ops)), Outcome::RolledBack(Rollback::TestFailed("/gone".to_owned())));
    let ops = json!([{ "op": "replace", "path": "/n", "value": 2 }, { "op": "remove", "path": "/gone" }]);
    assert!(matches!(log.run(by("a").patch(ops)), Outcome::RolledBack(Rollback::PatchFailed(_))));
    assert_eq!((log.data()["n"].as_u64(), log.version()), (Some(1), 6));
}

#[test]
fn a_test_touches_nothing() {
    let mut log = listed();
    let ops = json!([{ "op": "test", "path": "/n", "value": 1 }, { "op": "replace", "path": "/o/x", "value": 2 }]);
    log.run(by("b").on(6).merge(json!({ "n": 1 })));
    assert_eq!(word(&log.run(by("a").on(6).patch(ops))), "confirmed, merged");
}

#[test]
fn elements_of_a_list_that_changed_are_written_as_a_whole_list() {
    let mut log = listed();
    let ops = json!([{ "op": "remove", "path": "/list/1" }, { "op": "replace", "path": "/n", "value": 2 }]);
    let outcome = log.run(by("a").on(3).with(Lww).patch(ops));
    assert_eq!(word(&outcome), "lastwritewins /list");
    assert_eq!(overwritten(&outcome)[0].value, Some(json!(["new", "a", "b"])));
    assert_eq!((&log.data()["list"], &log.data()["n"]), (&json!(["a"]), &json!(2)));
}

#[test]
fn a_writer_that_names_no_base_does_not_take_others_elements_for_its_own() {
    let mut log = listed();
    log.run(by("a").patch(json!([{ "op": "add", "path": "/list/-", "value": "mine" }])));
    let outcome = log.run(by("a").on(3).merge(json!({ "list": ["a", "b", "mine"] })));
    assert_eq!(word(&outcome), "merged /list");
    assert_eq!(overwritten(&outcome)[0].value, Some(json!(["new", "a", "b", "mine"])));
}

#[test]
fn elements_of_a_list_cannot_be_counted_when_the_list_is_not_known_any_more() {
    let mut log = listed();
    log.kept_from = 4;
    let outcome = log.run(by("a").on(3).patch(json!([{ "op": "remove", "path": "/list/1" }])));
    assert_eq!(outcome, Outcome::RolledBack(Rollback::BaseGone));
}

#[test]
fn a_move_touches_both_ends() {
    let mut log = made(json!({ "a": 1, "b": 2 }));
    log.run(by("b").on(3).merge(json!({ "a": 5 })));
    let outcome = log.run(by("a").on(3).patch(json!([{ "op": "move", "from": "/a", "path": "/c" }])));
    assert_eq!(word(&outcome), "merged /a");
    assert_eq!(log.data(), json!({ "b": 2, "c": 5 }));
}

#[test]
fn copies_cannot_blow_a_content_up() {
    let doubling: Vec<Value> = (0..60).map(|n| json!({ "op": "copy", "from": "", "path": format!("/c{n}") })).collect();
    let lists: Vec<Value> = (0..60)
        .map(|n| json!({ "op": "copy", "from": format!("/l{n}"), "path": format!("/l{}", n + 1) }))
        .flat_map(|copy| [copy, json!({ "op": "copy", "from": "/big", "path": "/l0/-" })])
        .collect();
    let mut log = made(json!({ "big": "x".repeat(2_000), "l0": [] }));
    assert!(matches!(log.run(by("a").patch(json!(doubling))), Outcome::RolledBack(_)));
    assert!(matches!(log.run(by("a").patch(json!(lists))), Outcome::RolledBack(Rollback::TooLarge(_))));
    let deeper: Vec<Value> = (0..300)
        .flat_map(|_| {
            [("add", "/t"), ("move", "/t/a"), ("move", "/a")].map(|(op, path)| match path {
                "/t" => json!({ "op": op, "path": path, "value": {} }),
                "/t/a" => json!({ "op": op, "from": "/a", "path": path }),
                _ => json!({ "op": op, "from": "/t", "path": path }),
            })
        })
        .collect();
    let mut log = made(json!({ "a": {} }));
    assert!(matches!(log.run(by("a").patch(json!(deeper))), Outcome::RolledBack(Rollback::PatchFailed(_))));
}

#[test]
fn a_long_list_cannot_be_pushed_to_and_fro_for_long() {
    let mut log = made(json!({ "list": vec![1; 5_000] }));
    let ops: Vec<Value> = (0..2_000).map(|_| json!({ "op": "move", "from": "/list/0", "path": "/list/1" })).collect();
    assert!(matches!(log.run(by("a").patch(json!(ops))), Outcome::RolledBack(Rollback::PatchFailed(_))));
    assert_eq!(word(&log.run(by("a").patch(json!(ops[..300])))), "confirmed");
}

#[test]
fn a_copy_that_leaves_enough_room_is_done() {
    let mut log = made(json!({ "big": "x".repeat(9_000) }));
    let ops = json!([{ "op": "copy", "from": "/big", "path": "/other" }, { "op": "remove", "path": "/big" }]);
    assert_eq!(word(&log.run(by("a").patch(ops))), "confirmed");
    let ops = json!([{ "op": "copy", "from": "/other", "path": "/big" }]);
    assert!(matches!(log.run(by("a").patch(ops)), Outcome::RolledBack(Rollback::TooLarge(_))));
}

#[test]
fn a_content_that_is_too_large_is_refused_however_it_comes() {
    let large = "x".repeat(LIMITS.data_bytes);
    let mut log = made(json!({ "t": "" }));
    let asks = [
        by("a").merge(json!({ "x": large })),
        by("a").replace(json!({ "x": large })),
        by("a").patch(json!([{ "op": "add", "path": "/x", "value": large }])),
        by("a").edit("/t", json!([large])),
        by("a").whole("/t", &large),
    ];
    for ask in asks {
        assert_eq!(log.run(ask), Outcome::RolledBack(Rollback::TooLarge(LIMITS.data_bytes)));
    }
    let outcome = Log::default().run(by("a").create(json!({ "x": large })));
    assert_eq!(outcome, Outcome::RolledBack(Rollback::TooLarge(LIMITS.data_bytes)));
    assert_eq!(log.version(), 3);
}

#[test]
fn a_content_stays_an_object() {
    for content in [json!(null), json!([1]), json!("text")] {
        let mut log = made(json!({}));
        let asks = [
            by("a").merge(content.clone()),
            by("a").replace(content.clone()),
            by("a").patch(json!([{ "op": "replace", "path": "", "value": content }])),
            by("a").create(content.clone()),
        ];
        for ask in asks {
            assert!(matches!(log.run(ask), Outcome::RolledBack(Rollback::PatchFailed(_))));
        }
        assert!(matches!(Log::default().run(by("a").create(content)), Outcome::RolledBack(Rollback::PatchFailed(_))));
    }
}

#[test]
fn a_new_content_writes_only_what_its_sender_changed() {
    let mut log = made(json!({ "a": 1, "b": 2, "c": 3 }));
    log.run(by("b").on(3).merge(json!({ "a": 10, "d": 4 })));
    let outcome = log.run(by("a").on(3).replace(json!({ "a": 1, "b": 20 })));
    assert_eq!(word(&outcome), "confirmed, merged");
    assert_eq!(log.data(), json!({ "a": 10, "b": 20, "d": 4 }));
}

#[test]
fn a_new_content_takes_its_senders_own_earlier_write_back() {
    let mut log = made(json!({ "a": 1, "b": 2 }));
    log.run(by("a").on(3).merge(json!({ "a": 10 })));
    log.run(by("b").on(3).merge(json!({ "b": 20 })));
    assert_eq!(word(&log.run(by("a").on(3).replace(json!({ "a": 1, "b": 2 })))), "confirmed, merged");
    assert_eq!(log.data(), json!({ "a": 1, "b": 20 }));
}

#[test]
fn a_new_content_made_on_what_is_forgotten_touches_everything() {
    let mut log = made(json!({ "a": 1 }));
    log.run(by("b").on(3).merge(json!({ "b": 2 })));
    log.kept_from = 4;
    let mut other = log.clone();
    let outcome = log.run(by("a").on(3).replace(json!({ "a": 5 })));
    assert_eq!(overwritten(&outcome)[0].value, Some(json!({ "a": 1, "b": 2 })));
    assert_eq!((overwritten(&outcome)[0].path.as_str(), log.data()), ("", json!({ "a": 5 })));
    assert_eq!(word(&other.run(by("a").on(3).with(Manual).replace(json!({ "a": 5 })))), "pending");
    assert_eq!(other.head().state.open[0].was, None);
}

#[test]
fn what_is_no_object_is_written_over_and_told_as_a_whole() {
    let mut log = made(json!({ "a": { "x": 1 } }));
    log.run(by("b").on(3).merge(json!({ "a": "a text" })));
    let outcome = log.run(by("a").on(3).merge(json!({ "a": { "x": 2 } })));
    assert_eq!((word(&outcome), &overwritten(&outcome)[0].value), ("merged /a".to_owned(), &Some(json!("a text"))));
    assert_eq!(log.data(), json!({ "a": { "x": 2 } }));
}

#[test]
fn an_empty_object_touches_a_place_only_where_none_stands() {
    let mut log = made(json!({ "a": { "x": 1 } }));
    log.run(by("b").on(3).merge(json!({ "a": { "x": 2 } })));
    assert_eq!(word(&log.run(by("a").on(3).merge(json!({ "a": {} })))), "confirmed, merged");
    log.run(by("b").merge(json!({ "c": 1 })));
    assert_eq!(word(&log.run(by("a").on(3).merge(json!({ "c": {} })))), "merged /c");
    assert_eq!(log.data(), json!({ "a": { "x": 2 }, "c": {} }));
}

#[test]
fn what_changes_no_value_is_a_statement_all_the_same() {
    let mut log = made(json!({ "a": 1 }));
    let same = by("a").on(3).id(1).merge(json!({ "a": 1 }));
    assert_eq!((word(&log.run(same.clone())), log.version()), ("confirmed".to_owned(), 6));
    assert_eq!(word(&log.run(by("b").on(3).with(Version).merge(json!({ "a": 2 })))), "variant");
    assert_eq!(word(&log.run(same)), "repeat");
}
