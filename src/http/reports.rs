//! Who is here, and the figures.

use actix_web::{HttpRequest, HttpResponse, web::Data};
use serde_json::json;

use super::{
    asker::{self, Asker},
    problem,
    server::Shared,
    tenants,
};
use crate::{
    actors::{
        messages::{Enter, Find, Report, RoomReport},
        room::neighbours::roster_elsewhere,
    },
    backbone::BackboneError,
    model::{TenantId, rights::Admin, roster::Connections},
    wire::{
        Code, Need, Refusal,
        outgoing::{Instance, place},
    },
};

/// `GET /`
pub(super) async fn index() -> HttpResponse {
    HttpResponse::Ok().json(json!({
        "service": "continuum",
        "version": env!("CARGO_PKG_VERSION"),
        "links": {
            "description": "/openapi.json",
            "page": "/client",
            "console": "/console",
            "rooms": "/ws/sync?tenant_id={tenant}&instance_id={instance}",
            "events": "/v1/tenants/{tenant}/events",
            "stream": "/v1/tenants/{tenant}/stream",
            "operations": "/v1/tenants/{tenant}/operations",
            "entity": "/v1/tenants/{tenant}/entities/{type}/{id}",
            "entity_versions": "/v1/tenants/{tenant}/entities/{type}/{id}/versions",
            "entity_conflicts": "/v1/tenants/{tenant}/entities/{type}/{id}/conflicts",
            "snapshot": "/v1/tenants/{tenant}/snapshot",
            "conflicts": "/v1/tenants/{tenant}/conflicts",
            "instances": "/v1/tenants/{tenant}/instances",
            "tenant_stats": "/v1/tenants/{tenant}/stats",
            "stats": "/v1/stats",
            "nodes": "/v1/admin/nodes",
            "node_rooms": "/v1/admin/rooms",
            "node_sessions": "/v1/admin/sessions",
            "node_journal": "/v1/admin/journal",
            "shards": "/v1/admin/shards",
            "status": "/api/v4/ws/status?tenant_id={tenant}&user_id={user}",
            "health": "/healthz",
            "readiness": "/readyz",
            "metrics": "/metrics",
        },
    }))
}

/// `GET /openapi.json`
pub(super) async fn description() -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body(include_str!("../../docs/openapi.json"))
}

/// `GET /v1/tenants/{tenant}/instances`
pub(super) async fn instances(shared: Data<Shared>, request: HttpRequest) -> HttpResponse {
    let asker = match enter(&shared, &request).await {
        Ok(asker) => asker,
        Err(refusal) => return problem::respond(&refusal),
    };
    match present(&shared, asker.tenant().clone()).await {
        Ok(instances) => HttpResponse::Ok().json(json!({"instances": instances, "instances_total": instances.len()})),
        Err(error) => problem::respond(&problem::log_unavailable(&error)),
    }
}

/// Lets in whoever may know who is there.
async fn enter(shared: &Shared, request: &HttpRequest) -> Result<Asker, Refusal> {
    let asker = Asker::enter(shared, request).await?;
    asker.needs(shared, Need::Presence).await?;
    Ok(asker)
}

/// Who is in a room. One that is not in memory here has nobody here; looking does not start it, the others are asked.
async fn present(shared: &Shared, tenant: TenantId) -> Result<Vec<Instance>, BackboneError> {
    if let Ok(Some(room)) = shared.addresses.directory.send(Find(tenant.clone())).await
        && let Ok(report) = room.send(Report).await
    {
        return Ok(report.instances);
    }
    let roster = roster_elsewhere(&shared.context, &tenant).await?;
    Ok(roster.iter().map(|(instance, presence)| Instance::new(instance, presence)).collect())
}

/// The connections of a tenant, likewise.
pub(super) async fn connections(shared: &Shared, tenant: TenantId) -> Result<Connections, BackboneError> {
    if let Ok(Some(room)) = shared.addresses.directory.send(Find(tenant.clone())).await
        && let Ok(report) = room.send(Report).await
    {
        return Ok(report.connections);
    }
    Ok(roster_elsewhere(&shared.context, &tenant).await?.connections())
}

/// `GET /v1/tenants/{tenant}/stats`
pub(super) async fn tenant_stats(shared: Data<Shared>, request: HttpRequest) -> HttpResponse {
    let asker = match enter(&shared, &request).await {
        Ok(asker) => asker,
        Err(refusal) => return problem::respond(&refusal),
    };
    match room_report(&shared, asker.tenant()).await {
        Ok(RoomReport { figures, instances, attending, subscriptions, epoch, position, .. }) => HttpResponse::Ok()
            .json(json!({
                "tenant_id": asker.tenant(),
                "state": figures,
                "total_connections": instances.len(),
                "in_use": tenants::in_use(&shared, asker.tenant(), (attending, subscriptions)),
                "position": position.0,
                "cursor": place(epoch, position),
            })),
        Err(refusal) => problem::respond(&refusal),
    }
}

async fn room_report(shared: &Shared, tenant: &TenantId) -> Result<RoomReport, Refusal> {
    let away = || Refusal::new(Code::Draining, "the node is going away; come back later");
    loop {
        let entered = shared.addresses.directory.send(Enter(tenant.clone())).await.map_err(|_| away())??;
        // Fails only for a room that stops at this very moment; the directory has the next one.
        if let Ok(report) = entered.room.send(Report).await {
            return Ok(report);
        }
    }
}

/// `GET /v1/stats`
pub(super) async fn node_stats(shared: Data<Shared>, request: HttpRequest) -> HttpResponse {
    if shared.context.authority.asks()
        && let Err(refusal) = asker::administrator(&shared, &request, Admin::System).await
    {
        return problem::respond(&refusal);
    }
    let (metrics, nodes) = (&shared.context.metrics, &shared.context.nodes);
    let (now, limits) = (shared.context.uptime(), &shared.context.config.limits);
    let others = nodes.others().into_iter().map(|(id, peer)| {
        let silent = now.saturating_sub(peer.heard).as_millis() as u64;
        json!({"id": id.0, "incarnation": peer.incarnation.0, "heard_ms_ago": silent})
    });
    HttpResponse::Ok().json(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "uptime_seconds": shared.context.uptime().as_secs(),
        "total_connections": shared.context.connections.taken(),
        "in_use": {
            "connections": {"used": shared.context.connections.taken(), "limit": limits.connections_per_node},
            "strangers": {"used": metrics.strangers.get(), "limit": limits.strangers_per_node},
        },
        "total_rooms": metrics.rooms.get(),
        "published": metrics.stored(),
        "delivered": metrics.delivered.get(),
        "nodes": {
            "id": nodes.me().0,
            "incarnation": nodes.incarnation().0,
            "others": others.collect::<Vec<_>>(),
        },
    }))
}
