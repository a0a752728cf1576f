//! Subscriptions to parts of the shared state: what clients ask for, and what they are told.

mod focus;
mod stored;

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, value::RawValue};

use super::{
    codes::{Code, Refusal},
    message::{Fields, json_list},
    outgoing::Voice,
};
use crate::model::{
    EntityKey, Position,
    interest::{Area, Interest, Query, Unfit},
};

pub use self::{
    focus::{discovery, read_focus},
    stored::Read,
};

/// Greatest number of channels in one message, and of bytes in a name.
const CHANNELS: usize = 64;
const NAME_BYTES: usize = 128;
/// Greatest number of entities in a list, and of hops.
const IDS: usize = 256;
const HOPS: u64 = 8;
/// Greatest length of a condition, in bytes.
const CONDITION_BYTES: usize = 1024;
/// What a condition may hold of what nests, wherever it stands.
const NESTING: [(&str, usize); 2] = [("([{?", 24), (".+-*/%!", 96)];
/// The parser's stack: a bracket takes 40 KiB of it, several times that without optimization, and a thread's own is small.
const STACK: usize = 32 * 1024 * 1024;

/// What a client wants to hear or to follow.
#[derive(Clone, Debug)]
pub struct Subscribe {
    /// Channels.
    pub channels: Option<Vec<String>>,
    /// A part of the shared state.
    pub subscription: Option<Arc<Subscription>>,
}

/// What a client wants no more.
#[derive(Clone, Debug)]
pub struct Unsubscribe {
    /// Channels.
    pub channels: Option<Vec<String>>,
    /// Subscriptions, by name.
    pub subscriptions: Option<Vec<Arc<str>>>,
}

/// One subscription.
#[derive(Clone, Debug)]
pub struct Subscription {
    /// The client's name for it.
    pub name: Arc<str>,
    /// What is followed.
    pub interest: Interest,
    /// Whether records of nodes and edges come too.
    pub records: GraphRecords,
    /// The region as it was asked for.
    region: Option<Box<RawValue>>,
}

/// Whether a subscriber gets the records of nodes and edges too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GraphRecords {
    /// No: they would come twice.
    Muted,
    /// Yes.
    Heard,
}

fn invalid(message: impl Into<std::borrow::Cow<'static, str>>) -> Refusal {
    Refusal::new(Code::InvalidMessage, message)
}

fn object(data: Option<&RawValue>) -> Map<String, Value> {
    data.and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default()
}

fn channels(data: &Map<String, Value>) -> Result<Option<Vec<String>>, Refusal> {
    let Some(value) = data.get("channels") else { return Ok(None) };
    let channels = Vec::<String>::deserialize(value).map_err(|_| invalid("'data.channels' must be a list of names"))?;
    let fits = |name: &String| {
        let is_word = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b'*');
        (1..=NAME_BYTES).contains(&name.len()) && name.bytes().all(is_word)
    };
    if channels.len() > CHANNELS || !channels.iter().all(fits) {
        let message = format!("at most {CHANNELS} channels, each a name of letters, digits, '_', '-', '.' and '*'");
        return Err(invalid(message));
    }
    Ok(Some(channels))
}

fn name(value: Option<&Value>) -> Result<Arc<str>, Refusal> {
    let name = value.and_then(Value::as_str).unwrap_or_default();
    if (1..=NAME_BYTES).contains(&name.len()) && !name.chars().any(char::is_control) {
        return Ok(name.into());
    }
    Err(invalid(format!("'data.subscription' must be a name of 1 to {NAME_BYTES} bytes")))
}

impl Subscribe {
    pub(super) fn read(data: Option<&RawValue>) -> Result<Self, Refusal> {
        let data = object(data);
        let channels = channels(&data)?;
        let is_subscription = ["subscription", "region", "ids", "query"].iter().any(|field| data.contains_key(*field));
        let subscription = if is_subscription { Some(Arc::new(Subscription::read(&data)?)) } else { None };
        if channels.is_none() && subscription.is_none() {
            return Err(invalid("'data' must have 'channels', or a 'subscription' with 'region', 'ids' or 'query'"));
        }
        Ok(Self { channels, subscription })
    }
}

impl Unsubscribe {
    pub(super) fn read(data: Option<&RawValue>) -> Result<Self, Refusal> {
        let data = object(data);
        let channels = channels(&data)?;
        let subscriptions = match (data.get("subscriptions"), data.get("subscription")) {
            (Some(Value::Array(names)), _) => {
                Some(names.iter().map(|value| name(Some(value))).collect::<Result<Vec<_>, _>>()?)
            }
            (Some(_), _) => return Err(invalid("'data.subscriptions' must be a list of names")),
            (None, Some(one)) => Some(vec![name(Some(one))?]),
            (None, None) => None,
        };
        if channels.is_none() && subscriptions.is_none() {
            return Err(invalid("'data' must have 'channels', 'subscription' or 'subscriptions'"));
        }
        Ok(Self { channels, subscriptions })
    }
}

impl Subscription {
    fn read(data: &Map<String, Value>) -> Result<Self, Refusal> {
        let name = name(data.get("subscription"))?;
        Self::read_named(name.clone(), data).map_err(|refusal| refusal.concerning(name))
    }

    fn read_named(name: Arc<str>, data: &Map<String, Value>) -> Result<Self, Refusal> {
        let interest = match (data.get("region"), data.get("ids"), data.get("query")) {
            (Some(region), None, None) => region_of(region)?,
            (None, Some(ids), None) => ids_of(ids)?,
            (None, None, Some(query)) => query_of(query)?,
            _ => return Err(invalid("a subscription has one of 'region', 'ids' and 'query'")),
        };
        let records = match data.get("mute") {
            None | Some(Value::Bool(true)) => GraphRecords::Muted,
            Some(Value::Bool(false)) => GraphRecords::Heard,
            Some(_) => return Err(invalid("'data.mute' must be true or false")),
        };
        let region = data.get("region").and_then(|region| serde_json::value::to_raw_value(region).ok());
        Ok(Self { name, interest, records, region })
    }

    /// The word of the messages that bring its result.
    fn result_word(&self) -> &'static str {
        match self.interest {
            Interest::Area(_) | Interest::Around { .. } => "region.sync",
            Interest::Ids(_) => "ids.sync",
            Interest::Matching(_) => "query.results",
        }
    }

    fn update_word(&self) -> &'static str {
        match self.interest {
            Interest::Area(_) | Interest::Around { .. } => "region.update",
            Interest::Ids(_) => "ids.update",
            Interest::Matching(_) => "query.update",
        }
    }
}

fn region_of(region: &Value) -> Result<Interest, Refusal> {
    let number = |name: &str| region.get(name).and_then(Value::as_f64);
    if let Some(node) = region.get("node") {
        let node = node.as_str().and_then(|node| EntityKey::new("node", node).ok());
        let hops = region.get("hops").map_or(Some(1), Value::as_u64).filter(|hops| *hops <= HOPS);
        let (Some(node), Some(hops)) = (node, hops) else {
            return Err(invalid(format!("a region around a node has its id as 'node' and up to {HOPS} 'hops'")));
        };
        return Ok(Interest::Around { node: node.id, hops: hops as u8 });
    }
    let sides = (number("x"), number("y"), number("width"), number("height"));
    let area = match sides {
        (Some(x), Some(y), Some(width), Some(height)) => Area::new(x, y, width, height),
        _ => None,
    };
    let message = "a region is numbers 'x', 'y', 'width' and 'height', the last two above zero, or 'node' and 'hops'";
    area.map(Interest::Area).ok_or_else(|| invalid(message))
}

fn ids_of(ids: &Value) -> Result<Interest, Refusal> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Id {
        Node(String),
        Entity { entity_type: String, entity_id: String },
    }
    let message = "'data.ids' must be a list of node ids, or of objects with 'entity_type' and 'entity_id'";
    let ids = Vec::<Id>::deserialize(ids).map_err(|_| invalid(message))?;
    if ids.is_empty() || ids.len() > IDS {
        return Err(invalid(format!("'data.ids' has 1 to {IDS} entities")));
    }
    let keys = ids.iter().map(|id| match id {
        Id::Node(id) => EntityKey::new("node", id),
        Id::Entity { entity_type, entity_id } => EntityKey::new(entity_type, entity_id),
    });
    let keys = keys.collect::<Result<Vec<_>, _>>();
    let mut keys = keys.map_err(|error| Refusal::of_name(Code::InvalidEntity, &error))?;
    keys.sort();
    keys.dedup();
    Ok(Interest::Ids(keys.into()))
}

fn query_of(query: &Value) -> Result<Interest, Refusal> {
    let wrong = |message: String| Refusal::new(Code::InvalidQuery, message);
    let kind = query.get("entity_type").and_then(Value::as_str).unwrap_or_default();
    EntityKey::new(kind, "any").map_err(|error| wrong(format!("'query.entity_type': {error}")))?;
    let condition = match query.get("where") {
        None => None,
        Some(Value::String(text)) => Some(condition_of(text)?),
        Some(_) => return Err(wrong("'query.where' must be a text".into())),
    };
    let query = Query::new(kind, condition).map_err(|error| match error {
        Unfit::TooLong | Unfit::Loops => Refusal::new(Code::QueryTooCostly, error.to_string()),
        Unfit::Unknown(_) | Unfit::Makes => wrong(error.to_string()),
    })?;
    Ok(Interest::Matching(Arc::new(query)))
}

fn condition_of(text: &str) -> Result<cel::Program, Refusal> {
    let costly = |message: String| Refusal::new(Code::QueryTooCostly, message);
    if text.len() > CONDITION_BYTES {
        return Err(costly(format!("'query.where' has more than {CONDITION_BYTES} bytes")));
    }
    let count = |signs: &str| text.chars().filter(|sign| signs.contains(*sign)).count();
    if NESTING.iter().any(|(signs, most)| count(signs) > *most) {
        return Err(costly("'query.where' nests too deeply: it has too many brackets or operators".into()));
    }
    let text = text.to_owned();
    let parser = std::thread::Builder::new().name("query".into()).stack_size(STACK);
    let parsed = parser.spawn(move || cel::Program::compile(&text)).map(std::thread::JoinHandle::join);
    let Ok(Ok(parsed)) = parsed else {
        return Err(Refusal::new(Code::InvalidQuery, "'query.where' cannot be read"));
    };
    parsed.map_err(|errors| {
        let said = errors.to_string();
        let first = said.lines().next().unwrap_or_default();
        let place = first.strip_prefix("ERROR: <input>:").unwrap_or(first);
        let place: String = place.chars().take(300).collect();
        Refusal::new(Code::InvalidQuery, format!("'query.where' at line and column {place}"))
    })
}

/// A part of a result.
#[derive(Debug, Default)]
pub struct Part {
    nodes: Vec<String>,
    edges: Vec<String>,
    others: Vec<String>,
}

impl Part {
    /// Adds an entity in the form that the subscription has.
    pub fn add(&mut self, subscription: &Subscription, key: &EntityKey, read: &Read) {
        match (subscription.interest.is_region(), &*key.kind) {
            (true, "node") => self.nodes.push(read.as_part_of_graph(key)),
            (true, _) => self.edges.push(read.as_part_of_graph(key)),
            (false, _) => self.others.push(read.as_entity(key)),
        }
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty() && self.edges.is_empty() && self.others.is_empty()
    }
}

/// Where a part of a result stands among the others.
#[derive(Clone, Copy, Debug)]
pub struct PartPlace {
    /// 1 begins a result anew.
    pub number: u64,
    /// Where the room stands.
    pub position: Position,
    /// Whether it is the last one.
    pub done: bool,
}

/// What changed in a result.
#[derive(Clone, Debug, Default)]
pub struct News {
    /// Entities that came in, as JSON.
    pub entered: Vec<Arc<str>>,
    /// Entities that are others now.
    pub changed: Vec<Arc<str>>,
    /// Entities that are not in it any more.
    pub left: Vec<EntityKey>,
}

impl Subscription {
    /// A part of its result: type and content.
    pub fn part(&self, part: &Part, place: PartPlace) -> (&'static str, String) {
        let mut fields = Fields::default();
        fields.text("subscription", &self.name);
        if let Some(region) = &self.region {
            fields.raw("region", region.get());
            fields.raw("nodes", &json_list(&part.nodes));
            fields.raw("edges", &json_list(&part.edges));
        } else {
            if let Interest::Matching(_) = self.interest {
                fields.text("queryId", &self.name);
            }
            fields.raw("results", &json_list(&part.others));
        }
        fields.number("part", place.number);
        fields.raw("done", if place.done { "true" } else { "false" });
        fields.number("position", place.position.0);
        (self.result_word(), fields.end())
    }

    /// What changed in its result: type and content.
    pub fn news(&self, news: &News, position: Position) -> (&'static str, String) {
        #[derive(Serialize)]
        struct Left<'a> {
            entity_type: &'a str,
            entity_id: &'a str,
        }
        let left: Vec<_> = news.left.iter().map(|key| Left { entity_type: &key.kind, entity_id: &key.id }).collect();
        let mut fields = Fields::default();
        fields.text("subscription", &self.name);
        fields.raw("entered", &json_list(&news.entered));
        fields.raw("changed", &json_list(&news.changed));
        fields.value("left", &left);
        fields.number("position", position.0);
        (self.update_word(), fields.end())
    }
}

impl Voice<'_> {
    /// Something about a subscription, made by [`Subscription`].
    pub fn of_subscription(&self, (word, data): (&'static str, &str)) -> Bytes {
        match serde_json::from_str::<&RawValue>(data) {
            Ok(data) => self.say(word, data),
            Err(_) => Bytes::new(), // it is JSON
        }
    }

    /// `subscribed` or `unsubscribed`.
    pub fn subscribed(&self, word: &'static str, channels: Option<&[String]>, names: &[Arc<str>]) -> Bytes {
        #[derive(Serialize)]
        struct Subscribed<'a> {
            #[serde(skip_serializing_if = "Option::is_none")]
            channels: Option<&'a [String]>,
            #[serde(skip_serializing_if = "Option::is_none")]
            subscription: Option<&'a str>,
            #[serde(skip_serializing_if = "<[_]>::is_empty")]
            subscriptions: &'a [Arc<str>],
        }
        let (subscription, subscriptions) = match names {
            [one] => (Some(&**one), &[][..]),
            many => (None, many),
        };
        self.say(word, Subscribed { channels, subscription, subscriptions })
    }
}
