//! Properties of edits, over texts in which a code point is often more than one byte and never the whole character.

mod many;

use std::ops::Range;

use operational_transform::OperationSeq;
use proptest::{
    collection::vec,
    prelude::*,
    sample::{Index, select},
};
use serde_json::json;

use super::{MAX_PARTS, MAX_REACH, TextError, TextOps, between, carry, merge};

/// Few letters, so that differences have something to confuse; beside them one of two, three and four bytes, one that
/// combines with what stands before it, and a pair that is one character to the reader.
const LETTERS: [&str; 9] = ["a", "b", "a", "b", "\n", "é", "e\u{301}", "字", "👩🏽\u{200d}🔬"];

fn text(length: Range<usize>) -> impl Strategy<Value = String> {
    vec(select(&LETTERS[..]), length).prop_map(|letters| letters.concat())
}

/// What to do next at a place in a text: kind, how much, and what to insert.
type Step = (u8, usize, String);

fn steps() -> impl Strategy<Value = Vec<Step>> {
    vec((0..3_u8, 1..6_usize, text(1..4)), 0..8)
}

/// An edit of a text of this length; steps beyond its end do nothing.
fn edit(mut length: usize, steps: &[Step]) -> TextOps {
    let mut ops = OperationSeq::default();
    for (kind, count, text) in steps {
        let count = *count.min(&length);
        match kind {
            0 => ops.insert(text),
            1 => ops.retain(count as u64),
            _ => ops.delete(count as u64),
        }
        length -= if *kind == 0 { 0 } else { count };
    }
    TextOps::canonical(ops)
}

fn edit_of(text: &str, steps: &[Step]) -> TextOps {
    edit(text.chars().count(), steps)
}

fn list(value: serde_json::Value) -> TextOps {
    serde_json::from_value(value).expect("an edit")
}

fn refusal(text: &str) -> String {
    serde_json::from_str::<TextOps>(text).expect_err(text).to_string()
}

// --- Applying ---

#[test]
fn an_edit_keeps_deletes_and_inserts_code_points() {
    assert_eq!(list(json!([1, -1, "ü", 2, "!"])).apply("a👍cd"), Ok("aücd!".into()));
    // The combining accent is a code point of its own.
    assert_eq!(list(json!([1, -1])).apply("e\u{301}!"), Ok("e!".into()));
    assert_eq!(list(json!([])).apply("whatever"), Ok("whatever".into()));
}

#[test]
fn an_edit_that_reaches_beyond_the_end_says_how_far() {
    let refused = list(json!([2, -3])).apply("a👍c").expect_err("too short");
    assert_eq!(refused, TextError::OutOfRange { length: 3, reach: 5 });
    assert_eq!(refused.to_string(), "the edit reaches 5 code points into the text, but the text has 3");
    // A keep at the end says nothing, so it cannot be out of range.
    assert_eq!(list(json!(["x", 5])).apply(""), Ok("x".into()));
}

// --- Reading and writing ---

#[test]
fn every_way_to_write_an_edit_is_read_as_one() {
    let read = list(json!([2, "", 1, -1, "a", -2, "b", 0x10]));
    assert_eq!(read, list(json!([3, "ab", -3])));
    assert_eq!(serde_json::to_string(&read).expect("JSON"), r#"[3,"ab",-3]"#);
    for nothing in [json!([]), json!([""]), json!([7]), json!(["", 7, ""])] {
        assert_eq!(list(nothing), TextOps::default());
    }
    assert_eq!(serde_json::to_string(&TextOps::default()).expect("JSON"), "[]");
}

#[test]
fn what_is_no_edit_is_refused_in_words() {
    for (sent, says) in [
        ("[1,0]", "0 is no part of an edit"),
        ("[16777217]", "16777217 is too far"),
        ("[-16777217]", "16777217 is too far"),
        ("[-9223372036854775808]", "9223372036854775808 is too far"),
        ("[18446744073709551615]", "18446744073709551615 is too far"),
        ("[16777216,-1]", "add up to more than 16777216"),
        ("[-16777216,\"a\",1]", "add up to more than 16777216"),
        ("[1.5]", "floating point `1.5`, expected a positive whole number"),
        ("[99999999999999999999]", "floating point"),
        ("[true]", "boolean `true`, expected a positive whole number"),
        ("[null]", "null, expected a positive whole number"),
        ("[[1]]", "sequence, expected a positive whole number"),
        ("[{}]", "map, expected a positive whole number"),
        ("{}", "map, expected a list of whole numbers and strings"),
        ("\"a\"", "string \"a\", expected a list of whole numbers and strings"),
    ] {
        assert!(refusal(sent).contains(says), "{sent}: {}", refusal(sent));
    }
    assert!(serde_json::from_str::<TextOps>("[16777215,-1]").is_ok());
}

#[test]
fn an_edit_has_at_most_so_many_parts() {
    let parts = |count: usize| format!("[{}]", vec!["1"; count].join(","));
    assert_eq!(serde_json::from_str::<TextOps>(&parts(MAX_PARTS)).expect("an edit"), TextOps::default());
    assert!(refusal(&parts(MAX_PARTS + 1)).contains("at most 10000 parts"));
}

// --- Limits on what comes out ---

#[test]
fn what_would_not_be_read_again_is_not_handed_out() {
    let far = list(json!([MAX_REACH - 1, "a"]));
    let longer = list(json!(["b", MAX_REACH - 1, "c"]));
    assert_eq!(far.transform(&list(json!(["bb"]))), Err(TextError::TooFar { reach: MAX_REACH + 1 }));
    assert_eq!(far.then(&longer).map(|both| both.reach()), Ok(MAX_REACH - 1));
    let wipe = list(json!([-16_777_216]));
    assert_eq!(wipe.then(&list(json!([1, -1]))), Err(TextError::TooFar { reach: MAX_REACH + 2 }));

    // A letter into each gap of the other: twice as many parts.
    let comb =
        |kept: usize| list((0..MAX_PARTS).map(|at| if at % 2 == 0 { json!(kept) } else { json!("x") }).collect());
    assert!(matches!(comb(2).then(&comb(1)), Err(TextError::TooManyParts { .. })));
}

// --- Differences and merges ---

#[test]
fn two_insertions_at_one_place_stand_in_the_order_of_the_log() {
    let (first, second) = (list(json!([1, "first"])), list(json!([1, "second"])));
    assert_eq!(second.transform(&first), Ok(list(json!([6, "second"]))));
    assert_eq!(TextOps::transform_pair(&first, &second), Ok((first.clone(), list(json!([6, "second"])))));
    assert_eq!(merge("ab", "a1b", "a2b").0, "a12b");
}

#[test]
fn making_way_for_two_edits_as_one_may_differ_from_doing_so_in_turn() {
    // On "X": insert "a" before it, while somebody inserts "b" behind it and then deletes it.
    let (ours, insert, delete) = (list(json!(["a"])), list(json!([1, "b"])), list(json!([-1])));
    let in_turn = ours.transform(&insert).and_then(|ours| ours.transform(&delete));
    let as_one = insert.then(&delete).and_then(|both| ours.transform(&both));
    assert_eq!((in_turn, as_one), (Ok(list(json!(["a"]))), Ok(list(json!([1, "a"])))));
}

#[test]
fn a_difference_is_as_small_as_the_edit() {
    for (old, new, expected) in [
        ("same", "same", json!([])),
        ("", "new", json!(["new"])),
        ("old", "", json!([-3])),
        ("a cat sat", "a bat sat", json!([2, "b", -1])),
        ("👍👎", "👍x👎", json!([1, "x"])),
        ("one two three", "one three four", json!([5, -4, 4, " four"])),
    ] {
        assert_eq!(TextOps::between(old, new), list(expected), "{old} -> {new}");
    }
}

#[test]
fn edits_far_apart_in_a_long_text_leave_the_middle_alone() {
    let middle: String = (0..1500).map(|line| format!("line {line} of a long text\n")).collect();
    let old = format!("first line\n{middle}last line\n");
    let new = format!("first, changed line\n{middle}last lines\n");
    let ops = TextOps::between(&old, &new);
    assert_eq!(ops, list(json!([5, ", changed", 5 + 1 + middle.chars().count() + 9, "s"])));
    let current = old.replace("line 700 of", "line 700, moved, of");
    assert_eq!(merge(&old, &current, &new).0, new.replace("line 700 of", "line 700, moved, of"));
}

#[test]
fn a_difference_never_has_too_many_parts() {
    // Of one comparison: at worst every other item is kept, and between two of them stand an insertion and a deletion.
    assert!(3 * between::BUDGET.isqrt() / 2 + 2 <= MAX_PARTS);
    // Of many: 900 lines, in each of which six places would be changed.
    let line = |number| format!("{number}: one two three four five six\n{number}\n");
    let old: String = (0..900).map(line).collect();
    let new = old.replace(' ', "-");
    let ops = TextOps::between(&old, &new);
    assert_eq!(ops.0.ops().len(), 3 * 900);
    assert_eq!(ops.apply(&old), Ok(new));
}

#[test]
fn a_merge_of_differences_that_cut_each_other_up_keeps_the_limits() {
    let line = |number| format!("{number}:{}\n{number}\n", ('A'..='L').map(|c| format!("{c}<>")).collect::<String>());
    let base: String = (0..300).map(line).collect();
    let (current, proposed) = (base.replace("<>", "<|>"), base.replace("<>", ""));
    let (merged, ops) = merge(&base, &current, &proposed);
    assert_eq!(merged, base.replace("<>", "|"));
    let cut_up = TextOps::between(&base, &proposed).transform(&TextOps::between(&base, &current));
    assert!(matches!(cut_up, Err(TextError::TooManyParts { .. })), "{cut_up:?}");
    assert_eq!(ops.apply(&current), Ok(merged));
    assert_eq!(ops.clone().within_limits(), Ok(ops));
}

#[test]
fn texts_without_anything_in_common_cost_little() {
    let of = |letter: char, count| letter.to_string().repeat(count);
    for (old, new) in [
        (of('a', 1_000_000), of('b', 1_000_000)),
        (of('a', 1_000_000), "b".into()),
        ("ab".repeat(300_000), "ba".repeat(200_000) + "c"),
        ("a\n".repeat(300_000), "b\n".repeat(300_000)),
        (of('\n', 2_000) + &of('a', 500_000), "b\n".repeat(500) + &of('c', 500_000)),
        (of('a', 2_000), of('b', 2_000)),
        ("aab".repeat(666), "abb".repeat(666)),
    ] {
        assert_eq!(TextOps::between(&old, &new).apply(&old), Ok(new));
    }
}

#[test]
fn a_long_insertion_cut_into_many_pieces_is_composed_in_one_pass() {
    let long = list(json!(["é".repeat(1_000_000)]));
    let cuts = list((0..MAX_PARTS).map(|at| if at % 2 == 0 { json!(90) } else { json!(-10) }).collect());
    let both = long.then(&cuts).expect("within limits");
    assert_eq!(both.apply(""), long.apply("").and_then(|text| cuts.apply(&text)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn two_edits_of_a_text_converge(text in text(0..20), a in steps(), b in steps()) {
        let (a, b) = (edit_of(&text, &a), edit_of(&text, &b));
        let (a_after_b, b_after_a) = TextOps::transform_pair(&a, &b).expect("within limits");
        prop_assert_eq!(b.transform(&a), Ok(b_after_a.clone()));
        let one = a.apply(&text).and_then(|text| b_after_a.apply(&text));
        let other = b.apply(&text).and_then(|text| a_after_b.apply(&text));
        prop_assert!(one.is_ok());
        prop_assert_eq!(one, other);
        prop_assert_eq!(a.then(&b_after_a), b.then(&a_after_b));
    }

    #[test]
    fn two_edits_in_a_row_are_one(text in text(0..20), a in steps(), b in steps()) {
        let a = edit_of(&text, &a);
        let between = a.apply(&text).expect("in range");
        let b = edit_of(&between, &b);
        let both = a.then(&b).expect("within limits");
        prop_assert_eq!(both.apply(&text), b.apply(&between));
        let crates = a.padded(text.chars().count()).compose(&b.padded(between.chars().count())).expect("same lengths");
        prop_assert_eq!(both, TextOps::canonical(crates));
    }

    #[test]
    fn a_difference_leads_from_one_text_to_the_other(old in text(0..40), new in text(0..40)) {
        let ops = TextOps::between(&old, &new);
        prop_assert_eq!(ops.apply(&old), Ok(new.clone()));
        prop_assert_eq!(ops.is_empty(), old == new);
        prop_assert_eq!(&ops, &TextOps::between(&old, &new));
    }

    #[test]
    fn a_difference_is_right_however_little_it_may_cost(
        old in text(0..40), new in text(0..40), budget in 0..2000_usize,
    ) {
        let ops = TextOps::canonical(between::between(&old, &new, budget));
        prop_assert_eq!(ops.apply(&old), Ok(new));
    }

    #[test]
    fn a_difference_is_no_larger_than_the_edit_was(text in text(0..40), place in any::<Index>(), new in text(0..6)) {
        let place = place.index(text.chars().count() + 1);
        let after = list(if place == 0 { json!([new]) } else { json!([place, new]) }).apply(&text).expect("in range");
        let ops = TextOps::between(&text, &after);
        prop_assert_eq!(ops.0.target_len() - ops.0.base_len(), new.chars().count());
        prop_assert!(ops.0.ops().len() <= 2);
    }

    #[test]
    fn a_merge_keeps_what_both_sides_did_in_different_places(
        parts in [text(1..9), text(1..9), text(1..9)], ours in text(0..9), theirs in text(0..9),
    ) {
        // Marks that nothing else contains, so that no difference can slip over them.
        let whole = |first: &str, last: &str| format!("{first}<{}>{last}", parts[1]);
        let (base, current) = (whole(&parts[0], &parts[2]), whole(&ours, &parts[2]));
        let (merged, ops) = merge(&base, &current, &whole(&parts[0], &theirs));
        prop_assert_eq!(&merged, &whole(&ours, &theirs));
        prop_assert_eq!(ops.apply(&current), Ok(merged));
    }

    #[test]
    fn a_merge_says_how_to_get_there(base in text(0..20), current in text(0..20), proposed in text(0..20)) {
        let (merged, ops) = merge(&base, &current, &proposed);
        prop_assert_eq!(ops.apply(&current), Ok(merged));
    }

    #[test]
    fn a_merge_with_a_side_that_did_nothing_is_the_other_side(base in text(0..20), other in text(0..20)) {
        prop_assert_eq!(merge(&base, &other, &other), (other.clone(), TextOps::default()));
        prop_assert_eq!(merge(&base, &base, &other), (other.clone(), TextOps::between(&base, &other)));
        prop_assert_eq!(merge(&base, &other, &base), (other, TextOps::default()));
    }

    #[test]
    fn what_was_written_is_read_back(steps in steps()) {
        let ops = edit(30, &steps);
        let written = serde_json::to_string(&ops).expect("JSON");
        let read: TextOps = serde_json::from_str(&written).expect("an edit");
        prop_assert_eq!(&read, &ops);
        prop_assert_eq!(serde_json::to_string(&read).expect("JSON"), written);
    }

    #[test]
    fn nothing_that_is_sent_makes_it_panic(
        text in text(0..20), a in sent(any::<i64>()), b in sent(MAX_REACH as i64 - 200..MAX_REACH as i64 + 2),
    ) {
        let read = |parts| serde_json::from_value::<TextOps>(serde_json::Value::Array(parts));
        let (Ok(a), Ok(b)) = (read(a), read(b)) else { return Ok(()) };
        let (length, reach) = (text.chars().count(), a.reach());
        match a.apply(&text) {
            Ok(_) => prop_assert!(reach <= length),
            Err(error) => prop_assert_eq!(error, TextError::OutOfRange { length, reach }),
        }
        let (a_after_b, b_after_a) = carry(&a, &b);
        prop_assert_eq!(a.then(&b_after_a), b.then(&a_after_b));
        let _ = (a.then(&b), a.transform(&b), b.transform(&a)); // they may refuse, but not panic
    }
}

/// What somebody might send: mostly small parts, and now and then one of these numbers.
fn sent(large: impl Strategy<Value = i64> + 'static) -> impl Strategy<Value = Vec<serde_json::Value>> {
    let number = |number: i64| json!(number);
    let small = (-30..30_i64).prop_map(number);
    vec(prop_oneof![8 => small, 1 => large.prop_map(number), 4 => text(0..3).prop_map(|text| json!(text))], 0..6)
}
