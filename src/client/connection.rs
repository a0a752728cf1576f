//! One connection to a room, from the upgrade to the close.

use std::{io, time::Duration};

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use tokio::{
    net::TcpStream,
    time::{Instant, error::Elapsed, timeout, timeout_at},
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        self, Message, Utf8Bytes,
        protocol::{CloseFrame, Role, frame::coding::CloseCode},
    },
};

use super::{
    backoff::followed,
    handshake::{self, HandshakeError, Refusal},
    incoming::{Frame, Incoming, Malformed, Ready},
    options::{ClientOptions, Encoding, Scheme, Since},
    tls::{Stream, Trust},
    track::{Gap, Novelty, Tracker},
};
use crate::wire::{encoding::inflate, retry};

/// Longest time for connection, upgrade and first message together.
const JOIN_TIME: Duration = Duration::from_secs(20);
/// The largest message: as large as one may come uncompressed.
const MOST_BYTES: usize = 64 * 1024 * 1024;
/// Longest time for the node to answer our close.
const CLOSE_TIME: Duration = Duration::from_secs(2);

/// Why no connection came about.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// Nobody answers there.
    #[error("cannot reach {authority}: {cause}")]
    Unreachable {
        /// `host:port`.
        authority: String,
        /// What the system said.
        cause: io::Error,
    },
    /// The node, or something in front of it, said no.
    #[error("{0}")]
    Refused(Refusal),
    /// Something else listens there.
    #[error("{0}")]
    NotANode(&'static str),
    /// It does not prove that it is who it says.
    #[error("{0}")]
    Untrusted(String),
    /// No first message within `JOIN_TIME`.
    #[error("the node did not answer in time")]
    TimedOut,
    /// The connection ended before the first message.
    #[error("{0}")]
    Ended(#[from] Ended),
}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub enum Ended {
    /// The node closed it.
    #[error("closed by the node: {code} {reason}")]
    Closed {
        /// Close code; 1005 when there was none.
        code: u16,
        /// The node's words.
        reason: String,
    },
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Broken(String),
    /// Nothing came for the node's own timeout.
    #[error("nothing was heard from the node for {0:?}")]
    Silent(Duration),
    /// A record is missing.
    #[error(transparent)]
    Gap(#[from] Gap),
    /// The node said something that the protocol does not have.
    #[error(transparent)]
    Malformed(#[from] Malformed),
}

impl Ended {
    /// When the node says so itself: how long to stay away (close 1012).
    pub fn retry_after(&self) -> Option<Duration> {
        let Self::Closed { code: 1012, reason } = self else { return None };
        retry::millis_in(reason).map(Duration::from_millis).map(followed)
    }

    /// Whether connecting again can only end the same way (the protocol's table of close codes).
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Closed { code: 1002 | 1007 | 4001 | 4003 | 4009 | 4012 | 4013, .. })
    }
}

impl From<tungstenite::Error> for Ended {
    fn from(error: tungstenite::Error) -> Self {
        match error {
            tungstenite::Error::ConnectionClosed => Self::Closed { code: 1005, reason: String::new() },
            other => Self::Broken(other.to_string()),
        }
    }
}

/// A joined room.
#[derive(Debug)]
pub struct Connection {
    socket: WebSocketStream<Stream>,
    tracker: Tracker,
    ready: Ready,
    encoding: Encoding,
    heard: Instant,
    send_time: Duration,
    /// Since when something waits to be sent: asked for again and again, it is the same sending.
    sending_since: Option<Instant>,
}

impl Connection {
    /// Connects, upgrades and waits for `session_ready`, which is the frame that comes with it.
    pub async fn join(
        options: &ClientOptions,
        since: Option<Since>,
        tracker: Tracker,
    ) -> Result<(Self, Frame), JoinError> {
        timeout(JOIN_TIME, Self::join_unbounded(options, since, tracker)).await.map_err(|_| JoinError::TimedOut)?
    }

    async fn join_unbounded(
        options: &ClientOptions,
        since: Option<Since>,
        mut tracker: Tracker,
    ) -> Result<(Self, Frame), JoinError> {
        let authority = options.url.authority();
        let unreachable = |cause| JoinError::Unreachable { authority: authority.clone(), cause };
        let socket = TcpStream::connect((options.url.host(), options.url.port())).await.map_err(unreachable)?;
        socket.set_nodelay(true).map_err(unreachable)?;
        let mut stream = match (options.url.scheme(), &options.trust) {
            (Scheme::Plain, _) => Stream::Left(socket),
            (Scheme::Tls, Some(trust)) => trust.secure(socket, options.url.host()).await?,
            (Scheme::Tls, None) => Trust::system().secure(socket, options.url.host()).await?,
        };
        let first_frames =
            match handshake::upgrade(&mut stream, &authority, &options.target(since), options.token()).await {
                Ok(bytes) => bytes,
                Err(HandshakeError::Io(cause)) => return Err(unreachable(cause)),
                Err(HandshakeError::Refused(refusal)) => return Err(JoinError::Refused(refusal)),
                Err(HandshakeError::NotWebSocket(why)) => return Err(JoinError::NotANode(why)),
            };
        let mut socket = WebSocketStream::from_partially_read(stream, first_frames, Role::Client, None).await;
        let frame = Frame::parse(read_text(&mut socket).await?).map_err(Ended::from)?;
        let ready = match &frame.message {
            Incoming::Ready(ready) => Ready::clone(ready),
            // A bad token, or no place: told here, where browsers can see it too.
            Incoming::Error(error) => return Err(JoinError::Refused(Refusal::on_the_socket(error))),
            _ => return Err(JoinError::NotANode("its first message is not session_ready")),
        };
        tracker.see(&frame.message).map_err(Ended::from)?;
        let ClientOptions { encoding, send_time, .. } = *options;
        let heard = Instant::now();
        Ok((Self { socket, tracker, ready, encoding, heard, send_time, sending_since: None }, frame))
    }

    /// What the node said of itself.
    pub fn ready(&self) -> &Ready {
        &self.ready
    }

    /// Where we stand.
    pub fn tracker(&self) -> &Tracker {
        &self.tracker
    }

    /// The next message that is not a repeat; heartbeats are answered before they are handed out. Nothing is lost when
    /// the future is dropped.
    pub async fn next(&mut self) -> Result<Frame, Ended> {
        loop {
            let silence = Duration::from_millis(self.ready.heartbeat.timeout_ms);
            let next = timeout(silence.saturating_sub(self.heard.elapsed()), next_message(&mut self.socket)).await;
            let text = match next.map_err(|_| Ended::Silent(silence))?? {
                Message::Text(text) => text,
                Message::Binary(bytes) => text_of(bytes, self.encoding)?,
                // The library answers pings; both show that the node lives.
                _ => {
                    self.heard = Instant::now();
                    continue;
                }
            };
            self.heard = Instant::now();
            let frame = Frame::parse(text)?;
            if self.tracker.see(&frame.message)? == Novelty::Repeated {
                continue;
            }
            if matches!(frame.message, Incoming::Heartbeat) {
                let position = self.tracker.cursor().map_or(0, |cursor| cursor.position.0);
                self.enqueue(format!(r#"{{"event_type":"heartbeat","data":{{"position":{position}}}}}"#)).await?;
                self.flush().await?;
            }
            return Ok(frame);
        }
    }

    /// Puts a text into the send buffer; [`Connection::flush`] sends it. Dropped before it is ready, nothing was taken.
    pub async fn enqueue(&mut self, text: String) -> Result<(), Ended> {
        let by = self.send_by();
        let sent = timeout_at(by, self.socket.feed(Message::text(text))).await;
        self.sent(sent)
    }

    /// Sends what is in the buffer.
    pub async fn flush(&mut self) -> Result<(), Ended> {
        let by = self.send_by();
        let sent = timeout_at(by, self.socket.flush()).await;
        self.sent(sent)
    }

    fn send_by(&mut self) -> Instant {
        *self.sending_since.get_or_insert_with(Instant::now) + self.send_time
    }

    fn sent(&mut self, sent: Result<Result<(), tungstenite::Error>, Elapsed>) -> Result<(), Ended> {
        sent.map_err(|_| Ended::Silent(self.send_time))??;
        self.sending_since = None;
        Ok(())
    }

    /// Closes cleanly, so that the others learn of it at once.
    pub async fn close(mut self) {
        let bye = CloseFrame { code: CloseCode::Normal, reason: Utf8Bytes::default() };
        let farewell = async {
            if self.socket.close(Some(bye)).await.is_ok() {
                // The answer, and what the node had sent before it; none of it is wanted any more.
                while let Some(Ok(_)) = self.socket.next().await {}
            }
        };
        // A node that does not answer our close is left behind all the same.
        let _ = timeout(CLOSE_TIME, farewell).await;
    }
}

/// What a binary message says.
fn text_of(bytes: Bytes, encoding: Encoding) -> Result<Utf8Bytes, Ended> {
    let bytes = match encoding {
        Encoding::Text => bytes,
        Encoding::DeflateRaw => {
            let inflated = inflate(&bytes, MOST_BYTES);
            inflated.map_err(|error| Ended::Broken(format!("a message cannot be inflated: {error}")))?.into()
        }
    };
    Utf8Bytes::try_from(bytes).map_err(|error| Ended::Broken(error.to_string()))
}

async fn read_text(socket: &mut WebSocketStream<Stream>) -> Result<Utf8Bytes, Ended> {
    loop {
        if let Message::Text(text) = next_message(socket).await? {
            return Ok(text);
        }
    }
}

async fn next_message(socket: &mut WebSocketStream<Stream>) -> Result<Message, Ended> {
    match socket.next().await {
        None => Err(Ended::Broken("it ended without a close".to_owned())),
        Some(Ok(Message::Close(frame))) => {
            let (code, reason) = frame.map_or((1005, String::new()), |f| (u16::from(f.code), f.reason.to_string()));
            Err(Ended::Closed { code, reason })
        }
        Some(message) => Ok(message?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Close;

    fn closed(code: u16, reason: &str) -> Ended {
        Ended::Closed { code, reason: reason.to_owned() }
    }

    #[test]
    fn a_restart_says_how_long_to_stay_away() {
        let said = |retry_after| Close::Restart { retry_after }.reason().into_owned();
        let wait = Duration::from_millis(1234);
        assert_eq!(closed(1012, &said(wait)).retry_after(), Some(wait));
        assert_eq!(closed(1012, &said(Duration::from_secs(1 << 40))).retry_after(), Some(Duration::from_secs(3600)));
        assert_eq!(closed(1012, "restart").retry_after(), None);
        assert_eq!(closed(1011, &said(wait)).retry_after(), None);
    }

    #[test]
    fn a_newer_connection_or_a_refused_identity_ends_it_for_good() {
        for code in [4001, 4009, 4003, 4012, 4013] {
            assert!(closed(code, "").is_final(), "{code}");
        }
        for code in [1000, 1009, 1011, 1012, 4002, 4008, 4010, 4011] {
            assert!(!closed(code, "").is_final(), "{code}");
        }
    }
}
