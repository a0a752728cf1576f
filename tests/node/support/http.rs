//! HTTP/1.1 as far as tests need it: one request, one connection.

use std::net::SocketAddr;

use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::{until, within, written};

/// An answer.
#[derive(Clone, Debug)]
pub struct Response {
    /// The status.
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Response {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).expect("the body is UTF-8")
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Checks that this is a problem document with this status and code, whole and consistent; returns it.
    pub fn problem(&self, status: u16, code: &str) -> Value {
        assert_eq!(self.status, status, "{self:?} {}", String::from_utf8_lossy(&self.body));
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        let problem = self.json();
        assert_eq!(problem["code"], code, "{problem}");
        assert_eq!(problem["status"], status, "{problem}");
        for field in ["type", "title", "detail"] {
            assert!(problem[field].as_str().is_some_and(|text| !text.is_empty()), "{field} in {problem}");
        }
        if let Some(wait) = problem.get("retry_after_ms").and_then(Value::as_u64) {
            let seconds: u64 = self.header("retry-after").expect("Retry-After").parse().expect("seconds");
            assert_eq!(seconds, wait.div_ceil(1000), "{problem}");
        }
        problem
    }
}

/// `GET`.
pub async fn get(address: SocketAddr, target: &str) -> Response {
    send(address, "GET", target, &[], b"").await
}

/// `POST` of JSON.
pub async fn post(address: SocketAddr, target: &str, body: &[u8]) -> Response {
    send(address, "POST", target, &[("Content-Type", "application/json")], body).await
}

/// `POST` of JSON to a node that may be gone: `None` when it does not answer.
pub async fn try_post(address: SocketAddr, target: &str, body: &[u8]) -> Option<Response> {
    within("an answer or the connection's end", async {
        let mut socket = TcpStream::connect(address).await.ok()?;
        let head = format!(
            "POST {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        socket.write_all(&[head.as_bytes(), body].concat()).await.ok()?;
        read_response(&mut socket, &mut Vec::new()).await
    })
    .await
}

/// A figure of `/metrics`, summed over its labels; 0 if it is not there (yet).
pub async fn metric(address: SocketAddr, name: &str) -> f64 {
    let text = get(address, "/metrics").await.text();
    let value = |line: &str| -> Option<f64> {
        let rest = line.strip_prefix(name)?;
        rest.starts_with(['{', ' ']).then(|| rest.rsplit(' ').next()?.parse().ok())?
    };
    text.lines().filter_map(value).sum()
}

/// Waits until a figure of `/metrics` is as wanted, and returns it.
pub async fn until_metric(address: SocketAddr, name: &str, wanted: impl Fn(f64) -> bool) -> f64 {
    until(&format!("{name} is as wanted"), async || Some(metric(address, name).await).filter(|value| wanted(*value)))
        .await
}

/// Any request.
pub async fn send(address: SocketAddr, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Response {
    let mut request = format!("{method} {target} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n");
    if !body.is_empty() || method == "POST" {
        request.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request.push_str("\r\n");
    exchange(address, &[request.as_bytes(), body].concat()).await
}

/// Any bytes.
pub async fn exchange(address: SocketAddr, request: &[u8]) -> Response {
    let what = format!("an answer to {}", String::from_utf8_lossy(&request[..request.len().min(200)]));
    within(&what, async {
        let mut socket = TcpStream::connect(address).await.expect("the node accepts connections");
        // Refused halfway, a node may answer before it has read everything.
        let _ = socket.write_all(request).await;
        let mut buffer = Vec::new();
        let mut answer = read_response(&mut socket, &mut buffer).await.unwrap_or_else(|| panic!("no {what}"));
        // An event stream has no end.
        let is_stream = answer.header("content-type") == Some("text/event-stream");
        if answer.header("transfer-encoding") == Some("chunked") && !is_stream {
            answer.body = read_chunks(&mut socket, &mut buffer).await.expect("the answer comes to its end");
            written::note(&answer);
        }
        answer
    })
    .await
}

/// Reads one answer; what was read beyond it stays in `buffer`. `None` when the connection ended before.
pub async fn read_response(socket: &mut (impl AsyncRead + Unpin), buffer: &mut Vec<u8>) -> Option<Response> {
    let head_end = loop {
        if let Some(at) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        read_some(socket, buffer).await?;
    };
    let head: Vec<u8> = buffer.drain(..head_end).collect();
    let head = String::from_utf8(head).expect("a head is ASCII");
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().expect("a status");
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let length = headers.iter().find(|(name, _)| name == "content-length").map(|(_, value)| value);
    let length: usize = length.map_or(0, |text| text.parse().expect("a length"));
    while buffer.len() < length {
        read_some(socket, buffer).await?;
    }
    let body = buffer.drain(..length).collect();
    let answer = Response { status, headers, body };
    written::note(&answer);
    Some(answer)
}

/// A body in chunks, up to the last one; `None` if it broke off.
pub async fn read_chunks(socket: &mut (impl AsyncRead + Unpin), buffer: &mut Vec<u8>) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = loop {
            match buffer.windows(2).position(|window| window == b"\r\n") {
                Some(at) => break at,
                None => read_some(socket, buffer).await?,
            }
        };
        let length = String::from_utf8(buffer.drain(..end + 2).collect()).expect("a length is ASCII");
        let length = usize::from_str_radix(length.trim_end(), 16).expect("a length");
        while buffer.len() < length + 2 {
            read_some(socket, buffer).await?;
        }
        body.extend(buffer.drain(..length + 2).take(length));
        if length == 0 {
            return Some(body);
        }
    }
}

async fn read_some(socket: &mut (impl AsyncRead + Unpin), buffer: &mut Vec<u8>) -> Option<()> {
    match socket.read_buf(buffer).await {
        Ok(0) | Err(_) => None,
        Ok(_) => Some(()),
    }
}
