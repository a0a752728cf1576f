//! Reading history a page at a time.

use actix_web::{
    HttpRequest, HttpResponse,
    web::{Data, Path},
};

use super::{
    parameters::{self, Parameters},
    problem,
    server::Shared,
};
use crate::{
    actors::room::{joining::start_for_request, read_record},
    backbone::ReadBudget,
    model::{Epoch, Position},
    wire::{
        Batch, Refusal,
        outgoing::{ResyncReport, place, place_of},
    },
};

const LIMIT: u64 = 100;
const MOST: u64 = 1_000;

/// `GET /v1/tenants/{tenant}/events`
pub(super) async fn history(shared: Data<Shared>, tenant: Path<String>, request: HttpRequest) -> HttpResponse {
    match read_history(&shared, &tenant, request.query_string()).await {
        Ok(body) => HttpResponse::Ok().content_type("application/json").body(body),
        Err(refusal) => problem::respond(&refusal),
    }
}

async fn read_history(shared: &Shared, tenant: &str, query: &str) -> Result<Vec<u8>, Refusal> {
    let tenant = parameters::tenant(tenant)?;
    let parameters = Parameters::read(query);
    let limit = parameters.number("limit", 1, MOST)?.unwrap_or(LIMIT) as usize;
    let since = parameters.since("after")?;
    let (context, failed) = (&shared.context, |error| problem::log_unavailable(&error));
    let (backbone, epoch) = (&context.backbone, context.backbone.epoch(&tenant));
    let start = start_for_request(context, &tenant, &since).await.map_err(failed)?;
    let prev = backbone.last_at(&tenant, start.after).await.map_err(failed)?;
    let budget = ReadBudget { records: limit, bytes: context.config.limits.http_body_bytes };
    let page = backbone.read(&tenant, start.after, budget).await.map_err(failed)?;
    let requested = parameters.get("after").unwrap_or_default().to_owned();
    let resync = start.resync.map(|reason| ResyncReport::new(reason, requested, epoch, start.after));
    let reached = page.records.last().map_or(start.after, |record| record.position);
    let mut records = Vec::with_capacity(page.records.len());
    let mut before = prev;
    for stored in page.records {
        // A damaged body is left out here as in the room, which reports it.
        if let Ok(record) = read_record(&tenant, before, &stored) {
            before = stored.position;
            records.push(record);
        }
    }
    Ok(history_page(Batch::new(records), reached, page.more, resync.as_ref(), epoch))
}

fn history_page(
    batch: Option<Batch>,
    reached: Position,
    more: bool,
    resync: Option<&ResyncReport>,
    epoch: Epoch,
) -> Vec<u8> {
    let mut body = b"{\"events\":[".to_vec();
    let metas = batch.as_ref().map(Batch::metas).unwrap_or_default();
    for index in 0..metas.len() {
        if index > 0 {
            body.push(b',');
        }
        body.extend(batch.iter().flat_map(|batch| batch.json(index)));
    }
    let cursor = match metas.last() {
        Some(last) if last.position == reached => place_of(epoch, reached, last.id),
        _ => place(epoch, reached),
    };
    let resync = resync.and_then(|report| serde_json::to_string(report).ok()).unwrap_or_else(|| "null".into());
    body.extend_from_slice(format!("],\"cursor\":\"{cursor}\",\"more\":{more},\"resync\":{resync}}}").as_bytes());
    body
}
