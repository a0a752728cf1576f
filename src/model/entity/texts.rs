//! Fields that are edited as texts.

use serde::{Deserialize, Serialize};

use super::{Position, ReplicaId, stored_version};
use crate::model::text::TextOps;

/// A field that was edited as a text at least once, with its latest edits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TextField {
    /// JSON pointer.
    pub path: String,
    /// The latest edits, oldest first, without a gap between them.
    pub edits: Vec<KeptEdit>,
}

/// One edit as it was applied.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KeptEdit {
    /// The version that it made.
    #[serde(rename = "v", with = "stored_version")]
    pub version: Position,
    /// Whose.
    #[serde(rename = "r")]
    pub replica: ReplicaId,
    /// As applied.
    pub ops: TextOps,
    /// As sent, if that differs, with the base that it was made on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent: Option<(u64, TextOps)>,
}
