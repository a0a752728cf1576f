//! What clients get of changes: in deltas or whole, private or not, by every strategy.

use serde_json::{Value, json};

use crate::support::{Client, Node, new_id};

async fn typed(node: &Node, instance: &str, user: &str, more: &str) -> Client {
    let query = format!("tenant_id=t&instance_id={instance}&user_id={user}&user_name={user}{more}");
    Client::typed(node.address(), &query).await
}

fn message(kind: &str, data: Value) -> Value {
    json!({"id": new_id(), "type": kind, "data": data})
}

/// A document of more than 3 KB with 40 fields.
fn large() -> Value {
    let fields = (0..40).map(|n| (format!("field{n}"), json!(format!("{n:03} {}", "lorem ipsum ".repeat(6)))));
    let mut content: serde_json::Map<String, Value> = fields.collect();
    content.insert("x".into(), json!(1.5));
    content.insert("body".into(), json!("The quick brown fox jumps over the lazy dog. ".repeat(10)));
    content.into()
}

#[tokio::test]
async fn a_member_that_asked_for_deltas_gets_the_change_alone_and_the_others_the_whole() {
    let node = Node::start(&[]).await;
    let mut ann = typed(&node, "a", "ann", "").await;
    let mut bare = typed(&node, "b", "bob", "&deltas=1").await;
    let mut old = node.join_with("t", "c", "deltas=1").await;
    let mut whole = typed(&node, "d", "dora", "").await;
    let mut content = large();
    content["id"] = json!("n1");
    let made = ann.ask(message("node.create", json!({"node": content}))).await;
    assert!(made.to_string().len() < 400, "{made}");
    let version = made["data"]["version"].clone();
    for (change, expected) in [
        (json!({"patch": {"x": 17.25}}), json!({"changes": {"x": 17.25}})),
        (
            json!({"text": {"path": "/body", "ops": [4, "very "]}}),
            json!({"text": [{"path": "/body", "ops": [4, "very "]}]}),
        ),
        (json!({"patch": {"field7": null}}), json!({"changes": {"field7": null}})),
        (
            json!({"ops": [{"op": "add", "path": "/nothing", "value": null}]}),
            json!({"ops": [{"op": "add", "path": "/nothing", "value": null}]}),
        ),
    ] {
        let mut data = json!({"node_id": "n1"});
        data.as_object_mut().expect("an object").extend(change.as_object().expect("an object").clone());
        let answer = ann.ask(message("node.update", data)).await;
        assert_eq!(answer["type"], "update.confirmed", "{answer}");
        for reader in [&mut bare, &mut old] {
            let mut seen = reader.expect("node.update").await;
            for (name, value) in expected.as_object().expect("an object") {
                assert_eq!(&seen["data"][name], value, "{seen}");
            }
            assert_eq!(seen["data"]["node"], json!({"id": "n1"}));
            seen.as_object_mut().expect("an object").remove("event_type");
            assert!(seen.to_string().len() < 300, "{} bytes: {seen}", seen.to_string().len());
        }
        let seen = whole.expect("node.update").await;
        assert!(seen.to_string().len() > 3_000);
    }
    assert!(version.is_u64());
}

#[tokio::test]
async fn what_is_private_stays_with_its_owner_and_is_withdrawn_when_it_becomes_so() {
    let node = Node::start(&[]).await;
    let mut ann = typed(&node, "phone", "ann", "").await;
    let mut desk = typed(&node, "desk", "ann", "").await;
    let mut bob = typed(&node, "b", "bob", "&since=earliest").await;
    let memory = |id: &str, visibility: &str, text: &str| json!({"memory": {"id": id, "visibility": visibility, "title": "T", "content": text}});
    ann.ask(message("memory.created", memory("m1", "private", "diary"))).await;
    assert_eq!(desk.expect("memory.created").await["data"]["memory"]["content"], "diary");
    ann.ask(message("memory.created", memory("m2", "team", "plan"))).await;
    let seen = bob.expect("memory.created").await;
    assert_eq!(seen["data"]["memory"]["id"], "m2", "the private one never came: {seen}");
    assert_eq!((&seen["data"]["user_id"], &seen["data"]["user_name"]), (&json!("ann"), &json!("ann")));
    // From team to private: withdrawn. What is done with it afterwards is not seen.
    ann.ask(message("memory.updated", json!({"memory_id": "m2", "changes": {"visibility": "private"}}))).await;
    assert_eq!(bob.expect("memory.deleted").await["data"]["memory_id"], "m2");
    ann.ask(message("memory.updated", json!({"memory_id": "m2", "changes": {"content": "secret plan"}}))).await;
    // And back: as if it were made now.
    ann.ask(message("memory.updated", json!({"memory_id": "m2", "changes": {"visibility": "team"}}))).await;
    let seen = bob.expect("memory.created").await;
    assert_eq!(seen["data"]["memory"]["content"], "secret plan");
    assert_eq!(desk.expect("memory.updated").await["data"]["changes"], json!({"visibility": "private"}));
    ann.ask(message("memory.deleted", json!({"memory_id": "m2"}))).await;
    let seen = bob.expect("memory.deleted").await;
    assert_eq!((&seen["data"]["memory_id"], &seen["data"]["title"]), (&json!("m2"), &json!("T")));
    // Who comes later finds the same in the history, and nothing of the diary anywhere.
    let mut late = typed(&node, "late", "carl", "&since=earliest").await;
    late.expect("caught_up").await;
    let types: Vec<_> =
        late.records().iter().map(|record| record["type"].as_str().expect("a type").to_owned()).collect();
    assert_eq!(types, ["memory.created", "memory.deleted", "memory.created", "memory.deleted"]);
    let mut again = typed(&node, "tablet", "ann", "&since=earliest").await;
    again.expect("caught_up").await;
    assert_eq!(again.records().len(), 6);
    for reader in [&late, &bob] {
        assert!(!reader.seen().iter().any(|message| message.to_string().contains("diary")));
    }
    let history = node.get("/v1/tenants/t/events").await.text();
    assert!(!history.contains("diary"), "{history}");
    assert!(node.get("/v1/tenants/t/events?user_id=ann").await.text().contains("diary"));
}

#[tokio::test]
async fn each_strategy_settles_a_clash_as_the_table_says() {
    let node = Node::start(&[]).await;
    let (mut ann, mut bob) = (typed(&node, "a", "ann", "").await, typed(&node, "b", "bob", "").await);
    for strategy in ["last_write_wins", "merge", "version", "manual", "user_choice"] {
        let context = |data: Value, base: Option<&Value>| {
            let mut all = json!({"level": "task", "context_id": strategy, "data": data, "strategy": strategy});
            if let Some(base) = base {
                all["base_version"] = base.clone();
            }
            message("context.update", all)
        };
        let made = ann.ask(context(json!({"status": "open", "tests": 1}), None)).await;
        assert_eq!(made["type"], "update.confirmed", "{made}");
        let notice = bob.expect("context_changed").await;
        assert_eq!((&notice["data"]["level"], &notice["data"]["context_id"]), (&json!("task"), &json!(strategy)));
        assert_eq!((&notice["data"]["changed_by"], &notice["data"]["change_type"]), (&json!("a"), &json!("create")));
        let base = &made["data"]["version"];
        let first = ann.ask(context(json!({"status": "done"}), Some(base))).await;
        assert_eq!(first["type"], "update.confirmed", "{first}");
        let second = bob.ask(context(json!({"status": "dropped", "files": ["a.rs"]}), Some(base))).await;
        let data = &second["data"];
        match strategy {
            "last_write_wins" | "merge" => {
                assert_eq!(second["type"], "update.conflict_resolved", "{second}");
                let lost = &data["overwritten"][0];
                assert_eq!(
                    (&lost["path"], &lost["value"], &lost["by"]),
                    (&json!("/status"), &json!("done"), &json!("a"))
                );
                assert_eq!(data["changes"], json!({"status": "dropped", "files": ["a.rs"]}), "{second}");
                assert_eq!(data["base_version"], first["data"]["version"]);
            }
            "version" => {
                assert_eq!(
                    (&second["type"], &data["resolution"]),
                    (&json!("update.conflict_resolved"), &json!("variant"))
                );
                assert!(data["variant_id"].is_string(), "{second}");
                ann.expect("conflict.variant").await;
            }
            _ => {
                assert_eq!(second["type"], "update.conflict_pending", "{second}");
                assert_eq!(
                    (&data["current"]["status"], &data["proposed"]["status"]),
                    (&json!("done"), &json!("dropped"))
                );
                assert_eq!(data["base"]["status"], "open", "{second}");
                ann.expect("conflict.pending").await;
            }
        }
        let elsewhere = bob.ask(context(json!({"tests": 2}), Some(base))).await;
        assert_eq!(elsewhere["type"], "update.confirmed", "{elsewhere}");
    }
}

#[tokio::test]
async fn a_client_that_comes_back_says_when_it_last_synchronised_or_where() {
    let node = Node::start(&[]).await;
    let mut ann = typed(&node, "a", "ann", "").await;
    let mut versions = Vec::new();
    for n in 0..5 {
        let answer = ann.ask(message("node.create", json!({"node": {"id": format!("n{n}")}}))).await;
        versions.push(answer["data"]["version"].as_u64().expect("a version"));
    }
    let mut bob = typed(&node, "b", "bob", "").await;
    bob.expect("caught_up").await;
    bob.send(json!({"type": "sync_reconnect", "user_id": "bob", "last_sync_timestamp": "2025-01-17T10:00:00Z"})).await;
    let answer = bob.expect("sync_response").await;
    assert_eq!(
        (&answer["data"]["success"], &answer["data"]["resume"]["from"]),
        (&json!(true), &json!("time")),
        "{answer}"
    );
    assert!(answer["data"]["cursor"].is_string());
    bob.expect("caught_up").await;
    assert_eq!(bob.records().len(), 5);
    let epoch = bob.ready()["data"]["epoch"].as_str().expect("an epoch").to_owned();
    bob.send(json!({"type": "sync_reconnect", "cursor": format!("{epoch}.{}", versions[2])})).await;
    assert_eq!(bob.expect("sync_response").await["data"]["resume"]["missed"], 2);
    bob.expect("caught_up").await;
    assert_eq!(bob.records().len(), 7);
    for bad in [json!({"type": "sync_reconnect"}), json!({"type": "sync_reconnect", "cursor": "latest"})] {
        assert_eq!(bob.refused(bad.to_string()).await["code"], "invalid_message");
    }
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_with_its_code_and_changes_nothing() {
    let node = Node::start(&[("limits.messages_per_minute", "0"), ("limits.invalid_in_a_row", "1000")]).await;
    let mut ann = typed(&node, "a", "ann", "").await;
    let made = ann.ask(message("node.create", json!({"node": {"id": "n", "text": "abc", "list": [1], "x": 1}}))).await;
    let version = made["data"]["version"].clone();
    let long = "x".repeat(257);
    for (kind, data, code) in [
        ("node.update", json!({"node": {"id": ""}}), "invalid_entity"),
        ("node.update", json!({"node": {"id": long, "x": 1}}), "invalid_entity"),
        ("node.update", json!({"node": {"id": "a\nb", "x": 1}}), "invalid_entity"),
        ("node.update", json!({"node": {"id": {}}}), "invalid_operation"),
        ("node.update", json!({"node": [1]}), "invalid_operation"),
        ("node.update", json!([1]), "invalid_operation"),
        ("node.update", json!({"node": {"id": "n", "x": 1}, "base_version": -1}), "invalid_operation"),
        ("node.update", json!({"node_id": "n", "patch": 7}), "invalid_operation"),
        ("node.update", json!({"node_id": "n", "patch": {"id": "other"}}), "invalid_operation"),
        ("node.update", json!({"node_id": "n", "patch": {}, "ops": []}), "invalid_operation"),
        ("node.update", json!({"node_id": "n", "ops": [{"op": "fly"}]}), "invalid_operation"),
        ("node.update", json!({"node_id": "n", "text": {"path": "text", "ops": ["x"]}}), "invalid_operation"),
        ("node.update", json!({"node_id": "n", "text": {"path": "/text", "ops": [0]}}), "invalid_operation"),
        ("node.update", json!({"node_id": "n", "text": {"path": "/text", "ops": [1e300]}}), "invalid_operation"),
        ("node.update", json!({"node_id": "n", "patch": {"x": 1}, "strategy": "coin"}), "invalid_operation"),
        (
            "conflict.resolve",
            json!({"entity_type": "node", "entity_id": "n", "conflict_id": "x", "choice": "current"}),
            "invalid_operation",
        ),
        ("context.update", json!({"level": "a:b", "context_id": "1", "data": {}}), "invalid_operation"),
        ("batch.update", json!({"operations": 7}), "invalid_operation"),
        ("batch.update", json!({"atomic": null, "operations": []}), "invalid_operation"),
        (
            "sync_event",
            json!({"event": {"entity_type": "t", "entity_id": "1", "action": "create", "data": [1]}}),
            "invalid_operation",
        ),
        (
            "sync_event",
            json!({"event": {"entity_type": "t", "entity_id": "1", "action": "create",
                             "data": {"$serde_json::private::RawValue": 5}}}),
            "invalid_operation",
        ),
        ("node.update", json!({"node_id": "n", "patch": {"$serde_json::private::RawValue": 5}}), "invalid_operation"),
        ("sync_event", json!({"event": {"entity_type": "t", "entity_id": "1"}}), "invalid_operation"),
        (
            "sync_event",
            json!({"event": {"entity_type": "not a word", "entity_id": "1", "action": "delete"}}),
            "invalid_entity",
        ),
        ("node.update", json!({"node_id": "n", "patch": {"x": 2}, "user_id": "bob"}), "identity_mismatch"),
        (
            "node.update",
            json!({"node_id": "n", "ops": [{"op": "test", "path": "/x", "value": 2}, {"op": "remove", "path": "/x"}]}),
            "test_failed",
        ),
        (
            "node.update",
            json!({"node_id": "n", "ops": [{"op": "remove", "path": "/x"}, {"op": "remove", "path": "/y"}]}),
            "patch_failed",
        ),
        ("node.update", json!({"node_id": "n", "text": {"path": "/text", "ops": [4, "x"]}}), "text_failed"),
        ("node.update", json!({"node_id": "n", "text": {"path": "/list", "ops": ["x"]}}), "text_failed"),
        ("node.update", json!({"node_id": "n", "patch": {"x": 2}, "base_version": 10_000_000}), "version_ahead"),
        ("node.update", json!({"node_id": "none", "patch": {"x": 2}}), "not_found"),
        (
            "conflict.resolve",
            json!({"entity_type": "node", "entity_id": "n", "conflict_id": new_id(), "choice": "current"}),
            "no_such_conflict",
        ),
    ] {
        let answer = ann.ask(message(kind, data.clone())).await;
        assert_eq!(answer["data"]["code"], code, "{data}: {answer}");
    }
    let doubling: Vec<Value> = (0..40)
        .map(|n| {
            if n == 0 {
                json!({"op": "add", "path": "/d", "value": ["x".repeat(1000)]})
            } else {
                json!({"op": "copy", "from": "/d", "path": "/d/-"})
            }
        })
        .collect();
    let answer = ann.ask(message("node.update", json!({"node_id": "n", "ops": doubling}))).await;
    assert_eq!(answer["data"]["code"], "too_large", "{answer}");
    let state = ann
        .ask(message("node.update", json!({"node_id": "n", "patch": {"seen": true}, "base_version": version})))
        .await;
    assert_eq!(state["type"], "update.confirmed", "nothing had changed since: {state}");
    assert_eq!(state["data"].get("merged"), None);
}
