//! Whose a type of message is: what a client may say, and at which door. Both sockets and HTTP ask here before anything
//! is published, so what goes at one door cannot slip in by another.

use super::{
    changes::is_change,
    codes::{Code, Refusal},
    signal::is_signal,
};

/// What a type of message is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Between a client and its session: nobody else hears it.
    Session,
    /// Changes entities.
    Change,
    /// Passed on, never stored.
    Signal,
    /// Only the node says it.
    Said,
    /// Everything else: stored and passed on as its publisher wrote it.
    Event,
}

/// Where a message comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// `/ws/sync`.
    Sync,
    /// `/ws`.
    Typed,
    /// `POST …/events`.
    Http,
}

/// What a session reads on both paths.
pub const SESSION: [&str; 9] =
    ["ping", "auth", "ack", "heartbeat", "sync_request", "graph.sync", "subscribe", "unsubscribe", "gonzai.focus"];

/// What it reads on `/ws` only.
pub const TYPED_SESSION: [&str; 3] = ["pong", "system.heartbeat", "sync_reconnect"];

/// What only the node says.
pub const SAID: [&str; 36] = [
    "session_ready",
    "authenticated",
    "resync",
    "caught_up",
    "advance",
    "lagging",
    "queued",
    "stored",
    "error",
    "sync_response",
    "draining",
    "presence_changed",
    "instance_joined",
    "instance_left",
    "tenant.user_joined",
    "tenant.user_left",
    "subscribed",
    "unsubscribed",
    "context_changed",
    "gonzai.discover",
    "system.error",
    "system.reconnect",
    "update.confirmed",
    "update.conflict_resolved",
    "update.conflict_pending",
    "update.rollback",
    "update.retry",
    "conflict.pending",
    "conflict.variant",
    "conflict.resolved",
    "region.sync",
    "region.update",
    "ids.sync",
    "ids.update",
    "query.results",
    "query.update",
];

/// Families that are the node's as a whole, so that a word which it learns later has not been something else before.
const FAMILIES: [&str; 6] = ["system.", "update.", "conflict.", "region.", "ids.", "query."];

impl Kind {
    /// What a type is for.
    pub fn of(event_type: &str) -> Self {
        let is_in = |words: &[&str]| words.contains(&event_type);
        if is_in(&SESSION) || is_in(&TYPED_SESSION) {
            Self::Session
        } else if is_change(event_type) {
            Self::Change
        } else if is_signal(event_type) {
            Self::Signal
        } else if is_in(&SAID) || FAMILIES.iter().any(|family| event_type.starts_with(family)) {
            Self::Said
        } else {
            Self::Event
        }
    }
}

/// What a type is for, if it may come in at this door.
///
/// # Errors
///
/// It is not a client's to say, or not here.
pub(super) fn admit(event_type: &str, door: Door) -> Result<Kind, Refusal> {
    let kind = Kind::of(event_type);
    let is_read = match (kind, door) {
        (Kind::Said, _) | (Kind::Session | Kind::Signal | Kind::Change, Door::Http) => false,
        (Kind::Session, Door::Sync) => SESSION.contains(&event_type),
        (Kind::Session, Door::Typed) | (Kind::Signal | Kind::Change, Door::Sync | Door::Typed) | (Kind::Event, _) => {
            true
        }
    };
    if is_read {
        return Ok(kind);
    }
    let why = match kind {
        Kind::Session | Kind::Event => "is a session message; it cannot be published",
        Kind::Change => "changes an entity; send it as an operation, to POST /v1/tenants/{tenant}/operations",
        Kind::Signal => "is a signal's type, which is never stored; send it over a WebSocket",
        Kind::Said => "is sent by the node only; choose another type",
    };
    Err(Refusal::new(Code::ReservedType, format!("'{event_type}' {why}")))
}

#[cfg(test)]
mod tests {
    //! Each kind by its words, and what each door takes.

    use super::*;
    use crate::wire::entity;

    #[test]
    fn a_word_is_of_one_kind_and_no_list_has_it_twice() {
        for word in SAID {
            assert_eq!(Kind::of(word), Kind::Said, "{word}");
        }
        for word in SESSION.iter().chain(&TYPED_SESSION) {
            assert_eq!(Kind::of(word), Kind::Session, "{word}");
            assert!(!is_change(word) && !is_signal(word), "{word}");
        }
        for word in
            ["node.create", "sync_event", "memory.deleted", "context.update", "conflict.resolve", "batch.update"]
        {
            assert_eq!(Kind::of(word), Kind::Change, "{word}");
        }
        // What only begins like them is anybody's.
        for word in ["memory_added", "memory.embedding_complete", "node.pulse", "updates.done", "system", "regional"] {
            assert_eq!(Kind::of(word), Kind::Event, "{word}");
        }
        // Words that the node may learn later.
        for word in ["system.notice", "update.later", "conflict.closed", "region.gone", "query.plan"] {
            assert_eq!(Kind::of(word), Kind::Said, "{word}");
        }
    }

    #[test]
    fn what_an_entitys_record_says_cannot_be_said_by_an_event() {
        use crate::model::record::Happened::*;
        for entity_type in ["node", "edge", "memory", "context", "task"] {
            for happened in [Created, Updated, Deleted, ConflictOpened, VariantKept, ConflictSettled] {
                let word = entity::event_type(entity_type, happened);
                assert!(matches!(Kind::of(word), Kind::Change | Kind::Said), "{word}");
            }
        }
    }

    #[test]
    fn http_takes_events_only_and_a_socket_what_it_reads() {
        let taken = |word| [Door::Sync, Door::Typed, Door::Http].map(|door| admit(word, door).is_ok());
        assert_eq!(taken("memory_added"), [true, true, true]);
        assert_eq!(taken("node.create"), [true, true, false]);
        assert_eq!(taken("cursor.move"), [true, true, false]);
        assert_eq!(taken("subscribe"), [true, true, false]);
        assert_eq!(taken("sync_reconnect"), [false, true, false]);
        assert_eq!(taken("auth"), [true, true, false]);
        assert_eq!(taken("update.confirmed"), [false, false, false]);
    }
}
