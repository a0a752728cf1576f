//! Changes done to a content, and the bounds that a content is held to.

use std::io;

use json_patch::{AddOperation, Patch, PatchError, PatchErrorKind, PatchOperation, jsonptr::Pointer};
use serde_json::Value;

use super::{Content, Limits, Rollback, content::RESERVED};
use crate::model::sealed;

/// How deep a content may be nested. What reads it back stops at 128, and the record around it takes some of that.
pub const DEPTH: usize = 64;

/// How many elements of lists a JSON patch may push to and fro: some tens of milliseconds.
const PUSHES: usize = 4_000_000;

/// Holds a content to its bounds.
pub(super) fn check(content: &Content, limits: Limits) -> Result<(), Rollback> {
    if !content.is_object() {
        return Err(Rollback::PatchFailed("the content would not be an object".to_owned()));
    }
    if !content.is_checked() {
        if is_deeper(content, DEPTH) {
            return Err(too_deep());
        }
        if names_reserved(content) {
            return Err(Rollback::PatchFailed(format!("no member may be named {RESERVED}")));
        }
    }
    // A patch may have mixed something into it.
    if content.is_whole() && content.as_object().is_none_or(|content| sealed::check(content).is_err()) {
        return Err(Rollback::WholeOnly);
    }
    if content.text().len() > limits.data_bytes { Err(Rollback::TooLarge(limits.data_bytes)) } else { Ok(()) }
}

/// Does a JSON patch; if it fails, the content is half changed and of no use.
pub(super) fn patch(content: &mut Value, patch: &Patch, limits: Limits) -> Result<(), Rollback> {
    let mut room = Room { limits, left: 0, pushes: PUSHES };
    for operation in patch.iter() {
        room.take(content, operation)?;
        let done = json_patch::patch_unsafe(content, std::slice::from_ref(operation));
        done.map_err(|error| refused(operation, &error))?;
    }
    Ok(())
}

fn refused(operation: &PatchOperation, error: &PatchError) -> Rollback {
    match (operation, &error.kind) {
        (PatchOperation::Test(test), _) => Rollback::TestFailed(test.path.to_string()),
        (operation, PatchErrorKind::InvalidFromPointer) => {
            Rollback::PatchFailed(format!("nothing to take for {}", operation.path()))
        }
        (operation, kind) => Rollback::PatchFailed(format!("{kind}: {}", operation.path())),
    }
}

/// What a JSON patch may still cost: each copy can double a content, each element can push all others of its list.
struct Room {
    limits: Limits,
    /// How many bytes may be copied before the content is measured again.
    left: usize,
    /// How many elements of lists may still be pushed.
    pushes: usize,
}

impl Room {
    fn take(&mut self, content: &Value, operation: &PatchOperation) -> Result<(), Rollback> {
        self.push(content, operation.path())?;
        if let PatchOperation::Move(op) = operation {
            self.push(content, &op.from)?;
        }
        let (target, source) = match operation {
            PatchOperation::Add(AddOperation { path, value }) => (path, Some(value)),
            PatchOperation::Replace(op) => (&op.path, Some(&op.value)),
            PatchOperation::Move(op) => (&op.path, content.pointer(op.from.as_str())),
            PatchOperation::Copy(op) => (&op.path, content.pointer(op.from.as_str())),
            PatchOperation::Remove(_) | PatchOperation::Test(_) => return Ok(()),
        };
        let Some(source) = source else { return Ok(()) }; // refused when it is done
        if is_deeper(source, DEPTH.saturating_sub(depth(target))) {
            return Err(too_deep());
        }
        if matches!(operation, PatchOperation::Copy(_)) { self.copy(content, source) } else { Ok(()) }
    }

    fn push(&mut self, content: &Value, path: &Pointer) -> Result<(), Rollback> {
        let list = path.parent().and_then(|parent| content.pointer(parent.as_str())).and_then(Value::as_array);
        let left = self.pushes.checked_sub(list.map_or(0, Vec::len));
        self.pushes = left.ok_or_else(|| Rollback::PatchFailed("too many changes of long lists".to_owned()))?;
        Ok(())
    }

    /// Twice the limit, because a patch may first copy and then remove.
    fn copy(&mut self, content: &Value, source: &Value) -> Result<(), Rollback> {
        let too_large = Rollback::TooLarge(self.limits.data_bytes);
        let bytes = size(source, self.limits.data_bytes).ok_or(too_large.clone())?;
        if bytes > self.left {
            let bound = self.limits.data_bytes.saturating_mul(2);
            self.left = bound.saturating_sub(size(content, bound).ok_or(too_large.clone())?);
        }
        self.left = self.left.checked_sub(bytes).ok_or(too_large)?;
        Ok(())
    }
}

fn depth(pointer: &Pointer) -> usize {
    pointer.as_str().matches('/').count()
}

fn too_deep() -> Rollback {
    Rollback::PatchFailed(format!("the content would be nested deeper than {DEPTH} levels"))
}

/// Whether objects and arrays stand in each other more than `levels` times.
pub(super) fn is_deeper(value: &Value, levels: usize) -> bool {
    match value {
        Value::Object(members) => levels == 0 || members.values().any(|inner| is_deeper(inner, levels - 1)),
        Value::Array(elements) => levels == 0 || elements.iter().any(|inner| is_deeper(inner, levels - 1)),
        _ => false,
    }
}

fn names_reserved(value: &Value) -> bool {
    match value {
        Value::Object(members) => members.iter().any(|(name, inner)| name == RESERVED || names_reserved(inner)),
        Value::Array(elements) => elements.iter().any(names_reserved),
        _ => false,
    }
}

/// The length of a value as JSON text, if it is no more than `bound`. Stops there, and stores nothing.
fn size(value: &impl serde::Serialize, bound: usize) -> Option<usize> {
    let mut counter = Counter { bytes: 0, bound };
    serde_json::to_writer(&mut counter, value).ok()?;
    Some(counter.bytes)
}

/// The length of anything as JSON text.
pub(super) fn length(value: &impl serde::Serialize) -> usize {
    size(value, usize::MAX).unwrap_or(usize::MAX)
}

struct Counter {
    bytes: usize,
    bound: usize,
}

impl io::Write for Counter {
    fn write(&mut self, part: &[u8]) -> io::Result<usize> {
        self.bytes += part.len();
        if self.bytes > self.bound { Err(io::ErrorKind::FileTooLarge.into()) } else { Ok(part.len()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
