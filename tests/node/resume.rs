//! Going on after a break: every way to say from where, and every reason why it cannot be.

use serde_json::{Value, json};

use crate::support::{Client, Node, Port, RawClient, raw};

/// A room with this many records; returns their positions.
async fn filled(node: &Node, tenant: &str, count: usize) -> Vec<u64> {
    let mut writer = node.join(tenant, "writer").await;
    let mut positions = Vec::new();
    for number in 0..count {
        let ack = writer.publish("note", json!({"number": number})).await;
        positions.push(ack["seq"].as_u64().expect("seq"));
    }
    writer.close().await;
    positions
}

fn numbers(records: &[Value]) -> Vec<u64> {
    records.iter().map(|record| record["data"]["number"].as_u64().expect("a number")).collect()
}

fn resumed(client: &Client, from: &str, after: u64, missed: u64) {
    let expected = json!({"from": from, "outcome": "honoured", "after": after, "missed": missed, "missed_exact": true});
    assert_eq!(*client.resume(), expected);
    assert_eq!(client.seen_of("resync").count(), 0);
}

#[tokio::test]
async fn a_cursor_brings_what_follows_it_from_memory_and_from_the_log() {
    let mut node = Node::start(&[]).await;
    let at = filled(&node, "t", 10).await;
    // First from the ring, then, after a restart, from the log.
    for _ in 0..2 {
        let all = node.join_with("t", "a", "since=earliest").await.catch_up().await;
        assert_eq!(all.len(), 10);
        let epoch = node.join("t", "a").await.ready()["data"]["epoch"].as_str().expect("epoch").to_owned();
        for (index, record) in all.iter().enumerate() {
            let fingerprint = &record["event_id"].as_str().expect("id")[..8];
            for cursor in [format!("{epoch}.{}", at[index]), format!("{epoch}.{}.{fingerprint}", at[index])] {
                let mut client = node.join_with("t", "a", &format!("since={cursor}")).await;
                resumed(&client, "cursor", at[index], 9 - index as u64);
                assert_eq!(client.catch_up().await, all[index + 1..], "since {cursor}");
                assert_eq!(client.last(), at[9]);
            }
        }
        node.restart(Port::New).await;
    }
}

#[tokio::test]
async fn earliest_latest_and_a_time_mean_what_they_say() {
    let node = Node::start(&[]).await;
    let at = filled(&node, "t", 5).await;
    let mut earliest = node.join_with("t", "a", "since=earliest").await;
    resumed(&earliest, "earliest", 0, 5);
    let all = earliest.catch_up().await;
    let mut latest = node.join_with("t", "b", "since=latest").await;
    resumed(&latest, "latest", at[4], 0);
    assert_eq!(latest.catch_up().await, [] as [Value; 0]);
    let stored = all[0]["timestamp"].as_str().expect("a time").to_owned();
    for (time, least, most) in [("2000-01-01T00:00:00Z", 5, 5), (stored.as_str(), 5, 5), ("2999-01-01T00:00:00Z", 0, 0)]
    {
        let mut client = node.join_with("t", "c", &format!("since={time}")).await;
        assert_eq!((&client.resume()["from"], &client.resume()["outcome"]), (&json!("time"), &json!("honoured")));
        let got = client.catch_up().await.len();
        assert!((least..=most).contains(&got), "{got} since {time}");
    }
    // Whoever joins at the latest is live from there on.
    let ack = earliest.publish("note", json!({"number": 5})).await;
    assert_eq!(latest.record().await["seq"], ack["seq"]);
}

#[tokio::test]
async fn an_instance_without_a_cursor_goes_on_where_its_acks_were() {
    let mut node = Node::start(&[("rooms.cursor_flush", "10ms")]).await;
    let mut reader = node.join("t", "reader").await;
    resumed(&reader, "instance", 0, 0);
    let at = filled(&node, "t", 6).await;
    let records = reader.take(6).await;
    reader.send(json!({"event_type": "ack", "data": {"seq": at[2]}})).await;
    // An ack from the future moves nothing; one from the past does not move back.
    reader.send(json!({"event_type": "ack", "data": {"seq": at[5] + 1000}})).await;
    reader.send(json!({"event_type": "ack", "data": {"seq": at[0]}})).await;
    reader.settle().await;
    reader.vanish();
    node.terminate().await;
    node.restart(Port::New).await;
    let mut reader = node.join("t", "reader").await;
    // At least what was not acknowledged, under the same seq, in order.
    let after = reader.resume()["after"].as_u64().expect("after");
    assert_eq!(reader.resume()["from"], "instance");
    assert!(after <= at[2] || pongs_reached(after, &at), "after {after} of {at:?}");
    let got = reader.catch_up().await;
    assert_eq!(got, records[records.len() - got.len()..]);
    assert!(at.iter().filter(|position| **position > after).count() == got.len());
}

/// A pong may have moved the cursor further than the ack, but only to a position of a ping.
fn pongs_reached(after: u64, at: &[u64]) -> bool {
    at.contains(&after)
}

#[tokio::test]
async fn an_ack_alone_moves_the_cursor_of_an_instance() {
    let node = Node::start(&[("rooms.cursor_flush", "10ms")]).await;
    // A raw client: nothing but the ack moves its cursor.
    let mut reader = RawClient::connect(&node, "tenant_id=t&instance_id=reader").await;
    reader.expect("caught_up").await;
    let at = filled(&node, "t", 6).await;
    reader.send_json(&json!({"event_type": "ack", "data": {"seq": at[2]}})).await;
    reader.send_json(&json!({"event_type": "sync_request"})).await;
    reader.expect("sync_response").await;
    // In order: the ack was taken before the question was answered. Whether it is on disk yet must not matter.
    drop(reader);
    let mut reader = node.join("t", "reader").await;
    resumed(&reader, "instance", at[2], 3);
    assert_eq!(numbers(&reader.catch_up().await), [3, 4, 5]);
}

#[tokio::test]
async fn an_instance_that_returns_before_its_cursor_is_written_loses_nothing() {
    let node = Node::start(&[("rooms.cursor_flush", "1h")]).await;
    let mut first = RawClient::connect(&node, "tenant_id=t&instance_id=reader").await;
    first.expect("session_ready").await;
    drop(first);
    let at = filled(&node, "t", 3).await;
    let mut reader = node.join("t", "reader").await;
    resumed(&reader, "instance", 0, 3);
    assert_eq!(numbers(&reader.catch_up().await), [0, 1, 2]);
    reader.send(json!({"event_type": "ack", "data": {"seq": at[0]}})).await;
    reader.settle().await;
    reader.vanish();
    let after = node.join("t", "reader").await.resume()["after"].as_u64();
    assert!(after >= Some(at[0]), "{after:?}");
}

#[tokio::test]
async fn a_pong_moves_the_cursor_of_an_instance() {
    let node = Node::start(&[("rooms.cursor_flush", "10ms"), ("heartbeat.interval", "100ms")]).await;
    let mut reader = RawClient::connect(&node, "tenant_id=t&instance_id=reader").await;
    reader.expect("caught_up").await;
    let at = filled(&node, "t", 3).await;
    // The ping behind a heartbeat that names the last record.
    while reader.expect("heartbeat").await["data"]["position"] != json!(at[2]) {}
    let ping = reader.next().await.expect("the connection lives");
    assert_eq!(ping.opcode(), raw::PING);
    reader.send(raw::PONG, &ping.payload).await;
    reader.send_json(&json!({"event_type": "sync_request"})).await;
    reader.expect("sync_response").await;
    drop(reader);
    resumed(&node.join("t", "reader").await, "instance", at[2], 0);
}

#[tokio::test]
async fn an_instance_that_never_answered_gets_everything_since_it_first_came() {
    let mut node = Node::start(&[("rooms.cursor_flush", "10ms")]).await;
    filled(&node, "t", 2).await;
    let mut reader = RawClient::connect(&node, "tenant_id=t&instance_id=reader").await;
    reader.expect("caught_up").await;
    filled(&node, "t", 4).await;
    drop(reader);
    // A kill may take cursors that were not written yet; an orderly stop may not.
    node.terminate().await;
    node.restart(Port::New).await;
    let mut reader = node.join("t", "reader").await;
    assert_eq!(numbers(&reader.catch_up().await), [0, 1, 2, 3], "what was there before it came is not its own");
}

async fn resynced(node: &Node, since: &str, reason: &str, expected: usize) -> Vec<Value> {
    let mut client = node.join_with("t", "reader", &format!("since={since}")).await;
    let resume = client.resume().clone();
    assert_eq!((&resume["from"], &resume["outcome"]), (&json!("cursor"), &json!("resync")), "{reason}");
    let resync = client.next().await;
    assert_eq!(resync["event_type"], "resync", "{reason}: the first after session_ready");
    assert_eq!((&resync["data"]["reason"], &resync["data"]["requested"]), (&json!(reason), &json!(since)));
    assert_eq!(resync["data"]["after"], resume["after"]);
    assert_eq!(resync["data"]["state"]["connected_instances"], json!(["reader"]));
    let records = client.catch_up().await;
    assert_eq!(records.len(), expected, "{reason}: everything that the log holds");
    assert_eq!(resume["missed"], json!(expected));
    client.close().await;
    records
}

#[tokio::test]
async fn a_cursor_that_cannot_be_honoured_is_told_why_and_gets_everything() {
    let mut node = Node::start(&[]).await;
    let at = filled(&node, "t", 5).await;
    for _ in 0..2 {
        let epoch = node.join_with("t", "reader", "since=latest").await.ready()["data"]["epoch"].clone();
        let epoch = epoch.as_str().expect("epoch");
        for (since, reason) in [
            (format!("0123456789abcdef.{}", at[2]), "other_epoch"),
            ("0123456789abcdef.0".to_owned(), "other_epoch"),
            (format!("{epoch}.{}", at[4] + 1), "ahead"),
            (format!("{epoch}.{}", u64::MAX), "ahead"),
            (format!("{epoch}.{}.00000000", at[2]), "mismatch"),
            (format!("{epoch}.{}.00000000", at[4]), "mismatch"),
        ] {
            assert_eq!(numbers(&resynced(&node, &since, reason, 5).await), [0, 1, 2, 3, 4]);
        }
        node.restart(Port::New).await;
    }
}

#[tokio::test]
async fn a_cursor_that_retention_has_passed_is_told_so_and_gets_what_is_left() {
    let node =
        Node::start(&[("log.retention_bytes", "20000"), ("log.sweep_interval", "50ms"), ("rooms.ring_bytes", "2000")])
            .await;
    let mut writer = node.join("t", "writer").await;
    let first = writer.publish("note", json!({"number": 0, "fill": "x".repeat(1000)})).await;
    let mut number = 0;
    // Until the log has let more than the first go: a cursor at the first misses nothing as long as the second is there.
    let oldest = loop {
        number += 1;
        writer.publish("note", json!({"number": number, "fill": "x".repeat(1000)})).await;
        let page = node.get("/v1/tenants/t/events?limit=1").await.json();
        let oldest = page["events"][0]["data"]["number"].as_u64().expect("the log is not empty");
        if oldest > 1 && number > 30 {
            break oldest;
        }
    };
    let cursor = first["cursor"].as_str().expect("cursor");
    let mut client = node.join_with("t", "reader", &format!("since={cursor}")).await;
    assert_eq!(client.resume()["outcome"], "resync");
    assert_eq!(client.next().await["data"]["reason"], "trimmed");
    let got = numbers(&client.catch_up().await);
    assert!(got[0] >= oldest && got.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{got:?} from {oldest}");
    assert_eq!(got.last(), Some(&number));
    // The figures are over the whole history; a good cursor of the same log is honoured.
    let mut client = node.join_with("t", "reader", &format!("since={}", client.cursor())).await;
    assert_eq!(client.resume()["outcome"], "honoured");
    client.settle().await;
    let page = node.get(&format!("/v1/tenants/t/events?after={cursor}&limit=1")).await.json();
    assert_eq!(page["resync"]["reason"], "trimmed");
}

#[tokio::test]
async fn joining_in_the_middle_of_a_storm_leaves_no_gap_and_repeats_nothing() {
    const WRITERS: usize = 3;
    const EACH: usize = 120;
    const TOTAL: usize = WRITERS * EACH;
    let node = Node::start(&[("rooms.ring_bytes", "8192"), ("rooms.page_bytes", "2048")]).await;
    let node = &node;
    let epoch = node.join("t", "first").await.ready()["data"]["epoch"].as_str().expect("epoch").to_owned();
    let storm = async {
        let writers = (0..WRITERS).map(|writer| async move {
            let mut client = node.join("t", &format!("writer{writer}")).await;
            for number in 0..EACH {
                client.publish("note", json!({"writer": writer, "number": number})).await;
            }
        });
        futures_util::future::join_all(writers).await;
    };
    let epoch = &epoch;
    let joins = async {
        let mut readers = Vec::new();
        for round in 0..60_u64 {
            // Every position that may exist so far, and both ends.
            let since = match round % 4 {
                0 => "earliest".to_owned(),
                1 => "latest".to_owned(),
                _ => format!("{epoch}.{}", round.min(node.metric("continuum_published_total").await as u64)),
            };
            readers.push(node.join_with("t", &format!("reader{round}"), &format!("since={since}")).await);
        }
        readers
    };
    let ((), mut readers) = tokio::join!(storm, joins);
    let whole = node.join_with("t", "judge", "since=earliest").await.catch_up().await;
    assert_eq!(whole.len(), TOTAL);
    for reader in &mut readers {
        let after = reader.resume()["after"].as_u64().expect("after");
        assert_eq!(reader.resume()["outcome"], "honoured");
        let expected: Vec<_> = whole.iter().filter(|record| record["seq"].as_u64() > Some(after)).collect();
        // What came with the seam, then all the rest; the client holds each record against the chain.
        while reader.records().len() < expected.len() {
            reader.next().await;
        }
        reader.settle().await;
        let got = reader.records();
        assert_eq!(got, expected, "after {after}");
    }
}

#[tokio::test]
async fn what_the_ring_forgot_comes_from_the_log_page_by_page() {
    let node = Node::start(&[("rooms.ring_bytes", "2000"), ("rooms.page_bytes", "1000")]).await;
    filled(&node, "t", 200).await;
    let before = node.metric("continuum_resumed_total").await;
    let got = node.join_with("t", "reader", "since=earliest").await.catch_up().await;
    assert_eq!(numbers(&got), (0..200).collect::<Vec<_>>());
    assert!(node.metric("continuum_resumed_total").await - before > 10.0, "in many pages");
}

#[tokio::test]
async fn a_slow_reader_is_told_gets_everything_later_and_is_told_again() {
    let node = Node::start(&[("limits.outbox_bytes", "20000"), ("server.send_buffer", "8192")]).await;
    let mut slow = node.join("t", "slow").await;
    let mut quick = node.join("t", "quick").await;
    let mut writer = node.join("t", "writer").await;
    slow.catch_up().await;
    let mut published = 0;
    // Nothing is read until the node says that something had to wait.
    while node.metric("continuum_deferred_total").await < 1.0 {
        writer.publish("note", json!({"number": published, "fill": "x".repeat(50_000)})).await;
        quick.record().await;
        published += 1;
        assert!(published < 5_000, "the reader never falls behind");
    }
    // Still more that it has to get from the log.
    for _ in 0..50 {
        writer.publish("note", json!({"number": published, "fill": "x".repeat(50_000)})).await;
        quick.record().await;
        published += 1;
    }
    let got = slow.catch_up().await;
    assert_eq!(slow.seen_of("lagging").count(), 1);
    assert_eq!(numbers(&got), (0..published).collect::<Vec<_>>());
    assert_eq!(quick.seen_of("lagging").count(), 0, "who keeps up is not concerned");
    // And it is live again.
    let ack = writer.publish("note", json!({"number": published})).await;
    assert_eq!(slow.record().await["seq"], ack["seq"]);
}

#[tokio::test]
async fn a_reader_that_takes_nothing_at_all_is_cut_and_loses_nothing() {
    let node = Node::start(&[
        ("limits.outbox_bytes", "20000"),
        ("server.send_buffer", "8192"),
        ("limits.stall_timeout", "1s"),
        ("rooms.cursor_flush", "10ms"),
    ])
    .await;
    let mut stalled = node.join("t", "stalled").await;
    stalled.catch_up().await;
    let cursor = stalled.cursor().to_owned();
    let mut writer = node.join("t", "writer").await;
    let mut published = 0;
    while node.metric("continuum_deferred_total").await < 1.0 {
        writer.publish("note", json!({"number": published, "fill": "x".repeat(50_000)})).await;
        published += 1;
        assert!(published < 5_000, "the reader never falls behind");
    }
    node.until_metric("continuum_connections", |open| open == 1.0).await;
    assert!(node.get("/metrics").await.text().contains("continuum_closed_total{code=\"4010\"} 1"));
    let got = node.join_with("t", "stalled", &format!("since={cursor}")).await.catch_up().await;
    assert_eq!(numbers(&got), (0..published).collect::<Vec<_>>());
}
