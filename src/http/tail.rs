//! Reads a room on for a request that stays: from the room's memory if that reaches back so far, else from the log.
//!
//! Owns: invariant **seam** for readers without a socket. They pull: whoever is slow asks less often, and what it has not
//! asked for yet costs nothing. Each step says what follows after one place in one log, whichever of the two it comes
//! from, so history and what is new meet without gap or repeat. Must not know: what becomes of the records.

use std::{sync::Arc, time::Duration};

use actix::Addr;
use actix_web::web::Data;
use tokio::time::sleep;

use super::{problem, server::Shared};
use crate::{
    actors::{
        context::NodeContext,
        messages::{Enter, Entered, Gone, Report},
        room::{
            Room,
            joining::place_for_request,
            read_record,
            waiting::{Attend, Following, NoSeat, ReadOn, Seat, Standing},
        },
    },
    backbone::{BackboneError, Page, ReadBudget},
    model::{
        Cursor, Epoch, Position, TenantId,
        resume::{ResyncReason, Since, Start},
    },
    wire::{Batch, Code, Refusal, outgoing::RoomFigures},
};

/// About how much is read at once, in bytes of bodies.
const PAGE_BYTES: usize = 128 * 1024;
/// Records in one page of the log.
const PAGE_RECORDS: usize = 4096;
/// How long to wait before something is tried again.
pub(super) const PAUSE: Duration = Duration::from_secs(1);
/// When somebody may try again who found the node full.
const FULL: Duration = Duration::from_secs(5);

/// What follows.
#[derive(Debug)]
pub(super) enum Step {
    /// Records in order, the first ones perhaps at or before the reader's place; with the place behind them.
    Records(Vec<Arc<Batch>>, Position),
    /// Nothing yet.
    Nothing,
    /// The reader's place, named here, is no good any more: it has a new one.
    Resync(ResyncReason, Cursor),
    /// The node goes away; said once.
    SentHome,
}

/// Why nothing follows.
#[derive(Debug)]
pub(super) enum Stop {
    /// There is no place for a reader.
    Refused(Refusal),
    /// The log cannot be read now.
    Unreadable(BackboneError),
}

impl From<BackboneError> for Stop {
    fn from(error: BackboneError) -> Self {
        Self::Unreadable(error)
    }
}

impl From<Stop> for Refusal {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Refused(refusal) => refusal,
            Stop::Unreadable(error) => problem::log_unavailable(&error),
        }
    }
}

/// Whether the log leads on from a reader's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ground {
    Checked,
    /// It may have been made anew or restored since: that is why rooms end.
    Unchecked,
}

/// One of the connections that this node may have.
struct Slot(Arc<NodeContext>);

impl Slot {
    fn take(context: &Arc<NodeContext>) -> Result<Self, Refusal> {
        if !context.connections.take(context.config.limits.connections_per_node as u64) {
            let refusal = Refusal::new(Code::LimitReached, "this node has all the connections it may have");
            return Err(refusal.after(FULL));
        }
        Ok(Self(context.clone()))
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.connections.give_back();
    }
}

/// Where reading begins; what a good cursor says of its record is kept.
pub(super) fn beginning(since: &Since, start: Start, epoch: Epoch) -> Cursor {
    match since {
        Since::Cursor(cursor) if start.resync.is_none() => *cursor,
        _ => Cursor { epoch, position: start.after, fingerprint: None },
    }
}

/// A reader at a place in a room.
pub(super) struct Tail {
    shared: Data<Shared>,
    tenant: TenantId,
    place: Cursor,
    /// The log was known to reach to here.
    end: Position,
    seat: Option<(Arc<Entered>, Seat)>,
    standing_on: Ground,
    sent_home: bool,
    _slot: Slot,
}

impl Tail {
    /// Takes a seat in the tenant's room; where reading begins is said with [`Tail::go_to`].
    pub(super) async fn enter(shared: &Data<Shared>, tenant: TenantId) -> Result<Self, Refusal> {
        let slot = Slot::take(&shared.context)?;
        let place = Cursor { epoch: Epoch::UNKNOWN, position: Position::START, fingerprint: None };
        let (shared, end) = (shared.clone(), Position::START);
        let (standing_on, sent_home) = (Ground::Checked, false);
        let mut tail = Self { shared, tenant, place, end, seat: None, standing_on, sent_home, _slot: slot };
        tail.sit_down().await?;
        Ok(tail)
    }

    /// Stands at a place; the log is known to reach to `end`.
    pub(super) fn go_to(&mut self, place: Cursor, end: Position) {
        (self.place, self.end) = (place, end);
    }

    /// Everything up to a place has been dealt with.
    pub(super) fn pass(&mut self, place: Cursor) {
        if place.position > self.place.position {
            self.place = place;
        }
    }

    /// Where it stands.
    pub(super) fn place(&self) -> Cursor {
        self.place
    }

    /// How far the room is known to reach, at least to where this reader stands.
    pub(super) fn known_end(&self) -> Position {
        let head = self.standing().filter(|(_, standing)| standing.epoch == self.place.epoch);
        head.map_or(self.end, |(_, standing)| standing.head.max(self.end)).max(self.place.position)
    }

    /// The room's figures, if it can tell them.
    pub(super) async fn figures(&self) -> Option<RoomFigures> {
        let (room, _) = self.standing()?;
        room.send(Report).await.ok().map(|report| report.figures)
    }

    /// The room and where it stands; `None` once it has ended.
    fn standing(&self) -> Option<(Addr<Room>, Standing)> {
        let (entered, seat) = self.seat.as_ref()?;
        seat.has_changed().is_ok().then(|| (entered.room.clone(), *seat.borrow()))
    }

    async fn sit_down(&mut self) -> Result<(), Refusal> {
        // Given up first: a seat in a room that has ended must not count beside the new one.
        self.seat = None;
        let away = || Refusal::new(Code::Draining, "the node is going away; come back later");
        loop {
            let entered = self.shared.addresses.directory.send(Enter(self.tenant.clone()));
            let entered = entered.await.map_err(|_| away())??;
            match entered.room.send(Attend).await {
                Ok(Ok(seat)) => {
                    self.seat = Some((entered, seat));
                    return Ok(());
                }
                Ok(Err(NoSeat::Taken(refusal))) => return Err(refusal),
                // The room went away in between; the directory has the next one.
                Ok(Err(NoSeat::Gone)) | Err(_) => {}
            }
        }
    }

    /// What follows after the reader's place. Whoever has dealt with records says so with [`Tail::pass`].
    pub(super) async fn next(&mut self) -> Result<Step, Stop> {
        loop {
            let Some((room, standing)) = self.standing() else {
                self.standing_on = Ground::Unchecked;
                self.sit_down().await.map_err(Stop::Refused)?;
                continue;
            };
            if self.standing_on == Ground::Unchecked
                && let Some(resync) = self.check_place().await?
            {
                return Ok(resync);
            }
            if standing.sends_home && !self.sent_home {
                self.sent_home = true;
                return Ok(Step::SentHome);
            }
            let after = self.place.position;
            if standing.epoch == self.place.epoch && standing.head > after {
                match room.send(ReadOn { epoch: standing.epoch, after, bytes: self.page_bytes() }).await {
                    Ok(Ok(Following::Here(batches))) => {
                        let reached = batches.last().map_or(after, |batch| batch.last());
                        return Ok(Step::Records(batches, reached));
                    }
                    Ok(Ok(Following::Before(from))) => return self.read_log(Some(from)).await,
                    Ok(Err(Gone)) | Err(_) => self.seat = None,
                }
            } else if standing.epoch == self.place.epoch || standing.epoch == Epoch::UNKNOWN {
                // The room is not further than this reader, or not open yet; the log may be.
                return if after < self.end { self.read_log(None).await } else { Ok(Step::Nothing) };
            } else {
                if let Some(resync) = self.check_place().await? {
                    return Ok(resync);
                }
                // The place is good, so it is the room that is behind: it ends in a moment.
                sleep(PAUSE).await;
                self.seat = None;
            }
        }
    }

    fn page_bytes(&self) -> usize {
        self.shared.context.config.rooms.page_bytes.min(PAGE_BYTES)
    }

    /// Waits until [`Tail::next`] may say something else than that there is nothing.
    pub(super) async fn news(&mut self) {
        let (place, sent_home) = (self.place, self.sent_home);
        let Some((_, seat)) = &mut self.seat else { return };
        let is_news = |standing: &Standing| {
            let follows = standing.epoch != place.epoch || standing.head > place.position;
            (standing.epoch != Epoch::UNKNOWN && follows) || (standing.sends_home && !sent_home)
        };
        // Fails when the room has ended: the next step finds another one.
        let _ = seat.wait_for(is_news).await;
    }

    /// Looks whether the log still leads on from here.
    async fn check_place(&mut self) -> Result<Option<Step>, Stop> {
        let requested = self.place;
        let since = Since::Cursor(requested);
        let (start, log) = place_for_request(&self.shared.context, &self.tenant, &since).await?;
        self.end = log.end;
        self.standing_on = Ground::Checked;
        let Some(reason) = start.resync else { return Ok(None) };
        self.place = Cursor { epoch: log.epoch, position: start.after, fingerprint: None };
        Ok(Some(Step::Resync(reason, requested)))
    }

    /// Reads from the log; the room, if it was asked, reaches back to `room_from`.
    async fn read_log(&mut self, room_from: Option<Position>) -> Result<Step, Stop> {
        let (context, after) = (&self.shared.context, self.place.position);
        let backbone = &context.backbone;
        let prev = backbone.last_at(&self.tenant, after).await?;
        let budget = ReadBudget { records: PAGE_RECORDS, bytes: self.page_bytes() };
        let Page { records, trimmed_to, .. } = backbone.read(&self.tenant, after, budget).await?;
        if backbone.epoch(&self.tenant) != self.place.epoch {
            // Made anew meanwhile: what was read is of another log.
            self.seat = None;
            return Ok(Step::Records(Vec::new(), after));
        }
        if trimmed_to > after {
            let requested = self.place;
            self.place = Cursor { position: trimmed_to, fingerprint: None, ..requested };
            return Ok(Step::Resync(ResyncReason::Trimmed, requested));
        }
        context.metrics.count_resume("log");
        let Some(reached) = records.last().map(|record| record.position) else {
            // Nothing there: whatever follows begins where the room's memory does.
            self.end = after;
            return Ok(Step::Records(Vec::new(), room_from.unwrap_or(after)));
        };
        let mut chained = Vec::with_capacity(records.len());
        let mut before = prev;
        for stored in records {
            // A damaged body is left out here as in the room, which reports it.
            if let Ok(record) = read_record(&self.tenant, before, &stored) {
                before = stored.position;
                chained.push(record);
            }
        }
        Ok(Step::Records(Batch::new(chained).map(Arc::new).into_iter().collect(), reached))
    }
}
