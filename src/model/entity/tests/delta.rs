//! What leads from one content to the next.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{super::Delta, support::text_ops};

pub fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (0..4_i64).prop_map(Value::from),
        "[ab/~é]{0,3}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::vec((key(), inner), 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

pub fn key() -> impl Strategy<Value = String> {
    prop_oneof![6 => "[abc]", 1 => Just("a/b".to_owned()), 1 => Just("m~n".to_owned()), 1 => Just(String::new())]
}

pub fn object() -> impl Strategy<Value = Value> {
    prop::collection::vec((key(), value()), 0..5).prop_map(|members| Value::Object(members.into_iter().collect()))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_delta_leads_to_the_next_content(old in object(), new in object(), from_nothing in any::<bool>()) {
        let delta = Delta::between((!from_nothing).then_some(&old), &new, &[]);
        let start = if from_nothing { &Value::Null } else { &old };
        prop_assert_eq!(delta.apply(start).expect("made for it"), new.clone());
        prop_assert!(!(delta.patch.is_some() && delta.ops.is_some()));
        prop_assert!(Delta::between(Some(&new), &new, &[]).is_empty());
        let sent: Delta = serde_json::from_value(serde_json::to_value(&delta).expect("a delta")).expect("read");
        prop_assert_eq!(sent, delta);
    }

    #[test]
    fn edits_of_texts_are_taken_only_if_they_lead_there(old in "[ab]{0,4}", new in "[ab]{0,4}", lies in any::<bool>()) {
        use crate::model::text::TextOps;
        let edit = TextOps::between(&old, if lies { "other" } else { &new });
        let (before, after) = (json!({ "t": old, "n": 1 }), json!({ "t": new, "n": 2 }));
        let texts = [("/t".to_owned(), edit.clone()), ("/gone".to_owned(), edit)];
        let delta = Delta::between(Some(&before), &after, &texts);
        prop_assert_eq!(delta.apply(&before).expect("made for it"), after);
        prop_assert_eq!(delta.text.len(), usize::from(!lies && old != new));
    }
}

fn large() -> Value {
    let fields =
        (0..56).map(|n| (format!("field_{n}"), json!(format!("some text that stands here, number {n:04} of them"))));
    let mut content: serde_json::Map<_, _> = fields.collect();
    content.insert("count".to_owned(), json!(1));
    content.into()
}

#[test]
fn one_number_in_a_large_content_is_a_small_delta() {
    let old = large();
    assert!(old.to_string().len() > 3_200);
    let mut new = old.clone();
    new["count"] = json!(2);
    let delta = serde_json::to_string(&Delta::between(Some(&old), &new, &[])).expect("a delta");
    assert!(delta.len() < 40, "{delta}");
}

#[test]
fn one_word_in_a_long_text_is_a_small_delta() {
    let long = "word ".repeat(600);
    let ops = text_ops(json!([1_500, "new "]));
    let (old, new) = (json!({ "t": long }), json!({ "t": ops.apply(&long).expect("long enough") }));
    let delta = Delta::between(Some(&old), &new, &[("/t".to_owned(), ops)]);
    assert!(serde_json::to_string(&delta).expect("a delta").len() < 60);
    assert_eq!(delta.apply(&old), Ok(new));
}

#[test]
fn a_null_that_is_set_takes_a_json_patch() {
    let (old, new) = (json!({ "a": 1 }), json!({ "a": null }));
    let delta = Delta::between(Some(&old), &new, &[]);
    assert!(delta.patch.is_none() && delta.ops.is_some());
    assert_eq!(delta.apply(&old), Ok(new));
}

#[test]
fn a_delta_for_another_content_is_refused() {
    let delta = Delta {
        text: vec![],
        patch: None,
        ops: serde_json::from_value(json!([{ "op": "remove", "path": "/a" }])).ok(),
    };
    assert!(delta.apply(&json!({})).is_err());
}
