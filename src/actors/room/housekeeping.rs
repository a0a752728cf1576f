//! What a room does now and then: keeps cursors and tally, declares the missed gone, retires when idle.

use std::{mem, time::Duration};

use actix::{ActorContext, ActorFutureExt, AsyncContext, Context, Handler, WrapFuture};

use super::{Room, TALLY_EVERY};
use crate::actors::messages::{Retire, Vacate};

/// A tick that is later than this was not merely held up: the node was away.
const AWAY: Duration = Duration::from_secs(2);

impl Room {
    /// Makes sure that a tick comes.
    pub(super) fn tick_later(&mut self, ctx: &mut Context<Self>) {
        self.tick_after(self.context.config.rooms.cursor_flush, ctx);
    }

    fn tick_after(&mut self, delay: Duration, ctx: &mut Context<Self>) {
        if self.tick_due.is_none() {
            self.tick_due = Some(self.context.uptime() + delay);
            ctx.run_later(delay, |room, ctx| {
                let late = room.tick_due.take().map(|due| room.context.uptime().saturating_sub(due));
                if let Some(away) = late.filter(|late| *late > AWAY) {
                    // Whoever wanted to come back could not.
                    room.roster.wait_longer(away);
                }
                room.tick(ctx);
            });
        }
    }

    /// What is done now and then: keep cursors and tally, declare the missed gone, retire when idle.
    pub(super) fn tick(&mut self, ctx: &mut Context<Self>) {
        self.keep_cursors(ctx);
        self.expire_missed();
        self.sum_up_presence();
        if self.tally_kept >= TALLY_EVERY {
            self.keep_tally();
        }
        self.flush(ctx);
        let idle = self.is_idle();
        if !idle {
            self.used_at = self.context.uptime();
        }
        if self.roster.misses_somebody() || self.cursors.any() || self.announcements.any() {
            self.tick_later(ctx);
        } else if idle {
            self.retire_when_due(ctx);
        } else if self.readers.any() {
            self.look_for_readers_later(ctx);
        }
    }

    fn is_idle(&self) -> bool {
        let is_writing = !(self.appends.is_idle() && self.lanes.is_idle() && self.batches.is_idle());
        self.roster.has_nobody_here() && !is_writing && !self.has_early() && !self.readers.any()
    }

    pub(super) fn retire_when_due(&mut self, ctx: &mut Context<Self>) {
        let idle_for = self.context.uptime().saturating_sub(self.used_at);
        let timeout = self.context.config.rooms.idle_timeout;
        if idle_for < timeout {
            return self.tick_after(timeout - idle_for, ctx);
        }
        self.retire(ctx);
    }

    fn retire(&mut self, ctx: &mut Context<Self>) {
        self.retiring = true;
        // Nobody is here any more, in case the others missed it.
        self.list();
        let asked = self.directory.send(Retire { tenant: self.tenant.clone(), serial: self.serial });
        ctx.wait(asked.into_actor(self).map(|_, room, ctx| {
            // Whoever finds this room from now on is told that it is gone, and asks the directory again.
            tracing::info!(tenant = %room.tenant, "room retired");
            room.keep_tally();
            ctx.stop();
        }));
    }

    pub(super) fn keep_tally(&mut self) {
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

impl Handler<Vacate> for Room {
    type Result = ();

    fn handle(&mut self, _: Vacate, ctx: &mut Self::Context) -> Self::Result {
        if self.is_idle() && !self.retiring {
            self.retire(ctx);
        }
    }
}
