//! The names of things, parsed once into types that can only hold what is safe.
//!
//! Owns: the rules for tenant, instance, event and entity names, positions and cursors. Must not know: where a name
//! came from (query, token, JSON, subject).

use std::{borrow::Cow, fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

use super::Timestamp;

/// Why a name was refused; the text is for the person who sent it and repeats none of what they sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// The name is empty.
    #[error("{what} is empty")]
    Empty {
        /// Which name.
        what: &'static str,
    },
    /// The name is longer than allowed.
    #[error("{what} is longer than {limit} bytes")]
    TooLong {
        /// Which name.
        what: &'static str,
        /// Greatest length in bytes.
        limit: usize,
    },
    /// The name holds something that is not allowed.
    #[error("{what} may hold only {allowed}")]
    Forbidden {
        /// Which name.
        what: &'static str,
        /// What is allowed, in words.
        allowed: &'static str,
    },
    /// The text is not of the expected form.
    #[error("{what} must be {form}")]
    Malformed {
        /// Which name.
        what: &'static str,
        /// The expected form, in words.
        form: &'static str,
    },
}

fn bounded(what: &'static str, text: &str, limit: usize) -> Result<(), IdError> {
    match text.len() {
        0 => Err(IdError::Empty { what }),
        n if n > limit => Err(IdError::TooLong { what, limit }),
        _ => Ok(()),
    }
}

fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-'
}

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// The same, shared.
            pub fn shared(&self) -> Arc<str> {
                self.0.clone()
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Cow::<'de, str>::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name_type! {
    /// A tenant: 1 to 64 of `A-Z a-z 0-9 _ -`, so that it is one subject token as it stands.
    TenantId
}
name_type! {
    /// An instance within a tenant: 1 to 128 bytes of UTF-8 without control characters.
    InstanceId
}
name_type! {
    /// An event's type: 1 to 128 bytes, dot-separated words of `A-Z a-z 0-9 _ -` (`memory_added`, `memory.created`).
    EventType
}

/// No client can name it.
const SYSTEM: &str = "~system";

impl TenantId {
    /// The tenant in whose log the system keeps what concerns all: API keys, revocations.
    pub fn system() -> Self {
        Self(SYSTEM.into())
    }

    /// A tenant's name as the node itself wrote it.
    ///
    /// # Errors
    ///
    /// It is none.
    pub fn from_stored(text: &str) -> Result<Self, IdError> {
        if text == SYSTEM { Ok(Self::system()) } else { text.parse() }
    }
}

impl FromStr for TenantId {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        bounded("tenant_id", text, 64)?;
        if !text.bytes().all(is_token_byte) {
            return Err(IdError::Forbidden { what: "tenant_id", allowed: "letters, digits, '_' and '-'" });
        }
        Ok(Self(text.into()))
    }
}

impl FromStr for InstanceId {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        bounded("instance_id", text, 128)?;
        if text.chars().any(char::is_control) {
            return Err(IdError::Forbidden { what: "instance_id", allowed: "text without control characters" });
        }
        Ok(Self(text.into()))
    }
}

impl FromStr for EventType {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        bounded("event_type", text, 128)?;
        if !text.split('.').all(|word| !word.is_empty() && word.bytes().all(is_token_byte)) {
            return Err(IdError::Forbidden {
                what: "event_type",
                allowed: "words of letters, digits, '_' and '-', joined by single dots",
            });
        }
        Ok(Self(text.into()))
    }
}

/// An entity's name within a tenant: its type and its id.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EntityKey {
    /// One word of `A-Z a-z 0-9 _ -`, 1 to 64 bytes.
    pub kind: Arc<str>,
    /// 1 to 256 bytes of UTF-8 without control characters.
    pub id: Arc<str>,
}

impl EntityKey {
    /// Checks both halves.
    pub fn new(kind: &str, id: &str) -> Result<Self, IdError> {
        bounded("entity type", kind, 64)?;
        if !kind.bytes().all(is_token_byte) {
            return Err(IdError::Forbidden { what: "entity type", allowed: "letters, digits, '_' and '-'" });
        }
        bounded("entity id", id, 256)?;
        if id.chars().any(char::is_control) {
            return Err(IdError::Forbidden { what: "entity id", allowed: "text without control characters" });
        }
        Ok(Self { kind: kind.into(), id: id.into() })
    }
}

/// A publish's id: a UUID, chosen by the publisher or by the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventId(pub Uuid);

impl EventId {
    /// The first eight hexadecimal digits: what a cursor carries to show which record it means.
    pub fn fingerprint(self) -> Fingerprint {
        Fingerprint(self.0.as_fields().0)
    }
}

impl FromStr for EventId {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        Uuid::try_parse(text).map(Self).map_err(|_| IdError::Malformed { what: "event_id", form: "a UUID" })
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What the log compares to find a repeat: one per tenant, instance and event id, so that equal ids of two tenants or
/// two instances never meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DedupeId(pub Uuid);

impl DedupeId {
    /// Derives the id; the parts are length-prefixed so that no two triples read alike.
    pub fn of(tenant: &TenantId, instance: &InstanceId, id: EventId) -> Self {
        const NAMESPACE: Uuid = Uuid::from_u128(0x8d0f_60b1_6e5b_4f5e_9d0b_7b0c_6a1f_2e34);
        let text = format!("{}:{tenant}:{}:{instance}:{id}", tenant.as_str().len(), instance.as_str().len());
        Self(Uuid::new_v5(&NAMESPACE, text.as_bytes()))
    }

    /// The same in a tenant's later life, where whatever still remembers the id of an earlier one must not meet it.
    pub fn in_life(self, since: Timestamp) -> Self {
        if since == Timestamp::default() { self } else { Self(Uuid::new_v5(&self.0, &since.0.to_be_bytes())) }
    }
}

/// A place in the log. 0 is before the first record; appended records have positions from 1, strictly rising, shared by
/// all rooms of a shard (so a room's own positions have holes).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Position(pub u64);

impl Position {
    /// Before the first record.
    pub const START: Self = Self(0);
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Which log a position belongs to: random, made when the log is created or restored. Sixteen hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Epoch(pub u64);

impl Epoch {
    /// Of a log that was never reached; no log has it.
    pub const UNKNOWN: Self = Self(0);
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for Epoch {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        hex_digits(text, 16).map(Self).ok_or(IdError::Malformed { what: "epoch", form: "16 hexadecimal digits" })
    }
}

/// The first eight hexadecimal digits of a record's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fingerprint(pub u32);

/// A place in one particular log: `epoch.position`, or `epoch.position.fingerprint` when it names a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cursor {
    /// Which log.
    pub epoch: Epoch,
    /// Everything up to here has been seen.
    pub position: Position,
    /// Shows which record stood there; `None` when the place was learnt from a heartbeat or the like.
    pub fingerprint: Option<Fingerprint>,
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.epoch, self.position)?;
        match self.fingerprint {
            Some(Fingerprint(digits)) => write!(f, ".{digits:08x}"),
            None => Ok(()),
        }
    }
}

impl FromStr for Cursor {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        let malformed = IdError::Malformed { what: "cursor", form: "<epoch>.<position>[.<fingerprint>]" };
        let mut parts = text.split('.');
        let (Some(epoch), Some(position)) = (parts.next(), parts.next()) else {
            return Err(malformed);
        };
        let fingerprint = match parts.next() {
            None => None,
            Some(digits) => Some(Fingerprint(
                hex_digits(digits, 8).and_then(|n| u32::try_from(n).ok()).ok_or_else(|| malformed.clone())?,
            )),
        };
        if parts.next().is_some() || position.starts_with('+') {
            return Err(malformed);
        }
        Ok(Self {
            epoch: epoch.parse().map_err(|_| malformed.clone())?,
            position: Position(position.parse().map_err(|_| malformed.clone())?),
            fingerprint,
        })
    }
}

fn hex_digits(text: &str, count: usize) -> Option<u64> {
    (text.len() == count && text.bytes().all(|b| b.is_ascii_hexdigit())).then(|| u64::from_str_radix(text, 16).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tenant_ids_hold_only_what_is_safe_in_a_subject() {
        for good in ["default", "a", "Team_7-b", &"x".repeat(64)] {
            assert_eq!(good.parse::<TenantId>().map(|t| t.as_str().to_owned()).as_deref(), Ok(good));
        }
        for bad in ["", ".", "*", ">", "a.b", "a b", "é", "🌗", "a\n", "\0", &"x".repeat(65)] {
            assert!(bad.parse::<TenantId>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn event_types_are_dotted_words() {
        for good in ["memory_added", "memory.created", "a.b.c-d"] {
            assert!(good.parse::<EventType>().is_ok(), "{good}");
        }
        for bad in ["", ".", "a.", ".a", "a..b", "memory.*", "a b", "ü", &"x".repeat(129)] {
            assert!(bad.parse::<EventType>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn cursors_are_read_back_as_written() {
        for text in ["00000000000000ff.17", "deadbeefdeadbeef.0.0012abcd"] {
            assert_eq!(text.parse::<Cursor>().map(|c| c.to_string()).as_deref(), Ok(text));
        }
        for bad in [
            "",
            "17",
            "ff.17",
            "00000000000000ff.",
            "00000000000000ff.-1",
            "00000000000000ff.+1",
            "00000000000000ff.1.2",
            "00000000000000ff.1.0012abcd.x",
            "00000000000000ff.99999999999999999999",
        ] {
            assert!(bad.parse::<Cursor>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn equal_event_ids_of_two_tenants_or_instances_never_meet() {
        let id = EventId(Uuid::nil());
        let of = |t: &str, i: &str| DedupeId::of(&t.parse().expect("tenant"), &i.parse().expect("instance"), id);
        assert_eq!(of("a", "b"), of("a", "b"));
        assert_ne!(of("a", "b"), of("b", "a"));
        assert_ne!(of("a", "b:1"), of("a", "b"));
    }
}
