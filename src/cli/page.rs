//! One page over plain HTTP, for commands that ask a server how it is.

use std::{io, net::SocketAddr};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// A longer answer than this is cut.
const MOST_BYTES: u64 = 8 << 20;

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Its status; 0 if it is no HTTP.
    pub status: u16,
    /// What follows the head. The sizes of chunks stand in it if the server sends chunks.
    pub body: String,
}

/// Gets a page. Waits for as long as the server takes.
///
/// # Errors
///
/// The server cannot be reached, or ends the connection badly.
pub async fn get(server: SocketAddr, path: &str) -> io::Result<Page> {
    let mut stream = TcpStream::connect(server).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {server}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(MOST_BYTES).read_to_end(&mut answer).await?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or(("", &answer));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default();
    Ok(Page { status, body: body.to_owned() })
}
