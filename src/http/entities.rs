//! One entity: read, made, changed, deleted.

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::HeaderName,
    web::{Data, Payload},
};

use super::{
    asker::{self, Asker},
    events::read_body,
    operations::check_size,
    parameters::Parameters,
    problem,
    server::Shared,
    settled::{self, Settled, etag},
};
use crate::{
    model::{
        EntityKey, Position,
        entity::{Entity, Precondition},
    },
    wire::{
        Code, Need, Refusal,
        operation::{Identity, Sender, Unit},
        outgoing::place,
        request::{self, Request, What},
        shown,
    },
};

/// `GET /v1/tenants/{tenant}/entities/{type}/{id}`
pub(super) async fn get(shared: Data<Shared>, request: HttpRequest) -> HttpResponse {
    look(&shared, &request).await.unwrap_or_else(|refusal| problem::respond(&refusal))
}

async fn look(shared: &Shared, request: &HttpRequest) -> Result<HttpResponse, Refusal> {
    let (asker, key) = (Asker::enter(shared, request).await?, asker::address(request)?);
    let parameters = Parameters::read(request.query_string());
    let version = parameters.number("version", 1, u64::MAX)?.map(Position);
    let (mut entity, _) = asker::head(shared, &key, &asker).await?;
    if let Some(version) = version.filter(|version| *version != entity.version) {
        entity = as_it_stood(shared, &key, version, &asker).await?;
    }
    if entity.state.deleted {
        let refusal = Refusal::new(Code::Deleted, "it was deleted; restore it or make it anew");
        return Ok(problem::respond_with(&refusal, &format!("\"version\":{}", entity.version)));
    }
    let tag = etag(entity.version);
    if header(request, "if-none-match")?.is_some_and(|tags| names(tags, &tag)) {
        return Ok(HttpResponse::NotModified().insert_header(("ETag", tag)).finish());
    }
    let cursor = place(shared.context.backbone.epoch(asker.tenant()), entity.version);
    let body = shown::entity(&key, &entity, &cursor);
    Ok(HttpResponse::Ok().content_type("application/json").insert_header(("ETag", tag)).body(body))
}

/// An entity at one of its versions. What was private then stays its owner's.
async fn as_it_stood(shared: &Shared, key: &EntityKey, version: Position, asker: &Asker) -> Result<Entity, Refusal> {
    let tenant = asker.tenant();
    let gone = || Refusal::new(Code::VersionGone, "the log does not hold this version of the entity");
    let stored = asker::record_at(shared, tenant, key, version).await?.ok_or_else(gone)?;
    let entity = asker::read(tenant, key, &stored)?;
    if asker.sees(key, &entity) { Ok(entity) } else { Err(gone()) }
}

/// Whether a list of validators has this one; weak ones count, as nothing is left out of what has the same version.
fn names(tags: &str, tag: &str) -> bool {
    tags.split(',').map(str::trim).any(|known| known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag)
}

fn header<'a>(request: &'a HttpRequest, name: &str) -> Result<Option<&'a str>, Refusal> {
    let Ok(known) = HeaderName::try_from(name) else { return Ok(None) };
    match request.headers().get(known).map(|value| value.to_str()) {
        None => Ok(None),
        Some(Ok(text)) => Ok(Some(text.trim())),
        Some(Err(_)) => Err(wrong(format!("the header {name} is not ASCII"))),
    }
}

fn wrong(message: impl Into<std::borrow::Cow<'static, str>>) -> Refusal {
    Refusal::new(Code::InvalidParameter, message)
}

/// `PUT` on an entity: the whole content.
pub(super) async fn put(shared: Data<Shared>, request: HttpRequest, payload: Payload) -> HttpResponse {
    let media = match media_type(&request) {
        Ok(media) => media,
        Err(refusal) => return problem::respond(&refusal),
    };
    match media.as_deref() {
        None | Some("application/json") => change(&shared, &request, payload, |text| What::Replace(text)).await,
        Some(_) => unsupported("a content is application/json"),
    }
}

/// `PATCH` on an entity.
pub(super) async fn patch(shared: Data<Shared>, request: HttpRequest, payload: Payload) -> HttpResponse {
    let media = match media_type(&request) {
        Ok(media) => media,
        Err(refusal) => return problem::respond(&refusal),
    };
    match media.as_deref() {
        Some("application/merge-patch+json" | "application/json") => {
            change(&shared, &request, payload, |text| What::Merge(text)).await
        }
        Some("application/json-patch+json") => change(&shared, &request, payload, |text| What::Patch(text)).await,
        _ => unsupported("a patch is application/merge-patch+json or application/json-patch+json"),
    }
}

/// `DELETE` on an entity.
pub(super) async fn delete(shared: Data<Shared>, request: HttpRequest, payload: Payload) -> HttpResponse {
    change(&shared, &request, payload, |_| What::Delete).await
}

/// `POST …/conflicts/{conflict_id}`: settles it.
pub(super) async fn settle(shared: Data<Shared>, request: HttpRequest, payload: Payload) -> HttpResponse {
    match asker::conflict(&request) {
        Ok(id) => change(&shared, &request, payload, |text| What::Settle(id, text)).await,
        Err(refusal) => problem::respond(&refusal),
    }
}

fn unsupported(message: &'static str) -> HttpResponse {
    let mut response = problem::respond(&Refusal::new(Code::UnsupportedMediaType, message));
    let accepted = "application/merge-patch+json, application/json-patch+json, application/json";
    let value = actix_web::http::header::HeaderValue::from_static(accepted);
    response.headers_mut().insert(HeaderName::from_static("accept-patch"), value);
    response
}

/// The type of a request's content, without its parameters.
fn media_type(request: &HttpRequest) -> Result<Option<String>, Refusal> {
    let media = header(request, "content-type")?.and_then(|text| text.split(';').next());
    Ok(media.map(|text| text.trim().to_ascii_lowercase()).filter(|text| !text.is_empty()))
}

async fn change(
    shared: &Shared,
    request: &HttpRequest,
    payload: Payload,
    what: impl for<'a> FnOnce(&'a str) -> What<'a>,
) -> HttpResponse {
    let _counted = shared.context.requests.hold();
    match try_change(shared, request, payload, what).await {
        Ok(settled) => settled.respond(),
        Err(refusal) => problem::respond(&refusal),
    }
}

async fn try_change(
    shared: &Shared,
    request: &HttpRequest,
    payload: Payload,
    what: impl for<'a> FnOnce(&'a str) -> What<'a>,
) -> Result<Settled, Refusal> {
    let (asker, key) = (Asker::enter(shared, request).await?, asker::address(request)?);
    asker.is_granted(Need::Change(&key))?;
    let (tenant, parameters) = (asker.tenant(), Parameters::read(request.query_string()));
    let body = read_body(shared, payload).await?;
    let text = std::str::from_utf8(&body).map_err(|_| Refusal::new(Code::InvalidJson, "the body is not UTF-8"))?;
    check_size(shared, text)?;
    let id = header(request, "idempotency-key")?.filter(|key| !key.is_empty());
    let parts = id.map(|id| [tenant.as_str(), &key.kind, &key.id, request.method().as_str(), id, text]);
    let asked = Request {
        key: &key,
        id,
        replica: parameters.get("replica_id"),
        base: parameters.number("base_version", 0, u64::MAX)?,
        strategy: parameters.get("strategy"),
        only: precondition(request)?,
        what: what(text),
    };
    let author = asker.author(parts.as_ref().map(|parts| &parts[..]))?;
    let identity = Identity::of(asker.is_proven());
    let sender = Sender { tenant, author: &author, identity, change: asker.may_change(), now: shared.context.now() };
    let wanted = request::read(asked, sender, shared.context.config.limits.json_depth)?;
    asker.is_own(&key, &wanted.operation.stamp.by)?;
    // Before the rules are asked: whoever may send no more makes nobody ask.
    asker.takes_messages(shared, 1)?;
    asker.needs(shared, Need::Change(&key)).await?;
    match settled::operate(shared, tenant, vec![wanted], Unit::Operation).await?.pop() {
        // A deletion of what never was: done in the sense of an operation, but there is no such resource.
        Some(settled) if settled.is_of_nothing => Err(asker::nothing()),
        Some(settled) if matches!(asked.what, What::Delete) => Ok(settled.without_validator()),
        Some(settled) => Ok(settled),
        None => Err(Refusal::new(Code::Unknown, "perhaps done; repeat with the same id")),
    }
}

/// What a request demands of the entity as it stands.
fn precondition(request: &HttpRequest) -> Result<Precondition, Refusal> {
    match (header(request, "if-match")?, header(request, "if-none-match")?) {
        (None, None) => Ok(Precondition::Any),
        (Some("*"), None) => Ok(Precondition::Present),
        (None, Some("*")) => Ok(Precondition::Absent),
        (Some(tag), None) => {
            let version = tag
                .strip_prefix('"')
                .and_then(|rest| rest.strip_suffix('"'))
                .filter(|digits| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()));
            let version = version.and_then(|digits| digits.parse().ok()).map(Position);
            let version =
                version.ok_or_else(|| wrong("'If-Match' takes one version in quotes, as in an ETag, or *"))?;
            Ok(Precondition::At(version))
        }
        (None, Some(_)) => Err(wrong("'If-None-Match' takes only * where something is changed")),
        (Some(_), Some(_)) => Err(wrong("either 'If-Match' or 'If-None-Match', not both")),
    }
}
