//! What session messages hold.

use serde::Serialize;
use uuid::Uuid;

use super::place;
use crate::model::{Epoch, InstanceId, Position, resume::ResyncReason, roster::Presence};

/// An instance in a roster.
#[derive(Clone, Debug, Serialize)]
pub struct Instance {
    /// Its name.
    pub instance_id: String,
    /// When its stay began.
    pub connected_at: String,
    /// What it says it can do.
    pub capabilities: Vec<Box<str>>,
    /// The user that it acts for, if it says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
    /// The user's name for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_name: Option<String>,
    /// Its connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connection_id: Option<Uuid>,
}

impl Instance {
    /// As it stands in a roster.
    pub fn new(instance: &InstanceId, presence: &Presence) -> Self {
        Self {
            instance_id: instance.to_string(),
            connected_at: presence.connected_at.to_string(),
            capabilities: presence.capabilities.clone(),
            user_id: presence.user.as_deref().map(str::to_owned),
            user_name: presence.name.as_deref().map(str::to_owned),
            connection_id: presence.connection,
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
    /// Signals a minute.
    pub signals_per_minute: u32,
    /// Greatest content of a signal, in bytes.
    pub signal_bytes: usize,
    /// From which size on messages are compressed, in bytes; only where that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compress_bytes: Option<usize>,
}

/// The first message's content.
#[derive(Clone, Debug, Serialize)]
pub struct SessionReady {
    /// The connection's id, as in the node's log.
    pub session_id: Uuid,
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
    /// How large messages are compressed, if that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encoding: Option<&'static str>,
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
