//! Erasing a tenant on NATS: each of its messages is deleted for itself, so that the server overwrites it in its file.
//!
//! Owns: in which streams a tenant has messages, and in which order they go: STATE is filled from LOG, so it has to have
//! everything before LOG loses anything. Must not know: who wants it, or why.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::{
    StreamExt, TryStreamExt,
    future::{BoxFuture, FutureExt},
    stream,
};

use super::{
    NatsLog, Shared,
    api::{Message, Which},
    direct,
};
use crate::{
    backbone::{BackboneError, Erased, Erasing, Subject},
    model::{
        Position, TenantId,
        erasure::{Counts, Floor, Tenancy},
    },
};

/// Messages that one step looks at in a stream.
const STEP: usize = 500;
/// Their bodies come too; this many bytes of them.
const STEP_BYTES: usize = 4 << 20;
/// Messages that are deleted at a time.
const AT_A_TIME: usize = 32;
/// Messages of a stream that are counted one by one.
const COUNTED: u64 = 1_000;

impl Erasing for NatsLog {
    fn tenancy(&self, tenant: &TenantId) -> Tenancy {
        self.shared.tenancies.of(tenant)
    }

    fn set_tenancy(&self, tenant: &TenantId, tenancy: Tenancy) {
        self.shared.tenancies.set(tenant, tenancy);
        // What is known there of the old tenant's cursors is only a shortcut.
        self.shared.cursors.clear();
    }

    fn erase(&self, tenant: &TenantId) -> BoxFuture<'static, Result<Erased, BackboneError>> {
        let tenant = tenant.clone();
        self.ask(|shared| async move { shared.erase(&tenant).await })
    }

    fn holdings(&self, tenant: &TenantId) -> BoxFuture<'static, Result<Counts, BackboneError>> {
        let tenant = tenant.clone();
        self.ask(|shared| async move { shared.holdings(&tenant).await })
    }

    fn strike(
        &self,
        tenant: &TenantId,
        records: Vec<(Position, Subject)>,
    ) -> BoxFuture<'static, Result<u64, BackboneError>> {
        let tenant = tenant.clone();
        self.ask(|shared| async move { shared.strike(&tenant, records).await })
    }

    fn set_trimmed(&self, tenant: &TenantId, to: Floor) {
        self.shared.tenancies.set_trimmed(tenant, to);
    }

    fn trim_tenant(&self, tenant: &TenantId, to: Position) -> BoxFuture<'static, Result<bool, BackboneError>> {
        let tenant = tenant.clone();
        self.ask(|shared| async move { shared.trim_tenant(&tenant, to).await })
    }

    fn scrub(&self) -> BoxFuture<'static, Result<(), BackboneError>> {
        // The server has overwritten each message when it was deleted; nothing else can be asked of it.
        async { Ok(()) }.boxed()
    }
}

impl Shared {
    async fn erase(self: &Arc<Self>, tenant: &TenantId) -> Result<Erased, BackboneError> {
        let (names, shard) = (&self.shape.names, self.shard_of(tenant).clone());
        self.has_sourced(tenant).await?;
        let mut removed = Counts::new();
        for (stream, subjects) in [
            (shard.log.clone(), names.of_tenant(tenant)),
            (shard.state.clone(), names.entities_of(tenant)),
            (names.kept_stream(), names.cursors_of(tenant)),
            (names.kept_stream(), names.tally(tenant)),
        ] {
            let deleted = self.delete_some(&stream, &subjects).await?;
            if deleted > 0 {
                *removed.entry(stream).or_default() += deleted;
            }
        }
        if !removed.is_empty() {
            return Ok(Erased { removed, floor: None });
        }
        // A position of its own: a cursor at the old tenant's very end lies before the new one's beginning.
        let mark = names.record(tenant, &Subject::Event("erased".parse().expect("a word is a type")));
        let floor = self.put_any(&mark, Bytes::new()).await?;
        Message::delete(&self.line, &shard.log, floor).await?;
        shard.know(Position(floor));
        Ok(Erased { removed, floor: Some(Position(floor)) })
    }

    /// Makes sure that STATE has every entity of the tenant that LOG has: what is deleted there then comes back from nowhere.
    async fn has_sourced(&self, tenant: &TenantId) -> Result<(), BackboneError> {
        let (shard, subjects) = (self.shard_of(tenant), self.shape.names.entities_of(tenant));
        let Some(last) = Message::get(&self.line, &shard.log, Which::Last(&subjects)).await? else { return Ok(()) };
        let state = Message::get(&self.line, &shard.state, Which::Last(&subjects)).await?;
        match state.and_then(|state| state.source_position()) {
            Some(position) if position.0 >= last.seq => Ok(()),
            _ => Err(BackboneError::Unavailable("the stream of entities has not caught up".into())),
        }
    }

    /// Deletes the first messages on some subjects.
    async fn delete_some(self: &Arc<Self>, stream: &str, subjects: &str) -> Result<u64, BackboneError> {
        let found = if stream == self.shape.names.kept_stream() {
            self.walk(stream, subjects, STEP as u64).await?
        } else {
            let batch = self.batch(stream, 1, subjects, (STEP.min(direct::MOST), STEP_BYTES)).await?;
            batch.map(|batch| batch.messages.iter().map(|message| message.seq).collect()).unwrap_or_default()
        };
        let deletions = found.into_iter().map(|seq| Message::delete(&self.line, stream, seq));
        let deleted = stream::iter(deletions).buffer_unordered(AT_A_TIME);
        Ok(deleted.try_fold(0, |count, was_there| async move { Ok(count + u64::from(was_there)) }).await?)
    }

    async fn trim_tenant(self: &Arc<Self>, tenant: &TenantId, to: Position) -> Result<bool, BackboneError> {
        let (log, subjects) = (self.shard_of(tenant).log.clone(), self.shape.names.of_tenant(tenant));
        self.has_sourced(tenant).await?;
        let batch = self.batch(&log, 1, &subjects, (STEP.min(direct::MOST), STEP_BYTES)).await?;
        let found: Vec<_> = batch.iter().flat_map(|batch| &batch.messages).map(|message| message.seq).collect();
        let old: Vec<_> = found.iter().copied().take_while(|seq| *seq <= to.0).collect();
        let count = old.len();
        let deletions = old.into_iter().map(|seq| Message::delete(&self.line, &log, seq));
        let deleted = stream::iter(deletions).buffer_unordered(AT_A_TIME);
        deleted.try_fold((), |(), _| async { Ok(()) }).await?;
        Ok(count > 0 && count == found.len())
    }

    /// The sequences of the first messages on some subjects, one by one from the stream's leader.
    async fn walk(&self, stream: &str, subjects: &str, most: u64) -> Result<Vec<u64>, BackboneError> {
        let (mut found, mut from) = (Vec::new(), 1);
        while (found.len() as u64) < most
            && let Some(next) = Message::get(&self.line, stream, Which::Next(from, subjects)).await?
        {
            found.push(next.seq);
            from = next.seq + 1;
        }
        Ok(found)
    }

    /// See [`Erasing::holdings`]. Counted by whichever replica answers; that there is nothing is the leader's word.
    async fn holdings(&self, tenant: &TenantId) -> Result<Counts, BackboneError> {
        let (names, shard) = (&self.shape.names, self.shard_of(tenant));
        let mut counts = Counts::new();
        for (stream, subjects) in [(&shard.log, names.of_tenant(tenant)), (&shard.state, names.entities_of(tenant))] {
            let first = self.batch(stream, 1, &subjects, (1, 1)).await?;
            counts.insert(stream.clone(), first.map_or(0, |batch| batch.total));
        }
        let kept = names.kept_stream();
        let cursors = self.walk(&kept, &names.cursors_of(tenant), COUNTED).await?.len() as u64;
        let tallies = self.walk(&kept, &names.tally(tenant), COUNTED).await?.len() as u64;
        counts.insert(kept, cursors + tallies);
        Ok(counts)
    }

    async fn strike(
        self: &Arc<Self>,
        tenant: &TenantId,
        records: Vec<(Position, Subject)>,
    ) -> Result<u64, BackboneError> {
        let (names, shard) = (&self.shape.names, self.shard_of(tenant).clone());
        self.has_sourced(tenant).await?;
        let mut struck = 0;
        for (position, subject) in records {
            if let Subject::Entity(_) = subject {
                // With all of its versions, and its state.
                let subject = names.record(tenant, &subject);
                for stream in [&shard.log, &shard.state] {
                    loop {
                        match self.delete_some(stream, &subject).await? {
                            0 => break,
                            deleted => struck += deleted,
                        }
                    }
                }
            } else {
                struck += u64::from(Message::delete(&self.line, &shard.log, position.0).await?);
            }
        }
        Ok(struck)
    }
}
