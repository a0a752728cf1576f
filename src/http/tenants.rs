//! What differs for one tenant: read by those who administer it, changed by those who administer all.

use std::time::Duration;

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

/// The shortest time that records may be kept for.
const SHORTEST: Duration = Duration::from_secs(1);

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
        #[serde(default)]
        changes: LimitChanges,
        #[serde(default, with = "humantime_serde")]
        retention_age: Option<Duration>,
    }

    asker::administrator(shared, request, Admin::System).await?;
    let tenant = tenant_of(request)?;
    is_open(shared, &tenant)?;
    let Wanted { changes, retention_age } = read_json(&read_body(shared, payload).await?)?;
    changes.check().map_err(|message| Refusal::new(Code::InvalidMessage, message))?;
    let longest = Some(shared.context.config.log.retention_age).filter(|age| !age.is_zero());
    if let Some(age) = retention_age
        && (age < SHORTEST || longest.is_some_and(|longest| age >= longest))
    {
        let message = "'retention_age' must be at least a second, and less than log.retention_age if that is set";
        return Err(Refusal::new(Code::InvalidMessage, message));
    }
    let (version, TenantRecord { trimmed, .. }) = shared.context.tenants.record(&tenant);
    let record = TenantRecord { limits: changes, retention_age, trimmed };
    keep(shared, place_of(&tenant), version, &record).await?;
    tracing::info!(%tenant, "a tenant has other limits now");
    Ok(shown(shared, &tenant))
}

fn tenant_of(request: &HttpRequest) -> Result<TenantId, Refusal> {
    parameters::tenant(&part(request, 4, Code::InvalidTenant)?)
}

fn shown(shared: &Shared, tenant: &TenantId) -> HttpResponse {
    let (_, record) = shared.context.tenants.record(tenant);
    let age = record.retention_age.map(|age| humantime::format_duration(age).to_string());
    HttpResponse::Ok().json(json!({
        "tenant": tenant,
        "limits": shared.context.tenants.limits(tenant),
        "changes": record.limits,
        "retention_age": age,
    }))
}

/// How much of its limits a tenant takes now.
pub(super) fn in_use(shared: &Shared, tenant: &TenantId, (connections, subscriptions): (usize, usize)) -> Value {
    let context = &shared.context;
    let limits = context.tenants.limits(tenant);
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
