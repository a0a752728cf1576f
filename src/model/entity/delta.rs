//! stub
use crate::model::text::TextOps;
use serde_json::Value;

/// What leads from one content to the next.
#[derive(Clone, Debug, Default)]
pub struct Delta {
    /// Edits of texts, first.
    pub texts: Vec<(String, TextOps)>,
    merge: Option<Value>,
}

impl Delta {
    /// The difference.
    pub fn between(_old: Option<&Value>, new: &Value, _texts: &[(String, TextOps)]) -> Self {
        Self { texts: Vec::new(), merge: Some(new.clone()) }
    }

    /// As a merge patch.
    pub fn merge(&self) -> Option<&Value> {
        self.merge.as_ref()
    }

    /// As a JSON patch.
    pub fn patch(&self) -> Option<&json_patch::Patch> {
        None
    }
}
