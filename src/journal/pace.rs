//! How long to wait before the log is tried again. Must not know: why it failed.

use std::time::Duration;

/// The first delay's upper bound.
const BASE: Duration = Duration::from_secs(1);
/// No delay is above this.
pub const CAP: Duration = Duration::from_secs(64);

/// Delays between half of a bound and the whole of it; the bound doubles with every failure in a row.
#[derive(Debug)]
pub struct Pace(fastrand::Rng);

impl Pace {
    /// Seeded from the system.
    pub fn new() -> Self {
        Self(fastrand::Rng::new())
    }

    /// The same seed gives the same delays.
    #[cfg(test)]
    fn seeded(seed: u64) -> Self {
        Self(fastrand::Rng::with_seed(seed))
    }

    /// The delay after so many failures in a row, the first being 1. Never gives up.
    pub fn delay(&mut self, failures: u32) -> Duration {
        // 2^6 s is the cap; the shift must not overflow after a long outage.
        let bound = CAP.min(BASE * (1 << failures.saturating_sub(1).min(6)));
        bound.mul_f64(0.5 + self.0.f64() / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_to_the_cap_with_jitter_and_stay_there() {
        let mut pace = Pace::seeded(7);
        for (failures, bound) in [(1, 1), (2, 2), (3, 4), (4, 8), (5, 16), (6, 32), (7, 64), (8, 64), (u32::MAX, 64)] {
            let bound = Duration::from_secs(bound);
            let delays: Vec<_> = (0..200).map(|_| pace.delay(failures)).collect();
            assert!(delays.iter().all(|delay| (bound / 2..=bound).contains(delay)), "{failures}");
            assert!(delays.iter().any(|delay| *delay < bound.mul_f64(0.6)));
            assert!(delays.iter().any(|delay| *delay > bound.mul_f64(0.9)));
        }
    }
}
