//! Many clients at the notebook's own port.

use std::{net::SocketAddr, process::Stdio};

use serde_json::json;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};

use crate::{
    client::hasty,
    nats_support::within,
    support::{RawClient, http::Response},
};

/// Asks over a connection of its own, which goes on; the answer's head.
async fn ask(address: SocketAddr, head: &str, body: &str) -> (RawClient, Response) {
    let length = body.len();
    let request = format!("{head}\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n{body}");
    let mut asking = RawClient::open(address, request.as_bytes()).await;
    let answer = asking.answer().await;
    (asking, answer)
}

#[tokio::test]
async fn no_header_opens_more_sessions_than_may_be_and_all_of_them_may_listen_and_be_asked() {
    let (nobody, dir) = ("127.0.0.1:9".parse().expect("an address"), TempDir::new().expect("a directory"));
    let mut start = hasty(nobody, "a", dir.path());
    start.args(["--http", "127.0.0.1:0", "--flush", "0s"]);
    let mut server = start.stderr(Stdio::piped()).spawn().expect("it starts");
    let mut lines = BufReader::new(server.stderr.take().expect("piped")).lines();
    let address: SocketAddr = loop {
        let line = within("it says where", lines.next_line()).await.expect("read").expect("it goes on");
        if let Some(rest) = line.split("http://").nth(1) {
            break rest.trim_end_matches("/mcp").parse().expect("an address");
        }
    };
    let opening = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}});
    let (opening, head) = (
        opening.to_string(),
        "POST /mcp HTTP/1.1\r\nContent-Type: application/json\r\n\
        Accept: application/json, text/event-stream",
    );
    let mut listening = Vec::new();
    for _ in 0..256 {
        let (_, opened) = ask(address, &format!("{head}\r\nMcp-Method: initialize"), &opening).await;
        let session = opened.header("mcp-session-id").unwrap_or_else(|| panic!("{opened:?}")).to_owned();
        let listen = format!("GET /mcp HTTP/1.1\r\nAccept: text/event-stream\r\nMcp-Session-Id: {session}");
        let (stream, answer) = ask(address, &listen, "").await;
        assert_eq!(answer.status, 200, "{answer:?}");
        listening.push(stream);
    }
    for header in ["X-Other: 1", "Mcp-Method: initialize", "Mcp-Session-Id: é"] {
        let (_, refused) = ask(address, &format!("{head}\r\n{header}"), &opening).await;
        assert_eq!(refused.status, 503, "{header}: {refused:?}");
    }
    let (_, figures) = ask(address, "GET /metrics HTTP/1.1", "").await;
    assert_eq!(figures.status, 200, "{figures:?}");
}
