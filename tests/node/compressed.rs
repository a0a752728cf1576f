//! Large messages as raw deflate: both ways, beside plain members, and whatever is done to them on the way.

use std::{io::Write as _, time::Instant};

use continuum::client::{ClientOptions, Encoding, Incoming, Since, connection::Connection, track::Tracker};
use flate2::{Compress, Compression, FlushCompress, write::DeflateEncoder};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::support::{Client, Node, RawClient, http, new_id, raw};

const ASKED: &str = "encoding=deflate-raw";
const FIN: u8 = 0x80;
const LIMIT: usize = 20_000;
const RESIDENT: &str = "process_resident_memory_bytes";

fn deflate(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).expect("memory takes it");
    encoder.finish().expect("memory takes it")
}

/// A gigabyte of spaces in a megabyte: one part that depends on no other, repeated, and an empty last one.
fn bomb() -> Vec<u8> {
    let mut part = Vec::with_capacity(100_000);
    let mut compress = Compress::new(Compression::best(), false);
    compress.compress_vec(&vec![b' '; 8 << 20], &mut part, FlushCompress::Full).expect("memory takes it");
    [part.repeat(120), vec![3, 0]].concat()
}

fn prose(characters: usize) -> String {
    "What is entangled stays entangled. ".chars().cycle().take(characters).collect()
}

fn note(data: &Value) -> Vec<u8> {
    json!({"event_type": "note", "event_id": new_id(), "data": data}).to_string().into_bytes()
}

/// What a record says, without what differs from frame to frame.
fn contents(records: &[Value]) -> Vec<(&Value, &Value, &Value)> {
    records.iter().map(|record| (&record["seq"], &record["event_type"], &record["data"])).collect()
}

#[tokio::test]
async fn large_records_come_deflated_small_ones_as_text_and_both_equal_a_plain_members() {
    let node = Node::start(&[]).await;
    let mut plain = node.join("t", "plain").await;
    let mut asked = node.join_with("t", "asked", ASKED).await;
    let mut sender = node.join("t", "sender").await;
    assert_eq!(asked.ready()["data"]["encoding"], "deflate-raw");
    assert_eq!(asked.ready()["data"]["limits"]["compress_bytes"], 1024);
    for field in ["/data/encoding", "/data/limits/compress_bytes"] {
        assert_eq!(plain.ready().pointer(field), None, "said only where it was asked for");
    }
    for length in [1, 700, 1_024, 3_000, 100_000, 500_000] {
        sender.publish("note", json!({"text": prose(length)})).await;
    }
    let (deflated, text) = (asked.take(6).await, plain.take(6).await);
    assert_eq!(deflated, text, "the same JSON");
    let lengths = |client: &Client| -> Vec<usize> {
        client.deflated().iter().map(|record| record["data"]["text"].as_str().map_or(0, str::len)).collect()
    };
    assert_eq!(lengths(&asked), [1_024, 3_000, 100_000, 500_000]);
    assert_eq!(lengths(&plain), [0; 0]);
}

#[tokio::test]
async fn previews_deltas_and_the_second_envelope_go_together_with_it() {
    let node = Node::start(&[]).await;
    let of = |name: &str, more: &str| format!("tenant_id=t&instance_id={name}&user_id={name}&{more}");
    let mut ann = Client::typed(node.address(), &of("ann", "")).await;
    let mut pairs = Vec::new();
    for (index, form) in ["", "preview=1500", "deltas=1"].into_iter().enumerate() {
        let plain = Client::typed(node.address(), &of(&format!("plain{index}"), form)).await;
        let asked = Client::typed(node.address(), &of(&format!("asked{index}"), &format!("{form}&{ASKED}"))).await;
        pairs.push((form, plain, asked));
    }
    let create = json!({"node": {"id": "n1", "text": prose(4_000)}});
    ann.ask(json!({"id": "op-1", "type": "node.create", "data": create})).await;
    let update = json!({"node_id": "n1", "patch": {"x": 1}});
    ann.ask(json!({"id": "op-2", "type": "node.update", "data": update})).await;
    for (form, mut plain, mut asked) in pairs {
        assert_eq!(asked.take(2).await, plain.take(2).await, "{form}");
        let whole = if form == "deltas=1" { 1 } else { 2 };
        assert_eq!(asked.deflated().len(), whole, "{form}: a change alone is small");
    }
}

#[tokio::test]
async fn history_comes_deflated_after_a_return_and_so_does_the_state() {
    let node = Node::start(&[("rooms.ring_bytes", "4096"), ("limits.messages_per_minute", "0")]).await;
    let mut sender = node.join("t", "sender").await;
    for n in 0..60 {
        sender.publish("note", json!({"n": n, "text": prose(if n % 3 == 0 { 5_000 } else { 10 })})).await;
    }
    let mut plain = node.join_with("t", "plain", "since=earliest").await;
    let mut asked = node.join_with("t", "asked", &format!("since=earliest&{ASKED}")).await;
    assert_eq!(contents(&asked.catch_up().await), contents(&plain.catch_up().await));
    assert_eq!(asked.deflated().len(), 20);
    let cursor = asked.records()[29]["seq"].to_string();
    let cursor = format!("{}.{cursor}", asked.ready()["data"]["epoch"].as_str().expect("an epoch"));
    asked.vanish();
    let mut again = node.join_with("t", "asked", &format!("since={cursor}&{ASKED}")).await;
    assert_eq!((again.catch_up().await.len(), again.deflated().len()), (30, 10));

    for n in 0..3 {
        let create = json!({"node": {"id": format!("n{n}"), "text": prose(3_000)}});
        again.ask(json!({"event_type": "node.create", "event_id": new_id(), "data": create})).await;
    }
    again.send(json!({"event_type": "graph.sync", "data": {}})).await;
    let page = again.expect("graph.sync").await;
    assert_eq!(page["data"]["nodes"].as_array().map(Vec::len), Some(3));
    assert!(again.deflated().contains(&&page));
}

#[tokio::test]
async fn our_own_client_reads_them() {
    let node = Node::start(&[]).await;
    let mut sender = node.join("t", "sender").await;
    sender.publish("note", json!({"text": prose(50_000)})).await;
    let url = node.url().parse().expect("a URL");
    let mut options = ClientOptions::new(url, "t".parse().expect("a tenant"), "me".parse().expect("an instance"));
    options.encoding = Encoding::DeflateRaw;
    let tracker = Tracker::new(options.echo, None);
    let (mut connection, ready) = Connection::join(&options, Some(Since::Earliest), tracker).await.expect("a room");
    assert!(ready.text.contains(r#""encoding":"deflate-raw""#));
    loop {
        let frame = connection.next().await.expect("a message");
        if let Incoming::Record(_) = frame.message {
            assert!(frame.envelope.data.get().contains(&prose(50_000)));
            return connection.close().await;
        }
    }
}

#[tokio::test]
async fn a_client_may_send_deflated_messages_also_in_fragments() {
    let node = Node::start(&[]).await;
    let mut bystander = node.join("t", "b").await;
    let mut sender = node.join_with("t", "a", ASKED).await;
    sender.send_frame(Message::binary(deflate(&note(&json!(prose(30_000)))))).await;
    sender.expect("ack").await;
    sender.send_frame(Message::binary(deflate(br#"{"event_type":"ping"}"#))).await;
    sender.expect("pong").await;
    // Text stays text, whole and in fragments.
    sender.send(json!({"event_type": "note", "data": "plain"})).await;
    sender.expect("ack").await;
    let mut client = RawClient::connect(&node, &format!("tenant_id=t&instance_id=c&{ASKED}")).await;
    client.expect("caught_up").await;
    for (opcode, message) in [(raw::BINARY, deflate(&note(&json!("cut")))), (raw::TEXT, note(&json!("cut")))] {
        let parts: Vec<_> = message.chunks(7).collect();
        for (index, part) in parts.iter().enumerate() {
            let first = if index == 0 { opcode } else { 0 };
            let fin = if index + 1 == parts.len() { FIN } else { 0 };
            client.write(&raw::frame(fin | first, part)).await;
            client.send(raw::PING, b"between").await;
        }
        client.expect("ack").await;
    }
    let data: Vec<Value> = bystander.take(4).await.iter().map(|record| record["data"].clone()).collect();
    assert_eq!(data, [json!(prose(30_000)), json!("plain"), json!("cut"), json!("cut")]);
}

#[tokio::test]
async fn what_cannot_be_inflated_is_refused_and_the_connection_lives_on() {
    let node = Node::start(&[("limits.invalid_in_a_row", "12")]).await;
    let mut bystander = node.join("t", "b").await;
    let mut sender = node.join_with("t", "a", ASKED).await;
    let good = deflate(&note(&json!(prose(2_000))));
    let zlib = [&b"\x78\x9c"[..], &good, b"\0\0\0\0"].concat();
    let cases = [
        ("nothing", Vec::new(), "invalid_encoding"),
        ("garbage", b"\xff\xfe\xfd garbage".to_vec(), "invalid_encoding"),
        ("plain JSON", note(&json!(1)), "invalid_encoding"),
        ("the header of zlib", zlib, "invalid_encoding"),
        ("half of it", good[..good.len() / 2].to_vec(), "invalid_encoding"),
        ("all but a byte", good[..good.len() - 1].to_vec(), "invalid_encoding"),
        ("a byte behind it", [&good[..], b"x"].concat(), "invalid_encoding"),
        ("two in one", [&good[..], &good].concat(), "invalid_encoding"),
        ("no JSON in it", deflate(b"hello"), "invalid_json"),
        ("nothing in it", deflate(b""), "invalid_json"),
    ];
    for (what, bytes, code) in cases {
        sender.send_frame(Message::binary(bytes)).await;
        let error = sender.expect("error").await;
        assert_eq!(error["data"]["code"], code, "{what}: {error}");
    }
    sender.send_frame(Message::binary(good)).await;
    sender.expect("ack").await;
    assert_eq!(bystander.record().await["data"], prose(2_000));
    for _ in 0..12 {
        sender.send_frame(Message::binary(Vec::new())).await;
    }
    assert_eq!(sender.until_closed().await.code, Some(4003), "each counts as an invalid message");
    let mut sender = node.join_with("t", "a", ASKED).await;
    sender.send_frame(Message::binary(deflate(b"\"\xff\xfe\""))).await;
    assert_eq!(sender.until_closed().await.code, Some(1007));
}

#[tokio::test]
async fn without_asking_binary_frames_are_json_and_another_encoding_is_refused() {
    let node = Node::start(&[]).await;
    let mut sender = node.join("t", "a").await;
    sender.send_frame(Message::binary(note(&json!(1)))).await;
    sender.expect("ack").await;
    for path in ["ws/sync", "ws"] {
        for name in ["deflate", "gzip", "text", "DEFLATE-RAW"] {
            let request =
                raw::upgrade_request(&format!("tenant_id=t&instance_id=b&encoding={name}"), "13", Some(raw::KEY));
            let (_, answer) = RawClient::handshake(node.address(), &request.replace("ws/sync", path)).await;
            let answer: http::Response = answer;
            assert_eq!((answer.status, &answer.json()["code"]), (400, &json!("invalid_parameter")), "{path} {name}");
        }
    }
}

#[tokio::test]
async fn a_message_of_the_limit_passes_and_one_byte_more_does_not() {
    let node = Node::start(&[("limits.max_message_bytes", &LIMIT.to_string())]).await;
    let of = |length: usize| {
        let empty = note(&json!("")).len();
        deflate(&note(&json!(prose(length - empty))))
    };
    let mut sender = node.join_with("t", "a", ASKED).await;
    sender.send_frame(Message::binary(of(LIMIT))).await;
    sender.expect("ack").await;
    sender.send_frame(Message::binary(of(LIMIT + 1))).await;
    assert_eq!(sender.until_closed().await.code, Some(1009));
}

#[tokio::test]
async fn a_hundred_bombs_end_a_hundred_connections_and_leave_memory_as_it_was() {
    let node = Node::start(&[]).await;
    let mut bystander = node.join("t", "b").await;
    let bomb = bomb();
    assert!((900_000..1 << 20).contains(&bomb.len()), "{} bytes fit into a message", bomb.len());
    let bomb = raw::frame(FIN | raw::BINARY, &bomb);
    let query = format!("tenant_id=t&instance_id=bomber&{ASKED}");
    let mut warm = RawClient::connect(&node, &query).await;
    warm.write(&bomb).await;
    assert_eq!(warm.until_closed().await.code, Some(1009));
    let (before, started) = (node.metric(RESIDENT).await, Instant::now());
    for _ in 0..100 {
        let mut client = RawClient::connect(&node, &query).await;
        client.write(&bomb).await;
        assert_eq!(client.until_closed().await.code, Some(1009));
    }
    let (after, took) = (node.metric(RESIDENT).await, started.elapsed());
    assert!(after - before < 24.0 * 1024.0 * 1024.0, "memory grew from {before} to {after} in {took:?}");
    let ack = node.join("t", "c").await.publish("note", json!("still here")).await;
    assert_eq!(bystander.record().await["seq"], ack["seq"]);
}

#[tokio::test]
async fn inflating_is_paid_for_beforehand() {
    let settings = [("limits.messages_per_minute", "5"), ("limits.refusals_before_close", "10")];
    let node = Node::start(&settings).await;
    let mut sender = node.join_with("t", "a", ASKED).await;
    // Pings have a budget of their own; as text they would all be answered.
    let ping = deflate(format!("{{\"event_type\":\"ping\"}}{}", " ".repeat(900_000)).as_bytes());
    for _ in 0..5 {
        sender.send_frame(Message::binary(ping.clone())).await;
        sender.expect("pong").await;
    }
    // Garbage, too, is refused before anybody looks at it.
    for bytes in [ping.clone(), b"garbage".to_vec()] {
        sender.send_frame(Message::binary(bytes)).await;
        let error = sender.expect("error").await;
        assert_eq!(error["data"]["code"], "rate_limited");
        assert!(error["data"]["retry_after_ms"].as_u64().is_some_and(|wait| wait > 0));
    }
    sender.send(json!({"event_type": "ping"})).await;
    sender.expect("pong").await;
    for _ in 0..8 {
        sender.send_frame(Message::binary(ping.clone())).await;
    }
    assert_eq!(sender.until_closed().await.code, Some(4002));
}
