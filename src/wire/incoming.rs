//! What clients send, turned into types: the only reader of client JSON.

pub(super) mod naming;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    changes::{self, Changes},
    codes::{Code, Refusal},
    interest::{self, Subscribe, Unsubscribe},
    kind::{Door, Kind, admit},
    operation::Sender,
    record::Publish,
    signal, signature,
    state::StateRequest,
    text::Text,
    token::{self, Token},
};
use crate::model::{
    Cursor, EventId, EventType, InstanceId, Position, TenantId, Timestamp, interest::Focus, resume::Since,
};

/// The fields of an envelope as a client may send them; others are ignored.
#[derive(Debug, Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    event_type: Option<Text<'a>>,
    #[serde(borrow)]
    event_id: Option<Text<'a>>,
    #[serde(borrow)]
    tenant_id: Option<Text<'a>>,
    #[serde(borrow)]
    instance_id: Option<Text<'a>>,
    #[serde(borrow)]
    timestamp: Option<Text<'a>>,
    #[serde(borrow)]
    sig: Option<&'a RawValue>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

/// One message of a client.
#[derive(Clone, Debug)]
pub enum ClientMessage {
    /// Append this to the room's log.
    Publish(Publish),
    /// Pass this on to the others now.
    Signal(signal::Sent),
    /// Go on under this token.
    Auth(Token),
    /// Answer with a pong. A question's name is for its refusal.
    Ping(Option<Arc<str>>),
    /// Tell the room's figures.
    SyncRequest(Option<Arc<str>>),
    /// Everything up to here was dealt with; `None`: a sign of life only.
    Ack(Option<Position>),
    /// Change entities.
    Change(Changes),
    /// Send the room's state.
    State(StateRequest),
    /// Follow this, or only what comes on these channels, from now on.
    Subscribe(Subscribe),
    /// No more of these.
    Unsubscribe(Unsubscribe),
    /// This is what the client is busy with.
    Focus(Arc<Focus>),
    /// Go back to here and read on.
    Reconnect {
        /// Where.
        since: Since,
        /// The same as it was written.
        requested: String,
    },
}

/// Reads one message of a session. `depth` is the greatest nesting.
///
/// # Errors
///
/// What is wrong with it; the refusal names the message if it has a readable id, however wrong the rest is.
pub fn read(text: &str, sender: Sender<'_>, depth: usize) -> Result<ClientMessage, Refusal> {
    message(text, sender, depth).map_err(|refusal| match (&refusal.event_id, &refusal.reference) {
        (None, None) => about(naming::first("event_id", text).and_then(|id| id.parse().ok()), refusal),
        _ => refusal,
    })
}

fn message(text: &str, sender: Sender<'_>, depth: usize) -> Result<ClientMessage, Refusal> {
    let envelope = envelope(text, depth)?;
    if envelope.instance_id.as_deref().is_some_and(|claimed| claimed != sender.author.instance.as_str()) {
        return Err(mismatch("instance_id"));
    }
    if let Some(kind) = envelope.event_type.as_deref().filter(|kind| changes::is_change(kind)) {
        if envelope.tenant_id.as_deref().is_some_and(|claimed| claimed != sender.tenant.as_str()) {
            return Err(mismatch("tenant_id"));
        }
        let id = envelope.event_id.as_deref();
        signature::none(envelope.sig)
            .map_err(|refusal| id.into_iter().fold(refusal, |refusal, id| refusal.concerning(id.into())))?;
        let parts = changes::Message { kind, id, data: envelope.data, event: None };
        return changes::read(parts, sender).map(ClientMessage::Change).map_err(|mut refusal| {
            refusal.reference = refusal.reference.or_else(|| id.map(Arc::from));
            refusal
        });
    }
    let (kind, id) = head(&envelope, sender.tenant, Door::Sync)?;
    if kind == Kind::Session {
        return session(&envelope, id);
    }
    let publish = publish(envelope, id)?;
    if kind != Kind::Signal {
        return Ok(ClientMessage::Publish(publish));
    }
    if publish.sig.is_some() {
        return Err(about(id, signature::misplaced()));
    }
    let Publish { event_type, timestamp, data, .. } = publish;
    let reference = id.map(|id| id.to_string().into());
    Ok(ClientMessage::Signal(signal::Sent { event_type, reference, timestamp, data }))
}

/// Reads one publish of an HTTP request, where the envelope itself must name the instance.
pub fn read_publish(text: &str, tenant: &TenantId, depth: usize) -> Result<(InstanceId, Publish), Refusal> {
    let envelope = envelope(text, depth)?;
    let Some(instance) = envelope.instance_id.as_deref() else {
        return Err(Refusal::new(Code::InvalidMessage, "'instance_id' is missing: say who publishes"));
    };
    let instance = instance.parse().map_err(|error| Refusal::of_name(Code::InvalidInstance, &error))?;
    // Only an event passes this door.
    let (_, id) = head(&envelope, tenant, Door::Http)?;
    Ok((instance, publish(envelope, id)?))
}

/// Splits the body of an HTTP request into envelopes: one object, or a list of them.
pub fn split_publishes(text: &str, depth: usize) -> Result<(Vec<&RawValue>, Shape), Refusal> {
    check_text(text, depth + 1)?;
    let trimmed = text.trim_start();
    if trimmed.starts_with('[') {
        let list = serde_json::from_str::<Vec<&RawValue>>(text).map_err(|error| invalid_json(&error))?;
        Ok((list, Shape::List))
    } else {
        let one = serde_json::from_str::<&RawValue>(text).map_err(|error| invalid_json(&error))?;
        Ok((vec![one], Shape::One))
    }
}

/// Whether an HTTP request held one envelope or a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// One object.
    One,
    /// A list, also of one.
    List,
}

/// What a message that changes nothing is for, and its id; refused when it is not for this room or not for this door.
fn head(envelope: &Envelope<'_>, tenant: &TenantId, door: Door) -> Result<(Kind, Option<EventId>), Refusal> {
    let id = match envelope.event_id.as_deref() {
        None => None,
        Some(text) => Some(text.parse::<EventId>().map_err(|error| Refusal::of_name(Code::InvalidEventId, &error))?),
    };
    if envelope.tenant_id.as_deref().is_some_and(|claimed| claimed != tenant.as_str()) {
        return Err(about(id, mismatch("tenant_id")));
    }
    let Some(event_type) = envelope.event_type.as_deref() else {
        return Err(about(id, Refusal::new(Code::InvalidMessage, "'event_type' is missing")));
    };
    let kind = admit(event_type, door).map_err(|refusal| about(id, refusal))?;
    Ok((kind, id))
}

fn about(id: Option<EventId>, refusal: Refusal) -> Refusal {
    match id {
        Some(id) => refusal.about(id),
        None => refusal,
    }
}

fn session(envelope: &Envelope<'_>, id: Option<EventId>) -> Result<ClientMessage, Refusal> {
    let data = envelope.data;
    let reference = || envelope.event_id.as_deref().map(Arc::from);
    let read = match envelope.event_type.as_deref().unwrap_or_default() {
        "ping" => Ok(ClientMessage::Ping(reference())),
        "auth" => token::read(data).map(ClientMessage::Auth),
        "sync_request" => Ok(ClientMessage::SyncRequest(reference())),
        "graph.sync" => return StateRequest::read(reference(), data).map(ClientMessage::State),
        "subscribe" => Subscribe::read(data).map(ClientMessage::Subscribe),
        "unsubscribe" => Unsubscribe::read(data).map(ClientMessage::Unsubscribe),
        "gonzai.focus" => interest::read_focus(data).map(ClientMessage::Focus),
        acknowledging => acknowledged(data, acknowledging),
    };
    read.map_err(|refusal| about(id, refusal))
}

/// What is to be published, whether it will be stored or not.
fn publish(envelope: Envelope<'_>, id: Option<EventId>) -> Result<Publish, Refusal> {
    let about = |refusal| about(id, refusal);
    let event_type = envelope.event_type.unwrap_or_default();
    let event_type: EventType =
        event_type.parse().map_err(|error| about(Refusal::of_name(Code::InvalidType, &error)))?;
    let timestamp = match envelope.timestamp.as_deref() {
        None => None,
        Some(text) => Some(Timestamp::parse(text).ok_or_else(|| {
            about(Refusal::new(
                Code::InvalidMessage,
                "'timestamp' is not an RFC 3339 time; leave it out for the node's",
            ))
        })?),
    };
    let data = match envelope.data {
        Some(raw) => raw.to_owned(),
        None => RawValue::from_string("{}".into()).unwrap_or_default(),
    };
    let sig = signature::read(envelope.sig, id.is_some()).map_err(about)?;
    let id = id.unwrap_or_else(|| EventId(uuid::Uuid::new_v4()));
    Ok(Publish { id, reference: None, event_type, timestamp, sig, data })
}

pub(super) fn acknowledged(data: Option<&RawValue>, event_type: &str) -> Result<ClientMessage, Refusal> {
    #[derive(Deserialize)]
    struct Data<'a> {
        seq: Option<u64>,
        position: Option<u64>,
        #[serde(borrow)]
        cursor: Option<Text<'a>>,
    }
    let position = match data.map(|raw| serde_json::from_str::<Data<'_>>(raw.get())) {
        None => None,
        Some(Ok(Data { seq, position, cursor })) => {
            let from_cursor = || cursor.as_deref().and_then(|text| text.parse::<Cursor>().ok()).map(|c| c.position.0);
            seq.or(position).or_else(from_cursor)
        }
        Some(Err(_)) if event_type == "heartbeat" => None,
        Some(Err(_)) => return Err(Refusal::new(Code::InvalidMessage, "'data' must hold 'seq', a whole number")),
    };
    if position.is_none() && event_type == "ack" {
        return Err(Refusal::new(Code::InvalidMessage, "'data.seq' is missing"));
    }
    Ok(ClientMessage::Ack(position.map(Position)))
}

fn envelope(text: &str, depth: usize) -> Result<Envelope<'_>, Refusal> {
    check_text(text, depth)?;
    serde_json::from_str(text).map_err(|error| explain::<Envelope<'_>>(text, &error))
}

/// What is wrong with a text that was to be an envelope.
pub(super) fn explain<'a, T: Deserialize<'a>>(text: &'a str, error: &serde_json::Error) -> Refusal {
    if !error.is_data() {
        return invalid_json(error);
    }
    // Only now, for the message: parse again and note the path.
    let deserializer = &mut serde_json::Deserializer::from_str(text);
    match serde_path_to_error::deserialize::<_, T>(deserializer) {
        Err(error) if error.path().iter().next().is_some() => {
            Refusal::new(Code::InvalidMessage, format!("'{}' has the wrong type", error.path()))
        }
        _ => Refusal::new(Code::InvalidMessage, "a message is one JSON object, each field at most once"),
    }
}

pub(super) fn invalid_json(error: &serde_json::Error) -> Refusal {
    let message = format!("not JSON at line {}, column {}", error.line(), error.column());
    Refusal::new(Code::InvalidJson, message)
}

pub(super) fn mismatch(field: &str) -> Refusal {
    Refusal::new(Code::IdentityMismatch, format!("'{field}' is not this session's; leave it out"))
}

/// Looks at what the parser lets pass in content that it does not read: nesting (whoever receives it may walk it
/// recursively) and escapes of half a surrogate pair (strict readers refuse the whole record).
pub(super) fn check_text(text: &str, limit: usize) -> Result<(), Refusal> {
    let bytes = text.as_bytes();
    let (mut depth, mut in_string, mut at) = (0usize, false, 0);
    while let Some(byte) = bytes.get(at) {
        at += 1;
        match byte {
            b'\\' if in_string => at += escape_len(&bytes[at - 1..])? - 1,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'{' | b'[' => {
                depth += 1;
                if depth > limit {
                    return Err(Refusal::new(Code::TooDeep, format!("nested deeper than {limit}")));
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    Ok(())
}

/// Length of the escape at the start of these bytes; what is no escape is left for the parser to refuse.
fn escape_len(bytes: &[u8]) -> Result<usize, Refusal> {
    let unit = |from: usize| {
        let digits = bytes.get(from..from + 6)?.strip_prefix(b"\\u")?;
        u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    };
    let half = || Refusal::new(Code::InvalidJson, "an escape like \\ud800 is half of a pair; send both halves");
    match unit(0) {
        Some(0xd800..=0xdbff) => match unit(6) {
            Some(0xdc00..=0xdfff) => Ok(12),
            _ => Err(half()),
        },
        Some(0xdc00..=0xdfff) => Err(half()),
        Some(_) => Ok(6),
        None => Ok(2),
    }
}
