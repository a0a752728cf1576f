//! What a program does with a replica: writes, reads, waits, and is told how it stands.
//!
//! Owns: that a write is on disk when its call returns, that no call waits longer than it says, and that every process which
//! has the replica open sees the same.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rusqlite::Transaction;
use serde::Serialize;
use serde_json::Value;
use tokio::{
    task::JoinHandle,
    time::{Instant, timeout_at},
};
use uuid::Uuid;

use super::{
    journal::{self, Pending, Settled, Ticket, Write},
    lead, mirror,
    options::Options,
    overlay::{self, Writer},
    shared::{Live, MESSAGE_BYTES, Shared, number},
    status::Link,
    store::{Care, Store, StoreError, fact, now_ms, set_fact},
};
use crate::{
    client::ClientOptions,
    model::{InstanceId, TenantId},
    wire::Refusal,
};

/// Bytes of an instance's name in the name of its replica, which has 128 at most: behind it come a `~` and eight digits.
const NAME: usize = 128 - 9;
/// Longest message of which it is known that a node takes it, in bytes, before one was asked.
const LONGEST: u64 = 1 << 20;
/// Longest time for a clean end of the connection.
const GOODBYE: Duration = Duration::from_secs(3);

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

/// An open replica.
#[derive(Debug)]
pub struct Replica {
    pub(super) shared: Arc<Shared>,
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
        let name = options.client.instance.as_str();
        let name = name[..name.floor_char_boundary(NAME)].to_owned();
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
                // Others are told it where they write over what was written here.
                let made = format!("{name}~{:08x}", Uuid::new_v4().as_fields().0);
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
        if store.set_aside().is_some() {
            let writer = writer.clone();
            store.write(Care::Quick, move |transaction| mirror::relay_all(transaction, &writer)).await?;
        }
        let shared = Arc::new(Shared::new(options, store, writer));
        let work = tokio::spawn(lead::run(shared.clone()));
        Ok(Self { shared, work: Mutex::new(Some(work)) })
    }

    /// Looks at a replica without joining the room: nothing is sent or received by this.
    ///
    /// # Errors
    ///
    /// There is none in this directory, or it cannot be read.
    pub async fn look(dir: PathBuf) -> Result<Self, StoreError> {
        let place = dir.clone();
        let opened = tokio::task::spawn_blocking(move || Store::look(&place)).await;
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
        let mut live: Live = live.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
        if lead::lock(&dir)?.is_some() {
            live.link = Link::Offline { why: "no process has this journal open".to_owned() };
        }
        // What was told grows old by a clock that may be set; for a look that is all there is.
        let heard = live.age_ms.map(|age| {
            let since = u64::try_from(now_ms() - live.told_at).unwrap_or(0);
            Duration::from_millis(age.saturating_add(since))
        });
        let heard = heard.and_then(|age| Instant::now().checked_sub(age));
        let options = Options::new(client, ureq::Agent::new_with_defaults(), dir);
        let shared = Arc::new(Shared::new(options, store, writer));
        *shared.live() = (live, heard);
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
        let mut write = Pending {
            // As long as it may get: whether it fits must not depend on how many there were before.
            number: u64::MAX,
            id: Uuid::new_v4(),
            kind: kind.into(),
            entity: entity.map(Into::into),
            base,
            body,
            written_at: now_ms(),
        };
        self.shared.store.has_space().await?;
        let done = self.shared.store.write(Care::Sure, move |transaction| {
            let longest = number(transaction, MESSAGE_BYTES)?;
            if let Err(refusal) = overlay::check(&writer, &write, if longest == 0 { LONGEST } else { longest }) {
                return Ok(Err(WriteError::Invalid(refusal)));
            }
            let pending = journal::count(transaction)?.bytes;
            if pending + write.body.len() as u64 > most {
                return Ok(Err(WriteError::JournalFull { pending, most }));
            }
            let key = write.key();
            if let (Some(key), None) = (&key, base) {
                write.base = Some(mirror::version(transaction, key)?);
            }
            let number = journal::append(transaction, &write)?;
            let ticket = Ticket { id: write.id, number };
            if let Some(key) = &key {
                mirror::lay_on(transaction, &writer, key, Pending { number, ..write })?;
            }
            Ok(Ok(ticket))
        });
        let ticket = done.await??;
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
        let none = |transaction: &Transaction<'_>| Ok(journal::is_empty(transaction)?.then_some(()));
        match self.until(within, none).await? {
            Some(()) => Ok(0),
            None => self.shared.store.read(|transaction| Ok(journal::count(transaction)?.pending)).await,
        }
    }

    /// Whether the node could not be reached the last time, or refused. It is tried again when its time comes; to wait for that would
    /// only hold work up.
    pub fn is_away(&self) -> bool {
        matches!(self.shared.live().0.link, Link::Offline { .. } | Link::Refused { .. })
    }

    /// Waits until all that the node has is here, at most so long; not at all while there is no connection.
    ///
    /// # Errors
    ///
    /// The store cannot be read or written.
    pub async fn pull(&self, within: Duration) -> Result<Pulled, StoreError> {
        if self.is_away() {
            self.shared.counter.count(|figures| figures.gave_up += 1);
            return Ok(Pulled::Behind);
        }
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

    /// Sends what it can in this time, and ends. Gives how many writes are left for the next one who opens it; `None`: the journal
    /// could not be read any more.
    pub async fn close(&self, within: Duration) -> Option<u64> {
        let left = self.push(within).await.ok();
        self.shared.closing.cancel();
        let work = self.work.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(work) = work {
            // It ends as soon as it has said goodbye; if not, that is no reason to stay.
            let _ = tokio::time::timeout(GOODBYE, work).await;
        }
        left
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
