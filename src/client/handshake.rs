//! The HTTP upgrade, by hand: a library's handshake keeps the refusal's body to itself, and that body says what to mend.

use std::{fmt, io, time::Duration};

use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_tungstenite::tungstenite::handshake::{client::generate_key, derive_accept_key};

use super::{backoff::followed, incoming::Error};

/// A head or a refusal's body longer than this is not one of ours.
const MOST_BYTES: usize = 64 * 1024;

/// Why the upgrade failed.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// The connection failed.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The other side does not speak WebSocket.
    #[error("the other side is not a WebSocket server: {0}")]
    NotWebSocket(&'static str),
    /// An HTTP answer other than 101.
    #[error("{0}")]
    Refused(Refusal),
}

/// An HTTP answer other than 101.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// HTTP status.
    pub status: u16,
    /// The problem document's `code`.
    pub code: Option<String>,
    /// The problem document's `detail`, or what is known without one.
    pub detail: String,
    /// `Retry-After`.
    pub retry_after: Option<Duration>,
}

impl Refusal {
    /// What a node says on the socket, behind an upgrade that it answered.
    pub(super) fn on_the_socket(error: &Error) -> Self {
        let status = match error.code.as_str() {
            "limit_reached" | "rate_limited" => 429,
            "unavailable" | "draining" | "busy" => 503,
            "internal" => 500,
            "unauthenticated" | "token_expired" | "token_revoked" => 401,
            _ => 403,
        };
        let retry_after = error.retry_after_ms.map(Duration::from_millis);
        Self { status, code: Some(error.code.clone()), detail: error.message.clone(), retry_after }
    }

    /// Whether the same request may succeed later: the node's state refused it, not its own contents.
    pub fn may_pass(&self) -> bool {
        matches!(self.status, 408 | 425 | 429 | 500..)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.code {
            Some(code) => write!(f, "{} ({code}, HTTP {})", self.detail, self.status),
            None => write!(f, "{} (HTTP {})", self.detail, self.status),
        }
    }
}

#[derive(Deserialize)]
struct Problem {
    code: Option<String>,
    detail: Option<String>,
    title: Option<String>,
}

/// Upgrades `stream`; gives the bytes that came behind the answer's head, which are the first frames.
pub async fn upgrade(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    authority: &str,
    target: &str,
    token: Option<&str>,
) -> Result<Vec<u8>, HandshakeError> {
    let key = generate_key();
    let authorization = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
    let request = format!(
        "GET {target} HTTP/1.1\r\nHost: {authority}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n{authorization}\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    stream.flush().await?;
    let mut bytes = Vec::with_capacity(1024);
    let end = loop {
        if let Some(end) = memchr::memmem::find(&bytes, b"\r\n\r\n") {
            break end + 4;
        }
        more(stream, &mut bytes).await?;
    };
    let head = Head::parse(&bytes[..end])?;
    if head.status == 101 {
        let accept = head.header("sec-websocket-accept").unwrap_or_default();
        if accept != derive_accept_key(key.as_bytes()) {
            return Err(HandshakeError::NotWebSocket("its answer does not fit the key"));
        }
        return Ok(bytes.split_off(end));
    }
    let length = head.header("content-length").and_then(|n| n.parse().ok()).unwrap_or(0);
    let mut body = bytes[end..].to_vec();
    while body.len() < length {
        // A body that ends early still has the status to report.
        if more(stream, &mut body).await.is_err() {
            break;
        }
    }
    Err(HandshakeError::Refused(head.refusal(&body)))
}

async fn more(stream: &mut (impl AsyncRead + Unpin), bytes: &mut Vec<u8>) -> Result<(), HandshakeError> {
    if bytes.len() > MOST_BYTES {
        return Err(HandshakeError::NotWebSocket("its answer has no end"));
    }
    match stream.read_buf(bytes).await? {
        0 => Err(HandshakeError::Io(io::ErrorKind::UnexpectedEof.into())),
        _ => Ok(()),
    }
}

struct Head<'a> {
    status: u16,
    headers: Vec<(&'a str, &'a str)>,
}

impl<'a> Head<'a> {
    fn parse(bytes: &'a [u8]) -> Result<Self, HandshakeError> {
        let malformed = HandshakeError::NotWebSocket("its answer is not HTTP");
        let Ok(text) = str::from_utf8(bytes) else { return Err(malformed) };
        let mut lines = text.split("\r\n");
        let first = lines.next().unwrap_or_default();
        let status = first.strip_prefix("HTTP/1.").and_then(|rest| rest.split(' ').nth(1)).and_then(|s| s.parse().ok());
        let Some(status) = status else { return Err(malformed) };
        let headers = lines.filter_map(|line| line.split_once(':')).map(|(k, v)| (k.trim(), v.trim())).collect();
        Ok(Self { status, headers })
    }

    fn header(&self, name: &str) -> Option<&'a str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| *value)
    }

    fn refusal(&self, body: &[u8]) -> Refusal {
        let problem: Option<Problem> = serde_json::from_slice(body).ok();
        let (code, text) = problem.map_or((None, None), |p| (p.code, p.detail.or(p.title)));
        Refusal {
            status: self.status,
            code,
            detail: text.unwrap_or_else(|| "the node refused the connection".to_owned()),
            retry_after: self.header("retry-after").and_then(|s| s.parse().ok()).map(Duration::from_secs).map(followed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_reads_the_problem_document_and_retry_after() {
        let head = Head::parse(b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 7\r\n\r\n").expect("a head");
        let refusal = head.refusal(br#"{"type":"about:blank","status":503,"code":"draining","detail":"going away"}"#);
        assert_eq!(refusal.to_string(), "going away (draining, HTTP 503)");
        assert_eq!(refusal.retry_after, Some(Duration::from_secs(7)));
        assert!(refusal.may_pass());
    }

    #[test]
    fn a_hint_is_followed_for_an_hour_at_most() {
        let head = format!("HTTP/1.1 503 Service Unavailable\r\nretry-after: {}\r\n\r\n", u64::MAX);
        let refusal = Head::parse(head.as_bytes()).expect("a head").refusal(b"");
        assert_eq!(refusal.retry_after, Some(Duration::from_secs(3600)));
    }

    #[test]
    fn a_refused_parameter_does_not_pass_later() {
        let head = Head::parse(b"HTTP/1.1 400 Bad Request\r\n\r\n").expect("a head");
        assert!(!head.refusal(b"<html>").may_pass());
        assert!(Head::parse(b"SSH-2.0-OpenSSH\r\n\r\n").is_err());
    }
}
