//! What lies open: conflicts that wait for a person, and variants that are kept.

use actix_web::{HttpRequest, HttpResponse, web::Data};
use serde_json::Value;

use super::{
    asker::{self, Asker},
    page::Place,
    parameters::Parameters,
    problem,
    server::Shared,
    snapshot::Walk,
};
use crate::wire::{Need, Refusal, message::json_list, shown};

const LIMIT: u64 = 100;
const MOST: u64 = 1_000;
/// Entities that are read at a time: a page ends between two such reads.
const STEP: usize = 50;

/// `GET /v1/tenants/{tenant}/conflicts`
pub(super) async fn list(shared: Data<Shared>, request: HttpRequest) -> HttpResponse {
    answer(read_list(&shared, &request).await)
}

/// `GET …/entities/{type}/{id}/conflicts`
pub(super) async fn of_entity(shared: Data<Shared>, request: HttpRequest) -> HttpResponse {
    answer(read_entity(&shared, &request).await)
}

fn answer(body: Result<String, Refusal>) -> HttpResponse {
    match body {
        Ok(body) => HttpResponse::Ok().content_type("application/json").body(body),
        Err(refusal) => problem::respond(&refusal),
    }
}

async fn read_list(shared: &Shared, request: &HttpRequest) -> Result<String, Refusal> {
    let asker = Asker::enter(shared, request).await?;
    asker.needs(shared, Need::Look).await?;
    let (tenant, parameters) = (asker.tenant(), Parameters::read(request.query_string()));
    let limit = parameters.number("limit", 1, MOST)?.unwrap_or(LIMIT) as usize;
    let (epoch, listing) = (shared.context.backbone.epoch(tenant), format!("conflicts {tenant}"));
    let from = parameters.get("page").map(|token| Place::read(token, &listing, epoch)).transpose()?;
    let mut walk = Walk::new(shared, tenant, from.as_ref());
    let mut shown = Vec::new();
    while shown.len() < limit
        && let Some(entities) = walk.more(STEP).await?
    {
        let seen = entities.iter().filter(|(key, entity)| asker.sees(key, entity));
        shown.extend(seen.flat_map(|(key, entity)| shown::open_items(key, entity)));
    }
    let next = Value::from(walk.next(0).map(|next| next.token(&listing, epoch)));
    Ok(format!(r#"{{"conflicts":{},"position":{},"next":{next}}}"#, json_list(shown), walk.position()))
}

async fn read_entity(shared: &Shared, request: &HttpRequest) -> Result<String, Refusal> {
    let (asker, key) = (Asker::enter(shared, request).await?, asker::address(request)?);
    let (entity, _) = asker::head(shared, &key, &asker).await?;
    Ok(shown::open(&key, &entity))
}
