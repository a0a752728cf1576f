//! Every row and column of the table.

use serde_json::json;

use super::{super::*, support::*};
use crate::model::{EntityKey, rights::Entities};

/// What an operation comes to, what is there afterwards, and whether a record was appended.
fn meets(log: &Log, operation: Operation) -> (String, Entity, bool) {
    let mut log = log.clone();
    let before = log.states.len();
    let outcome = log.run(operation);
    (word(&outcome), log.head(), log.states.len() > before)
}

/// Version 3: made; version 6: `title` changed by b.
fn edited() -> Log {
    let mut log = made(note());
    log.run(by("b").on(3).merge(json!({ "title": "two" })));
    log
}

/// Version 3: made; version 6: deleted by b.
fn deleted() -> Log {
    let mut log = made(note());
    log.run(by("b").on(3).delete());
    log
}

/// One row: what every strategy comes to.
fn row(name: &str, log: &Log, operation: impl Fn(Ask) -> Operation, expected: [&str; 4]) -> [Entity; 4] {
    let mut at = 0;
    [Lww, Merge, Version, Manual].map(|strategy| {
        let (outcome, head, _) = meets(log, operation(by("a").id(9).with(strategy)));
        assert_eq!(outcome, expected[at], "{name}, {strategy:?}");
        at += 1;
        head
    })
}

#[test]
fn create_where_none_is_or_on_a_tombstone_it_has_seen_is_confirmed() {
    for base in [None, Some(0)] {
        let make = |ask: Ask| base.map_or(ask.clone(), |base| ask.on(base)).create(json!({ "title": "new" }));
        for head in row("none there", &Log::default(), make, ["confirmed"; 4]) {
            assert!(head.is_there());
        }
    }
    for head in row("seen", &deleted(), |ask| ask.on(6).create(json!({ "title": "new" })), ["confirmed"; 4]) {
        assert_eq!((head.is_there(), &*head.data), (true, &json!({ "title": "new" })));
    }
}

#[test]
fn create_on_a_tombstone_it_has_not_seen_is_made_anew_by_the_last_writer_alone() {
    let expected = ["recreated", "rollback deleted", "rollback deleted", "rollback deleted"];
    for base in [None, Some(0), Some(3)] {
        let make = |ask: Ask| base.map_or(ask.clone(), |base| ask.on(base)).create(json!({ "title": "new" }));
        let heads = row("unseen tombstone", &deleted(), make, expected);
        assert_eq!(heads.map(|head| head.is_there()), [true, false, false, false]);
    }
}

#[test]
fn create_on_a_tombstone_of_its_own_is_confirmed() {
    let mut log = made(note());
    log.run(by("a").on(3).delete());
    row("own tombstone", &log, |ask| ask.on(3).create(json!({})), ["confirmed"; 4]);
}

#[test]
fn create_where_one_is_there_is_an_update() {
    let make = |ask: Ask| ask.create(json!({ "title": "new", "more": 1 }));
    let expected = ["lastwritewins /more /title", "merged /more /title", "variant", "pending"];
    let [lww, merge, version, manual] = row("one is there", &edited(), make, expected);
    for head in [lww, merge] {
        assert_eq!((&head.data["title"], &head.data["more"]), (&json!("new"), &json!(1)));
        assert_eq!(head.data["body"], "hello", "the rest stays");
    }
    for head in [version, manual] {
        assert_eq!((&*head.data, head.state.open.len()), (&edited().data(), 1));
    }
    row(
        "one is there that it has seen",
        &edited(),
        |ask| ask.on(6).create(json!({ "title": "new" })),
        ["confirmed"; 4],
    );
}

#[test]
fn update_without_a_clash_is_confirmed() {
    for head in row("at the head", &edited(), |ask| ask.on(6).merge(json!({ "title": "three" })), ["confirmed"; 4]) {
        assert_eq!(head.data["title"], "three");
    }
    for head in row("no base", &edited(), |ask| ask.merge(json!({ "title": "three" })), ["confirmed"; 4]) {
        assert_eq!(head.data["title"], "three");
    }
    let other = |ask: Ask| ask.on(3).merge(json!({ "body": "new" }));
    for head in row("another field", &edited(), other, ["confirmed, merged"; 4]) {
        assert_eq!((&head.data["title"], &head.data["body"]), (&json!("two"), &json!("new")));
    }
    let own = |ask: Ask| ask.on(3).merge(json!({ "title": "three" }));
    let mut log = made(note());
    log.run(by("a").on(3).merge(json!({ "title": "two" })));
    row("its own write", &log, own, ["confirmed"; 4]);
}

#[test]
fn update_with_a_clash_follows_its_strategy() {
    let late = |ask: Ask| ask.on(3).merge(json!({ "title": "three", "body": "new" }));
    let expected = ["lastwritewins /title", "merged /title", "variant", "pending"];
    let [lww, merge, version, manual] = row("clash", &edited(), late, expected);
    for head in [lww, merge] {
        assert_eq!((&head.data["title"], &head.data["body"]), (&json!("three"), &json!("new")));
    }
    for (head, kind) in [(version, AlternativeKind::Variant), (manual, AlternativeKind::Conflict)] {
        assert_eq!(head.data, edited().data(), "what stands stays");
        let [open] = &head.state.open[..] else { panic!("one is kept") };
        assert_eq!((open.kind, open.id.as_u128(), open.base), (kind, 9, Position(3)));
        assert_eq!((&open.paths, &open.was), (&vec!["/title".to_owned()], &Some(json!({ "title": "one" }))));
        assert_eq!(open.proposed, Some(json!({ "title": "three", "body": "new" })));
    }
}

#[test]
fn what_is_written_over_is_told_with_who_wrote_it_and_when() {
    let mut log = edited();
    let outcome = log.run(by("a").on(3).merge(json!({ "title": "three" })));
    let expected = Overwritten {
        path: "/title".to_owned(),
        value: Some(json!("two")),
        version: Position(6),
        by: Some(ReplicaId("b".into())),
    };
    assert_eq!(overwritten(&outcome), [expected]);
}

#[test]
fn update_of_a_tombstone_is_rolled_back_unless_a_person_decides() {
    let expected = ["rollback deleted", "rollback deleted", "rollback deleted", "pending"];
    for base in [None, Some(3), Some(6)] {
        let late = |ask: Ask| base.map_or(ask.clone(), |base| ask.on(base)).merge(json!({ "title": "three" }));
        let heads = row("tombstone", &deleted(), late, expected);
        assert!(heads.iter().all(|head| !head.is_there()));
    }
}

#[test]
fn update_of_what_never_was_finds_nothing() {
    row("nothing", &Log::default(), |ask| ask.merge(json!({})), ["rollback notfound"; 4]);
    row("nothing", &Log::default(), |ask| ask.restore(), ["rollback notfound"; 4]);
}

#[test]
fn delete_at_the_head_is_confirmed() {
    for base in [None, Some(6)] {
        let at_head = |ask: Ask| base.map_or(ask.clone(), |base| ask.on(base)).delete();
        for head in row("head", &edited(), at_head, ["confirmed"; 4]) {
            assert_eq!((head.is_there(), &*head.data), (false, &edited().data()), "a tombstone keeps the content");
        }
    }
    let mut log = made(note());
    log.run(by("a").on(3).merge(json!({ "title": "two" })));
    row("its own edit", &log, |ask| ask.on(3).delete(), ["confirmed"; 4]);
}

#[test]
fn delete_of_an_edit_it_has_not_seen_follows_its_strategy() {
    let expected = ["confirmed, merged", "rollback edited", "rollback edited", "pending"];
    let heads = row("unseen edit", &edited(), |ask| ask.on(3).delete(), expected);
    assert_eq!(heads.each_ref().map(Entity::is_there), [false, true, true, true]);
    let [open] = &heads[3].state.open[..] else { panic!("one is kept") };
    assert_eq!((&open.proposed, &open.was), (&None, &Some(json!({ "title": "one" }))));
    assert!(open.paths.is_empty(), "the entity as a whole");
}

#[test]
fn delete_of_what_is_gone_does_nothing() {
    for (log, bases) in [(Log::default(), &[None, Some(0)][..]), (deleted(), &[None, Some(3), Some(6)])] {
        for base in bases {
            let (outcome, head, appended) =
                meets(&log, base.map_or(by("a"), |base| by("a").on(base)).with(Merge).delete());
            assert!(outcome.starts_with("confirmed"), "{outcome}");
            assert_eq!((head, appended), (log.head(), false));
        }
    }
}

#[test]
fn restore_brings_back_what_was_deleted() {
    for head in row("tombstone", &deleted(), |ask| ask.on(6).restore(), ["confirmed"; 4]) {
        assert_eq!((head.is_there(), &*head.data), (true, &note()));
    }
    let (outcome, _, appended) = meets(&edited(), by("a").on(6).restore());
    assert_eq!((outcome.as_str(), appended), ("confirmed", false));
}

#[test]
fn who_has_seen_more_than_stands_here_is_told_so() {
    let ahead = |log: &Log, operation| log.decide(&log.head(), &operation);
    assert_eq!(ahead(&edited(), by("a").on(7).merge(json!({}))), Decision::Ahead);
    assert_eq!(ahead(&edited(), by("a").on(u64::MAX).merge(json!({}))), Decision::Ahead);
    assert_eq!(ahead(&Log::default(), by("a").on(1).create(json!({}))), Decision::Ahead);
}

#[test]
fn a_deletion_does_not_hide_an_edit_from_who_had_not_seen_it() {
    let mut log = edited();
    assert_eq!(word(&log.run(by("a").on(3).with(Lww).delete())), "confirmed, merged");
    assert_eq!(word(&log.run(by("a").on(3).restore())), "confirmed, merged");
    assert_eq!(word(&log.run(by("a").on(3).with(Lww).merge(json!({ "title": "three" })))), "lastwritewins /title");
}

#[test]
fn several_operations_in_one_record_see_each_other_as_later() {
    let log = made(note());
    let step = |head: &Entity, operation: Operation| match log.decide(head, &operation) {
        Decision::Append { next, outcome, .. } => (*next, word(&outcome)),
        other => panic!("{other:?}"),
    };
    let (one, _) = step(&log.head(), by("a").on(3).merge(json!({ "title": "two" })));
    let (two, outcome) = step(&one, by("b").on(3).with(Lww).merge(json!({ "title": "three" })));
    assert_eq!(outcome, "lastwritewins /title");
    let (three, outcome) = step(&two, by("b").on(3).merge(json!({ "title": "four" })));
    assert_eq!(outcome, "confirmed", "its own, and it was told of the other");
    let (four, outcome) = step(&three, by("c").with(Version).merge(json!({ "title": "five" })));
    assert_eq!(outcome, "confirmed", "without a base it has seen what stands");
    assert_eq!(log.decide(&four, &by("c").on(4).merge(json!({}))), Decision::Ahead);
    assert_eq!((reread(&four, Position(9)).version, four.data["title"].as_str()), (Position(9), Some("five")));
}

#[test]
fn what_is_private_is_its_creators() {
    let mut log = made(json!({ "visibility": "private" }));
    assert_eq!(log.head().audience(), Audience::Only(Owner::Instance("maker".parse().expect("an instance"))));
    log.run(by("maker").merge(json!({ "visibility": "team" })));
    assert_eq!(log.head().audience(), Audience::Everyone);
    let mut operation = by("c").create(json!({ "visibility": "private" }));
    operation.stamp.by.user = Some("ada".into());
    let mut log = Log::default();
    log.run(operation);
    let audience = log.head().audience();
    assert_eq!(audience, Audience::Only(Owner::User("ada".into())));
    let (other, own) = ("d".parse().expect("an instance"), "c".parse().expect("an instance"));
    assert!(audience.includes(&other, Some("ada")) && !audience.includes(&own, None));
}

#[test]
fn what_is_somebody_elses_is_not_there_for_anybody_else() {
    let mut log = made(json!({ "visibility": "private" }));
    let shut = ["rollback notfound"; 4];
    row("update", &log, |ask| ask.merge(json!({ "a": 1 })), shut);
    row("update with a version", &log, |ask| ask.on(99).merge(json!({ "a": 1 })), shut);
    row("create", &log, |ask| ask.create(json!({ "a": 1 })), shut);
    row("put", &log, |ask| ask.act(Action::Put(Change::Replace(json!({}).into()))), shut);
    row("delete", &log, Ask::delete, shut);
    row("settle", &log, |ask| ask.resolve(1, Choice::Current), shut);
    row("precondition", &log, |ask| ask.only(Precondition::At(Position(3))).delete(), shut);
    assert_eq!(word(&log.run(by("maker").delete())), "confirmed");
    row("tombstone", &log, |ask| ask.create(json!({ "a": 1 })), shut);
    row("restore", &log, Ask::restore, shut);
    assert_eq!(word(&log.run(by("maker").restore())), "confirmed");
    // Whoever made it private from outside still hears of that.
    let mut log = made(note());
    let turn = by("b").id(7).merge(json!({ "visibility": "private" }));
    assert_eq!(word(&log.run(turn.clone())), "confirmed");
    assert_eq!(word(&log.run(turn)), "repeat");
    assert_eq!(word(&log.run(by("b").merge(json!({ "visibility": "team" })))), "rollback notfound");
    let mut log = made(json!({ "visibility": "private" }));
    log.run(by("maker").number(1).merge(json!({ "a": 1 })));
    let guess = Operation { stamp: stamp("b"), ..by("maker").number(1).merge(json!({})) };
    assert_eq!(word(&log.run(guess)), "rollback notfound", "a number can be guessed");
}

#[test]
fn a_precondition_is_judged_before_everything_but_a_repeat() {
    let at = |version: u64| Precondition::At(Position(version));
    let failed = ["rollback preconditionfailed"; 4];
    for (log, holds, fails) in [
        (Log::default(), &[Precondition::Absent][..], &[at(0), at(3), Precondition::Present][..]),
        (edited(), &[at(6), Precondition::Present], &[at(3), at(9), at(u64::MAX), Precondition::Absent]),
        (deleted(), &[Precondition::Absent], &[at(3), at(6), Precondition::Present]),
    ] {
        let put = |ask: Ask| ask.act(Action::Put(Change::Replace(json!({ "title": "new" }).into())));
        for only in holds {
            row("holds", &log, |ask| put(ask.only(*only)), ["confirmed"; 4]);
        }
        for only in fails {
            row("fails", &log, |ask| put(ask.only(*only)), failed);
            // Before versions that lie beyond it, and before what is done already.
            row("fails", &log, |ask| put(ask.only(*only).on(99)), failed);
            row("fails", &log, |ask| ask.only(*only).delete(), failed);
        }
    }
    let mut log = edited();
    let once = by("a").only(at(6)).merge(json!({ "title": "three" }));
    assert_eq!(word(&log.run(once.clone())), "confirmed");
    assert_eq!(word(&log.run(once)), "repeat");
}

#[test]
fn of_several_in_one_record_that_demand_the_same_version_one_is_done() {
    let log = edited();
    let only = |replica: &str| by(replica).only(Precondition::At(Position(6))).merge(json!({ "title": replica }));
    let Decision::Append { next, .. } = log.decide(&log.head(), &only("a")) else { panic!("the first is done") };
    let failed = Decision::Answer(Outcome::RolledBack(Rollback::PreconditionFailed));
    assert_eq!(log.decide(&next, &only("b")), failed);
    let later = by("b").only(Precondition::At(THIS)).merge(json!({}));
    assert_eq!(log.decide(&next, &later), failed, "nobody has seen what is being made");
}

#[test]
fn a_patch_that_makes_an_entity_leaves_out_what_it_removes() {
    let mut log = Log::default();
    let put = by("a").act(Action::Put(Change::Merge(json!({ "kept": 1, "gone": null, "in": { "gone": null } }))));
    assert_eq!(word(&log.run(put)), "confirmed");
    assert_eq!(log.data(), json!({ "kept": 1, "in": {} }));
}

#[test]
fn whoever_may_change_a_region_moves_nothing_out_of_it_or_into_it() {
    let key = EntityKey::new("node", "n").expect("a key");
    let change = Entities::of([]).and_in(["0,0,10,10".parse().expect("a rectangle")]);
    let bound = |operation: Operation| {
        let regions = change.limits(&key).expect("it is not named");
        Operation { within: Some(Within { key: key.clone(), regions }), ..operation }
    };
    let (inside, outside) = (json!({ "x": 5, "y": 5 }), json!({ "x": 50, "y": 5 }));
    let out = "rollback outofregion";
    // Making it.
    for (content, said) in [(&inside, "confirmed"), (&outside, out), (&json!({ "x": 5 }), out), (&json!({}), out)] {
        let put = by("a").act(Action::Put(Change::Replace(content.clone().into())));
        assert_eq!(word(&Log::default().run(bound(put))), said, "{content}");
        assert_eq!(word(&Log::default().run(bound(by("a").create(content.clone())))), said, "{content}");
    }
    // What lies there.
    let log = made(inside.clone());
    for (operation, said) in [
        (by("a").merge(json!({ "color": "red" })), "confirmed"),
        (by("a").merge(json!({ "x": 9 })), "confirmed"),
        (by("a").merge(json!({ "x": 10 })), out),
        (by("a").merge(json!({ "x": null })), out),
        (by("a").merge(json!({ "x": "5" })), out),
        (by("a").patch(json!([{ "op": "replace", "path": "/y", "value": -1 }])), out),
        (by("a").replace(outside.clone()), out),
        (by("a").delete(), "confirmed"),
    ] {
        assert_eq!(word(&log.clone().run(bound(operation.clone()))), said, "{operation:?}");
    }
    // What does not, also where it would come there or has been deleted.
    let mut log = made(outside);
    let all = |log: &Log| {
        for operation in [
            by("a").merge(json!({ "color": "red" })),
            by("a").merge(inside.clone()),
            by("a").replace(inside.clone()),
            by("a").act(Action::Put(Change::Replace(inside.clone().into()))),
            by("a").create(inside.clone()),
            by("a").only(Precondition::At(Position(3))).delete(),
            by("a").delete(),
            by("a").restore(),
            by("a").resolve(1, Choice::Current),
        ] {
            assert_eq!(word(&log.clone().run(bound(operation.clone()))), out, "{operation:?}");
        }
    };
    all(&log);
    log.run(by("maker").delete());
    all(&log);
    // A repeat is one, though it lies elsewhere now; a number can be guessed.
    let mut log = made(inside.clone());
    let once = bound(by("a").id(8).merge(json!({ "x": 6 })));
    assert_eq!(word(&log.run(once.clone())), "confirmed");
    log.run(by("maker").merge(json!({ "x": 60 })));
    assert_eq!(word(&log.run(once.clone())), "repeat");
    assert_eq!(word(&log.run(Operation { number: Some(9), ..once })), out);
}
