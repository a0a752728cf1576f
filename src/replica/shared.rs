//! What all parts of an open replica share, and what its processes tell each other.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64},
    },
    time::Duration,
};

use rusqlite::Transaction;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::{
    figures::Counter,
    options::Options,
    overlay::Writer,
    status::Link,
    store::{Store, StoreError, fact},
};

/// The fact that says which messages the node takes, in bytes.
pub(super) const MESSAGE_BYTES: &str = "message_bytes";

/// What the process that leads tells the others.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Live {
    /// Rises with every word.
    pub beat: u64,
    /// How the connection stands.
    pub link: Link,
    /// Milliseconds since everything was here.
    pub age_ms: Option<u64>,
    /// When this was told, in milliseconds since 1970.
    pub told_at: i64,
    /// Rises with every change of who is here.
    #[serde(default)]
    pub turn: u64,
    /// Who is in the room, by instance: told beside this, and only if it is another list than before.
    #[serde(skip)]
    pub here: BTreeMap<String, Value>,
}

impl Live {
    /// Who is here changes.
    pub fn here_mut(&mut self) -> &mut BTreeMap<String, Value> {
        self.turn += 1;
        &mut self.here
    }
}

impl Default for Live {
    fn default() -> Self {
        Self { beat: 0, link: Link::Connecting, age_ms: None, told_at: 0, turn: 0, here: BTreeMap::new() }
    }
}

/// What all parts of an open replica share.
#[derive(Debug)]
pub(super) struct Shared {
    pub options: Options,
    pub store: Store,
    pub writer: Writer,
    pub counter: Counter,
    /// There may be something to send or to ask.
    pub wake: Notify,
    /// The store may be another one than before.
    pub moved: watch::Sender<()>,
    pub live: Mutex<(Live, Option<Instant>)>,
    /// Whether it is this process that tells the others.
    pub is_leading: AtomicBool,
    /// Of which turn the list of who is here was told.
    pub told_turn: AtomicU64,
    pub closing: CancellationToken,
}

impl Shared {
    pub fn live(&self) -> MutexGuard<'_, (Live, Option<Instant>)> {
        // Written as a whole.
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// By the clock that nobody sets.
    pub fn now(&self) -> Instant {
        (self.options.clock.0)()
    }

    /// A new one, of which nothing is known.
    pub fn new(options: Options, store: Store, writer: Writer) -> Self {
        Self {
            options,
            store,
            writer,
            counter: Counter::default(),
            wake: Notify::new(),
            moved: watch::Sender::new(()),
            live: Mutex::default(),
            is_leading: AtomicBool::new(false),
            told_turn: AtomicU64::new(0),
            closing: CancellationToken::new(),
        }
    }

    /// Whoever waits for something in the store looks again.
    pub fn has_moved(&self) {
        self.moved.send_replace(());
    }

    /// How long ago everything was here.
    pub fn age(&self) -> Option<Duration> {
        let now = self.now();
        self.live().1.map(|at| now.saturating_duration_since(at))
    }
}

/// A fact that is a number.
pub(super) fn number(transaction: &Transaction<'_>, name: &str) -> Result<u64, StoreError> {
    Ok(fact(transaction, name)?.and_then(|text| text.parse().ok()).unwrap_or(0))
}
