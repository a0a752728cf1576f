//! The client against a node that misbehaves on cue: a script of what it says, and what it must hear.

#[path = "client/conversations.rs"]
mod conversations;
#[path = "client/pure.rs"]
mod pure;
#[path = "client/vectors.rs"]
mod vectors;

use std::time::Duration;

use continuum::{
    client::{Backoff, ClientOptions, Happening, Incoming, Publish, Reconnecting, reconnecting::Fatal},
    wire::Close,
};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json, value::to_raw_value};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Message,
        handshake::server::{Request, Response},
        protocol::{CloseFrame, frame::coding::CloseCode},
    },
};

const EPOCH: &str = "9f86d081884c7d65";

/// The node's side of the test.
struct Node {
    listener: TcpListener,
}

impl Node {
    async fn start() -> (Self, ClientOptions) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("ws://{}", listener.local_addr().expect("an address")).parse().expect("a URL");
        let options = ClientOptions::new(url, "default".parse().expect("a tenant"), "me".parse().expect("an instance"));
        (Self { listener }, options)
    }

    /// Takes the next connection and gives the query that it came with.
    async fn accept(&self) -> (Peer, String) {
        let (stream, _) = self.listener.accept().await.expect("a connection");
        let mut query = String::new();
        #[expect(clippy::result_large_err, reason = "the library's own callback type")]
        let look = |request: &Request, response: Response| {
            query = request.uri().query().unwrap_or_default().to_owned();
            Ok(response)
        };
        let socket = tokio_tungstenite::accept_hdr_async(stream, look).await.expect("an upgrade");
        (Peer { socket }, query)
    }
}

struct Peer {
    socket: WebSocketStream<TcpStream>,
}

impl Peer {
    async fn say(&mut self, message: Value) {
        self.socket.send(Message::text(message.to_string())).await.expect("the client listens");
    }

    async fn welcome(&mut self, position: u64) {
        self.say(json!({"event_type": "session_ready", "data": {
            "epoch": EPOCH, "position": position, "resume": {"after": position, "missed": 0},
            "heartbeat": {"interval_ms": 30_000, "timeout_ms": 90_000},
            "limits": {"max_message_bytes": 1_048_576, "publishes_in_flight": 256}}}))
            .await;
        self.say(json!({"event_type": "caught_up", "data": {"position": position}})).await;
    }

    async fn record(&mut self, prev: u64, seq: u64) {
        let id = format!("{seq:08x}-0000-4000-8000-000000000000");
        self.say(json!({"event_type": "note", "seq": seq, "prev": prev, "event_id": id, "data": seq})).await;
    }

    async fn hear(&mut self) -> Value {
        loop {
            match self.socket.next().await.expect("the client is there").expect("the client speaks") {
                Message::Text(text) => return serde_json::from_str(&text).expect("JSON"),
                Message::Close(_) => panic!("the client closed"),
                _ => {}
            }
        }
    }

    async fn close(mut self, code: u16, reason: impl Into<String>) {
        let frame = CloseFrame { code: CloseCode::from(code), reason: reason.into().into() };
        self.socket.close(Some(frame)).await.expect("the client listens");
        while let Some(Ok(_)) = self.socket.next().await {}
    }
}

fn client(options: ClientOptions) -> Reconnecting {
    Reconnecting::new(options, Backoff::seeded(1))
}

fn note(text: &str) -> Publish {
    Publish::new(&"note".parse().expect("a type"), &to_raw_value(text).expect("JSON"))
}

/// Goes on until the client has heard something of this kind.
async fn until(client: &mut Reconnecting, wanted: impl Fn(&Happening) -> bool) -> Happening {
    loop {
        let happening = client.next().await.expect("nothing fatal");
        if wanted(&happening) {
            return happening;
        }
    }
}

fn is_record(seq: u64) -> impl Fn(&Happening) -> bool {
    move |happening| matches!(happening, Happening::Frame(frame) if matches!(frame.message, Incoming::Record(place) if place.seq == seq))
}

fn is_ack(happening: &Happening) -> bool {
    matches!(happening, Happening::Frame(frame) if matches!(frame.message, Incoming::Ack(_)))
}

#[tokio::test]
async fn after_a_restart_it_returns_with_its_cursor_and_repeats_what_was_not_acknowledged() {
    let (node, options) = Node::start().await;
    let script = tokio::spawn(async move {
        let (mut peer, query) = node.accept().await;
        assert_eq!(query, "tenant_id=default&instance_id=me");
        peer.welcome(17).await;
        peer.record(17, 19).await;
        let first = peer.hear().await;
        peer.close(1012, "retry in 1 ms").await;
        let (mut peer, query) = node.accept().await;
        assert_eq!(query, format!("tenant_id=default&instance_id=me&since={EPOCH}.19.00000013"));
        peer.welcome(19).await;
        assert_eq!(peer.hear().await, first, "the same event under the same id");
        peer.say(json!({"event_type": "ack", "data": {"event_id": first["event_id"], "seq": 20}})).await;
    });
    let mut client = client(options);
    until(&mut client, is_record(19)).await;
    client.publish(note("once")).expect("room");
    until(&mut client, is_ack).await;
    assert!(client.outstanding().is_empty());
    script.await.expect("the script ran to its end");
}

#[tokio::test]
async fn a_missing_record_is_fetched_by_returning_with_the_cursor_before_it() {
    let (node, options) = Node::start().await;
    let script = tokio::spawn(async move {
        let (mut peer, _) = node.accept().await;
        peer.welcome(17).await;
        peer.record(18, 19).await;
        let (mut second, query) = node.accept().await;
        assert!(query.ends_with(&format!("since={EPOCH}.17")), "{query}");
        second.welcome(17).await;
        second.record(17, 18).await;
        second.record(18, 19).await;
        (peer, second)
    });
    let mut client = client(options);
    until(&mut client, is_record(18)).await;
    until(&mut client, is_record(19)).await;
    script.await.expect("the script ran to its end");
}

#[tokio::test]
async fn a_newer_connection_of_the_same_instance_ends_it() {
    let (node, options) = Node::start().await;
    let script = tokio::spawn(async move {
        let (mut peer, _) = node.accept().await;
        peer.welcome(17).await;
        peer.close(4009, "a newer connection took over").await;
    });
    let mut client = client(options);
    let fatal = loop {
        if let Err(fatal) = client.next().await {
            break fatal;
        }
    };
    assert!(matches!(fatal, Fatal::Closed(_)), "{fatal}");
    script.await.expect("the script ran to its end");
}

#[tokio::test]
async fn a_heartbeat_is_answered_with_what_was_dealt_with() {
    let (node, options) = Node::start().await;
    let script = tokio::spawn(async move {
        let (mut peer, _) = node.accept().await;
        peer.welcome(17).await;
        peer.record(17, 21).await;
        peer.say(json!({"event_type": "heartbeat", "data": {"status": "active", "position": 99}})).await;
        assert_eq!(peer.hear().await, json!({"event_type": "heartbeat", "data": {"position": 21}}));
        peer.record(21, 22).await;
        peer
    });
    let mut client = client(options);
    until(&mut client, is_record(22)).await;
    script.await.expect("the script ran to its end");
}

#[tokio::test]
async fn a_refused_handshake_gives_the_problem_even_when_its_body_comes_late() {
    let (node, options) = Node::start().await;
    let script = tokio::spawn(async move {
        let (mut stream, _) = node.listener.accept().await.expect("a connection");
        let mut request = vec![0; 4096];
        assert!(stream.read(&mut request).await.expect("a request") > 0);
        let body = r#"{"status":400,"code":"invalid_parameter","detail":"preview must be a number"}"#;
        let head = format!("HTTP/1.1 400 Bad Request\r\nContent-Length: {}\r\n\r\n", body.len());
        stream.write_all(head.as_bytes()).await.expect("the client listens");
        stream.flush().await.expect("the client listens");
        tokio::task::yield_now().await;
        stream.write_all(body.as_bytes()).await.expect("the client listens");
        stream
    });
    let fatal = client(options).next().await.expect_err("a refusal");
    assert_eq!(fatal.to_string(), "preview must be a number (invalid_parameter, HTTP 400)");
    script.await.expect("the script ran to its end");
}

#[tokio::test]
async fn a_node_that_takes_nothing_is_left_however_often_the_caller_looks_elsewhere() {
    let (node, mut options) = Node::start().await;
    options.send_time = Duration::from_millis(300);
    let script = tokio::spawn(async move {
        let (mut peer, _) = node.accept().await;
        peer.welcome(17).await;
        // It reads nothing, and does not close.
        (node.listener.accept().await.is_ok(), peer)
    });
    let mut client = client(options);
    until(
        &mut client,
        |happening| matches!(happening, Happening::Frame(frame) if matches!(frame.message, Incoming::CaughtUp(_))),
    )
    .await;
    // More than the buffers between them hold.
    for _ in 0..32 {
        client.publish(note(&"x".repeat(1 << 20))).expect("room");
    }
    let looking = async {
        loop {
            if let Ok(Ok(Happening::Waiting { why, .. })) = timeout(Duration::from_millis(50), client.next()).await {
                return why;
            }
        }
    };
    let why = timeout(Duration::from_secs(20), looking).await.expect("the client notices");
    assert_eq!(why, "nothing was heard from the node for 300ms");
    script.abort();
}

#[tokio::test]
async fn the_reason_that_a_node_gives_with_a_restart_says_when_to_return() {
    let (node, options) = Node::start().await;
    let restart = Close::Restart { retry_after: Duration::from_millis(1) };
    let script = tokio::spawn(async move {
        let (mut peer, _) = node.accept().await;
        peer.welcome(17).await;
        peer.close(restart.code(), restart.reason().into_owned()).await;
    });
    let mut client = client(options);
    let waiting = until(&mut client, |happening| matches!(happening, Happening::Waiting { .. })).await;
    let Happening::Waiting { retry_in, .. } = waiting else { unreachable!("it was looked for") };
    assert_eq!(retry_in, Duration::from_millis(1));
    script.await.expect("the script ran to its end");
}

#[tokio::test]
async fn a_hint_of_absurd_size_is_an_hour() {
    let (node, options) = Node::start().await;
    let script = tokio::spawn(async move {
        let (mut peer, _) = node.accept().await;
        peer.welcome(17).await;
        let publish = peer.hear().await;
        peer.say(
            json!({"event_type": "error", "data": {"code": "busy", "message": "", "event_id": publish["event_id"],
            "retry_after_ms": u64::MAX}}),
        )
        .await;
        peer.say(json!({"event_type": "draining", "data": {"retry_after_ms": u64::MAX}})).await;
        peer.close(1012, "restart").await;
    });
    let mut client = client(options);
    client.publish(note("once")).expect("room");
    let waiting = until(&mut client, |happening| matches!(happening, Happening::Waiting { .. })).await;
    let Happening::Waiting { retry_in, .. } = waiting else { unreachable!("it was looked for") };
    assert_eq!(retry_in, Duration::from_secs(3600));
    assert_eq!(client.outstanding().len(), 1);
    script.await.expect("the script ran to its end");
}

#[tokio::test]
async fn a_refusal_that_names_nothing_of_ours_settles_nothing() {
    let (node, options) = Node::start().await;
    let script = tokio::spawn(async move {
        let (mut peer, _) = node.accept().await;
        peer.welcome(17).await;
        let publish = peer.hear().await;
        for id in [Value::Null, json!("state")] {
            peer.say(json!({"event_type": "error", "data": {"code": "forbidden", "message": "", "id": id}})).await;
        }
        peer.say(json!({"event_type": "ack", "data": {"event_id": publish["event_id"], "seq": 18}})).await;
        peer
    });
    let mut client = client(options);
    client.publish(note("once")).expect("room");
    for _ in 0..2 {
        let is_error = |happening: &Happening| matches!(happening, Happening::Frame(frame) if matches!(frame.message, Incoming::Error(_)));
        until(&mut client, |happening| is_error(happening) || matches!(happening, Happening::Refused(_))).await;
        assert_eq!(client.outstanding().len(), 1, "it waits for its own answer");
    }
    until(&mut client, is_ack).await;
    assert!(client.outstanding().is_empty());
    script.await.expect("the script ran to its end");
}

#[tokio::test]
async fn the_answer_to_an_operation_closes_the_chain_as_an_ack_does() {
    let (node, options) = Node::start().await;
    let script = tokio::spawn(async move {
        let (mut peer, _) = node.accept().await;
        peer.welcome(17).await;
        let operation = peer.hear().await;
        peer.say(json!({"event_type": "update.confirmed", "data": {"updateId": operation["event_id"], "version": 18}}))
            .await;
        peer.record(18, 19).await;
        peer
    });
    let mut client = client(options);
    client.publish(Publish::from_json(r#"{"event_type":"node.create","data":{}}"#).expect("JSON")).expect("room");
    let is_waiting = |happening: &Happening| matches!(happening, Happening::Waiting { .. });
    let came = until(&mut client, |happening| is_record(19)(happening) || is_waiting(happening)).await;
    assert!(!is_waiting(&came), "{came:?}");
    script.await.expect("the script ran to its end");
}
