//! What a room wants of its outlets.

use std::sync::Arc;

use actix::Message;
use bytes::Bytes;

use super::{Entered, MemberKey};
use crate::{
    actors::{gate::Gate, room::interests::Notice},
    backbone::{Answer, Appended},
    model::{Epoch, EventId, Position},
    wire::{
        Batch, Close, Refusal,
        answer::{Form, Told},
        outgoing::{Announcement, ResyncReport, RoomFigures},
        signal::Signal,
    },
};

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
    /// The end of an operation, or of all of a batch.
    Operated {
        /// Whose.
        key: MemberKey,
        /// The sender's mark.
        token: u64,
        /// In which words.
        form: Form,
        /// The answers.
        told: Vec<Told>,
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
        /// What, in the words of each kind of listener.
        what: Arc<Announcement>,
        /// Whom not.
        except: Option<MemberKey>,
    },
    /// Pass signals on to everyone but their senders.
    Signal(Vec<Arc<Signal>>),
    /// Tell a newcomer how things stand.
    Standing {
        /// Who.
        key: MemberKey,
        /// The newest signals of those who are here.
        signals: Vec<Arc<Signal>>,
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
