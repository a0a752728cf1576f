//! What a program does with a replica: writes, reads, waits, and is told how it stands.
//!
//! Owns: that a write is on disk when its call returns, that no call waits longer than it says, and that every process which
//! has the replica open sees the same.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rusqlite::Transaction;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::{
    sync::{Notify, watch},
    task::JoinHandle,
    time::{Instant, timeout_at},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{
    figures::{self, Counter, Figures},
    journal::{self, DeadLetter, Pending, Settled, Ticket, Write},
    lead,
    mirror::{self, Change, Conflict, Seen},
    overlay::{self, Writer},
    search::{self, Hit},
    status::{Freshness, Link, Status},
    store::{Care, Store, StoreError, fact, now_ms, set_fact},
};
use crate::{
    client::ClientOptions,
    model::{EntityKey, InstanceId, TenantId},
    wire::Refusal,
};

/// Most bytes that may be pending.
pub const JOURNAL_BYTES: u64 = 64 << 20;

/// Longest time for a clean end of the connection.
const GOODBYE: Duration = Duration::from_secs(3);

/// Where the token comes from, each time that one is needed: it may be another one then.
#[derive(Clone, Debug, Default)]
pub enum TokenSource {
    /// None is needed.
    #[default]
    None,
    /// From this file.
    File(PathBuf),
}

/// What a replica is of, and where it lies.
#[derive(Clone, Debug)]
pub struct Options {
    /// The room and who we are in it.
    pub client: ClientOptions,
    /// What proves that.
    pub token: TokenSource,
    /// For what is asked over HTTP.
    pub agent: ureq::Agent,
    /// Where it lies; made if missing. One room and one instance in one directory.
    pub dir: PathBuf,
    /// Entities of these types are mirrored; empty: all.
    pub kinds: Vec<String>,
    /// Most bytes that may be pending.
    pub journal_bytes: u64,
}

impl Options {
    /// All entities, no token.
    pub fn new(client: ClientOptions, agent: ureq::Agent, dir: PathBuf) -> Self {
        Self { client, token: TokenSource::None, agent, dir, kinds: Vec::new(), journal_bytes: JOURNAL_BYTES }
    }
}

/// Why a write was not taken: nothing of it is kept.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// No node would take it.
    #[error("{} ({})", .0.message, .0.code.word())]
    Invalid(Refusal),
    /// Too much waits already.
    #[error(
        "{pending} bytes wait to be sent, of {most} that may (journal_full); wait until the node can be reached, or see `continuum journal ls`"
    )]
    JournalFull {
        /// Bytes that wait.
        pending: u64,
        /// Bytes that may.
        most: u64,
    },
    /// It could not be kept.
    #[error("{0}")]
    Store(#[from] StoreError),
}

/// What a pull came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Pulled {
    /// All that the node had when it was asked is here.
    Fresh,
    /// It could not be had in time: what is here may be behind.
    Behind,
}

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
    /// Who is in the room, by instance.
    pub here: BTreeMap<String, Value>,
}

impl Default for Live {
    fn default() -> Self {
        Self { beat: 0, link: Link::Connecting, age_ms: None, told_at: 0, here: BTreeMap::new() }
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
    pub closing: CancellationToken,
}

impl Shared {
    pub fn live(&self) -> MutexGuard<'_, (Live, Option<Instant>)> {
        // Written as a whole.
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whoever waits for something in the store looks again.
    pub fn has_moved(&self) {
        self.moved.send_replace(());
    }

    /// How long ago everything was here.
    pub fn age(&self) -> Option<Duration> {
        self.live().1.map(|at| at.elapsed())
    }
}

/// An open replica.
#[derive(Debug)]
pub struct Replica {
    shared: Arc<Shared>,
    work: Mutex<Option<JoinHandle<()>>>,
}

impl Replica {
    /// Opens it, or makes it, and goes on where it was left.
    ///
    /// # Errors
    ///
    /// The directory cannot be used, or is of another room or instance.
    pub async fn open(options: Options) -> Result<Self, StoreError> {
        let dir = options.dir.clone();
        let opened = tokio::task::spawn_blocking(move || Store::open(&dir)).await;
        let store = opened.unwrap_or_else(|error| Err(StoreError::Broken(error.to_string())))?;
        let owner = format!("{} {}", options.client.tenant, options.client.instance);
        let shown = options.dir.display().to_string();
        let replica = store
            .write(Care::Sure, move |transaction| {
                match fact(transaction, "owner")? {
                    Some(of) if of != owner => {
                        let message =
                            format!("{shown} is the journal of '{of}', not of '{owner}'; use another directory");
                        return Err(StoreError::Broken(message));
                    }
                    Some(_) => {}
                    None => set_fact(transaction, "owner", &owner)?,
                }
                if let Some(known) = fact(transaction, "replica")? {
                    return Ok(known);
                }
                let made = Uuid::new_v4().to_string();
                set_fact(transaction, "replica", &made)?;
                Ok(made)
            })
            .await?;
        let client = &options.client;
        let writer = Writer {
            tenant: client.tenant.clone(),
            instance: client.instance.clone(),
            user: client.user.as_deref().map(Into::into),
            replica: replica.into(),
        };
        let shared = Arc::new(Shared {
            options,
            store,
            writer,
            counter: Counter::default(),
            wake: Notify::new(),
            moved: watch::Sender::new(()),
            live: Mutex::default(),
            closing: CancellationToken::new(),
        });
        let work = tokio::spawn(lead::run(shared.clone()));
        Ok(Self { shared, work: Mutex::new(Some(work)) })
    }

    /// Looks at a replica without joining the room: nothing is sent or received by this.
    ///
    /// # Errors
    ///
    /// There is none in this directory, or it cannot be read.
    pub async fn look(dir: PathBuf) -> Result<Self, StoreError> {
        if !dir.join("replica.db").exists() {
            return Err(StoreError::Broken(format!("there is no journal in {}", dir.display())));
        }
        let place = dir.clone();
        let opened = tokio::task::spawn_blocking(move || Store::open(&place)).await;
        let store = opened.unwrap_or_else(|error| Err(StoreError::Broken(error.to_string())))?;
        let (owner, replica, live) = store
            .read(|transaction| {
                Ok((fact(transaction, "owner")?, fact(transaction, "replica")?, fact(transaction, "live")?))
            })
            .await?;
        let wrong = || StoreError::Broken("it says not whose it is".to_owned());
        let owner = owner.ok_or_else(wrong)?;
        let (tenant, instance) = owner.split_once(' ').ok_or_else(wrong)?;
        let (Ok(tenant), Ok(instance)) = (tenant.parse(), instance.parse()) else { return Err(wrong()) };
        let url = "ws://localhost".parse().map_err(|_| wrong())?;
        let client = ClientOptions::new(url, tenant, instance);
        let writer = Writer {
            tenant: client.tenant.clone(),
            instance: client.instance.clone(),
            user: None,
            replica: replica.unwrap_or_default().into(),
        };
        let live: Live = live.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
        // What was told grows old by a clock that may be set; for a look that is all there is.
        let heard = live.age_ms.map(|age| {
            let since = u64::try_from(now_ms() - live.told_at).unwrap_or(0);
            Duration::from_millis(age.saturating_add(since))
        });
        let heard = heard.and_then(|age| Instant::now().checked_sub(age));
        let options = Options::new(client, ureq::Agent::new_with_defaults(), dir);
        let shared = Arc::new(Shared {
            options,
            store,
            writer,
            counter: Counter::default(),
            wake: Notify::new(),
            moved: watch::Sender::new(()),
            live: Mutex::new((live, heard)),
            closing: CancellationToken::new(),
        });
        Ok(Self { shared, work: Mutex::new(None) })
    }

    /// Where a journal went that was damaged when this was opened.
    pub fn set_aside(&self) -> Option<&Path> {
        self.shared.store.set_aside()
    }

    /// Whose it is.
    pub fn instance(&self) -> &InstanceId {
        &self.shared.writer.instance
    }

    /// Which room it is of.
    pub fn tenant(&self) -> &TenantId {
        &self.shared.writer.tenant
    }

    /// Writes something. When this returns it is on disk, and reaches the room when it can, once.
    ///
    /// # Errors
    ///
    /// It was not taken.
    pub async fn write(&self, write: Write) -> Result<Ticket, WriteError> {
        let (writer, most) = (self.shared.writer.clone(), self.shared.options.journal_bytes);
        let (kind, entity, base, body) = match write {
            Write::Operation { key, base, fields } => {
                (key.kind.to_string(), Some(key.id.to_string()), base, Value::Object(fields).to_string())
            }
            Write::Event { event_type, data } => (event_type.as_str().to_owned(), None, None, data.get().to_owned()),
        };
        let key = entity.as_deref().and_then(|id| EntityKey::new(&kind, id).ok());
        if entity.is_some() {
            let (kind, entity) = (kind.as_str().into(), entity.as_deref().map(Into::into));
            let body = body.clone();
            let draft = Pending { number: 0, id: Uuid::nil(), kind, entity, base, body, written_at: now_ms() };
            overlay::check(&writer, &draft).map_err(WriteError::Invalid)?;
        }
        let done = self.shared.store.write(Care::Sure, move |transaction| {
            let (_, _, pending) = journal::count(transaction)?;
            if pending + body.len() as u64 > most {
                return Ok(Err(pending));
            }
            let base = match (&key, base) {
                (Some(key), None) => mirror::version(transaction, key)?,
                (_, given) => given,
            };
            let ticket = journal::append(transaction, (&kind, entity.as_deref()), base, &body)?;
            if let Some(key) = &key {
                mirror::relay(transaction, &writer, key)?;
            }
            Ok(Ok(ticket))
        });
        let ticket = done.await?.map_err(|pending| WriteError::JournalFull { pending, most })?;
        self.shared.counter.count(|figures| figures.written += 1);
        self.changed();
        Ok(ticket)
    }

    /// What became of a write; `None`: it is not known yet, after so long.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    pub async fn settled(&self, ticket: Ticket, within: Duration) -> Result<Option<Settled>, StoreError> {
        self.until(within, move |transaction| journal::settled(transaction, ticket.id)).await
    }

    /// Waits until nothing is pending. Gives how many writes are, after at most so long.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    pub async fn push(&self, within: Duration) -> Result<u64, StoreError> {
        let none = |transaction: &Transaction<'_>| {
            let (pending, ..) = journal::count(transaction)?;
            Ok((pending == 0).then_some(()))
        };
        match self.until(within, none).await? {
            Some(()) => Ok(0),
            None => self.shared.store.read(|transaction| Ok(journal::count(transaction)?.0)).await,
        }
    }

    /// Waits until all that the node has is here, at most so long.
    ///
    /// # Errors
    ///
    /// The store cannot be read or written.
    pub async fn pull(&self, within: Duration) -> Result<Pulled, StoreError> {
        let wanted = self.shared.store.write(Care::Quick, |transaction| {
            let wanted = number(transaction, "asked")? + 1;
            set_fact(transaction, "asked", &wanted.to_string())?;
            Ok(wanted)
        });
        let wanted = wanted.await?;
        self.changed();
        let done = move |transaction: &Transaction<'_>| Ok((number(transaction, "answered")? >= wanted).then_some(()));
        let done = self.until(within, done).await?;
        self.shared.counter.count(|figures| match done {
            Some(()) => figures.pulled += 1,
            None => figures.gave_up += 1,
        });
        Ok(if done.is_some() { Pulled::Fresh } else { Pulled::Behind })
    }

    /// An entity as it is here, with what is pending; `None`: it is not there.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    pub async fn get(&self, key: EntityKey) -> Result<Option<Seen>, StoreError> {
        self.note_read();
        self.shared.store.read(move |transaction| mirror::get(transaction, &key)).await
    }

    /// Notes that somebody was shown an entity at a version.
    ///
    /// # Errors
    ///
    /// The store cannot be written.
    pub async fn show(&self, key: EntityKey, version: u64) -> Result<(), StoreError> {
        self.shared.store.write(Care::Quick, move |transaction| mirror::show(transaction, &key, version)).await
    }

    /// The version of an entity that was shown last; 0: it never was. Who writes on this base is told of all that it has not seen.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    pub async fn shown(&self, key: EntityKey) -> Result<u64, StoreError> {
        self.shared.store.read(move |transaction| mirror::shown(transaction, &key)).await
    }

    /// Entities of a type whose ids begin so, by id, behind one.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    pub async fn list(&self, kind: &str, prefix: &str, after: &str, most: usize) -> Result<Vec<Seen>, StoreError> {
        self.note_read();
        let (kind, prefix, after) = (kind.to_owned(), prefix.to_owned(), after.to_owned());
        self.shared.store.read(move |transaction| mirror::list(transaction, &kind, (&prefix, &after), most)).await
    }

    /// Entities of a type that fit some words, the best first.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    pub async fn search(&self, question: &str, kind: &str, most: usize) -> Result<Vec<Hit>, StoreError> {
        self.note_read();
        let (question, kind) = (question.to_owned(), kind.to_owned());
        self.shared.store.read(move |transaction| search::find(transaction, &question, &kind, most)).await
    }

    /// What came from the room behind a place in the list of it, our own too, and where the list ends.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    pub async fn changes(&self, after: u64, most: usize) -> Result<(Vec<Change>, u64), StoreError> {
        self.shared.store.read(move |transaction| mirror::changes(transaction, after, most)).await
    }

    /// Up to where somebody was told of the changes; `None`: nobody was yet.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    pub async fn told(&self) -> Result<Option<u64>, StoreError> {
        let told = self.shared.store.read(|transaction| fact(transaction, "told")).await?;
        Ok(told.and_then(|text| text.parse().ok()))
    }

    /// Notes up to where somebody was told of them, for whoever opens this next.
    ///
    /// # Errors
    ///
    /// The store cannot be written.
    pub async fn note_told(&self, number: u64) -> Result<(), StoreError> {
        let note = move |transaction: &Transaction<'_>| {
            let number = number.max(self::number(transaction, "told")?);
            set_fact(transaction, "told", &number.to_string())
        };
        self.shared.store.write(Care::Quick, note).await
    }

    /// Conflicts that wait for a choice, and variants that are kept.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    pub async fn conflicts(&self) -> Result<Vec<Conflict>, StoreError> {
        self.shared.store.read(mirror::conflicts).await
    }

    /// Who is in the room, by instance, as far as it is known; empty without a connection.
    pub fn here(&self) -> BTreeMap<String, Value> {
        self.shared.live().0.here.clone()
    }

    /// How it stands.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    pub async fn status(&self) -> Result<Status, StoreError> {
        let counts = self.shared.store.read(|transaction| {
            let (pending, refused, _) = journal::count(transaction)?;
            Ok((pending, refused, mirror::count_conflicts(transaction)?))
        });
        let (pending, refused, conflicted) = counts.await?;
        let age = self.shared.age();
        let connection = self.shared.live().0.link.clone();
        let blocked = if let Link::Refused { why } = &connection { Some(why.clone()) } else { None };
        let sync = Freshness::of(age);
        Ok(Status { connection, sync, age_s: age.map(|age| age.as_secs()), pending, conflicted, refused, blocked })
    }

    /// How it went so far, in all processes that had this replica open.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    pub async fn figures(&self) -> Result<Figures, StoreError> {
        lead::write_figures(&self.shared).await?;
        self.shared.store.read(figures::read).await
    }

    /// What is pending, behind a place.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    pub async fn pending(&self, after: u64, most: usize) -> Result<Vec<Pending>, StoreError> {
        self.shared.store.read(move |transaction| journal::page(transaction, after, most)).await
    }

    /// What was refused for good.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    pub async fn dead_letters(&self) -> Result<Vec<DeadLetter>, StoreError> {
        self.shared.store.read(journal::dead).await
    }

    /// Writes once more what was refused; `None`: there is no such dead letter.
    ///
    /// # Errors
    ///
    /// The store cannot be written.
    pub async fn retry(&self, number: u64) -> Result<Option<Ticket>, StoreError> {
        let writer = self.shared.writer.clone();
        let done = self.shared.store.write(Care::Sure, move |transaction| {
            let Some((ticket, key)) = journal::retry(transaction, number)? else { return Ok(None) };
            if let Some(key) = &key {
                mirror::relay(transaction, &writer, key)?;
            }
            Ok(Some(ticket))
        });
        let ticket = done.await?;
        self.changed();
        Ok(ticket)
    }

    /// Forgets what was refused, or what is pending: the latter may have reached the node. Gives what it was.
    ///
    /// # Errors
    ///
    /// The store cannot be written.
    pub async fn drop_write(&self, number: u64) -> Result<Option<Pending>, StoreError> {
        let writer = self.shared.writer.clone();
        let done = self.shared.store.write(Care::Sure, move |transaction| {
            let dropped = journal::drop_one(transaction, number)?;
            if let Some(key) = dropped.as_ref().and_then(Pending::key) {
                mirror::relay(transaction, &writer, &key)?;
            }
            Ok(dropped)
        });
        let dropped = done.await?;
        self.changed();
        Ok(dropped)
    }

    /// Waits until something came from the room or was settled.
    pub async fn moved(&self) {
        // Its sender lives as long as this.
        let _ = self.shared.moved.subscribe().changed().await;
    }

    /// Sends what it can in this time, and ends. Gives how many writes are left for the next one who opens it.
    pub async fn close(&self, within: Duration) -> u64 {
        let left = self.push(within).await.unwrap_or(u64::MAX);
        self.shared.closing.cancel();
        let work = self.work.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(work) = work {
            // It ends as soon as it has said goodbye; if not, that is no reason to stay.
            let _ = tokio::time::timeout(GOODBYE, work).await;
        }
        left
    }

    fn note_read(&self) {
        let is_fresh = Freshness::of(self.shared.age()) == Freshness::Synced;
        self.shared.counter.count(|figures| if is_fresh { figures.hits += 1 } else { figures.misses += 1 });
    }

    fn changed(&self) {
        self.shared.wake.notify_one();
        self.shared.has_moved();
    }

    /// Looks again whenever the store has changed, until there is something or the time is up.
    async fn until<T: Send + 'static>(
        &self,
        within: Duration,
        look: impl Fn(&Transaction<'_>) -> Result<Option<T>, StoreError> + Clone + Send + 'static,
    ) -> Result<Option<T>, StoreError> {
        let deadline = Instant::now() + within;
        let mut moved = self.shared.moved.subscribe();
        loop {
            moved.mark_unchanged();
            if let Some(found) = self.shared.store.read(look.clone()).await? {
                return Ok(Some(found));
            }
            if timeout_at(deadline, moved.changed()).await.is_err() {
                return self.shared.store.read(look).await;
            }
        }
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.shared.closing.cancel();
    }
}

/// A fact that is a number.
pub(super) fn number(transaction: &Transaction<'_>, name: &str) -> Result<u64, StoreError> {
    Ok(fact(transaction, name)?.and_then(|text| text.parse().ok()).unwrap_or(0))
}

/// The token, as it is now.
pub(super) fn token(source: &TokenSource) -> Result<Option<String>, String> {
    match source {
        TokenSource::None => Ok(None),
        TokenSource::File(path) => {
            let text = fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
            Ok(Some(text.trim().to_owned()))
        }
    }
}
