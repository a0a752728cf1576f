//! The typed messages between actors: requests are imperative, facts are past tense.

use std::sync::Arc;

use actix::{Addr, Message};
use bytes::Bytes;
use tokio::sync::oneshot;
use uuid::Uuid;

use super::{
    gate::Gate,
    outlet::Outlet,
    room::{Room, interests::Notice},
};
use crate::{
    backbone::{Answer, Append, AppendError, Appended, BackboneError, Page},
    model::{
        Epoch, EventId, InstanceId, Position, TenantId,
        peers::{Incarnation, NodeId},
        resume::{Since, Start},
        roster::{Farewell, Presence},
    },
    wire::{
        Batch, Close, Envelope, Refusal,
        answer::{Form, Told},
        operation::Wanted,
        outgoing::{Instance, ResyncReport, RoomFigures},
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
    /// In which envelope it is greeted.
    pub envelope: Envelope,
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

// --- To an outlet -----------------------------------------------------------------------------------------------

/// What a room wants done on one worker thread, in this order.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Orders {
    /// The room that wants it.
    pub room: Arc<Entered>,
    /// The log that the positions in the orders are of.
    pub epoch: Epoch,
    /// Where to say that it is done.
    pub gate: Arc<Gate>,
    /// What it wants.
    pub orders: Vec<Order>,
}

/// One thing to do.
#[derive(Clone, Debug)]
pub enum Order {
    /// Greet a member and set it on its way.
    Welcome {
        /// Who.
        key: MemberKey,
        /// `session_ready`, and `resync` if it must be said; empty for a member that was here before.
        greeting: Bytes,
        /// Where its reading starts.
        after: Position,
    },
    /// What follows for a member that is behind.
    Catch {
        /// Who.
        key: MemberKey,
        /// Everything after this and up to the last record here is here.
        from: Position,
        /// The records.
        batches: Vec<Arc<Batch>>,
        /// Whether this brings the member to the room's head: the next batch in these orders follows on.
        reach: Reach,
    },
    /// A member's place is gone from the log: it starts anew.
    Resync {
        /// Who.
        key: MemberKey,
        /// What it is told.
        report: ResyncReport,
        /// Where its reading starts.
        after: Position,
    },
    /// New records for everyone who is at the head.
    Deliver(Arc<Batch>),
    /// Records were left out here: everyone at the head falls behind.
    Gap,
    /// A publish's end.
    Settled {
        /// Whose.
        key: MemberKey,
        /// The publisher's mark.
        token: u64,
        /// The publish.
        id: EventId,
        /// The answer.
        answer: Result<Answer, Refusal>,
    },
    /// An operation's end.
    Operated {
        /// Whose.
        key: MemberKey,
        /// The sender's mark.
        token: u64,
        /// In which words.
        form: Form,
        /// The answer.
        told: Box<Told>,
    },
    /// A publish has left the journal.
    Drained {
        /// Whose.
        key: MemberKey,
        /// The publish.
        id: EventId,
        /// Where it stands, or why the log will never take it.
        ended: Result<Appended, Refusal>,
    },
    /// The room's figures for one member.
    Figures {
        /// Who asked.
        key: MemberKey,
        /// The answer.
        figures: RoomFigures,
    },
    /// News of what members follow.
    Subscriptions(Vec<Notice>),
    /// News of what members follow were left out here: they are told everything anew.
    SubscriptionsLost,
    /// Tell everyone, but for one and for those who filter it out.
    Announce {
        /// The frame, in each envelope: `Sync`, `Typed`.
        frames: [Bytes; 2],
        /// Its type, for the filters.
        event_type: &'static str,
        /// Whom not.
        except: Option<MemberKey>,
    },
    /// End a member's connection.
    Dismiss {
        /// Who.
        key: MemberKey,
        /// What is said before.
        refusal: Option<Refusal>,
        /// Why.
        why: Close,
    },
    /// End everyone's connection, spread out over time.
    SendHome,
}

/// How far a catch-up page leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// To the room's head.
    Head,
    /// Not yet.
    Short,
}

/// The room is no more; go to the new one.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct RoomDied {
    /// Which.
    pub serial: u64,
}

/// The last member left: stop if nobody came meanwhile.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Emptied;

// --- To a session -----------------------------------------------------------------------------------------------

/// Send a heartbeat.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Beat;

/// The client was silent for too long.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Expire;
