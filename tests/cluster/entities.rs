//! Shared state over HTTP, at whichever node.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::{
    nats_support::NatsServer,
    node_on,
    support::{Node, http, http::Response},
};

async fn put(node: &Node, id: &str, headers: &[(&str, &str)], body: &Value) -> Response {
    let headers = [&[("Content-Type", "application/json")], headers].concat();
    let target = format!("/v1/tenants/t/entities/note/{id}");
    http::send(node.address(), "PUT", &target, &headers, body.to_string().as_bytes()).await
}

#[tokio::test]
async fn of_many_with_the_same_precondition_at_two_nodes_exactly_one_wins() {
    let server = NatsServer::start().await;
    let nodes = [node_on(&server.url(), &[]).await, node_on(&server.url(), &[]).await];
    let answers = join_all(
        (0..20).map(async |n: usize| put(&nodes[n % 2], "n", &[("If-None-Match", "*")], &json!({"n": n})).await),
    )
    .await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 201).count(), 1);
    for round in 0..10 {
        let shown = nodes[round % 2].get("/v1/tenants/t/entities/note/n").await;
        let tag = shown.header("etag").expect("a version").to_owned();
        let answers = join_all((0..20).map(async |n: usize| {
            put(&nodes[n % 2], "n", &[("If-Match", &tag)], &json!({"n": n, "round": round})).await
        }))
        .await;
        let won: Vec<_> = (0..20).filter(|n| answers[*n].status == 200).collect();
        let [winner] = won[..] else { panic!("{won:?} won in round {round}") };
        for answer in answers.iter().filter(|answer| answer.status != 200) {
            let problem = answer.problem(412, "precondition_failed");
            assert_eq!(problem["current"], json!({"n": winner, "round": round}), "{problem}");
        }
    }
}

#[tokio::test]
async fn the_pages_of_a_snapshot_come_from_any_node_and_their_tail_makes_the_state_whole() {
    let server = NatsServer::start().await;
    let nodes = [node_on(&server.url(), &[]).await, node_on(&server.url(), &[]).await];
    let all = |numbers: std::ops::Range<usize>, round: usize| {
        let make = |n| {
            json!({"instance_id": "a", "entity_type": "note", "entity_id": format!("e{n}"), "action": "put",
            "data": {"n": n, "round": round}})
        };
        Value::from(numbers.map(make).collect::<Vec<_>>())
    };
    assert_eq!(nodes[0].post("/v1/tenants/t/operations", &all(0..500, 0)).await.status, 201);
    let mut state: BTreeMap<String, (u64, Value)> = BTreeMap::new();
    let (mut page_of, mut pages, mut cursor) = (String::new(), 0, Value::Null);
    loop {
        let page = nodes[pages % 2].get(&format!("/v1/tenants/t/snapshot?limit=40{page_of}")).await.json();
        for entity in page["entities"].as_array().expect("entities") {
            let version = entity["version"].as_u64().expect("a version");
            let id = entity["entity_id"].as_str().expect("an id").to_owned();
            let known = state.entry(id).or_default();
            if known.0 < version {
                *known = (version, entity["data"].clone());
            }
        }
        assert!(pages == 0 || page["cursor"] == cursor, "of the first page, on every page");
        cursor = page["cursor"].clone();
        pages += 1;
        // Before and behind the reader, and on from there for a while.
        if pages < 20 {
            let changes = all(pages * 20..pages * 20 + 25, pages);
            let changed = nodes[(pages + 1) % 2].post("/v1/tenants/t/operations", &changes).await;
            assert!(changed.status < 300);
        }
        match page["next"].as_str() {
            Some(next) => page_of = format!("&page={next}"),
            None => break,
        }
    }
    let mut after = cursor.as_str().expect("a cursor").to_owned();
    loop {
        let page = nodes[1].get(&format!("/v1/tenants/t/events?limit=1000&after={after}")).await.json();
        assert_eq!(page["resync"], Value::Null);
        for record in page["events"].as_array().expect("events") {
            let (version, event) = (record["seq"].as_u64().expect("a position"), &record["data"]["event"]);
            let known = state.entry(event["entity_id"].as_str().expect("an id").to_owned()).or_default();
            if known.0 < version {
                *known = (version, event["data"].clone());
            }
        }
        page["cursor"].as_str().expect("a cursor").clone_into(&mut after);
        if page["more"] == json!(false) {
            break;
        }
    }
    assert_eq!(state.len(), 500);
    for (id, (version, data)) in state {
        let shown = nodes[0].get(&format!("/v1/tenants/t/entities/note/{id}")).await.json();
        assert_eq!((&shown["version"], &shown["data"]), (&json!(version), &data), "{id}");
    }
}
