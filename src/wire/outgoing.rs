//! Session messages: what the node says beside the records.

mod presence;
mod reports;

use bytes::Bytes;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

pub use self::{
    presence::{Announced, Announcement},
    reports::{HeartbeatReport, Instance, LimitsReport, ResumeReport, ResyncReport, RoomFigures, SessionReady},
};
use super::{
    answer::{Form, Words},
    codes::Refusal,
    encoding::Encoding,
    kind::Kind,
    message::{Envelope, is_gitmind},
    state::{Page, Progress},
};
use crate::model::{Cursor, Epoch, EventId, InstanceId, Position, TenantId, Timestamp};

/// The envelope of a session message.
#[derive(Debug, Serialize)]
struct Message<'a> {
    event_type: &'a str,
    tenant_id: &'a str,
    #[serde(serialize_with = "as_text")]
    timestamp: Timestamp,
    instance_id: &'a str,
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
    /// In which frames.
    pub encoding: Encoding,
}

/// The envelope of a session message on `/ws`.
#[derive(Debug, Serialize)]
struct Typed<'a> {
    id: uuid::Uuid,
    r#type: &'a str,
    timestamp: Time,
    /// Of Gitmind's protocol, on its types.
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<&'static str>,
}

/// A time as the type of its message wants it.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Time {
    Text(#[serde(serialize_with = "as_text")] Timestamp),
    Millis(i64),
}

fn as_text<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(time)
}

impl Time {
    fn of(r#type: &str, time: Timestamp) -> Self {
        if is_gitmind(r#type) { Self::Millis(time.0) } else { Self::Text(time) }
    }
}

/// Writes an object without its end.
fn begun(head: &impl Serialize) -> Vec<u8> {
    let mut out = Vec::with_capacity(512);
    write(&mut out, head);
    out.pop();
    out
}

fn write(out: &mut Vec<u8>, value: &impl Serialize) {
    // None of these types can fail to serialize: no maps with odd keys, no fallible Serialize.
    let _ = serde_json::to_writer(out, value);
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
    pub(super) fn say(&self, event_type: &str, data: impl Serialize) -> Bytes {
        self.frame(self.head(event_type), |out| write(out, &data))
    }

    /// Says something whose data is JSON already.
    fn say_json(&self, event_type: &str, data: &str) -> Bytes {
        self.frame(self.head(event_type), |out| out.extend_from_slice(data.as_bytes()))
    }

    /// A message of this head, which is an object without its end, and this data.
    fn frame(&self, head: Vec<u8>, put_data: impl FnOnce(&mut Vec<u8>)) -> Bytes {
        let mut message = head;
        message.extend_from_slice(b",\"data\":");
        put_data(&mut message);
        message.push(b'}');
        self.encoding.frame(&message)
    }

    fn head(&self, event_type: &str) -> Vec<u8> {
        debug_assert!(Kind::of(event_type) != Kind::Event, "anybody could say {event_type} too");
        if self.envelope == Envelope::Typed {
            return self.typed_head(event_type);
        }
        let (tenant_id, instance_id) = (self.tenant.as_str(), self.instance.as_str());
        begun(&Message { event_type, tenant_id, timestamp: self.now, instance_id })
    }

    fn typed_head(&self, event_type: &str) -> Vec<u8> {
        let r#type = match event_type {
            "heartbeat" => "system.heartbeat",
            "draining" => "system.reconnect",
            other => other,
        };
        let (id, timestamp) = (uuid::Uuid::new_v4(), Time::of(r#type, self.now));
        let version = is_gitmind(r#type).then_some("1.0");
        begun(&Typed { id, r#type, timestamp, version })
    }

    /// What became of an operation.
    pub fn answer(&self, form: Form, words: &Words) -> Bytes {
        if form == Form::SyncResponse && self.envelope == Envelope::Typed {
            return self.sync_answer(words);
        }
        self.say_json(words.kind, &words.data)
    }

    /// The same as Aether has it.
    fn sync_answer(&self, words: &Words) -> Bytes {
        #[derive(Serialize)]
        struct SyncAnswer {
            id: uuid::Uuid,
            r#type: &'static str,
            #[serde(serialize_with = "as_text")]
            timestamp: Timestamp,
            success: bool,
            conflict: bool,
            #[serde(skip_serializing_if = "Option::is_none")]
            conflict_info: Option<Box<RawValue>>,
            status: &'static str,
        }
        let head = SyncAnswer {
            id: uuid::Uuid::new_v4(),
            r#type: "sync_response",
            timestamp: self.now,
            success: matches!(words.kind, "update.confirmed" | "update.conflict_resolved"),
            conflict: words.kind.contains("conflict"),
            conflict_info: words.conflict.clone().and_then(|text| RawValue::from_string(text).ok()),
            status: words.kind.rsplit('.').next().unwrap_or_default(),
        };
        self.frame(begun(&head), |out| out.extend_from_slice(words.data.as_bytes()))
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

    /// `authenticated`: the token was taken, and when it ends if it does.
    pub fn authenticated(&self, expires_at: Option<Timestamp>) -> Bytes {
        #[derive(Serialize)]
        struct Authenticated {
            #[serde(skip_serializing_if = "Option::is_none")]
            expires_at: Option<String>,
        }
        self.say("authenticated", Authenticated { expires_at: expires_at.map(|end| end.to_string()) })
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
