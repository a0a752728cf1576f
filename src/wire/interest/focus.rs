//! What members say that they are busy with, and what they are told of it.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{super::message::Fields, Read, invalid};
use crate::{
    model::{
        EntityKey,
        interest::{Focus, Relevance},
    },
    wire::Refusal,
};

/// Nodes and tags of one focus, and bytes of its text.
const LISTED: usize = 64;
const TEXT_BYTES: usize = 4096;

/// Reads `gonzai.focus`; nothing in it ends the focus.
pub fn read_focus(data: Option<&RawValue>) -> Result<Arc<Focus>, Refusal> {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Data {
        nodes: Vec<String>,
        tags: Vec<String>,
        text: String,
    }
    let wrong =
        || invalid("'data' of a focus has 'nodes' and 'tags', up to 64 texts each, and a 'text' of up to 4096 bytes");
    let data: Data = data.map_or(Ok(Data::default()), |raw| serde_json::from_str(raw.get()).map_err(|_| wrong()))?;
    if data.nodes.len() > LISTED || data.tags.len() > LISTED || data.text.len() > TEXT_BYTES {
        return Err(wrong());
    }
    Ok(Arc::new(Focus::new(data.nodes, &data.tags, &data.text)))
}

/// What somebody is told of a change that has much to do with what they are busy with.
pub fn discovery(key: &EntityKey, read: &Read, relevance: &Relevance) -> String {
    let mut fields = Fields::default();
    fields.raw("event", &read.as_entity(key));
    fields.value("relevance", &relevance.score);
    fields.text("reason", &relevance.reason);
    fields.text("suggestion", &format!("Have a look at the {} '{}': {}.", key.kind, key.id, relevance.reason));
    fields.text("animation", "bounce-excitedly");
    fields.end()
}
