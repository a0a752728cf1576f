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
    backbone::{AppendError, record_at},
    model::{EntityKey, Epoch, Position, TenantId, erasure::Floor},
};

/// Tells the log what of a tenant counts as trimmed.
pub fn tell(context: &NodeContext, key: &EntityKey) {
    if let Ok(tenant) = key.id.parse::<TenantId>()
        && let (_, TenantRecord { trimmed: Some(Floor { epoch, position }), .. }) = context.tenants.record(&tenant)
    {
        context.backbone.set_trimmed(&tenant, (epoch, Position(position)));
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
                tracing::warn!(%tenant, error, "what is too old of a tenant cannot be trimmed now");
            }
        }
    }
}

async fn sweep(
    context: &NodeContext,
    tenant: &TenantId,
    said: &mut HashMap<TenantId, (Epoch, Position)>,
) -> Result<(), String> {
    let words = |error: &dyn std::fmt::Display| error.to_string();
    let (backbone, epoch) = (&context.backbone, context.backbone.epoch(tenant));
    let (version, record) = context.tenants.record(tenant);
    let Some(age) = record.retention_age else { return Ok(()) };
    if let Some((_, to)) = said.remove(tenant).filter(|(of, _)| *of == epoch) {
        while backbone.trim_tenant(tenant, to).await.map_err(|error| words(&error))? {}
    }
    let known =
        record.trimmed.filter(|floor| floor.epoch == epoch).map_or(Position::START, |floor| Position(floor.position));
    let age = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
    let limit = context.now().earlier_by(age);
    // Where to look; what is found there has to be the tenant's own and so old, whoever answered.
    let about = backbone.position_at(tenant, limit).await.map_err(|error| words(&error))?;
    let last = backbone.last_at(tenant, about).await.map_err(|error| words(&error))?;
    let record_there = record_at(backbone.as_ref(), tenant, last).await.map_err(|error| words(&error))?;
    let to = if record_there.is_some_and(|stored| stored.stored_at < limit) { last } else { known };
    if to > known {
        let record = TenantRecord { trimmed: Some(Floor { epoch, position: to.0 }), ..record };
        let body = serde_json::to_vec(&record).map_err(|error| words(&error))?;
        match authority::keep(context, place_of(tenant), version, body).await {
            // Another node was first, or an administrator changed something.
            Ok(()) | Err(AppendError::Conflict { .. }) => {}
            Err(error) => return Err(words(&error)),
        }
    }
    // What stands there now, everybody knows when the next sweep comes.
    if let (_, TenantRecord { trimmed: Some(floor), .. }) = context.tenants.record(tenant) {
        said.insert(tenant.clone(), (floor.epoch, Position(floor.position)));
    }
    Ok(())
}
