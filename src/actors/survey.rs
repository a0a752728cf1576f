//! Questions about what goes on in a node, for the people who look after it.
//!
//! Owns: that a question is bounded where it is answered: a room tells numbers that it has, an outlet looks at [`AT_ONCE`]
//! members and says where to go on. Must not know: who asks, HTTP.

use std::{cmp::Reverse, sync::Arc, time::Duration};

use actix::{Addr, Message};
use uuid::Uuid;

use super::{outlet::Outlet, room::Room};
use crate::model::{Epoch, InstanceId, Position, TenantId, Timestamp, trail::Lag};

/// Members that an outlet looks at for one question, and places that a room is asked about.
pub const AT_ONCE: usize = 256;

/// Which rooms are there? Of the tenants behind this one, by name; at most so many.
#[derive(Debug, Message)]
#[rtype(result = "Vec<(TenantId, Addr<Room>)>")]
pub struct ListRooms {
    /// Behind whom.
    pub after: Option<TenantId>,
    /// How many.
    pub most: usize,
}

/// Room, how do you stand?
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "RoomStands")]
pub struct Stand;

/// How a room stands.
#[derive(Debug)]
pub struct RoomStands {
    /// Whether it has found its place in the log.
    pub is_open: bool,
    /// Sessions here.
    pub members_here: usize,
    /// Sessions on all nodes.
    pub members_total: usize,
    /// Who reads along over HTTP.
    pub streams_here: usize,
    /// Its log.
    pub epoch: Epoch,
    /// Its last record.
    pub head: Position,
    /// Appends that were not answered.
    pub appends: usize,
    /// Entities that are being written.
    pub operations: usize,
    /// Parts of the state that members here follow.
    pub subscriptions: usize,
    /// Where its members are.
    pub outlets: Vec<Addr<Outlet>>,
}

/// Room, what do these places lie behind? At most [`AT_ONCE`] are looked at.
#[derive(Debug, Message)]
#[rtype(result = "Vec<Lag>")]
pub struct Behind(pub Vec<Position>);

/// Who comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    /// Who is farthest behind.
    Lag,
    /// Whose outbox holds most.
    Outbox,
    /// Who has been there longest.
    Since,
}

/// Outlet, who are your members? The first of those that you look at now.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Looked")]
pub struct Look {
    /// Where to begin.
    pub from: usize,
    /// Who comes first.
    pub sort: Sort,
    /// How many are told.
    pub most: usize,
}

/// What an outlet saw.
#[derive(Debug, Default)]
pub struct Looked {
    /// Members looked at.
    pub members: usize,
    /// Bytes that wait for them.
    pub outbox_bytes: u64,
    /// The place of whoever is farthest behind.
    pub lowest: Option<Position>,
    /// The first of them.
    pub sessions: Vec<SessionStands>,
    /// Where to go on; `None`: these were all.
    pub next: Option<usize>,
}

/// How a session stands.
#[derive(Clone, Debug)]
pub struct SessionStands {
    /// The connection's id.
    pub session: Uuid,
    /// Who it is.
    pub instance: InstanceId,
    /// For whom it acts.
    pub user: Option<Arc<str>>,
    /// Since when it is connected.
    pub since: Timestamp,
    /// How it is connected.
    pub transport: &'static str,
    /// `waiting`, `live` or `behind`.
    pub state: &'static str,
    /// How far it was sent records; `None`: it was not welcomed yet.
    pub position: Option<Position>,
    /// Bytes that its socket has not taken.
    pub outbox_bytes: usize,
    /// For how long it has taken none.
    pub stuck: Duration,
    /// What it published and waits for.
    pub unanswered: usize,
}

impl Sort {
    /// What a session is put in order by within its room; the smallest comes first.
    pub fn rank(self, position: Option<Position>, outbox_bytes: usize, since: Timestamp) -> (Reverse<usize>, u64) {
        match self {
            Self::Lag => (Reverse(0), position.map_or(u64::MAX, |position| position.0)),
            Self::Outbox => (Reverse(outbox_bytes), 0),
            Self::Since => (Reverse(0), since.0.max(0).unsigned_abs()),
        }
    }
}

impl SessionStands {
    /// See [`Sort::rank`].
    pub fn rank(&self, sort: Sort) -> (Reverse<usize>, u64) {
        sort.rank(self.position, self.outbox_bytes, self.since)
    }
}
