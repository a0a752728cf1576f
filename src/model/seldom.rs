//! What is told at most once a second, however often it happens. Shared by threads, without a lock.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// Between two times that it is told.
const QUIET_MS: u64 = 1_000;

/// See the file's head.
#[derive(Debug, Default)]
pub struct Seldom {
    /// Before this nothing is told, in milliseconds of the caller's clock.
    quiet_until: AtomicU64,
    untold: AtomicU64,
}

impl Seldom {
    /// It happened. If it is to be told: how many were not told before it.
    pub fn tell(&self, now: Duration) -> Option<u64> {
        let now = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        let quiet_until = self.quiet_until.load(Relaxed);
        let next = now.saturating_add(QUIET_MS);
        // Of several at the same moment one is told.
        let is_ours =
            quiet_until <= now && self.quiet_until.compare_exchange(quiet_until, next, Relaxed, Relaxed).is_ok();
        if is_ours {
            return Some(self.untold.swap(0, Relaxed));
        }
        self.untold.fetch_add(1, Relaxed);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_a_second_is_told_and_the_others_are_counted() {
        let seldom = Seldom::default();
        let at = |millis| seldom.tell(Duration::from_millis(millis));
        assert_eq!((at(0), at(0), at(999)), (Some(0), None, None));
        assert_eq!((at(1_000), at(1_500)), (Some(2), None));
        assert_eq!((at(9_000), at(10_000)), (Some(1), Some(0)));
    }
}
