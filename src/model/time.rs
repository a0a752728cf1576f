//! Wall-clock time as milliseconds; read from a clock by whoever calls, never here.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Milliseconds since the Unix epoch, UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// Reads an RFC 3339 time, with or without fractions of a second; a time without an offset is taken as UTC.
    pub fn parse(text: &str) -> Option<Self> {
        let instant = text.parse::<jiff::Timestamp>().ok().or_else(|| {
            let civil = text.parse::<jiff::civil::DateTime>().ok()?;
            Some(civil.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp())
        })?;
        Some(Self(instant.as_millisecond()))
    }

    /// This time `millis` milliseconds earlier.
    pub fn earlier_by(self, millis: i64) -> Self {
        Self(self.0.saturating_sub(millis))
    }
}

/// `2025-12-06T10:00:00.000Z`, always with milliseconds.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(instant) => write!(f, "{instant:.3}"),
            Err(_) => write!(f, "1970-01-01T00:00:00.000Z"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_with_milliseconds_and_read_back() {
        let time = Timestamp(1_765_015_200_000);
        assert_eq!(time.to_string(), "2025-12-06T10:00:00.000Z");
        assert_eq!(Timestamp::parse("2025-12-06T10:00:00.000Z"), Some(time));
        assert_eq!(Timestamp::parse("2025-12-06T12:00:00+02:00"), Some(time));
        assert_eq!(Timestamp::parse("2025-12-06T10:00:00"), Some(time));
        assert_eq!(Timestamp::parse("yesterday"), None);
    }
}
