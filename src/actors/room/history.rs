//! Records for readers that are behind: from the ring if it reaches back so far, else from the log, one read for all
//! who stand at the same place, and only a few reads at a time.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use actix::{AsyncContext, Context, Handler};

use super::{RETRY, Room, read_records};
use crate::{
    actors::messages::{Fetch, HistoryRead, MemberKey, Order, Reach},
    backbone::Page,
    model::{Position, resume::ResyncReason},
    wire::{
        Batch,
        outgoing::{ResyncReport, place},
    },
};

/// Pages kept, so that a crowd that returns to the same place costs one read.
const CACHED: usize = 8;
/// Reads of one room under way at a time.
const READS: usize = 4;

/// Pages and reads of one room.
#[derive(Debug, Default)]
pub(super) struct History {
    cached: VecDeque<Arc<Batch>>,
    /// Who waits for what follows after a position; the read is under way or in the queue.
    waiting: HashMap<Position, Vec<MemberKey>>,
    queue: VecDeque<Position>,
    running: usize,
}

impl Room {
    fn fetch(&mut self, key: MemberKey, after: Position, ctx: &mut Context<Self>) {
        let page_bytes = self.context.config.rooms.page_bytes;
        if let Some(batches) = self.ring.after(after, page_bytes) {
            self.context.metrics.count_resume(if batches.is_empty() { "head" } else { "ring" });
            let reached = batches.last().map_or(after, |batch| batch.last());
            let reach = if reached >= self.head { Reach::Head } else { Reach::Short };
            return self.ports.post(key.outlet, Order::Catch { key, from: after, batches, reach });
        }
        let covers = |batch: &&Arc<Batch>| batch.prev() <= after && after < batch.last();
        if let Some(batch) = self.history.cached.iter().find(covers) {
            self.context.metrics.count_resume("log");
            let batches = vec![batch.clone()];
            return self.ports.post(key.outlet, Order::Catch { key, from: after, batches, reach: Reach::Short });
        }
        let waiting = self.history.waiting.entry(after).or_default();
        waiting.push(key);
        if waiting.len() == 1 {
            self.history.queue.push_back(after);
            self.read_more(ctx);
        }
    }

    fn read_more(&mut self, ctx: &mut Context<Self>) {
        while self.history.running < READS {
            let Some(after) = self.history.queue.pop_front() else { return };
            self.history.running += 1;
            let (backbone, tenant, budget) = (self.context.backbone.clone(), self.tenant.clone(), self.page_budget());
            let room = ctx.address();
            actix_rt::spawn(async move {
                let page = async {
                    let prev = backbone.last_at(&tenant, after).await?;
                    Ok((backbone.read(&tenant, after, budget).await?, prev))
                };
                // A room that is gone needs no page.
                let _ = room.send(HistoryRead { after, page: page.await }).await;
            });
        }
    }

    fn give(&mut self, after: Position, page: Page, prev: Position, waiting: Vec<MemberKey>) {
        self.trimmed_to = self.trimmed_to.max(page.trimmed_to);
        if page.trimmed_to > after {
            let (start, epoch) = (page.trimmed_to, self.epoch);
            let mut report = ResyncReport::new(ResyncReason::Trimmed, place(epoch, after), epoch, start);
            report.state = Some(self.figures());
            for key in waiting {
                self.ports.post(key.outlet, Order::Resync { key, report: report.clone(), after: start });
            }
            return;
        }
        let last_read = page.records.last().map(|record| record.position);
        let damaged = &self.context.metrics.damaged;
        let records = read_records(
            &self.tenant,
            prev,
            page.records,
            |_| None,
            |_| {
                damaged.inc();
            },
        );
        // Nothing there: whatever follows begins where the ring does.
        let nothing_until = last_read.unwrap_or_else(|| self.ring.from());
        let batch = Batch::new(records).map(Arc::new);
        if let Some(batch) = &batch {
            self.history.cached.push_back(batch.clone());
            if self.history.cached.len() > CACHED {
                self.history.cached.pop_front();
            }
        }
        let from = if batch.is_some() { after } else { nothing_until };
        let reached = batch.as_ref().map_or(from, |batch| batch.last());
        let reach = if reached >= self.head { Reach::Head } else { Reach::Short };
        for key in waiting {
            self.context.metrics.count_resume("log");
            let batches = batch.iter().cloned().collect();
            self.ports.post(key.outlet, Order::Catch { key, from, batches, reach });
        }
    }
}

impl Handler<Fetch> for Room {
    type Result = ();

    fn handle(&mut self, Fetch { key, after }: Fetch, ctx: &mut Context<Self>) {
        if let Some(Fetch { key, after }) = self.unless_early(Fetch { key, after }) {
            self.fetch(key, after, ctx);
            self.flush(ctx);
        }
    }
}

impl Handler<HistoryRead> for Room {
    type Result = ();

    fn handle(&mut self, HistoryRead { after, page }: HistoryRead, ctx: &mut Context<Self>) {
        self.history.running -= 1;
        match page {
            Ok((page, prev)) => {
                let waiting = self.history.waiting.remove(&after).unwrap_or_default();
                self.give(after, page, prev, waiting);
                self.flush(ctx);
            }
            Err(error) => {
                tracing::warn!(tenant = %self.tenant, %error, "history cannot be read; trying again");
                ctx.run_later(RETRY, move |room, ctx| {
                    room.history.queue.push_back(after);
                    room.read_more(ctx);
                });
            }
        }
        self.read_more(ctx);
    }
}
