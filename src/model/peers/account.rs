//! What a node says of itself to the others, for the people who look after them. Nothing is decided by it.

use serde::{Deserialize, Serialize};

use crate::model::Timestamp;

/// Longest text in it, in bytes: what is longer was not written by a node of ours.
const LONGEST: usize = 512;

/// What a node says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Its machine and port.
    pub name: Box<str>,
    /// Its version.
    pub version: Box<str>,
    /// When it started.
    pub since: Timestamp,
    /// The word of its readiness.
    pub status: Box<str>,
    /// Why it is not ready.
    pub reason: Option<Box<str>>,
    /// How it stands towards the log.
    pub link: Link,
    /// Connections and streams.
    pub connections: u64,
    /// Rooms in its memory.
    pub rooms: u64,
    /// How many other nodes it hears.
    pub hears: u64,
}

/// How a node stands towards the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Which kind of log.
    pub kind: Box<str>,
    /// Whether it serves.
    pub state: Box<str>,
    /// What is wrong.
    pub reason: Option<Box<str>>,
    /// The server to which it is connected.
    pub server: Option<Box<str>>,
    /// Connections made since it started.
    pub connects: u64,
}

impl Account {
    /// Whether its texts are of a size that is worth keeping.
    pub fn is_short(&self) -> bool {
        let Self { name, version, status, reason, link, .. } = self;
        let texts = [Some(name), Some(version), Some(status), reason.as_ref(), Some(&link.kind), Some(&link.state)];
        let more = [link.reason.as_ref(), link.server.as_ref()];
        texts.into_iter().chain(more).flatten().all(|text| text.len() <= LONGEST)
    }
}

/// A text cut to what the others keep.
pub fn short(text: &str) -> Box<str> {
    text[..text.floor_char_boundary(LONGEST)].into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_between_two_characters() {
        assert_eq!(&*short("why"), "why");
        let cut = short(&"ä".repeat(LONGEST));
        assert_eq!(cut.len(), LONGEST);
        assert_eq!(short(&format!("x{}", "ä".repeat(LONGEST))).len(), LONGEST - 1);
    }
}
