//! What a tool is called with. Owns: the one place where a call's arguments become a type, and what is said of a wrong one.

use serde::Deserialize;
use serde_json::{Map, Value, value::RawValue};
use uuid::Uuid;

use crate::model::EntityKey;

/// Most that is listed at a time.
const MOST: usize = 100;
/// What is listed where nothing is said.
const USUAL: usize = 10;

/// What a tool shall do.
#[derive(Debug, PartialEq)]
pub(super) enum Call {
    /// Show a context.
    Get(EntityKey),
    /// Change a context, or make it.
    Update { key: EntityKey, data: Map<String, Value>, base: Option<u64>, strategy: Option<String> },
    /// Delete a context.
    Delete { key: EntityKey, base: Option<u64>, strategy: Option<String> },
    /// Find contexts.
    Search { query: String, level: Option<String>, limit: usize },
    /// List contexts, of a level or of all, behind one.
    List { level: Option<String>, after: String, limit: usize },
    /// Tell what others did.
    Changes { since: Option<u64>, limit: usize },
    /// Settle a conflict.
    Resolve { key: EntityKey, conflict: Uuid, choice: Choice, base: Option<u64> },
    /// Tell how it stands.
    Status,
    /// Tell who is here.
    Here,
    /// Publish an event.
    Publish { event_type: String, data: String },
}

impl Call {
    /// Whether it changes nothing.
    pub fn is_reading(&self) -> bool {
        !matches!(self, Self::Update { .. } | Self::Delete { .. } | Self::Resolve { .. } | Self::Publish { .. })
    }
}

/// What shall hold.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Choice {
    /// What stands.
    Current,
    /// What was proposed.
    Proposed,
    /// Something else: a merge patch for what stands.
    Merged(Map<String, Value>),
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Given {
    action: Option<String>,
    level: Option<String>,
    context_id: Option<String>,
    data: Option<Value>,
    base_version: Option<u64>,
    strategy: Option<String>,
    query: Option<String>,
    after: Option<String>,
    since: Option<u64>,
    limit: Option<usize>,
    conflict_id: Option<String>,
    choice: Option<String>,
    event_type: Option<String>,
}

/// Reads a call.
///
/// # Errors
///
/// In words that say what to do.
pub(super) fn read(tool: &str, arguments: Option<Map<String, Value>>) -> Result<Call, String> {
    let given: Given = serde_json::from_value(Value::Object(arguments.unwrap_or_default()))
        .map_err(|error| format!("{error}; see the tool's schema"))?;
    let action = match tool {
        "manage_context" => given
            .action
            .clone()
            .ok_or("'action' is missing: get, list, update, delete, search, changes, resolve or status")?,
        "context_get" => "get".to_owned(),
        "context_search" => "search".to_owned(),
        "context_changes" => "changes".to_owned(),
        other => other.to_owned(),
    };
    let limit = given.limit.unwrap_or(USUAL).clamp(1, MOST);
    match action.as_str() {
        "get" => Ok(Call::Get(given.key()?)),
        "list" => Ok(Call::List { after: given.after.unwrap_or_default(), level: given.level, limit }),
        "update" => {
            let (key, data) = (given.key()?, given.object()?);
            Ok(Call::Update { key, data, base: given.base_version, strategy: given.strategy })
        }
        "delete" => Ok(Call::Delete { key: given.key()?, base: given.base_version, strategy: given.strategy }),
        "search" => {
            let query = given.query.ok_or("'query' is missing: the words to look for")?;
            Ok(Call::Search { query, level: given.level, limit })
        }
        "changes" => Ok(Call::Changes { since: given.since, limit }),
        "resolve" => given.resolve(),
        "status" => Ok(Call::Status),
        "who_is_here" => Ok(Call::Here),
        "publish_event" => {
            let event_type = given.event_type.ok_or("'event_type' is missing, like decision_made")?;
            Ok(Call::Publish { event_type, data: given.data.unwrap_or_default().to_string() })
        }
        _ if tool == "manage_context" => {
            Err("'action' must be get, list, update, delete, search, changes, resolve or status".to_owned())
        }
        _ => Err(format!("there is no tool '{tool}'")),
    }
}

/// The entity of a context.
pub(super) fn key(level: &str, id: &str) -> Result<EntityKey, String> {
    if level.is_empty() || level.contains(':') {
        return Err("'level' must be one word without ':', like task, branch, project or global".to_owned());
    }
    EntityKey::new("context", &format!("{level}:{id}")).map_err(|error| error.to_string())
}

/// What a context is called.
pub(super) fn name(key: &EntityKey) -> String {
    match key.id.split_once(':') {
        Some((level, id)) if &*key.kind == "context" => format!("{level} {id:?}"),
        _ => format!("{} {:?}", key.kind, key.id),
    }
}

impl Given {
    fn key(&self) -> Result<EntityKey, String> {
        let level = self.level.as_deref().ok_or("'level' is missing, like task, branch, project or global")?;
        let id = self.context_id.as_deref().filter(|id| !id.is_empty()).ok_or("'context_id' is missing")?;
        key(level, id)
    }

    fn object(&self) -> Result<Map<String, Value>, String> {
        match &self.data {
            Some(Value::Object(fields)) => Ok(fields.clone()),
            // Some clients send what should be an object as its text.
            Some(Value::String(text)) => {
                serde_json::from_str(text).map_err(|error| format!("'data' must be a JSON object: {error}"))
            }
            _ => Err("'data' is missing: a JSON object with the fields to set; null removes one".to_owned()),
        }
    }

    fn resolve(&self) -> Result<Call, String> {
        let id = self
            .conflict_id
            .as_deref()
            .ok_or("'conflict_id' is missing; action changes or status shows what is open")?;
        let conflict = Uuid::try_parse(id).map_err(|_| "'conflict_id' must be a UUID")?;
        let choice = match self.choice.as_deref() {
            Some("current") => Choice::Current,
            Some("proposed") => Choice::Proposed,
            Some("merged") => Choice::Merged(self.object()?),
            _ => return Err("'choice' must be current, proposed or merged (with 'data')".to_owned()),
        };
        Ok(Call::Resolve { key: self.key()?, conflict, choice, base: self.base_version })
    }
}

/// An event's content.
pub(super) fn raw(text: String) -> Result<Box<RawValue>, String> {
    RawValue::from_string(text).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn called(tool: &str, arguments: Value) -> Result<Call, String> {
        let Value::Object(fields) = arguments else { unreachable!("an object") };
        read(tool, Some(fields))
    }

    #[test]
    fn the_seeds_calls_are_understood() {
        let data = json!({"files_read": ["auth/config.py"], "understanding": "basic JWT"});
        let update = json!({"action": "update", "level": "task", "context_id": "7", "data": data});
        let Ok(Call::Update { key, data, base: None, strategy: None }) = called("manage_context", update) else {
            unreachable!("an update")
        };
        assert_eq!((&*key.kind, &*key.id, data.len()), ("context", "task:7", 2));
        let as_text = json!({"action": "update", "level": "task", "context_id": "7", "data": "{\"a\":1}"});
        assert!(matches!(called("manage_context", as_text), Ok(Call::Update { .. })));
        let get = json!({"level": "task", "context_id": "7"});
        assert!(matches!(called("context_get", get), Ok(Call::Get(_))));
        assert_eq!(called("who_is_here", json!({})), Ok(Call::Here));
        assert_eq!(
            called("manage_context", json!({"action": "changes", "limit": 9999})),
            Ok(Call::Changes { since: None, limit: MOST })
        );
    }

    #[test]
    fn what_is_wrong_is_said_with_what_to_do() {
        for (arguments, word) in [
            (json!({}), "action"),
            (json!({"action": "guess"}), "action"),
            (json!({"action": "get", "context_id": "7"}), "level"),
            (json!({"action": "get", "level": "a:b", "context_id": "7"}), "level"),
            (json!({"action": "get", "level": "task"}), "context_id"),
            (json!({"action": "update", "level": "task", "context_id": "7"}), "data"),
            (json!({"action": "update", "level": "task", "context_id": "7", "data": [1]}), "data"),
            (json!({"action": "search"}), "query"),
            (json!({"action": "resolve", "level": "task", "context_id": "7", "conflict_id": "x"}), "UUID"),
            (json!({"action": "status", "bogus": 1}), "bogus"),
        ] {
            let said = called("manage_context", arguments.clone()).expect_err("it is wrong");
            assert!(said.contains(word), "{arguments}: {said}");
        }
        assert!(called("rm_rf", json!({})).is_err());
    }
}
