//! What changes of entities ask of the log: their records, and how entities stand there.

use std::sync::Arc;

use uuid::Uuid;

use crate::{
    backbone::{Append, AppendError, BackboneError, Expect, SharedBackbone, Subject, record_at},
    model::{
        DedupeId, EntityKey, Position, TenantId, Timestamp,
        entity::{Content, Entity},
        lane::{Draft, Failure, Refused},
    },
    wire::entity::{self as record, EntityBody},
};

/// What an error of the log's means to operations.
pub(in crate::actors::room) fn refused(error: &AppendError) -> Refused {
    match error {
        AppendError::Conflict { .. } => Refused::Conflict,
        AppendError::Unknown(_) => Refused::Unknown,
        AppendError::Busy => Refused::Failed(Failure::Busy),
        AppendError::TooLarge { .. } | AppendError::Refused(_) => Refused::Failed(Failure::TooLarge),
        AppendError::Full(_) | AppendError::JournalFull(_) => Refused::Failed(Failure::Full),
        AppendError::Unavailable(_) | AppendError::Closed | AppendError::Erasing => {
            Refused::Failed(Failure::Unavailable)
        }
    }
}

/// A record to append, and what else is known of it.
pub(in crate::actors::room) fn append_of(
    tenant: &TenantId,
    key: &EntityKey,
    draft: &Draft,
    now: Timestamp,
) -> (Append, EntityBody) {
    let made = record::to_body(tenant, key, draft, now);
    let append = Append {
        tenant: tenant.clone(),
        subject: Subject::Entity(key.clone()),
        // A fresh one each time: what tells a repeat is in the entity, and a record that was refused must not be taken
        // for this one.
        dedupe: DedupeId(Uuid::new_v4()),
        expect: Expect::Version(draft.before.version),
        first_tried: None,
        body: made.body.clone(),
    };
    (append, made)
}

/// An entity as it stands in the log.
pub(in crate::actors::room) async fn read_head(
    backbone: &SharedBackbone,
    tenant: &TenantId,
    key: &EntityKey,
) -> Result<Arc<Entity>, Failure> {
    let stored = backbone.entity(tenant, key).await.map_err(|error| failure_of_read(&error))?;
    let Some(stored) = stored else { return Ok(Arc::new(Entity::none())) };
    match record::read(tenant, key, stored.position, &stored.body) {
        Ok(entity) => Ok(Arc::new(entity)),
        Err(error) => {
            tracing::error!(%tenant, position = %stored.position, %error, "an entity's last record is damaged");
            Err(Failure::Unavailable)
        }
    }
}

/// An entity's content at a version, if the log still holds it.
pub(in crate::actors::room) async fn read_content(
    backbone: &SharedBackbone,
    tenant: &TenantId,
    key: &EntityKey,
    version: Position,
) -> Result<Option<Content>, Failure> {
    let stored = record_at(backbone.as_ref(), tenant, version).await.map_err(|error| failure_of_read(&error))?;
    let entity = stored.and_then(|stored| record::read(tenant, key, version, &stored.body).ok());
    Ok(entity.map(|entity| entity.data))
}

fn failure_of_read(error: &BackboneError) -> Failure {
    tracing::warn!(%error, "an entity could not be read");
    Failure::Unavailable
}
