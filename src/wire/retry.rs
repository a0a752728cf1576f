//! What a node that goes away says with close code 1012, and how a client reads it.

use std::time::Duration;

const BEFORE: &str = "retry in ";
const BEHIND: &str = " ms";

/// The reason that says when to come back.
pub(super) fn reason(retry_after: Duration) -> String {
    format!("restart; {BEFORE}{}{BEHIND}", retry_after.as_millis())
}

/// After how many milliseconds to come back, if a reason says so.
pub fn millis_in(reason: &str) -> Option<u64> {
    let (_, rest) = reason.split_once(BEFORE)?;
    rest.split_once(BEHIND)?.0.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_understood() {
        assert_eq!(millis_in(&reason(Duration::from_millis(1234))), Some(1234));
        for other in ["", "restart", "retry in a while", "retry in -1 ms"] {
            assert_eq!(millis_in(other), None, "{other}");
        }
    }
}
