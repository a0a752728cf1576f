//! One shard on this node: its streams' names, its epoch, how far its tail has come, and the rooms that follow it.
//!
//! Owns: that a feed starts exactly where the tail stands. Must not know: NATS.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::{Notify, oneshot};

use super::{
    definition::DEDUPE_WINDOW,
    names::{Names, Token},
};
use crate::{
    backbone::{BackboneError, Feed, FeedSender, Stored, feed},
    model::{Epoch, Position, TenantId},
};

/// The server's dedupe window, and what clocks may differ in.
pub const WINDOW: Duration = DEDUPE_WINDOW.saturating_add(Duration::from_secs(30));

/// How long a refusal is told after it was last met.
const REFUSAL_HOLDS: Duration = Duration::from_secs(5);

/// What keeps appends from the log.
#[derive(Clone, Debug)]
pub enum Trouble {
    /// No leader, no answer: until the streams answer again.
    Silence(String),
    /// The stream answers, and refuses: until a while after the last time.
    Refusal(Instant, String),
}

/// One shard.
#[derive(Debug)]
pub struct Shard {
    /// Its log's stream.
    pub log: String,
    /// Its entities' stream.
    pub state: String,
    /// What its records' subjects begin with.
    pub prefix: String,
    feed_bytes: usize,
    live: Mutex<Live>,
    /// The highest position known to be in the log.
    end: AtomicU64,
    /// What keeps appends from it now.
    trouble: Mutex<Option<Trouble>>,
    /// Where it stood some time ago.
    past: Mutex<Past>,
    epoch: AtomicU64,
    /// Told when somebody begins to follow.
    pub wake: Notify,
    /// How far the log is trimmed, as it was said last; held while it is asked.
    pub trimmed: tokio::sync::Mutex<Option<Trimmed>>,
}

/// How far a log is trimmed.
#[derive(Clone, Debug)]
pub struct Trimmed {
    /// When the question began.
    pub asked: Instant,
    /// The answer; `None`: there is no such stream; or why there was none.
    pub to: Result<Option<Position>, String>,
}

#[derive(Debug, Default)]
struct Live {
    /// Everything up to here was given to the feeds; `None` while the tail does not run.
    position: Option<Position>,
    /// By the tenant's token, as it stands in subjects.
    feeds: HashMap<String, Vec<FeedSender>>,
    /// Those who wait for the tail to run.
    waiting: Vec<(String, oneshot::Sender<Feed>)>,
    closed: bool,
}

/// How a follower gets its feed.
pub enum Followed {
    /// At once.
    Now(Feed),
    /// When the tail runs.
    Soon(oneshot::Receiver<Feed>),
}

impl Shard {
    /// A shard that nobody follows yet.
    pub fn new(names: &Names, number: u16, feed_bytes: usize) -> Self {
        Self {
            log: names.log_stream(number),
            state: names.state_stream(number),
            prefix: names.log_prefix(number),
            feed_bytes,
            live: Mutex::default(),
            end: AtomicU64::default(),
            trouble: Mutex::default(),
            past: Mutex::default(),
            epoch: AtomicU64::default(),
            wake: Notify::new(),
            trimmed: tokio::sync::Mutex::default(),
        }
    }

    fn live(&self) -> MutexGuard<'_, Live> {
        // A panic can at worst leave records out of one offer, and a tail that panicked ends all feeds.
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The log's epoch.
    pub fn epoch(&self) -> Epoch {
        Epoch(self.epoch.load(Ordering::Acquire))
    }

    /// The highest position known to be in the log.
    pub fn end(&self) -> Position {
        Position(self.end.load(Ordering::Acquire))
    }

    /// Notes what keeps appends from the log.
    pub fn is_in(&self, trouble: Trouble) {
        *self.troubled() = Some(trouble);
    }

    /// Notes that the log takes appends.
    pub fn is_well(&self) {
        *self.troubled() = None;
    }

    /// Whether it is waited for that the stream answers.
    pub fn is_silent(&self) -> bool {
        matches!(&*self.troubled(), Some(Trouble::Silence(_)))
    }

    /// What keeps appends from the log now.
    pub fn trouble(&self) -> Option<String> {
        match &*self.troubled() {
            Some(Trouble::Silence(why)) => Some(why.clone()),
            Some(Trouble::Refusal(at, why)) if at.elapsed() < REFUSAL_HOLDS => Some(why.clone()),
            _ => None,
        }
    }

    fn troubled(&self) -> MutexGuard<'_, Option<Trouble>> {
        // Replaced in single assignments.
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A position that the log had reached a dedupe window ago, and perhaps later ones: whatever repeat is tried now, its
    /// first try was after this or is still known to the server.
    pub fn settled_end(&self) -> Position {
        self.past().settled()
    }

    /// Notes where the log stands, from time to time; `settled` is where it stood a dedupe window ago, for the first time.
    pub fn remember(&self, settled: Position) {
        let end = self.end();
        self.past().remember(settled, end);
    }

    fn past(&self) -> MutexGuard<'_, Past> {
        // Whole between any two statements.
        self.past.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that the log has come so far.
    pub fn know(&self, position: Position) {
        self.end.fetch_max(position.0, Ordering::AcqRel);
    }

    /// Which log this is, and where it ends. Another log than before ends all feeds: their rooms begin anew.
    pub fn found(&self, epoch: Epoch, end: Position) -> Found {
        let mut live = self.live();
        let before = Epoch(self.epoch.swap(epoch.0, Ordering::AcqRel));
        if before == epoch {
            self.know(end);
            return Found::Same;
        }
        self.end.store(end.0, Ordering::Release);
        *self.past() = Past::default();
        live.end_feeds();
        if before == Epoch::UNKNOWN { Found::First } else { Found::Another }
    }

    /// Begins to follow a tenant.
    pub fn follow(&self, tenant: &TenantId) -> Result<Followed, BackboneError> {
        let token = Token(tenant.as_str()).to_string();
        let mut live = self.live();
        if live.closed {
            return Err(BackboneError::Unavailable("the log is closed".into()));
        }
        let Some(position) = live.position else {
            let (to, soon) = oneshot::channel();
            live.waiting.push((token, to));
            drop(live);
            self.wake.notify_one();
            return Ok(Followed::Soon(soon));
        };
        Ok(Followed::Now(live.add(token, self.epoch(), position, self.feed_bytes)))
    }

    /// Where the tail has to go on; `None` if it starts at the end.
    pub fn position(&self) -> Option<Position> {
        self.live().position
    }

    /// The tail runs from here on.
    pub fn start(&self, position: Position) {
        self.know(position);
        let mut live = self.live();
        live.position = Some(position);
        let epoch = self.epoch();
        for (token, to) in std::mem::take(&mut live.waiting) {
            let feed = live.add(token, epoch, position, self.feed_bytes);
            // A follower that gave up has dropped its end, and the feed goes with it.
            let _ = to.send(feed);
        }
    }

    /// Gives records to those who follow, and moves on. `token` says whose a message is; `read` is asked only for
    /// followed tenants. Both get the prefix of the shard's subjects.
    pub fn give<T>(
        &self,
        end: Position,
        messages: &[T],
        token: impl for<'a> Fn(&str, &'a T) -> Option<&'a str>,
        read: impl Fn(&str, &T) -> Option<Stored>,
    ) {
        self.know(end);
        let mut live = self.live();
        live.position = Some(end);
        let mut offers: HashMap<&str, Vec<Stored>> = HashMap::new();
        for message in messages {
            let Some(token) = token(&self.prefix, message).filter(|token| live.feeds.contains_key(*token)) else {
                continue;
            };
            offers.entry(token).or_default().extend(read(&self.prefix, message));
        }
        for (token, records) in offers {
            let Some(feeds) = live.feeds.get_mut(token) else { continue };
            feeds.retain(|feed| !feed.is_abandoned());
            for feed in feeds.iter() {
                feed.offer(records.iter().cloned());
            }
        }
    }

    /// Something was left out of every feed: their rooms read the log.
    pub fn skip_to(&self, position: Position) {
        let mut live = self.live();
        live.position = Some(position);
        live.feeds.values().flatten().for_each(FeedSender::lag);
    }

    /// Forgets abandoned feeds; stops the tail if none is left. Returns whether it has to go on.
    pub fn is_wanted(&self) -> bool {
        let mut live = self.live();
        live.feeds.retain(|_, feeds| {
            feeds.retain(|feed| !feed.is_abandoned());
            !feeds.is_empty()
        });
        live.waiting.retain(|(_, to)| !to.is_closed());
        let wanted = !(live.feeds.is_empty() && live.waiting.is_empty());
        if !wanted {
            live.position = None;
        }
        wanted
    }

    /// Ends every feed: what they were given does not lead on.
    pub fn restart(&self) {
        self.live().end_feeds();
    }

    /// Ends every feed for good.
    pub fn close(&self) {
        let mut live = self.live();
        live.closed = true;
        live.end_feeds();
        live.waiting.clear();
        drop(live);
        self.wake.notify_one();
    }

    /// Whether it is closed.
    pub fn is_closed(&self) -> bool {
        self.live().closed
    }
}

/// Where a log stood, oldest first.
#[derive(Debug, Default)]
struct Past(VecDeque<(Instant, Position)>);

impl Past {
    fn settled(&self) -> Position {
        self.0.front().map_or(Position::START, |(_, position)| *position)
    }

    fn remember(&mut self, settled: Position, end: Position) {
        let now = Instant::now();
        if self.0.is_empty() {
            self.0.push_back((now, settled));
        }
        self.0.push_back((now, end));
        // The front stays the latest place that is old enough.
        while self.0.get(1).is_some_and(|(at, _)| now.duration_since(*at) > WINDOW) {
            self.0.pop_front();
        }
    }
}

/// What was found when a log was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// No log was known before.
    First,
    /// The log that was known.
    Same,
    /// A log made anew.
    Another,
}

impl Live {
    fn add(&mut self, token: String, epoch: Epoch, position: Position, capacity: usize) -> Feed {
        let (sender, reader) = feed(epoch, position, capacity);
        let feeds = self.feeds.entry(token).or_default();
        feeds.retain(|feed| !feed.is_abandoned());
        feeds.push(sender);
        reader
    }

    fn end_feeds(&mut self) {
        self.position = None;
        self.feeds.drain().flat_map(|(_, feeds)| feeds).for_each(|feed| feed.end());
    }
}
