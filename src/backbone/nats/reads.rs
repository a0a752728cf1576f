//! The questions that the log on NATS answers.
//!
//! Owns: that an answer holds everything that was acknowledged before the question, although batches come from any
//! replica: where a batch seems to end, the stream's leader is asked whether it really does.

use std::collections::HashMap;

use super::{
    Shared,
    api::{Message, StreamInfo, Which},
    direct::{self, Direct, From},
    line::AskError,
    shard::Shard,
};
use crate::{
    backbone::{BackboneError, EntityMark, EntityPage, Extent, Page, ReadBudget, Stored},
    model::{DedupeId, EntityKey, Position, TenantId, Timestamp},
};

/// Most bytes in one batch.
const BATCH_BYTES: usize = 4 << 20;
/// What one message weighs in a batch beside its body, about.
const MESSAGE_OVERHEAD: usize = 512;

impl std::convert::From<AskError> for BackboneError {
    fn from(error: AskError) -> Self {
        match error {
            AskError::Away(why) => Self::Unavailable(why),
            AskError::Refused { .. } => Self::Store(error.to_string()),
        }
    }
}

impl Shared {
    async fn info(&self, stream: &str) -> Result<StreamInfo, BackboneError> {
        let info = StreamInfo::get(&self.line, stream).await?;
        info.ok_or_else(|| BackboneError::Unavailable(format!("there is no stream {stream}")))
    }

    /// One batch of a stream, and what the leader adds where the batch seems to end. `None` behind the last message.
    pub(super) async fn batch(
        &self,
        stream: &str,
        from: u64,
        subjects: &str,
        (messages, bytes): (usize, usize),
    ) -> Result<Option<direct::Batch>, BackboneError> {
        let limits = (messages, bytes.min(BATCH_BYTES));
        let batch = direct::get(&self.line, stream, From::Sequence(from), subjects, limits).await?;
        if !batch.messages.is_empty() || self.shape.replicas == 1 {
            return Ok((!batch.messages.is_empty()).then_some(batch));
        }
        // A replica that is behind has nothing to give, and says it like one that has everything.
        let Some(next) = Message::get(&self.line, stream, Which::Next(from, subjects)).await? else { return Ok(None) };
        Ok(Some(direct::Batch { messages: vec![next.into()], pending: 1, total: 1 }))
    }

    /// See [`crate::backbone::Backbone::read`].
    pub(super) async fn read(
        &self,
        tenant: &TenantId,
        after: Position,
        budget: ReadBudget,
    ) -> Result<Page, BackboneError> {
        let shard = self.shard_of(tenant);
        let subjects = self.shape.names.of_tenant(tenant);
        let mut page = Page::default();
        let (mut from, mut bytes) = (after.0 + 1, 0_usize);
        'filling: while page.records.len() < budget.records {
            // One more than wanted shows whether more follow.
            let wanted = (budget.records - page.records.len()).saturating_add(1);
            let room = (budget.bytes - bytes).saturating_add(wanted.min(direct::MOST) * MESSAGE_OVERHEAD);
            let Some(batch) = self.batch(&shard.log, from, &subjects, (wanted, room)).await? else { break };
            for message in batch.messages {
                from = message.seq + 1;
                let size = message.body.len();
                let fits = page.records.len() < budget.records && bytes.saturating_add(size) <= budget.bytes;
                if !(fits || page.records.is_empty()) {
                    page.more = true;
                    break 'filling;
                }
                bytes = bytes.saturating_add(size).min(budget.bytes);
                page.records.extend(self.record(message.into_stored(&shard.prefix)));
            }
            if bytes >= budget.bytes {
                page.more = self.batch(&shard.log, from, &subjects, (1, 1)).await?.is_some();
                break;
            }
        }
        if page.records.len() >= budget.records && !page.more {
            page.more = self.batch(&shard.log, from, &subjects, (1, 1)).await?.is_some();
        }
        // After the records: whatever was trimmed while they were read shows here.
        page.trimmed_to = self.info(&shard.log).await?.trimmed_to().max(self.floor(tenant));
        Ok(page)
    }

    /// Up to where positions are of an earlier life of the tenant, or trimmed for it alone.
    pub(super) fn floor(&self, tenant: &TenantId) -> Position {
        self.tenancies.floor(tenant, self.shard_of(tenant).epoch())
    }

    /// A record under a subject that is none is left out, and counted.
    pub(super) fn record(&self, stored: Option<Stored>) -> Option<Stored> {
        if stored.is_none() {
            self.count_foreign();
        }
        stored
    }

    /// See [`crate::backbone::Backbone::extent`].
    pub(super) async fn extent(&self, tenant: &TenantId) -> Result<Extent, BackboneError> {
        let shard = self.shard_of(tenant);
        let subjects = self.shape.names.of_tenant(tenant);
        let last = Message::get(&self.line, &shard.log, Which::Last(&subjects)).await?;
        let info = self.info(&shard.log).await?;
        let trimmed_to = info.trimmed_to().max(self.floor(tenant));
        let last = last.map_or(Position::START, |last| Position(last.seq)).max(trimmed_to);
        let end = Position(info.state.last_seq);
        shard.know(end);
        Ok(Extent { trimmed_to, last, end: end.max(last) })
    }

    /// The tenant's first record at or behind a sequence, asked from the leader.
    async fn next(&self, shard: &Shard, subjects: &str, from: u64) -> Result<Option<u64>, BackboneError> {
        Ok(Message::get(&self.line, &shard.log, Which::Next(from, subjects)).await?.map(|next| next.seq))
    }

    /// See [`crate::backbone::Backbone::last_at`]. NATS finds the next message of a subject, never the one before: so
    /// backwards in growing steps, then by halving.
    pub(super) async fn last_at(&self, tenant: &TenantId, at: Position) -> Result<Position, BackboneError> {
        let shard = self.shard_of(tenant);
        let subjects = self.shape.names.of_tenant(tenant);
        let last = Message::get(&self.line, &shard.log, Which::Last(&subjects)).await?;
        let Some(last) = last.map(|last| last.seq) else { return Ok(Position::START) };
        if last <= at.0 {
            return Ok(Position(last));
        }
        let (mut step, mut high) = (1, at.0);
        let mut found = loop {
            let from = at.0.saturating_sub(step - 1).max(1);
            match self.next(shard, &subjects, from).await? {
                Some(seq) if seq <= at.0 => break seq,
                _ if from == 1 || from <= self.info(&shard.log).await?.state.first_seq => return Ok(Position::START),
                _ => (step, high) = (step * 4, from - 1),
            }
        };
        // The last one lies in `found..=high`, or is `found`.
        while found < high {
            let middle = found + (high - found).div_ceil(2);
            match self.next(shard, &subjects, middle).await? {
                Some(seq) if seq <= high => found = seq,
                _ => high = middle - 1,
            }
        }
        Ok(Position(found))
    }

    /// See [`crate::backbone::Backbone::count_after`]. Counted by whichever replica answers.
    pub(super) async fn count_after(
        &self,
        tenant: &TenantId,
        after: Position,
        at_most: usize,
    ) -> Result<usize, BackboneError> {
        let shard = self.shard_of(tenant);
        let batch = self.batch(&shard.log, after.0 + 1, &self.shape.names.of_tenant(tenant), (1, 1)).await?;
        let total = batch.map_or(0, |batch| batch.total);
        Ok(usize::try_from(total).unwrap_or(usize::MAX).min(at_most))
    }

    /// See [`crate::backbone::Backbone::position_at`].
    pub(super) async fn position_at(&self, tenant: &TenantId, time: Timestamp) -> Result<Position, BackboneError> {
        let shard = self.shard_of(tenant);
        let subjects = self.shape.names.of_tenant(tenant);
        let last = Message::get(&self.line, &shard.log, Which::Last(&subjects)).await?;
        let Some(last) = last else { return Ok(self.info(&shard.log).await?.trimmed_to()) };
        if last.time < time {
            return Ok(Position(last.seq));
        }
        let batch = direct::get(&self.line, &shard.log, From::Time(time), &subjects, (1, 1)).await?;
        // A replica that does not have it yet finds nothing; then the last is the best that is known to be late enough.
        let first = batch.messages.first().map(|message| message.seq);
        match first {
            Some(first) => Ok(Position(first.min(last.seq) - 1)),
            None => self.last_at(tenant, Position(last.seq - 1)).await,
        }
    }

    /// See [`crate::backbone::Backbone::entity`].
    pub(super) async fn entity(&self, tenant: &TenantId, key: &EntityKey) -> Result<Option<Stored>, BackboneError> {
        let shard = self.shard_of(tenant);
        let subject = self.shape.names.record(tenant, &crate::backbone::Subject::Entity(key.clone()));
        if let Some(head) = Message::get(&self.line, &shard.log, Which::Last(&subject)).await? {
            let position = Position(head.seq);
            return Ok(self.record(head.into_stored(&shard.prefix, position)));
        }
        let Some(kept) = Message::get(&self.line, &shard.state, Which::Last(&subject)).await? else { return Ok(None) };
        let Some(position) = kept.source_position() else { return Ok(None) };
        Ok(self.record(kept.into_stored(&shard.prefix, position)))
    }

    /// See [`crate::backbone::Backbone::entities`]. Entities come in the order of their last change; one that changes
    /// moves behind the reader and comes again. A mark is the sequence in STATE to go on from, and the position that
    /// the last page may speak for at least, eight bytes each.
    pub(super) async fn entities(
        &self,
        tenant: &TenantId,
        from: Option<EntityMark>,
        budget: ReadBudget,
    ) -> Result<EntityPage, BackboneError> {
        let shard = self.shard_of(tenant);
        let subjects = self.shape.names.entities_of(tenant);
        let (mut next, mut as_of) = match &from {
            None => (1, self.settled_to(shard, &subjects).await?),
            Some(EntityMark(mark)) => read_mark(mark).ok_or_else(|| BackboneError::Store("a foreign mark".into()))?,
        };
        let mut page = EntityPage::default();
        let mut bytes = 0_usize;
        loop {
            let wanted = budget.records.saturating_sub(page.entities.len()).max(1);
            let room = budget.bytes.saturating_sub(bytes).max(1);
            let Some(batch) = self.batch(&shard.state, next, &subjects, (wanted, room)).await? else { break };
            for message in batch.messages {
                let size = message.body.len();
                let position = message.headers.get("Nats-Stream-Source").map(|header| header.as_str());
                let position = position.and_then(super::api::source_position);
                let stored = position.and_then(|position| message.clone().into_stored_at(&shard.prefix, position));
                let full = page.entities.len() >= budget.records || bytes.saturating_add(size) > budget.bytes;
                if full && !page.entities.is_empty() {
                    page.next = Some(mark(next, as_of));
                    page.as_of = as_of;
                    return Ok(page);
                }
                next = message.seq + 1;
                bytes = bytes.saturating_add(size);
                if let Some(Stored { subject: crate::backbone::Subject::Entity(key), .. }) = &stored {
                    let key = key.clone();
                    as_of = as_of.max(position.unwrap_or_default());
                    // A replica that is behind gives what is replaced by now, and the leader then what replaced it.
                    page.entities.retain(|(known, _)| *known != key);
                    page.entities.extend(self.record(stored).map(|stored| (key, stored)));
                }
            }
        }
        page.as_of = self.quiet_since(shard, &subjects, as_of).await?;
        Ok(page)
    }

    /// Where STATE stands: its leader has the last record of every entity up to here.
    async fn settled_to(&self, shard: &Shard, subjects: &str) -> Result<Position, BackboneError> {
        let last = Message::get(&self.line, &shard.state, Which::Last(subjects)).await?;
        let at = last.and_then(|last| last.source_position()).unwrap_or_default();
        self.quiet_since(shard, subjects, at).await
    }

    /// How far the log goes behind a position without an entity of the tenant: a snapshot speaks for that too.
    async fn quiet_since(&self, shard: &Shard, subjects: &str, at: Position) -> Result<Position, BackboneError> {
        let end = self.info(&shard.log).await?.state.last_seq;
        Ok(Position(match self.next(shard, subjects, at.0 + 1).await? {
            Some(next) => next - 1,
            None => end.max(at.0),
        }))
    }

    /// Adds the ids of a tenant's records behind a position to what is known; returns the last position read.
    pub(super) async fn ids_after(
        &self,
        tenant: &TenantId,
        after: Position,
        ids: &mut HashMap<DedupeId, Position>,
    ) -> Result<Position, BackboneError> {
        let shard = self.shard_of(tenant);
        let subjects = self.shape.names.of_tenant(tenant);
        let mut last = after;
        while let Some(batch) = self.batch(&shard.log, last.0 + 1, &subjects, (direct::MOST, BATCH_BYTES)).await? {
            let id_of = |message: &Direct| message.dedupe().map(|id| (id, Position(message.seq)));
            ids.extend(batch.messages.iter().filter_map(id_of));
            last = batch.messages.last().map_or(last, |message| Position(message.seq));
        }
        Ok(last)
    }
}

fn mark(next: u64, as_of: Position) -> EntityMark {
    EntityMark([next.to_be_bytes(), as_of.0.to_be_bytes()].concat().into())
}

fn read_mark(mark: &[u8]) -> Option<(u64, Position)> {
    let (next, rest) = mark.split_first_chunk::<8>()?;
    Some((u64::from_be_bytes(*next), Position(u64::from_be_bytes(rest.try_into().ok()?))))
}
