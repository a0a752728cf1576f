//! One connection as seen by the actors of its thread: the socket's writing end and a bounded queue of ready frames.
//!
//! Owns: invariant **one way out** (everything a client gets passes this queue, in the order it was offered) and
//! invariant **bounded** (records are only offered within the budget). Must not know: JSON, rooms, other threads.

mod outbox;

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, VecDeque},
    io::{self, IoSlice},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;

use self::outbox::Outbox;
use super::{context::NodeContext, messages::Publication, metrics::CloseLabel, transport::Transport};
use crate::wire::{Close, frame};

/// Slices in one gathered write.
const GATHER: usize = 64;

/// Whether a connection took what it was offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offer {
    /// Written or queued.
    Taken,
    /// It would pass the budget: nothing was taken.
    Full,
}

/// Whether the outlet waits for this outbox to drain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wanted {
    /// No.
    #[default]
    No,
    /// Yes: the driver asks it to refill.
    Yes,
}

/// A connection's shared state on its thread.
#[derive(Debug)]
pub struct Link {
    socket: Transport,
    outbox: RefCell<Outbox>,
    waker: RefCell<Option<Waker>>,
    /// Whoever waits for the outbox to drain.
    patient: RefCell<Vec<Waker>>,
    /// Publishes that wait for their answer, in order, kept so that they can be repeated to a rebuilt room.
    in_flight: RefCell<BTreeMap<u64, Publication>>,
    /// Answers that are there but wait for the records before them.
    held: Cell<usize>,
    wanted: Cell<Wanted>,
    /// Whether the outlet holds signals back until the outbox is empty.
    holds_signals: Cell<Wanted>,
    /// Set when the client is being sent home: when it shall come back.
    leaving: Cell<Option<Duration>>,
    /// Total bytes that the socket took; a stalled connection's does not move.
    progress: Cell<u64>,
    /// When the socket last took something, but not all, on the node's clock; only while something waits.
    stuck_since: Cell<Option<Duration>>,
    /// Frames that the session has dealt with.
    handled: Cell<u64>,
    /// When a frame was last received: milliseconds of the node's uptime, read by the heartbeat supervisor.
    heard: Arc<AtomicU64>,
    context: Arc<NodeContext>,
}

impl Link {
    /// Takes a socket over.
    pub fn new(socket: Transport, context: Arc<NodeContext>) -> Self {
        let heard = Arc::new(AtomicU64::new(context.uptime().as_millis() as u64));
        Self {
            socket,
            outbox: RefCell::default(),
            waker: RefCell::default(),
            patient: RefCell::default(),
            in_flight: RefCell::default(),
            held: Cell::new(0),
            wanted: Cell::default(),
            holds_signals: Cell::default(),
            leaving: Cell::default(),
            progress: Cell::new(0),
            stuck_since: Cell::new(None),
            handled: Cell::new(0),
            heard,
            context,
        }
    }

    /// The socket, for its driver.
    pub(super) fn socket(&self) -> &Transport {
        &self.socket
    }

    /// Total bytes written so far.
    pub(super) fn progress(&self) -> u64 {
        self.progress.get()
    }

    /// The clock of the last received frame.
    pub fn heard(&self) -> Arc<AtomicU64> {
        self.heard.clone()
    }

    /// Notes that the client gave a sign of life.
    pub(super) fn hear(&self) {
        self.heard.store(self.context.uptime().as_millis() as u64, Ordering::Relaxed);
    }

    /// Notes that the session has dealt with a frame.
    pub fn handle_frame(&self) {
        self.handled.set(self.handled.get() + 1);
    }

    /// How many frames the session has dealt with.
    pub(super) fn handled(&self) -> u64 {
        self.handled.get()
    }

    /// Notes whom to wake when there is something to do.
    pub(super) fn watch(&self, cx: &Context<'_>) {
        let mut waker = self.waker.borrow_mut();
        match &mut *waker {
            Some(known) => known.clone_from(cx.waker()),
            None => *waker = Some(cx.waker().clone()),
        }
    }

    /// Wakes the driver.
    pub(super) fn wake(&self) {
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }

    /// Nothing more is taken from the client; it goes when what it has published is answered.
    pub(super) fn send_home(&self, retry_after: Duration) {
        self.leaving.set(Some(retry_after));
    }

    /// Whether the client is being sent home, and when it shall come back.
    pub(super) fn leaving(&self) -> Option<Duration> {
        self.leaving.get()
    }

    /// Says whether the outlet waits for the outbox to drain.
    pub(super) fn want_drained(&self, wanted: Wanted) {
        self.wanted.set(wanted);
    }

    /// Whether the outlet wants to be asked for more now.
    pub(super) fn is_due_for_more(&self) -> bool {
        self.wanted.get() == Wanted::Yes && self.is_low()
    }

    /// Says whether the outlet holds signals back until the outbox is empty.
    pub(super) fn hold_signals(&self, wanted: Wanted) {
        self.holds_signals.set(wanted);
    }

    /// Whether signals that were held back can go now.
    pub(super) fn is_due_for_signals(&self) -> bool {
        self.holds_signals.get() == Wanted::Yes && self.waiting() == 0
    }

    /// Whether the outbox has drained far enough for the next page of history.
    pub(super) fn is_low(&self) -> bool {
        self.waiting() <= self.context.config.limits.outbox_bytes / 2
    }

    /// Ready when the outbox has drained far enough for the next page, or the connection is over.
    pub(super) fn poll_low(&self, cx: &Context<'_>) -> Poll<()> {
        if self.is_low() || self.is_over() {
            return Poll::Ready(());
        }
        self.patient.borrow_mut().push(cx.waker().clone());
        Poll::Pending
    }

    /// Whether so many bytes of records may be queued. An empty outbox takes any amount, so that a single large record
    /// passes.
    pub(super) fn has_room(&self, bytes: usize) -> bool {
        self.outbox.borrow().has_room(bytes, self.context.config.limits.outbox_bytes)
    }

    /// Bytes that wait. What TLS has taken and the socket has not counts as one: it is little, but it has to go.
    pub fn waiting(&self) -> usize {
        self.outbox.borrow().bytes + usize::from(self.socket.holds_back())
    }

    /// Whether the connection is over or about to be.
    pub fn is_over(&self) -> bool {
        let outbox = self.outbox.borrow();
        outbox.broken || outbox.closing.is_some()
    }

    /// Offers records, which are taken whole or not at all.
    pub fn offer(&self, frames: &Bytes) -> Offer {
        let mut outbox = self.outbox.borrow_mut();
        if !outbox.has_room(frames.len(), self.context.config.limits.outbox_bytes) {
            return Offer::Full;
        }
        self.push(&mut outbox, frames);
        Offer::Taken
    }

    /// Sends a small message of the session itself, whatever waits: their number is bounded by whoever sends them.
    pub fn send(&self, message: Bytes) {
        self.context.metrics.sent.inc();
        self.put(&message);
    }

    /// The same for what is no message, or is counted by whoever sends it.
    pub fn put(&self, frames: &Bytes) {
        self.push(&mut self.outbox.borrow_mut(), frames);
    }

    /// Sends a small message together with others that come in the same moment: one write for many answers. The driver
    /// writes them as soon as whoever sends has come to an end.
    pub(super) fn send_soon(&self, message: Bytes) {
        let mut outbox = self.outbox.borrow_mut();
        if outbox.broken || outbox.closing.is_some() {
            return;
        }
        self.context.metrics.sent.inc();
        self.enqueue(&mut outbox, message);
        drop(outbox);
        self.wake();
    }

    /// Ends the connection behind everything that waits. The first reason stands.
    pub fn close(&self, reason: Close) {
        let mut outbox = self.outbox.borrow_mut();
        if outbox.closing.is_none() && !outbox.broken {
            self.push(&mut outbox, &frame::close(reason));
            outbox.closing = Some(reason);
            self.context.metrics.closed.get_or_create(&CloseLabel { code: u32::from(reason.code()) }).inc();
        }
        drop(outbox);
        self.wake();
    }

    /// Nobody writes any more: whoever waits for the outbox is told.
    pub(super) fn abandon(&self) {
        self.outbox.borrow_mut().broken = true;
        self.patient.take().iter().for_each(Waker::wake_by_ref);
    }

    /// Why the node is ending the connection, if it is.
    pub(super) fn closing(&self) -> Option<Close> {
        self.outbox.borrow().closing
    }

    /// Whether the socket failed.
    pub(super) fn is_broken(&self) -> bool {
        self.outbox.borrow().broken
    }

    fn push(&self, outbox: &mut Outbox, frames: &Bytes) {
        if outbox.broken || outbox.closing.is_some() {
            return;
        }
        let mut written = 0;
        // A direct write belongs only where nothing is queued before it.
        if outbox.queue.is_empty() {
            match self.socket.try_write(frames) {
                Ok(count) => {
                    self.progress.set(self.progress.get() + count as u64);
                    written = count;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => outbox.broken = true,
            }
            if written == frames.len() {
                return; // the usual end: not even the reference count was touched
            }
            self.stuck_since.set(Some(self.context.uptime()));
            self.wake();
        }
        if !outbox.broken {
            self.enqueue(outbox, frames.slice(written..));
        }
    }

    fn enqueue(&self, outbox: &mut Outbox, frames: Bytes) {
        outbox.bytes += frames.len();
        self.context.metrics.outbox_bytes.inc_by(frames.len() as i64);
        outbox.queue.push_back(frames);
    }

    /// Writes what waits until it is gone or the socket takes no more.
    pub(super) fn flush(&self) {
        let mut outbox = self.outbox.borrow_mut();
        match self.socket.try_flush() {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => outbox.broken = true,
            _ => {}
        }
        let before = self.progress.get();
        while !outbox.queue.is_empty() && !outbox.broken {
            let slices: Vec<IoSlice<'_>> = outbox.queue.iter().take(GATHER).map(|frame| IoSlice::new(frame)).collect();
            match self.socket.try_write_vectored(&slices) {
                Ok(written) => {
                    self.progress.set(self.progress.get() + written as u64);
                    outbox.consume(written);
                    self.context.metrics.outbox_bytes.dec_by(written as i64);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if self.progress.get() > before {
                        self.stuck_since.set(Some(self.context.uptime()));
                    }
                    return;
                }
                Err(_) => outbox.broken = true,
            }
        }
        if outbox.queue.is_empty() && outbox.queue.capacity() > 0 {
            outbox.queue = VecDeque::new(); // an idle connection owns no buffer
            self.stuck_since.set(None);
        }
        drop(outbox);
        if !self.patient.borrow().is_empty() && (self.is_low() || self.is_over()) {
            self.patient.take().iter().for_each(Waker::wake_by_ref);
        }
    }

    /// How the client is connected.
    pub(super) fn transport(&self) -> &'static str {
        match self.socket {
            Transport::Plain(_) => "websocket",
            Transport::Tls(_) => "websocket_tls",
        }
    }

    /// For how long the socket has taken nothing although something waits.
    pub(super) fn stuck(&self) -> Duration {
        let since = self.stuck_since.get().filter(|_| self.waiting() > 0);
        since.map_or(Duration::ZERO, |since| self.context.uptime().saturating_sub(since))
    }

    /// How many publishes wait for their answers.
    pub(super) fn unsettled(&self) -> usize {
        self.in_flight.borrow().len()
    }

    /// Notes a publish that waits for its answer.
    pub(super) fn expect(&self, publication: Publication) {
        self.in_flight.borrow_mut().insert(publication.token, publication);
    }

    /// A publish was answered; `None` if it had been before, by a room that died.
    pub(super) fn settle(&self, token: u64) -> Option<Publication> {
        let settled = self.in_flight.borrow_mut().remove(&token);
        self.wake();
        settled
    }

    /// Notes how many answers wait for the records before them.
    pub(super) fn hold_answers(&self, held: usize) {
        if self.held.replace(held) > held {
            self.wake();
        }
    }

    /// How many publishes wait for their answer. One that waits behind records which the client does not read counts:
    /// else somebody who never reads could pile answers up.
    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.borrow().len() + self.held.get()
    }

    /// The publishes behind a token that wait for their answer.
    pub(super) fn unsettled_after(&self, token: u64) -> Vec<Publication> {
        self.in_flight.borrow().range(token + 1..).map(|(_, publication)| publication.clone()).collect()
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.context.metrics.outbox_bytes.dec_by(self.outbox.borrow().bytes as i64);
    }
}
