//! Tenants whose records are kept for a shorter time than all: what is too old is trimmed, by whichever node comes first.
//!
//! Owns: that every node knows of a position that it counts as trimmed before anything up to there goes. So what is to be trimmed is
//! written into the registry first, and goes a sweep later. Must not know: how a log trims.

use std::{collections::HashMap, sync::Arc};

use actix_rt::time::sleep;

use super::{
    authority,
    context::NodeContext,
    tenants::{TenantRecord, place_of},
};
use crate::{
    backbone::{AppendError, BackboneError, record_at},
    model::{EntityKey, Position, TenantId, erasure::Floor},
};

/// Why a sweep ends early; the next one goes on.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error(transparent)]
    Log(#[from] BackboneError),
    #[error(transparent)]
    Write(#[from] AppendError),
    #[error(transparent)]
    Record(#[from] serde_json::Error),
}

/// Tells the log what of a tenant counts as trimmed.
pub fn tell(context: &NodeContext, key: &EntityKey) {
    if let Ok(tenant) = key.id.parse::<TenantId>()
        && let (_, TenantRecord { trimmed: Some(floor), .. }) = context.tenants.record(&tenant)
    {
        context.backbone.set_trimmed(&tenant, floor);
    }
}

/// Trims for as long as the node lives.
pub async fn keep(context: Arc<NodeContext>) {
    let mut said = HashMap::new();
    loop {
        // Nodes that started together do not look together.
        sleep(context.config.log.sweep_interval.mul_f64(0.8 + 0.4 * fastrand::f64())).await;
        let tenants = context.tenants.with_retention();
        said.retain(|tenant, _| tenants.contains(tenant));
        for tenant in tenants {
            if let Err(error) = sweep(&context, &tenant, &mut said).await {
                tracing::warn!(%tenant, %error, "what is too old of a tenant cannot be trimmed now");
            }
        }
    }
}

async fn sweep(context: &NodeContext, tenant: &TenantId, said: &mut HashMap<TenantId, Floor>) -> Result<(), Fault> {
    let (backbone, epoch) = (&context.backbone, context.backbone.epoch(tenant));
    let (version, record) = context.tenants.record(tenant);
    let Some(age) = record.retention_age else { return Ok(()) };
    if let Some(to) = said.remove(tenant).and_then(|floor| floor.in_log(epoch)) {
        while backbone.trim_tenant(tenant, to).await? {}
    }
    let known = record.trimmed.and_then(|floor| floor.in_log(epoch)).unwrap_or(Position::START);
    let limit = context.now().earlier_by(i64::try_from(age.as_millis()).unwrap_or(i64::MAX));
    // Where to look. Whoever answered may be behind: what is found there has to be so old itself.
    let about = backbone.position_at(tenant, limit).await?;
    let last = backbone.last_at(tenant, about).await?;
    if last > known
        && let Some(found) = record_at(backbone.as_ref(), tenant, last).await?
        && found.stored_at < limit
    {
        let record = TenantRecord { trimmed: Some(Floor::new(epoch, last)), ..record };
        match authority::keep(context, place_of(tenant), version, serde_json::to_vec(&record)?).await {
            // Another node was first, or an administrator changed something.
            Ok(()) | Err(AppendError::Conflict { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    // What stands there now, everybody knows when the next sweep comes.
    if let (_, TenantRecord { trimmed: Some(floor), .. }) = context.tenants.record(tenant) {
        said.insert(tenant.clone(), floor);
    }
    Ok(())
}
