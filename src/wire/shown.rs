//! Entities, their versions and what lies open with them, as they are shown over HTTP.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    answer::put_whole,
    entity::{About, Standing, is_told},
    message::{Fields, json_list},
    record::DamagedRecord,
    state::{head, put_changed, stamped},
};
use crate::model::{
    EntityKey, Position, TenantId, Timestamp,
    entity::{Alternative, AlternativeKind, Entity, Stamp, State},
    record::{Happened, View, Viewer},
};

/// An entity with all that belongs to it: one JSON object.
pub fn entity(key: &EntityKey, entity: &Entity, cursor: &str) -> String {
    let mut fields = head(key, entity.version);
    fields.value("data", &entity.data);
    entity.state.created.iter().for_each(|stamp| fields.raw("created", &stamped(stamp)));
    put_changed(&mut fields, last_change(&entity.state));
    put_open(&mut fields, entity);
    fields.text("cursor", cursor);
    fields.end()
}

/// An entity as far as a copy of the state needs it.
pub fn in_snapshot(key: &EntityKey, entity: &Entity) -> String {
    let mut fields = head(key, entity.version);
    put_changed(&mut fields, last_change(&entity.state));
    fields.value("data", &entity.data);
    fields.end()
}

/// One that was deleted a little while ago: a copy of the state may have shown it.
pub fn deleted_lately(key: &EntityKey, entity: &Entity, now: Timestamp) -> Option<String> {
    let is_told = entity.state.deleted && is_told(entity.state.changed.as_ref(), now);
    is_told.then(|| head(key, entity.version).end())
}

/// What lies open with an entity.
pub fn open(key: &EntityKey, entity: &Entity) -> String {
    let mut fields = head(key, entity.version);
    fields.value("current", &entity.is_there().then_some(&entity.data));
    put_open(&mut fields, entity);
    fields.end()
}

/// What lies open with an entity, each with what it is about.
pub fn open_items<'a>(key: &'a EntityKey, entity: &'a Entity) -> impl Iterator<Item = String> + 'a {
    entity.state.open.iter().map(|open| {
        let mut fields = head(key, entity.version);
        fields.text("kind", word(open.kind));
        put_alternative(&mut fields, open);
        fields.end()
    })
}

fn put_open(fields: &mut Fields, entity: &Entity) {
    for (name, kind) in [("conflicts", AlternativeKind::Conflict), ("variants", AlternativeKind::Variant)] {
        let items = entity.state.open.iter().filter(|open| open.kind == kind).map(|open| {
            let mut fields = Fields::default();
            put_alternative(&mut fields, open);
            fields.end()
        });
        fields.raw(name, &json_list(items));
    }
}

fn put_alternative(fields: &mut Fields, open: &Alternative) {
    fields.value("conflict_id", &open.id);
    fields.number("base_version", open.base.0);
    fields.value("base", &open.was);
    fields.value("proposed", &open.proposed);
    if !open.nulls.is_empty() {
        fields.value("nulls", &open.nulls);
    }
    put_whole(fields, open);
    fields.value("paths", &open.paths);
    fields.value("by", &open.stamp.by);
    fields.text("at", &open.stamp.at.to_string());
}

fn word(kind: AlternativeKind) -> &'static str {
    match kind {
        AlternativeKind::Conflict => "conflict",
        AlternativeKind::Variant => "variant",
    }
}

fn last_change(state: &State) -> Option<&Stamp> {
    state.changed.as_ref().or(state.created.as_ref())
}

/// One version of an entity, as its record tells of it.
#[derive(Debug, Deserialize)]
pub struct Version<'a> {
    #[serde(borrow)]
    tenant_id: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    entity: About<'a>,
    state: Standing,
    #[serde(borrow)]
    data: &'a RawValue,
}

impl<'a> Version<'a> {
    /// Reads an entity's record.
    ///
    /// # Errors
    ///
    /// It is not the stored form of this tenant's entity.
    pub fn read(tenant: &TenantId, key: &EntityKey, body: &'a [u8]) -> Result<Self, DamagedRecord> {
        let version: Self =
            serde_json::from_slice(body).map_err(|error| DamagedRecord::Malformed(error.to_string()))?;
        if version.tenant_id != tenant.as_str() || version.entity.kind != *key.kind || version.entity.id != *key.id {
            return Err(DamagedRecord::Foreign);
        }
        Ok(version)
    }

    /// The version before it, [`Position::START`] for the first.
    pub fn base(&self) -> Position {
        Position(self.entity.base)
    }

    /// How it looks to somebody; `None`: it is not for them.
    pub fn view(&self, key: &EntityKey, viewer: &Viewer) -> Option<View> {
        viewer.view(key, self.entity.private.as_ref(), self.entity.places.as_ref())
    }

    /// One JSON object.
    pub fn json(&self, position: Position, view: View) -> String {
        let about = &self.entity;
        let happened = view.happened(about.happened);
        let mut fields = Fields::default();
        fields.number("version", position.0);
        fields.text("action", action(happened));
        if let Some(last) = about.parts.last() {
            fields.value("by", &last.by);
            fields.text("at", &last.at.to_string());
        }
        if about.parts.len() > 1 {
            let parts = about.parts.iter().map(|part| {
                let mut fields = Fields::default();
                fields.value("op_id", &part.op);
                fields.value("by", &part.by);
                fields.text("at", &part.at.to_string());
                fields.end()
            });
            fields.raw("parts", &json_list(parts));
        }
        match view {
            // Nothing led to what was not there: all of it is new.
            _ if happened == Happened::Created => fields.raw("changes", self.data.get()),
            View::Inside => fields.splice(about.delta.get()),
            // What changed is known to those alone who saw what was there before.
            View::Entered | View::Left => {}
        }
        let is_gone = self.state.deleted || happened == Happened::Deleted;
        fields.raw("deleted", if is_gone { "true" } else { "false" });
        fields.end()
    }
}

fn action(happened: Happened) -> &'static str {
    match happened {
        Happened::Created => "create",
        Happened::Updated => "update",
        Happened::Deleted => "delete",
        Happened::ConflictOpened => "conflict_pending",
        Happened::VariantKept => "variant",
        Happened::ConflictSettled => "conflict_resolved",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_a_version_of_its_own_tenants_entity_alone() {
        let body =
            br#"{"tenant_id":"acme","entity":{"type":"memory","id":"m1","happened":"created","base":0,"parts":[],
            "delta":{}},"state":{},"data":{}}"#;
        let read = |tenant: &str, kind: &str, id: &str| {
            let (tenant, key) = (tenant.parse().expect("a tenant"), EntityKey::new(kind, id).expect("a key"));
            Version::read(&tenant, &key, body).map(|version| version.base())
        };
        assert_eq!(read("acme", "memory", "m1"), Ok(Position::START));
        for (tenant, kind, id) in [("team-1", "memory", "m1"), ("acme", "node", "m1"), ("acme", "memory", "m2")] {
            assert_eq!(read(tenant, kind, id), Err(DamagedRecord::Foreign), "{tenant} {kind}:{id}");
        }
    }
}
