//! Long polls: history that waits for what is not there yet.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Node, RawClient, new_id, until};

const EVENTS: &str = "/v1/tenants/t/events";

/// Publishes events of a type, one after the other; returns their positions.
pub async fn publish(node: &Node, tenant: &str, event_type: &str, numbers: std::ops::Range<u64>) -> Vec<u64> {
    let mut positions = Vec::new();
    for number in numbers {
        let event = json!({"event_type": event_type, "event_id": new_id(), "instance_id": "w", "data": number});
        let answer = node.post(&format!("/v1/tenants/{tenant}/events"), &event).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        positions.push(answer.json()["seq"].as_u64().expect("a position"));
    }
    positions
}

pub fn numbers(records: &[Value]) -> Vec<u64> {
    records.iter().map(|record| record["data"].as_u64().expect("a number")).collect()
}

/// Waits until this many connections are open.
async fn until_connections(node: &Node, wanted: u64) {
    let open = async || (node.get("/v1/stats").await.json()["total_connections"] == wanted).then_some(());
    until("connections are as wanted", open).await;
}

#[tokio::test]
async fn a_long_poll_wakes_with_what_comes_and_not_with_what_is_filtered_out() {
    let node = Node::start(&[]).await;
    publish(&node, "t", "note", 0..1).await;
    let cursor = node.get(EVENTS).await.json()["cursor"].as_str().expect("a cursor").to_owned();
    let target = format!("{EVENTS}?after={cursor}&wait=30s&types=memory.*");
    let poll = node.get(&target);
    let write = async {
        // It waits: it has a place among the connections.
        until_connections(&node, 1).await;
        publish(&node, "t", "note", 1..3).await;
        publish(&node, "t", "memory.added", 3..4).await
    };
    let (page, at) = tokio::join!(poll, write);
    let page = page.json();
    assert_eq!(numbers(page["events"].as_array().expect("events")), [3]);
    assert_eq!((&page["more"], &page["resync"]), (&json!(false), &Value::Null));
    let next = page["cursor"].as_str().expect("a cursor");
    assert!(next.contains(&format!(".{}.", at[0])), "{next}");
    // What is there already is not waited for.
    let page = node.get(&format!("{EVENTS}?after={cursor}&wait=60s&limit=2")).await.json();
    assert_eq!((numbers(page["events"].as_array().expect("events")), &page["more"]), (vec![1, 2], &json!(true)));
    let stats = node.get("/v1/stats").await.json();
    assert_eq!(stats["total_connections"], 0, "a poll that was answered has given its place back");
}

#[tokio::test]
async fn a_long_poll_that_sees_nothing_ends_empty_with_its_cursor() {
    let node = Node::start(&[]).await;
    publish(&node, "t", "note", 0..2).await;
    let cursor = node.get(EVENTS).await.json()["cursor"].as_str().expect("a cursor").to_owned();
    let since = Instant::now();
    let page = node.get(&format!("{EVENTS}?after={cursor}&wait=300ms")).await.json();
    assert!(since.elapsed() >= Duration::from_millis(300));
    assert_eq!(page, json!({"events": [], "cursor": cursor, "more": false, "resync": null}));
    // Filtered out is not there, but passed.
    let page = node.get(&format!("{EVENTS}?after=earliest&wait=100ms&types=other")).await.json();
    assert_eq!(page, json!({"events": [], "cursor": cursor, "more": false, "resync": null}));
    // A place that is gone is told at once.
    let page = node.get(&format!("{EVENTS}?after=00000000deadbeef.7&wait=60s&types=other")).await.json();
    assert_eq!(page["resync"]["reason"], "other_epoch");
}

#[tokio::test]
async fn a_poll_whose_client_hangs_up_gives_its_place_back() {
    let node = Node::start(&[]).await;
    let request = format!("GET {EVENTS}?wait=60s HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let poll = RawClient::open(node.address(), request.as_bytes()).await;
    until_connections(&node, 1).await;
    drop(poll);
    until_connections(&node, 0).await;
}

#[tokio::test]
async fn types_filter_pages_of_history_too() {
    let node = Node::start(&[]).await;
    for number in 0..5 {
        publish(&node, "t", "note", number..number + 1).await;
        publish(&node, "t", "memory.added", number..number + 1).await;
    }
    let (mut after, mut seen) = ("earliest".to_owned(), Vec::new());
    loop {
        let page = node.get(&format!("{EVENTS}?after={after}&limit=3&types=memory.*")).await.json();
        seen.extend(numbers(page["events"].as_array().expect("events")));
        page["cursor"].as_str().expect("a cursor").clone_into(&mut after);
        if page["more"] == false {
            break;
        }
    }
    assert_eq!(seen, [0, 1, 2, 3, 4]);
}

#[tokio::test]
async fn a_time_to_wait_is_a_time_and_not_too_long() {
    let node = Node::start(&[]).await;
    for wait in ["61s", "x", "1", "-1s"] {
        node.get(&format!("{EVENTS}?wait={wait}")).await.problem(400, "invalid_parameter");
    }
}
