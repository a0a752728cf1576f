//! What the journal's callers and its draining task share: the store, the index and who waits for an answer.
//!
//! Owns: that the order in which entries are admitted is the order in which the store gets them, and what each writer is
//! told. Every lock here is held for a moment and never while something waits.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use tokio::sync::{Notify, mpsc};

use super::{
    Drained, Standing,
    accounts::Refusals,
    entry::Entry,
    forget::Gone,
    index::{End, Index, Place, Repeat},
    lines::{Lines, Otherwise},
    store::{Buried, Store, size_of},
};
use crate::{
    backbone::{Answer, Append, AppendError, Appended, BackboneError, Outcome, Reply, SharedBackbone, Stored},
    model::{DedupeId, Epoch, Position, TenantId, Timestamp},
};

/// The store's answer to one write, under the desk's own mark.
pub type Written = (u64, Result<Answer, AppendError>);

/// How long the store's refusal of a write counts as "no room".
const REFUSAL_COUNTS: Duration = Duration::from_secs(10);
/// How long a notice waits for a place before its listener is dropped.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Debug)]
struct Write {
    tenant: TenantId,
    size: u64,
    queued_at: Timestamp,
    reply: Reply,
    otherwise: Otherwise,
}

#[derive(Debug)]
struct State {
    index: Index,
    writes: HashMap<u64, Write>,
    next: u64,
    listeners: HashMap<TenantId, mpsc::Sender<Drained>>,
    lines: Lines,
    closing: bool,
}

/// See the file's head.
pub struct Desk {
    /// The log.
    pub backbone: SharedBackbone,
    /// The disk.
    pub store: Store,
    state: Mutex<State>,
    /// The index's count, to be read without its lock.
    waiting: AtomicUsize,
    /// How many lines there are, the same way.
    lining: AtomicUsize,
    answers: mpsc::Sender<Written>,
    work: Notify,
    hurry: Notify,
    emptied: Notify,
    pub(super) drained: AtomicU64,
    pub(super) dead: AtomicU64,
    pub(super) refused: Refusals,
    /// What of erased tenants went nowhere.
    pub(super) gone: Gone,
    /// The size of the last append that found no room, 0 once one did.
    no_room_for: AtomicU64,
    store_refused: Mutex<Option<Instant>>,
}

impl fmt::Debug for Desk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Desk").field("figures", &self.figures()).finish_non_exhaustive()
    }
}

impl Desk {
    /// A desk with what a store holds.
    pub async fn recover(
        store: Store,
        backbone: SharedBackbone,
        max_bytes: u64,
        answers: mpsc::Sender<Written>,
    ) -> Result<Self, BackboneError> {
        let mut index = Index::new(max_bytes);
        let dead = store.recover(&mut index).await?;
        let waiting = index.waiting();
        if waiting > 0 || dead > 0 {
            tracing::info!(entries = waiting, dead, bytes = index.bytes(), "the journal was read again");
        }
        let (writes, listeners, lines) = (HashMap::new(), HashMap::new(), Lines::new());
        let state = State { index, writes, next: 0, listeners, lines, closing: false };
        Ok(Self {
            backbone,
            store,
            state: Mutex::new(state),
            waiting: AtomicUsize::new(waiting),
            lining: AtomicUsize::new(0),
            answers,
            work: Notify::new(),
            hurry: Notify::new(),
            emptied: Notify::new(),
            drained: AtomicU64::new(0),
            dead: AtomicU64::new(dead),
            refused: Refusals::default(),
            gone: Gone::default(),
            no_room_for: AtomicU64::new(0),
            store_refused: Mutex::new(None),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Whole between any two calls of the index, so a panic elsewhere leaves nothing to distrust.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Decides something about the queue.
    pub fn decide<T>(&self, decide: impl FnOnce(&mut Index) -> T) -> T {
        let mut state = self.state();
        let decided = decide(&mut state.index);
        self.note_waiting(&state);
        decided
    }

    /// The same about the lines behind it.
    pub fn with_lines<T>(&self, decide: impl FnOnce(&mut Lines, &Index) -> T) -> T {
        let mut state = self.state();
        let State { lines, index, .. } = &mut *state;
        let decided = decide(lines, index);
        self.lining.store(lines.len(), Relaxed);
        decided
    }

    /// Whether nothing waits here at all.
    pub fn is_idle(&self) -> bool {
        self.waiting.load(Relaxed) == 0 && self.lining.load(Relaxed) == 0
    }

    fn note_waiting(&self, state: &State) {
        let waiting = state.index.waiting();
        if self.waiting.swap(waiting, Relaxed) > 0 && waiting == 0 {
            self.emptied.notify_waiters();
        }
    }

    /// Entries that the log does not have. Whoever was answered `queued`, or was answered behind such an append, sees it
    /// counted: the answer came through a channel.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Relaxed)
    }

    /// Whether a publish of this room has to go behind others here.
    pub fn is_queued(&self, tenant: &TenantId) -> bool {
        let state = self.state();
        state.index.is_queued(tenant) || state.lines.contains_key(tenant)
    }

    /// Keeps an append; the answer comes when it is on disk.
    pub fn put(&self, append: Append, reply: Reply, otherwise: Otherwise) {
        let (tenant, dedupe) = (append.tenant.clone(), append.dedupe);
        let entry = self.entry_of(append);
        let (body, queued_at) = (entry.encode(), entry.queued_at);
        let size = size_of(&body);
        let mut state = self.state();
        let refusal = if state.closing {
            AppendError::Closed
        } else if self.backbone.tenancy(&tenant).is_closed {
            AppendError::Erasing
        } else if state.writes.len() >= self.answers.max_capacity() {
            AppendError::Busy
        } else if state.index.admit(&tenant, size).is_err() {
            self.no_room_for.store(size, Relaxed);
            AppendError::JournalFull(format!("it holds {} bytes", state.index.bytes()))
        } else {
            self.no_room_for.store(0, Relaxed);
            self.note_waiting(&state);
            state.next += 1;
            let token = state.next;
            state.writes.insert(token, Write { tenant, size, queued_at, reply, otherwise });
            // Under the lock: the store gets the entries in the order in which they were admitted. It only queues them.
            let to = Reply { token, to: self.answers.clone(), keeper: None };
            self.store.put(dedupe, body, to);
            return;
        };
        drop(state);
        self.refuse(&tenant, reply, refusal, otherwise);
    }

    fn entry_of(&self, append: Append) -> Entry {
        let epoch = self.backbone.epoch(&append.tenant);
        let first_tried = match append.first_tried {
            _ if epoch == Epoch::UNKNOWN => Position::START,
            Some(position) => position,
            None => self.backbone.known_end(&append.tenant),
        };
        Entry {
            life: self.backbone.tenancy(&append.tenant).since,
            tenant: append.tenant,
            subject: append.subject,
            dedupe: append.dedupe,
            epoch,
            first_tried,
            queued_at: now(),
            body: append.body,
        }
    }

    fn refuse(&self, tenant: &TenantId, reply: Reply, refusal: AppendError, otherwise: Otherwise) {
        self.refused.count(tenant);
        reply.send(Err(match (refusal, otherwise) {
            (refusal, otherwise @ Otherwise::SayUnknown(_)) => otherwise.error(refusal.to_string()),
            (refusal, Otherwise::SayFull) => refusal,
        }));
    }

    /// Settles what the store answered.
    pub fn settle(&self, written: impl IntoIterator<Item = Written>) {
        for (token, answer) in written {
            let mut state = self.state();
            let Some(write) = state.writes.remove(&token) else { continue };
            let Write { tenant, size, queued_at, reply, otherwise } = write;
            match answer {
                Ok(Answer::Appended(Appended { position, outcome })) => {
                    let place = Place { position, size, queued_at };
                    let repeat = match outcome {
                        Outcome::Stored => {
                            state.index.written(&tenant, place);
                            Repeat::Waits
                        }
                        Outcome::Duplicate => state.index.repeated(&tenant, place),
                    };
                    self.note_waiting(&state);
                    drop(state);
                    match repeat {
                        Repeat::Waits => reply.queued(),
                        Repeat::Ended(end) => {
                            reply.send(end.map(|appended| Appended { outcome: Outcome::Duplicate, ..appended }));
                        }
                    }
                }
                Ok(Answer::Queued) | Err(_) => {
                    state.index.refused(&tenant, size);
                    self.note_waiting(&state);
                    drop(state);
                    self.refuse(&tenant, reply, self.refusal(answer), otherwise);
                }
            }
        }
    }

    /// What the store's refusal means to whoever published.
    fn refusal(&self, answer: Result<Answer, AppendError>) -> AppendError {
        match answer {
            Err(error @ (AppendError::Unknown(_) | AppendError::Busy | AppendError::Closed)) => error,
            other => {
                *self.store_refused.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
                let why = other.err().map_or_else(|| "it did not write".into(), |error| error.to_string());
                AppendError::JournalFull(why)
            }
        }
    }

    /// The log has an entry.
    pub async fn stored(&self, tenant: &TenantId, position: Position, dedupe: DedupeId, appended: Appended) {
        self.drained.fetch_add(1, Relaxed);
        self.end(tenant, position, Some(dedupe), Ok(appended)).await;
    }

    /// Puts an entry that will never be stored with the dead letters.
    pub async fn bury(&self, tenant: &TenantId, record: &Stored, reason: String) -> Result<(), AppendError> {
        let dedupe = Entry::decode(&record.body).ok().map(|entry| entry.dedupe);
        if let Buried::New(size) = self.store.bury(record, reason.clone()).await? {
            self.dead.fetch_add(1, Relaxed);
            self.decide(|index| index.buried(size));
        }
        tracing::error!(%tenant, place = %record.position, reason, "the log will never take this publish; it is kept as a dead letter");
        self.end(tenant, record.position, dedupe, Err(AppendError::Refused(reason))).await;
        Ok(())
    }

    pub(super) async fn end(&self, tenant: &TenantId, position: Position, dedupe: Option<DedupeId>, end: End) {
        self.decide(|index| index.ended(tenant, position, end.clone()));
        self.work.notify_one();
        let listener = self.state().listeners.get(tenant).cloned();
        if let (Some(listener), Some(dedupe)) = (listener, dedupe)
            && listener.send_timeout(Drained { dedupe, end }, PATIENCE).await.is_err()
        {
            let mut state = self.state();
            if state.listeners.get(tenant).is_some_and(|known| known.same_channel(&listener)) {
                state.listeners.remove(tenant);
            }
        }
    }

    /// Gives a listener the tenant's notices.
    pub fn listen(&self, tenant: &TenantId, to: mpsc::Sender<Drained>) {
        let mut state = self.state();
        state.listeners.retain(|_, listener| !listener.is_closed());
        state.listeners.insert(tenant.clone(), to);
    }

    /// See [`super::Journal::standing`].
    pub fn standing(&self) -> Standing {
        let size = self.no_room_for.load(Relaxed);
        let state = self.state();
        let refused = *self.store_refused.lock().unwrap_or_else(PoisonError::into_inner);
        if (size > 0 && !state.index.has_room(size)) || refused.is_some_and(|at| at.elapsed() < REFUSAL_COUNTS) {
            return Standing::Full;
        }
        match state.index.waiting() {
            0 => Standing::Empty,
            entries => Standing::Holding(entries),
        }
    }

    /// Waits for something to do.
    pub async fn worked(&self) {
        self.work.notified().await;
    }

    /// Waits until nobody may rest any more.
    pub async fn hurried(&self) {
        self.hurry.notified().await;
    }

    /// Lets nobody rest.
    pub fn hurry(&self) {
        self.hurry.notify_one();
    }

    /// Waits until nothing waits.
    pub async fn emptied(&self) {
        loop {
            let emptied = self.emptied.notified();
            if self.waiting() == 0 {
                return;
            }
            emptied.await;
        }
    }

    /// Takes nothing in any more.
    pub fn close(&self) {
        self.state().closing = true;
        self.work.notify_one();
    }

    /// Closes and answers whoever still waits for the disk: the thread is gone.
    pub fn abandon(&self) {
        let writes = {
            let mut state = self.state();
            state.closing = true;
            std::mem::take(&mut state.writes)
        };
        for write in writes.into_values() {
            write.reply.send(Err(AppendError::Unknown("the journal is closed".into())));
        }
        self.emptied.notify_waiters();
    }

    /// Whether it is closing.
    pub fn is_closing(&self) -> bool {
        self.state().closing
    }

    /// Whether every write was answered.
    pub fn is_written(&self) -> bool {
        self.state().writes.is_empty()
    }
}

fn now() -> Timestamp {
    Timestamp(jiff::Timestamp::now().as_millisecond())
}
