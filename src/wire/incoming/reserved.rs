//! Types that nobody may publish on `/ws/sync`.

use crate::wire::interest;

/// Types that only session messages have.
const RESERVED: [&str; 16] = [
    "session_ready",
    "resync",
    "caught_up",
    "advance",
    "lagging",
    "ack",
    "queued",
    "stored",
    "error",
    "heartbeat",
    "ping",
    "pong",
    "sync_request",
    "sync_response",
    "draining",
    "presence_changed",
];
/// Reserved as well, but as events about instances rather than messages of a session.
const DERIVED: [&str; 4] = ["instance_joined", "instance_left", "tenant.user_joined", "tenant.user_left"];

/// Whether only the node says it.
pub(super) fn is_reserved(event_type: &str) -> bool {
    [&RESERVED[..], &DERIVED, &interest::WORDS].iter().any(|words| words.contains(&event_type))
}
