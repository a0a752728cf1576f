//! How long to wait before connecting again: full jitter, so that a crowd that lost its node does not come back as one.

use std::time::Duration;

/// The first delay's upper bound.
pub const BASE: Duration = Duration::from_secs(1);
/// No delay's upper bound is above this.
pub const CAP: Duration = Duration::from_secs(60);
/// No hint of a node's is followed for longer.
pub const LONGEST_HINT: Duration = Duration::from_secs(3600);
/// A connection that lived this long starts the delays from [`BASE`] again.
pub const STABLE: Duration = Duration::from_secs(30);

/// For how long a hint is followed: whoever reads one asks here.
pub fn followed(hint: Duration) -> Duration {
    hint.min(LONGEST_HINT)
}

/// The bound of a delay after so many failures.
fn bound(failures: u32) -> Duration {
    // 2^6 s is above the cap already; the shift must not overflow after a long outage.
    CAP.min(BASE * (1 << failures.min(6)))
}

/// The delay after so many failures that a random number picks, from 0 up to 1 and less than it.
pub fn delay(failures: u32, random: f64) -> Duration {
    Duration::from_millis((bound(failures).as_millis() as f64 * random) as u64)
}

/// Delays drawn evenly from zero to a bound that doubles with every failure.
#[derive(Debug)]
pub struct Backoff {
    failures: u32,
    random: fastrand::Rng,
}

impl Backoff {
    /// Seeded from the system.
    pub fn new() -> Self {
        Self { failures: 0, random: fastrand::Rng::new() }
    }

    /// The same seed gives the same delays.
    pub fn seeded(seed: u64) -> Self {
        Self { failures: 0, random: fastrand::Rng::with_seed(seed) }
    }

    /// The upper bound of the next delay.
    pub fn bound(&self) -> Duration {
        bound(self.failures)
    }

    /// How many failures are counted.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// The next delay, and one failure more.
    pub fn failed(&mut self) -> Duration {
        let delay = delay(self.failures, self.random.f64());
        self.failures = self.failures.saturating_add(1);
        delay
    }

    /// A connection ended after `lived`; a stable one forgets the failures before it.
    pub fn lived(&mut self, lived: Duration) {
        if lived >= STABLE {
            self.failures = 0;
        }
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_double_from_one_second_to_sixty_and_stay_there() {
        let mut backoff = Backoff::seeded(7);
        let bounds: Vec<u64> = (0..9)
            .map(|_| {
                let bound = backoff.bound();
                assert!(backoff.failed() <= bound);
                bound.as_secs()
            })
            .collect();
        assert_eq!(bounds, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
    }

    #[test]
    fn delays_fill_the_whole_range() {
        let mut backoff = Backoff::seeded(11);
        for _ in 0..10 {
            backoff.failed();
        }
        let delays: Vec<Duration> = (0..1_000).map(|_| backoff.failed()).collect();
        assert!(delays.iter().any(|d| *d < CAP / 10), "full jitter reaches down to zero");
        assert!(delays.iter().any(|d| *d > CAP * 9 / 10));
        assert!(delays.iter().all(|d| *d <= CAP));
    }

    #[test]
    fn only_a_stable_connection_forgets_the_failures() {
        let mut backoff = Backoff::seeded(3);
        backoff.failed();
        backoff.failed();
        backoff.lived(STABLE - Duration::from_millis(1));
        assert_eq!(backoff.bound(), Duration::from_secs(4));
        backoff.lived(STABLE);
        assert_eq!(backoff.bound(), BASE);
    }

    #[test]
    fn a_hint_is_followed_for_an_hour_at_most() {
        assert_eq!(followed(CAP), CAP);
        assert_eq!(followed(Duration::MAX), LONGEST_HINT);
    }

    #[test]
    fn equal_seeds_give_equal_delays() {
        let draw = |seed| {
            let mut backoff = Backoff::seeded(seed);
            (0..8).map(|_| backoff.failed()).collect::<Vec<_>>()
        };
        assert_eq!(draw(5), draw(5));
        assert_ne!(draw(5), draw(6));
    }
}
