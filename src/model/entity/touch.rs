//! Fields by name: JSON pointers, which of them a change touches, and how to write one.
//!
//! An array counts as one field: what stands where in it is only known to who has seen all of it.

use std::borrow::Cow;

use json_patch::{Patch, PatchOperation};
use serde_json::{Map, Value};

/// A field as it shall be.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Field {
    /// JSON pointer.
    pub path: String,
    /// Its value; `None`: it shall not be there.
    pub value: Option<Value>,
}

/// Whether a field is another one or stands in it.
pub(super) fn is_within(inner: &str, outer: &str) -> bool {
    inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The name of a member of a field.
pub(super) fn member(path: &str, key: &str) -> String {
    if key.contains(['~', '/']) {
        format!("{path}/{}", key.replace('~', "~0").replace('/', "~1"))
    } else {
        format!("{path}/{key}")
    }
}

/// The keys that lead to a field.
fn keys(path: &str) -> impl DoubleEndedIterator<Item = Cow<'_, str>> {
    let tokens = path.strip_prefix('/').map(|rest| rest.split('/'));
    tokens.into_iter().flatten().map(|token| {
        if token.contains('~') { Cow::from(token.replace("~1", "/").replace("~0", "~")) } else { Cow::from(token) }
    })
}

/// Names every field once, and none that stands in another one of them.
pub(super) fn outermost(mut paths: Vec<String>) -> Vec<String> {
    // Slashes first: so what stands in a field follows it without anything between.
    let rank = |byte: u8| if byte == b'/' { 0 } else { u16::from(byte) + 1 };
    paths.sort_by(|one, other| one.bytes().map(rank).cmp(other.bytes().map(rank)));
    paths.dedup_by(|inner, outer| is_within(inner, outer));
    paths
}

/// The values that a merge patch or a new content brings, each with the field that it is for. Objects are walked into
/// where an object stands or nothing does: what is no object there goes as a whole, and must be named as a whole.
pub(super) fn leaves<'a>(
    patch: &'a Value,
    stands: Option<&Value>,
    path: &str,
    leaf: &mut impl FnMut(String, &'a Value),
) {
    match (patch, stands) {
        (Value::Object(fields), None) if fields.is_empty() => leaf(path.to_owned(), patch),
        (Value::Object(fields), None | Some(Value::Object(_))) => {
            for (key, value) in fields {
                leaves(value, stands.and_then(|stands| stands.get(key)), &member(path, key), leaf);
            }
        }
        _ => leaf(path.to_owned(), patch),
    }
}

/// The fields that a merge patch touches.
pub(super) fn merge_paths(patch: &Value, content: &Value) -> Vec<String> {
    let mut paths = Vec::new();
    leaves(patch, Some(content), "", &mut |path, _| paths.push(path));
    paths
}

/// The fields that differ between two contents, as they are in the second.
pub(super) fn difference(old: &Value, new: &Value) -> Vec<Field> {
    let mut fields = Vec::new();
    compare(Some(old), new, "", &mut fields);
    fields
}

fn compare(old: Option<&Value>, new: &Value, path: &str, fields: &mut Vec<Field>) {
    match (old, new) {
        (Some(Value::Object(old)), Value::Object(new)) => {
            for (key, value) in new {
                compare(old.get(key), value, &member(path, key), fields);
            }
            let gone = old.keys().filter(|key| !new.contains_key(*key));
            fields.extend(gone.map(|key| Field { path: member(path, key), value: None }));
        }
        (None, Value::Object(members)) if !members.is_empty() => {
            for (key, value) in members {
                compare(None, value, &member(path, key), fields);
            }
        }
        (Some(old), new) if old == new => {}
        _ => fields.push(Field { path: path.to_owned(), value: Some(new.clone()) }),
    }
}

/// The fields that a JSON patch touches; of what it does in an array, the array.
pub(super) struct PatchPaths {
    /// All of them.
    pub touched: Vec<String>,
    /// Those of them that are arrays, of which it touches elements.
    pub arrays: Vec<String>,
}

/// Which fields a JSON patch touches.
pub(super) fn patch_paths(patch: &Patch, content: &Value) -> PatchPaths {
    let mut paths = PatchPaths { touched: Vec::new(), arrays: Vec::new() };
    for operation in patch.iter() {
        let from = match operation {
            PatchOperation::Test(_) => continue,
            PatchOperation::Move(op) => Some(op.from.as_str()),
            _ => None,
        };
        for pointer in from.into_iter().chain([operation.path().as_str()]) {
            match enclosing_array(pointer, content) {
                Some(array) => {
                    paths.arrays.push(array.to_owned());
                    paths.touched.push(array.to_owned());
                }
                None => paths.touched.push(pointer.to_owned()),
            }
        }
    }
    paths.touched = outermost(paths.touched);
    paths
}

/// The first array on the way to a field.
pub(super) fn enclosing_array<'a>(path: &'a str, content: &Value) -> Option<&'a str> {
    let mut stands = content;
    for (end, key) in ends(path).zip(keys(path)) {
        if stands.is_array() {
            return Some(&path[..end]);
        }
        stands = stands.get(key.as_ref())?;
    }
    None
}

/// The field that really changes when one is written: where something stands on the way to it that is no object, that.
pub(super) fn standing<'a>(path: &'a str, content: &Value) -> &'a str {
    let mut stands = content;
    for (end, key) in ends(path).zip(keys(path)) {
        if !stands.is_object() {
            return &path[..end];
        }
        let Some(next) = stands.get(key.as_ref()) else { break };
        stands = next;
    }
    path
}

/// Where the names of the fields above one end, outermost first.
fn ends(path: &str) -> impl Iterator<Item = usize> {
    path.match_indices('/').map(|(at, _)| at)
}

/// Writes a field; what is missing on the way to it is made, and what is no object there makes way.
pub(super) fn put(content: &mut Value, path: &str, value: Option<Value>) {
    let mut place = content;
    let mut keys = keys(path);
    let Some(last) = keys.next_back() else {
        *place = value.unwrap_or_else(|| Value::Object(Map::new()));
        return;
    };
    for key in keys {
        if value.is_none() && place.get(key.as_ref()).is_none() {
            return;
        }
        place = members(place).entry(key).or_insert(Value::Null);
    }
    match value {
        Some(value) => drop(members(place).insert(last.into_owned(), value)),
        // Not `swap_remove`: the others keep their order.
        None => drop(place.as_object_mut().and_then(|members| members.shift_remove(last.as_ref()))),
    }
}

fn members(place: &mut Value) -> &mut Map<String, Value> {
    if !place.is_object() {
        *place = Value::Object(Map::new());
    }
    place.as_object_mut().expect("made an object just now")
}

/// Writes a text where one stands, also in an array.
pub(super) fn put_string(content: &mut Value, path: &str, text: String) {
    if let Some(place) = content.pointer_mut(path) {
        *place = Value::String(text);
    }
}
