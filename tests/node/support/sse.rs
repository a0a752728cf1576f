//! The reading side of an event stream, as the HTML standard has it, over HTTP/1.1 as far as tests need it.

use std::net::SocketAddr;

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
};

use super::{
    http::{self, Response},
    within,
};

/// One thing that a stream says.
#[derive(Clone, Debug, PartialEq)]
pub enum Said {
    /// An event, with the id if it has one of its own.
    Event { name: String, id: Option<String>, data: Value },
    /// A comment.
    Comment(String),
    /// How long to wait before coming back, in milliseconds.
    Retry(u64),
}

/// An open stream; checks the chain of what comes.
pub struct EventStream {
    socket: TcpStream,
    head: Response,
    /// As it came, in HTTP's chunks.
    raw: Vec<u8>,
    /// Not taken apart yet.
    text: Vec<u8>,
    last_id: Option<String>,
    /// The last position that was told.
    told: u64,
}

/// What follows in a stream.
enum Next {
    Said(Said),
    More,
    End,
}

impl EventStream {
    /// Opens a stream: `tenants/t/stream?since=latest`. `last` is the id that was seen last.
    pub async fn open(address: SocketAddr, target: &str, last: Option<&str>) -> Self {
        let stream = Self::ask(address, target, last).await.expect("the node answers");
        stream.unwrap_or_else(|refused| panic!("{refused:?} {}", String::from_utf8_lossy(&refused.body)))
    }

    /// The same where it may be refused, or where the node may be gone.
    pub async fn ask(address: SocketAddr, target: &str, last: Option<&str>) -> Option<Result<Self, Response>> {
        let socket = TcpSocket::new_v4().expect("a socket");
        Self::ask_through(socket, address, target, last).await
    }

    /// The same through a socket with options of the test's own.
    pub async fn ask_through(
        socket: TcpSocket,
        address: SocketAddr,
        target: &str,
        last: Option<&str>,
    ) -> Option<Result<Self, Response>> {
        within("an answer or the connection's end", async {
            let mut socket = socket.connect(address).await.ok()?;
            let last = last.map(|id| format!("Last-Event-ID: {id}\r\n")).unwrap_or_default();
            let head =
                format!("GET /v1/{target} HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n{last}\r\n");
            socket.write_all(head.as_bytes()).await.ok()?;
            let mut raw = Vec::new();
            let head = http::read_response(&mut socket, &mut raw).await?;
            if head.status != 200 {
                return Some(Err(head));
            }
            assert_eq!(head.header("content-type"), Some("text/event-stream"), "{head:?}");
            Some(Ok(Self { socket, head, raw, text: Vec::new(), last_id: None, told: 0 }))
        })
        .await
    }

    /// The answer's head.
    pub fn head(&self) -> &Response {
        &self.head
    }

    /// The id that a browser would come back with.
    pub fn last_id(&self) -> Option<&str> {
        self.last_id.as_deref()
    }

    /// What comes next; `None` at the end of the stream or of the connection.
    pub async fn next(&mut self) -> Option<Said> {
        loop {
            match self.take() {
                Next::Said(said) => {
                    self.check(&said);
                    return Some(said);
                }
                Next::End => return None,
                Next::More => match within("something from the stream", self.socket.read_buf(&mut self.raw)).await {
                    Ok(0) | Err(_) => return None,
                    Ok(_) => {}
                },
            }
        }
    }

    /// The next event, its name, id and data; comments and times to wait are thrown away.
    pub async fn event(&mut self) -> Option<(String, Option<String>, Value)> {
        loop {
            if let Said::Event { name, id, data } = self.next().await? {
                return Some((name, id, data));
            }
        }
    }

    /// The data of the first event of a name; everything before it is thrown away.
    pub async fn expect(&mut self, wanted: &str) -> Value {
        loop {
            let (name, _, data) = self.event().await.unwrap_or_else(|| panic!("the stream ended before {wanted}"));
            if name == wanted {
                return data;
            }
        }
    }

    /// The next record; `None` at the end.
    pub async fn record(&mut self) -> Option<Value> {
        loop {
            let (_, _, data) = self.event().await?;
            if data.get("seq").is_some() {
                return Some(data);
            }
        }
    }

    /// The next few records.
    pub async fn records(&mut self, count: usize) -> Vec<Value> {
        let mut records = Vec::new();
        while records.len() < count {
            records.push(self.record().await.expect("the stream goes on"));
        }
        records
    }

    /// Says that nothing more comes from here.
    pub async fn hang_up(&mut self) {
        // It may be gone already.
        let _ = self.socket.shutdown().await;
    }

    fn take(&mut self) -> Next {
        loop {
            if let Some(end) = self.text.windows(2).position(|pair| pair == b"\n\n") {
                let block: Vec<u8> = self.text.drain(..end + 2).collect();
                return Next::Said(said(std::str::from_utf8(&block).expect("a stream is UTF-8")));
            }
            let Some(line) = self.raw.windows(2).position(|pair| pair == b"\r\n") else { return Next::More };
            let size = std::str::from_utf8(&self.raw[..line]).expect("a size is ASCII");
            let size = usize::from_str_radix(size, 16).expect("a size");
            if size == 0 {
                assert!(self.text.is_empty(), "a stream ends behind an event");
                return Next::End;
            }
            let (start, end) = (line + 2, line + 2 + size);
            if self.raw.len() < end + 2 {
                return Next::More;
            }
            self.text.extend_from_slice(&self.raw[start..end]);
            self.raw.drain(..end + 2);
        }
    }

    /// Whatever was told last, the next record satisfies `prev <= told < seq`, and its id names its place.
    fn check(&mut self, said: &Said) {
        let Said::Event { name, id, data } = said else { return };
        let number = |value: &Value| value.as_u64().unwrap_or_else(|| panic!("a position in {data}"));
        match name.as_str() {
            "session_ready" => self.told = number(&data["resume"]["after"]),
            "resync" => self.told = number(&data["after"]),
            "advance" => {
                assert_eq!(number(&data["from"]), self.told, "{data}");
                assert!(number(&data["to"]) > self.told, "{data}");
                assert_eq!(id.as_deref(), data["cursor"].as_str(), "{data}");
                self.told = number(&data["to"]);
            }
            _ if data.get("seq").is_some() => {
                let (prev, seq) = (number(&data["prev"]), number(&data["seq"]));
                assert!(prev <= self.told && self.told < seq, "told {}, then {data}", self.told);
                assert_eq!(*name, data["event_type"], "{data}");
                let place = format!(".{seq}.{}", &data["event_id"].as_str().expect("an id")[..8]);
                assert!(id.as_ref().is_some_and(|id| id.ends_with(&place)), "{id:?} of {data}");
                self.told = seq;
            }
            _ => {}
        }
        if let Some(id) = id {
            self.last_id = Some(id.clone());
        }
    }
}

/// Takes one block apart.
pub fn said(block: &str) -> Said {
    let (mut name, mut id, mut data) = (None, None, None);
    for line in block.lines().filter(|line| !line.is_empty()) {
        let (field, value) = line.split_once(": ").unwrap_or_else(|| panic!("{line:?} in {block:?}"));
        let twice = match field {
            "" => return Said::Comment(value.to_owned()),
            "retry" => return Said::Retry(value.parse().expect("milliseconds")),
            "event" => name.replace(value.to_owned()).is_some(),
            "id" => id.replace(value.to_owned()).is_some(),
            "data" => data.replace(value.to_owned()).is_some(),
            _ => panic!("{line:?}"),
        };
        assert!(!twice, "{field} comes twice in {block:?}");
    }
    let data = data.unwrap_or_else(|| panic!("no data in {block:?}"));
    let data = serde_json::from_str(&data).unwrap_or_else(|error| panic!("{error}: {data}"));
    Said::Event { name: name.expect("a name"), id, data }
}
