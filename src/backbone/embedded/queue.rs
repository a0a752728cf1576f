//! What waits for the committer.
//!
//! Owns: the bound on waiting work, and that nothing is taken in after the close. Must not know: the store.

use std::{
    collections::VecDeque,
    fmt,
    ops::Range,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use super::{
    rooms::Rooms,
    rows::Tail,
    store::{Failure, Store},
};
use crate::{
    backbone::{Answer, Append, AppendError, Appended, BackboneError, CursorUpdate, Reply, Tenancies, check_together},
    model::{Position, TenantId},
};

/// Gives the log's state behind it.
type Changes = dyn FnOnce(&Store, &mut Rooms, Tail) -> Result<Tail, Failure> + Send;

/// A change of the store that the committer makes for somebody.
pub struct Change(pub Box<Changes>);

impl fmt::Debug for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Change")
    }
}

/// Where the answer of anything but an append goes.
pub type Done = oneshot::Sender<Result<(), BackboneError>>;

/// Something for the committer to do.
#[derive(Debug)]
pub enum Task {
    /// Append a record.
    Append(Append, Reply),
    /// Append all of these records, or none.
    Together(Vec<(Append, Reply)>),
    /// Keep cursors, flushed.
    Cursors(Vec<CursorUpdate>, Done),
    /// Keep a tally.
    Tally(TenantId, Bytes, Done),
    /// Trim now.
    Trim(Trim, Done),
    /// Take something out.
    Change(Change, Done),
    /// Begin new files for what is not in the tables yet, and leave the old ones.
    Renew(Done),
}

/// What a trim on demand takes away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trim {
    /// Whatever the configured age and size say.
    Expired,
    /// Everything up to a position.
    To(Position),
}

/// What the committer works on between two looks at the queue.
#[derive(Debug, Default)]
pub struct Work {
    /// Appends, in the order they came.
    pub appends: Vec<(Append, Reply)>,
    /// Which of them go through together or not at all.
    pub together: Vec<Range<usize>>,
    /// Cursors.
    pub cursors: Vec<(Vec<CursorUpdate>, Done)>,
    /// Tallies.
    pub tallies: Vec<(TenantId, Bytes, Done)>,
    /// Trims.
    pub trims: Vec<(Trim, Done)>,
    /// Changes of other kinds.
    pub changes: Vec<(Change, Done)>,
    /// Who wants new files.
    pub renewals: Vec<Done>,
    /// Whether the log is to close once this is done and nothing waits.
    pub closing: bool,
}

/// How much one commit may hold.
#[derive(Clone, Copy, Debug)]
pub struct GroupBounds {
    /// Greatest number of tasks.
    pub records: usize,
    /// Bodies may sum to this many bytes; the first task comes even if it is larger.
    pub bytes: usize,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Task>,
    closing: bool,
}

/// The queue between the callers and the committer.
#[derive(Debug)]
pub struct Queue {
    state: Mutex<State>,
    wake: Condvar,
    capacity: usize,
    /// Whose appends are taken in. Asked while the queue is held: whatever is behind an erasure's step was asked after it.
    pub tenancies: Tenancies,
}

impl Queue {
    /// An empty queue for at most `capacity` tasks.
    pub fn new(capacity: usize) -> Self {
        Self { state: Mutex::default(), wake: Condvar::new(), capacity, tenancies: Tenancies::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // The state is whole between any two statements below, so a panic elsewhere leaves nothing to distrust.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts an append at the end, or answers it.
    pub fn append(&self, append: Append, reply: Reply) {
        self.append_as(Task::Append(append, reply));
    }

    /// Puts appends that belong together at the end, and waits for their answers.
    pub fn append_all(&self, appends: Vec<Append>) -> impl Future<Output = Result<Vec<Appended>, AppendError>> + use<> {
        let (count, fit) = (appends.len(), check_together(&appends));
        let (to, mut answers) = mpsc::channel(count.max(1));
        if fit.is_ok() {
            let replies = (0..).map(|token| Reply { token, to: to.clone(), keeper: None });
            self.append_as(Task::Together(appends.into_iter().zip(replies).collect()));
        }
        drop(to);
        async move {
            fit?;
            let mut appended = Vec::with_capacity(count);
            // They come in their order, or not at all.
            while let Some((_, answer)) = answers.recv().await {
                if let Answer::Appended(one) = answer? {
                    appended.push(one);
                }
            }
            let went_away = || AppendError::Unknown("the log went away before it answered".into());
            if appended.len() == count { Ok(appended) } else { Err(went_away()) }
        }
    }

    fn append_as(&self, task: Task) {
        let refusal = {
            let mut state = self.state();
            if state.closing {
                AppendError::Closed
            } else if !self.takes(&task) {
                AppendError::Erasing
            } else if state.waiting.len() >= self.capacity {
                AppendError::Busy
            } else {
                let was_empty = state.waiting.is_empty();
                state.waiting.push_back(task);
                drop(state);
                // The committer sleeps only on an empty queue.
                if was_empty {
                    self.wake.notify_one();
                }
                return;
            }
        };
        refuse(task, &refusal);
    }

    fn takes(&self, task: &Task) -> bool {
        match task {
            Task::Append(append, _) => self.tenancies.takes(&append.tenant),
            Task::Together(appends) => appends.iter().all(|(append, _)| self.tenancies.takes(&append.tenant)),
            _ => true,
        }
    }

    /// Puts anything else at the end; a task that was not taken in is dropped, and its asker told so by the result.
    pub fn push(&self, mut task: Task) -> Result<(), BackboneError> {
        let mut state = self.state();
        match &mut task {
            // Nobody misses what is kept of a tenant that is being erased.
            Task::Cursors(updates, _) => updates.retain(|update| self.tenancies.takes(&update.tenant)),
            Task::Tally(tenant, ..) if !self.tenancies.takes(tenant) => {
                if let Task::Tally(_, _, done) = task {
                    // The asker may have gone.
                    let _ = done.send(Ok(()));
                }
                return Ok(());
            }
            _ => {}
        }
        if state.closing {
            return Err(BackboneError::Unavailable("the log is closed".into()));
        }
        if state.waiting.len() >= self.capacity {
            return Err(BackboneError::Unavailable("too much is waiting to be written".into()));
        }
        state.waiting.push_back(task);
        self.wake.notify_one();
        Ok(())
    }

    /// Takes nothing in any more; what waits is still done.
    pub fn close(&self) {
        self.state().closing = true;
        self.wake.notify_one();
    }

    /// Takes what waits, up to the bounds. Sleeps while nothing waits, but not past `until`.
    pub fn take(&self, bounds: GroupBounds, until: Instant) -> Work {
        let mut state = self.state();
        while state.waiting.is_empty() && !state.closing {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            state = self.wake.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        let mut work = Work::default();
        let (mut tasks, mut bytes) = (0, 0);
        while let Some(task) = state.waiting.front() {
            bytes += body_bytes(task);
            if tasks > 0 && (tasks >= bounds.records || bytes > bounds.bytes) {
                break;
            }
            tasks += 1;
            match state.waiting.pop_front() {
                Some(Task::Append(append, reply)) => work.appends.push((append, reply)),
                Some(Task::Together(appends)) => {
                    work.together.push(work.appends.len()..work.appends.len() + appends.len());
                    work.appends.extend(appends);
                }
                Some(Task::Cursors(updates, done)) => work.cursors.push((updates, done)),
                Some(Task::Tally(tenant, tally, done)) => work.tallies.push((tenant, tally, done)),
                Some(Task::Trim(trim, done)) => work.trims.push((trim, done)),
                Some(Task::Change(change, done)) => work.changes.push((change, done)),
                Some(Task::Renew(done)) => work.renewals.push(done),
                None => break,
            }
        }
        work.closing = state.closing && state.waiting.is_empty();
        work
    }

    /// Closes and gives up what waits: the committer is gone. None of it was begun.
    pub fn abandon(&self) {
        let waiting = {
            let mut state = self.state();
            state.closing = true;
            std::mem::take(&mut state.waiting)
        };
        for task in waiting {
            refuse(task, &AppendError::Closed);
        }
    }
}

/// Answers appends that are not begun. Other tasks' askers learn it from the dropped answer.
fn refuse(task: Task, error: &AppendError) {
    match task {
        Task::Append(_, reply) => reply.send(Err(error.clone())),
        Task::Together(appends) => appends.into_iter().for_each(|(_, reply)| reply.send(Err(error.clone()))),
        Task::Cursors(..) | Task::Tally(..) | Task::Trim(..) | Task::Change(..) | Task::Renew(..) => {}
    }
}

fn body_bytes(task: &Task) -> usize {
    match task {
        Task::Append(append, _) => append.body.len(),
        Task::Together(appends) => appends.iter().map(|(append, _)| append.body.len()).sum(),
        Task::Tally(_, tally, _) => tally.len(),
        Task::Cursors(..) | Task::Trim(..) | Task::Change(..) | Task::Renew(..) => 0,
    }
}
