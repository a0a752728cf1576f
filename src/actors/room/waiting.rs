//! Readers over HTTP: event streams and long polls. They pull what they want; the room only shows how far it has come.
//!
//! Owns: that nobody has to ask again and again whether there is something new, and that a room stays while somebody
//! reads along. Must not know: what a reader does with what it gets.

use std::sync::Arc;

use actix::{AsyncContext, Context, Handler, Message};
use tokio::sync::watch;

use super::{RETRY, Room};
use crate::{
    actors::messages::Gone,
    model::{Epoch, Position},
    wire::{Batch, Refusal},
};

/// A request wants to read along; as long as it keeps its seat, the room stays.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Result<Seat, NoSeat>")]
pub struct Attend;

/// Why there is no seat.
#[derive(Clone, Debug)]
pub enum NoSeat {
    /// The room is about to stop: ask the directory for the new one.
    Gone,
    /// The tenant has all its connections.
    Taken(Refusal),
}

/// Show a reader what follows after a position; [`Gone`] also if the room is of another log.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Result<Following, Gone>")]
pub struct ReadOn {
    /// The log that the position is of.
    pub epoch: Epoch,
    /// Where the reader stands.
    pub after: Position,
    /// About how much it takes.
    pub bytes: usize,
}

/// What follows after a position.
#[derive(Clone, Debug)]
pub enum Following {
    /// These; the first may begin before the position. None: nothing yet.
    Here(Vec<Arc<Batch>>),
    /// The room reaches back to here only: what is before it is in the log.
    Before(Position),
}

/// Where a room stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The log it is of; unknown until the room has found its place in it.
    pub epoch: Epoch,
    /// Its last record.
    pub head: Position,
    /// Whether everybody is sent home.
    pub sends_home: bool,
}

/// A reader's hold on a room: shows where it stands, and ends with the room.
pub type Seat = watch::Receiver<Standing>;

/// Who reads along: as many as there are seats in somebody's hands, so nobody has to say goodbye.
#[derive(Debug)]
pub(super) struct Readers {
    standing: watch::Sender<Standing>,
    /// Set while the room will look whether the last one has gone.
    looking: bool,
}

impl Default for Readers {
    fn default() -> Self {
        let nowhere = Standing { epoch: Epoch::UNKNOWN, head: Position::START, sends_home: false };
        Self { standing: watch::Sender::new(nowhere), looking: false }
    }
}

impl Readers {
    pub(super) fn count(&self) -> usize {
        self.standing.receiver_count()
    }

    /// Whether somebody reads along.
    pub(super) fn any(&self) -> bool {
        self.count() > 0
    }

    /// Shows how far the room has come.
    pub(super) fn show(&self, epoch: Epoch, head: Position) {
        self.standing.send_modify(|standing| (standing.epoch, standing.head) = (epoch, head));
    }

    /// Shows that the node goes away.
    pub(super) fn send_home(&self) {
        self.standing.send_modify(|standing| standing.sends_home = true);
    }
}

impl Room {
    /// The tenant's connections: its instances on all nodes, and who reads along here.
    pub(super) fn connections(&self) -> usize {
        self.roster.connected() + self.readers.count()
    }

    /// Looks later whether the room can be let go: a reader that goes says nothing.
    pub(super) fn look_for_readers_later(&mut self, ctx: &mut Context<Self>) {
        if !self.readers.looking {
            self.readers.looking = true;
            let pause = self.context.config.rooms.idle_timeout.max(RETRY);
            ctx.run_later(pause, |room, ctx| {
                room.readers.looking = false;
                room.tick_later(ctx);
            });
        }
    }
}

impl Handler<Attend> for Room {
    type Result = Result<Seat, NoSeat>;

    fn handle(&mut self, _: Attend, ctx: &mut Context<Self>) -> Self::Result {
        self.is_open().map_err(|Gone| NoSeat::Gone)?;
        self.used_at = self.context.uptime();
        let limit = self.tenant_use.limits().connections_per_tenant;
        if self.connections() >= limit as usize {
            let message = format!("this tenant has its {limit} connections; close one first");
            return Err(NoSeat::Taken(Refusal::full(message)));
        }
        self.look_for_readers_later(ctx);
        Ok(self.readers.standing.subscribe())
    }
}

impl Handler<ReadOn> for Room {
    type Result = Result<Following, Gone>;

    fn handle(&mut self, ReadOn { epoch, after, bytes }: ReadOn, _: &mut Context<Self>) -> Self::Result {
        self.is_open()?;
        if self.epoch != epoch {
            return Err(Gone);
        }
        Ok(match self.ring.after(after, bytes) {
            Some(batches) => Following::Here(batches),
            None => Following::Before(self.ring.from()),
        })
    }
}
