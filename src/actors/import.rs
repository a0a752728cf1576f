//! A tenant that is imported: a file is checked to its end, then every line becomes a record of its own in the log.
//!
//! Owns: that nothing is written of a file that is not whole, that nothing is written beside what is not the file's, that the same
//! file makes the same records however often it comes, and how much of it is remembered at a time. What a line says is read by
//! `wire/export.rs`.

mod file;

use std::{collections::HashMap, fs::File, mem::take, sync::Arc, time::Duration};

use actix_rt::{task::spawn_blocking, time::sleep};
use serde::Serialize;
use tokio::sync::mpsc;
use uuid::Uuid;

use self::file::{Checked, Lines};
use super::{
    context::NodeContext,
    room::{appends::refusal, lanes::OPEN, read_record},
};
use crate::{
    backbone::{Answer, Append, AppendError, Appended, BackboneError, Outcome, ReadBudget, Reply, Stored, Subject},
    model::{DedupeId, EntityKey, EventId, Position, TenantId, entity::Limits},
    wire::{
        Code, Refusal,
        export::{Bounds, id_of},
    },
};

/// What one id costs that is remembered, with what goes by it, in bytes: at most 25, in a map of which less than half may be used and
/// which, when it grows, is there twice.
const REMEMBERED: usize = 96;
/// Records that are under way at a time.
const WINDOW: usize = 64;
/// Bytes that are under way at a time, beside one line.
const WINDOW_BYTES: usize = 4 << 20;
/// What is read of the log in one go.
const BUDGET: ReadBudget = ReadBudget { records: 1_000, bytes: 4 << 20 };
/// Times that a record is tried which the log could not take at once.
const TRIES: u32 = 50;
/// Pause between two of them.
const PAUSE: Duration = Duration::from_millis(100);

/// What came of an import.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Imported {
    /// Whose.
    pub tenant: String,
    /// The file's own digest.
    pub sha256: String,
    /// Events that are in the log now.
    pub events: u64,
    /// Entities that are in the log now, tombstones too.
    pub entities: u64,
    /// Those of both that an earlier import of the same file had brought.
    pub already_there: u64,
}

/// Imports a tenant from a file. `may_go_on` is asked before each time that a part is written.
///
/// # Errors
///
/// The file is not whole or not this tenant's, or the tenant holds something else: nothing was written. Or the log took no more: then
/// a part was, and the same import goes on from there.
pub async fn run(
    context: &Arc<NodeContext>,
    tenant: &TenantId,
    file: File,
    may_go_on: impl Fn() -> Result<(), Refusal>,
) -> Result<Imported, Refusal> {
    let limits = &context.config.limits;
    let bounds = Bounds {
        depth: limits.json_depth,
        limits: Limits { data_bytes: limits.max_message_bytes, open: OPEN },
        now: context.now(),
    };
    // Half for the entities that are remembered all along, half for the events.
    let most = (limits.import_memory_bytes / 2 / REMEMBERED).max(1);
    let lines = Lines::new(file, tenant.clone(), bounds);
    let (lines, checked) = off_thread(move || lines.check(most)).await?;
    let mut lines = compare(context, lines, &checked, (tenant, most)).await?;
    tracing::info!(%tenant, "a tenant is imported");
    let mut imported =
        Imported { tenant: tenant.to_string(), sha256: checked.end.sha256.clone(), ..Imported::default() };
    let checked = Arc::new(checked);
    lines.rewind()?;
    loop {
        let about = checked.clone();
        let (rest, part) = off_thread(move || lines.take(&about, (WINDOW, WINDOW_BYTES))).await?;
        lines = rest;
        imported.events += part.already_there;
        imported.already_there += part.already_there;
        if part.is_last && part.appends.is_empty() {
            return Ok(imported);
        }
        append_all(context, &checked, part.appends, &mut imported, &may_go_on).await?;
    }
}

/// Finds in the file what the tenant's log holds of it already. The log may hold more than there is memory for: the file is read
/// once for each `most` of its events.
///
/// # Errors
///
/// It holds something else.
async fn compare(
    context: &NodeContext,
    mut lines: Lines,
    checked: &Checked,
    (tenant, most): (&TenantId, usize),
) -> Result<Lines, Refusal> {
    let backbone = &context.backbone;
    let mut from = None;
    loop {
        let page = backbone.entities(tenant, from, BUDGET).await.map_err(|error| unread(&error))?;
        if !page.entities.iter().all(|(key, stored)| is_of(tenant, checked, key, stored)) {
            return Err(not_empty());
        }
        from = page.next;
        if from.is_none() {
            break;
        }
    }
    let (mut after, mut count, mut events) = (Position::START, 0, HashMap::new());
    loop {
        let page = backbone.read(tenant, after, BUDGET).await.map_err(|error| unread(&error))?;
        for stored in &page.records {
            after = stored.position;
            let record = read_record(tenant, Position::START, stored).map_err(|_| not_empty())?;
            match (&stored.subject, record.meta.sender) {
                (Subject::Entity(key), _) if is_of(tenant, checked, key, stored) => {}
                (Subject::Event(_), Some(sender)) if count < checked.end.events => {
                    count += 1;
                    events.insert(DedupeId::of(tenant, &sender, record.meta.id), false);
                }
                _ => return Err(not_empty()),
            }
            if events.len() >= most {
                lines = find(lines, take(&mut events), tenant).await?;
            }
        }
        if !page.more {
            return if events.is_empty() { Ok(lines) } else { find(lines, events, tenant).await };
        }
    }
}

async fn find(lines: Lines, events: HashMap<DedupeId, bool>, tenant: &TenantId) -> Result<Lines, Refusal> {
    tracing::debug!(%tenant, events = events.len(), "what the log holds is looked for in the file");
    off_thread(move || lines.find(events)).await
}

/// Whether an entity's record is the one that the file makes.
fn is_of(tenant: &TenantId, checked: &Checked, key: &EntityKey, stored: &Stored) -> bool {
    let record = read_record(tenant, Position::START, stored);
    record.is_ok_and(|record| record.meta.id == EventId(id_of(key, &checked.end.sha256).0))
}

/// Appends records in their order, each once.
async fn append_all(
    context: &NodeContext,
    checked: &Checked,
    mut appends: Vec<Append>,
    imported: &mut Imported,
    may_go_on: impl Fn() -> Result<(), Refusal>,
) -> Result<(), Refusal> {
    let mut tries = 0;
    while !appends.is_empty() {
        may_go_on()?;
        tries += 1;
        let began = context.backbone.known_end(&appends[0].tenant);
        let mut again = Vec::new();
        for (append, result) in answers(context, &appends).await {
            match result {
                Ok(Appended { outcome, .. }) => count(&append, outcome, imported),
                Err(AppendError::Conflict { .. }) => {
                    let Subject::Entity(key) = &append.subject else { return Err(not_empty()) };
                    let stands = context.backbone.entity(&append.tenant, key).await.map_err(|error| unread(&error))?;
                    if !stands.is_some_and(|stored| is_of(&append.tenant, checked, key, &stored)) {
                        return Err(not_empty());
                    }
                    count(&append, Outcome::Duplicate, imported);
                }
                Err(AppendError::Busy | AppendError::Unknown(_)) if tries < TRIES => {
                    let first_tried = match append.subject {
                        Subject::Event(_) => append.first_tried.or(Some(began)),
                        Subject::Entity(_) => None,
                    };
                    again.push(Append { first_tried, ..append });
                }
                Err(error) => return Err(broken_off(refusal(error))),
            }
        }
        appends = again;
        if !appends.is_empty() {
            sleep(PAUSE).await;
        }
    }
    Ok(())
}

async fn answers(context: &NodeContext, appends: &[Append]) -> Vec<(Append, Result<Appended, AppendError>)> {
    let (to, mut from) = mpsc::channel(appends.len());
    for (token, append) in (0..).zip(appends) {
        context.backbone.append(append.clone(), Reply { token, to: to.clone(), keeper: None });
    }
    drop(to);
    let mut said = HashMap::new();
    while let Some((token, result)) = from.recv().await {
        said.insert(token, result);
    }
    let of = |token| match said.remove(&token) {
        Some(Ok(Answer::Appended(appended))) => Ok(appended),
        Some(Ok(Answer::Queued)) => Err(AppendError::Unavailable("it waits in the journal".into())),
        Some(Err(error)) => Err(error),
        None => Err(AppendError::Unknown("the log went away before it answered".into())),
    };
    let results: Vec<_> = (0..appends.len() as u64).map(of).collect();
    appends.iter().cloned().zip(results).collect()
}

fn count(append: &Append, outcome: Outcome, imported: &mut Imported) {
    match append.subject {
        Subject::Event(_) => imported.events += 1,
        Subject::Entity(_) => imported.entities += 1,
    }
    if outcome == Outcome::Duplicate {
        imported.already_there += 1;
    }
}

async fn off_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    spawn_blocking(work).await.map_err(|error| unkept(&error))?
}

fn not_empty() -> Refusal {
    let message = "the tenant holds what is not of this file; import into an empty tenant, or erase it first";
    Refusal::new(Code::TenantNotEmpty, message)
}

/// A part is written: whoever repeats it with the same file gets the rest.
fn broken_off(mut refusal: Refusal) -> Refusal {
    refusal.message = format!("{}; a part was imported, repeat with the same file to go on", refusal.message).into();
    refusal
}

fn unread(error: &BackboneError) -> Refusal {
    with_cause(Code::Unavailable, "the log cannot be read now; repeat with the same file", error)
        .after(Duration::from_secs(1))
}

/// The file cannot be kept or read: the cause goes to the node's own log under an id.
pub fn unkept(error: &dyn std::fmt::Display) -> Refusal {
    with_cause(Code::Unavailable, "the file cannot be kept on the node's disk now; try again", error)
        .after(Duration::from_secs(5))
}

fn with_cause(code: Code, message: &'static str, cause: &dyn std::fmt::Display) -> Refusal {
    let error_id = Uuid::new_v4();
    tracing::error!(%error_id, %cause, "an import failed");
    let mut refusal = Refusal::new(code, message);
    refusal.error_id = Some(error_id);
    refusal
}
