//! `GET /api/v4/ws/status`: how many are connected, as PUO Memo shows it.

use actix_web::{HttpRequest, HttpResponse, web::Data};
use serde::Serialize;

use super::{
    asker::Asker,
    parameters::{self, Parameters},
    problem,
    reports::connections,
    server::Shared,
};
use crate::wire::{Need, Refusal};

#[derive(Debug, Serialize)]
struct Status {
    user_connections: usize,
    tenant_connections: usize,
    total_connections: usize,
    websocket_url: &'static str,
}

/// Lets in whoever may know that.
async fn enter(shared: &Shared, request: &HttpRequest) -> Result<Asker, Refusal> {
    let tenant = Parameters::read(request.query_string()).get("tenant_id").map(parameters::tenant).transpose()?;
    let asker = Asker::enter_into(shared, request, tenant).await?;
    asker.needs(shared, Need::Presence).await?;
    Ok(asker)
}

/// `GET /api/v4/ws/status`: who names no user is counted together with the others who do not.
pub(super) async fn status(shared: Data<Shared>, request: HttpRequest) -> HttpResponse {
    let asker = match enter(&shared, &request).await {
        Ok(asker) => asker,
        Err(refusal) => return problem::respond(&refusal),
    };
    let connections = match connections(&shared, asker.tenant().clone()).await {
        Ok(connections) => connections,
        Err(error) => return problem::respond(&problem::log_unavailable(&error)),
    };
    let of_user = connections.by_user.iter().find(|(known, _)| known.as_ref() == asker.user());
    HttpResponse::Ok().json(Status {
        user_connections: of_user.map_or(0, |(_, count)| *count),
        tenant_connections: connections.total,
        // Of other tenants' connections on other nodes this node knows nothing; and a tenant's token is not for theirs.
        total_connections: match asker.is_proven() {
            true => connections.total,
            false => shared.context.connections.taken() as usize + connections.elsewhere,
        },
        websocket_url: "/ws",
    })
}
