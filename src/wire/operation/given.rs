//! Contents and patches as they are given.

use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use super::invalid;
use crate::{
    model::{
        EntityKey,
        entity::{Change, Content},
        sealed,
    },
    wire::codes::Refusal,
};

/// A content or a patch: as it came, for what is made whole is mostly never looked into, or as the values from which it was
/// put together.
#[derive(Debug)]
pub(in crate::wire) enum Given {
    Text(Box<RawValue>),
    Values(Value),
}

impl<'de> Deserialize<'de> for Given {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Box::deserialize(deserializer).map(Self::Text)
    }
}

impl Given {
    pub(in crate::wire) fn is_object(&self) -> bool {
        match self {
            Self::Text(text) => text.get().starts_with('{'),
            Self::Values(value) => value.is_object(),
        }
    }

    pub(in crate::wire) fn values(self) -> Result<Value, Refusal> {
        match self {
            Self::Text(text) => serde_json::from_str(text.get()).map_err(|_| out_of_range()),
            Self::Values(value) => Ok(value),
        }
    }
}

/// A content: as it came, if it may stay so.
pub(super) fn content(given: Given, key: &EntityKey) -> Result<Content, Refusal> {
    match given {
        Given::Text(text) if !carries_id(key) || !may_name_id(text.get()) => {
            let content = Content::read(text).map_err(|_| out_of_range())?;
            if content.is_object() { of_one_piece(content) } else { Err(no_object("data")) }
        }
        given => object(given.values()?, "data", key).map(Content::from).and_then(of_one_piece),
    }
}

/// A merge patch; one that is sealed or signed is no patch but the whole content, in whichever words it comes.
pub(super) fn patch(given: Given, key: &EntityKey) -> Result<Change, Refusal> {
    let patch = object(given.values()?, "patch", key)?;
    if patch.as_object().is_some_and(sealed::is_marked) {
        return of_one_piece(patch.into()).map(Change::Replace);
    }
    Ok(Change::Merge(patch))
}

/// A content that claims to be of one piece has to be, or nobody could tell what it is.
fn of_one_piece(content: Content) -> Result<Content, Refusal> {
    if content.is_whole() {
        content.as_object().map_or(Ok(()), sealed::check).map_err(|unfit| invalid(unfit.0))?;
    }
    Ok(content)
}

fn out_of_range() -> Refusal {
    invalid("a content or patch must be an object, its numbers in range")
}

fn no_object(name: &str) -> Refusal {
    invalid(format!("'{name}' must be an object"))
}

/// Whether an object may have a member `id`; a quick look.
fn may_name_id(object: &str) -> bool {
    object.contains("\"id\"") || object.contains('\\')
}

/// Whether messages of this type of entity carry the id among the content's fields.
fn carries_id(key: &EntityKey) -> bool {
    matches!(&*key.kind, "memory" | "node" | "edge")
}

/// A content or merge patch: an object. Types whose messages carry the id among the fields have none of their own there.
pub(super) fn object(value: Value, name: &str, key: &EntityKey) -> Result<Value, Refusal> {
    let Value::Object(mut fields) = value else { return Err(no_object(name)) };
    if carries_id(key)
        && let Some(id) = fields.shift_remove("id")
        && id != *key.id
    {
        return Err(invalid(format!("'{name}.id' is not the entity's id")));
    }
    Ok(Value::Object(fields))
}
