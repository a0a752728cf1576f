//! One room across nodes.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

use crate::{
    nats_support::{Admin, NatsServer, until},
    node_on,
    support::{Client, new_id},
};

/// What identifies a record's place.
fn place(record: &Value) -> (u64, u64, String) {
    let number = |name: &str| record[name].as_u64().unwrap_or_else(|| panic!("{name} in {record}"));
    (number("seq"), number("prev"), record["event_id"].as_str().expect("an id").to_owned())
}

fn places(records: &[Value]) -> Vec<(u64, u64, String)> {
    records.iter().map(place).collect()
}

#[tokio::test]
async fn every_node_tells_the_same_records_in_the_same_order_with_the_same_chain() {
    let server = NatsServer::start().await;
    let (one, two) = (node_on(&server.url(), &[]).await, node_on(&server.url(), &[]).await);
    let mut readers = Vec::new();
    for (node, name) in [(&one, "r1"), (&one, "r2"), (&two, "r3")] {
        readers.push(node.join("t", name).await);
    }
    let writing = async |mut writer: Client| {
        for n in 0..200 {
            writer.send(json!({"event_type": "note", "event_id": new_id(), "data": n})).await;
        }
        for _ in 0..200 {
            writer.expect("ack").await;
        }
    };
    let (a, b, c) = (one.join("t", "a").await, two.join("t", "b").await, two.join("other", "c").await);
    tokio::join!(writing(a), writing(b), writing(c));
    let mut told = Vec::new();
    for reader in &mut readers {
        told.push(places(&reader.take(400).await));
    }
    assert_eq!(told[0], told[1]);
    assert_eq!(told[0], told[2]);
    // Whoever reads the history from either node finds the same.
    for node in [&one, &two] {
        let mut late = node.join_with("t", "late", "since=earliest").await;
        assert_eq!(places(&late.catch_up().await), told[0]);
        late.close().await;
    }
}

#[tokio::test]
async fn a_client_goes_on_at_another_node_by_cursor_and_by_name() {
    let server = NatsServer::start().await;
    let (one, two) = (node_on(&server.url(), &[]).await, node_on(&server.url(), &[]).await);
    let mut writer = one.join("t", "writer").await;
    let mut reader = one.join_with("t", "reader", "since=earliest").await;
    reader.catch_up().await;
    writer.publish("note", json!(1)).await;
    let first = reader.record().await;
    let cursor = reader.cursor().to_owned();
    reader.send(json!({"event_type": "ack", "data": {"seq": first["seq"]}})).await;
    reader.settle().await;
    reader.close().await;
    let mut missed = Vec::new();
    for n in 2..5 {
        missed.push(writer.publish("note", json!(n)).await["seq"].clone());
    }
    let mut by_cursor = two.join_with("t", "someone", &format!("since={cursor}")).await;
    let seqs = |records: &[Value]| records.iter().map(|record| record["seq"].clone()).collect::<Vec<_>>();
    assert_eq!(seqs(&by_cursor.catch_up().await), missed);
    // The cursor kept for a name is written a moment after the ack.
    let admin = Admin::connect(&server.url()).await;
    let wanted = format!(".{}", first["seq"]);
    until("the cursor is kept", async || {
        let subject = json!({"last_by_subj": "sync.cursor.t.reader"});
        let kept = admin.api("STREAM.MSG.GET.SYNC_KEPT", subject).await.ok()?;
        let cursor = BASE64_STANDARD.decode(kept["message"]["data"].as_str()?).ok()?;
        String::from_utf8(cursor).ok()?.ends_with(&wanted).then_some(())
    })
    .await;
    let mut by_name = two.join("t", "reader").await;
    assert_eq!(seqs(&by_name.catch_up().await), missed);
}

#[tokio::test]
async fn nothing_crosses_between_tenants_that_use_the_same_ids() {
    let server = NatsServer::start().await;
    let (one, two) = (node_on(&server.url(), &[]).await, node_on(&server.url(), &[]).await);
    let tenants = ["acme", "acme2", "Acme"];
    let mut members = Vec::new();
    for tenant in tenants {
        members.push((one.join(tenant, "writer").await, two.join(tenant, "reader").await));
    }
    let ids: Vec<_> = (0..20).map(|_| new_id()).collect();
    for (tenant, (writer, _)) in tenants.iter().zip(&mut members) {
        for id in &ids {
            let ack = writer.publish_as(id, "note", json!({"of": tenant})).await;
            assert_eq!(ack["duplicate"], false, "{tenant}: an id of another tenant is no repeat");
        }
    }
    for (tenant, (_, reader)) in tenants.iter().zip(&mut members) {
        for record in reader.take(ids.len()).await {
            assert_eq!((&record["tenant_id"], &record["data"]["of"]), (&json!(tenant), &json!(tenant)));
        }
        assert_eq!(reader.settle().await, Vec::<Value>::new());
    }
}

#[tokio::test]
async fn the_same_event_twenty_times_over_two_nodes_is_one_record() {
    let server = NatsServer::start().await;
    let (one, two) = (node_on(&server.url(), &[]).await, node_on(&server.url(), &[]).await);
    let mut reader = one.join("t", "reader").await;
    let id = new_id();
    let body = json!({"event_type": "note", "event_id": id, "instance_id": "writer", "data": 1});
    let target = "/v1/tenants/t/events";
    let mut seqs = Vec::new();
    for _ in 0..10 {
        let (a, b) = tokio::join!(one.post(target, &body), two.post(target, &body));
        for answer in [a, b] {
            assert!([200, 201].contains(&answer.status), "{}", answer.status);
            seqs.push(answer.json()["seq"].clone());
        }
    }
    assert!(seqs.iter().all(|seq| *seq == seqs[0]), "{seqs:?}");
    assert_eq!(reader.record().await["event_id"], json!(id));
    assert_eq!(reader.settle().await, Vec::<Value>::new());
}

#[tokio::test]
async fn a_record_whose_subject_and_content_differ_is_dropped_and_counted() {
    let server = NatsServer::start().await;
    let node = node_on(&server.url(), &[]).await;
    let mut reader = node.join("t", "reader").await;
    let admin = Admin::connect(&server.url()).await;
    let forge = |tenant: &str, event_type: &str| {
        let body = json!({"event_type": event_type, "event_id": new_id(), "tenant_id": tenant,
            "timestamp": "2026-01-01T00:00:00.000Z", "instance_id": "forger", "data": 1});
        bytes::Bytes::from(body.to_string())
    };
    for (subject, body) in [
        ("sync.log.0.t.event.note", forge("other", "note")),
        ("sync.log.0.t.event.note", forge("t", "secret")),
        ("sync.log.0.t.event.note", "not even JSON".into()),
        ("sync.log.0.t.nonsense", forge("t", "note")),
        ("sync.log.0.t.event.note", forge("t", "note")),
    ] {
        admin.client().publish(subject, body).await.expect("sent");
    }
    let record = reader.record().await;
    assert_eq!((&record["event_type"], &record["instance_id"]), (&json!("note"), &json!("forger")));
    assert_eq!(reader.settle().await, Vec::<Value>::new());
    node.until_metric("continuum_dropped_total", |damaged| damaged >= 3.0).await;
    node.until_metric("continuum_nats_foreign_messages_total", |foreign| foreign >= 1.0).await;
    // A latecomer reads the log, and gets no more than that either.
    let mut late = node.join_with("t", "late", "since=earliest").await;
    assert_eq!(late.catch_up().await.len(), 1);
}

#[tokio::test]
async fn rooms_that_nobody_is_in_cost_nothing() {
    let server = NatsServer::start().await;
    let node = node_on(&server.url(), &[("rooms.idle_timeout", "0s"), ("rooms.cursor_flush", "50ms")]).await;
    let admin = Admin::connect(&server.url()).await;
    let consumers = async || {
        let info = admin.stream_info("SYNC_LOG_0").await.expect("a log");
        info["state"]["consumer_count"].as_u64().expect("a count")
    };
    let subscriptions = async || {
        let (_, connections) = server.monitor("/connz").await.expect("the monitor answers");
        let all = connections["connections"].as_array().expect("a list");
        let of_node = all.iter().find(|connection| connection["name"] == "continuum").expect("the node");
        of_node["subscriptions"].as_u64().expect("a count")
    };
    let before = (consumers().await, subscriptions().await);
    assert_eq!(before.0, 0);
    let mut members = Vec::new();
    for n in 0..10 {
        members.push(node.join(&format!("t{n}"), "a").await);
    }
    assert_eq!(consumers().await, 1, "one tail, however many rooms");
    assert!(subscriptions().await >= before.1 + 10, "each room listens");
    for member in members {
        member.close().await;
    }
    until("the rooms are gone", async || {
        (node.metric("continuum_rooms").await == 0.0 && (consumers().await, subscriptions().await) == before)
            .then_some(())
    })
    .await;
}

#[tokio::test]
async fn tenants_are_spread_over_shards_and_nobody_notices() {
    let server = NatsServer::start().await;
    let shards = [("nats.shards", "4")];
    let (one, two) = (node_on(&server.url(), &shards).await, node_on(&server.url(), &shards).await);
    let tenants: Vec<_> = (0..12).map(|n| format!("t{n}")).collect();
    let mut rooms = Vec::new();
    for tenant in &tenants {
        rooms.push((one.join(tenant, "a").await, two.join(tenant, "b").await));
    }
    for n in 0..5 {
        for (writer, _) in &mut rooms {
            writer.publish("note", json!(n)).await;
        }
    }
    for (tenant, (_, reader)) in tenants.iter().zip(&mut rooms) {
        for (n, record) in reader.take(5).await.iter().enumerate() {
            assert_eq!((&record["tenant_id"], &record["data"]), (&json!(tenant), &json!(n)));
        }
    }
    let admin = Admin::connect(&server.url()).await;
    let mut held = Vec::new();
    for shard in 0..4 {
        let info = admin.stream_info(&format!("SYNC_LOG_{shard}")).await.expect("a log");
        held.push(info["state"]["messages"].as_u64().expect("a count"));
    }
    assert_eq!(held.iter().sum::<u64>(), 60);
    assert!(held.iter().all(|count| *count > 0), "{held:?}");
}
