//! Pure values and decisions. Nothing here does I/O, reads a clock or knows JSON, actors or NATS.

pub mod ids;
pub mod time;

pub use ids::{
    Cursor, DedupeId, EntityKey, Epoch, EventId, EventType, Fingerprint, IdError, InstanceId, Position, TenantId,
};
pub use time::Timestamp;
