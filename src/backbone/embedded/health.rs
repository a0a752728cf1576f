//! Whether the store takes writes.

use std::time::Instant;

/// Whether the store takes writes.
pub enum Health {
    /// It does.
    Well,
    /// Not before a time.
    Paused {
        /// Why.
        cause: String,
        /// When it is tried again.
        until: Instant,
    },
    /// Not until the node starts again: what the device says of its data cannot be believed.
    Broken {
        /// Why.
        cause: String,
    },
}

impl Health {
    /// Why it takes none.
    pub fn cause(&self) -> Option<&str> {
        match self {
            Self::Well => None,
            Self::Paused { cause, .. } | Self::Broken { cause } => Some(cause),
        }
    }
}
