//! Event streams and long polls across nodes.

use serde_json::{Value, json};

use crate::{
    nats_support::{Admin, NatsServer, until},
    node_on,
    support::{EventStream, Node, new_id},
};

const EVENTS: &str = "/v1/tenants/t/events";

async fn publish(node: &Node, number: u64) {
    let event = json!({"event_type": "note", "event_id": new_id(), "instance_id": "w", "data": number});
    assert_eq!(node.post(EVENTS, &event).await.status, 201);
}

async fn numbers(stream: &mut EventStream, count: usize) -> Vec<u64> {
    let records = stream.records(count).await;
    records.iter().map(|record| record["data"].as_u64().expect("a number")).collect()
}

#[tokio::test]
async fn a_stream_says_what_other_nodes_take_and_goes_on_at_any_of_them() {
    let server = NatsServer::start().await;
    let (mut one, two) = (node_on(&server.url(), &[]).await, node_on(&server.url(), &[]).await);
    let mut stream = one.stream("t", "").await;
    stream.expect("caught_up").await;
    for number in 0..20 {
        publish(&two, number).await;
    }
    assert_eq!(numbers(&mut stream, 20).await, (0..20).collect::<Vec<_>>());
    let last = stream.last_id().expect("an id").to_owned();
    one.kill9().await;
    for number in 20..40 {
        publish(&two, number).await;
    }
    let mut back = two.stream_after("t", "", &last).await;
    assert_eq!(back.expect("session_ready").await["resume"]["missed"], 20);
    assert_eq!(numbers(&mut back, 20).await, (20..40).collect::<Vec<_>>());
    // From the log alone, and on from there to what is new.
    let three = node_on(&server.url(), &[]).await;
    let mut all = three.stream("t", "since=earliest").await;
    assert_eq!(numbers(&mut all, 40).await, (0..40).collect::<Vec<_>>());
    all.expect("caught_up").await;
    publish(&two, 40).await;
    assert_eq!((numbers(&mut all, 1).await, numbers(&mut back, 1).await), (vec![40], vec![40]));
}

#[tokio::test]
async fn a_long_poll_wakes_with_what_another_node_takes() {
    let server = NatsServer::start().await;
    let (one, two) = (node_on(&server.url(), &[]).await, node_on(&server.url(), &[]).await);
    publish(&two, 0).await;
    let cursor = one.get(EVENTS).await.json()["cursor"].as_str().expect("a cursor").to_owned();
    let target = format!("{EVENTS}?after={cursor}&wait=30s");
    let write = async {
        let waits = async || (one.get("/v1/stats").await.json()["total_connections"] == 1).then_some(());
        until("the poll waits", waits).await;
        publish(&two, 1).await;
    };
    let (page, ()) = tokio::join!(one.get(&target), write);
    let page = page.json();
    assert_eq!((&page["events"][0]["data"], &page["events"][1]), (&json!(1), &Value::Null));
}

#[tokio::test]
async fn a_stream_over_a_log_that_is_made_anew_is_told_and_goes_on() {
    let server = NatsServer::start().await;
    let node = node_on(&server.url(), &[]).await;
    let mut stream = node.stream("t", "").await;
    stream.expect("caught_up").await;
    publish(&node, 0).await;
    assert_eq!(numbers(&mut stream, 1).await, [0]);
    let last = stream.last_id().expect("an id").to_owned();
    Admin::connect(&server.url()).await.delete_stream("SYNC_LOG_0").await;
    let resync = stream.expect("resync").await;
    assert_eq!((&resync["reason"], &resync["requested"]), (&json!("other_epoch"), &json!(last)));
    stream.expect("caught_up").await;
    until("the new log takes publishes", async || {
        let event = json!({"event_type": "note", "instance_id": "x", "data": 1});
        (node.post(EVENTS, &event).await.status == 201).then_some(())
    })
    .await;
    assert_eq!(numbers(&mut stream, 1).await, [1]);
    let mut back = node.stream_after("t", "", &last).await;
    assert_eq!(back.expect("resync").await["reason"], "other_epoch");
}
