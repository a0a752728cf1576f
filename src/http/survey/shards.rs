//! The parts of the log, and how far this node has read them.

use actix_web::{HttpRequest, HttpResponse, web::Data};
use serde_json::{Value, json};

use super::Scope;
use crate::{
    actors::nodes::health,
    backbone::shown::ShardShown,
    http::{admin::answer, server::Shared},
    wire::Refusal,
};

/// `GET /v1/admin/shards`
pub(in crate::http) async fn shards(shared: Data<Shared>, request: HttpRequest) -> HttpResponse {
    answer(list(&shared, &request).await)
}

async fn list(shared: &Shared, request: &HttpRequest) -> Result<HttpResponse, Refusal> {
    Scope::enter_all(shared, request).await?;
    let _turn = shared.surveys.turn().await?;
    let shards = shared.context.backbone.shards().await;
    let shards: Vec<_> = shards.into_iter().map(shown).collect();
    Ok(HttpResponse::Ok().json(json!({ "shards": shards, "as_of": shared.context.now().to_string() })))
}

fn shown(ShardShown { tail, stream, epoch, health: how, held }: ShardShown) -> Value {
    let (state, reason) = health(how);
    json!({
        "shard": tail.shard,
        "stream": stream,
        "epoch": epoch.to_string(),
        "state": state,
        "reason": reason,
        "first": held.and_then(|held| held.first).map(|first| first.0),
        "last": tail.end.0,
        "records": held.and_then(|held| held.records),
        "bytes": held.map(|held| held.bytes),
        "read_to": tail.read_to.map(|read_to| read_to.0),
        "lag": tail.read_to.map(|read_to| tail.end.0.saturating_sub(read_to.0)),
    })
}
