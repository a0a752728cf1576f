//! An entity's record as those who follow parts of the state need it.

use std::borrow::Cow;

use bytes::Bytes;
use serde::{Deserialize, de::IgnoredAny};
use serde_json::{Map, Value, value::RawValue};

use super::super::{
    entity::Standing,
    state::{as_entity, as_part_of_graph},
};
use crate::model::{
    EntityKey, Position, TenantId,
    entity::{Audience, Owner},
    interest::{Change, Content, Touched},
    record::Happened,
    sealed,
};

#[derive(Deserialize)]
struct Stored<'a> {
    #[serde(borrow)]
    tenant_id: Cow<'a, str>,
    #[serde(borrow)]
    instance_id: Cow<'a, str>,
    #[serde(borrow)]
    entity: About<'a>,
    state: Standing,
    #[serde(borrow)]
    data: &'a RawValue,
}

#[derive(Deserialize)]
struct About<'a> {
    happened: Happened,
    #[serde(default)]
    private: Option<IgnoredAny>,
    #[serde(borrow)]
    delta: &'a RawValue,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Delta {
    text: Vec<Edited>,
    changes: Option<Map<String, Value>>,
    ops: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Edited {
    path: String,
}

/// An entity's record, read once for everybody who follows it.
#[derive(Debug)]
pub struct Read {
    version: Position,
    content: Option<(Map<String, Value>, Option<Owner>)>,
    /// Fields that its change touched; `None`: perhaps all.
    touched: Option<Vec<String>>,
    /// The content as it is stored.
    data: Bytes,
    /// Who changed it; empty if several did.
    instance: Box<str>,
}

impl Read {
    /// Reads an entity's record; `None` if it is not one of this tenant's.
    pub fn of(tenant: &TenantId, version: Position, body: &Bytes) -> Option<Self> {
        let stored: Stored<'_> = serde_json::from_slice(body).ok()?;
        if stored.tenant_id != tenant.as_str() {
            return None;
        }
        let content = match serde_json::from_str(stored.data.get()) {
            Ok(Value::Object(fields)) if !stored.state.deleted => {
                let visibility = fields.get("visibility").and_then(Value::as_str);
                let owner = match Audience::of(visibility, stored.state.created.as_ref()) {
                    Audience::Everyone => None,
                    Audience::Only(owner) => Some(owner),
                };
                // Conditions find nothing in what nobody here can read, nor in what is said about it.
                let fields = if sealed::is_sealed(&fields) { Map::new() } else { fields };
                Some((fields, owner))
            }
            _ => None,
        };
        let (touched, instance) = (touched(&stored.entity), Box::from(&*stored.instance_id));
        Some(Self { version, content, touched, instance, data: body.slice_ref(stored.data.get().as_bytes()) })
    }

    /// Whether an instance changed it, and nobody else.
    pub fn is_by(&self, instance: &str) -> bool {
        *self.instance == *instance
    }

    /// The version.
    pub fn version(&self) -> Position {
        self.version
    }

    /// What it is, if it is there.
    pub fn content(&self) -> Option<Content<'_>> {
        self.content.as_ref().map(|(fields, owner)| Content { fields, private_to: owner.as_ref() })
    }

    /// What it means as a change.
    pub fn change<'a>(&'a self, key: &'a EntityKey) -> Change<'a> {
        let touched = self.touched.as_deref().map_or(Touched::All, Touched::Fields);
        Change { key, version: self.version, content: self.content(), touched }
    }

    /// The entity as it is shown in updates, in lists and in results of queries.
    pub fn as_entity(&self, key: &EntityKey) -> String {
        as_entity(key, self.version, std::str::from_utf8(&self.data).unwrap_or("{}"))
    }

    /// The entity as it is shown in a region.
    pub fn as_part_of_graph(&self, key: &EntityKey) -> String {
        as_part_of_graph(key, self.version, std::str::from_utf8(&self.data).unwrap_or("{}"))
    }
}

fn touched(about: &About<'_>) -> Option<Vec<String>> {
    match about.happened {
        _ if about.private.is_some() => return None,
        Happened::Updated => {}
        Happened::Created | Happened::Deleted => return None,
        Happened::ConflictOpened | Happened::VariantKept | Happened::ConflictSettled => return Some(Vec::new()),
    }
    let delta: Delta = serde_json::from_str(about.delta.get()).ok()?;
    if delta.ops.is_some() {
        return None;
    }
    let mut fields: Vec<String> = delta.changes.into_iter().flatten().map(|(name, _)| name).collect();
    for Edited { path } in delta.text {
        let field = path.strip_prefix('/')?.split('/').next()?.to_owned();
        if field.contains('~') {
            return None;
        }
        fields.push(field);
    }
    (!fields.iter().any(|field| field == "visibility")).then_some(fields)
}
