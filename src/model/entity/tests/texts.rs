//! Texts that several edit at once.

use serde_json::json;

use super::{super::*, support::*};

fn text(log: &Log) -> String {
    log.data()["t"].as_str().expect("a text").to_owned()
}

/// `t` is "hello world"; b has put "big " before the world (6).
fn edited() -> Log {
    let mut log = made(json!({ "t": "hello world", "list": ["one", "two"] }));
    log.run(by("b").on(3).edit("/t", json!([6, "big "])));
    log
}

#[test]
fn edits_of_one_text_are_brought_together_whatever_the_last_writer_wants() {
    for strategy in [Lww, Merge] {
        let mut log = edited();
        assert_eq!(word(&log.run(by("a").on(3).with(strategy).edit("/t", json!([11, "!"])))), strategy_word(strategy));
        assert_eq!(text(&log), "hello big world!");
    }
}

fn strategy_word(_: Strategy) -> &'static str {
    "merged"
}

#[test]
fn an_edit_tells_how_it_was_applied() {
    let log = edited();
    let Decision::Append { texts, next, .. } = log.decide(&log.head(), &by("a").on(3).edit("/t", json!([11, "!"])))
    else {
        panic!("it is appended");
    };
    assert_eq!(texts, [("/t".to_owned(), text_ops(json!([15, "!"])))]);
    assert_eq!(next.state.texts[0].edits[1].sent, Some((3, text_ops(json!([11, "!"])))));
}

#[test]
fn a_replicas_queued_edits_follow_each_other_among_those_of_others() {
    let mut log = edited();
    log.run(by("a").on(3).edit("/t", json!([11, "!"])));
    log.run(by("b").on(6).edit("/t", json!(["oh, "])));
    assert_eq!(word(&log.run(by("a").on(3).edit("/t", json!([12, "?"])))), "merged");
    assert_eq!(text(&log), "oh, hello big world!?");
}

#[test]
fn a_replica_goes_on_writing_while_its_edits_are_under_way() {
    let mut log = made(json!({ "t": "hello" }));
    log.run(by("b").on(3).edit("/t", json!(["1"]))); // 6
    log.run(by("b").on(6).edit("/t", json!([6, "2"]))); // 9
    log.run(by("a").on(3).edit("/t", json!([5, "x"]))); // 12: "1hello2x"
    log.run(by("a").on(3).edit("/t", json!([6, "y"]))); // 15
    // It has seen 6 by now: before its eyes stands "1helloxy".
    assert_eq!(word(&log.run(by("a").on(6).edit("/t", json!([8, "z"])))), "merged");
    assert_eq!(text(&log), "1hello2xyz");
}

#[test]
fn a_replicas_own_queued_edits_do_not_clash() {
    let mut log = made(json!({ "t": "" }));
    for n in 0..100 {
        assert_eq!(
            word(&log.run(by("a").on(3).edit("/t", if n == 0 { json!(["x"]) } else { json!([n, "x"]) }))),
            "confirmed"
        );
    }
    assert_eq!(text(&log).len(), 100);
    let field = &log.head().state.texts[0];
    assert_eq!(field.edits.len(), 32);
}

#[test]
fn a_whole_text_is_merged_with_what_others_did() {
    let mut log = edited();
    assert_eq!(word(&log.run(by("a").on(3).whole("/t", "hello world!"))), "merged");
    assert_eq!(text(&log), "hello big world!");
    let mut log = edited();
    assert_eq!(word(&log.run(by("a").on(6).whole("/t", "hello world!"))), "confirmed");
    assert_eq!(text(&log), "hello world!");
}

#[test]
fn an_edit_that_the_kept_ones_do_not_reach_is_merged_with_the_text_it_was_made_on() {
    let mut log = made(json!({ "t": "hello" }));
    for n in 0..40 {
        log.run(by("b").edit("/t", json!([5 + n, "x"])));
    }
    let mut gone = log.clone();
    assert_eq!(word(&log.run(by("a").on(3).edit("/t", json!(["oh, "])))), "merged");
    assert!(text(&log).starts_with("oh, hellox"));
    gone.kept_from = 4;
    assert_eq!(gone.run(by("a").on(3).edit("/t", json!(["oh, "]))), Outcome::RolledBack(Rollback::BaseGone));
}

#[test]
fn a_text_written_as_a_field_is_merged_or_written_over_by_its_strategy() {
    let mut log = edited();
    assert_eq!(word(&log.run(by("a").on(3).merge(json!({ "t": "hello world!" })))), "merged");
    assert_eq!(text(&log), "hello big world!");
    let mut log = edited();
    assert_eq!(word(&log.run(by("a").on(3).with(Lww).merge(json!({ "t": "hello world!" })))), "lastwritewins /t");
    assert_eq!((text(&log), log.head().state.texts[0].edits.len()), ("hello world!".to_owned(), 0));
    log.run(by("a").on(9).merge(json!({ "t": 5 })));
    assert!(log.head().state.texts.is_empty(), "it is no text any more");
}

#[test]
fn a_writer_does_not_wipe_out_what_its_own_edit_was_merged_with() {
    let mut log = edited();
    log.run(by("a").on(3).edit("/t", json!([11, "!"])));
    let outcome = log.run(by("a").on(3).with(Lww).merge(json!({ "t": "hello world!!" })));
    assert_eq!(word(&outcome), "lastwritewins /t");
}

#[test]
fn a_clashing_edit_is_kept_as_the_whole_text_that_its_sender_has() {
    for (strategy, expected) in [(Version, "variant"), (Manual, "pending")] {
        let mut log = edited();
        assert_eq!(word(&log.run(by("a").on(3).with(strategy).edit("/t", json!([11, "!"])))), expected);
        let open = &log.head().state.open[0];
        assert_eq!(
            (&open.proposed, &open.was),
            (&Some(json!({ "t": "hello world!" })), &Some(json!({ "t": "hello world" })))
        );
        assert_eq!(text(&log), "hello big world");
    }
}

#[test]
fn an_edit_that_does_not_fit_is_rolled_back() {
    let mut log = edited();
    for operation in [
        by("a").edit("/t", json!([99, "!"])),
        by("a").on(3).edit("/t", json!([99, "!"])),
        by("a").edit("/gone", json!(["!"])),
        by("a").edit("/list", json!(["!"])),
        by("a").edit("t", json!(["!"])),
        by("a").edit("", json!(["!"])),
        by("a").edit("/~2", json!(["!"])),
        by("a").on(3).whole("/gone", "!"),
    ] {
        assert!(matches!(log.run(operation), Outcome::RolledBack(Rollback::TextFailed(_))));
    }
    assert_eq!(log.version(), 6);
}

#[test]
fn a_text_in_a_list_is_edited_while_the_list_stands_still() {
    let mut log = edited();
    log.run(by("b").on(6).edit("/list/1", json!([3, "!"])));
    assert_eq!(word(&log.run(by("a").on(3).edit("/list/1", json!(["the "])))), "merged");
    assert_eq!(log.data()["list"], json!(["one", "the two!"]));
    log.run(by("b").on(12).patch(json!([{ "op": "remove", "path": "/list/0" }])));
    log.run(by("b").on(15).patch(json!([{ "op": "add", "path": "/list/-", "value": "x" }])));
    let outcome = log.run(by("a").on(12).edit("/list/1", json!(["oh, "])));
    assert!(matches!(outcome, Outcome::RolledBack(Rollback::TextFailed(_))));
}

#[test]
fn what_is_kept_of_edits_is_bounded() {
    let mut log = made(json!((0..30).map(|n| (format!("t{n}"), json!(""))).collect::<serde_json::Map<_, _>>()));
    log.limits = Some(Limits { data_bytes: 1_000_000, open: 8 });
    for n in 0..30 {
        log.run(by("a").edit(&format!("/t{n}"), json!(["x"])));
        log.run(by("b").edit("/t0", json!(["y".repeat(900)])));
    }
    let state = log.head().state;
    assert_eq!(state.texts.len(), 16);
    let first = state.texts.iter().find(|field| field.path == "/t0").expect("edited last");
    assert!(serde_json::to_string(&first.edits).expect("edits").len() < 5_000);
    log.run(by("b").edit("/t0", json!(["z".repeat(9_000)])));
    let field = log.head().state.texts.into_iter().find(|field| field.path == "/t0").expect("edited last");
    assert_eq!((field.edits.len(), field.since), (0, Position(log.version())));
}
