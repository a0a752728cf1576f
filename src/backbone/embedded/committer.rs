//! The one thread that writes.
//!
//! Owns: group commit, who is answered what when the store fails, and when trimming runs. While one flush runs the next
//! group gathers in the queue; nobody lingers for it.

mod opening;

use std::{
    collections::VecDeque,
    panic::{self, AssertUnwindSafe},
    sync::Arc,
    thread::JoinHandle,
    time::{Duration, Instant},
};

use tracing::{error, warn};

use super::{
    EmbeddedConfig, Shared,
    group::{self, Committed, Group},
    health::Health,
    queue::{self, Done, GroupBounds, Trim, Work},
    retention::{self, Progress, Target},
    rooms::Rooms,
    rows::Tail,
    store::{DirLock, Failure, Fault, Store},
    versions::Versions,
};
use crate::{
    backbone::{Append, AppendError, Appended, BackboneError, Outcome, Reply, Stored},
    model::{Position, Timestamp},
};

/// How long the log refuses appends after a failure before it tries the store again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

type Answers = Vec<Result<Appended, AppendError>>;

/// The committer's own state.
pub struct Committer {
    shared: Arc<Shared>,
    config: EmbeddedConfig,
    rooms: Rooms,
    versions: Versions,
    tail: Tail,
    health: Health,
    trims: VecDeque<(Target, Option<Done>)>,
    next_sweep: Instant,
    readers: Vec<JoinHandle<()>>,
    lock: DirLock,
}

impl Committer {
    /// Ready to run behind `tail`.
    pub fn new(
        shared: Arc<Shared>,
        config: EmbeddedConfig,
        (rooms, tail): (Rooms, Tail),
        readers: Vec<JoinHandle<()>>,
        lock: DirLock,
    ) -> Self {
        let next_sweep = sweep_after(&config);
        let (health, trims) = (Health::Well, VecDeque::new());
        let versions = Versions::default();
        Self { shared, config, rooms, versions, tail, health, trims, next_sweep, readers, lock }
    }

    /// Works until the queue is closed and empty, then lets go of everything.
    pub fn run(mut self) {
        // Whatever happens, nobody may wait for ever for a thread that is gone.
        if panic::catch_unwind(AssertUnwindSafe(|| self.work())).is_err() {
            error!("the log's committer panicked; the log is closed");
        }
        self.finish();
    }

    fn work(&mut self) {
        let bounds = GroupBounds { records: self.config.commit_records.max(1), bytes: self.config.commit_bytes };
        loop {
            let until = if self.trims.is_empty() { self.next_sweep } else { Instant::now() };
            let mut work = self.shared.queue.take(bounds, until);
            let closing = work.closing;
            let (changes, renewals) = (std::mem::take(&mut work.changes), std::mem::take(&mut work.renewals));
            for (trim, done) in work.trims.drain(..) {
                let target = self.target(trim);
                self.trims.push_back((target, Some(done)));
            }
            self.recover();
            self.commit(work);
            for (queue::Change(change), done) in changes {
                // The asker may have gone.
                let _ = done.send(self.change(change).map_err(BackboneError::Store));
            }
            for done in renewals {
                // As above.
                let _ = done.send(self.renew().map_err(BackboneError::Store));
            }
            if closing {
                return;
            }
            if Instant::now() >= self.next_sweep {
                self.next_sweep = sweep_after(&self.config);
                let target = self.target(Trim::Expired);
                self.trims.push_back((target, None));
                self.shared.live.prune();
            }
            self.trim();
        }
    }

    fn finish(self) {
        self.shared.queue.abandon();
        self.shared.live.close();
        self.shared.readers.close();
        for reader in self.readers {
            // A reader that panicked has nothing more to say.
            let _ = reader.join();
        }
        let store = self.shared.store_mut().take();
        if let Some(store) = store
            && let Err(error) = store.db.persist(fjall::PersistMode::SyncAll)
        {
            warn!(%error, "the log could not be flushed once more at its close; every acknowledged record was flushed before");
        }
        drop(self.lock);
        self.shared.closed.send_replace(true);
    }

    fn commit(&mut self, work: Work) {
        if work.appends.is_empty() && work.cursors.is_empty() && work.tallies.is_empty() {
            return;
        }
        let result = match self.health.cause() {
            None => self.write(&work),
            Some(cause) => Err((refuse(&work, cause), cause.to_owned())),
        };
        let kept = match result {
            Ok((answers, committed)) => {
                self.publish(&work.appends, &answers, committed);
                answer(work.appends, answers);
                Ok(())
            }
            Err((answers, cause)) => {
                answer(work.appends, answers);
                Err(BackboneError::Store(cause))
            }
        };
        let done = work.cursors.into_iter().map(|(_, done)| done).chain(work.tallies.into_iter().map(|(_, _, d)| d));
        for done in done {
            // The asker may have gone.
            let _ = done.send(kept.clone());
        }
    }

    /// Checks and commits; on failure the answers and the cause.
    fn write(&mut self, work: &Work) -> Result<(Answers, Committed), (Answers, String)> {
        let written = self.attempt(work);
        if written.is_err() {
            self.versions.forget();
        }
        match written {
            Ok((answers, committed)) => {
                self.tail = committed.tail;
                Ok((answers, committed))
            }
            Err(Failure::Check(fault)) => {
                warn!(%fault, "a group of appends was refused: the store could not be read");
                Err((refuse(work, &fault.to_string()), fault.to_string()))
            }
            Err(Failure::Commit(fault)) => {
                self.failed(&fault);
                Err((self.after_failure(work, &fault), fault.to_string()))
            }
        }
    }

    fn attempt(&mut self, work: &Work) -> Result<(Answers, Committed), Failure> {
        let shared = self.shared.clone();
        let store = shared.store();
        let Some(store) = &*store else {
            return Err(Failure::Check(Fault::Stopped));
        };
        // Nothing was written, but the store has to be opened again: a commit's failure.
        store.wait_for_background().map_err(Failure::Commit)?;
        let (rooms, versions, tail) = (&mut self.rooms, &mut self.versions, self.tail);
        let attempt = AssertUnwindSafe(|| {
            let mut group = Group::new(store, rooms, versions, tail, now());
            let answers = check(&mut group, work)?;
            let committed = group.commit().map_err(Failure::Commit)?;
            Ok((answers, committed))
        });
        // The store has assertions of its own. One that fails must not leave this group without an answer.
        panic::catch_unwind(attempt)
            .unwrap_or_else(|_| Err(Failure::Commit(Fault::Broken("the store panicked".into()))))
    }

    fn publish(&self, appends: &[(Append, Reply)], answers: &Answers, committed: Committed) {
        let duplicates = answers.iter().flatten().filter(|appended| appended.outcome == Outcome::Duplicate).count();
        self.shared.counters.count(committed.records, duplicates, committed.flush, self.tail);
        let made = appends.iter().zip(answers).filter_map(|((append, _), answer)| match answer {
            Ok(Appended { position, outcome: Outcome::Stored }) => Some((&append.tenant, (append, *position))),
            _ => None,
        });
        self.shared.live.publish(Position(self.tail.end), made, |(append, position): (&Append, _)| Stored {
            position,
            stored_at: committed.stored_at,
            subject: append.subject.clone(),
            body: append.body.clone(),
        });
    }

    /// Decides what a failed commit means for the ones to come.
    fn failed(&mut self, fault: &Fault) {
        let cause = fault.to_string();
        error!(cause, "a commit failed");
        match fault {
            Fault::NoSpace(_) | Fault::Stopped => {
                self.health = Health::Paused { cause, until: Instant::now() + RETRY_AFTER };
                self.reopen();
            }
            Fault::Broken(_) => self.health = Health::Broken { cause },
        }
    }

    /// What a group is told whose commit failed.
    fn after_failure(&mut self, work: &Work, fault: &Fault) -> Answers {
        let shared = self.shared.clone();
        let store = shared.store();
        let cause = fault.to_string();
        let was_found = |append: &Append, rooms: &mut Rooms| match (fault, &*store) {
            (Fault::Stopped, _) => Some(false),
            (Fault::Broken(_), _) | (_, None) => None,
            (Fault::NoSpace(_), Some(store)) => {
                let room = rooms.number(&append.tenant).ok()?;
                group::was_written(store, room, append).ok()
            }
        };
        work.appends
            .iter()
            .map(|(append, _)| match was_found(append, &mut self.rooms) {
                Some(false) => Err(AppendError::Full(cause.clone())),
                // Found, but written by a call that failed; a repeat finds it and says so.
                Some(true) | None => Err(AppendError::Unknown(cause.clone())),
            })
            .collect()
    }

    fn target(&self, trim: Trim) -> Target {
        match trim {
            Trim::To(position) => Target { to: Some(position), ..Target::default() },
            Trim::Expired => {
                let age = self.config.retention_age.map(|age| i64::try_from(age.as_millis()).unwrap_or(i64::MAX));
                Target { before: age.map(|age| now().earlier_by(age)), bytes: self.config.retention_bytes, to: None }
            }
        }
    }

    /// One step of the trim at the front.
    fn trim(&mut self) {
        let Some((target, _)) = self.trims.front() else { return };
        let target = *target;
        let mut progress = Progress::Done;
        let result = self.change(|store, rooms, tail| {
            let (tail, done) = retention::step(store, rooms, tail, target)?;
            progress = done;
            Ok(tail)
        });
        let result = match result {
            Ok(()) if progress == Progress::More => return,
            Ok(()) => Ok(()),
            Err(cause) => Err(BackboneError::Store(cause)),
        };
        if let Some((_, Some(done))) = self.trims.pop_front() {
            // The asker may have gone.
            let _ = done.send(result);
        }
    }

    /// Takes something out of the store, if it takes changes now.
    fn change(&mut self, change: impl FnOnce(&Store, &mut Rooms, Tail) -> Result<Tail, Failure>) -> Result<(), String> {
        if let Some(cause) = self.health.cause() {
            return Err(cause.to_owned());
        }
        self.versions.forget();
        let shared = self.shared.clone();
        let changed = {
            let store = shared.store();
            let store = store.as_ref().ok_or("the log's store is closed")?;
            store
                .wait_for_background()
                .map_err(Failure::Commit)
                .and_then(|()| change(store, &mut self.rooms, self.tail))
        };
        match changed {
            Ok(tail) => {
                if tail.end > self.tail.end {
                    self.shared.live.skip_to(Position(tail.end));
                }
                self.tail = tail;
                self.shared.counters.trimmed(tail);
                Ok(())
            }
            Err(failure) => {
                match &failure {
                    Failure::Check(fault) => warn!(%fault, "nothing was trimmed: the store could not be read"),
                    Failure::Commit(fault) => self.failed(fault),
                }
                Err(failure.to_string())
            }
        }
    }
}

/// Reads what the committer keeps in memory.
pub fn load(store: &Store) -> Result<(Rooms, Tail), Fault> {
    Ok((Rooms::load(store)?, store.tail()?))
}

fn check(group: &mut Group<'_>, work: &Work) -> Result<Answers, Fault> {
    let mut answers = Vec::with_capacity(work.appends.len());
    for together in &work.together {
        append_each(group, &work.appends[answers.len()..together.start], &mut answers)?;
        group.append_all(&work.appends[together.clone()], &mut answers)?;
    }
    append_each(group, &work.appends[answers.len()..], &mut answers)?;
    for update in work.cursors.iter().flat_map(|(updates, _)| updates) {
        group.cursor(update)?;
    }
    for (tenant, tally, _) in &work.tallies {
        group.tally(tenant, tally)?;
    }
    Ok(answers)
}

fn append_each(group: &mut Group<'_>, appends: &[(Append, Reply)], answers: &mut Answers) -> Result<(), Fault> {
    for (append, _) in appends {
        answers.push(group.append(append)?);
    }
    Ok(())
}

fn refuse(work: &Work, cause: &str) -> Answers {
    work.appends.iter().map(|_| Err(AppendError::Full(cause.into()))).collect()
}

fn answer(appends: Vec<(Append, Reply)>, answers: Answers) {
    for ((_, reply), answer) in appends.into_iter().zip(answers) {
        reply.send(answer);
    }
}

/// When to sweep next. Bounded on both sides: no interval may keep the thread spinning or lie beyond the clock's range.
fn sweep_after(config: &EmbeddedConfig) -> Instant {
    const DAY: Duration = Duration::from_secs(86_400);
    Instant::now() + config.sweep_interval.clamp(Duration::from_millis(1), DAY)
}

fn now() -> Timestamp {
    Timestamp(jiff::Timestamp::now().as_millisecond())
}
