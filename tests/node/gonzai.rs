//! Signals that are not for everybody: suggestions for those whom they concern, chaos for those who want it.

use std::collections::BTreeMap;

use continuum::model::{
    InstanceId,
    chaos::{self, Affinity, Drawn},
};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    cluster_presence::{nodes, on},
    nats_support::NatsServer,
    signals::{STALLING, typed},
    support::{Client, Node, RawClient},
};

fn message(kind: &str, data: Value) -> Value {
    // Each envelope has its own name for the type; what it does not know is ignored.
    json!({"type": kind, "event_type": kind, "data": data})
}

async fn focus(client: &mut Client, data: Value) {
    client.send(message("gonzai.focus", data)).await;
    client.settle().await;
}

/// Brings everybody to where all that a sender has signalled before was passed on to them, or never will be.
async fn fence<const N: usize>(sender: &mut Client, readers: [&mut Client; N]) {
    sender.send(message("signal.fence", json!({}))).await;
    for reader in readers {
        reader.expect("signal.fence").await;
        reader.settle().await;
    }
}

/// The contents of the messages of a type that a client has seen.
fn told(client: &Client, kind: &str) -> Vec<Value> {
    client.seen_of(kind).map(|message| message["data"].clone()).collect()
}

#[tokio::test]
async fn a_suggestion_is_for_those_whose_focus_it_concerns_and_is_never_stored() {
    let node = Node::start(&[]).await;
    let mut helper = typed(&node, "helper", "").await;
    let (mut near, mut idle) = (typed(&node, "near", "").await, typed(&node, "idle", "").await);
    let (mut old, mut far) = (node.join("t", "old").await, node.join("t", "far").await);
    focus(&mut near, json!({"nodes": ["n1"]})).await;
    focus(&mut old, json!({"tags": ["rust", "sync"]})).await;
    focus(&mut far, json!({"tags": ["rust", "web"]})).await;
    let written = json!({"from": "n1", "to": "n9", "tags": ["rust", "sync"], "text": "belong together", "n": 1.50});
    helper.send(message("gonzai.suggestion", written.clone())).await;
    let seen = near.expect("gonzai.suggestion").await;
    assert_eq!((&seen["userId"], &seen["instance_id"]), (&json!("user-helper"), &json!("helper")), "{seen}");
    assert!(seen["timestamp"].is_u64() && seen.get("seq").is_none(), "{seen}");
    let reason = "it joins 'n1', which you are focused on";
    assert_eq!(seen["data"], json!({"suggestion": written, "relevance": 0.9, "reason": reason}));
    let seen = old.expect("gonzai.suggestion").await;
    assert_eq!((&seen["instance_id"], &seen["tenant_id"]), (&json!("helper"), &json!("t")), "{seen}");
    let reason = "it shares the tags rust, sync";
    assert_eq!(seen["data"], json!({"suggestion": written, "relevance": 1.0, "reason": reason}));
    fence(&mut helper, [&mut near, &mut idle, &mut old, &mut far]).await;
    helper.settle().await;
    for (client, count) in [(&near, 1), (&old, 1), (&far, 0), (&idle, 0), (&helper, 0)] {
        assert_eq!(told(client, "gonzai.suggestion").len(), count);
    }
    assert_eq!(told(&helper, "error").len() + told(&helper, "system.error").len(), 0);
    assert_eq!(node.get("/v1/tenants/t/events").await.json()["events"], json!([]), "nothing was stored");
    let event = json!({"event_type": "gonzai.suggestion", "instance_id": "x", "data": {"receivers": ["near"]}});
    node.post("/v1/tenants/t/events", &event).await.problem(400, "reserved_type");
}

#[tokio::test]
async fn a_suggestion_that_names_receivers_is_for_them_alone_whatever_they_are_busy_with() {
    let node = Node::start(&[]).await;
    let mut helper = typed(&node, "helper", "").await;
    let (mut ann, mut bob) = (typed(&node, "a", "").await, typed(&node, "b", "").await);
    let mut old = node.join("t", "old").await;
    focus(&mut bob, json!({"nodes": ["n1"]})).await;
    let written = json!({"receivers": ["user-a", "old", "gone"], "nodes": ["n1"]});
    helper.send(message("gonzai.suggestion", written.clone())).await;
    for reader in [&mut ann, &mut old] {
        let seen = reader.expect("gonzai.suggestion").await;
        assert_eq!(seen["data"], json!({"suggestion": written, "relevance": 1.0, "reason": "it is meant for you"}));
    }
    fence(&mut helper, [&mut bob]).await;
    assert_eq!(told(&bob, "gonzai.suggestion").len(), 0);
}

#[tokio::test]
async fn a_suggestion_says_nothing_of_what_is_private_but_what_its_sender_wrote() {
    let node = Node::start(&[]).await;
    let (mut ann, mut bob) = (typed(&node, "a", "").await, typed(&node, "b", "").await);
    focus(&mut bob, json!({"nodes": ["secret"], "tags": ["rust"]})).await;
    let content = json!({"title": "surprise", "tags": ["rust"], "visibility": "private"});
    let event = json!({"id": "op", "entity_type": "node", "entity_id": "secret", "action": "create", "data": content});
    ann.send(json!({"type": "sync_event", "event": event})).await;
    ann.find(|message| message["data"]["updateId"] == "op").await;
    ann.send(message("gonzai.suggestion", json!({"nodes": ["secret"]}))).await;
    let seen = bob.expect("gonzai.suggestion").await["data"].clone();
    let reason = "you are focused on this node";
    assert_eq!(seen, json!({"suggestion": {"nodes": ["secret"]}, "relevance": 1.0, "reason": reason}));
    fence(&mut ann, [&mut bob]).await;
    assert!(!bob.seen().iter().any(|message| message.to_string().contains("surprise")), "{:?}", bob.seen());
}

#[tokio::test]
async fn what_is_no_suggestion_or_too_large_is_refused_with_its_id_and_counts_as_a_signal() {
    let settings = [("limits.signals_per_minute", "4"), ("limits.signal_bytes", "100")];
    let node = Node::start(&settings).await;
    let mut helper = typed(&node, "helper", "").await;
    let cases = [
        (json!({}), "invalid_message"),
        (json!({"receivers": []}), "invalid_message"),
        (json!({"nodes": "n1"}), "invalid_message"),
        (json!({"nodes": ["n1"], "text": "x".repeat(99)}), "too_large"),
        (json!({"nodes": ["n1"]}), "rate_limited"),
    ];
    for (data, code) in cases {
        helper.send(json!({"id": "s1", "type": "gonzai.suggestion", "data": data})).await;
        let error = helper.find(|message| message["data"]["code"].is_string()).await;
        assert_eq!(error["data"]["code"], code, "{data}: {error}");
        if code != "rate_limited" {
            assert_eq!((&error["type"], &error["data"]["id"]), (&json!("system.error"), &json!("s1")), "{error}");
        }
    }
}

#[tokio::test]
async fn a_stalled_reader_gets_the_newest_suggestion_when_it_reads_again() {
    const SENT: u64 = 3_000;
    let node = Node::start(&STALLING).await;
    let mut stalled = RawClient::connect_narrow(&node, "tenant_id=t&instance_id=slow&since=latest").await;
    stalled.expect("caught_up").await;
    stalled.send_json(&json!({"event_type": "gonzai.focus", "data": {"nodes": ["n1"]}})).await;
    stalled.send_json(&json!({"event_type": "sync_request"})).await;
    stalled.expect("sync_response").await;
    let (mut helper, mut other) = (typed(&node, "helper", "").await, typed(&node, "other", "").await);
    focus(&mut other, json!({"nodes": ["n1"]})).await;
    let padding = "x".repeat(1_000);
    for sent in 0..SENT {
        let written = json!({"nodes": ["n1"], "n": sent, "padding": padding});
        helper.send(message("gonzai.suggestion", written)).await;
        if sent % 500 == 0 {
            other.find(|message| message["data"]["suggestion"]["n"].as_u64() >= Some(sent)).await;
        }
    }
    helper.settle().await;
    other.find(|message| message["data"]["suggestion"]["n"] == SENT - 1).await;
    node.until_metric("continuum_outbox_bytes", |waiting| waiting > 0.0 && waiting <= 2_000.0).await;
    let (mut last, mut count) = (None, 0);
    while last != Some(SENT - 1) {
        let seen = stalled.expect("gonzai.suggestion").await;
        let n = seen["data"]["suggestion"]["n"].as_u64();
        assert!(n > last, "{n:?} after {last:?}");
        (last, count) = (n, count + 1);
    }
    assert!(count < SENT / 2, "{count} of {SENT} were sent: nothing was left out");
}

#[tokio::test]
async fn suggestions_reach_those_on_other_nodes_whom_they_concern() {
    let server = NatsServer::start().await;
    let [a, b] = nodes(&server, &[]).await;
    let mut helper = typed(&a, "helper", "").await;
    let (mut near, mut idle, mut named) =
        (typed(&b, "near", "").await, typed(&b, "idle", "").await, typed(&b, "named", "").await);
    helper.find(|message| message["data"]["userId"] == "user-named").await;
    focus(&mut near, json!({"tags": ["rust"]})).await;
    helper.send(message("gonzai.suggestion", json!({"tags": ["rust"], "n": 1}))).await;
    let seen = near.expect("gonzai.suggestion").await;
    assert_eq!((&seen["userId"], &seen["data"]["relevance"]), (&json!("user-helper"), &json!(1.0)), "{seen}");
    assert_eq!(seen["data"]["suggestion"], json!({"tags": ["rust"], "n": 1}));
    helper.send(message("gonzai.suggestion", json!({"receivers": ["user-named"], "tags": ["rust"]}))).await;
    assert_eq!(named.expect("gonzai.suggestion").await["data"]["reason"], "it is meant for you");
    fence(&mut helper, [&mut near, &mut idle, &mut named]).await;
    assert_eq!([&near, &idle, &named].map(|client| told(client, "gonzai.suggestion").len()), [1, 0, 1]);
}

#[tokio::test]
async fn chaos_draws_in_those_who_want_it_once_and_nobody_unasked() {
    let node = Node::start(&[]).await;
    let mut ann = typed(&node, "a", "chaos_affinity=1&echo=1").await;
    let mut keen = typed(&node, "keen", "chaos_affinity=1").await;
    let mut old = node.join_with("t", "old", "chaos_affinity=1.0").await;
    let (mut calm, mut firm) = (typed(&node, "calm", "").await, typed(&node, "firm", "chaos_affinity=0").await);
    ann.send(message("chaos.trigger", json!({"message": "written by ann"}))).await;
    let chaos = json!({"initiator": "user-a", "hops": 1, "intensity": 1.0, "message": "Chaos is contagious! 🐵"});
    let seen = keen.expect("chaos.trigger").await;
    assert_eq!((&seen["userId"], &seen["data"]), (&json!("user-a"), &chaos), "{seen}");
    let seen = old.expect("chaos.trigger").await;
    assert_eq!((&seen["instance_id"], &seen["data"]), (&json!("a"), &chaos), "{seen}");
    fence(&mut ann, [&mut keen, &mut old, &mut calm, &mut firm]).await;
    ann.expect("signal.fence").await;
    ann.settle().await;
    for (client, count) in [(&keen, 1), (&old, 1), (&calm, 0), (&firm, 0), (&ann, 0)] {
        assert_eq!(told(client, "chaos.trigger").len(), count);
    }
    // Somebody who does not want it any more.
    keen.close().await;
    let mut keen = typed(&node, "keen", "").await;
    ann.send(message("chaos.trigger", json!({}))).await;
    old.expect("chaos.trigger").await;
    fence(&mut ann, [&mut keen]).await;
    assert_eq!(told(&keen, "chaos.trigger").len(), 0);
    assert_eq!(node.get("/v1/tenants/t/events").await.json()["events"], json!([]), "nothing was stored");
}

#[tokio::test]
async fn chaos_spreads_over_nodes_and_draws_in_each_member_at_most_once_within_the_hops() {
    const TRIGGERS: usize = 30;
    const HOPS: u8 = 3;
    let server = NatsServer::start().await;
    let [a, b] = nodes(&server, &[("chaos.hops", "3")]).await;
    let mut ann = typed(&a, "a", "").await;
    let mut members = Vec::new();
    for (number, affinity) in [1.0, 0.7, 0.5, 0.3, 0.0].into_iter().enumerate() {
        for (node, name) in [(&a, "here"), (&b, "there")] {
            let who: InstanceId = format!("{name}-{number}").parse().expect("an instance");
            let client = typed(node, who.as_str(), &format!("chaos_affinity={affinity}")).await;
            members.push((who, affinity, client));
        }
    }
    // Both nodes know all of them.
    ann.find(|message| message["data"]["instance_id"] == "there-4").await;
    members[1].2.find(|message| message["data"]["instance_id"] == "here-4").await;
    for _ in 0..TRIGGERS {
        ann.send(message("chaos.trigger", json!({}))).await;
        for (_, _, keen) in &mut members[..2] {
            keen.expect("chaos.trigger").await;
        }
    }
    ann.send(message("signal.fence", json!({}))).await;
    for (_, _, member) in &mut members {
        member.expect("signal.fence").await;
        member.settle().await;
    }
    let mut told = BTreeMap::<Uuid, BTreeMap<InstanceId, Drawn>>::new();
    for (who, _, member) in &members {
        for seen in member.seen_of("chaos.trigger") {
            let id = seen["id"].as_str().and_then(|id| id.parse().ok()).expect("an id");
            let [hops, intensity] = ["hops", "intensity"].map(|name| seen["data"][name].as_f64().expect("a number"));
            let before = told.entry(id).or_default().insert(who.clone(), Drawn { hops: hops as u8, intensity });
            assert_eq!(before, None, "{who} is told once");
        }
    }
    // The trigger's id says all: both nodes come to the same.
    assert_eq!(told.len(), TRIGGERS);
    for (id, told) in &told {
        let (high, low) = id.as_u64_pair();
        let crowd = members.iter().map(|(who, affinity, _)| (who, Affinity::new(*affinity).expect("a share")));
        let origin = "a".parse().expect("an instance");
        let expected = chaos::spread(&origin, crowd, HOPS, |who, hops| chaos::roll(high ^ low, who, hops));
        assert_eq!(*told, expected);
    }
    assert!(told.values().flatten().any(|(_, drawn)| drawn.hops > 1), "it never went any further");
}

#[tokio::test]
async fn chaos_that_is_switched_off_is_refused_and_reaches_nobody_from_elsewhere() {
    let server = NatsServer::start().await;
    let url = server.url();
    let (open, closed) =
        (Node::start(&on(&url, &[])).await, Node::start(&on(&url, &[("chaos.enabled", "false")])).await);
    let mut ann = typed(&closed, "a", "chaos_affinity=1").await;
    let mut bob = typed(&open, "b", "chaos_affinity=1").await;
    ann.find(|message| message["data"]["instance_id"] == "b").await;
    ann.send(json!({"id": "c1", "type": "chaos.trigger", "data": {}})).await;
    let error = ann.expect("system.error").await;
    assert_eq!((&error["data"]["code"], &error["data"]["id"]), (&json!("switched_off"), &json!("c1")), "{error}");
    fence(&mut ann, [&mut bob]).await;
    assert_eq!(told(&bob, "chaos.trigger").len(), 0);
    let mut cem = typed(&open, "c", "").await;
    cem.send(message("chaos.trigger", json!({}))).await;
    bob.expect("chaos.trigger").await;
    fence(&mut cem, [&mut ann]).await;
    assert_eq!(told(&ann, "chaos.trigger").len(), 0);
}
