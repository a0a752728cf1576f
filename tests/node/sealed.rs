//! Sealed contents: passed on as they are, never cut, never looked into, never merged; and `continuum join` with keys.

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

use continuum::{
    client::{SealingKey, Subject, sealing::sealed_in},
    model::EntityKey,
};
use serde_json::{Value, json, value::RawValue};
use tempfile::TempDir;

use crate::{
    cluster_presence::nodes,
    nats_support::NatsServer,
    support::{Client, Node, http, new_id, within},
};

const TARGET: &str = "/v1/tenants/acme/entities/note/n1";

fn key() -> SealingKey {
    SealingKey::generate().expect("random numbers")
}

fn raw(text: &str) -> Box<RawValue> {
    RawValue::from_string(text.to_owned()).expect("JSON")
}

fn sealed(key: &SealingKey, kind: &str, text: &str) -> Value {
    let (tenant, entity) = ("acme".parse().expect("a tenant"), EntityKey::new(kind, "n1").expect("a key"));
    key.seal(Subject::Entity { tenant: &tenant, key: &entity }, &raw(text)).expect("random numbers")
}

fn opened(key: &SealingKey, kind: &str, content: &Value) -> String {
    let (tenant, entity) = ("acme".parse().expect("a tenant"), EntityKey::new(kind, "n1").expect("a key"));
    let sealed = sealed_in(content).unwrap_or_else(|| panic!("not sealed: {content}"));
    let subject = Subject::Entity { tenant: &tenant, key: &entity };
    key.open(subject, &sealed).unwrap_or_else(|why| panic!("{why}: {content}")).get().to_owned()
}

async fn send(node: &Node, method: &str, target: &str, body: &str) -> http::Response {
    let media = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
    http::send(node.address(), method, target, &[("Content-Type", media)], body.as_bytes()).await
}

async fn passes_untouched(one: &Node, other: &Node) {
    let key = key();
    let mut live = other.join("acme", "live").await;
    let mut cut = other.join_with("acme", "cut", "preview=4").await;
    let mut deltas = Client::typed(other.address(), "tenant_id=acme&instance_id=deltas&deltas=1&preview=4").await;
    // With blanks of its sender's, byte for byte.
    let first = sealed(&key, "note", r#"{"title":"one"}"#);
    let text = format!("{{ \"$sealed\" :\n {} }}", first["$sealed"]);
    assert_eq!(send(one, "PUT", TARGET, &text).await.status, 201);
    assert!(other.get(TARGET).await.text().contains(&text), "{}", other.get(TARGET).await.text());
    let told = live.find(|message| message["data"]["event"]["entity_id"] == "n1").await;
    assert_eq!(told["data"]["event"]["data"], first);
    let told = cut.find(|message| message["data"]["event"]["entity_id"] == "n1").await;
    assert_eq!(told["data"]["event"]["data"], first, "never cut: {told}");
    let second = sealed(&key, "note", r#"{"title":"two"}"#);
    let version = other.get(TARGET).await.json()["version"].clone();
    let next = format!("{TARGET}?base_version={version}");
    assert_eq!(send(one, "PUT", &next, &second.to_string()).await.status, 200);
    let told = cut.find(|message| message["data"]["event"]["entity_id"] == "n1").await;
    assert_eq!((&told["data"]["event"]["data"], &told["data"]["changes"]), (&second, &second), "{told}");
    deltas.find(|message| message["data"].get("changes") == Some(&second)).await;
    // Types whose messages carry the id among the fields.
    let memory = sealed(&key, "memory", r#"{"title":"secret"}"#);
    let mut writer = Client::typed(one.address(), "tenant_id=acme&instance_id=writer").await;
    let mut fields = memory.clone();
    fields["id"] = "n1".into();
    let message = json!({"type": "memory.created", "id": new_id(), "data": {"memory": fields}});
    assert_eq!(writer.ask(message).await["type"], "update.confirmed");
    let told = cut.find(|message| message["event_type"] == "memory.created").await;
    assert_eq!(opened(&key, "memory", &told["data"]["memory"]), r#"{"title":"secret"}"#, "{told}");
    // What is sealed comes as a change of fields in some words, and is the whole content.
    let memory = sealed(&key, "memory", r#"{"title":"other"}"#);
    let message = json!({"type": "memory.updated", "id": new_id(), "data": {"memory_id": "n1", "changes": memory}});
    assert_eq!(writer.ask(message).await["type"], "update.confirmed");
    let told = live.find(|message| message["event_type"] == "memory.updated").await;
    assert_eq!(opened(&key, "memory", &told["data"]["memory"]), r#"{"title":"other"}"#, "{told}");
}

async fn is_never_merged(one: &Node, other: &Node) {
    let key = key();
    let words = |word: &str| format!(r#"{{"title":"{word}"}}"#);
    assert_eq!(send(one, "PUT", TARGET, &sealed(&key, "note", &words("base")).to_string()).await.status, 201);
    let base = other.get(TARGET).await.json()["version"].clone();
    // Parts.
    send(one, "PATCH", TARGET, r#"{"title":"plain"}"#).await.problem(422, "whole_only");
    send(other, "PATCH", TARGET, r#"{"$sealed":{"nonce":"x"}}"#).await.problem(400, "invalid_operation");
    let ops = r#"[{"op":"replace","path":"/$sealed/nonce","value":"x"}]"#;
    let media = [("Content-Type", "application/json-patch+json")];
    http::send(other.address(), "PATCH", TARGET, &media, ops.as_bytes()).await.problem(422, "whole_only");
    let mut socket = one.join("acme", "socket").await;
    let text = json!({"event_type": "sync_event", "event_id": new_id(), "data":
        {"entity_type": "note", "entity_id": "n1", "action": "update", "text": {"path": "/$sealed/ciphertext", "ops": ["x"]}}});
    let answer = socket.ask(text).await;
    assert_eq!(answer["data"]["code"], "whole_only", "{answer}");
    // At once, on two nodes: whatever the strategy, both sides' words are there.
    for (strategy, status) in [("last_write_wins", 200), ("merge", 200), ("version", 200), ("manual", 409)] {
        let base = other.get(TARGET).await.json()["version"].clone();
        let target = |who: &str| format!("{TARGET}?instance_id={who}&base_version={base}&strategy={strategy}");
        let (a, b) = (sealed(&key, "note", &words("a")), sealed(&key, "note", &words("b")));
        let (target_a, target_b, text_a, text_b) = (target("a"), target("b"), a.to_string(), b.to_string());
        let answers =
            futures_util::future::join(send(one, "PUT", &target_a, &text_a), send(other, "PUT", &target_b, &text_b));
        let (first, second) = answers.await;
        let stands = one.get(TARGET).await.json();
        let mut said = vec![opened(&key, "note", &stands["data"])];
        for answer in [&first, &second] {
            let body = answer.json();
            for over in body["overwritten"].as_array().into_iter().flatten() {
                assert_eq!(body["resolution"], "last_write_wins", "{body}");
                said.push(opened(&key, "note", &over["value"]));
            }
        }
        for kept in [&stands["conflicts"], &stands["variants"]] {
            for open in kept.as_array().into_iter().flatten() {
                assert_eq!(open["whole"], true, "{open}");
                said.push(opened(&key, "note", &open["proposed"]));
            }
        }
        said.sort();
        assert_eq!(said, [words("a"), words("b")], "{strategy}: {stands}\n{}\n{}", first.text(), second.text());
        let statuses = [first.status, second.status];
        assert!(statuses.contains(&200) && statuses.contains(&status), "{strategy}: {statuses:?}");
        settle(one, &stands).await;
        assert_eq!(sealed_in(&other.get(TARGET).await.json()["data"]).map(|_| ()), Some(()));
    }
    assert_ne!(base, other.get(TARGET).await.json()["version"]);
}

/// Chooses what was proposed, wherever something lies open.
async fn settle(node: &Node, stands: &Value) {
    for kept in [&stands["conflicts"], &stands["variants"]] {
        for open in kept.as_array().into_iter().flatten() {
            let id = open["conflict_id"].as_str().expect("an id");
            let target = format!("{TARGET}/conflicts/{id}?instance_id=judge");
            assert_eq!(send(node, "POST", &target, r#"{"choice":"proposed"}"#).await.status, 200);
            assert_eq!(node.get(TARGET).await.json()["data"], open["proposed"], "the whole of it");
        }
    }
}

#[tokio::test]
async fn what_is_sealed_passes_untouched_and_uncut() {
    let node = Node::start(&[]).await;
    passes_untouched(&node, &node).await;
}

#[tokio::test]
async fn what_is_sealed_passes_untouched_and_uncut_to_another_node() {
    let server = NatsServer::start().await;
    let [one, other] = nodes(&server, &[]).await;
    passes_untouched(&one, &other).await;
}

#[tokio::test]
async fn what_is_sealed_is_never_merged() {
    let node = Node::start(&[]).await;
    is_never_merged(&node, &node).await;
}

#[tokio::test]
async fn what_is_sealed_on_two_nodes_at_once_is_never_merged() {
    let server = NatsServer::start().await;
    let [one, other] = nodes(&server, &[]).await;
    is_never_merged(&one, &other).await;
}

#[tokio::test]
async fn conditions_do_not_look_into_what_is_sealed() {
    let node = Node::start(&[]).await;
    let key = key();
    assert_eq!(send(&node, "PUT", TARGET, &sealed(&key, "note", r#"{"title":"x"}"#).to_string()).await.status, 201);
    let plain = TARGET.replace("n1", "n2");
    assert_eq!(send(&node, "PUT", &plain, r#"{"title":"x"}"#).await.status, 201);
    let mut client = Client::typed(node.address(), "tenant_id=acme&instance_id=asks").await;
    for (name, condition, count) in [
        ("all", None, 2),
        ("sealed", Some(r#"data["$sealed"].alg == "XC20P""#), 0),
        ("size", Some("size(data) > 0"), 1),
    ] {
        let mut query = json!({"entity_type": "note"});
        if let Some(condition) = condition {
            query["where"] = condition.into();
        }
        client.send(json!({"type": "subscribe", "id": new_id(), "data": {"subscription": name, "query": query}})).await;
        let found = client
            .find(|said| {
                said["data"]["code"].is_string()
                    || (said["type"] == "query.results"
                        && said["data"]["subscription"] == name
                        && said["data"]["done"] == true)
            })
            .await;
        assert_eq!(found["data"]["results"].as_array().map(Vec::len), Some(count), "{name}: {found}");
    }
}

#[tokio::test]
async fn what_is_sealed_or_signed_and_too_large_is_refused() {
    let node = Node::start(&[("limits.max_message_bytes", "4096")]).await;
    let key = key();
    let large = sealed(&key, "note", &json!({"text": "x".repeat(4_000)}).to_string());
    send(&node, "PUT", TARGET, &large.to_string()).await.problem(413, "too_large");
    let event = json!({"event_type": "note", "instance_id": "a", "event_id": new_id(), "data": large});
    node.post("/v1/tenants/acme/events", &event).await.problem(413, "too_large");
    let mut client = node.join("acme", "a").await;
    client.send(event).await;
    assert_eq!(client.until_closed().await.code, Some(1009));
    assert_eq!(node.get("/v1/tenants/acme/events").await.json()["events"], json!([]), "nothing of it was stored");
}

/// `continuum join` with a line on its standard input; what it printed.
async fn join(node: &Node, instance: &str, arguments: &[&str], line: &str) -> (bool, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_continuum"));
    command
        .args(["join", "--tenant", "acme", "--since", "earliest", "--instance", instance, "--url", &node.url()])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let line = format!("{line}\n");
    let ended = tokio::task::spawn_blocking(move || {
        let mut child = command.spawn().expect("the binary can be started");
        // It may have given up already.
        let _ = child.stdin.take().expect("piped").write_all(line.as_bytes());
        child.wait_with_output().expect("it was started")
    });
    let output = within("the command ends", ended).await.expect("no panic");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    (output.status.success(), text(output.stdout), text(output.stderr))
}

fn key_of(arguments: &[&str]) -> String {
    let made = Command::new(env!("CARGO_BIN_EXE_continuum")).arg("key").args(arguments).output().expect("it runs");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    String::from_utf8(made.stdout).expect("UTF-8")
}

#[tokio::test]
async fn two_who_share_a_key_talk_and_a_third_sees_what_is_sealed() {
    let node = Node::start(&[]).await;
    let folder = TempDir::new().expect("a folder");
    let file = |name: &str, content: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).expect("a file");
        path.to_str().expect("UTF-8").to_owned()
    };
    let (ada, bob) = (file("ada.jwk", &key_of(&["signing"])), file("bob.jwk", &key_of(&["signing"])));
    let team = file("team.jwk", &key_of(&["sealing"]));
    let public = key_of(&["public", &ada]);
    let target = "/v1/tenants/acme/entities/signing_key/user:ada?user_id=ada";
    assert_eq!(send(&node, "PUT", target, &public).await.status, 201);
    let (done, _, said) =
        join(&node, "ada-1", &["--user", "ada", "--sign-key", &ada, "--seal-key", &team], "meet at nine").await;
    assert!(done, "{said}");
    // Bob's key is not registered, and he forgets to seal what he says.
    let (done, seen, said) =
        join(&node, "bob-1", &["--user", "bob", "--sign-key", &bob, "--seal-key", &team, "--verify"], "I come").await;
    assert!(done && seen.contains("meet at nine") && seen.contains("[signed by user:ada]"), "{seen}{said}");
    let (_, seen, _) = join(&node, "eve-1", &["--verify"], "hello").await;
    assert!(!seen.contains("meet at nine") && !seen.contains("I come"), "{seen}");
    assert!(seen.contains("$sealed") && seen.contains("[NOT PROVEN: user:bob has registered no keys]"), "{seen}");
    let (_, seen, _) = join(&node, "ada-2", &["--user", "ada", "--seal-key", &team, "--verify"], "").await;
    assert!(seen.contains("I come") && seen.contains("hello") && seen.contains("[not signed, not sealed]"), "{seen}");
    // With another key than the one that they share.
    let other = file("other.jwk", &key_of(&["sealing"]));
    let (_, seen, _) = join(&node, "ada-3", &["--seal-key", &other], "").await;
    assert!(seen.contains("[NOT OPENED: it is sealed with another key]"), "{seen}");
    // What cannot be sealed is not sent in the open.
    let change = r#"{"event_type":"node.create","data":{"node":{"id":"n","label":"secret"}}}"#;
    let (done, _, said) = join(&node, "ada-4", &["--seal-key", &team], change).await;
    assert!(!done && said.contains("only events are signed and sealed"), "{said}");
    assert_eq!(node.get("/v1/tenants/acme/entities/node/n").await.status, 404);
    // In another's name it is not sent at all.
    let (done, _, said) = join(&node, "ada-5", &["--sign-key", "/dev/null"], "x").await;
    assert!(!done, "{said}");
}
