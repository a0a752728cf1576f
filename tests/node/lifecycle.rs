//! The process: starting, stopping, starting again.

use serde_json::json;

use crate::support::{Node, Port};

#[tokio::test]
async fn a_node_that_is_told_to_stop_sends_everyone_home_and_exits_with_0() {
    let mut node = Node::start(&[]).await;
    let mut client = node.join("default", "a").await;
    node.ask_to_stop();
    let draining = client.expect("draining").await;
    assert!(draining["data"]["retry_after_ms"].as_u64().is_some_and(|wait| wait > 0), "{draining}");
    let closed = client.until_closed().await;
    assert_eq!(closed.code, Some(1012));
    let wait = closed.reason.strip_prefix("restart; retry in ").and_then(|rest| rest.strip_suffix(" ms"));
    assert!(wait.is_some_and(|wait| wait.parse::<u64>().is_ok()), "{closed:?}");
    assert_eq!(node.ended().await.code(), Some(0));
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_a_kill() {
    let mut node = Node::start(&[]).await;
    let mut client = node.join("default", "a").await;
    let ack = client.publish("memory_added", json!({"message_id": 1})).await;
    node.restart(Port::Same).await;
    let mut client = node.join_with("default", "b", "since=earliest").await;
    let records = client.catch_up().await;
    assert_eq!(records.len(), 1);
    assert_eq!(records[0]["seq"], ack["seq"]);
    assert_eq!(records[0]["data"], json!({"message_id": 1}));
}
