//! A room with a bit of everything, and what an exported file says of it.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{join, write};
use crate::{
    signed,
    support::{Issuer, Node, new_id},
};

/// Whoever acts in the room.
pub(super) struct Cast {
    pub(super) ada: String,
    pub(super) bob: String,
}

impl Cast {
    pub(super) fn of(issuer: &Issuer) -> Self {
        Self { ada: issuer.token(json!({"sub": "ada"})), bob: issuer.token(json!({"sub": "bob"})) }
    }
}

/// A room with a bit of everything; the cursor of its last record.
pub(super) async fn plant(node: &Node, cast: &Cast) -> String {
    let mut ada = join(node, &cast.ada, "instance_id=ada-1").await;
    ada.publish("memory_added", json!({"text": "one"})).await;
    // As it came: blanks, line breaks, escapes, numbers and the order of names.
    let odd = r#"{ "z" : 1e2,"a":"\u00e9\ud83c\udf17 \n",   "n":12345678901234567890 }"#;
    let id = new_id();
    ada.send_text(format!(r#"{{"event_type":"note","event_id":"{id}","data":{odd}}}"#)).await;
    ada.find(|message| message["event_type"] == "ack").await;
    let mut event = signed::signed(&signed::key(), "acme", "ada-1", "user:ada", "note", &json!({"n": 1}));
    event["instance_id"] = "ada-1".into();
    let posted = node.ask(&cast.ada, "POST", "/v1/tenants/acme/events", &event).await;
    assert_eq!(posted.status, 201, "{}", posted.text());

    write(node, &cast.ada, "PUT", "note/n1?instance_id=ada-1", "put-n1", json!({"title": "one", "body": "Once"})).await;
    write(node, &cast.bob, "PATCH", "note/n1?instance_id=bob-1", "patch-n1", json!({"title": "two"})).await;
    write(node, &cast.ada, "PUT", "node/k?instance_id=ada-1", "put-k", json!({"x": 1.5, "y": -2, "label": "k"})).await;
    let private = |text: &str| json!({"visibility": "private", "text": text});
    write(node, &cast.ada, "PUT", "memory/of-ada?instance_id=ada-1", "put-a", private("ada's")).await;
    write(node, &cast.bob, "PUT", "memory/of-bob?instance_id=bob-1", "put-b", private("bob's")).await;
    for (name, strategy, outcome) in [("c", "manual", "conflict_pending"), ("v", "version", "variant")] {
        let put = write(
            node,
            &cast.ada,
            "PUT",
            &format!("note/{name}?instance_id=ada-1"),
            &format!("put-{name}"),
            json!({"t": 0}),
        )
        .await;
        let base = put["version"].as_u64().expect("a version");
        for (token, instance, n) in [(&cast.ada, "ada-1", 1), (&cast.bob, "bob-1", 2)] {
            let path = format!("note/{name}?instance_id={instance}&base_version={base}&strategy={strategy}");
            let done = write(node, token, "PATCH", &path, &format!("patch-{name}-{n}"), json!({"t": n})).await;
            assert!(n == 1 || done.to_string().contains(outcome), "{done}");
        }
    }
    write(node, &cast.ada, "PUT", "note/gone?instance_id=ada-1", "put-gone", json!({"a": 1})).await;
    write(node, &cast.ada, "DELETE", "note/gone?instance_id=ada-1", "delete-gone", Value::Null).await;
    let ack = ada.publish_as(LAST, "memory_added", json!({"text": "last"})).await;
    ada.close().await;
    ack["cursor"].as_str().expect("a cursor").to_owned()
}

/// The id of the last event.
pub(super) const LAST: &str = "77777777-7777-4777-8777-777777777777";

/// A file without what belongs to its log and its time: positions, epoch, digest, text edits.
pub(super) fn without_positions(file: &str) -> Vec<Value> {
    let strip = |line: &str| {
        let mut line: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        for name in ["epoch", "exported_at", "seq", "stored_at", "sha256", "position", "version"] {
            line.as_object_mut().expect("an object").remove(name);
        }
        if let Some(state) = line.get_mut("state") {
            strip_state(state);
        }
        line
    };
    // Each log has an order of its own for its entities, and says as late as it likes up to where it has looked: the last line
    // of an entity holds.
    let (mut others, mut entities) = (Vec::new(), BTreeMap::new());
    for mut line in file.lines().map(strip) {
        if line.get("state").is_some() {
            line["line"] = "entity".into();
            entities.insert(format!("{}/{}", line["entity_type"], line["entity_id"]), line);
        } else {
            line.as_object_mut().expect("an object").remove("entities");
            others.push(line);
        }
    }
    others.into_iter().chain(entities.into_values()).collect()
}

fn strip_state(state: &mut Value) {
    for clock in state["clocks"]["at"].as_array_mut().expect("clocks") {
        clock[1] = Value::Null;
    }
    for list in ["ids", "replicas", "open", "texts"] {
        let place = if ["ids", "replicas"].contains(&list) { &mut state["recent"] } else { &mut *state };
        for item in place.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            let item = if list == "ids" { &mut item[1] } else { item };
            let item = if list == "replicas" { &mut item["outcome"] } else { item };
            for name in ["version", "base", "since", "edits"] {
                item.as_object_mut().expect("an object").remove(name);
            }
        }
    }
}

/// The events of a file as they stand in it, byte for byte.
pub(super) fn events(file: &str) -> Vec<&str> {
    file.lines().filter_map(|line| line.split_once(r#","event":"#)).map(|(_, event)| event).collect()
}
