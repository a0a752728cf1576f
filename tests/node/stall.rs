//! Clients that do not read: they are cut in time, cost little, and nobody else notices.

use std::{
    ops::Range,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt as _, sync::mpsc};

use crate::support::{
    Node, RawClient, Stalled, http, new_id,
    raw::{self, PING, TEXT, frame},
    within,
};

const FIN: u8 = 0x80;
const STALLED: usize = 20;
const READERS: usize = 3;
/// The text in each event.
const EVENT_BYTES: usize = 64 * 1024;
/// Before the stalled ones come, so that the log's own memory is in use already.
const WARM_UP: usize = 300;
/// While they are there: 20 MiB, of which each of them has all to get.
const EVENTS: usize = 300;
/// Events in one request.
const AT_ONCE: usize = 3;
const OUTBOX_BYTES: usize = 256 * 1024;
/// Besides the outboxes: one batch is shared by all of them, and the log keeps recent records in memory.
const MEMORY: f64 = 96.0 * 1024.0 * 1024.0;
/// How late a delivery may be while others stall.
const LATE: Duration = Duration::from_secs(2);

const CUT: &str = "continuum_closed_total{code=\"4010\"}";
const RESIDENT: &str = "process_resident_memory_bytes";

async fn start(stall_timeout: &str) -> Node {
    let settings = [
        ("limits.stall_timeout", stall_timeout),
        ("limits.outbox_bytes", "262144"),
        ("limits.control_per_minute", "6000000"),
        ("server.send_buffer", "131072"),
        ("rooms.ring_bytes", "1048576"),
    ];
    Node::start(&settings).await
}

/// Publishes a few events at a time, no more than an outbox holds.
async fn publish(node: &Node, numbers: Range<usize>) {
    let text = "x".repeat(EVENT_BYTES);
    let event = |number: &usize| {
        format!(r#"{{"event_type":"blob","instance_id":"writer","data":{{"number":{number},"text":"{text}"}}}}"#)
    };
    let numbers: Vec<usize> = numbers.collect();
    for few in numbers.chunks(AT_ONCE) {
        let events = few.iter().map(event).collect::<Vec<_>>().join(",");
        let answer = http::post(node.address(), "/v1/tenants/room/events", format!("[{events}]").as_bytes()).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
    }
}

/// The number in a record, which stands before its text.
fn number_of(payload: &[u8]) -> Option<u64> {
    let text = String::from_utf8_lossy(&payload[..payload.len().min(500)]);
    let digits = text.split_once("\"number\":")?.1;
    digits[..digits.find(|digit: char| !digit.is_ascii_digit())?].parse().ok()
}

/// Reads all events in order; tells the number of each.
async fn read(mut reader: RawClient, events: Range<usize>, tell: mpsc::Sender<(u64, Instant)>) {
    for number in events {
        let came = loop {
            let frame = reader.next().await.expect("a reader stays connected");
            if let Some(number) = (frame.opcode() == TEXT).then(|| number_of(&frame.payload)).flatten() {
                break number;
            }
        };
        assert_eq!(came, number as u64, "everything comes, in order");
        // Somebody listens as long as the test goes well.
        let _ = tell.send((came, Instant::now())).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stalled_readers_are_cut_in_time_at_bounded_memory_while_the_others_get_everything() {
    let node = start("4s").await;
    publish(&node, 0..WARM_UP).await;
    let stalled = join_all((0..STALLED).map(async |index| {
        Stalled::connect(node.address(), &format!("tenant_id=room&instance_id=stalled-{index}&since=latest")).await
    }));
    let stalled = stalled.await;
    let (tell, mut told) = mpsc::channel(READERS * AT_ONCE);
    let mut reading = tokio::task::JoinSet::new();
    for index in 0..READERS {
        let query = format!("tenant_id=room&instance_id=reader-{index}&since=latest");
        let mut reader = RawClient::connect(&node, &query).await;
        reader.expect("caught_up").await;
        reading.spawn(read(reader, WARM_UP..WARM_UP + EVENTS, tell.clone()));
    }
    drop(tell);
    node.until_metric("continuum_connections", |open| open == (STALLED + READERS) as f64).await;
    let before = node.metric(RESIDENT).await;
    let (mut most_resident, mut most_waiting) = (0.0_f64, 0.0_f64);
    let mut latest = Duration::ZERO;
    for part in 0..EVENTS / AT_ONCE {
        let first = WARM_UP + part * AT_ONCE;
        let sent = Instant::now();
        publish(&node, first..first + AT_ONCE).await;
        for _ in 0..READERS * AT_ONCE {
            let (came, at) = within("a delivery", told.recv()).await.expect("the readers read on");
            assert!(came >= first as u64);
            latest = latest.max(at - sent);
        }
        most_resident = most_resident.max(node.metric(RESIDENT).await);
        most_waiting = most_waiting.max(node.metric("continuum_outbox_bytes").await);
        if part == EVENTS / AT_ONCE / 4 {
            // Stalled by now, and still here: the others do not wait for them.
            assert_eq!(node.metric(CUT).await, 0.0);
            assert!(node.metric("continuum_outbox_bytes").await > 0.0, "nobody stalls");
        }
    }
    while let Some(read) = within("the readers end", reading.join_next()).await {
        read.expect("every reader gets everything");
    }
    node.until_metric(CUT, |cut| cut == STALLED as f64).await;
    node.until_metric("continuum_outbox_bytes", |bytes| bytes == 0.0).await;
    node.until_metric("continuum_connections", |open| open == 0.0).await;
    drop(stalled);
    assert!(latest < LATE, "a delivery took {latest:?}");
    let bound = (STALLED * OUTBOX_BYTES) as f64;
    assert!(most_waiting > bound / 4.0 && most_waiting <= bound, "{most_waiting} bytes waited, {bound} may");
    assert!(most_resident - before < bound + MEMORY, "memory grew from {before} to {most_resident}");
}

#[tokio::test]
async fn a_stalled_reader_that_comes_back_with_its_cursor_has_lost_nothing() {
    let node = start("500ms").await;
    let stalled = Stalled::connect(node.address(), "tenant_id=room&instance_id=slow&since=latest").await;
    node.until_metric("continuum_connections", |open| open == 1.0).await;
    publish(&node, 0..20).await;
    node.until_metric(CUT, |cut| cut == 1.0).await;
    drop(stalled);
    // Its cursor stands where it came in: nothing was ever acknowledged.
    let mut back = node.join("room", "slow").await;
    assert_eq!(back.resume()["from"], "instance", "{}", back.ready());
    let numbers: Vec<Value> = back.catch_up().await.iter().map(|record| record["data"]["number"].clone()).collect();
    assert_eq!(numbers, (0..20).map(Value::from).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_peer_that_is_gone_without_a_word_is_closed_and_announced_as_lost() {
    let node = Node::start(&[("heartbeat.interval", "200ms"), ("heartbeat.timeout", "1s")]).await;
    let mut witness = node.join("room", "witness").await;
    let mut gone = RawClient::connect(&node, "tenant_id=room&instance_id=gone").await;
    gone.expect("caught_up").await;
    // It takes bytes, but nobody is there who answers a ping.
    let left = witness.expect("instance_left").await;
    assert_eq!((&left["instance_id"], &left["data"]["reason"]), (&json!("gone"), &json!("lost")), "{left}");
    assert_eq!(gone.until_closed().await.code, Some(4008));
    node.until_metric("continuum_connections", |open| open == 1.0).await;
}

#[tokio::test]
async fn a_peer_that_hangs_up_its_half_is_let_go_at_once_and_announced_when_it_does_not_come_back() {
    let node = Node::start(&[("heartbeat.interval", "300ms"), ("heartbeat.timeout", "1s")]).await;
    let mut witness = node.join("room", "witness").await;
    let mut half = Stalled::connect(node.address(), "tenant_id=room&instance_id=half").await;
    witness.expect("instance_joined").await;
    half.hang_up().await;
    node.until_metric("continuum_connections", |open| open == 1.0).await;
    let left = witness.expect("instance_left").await;
    assert_eq!((&left["instance_id"], &left["data"]["reason"]), (&json!("half"), &json!("lost")), "{left}");
}

#[tokio::test]
async fn a_client_is_read_as_soon_as_it_has_taken_a_large_record() {
    let node = Node::start(&[
        ("limits.outbox_bytes", "1"),
        ("limits.max_message_bytes", "16777216"),
        ("limits.http_body_bytes", "16777216"),
        ("server.send_buffer", "8192"),
        // Not even a ping of the node's is in between.
        ("heartbeat.interval", "1h"),
        ("heartbeat.timeout", "3h"),
    ])
    .await;
    let mut reader = RawClient::connect(&node, "tenant_id=room&instance_id=reader").await;
    reader.expect("caught_up").await;
    let event = json!({"event_type": "large", "instance_id": "writer", "data": "x".repeat(12 << 20)});
    let answer = node.post("/v1/tenants/room/events", &event).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    node.until_metric("continuum_outbox_bytes", |bytes| bytes > 0.0).await;
    // Before it has taken all of it, and so before it is read.
    reader.send_json(&json!({"event_type": "ping"})).await;
    reader.expect("large").await;
    reader.expect("pong").await;
}

/// What a node may hold for one client that does not read.
async fn within_bounds(node: &Node, before: f64) {
    let (waiting, resident) = (node.metric("continuum_outbox_bytes").await, node.metric(RESIDENT).await);
    // The answers to what one read of the socket brought come on top.
    assert!(waiting <= (2 * OUTBOX_BYTES) as f64, "{waiting} bytes wait");
    assert!(resident - before < MEMORY, "memory grew from {before} to {resident}");
}

/// Lets a client flood a node, until it is cut, while another one in its room goes about its business.
async fn flood(node: &Node, piece: impl FnMut() -> Vec<u8>) {
    let mut other = node.join("room", "other").await;
    let mut flooder = Stalled::connect(node.address(), "tenant_id=room&instance_id=flooder&since=latest").await;
    let before = node.metric(RESIDENT).await;
    let (done, mut is_done) = tokio::sync::watch::channel(false);
    let flooding = async {
        flooder.flood(piece).await;
        done.send_replace(true);
    };
    let watching = async {
        let mut slowest = Duration::ZERO;
        while !*is_done.borrow_and_update() {
            let sent = Instant::now();
            other.publish("memory_added", json!({})).await;
            slowest = slowest.max(sent.elapsed());
            within_bounds(node, before).await;
        }
        slowest
    };
    let ((), slowest) = tokio::join!(flooding, watching);
    assert!(slowest < LATE, "another client's publish took {slowest:?}");
    node.until_metric(CUT, |cut| cut == 1.0).await;
    node.until_metric("continuum_outbox_bytes", |bytes| bytes == 0.0).await;
}

#[tokio::test]
async fn a_client_that_floods_pings_and_never_reads_is_held_back_and_cut() {
    let node = start("1s").await;
    let pings = frame(FIN | PING, &[7; 125]).repeat(50);
    flood(&node, || pings.clone()).await;
}

#[tokio::test]
async fn a_client_that_publishes_and_never_reads_its_acks_is_held_back_and_cut() {
    let node = start("1s").await;
    let publish = || {
        let event = json!({"event_type": "memory_added", "event_id": new_id(), "data": {}});
        frame(FIN | TEXT, event.to_string().as_bytes())
    };
    flood(&node, publish).await;
    let stored = node.metric("continuum_published_total").await;
    // The outbox and the kernel's buffers hold a few thousand acks.
    assert!(stored < 10_000.0, "the node stored {stored} publishes whose acks nobody read");
    // What was stored is there; what was not taken was never promised.
    let history = node.get("/v1/tenants/room/stats").await.json();
    assert!(history["state"]["total_messages"].as_u64().is_some_and(|stored| stored > 0), "{history}");
}

#[tokio::test]
async fn an_answer_over_http_that_nobody_takes_is_cut_too() {
    let node = start("500ms").await;
    publish(&node, 0..60).await;
    let mut socket = raw::narrow(node.address()).await;
    let request = b"GET /v1/tenants/room/events HTTP/1.1\r\nHost: localhost\r\n\r\n";
    socket.write_all(request).await.expect("the node reads requests");
    // One that is idle between two requests takes nothing either, and is none of this.
    let mut idle = RawClient::open(node.address(), b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert_eq!(idle.answer().await.status, 200);
    node.until_metric(CUT, |cut| cut == 1.0).await;
    idle.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert_eq!(idle.answer().await.status, 200);
    assert_eq!(node.metric(CUT).await, 1.0);
}
