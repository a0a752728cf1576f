//! A client that opens a connection and never reads from it.

use std::net::SocketAddr;

use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpSocket, TcpStream},
};

use super::{
    http,
    raw::{KEY, upgrade_request},
    within,
};

/// What its system keeps for it: as little as the kernel allows, so that it stalls soon.
const RECEIVE_BUFFER: u32 = 2048;

/// A connection of which only the handshake's answer was read.
pub struct Stalled {
    socket: TcpStream,
}

impl Stalled {
    /// Connects to a room.
    pub async fn connect(address: SocketAddr, query: &str) -> Self {
        within("the handshake", async {
            let socket = TcpSocket::new_v4().expect("a socket");
            socket.set_recv_buffer_size(RECEIVE_BUFFER).expect("an option of every socket");
            let mut socket = socket.connect(address).await.expect("the node accepts connections");
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
