//! The room's place in the log: how it is found, what waits until it is, and how a hole in the feed is filled.
//!
//! Owns: that a room serves what it can while the log is out of reach. Publishes are taken from the first moment on; those
//! who join wait, in order, and so does whatever names a position.

use std::{collections::VecDeque, time::Duration};

use actix::{ActorFutureExt, AsyncContext, Context, Handler, ResponseFuture, WrapFuture};
use futures_util::stream;
use tokio::sync::oneshot;

use super::{
    RETRY, Room,
    interests::Ask,
    neighbours::{Heard, ask_around},
    read_records,
};
use crate::{
    actors::messages::{Fetch, Join, MemberKey, Order, Report, RoomReport, TellFigures},
    backbone::{Answer, BackboneError, Feed, Page, Signals},
    model::{Position, tally::Tally},
    wire::outgoing::Instance,
};

/// The longest pause before the log is asked again, however long it has been out of reach: somebody waits.
const LONGEST_RETRY: Duration = Duration::from_millis(400);

/// What waits until the room has found its place.
#[derive(Debug, Default)]
pub(super) struct Opening {
    /// How often the log could not be read.
    failures: u32,
    early: VecDeque<Early>,
    /// Answers that name a position.
    settled: Vec<(MemberKey, Order)>,
    /// Who asked for the room's account while the first attempt ran.
    reports: Vec<oneshot::Sender<RoomReport>>,
}

/// What came too early; never more than one join a connection, and what it asked.
#[derive(Debug)]
pub(super) enum Early {
    Join(Box<Join>),
    Fetch(Fetch),
    TellFigures(TellFigures),
    Ask(Ask),
}

impl From<Join> for Early {
    fn from(join: Join) -> Self {
        Self::Join(Box::new(join))
    }
}

impl From<Fetch> for Early {
    fn from(fetch: Fetch) -> Self {
        Self::Fetch(fetch)
    }
}

impl From<TellFigures> for Early {
    fn from(tell: TellFigures) -> Self {
        Self::TellFigures(tell)
    }
}

impl From<Ask> for Early {
    fn from(ask: Ask) -> Self {
        Self::Ask(ask)
    }
}

impl Early {
    fn member(&self) -> MemberKey {
        match self {
            Self::Join(join) => join.key,
            Self::Fetch(fetch) => fetch.key,
            Self::TellFigures(tell) => tell.key,
            Self::Ask(ask) => ask.key,
        }
    }
}

/// What a room begins with.
struct Beginning {
    feed: Feed,
    head: Position,
    trimmed_to: Position,
    tally: Tally,
    signals: Signals,
    heard: Heard,
}

impl Room {
    /// Finds the place in the log, now or later.
    pub(super) fn begin(&mut self, ctx: &mut Context<Self>) {
        let (context, tenant, budget) = (self.context.clone(), self.tenant.clone(), self.page_budget());
        let beginning = async move {
            let backbone = &context.backbone;
            let feed = backbone.follow(&tenant).await?;
            let last = backbone.last_at(&tenant, feed.after).await?;
            let trimmed_to = backbone.extent(&tenant).await?.trimmed_to;
            // Of a log of which nothing is left the end is where trimming ended: a cursor before that would not be honoured later.
            let head = last.max(trimmed_to.min(feed.after));
            let mut tally = backbone.tally(&tenant).await?.and_then(Tally::from_bytes).unwrap_or_default();
            // What a crash kept from being counted.
            while tally.through < head {
                let page = backbone.read(&tenant, tally.through, budget).await?;
                let Some(last) = page.records.last().map(|record| record.position) else { break };
                let records = read_records(&tenant, tally.through, page.records, |_| None, |_| {});
                records.iter().for_each(|record| tally.apply(record.meta.position, record.counted));
                tally.through = tally.through.max(last);
            }
            let (signals, heard) = ask_around(&context, &tenant).await?;
            Ok::<_, BackboneError>(Beginning { feed, head, trimmed_to, tally, signals, heard })
        };
        ctx.spawn(beginning.into_actor(self).map(|beginning, room, ctx| match beginning {
            Ok(beginning) => room.open(beginning, ctx),
            Err(error) => room.begin_later(&error, ctx),
        }));
    }

    fn begin_later(&mut self, error: &BackboneError, ctx: &mut Context<Self>) {
        let known = self.report();
        let Some(opening) = &mut self.opening else { return };
        for report in opening.reports.drain(..) {
            // Whoever asked may have gone.
            let _ = report.send(known.clone());
        }
        if opening.failures == 0 {
            tracing::warn!(tenant = %self.tenant, %error, "room cannot read the log yet; trying again");
        }
        let pause = (RETRY * opening.failures.saturating_add(1)).min(LONGEST_RETRY);
        opening.failures = opening.failures.saturating_add(1);
        ctx.run_later(pause, |room, ctx| room.begin(ctx));
        // It may stay like this until nobody wants it any more.
        self.tick_later(ctx);
    }

    fn open(&mut self, beginning: Beginning, ctx: &mut Context<Self>) {
        let Beginning { feed, head, trimmed_to, tally, signals, heard } = beginning;
        (self.epoch, self.head, self.trimmed_to, self.tally) = (feed.epoch, head, trimmed_to, tally);
        self.ring.restart(head);
        self.trail.restart(head, self.context.uptime());
        self.readers.show(self.epoch, head);
        tracing::info!(tenant = %self.tenant, epoch = %self.epoch, %head, "room opened");
        self.follow(feed, ctx);
        self.listen_to_neighbours(signals, heard, ctx);
        let Opening { early, settled, reports, .. } = self.opening.take().unwrap_or_default();
        for early in early {
            match early {
                // Cannot say that the room is gone: it has just opened.
                Early::Join(join) => drop(Handler::<Join>::handle(self, *join, ctx)),
                Early::Fetch(fetch) => Handler::<Fetch>::handle(self, fetch, ctx),
                Early::TellFigures(tell) => Handler::<TellFigures>::handle(self, tell, ctx),
                Early::Ask(ask) => Handler::<Ask>::handle(self, ask, ctx),
            }
        }
        settled.into_iter().for_each(|(key, order)| self.ports.post(key.outlet, order));
        for report in reports {
            // Whoever asked may have gone.
            let _ = report.send(self.report());
        }
        self.flush(ctx);
        self.tick_later(ctx);
    }

    fn follow(&mut self, feed: Feed, ctx: &mut Context<Self>) {
        let paused = self.feed_pause.subscribe();
        ctx.add_stream(stream::unfold((feed, paused), |(mut feed, mut paused)| async move {
            // Fails only when the room is gone, and this with it.
            let _ = paused.wait_for(|paused| !paused).await;
            let item = feed.next().await;
            Some((item, (feed, paused)))
        }));
    }

    /// Reads from the log what the feed could not hold. Until that is done nothing more is taken from the feed: its next
    /// records lie behind the hole.
    pub(super) fn recover(&mut self, ctx: &mut Context<Self>) {
        self.feed_pause.send_replace(true);
        let read = self.context.backbone.read(&self.tenant, self.head, self.page_budget());
        ctx.spawn(read.into_actor(self).map(|page, room, ctx| match page {
            Ok(Page { records, more, trimmed_to }) => {
                room.trimmed_to = room.trimmed_to.max(trimmed_to);
                room.apply(records, ctx);
                room.flush(ctx);
                if more {
                    room.recover(ctx);
                } else {
                    room.feed_pause.send_replace(false);
                }
            }
            Err(error) => {
                tracing::warn!(tenant = %room.tenant, %error, "room cannot read the log; trying again");
                ctx.run_later(RETRY, |room, ctx| room.recover(ctx));
            }
        }));
    }

    /// Gives a message back if the room can handle it now; else it is handled once the room has opened.
    pub(super) fn unless_early<M: Into<Early>>(&mut self, message: M) -> Option<M> {
        match &mut self.opening {
            None => Some(message),
            Some(opening) => {
                opening.early.push_back(message.into());
                None
            }
        }
    }

    /// Whether somebody waits for the room to open.
    pub(super) fn has_early(&self) -> bool {
        self.opening.as_ref().is_some_and(|opening| !opening.early.is_empty())
    }

    /// A member has left.
    pub(super) fn forget_early(&mut self, key: MemberKey) {
        if let Some(opening) = &mut self.opening {
            opening.early.retain(|early| early.member() != key);
            opening.settled.retain(|(member, _)| *member != key);
        }
    }

    /// Sends a publish's end on its way; one that names a position waits until the room knows which log it is of.
    pub(super) fn post_settled(&mut self, key: MemberKey, order: Order) {
        let names_position = matches!(
            &order,
            Order::Settled { answer: Ok(Answer::Appended(_)), .. } | Order::Drained { .. } | Order::Operated { .. }
        );
        match &mut self.opening {
            Some(opening) if names_position => opening.settled.push((key, order)),
            _ => self.ports.post(key.outlet, order),
        }
    }

    fn report(&self) -> RoomReport {
        let instances = self.roster.iter().map(|(instance, presence)| Instance::new(instance, presence)).collect();
        let connections = self.roster.connections();
        RoomReport {
            figures: self.figures(),
            instances,
            connections,
            attending: self.connections(),
            subscriptions: self.interests.count(),
            epoch: self.epoch,
            position: self.head,
        }
    }
}

impl Handler<Report> for Room {
    type Result = ResponseFuture<RoomReport>;

    fn handle(&mut self, _: Report, _: &mut Context<Self>) -> Self::Result {
        let known = self.report();
        let Some(opening) = self.opening.as_mut().filter(|opening| opening.failures == 0) else {
            return Box::pin(async { known });
        };
        let (to, report) = oneshot::channel();
        opening.reports.push(to);
        Box::pin(async { report.await.unwrap_or(known) })
    }
}
