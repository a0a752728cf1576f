//! The cursor, and the proof that nothing is missing between what was seen and what came.

use crate::model::{Cursor, Epoch, Position};

use super::{
    incoming::{Incoming, Place},
    options::Echo,
};

/// A record between what was seen and what came is missing: connect again with the cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a record is missing: after {last} came {seq}, whose predecessor is {prev}")]
pub struct Gap {
    /// The last position that was seen.
    pub last: u64,
    /// The position that came.
    pub seq: u64,
    /// The position before it.
    pub prev: u64,
}

/// What a message means for the reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Novelty {
    /// Not seen before.
    New,
    /// A record that was seen already: drop it.
    Repeated,
}

/// Follows one room over any number of connections.
#[derive(Clone, Debug)]
pub struct Tracker {
    echo: Echo,
    cursor: Option<Cursor>,
    /// Own records that were answered close the chain, but move the cursor only where that cannot skip anything.
    acknowledged: u64,
    /// Between `caught_up` and `lagging` an ack comes behind every record before it.
    live: bool,
}

impl Tracker {
    /// Nothing seen yet, unless the caller kept a cursor.
    pub fn new(echo: Echo, cursor: Option<Cursor>) -> Self {
        Self { echo, cursor, acknowledged: 0, live: false }
    }

    /// Everything up to here has been seen.
    pub fn cursor(&self) -> Option<Cursor> {
        self.cursor
    }

    /// Whether everything up to the present has been seen.
    pub fn is_live(&self) -> bool {
        self.live
    }

    /// Takes one message in the order in which it came.
    pub fn see(&mut self, message: &Incoming) -> Result<Novelty, Gap> {
        match message {
            Incoming::Ready(ready) => self.start(ready.epoch, ready.resume.after),
            Incoming::Resync(resync) => {
                self.acknowledged = 0;
                self.cursor = Some(resync.cursor);
            }
            Incoming::Record(place) => return self.record(*place),
            Incoming::Advance(advance) => {
                self.joins(advance.from, advance.to)?;
                self.move_to(advance.to);
            }
            Incoming::CaughtUp(at) => {
                self.live = true;
                self.move_to(at.position);
            }
            Incoming::Lagging => self.live = false,
            Incoming::Ack(ack) | Incoming::Stored(ack) => {
                self.acknowledged = self.acknowledged.max(ack.seq);
                // With echo the record itself moves the cursor; a repeat's ack may overtake what is still to come.
                if self.live && !ack.duplicate && self.echo == Echo::AckOnly && ack.seq > self.last() {
                    self.set(ack.seq, Some(ack.event_id.fingerprint()));
                }
            }
            // An answer to an operation stands in its record's place, like an ack.
            Incoming::Fate(fate) => self.acknowledged = self.acknowledged.max(fate.version),
            // A heartbeat's position must not move the cursor: it would cover a lost record.
            Incoming::Heartbeat
            | Incoming::Draining(_)
            | Incoming::Error(_)
            | Incoming::Queued(_)
            | Incoming::Other => {}
        }
        Ok(Novelty::New)
    }

    fn start(&mut self, epoch: Epoch, after: u64) {
        self.live = false;
        self.acknowledged = 0;
        let same = self.cursor.is_some_and(|c| c.epoch == epoch && c.position.0 == after);
        if !same {
            self.cursor = Some(Cursor { epoch, position: Position(after), fingerprint: None });
        }
    }

    fn record(&mut self, place: Place) -> Result<Novelty, Gap> {
        if place.seq <= self.last() {
            return Ok(Novelty::Repeated);
        }
        self.joins(place.prev, place.seq)?;
        self.set(place.seq, Some(place.event_id.fingerprint()));
        Ok(Novelty::New)
    }

    fn joins(&self, prev: u64, seq: u64) -> Result<(), Gap> {
        let last = self.last().max(self.acknowledged);
        if prev <= last { Ok(()) } else { Err(Gap { last, seq, prev }) }
    }

    fn last(&self) -> u64 {
        self.cursor.map_or(0, |c| c.position.0)
    }

    fn move_to(&mut self, position: u64) {
        if position > self.last() {
            self.set(position, None);
        }
    }

    fn set(&mut self, position: u64, fingerprint: Option<crate::model::Fingerprint>) {
        if let Some(cursor) = &mut self.cursor {
            *cursor = Cursor { epoch: cursor.epoch, position: Position(position), fingerprint };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::incoming::{Ack, Advance, At, Frame, Queued};
    use super::*;

    fn record(prev: u64, seq: u64) -> Incoming {
        let event_id = format!("{seq:08x}-0000-4000-8000-000000000000").parse().expect("an id");
        Incoming::Record(Place { seq, prev, event_id })
    }

    fn ack(seq: u64, duplicate: bool) -> Incoming {
        let event_id = format!("{seq:08x}-0000-4000-8000-000000000000").parse().expect("an id");
        Incoming::Ack(Ack { event_id, seq, duplicate })
    }

    fn ready(after: u64) -> Incoming {
        let text = format!(
            r#"{{"event_type":"session_ready","data":{{"epoch":"00000000000000ff","position":50,"resume":{{"after":{after}}},
            "heartbeat":{{"interval_ms":1,"timeout_ms":1}},"limits":{{"max_message_bytes":1,"publishes_in_flight":1}}}}}}"#
        );
        Frame::parse(text.into()).expect("ready").message
    }

    fn joined(echo: Echo) -> Tracker {
        let mut tracker = Tracker::new(echo, None);
        for message in [ready(17), Incoming::CaughtUp(At { position: 17 })] {
            assert_eq!(tracker.see(&message), Ok(Novelty::New));
        }
        tracker
    }

    fn cursor(tracker: &Tracker) -> String {
        tracker.cursor().expect("a cursor").to_string()
    }

    #[test]
    fn records_with_holes_between_them_are_a_chain_and_move_the_cursor() {
        let mut tracker = joined(Echo::AckOnly);
        assert_eq!(tracker.see(&record(17, 19)), Ok(Novelty::New));
        // Trimming may have removed the record that `prev` meant when we joined.
        assert_eq!(tracker.see(&record(5, 25)), Ok(Novelty::New));
        assert_eq!(tracker.see(&record(19, 25)), Ok(Novelty::Repeated));
        assert_eq!(cursor(&tracker), "00000000000000ff.25.00000019");
    }

    #[test]
    fn a_missing_record_is_a_gap_and_leaves_the_cursor_where_it_was() {
        let mut tracker = joined(Echo::AckOnly);
        assert_eq!(tracker.see(&record(18, 19)), Err(Gap { last: 17, seq: 19, prev: 18 }));
        assert_eq!(
            tracker.see(&Incoming::Advance(Advance { from: 18, to: 20 })),
            Err(Gap { last: 17, seq: 20, prev: 18 })
        );
        assert_eq!(tracker.see(&Incoming::Heartbeat), Ok(Novelty::New));
        assert_eq!(cursor(&tracker), "00000000000000ff.17");
    }

    #[test]
    fn advance_and_ack_close_the_chain() {
        let mut tracker = joined(Echo::AckOnly);
        assert_eq!(tracker.see(&Incoming::Advance(Advance { from: 17, to: 20 })), Ok(Novelty::New));
        assert_eq!(tracker.see(&ack(21, false)), Ok(Novelty::New));
        assert_eq!(cursor(&tracker), "00000000000000ff.21.00000015");
        assert_eq!(tracker.see(&record(21, 22)), Ok(Novelty::New));
    }

    #[test]
    fn what_was_queued_counts_as_seen_when_it_is_stored() {
        let mut tracker = joined(Echo::AckOnly);
        let event_id = "00000015-0000-4000-8000-000000000000".parse().expect("an id");
        assert_eq!(tracker.see(&Incoming::Queued(Queued { event_id })), Ok(Novelty::New));
        assert_eq!(cursor(&tracker), "00000000000000ff.17");
        assert_eq!(tracker.see(&record(17, 20)), Ok(Novelty::New));
        let Incoming::Ack(stored) = ack(21, false) else { unreachable!("it was made as one") };
        assert_eq!(tracker.see(&Incoming::Stored(stored)), Ok(Novelty::New));
        assert_eq!(cursor(&tracker), "00000000000000ff.21.00000015");
        assert_eq!(tracker.see(&record(21, 22)), Ok(Novelty::New));
    }

    #[test]
    fn an_ack_never_skips_what_is_still_to_come() {
        let mut replaying = Tracker::new(Echo::AckOnly, None);
        assert_eq!(replaying.see(&ready(17)), Ok(Novelty::New));
        assert_eq!(replaying.see(&ack(22, true)), Ok(Novelty::New));
        assert_eq!(replaying.see(&record(17, 18)), Ok(Novelty::New));
        let mut echoing = joined(Echo::Records);
        assert_eq!(echoing.see(&ack(18, false)), Ok(Novelty::New));
        assert_eq!(echoing.see(&record(17, 18)), Ok(Novelty::New));
        assert_eq!(cursor(&echoing), "00000000000000ff.18.00000012");
    }

    #[test]
    fn reconnecting_at_the_same_place_keeps_the_fingerprint() {
        let mut tracker = joined(Echo::AckOnly);
        assert_eq!(tracker.see(&record(17, 19)), Ok(Novelty::New));
        assert_eq!(tracker.see(&ready(19)), Ok(Novelty::New));
        assert_eq!(cursor(&tracker), "00000000000000ff.19.00000013");
        assert!(!tracker.is_live());
    }
}
