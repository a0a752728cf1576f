//! Where a returning reader goes on, and when the node has to say that it cannot.

use super::{Cursor, Epoch, Fingerprint, Position, Timestamp};

/// What a client asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Since {
    /// Its own cursor.
    Cursor(Cursor),
    /// Everything stored at this time or later.
    Time(Timestamp),
    /// All that the log holds.
    Earliest,
    /// Only what comes.
    Latest,
    /// Nothing: the node's own cursor for the instance, else `latest`.
    Instance,
}

impl Since {
    /// Reads a `since` or `after` parameter.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "earliest" => Some(Self::Earliest),
            "latest" => Some(Self::Latest),
            _ => text.parse().map(Self::Cursor).ok().or_else(|| Timestamp::parse(text).map(Self::Time)),
        }
    }

    /// The word for it in `session_ready`.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Cursor(_) => "cursor",
            Self::Time(_) => "time",
            Self::Earliest => "earliest",
            Self::Latest => "latest",
            Self::Instance => "instance",
        }
    }
}

/// Why a cursor cannot be honoured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResyncReason {
    /// Retention has passed it.
    Trimmed,
    /// It belongs to another log.
    OtherEpoch,
    /// The log has not come so far.
    Ahead,
    /// Another record stands there.
    Mismatch,
}

impl ResyncReason {
    /// The stable word on the wire.
    pub fn word(self) -> &'static str {
        match self {
            Self::Trimmed => "trimmed",
            Self::OtherEpoch => "other_epoch",
            Self::Ahead => "ahead",
            Self::Mismatch => "mismatch",
        }
    }
}

/// The log as a decision needs to see it.
#[derive(Clone, Copy, Debug)]
pub struct LogView {
    /// The log's epoch.
    pub epoch: Epoch,
    /// Records of this room up to here may be gone.
    pub trimmed_to: Position,
    /// The end of the log as far as the room has applied it.
    pub end: Position,
}

/// Where reading begins, and whether that had to be forced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start {
    /// Records after this follow.
    pub after: Position,
    /// Set when the reader must be told to drop what it derived.
    pub resync: Option<ResyncReason>,
}

/// Decides where a cursor leads. `found` is the fingerprint of the room's record at the cursor's position, `None` when
/// no record of the room stands there.
pub fn from_cursor(cursor: Cursor, found: Option<Fingerprint>, log: LogView) -> Start {
    let reason = if cursor.epoch != log.epoch {
        Some(ResyncReason::OtherEpoch)
    } else if cursor.position > log.end {
        Some(ResyncReason::Ahead)
    } else if matches!((cursor.fingerprint, found), (Some(claimed), Some(found)) if claimed != found) {
        Some(ResyncReason::Mismatch)
    } else if cursor.position < log.trimmed_to {
        Some(ResyncReason::Trimmed)
    } else {
        None
    };
    match reason {
        Some(_) => Start { after: log.trimmed_to, resync: reason },
        None => Start { after: cursor.position, resync: None },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: LogView = LogView { epoch: Epoch(7), trimmed_to: Position(10), end: Position(20) };

    fn start(epoch: u64, position: u64, claimed: Option<u32>, found: Option<u32>) -> Start {
        let cursor =
            Cursor { epoch: Epoch(epoch), position: Position(position), fingerprint: claimed.map(Fingerprint) };
        from_cursor(cursor, found.map(Fingerprint), LOG)
    }

    #[test]
    fn a_good_cursor_goes_on_where_it_stands() {
        for (position, claimed, found) in
            [(15, None, None), (15, Some(1), Some(1)), (15, Some(1), None), (10, None, None)]
        {
            assert_eq!(start(7, position, claimed, found), Start { after: Position(position), resync: None });
        }
    }

    #[test]
    fn every_cursor_that_cannot_be_honoured_says_why_and_starts_at_the_earliest() {
        let cases = [
            (start(8, 15, None, None), ResyncReason::OtherEpoch),
            (start(7, 21, None, None), ResyncReason::Ahead),
            (start(7, 15, Some(1), Some(2)), ResyncReason::Mismatch),
            (start(7, 9, None, None), ResyncReason::Trimmed),
        ];
        for (start, reason) in cases {
            assert_eq!(start, Start { after: Position(10), resync: Some(reason) });
        }
    }
}
