//! The room's state on its way to a client: entities in pages.

use std::{borrow::Cow, sync::Arc};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{
    codes::Refusal,
    entity::{Standing, is_told},
    message::{Fields, json_list, with_id},
    operation::invalid,
    text::Text,
};
use crate::model::{
    EntityKey, Position, TenantId, Timestamp,
    entity::{Audience, Stamp},
    place::place_in,
    record::Viewer,
};

/// What somebody wants to know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StateRequest {
    /// The message's id, as its sender wrote it.
    pub reference: Option<Arc<str>>,
    /// Entities of these types; empty: of all.
    pub types: Vec<String>,
}

/// How far the sending has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Progress {
    /// Pages so far.
    pub pages: u64,
    /// Entities so far.
    pub entities: u64,
    /// Entities come in the order of their last change: everything whose last change lies up to here was sent.
    pub reached: u64,
    /// Where the room stood when the sending began.
    pub of: u64,
}

impl StateRequest {
    /// Reads `data.types`.
    pub(super) fn read(reference: Option<Arc<str>>, data: Option<&RawValue>) -> Result<Self, Refusal> {
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Data {
            types: Vec<String>,
        }
        let data: Data = match data {
            None => Data::default(),
            Some(raw) => {
                serde_json::from_str(raw.get()).map_err(|_| invalid("'data.types' must be a list of types"))?
            }
        };
        if data.types.len() > 64 {
            return Err(invalid("'data.types' may name 64 types"));
        }
        Ok(Self { reference, types: data.types })
    }
}

/// What of a stored entity matters here.
#[derive(Deserialize)]
struct Stored<'a> {
    #[serde(borrow)]
    tenant_id: Cow<'a, str>,
    state: Standing,
    #[serde(borrow)]
    data: &'a RawValue,
}

/// What somebody sees of a stored entity.
enum Seen<'a> {
    /// Its content, and who changed it last.
    Content(&'a RawValue, Option<Stamp>),
    /// It was deleted a little while ago.
    Gone,
}

/// A stored entity for somebody; `None`: there is nothing to see for them.
fn seen_by<'a>(
    tenant: &TenantId,
    key: &EntityKey,
    body: &'a [u8],
    viewer: &Viewer,
    now: Timestamp,
) -> Option<Seen<'a>> {
    #[derive(Deserialize)]
    struct Visible<'a> {
        #[serde(borrow, default)]
        visibility: Option<Text<'a>>,
    }
    let stored: Stored<'a> = serde_json::from_slice(body).ok()?;
    if stored.tenant_id != tenant.as_str() {
        return None;
    }
    let visible = serde_json::from_str::<Visible<'_>>(stored.data.get()).ok();
    let visibility = visible.and_then(|visible| visible.visibility);
    let audience = Audience::of(visibility.as_deref(), stored.state.created.as_ref());
    if !viewer.sees(key, &audience, || place_in(key, stored.data.get())) {
        return None;
    }
    match stored.state.deleted {
        false => Some(Seen::Content(stored.data, stored.state.changed.or(stored.state.created))),
        true => is_told(stored.state.changed.as_ref(), now).then_some(Seen::Gone),
    }
}

/// A node or an edge as Gitmind has it: its own fields beside its id.
pub(super) fn as_part_of_graph(key: &EntityKey, position: Position, data: &str) -> String {
    let mut fields = Fields::default();
    fields.splice(&with_id(&key.id, data));
    fields.number("version", position.0);
    fields.end()
}

/// What is said first of any entity: which, and its version.
pub(super) fn head(key: &EntityKey, position: Position) -> Fields {
    let mut fields = Fields::default();
    fields.entity(&key.kind, &key.id);
    fields.number("version", position.0);
    fields
}

/// Any entity with who changed it last: whoever mirrors it can say whose words these are.
fn as_signed(key: &EntityKey, position: Position, data: &str, changed: Option<&Stamp>) -> String {
    let mut fields = head(key, position);
    put_changed(&mut fields, changed);
    fields.raw("data", data);
    fields.end()
}

/// Who changed an entity last, and when.
pub(super) fn put_changed(fields: &mut Fields, changed: Option<&Stamp>) {
    changed.iter().for_each(|stamp| fields.raw("changed", &stamped(stamp)));
}

/// Who and when.
pub(super) fn stamped(stamp: &Stamp) -> String {
    let mut fields = Fields::default();
    fields.value("by", &stamp.by);
    fields.text("at", &stamp.at.to_string());
    fields.end()
}

/// Any entity.
pub(super) fn as_entity(key: &EntityKey, position: Position, data: &str) -> String {
    let mut fields = head(key, position);
    fields.raw("data", data);
    fields.end()
}

/// One page: what Gitmind calls nodes and edges under these names, everything else as entities.
#[derive(Debug)]
pub struct Page<'a> {
    request: &'a StateRequest,
    nodes: Vec<String>,
    edges: Vec<String>,
    others: Vec<String>,
    deleted: Vec<String>,
    now: Timestamp,
}

impl<'a> Page<'a> {
    /// An empty page.
    pub fn new(request: &'a StateRequest, now: Timestamp) -> Self {
        Self { request, nodes: Vec::new(), edges: Vec::new(), others: Vec::new(), deleted: Vec::new(), now }
    }

    /// Adds an entity, if it is wanted and may be seen.
    pub fn add(&mut self, tenant: &TenantId, key: &EntityKey, position: Position, body: &[u8], viewer: &Viewer) {
        if !self.request.types.is_empty() && !self.request.types.iter().any(|kind| **kind == *key.kind) {
            return;
        }
        let (data, changed) = match seen_by(tenant, key, body, viewer, self.now) {
            Some(Seen::Content(data, changed)) => (data, changed),
            Some(Seen::Gone) => return self.deleted.push(head(key, position).end()),
            None => return,
        };
        let list = match &*key.kind {
            "node" => &mut self.nodes,
            "edge" => &mut self.edges,
            _ => &mut self.others,
        };
        list.push(match &*key.kind {
            "node" | "edge" => as_part_of_graph(key, position, data.get()),
            _ => as_signed(key, position, data.get(), changed.as_ref()),
        });
    }

    /// How many entities it holds.
    pub fn len(&self) -> u64 {
        (self.nodes.len() + self.edges.len() + self.others.len()) as u64
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The message's content; `end` is set on the last page: every change up to there is in what was sent.
    pub(super) fn data(&self, progress: &Progress, end: Option<Position>) -> String {
        let mut fields = Fields::default();
        if let Some(reference) = &self.request.reference {
            fields.text("id", reference);
        }
        for (name, list) in [("nodes", &self.nodes), ("edges", &self.edges), ("entities", &self.others)] {
            fields.raw(name, &json_list(list));
        }
        if !self.deleted.is_empty() {
            fields.raw("deleted", &json_list(&self.deleted));
        }
        fields.value("progress", progress);
        fields.raw("done", if end.is_some() { "true" } else { "false" });
        if let Some(end) = end {
            fields.number("as_of", end.0);
        }
        fields.end()
    }
}
