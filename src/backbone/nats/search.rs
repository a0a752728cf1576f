//! Repeats from before the server's dedupe window: looked for in the log before they are appended.
//!
//! Owns: that such appends keep their order, and that a log is read once for many of them.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::mpsc;

use super::{Shared, publisher::Job};
use crate::{
    backbone::{Appended, BackboneError, Outcome},
    model::{DedupeId, Position, TenantId},
};

/// How long what was read stays good: whoever appends the same meanwhile is found by the server, whose window is longer.
const GOOD_FOR: Duration = Duration::from_secs(30);
/// Tenants whose ids are remembered.
const TENANTS: usize = 64;

#[derive(Debug)]
struct Known {
    /// All ids behind this...
    from: Position,
    /// ...and up to here are known...
    to: Position,
    /// ...as of this moment.
    at: Instant,
    ids: HashMap<DedupeId, Position>,
}

/// Looks for each append in turn, then lets it go on.
pub(super) async fn run(shared: Arc<Shared>, mut jobs: mpsc::Receiver<Job>) {
    let mut known: HashMap<TenantId, Known> = HashMap::new();
    while let Some(mut job) = jobs.recv().await {
        match find(&shared, &mut known, &job).await {
            Ok(Some(position)) => {
                job.reply.send(Ok(Appended { position, outcome: Outcome::Duplicate }));
            }
            Ok(None) => {
                job.began = Instant::now();
                if let Err(closed) = shared.jobs.send(job).await {
                    closed.0.give_up("the log is closed".into());
                }
            }
            Err(error) => job.give_up(error.to_string()),
        }
    }
}

async fn find(
    shared: &Shared,
    known: &mut HashMap<TenantId, Known>,
    job: &Job,
) -> Result<Option<Position>, BackboneError> {
    let from = job.append.first_tried.unwrap_or_default();
    let tenant = &job.append.tenant;
    let is_good = |known: &Known| known.from <= from && known.at.elapsed() < GOOD_FOR;
    if !known.get(tenant).is_some_and(is_good) {
        if known.len() >= TENANTS {
            known.retain(|_, known| known.at.elapsed() < GOOD_FOR);
        }
        let begun = Instant::now();
        // What was read before is read on, unless this one lies before it.
        let mut reading = match known.remove(tenant) {
            Some(before) if before.from <= from => before,
            _ => Known { from, to: from, at: begun, ids: HashMap::new() },
        };
        reading.to = shared.ids_after(tenant, reading.to, &mut reading.ids).await?;
        reading.at = begun;
        known.insert(tenant.clone(), reading);
    }
    Ok(known.get(tenant).and_then(|known| known.ids.get(&job.append.dedupe)).copied())
}
