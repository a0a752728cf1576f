//! `GET /v1/admin/{nodes,rooms,sessions,journal,shards}`: what goes on, for those who look after the node.
//!
//! Owns: who may know of what, and that asking is bounded: so many questions at a time, each for so long. Must not know: how
//! rooms and logs work inside.

mod journal;
mod nodes;
mod rooms;
mod sessions;
mod shards;

use std::time::Duration;

use actix::Addr;
use actix_web::HttpRequest;
use serde::Serialize;
use tokio::sync::{Semaphore, SemaphorePermit};

pub(super) use self::{journal::journal, nodes::nodes, rooms::rooms, sessions::sessions, shards::shards};
use super::{
    admin::governs,
    asker,
    parameters::{self, Parameters},
    server::Shared,
};
use crate::{
    actors::{
        messages::Find,
        room::Room,
        survey::{AT_ONCE, Behind, ListRooms, Look, Looked, RoomStands, SessionStands, Sort},
    },
    model::{Position, TenantId, rights::Admin, trail},
    wire::{Code, Refusal},
};

/// Questions that are worked on at a time.
const TOGETHER: usize = 2;
/// How long one of them may wait for its turn, and then take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Most of anything on one page.
const MOST: u64 = 500;
/// What is given out at a time where all is looked at.
const PAGE: usize = 64;

/// The questions that are worked on.
#[derive(Debug)]
pub struct Surveys(Semaphore);

impl Default for Surveys {
    fn default() -> Self {
        Self(Semaphore::new(TOGETHER))
    }
}

impl Surveys {
    async fn turn(&self) -> Result<SemaphorePermit<'_>, Refusal> {
        match tokio::time::timeout(PATIENCE, self.0.acquire()).await {
            Ok(Ok(turn)) => Ok(turn),
            _ => {
                let message = "others ask this node what goes on; try again";
                Err(Refusal::new(Code::Busy, message).after(Duration::from_secs(1)))
            }
        }
    }
}

/// What somebody may know of.
enum Scope {
    All,
    One(TenantId),
}

impl Scope {
    /// Lets somebody in: to all, or to the tenant that it administers or names. Without tokens everybody is let in, as to the
    /// node's figures.
    async fn enter(shared: &Shared, request: &HttpRequest, parameters: &Parameters<'_>) -> Result<Self, Refusal> {
        let asked = parameters.get("tenant").map(parameters::tenant).transpose()?;
        if !shared.context.authority.asks() {
            return Ok(asked.map_or(Self::All, Self::One));
        }
        let admin = asker::administrator(shared, request, Admin::Tenant).await?;
        if let Some(tenant) = asked {
            governs(&admin, &tenant)?;
            return Ok(Self::One(tenant));
        }
        Ok(match admin.identity.rights.admin {
            Admin::System => Self::All,
            _ => Self::One(admin.identity.tenant.clone()),
        })
    }

    /// Lets in only who may know of all tenants.
    async fn enter_all(shared: &Shared, request: &HttpRequest) -> Result<(), Refusal> {
        if shared.context.authority.asks() {
            asker::administrator(shared, request, Admin::System).await?;
        }
        Ok(())
    }

    /// The rooms behind a tenant, at most so many.
    async fn rooms(&self, shared: &Shared, after: Option<TenantId>, most: usize) -> Vec<(TenantId, Addr<Room>)> {
        let directory = &shared.addresses.directory;
        match self {
            // It ends only with the node.
            Self::All => directory.send(ListRooms { after, most }).await.unwrap_or_default(),
            Self::One(tenant) => {
                let found = directory.send(Find(tenant.clone())).await.ok().flatten();
                found.map(|room| (tenant.clone(), room)).into_iter().collect()
            }
        }
    }
}

/// `limit` and `after`.
fn page(parameters: &Parameters<'_>, usual: u64) -> Result<(usize, Option<TenantId>), Refusal> {
    let limit = parameters.number("limit", 1, MOST)?.unwrap_or(usual);
    let after = parameters.get("after").map(parameters::tenant).transpose()?;
    Ok((limit as usize, after))
}

/// What lies between a place and the end, as it is shown.
#[derive(Clone, Copy, Debug, Serialize)]
struct Lag {
    records: u64,
    seconds: f64,
    exact: bool,
}

impl From<trail::Lag> for Lag {
    fn from(trail::Lag { records, time, exact }: trail::Lag) -> Self {
        // Milliseconds are what is known.
        Self { records, seconds: (time.as_secs_f64() * 1000.0).round() / 1000.0, exact }
    }
}

/// Asks a room what places lie behind, a bounded number at a time.
async fn lags(room: &Addr<Room>, places: Vec<Position>) -> Vec<Lag> {
    let mut lags = Vec::with_capacity(places.len());
    for some in places.chunks(AT_ONCE) {
        // A room that ends has nobody left to be behind.
        let told = room.send(Behind(some.to_vec())).await.unwrap_or_else(|_| vec![trail::Lag::NONE; some.len()]);
        lags.extend(told.into_iter().map(Lag::from));
    }
    lags
}

/// Everything that a room's outlets see, with the first of its sessions.
async fn look(stands: &RoomStands, sort: Sort, most: usize) -> Looked {
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
            all.lowest = all.lowest.into_iter().chain(looked.lowest).min();
            all.sessions.extend(looked.sessions);
            all.sessions.sort_by_key(|session: &SessionStands| session.rank(sort));
            all.sessions.truncate(most);
        }
    }
    all
}
