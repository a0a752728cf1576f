//! The typed messages between actors: requests are imperative, facts are past tense.

mod orders;

use std::sync::Arc;

use actix::{Addr, Message};
use tokio::sync::oneshot;
use uuid::Uuid;

pub use self::orders::{Emptied, Order, Orders, Reach, RoomDied};
use super::{outlet::Outlet, room::Room};
use crate::{
    backbone::{Answer, Append, AppendError, BackboneError, Page},
    model::{
        Epoch, EventId, InstanceId, Position, TenantId,
        peers::{Incarnation, NodeId},
        resume::{Since, Start},
        roster::{Connections, Farewell, Presence},
    },
    wire::{
        Refusal, Variant,
        answer::{Form, Told},
        operation::{Unit, Wanted},
        outgoing::{Instance, ResumeReport, RoomFigures},
        signal::Signal,
    },
};

/// One member of a room: which outlet, where in it, and a serial that no other member of this node has, so that an
/// order for a member that left never reaches the next one in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MemberKey {
    /// The outlet.
    pub outlet: u64,
    /// The place in it.
    pub slot: usize,
    /// The member.
    pub serial: u64,
}

// --- To the directory -------------------------------------------------------------------------------------------

/// A room as the directory knows it.
#[derive(Clone, Debug)]
pub struct Entered {
    /// Rises from one room of a tenant to the next.
    pub serial: u64,
    /// Its address.
    pub room: Addr<Room>,
}

/// Give me the tenant's room, made if need be.
#[derive(Debug, Message)]
#[rtype(result = "Result<Arc<Entered>, Refusal>")]
pub struct Enter(pub TenantId);

/// Give me the tenant's room if it is in memory.
#[derive(Debug, Message)]
#[rtype(result = "Option<Addr<Room>>")]
pub struct Find(pub TenantId);

/// May this room stop? Answered `true`, it is the tenant's room no longer.
#[derive(Debug, Message)]
#[rtype(result = "bool")]
pub struct Retire {
    /// Whose.
    pub tenant: TenantId,
    /// Which: a room that was replaced meanwhile retires nobody.
    pub serial: u64,
}

/// All rooms.
#[derive(Debug, Message)]
#[rtype(result = "Vec<Addr<Room>>")]
pub struct AllRooms;

/// The tenant is being erased: the room goes as soon as nobody is in it and nothing is under way.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Vacate;

/// The cluster changed: the directory tells all rooms.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub enum ClusterChanged {
    /// A node is heard that was not before, or not for long.
    Appeared(NodeId),
    /// A node fell silent, and this was its incarnation.
    Gone(NodeId, Incarnation),
    /// A node said farewell.
    Departed(NodeId),
    /// This node itself was away for a while.
    WeReturned,
}

// --- To a room --------------------------------------------------------------------------------------------------

/// The room is about to stop: ask the directory for the new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gone;

/// What a session wants from its room.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<(), Gone>")]
pub struct Join {
    /// The member, already in its outlet.
    pub key: MemberKey,
    /// The connection's id, as in the node's log.
    pub session: Uuid,
    /// Its outlet.
    pub outlet: Addr<Outlet>,
    /// Who it is.
    pub instance: InstanceId,
    /// What the others see.
    pub presence: Presence,
    /// Where to go on.
    pub since: Since,
    /// The request as it was written, for the resync message.
    pub requested: String,
    /// In which form it is spoken to.
    pub variant: Variant,
    /// Whether it may know who is here, and the room's figures.
    pub presence_is_shown: bool,
    /// First join of the connection, or a return to a rebuilt room.
    pub kind: JoinKind,
}

/// Why a member joins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JoinKind {
    /// A new connection: greet it.
    Fresh,
    /// The room was rebuilt: go on silently.
    Again,
    /// It is here, and wants to read on from elsewhere.
    Elsewhere,
}

/// A connection ended.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Leave {
    /// The member.
    pub key: MemberKey,
    /// Who it was.
    pub instance: InstanceId,
    /// How it ended.
    pub how: Farewell,
}

/// Something to be stored, with the mark under which its sender waits.
#[derive(Clone, Debug)]
pub struct Publication {
    /// The sender's own mark.
    pub token: u64,
    /// The publish's id; an operation's.
    pub id: EventId,
    /// The same as its sender wrote it, where that need not be a UUID.
    pub reference: Option<Arc<str>>,
    /// What it is.
    pub what: Content,
}

/// What a member wants stored.
#[derive(Clone, Debug)]
pub enum Content {
    /// This record.
    Event(Append),
    /// What an operation makes of its entity; the form is that of its answer.
    Operation(Box<Wanted>, Form),
    /// What operations make of their entities, all or nothing.
    Batch(Vec<Wanted>, Form),
}

/// A member publishes.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Publish {
    /// Who.
    pub key: MemberKey,
    /// What.
    pub publication: Publication,
}

/// A request over HTTP publishes.
#[derive(Debug, Message)]
#[rtype(result = "Result<(), Gone>")]
pub struct PublishFor {
    /// What; the tokens are ignored.
    pub appends: Vec<Append>,
    /// Where the answers go, each with its index in `appends`.
    pub answers: Vec<oneshot::Sender<Result<Answer, AppendError>>>,
}

/// A request over HTTP changes entities.
#[derive(Debug, Message)]
#[rtype(result = "Result<(), Gone>")]
pub struct OperateFor {
    /// What it wants.
    pub wanted: Vec<Wanted>,
    /// What is done or not done as a whole.
    pub unit: Unit,
    /// Where the answers go, one for each.
    pub answers: Vec<oneshot::Sender<Told>>,
}

/// A member's outbox has room: send it what follows.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct Fetch {
    /// Who.
    pub key: MemberKey,
    /// Where it stands.
    pub after: Position,
}

/// A member signals something to the others.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct PassOn {
    /// Which member.
    pub key: MemberKey,
    /// What.
    pub signal: Arc<Signal>,
}

/// A member acknowledged everything up to a position.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Acknowledged {
    /// Which member.
    pub key: MemberKey,
    /// Who it is.
    pub instance: InstanceId,
    /// Up to where.
    pub position: Position,
}

/// An outlet has carried its orders out, and the room waits for that.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct CarriedOut;

/// A member asks for the room's figures; the answer comes as an order to its outlet.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct TellFigures {
    /// Who asks.
    pub key: MemberKey,
}

/// What a room tells about itself over HTTP.
#[derive(Debug, Message)]
#[rtype(result = "RoomReport")]
pub struct Report;

/// A room's own account.
#[derive(Clone, Debug)]
pub struct RoomReport {
    /// Its figures.
    pub figures: RoomFigures,
    /// Its instances.
    pub instances: Vec<Instance>,
    /// Their connections.
    pub connections: Connections,
    /// All connections that count for the tenant's limit: who reads along here among them.
    pub attending: usize,
    /// Parts of the state that its members here follow.
    pub subscriptions: usize,
    /// Its log.
    pub epoch: Epoch,
    /// Its last record.
    pub position: Position,
}

/// Send everybody home.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Drain;

/// A reader's start was looked up in the log.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct StartFound {
    /// The join that waited for it.
    pub join: Join,
    /// Where it leads.
    pub found: Result<FoundStart, BackboneError>,
}

/// Where a reader starts, and how much it missed.
#[derive(Clone, Copy, Debug)]
pub struct FoundStart {
    /// Where.
    pub start: Start,
    /// Records after it, counted to a bound.
    pub missed: usize,
    /// Whether the bound was not reached.
    pub exact: bool,
}

impl FoundStart {
    /// What somebody is told who asked to go on from `since`.
    pub fn report(&self, since: &Since) -> ResumeReport {
        ResumeReport {
            from: since.word(),
            outcome: if self.start.resync.is_some() { "resync" } else { "honoured" },
            after: self.start.after.0,
            missed: self.missed,
            missed_exact: self.exact,
        }
    }
}

/// A page of history was read.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct HistoryRead {
    /// Read after this.
    pub after: Position,
    /// The page, and the position of the room's record before its first.
    pub page: Result<(Page, Position), BackboneError>,
}

/// A drill: the room panics as a fault of ours would make it. No client can send this.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Fail;

// --- To a session -----------------------------------------------------------------------------------------------

/// Send a heartbeat.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Beat;

/// Whether your token still holds may have changed.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct LookAtToken {
    /// The watch that has come to its end; `None`: something was called back.
    pub watch: Option<u64>,
}

/// The client was silent for too long.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Expire;
