//! The versions of one entity, the newest first: each names the one before it.

use actix_web::{HttpRequest, HttpResponse, web::Data};
use serde_json::Value;

use super::{
    asker::{self, Asker},
    parameters::Parameters,
    problem,
    server::Shared,
};
use crate::{
    backbone::Stored,
    model::{EntityKey, Position, TenantId},
    wire::{Code, Refusal, message::json_list, shown::Version},
};

const LIMIT: u64 = 20;
const MOST: u64 = 100;

/// `GET …/entities/{type}/{id}/versions`
pub(super) async fn get(shared: Data<Shared>, request: HttpRequest) -> HttpResponse {
    match read(&shared, &request).await {
        Ok(body) => HttpResponse::Ok().content_type("application/json").body(body),
        Err(refusal) => problem::respond(&refusal),
    }
}

async fn read(shared: &Shared, request: &HttpRequest) -> Result<String, Refusal> {
    let (asker, key) = (Asker::enter(shared, request).await?, asker::address(request)?);
    let (viewer, parameters) = (asker.viewer(), Parameters::read(request.query_string()));
    let limit = parameters.number("limit", 1, MOST)?.unwrap_or(LIMIT) as usize;
    let before = parameters.number("before", 1, u64::MAX)?.map(Position);
    let (_, head) = asker::head(shared, &key, &asker).await?;
    let chain = Chain { shared, tenant: asker.tenant(), key: &key, head: &head };
    let mut at = match before {
        None => head.position,
        Some(before) => {
            let gone = || Refusal::new(Code::VersionGone, "'before' is no version of the entity that the log holds");
            chain.read(&chain.stored(before).await?.ok_or_else(gone)?)?.base()
        }
    };
    let (mut shown, mut looked_at, mut bytes, mut last, mut is_trimmed) = (Vec::new(), 0, 0, before, false);
    while at != Position::START && looked_at < limit && bytes < shared.context.config.limits.http_body_bytes {
        let Some(stored) = chain.stored(at).await? else {
            is_trimmed = true;
            break;
        };
        let version = chain.read(&stored)?;
        shown.extend(version.view(&key, &viewer).map(|view| version.json(at, view)));
        (looked_at, bytes, last) = (looked_at + 1, bytes + stored.body.len(), Some(at));
        at = version.base();
    }
    let more = at != Position::START && !is_trimmed;
    let next = Value::from(last.filter(|_| more).map(|last| last.0));
    Ok(format!(
        r#"{{"entity_type":{},"entity_id":{},"versions":{},"more":{more},"before":{next},"trimmed":{is_trimmed}}}"#,
        Value::from(&*key.kind),
        Value::from(&*key.id),
        json_list(shown),
    ))
}

/// The records of an entity.
struct Chain<'a> {
    shared: &'a Shared,
    tenant: &'a TenantId,
    key: &'a EntityKey,
    /// The last one, which is there even if the log does not hold it any more.
    head: &'a Stored,
}

impl Chain<'_> {
    async fn stored(&self, version: Position) -> Result<Option<Stored>, Refusal> {
        if version == self.head.position {
            return Ok(Some(self.head.clone()));
        }
        asker::record_at(self.shared, self.tenant, self.key, version).await
    }

    fn read<'s>(&self, stored: &'s Stored) -> Result<Version<'s>, Refusal> {
        Version::read(self.tenant, self.key, &stored.body)
            .map_err(|error| asker::damaged(self.tenant, stored.position, &error))
    }
}
