//! When a room came how far: what a place in it lies behind, in records and in time.
//!
//! Owns: that this is bounded. What is older is known more coarsely, so the error is a share of the age and the memory stays
//! what it is. Must not know: who stands where.

use std::{collections::VecDeque, time::Duration};

use super::Position;

/// Marks that are kept.
const MOST: usize = 96;
/// How many are left at most when some are joined: so few that it is seldom done.
const LEFT: usize = 80;
/// What comes within this time is one mark.
const STEP: Duration = Duration::from_millis(50);

/// The room came this far.
#[derive(Clone, Copy, Debug)]
struct Mark {
    /// When it passed the mark before this one.
    at: Duration,
    /// To where.
    to: Position,
    /// Records since the trail began.
    count: u64,
}

/// What lies between a place and the end of a trail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lag {
    /// So many records.
    pub records: u64,
    /// For so long there has been one that lies behind the place.
    pub time: Duration,
    /// Whether that is so, or at least so.
    pub exact: bool,
}

impl Lag {
    /// Of whoever stands at the end.
    pub const NONE: Self = Self { records: 0, time: Duration::ZERO, exact: true };
}

/// See the file's head.
#[derive(Debug, Default)]
pub struct Trail {
    start: Position,
    began: Duration,
    marks: VecDeque<Mark>,
}

impl Trail {
    /// Begins anew where a room begins.
    pub fn restart(&mut self, start: Position, now: Duration) {
        *self = Self { start, began: now, marks: VecDeque::new() };
    }

    /// The room came further by so many records.
    pub fn note(&mut self, to: Position, records: usize, now: Duration) {
        let count = self.count() + records as u64;
        match self.marks.back_mut() {
            Some(last) if now.saturating_sub(last.at) < STEP => (last.to, last.count) = (to, count),
            _ => self.marks.push_back(Mark { at: now, to, count }),
        }
        if self.marks.len() > MOST {
            self.thin_out(now);
        }
    }

    /// Joins neighbours that are no longer together than half as long as they are ago.
    fn thin_out(&mut self, now: Duration) {
        let mut kept: VecDeque<Mark> = VecDeque::with_capacity(MOST + 1);
        while let Some(older) = self.marks.pop_back() {
            let end = kept.get(1).map_or(now, |next| next.at);
            match kept.front_mut() {
                Some(newer) if end.saturating_sub(older.at) * 2 <= now.saturating_sub(end) => newer.at = older.at,
                _ => kept.push_front(older),
            }
        }
        // In a room that is very old this is not enough.
        while kept.len() > LEFT
            && let Some(oldest) = kept.pop_front()
        {
            kept[0].at = oldest.at;
        }
        self.marks = kept;
    }

    fn count(&self) -> u64 {
        self.marks.back().map_or(0, |last| last.count)
    }

    /// What a place lies behind.
    pub fn behind(&self, place: Position, now: Duration) -> Lag {
        let first_beyond = self.marks.partition_point(|mark| mark.to <= place);
        let Some(beyond) = self.marks.get(first_beyond) else {
            return if place < self.start { self.before(now) } else { Lag::NONE };
        };
        if place < self.start {
            return self.before(now);
        }
        let (passed, count) =
            first_beyond.checked_sub(1).map_or((self.start, 0), |at| (self.marks[at].to, self.marks[at].count));
        let exact = passed == place;
        // In the midst of a mark at least its last record lies beyond.
        let records = self.count() - if exact { count } else { beyond.count - 1 };
        Lag { records, time: now.saturating_sub(beyond.at), exact }
    }

    fn before(&self, now: Duration) -> Lag {
        Lag { records: self.count() + 1, time: now.saturating_sub(self.began), exact: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_place_lies_behind_what_came_after_it_and_since_then() {
        let mut trail = Trail::default();
        trail.restart(Position(10), SECOND);
        assert_eq!(trail.behind(Position(10), 9 * SECOND), Lag::NONE);
        trail.note(Position(12), 2, 2 * SECOND);
        trail.note(Position(20), 3, 5 * SECOND);
        assert_eq!(trail.behind(Position(20), 9 * SECOND), Lag::NONE);
        let lag = |records, seconds, exact| Lag { records, time: seconds * SECOND, exact };
        assert_eq!(trail.behind(Position(12), 9 * SECOND), lag(3, 4, true));
        assert_eq!(trail.behind(Position(10), 9 * SECOND), lag(5, 7, true));
        // Within what came at once: at least one record.
        assert_eq!(trail.behind(Position(15), 9 * SECOND), lag(1, 4, false));
        // From before the room was opened: at least all.
        assert_eq!(trail.behind(Position(3), 9 * SECOND), lag(6, 8, false));
    }

    #[test]
    fn a_long_trail_stays_small_and_errs_by_a_share_of_the_age() {
        let mut trail = Trail::default();
        let step = Duration::from_millis(100);
        for number in 1..=100_000_u64 {
            trail.note(Position(number), 1, step * u32::try_from(number).expect("small"));
            assert!(trail.marks.len() <= MOST);
        }
        let now = step * 100_000;
        for behind in [1, 10, 100, 1_000, 10_000, 90_000_u32] {
            let lag = trail.behind(Position(u64::from(100_000 - behind)), now);
            let truth = (step * (behind - 1)).as_secs_f64();
            assert!(lag.time.as_secs_f64() >= truth, "{behind}: {lag:?}");
            assert!(lag.time.as_secs_f64() <= truth * 1.5 + 0.2, "{behind}: {lag:?}, {truth}");
            assert!(lag.records <= u64::from(behind) && lag.records * 2 + 2 >= u64::from(behind), "{behind}: {lag:?}");
        }
    }
}
