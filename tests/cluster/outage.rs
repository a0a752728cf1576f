//! NATS away: the node keeps its sessions, its journal takes what is published, and nothing is lost or doubled.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::{
    nats_support::{Line, NatsServer, until},
    node_on, on,
    support::{Client, Node, Port, http, new_id},
};

/// Publishes and waits for whatever answers it first.
async fn publish(member: &mut Client, id: &str, data: Value) -> String {
    member.send(json!({"event_type": "note", "event_id": id, "data": data})).await;
    let answers = ["ack", "queued", "error"];
    let is_answer = |message: &Value| {
        answers.iter().any(|answer| message["event_type"] == *answer) && message["data"]["event_id"] == id
    };
    member.find(is_answer).await["event_type"].as_str().expect("a type").to_owned()
}

async fn readiness(node: &Node) -> (u16, Value) {
    let answer = node.get("/readyz").await;
    (answer.status, answer.json())
}

async fn until_ready(node: &Node) {
    until("the node is ready", async || (readiness(node).await.1["status"] == "ready").then_some(())).await;
}

#[tokio::test]
async fn with_nats_stopped_publishes_are_queued_and_stored_when_it_is_back() {
    let server = NatsServer::start().await;
    let (one, two) = (node_on(&server.url(), &[]).await, node_on(&server.url(), &[]).await);
    let (mut writer, mut reader) = (one.join("t", "writer").await, two.join("t", "reader").await);
    assert_eq!(publish(&mut writer, &new_id(), json!("before")).await, "ack");
    server.stop().await;
    let ids: Vec<_> = (0..20).map(|_| new_id()).collect();
    for (n, id) in ids.iter().enumerate() {
        assert_eq!(publish(&mut writer, id, json!(n)).await, "queued");
    }
    assert_eq!(publish(&mut writer, &ids[3], json!(3)).await, "queued", "a repeat of what is queued is queued");
    let (status, said) = readiness(&one).await;
    assert_eq!((status, &said["status"]), (200, &json!("degraded")), "{said}");
    assert!(said["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{said}");
    assert_eq!(one.get("/healthz").await.status, 200);
    let body = json!({"event_type": "note", "event_id": new_id(), "instance_id": "other", "data": "over HTTP"});
    let answer = one.post("/v1/tenants/t/events", &body).await;
    assert_eq!((answer.status, answer.json()["status"].clone()), (202, json!("queued")));
    server.start_again().await;
    let mut stored = BTreeMap::new();
    while stored.len() < ids.len() {
        let message = writer.expect("stored").await;
        stored.insert(message["data"]["event_id"].to_string(), message["data"]["seq"].clone());
    }
    let records = reader.take(22).await;
    let data: Vec<_> = records.iter().map(|record| record["data"].clone()).collect();
    let expected: Vec<_> =
        [json!("before")].into_iter().chain((0..20).map(|n| json!(n))).chain([json!("over HTTP")]).collect();
    assert_eq!(data, expected, "in the order in which they were published");
    for record in &records[1..21] {
        assert_eq!(stored.get(&record["event_id"].to_string()), Some(&record["seq"]));
    }
    until_ready(&one).await;
    assert_eq!(publish(&mut writer, &ids[5], json!(5)).await, "ack", "a later repeat is found");
    assert_eq!(reader.settle().await, Vec::<Value>::new(), "nothing is stored twice");
}

#[tokio::test]
async fn the_journal_survives_the_nodes_death() {
    let server = NatsServer::start().await;
    let mut node = node_on(&server.url(), &[]).await;
    let mut writer = node.join("t", "writer").await;
    publish(&mut writer, &new_id(), json!("before")).await;
    server.stop().await;
    let ids: Vec<_> = (0..10).map(|_| new_id()).collect();
    for (n, id) in ids.iter().enumerate() {
        assert_eq!(publish(&mut writer, id, json!(n)).await, "queued");
    }
    node.kill9().await;
    drop(writer);
    server.start_again().await;
    node.restart(Port::Same).await;
    let mut reader = node.join_with("t", "reader", "since=earliest").await;
    let data: Vec<_> = reader.take(11).await.iter().map(|record| record["data"].clone()).collect();
    assert_eq!(data[1..], (0..10).map(|n| json!(n)).collect::<Vec<_>>());
    let mut writer = node.join("t", "writer").await;
    assert_eq!(publish(&mut writer, &ids[0], json!(0)).await, "ack");
    assert_eq!(reader.settle().await.iter().filter(|message| message.get("seq").is_some()).count(), 0);
}

#[tokio::test]
async fn a_full_journal_refuses_clearly_and_takes_again_when_there_is_room() {
    let server = NatsServer::start().await;
    let node = node_on(&server.url(), &[("journal.max_bytes", "1048576")]).await;
    let mut writer = node.join("t", "writer").await;
    publish(&mut writer, &new_id(), json!("before")).await;
    server.stop().await;
    let (large, mut queued) = ("x".repeat(100_000), 0);
    let refused = loop {
        let id = new_id();
        match publish(&mut writer, &id, json!(large)).await.as_str() {
            "queued" => queued += 1,
            "error" => break writer.seen_of("error").last().expect("it came").clone(),
            other => panic!("{other}"),
        }
    };
    assert!((5..=10).contains(&queued), "{queued}");
    assert_eq!(refused["data"]["code"], "journal_full", "{refused}");
    assert!(refused["data"]["retry_after_ms"].is_u64(), "{refused}");
    let (status, said) = readiness(&node).await;
    assert_eq!((status, &said["status"]), (503, &json!("journal_full")));
    server.start_again().await;
    for _ in 0..queued {
        writer.expect("stored").await;
    }
    until_ready(&node).await;
    assert_eq!(publish(&mut writer, &new_id(), json!("after")).await, "ack");
}

#[tokio::test]
async fn a_node_that_is_cut_off_goes_on_and_is_healed() {
    let server = NatsServer::start().await;
    let mut line = Line::to(server.address()).await;
    let (cut, whole) = (node_on(&line.url(), &[]).await, node_on(&server.url(), &[]).await);
    let (mut there, mut here) = (cut.join("t", "there").await, whole.join("t", "here").await);
    publish(&mut there, &new_id(), json!("before")).await;
    here.record().await;
    line.cut();
    let ids: Vec<_> = (0..30).map(|_| new_id()).collect();
    for (n, id) in ids.iter().enumerate() {
        assert_eq!(publish(&mut there, id, json!(n)).await, "queued");
        assert_eq!(publish(&mut here, &new_id(), json!(format!("meanwhile {n}"))).await, "ack");
    }
    line.heal().await;
    let theirs: Vec<_> = here.take(30).await.iter().map(|record| record["data"].clone()).collect();
    assert_eq!(theirs, (0..30).map(|n| json!(n)).collect::<Vec<_>>());
    let mine: Vec<_> = there.take(30).await.iter().map(|record| record["data"].clone()).collect();
    assert_eq!(mine, (0..30).map(|n| json!(format!("meanwhile {n}"))).collect::<Vec<_>>());
    let mut late = whole.join_with("t", "late", "since=earliest").await;
    assert_eq!(late.catch_up().await.len(), 61, "nothing lost, nothing doubled");
}

#[tokio::test]
async fn a_node_starts_without_nats_and_joins_when_it_comes() {
    let server = NatsServer::start().await;
    let url = server.url();
    server.stop().await;
    let node = Node::start_unready(&on(&url, &[])).await;
    let (status, said) = readiness(&node).await;
    assert_eq!((status, &said["status"]), (503, &json!("starting")), "{said}");
    assert!(said["reason"].as_str().is_some_and(|reason| reason.contains("NATS")), "{said}");
    assert_eq!(node.get("/healthz").await.status, 200);
    let body = json!({"event_type": "note", "event_id": new_id(), "instance_id": "early", "data": "early"});
    assert_eq!(node.post("/v1/tenants/t/events", &body).await.status, 202);
    // Somebody who comes now is let in, and greeted when there is something to stand on.
    let mut early = Client::open(&node, "tenant_id=t&instance_id=waiting&since=earliest").await;
    server.start_again().await;
    early.expect("session_ready").await;
    assert_eq!(early.record().await["data"], "early");
    until_ready(&node).await;
    assert_eq!(http::get(node.address(), "/readyz").await.status, 200);
}
