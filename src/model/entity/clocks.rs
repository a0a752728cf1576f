//! Which field was written last when and by whom.

use serde::{Deserialize, Serialize};

use super::{Position, ReplicaId, stored_version};

/// One clock per field that was written by itself; a field without one has that of the nearest field above it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Clocks(Vec<Clock>);

/// When and by whom a field was written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Clock {
    /// JSON pointer; empty for the whole.
    #[serde(rename = "p")]
    pub path: String,
    /// When.
    #[serde(rename = "v", with = "stored_version")]
    pub version: Position,
    /// By whom; `None`: by several.
    #[serde(rename = "r", default, skip_serializing_if = "Option::is_none")]
    pub replica: Option<ReplicaId>,
}
