//! The rooms in this node's memory.

use actix::Addr;
use actix_web::{HttpRequest, HttpResponse, web::Data};
use serde::Serialize;
use serde_json::json;

use super::{Lag, Scope, lags, look, page};
use crate::{
    actors::{
        room::Room,
        survey::{RoomStands, Sort, Stand},
    },
    http::{admin::answer, parameters::Parameters, server::Shared},
    model::{TenantId, trail},
    wire::{Refusal, outgoing::place},
};

/// Rooms on a page, unless it is said.
const USUAL: u64 = 100;

/// A room as it is shown.
#[derive(Debug, Serialize)]
struct Shown {
    tenant: TenantId,
    is_open: bool,
    members_here: usize,
    members_total: usize,
    streams_here: usize,
    position: u64,
    cursor: String,
    largest_lag: Lag,
    outbox_bytes: u64,
    open: Open,
}

/// What it has under way.
#[derive(Debug, Serialize)]
struct Open {
    appends: usize,
    operations: usize,
    queued: usize,
    subscriptions: usize,
}

/// `GET /v1/admin/rooms`
pub(in crate::http) async fn rooms(shared: Data<Shared>, request: HttpRequest) -> HttpResponse {
    answer(list(&shared, &request).await)
}

async fn list(shared: &Shared, request: &HttpRequest) -> Result<HttpResponse, Refusal> {
    let parameters = Parameters::read(request.query_string());
    let scope = Scope::enter(shared, request, &parameters).await?;
    let (limit, after) = page(&parameters, USUAL)?;
    let _turn = shared.surveys.turn().await?;
    // One more than is shown says whether there are more.
    let mut found = scope.rooms(shared, after, limit + 1).await;
    let is_last = found.len() <= limit;
    found.truncate(limit);
    let next = found.last().map(|(tenant, _)| tenant.clone()).filter(|_| !is_last);
    let mut rooms = Vec::with_capacity(found.len());
    for (tenant, room) in found {
        // One that ends meanwhile is no room of this node any more.
        if let Ok(stands) = room.send(Stand).await {
            rooms.push(shown(shared, tenant, &room, stands).await);
        }
    }
    Ok(HttpResponse::Ok().json(json!({ "rooms": rooms, "next": next })))
}

async fn shown(shared: &Shared, tenant: TenantId, room: &Addr<Room>, stands: RoomStands) -> Shown {
    let seen = look(&stands, Sort::Lag, 0).await;
    let largest = lags(room, seen.lowest.into_iter().collect()).await;
    let queued = shared.context.journal.as_ref().map_or(0, |journal| journal.of_tenant(&tenant).waits.entries);
    Shown {
        tenant,
        is_open: stands.is_open,
        members_here: stands.members_here,
        members_total: stands.members_total,
        streams_here: stands.streams_here,
        position: stands.head.0,
        cursor: place(stands.epoch, stands.head),
        largest_lag: largest.first().copied().unwrap_or_else(|| trail::Lag::NONE.into()),
        outbox_bytes: seen.outbox_bytes,
        open: Open {
            appends: stands.appends,
            operations: stands.operations,
            queued,
            subscriptions: stands.subscriptions,
        },
    }
}
