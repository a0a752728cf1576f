//! Appends on their way to JetStream: pipelined, bounded, each answered once.
//!
//! Owns: invariant **no guess** (an append is answered "stored" only by the stream's own word, "not stored" only where
//! that is certain, and everything else is unknown). Must not: wait for one acknowledgement before the next append goes.

use std::{
    fmt::Write as _,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use async_nats::{HeaderMap, Message, StatusCode, Subscriber};
use futures_util::{FutureExt, StreamExt};
use slab::Slab;
use tokio::{
    sync::mpsc,
    time::{MissedTickBehavior, interval, timeout},
};

use super::{
    Shared, Standing,
    api::{Ack, AckError, LOST},
    conditions,
    shard::{Shard, Trouble},
};
use crate::{
    backbone::{Append, AppendError, Appended, Expect, Outcome, Reply},
    model::{DedupeId, Position, Timestamp},
};

/// How long an append is tried before it is given up as unknown.
pub const PATIENCE: Duration = Duration::from_secs(2);
/// How long one try waits for its acknowledgement before the append is sent again.
pub(super) const TRY: Duration = Duration::from_millis(900);
/// Pause after a server said that the stream has no leader now.
const PAUSE: Duration = Duration::from_millis(100);
/// How often waiting appends are looked at.
const TICK: Duration = Duration::from_millis(50);
/// How long the connection may refuse to take a message.
pub(super) const STUCK: Duration = Duration::from_millis(500);
/// Acknowledgements handled in one go.
const CHUNK: usize = 1_024;

/// JetStream's codes for what passes: a repeat of what is being stored at this moment, no leader, no JetStream just now.
pub(super) const PASSES: [u64; 4] = [10_158, 10_008, 10_009, 10_074];
/// Its codes for "no room": resources, storage, memory, messages, bytes.
pub(super) const NO_ROOM: [u64; 5] = [10_023, 10_028, 10_047, 10_077, 10_120];

/// An append with everything that its publishing needs.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) append: Append,
    pub(super) reply: Reply,
    pub(super) shard: Arc<Shard>,
    pub(super) subject: String,
    /// The condition as LOG knows it; 0: nothing on the subject.
    pub(super) expected: Option<u64>,
    /// When it was tried first.
    pub(super) began: Instant,
    /// Whether an earlier try may have gone through.
    pub(super) uncertain: bool,
    /// Tries so far.
    pub(super) tries: u32,
    /// The dedupe id that it was given with; `append` has the one of its tenant's life.
    given: DedupeId,
    /// The life of its tenant in which it was taken: what is tried in a later one would bring the old tenant back.
    life: Timestamp,
    pub(super) _counted: Counted,
}

/// Counts an append until it is answered.
#[derive(Debug)]
pub(super) struct Counted(Arc<AtomicUsize>);

impl Counted {
    pub(super) fn new(busy: &Arc<AtomicUsize>) -> Self {
        busy.fetch_add(1, Ordering::Relaxed);
        Self(busy.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Release);
    }
}

impl Job {
    /// One that begins now.
    pub(super) fn new(
        append: Append,
        (given, life): (DedupeId, Timestamp),
        reply: Reply,
        shard: Arc<Shard>,
        (subject, expected): (String, Option<u64>),
        counted: Counted,
    ) -> Self {
        let (began, uncertain, tries) = (Instant::now(), false, 0);
        Self { append, reply, shard, subject, expected, began, uncertain, tries, given, life, _counted: counted }
    }

    /// Ends it out of reach.
    pub(super) fn give_up(mut self, why: String) {
        self.append.dedupe = self.given;
        self.append.first_tried.get_or_insert(self.shard.settled_end());
        let error = if self.uncertain { AppendError::Unknown(why) } else { AppendError::Unavailable(why) };
        self.reply.give_up(self.append, error);
    }

    /// Ends it with an error after which nothing is in the log.
    fn refuse(mut self, error: AppendError) {
        self.append.dedupe = self.given;
        self.append.first_tried.get_or_insert(self.shard.settled_end());
        self.reply.give_up(self.append, error);
    }

    /// Ends it in the log. What an earlier try of this very append may have stored is no repeat.
    pub(super) fn appended(self, seq: u64, duplicate: bool) {
        let outcome = if duplicate && !self.uncertain { Outcome::Duplicate } else { Outcome::Stored };
        self.shard.know(Position(seq));
        self.reply.send(Ok(Appended { position: Position(seq), outcome }));
    }
}

#[derive(Debug)]
struct Pending {
    job: Job,
    serial: u64,
    sent: Instant,
    /// When it is sent (again), if it waits for that.
    again: Option<Instant>,
    /// What it will be given up with, once no earlier one of its tenant is under way.
    refused: Option<AppendError>,
}

/// The task.
struct Publisher {
    shared: Arc<Shared>,
    jobs: mpsc::Receiver<Job>,
    acks: Subscriber,
    /// What all reply subjects begin with.
    inbox: String,
    pending: Slab<Pending>,
    serial: u64,
    window: usize,
}

/// Publishes until the queue is closed and empty.
pub(super) async fn run(shared: Arc<Shared>, jobs: mpsc::Receiver<Job>, window: usize) {
    let inbox = shared.line.client().new_inbox();
    let acks = match shared.line.client().subscribe(format!("{inbox}.*.*")).await {
        Ok(acks) => acks,
        Err(error) => {
            // Only a client that is closed refuses; what waits is answered by its queue's end.
            tracing::error!(%error, "cannot listen for acknowledgements");
            return;
        }
    };
    Publisher { shared, jobs, acks, inbox, pending: Slab::new(), serial: 0, window }.work().await;
}

impl Publisher {
    async fn work(mut self) {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut closing = self.shared.closing.subscribe();
        while !(*closing.borrow_and_update() && self.shared.busy.load(Ordering::Acquire) == 0) {
            tokio::select! {
                biased;
                ack = self.acks.next() => match ack {
                    Some(ack) => self.take_acks(ack).await,
                    None => break,
                },
                job = self.jobs.recv(), if self.pending.len() < self.window => match job {
                    Some(job) => self.take_jobs(job).await,
                    None => break,
                },
                _ = tick.tick(), if !self.pending.is_empty() || *closing.borrow() => self.look_at_waiting().await,
                _ = closing.changed() => {}
            }
        }
        for Pending { job, .. } in self.pending.drain() {
            job.give_up("the connection to NATS was closed".into());
        }
        self.shared.closed.send_replace(true);
    }

    async fn take_jobs(&mut self, first: Job) {
        let mut next = Some(first);
        while let Some(job) = next {
            self.start(job).await;
            next = if self.pending.len() < self.window { self.jobs.try_recv().ok() } else { None };
        }
    }

    async fn start(&mut self, job: Job) {
        let away = match &*self.shared.standing.borrow() {
            Standing::Ready if self.shared.line.is_up() => None,
            Standing::Ready => Some("no connection to NATS".into()),
            Standing::Waiting(why) | Standing::Wrong(why) => Some(why.clone()),
        };
        self.serial += 1;
        let (now, is_alone) = (Instant::now(), self.pending.is_empty());
        let key = self.pending.insert(Pending { job, serial: self.serial, sent: now, again: Some(now), refused: None });
        match away {
            None => self.send(key).await,
            Some(why) if is_alone => self.pending.remove(key).job.give_up(why),
            // Behind those that were sent before: they are tried, or given up, in their order.
            Some(_) => {}
        }
    }

    async fn send(&mut self, key: usize) {
        let Some(pending) = self.pending.get_mut(key) else { return };
        let tenancy = self.shared.tenancies.of(&pending.job.append.tenant);
        if tenancy.is_closed || tenancy.since != pending.job.life {
            // Whatever an earlier try may have stored is removed with the rest.
            return self.pending.remove(key).job.reply.send(Err(AppendError::Erasing));
        }
        pending.sent = Instant::now();
        pending.again = None;
        pending.job.tries += 1;
        let job = &pending.job;
        let mut headers = HeaderMap::new();
        let mut id = [0; uuid::fmt::Hyphenated::LENGTH];
        headers.insert("Nats-Msg-Id", &*job.append.dedupe.0.as_hyphenated().encode_lower(&mut id));
        if let Some(expected) = job.expected {
            headers.insert("Nats-Expected-Last-Subject-Sequence", expected.to_string());
        }
        // With room for two numbers: grown piece by piece it would be moved twice.
        let mut reply = String::with_capacity(self.inbox.len() + 42);
        // Writing to a String does not fail.
        let _ = write!(reply, "{}.{key}.{}", self.inbox, pending.serial);
        let client = self.shared.line.client();
        let publish =
            client.publish_with_reply_and_headers(job.subject.clone(), reply, headers, job.append.body.clone());
        let refused = match timeout(STUCK, publish).await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(_) => "the connection to NATS takes nothing".into(),
        };
        // What the client did not take was not sent.
        self.shared.is_silent(&self.pending[key].job.shard, &refused);
        self.refused(key, AppendError::Unavailable(refused));
    }

    /// Gives an append up, or leaves that to later: its keeper gets a tenant's appends in their order.
    fn refused(&mut self, key: usize, error: AppendError) {
        let Some(pending) = self.pending.get(key) else { return };
        let tenant = &pending.job.append.tenant;
        let is_earlier = |other: &Pending| other.serial < pending.serial && other.job.append.tenant == *tenant;
        if self.pending.iter().any(|(_, other)| is_earlier(other)) {
            let pending = &mut self.pending[key];
            (pending.refused, pending.again) = (Some(error), Some(Instant::now()));
            return;
        }
        let job = self.pending.remove(key).job;
        match error {
            AppendError::Full(_) if !job.uncertain => job.refuse(error),
            other => job.give_up(other.to_string()),
        }
    }

    async fn take_acks(&mut self, first: Message) {
        let mut next = Some(first);
        for _ in 0..CHUNK {
            let Some(message) = next else { break };
            self.take_ack(&message);
            next = self.acks.next().now_or_never().flatten();
        }
    }

    fn take_ack(&mut self, message: &Message) {
        let mut tokens = message.subject.rsplit('.').map(str::parse::<u64>);
        let (Some(Ok(serial)), Some(Ok(key))) = (tokens.next(), tokens.next()) else { return };
        let key = usize::try_from(key).unwrap_or(usize::MAX);
        if self.pending.get(key).is_none_or(|pending| pending.serial != serial) {
            return; // it was answered or given up before
        }
        if message.status == Some(StatusCode::NO_RESPONDERS) {
            // No leader, no stream or no JetStream at this moment; this try did not go through.
            self.shared.look_again.notify_one();
            let pending = &mut self.pending[key];
            pending.again = Some(Instant::now() + PAUSE);
            return;
        }
        let Ok(ack) = serde_json::from_slice::<Ack>(&message.payload) else {
            self.pending[key].job.uncertain = true;
            return self.refused(key, AppendError::Unknown("an acknowledgement could not be read".into()));
        };
        match ack.error {
            None => {
                let job = self.pending.remove(key).job;
                job.shard.is_well();
                job.appended(ack.seq, ack.duplicate);
            }
            Some(AckError { err_code, .. }) if LOST.contains(&err_code) => {
                conditions::settle(self.shared.clone(), self.pending.remove(key).job);
            }
            Some(AckError { err_code, .. }) if PASSES.contains(&err_code) => {
                self.pending[key].again = Some(Instant::now() + PAUSE);
            }
            Some(AckError { err_code, description }) => {
                let why = format!("{description} ({err_code})");
                self.pending[key].job.shard.is_in(Trouble::Refusal(Instant::now(), why.clone()));
                let no_room = NO_ROOM.contains(&err_code);
                self.refused(key, if no_room { AppendError::Full(why) } else { AppendError::Unavailable(why) });
            }
        }
    }

    /// Sends again what waits too long, and gives up what was tried for long enough.
    async fn look_at_waiting(&mut self) {
        let now = Instant::now();
        let due = |pending: &Pending| match pending.again {
            Some(again) => again <= now,
            None => now.duration_since(pending.sent) >= TRY,
        };
        let due = self.pending.iter().filter(|(_, pending)| due(pending));
        let mut due: Vec<_> = due.map(|(key, pending)| (pending.serial, key)).collect();
        due.sort_unstable();
        for (_, key) in due {
            let Some(pending) = self.pending.get_mut(key) else { continue };
            pending.job.uncertain |= pending.again.is_none();
            if let Some(error) = pending.refused.take() {
                self.refused(key, error);
                continue;
            }
            if now.duration_since(pending.job.began) >= PATIENCE {
                let why = self.shared.line.complaint().unwrap_or_else(|| "NATS does not answer".into());
                let job = self.pending.remove(key).job;
                self.shared.is_silent(&job.shard, &why);
                match job.append.expect {
                    Expect::Version(_) if job.uncertain => conditions::settle(self.shared.clone(), job),
                    _ => job.give_up(why),
                }
            } else if self.shared.line.is_up() {
                self.send(key).await;
            }
        }
    }
}
