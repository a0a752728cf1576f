//! What differs for one tenant: read by those who administer it, changed by those who administer all.

use actix_web::{
    HttpRequest, HttpResponse,
    web::{Data, Payload},
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    admin::{answer, governs, is_open, json as read_json, keep},
    asker::{self, part},
    events::read_body,
    parameters,
    server::Shared,
};
use crate::{
    actors::tenants::{Taken, TenantRecord, place_of},
    model::{TenantId, limits::LimitChanges, rights::Admin},
    wire::{Code, Refusal},
};

/// `GET /v1/admin/tenants/{tenant}/limits`
pub(super) async fn limits(shared: Data<Shared>, request: HttpRequest) -> HttpResponse {
    answer(try_limits(&shared, &request).await)
}

/// `PUT /v1/admin/tenants/{tenant}/limits`
pub(super) async fn set_limits(shared: Data<Shared>, request: HttpRequest, payload: Payload) -> HttpResponse {
    answer(try_set_limits(&shared, &request, payload).await)
}

async fn try_limits(shared: &Shared, request: &HttpRequest) -> Result<HttpResponse, Refusal> {
    let admin = asker::administrator(shared, request, Admin::Tenant).await?;
    let tenant = tenant_of(request)?;
    governs(&admin, &tenant)?;
    Ok(shown(shared, &tenant))
}

async fn try_set_limits(shared: &Shared, request: &HttpRequest, payload: Payload) -> Result<HttpResponse, Refusal> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Wanted {
        changes: LimitChanges,
    }

    asker::administrator(shared, request, Admin::System).await?;
    let tenant = tenant_of(request)?;
    is_open(shared, &tenant)?;
    let Wanted { changes } = read_json(&read_body(shared, payload).await?)?;
    changes.check().map_err(|message| Refusal::new(Code::InvalidMessage, message))?;
    let (_, _, version) = shared.context.tenants.limits(&tenant);
    keep(shared, place_of(&tenant), version, &TenantRecord { limits: changes }).await?;
    tracing::info!(%tenant, "a tenant has other limits now");
    Ok(shown(shared, &tenant))
}

fn tenant_of(request: &HttpRequest) -> Result<TenantId, Refusal> {
    parameters::tenant(&part(request, 4, Code::InvalidTenant)?)
}

fn shown(shared: &Shared, tenant: &TenantId) -> HttpResponse {
    let (limits, changes, _) = shared.context.tenants.limits(tenant);
    HttpResponse::Ok().json(json!({"tenant": tenant, "limits": limits, "changes": changes}))
}

/// How much of its limits a tenant takes now.
pub(super) fn in_use(shared: &Shared, tenant: &TenantId, (connections, subscriptions): (usize, usize)) -> Value {
    let context = &shared.context;
    let (limits, ..) = context.tenants.limits(tenant);
    let Taken { messages, requests } = context.tenants.of(tenant, context.uptime()).taken(context.uptime());
    let keys = context.authority.registry().kept(tenant, context.now()).keys_that_hold;
    json!({
        "connections": {"used": connections, "limit": limits.connections_per_tenant},
        "messages_per_minute": {"used": messages, "limit": limits.tenant_messages_per_minute},
        "requests_per_minute": {"used": requests, "limit": limits.tenant_requests_per_minute},
        "subscriptions": {"used": subscriptions, "limit": limits.subscriptions_per_room},
        "keys": {"used": keys, "limit": limits.keys_per_tenant},
    })
}
