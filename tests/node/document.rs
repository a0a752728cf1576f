//! docs/protocol.md held to its word: every example runs, every code is listed.

mod over_http;

use std::collections::BTreeSet;

use continuum::wire::{Close, Code};
use serde_json::{Value, json};

use crate::{
    away,
    support::{Client, Node, RawClient, raw},
};

const DOCUMENT: &str = include_str!("../../docs/protocol.md");

/// Texts that the node makes; every other text of an example is what the node says word for word.
const GENERATED: &[&str] =
    &["timestamp", "session_id", "epoch", "cursor", "connected_at", "connection_id", "conflict_id"];

/// One example: `client` or `server`, on `/ws` or on `/ws/sync`, its name, its content.
struct Block {
    path: Path,
    side: &'static str,
    name: &'static str,
    text: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Path {
    Sync,
    Typed,
}

fn blocks() -> Vec<Block> {
    let block = |part: &'static str| {
        let (head, text) = part.split_once('\n').expect("a block has lines");
        let (path, head) = head.strip_prefix("ws ").map_or((Path::Sync, head), |head| (Path::Typed, head));
        let (side, name) = head.split_once(' ').unwrap_or_else(|| panic!("a block without side or name: {head:?}"));
        Block { path, side, name, text: text.split("```").next().expect("a block ends").trim() }
    };
    DOCUMENT.split("```json ").skip(1).map(block).collect()
}

fn client_block(name: &str) -> &'static str {
    client_block_of(Path::Sync, name)
}

fn client_block_of(path: Path, name: &str) -> &'static str {
    let block = blocks().into_iter().find(|block| (block.path, block.side, block.name) == (path, "client", name));
    block.unwrap_or_else(|| panic!("the document has no client block {name} of {path:?}")).text
}

/// The blocks of a path that clients send.
fn client_blocks(path: Path) -> BTreeSet<&'static str> {
    let blocks = blocks().into_iter().filter(|block| (block.path, block.side) == (path, "client"));
    blocks.map(|block| block.name).collect()
}

fn check_all(path: Path, sent: &[Value]) {
    for block in blocks().iter().filter(|block| (block.path, block.side) == (path, "server")) {
        check(block, sent);
    }
}

/// Where a message differs from its example: other keys, other types, other words. Values of arrays are compared by
/// type, each with the example's first.
fn differences(example: &Value, sent: &Value, path: &str, found: &mut Vec<String>) {
    match (example, sent) {
        (Value::Object(example), Value::Object(sent)) => {
            let keys: BTreeSet<_> = example.keys().chain(sent.keys()).collect();
            for key in keys {
                let path = format!("{path}/{key}");
                match (example.get(key), sent.get(key)) {
                    (Some(Value::String(word)), Some(Value::String(other))) => {
                        if word != other && !GENERATED.contains(&key.as_str()) && !path.contains('*') {
                            found.push(format!("{path}: {word:?} in the document, {other:?} sent"));
                        }
                    }
                    (Some(example), Some(sent)) => differences(example, sent, &path, found),
                    (Some(_), None) => found.push(format!("{path}: not sent")),
                    (None, _) => found.push(format!("{path}: not in the document")),
                }
            }
        }
        (Value::Array(example), Value::Array(sent)) => {
            let Some(first) = example.first() else { return };
            if sent.is_empty() {
                found.push(format!("{path}: empty"));
            }
            sent.iter().for_each(|item| differences(first, item, &format!("{path}/*"), found));
        }
        _ => {
            if std::mem::discriminant(example) != std::mem::discriminant(sent) {
                found.push(format!("{path}: {example} in the document, {sent} sent"));
            }
        }
    }
}

/// Holds an example against all messages of its name: at least one is as the example says.
fn check(block: &Block, sent: &[Value]) {
    let mut example: Value = serde_json::from_str(block.text).unwrap_or_else(|error| panic!("{}: {error}", block.name));
    if block.path == Path::Typed {
        example["id"] = "made by the node".into();
    }
    let is_meant = |message: &&Value| match block.name {
        name if block.path == Path::Typed => message["type"] == name,
        "record" => message.get("seq").is_some() && message["event_id"] == example["event_id"],
        name => message["event_type"] == name,
    };
    let mut closest: Option<(Vec<String>, &Value)> = None;
    for message in sent.iter().filter(is_meant) {
        let mut found = Vec::new();
        differences(&example, message, "", &mut found);
        if block.name == "record" && message["data"] != example["data"] {
            found.push(format!("/data: {} in the document, {} sent", example["data"], message["data"]));
        }
        if found.is_empty() {
            return;
        }
        if closest.as_ref().is_none_or(|(fewest, _)| found.len() < fewest.len()) {
            closest = Some((found, message));
        }
    }
    match closest {
        Some((found, message)) => panic!("server {}: {}\nin {message}", block.name, found.join("\n")),
        None => panic!("server {}: the node never sent it", block.name),
    }
}

#[tokio::test]
async fn every_example_in_the_document_is_what_the_node_does() {
    // A heartbeat that a test can wait for, and so little room that a slow reader falls behind soon.
    let node = Node::start(&[
        ("heartbeat.interval", "100ms"),
        ("limits.outbox_bytes", "4096"),
        ("server.send_buffer", "4096"),
    ])
    .await;
    let mut sent = arrival_and_leaving(&node).await;
    let (client, other) = (node.join_with("default", "claude-123", "since=latest").await, other(&node).await);
    sent.extend(asking(client, other).await);
    sent.extend(filtering(&node).await);
    sent.extend(falling_behind(&node).await);
    sent.extend(away::queued_and_stored(client_block("publish")).await);
    let mut last = node.join("default", "claude-123").await;
    node.ask_to_stop();
    sent.push(last.expect("draining").await);
    check_all(Path::Sync, &sent);
    let clients = client_blocks(Path::Sync);
    assert_eq!(clients, ["ack", "ping", "publish", "sync_request"].into(), "every client block is sent by this test");
    assert!(blocks().iter().all(|block| ["client", "server"].contains(&block.side)), "a block of a third side");
}

/// What a client of `/ws` got, as it came: ids that the node makes are left out.
fn as_it_came(client: &Client) -> Vec<Value> {
    let mut seen = client.seen().to_vec();
    for message in &mut seen {
        let fields = message.as_object_mut().expect("an object");
        // What the test's client has added.
        fields.remove("event_type");
        assert!(fields.insert("id".into(), "made by the node".into()).is_some(), "{fields:?}");
    }
    seen
}

#[tokio::test]
async fn every_example_of_the_second_envelope_is_what_the_node_does() {
    let node = Node::start(&[]).await;
    let mut sent_blocks = BTreeSet::new();
    let mut block = |name: &'static str| {
        sent_blocks.insert(name);
        client_block_of(Path::Typed, name)
    };
    let mut board = Client::typed(node.address(), "instance_id=board").await;
    let mut memo = Client::typed(node.address(), "token=TOKEN&user_id=user-2&user_name=Jane%20Smith").await;
    memo.send_text(block("subscribe")).await;
    memo.expect("subscribed").await;
    let john = "token=TOKEN&instance_id=phone&user_id=user-1&user_name=John%20Doe";
    let mut john = Client::typed(node.address(), john).await;
    memo.expect("tenant.user_joined").await;
    john.send_text(block("cursor.move")).await;
    board.expect("cursor.move").await;
    for change in ["memory.created", "memory.updated", "memory.deleted"] {
        john.send_text(block(change)).await;
        john.expect("update.confirmed").await;
    }
    john.send_text(block("memory.embedding_complete")).await;
    memo.expect("memory.embedding_complete").await;
    memo.send_text(block("ping")).await;
    memo.expect("pong").await;
    memo.send(json!({"id": "7", "type": "subscribe"})).await;
    memo.expect("error").await;
    john.close().await;
    memo.expect("tenant.user_left").await;
    memo.send_text(block("unsubscribe")).await;
    memo.expect("unsubscribed").await;
    let [ann, bob] = shared_state(&node, &mut block).await;
    check_all(Path::Typed, &[as_it_came(&memo), as_it_came(&board), as_it_came(&ann), as_it_came(&bob)].concat());
    assert_eq!(client_blocks(Path::Typed), sent_blocks, "every client block is sent by this test");
}

/// The examples of shared state, in a room of their own.
async fn shared_state(node: &Node, block: &mut impl FnMut(&'static str) -> &'static str) -> [Client; 2] {
    let of = |name: &str| format!("tenant_id=state&instance_id={}&user_id={name}&user_name=Ann", &name[..1]);
    let mut ann = Client::typed(node.address(), &of("ann")).await;
    let mut bob = Client::typed(node.address(), &of("bob")).await;
    let answer = async |client: &mut Client, id: &str| {
        client.find(|message| message["data"]["updateId"] == id).await["data"].clone()
    };
    ann.send_text(block("node.create")).await;
    let base = answer(&mut ann, "op-1").await["version"].clone();
    let update = block("node.update").replace("22", &base.to_string());
    ann.send_text(update).await;
    answer(&mut ann, "op-2").await;
    let clash = json!({"node_id": "n1", "patch": {"x": 12}, "base_version": base});
    bob.send(json!({"id": "op-3", "type": "node.update", "data": clash})).await;
    answer(&mut bob, "op-3").await;
    let failing = json!({"node_id": "n1", "ops": [{"op": "test", "path": "/x", "value": 0}]});
    bob.send(json!({"id": "op-4", "type": "node.update", "data": failing})).await;
    answer(&mut bob, "op-4").await;
    let task =
        json!({"id": "op-5", "entity_type": "task", "entity_id": "t1", "action": "create", "data": {"title": "bread"}});
    ann.send(json!({"type": "sync_event", "event": task})).await;
    let seen = answer(&mut ann, "op-5").await["version"].to_string();
    let task =
        json!({"id": "op-5b", "entity_type": "task", "entity_id": "t1", "action": "update", "data": {"title": "milk"}});
    ann.send(json!({"type": "sync_event", "event": task})).await;
    answer(&mut ann, "op-5b").await;
    bob.send_text(block("sync_event").replace("\"base_version\":1", &format!("\"base_version\":{seen}"))).await;
    let pending = answer(&mut bob, "op-6").await;
    let conflict = pending["conflict_id"].as_str().expect("a conflict");
    bob.send_text(block("conflict.resolve").replace("2c1f4be0-4f5e-5c86-9d5a-0d8f7b3f6f10", conflict)).await;
    answer(&mut bob, "op-7").await;
    ann.send_text(block("context.update")).await;
    answer(&mut ann, "op-8").await;
    ann.send_text(block("batch.update")).await;
    answer(&mut ann, "op-9b").await;
    ann.send_text(block("graph.sync")).await;
    ann.expect("graph.sync").await;
    bob.send_text(block("sync_reconnect").replace("ann", "bob")).await;
    bob.expect("caught_up").await;
    [ann, bob]
}

async fn other(node: &Node) -> Client {
    let query = "capabilities=memory,learning&user_id=user-1&user_name=John%20Doe";
    node.join_with("default", "claude-456", query).await
}

async fn arrival_and_leaving(node: &Node) -> Vec<Value> {
    let mut client = node.join_with("default", "claude-123", "since=00000000deadbeef.5").await;
    client.catch_up().await;
    let other = other(node).await;
    client.expect("instance_joined").await;
    other.close().await;
    client.expect("instance_left").await;
    // A second session of the same instance, now with somebody there to be listed.
    let _present = self::other(node).await;
    let second = node.join_with("default", "claude-123", "since=latest").await;
    [client.seen(), second.seen()].concat()
}

async fn asking(mut client: Client, mut other: Client) -> Vec<Value> {
    client.send_text(client_block("publish")).await;
    let ack = client.expect("ack").await;
    let published: Value = serde_json::from_str(client_block("publish")).expect("the block is JSON");
    assert_eq!(ack["data"]["event_id"], published["event_id"]);
    other.record().await;
    client.send_text(client_block("sync_request")).await;
    client.expect("sync_response").await;
    client.send_text(client_block("ack")).await;
    client.send_text(client_block("ping")).await;
    client.expect("pong").await;
    assert_eq!(client.seen_of("error").count(), 0, "an ack has no answer");
    client.expect("heartbeat").await;
    let id = "22222222-2222-4222-8222-222222222222";
    client.send(json!({"event_type": "session_ready", "event_id": id})).await;
    client.expect("error").await;
    [client.seen(), other.seen()].concat()
}

async fn filtering(node: &Node) -> Vec<Value> {
    let mut client = node.join_with("default", "claude-123", "types=decision_made&since=latest").await;
    let mut other = other(node).await;
    other.publish("memory_added", json!({})).await;
    other.publish("decision_made", json!({})).await;
    client.record().await;
    client.seen().to_vec()
}

async fn falling_behind(node: &Node) -> Vec<Value> {
    let mut client = RawClient::connect(node, "tenant_id=default&instance_id=claude-123&since=latest").await;
    client.expect("caught_up").await;
    let mut other = other(node).await;
    // Nothing is read meanwhile, until the node says that something had to wait.
    while node.metric("continuum_deferred_total").await == 0.0 {
        other.publish("memory_added", json!({"user_message": "x".repeat(100_000)})).await;
    }
    let lagging = client.expect("lagging").await;
    client.expect("caught_up").await;
    client.send(raw::CLOSE, &[]).await;
    vec![lagging]
}

/// The rows of the first table behind a heading.
fn table(heading: &str) -> Vec<Vec<String>> {
    let (_, section) = DOCUMENT.split_once(heading).unwrap_or_else(|| panic!("the document has no {heading:?}"));
    let rows = section.lines().skip_while(|line| !line.starts_with("| ---")).skip(1);
    rows.take_while(|line| line.starts_with('|'))
        .map(|line| line.trim_matches('|').split(" | ").map(|cell| cell.trim().trim_matches('`').to_owned()).collect())
        .collect()
}

#[test]
fn the_document_lists_every_error_code_with_its_status_and_no_other() {
    let rows = table("\n## Errors\n");
    let listed: BTreeSet<_> = rows.iter().map(|row| (row[0].clone(), row[1].parse().expect("a status"))).collect();
    assert_eq!(listed.len(), rows.len(), "a code is listed once");
    let known: BTreeSet<(String, u16)> = Code::ALL.iter().map(|code| (code.word().to_owned(), code.status())).collect();
    assert_eq!(listed, known);
}

#[test]
fn the_document_lists_every_close_code_and_no_other() {
    let rows = table("\n## Close codes\n");
    let sent = rows.iter().filter(|row| !row[1].starts_with("reserved"));
    let listed: BTreeSet<u16> = sent.map(|row| row[0].parse().expect("a close code")).collect();
    let known: BTreeSet<u16> = Close::ALL.iter().map(|close| close.code()).collect();
    assert_eq!(listed, known);
}
