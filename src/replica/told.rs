//! What the node's messages say to a mirror. Owns: reading them. Pure.

use serde::Deserialize;
use serde_json::{Map, Value, value::RawValue};

use crate::{client::incoming::Envelope, model::EntityKey};

/// What a record says.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Told {
    /// Its place in the room's order.
    pub seq: u64,
    /// Its type.
    pub event_type: String,
    /// Who did it.
    pub author: Author,
    /// What it is about.
    pub what: What,
}

/// Who did something, and when.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Author {
    /// The instance that it comes from.
    pub by: String,
    /// The user for whom that acts.
    pub user: Option<String>,
    /// When, RFC 3339.
    pub at: String,
}

/// What a record is about.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum What {
    /// An entity stands so from this record on; `None`: it is not there.
    Entity(EntityKey, Option<String>),
    /// A conflict or a variant of an entity was opened or settled; its content is as it was.
    Open(EntityKey),
    /// Something happened; its content.
    Event(String),
}

impl What {
    /// Which entity it is about.
    pub fn key(&self) -> Option<&EntityKey> {
        match self {
            Self::Entity(key, _) | Self::Open(key) => Some(key),
            Self::Event(_) => None,
        }
    }
}

/// Reads a record.
///
/// # Errors
///
/// In words: it has not the form that the protocol gives its type.
pub(super) fn read(envelope: &Envelope, seq: u64) -> Result<Told, String> {
    let what =
        what(&envelope.event_type, &envelope.data).map_err(|error| format!("{}: {error}", envelope.event_type))?;
    #[derive(Deserialize)]
    struct Named {
        user_id: Option<String>,
    }
    let user = match what {
        What::Event(_) => None,
        _ => serde_json::from_str::<Named>(envelope.data.get()).ok().and_then(|named| named.user_id),
    };
    Ok(Told {
        seq,
        event_type: envelope.event_type.clone(),
        author: Author { by: envelope.instance_id.clone(), user, at: envelope.timestamp.clone() },
        what,
    })
}

fn what(event_type: &str, data: &RawValue) -> Result<What, String> {
    match event_type.split_once('.') {
        Some((kind @ ("node" | "edge"), "create" | "update" | "delete"))
        | Some((kind @ "memory", "created" | "updated" | "deleted")) => named(kind, data),
        Some(("conflict", "pending" | "variant" | "resolved")) => {
            let Addressed { entity_type, entity_id } = parse(data)?;
            Ok(What::Open(key(&entity_type, &entity_id)?))
        }
        None if event_type == "context_changed" => context(data),
        None if event_type == "sync_event" => event(data),
        _ => Ok(What::Event(data.get().to_owned())),
    }
}

#[derive(Deserialize)]
struct Addressed {
    entity_type: String,
    entity_id: String,
}

/// `{"node": {"id": …, …}}`, or `{"node_id": …}` of one that is gone.
fn named(kind: &str, data: &RawValue) -> Result<What, String> {
    let mut fields: Map<String, Value> = parse(data)?;
    match (fields.remove(kind), fields.remove(&format!("{kind}_id"))) {
        (Some(Value::Object(mut content)), _) => {
            let Some(Value::String(id)) = content.shift_remove("id") else { return Err("no id".to_owned()) };
            Ok(What::Entity(key(kind, &id)?, Some(Value::Object(content).to_string())))
        }
        (None, Some(Value::String(id))) => Ok(What::Entity(key(kind, &id)?, None)),
        _ => Err(format!("no {kind}")),
    }
}

fn context(data: &RawValue) -> Result<What, String> {
    #[derive(Deserialize)]
    struct Context {
        level: String,
        context_id: String,
        change_type: String,
        context: Option<Box<RawValue>>,
    }
    let Context { level, context_id, change_type, context } = parse(data)?;
    let key = key("context", &if level.is_empty() { context_id } else { format!("{level}:{context_id}") })?;
    match (change_type.as_str(), context) {
        ("delete", _) => Ok(What::Entity(key, None)),
        (_, Some(content)) => Ok(What::Entity(key, Some(content.get().to_owned()))),
        (_, None) => Err("no content".to_owned()),
    }
}

fn event(data: &RawValue) -> Result<What, String> {
    #[derive(Deserialize)]
    struct Data {
        event: Event,
    }
    #[derive(Deserialize)]
    struct Event {
        entity_type: String,
        entity_id: String,
        action: String,
        data: Option<Box<RawValue>>,
    }
    let Data { event: Event { entity_type, entity_id, action, data } } = parse(data)?;
    let key = key(&entity_type, &entity_id)?;
    match (action.as_str(), data) {
        ("delete", _) => Ok(What::Entity(key, None)),
        (_, Some(content)) => Ok(What::Entity(key, Some(content.get().to_owned()))),
        (_, None) => Err("no content".to_owned()),
    }
}

/// A page of the room's state.
#[derive(Clone, Debug)]
pub(super) struct Page {
    /// The question that it answers.
    pub id: String,
    /// Entities.
    pub entities: Vec<Standing>,
    /// It is the last one: everything up to this position is said.
    pub as_of: Option<u64>,
}

/// How an entity stands, as a page of the state says it.
#[derive(Clone, Debug)]
pub(super) struct Standing {
    /// Which.
    pub key: EntityKey,
    /// Its version.
    pub version: u64,
    /// Its content; `None`: it is gone.
    pub data: Option<String>,
    /// Who changed it last, where the page says so: of parts of a graph it does not.
    pub author: Option<Author>,
}

/// Reads a page of the state.
///
/// # Errors
///
/// In words.
pub(super) fn page(data: &RawValue) -> Result<Page, String> {
    #[derive(Deserialize)]
    struct Data {
        #[serde(default)]
        id: String,
        #[serde(default)]
        nodes: Vec<Map<String, Value>>,
        #[serde(default)]
        edges: Vec<Map<String, Value>>,
        #[serde(default)]
        entities: Vec<Entity>,
        #[serde(default)]
        deleted: Vec<Entity>,
        done: bool,
        as_of: Option<u64>,
    }
    #[derive(Deserialize)]
    struct Entity {
        entity_type: String,
        entity_id: String,
        version: u64,
        data: Option<Box<RawValue>>,
        changed: Option<Changed>,
    }
    #[derive(Deserialize)]
    struct Changed {
        by: By,
        at: String,
    }
    #[derive(Deserialize)]
    struct By {
        instance_id: String,
        user_id: Option<String>,
    }
    let Data { id, nodes, edges, entities, deleted, done, as_of } = parse(data)?;
    let mut all = Vec::new();
    for (kind, list) in [("node", nodes), ("edge", edges)] {
        for mut fields in list {
            let (Some(Value::String(id)), Some(version)) =
                (fields.shift_remove("id"), fields.shift_remove("version").and_then(|version| version.as_u64()))
            else {
                return Err(format!("a {kind} without id or version"));
            };
            let data = Some(Value::Object(fields).to_string());
            all.push(Standing { key: key(kind, &id)?, version, data, author: None });
        }
    }
    for Entity { entity_type, entity_id, version, data, changed } in entities.into_iter().chain(deleted) {
        let author = changed.map(|Changed { by, at }| Author { by: by.instance_id, user: by.user_id, at });
        let data = data.map(|data| data.get().to_owned());
        all.push(Standing { key: key(&entity_type, &entity_id)?, version, data, author });
    }
    Ok(Page { id, entities: all, as_of: if done { Some(as_of.unwrap_or_default()) } else { None } })
}

fn parse<'a, T: Deserialize<'a>>(data: &'a RawValue) -> Result<T, String> {
    serde_json::from_str(data.get()).map_err(|error| error.to_string())
}

fn key(kind: &str, id: &str) -> Result<EntityKey, String> {
    EntityKey::new(kind, id).map_err(|error| error.to_string())
}
