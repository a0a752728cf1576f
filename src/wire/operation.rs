//! Operations on entities, as clients write them, turned into types. The same fields are read in every envelope and over
//! HTTP; docs/protocol.md has them.

mod given;

use std::{borrow::Cow, collections::HashMap, sync::Arc};

use serde::Deserialize;
use serde_json::{Map, Value, value::RawValue};
use uuid::Uuid;

pub(super) use self::given::Given;
use self::given::{content, object};
use super::{
    codes::{Code, Refusal},
    signature,
    text::Text,
};
use crate::model::{
    EntityKey, Position, TenantId, Timestamp,
    entity::{
        Action, Author, Change, Choice, Content, OpId, Operation, Precondition, ReplicaId, Resolve, Stamp, Strategy,
        TextChange, TextEdit, Within,
    },
    lane::TOGETHER,
    rights::Entities,
    text::TextOps,
};

/// Greatest length of a replica's id, in bytes.
const REPLICA_BYTES: usize = 128;
/// Greatest number of operations in one JSON patch.
const PATCH_OPS: usize = 1_000;

/// An operation with what it is about.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted {
    /// Which entity.
    pub key: EntityKey,
    /// What is to be done.
    pub operation: Arc<Operation>,
    /// Its id as its sender wrote it; that of the node's making if it gave none.
    pub reference: Arc<str>,
}

/// What is done or not done as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Each operation.
    Operation,
    /// All operations of a message or a request.
    Batch,
}

/// Holds operations of which all are to be done or none to their bounds: what is too much for one entity is refused.
pub fn bounded(wanted: Vec<Result<Wanted, Refusal>>) -> Vec<Result<Wanted, Refusal>> {
    let mut counts: HashMap<EntityKey, usize> = HashMap::new();
    let mut bound = |wanted: Wanted| {
        let count = counts.entry(wanted.key.clone()).or_default();
        *count += 1;
        if *count > TOGETHER {
            let message = format!("an atomic batch may have {TOGETHER} operations on one entity");
            return Err(invalid(message).concerning(wanted.reference));
        }
        Ok(wanted)
    };
    wanted.into_iter().map(|wanted| wanted.and_then(&mut bound)).collect()
}

/// Who sends operations, and when.
#[derive(Clone, Copy, Debug)]
pub struct Sender<'a> {
    /// Whose room.
    pub tenant: &'a TenantId,
    /// Who.
    pub author: &'a Author,
    /// Whether it has proven that, or is believed.
    pub identity: Identity,
    /// What it may change, and where.
    pub change: &'a Entities,
    /// The node's time.
    pub now: Timestamp,
}

/// Where somebody's identity comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity {
    /// Its token's: it is nobody but that.
    Proven,
    /// Its own word.
    Claimed,
}

impl Identity {
    /// Of somebody who has proven it, or not.
    pub fn of(is_proven: bool) -> Self {
        if is_proven { Self::Proven } else { Self::Claimed }
    }
}

/// An operation as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Fields<'a> {
    #[serde(borrow)]
    pub op_id: Option<Text<'a>>,
    #[serde(borrow)]
    pub id: Option<Text<'a>>,
    #[serde(borrow)]
    pub replica_id: Option<Text<'a>>,
    #[serde(borrow)]
    device_id: Option<Text<'a>>,
    op_number: Option<u64>,
    #[serde(borrow, alias = "entityType")]
    pub entity_type: Option<Text<'a>>,
    #[serde(borrow, alias = "entityId")]
    pub entity_id: Option<Text<'a>>,
    #[serde(borrow)]
    pub action: Option<Text<'a>>,
    #[serde(alias = "baseVersion")]
    pub base_version: Option<u64>,
    #[serde(borrow)]
    pub strategy: Option<Text<'a>>,
    #[serde(borrow)]
    user_id: Option<Text<'a>>,
    #[serde(alias = "changes")]
    pub patch: Option<Given>,
    pub ops: Option<Value>,
    text: Option<Value>,
    pub data: Option<Given>,
    #[serde(borrow, alias = "conflictId")]
    pub conflict_id: Option<Text<'a>>,
    #[serde(borrow)]
    choice: Option<Text<'a>>,
    sig: Option<Box<RawValue>>,
}

impl<'a> Fields<'a> {
    /// Reads the fields of a JSON object.
    pub(super) fn of_values(fields: Value) -> Result<Self, Refusal> {
        Self::deserialized(fields)
    }

    /// Reads the fields of a JSON object as it came.
    pub(super) fn read(fields: &'a str) -> Result<Self, Refusal> {
        // A list would be read too, field by field.
        if !fields.trim_start().starts_with('{') {
            return Err(invalid("an operation is one JSON object"));
        }
        // To know where an error is costs more than reading: it is found out once there is one.
        let read: Self = serde_json::from_str(fields)
            .or_else(|_| Self::deserialized(&mut serde_json::Deserializer::from_str(fields)))?;
        signature::none(read.sig.as_deref())?;
        Ok(read)
    }

    fn deserialized<'de: 'a>(from: impl serde::Deserializer<'de>) -> Result<Self, Refusal> {
        serde_path_to_error::deserialize(from).map_err(|error| match error.path().iter().next() {
            Some(_) => invalid(format!("'{}' has the wrong type", error.path())),
            None => invalid("an operation is one JSON object, each field at most once"),
        })
    }

    /// Whether it says what to change.
    pub(super) fn has_change(&self) -> bool {
        self.patch.is_some() || self.ops.is_some() || self.text.is_some() || self.data.is_some()
    }

    /// Puts it together. `fallback` is the id of the message that it came in.
    pub(super) fn wanted(self, sender: Sender<'_>, fallback: Option<&str>) -> Result<Wanted, Refusal> {
        let reference: Arc<str> = match self.op_id.as_deref().or(self.id.as_deref()).or(fallback) {
            Some("") => return Err(invalid("an operation's id is empty; leave it out for one of the node's making")),
            Some(text) if text.len() > REPLICA_BYTES => {
                return Err(invalid(format!("an operation's id is longer than {REPLICA_BYTES} bytes")));
            }
            Some(text) => text.into(),
            None => Uuid::new_v4().to_string().into(),
        };
        self.operation(sender, &reference)
            .map(|(key, operation)| Wanted { key, operation: Arc::new(operation), reference: reference.clone() })
            .map_err(|refusal| refusal.concerning(reference.clone()))
    }

    fn operation(self, sender: Sender<'_>, reference: &str) -> Result<(EntityKey, Operation), Refusal> {
        let id = op_id(sender, reference);
        let kind = self.entity_type.as_deref().ok_or_else(|| invalid("'entity_type' is missing"))?;
        let entity_id = match (self.entity_id.as_deref(), self.action.as_deref()) {
            (Some(id), _) => Cow::Borrowed(id),
            // Whoever makes something need not invent a name for it.
            (None, Some("create")) => id.0.to_string().into(),
            (None, _) => return Err(invalid("'entity_id' is missing")),
        };
        let key = EntityKey::new(kind, &entity_id).map_err(|error| Refusal::of_name(Code::InvalidEntity, &error))?;
        let author = author(sender.author, sender.identity, self.user_id.as_deref())?;
        let replica = match self.replica_id.as_deref().or(self.device_id.as_deref()) {
            None => sender.author.instance.shared(),
            Some(text) if text.is_empty() || text.len() > REPLICA_BYTES => {
                return Err(invalid(format!("'replica_id' must have 1 to {REPLICA_BYTES} bytes")));
            }
            Some(text) => text.into(),
        };
        let operation = Operation {
            id,
            replica: ReplicaId(replica),
            number: self.op_number,
            base: self.base_version.map(Position),
            strategy: strategy(self.strategy.as_deref())?,
            only: Precondition::Any,
            within: sender.change.limits(&key).map(|regions| Within { key: key.clone(), regions }),
            stamp: Stamp { by: author, at: sender.now },
            action: self.into_action(&key)?,
        };
        signature::check_keys(&key, &operation.action)?;
        Ok((key, operation))
    }

    fn into_action(self, key: &EntityKey) -> Result<Action, Refusal> {
        if self.conflict_id.is_some() || self.action.as_deref() == Some("resolve") {
            return self.resolve(key);
        }
        let action = self.action.clone();
        match action.as_deref().unwrap_or("update") {
            "create" => Ok(Action::Create(Change::Replace(self.content(key)?))),
            "update" => Ok(Action::Update(self.change(key)?)),
            "put" => Ok(Action::Put(self.change(key)?)),
            "delete" => Ok(Action::Delete),
            "restore" => Ok(Action::Restore),
            _ => Err(invalid("'action' must be create, update, put, delete, restore or resolve")),
        }
    }

    fn content(self, key: &EntityKey) -> Result<Content, Refusal> {
        match self.data.or(self.patch) {
            Some(given) => content(given, key),
            None => Ok(Value::Object(Map::new()).into()),
        }
    }

    fn change(self, key: &EntityKey) -> Result<Change, Refusal> {
        let Self { patch, ops, text, data, .. } = self;
        match (patch, ops, text, data) {
            (Some(patch), None, None, None) => given::patch(patch, key),
            (None, Some(ops), None, None) => json_patch(ops),
            (None, None, Some(text), None) => text_change(text),
            (None, None, None, Some(data)) => Ok(Change::Replace(content(data, key)?)),
            (None, None, None, None) => Err(invalid("say what to change: 'patch', 'ops', 'text' or 'data'")),
            _ => Err(invalid("only one of 'patch', 'ops', 'text' and 'data' in one operation")),
        }
    }

    fn resolve(self, key: &EntityKey) -> Result<Action, Refusal> {
        let id = self.conflict_id.as_deref().ok_or_else(|| invalid("'conflict_id' is missing"))?;
        let id = Uuid::try_parse(id).map_err(|_| invalid("'conflict_id' must be a UUID"))?;
        let choice = match self.choice.as_deref() {
            Some("current" | "remote") => Choice::Current,
            Some("proposed" | "local") => Choice::Proposed,
            Some("merged") => match self.data.or(self.patch) {
                Some(given) => Choice::Merged(object(given.values()?, "data", key)?),
                None => return Err(invalid("'data' is missing: what shall hold")),
            },
            _ => return Err(invalid("'choice' must be current, proposed or merged")),
        };
        Ok(Action::Resolve(Resolve { id, choice }))
    }
}

/// An operation's id: a UUID as it is, any other text as a UUID that follows from it and its sender.
pub(super) fn op_id(sender: Sender<'_>, reference: &str) -> OpId {
    const NAMESPACE: Uuid = Uuid::from_u128(0x2f6a_9c1d_04b7_4d0e_b8f3_51c2_7a90_e6d4);
    OpId(Uuid::try_parse(reference).unwrap_or_else(|_| {
        let instance = sender.author.instance.as_str();
        let text = format!("{}:{}:{instance}:{reference}", sender.tenant, instance.len());
        Uuid::new_v5(&NAMESPACE, text.as_bytes())
    }))
}

fn author(known: &Author, identity: Identity, claimed: Option<&str>) -> Result<Author, Refusal> {
    match (claimed, &known.user) {
        (Some(claimed), user)
            if user.as_deref() != Some(claimed) && (user.is_some() || identity == Identity::Proven) =>
        {
            Err(Refusal::new(Code::IdentityMismatch, "'user_id' is not this session's; leave it out"))
        }
        (Some(claimed), None) => {
            if claimed.is_empty() || claimed.len() > REPLICA_BYTES {
                return Err(invalid(format!("'user_id' must have 1 to {REPLICA_BYTES} bytes")));
            }
            Ok(Author { user: Some(claimed.into()), ..known.clone() })
        }
        _ => Ok(known.clone()),
    }
}

fn strategy(word: Option<&str>) -> Result<Strategy, Refusal> {
    match word {
        None => Ok(Strategy::default()),
        Some("last_write_wins" | "LAST_WRITE_WINS" | "last-write-wins") => Ok(Strategy::LastWriteWins),
        Some("merge" | "MERGE") => Ok(Strategy::Merge),
        Some("version") => Ok(Strategy::Version),
        Some("manual" | "user_choice" | "USER_CHOICE") => Ok(Strategy::Manual),
        Some(_) => Err(invalid("'strategy' must be last_write_wins, merge, version or manual (user_choice)")),
    }
}

fn json_patch(ops: Value) -> Result<Change, Refusal> {
    let count = ops.as_array().map_or(0, Vec::len);
    if count > PATCH_OPS {
        return Err(invalid(format!("a JSON patch may have {PATCH_OPS} operations, this has {count}")));
    }
    let patch = serde_json::from_value(ops).map_err(|_| invalid("'ops' is not a JSON patch (RFC 6902)"))?;
    Ok(Change::Patch(patch))
}

fn text_change(text: Value) -> Result<Change, Refusal> {
    #[derive(Deserialize)]
    struct Written {
        path: String,
        ops: Option<Value>,
        value: Option<String>,
    }
    let written: Written =
        serde_json::from_value(text).map_err(|_| invalid("'text' must be {path, ops} or {path, value}"))?;
    if !written.path.starts_with('/') {
        return Err(invalid("'text.path' must be a JSON pointer, like /title"));
    }
    let edit = match (written.ops, written.value) {
        (Some(ops), None) => TextEdit::Ops(
            serde_json::from_value::<TextOps>(ops).map_err(|error| invalid(format!("'text.ops': {error}")))?,
        ),
        (None, Some(value)) => TextEdit::Whole(value),
        _ => return Err(invalid("'text' must hold either 'ops' or 'value'")),
    };
    Ok(Change::Text(TextChange { path: written.path, edit }))
}

pub(super) fn invalid(message: impl Into<Cow<'static, str>>) -> Refusal {
    Refusal::new(Code::InvalidOperation, message)
}
