//! The second envelope, `{id, type, timestamp, data}`, as clients of `/ws` write it. The seeds that speak it are told apart
//! by their types.

use std::{borrow::Cow, sync::Arc};

use serde::Deserialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::{
    changes,
    codes::{Code, Refusal},
    incoming::{ClientMessage, acknowledged, check_text, explain, mismatch, naming},
    interest::{self, Subscribe, Unsubscribe},
    kind::{Door, Kind, admit},
    operation::{Identity, Sender},
    record::Publish,
    signal, signature,
    state::StateRequest,
    text::Text,
    token,
};
use crate::model::{EventId, EventType, Timestamp, resume::Since};

/// The fields of an envelope as a client may send them; others are ignored.
#[derive(Debug, Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    r#type: Option<Text<'a>>,
    #[serde(borrow)]
    id: Option<Text<'a>>,
    /// A text or, from Gitmind's clients, a number.
    #[serde(borrow)]
    timestamp: Option<&'a RawValue>,
    /// Gitmind's version of the protocol.
    #[serde(borrow)]
    version: Option<&'a RawValue>,
    #[serde(borrow, alias = "userId")]
    user_id: Option<Text<'a>>,
    #[serde(borrow)]
    event: Option<&'a RawValue>,
    #[serde(borrow)]
    sig: Option<&'a RawValue>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    #[serde(borrow)]
    last_sync_timestamp: Option<Text<'a>>,
    #[serde(borrow)]
    cursor: Option<Text<'a>>,
}

/// Reads one message of a session on `/ws`. `depth` is the greatest nesting.
///
/// # Errors
///
/// What is wrong with it; the refusal names the message if it had an id.
pub fn read(text: &str, sender: Sender<'_>, depth: usize) -> Result<ClientMessage, Refusal> {
    let envelope = envelope(text, depth).map_err(|refusal| match naming::first("id", text) {
        Some(id) => refusal.concerning(id.into()),
        None => refusal,
    })?;
    let reference: Option<Arc<str>> = envelope.id.as_deref().map(Arc::from);
    let kind = envelope.r#type.clone().unwrap_or_default();
    let name = |refusal: &mut Refusal| {
        if refusal.reference.is_none() {
            refusal.reference.clone_from(&reference);
        }
        refusal.of_gitmind = super::message::is_gitmind(&kind);
    };
    match message(envelope, sender) {
        Ok(ClientMessage::Change(mut changes)) => {
            changes.wanted.iter_mut().filter_map(|wanted| wanted.as_mut().err()).for_each(name);
            Ok(ClientMessage::Change(changes))
        }
        Ok(message) => Ok(message),
        Err(mut refusal) => {
            name(&mut refusal);
            Err(refusal)
        }
    }
}

fn envelope(text: &str, depth: usize) -> Result<Envelope<'_>, Refusal> {
    check_text(text, depth)?;
    serde_json::from_str(text).map_err(|error| explain::<Envelope<'_>>(text, &error))
}

fn message(envelope: Envelope<'_>, sender: Sender<'_>) -> Result<ClientMessage, Refusal> {
    let Some(kind) = envelope.r#type.as_deref() else {
        return Err(Refusal::new(Code::InvalidMessage, "'type' is missing"));
    };
    check_version(envelope.version)?;
    if let Some(claimed) = envelope.user_id.as_deref()
        && sender.author.user.as_deref() != Some(claimed)
        && (sender.author.user.is_some() || sender.identity == Identity::Proven)
    {
        return Err(mismatch("userId"));
    }
    match admit(kind, Door::Typed)? {
        Kind::Session => session(&envelope, kind),
        Kind::Change => {
            signature::none(envelope.sig)?;
            let (id, data, event) = (envelope.id.as_deref(), envelope.data, envelope.event);
            changes::read(changes::Message { kind, id, data, event }, sender).map(ClientMessage::Change)
        }
        Kind::Signal => signal(&envelope, kind),
        Kind::Event | Kind::Said => publish(&envelope, kind, sender),
    }
}

fn session(envelope: &Envelope<'_>, kind: &str) -> Result<ClientMessage, Refusal> {
    let reference = || envelope.id.as_deref().map(Arc::from);
    match kind {
        "ping" => Ok(ClientMessage::Ping(reference())),
        "auth" => token::read(envelope.data).map(ClientMessage::Auth),
        "ack" => acknowledged(envelope.data, "ack"),
        "sync_request" => Ok(ClientMessage::SyncRequest(reference())),
        "graph.sync" => StateRequest::read(reference(), envelope.data).map(ClientMessage::State),
        "sync_reconnect" => reconnect(envelope),
        "subscribe" => Subscribe::read(envelope.data).map(ClientMessage::Subscribe),
        "unsubscribe" => Unsubscribe::read(envelope.data).map(ClientMessage::Unsubscribe),
        "gonzai.focus" => interest::read_focus(envelope.data).map(ClientMessage::Focus),
        // Signs of life, under any of their names.
        _ => acknowledged(envelope.data, "heartbeat"),
    }
}

/// Gitmind's messages say which version of its protocol they speak.
fn check_version(version: Option<&RawValue>) -> Result<(), Refusal> {
    let Some(version) = version else { return Ok(()) };
    let major = version.get().trim_matches('"').split('.').next().unwrap_or_default();
    if matches!(major, "1" | "null") {
        return Ok(());
    }
    Err(Refusal::new(Code::InvalidMessage, "'version' is not one this node speaks; it speaks 1"))
}

fn publish(envelope: &Envelope<'_>, kind: &str, sender: Sender<'_>) -> Result<ClientMessage, Refusal> {
    let (event_type, reference, timestamp, data) = content(envelope, kind)?;
    // A signature is over the event's id, and of another text than a UUID the signer could not know what becomes of it.
    let names_id = envelope.id.as_deref().is_some_and(|id| Uuid::try_parse(id).is_ok());
    let sig = signature::read(envelope.sig, names_id)?;
    let id = match envelope.id.as_deref() {
        None | Some("") => EventId(Uuid::new_v4()),
        // Ids of any form are good: what is stored is a UUID that follows from them and their sender.
        Some(text) => EventId(super::operation::op_id(sender, text).0),
    };
    Ok(ClientMessage::Publish(Publish { id, reference, event_type, timestamp, sig, data }))
}

fn signal(envelope: &Envelope<'_>, kind: &str) -> Result<ClientMessage, Refusal> {
    signature::none(envelope.sig)?;
    let (event_type, reference, timestamp, data) = content(envelope, kind)?;
    Ok(ClientMessage::Signal(signal::Sent { event_type, reference, timestamp, data }))
}

type Content = (EventType, Option<Arc<str>>, Option<Timestamp>, Box<RawValue>);

fn content(envelope: &Envelope<'_>, kind: &str) -> Result<Content, Refusal> {
    let event_type: EventType = kind.parse().map_err(|error| Refusal::of_name(Code::InvalidType, &error))?;
    let timestamp = envelope.timestamp.map(timestamp).transpose()?;
    let data = envelope.data.map_or_else(|| RawValue::from_string("{}".into()).unwrap_or_default(), ToOwned::to_owned);
    let reference = envelope.id.as_deref().filter(|id| !id.is_empty()).map(Arc::from);
    Ok((event_type, reference, timestamp, data))
}

fn timestamp(raw: &RawValue) -> Result<Timestamp, Refusal> {
    let time = match serde_json::from_str::<Cow<'_, str>>(raw.get()) {
        Ok(text) => Timestamp::parse(&text),
        Err(_) => serde_json::from_str::<f64>(raw.get()).ok().map(|millis| Timestamp(millis as i64)),
    };
    let message = "'timestamp' is neither an RFC 3339 time nor a number of milliseconds; leave it out for the node's";
    time.ok_or_else(|| Refusal::new(Code::InvalidMessage, message))
}

/// Where to go on: Aether's clients say when they last synchronised.
fn reconnect(envelope: &Envelope<'_>) -> Result<ClientMessage, Refusal> {
    #[derive(Default, Deserialize)]
    struct Data {
        last_sync_timestamp: Option<String>,
        cursor: Option<String>,
    }
    let data: Data = envelope.data.and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default();
    let cursor = envelope.cursor.as_deref().or(data.cursor.as_deref());
    let time = envelope.last_sync_timestamp.as_deref().or(data.last_sync_timestamp.as_deref());
    let since = match (cursor, time) {
        (Some(cursor), _) => Since::parse(cursor).filter(|since| matches!(since, Since::Cursor(_) | Since::Earliest)),
        (None, Some(time)) => Timestamp::parse(time).map(Since::Time),
        (None, None) => None,
    };
    let requested = cursor.or(time).unwrap_or_default().to_owned();
    let message = "'cursor' or 'last_sync_timestamp' must say where to go on: a cursor, or an RFC 3339 time";
    let since = since.ok_or_else(|| Refusal::new(Code::InvalidMessage, message))?;
    Ok(ClientMessage::Reconnect { since, requested })
}
