//! Contents that are of one piece: sealed and signed ones are never merged with anything, and nothing of them is lost.

use serde_json::{Value, json};

use super::{super::*, support::*};
use crate::model::sealed;

fn sealed(n: u8) -> Value {
    let letter = char::from(b'A' + n);
    let ciphertext = letter.to_string().repeat(43) + "A";
    json!({"$sealed": {"alg": "XC20P", "kid": format!("k{}", n % 2), "nonce": letter.to_string().repeat(32), "ciphertext": ciphertext}})
}

fn signed(content: &Value) -> Value {
    let value = format!("{}A", "B".repeat(85));
    let sig = json!({"alg": "EdDSA", "kid": "k", "by": "user:ada", "at": "2025-12-06T10:00:00.000Z", "value": value});
    json!({"$signed": sig, "content": content})
}

fn is_one_of(log: &Log, written: &[Value]) {
    let stands = log.data();
    assert!(written.contains(&stands), "{stands} is nobody's");
    assert!(sealed::check(stands.as_object().expect("an object")).is_ok());
}

#[test]
fn no_part_of_what_is_of_one_piece_can_be_changed() {
    for whole in [sealed(1), signed(&json!({"title": "one", "list": [1]}))] {
        let mut log = made(whole.clone());
        for operation in [
            by("a").merge(json!({"title": "plain"})),
            by("a").merge(json!({"$sealed": {"nonce": "other"}})),
            by("a").patch(json!([{"op": "replace", "path": "/$sealed/nonce", "value": "x"}])),
            by("a").patch(json!([{"op": "add", "path": "/title", "value": "x"}])),
            by("a").edit("/content/title", json!(["x"])),
            by("a").whole("/$sealed/ciphertext", "x"),
            by("a").act(Action::Put(Change::Merge(json!({"title": "plain"})))),
        ] {
            assert_eq!(log.run(operation.clone()), Outcome::RolledBack(Rollback::WholeOnly), "{operation:?}");
        }
        assert_eq!((log.data(), log.version()), (whole, 3));
    }
}

#[test]
fn no_patch_mixes_something_sealed_into_what_is_plain() {
    let mut log = made(note());
    for operation in [
        by("a").merge(json!({"$sealed": sealed(1)["$sealed"]})),
        by("a").patch(json!([{"op": "add", "path": "/$sealed", "value": sealed(1)["$sealed"]}])),
        by("a").replace(json!({"$sealed": sealed(1)["$sealed"], "title": "beside"})),
        by("a").replace(json!({"$signed": {}, "content": {}})),
    ] {
        assert_eq!(log.run(operation.clone()), Outcome::RolledBack(Rollback::WholeOnly), "{operation:?}");
    }
    assert_eq!((log.data(), log.version()), (note(), 3));
}

#[test]
fn whole_contents_follow_each_other_and_plain_ones() {
    let mut log = made(note());
    for content in [sealed(1), sealed(2), signed(&json!({"a": null})), sealed(3), note()] {
        let version = log.version();
        assert_eq!(word(&log.run(by("a").on(version).replace(content.clone()))), "confirmed");
        assert_eq!(log.data(), content, "nothing of what stood before is left");
    }
}

#[test]
fn of_two_who_write_at_once_one_holds_and_the_other_is_told_what_it_wrote_over() {
    for (first, second) in [(sealed(1), sealed(2)), (note(), sealed(2)), (sealed(1), json!({"title": "plain"}))] {
        for strategy in [Merge, Lww] {
            let mut log = made(sealed(0));
            log.run(by("a").on(3).replace(first.clone()));
            let outcome = log.run(by("b").on(3).with(strategy).replace(second.clone()));
            assert_eq!(word(&outcome), "lastwritewins", "of the whole: {outcome:?}");
            assert_eq!(overwritten(&outcome)[0].value, Some(first.clone()));
            assert_eq!(log.data(), second);
        }
    }
}

#[test]
fn whoever_makes_what_is_there_replaces_it_as_a_whole() {
    for (stands, made_anew) in [(sealed(0), sealed(1)), (note(), sealed(1)), (sealed(0), note())] {
        let mut log = made(stands.clone());
        let outcome = log.run(by("b").create(made_anew.clone()));
        assert_eq!(overwritten(&outcome)[0].value, Some(stands));
        assert_eq!(log.data(), made_anew);
    }
}

#[test]
fn a_variant_and_a_conflict_are_kept_whole_and_chosen_whole() {
    for (strategy, expected) in [(Version, "variant"), (Manual, "pending")] {
        for (first, second) in [(sealed(1), sealed(2)), (note(), sealed(2)), (sealed(1), json!({"title": null}))] {
            let mut log = made(sealed(0));
            log.run(by("a").on(3).replace(first.clone()));
            let outcome = log.run(by("b").on(3).id(7).with(strategy).replace(second.clone()));
            assert_eq!(word(&outcome), expected, "{outcome:?}");
            assert_eq!(log.data(), first);
            let open = log.head().state.open[0].clone();
            assert_eq!((open.proposed.as_ref(), open.whole), (Some(&second), true), "both are there");
            let version = log.version();
            assert_eq!(word(&log.run(by("c").on(version).resolve(7, Choice::Proposed))), "confirmed");
            assert_eq!(log.data(), second, "and no mixture of both");
            assert!(log.head().state.open.is_empty());
        }
    }
}

#[test]
fn whoever_chooses_may_seal_anew_but_not_patch() {
    let mut log = made(sealed(0));
    log.run(by("a").on(3).replace(sealed(1)));
    log.run(by("b").on(3).id(7).with(Manual).replace(sealed(2)));
    let version = log.version();
    let patch = Choice::Merged(json!({"title": "plain"}));
    assert_eq!(log.run(by("c").on(version).resolve(7, patch)), Outcome::RolledBack(Rollback::WholeOnly));
    assert_eq!(word(&log.run(by("c").on(version).resolve(7, Choice::Merged(sealed(3))))), "confirmed");
    assert_eq!(log.data(), sealed(3));
}

#[test]
fn a_part_that_was_proposed_before_cannot_be_chosen_into_what_is_sealed_now() {
    let mut log = made(note());
    log.run(by("a").on(3).merge(json!({"title": "two"})));
    log.run(by("b").on(3).id(7).with(Manual).merge(json!({"title": "three"})));
    let version = log.version();
    log.run(by("a").on(version).replace(sealed(1)));
    let version = log.version();
    let outcome = log.run(by("c").on(version).resolve(7, Choice::Proposed));
    assert_eq!(outcome, Outcome::RolledBack(Rollback::WholeOnly));
    assert_eq!(log.data(), sealed(1));
    assert_eq!(word(&log.run(by("c").on(version).resolve(7, Choice::Current))), "confirmed");
}

#[test]
fn a_whole_choice_is_asked_again_if_anything_changed_meanwhile() {
    let mut log = made(sealed(0));
    log.run(by("a").on(3).replace(sealed(1)));
    log.run(by("b").on(3).id(7).with(Manual).replace(sealed(2)));
    let seen = log.version();
    log.run(by("a").on(seen).replace(sealed(3)));
    assert_eq!(word(&log.run(by("c").on(seen).resolve(7, Choice::Proposed))), "pending");
    assert_eq!(log.data(), sealed(3));
}

#[test]
fn what_changed_is_told_with_the_seal_as_a_whole() {
    for (old, new) in [(sealed(1), sealed(3)), (sealed(1), sealed(2)), (note(), sealed(1)), (sealed(1), note())] {
        let delta = Delta::between(Some(&old), &new, &[]);
        let patch = delta.patch.clone().expect("a patch");
        assert!(patch["$sealed"].is_null() || patch["$sealed"] == new["$sealed"], "{patch}");
        assert_eq!(delta.apply(&old), Ok(new));
    }
}

#[test]
fn however_sealed_and_plain_contents_meet_what_stands_is_what_somebody_wrote() {
    let contents = [sealed(0), sealed(1), sealed(2), note(), signed(&note())];
    for seed in 0..400_usize {
        let mut random = fastrand::Rng::with_seed(seed as u64);
        let mut log = made(contents[seed % contents.len()].clone());
        for _ in 0..8 {
            let content = random.choice(&contents).expect("one").clone();
            let strategy = *random.choice(&[Merge, Lww, Version, Manual]).expect("one");
            let base = *random.choice(&[3, log.version()]).expect("one");
            let ask = by(["a", "b"][random.usize(..2)]).on(base).with(strategy);
            let open = log.head().state.open.first().map(|open| open.id);
            log.run(match (random.u8(..4), open) {
                (0, Some(id)) => ask.act(Action::Resolve(Resolve { id, choice: Choice::Proposed })),
                (1, _) => ask.create(content),
                (2, _) => ask.act(Action::Put(Change::Replace(content.into()))),
                _ => ask.replace(content),
            });
            // Plain contents are merged field by field; what is of one piece never.
            let stands = log.data();
            if sealed::is_marked(stands.as_object().expect("an object")) {
                is_one_of(&log, &contents);
            }
        }
    }
}
