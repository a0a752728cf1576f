//! What a line of MCP says, as far as the wrapper has to know. Pure.
//!
//! Owns: reading no more of a line than its head, and without changing it. Numbers, escapes and fields that nobody here knows
//! stay as they are; what two readers could take for two things is not judged.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// What the client says.
#[derive(Debug, PartialEq)]
pub(super) enum Said {
    /// A tool is to be run.
    Call {
        /// The request's.
        id: Id,
        /// Its name.
        tool: String,
        /// The text of its arguments.
        arguments: Option<String>,
    },
    /// Something else is asked for.
    Request(Id),
    /// A request is not wanted any more.
    Cancelled(Key),
    /// Anything else.
    Other,
    /// It cannot be told what it says.
    Unclear {
        /// The request's id as it was written, if that much is clear.
        id: Option<Box<str>>,
        /// Why.
        why: &'static str,
    },
}

/// What the wrapped server answers; `None`: the line is no answer.
#[derive(Debug, PartialEq)]
pub(super) struct Answer {
    /// To which request.
    pub key: Key,
    /// What of it matters if that was a call.
    pub outcome: Outcome,
}

/// What a call came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It goes on: the client is asked something, or it became a task.
    Interim,
    /// It worked, as far as its answer says.
    Done(Place),
    /// It did not: `isError`, or an error.
    Failed(Place),
}

/// Where a text can be added to an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Nowhere: it has no list of contents.
    None,
    /// Before this byte of the line, in a list that is empty.
    First(usize),
    /// Before this byte of the line, behind what is there.
    Next(usize),
}

/// A request's id: as it was written, and what it means.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Id {
    /// As it was written.
    pub text: Box<str>,
    /// What it means.
    pub key: Key,
}

/// What an id means, however it is written: `1` and `1.0`, `"a"` and `"\u0061"` are the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Key {
    /// A whole number.
    Whole(i64),
    /// Another number, by its bits.
    Number(u64),
    /// A text.
    Text(Box<str>),
}

/// The fields are those of JSON-RPC. One that stands there twice is an error, and one that is `null` is there.
#[derive(Deserialize)]
struct Head<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    method: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "present")]
    params: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    result: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    error: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct CallParams<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow, default, deserialize_with = "present")]
    arguments: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct CancelledParams<'a> {
    #[serde(borrow, rename = "requestId")]
    request: &'a RawValue,
}

#[derive(Deserialize)]
struct CallResult<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    content: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "resultType")]
    kind: Option<Cow<'a, str>>,
    #[serde(default, rename = "isError")]
    is_error: Option<bool>,
    #[serde(borrow, default, deserialize_with = "present")]
    task: Option<&'a RawValue>,
}

fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

const NOT_READABLE: &str = "the line is not one JSON object that can be read in one way only";
const NO_CALL: &str = "tools/call needs an id that is a number or a text, and params with one name";
const NO_BATCH: &str =
    "a list of messages may hold neither tools/call nor notifications/cancelled here; send each on its own";

/// Reads a line of the client.
pub(super) fn said(line: &[u8]) -> Said {
    let Ok(text) = std::str::from_utf8(line) else { return unclear(NOT_READABLE) };
    match text.trim_ascii().as_bytes().first() {
        None => Said::Other,
        Some(b'[') => list(text),
        Some(_) => object(text),
    }
}

/// A derived struct would take a list too, field by field.
fn read<'a, T: Deserialize<'a>>(text: &'a str) -> Option<T> {
    let text = text.trim_ascii();
    if text.starts_with('{') { serde_json::from_str(text).ok() } else { None }
}

fn object(text: &str) -> Said {
    let Some(head) = read::<Head<'_>>(text) else { return unclear(NOT_READABLE) };
    let id = head.id.and_then(id);
    match (head.method.as_deref(), id) {
        (Some("tools/call"), id) => {
            let params = head.params.and_then(|params| read::<CallParams<'_>>(params.get()));
            match (id, params) {
                (Some(id), Some(CallParams { name, arguments })) => {
                    Said::Call { id, tool: name.into_owned(), arguments: arguments.map(|raw| raw.get().to_owned()) }
                }
                (id, _) => Said::Unclear { id: id.map(|id| id.text), why: NO_CALL },
            }
        }
        (Some("notifications/cancelled"), _) => {
            let params = head.params.and_then(|params| read::<CancelledParams<'_>>(params.get()));
            params.and_then(|params| self::id(params.request)).map_or(Said::Other, |id| Said::Cancelled(id.key))
        }
        (Some(_), Some(id)) => Said::Request(id),
        _ => Said::Other,
    }
}

/// One revision has lists of messages. They pass if nothing in them concerns a call.
fn list(text: &str) -> Said {
    let Ok(parts) = serde_json::from_str::<Vec<&RawValue>>(text) else { return unclear(NOT_READABLE) };
    let all = parts.iter().all(|part| matches!(object(part.get()), Said::Request(_) | Said::Other));
    if all { Said::Other } else { unclear(NO_BATCH) }
}

fn unclear(why: &'static str) -> Said {
    Said::Unclear { id: None, why }
}

/// Reads a line of the wrapped server.
pub(super) fn answer(line: &[u8]) -> Option<Answer> {
    let text = std::str::from_utf8(line).ok()?;
    let head = read::<Head<'_>>(text)?;
    if head.method.is_some() {
        return None;
    }
    let key = id(head.id?)?.key;
    let outcome = match (head.result, head.error) {
        (Some(result), None) => outcome(text, result.get()),
        _ => Outcome::Failed(Place::None),
    };
    Some(Answer { key, outcome })
}

fn outcome(line: &str, result: &str) -> Outcome {
    // What cannot be read is the client's to judge, and stays as it is.
    let Some(read) = read::<CallResult<'_>>(result) else { return Outcome::Failed(Place::None) };
    if read.kind.is_some_and(|kind| kind != "complete") || read.task.is_some() {
        return Outcome::Interim;
    }
    let place = read.content.map_or(Place::None, |content| place(line, content.get()));
    if read.is_error == Some(true) { Outcome::Failed(place) } else { Outcome::Done(place) }
}

/// The end of a list that is a part of the line.
fn place(line: &str, content: &str) -> Place {
    let Some(inner) = content.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) else { return Place::None };
    let end = content.as_ptr() as usize - line.as_ptr() as usize + content.len() - 1;
    if inner.trim_ascii().is_empty() { Place::First(end) } else { Place::Next(end) }
}

fn id(raw: &RawValue) -> Option<Id> {
    let text = raw.get();
    let key = if text.starts_with('"') {
        Key::Text(serde_json::from_str::<Box<str>>(text).ok()?)
    } else if let Ok(whole) = text.parse::<i64>() {
        Key::Whole(whole)
    } else {
        let number: f64 = serde_json::from_str(text).ok()?;
        // Exact within what a double holds.
        let is_whole = number.fract() == 0.0 && number.abs() < 9.0e15;
        if is_whole { Key::Whole(number as i64) } else { Key::Number(number.to_bits()) }
    };
    Some(Id { text: text.into(), key })
}

/// The line with a text added to the contents of its result. All else is as it was.
pub(super) fn with_text(line: &[u8], place: Place, text: &str) -> Option<Vec<u8>> {
    let (at, comma) = match place {
        Place::None => return None,
        Place::First(at) => (at, ""),
        Place::Next(at) => (at, ","),
    };
    let block = format!(r#"{comma}{{"type":"text","text":{}}}"#, serde_json::Value::from(text));
    let (before, behind) = line.split_at_checked(at)?;
    Some([before, block.as_bytes(), behind].concat())
}

/// An error to a request, as a line; `id`: as it was written, `None`: it is not known.
pub(super) fn error(id: Option<&str>, code: i32, message: &str) -> Vec<u8> {
    let id = id.map(|id| format!(r#""id":{id},"#)).unwrap_or_default();
    let message = serde_json::Value::from(message);
    format!("{{\"jsonrpc\":\"2.0\",{id}\"error\":{{\"code\":{code},\"message\":{message}}}}}\n").into_bytes()
}

#[cfg(test)]
mod tests;
