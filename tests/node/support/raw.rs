//! A client that writes bytes of its own: broken frames, half a handshake, silence.

use std::net::SocketAddr;

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
};

use super::{
    client::Closed,
    http::{self, Response},
    node::Node,
    within,
};

pub const TEXT: u8 = 0x1;
pub const BINARY: u8 = 0x2;
pub const CLOSE: u8 = 0x8;
pub const PING: u8 = 0x9;
pub const PONG: u8 = 0xa;

const FIN: u8 = 0x80;
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// A connection that answers nothing by itself, not even pings.
pub struct RawClient {
    socket: TcpStream,
    buffer: Vec<u8>,
}

/// A frame from the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The first byte: FIN, reserved bits, opcode.
    pub first: u8,
    /// The payload.
    pub payload: Vec<u8>,
}

/// A connection whose system keeps as little as the kernel allows for whoever does not read.
pub async fn narrow(address: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(2048).expect("an option of every socket");
    within("a connection", socket.connect(address)).await.expect("the node accepts connections")
}

impl RawClient {
    /// Connects to a room and reads up to the end of the handshake.
    pub async fn connect(node: &Node, query: &str) -> Self {
        let (client, response) = Self::handshake(node.address(), &upgrade_request(query, "13", Some(KEY))).await;
        assert_eq!(response.status, 101, "{response:?} {}", String::from_utf8_lossy(&response.body));
        client
    }

    /// The same over a connection that holds next to nothing for whoever does not read.
    pub async fn connect_narrow(node: &Node, query: &str) -> Self {
        let socket = narrow(node.address()).await;
        let (client, response) = Self::shake(socket, &upgrade_request(query, "13", Some(KEY))).await;
        assert_eq!(response.status, 101, "{response:?}");
        client
    }

    /// Writes a request of any form and reads the answer's head (and body, if it has a length).
    pub async fn handshake(address: SocketAddr, request: &str) -> (Self, Response) {
        let socket = within("a connection", TcpStream::connect(address)).await.expect("the node accepts connections");
        Self::shake(socket, request).await
    }

    async fn shake(mut socket: TcpStream, request: &str) -> (Self, Response) {
        within("an answer to the handshake", async {
            socket.set_nodelay(true).expect("an option of every TCP socket");
            socket.write_all(request.as_bytes()).await.expect("the node reads requests");
            let mut buffer = Vec::new();
            let response = http::read_response(&mut socket, &mut buffer).await;
            (Self { socket, buffer }, response.unwrap_or_else(|| panic!("no answer to {request:?}")))
        })
        .await
    }

    /// Writes a handshake (or half of it, or more than it) and reads no answer yet.
    pub async fn open(address: SocketAddr, request: &[u8]) -> Self {
        let mut socket = within("a connection", TcpStream::connect(address)).await.expect("the node accepts");
        socket.write_all(request).await.expect("the node reads requests");
        Self { socket, buffer: Vec::new() }
    }

    /// Reads the head of the answer to what [`RawClient::open`] wrote.
    pub async fn answer(&mut self) -> Response {
        let answer = within("an answer", http::read_response(&mut self.socket, &mut self.buffer)).await;
        answer.expect("an answer comes before the end")
    }

    /// Everything up to the connection's end, as bytes.
    pub async fn rest(&mut self) -> Vec<u8> {
        // A reset is an end, too.
        let _ = within("the connection's end", self.socket.read_to_end(&mut self.buffer)).await;
        std::mem::take(&mut self.buffer)
    }

    /// Writes bytes as they are. A node that has closed meanwhile takes none: what it said is still to be read.
    pub async fn write(&mut self, bytes: &[u8]) {
        let _ = within("the node takes bytes", self.socket.write_all(bytes)).await;
    }

    /// Writes one whole, masked frame.
    pub async fn send(&mut self, opcode: u8, payload: &[u8]) {
        self.write(&frame(FIN | opcode, payload)).await;
    }

    /// Writes a message as text.
    pub async fn send_json(&mut self, message: &Value) {
        self.send(TEXT, message.to_string().as_bytes()).await;
    }

    /// The next frame, or `None` at the connection's end.
    pub async fn next(&mut self) -> Option<Frame> {
        within("a frame from the node", self.read_frame()).await
    }

    async fn read_frame(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = take_frame(&mut self.buffer) {
                return Some(frame);
            }
            if matches!(self.socket.read_buf(&mut self.buffer).await, Ok(0) | Err(_)) {
                return None;
            }
        }
    }

    /// The first message of a type; everything else is thrown away.
    pub async fn expect(&mut self, event_type: &str) -> Value {
        loop {
            let frame = self.next().await.unwrap_or_else(|| panic!("the connection ended before {event_type}"));
            assert_ne!(frame.opcode(), CLOSE, "closed before {event_type}: {frame:?}");
            if frame.opcode() == TEXT {
                let message: Value = serde_json::from_slice(&frame.payload).expect("the node sends JSON");
                if message["event_type"] == event_type {
                    return message;
                }
            }
        }
    }

    /// Reads to the end; what came before the close frame is thrown away.
    pub async fn until_closed(&mut self) -> Closed {
        let mut closed = Closed { code: None, reason: String::new() };
        while let Some(frame) = self.next().await {
            if frame.opcode() == CLOSE {
                closed = frame.closed();
                // As a client should, so that the node need not wait.
                let payload = frame.payload;
                self.send(CLOSE, &payload[..payload.len().min(2)]).await;
            }
        }
        closed
    }
}

impl Frame {
    /// The opcode.
    pub fn opcode(&self) -> u8 {
        self.first & 0x0f
    }

    fn closed(&self) -> Closed {
        let code = self.payload.first_chunk().map(|code| u16::from_be_bytes(*code));
        let reason = self.payload.get(2..).unwrap_or_default();
        Closed { code, reason: String::from_utf8(reason.to_vec()).expect("a reason is UTF-8") }
    }
}

/// A key as RFC 6455 has it.
pub const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// A handshake, whole but for what is left out.
pub fn upgrade_request(query: &str, version: &str, key: Option<&str>) -> String {
    let key = key.map(|key| format!("Sec-WebSocket-Key: {key}\r\n")).unwrap_or_default();
    format!(
        "GET /ws/sync?{query} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: {version}\r\n{key}\r\n"
    )
}

/// A masked frame whose first byte is the caller's.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = header(first, payload.len() as u64);
    bytes.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

/// The header of a masked frame that announces a length.
pub fn header(first: u8, length: u64) -> Vec<u8> {
    let mut bytes = vec![first];
    match length {
        0..=125 => bytes.push(0x80 | length as u8),
        126..=65_535 => {
            bytes.push(0x80 | 126);
            bytes.extend((length as u16).to_be_bytes());
        }
        _ => {
            bytes.push(0x80 | 127);
            bytes.extend(length.to_be_bytes());
        }
    }
    bytes.extend(MASK);
    bytes
}

fn take_frame(buffer: &mut Vec<u8>) -> Option<Frame> {
    let (first, second) = (*buffer.first()?, *buffer.get(1)?);
    assert_eq!(second & 0x80, 0, "a node's frames are not masked");
    let (head, length) = match second {
        126 => (4, u64::from(u16::from_be_bytes(buffer.get(2..4)?.try_into().ok()?))),
        127 => (10, u64::from_be_bytes(buffer.get(2..10)?.try_into().ok()?)),
        short => (2, u64::from(short)),
    };
    let end = head + usize::try_from(length).expect("a length that fits into memory");
    if buffer.len() < end {
        return None;
    }
    let payload = buffer[head..end].to_vec();
    buffer.drain(..end);
    Some(Frame { first, payload })
}
