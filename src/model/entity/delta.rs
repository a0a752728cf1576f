//! The smallest that leads from one content to the next: what goes out to whoever has the one before.

use std::borrow::Cow;

use json_patch::Patch;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::touch;
use crate::model::{
    sealed::SEALED,
    text::{TextError, TextOps},
};

/// What leads from one content to the next: first edits of texts, then at most one patch.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Delta {
    /// Edits of texts, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub text: Vec<TextDelta>,
    /// RFC 7396.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patch: Option<Value>,
    /// RFC 6902: where a merge patch cannot say it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ops: Option<Patch>,
}

/// An edit of the text at a path.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TextDelta {
    /// JSON pointer.
    pub path: String,
    /// How it changes.
    pub ops: TextOps,
}

/// A delta does not fit: it was made for another content.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeltaError {
    /// There is no text at a path.
    #[error("no text at {0}")]
    NoText(String),
    /// An edit of a text does not fit.
    #[error(transparent)]
    Text(#[from] TextError),
    /// A patch does not fit.
    #[error("{0}")]
    Patch(String),
}

impl Delta {
    /// What leads from `old` (`None`: from nothing) to `new`. `texts` are edits known to be part of it; those that do
    /// not lead to what stands in `new` are left to the patch.
    pub fn between(old: Option<&Value>, new: &Value, texts: &[(String, TextOps)]) -> Self {
        let mut reached = content_of(old.unwrap_or(&Value::Null));
        let mut delta = Self::default();
        for (index, (path, _)) in texts.iter().enumerate() {
            let is_first = texts[..index].iter().all(|(earlier, _)| earlier != path);
            if is_first {
                delta.edit(&mut reached, new, path, texts);
            }
        }
        match merge_patch(&reached, new) {
            Some(Value::Object(patch)) if patch.is_empty() => {}
            Some(patch) => delta.patch = Some(with_whole_seal(patch, new)),
            None => delta.ops = Some(json_patch::diff(&reached, new)),
        }
        delta
    }

    /// Takes the edits of one text, if they lead there.
    fn edit(&mut self, reached: &mut Cow<'_, Value>, new: &Value, path: &str, texts: &[(String, TextOps)]) {
        let Some(Value::String(goal)) = new.pointer(path) else { return };
        let Some(Value::String(start)) = reached.pointer(path) else { return };
        let edits = texts.iter().filter(|(edited, _)| edited == path);
        let end = edits.clone().try_fold(Cow::from(start), |text, (_, ops)| ops.apply(&text).map(Cow::from));
        if start != goal && end.is_ok_and(|end| end == *goal) {
            self.text.extend(edits.map(|(path, ops)| TextDelta { path: path.clone(), ops: ops.clone() }));
            touch::put_string(reached.to_mut(), path, goal.clone());
        }
    }

    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        self.text.is_empty() && self.patch.is_none() && self.ops.is_none()
    }

    /// The next content. Fails if this is not the content that the delta was made for, as far as that shows.
    pub fn apply(&self, old: &Value) -> Result<Value, DeltaError> {
        let mut content = content_of(old).into_owned();
        for TextDelta { path, ops } in &self.text {
            let text = content.pointer(path).and_then(Value::as_str).ok_or_else(|| DeltaError::NoText(path.clone()))?;
            let text = ops.apply(text)?;
            touch::put_string(&mut content, path, text);
        }
        if let Some(patch) = &self.patch {
            json_patch::merge(&mut content, patch);
        }
        if let Some(ops) = &self.ops {
            json_patch::patch_unsafe(&mut content, ops).map_err(|error| DeltaError::Patch(error.to_string()))?;
        }
        Ok(content)
    }
}

fn content_of(value: &Value) -> Cow<'_, Value> {
    if value.is_object() { Cow::Borrowed(value) } else { Cow::Owned(Value::Object(Map::new())) }
}

/// The merge patch that leads from `old` to `new`; `None` if one cannot say it: a `null` to be set, or no object at all.
fn merge_patch(old: &Value, new: &Value) -> Option<Value> {
    let (Value::Object(old), Value::Object(new)) = (old, new) else { return None };
    let mut patch = Map::new();
    for (key, value) in new {
        match old.get(key) {
            Some(stands @ Value::Object(_)) if value.is_object() => {
                let inner = merge_patch(stands, value)?;
                if inner.as_object().is_some_and(|inner| !inner.is_empty()) {
                    patch.insert(key.clone(), inner);
                }
            }
            Some(stands) if stands == value => {}
            _ if holds_null(value) => return None,
            _ => drop(patch.insert(key.clone(), value.clone())),
        }
    }
    let gone = old.keys().filter(|key| !new.contains_key(*key));
    patch.extend(gone.map(|key| (key.clone(), Value::Null)));
    Some(Value::Object(patch))
}

/// What is sealed is told as a whole, so that nobody takes a part of it for something. All that is sealed has the same members, so
/// the patch leads to the same as before.
fn with_whole_seal(mut patch: Value, new: &Value) -> Value {
    if let (Some(part), Some(sealed)) = (patch.get_mut(SEALED), new.get(SEALED)) {
        *part = sealed.clone();
    }
    patch
}

/// Whether setting this takes setting a `null`; those in arrays go with their array.
fn holds_null(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(members) => members.values().any(holds_null),
        _ => false,
    }
}

/// Fields as a merge patch, and which of them shall hold an explicit `null`.
pub(super) fn as_merge_patch(fields: Vec<touch::Field>) -> (Value, Vec<String>) {
    let (mut patch, mut nulls) = (Value::Object(Map::new()), Vec::new());
    for touch::Field { path, value } in fields {
        if let Some(value) = &value {
            find_nulls(value, &path, &mut nulls);
        }
        touch::put(&mut patch, &path, Some(value.unwrap_or(Value::Null)));
    }
    (patch, nulls)
}

fn find_nulls(value: &Value, path: &str, nulls: &mut Vec<String>) {
    match value {
        Value::Null => nulls.push(path.to_owned()),
        Value::Object(members) => {
            members.iter().for_each(|(key, value)| find_nulls(value, &touch::member(path, key), nulls));
        }
        _ => {}
    }
}
