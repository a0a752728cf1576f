//! The WebSocket sessions of this node: who is slow?

use std::{cmp::Reverse, time::Duration};

use actix::Addr;
use actix_web::{HttpRequest, HttpResponse, web::Data};
use serde::Serialize;
use serde_json::json;
use tokio::time::Instant;
use uuid::Uuid;

use super::{Lag, PAGE, PATIENCE, Scope, lags, look, page};
use crate::{
    actors::{
        room::Room,
        survey::{RoomStands, SessionStands, Sort, Stand},
    },
    http::{admin::answer, parameters::Parameters, server::Shared},
    model::{TenantId, trail},
    wire::{Code, Refusal, outgoing::place},
};

/// Sessions that are shown, unless it is said.
const USUAL: u64 = 50;

/// A session as it is shown.
#[derive(Debug, Serialize)]
struct Shown {
    session_id: Uuid,
    tenant: TenantId,
    instance: String,
    user: Option<String>,
    since: String,
    transport: &'static str,
    state: &'static str,
    position: u64,
    cursor: String,
    lag: Lag,
    outbox_bytes: usize,
    stuck_ms: u64,
    unanswered: usize,
}

impl Shown {
    /// What all of them are put in order by; the smallest comes first. Records of two rooms say less than time does.
    fn rank(&self, sort: Sort) -> (Reverse<u64>, Reverse<u64>, String) {
        match sort {
            Sort::Lag => {
                let millis = (self.lag.seconds * 1000.0) as u64;
                (Reverse(millis), Reverse(self.lag.records), String::new())
            }
            Sort::Outbox => (Reverse(self.outbox_bytes as u64), Reverse(self.stuck_ms), String::new()),
            Sort::Since => (Reverse(0), Reverse(0), self.since.clone()),
        }
    }
}

/// The first sessions of all that were looked at.
struct Found {
    sort: Sort,
    most: usize,
    sessions: Vec<Shown>,
    total: usize,
}

/// `GET /v1/admin/sessions`
pub(in crate::http) async fn sessions(shared: Data<Shared>, request: HttpRequest) -> HttpResponse {
    answer(list(&shared, &request).await)
}

async fn list(shared: &Shared, request: &HttpRequest) -> Result<HttpResponse, Refusal> {
    let parameters = Parameters::read(request.query_string());
    let scope = Scope::enter(shared, request, &parameters).await?;
    let (most, _) = page(&parameters, USUAL)?;
    let sort = match parameters.get("sort") {
        None | Some("lag") => Sort::Lag,
        Some("outbox") => Sort::Outbox,
        Some("since") => Sort::Since,
        Some(_) => return Err(Refusal::new(Code::InvalidParameter, "'sort' must be lag, outbox or since")),
    };
    let _turn = shared.surveys.turn().await?;
    let mut found = Found { sort, most, sessions: Vec::new(), total: 0 };
    let is_whole = search(shared, &scope, &mut found, PATIENCE).await;
    Ok(HttpResponse::Ok().json(json!({
        "sessions": found.sessions, "sessions_total": found.total, "is_whole": is_whole,
    })))
}

/// Looks at all rooms, for a while; whether that was enough.
async fn search(shared: &Shared, scope: &Scope, found: &mut Found, patience: Duration) -> bool {
    let deadline = Instant::now() + patience;
    let mut after = None;
    loop {
        let rooms = scope.rooms(shared, after, PAGE).await;
        let is_last = rooms.len() < PAGE;
        after = rooms.last().map(|(tenant, _)| tenant.clone());
        for (tenant, room) in rooms {
            if Instant::now() >= deadline {
                return false;
            }
            // One that ends meanwhile has nobody in it.
            if let Ok(stands) = room.send(Stand).await {
                found.take(&tenant, &room, &stands).await;
            }
        }
        if is_last {
            return true;
        }
    }
}

impl Found {
    async fn take(&mut self, tenant: &TenantId, room: &Addr<Room>, stands: &RoomStands) {
        let seen = look(stands, self.sort, self.most).await;
        self.total += seen.members;
        // Whoever was not welcomed yet stands nowhere, and lies behind nothing.
        let places = seen.sessions.iter().filter_map(|session| session.position).collect();
        let mut lags = lags(room, places).await.into_iter();
        for session in seen.sessions {
            let lag = session.position.and_then(|_| lags.next()).unwrap_or_else(|| trail::Lag::NONE.into());
            self.sessions.push(shown(tenant, stands, session, lag));
        }
        self.sessions.sort_by_cached_key(|session| session.rank(self.sort));
        self.sessions.truncate(self.most);
    }
}

fn shown(tenant: &TenantId, stands: &RoomStands, session: SessionStands, lag: Lag) -> Shown {
    let position = session.position.unwrap_or_default();
    Shown {
        session_id: session.session,
        tenant: tenant.clone(),
        instance: session.instance.to_string(),
        user: session.user.as_deref().map(str::to_owned),
        since: session.since.to_string(),
        transport: session.transport,
        state: session.state,
        position: position.0,
        cursor: place(stands.epoch, position),
        lag,
        outbox_bytes: session.outbox_bytes,
        stuck_ms: session.stuck.as_millis() as u64,
        unanswered: session.unanswered,
    }
}
