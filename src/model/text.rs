//! Texts that several people edit.

use serde::{Deserialize, Serialize};

/// An edit of a text.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TextOps(Vec<serde_json::Value>);
