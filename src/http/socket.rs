//! A connection's socket as the framework sees it: bytes have to be taken in time, and its answers learn when the peer
//! hangs up.
//!
//! Why it exists: the framework asks an answer for more only when the socket has taken what came before, so a client that
//! does not read costs no memory, but it would keep its connection for ever, and whatever watches over an answer from
//! within is not polled any more. So the watch is here: while bytes wait, the socket has to take some within
//! `limits.stall_timeout`, or the connection is cut. The framework also gives only the first request of a connection a time
//! to come in; the heads of those behind it are watched here. What it writes by itself while a handler is at work, such as
//! `100 Continue`, is no answer: what comes then is still the request's body, which the handler watches. Owns: invariant **cut**
//! for everything but upgraded connections, which `actors/driver.rs` watches. Must not know: what the bytes mean.

use std::{
    cell::Cell,
    future::{pending, poll_fn},
    io,
    net::SocketAddr,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Instant, Sleep, sleep},
};

use super::strangers::Stranger;
use crate::{
    actors::{context::NodeContext, metrics::CloseLabel, transport::Transport},
    wire::Close,
};

/// What requests and answers can see of the peer, and say of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Peer {
    seen: Rc<Seen>,
    stranger: Option<Rc<Stranger>>,
}

#[derive(Debug, Default)]
struct Seen {
    presence: Cell<Presence>,
    turn: Cell<Turn>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Presence {
    #[default]
    Here,
    /// It says nothing more: what does not end by itself has nobody who wants it.
    HungUp,
}

impl Peer {
    /// Waits until the peer has hung up. The framework reads before it goes on with an answer, so there is nothing to be
    /// woken by: it is enough to look.
    pub(super) async fn hangs_up(&self) {
        let is_gone = || self.seen.presence.get() == Presence::HungUp;
        poll_fn(|_| if is_gone() { Poll::Ready(()) } else { Poll::Pending }).await;
    }
}

impl Peer {
    /// Waits until it has to go, as long as it has not said who it is.
    pub(super) async fn ends(&self) {
        match &self.stranger {
            Some(stranger) => stranger.ends().await,
            None => pending().await,
        }
    }

    /// It has said who it is.
    pub(super) fn is_known(&self) {
        self.stranger.iter().for_each(|stranger| stranger.is_known());
    }

    /// A request's head has come: it is the node's turn until what is returned is dropped.
    pub(super) fn has_asked(&self) -> Asked {
        self.seen.turn.set(Turn::Node);
        Asked(self.seen.clone())
    }
}

/// A request that a handler is at work on.
#[derive(Debug)]
pub(super) struct Asked(Rc<Seen>);

impl Drop for Asked {
    fn drop(&mut self) {
        self.0.turn.set(Turn::Answer);
    }
}

/// Whom a connection waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Turn {
    /// For the peer's first request, over which the framework watches.
    #[default]
    First,
    /// For a handler. What comes meanwhile is the request's body, or requests that wait their turn.
    Node,
    /// For the first bytes of an answer that the handler has made.
    Answer,
    /// For the peer: the rest of a request, or the next one.
    Peer,
}

/// The socket.
#[derive(Debug)]
pub(super) struct Socket {
    stream: Transport,
    peer: Peer,
    /// Runs while the socket takes nothing.
    stall: Option<Pin<Box<Sleep>>>,
    /// Runs from a further request's first byte until its head has come.
    head: Option<Pin<Box<Sleep>>>,
    context: Arc<NodeContext>,
}

impl Socket {
    /// Takes a connection over.
    pub(super) fn new(stream: Transport, stranger: Rc<Stranger>, context: Arc<NodeContext>) -> Self {
        let peer = Peer { seen: Rc::default(), stranger: Some(stranger) };
        Self { stream, peer, stall: None, head: None, context }
    }

    /// Whom it leads to.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        self.stream.socket().peer_addr().ok()
    }

    /// What answers can see of that.
    pub(super) fn peer(&self) -> Peer {
        self.peer.clone()
    }

    /// For whoever watches over it from now on.
    pub(super) fn into_inner(self) -> (Transport, Peer) {
        (self.stream, self.peer)
    }

    /// Bytes of a request came.
    fn begins_head(&mut self) {
        if self.peer.seen.turn.get() == Turn::Peer && self.head.is_none() {
            self.head = Some(Box::pin(sleep(self.context.config.server.handshake_timeout)));
        }
    }

    /// Fails when a head takes too long.
    fn wait_for_head(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        if self.peer.seen.turn.get() != Turn::Peer {
            // It has come.
            self.head = None;
        }
        let Some(head) = &mut self.head else { return Poll::Pending };
        ready!(head.as_mut().poll(cx));
        self.head = None;
        tracing::info!(peer = ?self.stream.socket().peer_addr().ok(), "connection cut: a request did not come to its end");
        Poll::Ready(io::ErrorKind::TimedOut.into())
    }

    /// The socket has taken something.
    fn took(&mut self) {
        (self.stall, self.head) = (None, None);
        if self.peer.seen.turn.get() == Turn::Answer {
            self.peer.seen.turn.set(Turn::Peer);
        }
    }

    /// Fails once a stranger has to go.
    fn wait_for_end(&self, cx: &Context<'_>) -> Poll<io::Error> {
        let Some(stranger) = &self.peer.stranger else { return Poll::Pending };
        stranger.poll_end(cx).map(|()| io::ErrorKind::ConnectionAborted.into())
    }

    /// The socket takes nothing now: fails when it has not for too long.
    fn wait(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        if let Poll::Ready(error) = self.wait_for_end(cx) {
            return Poll::Ready(error);
        }
        let timeout = self.context.config.limits.stall_timeout;
        let stall = self.stall.get_or_insert_with(|| Box::pin(sleep(timeout)));
        ready!(stall.as_mut().poll(cx));
        // Asked again, it waits again.
        stall.as_mut().reset(Instant::now() + timeout);
        tracing::info!(peer = ?self.stream.socket().peer_addr().ok(), "connection cut: it took no bytes");
        let label = CloseLabel { code: u32::from(Close::TooSlow.code()) };
        self.context.metrics.closed.get_or_create(&label).inc();
        Poll::Ready(io::ErrorKind::TimedOut.into())
    }
}

/// Sets what every connection's socket has. A failure here costs speed or memory, not correctness.
pub(super) fn set_options(stream: &TcpStream, context: &NodeContext) {
    let socket = socket2::SockRef::from(stream);
    let _ = socket.set_tcp_nodelay(true);
    // A peer that vanished without a word is noticed by the kernel too while something is unacknowledged; but later than
    // by the node, which knows what to say about it.
    #[cfg(target_os = "linux")]
    let _ = socket.set_tcp_user_timeout(Some(context.config.limits.stall_timeout * 2));
    if context.config.server.send_buffer > 0 {
        let _ = socket.set_send_buffer_size(context.config.server.send_buffer);
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if let Poll::Ready(error) = this.wait_for_head(cx) {
            return Poll::Ready(Err(error));
        }
        if let Poll::Ready(error) = this.wait_for_end(cx) {
            return Poll::Ready(Err(error));
        }
        let (before, could) = (buffer.filled().len(), buffer.remaining());
        let read = ready!(Pin::new(&mut this.stream).poll_read(cx, buffer));
        if read.is_err() || (could > 0 && buffer.filled().len() == before) {
            this.peer.seen.presence.set(Presence::HungUp);
        } else {
            this.begins_head();
        }
        Poll::Ready(read)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        match Pin::new(&mut this.stream).poll_write(cx, bytes) {
            Poll::Ready(written) => {
                this.took();
                Poll::Ready(written)
            }
            Poll::Pending => this.wait(cx).map(Err),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        match Pin::new(&mut this.stream).poll_flush(cx) {
            Poll::Ready(flushed) => {
                this.stall = None;
                Poll::Ready(flushed)
            }
            // Only under TLS: a plain socket holds nothing back.
            Poll::Pending => this.wait(cx).map(Err),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}
