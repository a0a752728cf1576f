//! What a room does now and then: keeps cursors and tally, declares the missed gone, retires when idle.

use std::mem;

use actix::{ActorContext, ActorFutureExt, AsyncContext, Context, WrapFuture};

use super::{Room, TALLY_EVERY};
use crate::actors::messages::Retire;

impl Room {
    /// Makes sure that a tick comes.
    pub(super) fn tick_later(&mut self, ctx: &mut Context<Self>) {
        if !mem::replace(&mut self.ticking, true) {
            ctx.run_later(self.context.config.rooms.cursor_flush, |room, ctx| {
                room.ticking = false;
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
        let idle = self.roster.is_empty() && self.appends.is_idle() && !self.has_early();
        if !idle {
            self.used_at = self.context.uptime();
        }
        if self.roster.misses_somebody() || self.cursors.any() || self.announcements.any() {
            self.tick_later(ctx);
        } else if idle {
            self.retire_when_due(ctx);
        }
    }

    pub(super) fn retire_when_due(&mut self, ctx: &mut Context<Self>) {
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
