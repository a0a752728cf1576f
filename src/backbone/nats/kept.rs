//! Cursors and tallies: one message each in a stream of their own.
//!
//! Owns: that a cursor only moves forward, whichever nodes write it.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use async_nats::{HeaderMap, RequestErrorKind};
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::time::sleep;

use super::{
    Shared,
    api::{Ack, AckError, LOST, Message, Which},
    line::ANSWER,
};
use crate::{
    backbone::{BackboneError, CursorUpdate},
    model::{Cursor, InstanceId, TenantId},
};

/// Pause before a stream without a leader is tried again.
const PAUSE: Duration = Duration::from_millis(100);
/// Cursors written at a time.
const WRITES: usize = 128;
/// Tries to write one cursor that others write too.
const TRIES: usize = 16;
/// Cursors whose place in the stream is remembered.
const REMEMBERED: usize = 100_000;

/// What was last written under a subject, and its sequence there.
#[derive(Clone, Copy, Debug)]
struct Known {
    cursor: Option<Cursor>,
    seq: u64,
}

/// What this node knows of the stream; only a shortcut, every write is checked by the stream.
#[derive(Debug, Default)]
pub(super) struct Memory(Mutex<HashMap<String, Known>>);

impl Memory {
    fn get(&self, subject: &str) -> Option<Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(subject).copied()
    }

    /// Forgets everything.
    pub(super) fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn put(&self, subject: &str, known: Option<Known>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= REMEMBERED {
            all.clear();
        }
        match known {
            Some(known) => drop(all.insert(subject.to_owned(), known)),
            None => drop(all.remove(subject)),
        }
    }
}

impl Shared {
    /// See [`crate::backbone::Backbone::cursor`].
    pub(super) async fn cursor(
        &self,
        tenant: &TenantId,
        instance: &InstanceId,
    ) -> Result<Option<Cursor>, BackboneError> {
        Ok(self.look_up(&self.shape.names.cursor(tenant, instance)).await?.cursor)
    }

    async fn look_up(&self, subject: &str) -> Result<Known, BackboneError> {
        let kept = Message::get(&self.line, &self.shape.names.kept_stream(), Which::Last(subject)).await?;
        let seq = kept.as_ref().map_or(0, |kept| kept.seq);
        let text = kept.and_then(|kept| String::from_utf8(kept.body.to_vec()).ok());
        Ok(Known { cursor: text.and_then(|text| text.parse().ok()), seq })
    }

    /// See [`crate::backbone::Backbone::keep_cursors`].
    pub(super) async fn keep_cursors(&self, updates: Vec<CursorUpdate>) -> Result<(), BackboneError> {
        let mut furthest: HashMap<(TenantId, InstanceId), CursorUpdate> = HashMap::new();
        for update in updates.into_iter().filter(|update| self.keeps(update)) {
            let kept = furthest.entry((update.tenant.clone(), update.instance.clone())).or_insert(update.clone());
            kept.position = kept.position.max(update.position);
        }
        let writes = furthest.into_values().map(|update| self.keep_cursor(update));
        stream::iter(writes).buffer_unordered(WRITES).try_collect().await
    }

    /// Whether a cursor is of the log, and of the tenant's life, that there is now.
    fn keeps(&self, update: &CursorUpdate) -> bool {
        let (epoch, tenancy) = (self.shard_of(&update.tenant).epoch(), self.tenancies.of(&update.tenant));
        update.epoch == epoch && !tenancy.is_closed && update.position >= tenancy.floor_in(epoch)
    }

    async fn keep_cursor(&self, update: CursorUpdate) -> Result<(), BackboneError> {
        let subject = self.shape.names.cursor(&update.tenant, &update.instance);
        let cursor = Cursor { epoch: update.epoch, position: update.position, fingerprint: None };
        for _ in 0..TRIES {
            let known = match self.cursors.get(&subject) {
                Some(known) => known,
                None => self.look_up(&subject).await?,
            };
            let is_further =
                known.cursor.is_none_or(|known| known.epoch != cursor.epoch || known.position < cursor.position);
            if !is_further {
                self.cursors.put(&subject, Some(known));
                return Ok(());
            }
            match self.put(&subject, cursor.to_string().into(), Some(known.seq)).await? {
                Some(seq) => {
                    self.cursors.put(&subject, Some(Known { cursor: Some(cursor), seq }));
                    return Ok(());
                }
                None => self.cursors.put(&subject, None), // another node wrote it
            }
        }
        Err(BackboneError::Unavailable("a cursor is written by too many nodes at once".into()))
    }

    /// Puts a message under a subject of a stream, and says where it stands.
    pub(super) async fn put_any(&self, subject: &str, body: Bytes) -> Result<u64, BackboneError> {
        let seq = self.put(subject, body, None).await?;
        seq.ok_or_else(|| BackboneError::Store("a write without a condition was refused for one".into()))
    }

    /// Writes under a subject; `None` if the expected sequence does not stand there.
    async fn put(&self, subject: &str, body: Bytes, expected: Option<u64>) -> Result<Option<u64>, BackboneError> {
        if !self.line.is_up() {
            return Err(BackboneError::Unavailable("no connection to NATS".into()));
        }
        let mut headers = HeaderMap::new();
        if let Some(expected) = expected {
            headers.insert("Nats-Expected-Last-Subject-Sequence", expected.to_string());
        }
        let deadline = Instant::now() + ANSWER;
        let message = loop {
            let asked =
                self.line.client().request_with_headers(subject.to_owned(), headers.clone(), body.clone()).await;
            match asked {
                Ok(message) => break message,
                // Between two leaders nobody listens: nothing was done, and the next one may be there in a moment.
                Err(error) if error.kind() == RequestErrorKind::NoResponders && Instant::now() < deadline => {
                    sleep(PAUSE).await;
                }
                Err(error) => return Err(BackboneError::Unavailable(error.to_string())),
            }
        };
        let strange = |error: serde_json::Error| BackboneError::Unavailable(format!("a strange answer: {error}"));
        let ack: Ack = serde_json::from_slice(&message.payload).map_err(strange)?;
        match ack.error {
            None => Ok(Some(ack.seq)),
            Some(AckError { err_code, .. }) if expected.is_some() && LOST.contains(&err_code) => Ok(None),
            Some(AckError { err_code, description }) => {
                Err(BackboneError::Store(format!("{description} ({err_code})")))
            }
        }
    }

    /// See [`crate::backbone::Backbone::tally`].
    pub(super) async fn tally(&self, tenant: &TenantId) -> Result<Option<Bytes>, BackboneError> {
        let (stream, subject) = (self.shape.names.kept_stream(), self.shape.names.tally(tenant));
        let kept = Message::get(&self.line, &stream, Which::Last(&subject)).await?;
        let epoch = self.shard_of(tenant).epoch().0.to_be_bytes();
        Ok(kept.and_then(|kept| kept.body.strip_prefix(&epoch).map(Bytes::copy_from_slice)))
    }

    /// See [`crate::backbone::Backbone::keep_tally`]. It begins with the epoch of the log that it was derived from.
    pub(super) async fn keep_tally(&self, tenant: &TenantId, tally: Bytes) -> Result<(), BackboneError> {
        if !self.tenancies.takes(tenant) {
            return Ok(());
        }
        let epoch = self.shard_of(tenant).epoch().0.to_be_bytes();
        let body = [&epoch[..], &tally].concat().into();
        self.put(&self.shape.names.tally(tenant), body, None).await.map(drop)
    }
}
