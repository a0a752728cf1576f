//! docs/protocol.md held to its word: every example runs, every code is listed.

pub mod openapi;
mod over_http;
mod parts;
mod typed;

use over_http::fits;
use std::collections::BTreeSet;

use continuum::{
    model::record::Happened,
    wire::{Close, Code, changes, entity::event_type, kind, signal},
};
use serde_json::{Value, json};

use crate::{
    away,
    support::{Client, Node, RawClient, raw},
};

const DOCUMENT: &str = include_str!("../../docs/protocol.md");

/// Texts that the node makes; every other text of an example is what the node says word for word.
const GENERATED: &[&str] =
    &["timestamp", "session_id", "epoch", "cursor", "connected_at", "connection_id", "conflict_id", "variant_id"];

/// One example: `client` or `server`, on `/ws` or on `/ws/sync`, its name, its content. A name is a message's type, with a
/// word behind it where there are several of a type.
struct Block {
    path: Path,
    side: &'static str,
    name: &'static str,
    text: &'static str,
}

impl Block {
    fn message_type(&self) -> &'static str {
        self.name.split(' ').next().unwrap_or_default()
    }
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

/// Where a message differs from its example: other keys, other types, other words (`…` stands for any). Texts in arrays are
/// compared by type; one item of the example stands for as many as there are.
fn differences(example: &Value, sent: &Value, path: &str, found: &mut Vec<String>) {
    match (example, sent) {
        (Value::Object(example), Value::Object(sent)) => {
            let keys: BTreeSet<_> = example.keys().chain(sent.keys()).collect();
            for key in keys {
                let path = format!("{path}/{key}");
                match (example.get(key), sent.get(key)) {
                    (Some(Value::String(word)), Some(Value::String(other))) => {
                        if !fits(word, other) && !GENERATED.contains(&key.as_str()) && !path.contains('*') {
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
            let Some(first) = example.first() else {
                if !sent.is_empty() {
                    found.push(format!("{path}: not empty"));
                }
                return;
            };
            if sent.is_empty() {
                found.push(format!("{path}: empty"));
            }
            for (at, item) in sent.iter().enumerate() {
                let example = if example.len() == sent.len() { &example[at] } else { first };
                differences(example, item, &format!("{path}/*"), found);
            }
        }
        _ => {
            let is_other = example.is_boolean() && example != sent;
            if is_other || std::mem::discriminant(example) != std::mem::discriminant(sent) {
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
        _ if block.path == Path::Typed => message["type"] == block.message_type(),
        _ if block.message_type() == "record" => {
            message.get("seq").is_some() && message["event_id"] == example["event_id"]
        }
        _ => message["event_type"] == block.message_type(),
    };
    let mut closest: Option<(Vec<String>, &Value)> = None;
    for message in sent.iter().filter(is_meant) {
        let mut found = Vec::new();
        differences(&example, message, "", &mut found);
        if block.message_type() == "record" && message["data"] != example["data"] {
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
    sent.extend(summed_up().await);
    sent.extend(away::queued_and_stored(client_block("publish")).await);
    let mut last = node.join("default", "claude-123").await;
    node.ask_to_stop();
    sent.push(last.expect("draining").await);
    check_all(Path::Sync, &sent);
    let known = [
        "ack",
        "auth",
        "heartbeat",
        "ping",
        "publish",
        "publish concept_learned",
        "publish decision_made",
        "publish signed",
        "sync_request",
    ];
    assert_eq!(client_blocks(Path::Sync), known.into(), "every client block is sent by this test");
    assert!(blocks().iter().all(|block| ["client", "server"].contains(&block.side)), "a block of a third side");
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
    client.send_text(client_block("publish signed")).await;
    client.expect("ack").await;
    other.record().await;
    for seed in ["publish concept_learned", "publish decision_made"] {
        client.send_text(client_block(seed)).await;
        client.expect("ack").await;
    }
    client.send_text(client_block("sync_request")).await;
    client.expect("sync_response").await;
    client.send_text(client_block("ack")).await;
    client.send_text(client_block("heartbeat")).await;
    client.send_text(client_block("ping")).await;
    client.expect("pong").await;
    client.send_text(client_block("auth")).await;
    client.expect("authenticated").await;
    assert_eq!(client.seen_of("error").count(), 0, "neither has an answer");
    client.expect("heartbeat").await;
    let id = "22222222-2222-4222-8222-222222222222";
    client.send(json!({"event_type": "session_ready", "event_id": id})).await;
    client.expect("error").await;
    [client.seen(), other.seen()].concat()
}

async fn filtering(node: &Node) -> Vec<Value> {
    let mut client = node.join_with("default", "claude-123", "types=decision_made&since=latest").await;
    // In one piece: a heartbeat between the two would tell the position as well.
    let event = |kind: &str| json!({"event_type": kind, "instance_id": "claude-456", "data": {}});
    let both = json!([event("memory_added"), event("decision_made")]);
    assert_eq!(node.post("/v1/tenants/default/events", &both).await.status, 201);
    client.record().await;
    client.seen().to_vec()
}

/// Those who come into a large room.
async fn summed_up() -> Vec<Value> {
    let node = Node::start(&[("rooms.announce_limit", "1")]).await;
    let mut client = node.join("default", "claude-123").await;
    let _another = other(&node).await;
    vec![client.expect("presence_changed").await]
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

/// What the document has an example of.
fn shown(side: &str) -> BTreeSet<&'static str> {
    blocks().iter().filter(|block| block.side == side).map(Block::message_type).collect()
}

#[test]
fn every_message_that_a_client_can_send_or_receive_has_an_example() {
    let (client, server) = (shown("client"), shown("server"));
    let signals = signal::STATES.into_iter().chain(["typing", "signal.wave"]);
    let session = kind::SESSION.into_iter().chain(kind::TYPED_SESSION);
    let sent: Vec<_> = session.chain(changes::words()).chain(signals.clone()).collect();
    let missing: Vec<_> = sent.iter().filter(|word| !client.contains(*word)).collect();
    assert!(missing.is_empty(), "that clients send: {missing:?}");
    let happened = [Happened::Created, Happened::Updated, Happened::Deleted];
    let records = ["node", "edge", "memory", "context", "task"].map(|kind| happened.map(|what| event_type(kind, what)));
    let said = kind::SAID.into_iter().chain(signals).chain(records.into_iter().flatten());
    let said = said.chain(["ack", "pong", "heartbeat", "system.heartbeat", "graph.sync"]);
    let missing: Vec<_> = said.filter(|word| !server.contains(word)).collect();
    assert!(missing.is_empty(), "that clients get: {missing:?}");
}

#[test]
fn the_messages_of_the_seeds_have_examples_and_the_tests_beside_them_exist() {
    let type_of = |block: &Block| {
        let message: Value = serde_json::from_str(block.text).expect("the block is JSON");
        ["type", "event_type"].iter().find_map(|field| message[*field].as_str().map(str::to_owned))
    };
    let shown: BTreeSet<String> = blocks().iter().filter_map(type_of).collect();
    let strategies = ["last_write_wins", "manual", "merge", "version"];
    let is_word = |text: &&str| !text.is_empty() && text.chars().all(|c| c.is_ascii_lowercase() || "._".contains(c));
    for row in table("\n### Which seed says what") {
        let marked = |cell: usize| row[cell].split(['`', ',', ' ']);
        let quoted = row[1].split('`').step_by(2);
        for word in quoted.filter(is_word) {
            assert!(shown.contains(word) || strategies.contains(&word), "{word} in {row:?}");
        }
        for file in marked(2).filter(|file| file.ends_with(".rs")) {
            let path = if file.contains('/') { file.to_owned() } else { format!("tests/node/{file}") };
            assert!(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(&path).exists(), "{path} in {row:?}");
        }
    }
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
