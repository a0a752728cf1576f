//! The pure test vectors of clients/vectors, held to the node's model and to the client; `RECORD_VECTORS` makes text.json and the
//! answers of track.json anew.

use std::{fs, path::PathBuf, time::Duration};

use continuum::{
    client::{
        Backoff, Echo, Frame,
        backoff::{delay, followed},
        track::{Novelty, Tracker},
    },
    model::{entity::Delta, text::TextOps},
};
use serde_json::{Value, json};

fn path(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "clients/vectors", name].iter().collect()
}

fn cases(name: &str) -> Vec<Value> {
    let text = fs::read_to_string(path(name)).expect("readable");
    let vectors: Value = serde_json::from_str(&text).expect("JSON");
    vectors["cases"].as_array().expect("cases").clone()
}

/// Whether what comes out shall take the place of what is there.
fn is_recording() -> bool {
    std::env::var_os("RECORD_VECTORS").is_some()
}

/// Puts cases in the place of those that are there, one a line.
fn keep(name: &str, shows: &str, cases: &[Value]) {
    let lines: Vec<String> = cases.iter().map(|case| format!("    {case}")).collect();
    let text = format!("{{\n  \"shows\": {},\n  \"cases\": [\n{}\n  ]\n}}\n", Value::from(shows), lines.join(",\n"));
    fs::write(path(name), text).expect("writable");
}

fn edits(value: &Value) -> Vec<TextOps> {
    serde_json::from_value(value.clone()).expect("edits")
}

// --- Texts ---

/// One of each plane, and what readers take for one sign.
const LETTERS: [&str; 24] = [
    "a",
    "b",
    "\n",
    "é",
    "e\u{301}",
    "字",
    "👩🏽\u{200d}🔬",
    "🏳\u{fe0f}\u{200d}🌈",
    "\u{10041}",
    "\u{20042}",
    "\u{30043}",
    "\u{40044}",
    "\u{50045}",
    "\u{60046}",
    "\u{70047}",
    "\u{80048}",
    "\u{90049}",
    "\u{a004a}",
    "\u{b004b}",
    "\u{c004c}",
    "\u{d004d}",
    "\u{e004e}",
    "\u{f004f}",
    "\u{10fffd}",
];

fn some_text(random: &mut fastrand::Rng, most: usize) -> String {
    (0..random.usize(0..=most)).map(|_| LETTERS[random.usize(..LETTERS.len())]).collect()
}

/// An edit that fits a text.
fn some_edit(random: &mut fastrand::Rng, text: &str) -> TextOps {
    let (mut left, mut parts) = (text.chars().count(), Vec::new());
    for _ in 0..random.usize(1..5) {
        let count = random.usize(0..=left.min(6));
        match random.u8(0..3) {
            0 => parts.push(json!(some_text(random, 3))),
            _ if count == 0 => continue,
            1 => parts.push(json!(count)),
            _ => parts.push(json!(-(count as i64))),
        }
        left -= if parts.last().is_some_and(Value::is_string) { 0 } else { count };
    }
    serde_json::from_value(parts.into()).expect("an edit")
}

/// Edits one behind the other, and the text that they lead to.
fn some_edits(random: &mut fastrand::Rng, text: &str) -> (Vec<TextOps>, String) {
    let (mut edits, mut text) = (Vec::new(), text.to_owned());
    for _ in 0..random.usize(1..4) {
        let edit = some_edit(random, &text);
        text = edit.apply(&text).expect("it fits");
        edits.push(edit);
    }
    (edits, text)
}

/// What comes out of a case, by the node's model.
fn answered(case: &Value) -> Value {
    let text = case["text"].as_str().expect("a text");
    let mut answered = case.clone();
    if case["kind"] == "apply" {
        match serde_json::from_value::<TextOps>(case["ops"].clone()) {
            Err(_) => answered["fails"] = true.into(),
            Ok(ops) => match ops.apply(text) {
                Err(_) => answered["fails"] = true.into(),
                Ok(result) => {
                    answered["canonical"] = json!(ops);
                    answered["result"] = result.into();
                }
            },
        }
        return answered;
    }
    let (remote, mut pending) = (edits(&case["remote"]), edits(&case["pending"]));
    let mut here = Vec::new();
    for others in &remote {
        let mut others = others.clone();
        for own in &mut pending {
            (others, *own) = TextOps::transform_pair(&others, own).expect("within limits");
        }
        here.push(others);
    }
    let at = |edits: &[&[TextOps]]| {
        let all = edits.iter().copied().flatten();
        all.fold(text.to_owned(), |text, edit| edit.apply(&text).expect("it fits"))
    };
    let result = at(&[&remote, &pending]);
    assert_eq!(result, at(&[&edits(&case["pending"]), &here]), "both sides come to the same: {case}");
    answered["pending_after"] = json!(pending);
    answered["remote_here"] = json!(here);
    answered["result"] = result.into();
    answered
}

fn questions() -> Vec<Value> {
    let apply = |text: &str, ops: Value| json!({"kind": "apply", "text": text, "ops": ops});
    let transform = |text: &str, remote: Value, pending: Value| json!({"kind": "transform", "text": text, "remote": remote, "pending": pending});
    let mut all = vec![
        apply("a👍cd", json!([1, -1, "ü", 2, "!"])),
        apply("e\u{301}!", json!([1, -1])),
        apply("whatever", json!([])),
        apply("", json!(["x", 5])),
        apply("abc", json!([1, 1, -1, "x", "y"])),
        apply("abc", json!([-1, "x", -1])),
        apply("a👍c", json!([2, -3])),
        apply("abc", json!([0])),
        apply("abc", json!([1.5])),
        apply("abc", json!([null])),
        apply("abc", json!({"retain": 1})),
        transform("abc", json!([["x"]]), json!([["y"]])),
        transform("abc", json!([[1, -1]]), json!([[1, -1]])),
        transform("abc", json!([[-3]]), json!([[1, "in", -1]])),
        transform("abc", json!([[1, "in", -1]]), json!([[-3]])),
        transform("a👍c", json!([[1, -1]]), json!([[2, "🏳\u{fe0f}\u{200d}🌈"]])),
        transform("abcdef", json!([["1"], [3, "2"]]), json!([[6, "x"], [-2], [4, "y"]])),
        transform("ab", json!([[1, "x"], [2, -1]]), json!([[1, "y"], [2, "z"]])),
        transform("", json!([["left"]]), json!([["right"], [5, "!"]])),
    ];
    let mut random = fastrand::Rng::with_seed(7);
    for _ in 0..60 {
        let text = some_text(&mut random, 12);
        let ((remote, _), (pending, _)) = (some_edits(&mut random, &text), some_edits(&mut random, &text));
        all.push(transform(&text, json!(remote), json!(pending)));
    }
    all
}

#[test]
fn texts_are_edited_as_the_node_edits_them() {
    if is_recording() {
        let answered: Vec<Value> = questions().iter().map(answered).collect();
        keep(
            "text.json",
            "Edits of texts in code points of every plane: what they do, and how they make way for each other.",
            &answered,
        );
    }
    let cases = cases("text.json");
    assert!(cases.len() > 70);
    for case in &cases {
        let mut asked = case.clone();
        for field in ["canonical", "result", "fails", "pending_after", "remote_here"] {
            asked.as_object_mut().expect("a case").shift_remove(field);
        }
        assert_eq!(answered(&asked), *case);
    }
}

// --- The others ---

#[test]
fn a_merge_patch_does_what_it_does_at_the_node() {
    for case in cases("merge_patch.json") {
        let delta = Delta { patch: Some(case["patch"].clone()), ..Delta::default() };
        assert_eq!(delta.apply(&case["base"]).expect("it fits"), case["result"], "{case}");
    }
}

#[test]
fn a_client_waits_as_the_vectors_say() {
    for case in cases("backoff.json") {
        let number = |name: &str| case[name].as_u64();
        let failures = u32::try_from(number("failures").expect("a count")).expect("a count");
        if let Some(lived) = number("lived_ms") {
            let mut backoff = Backoff::seeded(1);
            for _ in 0..failures {
                backoff.failed();
            }
            backoff.lived(Duration::from_millis(lived));
            assert_eq!(Some(u64::from(backoff.failures())), number("after"), "{case}");
            continue;
        }
        let random = case["random"].as_f64().expect("a number");
        let wait =
            number("hint_ms").map_or_else(|| delay(failures, random), |hint| followed(Duration::from_millis(hint)));
        assert_eq!(u64::try_from(wait.as_millis()).ok(), number("wait_ms"), "{case}");
    }
}

#[test]
fn a_client_follows_the_chain_as_the_vectors_say() {
    let mut text = fs::read_to_string(path("track.json")).expect("readable");
    for case in cases("track.json") {
        let echo = if case["echo"] == true { Echo::Records } else { Echo::AckOnly };
        let mut tracker = Tracker::new(echo, None);
        for row in case["messages"].as_array().expect("messages") {
            let frame = Frame::parse(row["message"].to_string().into()).expect("it reads");
            let is = match tracker.see(&frame.message) {
                Ok(Novelty::New) => "new",
                Ok(Novelty::Repeated) => "repeated",
                Err(_) => "gap",
            };
            let cursor = tracker.cursor().map(|cursor| cursor.to_string());
            if is_recording() {
                let open = format!("\"is\": {}, \"cursor\": {}", row["is"], row["cursor"]);
                text = text.replacen(&open, &format!("\"is\": \"{is}\", \"cursor\": {}", json!(cursor)), 1);
            } else {
                assert_eq!(
                    (json!(is), json!(cursor)),
                    (row["is"].clone(), row["cursor"].clone()),
                    "{}: {row}",
                    case["shows"]
                );
            }
        }
    }
    if is_recording() {
        fs::write(path("track.json"), text).expect("writable");
    }
}
