//! Those who take their time: requests that come byte by byte, and connections that say nothing.

use std::time::Duration;

use serde_json::json;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use crate::{
    support::{Issuer, Node, RawClient, http, issuer::ADMIN, raw, until, within},
    tls::Pair,
};

const RESIDENT: &str = "process_resident_memory_bytes";
/// Between two bytes of somebody who takes their time.
const BEAT: Duration = Duration::from_millis(50);

/// Writes a beginning at once and then a byte each beat, until the other side ends the connection; what that has said.
pub async fn drip(socket: &mut (impl AsyncRead + AsyncWrite + Unpin), beginning: &[u8], byte: u8) -> String {
    within("the node ends it", async {
        let mut said = Vec::new();
        let mut next = beginning.to_vec();
        while socket.write_all(&next).await.is_ok() && socket.flush().await.is_ok() {
            next = vec![byte];
            let listening = async { while matches!(socket.read_buf(&mut said).await, Ok(1..)) {} };
            if timeout(BEAT, listening).await.is_ok() {
                break;
            }
        }
        String::from_utf8_lossy(&said).into_owned()
    })
    .await
}

/// Requests that never come to their end, each with what has to be said to it, if anything is.
fn requests() -> Vec<(&'static str, String, &'static str)> {
    let healthy = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let events = "/v1/tenants/t/events";
    let post = format!("POST {events} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n");
    let upgrade = raw::upgrade_request("tenant_id=t&instance_id=a", "13", Some(raw::KEY));
    let half = upgrade.trim_end();
    vec![
        ("the first head", "GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-A: ".into(), "HTTP/1.1 408"),
        ("the head of an upgrade", format!("{half}\r\nX-A: "), "HTTP/1.1 408"),
        ("the second head", format!("{healthy}GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-A: "), "HTTP/1.1 200"),
        ("the head of a second that is an upgrade", format!("{healthy}{half}\r\nX-A: "), "HTTP/1.1 200"),
        ("a body", format!("{post}Content-Length: 100000\r\n\r\n["), "\"code\":\"too_slow\""),
        (
            "a body in chunks",
            format!("{post}Transfer-Encoding: chunked\r\n\r\n1\r\n[\r\nFFFF\r\n"),
            "\"code\":\"too_slow\"",
        ),
        (
            "a body that nobody reads",
            "GET /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n".into(),
            "HTTP/1.1 200",
        ),
        (
            "a body of nothing that is here",
            "POST /no HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n".into(),
            "HTTP/1.1 404",
        ),
    ]
}

const SHORT: [(&str, &str); 3] =
    [("server.handshake_timeout", "2s"), ("server.body_timeout", "2s"), ("auth.first_message", "2s")];

#[tokio::test]
async fn a_request_that_comes_byte_by_byte_is_cut_off_wherever_it_dawdles() {
    let node = Node::start(&SHORT).await;
    let mut other = node.join("t", "b").await;
    let all = requests().into_iter().map(|(what, beginning, said)| {
        let address = node.address();
        async move {
            let mut socket = TcpStream::connect(address).await.expect("the node accepts connections");
            let answer = drip(&mut socket, beginning.as_bytes(), b'1').await;
            assert!(answer.contains(said), "{what}: {answer:?}");
        }
    });
    futures_util::future::join_all(all).await;
    other.publish("note", json!({})).await;
    assert_eq!(node.metric("continuum_connections").await, 1.0);
}

#[tokio::test]
async fn under_tls_the_handshake_and_each_request_are_cut_off_too() {
    let pair = Pair::new();
    let node = pair.node(&SHORT).await;
    // A record of the handshake that announces 512 bytes.
    let hello = [0x16, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3];
    let mut socket = TcpStream::connect(node.address()).await.expect("the node accepts connections");
    drip(&mut socket, &hello, 0).await;
    let all = requests().into_iter().map(|(what, beginning, said)| {
        let (pair, node) = (&pair, &node);
        async move {
            let mut socket = pair.connect(node).await;
            let answer = drip(&mut socket, beginning.as_bytes(), b'1').await;
            assert!(answer.contains(said), "{what}: {answer:?}");
        }
    });
    futures_util::future::join_all(all).await;
}

#[tokio::test]
async fn a_stranger_that_dawdles_over_its_token_is_cut_off() {
    let issuer = Issuer::new();
    let node = issuer.node(&SHORT).await;
    let request = raw::upgrade_request("tenant_id=acme&instance_id=a", "13", Some(raw::KEY));
    // A message that is never whole, and pings that keep nothing alive.
    for beginning in [raw::frame(0x80 | raw::TEXT, &[b'{'; 100])[..20].to_vec(), raw::frame(raw::TEXT, b"{")] {
        let mut socket = TcpStream::connect(node.address()).await.expect("the node accepts connections");
        let answer = drip(&mut socket, &[request.as_bytes(), &beginning].concat(), 0).await;
        assert!(answer.starts_with("HTTP/1.1 101"), "{answer:?}");
    }
    node.until_metric("continuum_connections", |open| open == 0.0).await;
}

#[tokio::test]
async fn whoever_is_quick_may_ask_as_often_and_wait_as_long_as_it_likes() {
    let node = Node::start(&[("server.handshake_timeout", "300ms"), ("server.body_timeout", "300ms")]).await;
    // Answers that take longer than any request may: a wait, and a stream.
    let mut stream = node.stream("t", "").await;
    let wait = "GET /v1/tenants/t/events?after=latest&wait=1s HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let mut client = RawClient::open(node.address(), wait.as_bytes()).await;
    assert_eq!(client.answer().await.status, 200);
    // The same connection goes on; of two requests in one piece both are answered.
    client.write(format!("{wait}{wait}").as_bytes()).await;
    for _ in 0..2 {
        assert_eq!(client.answer().await.status, 200);
    }
    let event = json!({"event_type": "note", "instance_id": "a", "data": {}});
    assert_eq!(node.post("/v1/tenants/t/events", &event).await.status, 201);
    stream.record().await.expect("the stream goes on");
}

#[tokio::test]
async fn a_body_that_was_asked_for_may_take_longer_than_a_head() {
    let node = Node::start(&[("server.handshake_timeout", "300ms")]).await;
    let event = json!({"event_type": "note", "instance_id": "a", "data": {"text": "as slow as it likes"}}).to_string();
    let head = format!(
        "POST /v1/tenants/t/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Expect: 100-continue\r\nContent-Length: {}\r\n\r\n",
        event.len()
    );
    let mut socket = TcpStream::connect(node.address()).await.expect("the node accepts connections");
    let mut said = Vec::new();
    // The first request of a connection, and one behind it.
    for _ in 0..2 {
        socket.write_all(head.as_bytes()).await.expect("the node reads requests");
        let asked = within("it is asked for", http::read_response(&mut socket, &mut said)).await;
        assert_eq!(asked.expect("an answer").status, 100);
        for part in event.as_bytes().chunks(4) {
            socket.write_all(part).await.expect("the node reads it");
            // Until the last of it has come there is nothing to be heard.
            let _ = timeout(BEAT, socket.read_buf(&mut said)).await;
        }
        let answer = within("an answer", http::read_response(&mut socket, &mut said)).await;
        assert_eq!(answer.expect("the connection is not cut").status, 201);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_silent_connections_cost_little_and_nobody_waits_for_them() {
    const SILENT: usize = 2_000;
    /// What one may cost, in bytes; a quarter of what a member may.
    const EACH: f64 = 32.0 * 1024.0;
    let issuer = Issuer::new();
    // All of them at a time: that the oldest go when there are too many is another test's.
    let settings =
        [("server.handshake_timeout", "10m"), ("auth.first_message", "10m"), ("limits.strangers_per_node", "10000")];
    let node = issuer.node(&settings).await;
    let token = issuer.token(json!({"sub": "ada"}));
    let mut works = node.join_with("acme", "works", &format!("token={token}")).await;
    for number in 0..50 {
        works.publish("note", json!({"number": number})).await;
    }
    let before = node.metric(RESIDENT).await;
    let upgrade = raw::upgrade_request("tenant_id=acme&instance_id=a", "13", Some(raw::KEY));
    let half_a_message = [upgrade.as_bytes(), &raw::frame(0x80 | raw::TEXT, &[b'{'; 100])[..50]].concat();
    let mut silent = Vec::new();
    for number in 0..SILENT {
        let said = match number % 4 {
            0 => &b""[..],
            1 => b"GET /ws/sync?tenant_id=acme HTTP/1.1\r\nHo",
            2 => upgrade.as_bytes(),
            _ => &half_a_message,
        };
        let mut client = RawClient::open(node.address(), said).await;
        if number % 4 > 1 {
            assert_eq!(client.answer().await.status, 101);
        }
        silent.push(client);
    }
    let upgraded = async || node.get_as(ADMIN, "/v1/stats").await.json()["total_connections"].clone();
    assert_eq!(upgraded().await, SILENT / 2 + 1);
    for number in 0..200 {
        works.publish("note", json!({"number": number})).await;
        if number % 50 == 0 {
            assert_eq!(node.get_as(&token, "/v1/tenants/acme/instances").await.status, 200);
        }
    }
    assert_eq!(upgraded().await, SILENT / 2 + 1, "they are all still here");
    let each = (node.metric(RESIDENT).await - before) / SILENT as f64;
    assert!(each < EACH, "{each} bytes each");
    drop(silent);
    until("they are let go", async || (upgraded().await == 1).then_some(())).await;
    works.publish("note", json!({})).await;
    assert_eq!(http::get(node.address(), "/healthz").await.status, 200);
}
