//! The node's messages, typed. `data` of a record stays as it was sent.

use std::time::Duration;

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::value::RawValue;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::backoff::followed;
use crate::model::{Cursor, Epoch, EventId};

/// A message that does not read as the protocol says.
#[derive(Debug, thiserror::Error)]
#[error("the node sent a message that does not read as the protocol says: {0}")]
pub struct Malformed(#[from] serde_json::Error);

/// One message of the node: the text as it came, and what it means.
#[derive(Clone, Debug)]
pub struct Frame {
    /// The frame, byte for byte.
    pub text: Utf8Bytes,
    /// Type, positions, sender and `data`.
    pub envelope: Envelope,
    /// What it means to a client.
    pub message: Incoming,
}

/// The envelope of every message.
#[derive(Clone, Debug, Deserialize)]
pub struct Envelope {
    /// What it is.
    pub event_type: String,
    /// Records only: the position.
    pub seq: Option<u64>,
    /// Records only: the position of the record before it.
    pub prev: Option<u64>,
    /// Records only: the publish's id.
    pub event_id: Option<String>,
    /// Who sent it; for session messages, to whom.
    #[serde(default)]
    pub instance_id: String,
    /// When, RFC 3339.
    #[serde(default)]
    pub timestamp: String,
    /// Records only: the sender's signature, as it came.
    #[serde(default)]
    pub sig: Option<Box<RawValue>>,
    /// The content.
    #[serde(default = "empty")]
    pub data: Box<RawValue>,
}

fn empty() -> Box<RawValue> {
    RawValue::from_string("{}".to_owned()).expect("'{}' is JSON")
}

/// What a message means to a client.
#[derive(Clone, Debug)]
pub enum Incoming {
    /// A record of the room's log.
    Record(Place),
    /// The first message of a connection.
    Ready(Box<Ready>),
    /// The cursor could not be honoured; everything the log holds follows.
    Resync(Resync),
    /// What was missed has been sent.
    CaughtUp(At),
    /// The cursor moves over records that are not for us.
    Advance(Advance),
    /// The node lives; answered with what we have dealt with.
    Heartbeat,
    /// We read too slowly; what is missing comes from the log.
    Lagging,
    /// The node goes away.
    Draining(Draining),
    /// The log has a publish.
    Ack(Ack),
    /// The node's journal has a publish, and brings it to the log by itself.
    Queued(Queued),
    /// The log has a publish that was queued.
    Stored(Ack),
    /// What became of an operation.
    Fate(Fate),
    /// A message was refused.
    Error(Error),
    /// Anything else: presence, answers, types of a later version.
    Other,
}

/// Where a record stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its position.
    pub seq: u64,
    /// The position of the record before it in this room.
    pub prev: u64,
    /// Its id.
    pub event_id: EventId,
}

/// `session_ready`.
#[derive(Clone, Debug, Deserialize)]
pub struct Ready {
    /// Which log.
    #[serde(deserialize_with = "parsed")]
    pub epoch: Epoch,
    /// Where the room stands.
    pub position: u64,
    /// From where records follow.
    pub resume: Resume,
    /// How often to expect something.
    pub heartbeat: Heartbeat,
    /// What the node takes.
    pub limits: Limits,
    /// Everybody in the room, ourselves included.
    #[serde(default)]
    pub instances_total: u64,
}

/// `session_ready`'s `resume`.
#[derive(Clone, Debug, Deserialize)]
pub struct Resume {
    /// Records after this position follow.
    pub after: u64,
    /// How many of them are already in the room.
    #[serde(default)]
    pub missed: u64,
}

/// `session_ready`'s `heartbeat`.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Heartbeat {
    /// Milliseconds between heartbeats.
    pub interval_ms: u64,
    /// Milliseconds of silence after which a connection is dead.
    pub timeout_ms: u64,
}

/// `session_ready`'s `limits`.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Limits {
    /// Longest message in bytes.
    pub max_message_bytes: u64,
    /// Most publishes without an ack.
    pub publishes_in_flight: u64,
}

/// `resync`.
#[derive(Clone, Debug, Deserialize)]
pub struct Resync {
    /// Why.
    pub reason: String,
    /// Records after this position follow.
    pub after: u64,
    /// The new cursor.
    #[serde(deserialize_with = "parsed")]
    pub cursor: Cursor,
}

/// `caught_up`.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct At {
    /// Everything up to here has been sent.
    pub position: u64,
}

/// `advance`.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Advance {
    /// The position that we stand at.
    pub from: u64,
    /// The position to go on from.
    pub to: u64,
}

/// `draining`.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Draining {
    /// Milliseconds to stay away, as many as are followed.
    #[serde(default, deserialize_with = "hint")]
    pub retry_after_ms: Option<u64>,
}

/// `queued`.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Queued {
    /// Which publish.
    #[serde(deserialize_with = "parsed")]
    pub event_id: EventId,
}

/// `ack` and `stored`.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Ack {
    /// Which publish.
    #[serde(deserialize_with = "parsed")]
    pub event_id: EventId,
    /// Its position.
    pub seq: u64,
    /// It had been stored before.
    #[serde(default)]
    pub duplicate: bool,
}

/// `update.confirmed`, `update.conflict_resolved`, `update.conflict_pending`, `update.rollback` and `update.retry`.
#[derive(Clone, Debug, Deserialize)]
pub struct Fate {
    /// The operation, as its sender named it.
    #[serde(rename = "updateId")]
    pub update_id: String,
    /// The version of the entity that the answer speaks of.
    #[serde(default)]
    pub version: u64,
    /// `update.retry` only: milliseconds after which a repeat makes sense, as many as are followed.
    #[serde(default, deserialize_with = "hint")]
    pub retry_after_ms: Option<u64>,
}

/// `error`.
#[derive(Clone, Debug, Deserialize)]
pub struct Error {
    /// Stable code.
    pub code: String,
    /// For a person.
    pub message: String,
    /// Which publish, when it had a readable id.
    pub event_id: Option<String>,
    /// Which operation or question, as its sender named it.
    pub id: Option<String>,
    /// Milliseconds after which a repeat makes sense, as many as are followed.
    #[serde(default, deserialize_with = "hint")]
    pub retry_after_ms: Option<u64>,
}

fn parsed<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: std::str::FromStr,
    T::Err: std::fmt::Display,
{
    String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
}

fn hint<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    let said = Option::<u64>::deserialize(deserializer)?;
    Ok(said.map(|millis| followed(Duration::from_millis(millis)).as_millis() as u64))
}

impl Frame {
    /// Reads one text frame.
    pub fn parse(text: Utf8Bytes) -> Result<Self, Malformed> {
        let envelope: Envelope = serde_json::from_str(&text)?;
        let message = Incoming::of(&envelope)?;
        Ok(Self { text, envelope, message })
    }
}

impl Incoming {
    fn of(envelope: &Envelope) -> Result<Self, Malformed> {
        if let (Some(seq), Some(prev), Some(id)) = (envelope.seq, envelope.prev, &envelope.event_id) {
            let event_id = id.parse().map_err(<serde_json::Error as serde::de::Error>::custom)?;
            return Ok(Self::Record(Place { seq, prev, event_id }));
        }
        let data = &envelope.data;
        Ok(match envelope.event_type.as_str() {
            "session_ready" => Self::Ready(Box::new(read(data)?)),
            "resync" => Self::Resync(read(data)?),
            "caught_up" => Self::CaughtUp(read(data)?),
            "advance" => Self::Advance(read(data)?),
            "heartbeat" => Self::Heartbeat,
            "lagging" => Self::Lagging,
            "draining" => Self::Draining(read(data)?),
            "ack" => Self::Ack(read(data)?),
            "queued" => Self::Queued(read(data)?),
            "stored" => Self::Stored(read(data)?),
            "update.confirmed"
            | "update.conflict_resolved"
            | "update.conflict_pending"
            | "update.rollback"
            | "update.retry" => Self::Fate(read(data)?),
            "error" => Self::Error(read(data)?),
            _ => Self::Other,
        })
    }
}

fn read<T: DeserializeOwned>(data: &RawValue) -> Result<T, serde_json::Error> {
    serde_json::from_str(data.get())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(text: &'static str) -> Incoming {
        Frame::parse(Utf8Bytes::from_static(text)).expect(text).message
    }

    #[test]
    fn every_server_example_of_the_protocol_document_is_understood() {
        let document = include_str!("../../docs/protocol.md");
        let mut seen = 0;
        for block in document.split("```json server ").skip(1) {
            let (name, rest) = block.split_once('\n').expect("a name");
            let (json, _) = rest.split_once("```").expect("an end");
            let frame = Frame::parse(json.into()).unwrap_or_else(|error| panic!("{name}: {error}"));
            let typed = !matches!(frame.message, Incoming::Other);
            let plain = matches!(
                name,
                "authenticated" | "instance_joined" | "instance_left" | "presence_changed" | "sync_response" | "pong"
            );
            assert!(typed != plain, "{name} is {:?}", frame.message);
            seen += 1;
        }
        assert!(seen >= 12, "only {seen} examples were found");
    }

    #[test]
    fn a_record_may_have_the_type_of_nothing_known_and_any_data() {
        let text =
            r#"{"event_type":"x.y","seq":9,"prev":4,"event_id":"11111111-1111-4111-8111-111111111111","data":[1, 2]}"#;
        let frame = Frame::parse(text.into()).expect("a record");
        assert!(matches!(frame.message, Incoming::Record(Place { seq: 9, prev: 4, .. })));
        assert_eq!(frame.envelope.data.get(), "[1, 2]");
    }

    #[test]
    fn messages_of_a_later_version_are_passed_on() {
        assert!(matches!(message(r#"{"event_type":"brand_new","data":7}"#), Incoming::Other));
        assert!(Frame::parse("[]".into()).is_err());
        assert!(Frame::parse(r#"{"event_type":"ack","data":{}}"#.into()).is_err());
    }
}
