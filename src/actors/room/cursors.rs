//! How far each instance has come, for those that come back without a cursor of their own.
//!
//! Owns: which cursors the log does not have yet. Until it says that it does, they count from here: an instance that is
//! back sooner than its cursor is written would else start at the latest and lose what it missed.

use std::{collections::HashMap, mem};

use actix::{ActorFutureExt, AsyncContext, Context, Handler, WrapFuture};

use super::Room;
use crate::{
    actors::messages::Acknowledged,
    backbone::{CursorUpdate, Health},
    model::{InstanceId, Position},
};

/// Cursors on their way to the log.
#[derive(Debug, Default)]
pub(super) struct Cursors {
    moved: HashMap<InstanceId, Position>,
    /// Given to the log, which has not answered yet.
    writing: HashMap<InstanceId, Position>,
}

impl Cursors {
    /// Whether the log lacks some.
    pub(super) fn any(&self) -> bool {
        !(self.moved.is_empty() && self.writing.is_empty())
    }

    /// Where an instance stands, as far as the log may not know it yet.
    pub(super) fn of(&self, instance: &InstanceId) -> Option<Position> {
        self.moved.get(instance).max(self.writing.get(instance)).copied()
    }

    /// Notes where an instance began, unless more is known of it.
    pub(super) fn begin(&mut self, instance: InstanceId, at: Position) {
        self.moved.entry(instance).or_insert(at);
    }

    fn advance(&mut self, instance: InstanceId, to: Position) {
        let kept = self.moved.entry(instance).or_default();
        *kept = to.max(*kept);
    }
}

impl Handler<Acknowledged> for Room {
    type Result = ();

    fn handle(&mut self, acknowledged: Acknowledged, ctx: &mut Context<Self>) {
        let Acknowledged { key, instance, position } = acknowledged;
        // A client cannot have seen what the room has not: a cursor from nowhere would lose it everything up to there.
        if position > self.head || !self.roster.is_member(&instance, key) {
            return;
        }
        self.cursors.advance(instance, position);
        self.tick_later(ctx);
    }
}

impl Room {
    /// Gives the log what it lacks; one set at a time.
    pub(super) fn keep_cursors(&mut self, ctx: &mut Context<Self>) {
        if self.cursors.moved.is_empty() || !self.cursors.writing.is_empty() {
            return;
        }
        if self.context.backbone.health_of(&self.tenant) != Health::Serving {
            return; // they count from here until then
        }
        let kept = self.context.backbone.keep_cursors(self.moved_cursors());
        self.cursors.writing = mem::take(&mut self.cursors.moved);
        ctx.spawn(kept.into_actor(self).map(|kept, room, _| {
            let written = mem::take(&mut room.cursors.writing);
            if let Err(error) = kept {
                tracing::warn!(tenant = %room.tenant, %error, "cursors were not kept; trying again");
                written.into_iter().for_each(|(instance, position)| room.cursors.advance(instance, position));
            }
        }));
    }

    /// A dying room's last words: queued at once, ahead of whatever the next room does.
    pub(super) fn hand_over_cursors(&self) {
        if !self.cursors.moved.is_empty() {
            // Nobody is left to hear how it ended.
            drop(self.context.backbone.keep_cursors(self.moved_cursors()));
        }
    }

    fn moved_cursors(&self) -> Vec<CursorUpdate> {
        let update = |(instance, position): (&InstanceId, &Position)| CursorUpdate {
            tenant: self.tenant.clone(),
            instance: instance.clone(),
            epoch: self.epoch,
            position: *position,
        };
        self.cursors.moved.iter().map(update).collect()
    }
}
