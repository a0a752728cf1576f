//! The future that owns a connection's socket: reads into one scratch buffer per thread, feeds the session, writes what
//! waits, and cuts a connection that takes nothing.
//!
//! Why it exists: the framework's own dispatcher stops polling the actor while its write buffer is full, so a client
//! that stalls would stop its own heartbeat and let its queue grow. Here the actor is polled whether or not the socket
//! takes bytes. Owns: invariant **cut** (a stalled client lives no longer than `limits.stall_timeout`). Must not know:
//! what the bytes mean beyond frame headers.

use std::{
    cell::RefCell,
    collections::VecDeque,
    future::Future,
    io,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use actix::{Actor, StreamHandler};
use actix_http::{
    error::PayloadError,
    ws::{Codec, Message, ProtocolError},
};
use actix_web::Error;
use actix_web_actors::ws::WebsocketContext;
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use tokio::time::{Instant, Sleep};

use super::{
    context::NodeContext,
    link::Link,
    session::{Membership, SharedMembership},
    transport::Transport,
};
use crate::{
    model::roster::Farewell,
    wire::{Close, guard::FrameGuard},
};

/// Bytes read at once; one buffer per thread.
const SCRATCH: usize = 64 * 1024;
/// Reads in one go before other connections get their turn.
const READS_PER_POLL: usize = 16;
/// How long a closed connection may take to say goodbye.
const LINGER: Duration = Duration::from_secs(2);

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; SCRATCH]);
}

/// Bytes on their way from the socket to the session's actor.
#[derive(Clone, Debug, Default)]
struct Input(Rc<RefCell<VecDeque<Bytes>>>);

impl Input {
    fn push(&self, bytes: Bytes) {
        self.0.borrow_mut().push_back(bytes);
    }

    fn is_consumed(&self) -> bool {
        let mut queue = self.0.borrow_mut();
        if queue.is_empty() && queue.capacity() > 0 {
            *queue = VecDeque::new(); // an idle connection owns no buffer
        }
        queue.is_empty()
    }
}

impl Stream for Input {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        // The driver pushes and then polls the actor itself, so nobody has to be woken.
        match self.0.borrow_mut().pop_front() {
            Some(bytes) => Poll::Ready(Some(Ok(bytes))),
            None => Poll::Pending,
        }
    }
}

/// The actor's own output: control frames, and its end.
type ActorStream = Pin<Box<dyn Stream<Item = Result<Bytes, Error>>>>;

/// What the driver is busy with.
enum State {
    Open,
    /// A close frame is queued or sent; the rest of the input is read and thrown away.
    Closing {
        deadline: Pin<Box<Sleep>>,
    },
}

/// One connection.
pub struct Driver {
    link: Rc<Link>,
    input: Input,
    actor: ActorStream,
    membership: SharedMembership,
    /// `None` once the framing is broken.
    guard: Option<FrameGuard>,
    context: Arc<NodeContext>,
    state: State,
    /// Runs while something waits to be written, with the progress at its start.
    stall: Option<(Pin<Box<Sleep>>, u64)>,
}

/// What a step found.
enum Step {
    Wait,
    Done(Farewell),
}

impl Driver {
    /// Puts a connection together: writes the `answer` to its handshake, and hands what comes to the actor that is made for it;
    /// `early` is what came behind the handshake. Its place among the node's connections is taken, and given back at its end.
    pub fn connect<A>(
        socket: Transport,
        answer: Bytes,
        early: Bytes,
        context: Arc<NodeContext>,
        make: impl FnOnce(Rc<Link>, SharedMembership) -> A,
    ) -> Self
    where
        A: Actor<Context = WebsocketContext<A>> + StreamHandler<Result<Message, ProtocolError>>,
    {
        context.metrics.connections.inc();
        let link = Rc::new(Link::new(socket, context.clone()));
        if !answer.is_empty() {
            link.put(&answer);
        }
        let (membership, input) = (SharedMembership::default(), Input::default());
        let codec = Codec::new().max_size(context.config.limits.max_message_bytes);
        let actor = WebsocketContext::with_codec(make(link.clone(), membership.clone()), input.clone(), codec);
        let mut driver = Self {
            link,
            input,
            actor: Box::pin(actor),
            membership,
            guard: Some(FrameGuard::default()),
            context,
            state: State::Open,
            stall: None,
        };
        driver.accept(&early);
        driver
    }

    /// Checks and passes on what was read.
    fn accept(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        // A client that broke the framing says nothing any more that could be understood.
        let Some(guard) = &mut self.guard else { return };
        let checked = guard.check(bytes, self.context.config.limits.max_message_bytes as u64);
        if checked.is_err() {
            self.guard = None;
        }
        if let State::Closing { .. } = self.state {
            return;
        }
        self.link.hear();
        match checked {
            Ok(()) => self.input.push(Bytes::copy_from_slice(bytes)),
            Err(close) => self.link.close(close),
        }
    }

    /// Reads as long as the session keeps up; fails when the peer is gone.
    fn read(&mut self, cx: &mut Context<'_>) -> Result<(), Farewell> {
        for _ in 0..READS_PER_POLL {
            let open = matches!(self.state, State::Open);
            // A client that does not read its answers is not read either, and one that is waited for waits.
            if open && (self.is_behind() || self.has_backlog()) {
                return Ok(());
            }
            if self.link.socket().poll_read_ready(cx).is_pending() {
                return Ok(());
            }
            let read = BUFFER.with_borrow_mut(|buffer| {
                let read = self.link.socket().try_read(buffer);
                if let Ok(count) = read {
                    self.accept(&buffer[..count]);
                }
                read
            });
            match read {
                Ok(0) => return Err(Farewell::Lost),
                Ok(_) => self.run_actor(cx),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return Err(Farewell::Lost),
            }
        }
        cx.waker().wake_by_ref();
        Ok(())
    }

    /// Whether the session has not dealt with all that was read. It takes a few frames at a time but moves all bytes into
    /// a buffer of its own, which would grow without bound if only the input were looked at.
    fn is_behind(&self) -> bool {
        !self.input.is_consumed() || self.guard.as_ref().is_some_and(|guard| guard.frames() > self.link.handled())
    }

    fn has_backlog(&self) -> bool {
        self.link.waiting() > self.context.config.limits.outbox_bytes
    }

    /// Lets the actor work, whatever the socket does. A session that is over does nothing more, joining least of all: its
    /// instance may be back by now.
    fn run_actor(&mut self, cx: &mut Context<'_>) {
        if let State::Closing { .. } = self.state {
            return;
        }
        loop {
            match self.actor.poll_next_unpin(cx) {
                Poll::Ready(Some(Ok(frames))) => self.link.put(&frames),
                Poll::Ready(Some(Err(_)) | None) => {
                    self.link.close(Close::Internal);
                    return;
                }
                Poll::Pending => return,
            }
        }
    }

    fn step(&mut self, cx: &mut Context<'_>) -> Step {
        self.link.watch(cx);
        self.run_actor(cx);
        let read = self.read(cx);
        let backlog = self.has_backlog();
        self.link.flush();
        if backlog && !self.has_backlog() {
            // It was not read: nothing else says that it can be now.
            cx.waker().wake_by_ref();
        }
        if let Err(farewell) = read {
            return Step::Done(self.farewell(farewell));
        }
        if self.link.is_broken() {
            return Step::Done(self.farewell(Farewell::Lost));
        }
        if self.link.is_due_for_more() {
            self.refill();
        }
        if self.link.is_due_for_signals() {
            self.release_signals();
        }
        if self.link.waiting() > 0 && self.link.socket().poll_write_ready(cx).is_ready() {
            // More room turned up while we looked: come back at once.
            cx.waker().wake_by_ref();
        }
        self.watch_for_stall(cx);
        self.watch_closing(cx)
    }

    fn refill(&self) {
        if let Some(Membership { outlet, key, .. }) = &*self.membership.borrow() {
            outlet.refill(*key);
        }
    }

    fn release_signals(&self) {
        if let Some(Membership { outlet, key, .. }) = &*self.membership.borrow() {
            outlet.release_signals(*key);
        }
    }

    /// While something waits, the socket has to take bytes within the stall timeout.
    fn watch_for_stall(&mut self, cx: &mut Context<'_>) {
        if self.link.waiting() == 0 {
            self.stall = None;
            return;
        }
        let (timeout, progress) = (self.context.config.limits.stall_timeout, self.link.progress());
        let (sleep, since) = self.stall.get_or_insert_with(|| (Box::pin(tokio::time::sleep(timeout)), progress));
        while sleep.as_mut().poll(cx).is_ready() {
            if *since == progress {
                self.link.close(Close::TooSlow);
                return;
            }
            *since = progress;
            sleep.as_mut().reset(Instant::now() + timeout);
        }
    }

    /// A closing connection ends when everything is written and the peer answered, or at its deadline.
    fn watch_closing(&mut self, cx: &mut Context<'_>) -> Step {
        let Some(close) = self.link.closing() else { return Step::Wait };
        if let State::Open = self.state {
            // A stalled client would not read the close frame either: cut it now.
            if close == Close::TooSlow {
                return Step::Done(Farewell::Lost);
            }
            self.state = State::Closing { deadline: Box::pin(tokio::time::sleep(LINGER)) };
            self.leave(farewell_of(close));
        }
        let State::Closing { deadline } = &mut self.state else { return Step::Wait };
        if deadline.as_mut().poll(cx).is_ready() {
            return Step::Done(farewell_of(close));
        }
        if self.link.waiting() == 0 {
            if self.guard.as_ref().is_some_and(FrameGuard::saw_close) {
                return Step::Done(farewell_of(close));
            }
            // The peer's own end closes the socket; ours says that nothing more comes.
            self.link.socket().shut_down_writing();
            // Look at the socket once more from a clean state: its end may be here already.
            if self.link.socket().poll_read_ready(cx).is_ready() {
                cx.waker().wake_by_ref();
            }
        }
        Step::Wait
    }

    fn farewell(&self, otherwise: Farewell) -> Farewell {
        self.link.closing().map_or(otherwise, farewell_of)
    }

    /// Tells the room, once.
    fn leave(&self, how: Farewell) {
        if let Some(membership) = self.membership.borrow_mut().take() {
            membership.end(how);
        }
    }
}

/// What the others are told when the node closes for a reason.
fn farewell_of(close: Close) -> Farewell {
    match close {
        // The client will be back within the time in which it is only missed.
        Close::Restart { .. } | Close::TooSlow | Close::Internal => Farewell::Lost,
        Close::HeartbeatLost => Farewell::Silent,
        _ => Farewell::Closed,
    }
}

impl Future for Driver {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        match this.step(cx) {
            Step::Wait => Poll::Pending,
            Step::Done(how) => {
                this.leave(how);
                Poll::Ready(())
            }
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // Reached without a farewell only when the task itself ends: a panic, or the runtime going down.
        self.leave(Farewell::Lost);
        self.link.abandon();
        self.context.connections.give_back();
        self.context.metrics.connections.dec();
    }
}
