//! Shared state through real sockets: each seed's messages, and that they are one thing inside.

use serde_json::{Value, json};

use crate::support::{Client, Node, new_id};

/// A client of `/ws` that says who it is.
async fn typed(node: &Node, instance: &str, user: &str) -> Client {
    Client::typed(node.address(), &format!("tenant_id=t&instance_id={instance}&user_id={user}&user_name={user}")).await
}

fn node_message(verb: &str, data: Value) -> Value {
    json!({"id": new_id(), "type": format!("node.{verb}"), "timestamp": 1_735_000_000_000_u64, "version": "1.0", "data": data})
}

#[tokio::test]
async fn a_node_made_by_one_is_seen_by_others_in_both_envelopes() {
    let server = Node::start(&[]).await;
    let (mut ann, mut bob) = (typed(&server, "a", "ann").await, typed(&server, "b", "bob").await);
    let mut old = server.join("t", "c").await;
    let answer = ann.ask(node_message("create", json!({"node": {"id": "n1", "label": "thought", "x": 1.5}}))).await;
    assert_eq!(answer["type"], "update.confirmed", "{answer}");
    let version = answer["data"]["version"].as_u64().expect("a version");
    for reader in [&mut bob, &mut old] {
        let seen = reader.expect("node.create").await;
        assert_eq!(seen["seq"], version, "{seen}");
        assert_eq!(seen["data"]["node"], json!({"id": "n1", "label": "thought", "x": 1.5}), "{seen}");
        assert_eq!(seen["data"]["user_id"], "ann");
    }
    let change = json!({"node": {"id": "n1", "x": 2}, "base_version": version});
    let answer = bob.ask(node_message("update", change)).await;
    assert_eq!(answer["type"], "update.confirmed", "{answer}");
    let seen = ann.expect("node.update").await;
    assert_eq!(seen["data"]["changes"], json!({"x": 2}));
    assert_eq!(seen["data"]["node"], json!({"id": "n1", "label": "thought", "x": 2}));
    assert_eq!(seen["data"]["base_version"], version);
    assert!(seen["timestamp"].is_u64(), "Gitmind's times are numbers: {seen}");
    let answer = old.ask(json!({"event_type": "node.delete", "event_id": new_id(), "data": {"node_id": "n1"}})).await;
    assert_eq!(answer["event_type"], "update.confirmed", "{answer}");
    assert_eq!(ann.expect("node.delete").await["data"]["node_id"], "n1");
}

#[tokio::test]
async fn aethers_events_are_answered_as_aether_has_it_and_conflicts_wait_for_the_user() {
    let server = Node::start(&[]).await;
    let (mut phone, mut desk) = (typed(&server, "phone", "u").await, typed(&server, "desk", "u").await);
    let event = |action: &str, data: Value, more: Value| {
        let mut event = json!({"id": new_id(), "entity_type": "task", "entity_id": "t1", "action": action, "data": data,
            "timestamp": "2025-01-17T10:00:00Z", "user_id": "u"});
        event.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        json!({"type": "sync_event", "event": event})
    };
    let made = phone.ask(event("create", json!({"title": "buy milk", "done": false}), json!({}))).await;
    assert_eq!((&made["type"], &made["success"]), (&json!("sync_response"), &json!(true)), "{made}");
    let base = made["data"]["version"].clone();
    let seen = desk.expect("sync_event").await;
    assert_eq!(seen["event"]["data"], json!({"title": "buy milk", "done": false}), "{seen}");
    assert_eq!(seen["event"]["action"], "create");
    let choice = json!({"base_version": base, "strategy": "user_choice"});
    let first = phone.ask(event("update", json!({"title": "buy oat milk"}), choice.clone())).await;
    assert_eq!(first["success"], true, "{first}");
    let second = desk.ask(event("update", json!({"title": "buy soy milk"}), choice)).await;
    assert_eq!((&second["success"], &second["conflict"]), (&json!(false), &json!(true)), "{second}");
    let info = &second["conflict_info"];
    assert_eq!(info["local_data"], json!({"title": "buy soy milk"}), "{second}");
    assert_eq!(info["remote_data"]["title"], "buy oat milk");
    let pending = phone.expect("conflict.pending").await;
    assert_eq!(pending["data"]["entity_id"], "t1", "{pending}");
    let resolve = json!({"id": new_id(), "type": "conflict.resolve", "data": {"entity_type": "task", "entity_id": "t1",
        "conflict_id": info["conflict_id"], "choice": "proposed"}});
    let resolved = desk.ask(resolve).await;
    assert_eq!(resolved["type"], "update.confirmed", "{resolved}");
    let seen = phone.expect("sync_event").await;
    assert_eq!(seen["event"]["data"]["title"], "buy soy milk", "{seen}");
}

#[tokio::test]
async fn a_repeated_operation_is_answered_and_not_applied_again_also_after_a_crash() {
    let mut server = Node::start(&[]).await;
    let mut ann = typed(&server, "a", "ann").await;
    ann.ask(node_message("create", json!({"node": {"id": "n1", "text": ""}}))).await;
    let id = new_id();
    let insert =
        json!({"id": id, "type": "node.update", "data": {"node_id": "n1", "text": {"path": "/text", "ops": ["a"]}}});
    let first = ann.ask(insert.clone()).await;
    assert_eq!(first["type"], "update.confirmed", "{first}");
    server.kill9().await;
    server.restart(crate::support::Port::New).await;
    let mut ann = typed(&server, "a", "ann").await;
    let again = ann.ask(insert).await;
    assert_eq!((&again["type"], &again["data"]["duplicate"]), (&json!("update.confirmed"), &json!(true)), "{again}");
    assert_eq!(again["data"]["version"], first["data"]["version"]);
}
