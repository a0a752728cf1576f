//! What is sent, with its id in it: a repeat is one, whatever was lost.

use serde::Deserialize;
use serde_json::value::{RawValue, to_raw_value};
use uuid::Uuid;

use super::end_to_end::{EndToEnd, Unsafe};
use crate::{
    model::{EventId, EventType, IdError},
    wire::kind::Kind,
};

/// Why a message cannot be published as it stands.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// Not one JSON object with an `event_type`.
    #[error("not a JSON object with an event_type: {0}")]
    Json(#[from] serde_json::Error),
    /// It cannot be signed or sealed as it shall be.
    #[error("{0}")]
    Unsafe(#[from] Unsafe),
    /// Nothing but an event is signed or sealed; sent as it is it would be there for all to read.
    #[error("only events are signed and sealed, and '{0}' is none: not sent")]
    Open(String),
    /// A name that the node would refuse.
    #[error("{0}")]
    Id(#[from] IdError),
}

/// One message to send, its id in it.
#[derive(Clone, Debug)]
pub struct Publish {
    pub(super) answer: Answer,
    pub(super) text: String,
}

/// What ends the waiting for a message that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The ack of this publish.
    Ack(EventId),
    /// What the node says of the operation with this id.
    Fate(EventId),
    /// The next message of this type; the question has this id, by which it may be refused.
    Message(EventId, &'static str),
    /// Nothing: it is sent once.
    None,
}

impl Answer {
    /// Whether what waits for it has this id.
    pub(super) fn is_of(self, id: EventId) -> bool {
        matches!(self, Self::Ack(of) | Self::Fate(of) | Self::Message(of, _) if of == id)
    }
}

#[derive(Deserialize)]
struct Head<'a> {
    event_type: std::borrow::Cow<'a, str>,
    event_id: Option<std::borrow::Cow<'a, str>>,
    timestamp: Option<std::borrow::Cow<'a, str>>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

impl Publish {
    /// A record of this type; `data` is any JSON value.
    pub fn new(event_type: &EventType, data: &RawValue) -> Self {
        let id = EventId(Uuid::new_v4());
        let text = format!(r#"{{"event_type":"{event_type}","event_id":"{id}","data":{}}}"#, data.get());
        Self { answer: Answer::Ack(id), text }
    }

    /// A JSON object as somebody wrote it; gets an `event_id` if it has none. What nobody answers (`ack`, `heartbeat`) is
    /// left as it is.
    pub fn from_json(text: &str) -> Result<Self, PublishError> {
        let head: Head<'_> = serde_json::from_str(text)?;
        if matches!(head.event_type.as_ref(), "ack" | "heartbeat") {
            return Ok(Self::once(text.to_owned()));
        }
        head.event_type.parse::<EventType>()?;
        let (id, text) = match head.event_id {
            Some(id) => (id.parse()?, text.to_owned()),
            None => {
                let id = EventId(Uuid::new_v4());
                let rest = text.trim_start().strip_prefix('{').expect("a JSON object starts with '{'");
                (id, format!(r#"{{"event_id":"{id}",{rest}"#))
            }
        };
        let answer = match head.event_type.as_ref() {
            "sync_request" => Answer::Message(id, "sync_response"),
            "ping" => Answer::Message(id, "pong"),
            _ => Answer::Ack(id),
        };
        Ok(Self { answer, text })
    }
}

impl Publish {
    /// An operation's message as it stands; `id` is the operation's.
    pub fn operation(id: EventId, text: String) -> Self {
        Self { answer: Answer::Fate(id), text }
    }

    /// A message as it stands that is sent once, on the connection that there is, and not waited for.
    pub fn once(text: String) -> Self {
        Self { answer: Answer::None, text }
    }

    /// An event's message as it stands; `id` is the event's.
    pub fn event(id: EventId, text: String) -> Self {
        Self { answer: Answer::Ack(id), text }
    }
}

/// The same, signed and sealed on their way out.
impl Publish {
    /// A record of this type.
    ///
    /// # Errors
    ///
    /// It cannot be signed or sealed.
    pub fn protected(event_type: &EventType, data: &RawValue, with: &EndToEnd) -> Result<Self, PublishError> {
        Self::protected_as(EventId(Uuid::new_v4()), event_type, None, data, with)
    }

    /// A JSON object as somebody wrote it.
    ///
    /// # Errors
    ///
    /// It is no event, or cannot be signed or sealed.
    pub fn protected_json(text: &str, with: &EndToEnd) -> Result<Self, PublishError> {
        let Head { event_type, event_id, timestamp, data } = serde_json::from_str(text)?;
        match Kind::of(&event_type) {
            Kind::Session => return Self::from_json(text),
            Kind::Event => {}
            _ => return Err(PublishError::Open(event_type.into_owned())),
        }
        let id = event_id.map_or_else(|| Ok(EventId(Uuid::new_v4())), |id| id.parse())?;
        let nothing = to_raw_value(&serde_json::Map::new())?;
        Self::protected_as(id, &event_type.parse()?, timestamp.as_deref(), data.unwrap_or(&nothing), with)
    }

    fn protected_as(
        id: EventId,
        event_type: &EventType,
        timestamp: Option<&str>,
        data: &RawValue,
        with: &EndToEnd,
    ) -> Result<Self, PublishError> {
        let (data, sig) = with.protect(id, event_type, data)?;
        let mut message = serde_json::Map::new();
        message.insert("event_type".into(), event_type.as_str().into());
        message.insert("event_id".into(), id.to_string().into());
        message.extend(timestamp.map(|time| ("timestamp".into(), time.into())));
        message.extend(sig.map(|sig| Ok::<_, PublishError>(("sig".into(), serde_json::to_value(sig)?))).transpose()?);
        let mut text = serde_json::to_string(&message)?;
        // The content as it is, whatever its numbers.
        text.truncate(text.len() - 1);
        text.push_str(&format!(",\"data\":{data}}}"));
        Ok(Self { answer: Answer::Ack(id), text })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_sent_as_written_with_an_id() {
        let text = r#" {"event_type":"note","data":{"b":1,"a":2.0}}"#;
        let publish = Publish::from_json(text).expect("a publish");
        assert!(publish.text.ends_with(r#","event_type":"note","data":{"b":1,"a":2.0}}"#), "{}", publish.text);
        assert!(publish.text.starts_with(r#"{"event_id":""#));
        assert!(Publish::from_json(r#"{"event_type":"ping"}"#).is_ok_and(
            |ping| matches!(ping.answer, Answer::Message(id, "pong") if ping.text.contains(&id.to_string()))
        ));
        for bad in ["{}", "[]", r#"{"event_type":"a b"}"#, r#"{"event_type":"note","event_id":"7"}"#] {
            assert!(Publish::from_json(bad).is_err(), "{bad}");
        }
    }
}
