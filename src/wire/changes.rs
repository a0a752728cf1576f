//! The seeds' messages that change entities, each turned into operations. What a type of message is about is said by its
//! name (`node.update`), by its content (`sync_event`), or by both (`batch.update`).

use serde::Deserialize;
use serde_json::{Map, Value, value::RawValue};

use super::{
    answer::Form,
    codes::Refusal,
    operation::{Fields, Given, Sender, Unit, Wanted, invalid},
};

/// Greatest number of operations in one batch.
const BATCH: usize = 1_000;

/// Fields of a change that are not content.
const CONTROL: [&str; 17] = [
    "id",
    "op_id",
    "replica_id",
    "device_id",
    "op_number",
    "entity_type",
    "entity_id",
    "action",
    "base_version",
    "baseVersion",
    "strategy",
    "user_id",
    "user_name",
    "patch",
    "changes",
    "ops",
    "text",
];

/// The operations that a message asks for.
#[derive(Clone, Debug)]
pub struct Changes {
    /// Each as it was read.
    pub wanted: Vec<Result<Wanted, Refusal>>,
    /// In which words they are answered.
    pub form: Form,
    /// What is done or not done as a whole.
    pub unit: Unit,
}

/// A message's parts, as far as a change can stand in them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Message<'a> {
    /// Its type.
    pub kind: &'a str,
    /// Its id, as its sender wrote it.
    pub id: Option<&'a str>,
    /// `data`.
    pub data: Option<&'a RawValue>,
    /// `event`, where a seed has it beside `data`.
    pub event: Option<&'a RawValue>,
}

/// What kind of change a type of message asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked<'a> {
    /// An operation that names everything itself.
    Event,
    /// This on an entity of this type.
    On(&'a str, &'static str),
    /// The settling of a conflict.
    Resolve,
    /// A list.
    Batch,
}

/// Every type of message that changes entities.
const CHANGES: [(&str, Asked<'static>); 19] = [
    ("sync_event", Asked::Event),
    ("batch.update", Asked::Batch),
    ("conflict.resolve", Asked::Resolve),
    ("conflict_resolution", Asked::Resolve),
    ("node.create", Asked::On("node", "create")),
    ("node.update", Asked::On("node", "update")),
    ("node.delete", Asked::On("node", "delete")),
    ("node.restore", Asked::On("node", "restore")),
    ("edge.create", Asked::On("edge", "create")),
    ("edge.update", Asked::On("edge", "update")),
    ("edge.delete", Asked::On("edge", "delete")),
    ("edge.restore", Asked::On("edge", "restore")),
    ("memory.created", Asked::On("memory", "create")),
    ("memory.updated", Asked::On("memory", "update")),
    ("memory.deleted", Asked::On("memory", "delete")),
    ("memory.restore", Asked::On("memory", "restore")),
    // An agent writes to its notebook without knowing whether there was something.
    ("context.update", Asked::On("context", "put")),
    ("context.delete", Asked::On("context", "delete")),
    ("context.restore", Asked::On("context", "restore")),
];

fn asked(kind: &str) -> Option<Asked<'static>> {
    CHANGES.iter().find(|(word, _)| *word == kind).map(|(_, asked)| *asked)
}

/// The types of messages that change entities.
pub fn words() -> impl Iterator<Item = &'static str> {
    CHANGES.iter().map(|(word, _)| *word)
}

/// Whether a type of message changes entities.
pub fn is_change(kind: &str) -> bool {
    asked(kind).is_some()
}

/// Reads the operations of a message.
///
/// # Errors
///
/// The message as a whole makes no sense; what is wrong with one of its operations stands in its place.
pub(super) fn read(message: Message<'_>, sender: Sender<'_>) -> Result<Changes, Refusal> {
    let Some(asked) = asked(message.kind) else { return Err(invalid("not a change")) };
    let form = if asked == Asked::Event { Form::SyncResponse } else { Form::Update };
    let content = message.event.or(message.data);
    let (wanted, unit) = match asked {
        Asked::Batch => batch(content, sender)?,
        asked => (vec![one(asked, content, sender, message.id)], Unit::Operation),
    };
    Ok(Changes { wanted, form, unit })
}

/// A `sync_event`, read as it came: the content, or what stands in it under `event`.
fn event(content: &RawValue, sender: Sender<'_>, fallback: Option<&str>) -> Result<Wanted, Refusal> {
    #[derive(Default, Deserialize)]
    struct Holder<'a> {
        #[serde(borrow)]
        event: Option<&'a RawValue>,
    }
    let Holder { event } = parts(Some(content))?;
    let event = event.unwrap_or(content);
    if !event.get().starts_with('{') {
        return Err(invalid("'event' must be an object"));
    }
    validated(Fields::read(event.get())?)?.wanted(sender, fallback)
}

fn one(
    asked: Asked<'_>,
    content: Option<&RawValue>,
    sender: Sender<'_>,
    fallback: Option<&str>,
) -> Result<Wanted, Refusal> {
    let fields = match asked {
        Asked::Event => return event(content.unwrap_or(RawValue::NULL), sender, fallback),
        Asked::On(family, action) => on(family, action, object(content)?)?,
        Asked::Resolve => {
            let mut fields = Fields::of_values(Value::Object(object(content)?))?;
            fields.action = Some("resolve".into());
            fields
        }
        Asked::Batch => return Err(invalid("a batch cannot hold batches")),
    };
    fields.wanted(sender, fallback)
}

/// What a `sync_event` must have.
fn validated(mut fields: Fields<'_>) -> Result<Fields<'_>, Refusal> {
    for (name, value) in
        [("entity_type", &fields.entity_type), ("entity_id", &fields.entity_id), ("action", &fields.action)]
    {
        if value.as_deref().unwrap_or_default().is_empty() {
            return Err(invalid(format!("'event.{name}' is missing")));
        }
    }
    // The seed's updates carry the fields that changed.
    let is_update = fields.action.as_deref() == Some("update");
    if is_update && fields.patch.is_none() {
        fields.patch = fields.data.take();
    }
    Ok(fields)
}

/// A change of an entity whose type the message's name says: its fields stand under that name, or directly in `data`.
fn on(family: &str, action: &'static str, mut content: Map<String, Value>) -> Result<Fields<'static>, Refusal> {
    let inner = match content.shift_remove(family) {
        Some(Value::Object(inner)) => Some(inner),
        Some(_) => return Err(invalid(format!("'{family}' must be an object"))),
        None => None,
    };
    let inner_id = inner.as_ref().and_then(|inner| inner.get("id")).cloned();
    let id = if family == "context" { context_id(&mut content)? } else { None };
    let outer_id = content.shift_remove(&format!("{family}_id")).or_else(|| content.shift_remove("id"));
    let mut fields = Fields::of_values(Value::Object(content.clone()))?;
    if !fields.has_change() && action != "delete" && action != "restore" {
        let content = inner.unwrap_or_else(|| {
            content.retain(|name, _| !CONTROL.contains(&name.as_str()));
            content
        });
        match action {
            "create" => fields.data = Some(Given::Values(Value::Object(content))),
            _ => fields.patch = Some(Given::Values(Value::Object(content))),
        }
    } else if action == "put" && fields.data.as_ref().is_some_and(Given::is_object) {
        // A notebook's entry is added to, not replaced.
        fields.patch = fields.data.take();
    }
    fields.entity_type = Some(family.to_owned().into());
    fields.action = Some(action.into());
    fields.entity_id = match id.map(Value::String).or(inner_id).or(outer_id) {
        Some(Value::String(id)) => Some(id.into()),
        // Ids that are numbers elsewhere.
        Some(Value::Number(id)) => Some(id.to_string().into()),
        Some(_) => return Err(invalid("the entity's id must be a text")),
        None => fields.entity_id,
    };
    fields.id = None;
    Ok(fields)
}

/// A context is named by its level and its id there.
fn context_id(content: &mut Map<String, Value>) -> Result<Option<String>, Refusal> {
    let level = content.shift_remove("level");
    match (level, content.shift_remove("context_id")) {
        (Some(Value::String(level)), Some(Value::String(id))) if !level.is_empty() && !level.contains(':') => {
            Ok(Some(format!("{level}:{id}")))
        }
        _ => Err(invalid("a context needs 'level' (without colons) and 'context_id'")),
    }
}

type Batch = (Vec<Result<Wanted, Refusal>>, Unit);

/// Whether all is to be done or nothing, as it is written.
#[derive(Deserialize)]
struct Atomic(Value);

impl Default for Atomic {
    fn default() -> Self {
        Self(Value::Bool(false))
    }
}

fn batch(content: Option<&RawValue>, sender: Sender<'_>) -> Result<Batch, Refusal> {
    #[derive(Default, Deserialize)]
    struct Listed<'a> {
        #[serde(borrow)]
        operations: Option<&'a RawValue>,
        #[serde(borrow)]
        updates: Option<&'a RawValue>,
        /// Not an option: `null` is not left out.
        #[serde(default)]
        atomic: Atomic,
    }
    let Listed { operations, updates, atomic } = parts(content)?;
    let unit = match atomic.0 {
        Value::Bool(false) => Unit::Operation,
        Value::Bool(true) => Unit::Batch,
        _ => return Err(invalid("'atomic' must be true or false")),
    };
    let list: Option<Vec<&RawValue>> = operations.or(updates).and_then(|list| serde_json::from_str(list.get()).ok());
    let Some(list) = list else { return Err(invalid("'operations' must be a list")) };
    if list.len() > BATCH {
        return Err(invalid(format!("a batch may have {BATCH} operations, this has {}", list.len())));
    }
    Ok((list.into_iter().map(|item| item_of_batch(item, sender)).collect(), unit))
}

/// An operation in a batch: as it is, or in the message that it would come in alone.
fn item_of_batch(item: &RawValue, sender: Sender<'_>) -> Result<Wanted, Refusal> {
    #[derive(Default, Deserialize)]
    struct Item<'a> {
        #[serde(borrow)]
        r#type: Option<&'a RawValue>,
        #[serde(borrow)]
        id: Option<&'a RawValue>,
        #[serde(borrow)]
        data: Option<&'a RawValue>,
    }
    let Item { r#type, id, data } = parts(Some(item))?;
    let text = |raw: &'_ RawValue| serde_json::from_str::<String>(raw.get()).ok();
    let Some(kind) = r#type.and_then(text) else { return Fields::read(item.get())?.wanted(sender, None) };
    let Some(asked) = asked(&kind) else {
        return Err(invalid("'type' is not one of the messages that change entities"));
    };
    let id = id.map(|id| text(id).ok_or_else(|| invalid("a message in a batch has 'type', 'id' and 'data'")));
    one(asked, data, sender, id.transpose()?.as_deref())
}

/// Parts of a message's content, or of an operation in it, where there is one.
fn parts<'a, T: Default + Deserialize<'a>>(content: Option<&'a RawValue>) -> Result<T, Refusal> {
    let Some(content) = content else { return Ok(T::default()) };
    let read = if content.get().starts_with('{') { serde_json::from_str(content.get()).ok() } else { None };
    read.ok_or_else(|| invalid("what is to be done must be an object, each field at most once"))
}

fn object(raw: Option<&RawValue>) -> Result<Map<String, Value>, Refusal> {
    let Some(raw) = raw else { return Ok(Map::new()) };
    serde_json::from_str(raw.get()).map_err(|_| invalid("'data' must be an object, its numbers in range"))
}
