//! Rooms: who gets what, in which order, and what is said about coming and going.

use serde_json::{Value, json};

use crate::support::{Client, Node, Port, RawClient, new_id, raw, until};

/// What a client was told about others since it joined: `+b`, `-b closed`.
pub fn comings_and_goings(client: &Client) -> Vec<String> {
    let told = client.seen().iter().filter_map(|message| {
        let name = message["data"]["instance_id"].as_str().unwrap_or_default();
        match message["event_type"].as_str()? {
            "instance_joined" => Some(format!("+{name}")),
            "instance_left" => Some(format!("-{name} {}", message["data"]["reason"].as_str()?)),
            _ => None,
        }
    });
    told.collect()
}

/// A quick pulse for tests about silence.
const QUICK: &[(&str, &str)] =
    &[("heartbeat.interval", "100ms"), ("heartbeat.timeout", "1s"), ("rooms.cursor_flush", "20ms")];

#[tokio::test]
async fn two_instances_see_each_others_records_in_one_order() {
    let node = Node::start(&[]).await;
    let (mut a, mut b) = (node.join("t", "a").await, node.join("t", "b").await);
    let mut last = 0;
    for number in 0..20 {
        let (from, to) = if number % 2 == 0 { (&mut a, &mut b) } else { (&mut b, &mut a) };
        let ack = from.publish("note", json!({"number": number})).await;
        assert_eq!(ack["duplicate"], false);
        let record = to.record().await;
        assert_eq!((&record["seq"], &record["event_id"]), (&ack["seq"], &ack["event_id"]));
        assert_eq!((&record["prev"], &record["data"]), (&json!(last), &json!({"number": number})));
        last = record["seq"].as_u64().expect("seq");
    }
    // Neither got its own.
    assert_eq!((a.records().len(), b.records().len()), (10, 10));
}

#[tokio::test]
async fn an_own_record_is_acked_and_comes_back_only_with_echo() {
    let node = Node::start(&[]).await;
    let (mut plain, mut echo) = (node.join("t", "a").await, node.join_with("t", "b", "echo=1").await);
    plain.publish("note", json!(1)).await;
    let ack = echo.publish("note", json!(2)).await;
    // The ack comes behind the record.
    let own = echo.records()[1].clone();
    assert_eq!((&own["seq"], &own["data"]), (&ack["seq"], &json!(2)));
    plain.settle().await;
    assert_eq!(plain.records().len(), 1);
    assert_eq!(plain.records()[0]["data"], 2);
}

#[tokio::test]
async fn content_passes_through_byte_for_byte() {
    let node = Node::start(&[]).await;
    let mut sender = node.join("t", "a").await;
    let mut reader = RawClient::connect(&node, "tenant_id=t&instance_id=b").await;
    reader.expect("session_ready").await;
    let data = r#"{"n": 1.0e+2,"big":123456789012345678901234567890,"é":"\u00e9\/", "a":[ ],"a":{}}"#;
    let text = format!(r#"{{"data":{data} , "event_type":"note","timestamp":"2025-12-06T11:00:00+01:00","more":1}}"#);
    sender.send_text(text).await;
    sender.expect("ack").await;
    loop {
        let frame = reader.next().await.expect("the connection lives");
        let text = String::from_utf8(frame.payload).unwrap_or_default();
        if text.contains("note") {
            assert!(text.ends_with(&format!(r#""instance_id":"a","data":{data}}}"#)), "{text}");
            assert!(text.contains(r#""timestamp":"2025-12-06T10:00:00.000Z""#), "{text}");
            return;
        }
    }
}

#[tokio::test]
async fn a_filter_lets_only_its_types_through_and_an_advance_closes_the_chain() {
    let node = Node::start(&[]).await;
    let mut sender = node.join("t", "a").await;
    let mut reader = node.join_with("t", "b", "types=memory.*,decision_made").await;
    let mut everything = node.join_with("t", "c", "types=*").await;
    for event_type in ["memory.added", "concept_learned", "memory", "memory.x.y", "decision_made", "decision_made2"] {
        sender.publish(event_type, json!({})).await;
    }
    everything.take(6).await;
    reader.settle().await;
    let got: Vec<_> = reader.records().iter().map(|record| record["event_type"].clone()).collect();
    assert_eq!(got, ["memory.added", "memory.x.y", "decision_made"]);
    assert_eq!(reader.seen_of("advance").count(), 2, "one for both that were left out, one before the answer");
    assert_eq!(reader.seen_of("instance_joined").count(), 0, "announcements have types as well");
    // The same from the log.
    let mut later = node.join_with("t", "d", "types=memory.*&since=earliest").await;
    let got: Vec<_> = later.catch_up().await.iter().map(|record| record["event_type"].clone()).collect();
    assert_eq!(got, ["memory.added", "memory.x.y"]);
    assert_eq!(later.last(), everything.last(), "and the cursor stands at the end");
}

#[tokio::test]
async fn a_preview_cuts_long_strings_and_says_where_and_only_for_who_asked() {
    let node = Node::start(&[]).await;
    let mut sender = node.join("t", "a").await;
    let (mut cut, mut whole) = (node.join_with("t", "b", "preview=5").await, node.join("t", "c").await);
    let data = json!({"long": "🌗".repeat(10), "short": "12345", "list": ["1234567"], "n": 1234567});
    sender.publish("note", data.clone()).await;
    let record = cut.record().await;
    assert_eq!(record["data"], json!({"long": "🌗".repeat(5), "short": "12345", "list": ["12345"], "n": 1234567}));
    let mut truncated: Vec<_> = record["truncated"].as_array().expect("truncated").clone();
    truncated.sort_by_key(Value::to_string);
    assert_eq!(truncated, ["/list/0", "/long"]);
    let record = whole.record().await;
    assert_eq!((&record["data"], record.get("truncated")), (&data, None));
    let again = node.join_with("t", "d", "preview=5&since=earliest").await.catch_up().await;
    assert_eq!(again[0]["data"]["long"], "🌗".repeat(5), "from the log as well");
}

#[tokio::test]
async fn a_room_serves_only_so_many_different_previews() {
    let node = Node::start(&[("rooms.variants", "2"), ("server.workers", "1")]).await;
    let whole = node.join("t", "a").await;
    let cut = node.join_with("t", "b", "preview=5").await;
    let _same = node.join_with("t", "c", "preview=5").await;
    let mut other = Client::open(&node, "tenant_id=t&instance_id=d&preview=6").await;
    assert_eq!(other.expect("error").await["data"]["code"], "limit_reached");
    assert_eq!(other.until_closed().await.code, Some(4011));
    // A form that nobody wants any more makes room for another.
    whole.close().await;
    drop(cut);
    until("there is room for another form", async || {
        let mut client = Client::open(&node, "tenant_id=t&instance_id=e&preview=7").await;
        (client.next().await["event_type"] == "session_ready").then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_repeat_makes_no_second_record_wherever_it_comes_from() {
    let mut node = Node::start(&[]).await;
    let (mut a, mut b) = (node.join("t", "a").await, node.join("t", "b").await);
    let id = new_id();
    let first = a.publish_as(&id, "note", json!(1)).await;
    let target = "/v1/tenants/t/events";
    let event = json!({"event_type": "note", "event_id": id, "instance_id": "a", "data": 1});
    let repeat = |answer: &Value| {
        assert_eq!((&answer["seq"], &answer["duplicate"]), (&first["seq"], &json!(true)), "{answer}");
        assert_eq!(answer["cursor"], first["cursor"], "{answer}");
    };
    repeat(&a.publish_as(&id, "note", json!(1)).await);
    repeat(&a.publish_as(&id, "another", json!({"other": "content"})).await);
    a.send(json!({"event_type": "note", "event_id": id.to_uppercase()})).await;
    repeat(&a.expect("ack").await["data"]);
    let answer = node.post(target, &event).await;
    assert_eq!((answer.status, &answer.json()["status"]), (200, &json!("duplicate")));
    repeat(&answer.json());
    let mut a = node.join("t", "a").await;
    repeat(&a.publish_as(&id, "note", json!(1)).await);
    b.settle().await;
    assert_eq!(b.records().len(), 1);
    node.restart(Port::New).await;
    let mut a = node.join("t", "a").await;
    repeat(&a.publish_as(&id, "note", json!(1)).await);
    repeat(&node.post(target, &event).await.json());
    // The id is the instance's own: others may use it for something else.
    let mut b = node.join("t", "b").await;
    let other = b.publish_as(&id, "note", json!(2)).await;
    assert_eq!(other["duplicate"], false);
    let other = node.join("u", "a").await.publish_as(&id, "note", json!(3)).await;
    assert_eq!(other["duplicate"], false);
    assert_eq!(node.join_with("t", "c", "since=earliest").await.catch_up().await.len(), 2);
}

#[tokio::test]
async fn a_repeat_sent_while_the_first_is_under_way_makes_one_record() {
    let node = Node::start(&[]).await;
    let (mut a, mut b) = (node.join("t", "a").await, node.join("t", "b").await);
    let event = json!({"event_type": "note", "event_id": new_id(), "data": 1});
    for _ in 0..10 {
        a.send(event.clone()).await;
    }
    let mut duplicates = Vec::new();
    for _ in 0..10 {
        duplicates.push(a.expect("ack").await["data"]["duplicate"] == json!(true));
    }
    assert_eq!(duplicates.iter().filter(|duplicate| !**duplicate).count(), 1);
    b.settle().await;
    assert_eq!(b.records().len(), 1);
}

#[tokio::test]
async fn who_is_here_is_told_to_who_comes_and_who_comes_to_who_is_here() {
    let node = Node::start(&[]).await;
    let mut a = node.join_with("t", "a", "capabilities=memory,%20learning,,").await;
    assert_eq!((&a.ready()["data"]["instances"], &a.ready()["data"]["instances_total"]), (&json!([]), &json!(1)));
    let b = node.join("t", "b").await;
    let listed = &b.ready()["data"]["instances"];
    assert_eq!(listed[0]["instance_id"], "a");
    assert_eq!(listed[0]["capabilities"], json!(["memory", "learning"]));
    assert_eq!((listed.as_array().map(Vec::len), &b.ready()["data"]["instances_total"]), (Some(1), &json!(2)));
    let joined = a.expect("instance_joined").await;
    assert_eq!((&joined["instance_id"], &joined["data"]["instance_id"]), (&json!("b"), &json!("b")));
    assert_eq!(joined["data"]["capabilities"], json!([]));
    b.close().await;
    a.expect("instance_left").await;
    a.settle().await;
    assert_eq!(comings_and_goings(&a), ["+b", "-b closed"], "each exactly once");
}

#[tokio::test]
async fn a_clean_close_is_announced_at_once_however_short_the_stay() {
    let node = Node::start(&[]).await;
    let mut watcher = node.join("t", "watcher").await;
    for _ in 0..100 {
        let guest = node.join("t", "guest").await;
        assert_eq!(guest.close().await.code, Some(1000));
        let left = watcher.expect("instance_left").await;
        assert_eq!(left["data"]["reason"], "closed");
    }
    assert_eq!(comings_and_goings(&watcher), ["+guest", "-guest closed"].repeat(100));
}

#[tokio::test]
async fn a_lost_connection_is_announced_only_after_the_timeout() {
    let node = Node::start(QUICK).await;
    let mut watcher = node.join("t", "watcher").await;
    let guest = node.join("t", "guest").await;
    let lost_at = std::time::Instant::now();
    guest.vanish();
    node.until_metric("continuum_connections", |open| open == 1.0).await;
    assert_eq!(node.get("/v1/tenants/t/instances").await.json()["instances_total"], 2, "missed, but not gone");
    watcher.expect("instance_left").await;
    assert!(lost_at.elapsed().as_millis() >= 1_000, "{:?}", lost_at.elapsed());
    watcher.settle().await;
    assert_eq!(comings_and_goings(&watcher), ["+guest", "-guest lost"]);
}

#[tokio::test]
async fn a_lost_instance_that_returns_in_time_was_never_away() {
    let node = Node::start(&[("rooms.cursor_flush", "20ms")]).await;
    let mut watcher = node.join("t", "watcher").await;
    for _ in 0..5 {
        node.join("t", "guest").await.vanish();
        node.until_metric("continuum_connections", |open| open == 1.0).await;
    }
    let guest = node.join("t", "guest").await;
    guest.close().await;
    watcher.expect("instance_left").await;
    assert_eq!(comings_and_goings(&watcher), ["+guest", "-guest closed"]);
}

#[tokio::test]
async fn a_newer_connection_of_an_instance_replaces_the_older_without_a_word_to_the_others() {
    let node = Node::start(QUICK).await;
    let mut watcher = node.join("t", "watcher").await;
    let mut older = node.join("t", "guest").await;
    for _ in 0..10 {
        let newer = node.join("t", "guest").await;
        let closed = older.until_closed().await;
        assert_eq!(closed.code, Some(4009), "{closed:?}");
        older = newer;
    }
    // The farewells of the older ones must not take the newest out of the room, and time must not either.
    let ack = watcher.publish("note", json!({})).await;
    assert_eq!(older.record().await["seq"], ack["seq"]);
    for _ in 0..15 {
        older.expect("heartbeat").await;
        watcher.expect("heartbeat").await;
    }
    watcher.settle().await;
    assert_eq!(comings_and_goings(&watcher), ["+guest"]);
    assert_eq!(node.get("/v1/tenants/t/instances").await.json()["instances_total"], 2);
    older.close().await;
    watcher.expect("instance_left").await;
    assert_eq!(comings_and_goings(&watcher), ["+guest", "-guest closed"]);
}

#[tokio::test]
async fn a_large_room_is_told_sums() {
    let node = Node::start(&[("rooms.announce_limit", "2"), ("rooms.cursor_flush", "20ms")]).await;
    let mut a = node.join("t", "a").await;
    let _b = node.join("t", "b").await;
    a.expect("instance_joined").await;
    let c = node.join("t", "c").await;
    let changed = a.expect("presence_changed").await;
    assert_eq!(changed["data"], json!({"instances_total": 3, "joined": 1, "left": 0}));
    let d = node.join("t", "d").await;
    let changed = a.expect("presence_changed").await;
    assert_eq!(changed["data"], json!({"instances_total": 4, "joined": 1, "left": 0}));
    d.close().await;
    let changed = a.expect("presence_changed").await;
    assert_eq!(changed["data"], json!({"instances_total": 3, "joined": 0, "left": 1}));
    c.close().await;
    a.expect("instance_left").await;
    assert_eq!(comings_and_goings(&a), ["+b", "-c closed"]);
}

#[tokio::test]
async fn heartbeats_come_and_name_how_far_the_reader_is() {
    let node = Node::start(&[("heartbeat.interval", "100ms")]).await;
    let (mut a, mut b) = (node.join("t", "a").await, node.join("t", "b").await);
    assert_eq!(a.ready()["data"]["heartbeat"], json!({"interval_ms": 100, "timeout_ms": 90_000}));
    let ack = b.publish("note", json!({})).await;
    let heartbeat = a.find(|message| message["event_type"] == "heartbeat" && message["data"]["position"] != 0).await;
    assert_eq!((&heartbeat["data"]["position"], &heartbeat["data"]["status"]), (&ack["seq"], &json!("active")));
    assert_eq!(a.records().len(), 1, "the record comes first");
}

#[tokio::test]
async fn a_client_that_says_nothing_at_all_is_closed_and_lost_at_once() {
    let node = Node::start(QUICK).await;
    let mut watcher = node.join("t", "watcher").await;
    let mut silent = RawClient::connect(&node, "tenant_id=t&instance_id=silent").await;
    let (closed, _) = tokio::join!(silent.until_closed(), watcher.expect("instance_left"));
    assert_eq!(closed.code, Some(4008));
    watcher.settle().await;
    assert_eq!(comings_and_goings(&watcher), ["+silent", "-silent lost"]);
}

#[tokio::test]
async fn a_client_that_only_answers_pings_lives() {
    let node = Node::start(QUICK).await;
    let mut quiet = RawClient::connect(&node, "tenant_id=t&instance_id=quiet").await;
    // Three timeouts long.
    for _ in 0..30 {
        loop {
            let frame = quiet.next().await.expect("the connection lives");
            assert_ne!(frame.opcode(), raw::CLOSE, "{frame:?}");
            if frame.opcode() == raw::PING {
                quiet.send(raw::PONG, &frame.payload).await;
                break;
            }
        }
    }
    quiet.send_json(&json!({"event_type": "ping"})).await;
    quiet.expect("pong").await;
}

#[tokio::test]
async fn the_figures_count_messages_and_distinct_concepts_over_restarts() {
    let mut node = Node::start(&[]).await;
    let (mut a, _b) = (node.join("t", "a").await, node.join("t", "b").await);
    let state = |total_messages: u64, total_concepts: u64, here: &[&str]| json!({"total_concepts": total_concepts, "total_messages": total_messages, "connected_instances": here});
    assert_eq!(figures(&mut a).await, state(0, 0, &["a", "b"]));
    for name in ["Entanglement", "Entanglement", "entanglement", "Superposition"] {
        a.publish("concept_learned", json!({"concept_name": name})).await;
        a.publish("memory_added", json!({})).await;
    }
    let id = new_id();
    a.publish_as(&id, "memory_added", json!({})).await;
    a.publish_as(&id, "memory_added", json!({})).await;
    // Neither has a name to count.
    a.publish("concept_learned", json!({"concept_name": 7})).await;
    a.publish("concept_learned", json!("Entanglement")).await;
    a.publish("decision_made", json!({})).await;
    assert_eq!(figures(&mut a).await, state(5, 3, &["a", "b"]));
    node.restart(Port::New).await;
    let mut a = node.join("t", "a").await;
    assert_eq!(figures(&mut a).await, state(5, 3, &["a"]), "after a kill");
    a.publish("concept_learned", json!({"concept_name": "Superposition"})).await;
    node.terminate().await;
    node.restart(Port::New).await;
    let mut a = node.join("t", "a").await;
    assert_eq!(figures(&mut a).await, state(5, 3, &["a"]), "after an orderly stop");
    let stats = node.get("/v1/tenants/t/stats").await.json();
    assert_eq!(stats["state"], state(5, 3, &["a"]));
}

async fn figures(client: &mut Client) -> Value {
    client.settle().await;
    client.seen().last().expect("the answer")["data"]["state"].clone()
}
