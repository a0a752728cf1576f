//! The task that brings entries to the log: rooms side by side, a room's entries one after the other.
//!
//! Owns: when a room is tried again, and when entries are removed from the store. Of each run of a room's entries the first
//! goes alone: it shows whether the log takes them. The others follow side by side, as publishes do that never saw the
//! journal.

use std::{
    collections::{BTreeSet, HashMap},
    future::pending,
    sync::Arc,
    time::Duration,
};

use futures_util::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};

use super::{
    desk::{Desk, Written},
    entry::Entry,
    forget,
    pace::Pace,
};
use crate::{
    backbone::{Answer, Append, AppendError, BackboneError, Health, Reply, Stored},
    model::{DedupeId, Epoch, Position, TenantId},
};

/// Rooms that are drained at a time.
const ROOMS: usize = 256;
/// Entries read from the store at a time.
const RUN: usize = 1024;
/// The store's answers taken at a time, and entries removed at a time.
const GROUP: usize = 1000;
/// How often the log's health is looked at while rooms rest.
const LOOK: Duration = Duration::from_millis(100);

/// How far the clocks of this node and of the log may lie apart, and how long before it was queued a publish may have been
/// tried elsewhere, together: milliseconds.
const CLOCKS_DIFFER_MS: i64 = 3_600_000;

/// How the draining of one room ended.
enum Stopped {
    /// Nothing is left.
    Empty,
    /// The log, or the journal's own store, did not do it: try again later.
    Failed(String),
}

type Lane = BoxFuture<'static, (TenantId, Stopped)>;
type Removal = BoxFuture<'static, (Vec<Position>, Result<(), BackboneError>)>;

/// Works until the desk closes.
pub async fn run(desk: Arc<Desk>, mut answers: mpsc::Receiver<Written>) {
    let mut drain = Drain::new(desk);
    while !drain.is_over() {
        drain.desk.release();
        drain.start();
        let mut written = Vec::new();
        let next_look = drain.next_look();
        tokio::select! {
            _ = answers.recv_many(&mut written, GROUP) => drain.desk.settle(written),
            Some((tenant, stopped)) = drain.lanes.next(), if !drain.lanes.is_empty() => drain.stopped(tenant, stopped),
            (positions, removed) = next_removed(&mut drain.removal) => {
                // What the store answered before it removed them still speaks of them.
                drain.desk.settle(std::iter::from_fn(|| answers.try_recv().ok()));
                drain.removed(positions, removed);
            }
            () = drain.desk.worked() => {}
            () = drain.desk.hurried() => drain.wake_all(),
            () = look_at(next_look) => drain.look(),
        }
    }
    drain.desk.dismiss_lines();
    drain.desk.store.close().await;
}

async fn next_removed(removal: &mut Option<Removal>) -> (Vec<Position>, Result<(), BackboneError>) {
    match removal {
        Some(running) => running.await,
        None => pending().await,
    }
}

async fn look_at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => pending().await,
    }
}

struct Drain {
    desk: Arc<Desk>,
    lanes: FuturesUnordered<Lane>,
    /// One set of ended entries on its way out of the store; the next one gathers meanwhile.
    removal: Option<Removal>,
    /// Not before, after a removal that failed.
    remove_after: Option<Instant>,
    resting: BTreeSet<(Instant, TenantId)>,
    failures: HashMap<TenantId, u32>,
    pace: Pace,
    /// What the log last said of itself.
    was_serving: bool,
    /// Whether the present outage has been told.
    told: bool,
}

impl Drain {
    fn new(desk: Arc<Desk>) -> Self {
        Self {
            desk,
            lanes: FuturesUnordered::new(),
            removal: None,
            remove_after: None,
            resting: BTreeSet::new(),
            failures: HashMap::new(),
            pace: Pace::new(),
            was_serving: true,
            told: false,
        }
    }

    /// Whether the desk is closing and nothing is under way; what could be removed has been.
    fn is_over(&mut self) -> bool {
        if !self.desk.is_closing() || !self.lanes.is_empty() || !self.desk.is_written() {
            return false;
        }
        self.start_removal();
        self.removal.is_none()
    }

    fn start(&mut self) {
        while self.lanes.len() < ROOMS && !self.desk.is_closing() {
            let Some(tenant) = self.desk.decide(|index| index.next_ready()) else { break };
            self.lanes.push(drain_room(self.desk.clone(), tenant).boxed());
        }
        self.start_removal();
    }

    fn start_removal(&mut self) {
        if self.removal.is_none() && self.remove_after.is_none() {
            let positions = self.desk.decide(|index| index.take_removable(GROUP));
            if !positions.is_empty() {
                self.removal = Some(self.desk.store.remove(positions));
            }
        }
    }

    fn removed(&mut self, positions: Vec<Position>, removed: Result<(), BackboneError>) {
        self.removal = None;
        match removed {
            Ok(()) => self.desk.decide(|index| index.removed(&positions)),
            Err(error) => {
                tracing::warn!(%error, "drained entries could not be removed from the journal yet");
                self.desk.decide(|index| index.still_there(positions));
                self.remove_after = Some(Instant::now() + LOOK * 10);
            }
        }
    }

    fn stopped(&mut self, tenant: TenantId, stopped: Stopped) {
        match stopped {
            Stopped::Empty => {
                self.failures.remove(&tenant);
                self.desk.decide(|index| index.drained(&tenant));
                if self.told && self.desk.waiting() == 0 {
                    self.told = false;
                    tracing::info!("the journal is drained");
                }
            }
            Stopped::Failed(cause) => {
                let failures = self.failures.entry(tenant.clone()).or_default();
                *failures = failures.saturating_add(1);
                let delay = self.pace.delay(*failures);
                if !std::mem::replace(&mut self.told, true) {
                    tracing::warn!(cause, entries = self.desk.waiting(), "publishes wait in the journal");
                }
                tracing::debug!(%tenant, cause, ?delay, "a room's entries could not be drained; trying again");
                self.was_serving = self.is_serving();
                self.desk.decide(|index| index.rest(&tenant));
                self.desk.keep_line(&tenant);
                self.resting.insert((Instant::now() + delay, tenant));
            }
        }
    }

    fn is_serving(&self) -> bool {
        self.desk.backbone.health() == Health::Serving
    }

    fn next_look(&self) -> Option<Instant> {
        let soon = Instant::now() + LOOK;
        match (self.resting.first(), self.remove_after) {
            (None, None) => None,
            (Some((due, _)), _) => Some(soon.min(*due)),
            (None, Some(due)) => Some(due),
        }
    }

    /// Wakes the rooms that have rested, and all of them when the log says that it serves again.
    fn look(&mut self) {
        let now = Instant::now();
        self.remove_after = self.remove_after.filter(|due| *due > now);
        let is_serving = self.is_serving();
        if is_serving && !std::mem::replace(&mut self.was_serving, is_serving) {
            return self.wake_all();
        }
        self.was_serving = is_serving;
        while let Some((due, tenant)) = self.resting.pop_first() {
            if due > now {
                self.resting.insert((due, tenant));
                return;
            }
            self.desk.decide(|index| index.wake(&tenant));
        }
    }

    fn wake_all(&mut self) {
        self.failures.clear();
        for (_, tenant) in std::mem::take(&mut self.resting) {
            self.desk.decide(|index| index.wake(&tenant));
        }
    }
}

/// Sends a room's entries, one after the other, until none is left or one fails.
async fn drain_room(desk: Arc<Desk>, tenant: TenantId) -> (TenantId, Stopped) {
    loop {
        let places = desk.decide(|index| index.front(&tenant, RUN));
        if places.is_empty() || desk.is_closing() {
            return (tenant, Stopped::Empty);
        }
        // Asked from the log's leader before anything is sent: this node may have been away when the tenant was erased.
        if let Err(error) = forget::learn(&desk, &tenant).await {
            return (tenant, Stopped::Failed(error.to_string()));
        }
        let records = match desk.store.read(&places).await {
            Ok(records) => records,
            Err(error) => return (tenant, Stopped::Failed(error.to_string())),
        };
        let mut records = records.into_iter();
        let first = records.next().into_iter().collect();
        for run in [first, records.collect()] {
            if desk.is_closing() {
                return (tenant, Stopped::Empty);
            }
            if let Err(error) = send(&desk, &tenant, run).await {
                return (tenant, Stopped::Failed(error.to_string()));
            }
        }
    }
}

/// Brings entries to the log, in their order and without waiting for one another.
async fn send(desk: &Desk, tenant: &TenantId, records: Vec<Stored>) -> Result<(), AppendError> {
    let (to, mut answers) = mpsc::channel(records.len().max(1));
    let mut sent = Vec::new();
    let mut failed = None;
    for record in records {
        let entry = match Entry::decode(&record.body) {
            Ok(entry) => entry,
            Err(damaged) => {
                desk.bury(tenant, &record, damaged.to_string()).await?;
                continue;
            }
        };
        let dedupe = entry.dedupe;
        if entry.life < desk.backbone.tenancy(tenant).since {
            desk.drop_entry(tenant, record.position, dedupe).await;
            continue;
        }
        let append = match append_of(desk, tenant, entry).await {
            Ok(append) => append,
            Err(error) => {
                failed = Some(error);
                break;
            }
        };
        let reply = Reply { token: sent.len() as u64, to: to.clone(), keeper: None };
        sent.push((record, dedupe));
        desk.backbone.append(append, reply);
    }
    drop(to);
    let mut ended = Vec::new();
    while answers.recv_many(&mut ended, GROUP).await > 0 {}
    // Whoever listens hears them in their order.
    ended.sort_unstable_by_key(|(token, _)| *token);
    for (token, result) in ended {
        let Some((record, dedupe)) = usize::try_from(token).ok().and_then(|at| sent.get(at)) else { continue };
        if let Err(error) = settle(desk, tenant, record, *dedupe, result).await {
            failed.get_or_insert(error);
        }
    }
    failed.map_or(Ok(()), Err)
}

/// What is sent for an entry.
async fn append_of(desk: &Desk, tenant: &TenantId, entry: Entry) -> Result<Append, AppendError> {
    let (epoch, queued_at) = (entry.epoch, entry.queued_at);
    let mut append = entry.into_append(desk.backbone.epoch(tenant));
    if epoch == Epoch::UNKNOWN {
        // Queued before the log was ever reached: by the clock, so that a long log need not be searched from its start.
        let from = desk.backbone.position_at(tenant, queued_at.earlier_by(CLOCKS_DIFFER_MS)).await;
        append.first_tried = Some(from.map_err(|error| AppendError::Unavailable(error.to_string()))?);
    }
    Ok(append)
}

/// An entry has been answered: it is in the log, it is a dead letter, or it stays.
async fn settle(
    desk: &Desk,
    tenant: &TenantId,
    record: &Stored,
    dedupe: DedupeId,
    result: Result<Answer, AppendError>,
) -> Result<(), AppendError> {
    match result {
        Ok(Answer::Appended(appended)) => {
            desk.stored(tenant, record.position, dedupe, appended).await;
            Ok(())
        }
        Ok(Answer::Queued) => Err(AppendError::Unavailable("a log does not queue".into())),
        Err(AppendError::Refused(why)) => desk.bury(tenant, record, why).await,
        Err(too_large @ AppendError::TooLarge { .. }) => desk.bury(tenant, record, too_large.to_string()).await,
        // An entry has no condition; a log that says so all the same would say it for ever.
        Err(conflict @ AppendError::Conflict { .. }) => desk.bury(tenant, record, conflict.to_string()).await,
        Err(error) => Err(error),
    }
}
