//! The examples of the second envelope: what those who share one node send and hear.

use std::collections::BTreeSet;

use continuum::{
    model::{EntityKey, entity::OpId, lane::Said},
    wire::answer::Told,
};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Path, check_all, client_block_of, client_blocks, parts};
use crate::support::{Client, Node};

/// The blocks that clients send, and which of them were sent.
#[derive(Default)]
pub(super) struct Blocks(BTreeSet<&'static str>);

impl Blocks {
    /// A block, which is sent now.
    pub(super) fn take(&mut self, name: &'static str) -> &'static str {
        self.0.insert(name);
        client_block_of(Path::Typed, name)
    }
}

/// What a client of `/ws` got, as it came: ids that the node makes are left out.
pub(super) fn as_it_came(client: &Client) -> Vec<Value> {
    let mut seen = client.seen().to_vec();
    for message in &mut seen {
        let fields = message.as_object_mut().expect("an object");
        // What the test's client has added.
        fields.remove("event_type");
        assert!(fields.insert("id".into(), "made by the node".into()).is_some(), "{fields:?}");
    }
    seen
}

/// The answer to an operation.
pub(super) async fn answer(client: &mut Client, id: &str) -> Value {
    client.find(|message| message["data"]["updateId"] == id).await["data"].clone()
}

#[tokio::test]
async fn every_example_of_the_second_envelope_is_what_the_node_does() {
    // A heartbeat that a test can wait for.
    let node = Node::start(&[("heartbeat.interval", "100ms")]).await;
    let mut blocks = Blocks::default();
    let mut seen = memories_and_users(&node, &mut blocks).await;
    seen.extend(shared_state(&node, &mut blocks).await);
    seen.extend(parts::followed(&node, &mut blocks).await);
    seen.extend(parts::aimed(&node, &mut blocks).await);
    let mut last = Client::typed(node.address(), "tenant_id=last&instance_id=last").await;
    for sign in ["system.heartbeat", "heartbeat", "pong"] {
        last.send_text(blocks.take(sign).replace("21", "0")).await;
    }
    last.expect("system.heartbeat").await;
    assert_eq!(last.seen_of("error").count(), 0, "a sign of life has no answer");
    node.ask_to_stop();
    last.expect("system.reconnect").await;
    seen.extend(as_it_came(&last));
    seen.push(contended());
    check_all(Path::Typed, &seen);
    assert_eq!(client_blocks(Path::Typed), blocks.0, "every client block is sent by this test");
}

/// Only a race between nodes makes this one, so it is made from the node's own words.
fn contended() -> Value {
    let key = EntityKey::new("node", "n1").expect("a key");
    let told = Told { key, op: OpId(Uuid::nil()), reference: "op-4".into(), said: Said::Retry, delta: None };
    let words = told.words().expect("an answer");
    let data: Value = serde_json::from_str(&words.data).expect("JSON");
    json!({"id": "made by the node", "type": words.kind, "timestamp": "", "data": data})
}

async fn memories_and_users(node: &Node, blocks: &mut Blocks) -> Vec<Value> {
    let mut board = Client::typed(node.address(), "instance_id=board").await;
    let mut memo = Client::typed(node.address(), "token=TOKEN&user_id=user-2&user_name=Jane%20Smith").await;
    memo.send_text(blocks.take("subscribe")).await;
    memo.expect("subscribed").await;
    let john = "token=TOKEN&instance_id=phone&user_id=user-1&user_name=John%20Doe";
    let mut john = Client::typed(node.address(), john).await;
    memo.expect("tenant.user_joined").await;
    for signal in ["cursor.move", "selection.change", "user.presence", "typing", "signal.wave"] {
        john.send_text(blocks.take(signal)).await;
        board.find(|message| message["type"] == signal && message["data"]["status"] != "joined").await;
    }
    for change in ["memory.created", "memory.updated", "memory.deleted"] {
        john.send_text(blocks.take(change)).await;
        john.expect("update.confirmed").await;
    }
    john.send_text(blocks.take("memory.embedding_complete")).await;
    memo.expect("memory.embedding_complete").await;
    memo.send_text(blocks.take("ping")).await;
    memo.expect("pong").await;
    memo.send(json!({"id": "7", "type": "subscribe"})).await;
    memo.expect("error").await;
    john.send(json!({"id": "17", "type": "system.notice"})).await;
    john.expect("system.error").await;
    let at_john = as_it_came(&john);
    john.close().await;
    memo.expect("tenant.user_left").await;
    memo.send_text(blocks.take("unsubscribe")).await;
    memo.expect("unsubscribed").await;
    [at_john, as_it_came(&memo), as_it_came(&board)].concat()
}

/// The examples of shared state, in a room of their own.
async fn shared_state(node: &Node, blocks: &mut Blocks) -> Vec<Value> {
    let of = |name: &str| format!("tenant_id=state&instance_id={}&user_id={name}&user_name=Ann", &name[..1]);
    let mut ann = Client::typed(node.address(), &of("ann")).await;
    let mut bob = Client::typed(node.address(), &of("bob")).await;
    ann.send_text(blocks.take("node.create")).await;
    let base = answer(&mut ann, "op-1").await["version"].clone();
    let update = blocks.take("node.update").replace("22", &base.to_string());
    ann.send_text(update).await;
    answer(&mut ann, "op-2").await;
    let clash = json!({"node_id": "n1", "patch": {"x": 12}, "base_version": base});
    bob.send(json!({"id": "op-3", "type": "node.update", "data": clash})).await;
    answer(&mut bob, "op-3").await;
    let failing = json!({"node_id": "n1", "ops": [{"op": "test", "path": "/x", "value": 0}]});
    bob.send(json!({"id": "op-4", "type": "node.update", "data": failing})).await;
    answer(&mut bob, "op-4").await;
    conflict(blocks, &mut ann, &mut bob).await;
    ann.send_text(blocks.take("context.update")).await;
    answer(&mut ann, "op-8").await;
    ann.send_text(blocks.take("batch.update")).await;
    answer(&mut ann, "op-9b").await;
    ann.send_text(blocks.take("batch.update atomic")).await;
    assert_eq!(answer(&mut ann, "op-10b").await["code"], "not_found");
    ann.send_text(blocks.take("graph.sync")).await;
    ann.expect("graph.sync").await;
    bob.send_text(blocks.take("sync_reconnect").replace("ann", "bob")).await;
    bob.expect("caught_up").await;
    kept_apart(blocks, &mut ann, &mut bob, &base).await;
    every_change(blocks, &mut ann).await;
    bob.settle().await;
    [as_it_came(&ann), as_it_came(&bob)].concat()
}

/// A conflict that somebody chooses in.
async fn conflict(blocks: &mut Blocks, ann: &mut Client, bob: &mut Client) {
    let task =
        json!({"id": "op-5", "entity_type": "task", "entity_id": "t1", "action": "create", "data": {"title": "bread"}});
    ann.send(json!({"type": "sync_event", "event": task})).await;
    let seen = answer(ann, "op-5").await["version"].to_string();
    let task =
        json!({"id": "op-5b", "entity_type": "task", "entity_id": "t1", "action": "update", "data": {"title": "milk"}});
    ann.send(json!({"type": "sync_event", "event": task})).await;
    answer(ann, "op-5b").await;
    bob.send_text(blocks.take("sync_event").replace("\"base_version\":1", &format!("\"base_version\":{seen}"))).await;
    let pending = answer(bob, "op-6").await;
    let conflict = pending["conflict_id"].as_str().expect("a conflict");
    bob.send_text(blocks.take("conflict.resolve").replace("2c1f4be0-4f5e-5c86-9d5a-0d8f7b3f6f10", conflict)).await;
    answer(bob, "op-7").await;
}

/// What clashes and is not merged: kept as a variant, or waiting.
async fn kept_apart(blocks: &mut Blocks, ann: &mut Client, bob: &mut Client, base: &Value) {
    for (id, strategy) in [("op-10", "version"), ("op-12", "manual")] {
        let clash = json!({"node_id": "n1", "patch": {"x": 13}, "base_version": base, "strategy": strategy});
        ann.send(json!({"id": id, "type": "node.update", "data": clash})).await;
        let told = answer(ann, id).await;
        if let Some(variant) = told["variant_id"].as_str() {
            let choice = blocks.take("conflict_resolution").replace("7d0c2f6a-1b1e-5a53-8a43-4f2f0d6f7a11", variant);
            bob.send_text(choice).await;
            answer(bob, "op-11").await;
        }
    }
}

/// The changes that have no example elsewhere, in the document's order.
async fn every_change(blocks: &mut Blocks, ann: &mut Client) {
    ann.ask(json!({"id": "op-19", "type": "memory.deleted", "data": {"memory_id": "m9"}})).await;
    for change in [
        "edge.create",
        "edge.update",
        "edge.delete",
        "edge.restore",
        "node.delete",
        "node.restore",
        "memory.restore",
        "context.delete",
        "context.restore",
    ] {
        let text = blocks.take(change);
        let sent: Value = serde_json::from_str(text).expect("the block is JSON");
        let told = ann.ask(sent).await;
        assert_eq!(told["type"], "update.confirmed", "{change}: {told}");
    }
}
