//! A connection for tests in which connections break: nothing that goes wrong with it is a failure.

use std::{net::SocketAddr, time::Duration};

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_tungstenite::{WebSocketStream, client_async, tungstenite::Message};

use super::{DEADLINE, within};

/// A WebSocket that may end at any moment.
pub struct Wire(WebSocketStream<TcpStream>);

impl Wire {
    /// Connects to a room; `None` when that does not work now.
    pub async fn connect(address: SocketAddr, query: &str) -> Option<Self> {
        within("a handshake or its failure", async {
            let socket = TcpStream::connect(address).await.ok()?;
            let (socket, _) = client_async(format!("ws://{address}/ws/sync?{query}"), socket).await.ok()?;
            Some(Self(socket))
        })
        .await
    }

    /// Sends a message; `None` when the connection is gone.
    pub async fn send(&mut self, message: &Value) -> Option<()> {
        self.0.send(Message::text(message.to_string())).await.ok()
    }

    /// The next message; `None` when the connection is gone.
    pub async fn next(&mut self) -> Option<Value> {
        self.next_in(DEADLINE).await
    }

    /// The same for tests in which it may take longer.
    pub async fn next_in(&mut self, patience: Duration) -> Option<Value> {
        let next = tokio::time::timeout(patience, async {
            loop {
                if let Message::Text(text) = self.0.next().await?.ok()? {
                    return Some(serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}")));
                }
            }
        });
        next.await.unwrap_or_else(|_| panic!("neither a message nor the connection's end within {patience:?}"))
    }

    /// Reads up to a message of a type; `None` when the connection is gone before it.
    pub async fn expect(&mut self, event_type: &str) -> Option<Value> {
        loop {
            let message = self.next().await?;
            if message["event_type"] == event_type {
                return Some(message);
            }
        }
    }
}
