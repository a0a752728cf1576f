//! A budget of messages a minute: what was taken drains steadily, and one minute's worth may be taken at once.

use std::time::Duration;

/// What was taken lately, over a clock that the caller reads; small enough to have one per connection. How much may be taken is
/// said each time, so a limit that changes holds at once.
#[derive(Clone, Debug)]
pub struct RateBudget {
    /// Taken and not drained yet, in thousandths.
    milli_taken: u64,
    /// When it was last drained, on the caller's clock.
    drained_at: Duration,
}

/// What to do with messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// They are within the budget.
    Pass,
    /// They are not.
    Refuse {
        /// How long to wait before they are.
        retry_after: Duration,
    },
}

impl RateBudget {
    /// Of which nothing was taken.
    pub fn new(now: Duration) -> Self {
        Self { milli_taken: 0, drained_at: now }
    }

    /// Takes so many messages; 0 a minute means no limit. More than a minute's worth may be taken if nothing was, and has to
    /// drain like anything else.
    pub fn take(&mut self, count: u32, per_minute: u32, now: Duration) -> Verdict {
        if per_minute == 0 {
            return Verdict::Pass;
        }
        self.drain(per_minute, now);
        let (wanted, full) = (u64::from(count) * 1000, u64::from(per_minute) * 1000);
        let over = (self.milli_taken + wanted).saturating_sub(full);
        if over == 0 || self.milli_taken == 0 {
            self.milli_taken += wanted;
            return Verdict::Pass;
        }
        let missing = over.min(self.milli_taken) * 60 / u64::from(per_minute);
        Verdict::Refuse { retry_after: Duration::from_millis(missing.max(1)) }
    }

    /// Notes messages that nobody could be asked about; at most two minutes' worth is remembered.
    pub fn charge(&mut self, count: u32, per_minute: u32, now: Duration) {
        self.drain(per_minute, now);
        let most = (u64::from(per_minute) * 2000).max(self.milli_taken);
        self.milli_taken = most.min(self.milli_taken + u64::from(count) * 1000);
    }

    /// Takes back what was taken a moment ago.
    pub fn give_back(&mut self, count: u32) {
        self.milli_taken = self.milli_taken.saturating_sub(u64::from(count) * 1000);
    }

    /// How many of a minute's messages are taken, rounded up.
    pub fn taken(&mut self, per_minute: u32, now: Duration) -> u64 {
        self.drain(per_minute, now);
        self.milli_taken.div_ceil(1000)
    }

    fn drain(&mut self, per_minute: u32, now: Duration) {
        if self.milli_taken == 0 || per_minute == 0 {
            self.milli_taken = 0;
            self.drained_at = now;
            return;
        }
        let elapsed = now.saturating_sub(self.drained_at).as_millis() as u64;
        let drained = elapsed.saturating_mul(u64::from(per_minute)) / 60;
        if drained > 0 {
            self.milli_taken = self.milli_taken.saturating_sub(drained);
            self.drained_at = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_minutes_worth_passes_at_once_and_then_it_trickles() {
        let mut budget = RateBudget::new(Duration::ZERO);
        for _ in 0..60 {
            assert_eq!(budget.take(1, 60, Duration::ZERO), Verdict::Pass);
        }
        assert_eq!(budget.take(1, 60, Duration::ZERO), Verdict::Refuse { retry_after: seconds(1) });
        assert_eq!(budget.take(1, 60, seconds(1)), Verdict::Pass);
        assert!(matches!(budget.take(1, 60, Duration::from_millis(1001)), Verdict::Refuse { .. }));
    }

    #[test]
    fn zero_means_no_limit() {
        let mut budget = RateBudget::new(Duration::ZERO);
        assert!((0..10_000).all(|_| budget.take(1, 0, Duration::ZERO) == Verdict::Pass));
        assert_eq!(budget.taken(0, Duration::ZERO), 0);
    }

    #[test]
    fn whoever_waits_as_long_as_it_is_told_passes() {
        let mut budget = RateBudget::new(Duration::ZERO);
        let mut now = Duration::ZERO;
        for count in [1, 7, 50, 100, 30, 99, 250, 3] {
            if let Verdict::Refuse { retry_after } = budget.take(count, 100, now) {
                now += retry_after;
                assert_eq!(budget.take(count, 100, now), Verdict::Pass, "{count} at {now:?}");
            }
        }
        assert!(now > seconds(120), "540 messages at 100 a minute took {now:?}");
    }

    #[test]
    fn more_than_a_minutes_worth_passes_once_and_is_paid_for() {
        let mut budget = RateBudget::new(Duration::ZERO);
        assert_eq!(budget.take(300, 100, Duration::ZERO), Verdict::Pass);
        assert_eq!(budget.take(1, 100, seconds(60)), Verdict::Refuse { retry_after: Duration::from_millis(60_600) });
        assert_eq!(budget.take(1, 100, Duration::from_millis(120_600)), Verdict::Pass);
    }

    #[test]
    fn what_others_took_counts_up_to_two_minutes_worth() {
        let mut budget = RateBudget::new(Duration::ZERO);
        budget.charge(1_000_000, 100, Duration::ZERO);
        assert_eq!(budget.taken(100, Duration::ZERO), 200);
        assert!(matches!(budget.take(1, 100, seconds(60)), Verdict::Refuse { .. }));
        assert_eq!(budget.take(1, 100, seconds(61)), Verdict::Pass);
    }

    #[test]
    fn what_is_given_back_can_be_taken_again() {
        let mut budget = RateBudget::new(Duration::ZERO);
        assert_eq!(budget.take(2, 2, Duration::ZERO), Verdict::Pass);
        budget.give_back(1);
        assert_eq!(budget.take(1, 2, Duration::ZERO), Verdict::Pass);
        assert!(matches!(budget.take(1, 2, Duration::ZERO), Verdict::Refuse { .. }));
    }

    #[test]
    fn a_limit_that_changes_holds_at_once() {
        let mut budget = RateBudget::new(Duration::ZERO);
        assert_eq!(budget.take(100, 100, Duration::ZERO), Verdict::Pass);
        assert_eq!(budget.take(1, 200, Duration::ZERO), Verdict::Pass);
        assert!(matches!(budget.take(1, 50, Duration::ZERO), Verdict::Refuse { .. }));
    }
}
