//! What is taken for a signature and a set of keys, and what is not.

use serde_json::json;

use super::*;
use crate::model::sealed;

const X: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";

fn key() -> Value {
    json!({"kty": "OKP", "crv": "Ed25519", "kid": "k1", "x": X})
}

fn with(mut value: Value, name: &str, to: Value) -> Value {
    value[name] = to;
    value
}

#[test]
fn no_user_signs_under_an_instances_name() {
    let user = |name: &str| signer(&Owner::User(name.into()));
    let instance = |name: &str| signer(&Owner::Instance(name.parse().expect("an instance")));
    assert_eq!((user("ada").as_str(), instance("ada").as_str()), ("user:ada", "instance:ada"));
    for name in ["instance:ada", "ada", ":", "user:ada"] {
        assert_ne!(user(name), instance("ada"), "{name}");
        assert_ne!(user("ada"), instance(name), "{name}");
    }
}

#[test]
fn a_set_of_public_keys_is_taken_and_found_by_id_and_time() {
    let old = with(with(key(), "until", json!("2026-01-01T00:00:00Z")), "from", json!("2025-01-01T00:00:00.000Z"));
    let new = with(key(), "kid", json!("k2"));
    let set = KeySet::of(&json!({"keys": [old, new]})).expect("a set");
    let at = |text: &str| Timestamp::parse(text).expect("a time");
    let old = set.key("k1").expect("a key");
    assert!(old.holds_at(at("2025-06-01T00:00:00Z")) && set.key("k2").expect("a key").holds_at(Timestamp(0)));
    assert!(!old.holds_at(at("2024-12-31T23:59:59Z")) && !old.holds_at(at("2026-01-01T00:00:00Z")));
    assert_eq!(set.key("k3"), None);
}

#[test]
fn what_is_no_set_of_public_keys_is_refused() {
    let one = |key: Value| json!({"keys": [key]});
    let many: Vec<_> = (0..17).map(|n| with(key(), "kid", json!(format!("k{n}")))).collect();
    for content in [
        json!({}),
        json!({"keys": []}),
        json!({"keys": null}),
        json!({"keys": many}),
        json!({"keys": [key(), key()]}),
        json!({"keys": [key()], "visibility": "private"}),
        one(with(key(), "d", json!("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"))),
        one(with(key(), "x", json!("AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"))), // of small order
        one(with(key(), "x", json!(format!("{X}=")))),
        one(with(key(), "x", json!("11qYAYKxCrfVS_7TyWQHOg"))),
        one(with(key(), "crv", json!("X25519"))),
        one(with(key(), "kid", json!("a b"))),
        one(with(key(), "kid", json!("k".repeat(65)))),
        one(with(key(), "until", json!("tomorrow"))),
        one(with(key(), "until", json!("2026-01-01T00:00:00+02:00"))),
        one(with(with(key(), "until", json!("2026-01-01T00:00:00Z")), "from", json!("2026-01-01T00:00:00Z"))),
        one(with(key(), "note", json!("mine"))),
    ] {
        assert!(KeySet::of(&content).is_err(), "{content}");
    }
}

#[test]
fn a_signature_has_one_form() {
    let good = json!({"alg": "EdDSA", "kid": "k1", "by": "user:ada", "at": "2025-12-06T10:00:00.000Z", "value": "A".repeat(86)});
    let read = Signature::of(&good).expect("a signature");
    assert_eq!(serde_json::to_value(&read).expect("JSON"), good);
    for (name, value) in [
        ("alg", json!("none")),
        ("kid", json!("")),
        ("by", json!("ada")),
        ("by", json!(format!("user:{}", "a".repeat(256)))),
        ("at", json!(1_735_000_000_000_u64)),
        ("at", json!("2025-12-06T10:00:00")),
        ("value", json!("A".repeat(85))),
        ("value", json!(format!("{}B", "A".repeat(85)))), // bits beyond the last byte
        ("value", json!("A".repeat(88))),
        ("note", json!("more")),
    ] {
        assert!(Signature::of(&with(good.clone(), name, value.clone())).is_err(), "{name}: {value}");
    }
}

#[test]
fn what_is_of_one_piece_stands_alone() {
    let sealed = json!({"alg": "XC20P", "kid": "k1", "nonce": "A".repeat(32), "ciphertext": "A".repeat(22)});
    let signature = json!({"alg": "EdDSA", "kid": "k1", "by": "user:ada", "at": "2025-12-06T10:00:00.000Z", "value": "A".repeat(86)});
    let check = |content: Value| sealed::check(content.as_object().expect("an object"));
    assert!(check(json!({"title": "plain"})).is_ok());
    assert!(check(json!({"$sealed": sealed, "visibility": "private"})).is_ok());
    assert!(check(json!({"$signed": signature, "content": {"a": null}})).is_ok());
    for content in [
        json!({"$sealed": sealed, "title": "beside"}),
        json!({"$sealed": sealed, "$signed": signature, "content": {}}),
        json!({"$signed": signature}),
        json!({"$signed": signature, "content": {}, "title": "beside"}),
        json!({"$signed": {}, "content": {}}),
        json!({"$sealed": "text"}),
        json!({"$sealed": with(sealed.clone(), "alg", json!("A256GCM"))}),
        json!({"$sealed": with(sealed.clone(), "nonce", json!("A".repeat(16)))}),
        json!({"$sealed": with(sealed.clone(), "ciphertext", json!("AAAA"))}),
        json!({"$sealed": with(sealed, "more", json!(1))}),
    ] {
        assert!(check(content.clone()).is_err(), "{content}");
    }
}
