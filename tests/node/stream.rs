//! Rooms for those who have no WebSocket: event streams in good times.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::{
    polling::{numbers, publish},
    support::{EventStream, Node, Port, RawClient, Said, http, until, within},
};

const EVENTS: &str = "/v1/tenants/t/events";

/// Everything up to `caught_up`.
async fn history(stream: &mut EventStream) -> Vec<Value> {
    let mut records = Vec::new();
    loop {
        let (name, _, data) = stream.event().await.expect("the stream goes on");
        match name.as_str() {
            "caught_up" => return records,
            _ if data.get("seq").is_some() => records.push(data),
            _ => {}
        }
    }
}

#[tokio::test]
async fn a_stream_says_what_a_socket_says_live_and_from_history() {
    let node = Node::start(&[]).await;
    let mut socket = node.join("t", "reader").await;
    let mut latest = node.stream("t", "").await;
    assert_eq!(latest.head().header("cache-control"), Some("no-store"));
    let Some(Said::Retry(wait)) = latest.next().await else { panic!("first comes when to come back") };
    assert!((1000..=5000).contains(&wait), "{wait}");
    let ready = latest.expect("session_ready").await;
    let resume = json!({"from": "latest", "outcome": "honoured", "after": 0, "missed": 0, "missed_exact": true});
    assert_eq!((&ready["resume"], &ready["position"], &ready["protocol"]), (&resume, &json!(0), &json!(1)));
    assert!(latest.last_id().is_some(), "whoever comes back at once has a place to go on from");
    publish(&node, "t", "memory.added", 0..20).await;
    let told = socket.take(20).await;
    assert_eq!(latest.records(20).await, told);
    // What came before is in memory; after a restart it is in the log.
    let mut node = node;
    for _ in 0..2 {
        let mut earliest = node.stream("t", "since=earliest").await;
        let ready = earliest.expect("session_ready").await;
        assert_eq!((&ready["resume"]["from"], &ready["resume"]["missed"]), (&json!("earliest"), &json!(20)));
        assert_eq!(history(&mut earliest).await, told);
        let cursor = earliest.last_id().expect("an id").to_owned();
        assert!(cursor.ends_with(&told[19]["event_id"].as_str().expect("an id")[..8]), "{cursor}");
        node.restart(Port::New).await;
    }
    let mut by_time = node.stream("t", "since=2000-01-01T00:00:00Z").await;
    assert_eq!(history(&mut by_time).await, told);
}

#[tokio::test]
async fn the_last_event_id_beats_the_query_and_nothing_is_doubled() {
    let node = Node::start(&[]).await;
    publish(&node, "t", "note", 0..10).await;
    let mut first = node.stream("t", "since=earliest").await;
    assert_eq!(numbers(&first.records(4).await), [0, 1, 2, 3]);
    let last = first.last_id().expect("an id").to_owned();
    drop(first);
    let mut back = node.stream_after("t", "since=earliest", &last).await;
    let ready = back.expect("session_ready").await;
    assert_eq!((&ready["resume"]["from"], &ready["resume"]["missed"]), (&json!("cursor"), &json!(6)));
    assert_eq!(numbers(&history(&mut back).await), [4, 5, 6, 7, 8, 9]);
    // Where the room stands is a place to go on from as well.
    let end = ready["cursor"].as_str().expect("a cursor");
    let mut at_end = node.stream("t", &format!("since={end}")).await;
    let resume = at_end.expect("session_ready").await["resume"].clone();
    assert_eq!((&resume["outcome"], &resume["missed"]), (&json!("honoured"), &json!(0)));
    // An empty one is none.
    let mut fresh = node.stream_after("t", "since=latest", "").await;
    assert_eq!(fresh.expect("session_ready").await["resume"]["from"], "latest");
}

#[tokio::test]
async fn what_cannot_be_streamed_is_a_problem() {
    let node = Node::start(&[]).await;
    for query in ["since=yesterday", "types=a%20b", "preview=0", "preview=x"] {
        node.get(&format!("/v1/tenants/t/stream?{query}")).await.problem(400, "invalid_parameter");
    }
    for last in ["yesterday", "earliest", "7", "\u{fc}"] {
        let refused = EventStream::ask(node.address(), "tenants/t/stream", Some(last)).await.expect("an answer").err();
        refused.expect("a refusal").problem(400, "invalid_parameter");
    }
}

#[tokio::test]
async fn a_cursor_that_cannot_be_honoured_is_told_before_anything_else() {
    let node = Node::start(&[]).await;
    publish(&node, "t", "memory_added", 0..3).await;
    let mut stream = node.stream("t", "since=earliest").await;
    let epoch = stream.expect("session_ready").await["epoch"].as_str().expect("an epoch").to_owned();
    for (last, reason) in [
        ("00000000deadbeef.2".to_owned(), "other_epoch"),
        (format!("{epoch}.999"), "ahead"),
        (format!("{epoch}.2.00000000"), "mismatch"),
    ] {
        let mut stream = node.stream_after("t", "", &last).await;
        let (name, id, ready) = stream.event().await.expect("an event");
        assert_eq!((name.as_str(), &ready["resume"]["outcome"]), ("session_ready", &json!("resync")));
        assert_eq!(id, None, "whoever is cut off before it is told comes back with the old place");
        let (name, id, resync) = stream.event().await.expect("an event");
        let state = json!({"total_concepts": 0, "total_messages": 3, "connected_instances": []});
        let cursor = format!("{epoch}.0");
        let expected = json!({"reason": reason, "requested": last, "after": 0, "cursor": cursor, "state": state});
        assert_eq!((name.as_str(), id, resync), ("resync", Some(cursor), expected));
        assert_eq!(numbers(&history(&mut stream).await), [0, 1, 2]);
    }
}

#[tokio::test]
async fn trimming_is_told_and_what_is_left_follows() {
    let settings = [("log.retention_bytes", "20000"), ("log.sweep_interval", "50ms"), ("rooms.ring_bytes", "2000")];
    let node = Node::start(&settings).await;
    publish(&node, "t", "note", 0..1).await;
    let mut stream = node.stream("t", "since=earliest").await;
    stream.record().await.expect("a record");
    let last = stream.last_id().expect("an id").to_owned();
    drop(stream);
    publish(&node, "t", "note", 1..300).await;
    let trimmed = async || {
        let page = node.get(&format!("{EVENTS}?after={last}&limit=1")).await.json();
        (page["resync"]["reason"] == "trimmed").then_some(())
    };
    until("retention passes the cursor", trimmed).await;
    let mut back = node.stream_after("t", "", &last).await;
    let resync = back.expect("resync").await;
    assert_eq!((&resync["reason"], &resync["requested"]), (&json!("trimmed"), &json!(last)));
    let left = numbers(&history(&mut back).await);
    assert!(left.len() < 300 && left.last() == Some(&299), "{left:?}");
    assert!(left.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{left:?}");
}

#[tokio::test]
async fn filtered_records_move_the_id_on_before_the_next_sign_of_life() {
    let node = Node::start(&[("heartbeat.interval", "100ms")]).await;
    let mut stream = node.stream("t", "types=memory.*&since=latest").await;
    stream.expect("caught_up").await;
    publish(&node, "t", "memory.added", 0..1).await;
    assert_eq!(numbers(&stream.records(1).await), [0]);
    let unwanted = publish(&node, "t", "note", 1..4).await;
    let passed = format!(".{}.", unwanted[2]);
    // In one go or in several, as the heartbeats come; the stream checks that they are one chain.
    loop {
        let advance = stream.expect("advance").await;
        let last = stream.last_id().expect("an id").to_owned();
        assert_eq!(advance["cursor"], last.as_str());
        if last.contains(&passed) {
            break;
        }
    }
    let Some(Said::Comment(beat)) = stream.next().await else { panic!("an advance comes with a sign of life") };
    assert_eq!(beat, "heartbeat");
    publish(&node, "t", "memory.added", 4..5).await;
    assert_eq!(numbers(&stream.records(1).await), [4]);
    // A reader that asks for nothing that is there still learns how far it has come.
    let mut nothing = node.stream("t", "types=other&since=earliest").await;
    assert_eq!(history(&mut nothing).await, [] as [Value; 0]);
    let (last, at) = (nothing.last_id().expect("an id"), stream.last_id().expect("an id"));
    assert_eq!(last, at);
}

#[tokio::test]
async fn signs_of_life_come_when_nothing_else_does() {
    let node = Node::start(&[("heartbeat.interval", "100ms")]).await;
    let mut stream = node.stream("t", "").await;
    assert_eq!(stream.expect("session_ready").await["heartbeat"], json!({"interval_ms": 100}));
    stream.expect("caught_up").await;
    let since = Instant::now();
    for _ in 0..5 {
        assert_eq!(stream.next().await, Some(Said::Comment("heartbeat".into())));
    }
    assert!(since.elapsed() >= Duration::from_millis(400), "{:?}", since.elapsed());
}

#[tokio::test]
async fn a_preview_cuts_and_every_record_is_one_line() {
    let node = Node::start(&[]).await;
    // Line breaks between tokens are passed through, and would end the line of an event.
    let body =
        "{\"event_type\":\"note\",\"instance_id\":\"w\",\"data\":{\r\n\"text\":\"abc\\ndefgh\",\n\"n\":[1,\r2]}}";
    assert_eq!(http::post(node.address(), EVENTS, body.as_bytes()).await.status, 201);
    let whole = node.stream("t", "since=earliest").await.records(1).await;
    assert_eq!(whole[0]["data"], json!({"text": "abc\ndefgh", "n": [1, 2]}));
    let cut = node.stream("t", "since=earliest&preview=3").await.records(1).await;
    assert_eq!((&cut[0]["data"]["text"], &cut[0]["truncated"]), (&json!("abc"), &json!(["/text"])));
}

#[tokio::test]
async fn tenants_do_not_meet() {
    let node = Node::start(&[]).await;
    let mut streams = Vec::new();
    for tenant in ["t", "T", "t2"] {
        let mut stream = node.stream(tenant, "").await;
        stream.expect("caught_up").await;
        streams.push((tenant, stream));
    }
    for round in 0..5 {
        for tenant in ["t2", "T", "t"] {
            publish(&node, tenant, tenant, round..round + 1).await;
        }
    }
    for (tenant, stream) in &mut streams {
        let records = stream.records(5).await;
        assert_eq!(numbers(&records), [0, 1, 2, 3, 4]);
        assert!(records.iter().all(|record| record["tenant_id"] == *tenant && record["event_type"] == *tenant));
    }
}

#[tokio::test]
async fn a_room_stays_while_somebody_reads_along_and_no_longer() {
    let settings = [("rooms.idle_timeout", "50ms"), ("rooms.cursor_flush", "50ms"), ("heartbeat.interval", "100ms")];
    let node = Node::start(&settings).await;
    let mut stream = node.stream("t", "").await;
    stream.expect("caught_up").await;
    // Many times as long as an empty room is kept.
    for _ in 0..20 {
        assert!(stream.next().await.is_some());
    }
    assert!(!node.log().iter().any(|line| line.contains("room retired")), "{:?}", node.log());
    assert_eq!((node.metric("continuum_rooms").await, node.metric("continuum_streams").await), (1.0, 1.0));
    stream.hang_up().await;
    node.until_metric("continuum_streams", |open| open == 0.0).await;
    node.until_metric("continuum_rooms", |rooms| rooms == 0.0).await;
    assert_eq!(node.get("/v1/stats").await.json()["total_connections"], 0);
}

#[tokio::test]
async fn streams_and_polls_count_among_the_connections() {
    let node = Node::start(&[("limits.connections_per_node", "3"), ("limits.connections_per_tenant", "2")]).await;
    let member = node.join("t", "member").await;
    let mut stream = node.stream("t", "").await;
    // Nor is there a place for one more instance, while one that comes back has its own.
    let mut late = RawClient::connect(&node, "tenant_id=t&instance_id=late").await;
    assert_eq!(late.until_closed().await.code, Some(4011));
    let refused = node.get("/v1/tenants/t/stream").await;
    refused.problem(429, "limit_reached");
    node.get("/v1/tenants/t/events?wait=10s").await.problem(429, "limit_reached");
    let other = node.stream("u", "").await;
    let full = node.get("/v1/tenants/v/stream").await;
    full.problem(429, "limit_reached");
    assert!(full.header("retry-after").is_some(), "{full:?}");
    stream.hang_up().await;
    let room = async || EventStream::ask(node.address(), "tenants/t/stream", None).await?.ok();
    let back = until("there is room again", room).await;
    drop((member, other, back));
}

#[tokio::test]
async fn streams_of_a_draining_node_are_told_when_to_come_back_and_polls_are_answered() {
    let mut node = Node::start(&[("drain.spread", "500ms")]).await;
    publish(&node, "t", "note", 0..1).await;
    let cursor = node.get(EVENTS).await.json()["cursor"].as_str().expect("a cursor").to_owned();
    let mut streams = Vec::new();
    for _ in 0..5 {
        let mut stream = node.stream("t", &format!("since={cursor}")).await;
        stream.expect("caught_up").await;
        streams.push(stream);
    }
    let target = format!("{EVENTS}?after={cursor}&wait=60s");
    let poll = node.get(&target);
    let stop = async {
        let waits = async || (node.get("/v1/stats").await.json()["total_connections"] == 6).then_some(());
        until("the poll waits", waits).await;
        node.ask_to_stop();
    };
    let (page, ()) = tokio::join!(poll, stop);
    if page.status == 503 {
        // It had its place, but not its seat yet.
        page.problem(503, "draining");
    } else {
        assert_eq!(page.json(), json!({"events": [], "cursor": cursor, "more": false, "resync": null}));
    }
    for mut stream in streams {
        let mut retry = None;
        let told = loop {
            match stream.next().await.expect("a farewell comes first") {
                Said::Retry(wait) => retry = Some(wait),
                Said::Event { name, data, .. } if name == "draining" => break data["retry_after_ms"].as_u64(),
                _ => {}
            }
        };
        assert_eq!(told, retry);
        assert!(told.is_some_and(|wait| (500..=1000).contains(&wait)), "{told:?}");
        assert_eq!(stream.last_id(), Some(&*cursor));
        assert_eq!(stream.next().await, None, "that was the last word");
    }
    assert_eq!(within("the node ends", node.ended()).await.code(), Some(0));
}
