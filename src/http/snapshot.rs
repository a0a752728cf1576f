//! All entities of a tenant, in pages, and where the log goes on behind them.
//!
//! Owns: that all pages and every change behind the first page's position make the whole state. No more than one page of the
//! log is in memory at a time.

use actix_web::{HttpRequest, HttpResponse, web::Data};
use serde_json::Value;

use super::{
    asker::{self, Asker},
    page::Place,
    parameters::Parameters,
    problem,
    server::Shared,
};
use crate::{
    backbone::{BackboneError, EntityMark, ReadBudget, SharedBackbone},
    model::{EntityKey, Position, TenantId, entity::Entity},
    wire::{Need, Refusal, message::json_list, outgoing::place, shown},
};

const LIMIT: u64 = 100;
const MOST: u64 = 1_000;
/// Entities that one request looks at, however few of them it shows.
pub(super) const WORK: usize = 2_000;

/// `GET /v1/tenants/{tenant}/snapshot`
pub(super) async fn get(shared: Data<Shared>, request: HttpRequest) -> HttpResponse {
    match read(&shared, &request).await {
        Ok(body) => HttpResponse::Ok().content_type("application/json").body(body),
        Err(refusal) => problem::respond(&refusal),
    }
}

/// What a request walks over: entities from a place on.
pub(super) struct Walk<'a> {
    backbone: &'a SharedBackbone,
    tenant: &'a TenantId,
    from: Option<EntityMark>,
    /// Where the log stood when the first page was read; `None` before that.
    position: Option<Position>,
    /// The latest record that was looked at, by the requests before this one too.
    reached: Position,
    looked_at: usize,
    bytes: usize,
    budget: usize,
    /// What is read in one go: between two reads others have their turn on this thread.
    page: usize,
    is_over: bool,
}

impl<'a> Walk<'a> {
    pub(super) fn new(shared: &'a Shared, tenant: &'a TenantId, place: Option<&Place>) -> Self {
        Self {
            backbone: &shared.context.backbone,
            tenant,
            from: place.map(|place| place.mark.clone()),
            position: place.map(|place| place.position),
            reached: place.map_or(Position::START, |place| place.reached),
            looked_at: 0,
            bytes: 0,
            budget: shared.context.config.limits.http_body_bytes,
            page: shared.context.config.rooms.page_bytes,
            is_over: false,
        }
    }

    /// Some more entities, tombstones too; `None` at the end, or when enough was looked at for one request.
    pub(super) async fn more(&mut self, at_most: usize) -> Result<Option<Vec<(EntityKey, Entity)>>, Refusal> {
        if self.is_over || at_most == 0 || self.looked_at >= WORK || self.bytes >= self.budget {
            return Ok(None);
        }
        let bytes = self.page.min(self.budget - self.bytes);
        let budget = ReadBudget { records: at_most.min(WORK - self.looked_at), bytes };
        let page = self.backbone.entities(self.tenant, self.from.clone(), budget).await;
        let page = page.map_err(|error| problem::log_unavailable(&error))?;
        self.position.get_or_insert(page.as_of);
        (self.is_over, self.from) = (page.next.is_none(), page.next);
        self.looked_at += page.entities.len();
        let mut entities = Vec::with_capacity(page.entities.len());
        for (key, stored) in page.entities {
            self.bytes += stored.body.len();
            self.reached = self.reached.max(stored.position);
            // One that is damaged is logged, and must not keep the others from being read.
            if let Ok(entity) = asker::read(self.tenant, &key, &stored) {
                entities.push((key, entity));
            }
        }
        Ok(Some(entities))
    }

    /// What was read holds everything up to here.
    pub(super) fn position(&self) -> Position {
        self.position.unwrap_or_default()
    }

    /// Where the next request goes on; `None` at the end. `shown`: on all pages so far.
    pub(super) fn next(&self, shown: u64) -> Option<Place> {
        let mark = self.from.clone()?;
        Some(Place { position: self.position(), reached: self.reached, shown, mark })
    }
}

async fn read(shared: &Shared, request: &HttpRequest) -> Result<String, Refusal> {
    let asker = Asker::enter(shared, request).await?;
    asker.needs(shared, Need::Look).await?;
    let (tenant, parameters) = (asker.tenant(), Parameters::read(request.query_string()));
    let limit = parameters.number("limit", 1, MOST)?.unwrap_or(LIMIT) as usize;
    let (types, filter) = (parameters.get("types").unwrap_or_default(), parameters.types()?);
    let backbone = &shared.context.backbone;
    let (epoch, listing) = (backbone.epoch(tenant), format!("snapshot {tenant} {types}"));
    let from = parameters.get("page").map(|token| Place::read(token, &listing, epoch)).transpose()?;
    let mut walk = Walk::new(shared, tenant, from.as_ref());
    let (mut items, mut deleted, now) = (Vec::new(), Vec::new(), shared.context.now());
    while let Some(entities) = walk.more(limit - items.len()).await? {
        for (key, entity) in &entities {
            if !filter.admits_name(&key.kind) || !asker.sees(key, entity) {
                continue;
            }
            match entity.is_there() {
                true => items.push(shown::in_snapshot(key, entity)),
                false => deleted.extend(shown::deleted_lately(key, entity, now)),
            }
        }
    }
    let mut position = walk.position();
    if from.is_none() {
        position = tail_from(backbone, tenant, position).await.map_err(|error| problem::log_unavailable(&error))?;
        walk.position = Some(position);
    }
    let shown = from.map_or(0, |from| from.shown) + items.len() as u64;
    let next = walk.next(shown);
    let reached = if next.is_none() { walk.reached.max(position) } else { walk.reached };
    let deleted = if deleted.is_empty() { String::new() } else { format!(r#""deleted":{},"#, json_list(deleted)) };
    Ok(format!(
        r#"{{"entities":{},{deleted}"position":{position},"cursor":"{}","next":{},"progress":{{"entities":{shown},"reached":{reached},"of":{position}}}}}"#,
        json_list(items),
        place(epoch, position),
        Value::from(next.map(|next| next.token(&listing, epoch))),
    ))
}

/// The tenant's own last place at or before a position of the whole log: what a reader of its records can go on from.
async fn tail_from(backbone: &SharedBackbone, tenant: &TenantId, at: Position) -> Result<Position, BackboneError> {
    let extent = backbone.extent(tenant).await?;
    if extent.last <= at {
        return Ok(extent.last);
    }
    let last = backbone.last_at(tenant, at).await?;
    // Trimmed up to there: whoever starts behind what was trimmed misses nothing, if all of that is in the pages.
    Ok(last.max(extent.trimmed_to.min(at)))
}
