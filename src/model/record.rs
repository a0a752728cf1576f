//! What everybody may know of a record without reading its content.

use super::{EventId, EventType, InstanceId, Position};

/// A record's place in its room and who sent what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordMeta {
    /// Its position in the log.
    pub position: Position,
    /// The position of the record before it in the same room, [`Position::START`] for the first.
    pub prev: Position,
    /// Its publish id.
    pub id: EventId,
    /// The instance that published it.
    pub sender: InstanceId,
    /// Its type.
    pub event_type: EventType,
}
