//! How fresh it all is, in words. Owns: the seeds' thresholds, and that an age is measured by a clock that nobody sets.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Younger than this: synced.
pub const SYNCED: Duration = Duration::from_secs(60);
/// Younger than this: recent. Beyond it: stale.
pub const RECENT: Duration = Duration::from_secs(300);

/// The connection to a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum Link {
    /// It is tried for the first time.
    Connecting,
    /// It stands, but what was missed is still coming.
    CatchingUp,
    /// It stands, and everything is here.
    Online,
    /// There is none now; it is tried again.
    Offline {
        /// Why.
        why: String,
    },
    /// The node does not let us in; it is tried again, but a person has to do something.
    Refused {
        /// Why.
        why: String,
    },
}

/// How long ago everything was here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Freshness {
    /// Under a minute.
    Synced,
    /// Under five minutes.
    Recent,
    /// Longer, or never.
    Stale,
}

impl Freshness {
    /// Of an age; `None`: never.
    pub fn of(age: Option<Duration>) -> Self {
        match age {
            Some(age) if age < SYNCED => Self::Synced,
            Some(age) if age < RECENT => Self::Recent,
            _ => Self::Stale,
        }
    }

    /// The word that is shown.
    pub fn word(self) -> &'static str {
        match self {
            Self::Synced => "synced",
            Self::Recent => "recent",
            Self::Stale => "stale",
        }
    }
}

/// How it stands with a replica.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Status {
    /// The connection.
    pub connection: Link,
    /// How fresh the mirror is.
    pub sync: Freshness,
    /// Seconds since everything was here; `None`: it never was while this process runs.
    pub age_s: Option<u64>,
    /// Writes whose fate is open.
    pub pending: u64,
    /// Conflicts that wait for somebody's choice, and variants that are kept.
    pub conflicted: u64,
    /// Writes that were refused for good and wait for a person.
    pub refused: u64,
    /// Why nothing can be sent before a person does something; `None`: it can.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blocked: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_thresholds_are_the_seeds() {
        let of = |seconds| Freshness::of(Some(Duration::from_secs(seconds)));
        assert_eq!(
            [of(0), of(59), of(60), of(299), of(300)].map(Freshness::word),
            ["synced", "synced", "recent", "recent", "stale"]
        );
        assert_eq!(Freshness::of(None), Freshness::Stale);
    }
}
