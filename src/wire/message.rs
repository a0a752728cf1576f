//! A stored record as the message that a client gets, in either envelope.
//!
//! Events pass through as they are; what goes out for an entity follows from its type.

mod fields;

use std::borrow::Cow;

use bytes::{BufMut, BytesMut};
use serde::{Deserialize, Serialize};
use serde_json::{Value, value::RawValue};

pub(super) use self::fields::Fields;
pub use self::fields::json_list;
use super::{
    encoding::Encoding,
    entity::{About, event_type},
    preview,
    record::put_json_string,
    text::Text,
};
use crate::model::{
    RecordMeta, Timestamp,
    record::{self, Happened, View},
};

/// Which envelope a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Envelope {
    /// `{event_type, tenant_id, timestamp, instance_id, data}`: `/ws/sync`, HTTP.
    Sync,
    /// `{id, type, timestamp, data}`: `/ws`.
    Typed,
}

/// Whether a client gets changes of entities as changes or as the entity that they led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Deltas {
    /// The whole entity, and what changed.
    Off,
    /// What changed, and since which version.
    On,
}

/// In which form a session receives records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Variant {
    /// The envelope.
    pub envelope: Envelope,
    /// Whole entities or changes.
    pub deltas: Deltas,
    /// Greatest length of strings in `data`, in characters; `None` for the whole.
    pub preview: Option<u32>,
    /// In which frames.
    pub encoding: Encoding,
}

impl Variant {
    /// Everything as it is, in an envelope.
    pub const fn whole(envelope: Envelope) -> Self {
        Self { envelope, deltas: Deltas::Off, preview: None, encoding: Encoding::Text }
    }
}

/// The stored form, read.
#[derive(Debug, Deserialize)]
struct Stored<'a> {
    #[serde(borrow)]
    event_type: Cow<'a, str>,
    #[serde(borrow)]
    event_id: Cow<'a, str>,
    #[serde(borrow)]
    tenant_id: Cow<'a, str>,
    #[serde(borrow)]
    timestamp: Cow<'a, str>,
    #[serde(borrow)]
    instance_id: Cow<'a, str>,
    #[serde(borrow, default)]
    entity: Option<About<'a>>,
    #[serde(borrow, default)]
    sig: Option<&'a RawValue>,
    #[serde(borrow)]
    data: &'a RawValue,
}

/// What a message holds beside its envelope.
#[derive(Debug)]
struct Content<'a> {
    event_type: Cow<'a, str>,
    data: Cow<'a, str>,
    /// What one of the seeds has beside `data`.
    event: Option<String>,
    user: Option<&'a str>,
}

/// What goes in place of a stored form's opening brace, if the message is the stored form as it is but for that.
pub(super) fn splice(meta: &RecordMeta, variant: Variant) -> Option<String> {
    let is_plain = variant.envelope == Envelope::Sync && meta.about == record::About::Event;
    (is_plain && variant.preview.is_none()).then(|| places(meta))
}

fn places(meta: &RecordMeta) -> String {
    format!("{{\"seq\":{},\"prev\":{},", meta.position, meta.prev)
}

/// Writes the message for a record: one JSON object. Only a stored form that [`super::record::Record::read`] took can come
/// here; what could not be read after all is passed on as it is.
pub(super) fn put(out: &mut BytesMut, meta: &RecordMeta, body: &[u8], variant: Variant, view: View) {
    if let Some(head) = splice(meta, variant) {
        out.extend_from_slice(head.as_bytes());
        out.extend_from_slice(&body[1..]);
        return;
    }
    let Ok(stored) = serde_json::from_slice::<Stored<'_>>(body) else {
        out.extend_from_slice(places(meta).as_bytes());
        out.extend_from_slice(&body[1..]);
        return;
    };
    let content = match &stored.entity {
        None => {
            Content { event_type: stored.event_type.clone(), data: stored.data.get().into(), event: None, user: None }
        }
        Some(about) => of_entity(&stored, about, meta, variant, view),
    };
    let (content, truncated) = shorten(content, variant.preview);
    match variant.envelope {
        Envelope::Sync => put_sync(out, meta, &stored, &content),
        Envelope::Typed => put_typed(out, meta, &stored, &content),
    }
    if !truncated.is_empty() {
        out.extend_from_slice(b",\"truncated\":");
        put_value(out, &truncated);
    }
    out.put_u8(b'}');
}

fn put_field(out: &mut BytesMut, name: &str, text: &str) {
    out.put_u8(b'"');
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
    put_json_string(out, text);
}

pub(super) fn put_value(out: &mut BytesMut, value: &impl Serialize) {
    // Writing JSON into memory cannot fail.
    let _ = serde_json::to_writer(out.writer(), value);
}

fn put_sync(out: &mut BytesMut, meta: &RecordMeta, stored: &Stored<'_>, content: &Content<'_>) {
    out.extend_from_slice(places(meta).as_bytes());
    for (name, text) in [
        ("event_type", &content.event_type),
        ("event_id", &stored.event_id),
        ("tenant_id", &stored.tenant_id),
        ("timestamp", &stored.timestamp),
        ("instance_id", &stored.instance_id),
    ] {
        put_field(out, name, text);
        out.put_u8(b',');
    }
    put_sig(out, stored.sig);
    out.extend_from_slice(b"\"data\":");
    match &content.event {
        // `data` is one object here: the event takes its place in it.
        Some(event) => {
            out.extend_from_slice(b"{\"event\":");
            out.extend_from_slice(event.as_bytes());
            out.put_u8(b',');
            out.extend_from_slice(&content.data.as_bytes()[1..]);
        }
        None => out.extend_from_slice(content.data.as_bytes()),
    }
}

fn put_typed(out: &mut BytesMut, meta: &RecordMeta, stored: &Stored<'_>, content: &Content<'_>) {
    out.extend_from_slice(places(meta).as_bytes());
    put_field(out, "id", &stored.event_id);
    out.put_u8(b',');
    put_field(out, "type", &content.event_type);
    if is_gitmind(&content.event_type) {
        let millis = Timestamp::parse(&stored.timestamp).unwrap_or_default().0;
        out.extend_from_slice(format!(",\"timestamp\":{millis},\"version\":\"1.0\",").as_bytes());
        if let Some(user) = content.user {
            put_field(out, "userId", user);
            out.put_u8(b',');
        }
    } else {
        out.put_u8(b',');
        put_field(out, "timestamp", &stored.timestamp);
        out.put_u8(b',');
    }
    put_field(out, "instance_id", &stored.instance_id);
    if let Some(event) = &content.event {
        out.extend_from_slice(b",\"event\":");
        out.extend_from_slice(event.as_bytes());
    }
    out.put_u8(b',');
    put_sig(out, stored.sig);
    out.extend_from_slice(b"\"data\":");
    out.extend_from_slice(content.data.as_bytes());
}

fn put_sig(out: &mut BytesMut, sig: Option<&RawValue>) {
    if let Some(sig) = sig {
        out.extend_from_slice(format!("\"sig\":{sig},").as_bytes());
    }
}

/// Whether a type is one of Gitmind's, whose messages have a number for a time.
pub fn is_gitmind(event_type: &str) -> bool {
    let family = event_type.split('.').next().unwrap_or_default();
    matches!(family, "node" | "edge" | "graph" | "batch" | "cursor" | "selection" | "gonzai" | "chaos" | "system")
        || event_type == "user.presence"
}

/// What an entity's record says to a client.
fn of_entity<'a>(
    stored: &Stored<'a>,
    about: &'a About<'a>,
    meta: &RecordMeta,
    variant: Variant,
    view: View,
) -> Content<'a> {
    let happened = view.happened(about.happened);
    let user = about.parts.last().and_then(|part| part.by.user.as_deref());
    let name = event_type(&about.kind, happened);
    let data = stored.data.get();
    let mut fields = Fields::default();
    let mut event = None;
    // Private things that appear to the others are new to them: they have nothing that a change could be applied to.
    let is_whole = variant.deltas == Deltas::Off || happened == Happened::Created || name.starts_with("memory.");
    match &*about.kind {
        _ if name.starts_with("conflict.") => {
            fields.entity(&about.kind, &about.id);
        }
        kind @ ("memory" | "node" | "edge") if happened == Happened::Deleted => {
            fields.text(&format!("{kind}_id"), &about.id);
            if kind == "memory" {
                fields.text("title", &title(data));
            }
        }
        kind @ ("memory" | "node" | "edge") => {
            let content = if is_whole { data } else { "{}" };
            fields.raw(kind, &with_id(&about.id, content));
        }
        "context" => {
            context(&mut fields, stored, about, happened);
            if is_whole && happened != Happened::Deleted {
                fields.raw("context", data);
            }
        }
        _ => event = Some(sync_event(stored, about, happened, is_whole.then_some(data))),
    }
    if happened == Happened::Updated {
        // `{"changes":…}` becomes fields of this object.
        fields.splice(about.delta.get());
    }
    if variant.deltas == Deltas::Off {
        fields.number("version", meta.position.0);
    }
    if happened != Happened::Created {
        fields.number("base_version", about.base);
    }
    if let Some(part) = about.parts.last() {
        part.by.user.iter().for_each(|user| fields.text("user_id", user));
        part.by.name.iter().for_each(|name| fields.text("user_name", name));
    }
    if about.parts.len() > 1 {
        let by: Vec<&str> = about.parts.iter().map(|part| part.by.instance.as_str()).collect();
        fields.raw("changed_by_all", &serde_json::to_string(&by).unwrap_or_default());
    }
    Content { event_type: name.into(), data: fields.end().into(), event, user }
}

fn context(fields: &mut Fields, stored: &Stored<'_>, about: &About<'_>, happened: Happened) {
    let (level, id) = about.id.split_once(':').unwrap_or(("", &about.id));
    fields.text("event", "context_changed");
    fields.text("level", level);
    fields.text("context_id", id);
    fields.text("changed_by", about.parts.last().map_or("", |part| part.by.instance.as_str()));
    fields.text("timestamp", &stored.timestamp);
    fields.text("change_type", action(happened));
}

/// The word of an operation that has this effect.
pub(super) fn action(happened: Happened) -> &'static str {
    match happened {
        Happened::Created => "create",
        Happened::Deleted => "delete",
        _ => "update",
    }
}

fn sync_event(stored: &Stored<'_>, about: &About<'_>, happened: Happened, data: Option<&str>) -> String {
    let mut fields = Fields::default();
    fields.text("id", &stored.event_id);
    fields.entity(&about.kind, &about.id);
    fields.text("action", action(happened));
    if let Some(data) = data.filter(|_| happened != Happened::Deleted) {
        fields.raw("data", data);
    }
    fields.text("timestamp", &stored.timestamp);
    if let Some(part) = about.parts.last() {
        part.by.user.iter().for_each(|user| fields.text("user_id", user));
        fields.text("device_id", part.by.instance.as_str());
    }
    fields.end()
}

/// `{"id":…,` and the content's own fields, which have no `id`: what comes in is checked for that.
pub(super) fn with_id(id: &str, content: &str) -> String {
    let mut fields = Fields::default();
    fields.text("id", id);
    fields.splice(content);
    fields.end()
}

fn title(data: &str) -> String {
    #[derive(Deserialize)]
    struct Titled<'a> {
        #[serde(borrow, default)]
        title: Option<Text<'a>>,
    }
    serde_json::from_str::<Titled<'_>>(data).ok().and_then(|titled| titled.title).unwrap_or_default().to_string()
}

/// Cuts long strings; says where, as pointers into `data`.
fn shorten(content: Content<'_>, limit: Option<u32>) -> (Content<'_>, Vec<String>) {
    let Some(limit) = limit.map(|limit| limit as usize).filter(|limit| content.data.len() > *limit) else {
        return (content, Vec::new());
    };
    let Ok(mut value) = serde_json::from_str::<Value>(&content.data) else { return (content, Vec::new()) };
    let truncated = preview::cut(&mut value, limit);
    if truncated.is_empty() {
        return (content, truncated);
    }
    (Content { data: value.to_string().into(), ..content }, truncated)
}
