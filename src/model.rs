//! Pure values and decisions. Nothing here does I/O, reads a clock, parses text that came from outside, or knows actors or NATS.
//! An entity's content is a tree of JSON values; `wire` is where text becomes one.

pub mod channels;
pub mod chaos;
pub mod deadlines;
pub mod delivery;
pub mod entity;
pub mod erasure;
pub mod filter;
pub mod finding;
pub mod gather;
pub mod glob;
pub mod ids;
pub mod interest;
pub mod lane;
pub mod limits;
pub mod neighbours;
pub mod newest;
pub mod peers;
pub mod place;
pub mod rate;
pub mod record;
pub mod resume;
pub mod rights;
pub mod roster;
pub mod sealed;
pub mod signing;
pub mod tally;
pub mod text;
pub mod time;
pub mod trail;
pub mod unreadable;

pub use ids::{
    Cursor, DedupeId, EntityKey, Epoch, EventId, EventType, Fingerprint, IdError, InstanceId, Position, TenantId,
};
pub use record::RecordMeta;
pub use time::Timestamp;
