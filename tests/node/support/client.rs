//! A well-behaved client: answers pings, checks the chain of every record it gets, remembers everything.

use std::{io::Read as _, net::SocketAddr};

use flate2::read::DeflateDecoder;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{self, Message},
};

use super::{new_id, node::Node, within};

/// A connection to a room.
///
/// Whatever it reads is held against the protocol's chain (`prev <= last < seq`, acks and advances counted) and kept in
/// [`Client::seen`], so that no test has to.
pub struct Client {
    socket: WebSocketStream<TcpStream>,
    name: String,
    ready: Value,
    seen: Vec<Value>,
    /// Which of them came deflated.
    deflated: Vec<usize>,
    /// The last position that it was told.
    last: u64,
    cursor: String,
}

/// How a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closed {
    /// The close code; `None` when the connection ended without a close frame.
    pub code: Option<u16>,
    /// The reason.
    pub reason: String,
}

/// What comes next.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A message.
    Message(Value),
    /// The end.
    Closed(Closed),
}

impl Client {
    /// Connects with a query and waits for `session_ready`.
    pub async fn connect(node: &Node, query: &str) -> Self {
        Self::connect_to(node.address(), query).await
    }

    /// The same at an address.
    pub async fn connect_to(address: SocketAddr, query: &str) -> Self {
        let mut client = Self::open_at(address, query).await;
        client.ready = client.next().await;
        assert_eq!(client.ready["event_type"], "session_ready", "the first message to {}", client.name);
        client
    }

    /// The same in the second envelope, on `/ws`. Its messages are given with their `type` as `event_type` too.
    pub async fn typed(address: SocketAddr, query: &str) -> Self {
        let mut client = Self::open_path(address, "ws", query).await;
        client.ready = client.next().await;
        assert_eq!(client.ready["type"], "session_ready", "the first message to {}", client.name);
        client
    }

    /// Connects without waiting for the first message: it may be an error.
    pub async fn open(node: &Node, query: &str) -> Self {
        Self::open_at(node.address(), query).await
    }

    /// The same at an address.
    pub async fn open_to(address: SocketAddr, query: &str) -> Self {
        Self::open_at(address, query).await
    }

    /// The same on any path.
    pub async fn open_on(address: SocketAddr, path: &str, query: &str) -> Self {
        Self::open_path(address, path, query).await
    }

    async fn open_at(address: SocketAddr, query: &str) -> Self {
        Self::open_path(address, "ws/sync", query).await
    }

    async fn open_path(address: SocketAddr, path: &str, query: &str) -> Self {
        let url = format!("ws://{address}/{path}?{query}");
        let (socket, _) = within("the handshake", async {
            let socket = TcpStream::connect(address).await.expect("the node accepts connections");
            socket.set_nodelay(true).expect("an option of every TCP socket");
            client_async(&url, socket).await.unwrap_or_else(|error| panic!("{url}: {error}"))
        })
        .await;
        let (name, cursor, seen, deflated) = (query.to_owned(), String::new(), Vec::new(), Vec::new());
        Self { socket, name, ready: Value::Null, seen, deflated, last: 0, cursor }
    }

    /// `session_ready`.
    pub fn ready(&self) -> &Value {
        &self.ready
    }

    /// `session_ready`'s `data.resume`.
    pub fn resume(&self) -> &Value {
        &self.ready["data"]["resume"]
    }

    /// The cursor of the last message that had one, or of the last record.
    pub fn cursor(&self) -> &str {
        &self.cursor
    }

    /// The last position that it was told.
    pub fn last(&self) -> u64 {
        self.last
    }

    /// Everything that came so far, in order.
    pub fn seen(&self) -> &[Value] {
        &self.seen
    }

    /// What came so far of one type.
    pub fn seen_of<'a>(&'a self, event_type: &'a str) -> impl Iterator<Item = &'a Value> {
        self.seen.iter().filter(move |message| message["event_type"] == event_type)
    }

    /// What came so far in binary frames, inflated; only asked for with `encoding=deflate-raw`.
    pub fn deflated(&self) -> Vec<&Value> {
        self.deflated.iter().map(|index| &self.seen[*index]).collect()
    }

    /// The records that came so far, in order.
    pub fn records(&self) -> Vec<&Value> {
        self.seen.iter().filter(|message| is_record(message)).collect()
    }

    /// The next message. The connection's end is a failure.
    pub async fn next(&mut self) -> Value {
        match self.next_event().await {
            Event::Message(message) => message,
            Event::Closed(closed) => panic!("{} was closed: {closed:?}; {}", self.name, self.story()),
        }
    }

    /// The next message, or the end.
    pub async fn next_event(&mut self) -> Event {
        let (event, came) = match tokio::time::timeout(super::DEADLINE, read(&mut self.socket)).await {
            Ok(read) => read,
            Err(_) => panic!("{} waits in vain: {}", self.name, self.story()),
        };
        match event {
            Event::Message(mut message) => {
                if message.get("event_type").is_none() {
                    message["event_type"] = message["type"].clone();
                }
                if came == Came::Deflated {
                    assert!(self.name.contains("encoding=deflate-raw"), "{} did not ask for this", self.name);
                    self.deflated.push(self.seen.len());
                }
                self.take_in(&message);
                Event::Message(message)
            }
            closed => closed,
        }
    }

    /// The first message of a type from here on; what comes before is in [`Client::seen`].
    pub async fn expect(&mut self, event_type: &str) -> Value {
        self.find(|message| message["event_type"] == event_type).await
    }

    /// The first message from here on that is as wanted.
    pub async fn find(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        loop {
            let message = self.next().await;
            if wanted(&message) {
                return message;
            }
        }
    }

    /// The next record.
    pub async fn record(&mut self) -> Value {
        self.find(is_record).await
    }

    /// The next `count` records.
    pub async fn take(&mut self, count: usize) -> Vec<Value> {
        let mut records = Vec::new();
        while records.len() < count {
            records.push(self.record().await);
        }
        records
    }

    /// Reads up to `caught_up`; returns the records before it.
    pub async fn catch_up(&mut self) -> Vec<Value> {
        let from = self.seen.len();
        self.expect("caught_up").await;
        self.seen[from..].iter().filter(|message| is_record(message)).cloned().collect()
    }

    /// Everything that was sent to this client before now is in [`Client::seen`] afterwards; returns what came.
    pub async fn settle(&mut self) -> Vec<Value> {
        let from = self.seen.len();
        // Answered by the room, through the same queue as records and announcements.
        self.send(json!({"event_type": "sync_request", "type": "sync_request"})).await;
        self.expect("sync_response").await;
        self.seen[from..self.seen.len() - 1].to_vec()
    }

    /// Reads to the end of the connection.
    pub async fn until_closed(&mut self) -> Closed {
        loop {
            if let Event::Closed(closed) = self.next_event().await {
                return closed;
            }
        }
    }

    /// Sends a message.
    pub async fn send(&mut self, message: Value) {
        self.send_text(message.to_string()).await;
    }

    /// Sends a message to a node that may be dead; `false`: it is.
    pub async fn try_send(&mut self, message: Value) -> bool {
        within("the socket takes a message", self.socket.send(Message::text(message.to_string()))).await.is_ok()
    }

    /// Sends text, whatever it is.
    pub async fn send_text(&mut self, text: impl Into<String>) {
        self.send_frame(Message::text(text.into())).await;
    }

    /// Sends any frame.
    pub async fn send_frame(&mut self, frame: Message) {
        let sent = within("the node takes a message", self.socket.send(frame)).await;
        sent.unwrap_or_else(|error| panic!("{}: {error}", self.name));
    }

    /// Sends a message and waits for what answers it: `update.…`, `sync_response` or an error that names it.
    pub async fn ask(&mut self, message: Value) -> Value {
        let id = ["id", "event_id"].iter().find_map(|name| message[*name].as_str()).map(str::to_owned);
        let id = id.or_else(|| message["event"]["id"].as_str().map(str::to_owned)).expect("an id to be answered");
        self.send(message).await;
        self.find(|answer| answer["data"]["updateId"] == *id || answer["data"]["id"] == *id).await
    }

    /// Publishes and waits for the ack; returns its `data`.
    pub async fn publish(&mut self, event_type: &str, data: Value) -> Value {
        self.publish_as(&new_id(), event_type, data).await
    }

    /// The same under an id of the caller's.
    pub async fn publish_as(&mut self, id: &str, event_type: &str, data: Value) -> Value {
        // What is in no field that is known is ignored; in a log it would be found.
        let message = json!({"event_type": event_type, "event_id": id, "data": data, "remark": "planted"});
        self.send(message).await;
        let answer = self
            .find(|message| {
                ["ack", "error"].iter().any(|answer| message["event_type"] == *answer)
                    && message["data"]["event_id"] == id
            })
            .await;
        assert_eq!(answer["event_type"], "ack", "{answer}");
        answer["data"].clone()
    }

    /// Sends a bad message and waits for the error; returns its `data`.
    pub async fn refused(&mut self, text: impl Into<String>) -> Value {
        self.send_text(text).await;
        self.expect("error").await["data"].clone()
    }

    /// Closes as one should, and waits until the node has answered.
    pub async fn close(mut self) -> Closed {
        // The node may be closing already.
        let _ = self.socket.close(None).await;
        self.until_closed().await
    }

    /// Drops the connection without a close frame.
    pub fn vanish(self) {
        drop(self.socket);
    }

    fn take_in(&mut self, message: &Value) {
        let data = &message["data"];
        let at = |value: &Value| value.as_u64();
        match message["event_type"].as_str() {
            _ if is_record(message) => self.take_record(message),
            Some("session_ready") => self.last = at(&data["resume"]["after"]).expect("resume.after"),
            Some("resync") => self.last = at(&data["after"]).expect("after"),
            Some("ack" | "stored") => self.last = self.last.max(at(&data["seq"]).expect("seq")),
            Some("advance") => {
                let (from, to) = (at(&data["from"]).expect("from"), at(&data["to"]).expect("to"));
                assert!(from <= self.last && self.last < to, "advance against the chain: {}", self.story());
                self.last = to;
            }
            Some("update.confirmed" | "update.conflict_resolved" | "update.conflict_pending" | "update.rollback") => {
                self.last = self.last.max(at(&data["version"]).expect("version"));
            }
            Some("sync_response") if data.get("updateId").is_some() => {
                self.last = self.last.max(at(&data["version"]).unwrap_or_default());
            }
            Some("sync_response") if data.get("resume").is_some() => {
                self.last = at(&data["resume"]["after"]).expect("resume.after");
            }
            Some("caught_up" | "heartbeat" | "system.heartbeat" | "sync_response") => {
                let position = at(&data["position"]).expect("position");
                assert!(position >= self.last, "{message} lies before {}: {}", self.last, self.story());
                self.last = position;
            }
            Some(_) => {}
            None => panic!("a message without event_type: {message}"),
        }
        if let Some(cursor) = data["cursor"].as_str().filter(|_| message["event_type"] != "session_ready") {
            cursor.clone_into(&mut self.cursor);
        }
        self.seen.push(message.clone());
    }

    fn take_record(&mut self, record: &Value) {
        let (seq, prev) = (record["seq"].as_u64().expect("seq"), record["prev"].as_u64().expect("prev"));
        let last = self.last;
        assert!(
            prev <= last && last < seq,
            "the chain broke at {last}: record {seq} after {prev} for {}: {}",
            self.name,
            self.story()
        );
        self.last = seq;
        if let Some(epoch) = self.seen.first().and_then(|ready| ready["data"]["epoch"].as_str()) {
            self.cursor = format!("{epoch}.{seq}");
        }
    }

    /// The last messages, for failures.
    fn story(&self) -> String {
        let last = self.seen.iter().rev().take(10).rev();
        let lines: Vec<String> = last.map(|message| message.to_string().chars().take(400).collect()).collect();
        format!("{} messages so far, the last:\n{}", self.seen.len(), lines.join("\n"))
    }
}

/// Whether a message is a record.
fn is_record(message: &Value) -> bool {
    message.get("seq").is_some()
}

/// In which frame a message came.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Came {
    AsText,
    Deflated,
}

async fn read(socket: &mut WebSocketStream<TcpStream>) -> (Event, Came) {
    let as_text = |event| (event, Came::AsText);
    loop {
        match socket.next().await {
            Some(Ok(Message::Text(text))) => {
                let message = serde_json::from_str(&text);
                return as_text(Event::Message(message.unwrap_or_else(|error| panic!("not JSON: {error}: {text}"))));
            }
            Some(Ok(Message::Binary(bytes))) => {
                let mut text = String::new();
                DeflateDecoder::new(&bytes[..]).read_to_string(&mut text).expect("raw deflate of UTF-8");
                let message = serde_json::from_str(&text);
                let message = message.unwrap_or_else(|error| panic!("not JSON: {error}: {text}"));
                return (Event::Message(message), Came::Deflated);
            }
            Some(Ok(Message::Close(frame))) => {
                // The answer to it is on its way with the next read.
                let closed = frame.map_or(Closed { code: None, reason: String::new() }, |frame| Closed {
                    code: Some(frame.code.into()),
                    reason: frame.reason.to_string(),
                });
                let _ = socket.next().await;
                return as_text(Event::Closed(closed));
            }
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
            Some(Ok(other)) => panic!("the node sends no such thing: {other:?}"),
            Some(Err(tungstenite::Error::Protocol(_) | tungstenite::Error::Io(_))) | None => {
                return as_text(Event::Closed(Closed { code: None, reason: String::new() }));
            }
            Some(Err(error)) => panic!("what the node sends cannot be read: {error}"),
        }
    }
}
