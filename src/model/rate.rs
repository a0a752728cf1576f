//! A budget of messages a minute: a bucket that fills steadily and holds one minute's worth.

use std::time::Duration;

/// A token bucket over a clock that the caller reads; small enough to have one per connection.
#[derive(Clone, Debug)]
pub struct RateBudget {
    per_minute: u32,
    /// Tokens left, in thousandths.
    milli_tokens: u64,
    /// When it was last filled, on the caller's clock.
    filled_at: Duration,
}

/// What to do with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is within the budget.
    Pass,
    /// It is not; the next one will be after this long.
    Refuse {
        /// How long to wait.
        retry_after: Duration,
    },
}

impl RateBudget {
    /// A full bucket; 0 a minute means no limit.
    pub fn new(per_minute: u32, now: Duration) -> Self {
        Self { per_minute, milli_tokens: u64::from(per_minute) * 1000, filled_at: now }
    }

    /// Takes one message from the budget.
    pub fn take(&mut self, now: Duration) -> Verdict {
        if self.per_minute == 0 {
            return Verdict::Pass;
        }
        let full = u64::from(self.per_minute) * 1000;
        let elapsed = now.saturating_sub(self.filled_at).as_millis() as u64;
        let gained = elapsed.saturating_mul(u64::from(self.per_minute)) / 60;
        if gained > 0 {
            self.milli_tokens = full.min(self.milli_tokens.saturating_add(gained));
            self.filled_at = now;
        }
        if self.milli_tokens >= 1000 {
            self.milli_tokens -= 1000;
            return Verdict::Pass;
        }
        let missing = (1000 - self.milli_tokens) * 60 / u64::from(self.per_minute);
        Verdict::Refuse { retry_after: Duration::from_millis(missing.max(1)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minutes_worth_passes_at_once_and_then_it_trickles() {
        let mut budget = RateBudget::new(60, Duration::ZERO);
        for _ in 0..60 {
            assert_eq!(budget.take(Duration::ZERO), Verdict::Pass);
        }
        assert_eq!(budget.take(Duration::ZERO), Verdict::Refuse { retry_after: Duration::from_secs(1) });
        assert_eq!(budget.take(Duration::from_millis(1000)), Verdict::Pass);
        assert!(matches!(budget.take(Duration::from_millis(1001)), Verdict::Refuse { .. }));
    }

    #[test]
    fn zero_means_no_limit() {
        let mut budget = RateBudget::new(0, Duration::ZERO);
        assert!((0..10_000).all(|_| budget.take(Duration::ZERO) == Verdict::Pass));
    }
}
