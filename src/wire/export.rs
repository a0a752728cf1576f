//! The lines of an exported tenant: one JSON object each, in a file that says itself whether it is whole.
//!
//! The first line says what the file is, the last how many there are and the SHA-256 of all bytes before it. Owns: the form of the
//! lines, both ways. A file comes from anywhere: its events are read like a client's, its entities' contents too.

use std::{borrow::Cow, sync::Arc};

use bytes::BytesMut;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::{
    codes::{Code, Refusal},
    entity::{self, EntityBody},
    incoming,
    message::put_value,
    operation::{Identity, Sender},
    record::Publish,
    request::{self, Request, What},
};
use crate::model::{
    EntityKey, InstanceId, Position, TenantId, Timestamp,
    entity::{Base, Decision, Entity, Limits, OpId, Precondition, State, THIS, decide},
    lane::Draft,
    rights::Entities,
};

/// What the first line calls the file.
pub const FORMAT: &str = "continuum-tenant";
/// The form of the lines.
pub const VERSION: u32 = 1;

/// The first line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// [`FORMAT`].
    pub format: String,
    /// [`VERSION`].
    pub version: u32,
    /// Whose.
    pub tenant: TenantId,
    /// The log that the positions are of.
    pub epoch: String,
    /// When the export began, RFC 3339.
    pub exported_at: String,
}

/// The last line.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// Everything up to here is in the file, and nothing behind it.
    pub position: u64,
    /// Lines that are events.
    pub events: u64,
    /// Lines that are entities.
    pub entities: u64,
    /// Records that could not be read and are left out.
    #[serde(default)]
    pub damaged: u64,
    /// Of all bytes before this line, in hexadecimal.
    pub sha256: String,
}

/// A line that was read.
#[derive(Debug)]
pub enum Line {
    /// The first.
    Header(Header),
    /// An event, as its publisher sent it.
    Event(InstanceId, Box<Publish>),
    /// An entity that moves here: its version is [`THIS`].
    Entity(EntityKey, Box<Entity>, Told),
    /// The last.
    End(End),
}

/// Which of an entity's lines it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// As it stood when the export came to it.
    First,
    /// It was changed while the export went on: the last of these holds.
    Later,
}

/// What a line has to keep to.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Greatest nesting of JSON.
    pub depth: usize,
    /// What an entity may hold.
    pub limits: Limits,
    /// The node's time.
    pub now: Timestamp,
}

impl Bounds {
    /// Longest line in bytes: a content, what was proposed for it, and what is remembered of it.
    pub fn line_bytes(&self) -> usize {
        self.limits.data_bytes.saturating_mul(4).saturating_add(1 << 20)
    }
}

#[derive(Serialize)]
struct Named<'a, T> {
    line: &'static str,
    #[serde(flatten)]
    what: &'a T,
}

/// Writes the first line.
pub fn put_header(out: &mut BytesMut, header: &Header) {
    put_value(out, &Named { line: "header", what: header });
    out.extend_from_slice(b"\n");
}

/// Writes the last line.
pub fn put_end(out: &mut BytesMut, end: &End) {
    put_value(out, &Named { line: "end", what: end });
    out.extend_from_slice(b"\n");
}

/// Writes an event that was read as one of the tenant's.
pub fn put_event(out: &mut BytesMut, position: Position, stored_at: Timestamp, body: &[u8]) {
    let head = format!(r#"{{"line":"event","seq":{position},"stored_at":"{stored_at}","event":"#);
    out.extend_from_slice(head.as_bytes());
    put_in_one_line(out, body);
    out.extend_from_slice(b"}\n");
}

/// Writes an entity as it stands.
pub fn put_entity(out: &mut BytesMut, key: &EntityKey, entity: &Entity, told: Told) {
    #[derive(Serialize)]
    struct Head<'a> {
        line: &'static str,
        entity_type: &'a str,
        entity_id: &'a str,
        version: u64,
        state: &'a State,
    }
    let line = if told == Told::First { "entity" } else { "entity_later" };
    let (entity_type, entity_id) = (&*key.kind, &*key.id);
    put_value(out, &Head { line, entity_type, entity_id, version: entity.version.0, state: &entity.state });
    out.truncate(out.len() - 1);
    out.extend_from_slice(b",\"data\":");
    put_in_one_line(out, entity.data.text().as_bytes());
    out.extend_from_slice(b"}\n");
}

/// A line break in a valid JSON text stands between its parts, never in a string: a blank says the same.
fn put_in_one_line(out: &mut BytesMut, text: &[u8]) {
    let begin = out.len();
    out.extend_from_slice(text);
    out[begin..].iter_mut().filter(|byte| matches!(byte, b'\n' | b'\r')).for_each(|byte| *byte = b' ');
}

#[derive(Deserialize)]
struct Kind<'a> {
    #[serde(borrow)]
    line: Cow<'a, str>,
}

#[derive(Deserialize)]
struct EventLine<'a> {
    #[serde(borrow)]
    event: &'a RawValue,
}

#[derive(Deserialize)]
struct EntityLine<'a> {
    #[serde(borrow)]
    entity_type: Cow<'a, str>,
    #[serde(borrow)]
    entity_id: Cow<'a, str>,
    state: State,
    #[serde(borrow)]
    data: &'a RawValue,
}

/// Reads a line, without its end.
///
/// # Errors
///
/// It is none of those, or would not be taken from a client of this tenant.
pub fn read(line: &[u8], tenant: &TenantId, bounds: Bounds) -> Result<Line, Refusal> {
    let text = std::str::from_utf8(line).map_err(|_| damaged("not UTF-8"))?;
    match &*json::<Kind<'_>>(text)?.line {
        "header" => json(text).map(Line::Header),
        "end" => json(text).map(Line::End),
        "event" => {
            let EventLine { event } = json(text)?;
            if event.get().len() > bounds.limits.data_bytes.saturating_add(HEAD_BYTES) {
                return Err(Refusal::new(Code::TooLarge, "an event is larger than limits.max_message_bytes"));
            }
            let (instance, publish) = incoming::read_publish(event.get(), tenant, bounds.depth)?;
            Ok(Line::Event(instance, Box::new(publish)))
        }
        "entity" => read_entity(&json(text)?, Told::First, tenant, bounds),
        "entity_later" => read_entity(&json(text)?, Told::Later, tenant, bounds),
        _ => Err(damaged("an unknown kind of line")),
    }
}

/// Reads a line that may be the last, for whoever wants to know of nothing else.
pub fn read_end(line: &[u8]) -> Option<End> {
    let kind: Kind<'_> = serde_json::from_slice(line).ok()?;
    if kind.line == "end" { serde_json::from_slice(line).ok() } else { None }
}

/// What a node adds to an event before it is stored, in bytes.
const HEAD_BYTES: usize = 4096;

fn read_entity(line: &EntityLine<'_>, told: Told, tenant: &TenantId, bounds: Bounds) -> Result<Line, Refusal> {
    let key = EntityKey::new(&line.entity_type, &line.entity_id);
    let key = key.map_err(|error| Refusal::of_name(Code::InvalidEntity, &error))?;
    let mut state = line.state.clone();
    state.check(bounds.limits).map_err(damaged)?;
    let created = state.created.as_ref().ok_or_else(|| damaged("nobody has made the entity"))?;
    // The content as whoever made it would send it now: nothing comes in that would not come in so.
    let request = Request {
        key: &key,
        id: None,
        replica: None,
        base: None,
        strategy: None,
        only: Precondition::Absent,
        what: What::Replace(line.data.get()),
    };
    let sender =
        Sender { tenant, author: &created.by, identity: Identity::Proven, change: &Entities::all(), now: bounds.now };
    let wanted = request::read(request, sender, bounds.depth)?;
    match decide(&Entity::none(), &wanted.operation, Base::NotAsked, bounds.limits) {
        Decision::Append { next, .. } => {
            state.restamp();
            Ok(Line::Entity(key, Box::new(Entity { version: THIS, data: next.data, state }), told))
        }
        Decision::Answer(_) | Decision::NeedsBase | Decision::Ahead => {
            Err(damaged("the entity's content is not one that could be sent"))
        }
    }
}

/// The record that an entity from a file becomes. `digest` is the file's: the same file makes the same ids.
pub fn moved(tenant: &TenantId, key: &EntityKey, entity: Entity, digest: &str) -> EntityBody {
    let stamp = entity.state.changed.as_ref().or(entity.state.created.as_ref()).cloned();
    let time = stamp.as_ref().map_or_else(Timestamp::default, |stamp| stamp.at);
    let parts = stamp.into_iter().map(|stamp| (id_of(key, digest), stamp)).collect();
    let draft = Draft { next: Arc::new(entity), before: Arc::new(Entity::none()), texts: Vec::new(), parts };
    entity::to_body(tenant, key, &draft, time)
}

/// The id of the record that an entity from a file becomes.
pub fn id_of(key: &EntityKey, digest: &str) -> OpId {
    const NAMESPACE: Uuid = Uuid::from_u128(0x41c7_0d5e_8f62_4b19_a3d0_6e94_17fb_2c58);
    OpId(Uuid::new_v5(&NAMESPACE, format!("{digest}:{}:{}:{}", key.kind.len(), key.kind, key.id).as_bytes()))
}

fn json<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, Refusal> {
    serde_json::from_str(text).map_err(|error| damaged(error.to_string()))
}

/// What is said of a file that is none.
pub fn damaged(why: impl Into<Cow<'static, str>>) -> Refusal {
    Refusal::new(Code::InvalidExport, why)
}
