//! Leads a replica: holds the connection, sends the journal in its order, keeps the mirror.
//!
//! Owns: that one process at a time does so, that writes to one entity go out one after the other, and that what a message says
//! and the cursor behind it are written down together. Never gives up: what a person has to mend is said and tried again.

mod asking;
mod taking;
mod telling;

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use futures_util::FutureExt as _;
use serde_json::json;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, sleep_until},
};
use uuid::Uuid;

pub(super) use self::telling::{lock, write_figures};
use self::{
    taking::Step,
    telling::{begin, tell, watch},
};
use super::{
    journal::{self, Pending, Settled},
    overlay,
    shared::Shared,
    status::Link,
    store::{StoreError, fact},
};
use crate::{
    client::{
        Backoff, ClientOptions, Echo, Happening, Incoming, Publish, Reconnecting, Since, connection::Ended,
        reconnecting::Fatal,
    },
    model::{Cursor, EntityKey, EventId},
    wire::token::Token,
};

/// How often it is looked whether nobody leads, and whether others have written.
const LOOK: Duration = Duration::from_millis(100);
/// How often what is known of the connection is told to the other processes, if it is anew.
const TELL: Duration = Duration::from_secs(1);
/// Writes that are on their way at a time.
const WINDOW: usize = 64;
/// Writes that are read ahead.
const AHEAD: usize = 512;
/// Messages that are taken in one transaction.
const BATCH: usize = 256;
/// Pause when another connection of our instance took our place: it may be a program with the same name.
const DISPLACED: Duration = Duration::from_secs(30);

/// Leads whenever nobody else does, until the replica is closed.
pub(super) async fn run(shared: Arc<Shared>) {
    let watching = tokio::spawn(watch(shared.clone()));
    while !shared.closing.is_cancelled() {
        match lock(&shared.options.dir) {
            Ok(Some(lock)) => {
                begin(&shared).await;
                shared.is_leading.store(true, Relaxed);
                lead(&shared).await;
                shared.is_leading.store(false, Relaxed);
                drop(lock);
            }
            Ok(None) => {}
            Err(error) => shared.live().0.link = Link::Offline { why: error.to_string() },
        }
        tokio::select! {
            () = shared.closing.cancelled() => {}
            () = sleep(LOOK) => {}
        }
    }
    watching.abort();
    if let Err(error) = write_figures(&shared).await {
        tracing::debug!(%error, "the figures of the last second are lost");
    }
}

/// Connects, again and again.
async fn lead(shared: &Arc<Shared>) {
    let mut backoff = Backoff::new();
    while !shared.closing.is_cancelled() {
        let wait = match options(shared).await {
            Err(why) => {
                tell(shared, Link::Refused { why }).await;
                backoff.failed()
            }
            Ok(options) => match Leading::new(shared.clone(), options).follow().await {
                Ok(()) => return,
                Err(Stop::Store(error)) => {
                    tell(shared, Link::Offline { why: error.to_string() }).await;
                    backoff.failed()
                }
                Err(Stop::Fatal(fatal, lived)) => {
                    backoff.lived(lived);
                    let is_displaced = matches!(&fatal, Fatal::Closed(Ended::Closed { code: 4009, .. }));
                    tell(shared, Link::Refused { why: fatal.to_string() }).await;
                    backoff.failed().max(if is_displaced { DISPLACED } else { Duration::ZERO })
                }
            },
        };
        tokio::select! {
            () = shared.closing.cancelled() => {}
            () = sleep(wait) => {}
        }
    }
}

/// What to connect with, as it is now.
async fn options(shared: &Shared) -> Result<ClientOptions, String> {
    let mut options = shared.options.client.clone();
    if let Some(token) = shared.options.token.token()? {
        options.token = Some(Token(token));
    }
    let cursor =
        shared.store.read(|transaction| fact(transaction, "cursor")).await.map_err(|error| error.to_string())?;
    options.since = Some(cursor.and_then(|text| text.parse().ok()).map_or(Since::Latest, Since::Cursor));
    // One's own records come like anybody's: the mirror needs to know nothing of who wrote what.
    options.echo = Echo::Records;
    Ok(options)
}

/// Why it does not go on.
#[derive(Debug)]
enum Stop {
    /// A person has to do something; the connection had lived so long.
    Fatal(Fatal, Duration),
    /// The store does not take what came.
    Store(StoreError),
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// Where the reading of the whole state stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// It is here, or will be asked for when it is known that it is not.
    Settled,
    /// It was asked for.
    Coming,
    /// It has to be asked for, at this time.
    Wanted(Instant),
}

/// One who leads.
struct Leading {
    shared: Arc<Shared>,
    room: Reconnecting,
    /// Writes in their order that are not on their way; those behind `loaded` are not read yet.
    queue: VecDeque<Pending>,
    loaded: u64,
    /// Behind them there may be more.
    has_more: bool,
    /// Writes on their way: their numbers, and what they are about.
    flying: HashMap<Uuid, (u64, Option<EntityKey>)>,
    state: State,
    /// The id under which it was asked for.
    asked: Uuid,
    /// Longest message that the node takes, in bytes.
    most: u64,
    /// Where we stand, as it is written down.
    written: Option<Cursor>,
    /// Pulls up to this one are under way, done once we stand at the position.
    pulling: Option<(u64, Option<u64>)>,
    /// The id under which it was asked where the room stands.
    pull: Uuid,
    /// No pull before this.
    pull_after: Instant,
    /// Somebody may wait for one.
    is_pull_wanted: bool,
    /// Entities of which something lies open, as far as it was asked.
    open: HashSet<EntityKey>,
    /// The last record that may have opened or settled something.
    open_at: u64,
    /// When to ask what lies open.
    conflicts_due: Option<Instant>,
    /// What lies open, as it was asked; `None`: it could not be.
    conflicts: (mpsc::Sender<Option<asking::Conflicts>>, mpsc::Receiver<Option<asking::Conflicts>>),
    told: Instant,
    since: Instant,
}

impl Leading {
    fn new(shared: Arc<Shared>, options: ClientOptions) -> Self {
        Self {
            room: Reconnecting::new(options, Backoff::new()),
            shared,
            queue: VecDeque::new(),
            loaded: 0,
            has_more: true,
            flying: HashMap::new(),
            state: State::Settled,
            asked: Uuid::nil(),
            most: u64::MAX,
            written: None,
            pulling: None,
            pull: Uuid::nil(),
            pull_after: Instant::now(),
            is_pull_wanted: true,
            open: HashSet::new(),
            open_at: 0,
            conflicts_due: None,
            conflicts: mpsc::channel(1),
            told: Instant::now(),
            since: Instant::now(),
        }
    }

    /// Goes on until the replica is closed.
    async fn follow(mut self) -> Result<(), Stop> {
        loop {
            self.send().await?;
            self.ask().await?;
            let due = [self.conflicts_due, self.state_due(), Some(self.told + TELL)].into_iter().flatten().min();
            tokio::select! {
                () = self.shared.closing.cancelled() => break,
                happening = self.room.next() => self.take_all(happening).await?,
                () = self.shared.wake.notified() => self.reload().await?,
                Some(conflicts) = self.conflicts.1.recv() => self.take_conflicts(conflicts).await?,
                () = sleep_until(due.unwrap_or(self.told + TELL)) => {}
            }
            if self.told.elapsed() >= TELL {
                self.told = Instant::now();
                let link = self.shared.live().0.link.clone();
                tell(&self.shared, link).await;
                write_figures(&self.shared).await?;
            }
        }
        self.room.close().await;
        Ok(())
    }

    fn state_due(&self) -> Option<Instant> {
        if let State::Wanted(at) = self.state { Some(at) } else { None }
    }

    /// Somebody may have dropped what waits, written more, or want to know what others wrote.
    async fn reload(&mut self) -> Result<(), Stop> {
        (self.has_more, self.is_pull_wanted) = (true, true);
        let known =
            || self.queue.iter().map(|write| write.number).chain(self.flying.values().map(|(number, _)| *number));
        if let (Some(first), Some(last)) = (known().min(), known().max()) {
            let there = self.shared.store.read(move |transaction| journal::numbers(transaction, first, last)).await?;
            self.queue.retain(|write| there.contains(&write.number));
            for (id, _) in self.flying.extract_if(|_, (number, _)| !there.contains(number)) {
                self.room.forget(EventId(id));
            }
        }
        Ok(())
    }

    fn is_connected(&self) -> bool {
        matches!(self.shared.live().0.link, Link::CatchingUp | Link::Online)
    }

    /// Puts on its way what may be.
    async fn send(&mut self) -> Result<(), Stop> {
        if !self.is_connected() {
            return Ok(());
        }
        if self.has_more && self.queue.len() < AHEAD / 2 {
            let after = self.loaded;
            let more = self.shared.store.read(move |transaction| journal::page(transaction, after, AHEAD)).await?;
            self.has_more = more.len() == AHEAD;
            self.loaded = more.last().map_or(self.loaded, |write| write.number);
            self.queue.extend(more);
        }
        let replica = self.shared.writer.replica.clone();
        let is_online = self.shared.live().0.link == Link::Online;
        let mut waiting: Vec<EntityKey> = Vec::new();
        let mut at = 0;
        while at < self.queue.len() && self.flying.len() < WINDOW && !self.room.outstanding().is_full() {
            let key = self.queue[at].key();
            let mut flying = self.flying.values().filter_map(|(_, flying)| flying.as_ref());
            let is_blocked = match &key {
                // One at a time of each entity: refused for a moment, it must not come behind its followers.
                Some(key) => waiting.contains(key) || flying.any(|flying| flying == key),
                // An event may speak of the changes before it. Until all that was missed is here it may be among that: its answer
                // was lost, and the log knows repeats by their id for minutes only.
                None => !is_online || at > 0 || flying.next().is_some(),
            };
            if is_blocked {
                waiting.extend(key);
                at += 1;
                continue;
            }
            let Some(write) = self.queue.remove(at) else { break };
            let (id, text) = (EventId(write.id), write.message(&replica));
            if let Err(refusal) = overlay::fits(&text, self.most) {
                let answer = json!({"code": refusal.code.word(), "message": refusal.message});
                self.write(vec![Step::Fate(write.id, Settled { outcome: "refused".into(), answer })]).await?;
                continue;
            }
            let publish = if key.is_some() { Publish::operation(id, text) } else { Publish::event(id, text) };
            // There is room: it was looked for.
            let _ = self.room.publish(publish);
            self.flying.insert(write.id, (write.number, key));
        }
        Ok(())
    }

    /// What was made ready to be sent was made for another connection: for another log perhaps, or for a node that takes more.
    fn begin_anew(&mut self) {
        self.room.forget_outstanding();
        self.flying.clear();
        self.queue.clear();
        (self.loaded, self.has_more) = (0, true);
    }

    /// Takes what came, and what came with it.
    async fn take_all(&mut self, first: Result<Happening, Fatal>) -> Result<(), Stop> {
        let mut steps: Vec<Step> = Vec::new();
        let mut next = Some(first);
        let mut fatal = None;
        while let Some(happening) = next.take() {
            // What the node says first may change what is sent to it.
            let is_first =
                matches!(&happening, Ok(Happening::Frame(frame)) if matches!(frame.message, Incoming::Ready(_)));
            match happening {
                Ok(happening) => self.read(happening, &mut steps).await?,
                Err(error) => fatal = Some(error),
            }
            if fatal.is_none() && !is_first && steps.len() < BATCH {
                next = self.room.next().now_or_never();
            }
        }
        self.write(steps).await?;
        match fatal {
            Some(fatal) => Err(Stop::Fatal(fatal, self.since.elapsed())),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
