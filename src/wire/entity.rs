//! An entity's record: its stored form, and the messages that it becomes.
//!
//! The stored form is a record like any other (`wire::record`) with two more fields before `data`: `entity` says what was
//! changed, by whom and how, `state` what the rules need to know. `data` is the entity's whole content, so the last record
//! of an entity is the entity.

use std::{
    borrow::Cow,
    cell::RefCell,
    collections::HashMap,
    sync::{Arc, LazyLock},
};

use bytes::{BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{
    message::put_value,
    record::{DamagedRecord, Record, put_head},
};
use crate::model::{
    EntityKey, EventId, EventType, InstanceId, Position, RecordMeta, TenantId, Timestamp,
    entity::{AlternativeKind, Audience, Author, Content, Delta, Entity, OpId, Stamp, State, TextDelta},
    lane::Draft,
    place::Places,
    record::{self, Happened, Private, View},
    tally::Counted,
    unreadable::unreadable,
};

/// What a record says of the entity.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct About<'a> {
    #[serde(rename = "type", borrow)]
    pub kind: Cow<'a, str>,
    #[serde(borrow)]
    pub id: Cow<'a, str>,
    pub happened: Happened,
    /// The version that it follows.
    pub base: u64,
    /// Whether only one may see it now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub private: Option<Private>,
    /// Where it was and is, if it has a place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub places: Option<Places>,
    pub parts: Vec<Part>,
    /// The fields that go into messages: `text`, and `changes` or `ops`.
    #[serde(borrow)]
    pub delta: &'a RawValue,
}

/// One operation in a record.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Part {
    pub op: OpId,
    #[serde(flatten)]
    pub by: Author,
    pub at: Timestamp,
}

/// What of a stored entity's state decides who sees it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Standing {
    pub deleted: bool,
    pub created: Option<Stamp>,
    pub changed: Option<Stamp>,
}

/// Whether a deletion is so young that whoever is sent the state is told of it: the copy that answers may be seconds behind
/// and show what is deleted by now, and the tombstone, of which nothing else would be told, comes with a later page.
pub(super) fn is_told(deletion: Option<&Stamp>, now: Timestamp) -> bool {
    const TOLD: i64 = 10 * 60 * 1_000;
    deletion.is_some_and(|stamp| stamp.at > now.earlier_by(TOLD))
}

/// What a stored entity is made of.
#[derive(Debug, Deserialize)]
struct StoredEntity<'a> {
    #[serde(borrow)]
    tenant_id: Cow<'a, str>,
    #[serde(borrow)]
    entity: About<'a>,
    #[serde(borrow)]
    state: &'a RawValue,
    #[serde(borrow)]
    data: &'a RawValue,
}

/// A record to append.
#[derive(Clone, Debug)]
pub struct EntityBody {
    /// The stored form.
    pub body: Bytes,
    /// What the senders of its operations are told of the change: the fields of a delta, as one JSON object.
    pub delta: Arc<RawValue>,
    /// What reading it would find.
    pub head: Head,
}

/// Who may see a record that was just written, who wrote it, and under which name it goes out.
#[derive(Clone, Debug)]
pub struct Head {
    key: EntityKey,
    id: EventId,
    event_type: EventType,
    sender: Option<InstanceId>,
    private: Option<Arc<Private>>,
    places: Option<Arc<Places>>,
}

impl Head {
    /// The record, once it has its place.
    pub fn record(self, position: Position, prev: Position, body: Bytes) -> Record {
        let Self { key, id, event_type, sender, private, places } = self;
        let about = record::About::Entity(key);
        let meta = RecordMeta { position, prev, id, sender, event_type, about, private, places };
        // No entity's change adds to the room's figures.
        Record { meta, body, counted: Counted::Nothing }
    }
}

/// Writes a record.
pub fn to_body(tenant: &TenantId, key: &EntityKey, draft: &Draft, now: Timestamp) -> EntityBody {
    let (before, next) = (&draft.before, &draft.next);
    let happened = happened(before, next);
    let delta = match happened {
        // Whoever is told of something new is told the whole of it, and of what came and went in one record nothing.
        Happened::Created => Delta::default(),
        Happened::Deleted if !before.is_there() => Delta::default(),
        _ => Delta::between(before.is_there().then_some(&before.data), &next.data, &draft.texts),
    };
    let delta = if delta.is_empty() { nothing_changes() } else { raw(&DeltaFields::of(&delta)).into() };
    let id = match &draft.parts[..] {
        [(op, _)] => EventId(op.0),
        _ => EventId(uuid::Uuid::new_v4()),
    };
    let (private, places) = (private(key, happened, before, next), places(key, before, next));
    let event_type = event_type(&key.kind, happened);
    let sender = sender(&draft.parts);
    let about = About {
        kind: (&*key.kind).into(),
        id: (&*key.id).into(),
        happened,
        base: before.version.0,
        private: private.clone(),
        places,
        parts: draft.parts.iter().map(|(op, Stamp { by, at })| Part { op: *op, by: by.clone(), at: *at }).collect(),
        delta: &delta,
    };
    let body = on_scratch(|out| {
        put_head(out, event_type, id, tenant, now, sender.map_or("", InstanceId::as_str));
        out.extend_from_slice(b",\"entity\":");
        put_value(out, &about);
        out.extend_from_slice(b",\"state\":");
        put_value(out, &next.state);
        out.extend_from_slice(b",\"data\":");
        out.extend_from_slice(next.data.text().as_bytes());
        out.put_u8(b'}');
    });
    let (event_type, private) = (as_type(event_type), private.map(Arc::new));
    let head =
        Head { key: key.clone(), id, event_type, sender: sender.cloned(), private, places: places.map(Arc::new) };
    EntityBody { body, delta, head }
}

/// Bytes whose number is not known beforehand, in as much memory as they need: bodies are kept for long.
fn on_scratch(write: impl FnOnce(&mut BytesMut)) -> Bytes {
    /// What a thread keeps for the next one.
    const KEPT: usize = 64 * 1024;
    thread_local! {
        static SCRATCH: RefCell<BytesMut> = RefCell::default();
    }
    SCRATCH.with_borrow_mut(|out| {
        out.clear();
        write(out);
        let bytes = Bytes::copy_from_slice(out);
        if out.capacity() > KEPT {
            *out = BytesMut::new();
        }
        bytes
    })
}

/// The delta of what is told as a whole.
fn nothing_changes() -> Arc<RawValue> {
    static NOTHING: LazyLock<Arc<RawValue>> = LazyLock::new(|| raw(&DeltaFields::of(&Delta::default())).into());
    NOTHING.clone()
}

/// The delta's fields as they stand in a message.
#[derive(Serialize)]
struct DeltaFields<'a> {
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    text: &'a [TextDelta],
    #[serde(skip_serializing_if = "Option::is_none")]
    changes: Option<&'a serde_json::Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ops: Option<&'a json_patch::Patch>,
}

impl<'a> DeltaFields<'a> {
    fn of(delta: &'a Delta) -> Self {
        Self { text: &delta.text, changes: delta.patch.as_ref(), ops: delta.ops.as_ref() }
    }
}

/// Writes a value of ours, which never fails: no maps with odd keys, no fallible `Serialize`.
fn raw(value: &impl Serialize) -> Box<RawValue> {
    serde_json::value::to_raw_value(value).unwrap_or_default()
}

fn sender(parts: &[(OpId, Stamp)]) -> Option<&InstanceId> {
    let (_, first) = parts.first()?;
    parts.iter().all(|(_, stamp)| stamp.by.instance == first.by.instance).then_some(&first.by.instance)
}

fn happened(before: &Entity, next: &Entity) -> Happened {
    match (before.is_there(), next.is_there()) {
        (false, true) => Happened::Created,
        (true, false) => Happened::Deleted,
        // Made or restored and deleted again by operations that share a record. Nobody may take it for one that is there.
        (false, false) if before.data != next.data || before.state.open.len() == next.state.open.len() => {
            Happened::Deleted
        }
        _ if before.data != next.data => Happened::Updated,
        _ => match before.state.open.len().cmp(&next.state.open.len()) {
            std::cmp::Ordering::Less => match next.state.open.last().map(|open| open.kind) {
                Some(AlternativeKind::Variant) => Happened::VariantKept,
                _ => Happened::ConflictOpened,
            },
            std::cmp::Ordering::Greater => Happened::ConflictSettled,
            std::cmp::Ordering::Equal => Happened::Updated,
        },
    }
}

/// The same as a type; each is made once.
fn as_type(name: &'static str) -> EventType {
    thread_local! {
        static TYPES: RefCell<HashMap<&'static str, EventType>> = RefCell::default();
    }
    let make = || name.parse().expect("a name of ours");
    TYPES.with_borrow_mut(|types| types.entry(name).or_insert_with(make).clone())
}

/// Under which name a change goes out: it follows from the entity's type alone.
pub fn event_type(kind: &str, happened: Happened) -> &'static str {
    use Happened::{ConflictOpened, ConflictSettled, Created, Deleted, Updated, VariantKept};
    match (kind, happened) {
        (_, ConflictOpened) => "conflict.pending",
        (_, VariantKept) => "conflict.variant",
        (_, ConflictSettled) => "conflict.resolved",
        ("memory", Created) => "memory.created",
        ("memory", Updated) => "memory.updated",
        ("memory", Deleted) => "memory.deleted",
        ("node", Created) => "node.create",
        ("node", Updated) => "node.update",
        ("node", Deleted) => "node.delete",
        ("edge", Created) => "edge.create",
        ("edge", Updated) => "edge.update",
        ("edge", Deleted) => "edge.delete",
        ("context", _) => "context_changed",
        _ => "sync_event",
    }
}

/// Under which name a record goes out to whoever looks so.
pub fn shown_type(meta: &RecordMeta, view: View) -> &str {
    match (&meta.about, view) {
        (record::About::Entity(key), View::Entered | View::Left) => {
            event_type(&key.kind, view.happened(Happened::Updated))
        }
        _ => meta.event_type.as_str(),
    }
}

/// Who may see what of it: an entity that turns private is withdrawn from the others, one that turns public appears to them.
fn private(key: &EntityKey, happened: Happened, before: &Entity, next: &Entity) -> Option<Private> {
    if !before.is_there() && !next.is_there() {
        // Nobody has it, so nobody but its owner need hear of it.
        let Audience::Only(owner) = next.audience() else { return None };
        return Some(Private { owner, outside: None });
    }
    let sight = |entity: &Entity| if entity.is_there() { entity.audience() } else { Audience::Everyone };
    let (owner, outside) = match (sight(before), sight(next)) {
        // A tombstone of something private stays its owner's.
        (Audience::Only(owner), _) if !next.is_there() => (owner, None),
        (Audience::Everyone, Audience::Everyone) => return None,
        (Audience::Only(owner), Audience::Only(_)) => (owner, None),
        (Audience::Everyone, Audience::Only(owner)) => (owner, before.is_there().then_some(Happened::Deleted)),
        (Audience::Only(owner), Audience::Everyone) => (owner, Some(Happened::Created)),
    };
    debug_assert!(happened != Happened::Deleted || outside.is_none(), "{key:?}");
    Some(Private { owner, outside })
}

/// Where it was and is: a change that takes it into somebody's region or out of it is told them as such.
fn places(key: &EntityKey, before: &Entity, next: &Entity) -> Option<Places> {
    let is = next.place(key);
    let was = if before.is_there() { before.place(key) } else { is };
    (was.is_some() || is.is_some()).then_some(Places { was, is })
}

/// Reads an entity's last record.
///
/// # Errors
///
/// It is not the stored form of this tenant's entity.
pub fn read(tenant: &TenantId, key: &EntityKey, position: Position, body: &[u8]) -> Result<Entity, DamagedRecord> {
    let malformed = |error: serde_json::Error| DamagedRecord::Malformed(unreadable(&error));
    let stored: StoredEntity<'_> = serde_json::from_slice(body).map_err(malformed)?;
    if stored.tenant_id != tenant.as_str() || stored.entity.kind != *key.kind || stored.entity.id != *key.id {
        return Err(DamagedRecord::Foreign);
    }
    let state: State = serde_json::from_str(stored.state.get()).map_err(malformed)?;
    let data = Content::read(stored.data.to_owned()).map_err(malformed)?;
    let mut entity = Entity { version: position, data, state };
    entity.settle(position);
    Ok(entity)
}

#[cfg(test)]
mod tests {
    //! What a record says happened, where several operations share it.

    use serde_json::{Value, json};

    use super::*;

    fn entity(data: Value, deleted: bool) -> Arc<Entity> {
        let created = Some(stamp());
        Arc::new(Entity {
            version: Position(3),
            data: data.into(),
            state: State { deleted, created, ..State::default() },
        })
    }

    fn stamp() -> Stamp {
        let by = Author { instance: "a".parse().expect("an instance"), user: Some("ann".into()), name: None };
        Stamp { by, at: Timestamp(7) }
    }

    fn record(before: Arc<Entity>, next: Arc<Entity>) -> Value {
        let parts = (0..2).map(|_| (OpId(uuid::Uuid::new_v4()), stamp())).collect();
        let key = EntityKey::new("note", "n").expect("a key");
        let draft = Draft { next, before, texts: Vec::new(), parts };
        let made = to_body(&"t".parse().expect("a tenant"), &key, &draft, Timestamp(7));
        serde_json::from_slice(&made.body).expect("JSON")
    }

    #[test]
    fn what_came_and_went_in_one_record_is_told_as_a_deletion_and_only_to_who_may_see_it() {
        let (none, content) = (Arc::new(Entity::none()), json!({"a": 1}));
        for before in [none, entity(content.clone(), true), entity(json!({"a": 2}), true)] {
            let record = record(before, entity(content.clone(), true));
            assert_eq!(record["entity"]["happened"], "deleted", "{record}");
            assert_eq!(record["entity"]["delta"], json!({}), "{record}");
            assert_eq!(record["entity"].get("private"), None, "{record}");
        }
        let private = json!({"a": 1, "visibility": "private"});
        let record = record(entity(private.clone(), true), entity(private, true));
        assert_eq!(record["entity"]["private"]["owner"], json!({"user": "ann"}), "{record}");
    }
}
