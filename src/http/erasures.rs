//! A tenant's end: asked for by whoever administers it, and looked at with the receipt that was given for it.
//!
//! Owns: what is answered. The work is `actors/erasure.rs`.

use std::time::Duration;

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::LOCATION,
    web::{Data, Path},
};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    admin::{governs, keep},
    asker, parameters, problem,
    server::Shared,
};
use crate::{
    actors::erasure,
    model::{
        Position, Timestamp,
        erasure::{Erasure, Stage},
        rights::Admin,
    },
    wire::{Code, Refusal},
};

/// When to look again.
const LOOK: Duration = Duration::from_secs(1);

/// `DELETE /v1/tenants/{tenant}`
pub(super) async fn delete(shared: Data<Shared>, request: HttpRequest, tenant: Path<String>) -> HttpResponse {
    try_delete(&shared, &request, &tenant).await.unwrap_or_else(|refusal| problem::respond(&refusal))
}

/// `GET /v1/erasures/{receipt}`
pub(super) async fn look(shared: Data<Shared>, receipt: Path<String>) -> HttpResponse {
    let found = Uuid::try_parse(&receipt).ok();
    match found.and_then(|receipt| shared.context.authority.registry().erasure_with(receipt)) {
        Some(erasure) => shown(&erasure),
        None => problem::respond(&Refusal::new(Code::NotFound, "there is no erasure with this receipt")),
    }
}

async fn try_delete(shared: &Shared, request: &HttpRequest, tenant: &str) -> Result<HttpResponse, Refusal> {
    let admin = asker::administrator(shared, request, Admin::Tenant).await?;
    let tenant = parameters::tenant(tenant)?;
    governs(&admin, &tenant)?;
    let context = &shared.context;
    let before = context.authority.registry().erasure(&tenant);
    if let Some((erasure, _)) = &before {
        if !erasure.is_done() {
            return Ok(shown(erasure));
        }
        let held = erasure::holdings(context, &tenant).await.map_err(|error| problem::log_unavailable(&error))?;
        if held.values().all(|count| *count == 0) {
            let body = json!({ "tenant": tenant, "stage": "nothing", "held": held, "last": report(erasure) });
            return Ok(HttpResponse::Ok().json(body));
        }
    }
    let version = before.as_ref().map_or(Position::START, |(_, version)| *version);
    let last = before.as_ref().map(|(erasure, _)| erasure);
    let erasure = Erasure::begin(&tenant, last, context.now(), context.nodes.me().0);
    keep(shared, Erasure::place(&tenant), version, &erasure).await?;
    tracing::info!(%tenant, receipt = %erasure.receipt, "a tenant is being erased");
    Ok(shown(&erasure))
}

fn shown(erasure: &Erasure) -> HttpResponse {
    if erasure.is_done() {
        return HttpResponse::Ok().json(report(erasure));
    }
    HttpResponse::Accepted()
        .insert_header((LOCATION, format!("/v1/erasures/{}", erasure.receipt)))
        .insert_header(("Retry-After", LOOK.as_secs().to_string()))
        .json(report(erasure))
}

/// An erasure as it is shown; times as everywhere.
fn report(erasure: &Erasure) -> Value {
    let stage = match erasure.stage {
        Stage::Closing => "closing",
        Stage::Removing => "removing",
        Stage::Done => "done",
    };
    let mut report = json!({
        "tenant": erasure.tenant,
        "receipt": erasure.receipt,
        "stage": stage,
        "began_at": Timestamp(erasure.began_at).to_string(),
        "removed": erasure.removed,
        "nodes": erasure.nodes,
    });
    if let (Some(ended), Some(left)) = (erasure.ended_at, &erasure.left) {
        report["ended_at"] = json!(Timestamp(ended).to_string());
        report["left"] = json!(left);
    }
    report
}
