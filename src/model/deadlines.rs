//! A wheel of deadlines: many entries, one tick, no timer each.

use std::time::Duration;

/// Entries by due time, in slots of one tick.
#[derive(Debug)]
pub struct Wheel<T> {
    slots: Vec<Vec<T>>,
    tick: Duration,
    /// Number of ticks so far.
    now: u64,
}

impl<T> Wheel<T> {
    /// A wheel that can hold deadlines up to `horizon` away.
    pub fn new(tick: Duration, horizon: Duration) -> Self {
        let slots = (horizon.as_nanos() / tick.as_nanos().max(1)) as usize + 2;
        Self { slots: (0..slots).map(|_| Vec::new()).collect(), tick, now: 0 }
    }

    /// Adds an entry that comes due in `delay`, rounded up to ticks, at least one; farther than the horizon counts as
    /// the horizon.
    pub fn add(&mut self, delay: Duration, entry: T) {
        let ticks = delay.as_nanos().div_ceil(self.tick.as_nanos().max(1)) as u64;
        let ahead = ticks.clamp(1, self.slots.len() as u64 - 1);
        let slot = (self.now + ahead) as usize % self.slots.len();
        self.slots[slot].push(entry);
    }

    /// All entries, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.slots.iter().flatten()
    }

    /// Moves on by one tick and takes what came due.
    pub fn advance(&mut self) -> Vec<T> {
        self.now += 1;
        let slot = self.now as usize % self.slots.len();
        std::mem::take(&mut self.slots[slot])
    }
}

/// What to do with one session at its deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// It was silent for the whole timeout: end it.
    Expire,
    /// Send a heartbeat and look again after this long.
    Beat {
        /// Delay to the next look.
        next: Duration,
    },
    /// No heartbeat is due yet, look again after this long.
    Wait {
        /// Delay to the next look.
        next: Duration,
    },
}

/// The heartbeat's rule.
#[derive(Clone, Copy, Debug)]
pub struct Pulse {
    /// A heartbeat is sent this often.
    pub interval: Duration,
    /// A session that sent nothing for this long is over.
    pub timeout: Duration,
}

impl Pulse {
    /// Decides at `now` for a session heard last at `heard` and sent its last heartbeat at `beaten`.
    pub fn decide(&self, now: Duration, heard: Duration, beaten: Duration) -> Due {
        let silent = now.saturating_sub(heard);
        if silent >= self.timeout {
            return Due::Expire;
        }
        let until_timeout = self.timeout - silent;
        let since_beat = now.saturating_sub(beaten);
        if since_beat >= self.interval {
            Due::Beat { next: self.interval.min(until_timeout) }
        } else {
            Due::Wait { next: (self.interval - since_beat).min(until_timeout) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn entries_come_due_once_at_their_tick() {
        let mut wheel = Wheel::new(SECOND, 10 * SECOND);
        wheel.add(3 * SECOND, 'a');
        wheel.add(Duration::from_millis(2500), 'b');
        wheel.add(Duration::ZERO, 'c');
        wheel.add(100 * SECOND, 'd');
        let due: Vec<Vec<char>> = (0..12).map(|_| wheel.advance()).collect();
        assert_eq!((&due[0], &due[2], &due[10]), (&vec!['c'], &vec!['a', 'b'], &vec!['d']));
        assert_eq!(due.iter().flatten().count(), 4);
    }

    #[test]
    fn a_silent_session_expires_at_its_timeout_and_not_at_the_next_beat() {
        let pulse = Pulse { interval: 30 * SECOND, timeout: 90 * SECOND };
        assert_eq!(pulse.decide(30 * SECOND, Duration::ZERO, Duration::ZERO), Due::Beat { next: 30 * SECOND });
        assert_eq!(pulse.decide(80 * SECOND, 5 * SECOND, 50 * SECOND), Due::Beat { next: 15 * SECOND });
        assert_eq!(pulse.decide(60 * SECOND, 50 * SECOND, 45 * SECOND), Due::Wait { next: 15 * SECOND });
        assert_eq!(pulse.decide(95 * SECOND, 5 * SECOND, 80 * SECOND), Due::Expire);
    }
}
