//! Whether new records wait a moment for those that are on their way to the disk, so that a large room gets one write
//! per member instead of two.
//!
//! Why: a publisher with many events in flight has half of them flushed while the other half is sent. Sending costs a
//! system call per member; waiting for the other half costs less time than sending twice.

use std::time::Duration;

/// Smaller rooms never wait: sending to them costs less than a timer's tick.
const LARGE: usize = 256;
/// The wait per member: about what a send to it costs on one core.
const PER_MEMBER: Duration = Duration::from_micros(4);

/// How long records may wait in a room of so many members while more are under way; `None`: not at all.
pub fn patience(members: usize, most: Duration) -> Option<Duration> {
    if members < LARGE || most.is_zero() {
        return None;
    }
    Some(PER_MEMBER.saturating_mul(u32::try_from(members).unwrap_or(u32::MAX)).min(most))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_large_rooms_wait_and_never_longer_than_allowed() {
        let most = Duration::from_millis(5);
        assert_eq!(patience(255, most), None);
        assert_eq!(patience(1_000, most), Some(Duration::from_millis(4)));
        assert_eq!(patience(100_000, most), Some(most));
        assert_eq!(patience(1_000, Duration::ZERO), None);
    }
}
