//! A tenant's room on this node: the roster of all nodes, the place in the log, the recent records, the appends under way.
//!
//! Owns: invariant **one path** (a record reaches members only after the log has it, and only through here) and
//! invariant **seam** (what a reader is given and what is delivered afterwards meet without gap or repeat, because both
//! pass the same ordered queue to its outlet). Must not: block on I/O, hold a socket, know which log it is.

pub mod appends;
mod cursors;
mod history;
mod housekeeping;
pub mod interests;
pub mod joining;
pub(super) mod lanes;
pub mod neighbours;
mod opening;
mod ports;
mod presence;
mod queued;
mod ring;
mod signals;
mod spending;
mod standing;
mod together;
pub mod waiting;

use std::{sync::Arc, time::Duration};

use actix::{Actor, ActorContext, Addr, AsyncContext, Context, Handler, SpawnHandle, StreamHandler, dev::SendError};
use tokio::sync::watch;

use self::{
    appends::Appends,
    cursors::Cursors,
    history::History,
    interests::Interests,
    joining::Lookups,
    lanes::Lanes,
    neighbours::{Talk, most_instances},
    opening::Opening,
    ports::Ports,
    presence::Announcements,
    queued::Queued,
    ring::Ring,
    signals::Passing,
    together::Batches,
    waiting::Readers,
};
use super::{
    context::NodeContext,
    directory::{Died, Directory},
    messages::{CarriedOut, Drain, Entered, Fail, Gone, Leave, MemberKey, Order, TellFigures},
    metrics::Held,
    tenants::Tenant,
};
use crate::{
    backbone::{FeedItem, ReadBudget, Stored, Subject},
    model::{
        Epoch, Position, TenantId, gather,
        neighbours::Neighbours,
        record::About,
        roster::{Farewell, Roster},
        tally::Tally,
        trail::Trail,
    },
    wire::{
        Batch,
        entity::Head,
        outgoing::RoomFigures,
        record::{DamagedRecord, Record},
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
    /// Itself, as its outlets know it.
    me: Option<Arc<Entered>>,
    tenant: TenantId,
    tenant_use: Arc<Tenant>,
    context: Arc<NodeContext>,
    directory: Addr<Directory>,
    roster: Roster<MemberKey>,
    neighbours: Neighbours,
    talk: Talk,
    ports: Ports,
    /// What waits until the room has found its place in the log; `None` from then on.
    opening: Option<Opening>,
    /// Which log this room is of; a log made anew gets a new room.
    epoch: Epoch,
    /// The room's last record: everything up to here was applied.
    head: Position,
    /// Records up to here may be gone from the log.
    trimmed_to: Position,
    ring: Ring,
    trail: Trail,
    history: History,
    lookups: Lookups,
    appends: Appends,
    queued: Queued,
    lanes: Lanes,
    batches: Batches,
    interests: Interests,
    /// Set while the feed waits until what it could not hold was read from the log.
    feed_pause: watch::Sender<bool>,
    tally: Tally,
    tally_kept: u64,
    cursors: Cursors,
    announcements: Announcements,
    readers: Readers,
    passing: Passing,
    /// Runs while records wait for others under way.
    gathering: Option<SpawnHandle>,
    /// When a tick is due, on the node's clock.
    tick_due: Option<Duration>,
    /// Set when the directory was asked to let this room go: nobody comes in any more.
    retiring: bool,
    /// When somebody last needed the room, on the node's clock.
    used_at: Duration,
    _counted: Held,
}

impl Room {
    /// A room that will find its place in the log when it starts.
    pub fn new(serial: u64, tenant: TenantId, context: Arc<NodeContext>, directory: Addr<Directory>) -> Self {
        let (me, most) = (context.nodes.me(), most_instances(&context, &tenant));
        Self {
            serial,
            tenant_use: context.tenants.of(&tenant, context.uptime()),
            me: None,
            ring: Ring::new(context.config.rooms.ring_bytes),
            trail: Trail::default(),
            history: History::default(),
            lookups: Lookups::default(),
            appends: Appends::new(context.config.log.queue_appends),
            queued: Queued::default(),
            lanes: Lanes::new(context.config.rooms.entity_bytes),
            batches: Batches::default(),
            interests: Interests::new(&context.config),
            feed_pause: watch::Sender::new(false),
            opening: Some(Opening::default()),
            ports: Ports::new(context.config.rooms.ring_bytes),
            used_at: context.uptime(),
            _counted: Held::one(&context.metrics.rooms),
            tenant,
            context,
            directory,
            roster: Roster::new(me),
            neighbours: Neighbours::new(me, most),
            talk: Talk::default(),
            epoch: Epoch::UNKNOWN,
            head: Position::START,
            trimmed_to: Position::START,
            tally: Tally::default(),
            tally_kept: 0,
            cursors: Cursors::default(),
            announcements: Announcements::default(),
            passing: Passing::default(),
            readers: Readers::default(),
            gathering: None,
            tick_due: None,
            retiring: false,
        }
    }

    fn page_budget(&self) -> ReadBudget {
        ReadBudget { records: PAGE_RECORDS, bytes: self.context.config.rooms.page_bytes }
    }

    /// Applies records from the log, in order; those already applied are skipped.
    fn apply(&mut self, records: Vec<Stored>, ctx: &mut Context<Self>) {
        let head = self.head;
        let fresh: Vec<_> = records.into_iter().skip_while(|record| record.position <= head).collect();
        let followed = self.interests.pick(&fresh);
        let damaged = &self.context.metrics.damaged;
        let records = read_records(
            &self.tenant,
            self.head,
            fresh,
            |stored| self.lanes.see(stored),
            |_| {
                damaged.inc();
            },
        );
        records.iter().for_each(|record| self.tally.apply(record.meta.position, record.counted));
        self.tally_kept += records.len() as u64;
        if let Some(batch) = Batch::new(records) {
            self.head = batch.last();
            let batch = Arc::new(batch);
            self.ring.push(batch.clone());
            self.trail.note(self.head, batch.metas().len(), self.context.uptime());
            self.ports.post_all(|_| Order::Deliver(batch.clone()));
            self.readers.show(self.epoch, self.head);
        }
        if !followed.is_empty() {
            self.tell_followers(followed, ctx);
        }
    }

    /// Lets new records wait a moment for those under way, if that is worth it.
    fn gather(&mut self, ctx: &mut Context<Self>) {
        if self.gathering.is_none()
            && !self.appends.is_idle()
            && let Some(patience) = gather::patience(self.roster.connected_here(), self.context.config.rooms.gather)
        {
            self.gathering = Some(ctx.run_later(patience, |room, ctx| {
                room.gathering = None;
                room.flush(ctx);
            }));
        }
    }

    /// Sends the outlets what waits for them and forgets those that are gone; while records gather, it is left to the end
    /// of that.
    fn flush(&mut self, ctx: &mut Context<Self>) {
        if let Some(gathering) = self.gathering {
            if !self.appends.is_idle() {
                return;
            }
            ctx.cancel_future(gathering);
            self.gathering = None;
        }
        let serial = self.serial;
        let me = self.me.get_or_insert_with(|| Arc::new(Entered { serial, room: ctx.address() }));
        for (instance, key) in self.ports.flush(me, self.epoch) {
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
}

/// Turns stored records into records, chained behind `prev`; what is no record of this room is reported and left out. What
/// is `known` of a record already need not be read.
fn read_records(
    tenant: &TenantId,
    mut prev: Position,
    stored: Vec<Stored>,
    mut known: impl FnMut(&Stored) -> Option<Head>,
    damaged: impl Fn(&Stored),
) -> Vec<Record> {
    let mut records = Vec::with_capacity(stored.len());
    for stored in stored {
        if let Some(head) = known(&stored) {
            let record = head.record(stored.position, prev, stored.body.clone());
            debug_assert_eq!(Ok(&record.meta), read_record(tenant, prev, &stored).as_ref().map(|read| &read.meta));
            prev = stored.position;
            records.push(record);
            continue;
        }
        match read_record(tenant, prev, &stored) {
            Ok(record) => {
                prev = stored.position;
                records.push(record);
            }
            Err(error) => {
                tracing::error!(%tenant, position = %stored.position, %error, "left out of the room");
                damaged(&stored);
            }
        }
    }
    records
}

/// Reads one stored record, which must say of itself what its subject says of it.
pub fn read_record(tenant: &TenantId, prev: Position, stored: &Stored) -> Result<Record, DamagedRecord> {
    let about = match &stored.subject {
        Subject::Event(_) => About::Event,
        Subject::Entity(key) => About::Entity(key.clone()),
    };
    let record = Record::read(tenant, about, (stored.position, prev), stored.body.clone())?;
    match &stored.subject {
        Subject::Event(event_type) if *event_type != record.meta.event_type => Err(DamagedRecord::Foreign),
        Subject::Event(_) | Subject::Entity(_) => Ok(record),
    }
}

impl Actor for Room {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(8192);
        ctx.add_stream(self.appends.answers());
        self.listen_to_journal(ctx);
        self.begin(ctx);
    }
}

impl StreamHandler<FeedItem> for Room {
    fn handle(&mut self, item: FeedItem, ctx: &mut Self::Context) {
        match item {
            FeedItem::Records(records) => {
                self.apply(records, ctx);
                // The answers come right behind the records: one set of orders for both.
                self.take_answers(ctx);
                self.gather(ctx);
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

    fn handle(&mut self, _: CarriedOut, ctx: &mut Self::Context) {
        self.flush(ctx);
    }
}

impl Handler<TellFigures> for Room {
    type Result = ();

    fn handle(&mut self, TellFigures { key }: TellFigures, ctx: &mut Self::Context) {
        if let Some(TellFigures { key }) = self.unless_early(TellFigures { key }) {
            let figures = self.figures();
            self.ports.post(key.outlet, Order::Figures { key, figures });
            self.flush(ctx);
        }
    }
}

impl Handler<Drain> for Room {
    type Result = ();

    fn handle(&mut self, _: Drain, ctx: &mut Self::Context) {
        self.keep_cursors(ctx);
        self.keep_tally();
        self.ports.post_all(|_| Order::SendHome);
        self.readers.send_home();
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
