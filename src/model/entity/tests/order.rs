//! What the order of things may change, and what not.

use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop, prop_assert, prop_assert_eq, prop_oneof, proptest};
use serde_json::{Value, json};

use super::{
    super::{Action, Change, Decision, Limits, Outcome, Resolve, Strategy as Settling, TextChange, TextEdit, *},
    delta::{object, value},
    support::*,
};

fn settling() -> impl Strategy<Value = Settling> {
    prop_oneof![Just(Lww), Just(Merge), Just(Version), Just(Manual)]
}

/// Some change of a field, made on a content in which it is `{"v": 0, "t": "text", "l": [1, 2]}`.
fn change(field: &str, kind: u8, n: u64) -> Change {
    match kind % 6 {
        0 => Change::Merge(json!({ field: { "v": n } })),
        1 => Change::Merge(json!({ field: null })),
        2 => patch(json!([{ "op": "add", "path": format!("/{field}/l/0"), "value": n }])),
        3 => patch(json!([{ "op": "move", "from": format!("/{field}/v"), "path": format!("/{field}/w") }])),
        4 => {
            let edit = TextEdit::Ops(text_ops(json!([n % 4 + 1, "x"])));
            Change::Text(TextChange { path: format!("/{field}/t"), edit })
        }
        _ => Change::Merge(json!({ field: { "t": "other", "l": [], "more": { "deep": n } } })),
    }
}

fn patch(ops: Value) -> Change {
    Change::Patch(serde_json::from_value(ops).expect("a patch"))
}

fn fields() -> Log {
    let field = json!({ "v": 0, "t": "text", "l": [1, 2] });
    made(json!({ "a": field, "b": field, "c": field }))
}

/// Any operation at all, fitting or not.
fn anything() -> impl Strategy<Value = (u8, Value, Value, Value, u8)> {
    (any::<u8>(), object(), value(), prop::collection::vec(json_patch_op(), 0..4).prop_map(Value::from), any::<u8>())
}

fn pointer() -> impl Strategy<Value = String> {
    prop::collection::vec(
        prop_oneof![4 => "[abc]", 1 => "[01-]", 1 => Just("a~1b".to_owned()), 1 => Just(String::new())],
        0..4,
    )
    .prop_map(|keys| keys.iter().map(|key| format!("/{key}")).collect())
}

fn json_patch_op() -> impl Strategy<Value = Value> {
    let word = prop_oneof![Just("add"), Just("remove"), Just("replace"), Just("move"), Just("copy"), Just("test")];
    (word, pointer(), pointer(), value())
        .prop_map(|(op, path, from, value)| json!({ "op": op, "path": path, "from": from, "value": value }))
}

fn any_action(kind: u8, content: Value, value: Value, ops: Value, pick: u8, open: Option<uuid::Uuid>) -> Action {
    let path = ["/a", "/b/c", "", "a", "/a/0", "/~"][pick as usize % 6].to_owned();
    match kind % 12 {
        0 => Action::Create(Change::Replace(as_text(&content))),
        1 => Action::Create(Change::Merge(value)),
        2 | 3 => Action::Update(Change::Merge(content)),
        4 => Action::Update(Change::Merge(value)),
        5 | 6 => Action::Update(patch(ops)),
        7 => Action::Update(Change::Replace(content.into())),
        8 => {
            let ops = text_ops(json!([u64::from(pick % 5) + 1, "é", -i64::from(pick % 3) - 1]));
            let edit = if pick.is_multiple_of(2) { TextEdit::Ops(ops) } else { TextEdit::Whole(content.to_string()) };
            Action::Update(Change::Text(TextChange { path, edit }))
        }
        9 => Action::Delete,
        10 => Action::Restore,
        _ => {
            let choice = [Choice::Current, Choice::Proposed, Choice::Merged(value)][pick as usize % 3].clone();
            Action::Resolve(Resolve { id: open.unwrap_or_default(), choice })
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn edits_of_different_fields_commute(one in (any::<u8>(), 0..9_u64), other in (any::<u8>(), 0..9_u64), how in settling()) {
        let run = |asks: [(&str, &str, (u8, u64)); 2]| {
            let mut log = fields();
            let outcomes = asks.map(|(replica, field, (kind, n))| {
                log.run(by(replica).on(3).with(how).act(Action::Update(change(field, kind, n))))
            });
            (log.data(), outcomes)
        };
        let (first, outcomes) = run([("r1", "a", one), ("r2", "b", other)]);
        let (second, others) = run([("r2", "b", other), ("r1", "a", one)]);
        prop_assert_eq!(first, second);
        prop_assert!(outcomes.iter().chain(&others).all(|outcome| matches!(outcome, Outcome::Confirmed(_))));
    }

    #[test]
    fn a_replicas_queued_edits_never_clash_with_each_other(
        edits in prop::collection::vec((0..3_usize, any::<u8>(), 0..9_u64, settling()), 1..12),
        others in any::<bool>(),
    ) {
        let mut log = fields();
        for (field, kind, n, how) in edits {
            if others {
                // In a field of its own.
                log.run(by("r2").merge(json!({ "elsewhere": n })));
            }
            let outcome = log.run(by("r1").on(3).with(how).act(Action::Update(change(["a", "b", "c"][field], kind, n))));
            // What does not fit what its own earlier edit left does not clash with it.
            let is_unfit = matches!(outcome, Outcome::RolledBack(Rollback::PatchFailed(_) | Rollback::TextFailed(_)));
            prop_assert!(is_unfit || matches!(outcome, Outcome::Confirmed(_)), "{outcome:?}");
        }
        let deleted = log.run(by("r1").on(3).delete());
        prop_assert!(others || matches!(deleted, Outcome::Confirmed(Seen::Head)));
    }

    #[test]
    fn nothing_panics_and_everything_stays_within_bounds(
        operations in prop::collection::vec((anything(), 0..3_u8, any::<u8>(), settling()), 1..14),
        kept in any::<bool>(),
    ) {
        let limits = Limits { data_bytes: 400, open: 3 };
        let mut log = Log { limits: Some(limits), ..Log::default() };
        log.run(by("maker").create(json!({ "a": "text", "b": { "c": "text" } })));
        for ((kind, content, value, ops, pick), replica, base, how) in operations {
            let ask = by(&format!("r{replica}")).with(how);
            let ask = if base.is_multiple_of(4) { ask } else { ask.on(u64::from(base) % (log.version() + 1)) };
            let open = log.head().state.open.first().map(|open| open.id);
            let operation = ask.act(any_action(kind, content, value, ops, pick, open));
            log.kept_from = if kept { 0 } else { log.version() };
            let before = log.head();
            match log.decide(&before, &operation) {
                Decision::Append { next, texts, .. } => {
                    let delta = Delta::between(Some(&before.data), &next.data, &texts);
                    prop_assert_eq!(&delta.apply(&before.data).expect("made for it"), &*next.data);
                    let is_changed = before.data != next.data; // an edit may put back what it takes away
                    prop_assert_eq!(delta.text.len(), if is_changed { texts.len() } else { 0 });
                    prop_assert!(next.data.is_object() && next.data.to_string().len() <= 400);
                    prop_assert!(next.state.open.len() <= 3);
                    log.append(&next);
                    let again = log.run(operation);
                    prop_assert!(matches!(again, Outcome::Repeat(_)), "{again:?}");
                }
                Decision::Answer(outcome) => {
                    let is_new = matches!(outcome, Outcome::Resolved { .. } | Outcome::Repeat(_));
                    prop_assert!(!is_new, "{outcome:?}");
                }
                other => panic!("{other:?}"),
            }
        }
    }
}
