//! Signed events: on every path they prove who said what where, and nothing else proves it.

use continuum::{
    client::{
        SigningKey, Subject,
        signing::{Unproven, verify},
    },
    model::{
        EntityKey, EventId, EventType, InstanceId, TenantId, Timestamp,
        signing::{KeySet, Signature},
    },
};
use serde_json::{Value, json};

use crate::{
    cluster_presence::nodes,
    nats_support::NatsServer,
    support::{Client, Node, http, new_id},
};

const AT: Timestamp = Timestamp(1_780_000_000_000);

/// What a record claims to be, and what is to be thought of it in a tenant.
fn proven(record: &Value, tenant: &str, keys: &KeySet) -> Result<(), Unproven> {
    let text = |names: [&str; 2]| names.iter().find_map(|name| record[*name].as_str()).expect("a text").to_owned();
    let tenant: TenantId = tenant.parse().expect("a tenant");
    let instance: InstanceId = text(["instance_id", ""]).parse().expect("an instance");
    let event_type: EventType = text(["event_type", "type"]).parse().expect("a type");
    let id: EventId = text(["event_id", "id"]).parse().expect("an id");
    let subject = Subject::Event { tenant: &tenant, instance: &instance, id, event_type: &event_type };
    verify(subject, &Signature::of(&record["sig"])?, &record["data"], keys)
}

pub(super) fn signed(
    key: &SigningKey,
    tenant: &str,
    instance: &str,
    by: &str,
    event_type: &str,
    data: &Value,
) -> Value {
    let id = new_id();
    let tenant = tenant.parse().expect("a tenant");
    let instance = instance.parse().expect("an instance");
    let kind = event_type.parse().expect("a type");
    let subject =
        Subject::Event { tenant: &tenant, instance: &instance, id: id.parse().expect("an id"), event_type: &kind };
    let sig = key.sign(subject, by, AT, data).expect("exact numbers");
    json!({"event_type": event_type, "type": event_type, "event_id": id, "id": id, "sig": sig, "data": data})
}

pub(super) fn key() -> SigningKey {
    SigningKey::generate().expect("random numbers")
}

async fn put(node: &Node, target: &str, content: &Value) -> http::Response {
    let headers = [("Content-Type", "application/json")];
    http::send(node.address(), "PUT", target, &headers, content.to_string().as_bytes()).await
}

/// The same with one part of it changed.
fn with(record: &Value, name: &str, to: Value) -> Value {
    let mut record = record.clone();
    record[name] = to;
    record
}

async fn prove_everywhere(one: &Node, other: &Node) {
    let key = key();
    let target = "/v1/tenants/acme/entities/signing_key/user:ada?instance_id=ada-1&user_id=";
    let registered = json!({"keys": [key.public_jwk()]});
    put(one, &format!("{target}bob"), &registered).await.problem(403, "forbidden");
    assert_eq!(put(one, &format!("{target}ada"), &registered).await.status, 201);
    let mut ada = Client::connect(one, "tenant_id=acme&instance_id=ada-1&user_id=ada").await;
    let mut live = other.join("acme", "live").await;
    let mut typed = Client::typed(other.address(), "tenant_id=acme&instance_id=typed").await;
    let mut cut = other.join_with("acme", "cut", "preview=3").await;
    let mut stream = other.stream("acme", "").await;
    stream.expect("caught_up").await;
    let data = json!({"z": 1.5e2, "text": "What is entangled stays entangled", "a": [null, "\u{1f317}"]});
    let wanted = signed(&key, "acme", "ada-1", "user:ada", "note", &data);
    ada.send(wanted.clone()).await;
    ada.expect("ack").await;
    let posted = signed(&key, "acme", "ada-2", "user:ada", "note", &data);
    let posted = with(&posted, "instance_id", json!("ada-2"));
    assert_eq!(one.post("/v1/tenants/acme/events?user_id=ada", &posted).await.status, 201);
    // Live, in both envelopes, cut, as a stream; again from the beginning; as history.
    let mut replayed = other.join_with("acme", "replayed", "since=earliest").await;
    let mut seen = live.take(2).await;
    seen.extend(typed.take(2).await);
    seen.extend(replayed.catch_up().await.into_iter().filter(|record| record["event_type"] == "note"));
    seen.extend(stream.records(2).await);
    let mut old = other.stream("acme", "since=earliest&types=note").await;
    seen.extend(old.records(2).await);
    let events = other.get("/v1/tenants/acme/events?types=note").await.json();
    seen.extend(events["events"].as_array().expect("a list").clone());
    assert_eq!(seen.len(), 12, "{seen:?}");
    let entity = other.get("/v1/tenants/acme/entities/signing_key/user:ada").await.json();
    let keys = KeySet::of(&entity["data"]).expect("keys");
    for record in &seen {
        assert_eq!(proven(record, "acme", &keys), Ok(()), "{record}");
        let is_posted = record["instance_id"] == "ada-2";
        assert_eq!(record["sig"], if is_posted { &posted } else { &wanted }["sig"], "untouched");
        for tampered in [
            with(
                record,
                "data",
                json!({"z": 151, "text": "What is entangled stays entangled", "a": [null, "\u{1f317}"]}),
            ),
            with(record, "instance_id", json!("ada-3")),
            with(&with(record, "event_type", json!("other")), "type", json!("other")),
            with(&with(record, "event_id", json!(new_id())), "id", json!(new_id())),
        ] {
            assert_eq!(proven(&tampered, "acme", &keys), Err(Unproven::Wrong), "{tampered}");
        }
        assert_eq!(proven(record, "evil", &keys), Err(Unproven::Wrong), "in another tenant");
        let others = KeySet::of(&json!({"keys": [self::key().public_jwk()]})).expect("keys");
        assert_eq!(proven(record, "acme", &others), Err(Unproven::UnknownKey), "with another's keys");
    }
    // What is cut says so, and with what was cut away goes the proof.
    let record = cut.record().await;
    assert_eq!((record["truncated"].is_array(), &record["sig"]), (true, &wanted["sig"]), "{record}");
    assert_eq!(proven(&record, "acme", &keys), Err(Unproven::Wrong));
    // A repeat is one, and cannot put another signature in the first one's place.
    let repeat = with(&wanted, "sig", signed(&self::key(), "acme", "ada-1", "user:ada", "note", &data)["sig"].clone());
    ada.send(repeat).await;
    assert_eq!(ada.expect("ack").await["data"]["duplicate"], true);
    rotated(one, other, &mut ada, &key, &entity).await;
}

/// The next key takes over; what was signed with the first one stays provable.
async fn rotated(one: &Node, other: &Node, ada: &mut Client, first: &SigningKey, entity: &Value) {
    let next = key();
    let mut old = first.public_jwk();
    old["until"] = "2026-06-01T00:00:00Z".into(); // after AT
    let content = json!({"keys": [old, next.public_jwk()]});
    let mut watcher = other.join("acme", "watcher").await;
    let operation = json!({"event_type": "sync_event", "event_id": new_id(), "data":
        {"entity_type": "signing_key", "entity_id": "user:ada", "action": "put", "base_version": entity["version"], "data": content}});
    assert_eq!(ada.ask(operation).await["event_type"], "update.confirmed");
    let told = watcher.find(|message| message["data"]["event"]["entity_type"] == "signing_key").await;
    let keys = KeySet::of(&told["data"]["event"]["data"]).expect("everybody sees the keys live");
    ada.send(signed(&next, "acme", "ada-1", "user:ada", "note", &json!(2))).await;
    assert_eq!(proven(&watcher.record().await, "acme", &keys), Ok(()));
    let events = one.get("/v1/tenants/acme/events?types=note").await.json();
    let events = events["events"].as_array().expect("a list");
    assert!(events.iter().all(|record| proven(record, "acme", &keys) == Ok(())), "{events:?}");
    let state = other.get("/v1/tenants/acme/snapshot?types=signing_key").await.json();
    assert_eq!(state["entities"][0]["data"], content, "{state}");
}

#[tokio::test]
async fn a_signed_event_proves_who_said_it_on_every_path() {
    let node = Node::start(&[]).await;
    prove_everywhere(&node, &node).await;
}

#[tokio::test]
async fn a_signed_event_proves_who_said_it_on_every_path_of_another_node() {
    let server = NatsServer::start().await;
    let [one, other] = nodes(&server, &[]).await;
    prove_everywhere(&one, &other).await;
}

#[tokio::test]
async fn a_signature_that_nobody_could_check_is_refused_on_every_path() {
    let node = Node::start(&[]).await;
    let key = key();
    let own = |by: &str| signed(&key, "t", "a", by, "note", &json!({"n": 1}));
    let mut sync = node.join("t", "a").await;
    let mut typed = Client::typed(node.address(), "tenant_id=t&instance_id=b&user_id=ada").await;
    let good = own("instance:a");
    let mut unnamed = good.clone();
    for name in ["event_id", "id"] {
        unnamed.as_object_mut().expect("an object").remove(name);
    }
    let bad = |name: &str, value: Value| {
        let mut event = with(&good, "event_id", json!(new_id()));
        event["id"] = event["event_id"].clone();
        event["sig"][name] = value;
        event
    };
    let refused = [
        unnamed,
        own("user:ada"),
        own("user:a"),
        own("instance:b"),
        bad("alg", json!("none")),
        bad("kid", json!("k".repeat(65))),
        bad("value", json!("A".repeat(1_000_000))),
        bad("at", json!("now")),
        bad("more", json!(1)),
        with(&good, "sig", json!("text")),
        with(&good, "sig", json!([1])),
    ];
    for event in &refused {
        let start: String = event.to_string().chars().take(300).collect();
        assert_eq!(sync.refused(event.to_string()).await["code"], "invalid_signature", "{start}");
        let event = with(event, "instance_id", json!("a"));
        node.post("/v1/tenants/t/events", &event).await.problem(400, "invalid_signature");
    }
    for event in [own("instance:b"), own("user:bob"), with(&good, "id", json!("no UUID"))] {
        assert_eq!(typed.refused(event.to_string()).await["code"], "invalid_signature", "{event}");
    }
    // Where no signature can stand it is not silently dropped.
    for kind in ["cursor.move", "signal.wave", "sync_event", "node.create", "batch.update", "conflict.resolve"] {
        let message = with(&with(&good, "event_type", json!(kind)), "type", json!(kind));
        for client in [&mut sync, &mut typed] {
            client.send(message.clone()).await;
            let error = client.find(|said| said["data"]["code"].is_string()).await;
            assert_eq!(error["data"]["code"], "invalid_signature", "{kind}: {error}");
        }
    }
    let operation = json!({"instance_id": "a", "entity_type": "note", "entity_id": "n", "action": "create", "data": {}, "sig": good["sig"]});
    node.post("/v1/tenants/t/operations", &operation).await.problem(400, "invalid_signature");
    // A content may have a field of that name.
    let node_with_sig = json!({"type": "node.create", "id": new_id(), "data": {"node": {"id": "n", "sig": "mine"}}});
    assert_eq!(typed.ask(node_with_sig).await["type"], "update.confirmed");
    let stored = node.get("/v1/tenants/t/events").await.json();
    let events = stored["events"].as_array().expect("a list");
    assert!(events.iter().all(|record| record["event_type"] == "node.create"), "nothing of it was stored: {stored}");
    assert_eq!(sync.publish("note", json!({})).await["duplicate"], false, "and it goes on");
}

#[tokio::test]
async fn a_signed_content_of_an_entity_stays_whole_and_proves_what_its_author_wrote() {
    let node = Node::start(&[]).await;
    let key = key();
    let tenant = "t".parse().expect("a tenant");
    let entity = EntityKey::new("note", "n1").expect("a key");
    let subject = Subject::Entity { tenant: &tenant, key: &entity };
    let content = json!({"title": "one", "done": null, "n": 1.0});
    let whole = key.signed_content(subject, "user:ada", AT, content.clone()).expect("exact numbers");
    let target = "/v1/tenants/t/entities/note/n1";
    assert_eq!(put(&node, target, &whole).await.status, 201);
    let patch = [("Content-Type", "application/merge-patch+json")];
    let patched = http::send(node.address(), "PATCH", target, &patch, br#"{"content":{"title":"two"}}"#).await;
    patched.problem(422, "whole_only");
    let stands = node.get(target).await.json()["data"].clone();
    let keys = KeySet::of(&json!({"keys": [key.public_jwk()]})).expect("keys");
    let sig = Signature::of(&stands["$signed"]).expect("a signature");
    assert_eq!(verify(subject, &sig, &stands["content"], &keys), Ok(()));
    assert_eq!(stands["content"], content);
    let elsewhere = EntityKey::new("note", "n2").expect("a key");
    let moved = Subject::Entity { tenant: &tenant, key: &elsewhere };
    assert_eq!(verify(moved, &sig, &stands["content"], &keys), Err(Unproven::Wrong));
}
