//! A tenant's room on this node: the roster, the place in the log, the recent records, the appends under way.
//!
//! Owns: invariant **one path** (a record reaches members only after the log has it, and only through here) and
//! invariant **seam** (what a reader is given and what is delivered afterwards meet without gap or repeat, because both
//! pass the same ordered queue to its outlet). Must not: block on I/O, hold a socket, know which log it is.

pub mod appends;
mod history;
pub mod joining;
mod ports;
mod presence;
mod ring;

use std::{collections::HashMap, mem, sync::Arc, time::Duration};

use actix::{
    Actor, ActorContext, ActorFutureExt, Addr, AsyncContext, Context, Handler, StreamHandler, WrapFuture,
    dev::SendError,
};
use futures_util::stream;

use self::{appends::Appends, history::History, joining::Lookups, ports::Ports, presence::Announcements, ring::Ring};
use super::{
    context::NodeContext,
    directory::{Died, Directory},
    messages::{
        Acknowledged, CarriedOut, Drain, Entered, Fail, Gone, Leave, MemberKey, Order, Report, Retire, RoomReport,
        TellFigures,
    },
    metrics::Held,
};
use crate::{
    backbone::{BackboneError, CursorUpdate, Feed, FeedItem, Page, ReadBudget, Stored},
    model::{
        InstanceId, Position, TenantId,
        roster::{Farewell, Roster},
        tally::Tally,
    },
    wire::{
        Batch,
        outgoing::{Instance, RoomFigures},
        record::Record,
    },
};

/// Records in one page of the log.
const PAGE_RECORDS: usize = 4096;
/// How long to wait before the log is asked again after it failed.
const RETRY: Duration = Duration::from_millis(200);
/// Records after which the tally is kept anew.
const TALLY_EVERY: u64 = 512;

/// The actor.
#[derive(Debug)]
pub struct Room {
    serial: u64,
    tenant: TenantId,
    context: Arc<NodeContext>,
    directory: Addr<Directory>,
    roster: Roster<MemberKey>,
    ports: Ports,
    /// The room's last record: everything up to here was applied.
    head: Position,
    /// Records up to here may be gone from the log.
    trimmed_to: Position,
    ring: Ring,
    history: History,
    lookups: Lookups,
    appends: Appends,
    tally: Tally,
    tally_kept: u64,
    /// Moved cursors that are not on their way to the log yet.
    cursors: HashMap<InstanceId, Position>,
    /// Those that are on their way, with the number of the write.
    keeping: HashMap<InstanceId, (Position, u64)>,
    keeps: u64,
    announcements: Announcements,
    /// Whether a tick is due.
    ticking: bool,
    /// Set when the directory was asked to let this room go: nobody comes in any more.
    retiring: bool,
    /// When somebody last needed the room, on the node's clock.
    used_at: Duration,
    _counted: Held,
}

/// What a room begins with.
struct Beginning {
    feed: Feed,
    head: Position,
    trimmed_to: Position,
    tally: Tally,
}

impl Room {
    /// A room that will find its place in the log when it starts.
    pub fn new(serial: u64, tenant: TenantId, context: Arc<NodeContext>, directory: Addr<Directory>) -> Self {
        Self {
            serial,
            ring: Ring::new(context.config.rooms.ring_bytes),
            history: History::default(),
            lookups: Lookups::default(),
            appends: Appends::new(context.config.log.queue_appends),
            ports: Ports::new(context.config.rooms.ring_bytes),
            used_at: context.uptime(),
            _counted: Held::one(&context.metrics.rooms),
            tenant,
            context,
            directory,
            roster: Roster::default(),
            head: Position::START,
            trimmed_to: Position::START,
            tally: Tally::default(),
            tally_kept: 0,
            cursors: HashMap::new(),
            keeping: HashMap::new(),
            keeps: 0,
            announcements: Announcements::default(),
            ticking: false,
            retiring: false,
        }
    }

    fn page_budget(&self) -> ReadBudget {
        ReadBudget { records: PAGE_RECORDS, bytes: self.context.config.rooms.page_bytes }
    }

    /// Finds the place in the log; until that is done, the mailbox waits.
    fn begin(&mut self, ctx: &mut Context<Self>) {
        let (backbone, tenant, budget) = (self.context.backbone.clone(), self.tenant.clone(), self.page_budget());
        let beginning = async move {
            let feed = backbone.follow(&tenant).await?;
            let head = backbone.last_at(&tenant, feed.after).await?;
            let trimmed_to = backbone.extent(&tenant).await?.trimmed_to;
            let mut tally = backbone.tally(&tenant).await?.and_then(Tally::from_bytes).unwrap_or_default();
            // What a crash kept from being counted.
            while tally.through < head {
                let page = backbone.read(&tenant, tally.through, budget).await?;
                let Some(last) = page.records.last().map(|record| record.position) else { break };
                let records = read_records(&tenant, tally.through, page.records, |_| {});
                records.iter().for_each(|record| tally.apply(record.meta.position, record.counted));
                tally.through = tally.through.max(last);
            }
            Ok::<_, BackboneError>(Beginning { feed, head, trimmed_to, tally })
        };
        ctx.wait(beginning.into_actor(self).map(|beginning, room, ctx| match beginning {
            Ok(beginning) => room.open(beginning, ctx),
            Err(error) => {
                tracing::warn!(tenant = %room.tenant, %error, "room cannot read the log yet; trying again");
                ctx.wait(tokio::time::sleep(RETRY).into_actor(room).map(|(), room, ctx| room.begin(ctx)));
            }
        }));
    }

    fn open(&mut self, beginning: Beginning, ctx: &mut Context<Self>) {
        let Beginning { feed, head, trimmed_to, tally } = beginning;
        (self.head, self.trimmed_to, self.tally) = (head, trimmed_to, tally);
        self.ring.restart(head);
        tracing::info!(tenant = %self.tenant, %head, "room opened");
        ctx.add_stream(stream::unfold(feed, |mut feed| async move {
            let item = feed.next().await;
            Some((item, feed))
        }));
        if let Some(answers) = self.appends.take_answers() {
            ctx.add_stream(answers);
        }
        self.tick_later(ctx);
    }

    /// Applies records from the log, in order; those already applied are skipped.
    fn apply(&mut self, records: Vec<Stored>) {
        let head = self.head;
        let fresh = records.into_iter().skip_while(|record| record.position <= head).collect();
        let damaged = &self.context.metrics.damaged;
        let records = read_records(&self.tenant, self.head, fresh, |_| {
            damaged.inc();
        });
        records.iter().for_each(|record| self.tally.apply(record.meta.position, record.counted));
        self.tally_kept += records.len() as u64;
        if let Some(batch) = Batch::new(records) {
            self.head = batch.last();
            let batch = Arc::new(batch);
            self.ring.push(batch.clone());
            self.ports.post_all(|_| Order::Deliver(batch.clone()));
        }
    }

    /// Reads from the log what the feed could not hold; until that is done, the mailbox waits.
    fn recover(&mut self, ctx: &mut Context<Self>) {
        let read = self.context.backbone.read(&self.tenant, self.head, self.page_budget());
        ctx.wait(read.into_actor(self).map(|page, room, ctx| match page {
            Ok(Page { records, more, trimmed_to }) => {
                room.trimmed_to = room.trimmed_to.max(trimmed_to);
                room.apply(records);
                room.flush(ctx);
                if more {
                    room.recover(ctx);
                }
            }
            Err(error) => {
                tracing::warn!(tenant = %room.tenant, %error, "room cannot read the log; trying again");
                ctx.wait(tokio::time::sleep(RETRY).into_actor(room).map(|(), room, ctx| room.recover(ctx)));
            }
        }));
    }

    /// Sends the outlets what waits for them and forgets those that are gone.
    fn flush(&mut self, ctx: &mut Context<Self>) {
        let me = Entered { serial: self.serial, room: ctx.address() };
        for (instance, key) in self.ports.flush(&me) {
            // Their outlet has stopped. If that is because they left, their own farewell, which says how, is in the
            // mailbox already: this one goes behind it, and counts only if their thread is gone.
            let leave = Leave { key, instance, how: Farewell::Lost };
            if let Err(SendError::Full(leave)) = ctx.address().try_send(leave) {
                let room = ctx.address();
                actix_rt::spawn(async move { room.send(leave).await.unwrap_or_default() });
            }
        }
    }

    fn figures(&self) -> RoomFigures {
        RoomFigures {
            total_concepts: self.tally.concepts() as u64,
            total_messages: self.tally.messages,
            connected_instances: self.roster.iter().map(|(instance, _)| instance.to_string()).collect(),
        }
    }

    /// Makes sure that a tick comes.
    fn tick_later(&mut self, ctx: &mut Context<Self>) {
        if !mem::replace(&mut self.ticking, true) {
            ctx.run_later(self.context.config.rooms.cursor_flush, |room, ctx| {
                room.ticking = false;
                room.tick(ctx);
            });
        }
    }

    /// What is done now and then: keep cursors and tally, declare the missed gone, retire when idle.
    fn tick(&mut self, ctx: &mut Context<Self>) {
        self.keep_cursors(ctx);
        self.expire_missed();
        self.sum_up_presence();
        if self.tally_kept >= TALLY_EVERY {
            self.keep_tally();
        }
        self.flush(ctx);
        let idle = self.roster.is_empty() && self.appends.is_idle();
        if !idle {
            self.used_at = self.context.uptime();
        }
        if self.roster.misses_somebody() || self.moves_cursors() || self.announcements.any() {
            self.tick_later(ctx);
        } else if idle {
            self.retire_when_due(ctx);
        }
    }

    fn retire_when_due(&mut self, ctx: &mut Context<Self>) {
        let idle_for = self.context.uptime().saturating_sub(self.used_at);
        let timeout = self.context.config.rooms.idle_timeout;
        if idle_for < timeout {
            if !mem::replace(&mut self.ticking, true) {
                ctx.run_later(timeout - idle_for, |room, ctx| {
                    room.ticking = false;
                    room.tick(ctx);
                });
            }
            return;
        }
        self.retiring = true;
        let asked = self.directory.send(Retire { tenant: self.tenant.clone(), serial: self.serial });
        ctx.wait(asked.into_actor(self).map(|_, room, ctx| {
            // Whoever finds this room from now on is told that it is gone, and asks the directory again.
            tracing::info!(tenant = %room.tenant, "room retired");
            room.keep_tally();
            ctx.stop();
        }));
    }

    fn keep_cursors(&mut self, ctx: &mut Context<Self>) {
        if self.cursors.is_empty() {
            return;
        }
        self.keeps += 1;
        let (updates, number) = (self.take_moved_cursors(), self.keeps);
        self.keeping.extend(updates.iter().map(|update| (update.instance.clone(), (update.position, number))));
        let kept = self.context.backbone.keep_cursors(updates);
        ctx.spawn(kept.into_actor(self).map(move |kept, room, _| {
            if let Err(error) = kept {
                // Harmless: the instance is sent again what it has, under the same positions.
                tracing::warn!(tenant = %room.tenant, %error, "cursors were not kept");
            }
            room.keeping.retain(|_, (_, write)| *write > number);
        }));
    }

    /// Whether the room knows of cursors what the log may not know.
    fn moves_cursors(&self) -> bool {
        !self.cursors.is_empty() || !self.keeping.is_empty()
    }

    /// An instance's cursor that the log may not have yet.
    fn fresh_cursor(&self, instance: &InstanceId) -> Option<Position> {
        let keeping = self.keeping.get(instance).map(|(position, _)| *position);
        self.cursors.get(instance).copied().max(keeping)
    }

    fn take_moved_cursors(&mut self) -> Vec<CursorUpdate> {
        let (moved, tenant) = (mem::take(&mut self.cursors), &self.tenant);
        let update = |(instance, position)| CursorUpdate { tenant: tenant.clone(), instance, position };
        moved.into_iter().map(update).collect()
    }

    /// A dying room's last words: queued at once, ahead of whatever the next room does.
    fn hand_over_cursors(&mut self) {
        if !self.cursors.is_empty() {
            let updates = self.take_moved_cursors();
            // Nobody is left to hear how it ended.
            drop(self.context.backbone.keep_cursors(updates));
        }
    }

    fn keep_tally(&mut self) {
        if mem::take(&mut self.tally_kept) == 0 {
            return;
        }
        let (kept, tenant) =
            (self.context.backbone.keep_tally(&self.tenant, self.tally.to_bytes()), self.tenant.clone());
        actix_rt::spawn(async move {
            if let Err(error) = kept.await {
                // Harmless: it is folded from the log again.
                tracing::warn!(%tenant, %error, "the tally was not kept");
            }
        });
    }
}

/// Turns stored records into records, chained behind `prev`; what is no record of this room is reported and left out.
fn read_records(tenant: &TenantId, mut prev: Position, stored: Vec<Stored>, damaged: impl Fn(&Stored)) -> Vec<Record> {
    let mut records = Vec::with_capacity(stored.len());
    for record in stored {
        match Record::read(tenant, record.position, prev, record.body.clone()) {
            Ok(read) => {
                prev = record.position;
                records.push(read);
            }
            Err(error) => {
                tracing::error!(%tenant, position = %record.position, %error, "left out of the room");
                damaged(&record);
            }
        }
    }
    records
}

impl Actor for Room {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(8192);
        self.begin(ctx);
    }
}

impl StreamHandler<FeedItem> for Room {
    fn handle(&mut self, item: FeedItem, ctx: &mut Self::Context) {
        match item {
            FeedItem::Records(records) => {
                self.apply(records);
                self.flush(ctx);
            }
            FeedItem::Lagged => self.recover(ctx),
            FeedItem::Ended => {
                // The log closes with the node; otherwise it was made anew, and the next room follows that one.
                self.retiring = self.context.is_draining();
                ctx.stop();
            }
        }
    }
}

impl Handler<CarriedOut> for Room {
    type Result = ();

    fn handle(&mut self, CarriedOut { outlet }: CarriedOut, ctx: &mut Self::Context) {
        self.ports.carried_out(outlet);
        self.flush(ctx);
    }
}

impl Handler<Acknowledged> for Room {
    type Result = ();

    fn handle(&mut self, acknowledged: Acknowledged, ctx: &mut Self::Context) {
        let Acknowledged { key, instance, position } = acknowledged;
        // A client cannot have seen what the room has not: a cursor from nowhere would lose it everything up to there.
        if position > self.head || !self.roster.is_member(&instance, key) {
            return;
        }
        let kept = self.cursors.entry(instance).or_default();
        *kept = position.max(*kept);
        self.tick_later(ctx);
    }
}

impl Handler<TellFigures> for Room {
    type Result = ();

    fn handle(&mut self, TellFigures { key }: TellFigures, ctx: &mut Self::Context) {
        let figures = self.figures();
        self.ports.post(key.outlet, Order::Figures { key, figures });
        self.flush(ctx);
    }
}

impl Handler<Report> for Room {
    type Result = actix::MessageResult<Report>;

    fn handle(&mut self, _: Report, _: &mut Self::Context) -> Self::Result {
        let instances = self.roster.iter().map(|(instance, presence)| Instance::new(instance, presence)).collect();
        actix::MessageResult(RoomReport { figures: self.figures(), instances, position: self.head })
    }
}

impl Handler<Drain> for Room {
    type Result = ();

    fn handle(&mut self, _: Drain, ctx: &mut Self::Context) {
        self.keep_cursors(ctx);
        self.keep_tally();
        self.ports.post_all(|_| Order::SendHome);
        self.flush(ctx);
    }
}

impl Handler<Fail> for Room {
    type Result = ();

    fn handle(&mut self, _: Fail, _: &mut Self::Context) {
        panic!("a drill");
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        // A room that ends while members are here ends by a fault: say so, and they move to the next one. On the way
        // out the log ends before the rooms do, and there is no next one.
        if !self.retiring && !self.context.is_draining() {
            self.hand_over_cursors();
            // The outlets before the directory: they hear of this room's end before anybody can be in the next one.
            self.ports.tell_all_that_room_died(self.serial);
            let died = Died { tenant: self.tenant.clone(), serial: self.serial };
            // The directory finds a closed room by itself too; this only makes it quicker.
            let _ = self.directory.try_send(died);
        }
    }
}

/// What a message gets when the room is about to stop.
impl Room {
    fn is_open(&self) -> Result<(), Gone> {
        if self.retiring { Err(Gone) } else { Ok(()) }
    }
}
