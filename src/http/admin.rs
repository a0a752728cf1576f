//! API keys and revocations: made, listed, called back.
//!
//! Owns: who may do that, and that a key is shown once. What is kept goes through `actors/authority.rs`, so an answer means that
//! it is in the log and that every node hears of it.

use std::time::Duration;

use actix_web::{
    HttpRequest, HttpResponse,
    web::{Bytes, Data, Path, Payload},
};
use serde::{Deserialize, Serialize};

use super::{asker, events::read_body, parameters, problem, server::Shared};
use crate::{
    actors::{authority, room::appends::refusal},
    auth::{
        Bearer, TokenError,
        claims::Holder,
        registry::{Kept, KeyRecord, Revocation, Revoked},
        secret,
    },
    backbone::AppendError,
    model::{EntityKey, Position, TenantId, Timestamp, rights::Admin},
    wire::{Code, Need, Refusal},
};

/// Greatest length of a key's label, in bytes.
const LABEL_BYTES: usize = 256;
/// How many times the keys that hold may be kept with the revoked ones, and revocations.
const KEPT: usize = 10;
/// Greatest length of what is called back, in bytes.
const NAME_BYTES: usize = 1024;

/// A key that is wanted.
#[derive(Debug, Deserialize)]
struct WantedKey {
    label: Option<String>,
    #[serde(default, with = "humantime_serde")]
    expires_in: Option<Duration>,
    /// The fields of a [`Holder`], which refuses what it does not know; here that cannot be said.
    #[serde(flatten)]
    holder: serde_json::Map<String, serde_json::Value>,
}

/// A key as it is shown.
#[derive(Debug, Serialize)]
struct ShownKey<'a> {
    id: &'a str,
    /// Only when it is made.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<&'a str>,
    #[serde(flatten)]
    holder: &'a Holder,
    created_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    revoked_at: Option<String>,
}

impl<'a> ShownKey<'a> {
    fn of(record: &'a KeyRecord, key: Option<&'a str>) -> Self {
        let time = |millis| Timestamp(millis).to_string();
        Self {
            id: &record.id,
            key,
            label: record.label.as_deref(),
            holder: &record.holder,
            created_at: time(record.created_at),
            expires_at: record.expires_at.map(time),
            revoked_at: record.revoked_at.map(time),
        }
    }
}

/// `POST /v1/admin/keys`
pub(super) async fn create(shared: Data<Shared>, request: HttpRequest, payload: Payload) -> HttpResponse {
    answer(try_create(&shared, &request, payload).await)
}

/// `GET /v1/admin/keys`
pub(super) async fn list(shared: Data<Shared>, request: HttpRequest) -> HttpResponse {
    answer(try_list(&shared, &request).await)
}

/// `DELETE /v1/admin/keys/{id}`
pub(super) async fn revoke_key(shared: Data<Shared>, request: HttpRequest, id: Path<String>) -> HttpResponse {
    answer(try_revoke_key(&shared, &request, &id).await)
}

/// `POST /v1/admin/revocations`
pub(super) async fn revoke(shared: Data<Shared>, request: HttpRequest, payload: Payload) -> HttpResponse {
    answer(try_revoke(&shared, &request, payload).await)
}

/// `POST /v1/tickets`
pub(super) async fn ticket(shared: Data<Shared>, request: HttpRequest) -> HttpResponse {
    answer(try_ticket(&shared, &request).await)
}

pub(super) fn answer(result: Result<HttpResponse, Refusal>) -> HttpResponse {
    result.unwrap_or_else(|refusal| problem::respond(&refusal))
}

async fn try_create(shared: &Shared, request: &HttpRequest, payload: Payload) -> Result<HttpResponse, Refusal> {
    let admin = asker::administrator(shared, request, Admin::Tenant).await?;
    let WantedKey { label, expires_in, holder } = json(&read_body(shared, payload).await?)?;
    let holder: Holder = serde_json::from_value(holder.into()).map_err(|error| malformed(&error))?;
    let identity = holder.clone().check(&admin.identity.rights).map_err(|error| wrong(&error))?;
    governs(&admin, &identity.tenant)?;
    is_open(shared, &identity.tenant)?;
    if holder.grant.is_some() && identity.rights.admin > admin.identity.rights.admin {
        Need::Admin(identity.rights.admin).check(&admin.identity.rights)?;
    }
    if label.as_ref().is_some_and(|label| label.len() > LABEL_BYTES || label.chars().any(char::is_control)) {
        let message = format!("'label' must have at most {LABEL_BYTES} bytes and no control characters");
        return Err(Refusal::new(Code::InvalidMessage, message));
    }
    let (minted, now) = (secret::mint(), shared.context.now());
    let (kept, most) = kept_and_most(shared, &identity.tenant);
    if kept.keys_that_hold >= most {
        let message = format!("this tenant has its {most} API keys (limits.keys_per_tenant); revoke one first");
        return Err(Refusal::new(Code::LimitReached, message));
    }
    if kept.keys >= most.saturating_mul(KEPT) {
        let message = "this tenant has had ten times its limits.keys_per_tenant API keys; raise the limit";
        return Err(Refusal::new(Code::LimitReached, message));
    }
    let lasts = expires_in.map(|time| i64::try_from(time.as_millis()).unwrap_or(i64::MAX));
    let record = KeyRecord {
        id: minted.id,
        label,
        hash: minted.hash,
        holder,
        created_at: now.0,
        expires_at: lasts.map(|millis| now.0.saturating_add(millis)),
        revoked_at: None,
    };
    keep(shared, KeyRecord::place(&record.id), Position::START, &record).await?;
    tracing::info!(key = record.id, tenant = %identity.tenant, "an API key was made");
    Ok(HttpResponse::Created().json(ShownKey::of(&record, Some(&minted.key))))
}

async fn try_list(shared: &Shared, request: &HttpRequest) -> Result<HttpResponse, Refusal> {
    let admin = asker::administrator(shared, request, Admin::Tenant).await?;
    let asked =
        parameters::Parameters::read(request.query_string()).get("tenant").map(parameters::tenant).transpose()?;
    let tenant = match (asked, admin.identity.rights.admin) {
        (Some(tenant), _) => Some(tenant),
        (None, Admin::System) => None,
        (None, _) => Some(admin.identity.tenant.clone()),
    };
    if let Some(tenant) = &tenant {
        governs(&admin, tenant)?;
    }
    let records = shared.context.authority.registry().keys(tenant.as_ref());
    let keys: Vec<_> = records.iter().map(|record| ShownKey::of(record, None)).collect();
    Ok(HttpResponse::Ok().json(serde_json::json!({ "keys": keys })))
}

async fn try_revoke_key(shared: &Shared, request: &HttpRequest, id: &str) -> Result<HttpResponse, Refusal> {
    let admin = asker::administrator(shared, request, Admin::Tenant).await?;
    let nothing = || Refusal::new(Code::NotFound, "there is no such API key");
    let (mut record, version) = shared.context.authority.registry().key(id).ok_or_else(nothing)?;
    let tenant: TenantId = record.holder.tenant.parse().map_err(|_| nothing())?;
    // Of another tenant's keys it is not even told that they are there.
    governs(&admin, &tenant).map_err(|_| nothing())?;
    if record.revoked_at.is_none() {
        record.revoked_at = Some(shared.context.now().0);
        keep(shared, KeyRecord::place(id), version, &record).await?;
        tracing::info!(key = id, %tenant, "an API key was revoked");
    }
    Ok(HttpResponse::Ok().json(ShownKey::of(&record, None)))
}

/// What is to be called back.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WantedRevocation {
    tenant: String,
    token_id: Option<String>,
    user: Option<String>,
    instance: Option<String>,
}

async fn try_revoke(shared: &Shared, request: &HttpRequest, payload: Payload) -> Result<HttpResponse, Refusal> {
    let admin = asker::administrator(shared, request, Admin::Tenant).await?;
    let wanted: WantedRevocation = json(&read_body(shared, payload).await?)?;
    let tenant: TenantId = parameters::tenant(&wanted.tenant)?;
    governs(&admin, &tenant)?;
    is_open(shared, &tenant)?;
    let what = match (wanted.token_id, wanted.user, wanted.instance) {
        (Some(id), None, None) => Revoked::Token(id),
        (None, Some(user), None) => Revoked::User(user),
        (None, None, Some(instance)) => Revoked::Instance(instance),
        _ => return Err(Refusal::new(Code::InvalidMessage, "name one of 'token_id', 'user' and 'instance'")),
    };
    let (Revoked::Token(name) | Revoked::User(name) | Revoked::Instance(name)) = &what;
    if name.is_empty() || name.len() > NAME_BYTES {
        let message = format!("what is revoked must have 1 to {NAME_BYTES} bytes");
        return Err(Refusal::new(Code::InvalidMessage, message));
    }
    let now = shared.context.now();
    let revocation = Revocation { tenant: wanted.tenant, what, at: now.0 };
    let (place, version) = shared.context.authority.registry().place_of(&revocation);
    let (kept, most) = kept_and_most(shared, &tenant);
    if version == Position::START && kept.revocations >= most.saturating_mul(KEPT) {
        let message = "this tenant has ten times its limits.keys_per_tenant revocations; raise the limit, or give its \
                       issuer a new key";
        return Err(Refusal::new(Code::LimitReached, message));
    }
    keep(shared, place, version, &revocation).await?;
    tracing::info!(%tenant, "tokens were revoked");
    Ok(HttpResponse::Created().json(serde_json::json!({ "revoked_at": now.to_string() })))
}

async fn try_ticket(shared: &Shared, request: &HttpRequest) -> Result<HttpResponse, Refusal> {
    let bearer = asker::bearer(shared, request).await?;
    let (ticket, record) = authority::issue(&shared.context, &bearer).await.map_err(refusal)?;
    let body = serde_json::json!({ "ticket": ticket, "expires_at": record.good_until().to_string() });
    Ok(HttpResponse::Created().json(body))
}

/// What is kept for a tenant, and how many API keys of it may hold.
fn kept_and_most(shared: &Shared, tenant: &TenantId) -> (Kept, usize) {
    let kept = shared.context.authority.registry().kept(tenant, shared.context.now());
    (kept, shared.context.tenants.limits(tenant).keys_per_tenant as usize)
}

/// Nothing is written down of a tenant that is being erased.
pub(super) fn is_open(shared: &Shared, tenant: &TenantId) -> Result<(), Refusal> {
    let is_closed = shared.context.backbone.tenancy(tenant).is_closed;
    if is_closed { Err(Refusal::new(Code::TenantErasing, "the tenant is being erased")) } else { Ok(()) }
}

/// Refuses whoever does not administer a tenant.
pub(super) fn governs(admin: &Bearer, tenant: &TenantId) -> Result<(), Refusal> {
    if admin.is_of(tenant) { Ok(()) } else { Need::Admin(Admin::System).check(&admin.identity.rights) }
}

pub(super) fn json<'a, T: Deserialize<'a>>(body: &'a Bytes) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|error| malformed(&error))
}

fn malformed(error: &serde_json::Error) -> Refusal {
    Refusal::new(Code::InvalidMessage, format!("the body is not what is wanted here: {error}"))
}

fn wrong(error: &TokenError) -> Refusal {
    Refusal::new(Code::InvalidMessage, error.to_string())
}

pub(super) async fn keep(
    shared: &Shared,
    place: EntityKey,
    version: Position,
    record: &impl Serialize,
) -> Result<(), Refusal> {
    let body = serde_json::to_vec(record).map_err(|error| malformed(&error))?;
    let kept = authority::keep(&shared.context, place, version, body).await;
    kept.map_err(|error| match error {
        AppendError::Conflict { .. } => {
            Refusal::new(Code::Busy, "somebody else has just changed it; look again").after(Duration::from_millis(100))
        }
        other => refusal(other),
    })
}
