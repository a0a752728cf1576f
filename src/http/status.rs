//! `GET /api/v4/ws/status`: how many are connected, as PUO Memo shows it.

use actix_web::{HttpRequest, HttpResponse, web::Data};
use serde::Serialize;

use super::{
    parameters::{self, Parameters},
    problem,
    reports::connections,
    server::Shared,
};
use crate::{model::TenantId, wire::Refusal};

#[derive(Debug, Serialize)]
struct Status {
    user_connections: usize,
    tenant_connections: usize,
    total_connections: usize,
    websocket_url: &'static str,
}

/// Whose connections are counted; who names no user is counted together with the others who do not.
fn asker(request: &HttpRequest) -> Result<(TenantId, Option<String>), Refusal> {
    let parameters = Parameters::read(request.query_string());
    let tenant = parameters::tenant(parameters.get("tenant_id").unwrap_or(parameters::DEFAULT_TENANT))?;
    let user = parameters.get("user_id").filter(|user| !user.is_empty()).map(str::to_owned);
    Ok((tenant, user))
}

/// `GET /api/v4/ws/status`
pub(super) async fn status(shared: Data<Shared>, request: HttpRequest) -> HttpResponse {
    let (tenant, user) = match asker(&request) {
        Ok(asker) => asker,
        Err(refusal) => return problem::respond(&refusal),
    };
    let connections = match connections(&shared, tenant).await {
        Ok(connections) => connections,
        Err(error) => return problem::respond(&problem::log_unavailable(&error)),
    };
    let of_user = connections.by_user.iter().find(|(known, _)| known.as_deref() == user.as_deref());
    HttpResponse::Ok().json(Status {
        user_connections: of_user.map_or(0, |(_, count)| *count),
        tenant_connections: connections.total,
        // Of other tenants' connections on other nodes this node knows nothing.
        total_connections: shared.context.connections.taken() as usize + connections.elsewhere,
        websocket_url: "/ws",
    })
}
