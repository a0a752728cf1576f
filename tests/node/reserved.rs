//! What may not be published, at each of the three doors: `/ws/sync`, `/ws` and `POST …/events`.

use continuum::wire::kind;
use serde_json::{Value, json};

use crate::support::{Client, Node, new_id};

const EVENTS: &str = "/v1/tenants/t/events";

/// What changes entities, one of each form.
const CHANGES: [&str; 8] = [
    "node.create",
    "edge.delete",
    "memory.created",
    "memory.restore",
    "context.update",
    "sync_event",
    "batch.update",
    "conflict.resolve",
];

/// Somebody on each path, and somebody who hears everything.
async fn doors(node: &Node) -> [Client; 3] {
    [
        Client::connect_to(node.address(), "tenant_id=t&instance_id=sync").await,
        Client::typed(node.address(), "tenant_id=t&instance_id=typed").await,
        node.join("t", "bystander").await,
    ]
}

/// Nothing but an event that is published now has come to the bystander, or stands in the log.
async fn nothing_came_through(node: &Node, publisher: &mut Client, bystander: &mut Client) {
    publisher.publish("note", json!({})).await;
    bystander.settle().await;
    let heard: Vec<&Value> = bystander.records().iter().map(|record| &record["event_type"]).collect();
    assert_eq!(heard, ["note"]);
    let stored = node.get(EVENTS).await.json()["events"].clone();
    assert_eq!(stored.as_array().map(Vec::len), Some(1), "{stored}");
    assert_eq!(stored[0]["event_type"], "note");
}

#[tokio::test]
async fn what_the_node_says_nobody_else_can_say_at_any_door() {
    let node = Node::start(&[("limits.invalid_in_a_row", "1000")]).await;
    let [mut sync, mut typed, mut bystander] = doors(&node).await;
    // Of the node's families, words that it has not learned yet are its own too.
    for word in kind::SAID.into_iter().chain(["system.notice", "update.later", "conflict.closed"]) {
        let id = new_id();
        let error = sync.refused(json!({"event_type": word, "event_id": id}).to_string()).await;
        assert_eq!((&error["code"], &error["event_id"]), (&json!("reserved_type"), &json!(id)), "{word}");
        let error = typed.ask(json!({"type": word, "id": id})).await["data"].clone();
        assert_eq!((&error["code"], &error["id"]), (&json!("reserved_type"), &json!(id)), "{word}");
        let event = json!({"event_type": word, "event_id": id, "instance_id": "service"});
        node.post(EVENTS, &event).await.problem(400, "reserved_type");
    }
    nothing_came_through(&node, &mut sync, &mut bystander).await;
}

#[tokio::test]
async fn a_change_over_http_is_no_event_and_the_refusal_says_where_it_goes() {
    let node = Node::start(&[]).await;
    let [mut sync, _typed, mut bystander] = doors(&node).await;
    let content = json!({"node": {"id": "n1"}, "memory_id": "m1", "event": {"entity_type": "task"}});
    for word in CHANGES {
        let event = json!({"event_type": word, "event_id": new_id(), "instance_id": "service", "data": content});
        let problem = node.post(EVENTS, &event).await.problem(400, "reserved_type");
        let hint = problem["detail"].as_str().expect("a text");
        assert!(hint.contains("POST /v1/tenants/{tenant}/operations"), "{hint}");
    }
    nothing_came_through(&node, &mut sync, &mut bystander).await;
}

#[tokio::test]
async fn a_change_is_one_on_both_sockets_and_its_neighbours_in_name_are_events() {
    let node = Node::start(&[]).await;
    let [mut sync, mut typed, mut bystander] = doors(&node).await;
    let create = |id: &str| json!({"node": {"id": id}});
    let answer = sync.ask(json!({"event_type": "node.create", "event_id": new_id(), "data": create("n1")})).await;
    assert_eq!(answer["event_type"], "update.confirmed", "{answer}");
    let answer = typed.ask(json!({"type": "node.create", "id": "op-2", "data": create("n2")})).await;
    assert_eq!(answer["type"], "update.confirmed", "{answer}");
    for id in ["n1", "n2"] {
        assert_eq!(node.get(&format!("/v1/tenants/t/entities/node/{id}")).await.status, 200, "{id}");
    }
    // Families that are not the node's stay open.
    sync.publish("node.pulse", json!({})).await;
    let event = json!({"event_type": "memory.embedding_complete", "instance_id": "service"});
    assert_eq!(node.post(EVENTS, &event).await.status, 201);
    let heard: Vec<Value> = bystander.take(4).await.iter().map(|record| record["event_type"].clone()).collect();
    assert_eq!(heard, ["node.create", "node.create", "node.pulse", "memory.embedding_complete"]);
}

#[tokio::test]
async fn a_session_message_is_published_at_no_door() {
    let node = Node::start(&[]).await;
    let [mut sync, mut typed, mut bystander] = doors(&node).await;
    for word in kind::SESSION.into_iter().chain(kind::TYPED_SESSION) {
        let event = json!({"event_type": word, "instance_id": "service", "data": {"seq": 0, "channels": ["*"]}});
        node.post(EVENTS, &event).await.problem(400, "reserved_type");
    }
    for word in kind::TYPED_SESSION {
        let id = new_id();
        let error = sync.refused(json!({"event_type": word, "event_id": id}).to_string()).await;
        assert_eq!((&error["code"], &error["event_id"]), (&json!("reserved_type"), &json!(id)), "{word}");
    }
    typed.send(json!({"type": "pong"})).await;
    typed.send(json!({"type": "system.heartbeat"})).await;
    typed.settle().await;
    assert_eq!(typed.seen_of("error").count(), 0, "these are signs of life on /ws");
    nothing_came_through(&node, &mut sync, &mut bystander).await;
}
