//! Shared state through real sockets: each seed's messages, and that they are one thing inside.

use serde_json::{Value, json};

use crate::support::{Client, Node, new_id};

/// A client of `/ws` that says who it is.
async fn typed(node: &Node, instance: &str, user: &str) -> Client {
    Client::typed(node.address(), &format!("tenant_id=t&instance_id={instance}&user_id={user}&user_name={user}")).await
}

fn node_message(verb: &str, data: Value) -> Value {
    json!({"id": new_id(), "type": format!("node.{verb}"), "timestamp": 1_735_000_000_000_u64, "version": "1.0", "data": data})
}

#[tokio::test]
async fn a_node_made_by_one_is_seen_by_others_in_both_envelopes() {
    let server = Node::start(&[]).await;
    let (mut ann, mut bob) = (typed(&server, "a", "ann").await, typed(&server, "b", "bob").await);
    let mut old = server.join("t", "c").await;
    let answer = ann.ask(node_message("create", json!({"node": {"id": "n1", "label": "thought", "x": 1.5}}))).await;
    assert_eq!(answer["type"], "update.confirmed", "{answer}");
    let version = answer["data"]["version"].as_u64().expect("a version");
    for reader in [&mut bob, &mut old] {
        let seen = reader.expect("node.create").await;
        assert_eq!(seen["seq"], version, "{seen}");
        assert_eq!(seen["data"]["node"], json!({"id": "n1", "label": "thought", "x": 1.5}), "{seen}");
        assert_eq!(seen["data"]["user_id"], "ann");
    }
    let change = json!({"node": {"id": "n1", "x": 2}, "base_version": version});
    let answer = bob.ask(node_message("update", change)).await;
    assert_eq!(answer["type"], "update.confirmed", "{answer}");
    let seen = ann.expect("node.update").await;
    assert_eq!(seen["data"]["changes"], json!({"x": 2}));
    assert_eq!(seen["data"]["node"], json!({"id": "n1", "label": "thought", "x": 2}));
    assert_eq!(seen["data"]["base_version"], version);
    assert!(seen["timestamp"].is_u64(), "Gitmind's times are numbers: {seen}");
    let answer = old.ask(json!({"event_type": "node.delete", "event_id": new_id(), "data": {"node_id": "n1"}})).await;
    assert_eq!(answer["event_type"], "update.confirmed", "{answer}");
    assert_eq!(ann.expect("node.delete").await["data"]["node_id"], "n1");
}

#[tokio::test]
async fn aethers_events_are_answered_as_aether_has_it_and_conflicts_wait_for_the_user() {
    let server = Node::start(&[]).await;
    let (mut phone, mut desk) = (typed(&server, "phone", "u").await, typed(&server, "desk", "u").await);
    let event = |action: &str, data: Value, more: Value| {
        let mut event = json!({"id": new_id(), "entity_type": "task", "entity_id": "t1", "action": action, "data": data,
            "timestamp": "2025-01-17T10:00:00Z", "user_id": "u"});
        event.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        json!({"type": "sync_event", "event": event})
    };
    let made = phone.ask(event("create", json!({"title": "buy milk", "done": false}), json!({}))).await;
    assert_eq!((&made["type"], &made["success"]), (&json!("sync_response"), &json!(true)), "{made}");
    let base = made["data"]["version"].clone();
    let seen = desk.expect("sync_event").await;
    assert_eq!(seen["event"]["data"], json!({"title": "buy milk", "done": false}), "{seen}");
    assert_eq!(seen["event"]["action"], "create");
    let choice = json!({"base_version": base, "strategy": "user_choice"});
    let first = phone.ask(event("update", json!({"title": "buy oat milk"}), choice.clone())).await;
    assert_eq!(first["success"], true, "{first}");
    let second = desk.ask(event("update", json!({"title": "buy soy milk"}), choice)).await;
    assert_eq!((&second["success"], &second["conflict"]), (&json!(false), &json!(true)), "{second}");
    let info = &second["conflict_info"];
    assert_eq!(info["local_data"], json!({"title": "buy soy milk"}), "{second}");
    assert_eq!(info["remote_data"]["title"], "buy oat milk");
    let pending = phone.expect("conflict.pending").await;
    assert_eq!(pending["data"]["entity_id"], "t1", "{pending}");
    let resolve = json!({"id": new_id(), "type": "conflict.resolve", "data": {"entity_type": "task", "entity_id": "t1",
        "conflict_id": info["conflict_id"], "choice": "proposed"}});
    let resolved = desk.ask(resolve).await;
    assert_eq!(resolved["type"], "update.confirmed", "{resolved}");
    let seen = phone.expect("sync_event").await;
    assert_eq!(seen["event"]["data"]["title"], "buy soy milk", "{seen}");
}

#[tokio::test]
async fn a_repeated_operation_is_answered_and_not_applied_again_also_after_a_crash() {
    let mut server = Node::start(&[]).await;
    let mut ann = typed(&server, "a", "ann").await;
    ann.ask(node_message("create", json!({"node": {"id": "n1", "text": ""}}))).await;
    let id = new_id();
    let insert =
        json!({"id": id, "type": "node.update", "data": {"node_id": "n1", "text": {"path": "/text", "ops": ["a"]}}});
    let first = ann.ask(insert.clone()).await;
    assert_eq!(first["type"], "update.confirmed", "{first}");
    server.kill9().await;
    server.restart(crate::support::Port::New).await;
    let mut ann = typed(&server, "a", "ann").await;
    let again = ann.ask(insert).await;
    assert_eq!((&again["type"], &again["data"]["duplicate"]), (&json!("update.confirmed"), &json!(true)), "{again}");
    assert_eq!(again["data"]["version"], first["data"]["version"]);
}

#[tokio::test]
async fn a_newcomer_gets_the_state_in_pages_and_every_change_after_it() {
    const NODES: usize = 2_500;
    let server = Node::start(&[("limits.messages_per_minute", "0"), ("limits.publishes_in_flight", "4096")]).await;
    let mut ann = typed(&server, "a", "ann").await;
    let create =
        |n: usize| json!({"entity_type": "node", "entity_id": format!("n{n}"), "action": "create", "data": {"n": n}});
    for chunk in (0..NODES).collect::<Vec<_>>().chunks(500) {
        let operations: Vec<_> = chunk.iter().map(|n| create(*n)).collect();
        ann.send(json!({"id": new_id(), "type": "batch.update", "data": {"operations": operations}})).await;
        for _ in chunk {
            ann.expect("update.confirmed").await;
        }
    }
    // While the newcomer is being told, everything goes on changing.
    let mut late = typed(&server, "late", "bob").await;
    late.send(json!({"id": "state", "type": "graph.sync", "data": {"types": ["node"]}})).await;
    for n in 0..200 {
        let change = json!({"node_id": format!("n{}", n * 7), "patch": {"changed": n}});
        ann.send(node_message("update", change)).await;
        let verb = json!({"node_id": format!("n{}", 1_400 + n * 5)});
        ann.send(node_message("delete", verb)).await;
    }
    for _ in 0..400 {
        ann.expect("update.confirmed").await;
    }
    let (mut state, mut pages, mut done) = (std::collections::BTreeMap::new(), Vec::new(), false);
    let mut changes = 0;
    while !done || changes < 400 {
        let message = late.next().await;
        match message["type"].as_str() {
            Some("graph.sync") => {
                pages.push(message["data"]["progress"].clone());
                done = message["data"]["done"] == true;
                for node in message["data"]["nodes"].as_array().expect("nodes") {
                    keep(&mut state, node["id"].as_str(), node["version"].as_u64(), Some(node.clone()));
                }
            }
            Some("node.update") => {
                changes += 1;
                let node = &message["data"]["node"];
                keep(&mut state, node["id"].as_str(), message["seq"].as_u64(), Some(node.clone()));
            }
            Some("node.delete") => {
                changes += 1;
                keep(&mut state, message["data"]["node_id"].as_str(), message["seq"].as_u64(), None);
            }
            _ => {}
        }
    }
    assert!(pages.len() >= 3, "{pages:?}");
    assert!(pages.windows(2).all(|pair| pair[0]["reached"].as_u64() <= pair[1]["reached"].as_u64()), "{pages:?}");
    for n in 0..NODES {
        let (_, node) = &state[&format!("n{n}")];
        let is_gone = (1_400..2_400).contains(&n) && n % 5 == 0;
        assert_eq!(node.is_none(), is_gone, "n{n}");
        if let Some(node) = node {
            assert_eq!(node["n"], n);
            assert_eq!(node.get("changed").is_some(), n % 7 == 0 && n / 7 < 200, "n{n}: {node}");
        }
    }
}

/// Keeps the latest version of an entity.
fn keep(
    state: &mut std::collections::BTreeMap<String, (u64, Option<Value>)>,
    id: Option<&str>,
    version: Option<u64>,
    node: Option<Value>,
) {
    let (id, version) = (id.expect("an id"), version.expect("a version"));
    if state.get(id).is_none_or(|(known, _)| *known < version) {
        state.insert(id.to_owned(), (version, node));
    }
}

#[tokio::test]
async fn each_of_a_batch_is_answered_on_its_own_good_or_bad() {
    let server = Node::start(&[]).await;
    let mut ann = typed(&server, "a", "ann").await;
    let operation = |id: &str, more: Value| {
        let mut operation = json!({"op_id": id, "entity_type": "node", "entity_id": id});
        operation.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        operation
    };
    let operations = json!([
        operation("good", json!({"action": "create", "data": {"n": 1}})),
        operation("nobody", json!({"action": "update", "patch": {"n": 1}})),
        operation("torn", json!({"action": "update"})),
        operation("bad word", json!({"action": "explode"})),
        {"op_id": "no type", "entity_id": "x", "action": "delete"},
        operation("future", json!({"action": "update", "patch": {"n": 2}, "base_version": 1_000_000})),
        {"type": "edge.create", "id": "nested", "data": {"edge": {"id": "e1", "from": "good", "to": "nobody"}}},
    ]);
    ann.send(json!({"id": new_id(), "type": "batch.update", "data": {"operations": operations}})).await;
    let mut answers = std::collections::BTreeMap::new();
    while answers.len() < 7 {
        let answer = ann.next().await;
        let id = answer["data"]["updateId"].as_str().or(answer["data"]["id"].as_str()).unwrap_or_default().to_owned();
        if id.is_empty() {
            continue; // the session's own messages
        }
        answers.insert(id, (answer["type"].clone(), answer["data"]["code"].clone()));
    }
    let said = |id: &str| (answers[id].0.as_str().expect("type"), answers[id].1.as_str().unwrap_or_default());
    assert_eq!(said("good"), ("update.confirmed", ""));
    assert_eq!(said("nobody"), ("update.rollback", "not_found"));
    assert_eq!(said("torn"), ("system.error", "invalid_operation"));
    assert_eq!(said("bad word"), ("system.error", "invalid_operation"));
    assert_eq!(said("no type"), ("system.error", "invalid_operation"));
    assert_eq!(said("future"), ("update.rollback", "version_ahead"));
    assert_eq!(said("nested"), ("update.confirmed", ""));
}

#[tokio::test]
async fn a_content_is_the_same_to_everybody_however_it_was_written() {
    let server = Node::start(&[]).await;
    let (mut ann, mut bob) = (typed(&server, "a", "ann").await, typed(&server, "b", "bob").await);
    // As they come: blanks, escapes, a name twice, a name in another spelling, whole numbers that no double holds.
    let texts = [
        ("blanks", "{ \"a\" : [ 1 , 2.50 ],\n \"b\":{ } }", json!({"a": [1, 2.5], "b": {}})),
        ("escapes", r#"{"t":"\u00e9\ud83c\udf17\n"}"#, json!({"t": "é🌗\n"})),
        ("twice", r#"{"a":1,"a":2}"#, json!({"a": 2})),
        ("spelt", r#"{"a":1,"\u0061":3}"#, json!({"a": 3})),
        ("large", r#"{"n":18446744073709551615,"m":1e2}"#, json!({"n": u64::MAX, "m": 100.0})),
        ("node", r#"{"\u0069d":"node","x":1}"#, json!({"x": 1})),
    ];
    for (id, text, content) in texts {
        let kind = if id == "node" { "node" } else { "note" };
        let event = format!(
            r#"{{"op_id":"make {id}","entity_type":"{kind}","entity_id":"{id}","action":"create","data":{text}}}"#
        );
        ann.send_text(format!(r#"{{"id":"{id}","type":"sync_event","event":{event}}}"#)).await;
        ann.find(|said| said["data"]["updateId"] == format!("make {id}").as_str()).await;
        let shown = server.get(&format!("/v1/tenants/t/entities/{kind}/{id}")).await.json();
        assert_eq!(shown["data"], content, "{id}");
        let live = bob.find(|said| said["event"]["entity_id"] == id || said["data"]["node"]["id"] == id).await;
        let mut told = if kind == "node" { live["data"]["node"].clone() } else { live["event"]["data"].clone() };
        told.as_object_mut().map(|told| told.shift_remove("id"));
        assert_eq!(told, content, "{live}");
        // And to the rules, which make values of it now.
        let patch = json!({"op_id": format!("change {id}"), "entity_type": kind, "entity_id": id,
                           "action": "update", "patch": {"seen": true}});
        ann.send(json!({"id": new_id(), "type": "sync_event", "event": patch})).await;
        ann.find(|said| said["data"]["updateId"] == format!("change {id}").as_str()).await;
        let mut content = content;
        content["seen"] = json!(true);
        let shown = server.get(&format!("/v1/tenants/t/entities/{kind}/{id}")).await.json();
        assert_eq!(shown["data"], content, "{id}");
    }
    // What is wrong with one operation of a batch is no business of the others.
    let operation = |id: &str, more: &str| {
        format!(r#"{{"op_id":"{id}","entity_type":"note","entity_id":"{id}","action":"create",{more}}}"#)
    };
    let operations = [
        operation("fine", r#""data":{"n":1}"#),
        operation("boundless", r#""data":{"n":1e400}"#),
        operation("half", r#""data":{"n":1},"op_id":"half""#),
        "[]".to_owned(),
        operation("good", r#""data":{}"#),
    ]
    .join(",");
    let message = format!(r#"{{"id":"all","type":"batch.update","data":{{"operations":[{operations}]}}}}"#);
    ann.send_text(message).await;
    let (mut done, mut refused) = (0, 0);
    while done + refused < 5 {
        let said = ann.next().await;
        match said["data"]["code"].as_str() {
            Some(code) => {
                assert_eq!(code, "invalid_operation", "{said}");
                refused += 1;
            }
            None => done += usize::from(said["type"] == "update.confirmed"),
        }
    }
    assert_eq!((done, refused), (2, 3));
}
