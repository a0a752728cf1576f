//! A server's monitoring, asked over plain HTTP. No answer is an answer here: servers die in these tests.

use std::{net::SocketAddr, time::Duration};

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// A paused server accepts and never answers.
const ONE_ANSWER: Duration = Duration::from_secs(2);

/// The status and the body of a `GET`; `None` when the server does not answer.
pub(super) async fn get(address: SocketAddr, target: &str) -> Option<(u16, Value)> {
    let asked = async {
        let mut socket = TcpStream::connect(address).await.ok()?;
        // 1.0: the answer comes in one piece and ends with the connection.
        socket.write_all(format!("GET {target} HTTP/1.0\r\n\r\n").as_bytes()).await.ok()?;
        let mut answer = Vec::new();
        socket.read_to_end(&mut answer).await.ok()?;
        let answer = String::from_utf8(answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        let status = head.split(' ').nth(1)?.parse().ok()?;
        Some((status, serde_json::from_str(body).ok()?))
    };
    tokio::time::timeout(ONE_ANSWER, asked).await.ok().flatten()
}
