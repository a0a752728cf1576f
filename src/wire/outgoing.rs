//! Session messages: what the node says beside the records.

use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;

use super::{
    answer::{Form, Words},
    codes::Refusal,
    frame,
    message::Envelope,
    state::{Page, Progress},
};
use crate::model::{
    Cursor, Epoch, EventId, InstanceId, Position, TenantId, Timestamp, resume::ResyncReason, roster::Presence,
};

/// The envelope of a session message.
#[derive(Debug, Serialize)]
struct Message<'a, D> {
    event_type: &'a str,
    tenant_id: &'a str,
    timestamp: String,
    instance_id: &'a str,
    data: D,
}

/// Who a message is for and when it is said; makes the frames.
#[derive(Clone, Copy, Debug)]
pub struct Voice<'a> {
    /// The tenant.
    pub tenant: &'a TenantId,
    /// The instance that the envelope names: the receiver, or the one that joined or left.
    pub instance: &'a InstanceId,
    /// The node's time.
    pub now: Timestamp,
    /// The log's epoch.
    pub epoch: Epoch,
    /// In which envelope.
    pub envelope: Envelope,
}

/// The envelope of a session message on `/ws`.
#[derive(Debug, Serialize)]
struct Typed<'a, D> {
    id: uuid::Uuid,
    r#type: &'a str,
    timestamp: String,
    data: D,
}

/// An instance in a roster.
#[derive(Clone, Debug, Serialize)]
pub struct Instance {
    /// Its name.
    pub instance_id: String,
    /// When its stay began.
    pub connected_at: String,
    /// What it says it can do.
    pub capabilities: Vec<Box<str>>,
}

impl Instance {
    /// As it stands in a roster.
    pub fn new(instance: &InstanceId, presence: &Presence) -> Self {
        Self {
            instance_id: instance.to_string(),
            connected_at: presence.connected_at.to_string(),
            capabilities: presence.capabilities.clone(),
        }
    }
}

/// A room's figures.
#[derive(Clone, Debug, Default, Serialize)]
pub struct RoomFigures {
    /// Distinct learned concepts.
    pub total_concepts: u64,
    /// Stored messages.
    pub total_messages: u64,
    /// Who is here.
    pub connected_instances: Vec<String>,
}

/// How a session begins.
#[derive(Clone, Debug, Serialize)]
pub struct ResumeReport {
    /// What was asked for.
    pub from: &'static str,
    /// `honoured` or `resync`.
    pub outcome: &'static str,
    /// Records after this follow.
    pub after: u64,
    /// How many of them the log holds now.
    pub missed: usize,
    /// Whether `missed` was counted to the end.
    pub missed_exact: bool,
}

/// Limits that a client should know.
#[derive(Clone, Debug, Serialize)]
pub struct LimitsReport {
    /// Greatest message, in bytes.
    pub max_message_bytes: usize,
    /// Publishes and requests a minute, 0 for no limit.
    pub messages_per_minute: u32,
    /// Publishes that may wait for their ack.
    pub publishes_in_flight: usize,
}

/// The first message's content.
#[derive(Clone, Debug, Serialize)]
pub struct SessionReady {
    /// The connection's id, as in the node's log.
    pub session_id: uuid::Uuid,
    /// The protocol's version.
    pub protocol: u32,
    /// The log's epoch.
    pub epoch: String,
    /// Where the room stands.
    pub position: u64,
    /// The same as a cursor.
    pub cursor: String,
    /// How this session goes on.
    pub resume: ResumeReport,
    /// The heartbeat's rule.
    pub heartbeat: HeartbeatReport,
    /// Limits in force.
    pub limits: LimitsReport,
    /// The others.
    pub instances: Vec<Instance>,
    /// Everybody.
    pub instances_total: usize,
}

/// The heartbeat's rule, for clients.
#[derive(Clone, Debug, Serialize)]
pub struct HeartbeatReport {
    /// How often the node sends one.
    pub interval_ms: u64,
    /// After how long a silence it closes.
    pub timeout_ms: u64,
}

/// Why and how a reader starts anew.
#[derive(Clone, Debug, Serialize)]
pub struct ResyncReport {
    /// The stable word.
    pub reason: &'static str,
    /// What was asked for.
    pub requested: String,
    /// Everything after this follows.
    pub after: u64,
    /// The same as a cursor.
    pub cursor: String,
    /// The room's figures; not over HTTP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<RoomFigures>,
}

impl ResyncReport {
    /// The report for a cursor of this epoch.
    pub fn new(reason: ResyncReason, requested: String, epoch: Epoch, after: Position) -> Self {
        Self { reason: reason.word(), requested, after: after.0, cursor: place(epoch, after), state: None }
    }
}

/// A place without a record's fingerprint.
pub fn place(epoch: Epoch, position: Position) -> String {
    Cursor { epoch, position, fingerprint: None }.to_string()
}

/// A record's place.
pub fn place_of(epoch: Epoch, position: Position, id: EventId) -> String {
    Cursor { epoch, position, fingerprint: Some(id.fingerprint()) }.to_string()
}

impl Voice<'_> {
    pub(super) fn say<D: Serialize>(&self, event_type: &str, data: D) -> Bytes {
        if self.envelope == Envelope::Typed {
            return self.say_typed(event_type, data);
        }
        let message = Message {
            event_type,
            tenant_id: self.tenant.as_str(),
            timestamp: self.now.to_string(),
            instance_id: self.instance.as_str(),
            data,
        };
        // None of these types can fail to serialize: no maps with odd keys, no fallible Serialize.
        frame::text(&serde_json::to_vec(&message).unwrap_or_default())
    }

    fn say_typed<D: Serialize>(&self, event_type: &str, data: D) -> Bytes {
        let r#type = match event_type {
            "heartbeat" => "system.heartbeat",
            "draining" => "system.reconnect",
            other => other,
        };
        let message = Typed { id: uuid::Uuid::new_v4(), r#type, timestamp: self.now.to_string(), data };
        // As above.
        frame::text(&serde_json::to_vec(&message).unwrap_or_default())
    }

    /// What became of an operation.
    pub fn answer(&self, form: Form, words: &Words) -> Bytes {
        let Some(data) = RawValue::from_string(words.data.clone()).ok() else { return Bytes::new() };
        if form == Form::SyncResponse && self.envelope == Envelope::Typed {
            return self.sync_answer(words, &data);
        }
        self.say(words.kind, &*data)
    }

    /// The same as Aether has it.
    fn sync_answer(&self, words: &Words, data: &RawValue) -> Bytes {
        #[derive(Serialize)]
        struct SyncAnswer<'a> {
            id: uuid::Uuid,
            r#type: &'static str,
            timestamp: String,
            success: bool,
            conflict: bool,
            #[serde(skip_serializing_if = "Option::is_none")]
            conflict_info: Option<Box<RawValue>>,
            status: &'static str,
            data: &'a RawValue,
        }
        let message = SyncAnswer {
            id: uuid::Uuid::new_v4(),
            r#type: "sync_response",
            timestamp: self.now.to_string(),
            success: matches!(words.kind, "update.confirmed" | "update.conflict_resolved"),
            conflict: words.kind.contains("conflict"),
            conflict_info: words.conflict.clone().and_then(|text| RawValue::from_string(text).ok()),
            status: words.kind.rsplit('.').next().unwrap_or_default(),
            data,
        };
        // As above.
        frame::text(&serde_json::to_vec(&message).unwrap_or_default())
    }

    /// `session_ready`.
    pub fn session_ready(&self, ready: &SessionReady) -> Bytes {
        self.say("session_ready", ready)
    }

    /// `resync`.
    pub fn resync(&self, report: &ResyncReport) -> Bytes {
        self.say("resync", report)
    }

    /// `caught_up`.
    pub fn caught_up(&self, position: Position) -> Bytes {
        self.say("caught_up", Place { position: position.0, cursor: place(self.epoch, position) })
    }

    /// `lagging`.
    pub fn lagging(&self, position: Position) -> Bytes {
        #[derive(Serialize)]
        struct Lagging {
            position: u64,
        }
        self.say("lagging", Lagging { position: position.0 })
    }

    /// `advance`.
    pub fn advance(&self, from: Position, to: Position) -> Bytes {
        #[derive(Serialize)]
        struct Advance {
            from: u64,
            to: u64,
            cursor: String,
        }
        self.say("advance", Advance { from: from.0, to: to.0, cursor: place(self.epoch, to) })
    }

    /// `ack`.
    pub fn ack(&self, (id, name): (EventId, Option<&str>), position: Position, duplicate: Duplicate) -> Bytes {
        self.found("ack", (id, name), position, duplicate)
    }

    /// `stored`: what was `queued` is in the log.
    pub fn stored(&self, id: EventId, position: Position, duplicate: Duplicate) -> Bytes {
        self.found("stored", (id, None), position, duplicate)
    }

    /// `queued`: the node's journal has a publish on disk.
    pub fn queued(&self, id: EventId, name: Option<&str>) -> Bytes {
        #[derive(Serialize)]
        struct Queued<'a> {
            #[serde(skip_serializing_if = "Option::is_none")]
            id: Option<&'a str>,
            event_id: EventIdText,
        }
        self.say("queued", Queued { id: name, event_id: EventIdText(id) })
    }

    fn found(
        &self,
        word: &'static str,
        (id, name): (EventId, Option<&str>),
        position: Position,
        duplicate: Duplicate,
    ) -> Bytes {
        #[derive(Serialize)]
        struct Ack<'a> {
            /// As the publisher wrote it, where that need not be a UUID.
            #[serde(skip_serializing_if = "Option::is_none")]
            id: Option<&'a str>,
            event_id: EventIdText,
            seq: u64,
            duplicate: bool,
            cursor: String,
        }
        let cursor = place_of(self.epoch, position, id);
        self.say(word, Ack { id: name, event_id: EventIdText(id), seq: position.0, duplicate: duplicate.0, cursor })
    }

    /// `heartbeat`.
    pub fn heartbeat(&self, position: Position) -> Bytes {
        #[derive(Serialize)]
        struct Heartbeat {
            status: &'static str,
            position: u64,
            cursor: String,
        }
        let cursor = place(self.epoch, position);
        self.say("heartbeat", Heartbeat { status: "active", position: position.0, cursor })
    }

    /// `pong`.
    pub fn pong(&self) -> Bytes {
        #[derive(Serialize)]
        struct Pong {
            timestamp: String,
        }
        match self.envelope {
            Envelope::Sync => self.say("pong", Empty {}),
            Envelope::Typed => self.say("pong", Pong { timestamp: self.now.to_string() }),
        }
    }

    /// `sync_response`.
    pub fn sync_response(&self, state: &RoomFigures, position: Position) -> Bytes {
        #[derive(Serialize)]
        struct SyncResponse<'a> {
            state: &'a RoomFigures,
            position: u64,
            cursor: String,
        }
        self.say("sync_response", SyncResponse { state, position: position.0, cursor: place(self.epoch, position) })
    }

    /// `instance_joined`.
    pub fn joined(&self, presence: &Presence) -> Bytes {
        self.say("instance_joined", Instance::new(self.instance, presence))
    }

    /// `instance_left`.
    pub fn left(&self, reason: &'static str) -> Bytes {
        #[derive(Serialize)]
        struct Left<'a> {
            instance_id: &'a str,
            reason: &'static str,
        }
        self.say("instance_left", Left { instance_id: self.instance.as_str(), reason })
    }

    /// `presence_changed`.
    pub fn presence_changed(&self, instances_total: usize, joined: usize, left: usize) -> Bytes {
        #[derive(Serialize)]
        struct Changed {
            instances_total: usize,
            joined: usize,
            left: usize,
        }
        self.say("presence_changed", Changed { instances_total, joined, left })
    }

    /// A page of the room's state.
    pub fn state(&self, page: &Page<'_>, progress: &Progress, end: Option<Position>) -> Bytes {
        match RawValue::from_string(page.data(progress, end)) {
            Ok(data) => self.say("graph.sync", &*data),
            Err(_) => Bytes::new(), // it is JSON
        }
    }

    /// How a session that went back reads on.
    pub fn reconnected(&self, resume: &ResumeReport, position: Position) -> Bytes {
        #[derive(Serialize)]
        struct Reconnected<'a> {
            success: bool,
            resume: &'a ResumeReport,
            position: u64,
            cursor: String,
        }
        let cursor = place(self.epoch, position);
        self.say("sync_response", Reconnected { success: true, resume, position: position.0, cursor })
    }

    /// `draining`.
    pub fn draining(&self, retry_after: std::time::Duration) -> Bytes {
        #[derive(Serialize)]
        struct Draining {
            retry_after_ms: u64,
        }
        self.say("draining", Draining { retry_after_ms: retry_after.as_millis() as u64 })
    }

    /// `error`.
    pub fn error(&self, refusal: &Refusal) -> Bytes {
        let is_system = self.envelope == Envelope::Typed && refusal.of_gitmind;
        self.say(if is_system { "system.error" } else { "error" }, ErrorReport::new(refusal))
    }
}

/// Whether an ack answers a repeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Duplicate(pub bool);

#[derive(Serialize)]
struct Empty {}

#[derive(Serialize)]
struct Place {
    position: u64,
    cursor: String,
}

/// An id that serializes as text.
#[derive(Clone, Copy, Debug)]
pub struct EventIdText(pub EventId);

impl Serialize for EventIdText {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// A refusal's content, the same on sockets and in an HTTP problem.
#[derive(Debug, Serialize)]
pub struct ErrorReport<'a> {
    code: &'static str,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_id: Option<EventIdText>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_id: Option<uuid::Uuid>,
}

impl<'a> ErrorReport<'a> {
    /// The content for a refusal.
    pub fn new(refusal: &'a Refusal) -> Self {
        Self {
            code: refusal.code.word(),
            message: &refusal.message,
            event_id: refusal.event_id.map(EventIdText),
            id: refusal.reference.as_deref(),
            retry_after_ms: refusal.retry_after.map(|wait| wait.as_millis() as u64),
            error_id: refusal.error_id,
        }
    }
}
