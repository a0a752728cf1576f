//! The room's recent records, encoded as they were sent: bounded in bytes, served by position.

use std::{collections::VecDeque, sync::Arc};

use crate::{model::Position, wire::Batch};

/// Small batches are joined by this many, so that a long reading takes few slices.
const JOIN: usize = 32;

/// Batches in order, each following the one before it without a hole.
#[derive(Debug)]
pub(super) struct Ring {
    batches: VecDeque<Arc<Batch>>,
    bytes: usize,
    capacity: usize,
    /// Batches at the end that have not been joined yet.
    loose: usize,
    /// Everything after this and up to the head is here.
    from: Position,
    head: Position,
}

impl Ring {
    pub(super) fn new(capacity: usize) -> Self {
        Self { batches: VecDeque::new(), bytes: 0, capacity, loose: 0, from: Position::START, head: Position::START }
    }

    /// Starts empty at a head.
    pub(super) fn restart(&mut self, head: Position) {
        *self = Self { from: head, head, ..Self::new(self.capacity) };
    }

    pub(super) fn push(&mut self, batch: Arc<Batch>) {
        self.head = batch.last();
        self.bytes += batch.bytes();
        self.batches.push_back(batch);
        self.loose += 1;
        if self.loose == JOIN {
            let loose: Vec<_> = self.batches.drain(self.batches.len() - JOIN..).collect();
            self.batches.push_back(Arc::new(Batch::join(&loose)));
            self.loose = 0;
        }
        while self.bytes > self.capacity && self.batches.len() > 1 {
            let Some(oldest) = self.batches.pop_front() else { break };
            self.bytes -= oldest.bytes();
            self.from = oldest.last();
            self.loose = self.loose.min(self.batches.len());
        }
    }

    /// What follows after a position, up to about `bytes`; `None` if the ring does not reach back so far.
    pub(super) fn after(&self, after: Position, bytes: usize) -> Option<Vec<Arc<Batch>>> {
        if after < self.from {
            return None;
        }
        let first = self.batches.partition_point(|batch| batch.last() <= after);
        let mut taken = 0;
        let page = self.batches.iter().skip(first).take_while(|batch| {
            let fits = taken < bytes;
            taken += batch.bytes();
            fits
        });
        Some(page.cloned().collect())
    }

    /// The record at a position, if the ring holds it.
    pub(super) fn id_at(&self, position: Position) -> Option<crate::model::EventId> {
        let index = self.batches.partition_point(|batch| batch.last() < position);
        let metas = self.batches.get(index)?.metas();
        let index = metas.binary_search_by_key(&position, |meta| meta.position).ok()?;
        Some(metas[index].id)
    }

    /// Number of records after a position, if the ring reaches back so far.
    pub(super) fn count_after(&self, after: Position) -> Option<usize> {
        if after < self.from {
            return None;
        }
        let beyond = |batch: &Arc<Batch>| {
            let metas = batch.metas();
            metas.len() - metas.partition_point(|meta| meta.position <= after)
        };
        Some(self.batches.iter().rev().take_while(|batch| batch.last() > after).map(beyond).sum())
    }

    /// Where the ring begins.
    pub(super) fn from(&self) -> Position {
        self.from
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::{EventId, TenantId, Timestamp, record::About},
        wire::record::{Publish, Record},
    };

    fn batch(position: u64) -> Arc<Batch> {
        let tenant: TenantId = "default".parse().expect("tenant");
        let publish = Publish {
            id: EventId(uuid::Uuid::from_u128(u128::from(position))),
            event_type: "note".parse().expect("type"),
            reference: None,
            timestamp: None,
            sig: None,
            data: serde_json::value::RawValue::from_string("1".into()).expect("json"),
        };
        let body = publish.to_body(&tenant, &"a".parse().expect("instance"), Timestamp(0));
        let record =
            Record::read(&tenant, About::Event, (Position(position), Position(position - 1)), body).expect("record");
        Arc::new(Batch::new(vec![record]).expect("batch"))
    }

    fn positions(page: &[Arc<Batch>]) -> Vec<u64> {
        page.iter().flat_map(|batch| batch.metas()).map(|meta| meta.position.0).collect()
    }

    #[test]
    fn a_full_ring_forgets_the_oldest_and_says_from_where_it_can_serve() {
        let mut ring = Ring::new(batch(1).bytes() * 100);
        ring.restart(Position(0));
        for position in 1..=300 {
            ring.push(batch(position));
        }
        let from = ring.from().0;
        assert!((200..=232).contains(&from), "{from}");
        assert_eq!(ring.after(Position(from - 1), usize::MAX).map(|page| page.len()), None);
        let page = ring.after(Position(from + 1), usize::MAX).expect("held");
        assert!(page.len() < 40, "joined: {}", page.len());
        assert_eq!(ring.count_after(Position(290)), Some(10));
        assert_eq!(ring.id_at(Position(290)), Some(EventId(uuid::Uuid::from_u128(290))));
        assert_eq!(ring.after(Position(300), 1).map(|page| page.len()), Some(0));
        assert_eq!(positions(&ring.after(Position(299), 1).expect("held")).last(), Some(&300));
    }

    #[test]
    fn an_empty_ring_serves_its_head() {
        let mut ring = Ring::new(1000);
        ring.restart(Position(7));
        assert_eq!(ring.after(Position(7), 1).map(|page| page.len()), Some(0));
        assert!(ring.after(Position(6), 1).is_none());
    }
}
