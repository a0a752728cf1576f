//! What the parts of a log on NATS share, and the watch over the NATS that it stands on.
//!
//! Owns: whether there is something to stand on, and what is said when not.

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use tokio::{
    runtime::Handle,
    sync::{Notify, mpsc, watch},
    time::{sleep, timeout},
};

use super::{
    api::StreamInfo,
    definition::Shape,
    kept,
    line::Line,
    publisher::Job,
    setup::{self, SetupError},
    shard::{Found, Shard, Trouble},
};
use crate::{
    backbone::{Append, AppendError, Health, Hub, Tenancies},
    model::TenantId,
};

/// How often it is noted where the logs stand, and their streams are looked at.
const REMEMBER: Duration = Duration::from_secs(10);
/// Pause between two looks at a NATS that cannot be stood on.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// How long a STATE that says it is caught up must have stood to be believed.
const STOOD_LONG: Duration = Duration::from_secs(20);
/// How often silent streams are asked whether they have a leader again.
const PROBE: Duration = Duration::from_millis(100);
/// How long the answer may take.
const PROBE_TIME: Duration = Duration::from_millis(400);
/// What headers add to a message, at most.
const HEADERS: usize = 256;
/// What the envelope adds to a client's message, and room to spare.
pub(super) const OVERHEAD: usize = 4_096;

/// How NATS stands.
#[derive(Clone, Debug)]
pub(super) enum Standing {
    /// Not reached yet.
    Waiting(String),
    /// Reached, and not usable.
    Wrong(String),
    /// Checked.
    Ready,
}

/// What the parts share.
pub(super) struct Shared {
    pub(super) line: Line,
    pub(super) shape: Shape,
    pub(super) shards: Vec<Arc<Shard>>,
    pub(super) hub: Arc<Hub>,
    pub(super) standing: watch::Sender<Standing>,
    /// Told when the streams should be looked at.
    pub(super) look_again: Notify,
    pub(super) jobs: mpsc::Sender<Job>,
    /// Appends taken and not answered.
    pub(super) busy: Arc<AtomicUsize>,
    pub(super) most_busy: usize,
    pub(super) closing: watch::Sender<bool>,
    pub(super) closed: watch::Sender<bool>,
    pub(super) cursors: kept::Memory,
    /// Told when streams have fallen silent.
    pub(super) silenced: Notify,
    /// When the line last came up.
    pub(super) up_since: Mutex<Instant>,
    pub(super) runtime: Handle,
    pub(super) foreign: AtomicU64,
    pub(super) tails_remade: AtomicU64,
    pub(super) largest_body: usize,
    /// Whether opening is over: until then a wrong NATS is its caller's to tell.
    pub(super) opened: AtomicBool,
    /// What is known of tenants that were erased.
    pub(super) tenancies: Tenancies,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("shape", &self.shape).finish_non_exhaustive()
    }
}

impl Shared {
    pub(super) fn shard_of(&self, tenant: &TenantId) -> &Arc<Shard> {
        &self.shards[usize::from(self.shape.names.shard_of(tenant))]
    }

    /// Why an append is not taken in at all.
    pub(super) fn refuse(&self, append: &Append) -> Option<AppendError> {
        if *self.closing.borrow() {
            return Some(AppendError::Closed);
        }
        if self.busy.load(Relaxed) >= self.most_busy {
            return Some(AppendError::Busy);
        }
        let limit = match self.line.client().max_payload() {
            0 => usize::MAX, // not connected yet
            payload => payload.saturating_sub(HEADERS),
        };
        let is_too_large = append.body.len() > limit;
        self.tenancies.refuse(append).or(is_too_large.then_some(AppendError::TooLarge { limit }))
    }

    pub(super) fn count_foreign(&self) {
        self.foreign.fetch_add(1, Relaxed);
        tracing::warn!("a message under a subject that is no record's was dropped");
    }

    /// Notes that a stream does not answer.
    pub(super) fn is_silent(&self, shard: &Shard, why: &str) {
        shard.is_in(Trouble::Silence(why.to_owned()));
        self.silenced.notify_one();
    }

    /// Asks silent streams until they answer, so that whoever waits for them need not guess.
    pub(super) async fn listen_for_life(self: Arc<Self>) {
        loop {
            self.silenced.notified().await;
            while self.shards.iter().any(|shard| shard.is_silent()) {
                sleep(PROBE).await;
                let asked = self.shards.iter().filter(|shard| shard.is_silent()).map(async |shard| {
                    // A stream without a leader does not say so, it says nothing.
                    let asked = timeout(PROBE_TIME, StreamInfo::get(&self.line, &shard.log)).await;
                    if let Ok(Ok(Some(_))) = asked {
                        shard.is_well();
                    }
                });
                join_all(asked).await;
            }
        }
    }

    pub(super) fn has_stood_for_long(&self) -> bool {
        self.up_since.lock().unwrap_or_else(PoisonError::into_inner).elapsed() > STOOD_LONG
    }

    /// How the log of all tenants, or of one, serves.
    pub(super) fn health(&self, of: Option<&TenantId>) -> Health {
        match &*self.standing.borrow() {
            Standing::Waiting(why) => return Health::Down(format!("waiting for NATS: {why}")),
            Standing::Wrong(why) => return Health::Down(why.clone()),
            Standing::Ready => {}
        }
        if !self.line.is_up() {
            return Health::Degraded("no connection to NATS".into());
        }
        let shards = of.map_or(&self.shards[..], |tenant| std::slice::from_ref(self.shard_of(tenant)));
        match shards.iter().find_map(|shard| shard.trouble()) {
            Some(why) => Health::Degraded(why),
            None => Health::Serving,
        }
    }

    /// Looks at NATS until it can be stood on, and again whenever something is odd.
    pub(super) async fn keep_watch(self: Arc<Self>) {
        let mut connections = self.line.connections();
        // A server that is there is reached at once; "waiting" is for one that is not. Which it is shows below.
        let _ = timeout(LOOK_AGAIN, connections.changed()).await;
        loop {
            let found = match setup::check_server(&self.line, self.largest_body + OVERHEAD) {
                Ok(warning) => {
                    let known: Vec<_> = self.shards.iter().map(|shard| shard.end()).collect();
                    setup::streams(&self.line, &self.shape, &known).await.map(|logs| (logs, warning))
                }
                Err(error) => Err(error),
            };
            match found {
                Ok((logs, warning)) => {
                    self.stand_on(&logs, warning);
                    tokio::select! {
                        () = sleep(REMEMBER) => {}
                        // Not more often than that, whatever goes wrong.
                        () = self.look_again.notified() => sleep(LOOK_AGAIN).await,
                        _ = connections.changed() => self.line_is_new(),
                    }
                    continue;
                }
                Err(SetupError::Wrong(why)) => self.stand_aside(Standing::Wrong(why)),
                Err(SetupError::Away(why)) => self.stand_aside(Standing::Waiting(why)),
            }
            let is_ready = matches!(&*self.standing.borrow(), Standing::Ready);
            tokio::select! {
                () = sleep(if is_ready { REMEMBER } else { LOOK_AGAIN }) => {}
                () = self.look_again.notified() => sleep(LOOK_AGAIN).await,
                _ = connections.changed() => self.line_is_new(),
            }
        }
    }

    fn line_is_new(&self) {
        *self.up_since.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        self.hub.miss_all();
    }

    fn stand_on(&self, logs: &[setup::LogStart], warning: Option<setup::Warning>) {
        for (shard, log) in self.shards.iter().zip(logs) {
            if shard.found(log.epoch, log.end) == Found::Another {
                tracing::warn!(stream = shard.log, epoch = %log.epoch, "the log was made anew: every reader starts over");
            }
            shard.remember(log.settled);
        }
        let was_ready = matches!(self.standing.send_replace(Standing::Ready), Standing::Ready);
        if !was_ready {
            warning.iter().for_each(|warning| tracing::warn!("{warning}"));
            tracing::info!(shards = logs.len(), replicas = self.shape.replicas, "the log on NATS is ready");
        }
        self.shards.iter().for_each(|shard| shard.wake.notify_one());
    }

    fn stand_aside(&self, standing: Standing) {
        self.standing.send_modify(|before| {
            match (&*before, &standing) {
                // Once it was good it is not unmade: being away is the line's business, and a stream that an operator has
                // changed under us is said, again and again, but still a log.
                (Standing::Ready, Standing::Waiting(why)) => return tracing::debug!("cannot look at NATS: {why}"),
                (Standing::Ready, Standing::Wrong(why)) => return tracing::error!("NATS has changed: {why}"),
                (Standing::Wrong(before), Standing::Wrong(why)) if before == why => {}
                (_, Standing::Wrong(_)) if !self.opened.load(Relaxed) => {}
                (_, Standing::Wrong(why)) => tracing::error!("NATS cannot be used: {why}"),
                (Standing::Waiting(before), Standing::Waiting(why)) if before == why => {}
                (_, Standing::Waiting(why)) => tracing::warn!("waiting for NATS: {why}"),
                (_, Standing::Ready) => {}
            }
            *before = standing;
        });
    }
}
