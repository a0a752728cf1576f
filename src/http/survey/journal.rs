//! What waits in this node's journal.

use actix_web::{HttpRequest, HttpResponse, web::Data};
use serde_json::{Value, json};

use super::{Scope, page};
use crate::{
    http::{admin::answer, parameters::Parameters, server::Shared},
    journal::{Figures, OfTenant, Standing},
    model::Timestamp,
    wire::Refusal,
};

/// Tenants on a page, unless it is said.
const USUAL: u64 = 100;

/// `GET /v1/admin/journal`
pub(in crate::http) async fn journal(shared: Data<Shared>, request: HttpRequest) -> HttpResponse {
    answer(show(&shared, &request).await)
}

async fn show(shared: &Shared, request: &HttpRequest) -> Result<HttpResponse, Refusal> {
    let parameters = Parameters::read(request.query_string());
    let scope = Scope::enter(shared, request, &parameters).await?;
    let (limit, after) = page(&parameters, USUAL)?;
    let Some(journal) = &shared.context.journal else {
        return Ok(HttpResponse::Ok().json(json!({"standing": "none", "total": null, "tenants": [], "next": null})));
    };
    let (mut tenants, total) = match &scope {
        // One more than is shown says whether there are more.
        Scope::All => (journal.by_tenant(after.as_ref(), limit + 1), Some(journal.figures())),
        Scope::One(tenant) => (vec![journal.of_tenant(tenant)], None),
    };
    let is_last = tenants.len() <= limit;
    tenants.truncate(limit);
    let next = tenants.last().map(|known| known.tenant.clone()).filter(|_| !is_last);
    let standing = match journal.standing() {
        Standing::Empty => "empty",
        Standing::Holding(_) => "holding",
        Standing::Full => "full",
    };
    let now = shared.context.now();
    let is_known = |known: &&OfTenant| known.waits.entries > 0 || known.refused > 0;
    Ok(HttpResponse::Ok().json(json!({
        "standing": standing,
        "total": total.map(|figures| of_all(&figures, now)),
        "tenants": tenants.iter().filter(is_known).map(|known| of_one(known, now)).collect::<Vec<_>>(),
        "next": next,
    })))
}

fn of_all(figures: &Figures, now: Timestamp) -> Value {
    json!({
        "entries": figures.entries,
        "bytes": figures.bytes,
        "max_bytes": figures.max_bytes,
        "oldest_seconds": age(figures.oldest, now),
        "drained": figures.drained,
        "refused": figures.refused,
        "dead": figures.dead,
    })
}

fn of_one(known: &OfTenant, now: Timestamp) -> Value {
    json!({
        "tenant": known.tenant,
        "entries": known.waits.entries,
        "bytes": known.waits.bytes,
        "oldest_seconds": age(known.waits.oldest, now),
        "refused": known.refused,
    })
}

fn age(oldest: Option<Timestamp>, now: Timestamp) -> f64 {
    oldest.map_or(0.0, |oldest| (now.0 - oldest.0).max(0) as f64 / 1000.0)
}
