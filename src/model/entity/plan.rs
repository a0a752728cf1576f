//! What an operation writes, before it is settled whether it may.

use json_patch::Patch;
use serde_json::{Map, Value};

use super::{
    Change, Content, Limits, Rollback, TextChange, change,
    decide::{Case, Stop},
    touch::{self, Field, PatchPaths},
};

/// What is to be written.
pub(super) struct Plan<'a> {
    /// The fields that it touches, none of them in another.
    pub touched: Vec<String>,
    /// How it is done.
    pub how: How<'a>,
}

/// How a change is done.
pub(super) enum How<'a> {
    /// As a merge patch.
    Merge(&'a Value),
    /// As a JSON patch, which touches elements of these arrays.
    Patch(&'a Patch, Vec<String>),
    /// Field by field.
    Fields(Vec<Field>),
    /// As an edit of a text.
    Text(&'a TextChange),
    /// By putting another content in its place.
    Whole(&'a Content),
}

impl<'a> Plan<'a> {
    pub fn of(case: &Case<'a>, change: &'a Change) -> Result<Self, Stop> {
        let content = &case.head.data;
        Ok(match change {
            Change::Replace(new) if content.is_whole() || new.is_whole() => Self::whole(new),
            // Two sealed contents would make one that nobody can open.
            _ if content.is_whole() => return Err(Rollback::WholeOnly.into()),
            Change::Merge(patch) => Self::merge(patch, content)?,
            Change::Patch(patch) => {
                let PatchPaths { touched, arrays } = touch::patch_paths(patch, content);
                Self { touched, how: How::Patch(patch, arrays) }
            }
            Change::Replace(content) => Self::replace(case, an_object(content)?)?,
            Change::Text(text) => Self { touched: vec![text.path.clone()], how: How::Text(text) },
        })
    }

    pub fn merge(patch: &'a Value, content: &Value) -> Result<Self, Rollback> {
        Ok(Self { touched: touch::merge_paths(an_object(patch)?, content), how: How::Merge(patch) })
    }

    /// What is of one piece is one field: whatever was written unseen clashes with it.
    pub fn whole(content: &'a Content) -> Self {
        Self { touched: vec![String::new()], how: How::Whole(content) }
    }

    /// Makes something where something stands: what it brings is written, the rest stays.
    pub fn create(content: &'a Content, stands: &Content) -> Self {
        if content.is_whole() || stands.is_whole() {
            return Self::whole(content);
        }
        let mut fields = Vec::new();
        touch::leaves(content, Some(stands), "", &mut |path, value| {
            fields.push(Field { path, value: Some(value.clone()) });
        });
        Self::fields(fields, stands)
    }

    /// A new content is what its sender made of the content that it had seen: what it left alone is not written.
    fn replace(case: &Case<'_>, new: &Value) -> Result<Self, Stop> {
        let head = &case.head.data;
        if !case.is_behind() {
            // Whatever came after its base is its own: that was before its eyes.
            return Ok(Self::fields(touch::difference(head, new), head));
        }
        let Some(base) = case.base_content()? else {
            let whole = Field { path: String::new(), value: Some(new.clone()) };
            return Ok(Self { touched: vec![String::new()], how: How::Fields(vec![whole]) });
        };
        let mut fields = touch::difference(&as_object(base), new);
        // Its own writes since then are not in its base, and it may have taken them back. What is named twice is written
        // twice with the same value.
        let own: Vec<_> = case.head.state.clocks.own_writes(case.seen, case.me()).collect();
        fields.extend(touch::difference(head, new).into_iter().filter(|field| {
            own.iter().any(|own| touch::is_within(&field.path, own) || touch::is_within(own, &field.path))
        }));
        Ok(Self::fields(fields, head))
    }

    fn fields(fields: Vec<Field>, head: &Value) -> Self {
        let touched = fields.iter().map(|field| touch::standing(&field.path, head).to_owned()).collect();
        Self { touched: touch::outermost(touched), how: How::Fields(fields) }
    }

    /// A JSON patch that counts elements of arrays which look different by now is done to the content that its sender
    /// had seen, and what comes of it is written, arrays as a whole.
    pub fn on_seen_arrays(self, case: &Case<'_>) -> Result<Self, Stop> {
        match &self.how {
            How::Patch(patch, arrays) if arrays.iter().any(|array| case.clash(array).is_some()) => {
                let base = case.base_content()?.ok_or(Rollback::BaseGone)?;
                let mut new = as_object(base);
                change::patch(&mut new, patch, case.limits)?;
                Ok(Self::fields(touch::difference(&as_object(base), an_object(&new)?), &case.head.data))
            }
            _ => Ok(self),
        }
    }
}

impl How<'_> {
    /// The arrays of which it touches elements.
    pub fn arrays(&self) -> &[String] {
        if let Self::Patch(_, arrays) = self { arrays } else { &[] }
    }

    /// Does it; if it fails, the content is of no use any more.
    pub fn apply(self, content: &mut Value, limits: Limits) -> Result<(), Rollback> {
        match self {
            Self::Merge(patch) => json_patch::merge(content, patch),
            Self::Patch(patch, _) => change::patch(content, patch, limits)?,
            Self::Fields(fields) => fields.into_iter().for_each(|field| touch::put(content, &field.path, field.value)),
            Self::Whole(whole) => *content = Value::clone(whole),
            Self::Text(text) => return Err(Rollback::TextFailed(format!("no text at {}", text.path))),
        }
        Ok(())
    }
}

/// A content, or a patch for one.
pub(super) fn an_object(value: &Value) -> Result<&Value, Rollback> {
    if value.is_object() { Ok(value) } else { Err(no_object()) }
}

pub(super) fn no_object() -> Rollback {
    Rollback::PatchFailed("not an object".to_owned())
}

/// A content that was looked up; where nothing stood, an empty one.
pub(super) fn as_object(content: &Value) -> Value {
    if content.is_object() { content.clone() } else { Value::Object(Map::new()) }
}
