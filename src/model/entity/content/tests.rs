//! What a content says, whichever form it has.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{
    super::{Limits, Rollback, change},
    *,
};

fn read(text: &str) -> Content {
    Content::read(RawValue::from_string(text.into()).expect("JSON")).expect("a content")
}

#[test]
fn what_everybody_reads_alike_stays_as_it_came() {
    for text in [r#"{"a": 1.50, "b":[{"a":null}],"ü":"\u00e9\n"}"#, "{}", r#"{"n":18446744073709551615}"#] {
        let content = read(text);
        assert!(content.is_object() && content.is_checked());
        assert_eq!((content.text(), &*content), (text, &serde_json::from_str::<Value>(text).expect("JSON")));
        assert_eq!(serde_json::to_string(&content).expect("JSON"), text);
    }
}

#[test]
fn what_can_be_read_in_several_ways_is_written_anew() {
    let many: serde_json::Map<_, _> = (0..40).map(|n| (n.to_string(), json!(n))).collect();
    let many = Value::Object(many);
    for (text, anew) in [
        (r#"{"a":1,"a":2}"#, r#"{"a":2}"#),
        (r#"{"a":{"b":1,"\u0062":2}}"#, r#"{"a":{"b":2}}"#),
        (r#"{"visibility":"private","visibility":"public"}"#, r#"{"visibility":"public"}"#),
        (r#"{"n": 123456789012345678901234567890}"#, r#"{"n":1.2345678901234568e+29}"#),
        (&format!("{many:#}"), &many.to_string()),
    ] {
        let content = read(text);
        assert_eq!((content.text(), content.is_private()), (anew, false), "{text}");
    }
    let private = read(&format!(r#"{{"{RESERVED}":"{{\"visibility\":\"private\"}}"}}"#));
    assert_eq!((private.text(), private.is_private()), (r#"{"visibility":"private"}"#, true));
}

#[test]
fn it_may_be_nested_so_deep_and_no_deeper() {
    let nested = |levels| format!("{}1{}", r#"{"a":"#.repeat(levels), "}".repeat(levels));
    let limits = Limits { data_bytes: 1 << 20, open: 1 };
    for form in [read, |text: &str| Content::from(serde_json::from_str::<Value>(text).expect("JSON"))] {
        assert_eq!(change::check(&form(&nested(DEPTH)), limits), Ok(()));
        assert!(matches!(change::check(&form(&nested(DEPTH + 1)), limits), Err(Rollback::PatchFailed(_))));
    }
}

#[test]
fn no_patch_brings_in_a_name_that_could_not_be_read_back() {
    let limits = Limits { data_bytes: 1 << 20, open: 1 };
    let patched = Content::from(json!({"a": {"b": 1, RESERVED: 5}}));
    assert!(matches!(change::check(&patched, limits), Err(Rollback::PatchFailed(_))));
}

#[test]
fn what_no_values_can_be_made_of_is_refused() {
    let reserved = format!(r#"{{"{RESERVED}":5,"title":"x"}}"#);
    for text in [&reserved, r#"{"n":1e400}"#, r#"{"a":1,"a":2,"n":1e400}"#, r#"{"t":"\ud800"}"#, r#"{"\ud800":1}"#] {
        let raw = serde_json::from_str::<Box<RawValue>>(text).expect("what is wrong with it is seen later");
        assert!(Content::read(raw).is_err(), "{text}");
    }
}

#[test]
fn who_may_see_it_is_said_on_top_and_nowhere_else() {
    let cases = [
        (r#"{"visibility":"private"}"#, true),
        (r#"{"visib\u0069lity":"private"}"#, true),
        (r#"{"visibility":"priv\u0061te"}"#, true),
        (r#"{"visibility":"public"}"#, false),
        (r#"{"in":{"visibility":"private"}}"#, false),
        (r#"{"visibility":["private"]}"#, false),
        (r#"["visibility","private"]"#, false),
        (r#""private""#, false),
    ];
    for (text, is_private) in cases {
        let content = read(text);
        assert_eq!((content.is_private(), Content::from((*content).clone()).is_private()), (is_private, is_private));
    }
}

#[test]
fn nothing_is_no_object_and_an_edit_leaves_the_others_alone() {
    let nothing = Content::default();
    assert_eq!((nothing.text(), &*nothing, nothing.is_object()), ("null", &Value::Null, false));
    let one = read(r#"{"a":1}"#);
    let mut other = one.clone();
    other.edit(|value| value["visibility"] = json!("private"));
    assert_eq!((one.text(), other.text()), (r#"{"a":1}"#, r#"{"a":1,"visibility":"private"}"#));
    assert_eq!((one.is_private(), other.is_private()), (false, true));
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_filter_map("a number", |number| number.is_finite().then(|| Value::from(number))),
        "[a-z\"\\\\é]{0,4}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map("[a-c\"\\\\]{0,2}", inner, 0..4).prop_map(Value::from_iter),
        ]
    })
}

proptest! {
    #[test]
    fn text_and_values_say_the_same(value in any_value()) {
        let content = read(&value.to_string());
        prop_assert_eq!(content.is_object(), value.is_object());
        prop_assert_eq!(&*content, &value);
        let reread: Value = serde_json::from_str(content.text()).expect("JSON");
        prop_assert_eq!(&reread, &value);
        prop_assert_eq!(Content::from(value).is_private(), content.is_private());
    }
}
