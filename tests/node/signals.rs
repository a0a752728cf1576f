//! Signals: passed on at once, never stored, and the first thing to give way when somebody is slow.

use serde_json::{Value, json};

use crate::{
    cluster_presence::nodes,
    nats_support::NatsServer,
    support::{Client, Node, RawClient, new_id},
};

const RESIDENT: &str = "process_resident_memory_bytes";

/// A node on which a reader may stall and a sender may send as much as it likes.
pub const STALLING: [(&str, &str); 4] = [
    ("limits.signals_per_minute", "1000000"),
    ("limits.control_per_minute", "1000000"),
    ("server.send_buffer", "4096"),
    ("limits.stall_timeout", "5m"),
];

pub async fn typed(node: &Node, instance: &str, more: &str) -> Client {
    let query = format!("tenant_id=t&instance_id={instance}&user_id=user-{instance}&{more}");
    Client::typed(node.address(), &query).await
}

fn signal(kind: &str, data: Value) -> Value {
    // Each envelope has its own name for the type; what it does not know is ignored.
    json!({"type": kind, "event_type": kind, "data": data})
}

/// What came of signals, type and content.
fn signals(client: &Client) -> Vec<(String, Value)> {
    let is_signal = |message: &&Value| {
        let kind = message["event_type"].as_str().unwrap_or_default();
        let families = ["cursor.", "selection.", "signal."];
        (families.iter().any(|family| kind.starts_with(family)) || kind == "typing") && message.get("seq").is_none()
    };
    let named =
        |message: &Value| (message["event_type"].as_str().unwrap_or_default().to_owned(), message["data"].clone());
    client.seen().iter().filter(is_signal).map(named).collect()
}

#[tokio::test]
async fn a_signal_reaches_the_others_in_both_envelopes_and_is_never_stored() {
    let node = Node::start(&[]).await;
    let (mut ann, mut bob) = (typed(&node, "a", "").await, typed(&node, "b", "").await);
    let mut old = node.join("t", "c").await;
    ann.expect("user.presence").await;
    ann.expect("user.presence").await;
    ann.send(json!({"id": "m1", "type": "cursor.move", "version": "1.0", "data": {"x": 1, "y": 2.50}})).await;
    let seen = bob.expect("cursor.move").await;
    assert_eq!((&seen["userId"], &seen["instance_id"]), (&json!("user-a"), &json!("a")), "{seen}");
    assert_eq!(seen["data"], json!({"x": 1, "y": 2.5}));
    assert!(seen["timestamp"].is_u64() && seen["id"].is_string() && seen.get("seq").is_none(), "{seen}");
    let seen = old.expect("cursor.move").await;
    assert_eq!((&seen["instance_id"], &seen["user_id"]), (&json!("a"), &json!("user-a")), "{seen}");
    assert_eq!((&seen["tenant_id"], &seen["data"]["x"]), (&json!("t"), &json!(1)));
    // The other way round, of a type of its own; the sender gets no copy and no answer.
    old.send(signal("signal.wave", json!({"to": "all"}))).await;
    for reader in [&mut ann, &mut bob] {
        let seen = reader.expect("signal.wave").await;
        assert_eq!((&seen["userId"], &seen["data"]), (&json!("c"), &json!({"to": "all"})), "{seen}");
        assert!(seen["timestamp"].is_string(), "{seen}");
    }
    for client in [&mut ann, &mut old] {
        client.settle().await;
    }
    assert_eq!(signals(&ann), [("signal.wave".to_owned(), json!({"to": "all"}))]);
    assert_eq!(signals(&old).len(), 1);
    let history = node.get("/v1/tenants/t/events").await.json();
    assert_eq!(history["events"], json!([]), "nothing was stored");
    assert_eq!(node.metric("continuum_signals_total").await, 2.0);
    // Over HTTP there is nobody who signals.
    let event = json!({"event_type": "typing", "instance_id": "x", "data": {}});
    node.post("/v1/tenants/t/events", &event).await.problem(400, "reserved_type");
}

#[tokio::test]
async fn a_member_hears_its_own_signals_only_if_it_asks_for_echoes() {
    let node = Node::start(&[]).await;
    let mut ann = typed(&node, "a", "echo=1").await;
    ann.send(signal("typing", json!({"in": "n1"}))).await;
    assert_eq!(ann.expect("typing").await["data"], json!({"in": "n1"}));
}

#[tokio::test]
async fn types_and_channels_choose_among_signals_too() {
    let node = Node::start(&[]).await;
    let mut ann = typed(&node, "a", "").await;
    let mut cursors = typed(&node, "b", "types=cursor.*").await;
    let mut memories = typed(&node, "c", "").await;
    let mut team = typed(&node, "d", "").await;
    memories.send(json!({"type": "subscribe", "data": {"channels": ["memories"]}})).await;
    team.send(json!({"type": "subscribe", "data": {"channels": ["signal.team"]}})).await;
    memories.expect("subscribed").await;
    team.expect("subscribed").await;
    for kind in ["cursor.move", "typing", "signal.team.wave", "signal.other"] {
        ann.send(signal(kind, json!(kind))).await;
    }
    ann.settle().await;
    for client in [&mut cursors, &mut memories, &mut team] {
        client.settle().await;
    }
    let only = |kind: &str| vec![(kind.to_owned(), json!(kind))];
    assert_eq!(signals(&cursors), only("cursor.move"));
    assert_eq!(signals(&memories), []);
    assert_eq!(signals(&team), only("signal.team.wave"));
}

#[tokio::test]
async fn whoever_comes_in_learns_how_things_stand_with_those_who_are_here() {
    let node = Node::start(&[]).await;
    let mut ann = typed(&node, "a", "").await;
    let mut gone = node.join("t", "gone").await;
    for x in 0..10 {
        ann.send(signal("cursor.move", json!({"x": x}))).await;
    }
    ann.send(signal("selection.change", json!({"nodes": ["n1"]}))).await;
    ann.send(signal("user.presence", json!({"status": "away"}))).await;
    ann.send(signal("typing", json!({}))).await;
    gone.send(signal("cursor.move", json!({"x": -1}))).await;
    ann.find(|message| message["data"]["x"] == -1).await;
    gone.close().await;
    ann.find(|message| message["data"]["status"] == "left").await;
    let mut late = typed(&node, "late", "").await;
    let presence = late.expect("user.presence").await;
    assert_eq!((&presence["userId"], &presence["data"]), (&json!("user-a"), &json!({"status": "away"})));
    late.settle().await;
    let stands = [("cursor.move", json!({"x": 9})), ("selection.change", json!({"nodes": ["n1"]}))];
    assert_eq!(signals(&late), stands.map(|(kind, data)| (kind.to_owned(), data)));
}

#[tokio::test]
async fn signals_have_a_budget_of_their_own_and_a_flood_of_them_ends_the_connection() {
    let node = Node::start(&[("limits.signals_per_minute", "60"), ("limits.messages_per_minute", "10")]).await;
    let mut ann = typed(&node, "a", "").await;
    for x in 0..60 {
        ann.send(signal("cursor.move", json!({"x": x}))).await;
    }
    ann.settle().await;
    assert_eq!(ann.seen_of("error").count(), 0);
    // Spent; other messages have lost nothing by it.
    ann.send(json!({"type": "note", "id": "e1", "data": {}})).await;
    ann.expect("ack").await;
    for x in 0..2000 {
        // The node closes meanwhile.
        ann.try_send(signal("cursor.move", json!({"x": x}))).await;
    }
    let closed = ann.until_closed().await;
    assert_eq!(closed.code, Some(4002));
    let refused: Vec<_> = ann.seen().iter().filter(|message| message["data"]["code"] == "rate_limited").collect();
    assert!(refused.len() >= 100, "{}", refused.len());
    assert!(refused[0]["data"]["retry_after_ms"].as_u64().is_some_and(|wait| wait <= 1_000), "{}", refused[0]);
}

#[tokio::test]
async fn a_signal_that_is_too_large_is_refused_and_names_its_id() {
    let node = Node::start(&[("limits.signal_bytes", "100")]).await;
    let (mut ann, mut bob) = (typed(&node, "a", "").await, node.join("t", "b").await);
    let id = new_id();
    ann.send(json!({"id": id, "type": "cursor.move", "data": "x".repeat(99)})).await;
    let error = ann.expect("system.error").await;
    assert_eq!((&error["data"]["code"], &error["data"]["id"]), (&json!("too_large"), &json!(id)), "{error}");
    ann.send(json!({"id": id, "type": "typing", "data": "x".repeat(99)})).await;
    assert_eq!(ann.expect("error").await["data"]["code"], "too_large");
    bob.send(json!({"event_id": id, "event_type": "cursor.move", "data": "x".repeat(99)})).await;
    assert_eq!(bob.expect("error").await["data"]["id"], json!(id));
    ann.send(signal("cursor.move", json!("y".repeat(98)))).await;
    assert_eq!(bob.expect("cursor.move").await["data"], "y".repeat(98));
}

#[tokio::test]
async fn ten_thousand_moves_cost_a_stalled_reader_nothing_and_it_gets_the_newest_when_it_reads_again() {
    const MOVES: u64 = 10_000;
    let node = Node::start(&STALLING).await;
    let mut stalled = RawClient::connect_narrow(&node, "tenant_id=t&instance_id=slow&since=latest").await;
    stalled.expect("caught_up").await;
    let (mut ann, mut bob) = (typed(&node, "a", "").await, typed(&node, "b", "").await);
    let padding = "x".repeat(1_000);
    let before = node.metric(RESIDENT).await;
    for x in 0..MOVES {
        ann.send(signal("cursor.move", json!({"x": x, "padding": padding}))).await;
        if x % 500 == 0 {
            bob.find(|message| message["data"]["x"].as_u64() >= Some(x)).await;
        }
    }
    ann.settle().await;
    bob.find(|message| message["data"]["x"] == MOVES - 1).await;
    // One signal may be half written; what waits behind it is of one type and one sender.
    let (waiting, resident) = (node.metric("continuum_outbox_bytes").await, node.metric(RESIDENT).await);
    assert!(waiting > 0.0, "the reader did not stall");
    assert!(waiting <= 2_000.0, "{waiting} bytes wait");
    assert!(resident - before < 24.0 * 1024.0 * 1024.0, "memory grew from {before} to {resident}");
    // A record that comes meanwhile is not lost, whatever becomes of the signals.
    bob.send(json!({"id": "note", "type": "note", "data": {"text": "kept"}})).await;
    bob.expect("ack").await;
    let (mut last, mut count, mut has_record) = (None, 0, false);
    while last != Some(MOVES - 1) || !has_record {
        let frame = stalled.next().await.expect("it stays connected");
        let Ok(message) = serde_json::from_slice::<Value>(&frame.payload) else { continue };
        has_record |= message["event_type"] == "note";
        if message["event_type"] == "cursor.move" {
            let x = message["data"]["x"].as_u64();
            assert!(x > last, "positions come in their order: {x:?} after {last:?}");
            (last, count) = (x, count + 1);
        }
    }
    assert!(count < MOVES / 2, "{count} of {MOVES} were sent: nothing was left out");
    assert_eq!(node.metric("continuum_closed_total").await, 0.0);
}

#[tokio::test]
async fn signals_reach_members_on_other_nodes_and_newcomers_there_learn_how_things_stand() {
    let server = NatsServer::start().await;
    let [a, b, c] = nodes(&server, &[]).await;
    let mut ann = typed(&a, "a", "").await;
    let (mut bob, mut old) = (typed(&b, "b", "").await, b.join("t", "c").await);
    ann.find(|message| message["data"]["userId"] == "c").await;
    for x in 0..200 {
        ann.send(signal("cursor.move", json!({"x": x}))).await;
        old.send(signal("typing", json!({"n": x}))).await;
    }
    // Those on the way may be left out, the newest never.
    for reader in [&mut bob, &mut old] {
        let seen = reader.find(|message| message["data"]["x"] == 199).await;
        assert_eq!((&seen["instance_id"], &seen["event_type"]), (&json!("a"), &json!("cursor.move")), "{seen}");
    }
    let seen = ann.find(|message| message["data"]["n"] == 199).await;
    assert_eq!((&seen["userId"], &seen["instance_id"]), (&json!("c"), &json!("c")), "{seen}");
    let order: Vec<_> = signals(&bob).iter().filter_map(|(_, data)| data["x"].as_u64()).collect();
    assert!(order.is_sorted(), "{order:?}");
    // A node whose room opens now is told by those that have it.
    let mut late = typed(&c, "late", "").await;
    let seen = late.expect("cursor.move").await;
    assert_eq!((&seen["userId"], &seen["data"]), (&json!("user-a"), &json!({"x": 199})), "{seen}");
    ann.close().await;
    late.find(|message| message["data"]["status"] == "left").await;
    let mut later = typed(&c, "later", "").await;
    later.settle().await;
    assert_eq!(signals(&later), []);
}

#[tokio::test]
async fn in_a_crowd_that_moves_all_at_once_everyone_gets_the_newest_of_everyone() {
    const MEMBERS: usize = 80;
    const MOVES: u64 = 10;
    let node = Node::start(&[]).await;
    let mut members = Vec::new();
    for index in 0..MEMBERS {
        members.push(typed(&node, &format!("m{index}"), "").await);
    }
    for x in 0..MOVES {
        for member in &mut members {
            member.send(signal("cursor.move", json!({"x": x}))).await;
        }
    }
    members[0].send(json!({"id": "note", "type": "note", "data": {}})).await;
    let note = members[0].expect("ack").await["data"]["seq"].clone();
    for (index, member) in members.iter_mut().enumerate() {
        let newest = |member: &Client| {
            let others = member.seen_of("cursor.move").filter(|seen| seen["data"]["x"] == MOVES - 1);
            others.map(|seen| seen["instance_id"].to_string()).collect::<std::collections::BTreeSet<_>>()
        };
        while newest(member).len() < MEMBERS - 1 {
            member.expect("cursor.move").await;
        }
        assert!(!newest(member).contains(&format!("\"m{index}\"")), "its own are not for it");
        if index > 0 && member.seen_of("note").next().is_none() {
            assert_eq!(member.expect("note").await["seq"], note, "records come as well");
        }
    }
}
