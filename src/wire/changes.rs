//! The seeds' messages that change entities, each turned into operations. What a type of message is about is said by its
//! name (`node.update`), by its content (`sync_event`), or by both (`batch.update`).

use serde::Deserialize;
use serde_json::{Map, Value, value::RawValue};

use super::{
    answer::Form,
    codes::Refusal,
    operation::{Fields, Sender, Unit, Wanted, invalid},
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
    let (wanted, unit) = match (asked, message.event.or(message.data)) {
        (Asked::Event, Some(content)) => (vec![event(content, sender, message.id)], Unit::Operation),
        (Asked::Batch, content) => batch(object(content)?, sender)?,
        (asked, content) => (vec![one(asked, object(content)?, sender, message.id)], Unit::Operation),
    };
    Ok(Changes { wanted, form, unit })
}

/// A `sync_event`, read as it came: the content, or what stands in it under `event`.
fn event(content: &RawValue, sender: Sender<'_>, fallback: Option<&str>) -> Result<Wanted, Refusal> {
    #[derive(Deserialize)]
    struct Holder<'a> {
        #[serde(borrow)]
        event: Option<&'a RawValue>,
    }
    let Holder { event } =
        serde_json::from_str(content.get()).map_err(|_| invalid("'data' must be an object, its numbers in range"))?;
    let event = event.unwrap_or(content);
    if !event.get().starts_with('{') {
        return Err(invalid("'event' must be an object"));
    }
    validated(Fields::read_text(event)?)?.wanted(sender, fallback)
}

fn one(
    asked: Asked<'_>,
    mut content: Map<String, Value>,
    sender: Sender<'_>,
    fallback: Option<&str>,
) -> Result<Wanted, Refusal> {
    let fields = match asked {
        Asked::On(family, action) => on(family, action, content)?,
        Asked::Event => {
            let content = match content.shift_remove("event") {
                Some(Value::Object(event)) => event,
                Some(_) => return Err(invalid("'event' must be an object")),
                None => content,
            };
            validated(Fields::read(Value::Object(content))?)?
        }
        Asked::Resolve => {
            let mut fields = Fields::read(Value::Object(content))?;
            fields.action = Some("resolve".into());
            fields
        }
        Asked::Batch => return Err(invalid("a batch cannot hold batches")),
    };
    fields.wanted(sender, fallback)
}

/// What a `sync_event` must have.
fn validated(mut fields: Fields) -> Result<Fields, Refusal> {
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
fn on(family: &str, action: &str, mut content: Map<String, Value>) -> Result<Fields, Refusal> {
    let inner = match content.shift_remove(family) {
        Some(Value::Object(inner)) => Some(inner),
        Some(_) => return Err(invalid(format!("'{family}' must be an object"))),
        None => None,
    };
    let inner_id = inner.as_ref().and_then(|inner| inner.get("id")).cloned();
    let id = if family == "context" { context_id(&mut content)? } else { None };
    let outer_id = content.shift_remove(&format!("{family}_id")).or_else(|| content.shift_remove("id"));
    let mut fields = Fields::read(Value::Object(content.clone()))?;
    if !fields.has_change() && action != "delete" && action != "restore" {
        let content = inner.unwrap_or_else(|| {
            content.retain(|name, _| !CONTROL.contains(&name.as_str()));
            content
        });
        match action {
            "create" => fields.data = Some(Value::Object(content)),
            _ => fields.patch = Some(Value::Object(content)),
        }
    } else if let (Some(Value::Object(_)), "put") = (&fields.data, action) {
        // A notebook's entry is added to, not replaced.
        fields.patch = fields.data.take();
    }
    fields.entity_type = Some(family.into());
    fields.action = Some(action.into());
    fields.entity_id = match id.map(Value::String).or(inner_id).or(outer_id) {
        Some(Value::String(id)) => Some(id),
        // Ids that are numbers elsewhere.
        Some(Value::Number(id)) => Some(id.to_string()),
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

fn batch(mut content: Map<String, Value>, sender: Sender<'_>) -> Result<Batch, Refusal> {
    #[derive(Deserialize)]
    struct Item {
        r#type: Option<String>,
        id: Option<String>,
        data: Option<Map<String, Value>>,
    }
    let list = content.shift_remove("operations").or_else(|| content.shift_remove("updates"));
    let unit = match content.get("atomic") {
        None | Some(Value::Bool(false)) => Unit::Operation,
        Some(Value::Bool(true)) => Unit::Batch,
        Some(_) => return Err(invalid("'atomic' must be true or false")),
    };
    let Some(Value::Array(list)) = list else { return Err(invalid("'operations' must be a list")) };
    if list.len() > BATCH {
        return Err(invalid(format!("a batch may have {BATCH} operations, this has {}", list.len())));
    }
    let read = |item: Value| {
        let Value::Object(fields) = item else { return Err(invalid("an operation is one JSON object")) };
        match fields.get("type").and_then(Value::as_str).map(asked) {
            None => Fields::read(Value::Object(fields))?.wanted(sender, None),
            Some(None) => Err(invalid("'type' is not one of the messages that change entities")),
            Some(Some(_)) => {
                let Item { r#type, id, data } = serde_json::from_value(Value::Object(fields))
                    .map_err(|_| invalid("a message in a batch has 'type', 'id' and 'data'"))?;
                let kind = r#type.unwrap_or_default();
                let asked = asked(&kind).ok_or_else(|| invalid("not a change"))?;
                one(asked, data.unwrap_or_default(), sender, id.as_deref())
            }
        }
    };
    Ok((list.into_iter().map(read).collect(), unit))
}

fn object(raw: Option<&RawValue>) -> Result<Map<String, Value>, Refusal> {
    let Some(raw) = raw else { return Ok(Map::new()) };
    serde_json::from_str(raw.get()).map_err(|_| invalid("'data' must be an object, its numbers in range"))
}
