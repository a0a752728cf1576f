//! The examples of following parts of the shared state, in a room of their own.

use serde_json::{Value, json};

use super::typed::{Blocks, answer, as_it_came};
use crate::support::{Client, Node};

/// Somebody follows what somebody else changes.
pub(super) async fn followed(node: &Node, blocks: &mut Blocks) -> Vec<Value> {
    let mut ann = Client::typed(node.address(), "tenant_id=parts&instance_id=ann&user_id=ann").await;
    let mut bob = Client::typed(node.address(), "tenant_id=parts&instance_id=bob&user_id=bob").await;
    let task = json!({"state": "open", "rank": 1});
    change(&mut bob, "node", "n1", "create", json!({"x": 1, "y": 2})).await;
    change(&mut bob, "task", "t1", "create", task).await;
    for (name, first) in
        [("region", "region.sync"), ("hops", "region.sync"), ("ids", "ids.sync"), ("query", "query.results")]
    {
        let block = match name {
            "region" => "subscribe region",
            "hops" => "subscribe hops",
            "ids" => "subscribe ids",
            _ => "subscribe query",
        };
        ann.send_text(blocks.take(block)).await;
        ann.find(|message| message["type"] == first && message["data"]["done"] == true).await;
    }
    change(&mut bob, "node", "n2", "create", json!({"x": 5, "y": 5})).await;
    ann.expect("region.update").await;
    change(&mut bob, "node", "n2", "update", json!({"x": 500})).await;
    ann.find(|message| message["data"]["left"][0]["entity_id"] == "n2").await;
    change(&mut bob, "task", "t1", "update", json!({"rank": 2})).await;
    let (mut ids, mut query) = (false, false);
    while !(ids && query) {
        let message = ann.next().await;
        ids |= message["type"] == "ids.update";
        query |= message["type"] == "query.update";
    }
    ann.send_text(blocks.take("unsubscribe subscriptions")).await;
    ann.expect("unsubscribed").await;
    ann.send_text(blocks.take("gonzai.focus")).await;
    // Behind the focus: the room has it.
    ann.settle().await;
    change(&mut bob, "node", "n1", "update", json!({"x": 3})).await;
    ann.expect("gonzai.discover").await;
    as_it_came(&ann)
}

async fn change(client: &mut Client, kind: &str, id: &str, action: &str, data: Value) {
    let operation = format!("{action} {kind} {id} {data}");
    let event = json!({"id": operation, "entity_type": kind, "entity_id": id, "action": action, "data": data});
    client.send(json!({"type": "sync_event", "event": event})).await;
    answer(client, &operation).await;
}

/// What is told to those whom it concerns, in a room of its own.
pub(super) async fn aimed(node: &Node, blocks: &mut Blocks) -> Vec<Value> {
    let mut ann = Client::typed(node.address(), "tenant_id=aimed&instance_id=a&user_id=ann&chaos_affinity=1").await;
    let mut bob = Client::typed(node.address(), "tenant_id=aimed&instance_id=b&user_id=bob").await;
    ann.send_text(blocks.take("gonzai.focus")).await;
    ann.settle().await;
    for kind in ["gonzai.suggestion", "chaos.trigger"] {
        bob.send_text(blocks.take(kind)).await;
        ann.expect(kind).await;
    }
    as_it_came(&ann)
}
