//! Whatever a client sends: the documented answer, and nothing for the others in the room.

use continuum::client::{Backoff, ClientOptions, Happening, Publish, Reconnecting};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::support::{Client, Node, RawClient, new_id, raw, within};

const LIMIT: usize = 2_000;

/// After everything bad: a good message still works and the others got nothing else of it.
async fn is_unharmed(sender: &mut Client, bystander: &mut Client) {
    let ack = sender.publish("note", json!({"after": "all"})).await;
    let record = bystander.record().await;
    assert_eq!(record["seq"], ack["seq"]);
    bystander.settle().await;
    let came = |message: &&Value| {
        let quiet = ["session_ready", "caught_up", "instance_joined", "instance_left", "sync_response", "heartbeat"];
        !quiet.contains(&message["event_type"].as_str().expect("a type"))
    };
    let felt: Vec<_> = bystander.seen().iter().filter(came).collect();
    assert_eq!(felt, [&record], "the others feel nothing");
}

#[tokio::test]
async fn every_bad_message_has_its_code_and_the_connection_lives_on() {
    let node = Node::start(&[("limits.invalid_in_a_row", "1000")]).await;
    let (mut sender, mut bystander) = (node.join("t", "a").await, node.join("t", "b").await);
    let deep = |depth| format!(r#"{{"event_type":"a","data":{}{}}}"#, "[".repeat(depth), "]".repeat(depth));
    let long_type = format!(r#"{{"event_type":"{}"}}"#, "a".repeat(129));
    let cases = [
        ("", "invalid_json"),
        ("hello", "invalid_json"),
        (r#"{"event_type":"a""#, "invalid_json"),
        (r#"{"event_type":"a"} {}"#, "invalid_json"),
        (r#"{"event_type":"a","data":{"x":}}"#, "invalid_json"),
        (r#"{"event_type":"a","data":NaN}"#, "invalid_json"),
        ("\u{feff}{}", "invalid_json"),
        ("[]", "invalid_message"),
        ("null", "invalid_message"),
        ("7", "invalid_message"),
        ("{}", "invalid_message"),
        (r#"{"data":{}}"#, "invalid_message"),
        (r#"{"event_type":null}"#, "invalid_message"),
        (r#"{"event_type":5}"#, "invalid_message"),
        (r#"{"event_type":["a"]}"#, "invalid_message"),
        (r#"{"event_type":"a","event_id":7}"#, "invalid_message"),
        (r#"{"event_type":"a","tenant_id":{}}"#, "invalid_message"),
        (r#"{"event_type":"a","instance_id":[]}"#, "invalid_message"),
        (r#"{"event_type":"a","timestamp":17}"#, "invalid_message"),
        (r#"{"event_type":"a","timestamp":"yesterday"}"#, "invalid_message"),
        (r#"{"event_type":"a","event_type":"b"}"#, "invalid_message"),
        (r#"{"event_type":"ack"}"#, "invalid_message"),
        (r#"{"event_type":"ack","data":{"seq":-1}}"#, "invalid_message"),
        (r#"{"event_type":"ack","data":{"seq":"1"}}"#, "invalid_message"),
        (r#"{"event_type":"a","data":{"half":"\ud800"}}"#, "invalid_json"),
        (r#"{"event_type":""}"#, "invalid_type"),
        (r#"{"event_type":"a b"}"#, "invalid_type"),
        (r#"{"event_type":".a"}"#, "invalid_type"),
        (r#"{"event_type":"a..b"}"#, "invalid_type"),
        (r#"{"event_type":"a.*"}"#, "invalid_type"),
        (r#"{"event_type":">"}"#, "invalid_type"),
        (r#"{"event_type":"\u0000"}"#, "invalid_type"),
        (r#"{"event_type":"🌗"}"#, "invalid_type"),
        (&long_type, "invalid_type"),
        (r#"{"event_type":"a","event_id":""}"#, "invalid_event_id"),
        (r#"{"event_type":"a","event_id":"1"}"#, "invalid_event_id"),
        (r#"{"event_type":"a","tenant_id":"other"}"#, "identity_mismatch"),
        (r#"{"event_type":"a","instance_id":"b"}"#, "identity_mismatch"),
        (r#"{"event_type":"a","instance_id":"A"}"#, "identity_mismatch"),
        (&deep(64), "too_deep"),
        (&deep(10_000), "too_deep"),
    ];
    for (text, code) in cases {
        let start: String = text.chars().take(80).collect();
        let error = sender.refused(text).await;
        assert_eq!(error["code"], code, "{start}: {error}");
        assert!(error["message"].as_str().is_some_and(|message| !message.is_empty()), "{start}: {error}");
    }
    is_unharmed(&mut sender, &mut bystander).await;
}

#[tokio::test]
async fn the_types_of_session_messages_cannot_be_published() {
    let node = Node::start(&[]).await;
    let (mut sender, mut bystander) = (node.join("t", "a").await, node.join("t", "b").await);
    for reserved in [
        "session_ready",
        "resync",
        "caught_up",
        "advance",
        "lagging",
        "error",
        "pong",
        "sync_response",
        "draining",
        "presence_changed",
        "instance_joined",
        "instance_left",
    ] {
        let id = new_id();
        let error = sender.refused(json!({"event_type": reserved, "event_id": id}).to_string()).await;
        assert_eq!((&error["code"], &error["event_id"]), (&json!("reserved_type"), &json!(id)), "{reserved}");
    }
    is_unharmed(&mut sender, &mut bystander).await;
}

#[tokio::test]
async fn depth_64_is_accepted_and_passes_through_unchanged() {
    let node = Node::start(&[]).await;
    let mut sender = node.join("t", "a").await;
    // Not every reader of JSON goes so deep.
    let mut bystander = RawClient::connect(&node, "tenant_id=t&instance_id=b").await;
    bystander.expect("session_ready").await;
    let data = format!("{}{}", "[".repeat(63), "]".repeat(63));
    sender.send_text(format!(r#"{{"event_type":"deep","data":{data}}}"#)).await;
    sender.expect("ack").await;
    loop {
        let frame = bystander.next().await.expect("the connection lives");
        let text = String::from_utf8(frame.payload).unwrap_or_default();
        if text.contains("deep") {
            assert!(text.ends_with(&format!("\"data\":{data}}}")), "{text}");
            return;
        }
    }
}

#[tokio::test]
async fn too_many_invalid_messages_in_a_row_end_the_connection() {
    let node = Node::start(&[("limits.invalid_in_a_row", "3")]).await;
    let (mut sender, mut bystander) = (node.join("t", "a").await, node.join("t", "b").await);
    // A good one in between begins the count anew.
    for _ in 0..3 {
        sender.refused("nonsense").await;
        sender.refused("nonsense").await;
        sender.send(json!({"event_type": "ping"})).await;
        sender.expect("pong").await;
    }
    for _ in 0..3 {
        sender.refused("nonsense").await;
    }
    assert_eq!(sender.until_closed().await.code, Some(4003));
    let left = bystander.expect("instance_left").await;
    assert_eq!(left["data"]["instance_id"], "a");
    is_unharmed(&mut node.join("t", "a").await, &mut bystander).await;
}

fn message_of(length: usize) -> String {
    let empty = r#"{"event_type":"note","data":""}"#;
    format!(r#"{{"event_type":"note","data":"{}"}}"#, "x".repeat(length - empty.len()))
}

#[tokio::test]
async fn a_message_of_exactly_the_limit_is_accepted_whole_and_in_fragments() {
    let node = Node::start(&[("limits.max_message_bytes", &LIMIT.to_string())]).await;
    let (mut sender, mut bystander) = (node.join("t", "a").await, node.join("t", "b").await);
    assert_eq!(sender.ready()["data"]["limits"]["max_message_bytes"], LIMIT);
    sender.send_text(message_of(LIMIT)).await;
    sender.expect("ack").await;
    sender.send_frame(Message::binary(message_of(LIMIT))).await;
    sender.expect("ack").await;
    let mut raw = RawClient::connect(&node, "tenant_id=t&instance_id=c").await;
    let text = message_of(LIMIT).into_bytes();
    for (index, part) in text.chunks(7).enumerate() {
        let first = if index == 0 { raw::TEXT } else { 0 };
        let fin = if (index + 1) * 7 >= LIMIT { 0x80 } else { 0 };
        raw.write(&raw::frame(fin | first, part)).await;
    }
    raw.expect("ack").await;
    for record in bystander.take(3).await {
        assert_eq!(record["data"].as_str().map(str::len), Some(LIMIT - 31), "passed on whole");
    }
}

/// Frames that end a connection, each with the close code, on a node whose messages are at most [`LIMIT`] bytes.
fn fatal_frames() -> Vec<(&'static str, Vec<u8>, u16)> {
    const FIN: u8 = 0x80;
    let big = message_of(LIMIT + 1).into_bytes();
    let text = FIN | raw::TEXT;
    let mut summed = raw::frame(raw::TEXT, &big[..LIMIT]);
    summed.extend(raw::frame(FIN, &big[LIMIT..]));
    let mut bad_in_fragments = raw::frame(raw::TEXT, br#"{"event_type":"a","data":""#);
    bad_in_fragments.extend(raw::frame(0, b"\xc3"));
    bad_in_fragments.extend(raw::frame(FIN, b"\"}"));
    let mut nested = raw::frame(raw::TEXT, b"{");
    nested.extend(raw::frame(text, b"{}"));
    let bad_text = b"{\"event_type\":\"a\",\"data\":\"\xff\xfe\"}";
    vec![
        ("one byte over the limit", raw::frame(text, &big), 1009),
        ("one byte over the limit in fragments", summed, 1009),
        ("one byte over the limit in binary", raw::frame(FIN | raw::BINARY, &big), 1009),
        ("2^62 bytes announced", raw::header(text, 1 << 62), 1009),
        ("2^64 - 1 bytes announced", raw::header(text, u64::MAX), 1009),
        ("bad UTF-8", raw::frame(text, bad_text), 1007),
        ("bad UTF-8 in binary", raw::frame(FIN | raw::BINARY, bad_text), 1007),
        ("bad UTF-8 in fragments", bad_in_fragments, 1007),
        ("bad UTF-8 in a first fragment", raw::frame(raw::TEXT, b"\xc3("), 1007),
        ("an encoded surrogate", raw::frame(text, b"\xed\xa0\x80"), 1007),
        ("an unmasked frame", vec![text, 2, b'{', b'}'], 1002),
        ("RSV1", raw::frame(text | 0x40, b"{}"), 1002),
        ("RSV2", raw::frame(text | 0x20, b"{}"), 1002),
        ("RSV3", raw::frame(text | 0x10, b"{}"), 1002),
        ("opcode 3", raw::frame(FIN | 3, b"{}"), 1002),
        ("opcode 7", raw::frame(FIN | 7, b"{}"), 1002),
        ("opcode 11", raw::frame(FIN | 11, b""), 1002),
        ("opcode 15", raw::frame(FIN | 15, b""), 1002),
        ("a fragmented ping", raw::frame(raw::PING, b""), 1002),
        ("a fragmented close", raw::frame(raw::CLOSE, b""), 1002),
        ("a ping of 126 bytes", raw::frame(FIN | raw::PING, &[0; 126]), 1002),
        ("a pong of 126 bytes", raw::frame(FIN | raw::PONG, &[0; 126]), 1002),
        ("a close of 126 bytes", raw::frame(FIN | raw::CLOSE, &closing(1000, &[b'x'; 124])), 1002),
        ("a close with half a code", raw::frame(FIN | raw::CLOSE, &[3]), 1002),
        ("a close with bad UTF-8", raw::frame(FIN | raw::CLOSE, &closing(1000, b"\xed\xa0\x80")), 1002),
        ("a continuation of nothing", raw::frame(FIN, b"{}"), 1002),
        ("a message within a message", nested, 1002),
    ]
}

/// The payload of a close frame.
fn closing(code: u16, reason: &[u8]) -> Vec<u8> {
    [&code.to_be_bytes(), reason].concat()
}

#[tokio::test]
async fn a_close_is_answered_and_one_whose_code_does_not_exist_is_a_broken_frame() {
    let node = Node::start(&[]).await;
    let good = [1000, 1001, 1003, 1007, 1011, 1014, 3000, 3999, 4000, 4999].map(|code| (closing(code, b""), 1000));
    let bad = [0, 999, 1004, 1005, 1006, 1015, 1016, 2000, 2999, 5000, 65_535].map(|code| (closing(code, b""), 1002));
    let others = [(Vec::new(), 1000), (closing(1000, &[b'x'; 123]), 1000)];
    for (payload, code) in good.into_iter().chain(bad).chain(others) {
        let mut client = RawClient::connect(&node, "tenant_id=t&instance_id=a").await;
        client.send(raw::CLOSE, &payload).await;
        assert_eq!(client.until_closed().await.code, Some(code), "{payload:?}");
    }
}

#[tokio::test]
async fn every_broken_frame_ends_the_connection_with_its_code_and_nobody_else_feels_it() {
    let node = Node::start(&[("limits.max_message_bytes", &LIMIT.to_string())]).await;
    let (mut sender, mut bystander) = (node.join("t", "a").await, node.join("t", "b").await);
    for (what, bytes, code) in fatal_frames() {
        let mut client = RawClient::connect(&node, "tenant_id=t&instance_id=broken").await;
        client.expect("caught_up").await;
        // In one write and byte by byte: where the network cuts must not matter.
        client.write(&bytes).await;
        assert_eq!(client.until_closed().await.code, Some(code), "{what}");
        let mut client = RawClient::connect(&node, "tenant_id=t&instance_id=broken").await;
        for part in bytes.chunks(bytes.len().div_ceil(40)) {
            client.write(part).await;
        }
        assert_eq!(client.until_closed().await.code, Some(code), "{what}, in pieces");
    }
    is_unharmed(&mut sender, &mut bystander).await;
}

#[tokio::test]
async fn a_good_message_before_a_broken_frame_is_stored() {
    let node = Node::start(&[]).await;
    let mut bystander = node.join("t", "b").await;
    let mut client = RawClient::connect(&node, "tenant_id=t&instance_id=a").await;
    client.expect("caught_up").await;
    let good = raw::frame(0x80 | raw::TEXT, br#"{"event_type":"good"}"#);
    client.write(&[good, vec![0x83, 0x80, 0, 0, 0, 0]].concat()).await;
    assert_eq!(client.until_closed().await.code, Some(1002));
    assert_eq!(node.join("t", "c").await.ready()["event_type"], "session_ready");
    // Stored or not, the others and the log agree on it.
    let live = bystander.settle().await.iter().filter(|message| message.get("seq").is_some()).count();
    assert_eq!(node.join_with("t", "d", "since=earliest").await.catch_up().await.len(), live);
}

#[tokio::test]
async fn fragments_with_pings_between_them_are_one_message() {
    let node = Node::start(&[]).await;
    let mut bystander = node.join("t", "b").await;
    let mut client = RawClient::connect(&node, "tenant_id=t&instance_id=a").await;
    client.expect("caught_up").await;
    let text = r#"{"event_type":"note","data":"é🌗"}"#.as_bytes();
    // Cut within a character, too.
    let (first, rest) = text.split_at(text.len() - 5);
    let (second, third) = rest.split_at(2);
    client.write(&raw::frame(raw::TEXT, first)).await;
    client.send(raw::PING, b"one").await;
    client.write(&raw::frame(0, second)).await;
    client.send(raw::PONG, b"unasked").await;
    client.write(&raw::frame(0, b"")).await;
    client.send(raw::PING, b"two").await;
    client.write(&raw::frame(0x80, third)).await;
    let mut pongs = Vec::new();
    loop {
        let frame = client.next().await.expect("the connection lives");
        match frame.opcode() {
            raw::PONG => pongs.push(frame.payload),
            raw::TEXT if frame.payload.starts_with(br#"{"event_type":"ack""#) => break,
            _ => {}
        }
    }
    assert_eq!(pongs, [b"one", b"two"]);
    assert_eq!(bystander.record().await["data"], "é🌗");
}

#[tokio::test]
async fn what_cannot_be_read_is_refused_by_its_name_so_that_nobody_waits_for_it() {
    let node = Node::start(&[("limits.json_depth", "16")]).await;
    let url = format!("ws://{}", node.address()).parse().expect("a URL");
    let options = ClientOptions::new(url, "t".parse().expect("a tenant"), "a".parse().expect("an instance"));
    let mut client = Reconnecting::new(options, Backoff::seeded(1));
    let deep = format!(r#"{{"event_type":"note","data":{}{}}}"#, "[".repeat(16), "]".repeat(16));
    // Among others, so that nothing could be guessed.
    for text in
        [r#"{"event_type":"note"}"#, &deep, r#"{"event_type":"note","data":"\ud800"}"#, r#"{"event_type":"note"}"#]
    {
        client.publish(Publish::from_json(text).expect("JSON")).expect("room");
    }
    let mut codes = Vec::new();
    within("an answer to each", async {
        while !client.outstanding().is_empty() {
            if let Happening::Refused(refused) = client.next().await.expect("nothing fatal") {
                codes.push(refused.1.code);
            }
        }
    })
    .await;
    assert_eq!(codes, ["too_deep", "invalid_json"]);
}
