//! A client that opens a connection and never reads from it.

use std::net::SocketAddr;

use tokio::{io::AsyncWriteExt as _, net::TcpStream};

use super::{
    http,
    raw::{KEY, narrow, upgrade_request},
    within,
};

/// Settings of a node whose log leaves behind whoever reads nothing.
pub const PASSED_BY_RETENTION: [(&str, &str); 5] = [
    ("limits.stall_timeout", "60s"),
    ("server.send_buffer", "65536"),
    ("rooms.ring_bytes", "100000"),
    ("log.retention_bytes", "1000000"),
    ("log.sweep_interval", "50ms"),
];

/// A connection of which only the handshake's answer was read.
pub struct Stalled {
    socket: TcpStream,
}

impl Stalled {
    /// Connects to a room.
    pub async fn connect(address: SocketAddr, query: &str) -> Self {
        within("the handshake", async {
            let mut socket = narrow(address).await;
            let request = upgrade_request(query, "13", Some(KEY));
            socket.write_all(request.as_bytes()).await.expect("the node reads requests");
            let response = http::read_response(&mut socket, &mut Vec::new()).await.expect("an answer");
            assert_eq!(response.status, 101, "{response:?}");
            Self { socket }
        })
        .await
    }

    /// Writes one piece after the other until the node ends the connection.
    pub async fn flood(&mut self, mut piece: impl FnMut() -> Vec<u8>) {
        within("the node ends the flood", async { while self.socket.write_all(&piece()).await.is_ok() {} }).await;
    }

    /// Says that nothing more comes from here, without a close frame.
    pub async fn hang_up(&mut self) {
        // It may be gone already.
        let _ = self.socket.shutdown().await;
    }
}
