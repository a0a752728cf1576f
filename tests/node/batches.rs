//! Batches of which all is done or nothing, on a node on its own log and on a node on NATS.

use serde_json::{Value, json};

use crate::{
    nats_support::NatsServer,
    support::{Client, Node, http, new_id},
};

const OPERATIONS: &str = "/v1/tenants/t/operations?atomic=1";

fn change(action: &str, id: &str, more: Value) -> Value {
    let mut operation =
        json!({"op_id": new_id(), "instance_id": "desk", "entity_type": "task", "entity_id": id, "action": action});
    operation.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    operation
}

/// Sends a batch and gives the answers in the operations' order.
async fn batch(client: &mut Client, operations: Vec<Value>) -> Vec<Value> {
    let ids: Vec<_> = operations.iter().map(|one| one["op_id"].clone()).collect();
    let data = json!({"atomic": true, "operations": operations});
    client.send(json!({"id": new_id(), "type": "batch.update", "data": data})).await;
    let mut answers = Vec::new();
    for id in ids {
        let is_answer = |message: &&Value| message["data"]["updateId"] == id || message["data"]["id"] == id;
        while !client.seen().iter().any(|message| is_answer(&message)) {
            client.next().await;
        }
        answers.extend(client.seen().iter().find(is_answer).cloned());
    }
    answers
}

fn codes(answers: &[Value]) -> Vec<&str> {
    answers.iter().map(|answer| answer["data"]["code"].as_str().unwrap_or("done")).collect()
}

async fn records(node: &Node) -> Vec<Value> {
    let page = node.get("/v1/tenants/t/events?limit=1000").await.json();
    page["events"].as_array().expect("a list").clone()
}

async fn title(node: &Node, id: &str) -> Option<String> {
    let answer = node.get(&format!("/v1/tenants/t/entities/task/{id}")).await;
    (answer.status == 200).then(|| answer.json()["data"]["title"].as_str().expect("a title").to_owned())
}

async fn all_or_nothing(node: &Node) {
    let mut ann = Client::typed(node.address(), "tenant_id=t&instance_id=a&user_id=ann").await;
    let mut bob = Client::typed(node.address(), "tenant_id=t&instance_id=b&user_id=bob").await;
    let made = vec![
        change("create", "one", json!({"data": {"title": "1"}})),
        change("create", "two", json!({"data": {"title": "2"}})),
        change("update", "one", json!({"patch": {"done": true}})),
    ];
    let answers = batch(&mut ann, made.clone()).await;
    assert_eq!(codes(&answers), ["done"; 3], "{answers:?}");
    let versions: Vec<_> =
        answers.iter().map(|answer| answer["data"]["version"].as_u64().expect("a version")).collect();
    assert_eq!((versions[0], versions[0] + 1), (versions[2], versions[1]), "one record an entity, side by side");
    let seen = bob.take(2).await;
    assert_eq!(seen[0]["event"]["data"], json!({"title": "1", "done": true}), "{seen:?}");
    let again = batch(&mut bob, made).await;
    assert_eq!(codes(&again), ["done"; 3]);
    assert!(again.iter().all(|answer| answer["data"]["duplicate"] == true), "{again:?}");

    // One that cannot be done undoes those before and behind it.
    let base = json!({"base_version": versions[1], "strategy": "manual", "patch": {"title": "ann's"}});
    bob.ask(json!({"type": "sync_event", "event": {"id": new_id(), "entity_type": "task", "entity_id": "two",
        "action": "update", "changes": {"title": "bob's"}}}))
        .await;
    let before = records(node).await.len();
    for (wrong, code) in [
        (change("update", "none", json!({"patch": {}})), "not_found"),
        (change("update", "two", base), "clash"),
        (change("update", "two", json!({"base_version": 1_u64 << 40, "patch": {}})), "version_ahead"),
        (change("update", "two", json!({"ops": [{"op": "test", "path": "/title", "value": "x"}]})), "test_failed"),
        (change("update", "two", json!({"patch": 7})), "invalid_operation"),
    ] {
        let right = |id: &str| change("put", id, json!({"patch": {"title": "changed"}}));
        let answers = batch(&mut ann, vec![right("one"), right("three"), wrong, right("four")]).await;
        assert_eq!(codes(&answers), ["batch_failed", "batch_failed", code, "batch_failed"], "{answers:?}");
    }
    let many = (0..65).map(|n| change("put", "one", json!({"patch": {"n": n}})));
    let answers = batch(&mut ann, many.collect()).await;
    assert_eq!(codes(&answers)[63..], ["batch_failed", "invalid_operation"]);
    ann.send(json!({"id": "odd", "type": "batch.update", "data": {"atomic": "yes", "operations": []}})).await;
    ann.find(|message| message["data"]["id"] == "odd" && message["data"]["code"] == "invalid_operation").await;
    assert_eq!(title(node, "one").await.as_deref(), Some("1"));
    assert_eq!(title(node, "three").await, None);
    assert_eq!(records(node).await.len(), before, "nothing was written");
}

async fn all_or_nothing_over_http(node: &Node) {
    let post = async |body: Value| http::post(node.address(), OPERATIONS, body.to_string().as_bytes()).await;
    let made = post(json!([
        change("create", "h1", json!({"data": {"title": "1"}})),
        change("create", "h2", json!({"data": {"title": "2"}})),
    ]))
    .await;
    assert_eq!(made.status, 201, "{}", made.text());
    let before = records(node).await.len();
    for (wrong, status) in [
        (change("update", "none", json!({"patch": {}})), 404),
        (change("update", "h2", json!({"ops": [{"op": "test", "path": "/title", "value": "x"}]})), 422),
        (change("fly", "h2", json!({})), 400),
    ] {
        let refused = post(json!([change("put", "h1", json!({"patch": {"title": "changed"}})), wrong])).await;
        assert_eq!(refused.status, status, "{}", refused.text());
        let results = &refused.json()["results"];
        assert_eq!((&results[0]["status"], &results[0]["code"]), (&json!(424), &json!("batch_failed")), "{results}");
        assert_eq!(results[1]["status"], status, "{results}");
    }
    assert_eq!(records(node).await.len(), before, "nothing was written");
    let odd = http::post(node.address(), "/v1/tenants/t/operations?atomic=perhaps", b"[]").await;
    odd.problem(400, "invalid_parameter");
}

#[tokio::test]
async fn a_batch_is_done_whole_or_leaves_no_trace() {
    let node = Node::start(&[("limits.messages_per_minute", "0")]).await;
    all_or_nothing(&node).await;
    all_or_nothing_over_http(&node).await;
}

#[tokio::test]
async fn a_batch_is_done_whole_or_leaves_no_trace_on_nats() {
    let log = NatsServer::start().await;
    let url = log.url();
    let settings = [("backbone.kind", "nats"), ("nats.urls", url.as_str()), ("log.retention_bytes", "0")];
    let node = Node::start(&[&settings[..], &[("limits.messages_per_minute", "0")]].concat()).await;
    all_or_nothing(&node).await;
    all_or_nothing_over_http(&node).await;
}

#[tokio::test]
async fn batches_and_single_operations_of_the_same_entities_lose_nothing() {
    const EACH: usize = 40;
    let node = Node::start(&[("limits.messages_per_minute", "0")]).await;
    let name = |n: usize| ["x", "y"][n % 2];
    let writers = (0..6).map(async |writer| {
        let mut client = Client::typed(node.address(), &format!("tenant_id=t&instance_id=w{writer}&user_id=u")).await;
        for n in 0..EACH {
            let mark = json!({"patch": {format!("w{writer}-{n}"): true}});
            if writer < 3 {
                let both = ["x", "y"].map(|id| change("put", id, mark.clone()));
                let answers = batch(&mut client, both.to_vec()).await;
                assert_eq!(codes(&answers), ["done"; 2], "{answers:?}");
            } else {
                let one = change("put", name(n), mark);
                client.send(json!({"id": one["op_id"], "type": "batch.update", "data": {"operations": [one]}})).await;
                let answer = client.find(|message| message["data"]["updateId"] == one["op_id"]).await;
                assert_eq!(answer["data"]["code"], Value::Null, "{answer}");
            }
        }
    });
    futures_util::future::join_all(writers).await;
    for id in ["x", "y"] {
        let entity = node.get(&format!("/v1/tenants/t/entities/task/{id}")).await.json();
        let there = entity["data"].as_object().expect("an object").len();
        assert_eq!(there, 3 * EACH + 3 * EACH / 2, "{id}");
    }
}
