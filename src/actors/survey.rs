//! Questions about what goes on in a node, for the people who look after it.
//!
//! Owns: that a question is bounded where it is answered: a room tells numbers that it has, an outlet looks at [`AT_ONCE`]
//! members and says where to go on. Must not know: who asks, HTTP.

use std::{cmp::Reverse, sync::Arc, time::Duration};

use actix::{Addr, Message};
use tokio::time::sleep;
use uuid::Uuid;

use super::{context::NodeContext, directory::Directory, outlet::Outlet, room::Room};
use crate::model::{Epoch, InstanceId, Position, TenantId, Timestamp, trail::Lag};

/// Members that an outlet looks at for one question, and places that a room is asked about.
pub const AT_ONCE: usize = 256;
/// Rooms that are asked one after the other before there is a pause.
const ROOMS: usize = 64;
/// Between two looks for whoever is slowest.
const EVERY: Duration = Duration::from_secs(10);
/// Between two times [`ROOMS`].
const PAUSE: Duration = Duration::from_millis(100);

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
    /// Bytes that wait for the one for whom most do.
    pub fullest: usize,
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

/// Everything that a room's outlets see, with the first of its sessions.
pub async fn look(stands: &RoomStands, sort: Sort, most: usize) -> Looked {
    let mut all = Looked::default();
    for outlet in &stands.outlets {
        let mut from = Some(0);
        // An outlet that ends has no members.
        while let Some(at) = from
            && let Ok(looked) = outlet.send(Look { from: at, sort, most }).await
        {
            from = looked.next;
            all.members += looked.members;
            all.outbox_bytes += looked.outbox_bytes;
            all.fullest = all.fullest.max(looked.fullest);
            all.lowest = all.lowest.into_iter().chain(looked.lowest).min();
            all.sessions.extend(looked.sessions);
            all.sessions.sort_by_key(|session: &SessionStands| session.rank(sort));
            all.sessions.truncate(most);
        }
    }
    all
}

/// Looks for whoever is slowest, for the figures: again and again, a few rooms at a time.
pub async fn keep_slowest(context: Arc<NodeContext>, directory: Addr<Directory>) {
    loop {
        let (bytes, lag) = match context.connections.taken() {
            0 => (0, Duration::ZERO),
            _ => slowest(&directory).await,
        };
        context.metrics.slowest_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
        context.metrics.slowest_lag.set(lag.as_secs_f64());
        sleep(EVERY).await;
    }
}

async fn slowest(directory: &Addr<Directory>) -> (usize, Duration) {
    let (mut fullest, mut longest, mut after) = (0, Duration::ZERO, None);
    loop {
        // It ends only with the node.
        let rooms = directory.send(ListRooms { after, most: ROOMS }).await.unwrap_or_default();
        let is_last = rooms.len() < ROOMS;
        after = rooms.last().map(|(tenant, _)| tenant.clone());
        for (_, room) in rooms {
            // One that ends meanwhile has nobody in it.
            let Ok(stands) = room.send(Stand).await else { continue };
            let seen = look(&stands, Sort::Lag, 0).await;
            fullest = fullest.max(seen.fullest);
            let lags = room.send(Behind(seen.lowest.into_iter().collect())).await.unwrap_or_default();
            longest = lags.iter().map(|lag| lag.time).chain([longest]).max().unwrap_or_default();
        }
        if is_last {
            return (fullest, longest);
        }
        sleep(PAUSE).await;
    }
}
