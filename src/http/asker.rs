//! Who asks, and for which entity: the parts that requests about entities have in common.

use std::sync::Arc;

use actix_web::HttpRequest;
use percent_encoding::percent_decode_str;
use uuid::Uuid;

use super::{
    parameters::{self, Parameters},
    problem,
    server::Shared,
};
use crate::{
    backbone::{self, Stored, Subject},
    model::{
        EntityKey, InstanceId, Position, TenantId,
        entity::{Author, Entity, Owner},
    },
    wire::{Code, Refusal, entity as record},
};

/// Who a request of `auth.mode = none` says it is. Who says nothing is nobody, and owns nothing.
#[derive(Clone, Debug)]
pub(super) struct Asker {
    instance: Option<InstanceId>,
    user: Option<Arc<str>>,
    name: Option<Arc<str>>,
    viewer: Option<Owner>,
}

impl Asker {
    pub(super) fn read(parameters: &Parameters<'_>) -> Result<Self, Refusal> {
        let instance = match parameters.get("instance_id") {
            None => None,
            Some(text) => Some(text.parse().map_err(|error| Refusal::of_name(Code::InvalidInstance, &error))?),
        };
        let named = |name: &str| parameters::named(parameters, name);
        Ok(Self { instance, user: named("user_id")?, name: named("user_name")?, viewer: parameters.viewer()? })
    }

    /// Whose private things it may see.
    pub(super) fn viewer(&self) -> Option<&Owner> {
        self.viewer.as_ref()
    }

    /// Whether it may know of an entity.
    pub(super) fn sees(&self, entity: &Entity) -> bool {
        !entity.is_hidden_from(self.viewer())
    }

    /// Who writes. Whoever names no instance is one of its own, that of this request: its writes are nobody else's, so they
    /// clash like anybody's. `request` holds all that makes it the same request when it is repeated.
    pub(super) fn author(&self, request: Option<&[&str]>) -> Author {
        const NAMESPACE: Uuid = Uuid::from_u128(0x6d3c_54f0_9b1e_4f6a_8a57_0e9d_c2b1_73aa);
        let instance = self.instance.clone().unwrap_or_else(|| {
            let id = request.map_or_else(Uuid::new_v4, |parts| {
                // With their lengths, so that no two requests read alike.
                let user = self.user.as_deref().unwrap_or_default();
                let parts = parts.iter().chain([&user]);
                let text: String = parts.map(|part| format!("{}:{part}:", part.len())).collect();
                Uuid::new_v5(&NAMESPACE, text.as_bytes())
            });
            id.to_string().parse().expect("a UUID is an instance's name")
        });
        Author { instance, user: self.user.clone(), name: self.name.clone() }
    }
}

/// The part of a path between two slashes, decoded. What a router hands out has lost what is not UTF-8; here that is
/// refused, as two names must not become one.
fn part(request: &HttpRequest, index: usize, code: Code) -> Result<String, Refusal> {
    let raw = request.uri().path().split('/').nth(index).unwrap_or_default();
    let text = percent_decode_str(raw).decode_utf8();
    text.map(String::from).map_err(|_| Refusal::new(code, "a part of the path is not UTF-8, percent-encoded"))
}

/// The tenant in `/v1/tenants/{tenant}/…`.
pub(super) fn tenant(request: &HttpRequest) -> Result<TenantId, Refusal> {
    parameters::tenant(&part(request, 3, Code::InvalidTenant)?)
}

/// The entity in `/v1/tenants/{tenant}/entities/{type}/{id}…`.
pub(super) fn address(request: &HttpRequest) -> Result<(TenantId, EntityKey), Refusal> {
    let tenant = tenant(request)?;
    let (kind, id) = (part(request, 5, Code::InvalidEntity)?, part(request, 6, Code::InvalidEntity)?);
    let key = EntityKey::new(&kind, &id).map_err(|error| Refusal::of_name(Code::InvalidEntity, &error))?;
    Ok((tenant, key))
}

/// The conflict in `…/conflicts/{conflict_id}`.
pub(super) fn conflict(request: &HttpRequest) -> Result<Uuid, Refusal> {
    let text = part(request, 8, Code::InvalidParameter)?;
    Uuid::try_parse(&text).map_err(|_| Refusal::new(Code::InvalidParameter, "a conflict's id is a UUID"))
}

/// What is said of what is not there, and of what the asker may not know of.
pub(super) fn nothing() -> Refusal {
    Refusal::new(Code::NotFound, "there is no such entity")
}

/// An entity as it stands now, with its last record, if the asker may know of it; perhaps a tombstone.
pub(super) async fn head(
    shared: &Shared,
    tenant: &TenantId,
    key: &EntityKey,
    asker: &Asker,
) -> Result<(Entity, Stored), Refusal> {
    let stored = shared.context.backbone.entity(tenant, key).await.map_err(|error| problem::log_unavailable(&error))?;
    let stored = stored.ok_or_else(nothing)?;
    let entity = read(tenant, key, &stored)?;
    if asker.sees(&entity) { Ok((entity, stored)) } else { Err(nothing()) }
}

/// What an entity's record holds.
pub(super) fn read(tenant: &TenantId, key: &EntityKey, stored: &Stored) -> Result<Entity, Refusal> {
    record::read(tenant, key, stored.position, &stored.body).map_err(|error| damaged(tenant, stored.position, &error))
}

/// A record that cannot be read: the cause goes to the node's own log under an id.
pub(super) fn damaged(tenant: &TenantId, position: Position, error: &dyn std::fmt::Display) -> Refusal {
    let error_id = Uuid::new_v4();
    tracing::error!(%error_id, %tenant, %position, %error, "an entity's record is damaged");
    let mut refusal = Refusal::new(Code::Internal, "the entity's record cannot be read");
    refusal.error_id = Some(error_id);
    refusal
}

/// An entity's record at a version, if the log still holds it.
pub(super) async fn record_at(
    shared: &Shared,
    tenant: &TenantId,
    key: &EntityKey,
    version: Position,
) -> Result<Option<Stored>, Refusal> {
    let found = backbone::record_at(shared.context.backbone.as_ref(), tenant, version).await;
    let found = found.map_err(|error| problem::log_unavailable(&error))?;
    Ok(found.filter(|stored| matches!(&stored.subject, Subject::Entity(found) if found == key)))
}
