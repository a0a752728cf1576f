//! What is said to somebody of whom nothing is known yet: no tenant and no instance to name.

use bytes::Bytes;
use serde::Serialize;

use super::{Envelope, Refusal, frame, outgoing::ErrorReport};
use crate::model::Timestamp;

/// An `error` as a frame.
pub fn error(envelope: Envelope, now: Timestamp, refusal: &Refusal) -> Bytes {
    #[derive(Serialize)]
    struct Message<'a> {
        #[serde(skip_serializing_if = "Option::is_none")]
        event_type: Option<&'static str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<uuid::Uuid>,
        #[serde(skip_serializing_if = "Option::is_none")]
        r#type: Option<&'static str>,
        timestamp: String,
        data: ErrorReport<'a>,
    }
    let is_typed = envelope == Envelope::Typed;
    let message = Message {
        event_type: (!is_typed).then_some("error"),
        id: is_typed.then(uuid::Uuid::new_v4),
        r#type: is_typed.then_some("error"),
        timestamp: now.to_string(),
        data: ErrorReport::new(refusal),
    };
    // None of this can fail to serialize.
    frame::text(&serde_json::to_vec(&message).unwrap_or_default())
}
