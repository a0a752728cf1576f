//! What became of an append whose condition was refused or whose answer is missing, and conditions that LOG alone cannot
//! hold: those on entities that it has forgotten.
//!
//! Owns: invariant **no guess**, for conditions. Of all appends that expect one version exactly one can follow it, so the
//! first record behind that version, asked from the stream's leader, tells what became of each.

use std::{sync::Arc, time::Instant};

use tokio::time::sleep;

use super::{
    Shared,
    api::{Message, StreamInfo, Which},
    line::AskError,
    names,
    publisher::{Job, PATIENCE},
    shard::{Shard, Trimmed},
};
use crate::{
    backbone::{Append, AppendError, Expect},
    model::{DedupeId, Position, TenantId},
};

/// Pause between two looks at a log that cannot be asked now.
const PAUSE: std::time::Duration = std::time::Duration::from_millis(100);

/// Times that one append is tried.
const TRIES: u32 = 16;

/// A conditional append, as far as it takes to find out what became of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Condition<'a> {
    pub(super) tenant: &'a TenantId,
    pub(super) shard: &'a Shard,
    pub(super) subject: &'a str,
    /// The version that it expects.
    pub(super) version: Position,
    pub(super) dedupe: DedupeId,
}

/// What has to be done with a conditional append.
#[derive(Clone, Copy, Debug)]
pub(super) enum Verdict {
    /// It is in the log.
    Stored(u64),
    /// Another record follows the expected version, or it was never there.
    Lost(Position),
    /// It may be tried (again) with this condition.
    Try(u64),
    /// STATE has not come so far that it could be believed.
    NotYet,
}

/// Finds out in the background how a conditional append ended, and answers or tries it again.
pub(super) fn settle(shared: Arc<Shared>, mut job: Job) {
    let runtime = shared.runtime.clone();
    let settling = async move {
        // What is looked for may have been waiting since before; from here on it has its own patience.
        let deadline = Instant::now() + PATIENCE;
        loop {
            let Expect::Version(version) = job.append.expect else {
                return job.give_up("only what has a condition can be settled".into());
            };
            let Append { tenant, dedupe, .. } = &job.append;
            let condition = Condition { tenant, shard: &job.shard, subject: &job.subject, version, dedupe: *dedupe };
            let verdict = match (job.tries, job.append.first_tried) {
                (0, None) if version == Position::START => first(&shared, condition).await,
                _ => judge(&shared, condition).await,
            };
            match verdict {
                Ok(Verdict::Stored(seq)) => return job.appended(seq, true),
                Ok(Verdict::Lost(current)) => return job.reply.send(Err(AppendError::Conflict { current })),
                Ok(Verdict::Try(expected)) if Instant::now() < deadline && job.tries < TRIES => {
                    job.expected = Some(expected);
                    job.began = Instant::now();
                    if let Err(refused) = shared.jobs.try_send(job) {
                        job = refused.into_inner();
                    } else {
                        return;
                    }
                }
                Ok(_) | Err(_) if Instant::now() < deadline => {}
                Ok(_) => return job.give_up("the entity's version cannot be told now".into()),
                Err(error) => return job.give_up(error.to_string()),
            }
            sleep(PAUSE).await;
        }
    };
    runtime.spawn(settling);
}

/// Whether an append that was not tried yet, on condition that there is nothing, can be: only what LOG has forgotten has to be
/// asked for. What it holds, the condition itself finds out.
async fn first(shared: &Shared, wanted: Condition<'_>) -> Result<Verdict, AskError> {
    match forgotten(shared, wanted).await? {
        // Which record stands there now, LOG may know better.
        Verdict::Lost(_) => judge(shared, wanted).await,
        verdict => Ok(verdict),
    }
}

/// Asks the stream's leader what became of a conditional append, or whether its condition can be tried.
pub(super) async fn judge(shared: &Shared, wanted: Condition<'_>) -> Result<Verdict, AskError> {
    let (line, log, version, subject) = (&shared.line, &wanted.shard.log, wanted.version, wanted.subject);
    let next = Message::get(line, log, Which::Next(version.0 + 1, subject)).await?;
    if let Some(next) = next {
        if next.dedupe() == Some(wanted.dedupe) {
            return Ok(Verdict::Stored(next.seq));
        }
        let head = Message::get(line, log, Which::Last(subject)).await?;
        return Ok(Verdict::Lost(Position(head.map_or(next.seq, |head| head.seq))));
    }
    if version > Position::START
        && let Some(head) = Message::get(line, log, Which::Last(subject)).await?
    {
        let stands = Position(head.seq) == version;
        return Ok(if stands { Verdict::Try(head.seq) } else { Verdict::Lost(Position(head.seq)) });
    }
    forgotten(shared, wanted).await
}

/// LOG has nothing on the subject: STATE may know the version, if it has come so far that it would.
async fn forgotten(shared: &Shared, wanted: Condition<'_>) -> Result<Verdict, AskError> {
    let (line, Condition { shard, version, .. }) = (&shared.line, wanted);
    let Some(trimmed_to) = trimmed_to(shared, shard).await? else { return Ok(Verdict::NotYet) };
    let trimmed_to = trimmed_to.max(shared.tenancies.floor(wanted.tenant, shard.epoch()));
    let mut current = Position::START;
    if trimmed_to > Position::START {
        // In this order: what STATE says before it is known to have everything might be old.
        if !is_sourced(shared, shard, trimmed_to).await? {
            return Ok(Verdict::NotYet);
        }
        let kept = Message::get(line, &shard.state, Which::Last(wanted.subject)).await?;
        current = kept.and_then(|kept| kept.source_position()).unwrap_or_default();
    }
    Ok(if current == version { Verdict::Try(0) } else { Verdict::Lost(current) })
}

/// How far the log is trimmed, asked after now; of many who want to know at once one asks. `None`: it is not there.
async fn trimmed_to(shared: &Shared, shard: &Shard) -> Result<Option<Position>, AskError> {
    let now = Instant::now();
    let mut known = shard.trimmed.lock().await;
    let to = match known.take().filter(|known| known.asked >= now) {
        Some(known) => known,
        None => {
            let asked = Instant::now();
            let info = StreamInfo::get(&shared.line, &shard.log).await;
            let to = info.map(|info| info.map(|info| info.trimmed_to())).map_err(|error| error.to_string());
            Trimmed { asked, to }
        }
    };
    known.insert(to).to.clone().map_err(AskError::Away)
}

/// Whether STATE has everything that LOG has trimmed. Positions are compared; a lag of 0 alone is no proof, for it is
/// also said by a STATE that does not know yet.
async fn is_sourced(shared: &Shared, shard: &Shard, trimmed_to: Position) -> Result<bool, AskError> {
    let line = &shared.line;
    let Some(state) = StreamInfo::get(line, &shard.state).await? else { return Ok(false) };
    let sourced = state.sourced_to(line, &shard.state).await?;
    if sourced >= trimmed_to {
        return Ok(true);
    }
    // No entity among the last that were trimmed. The first one that LOG still holds decides.
    let entities = names::entities_under(&shard.prefix);
    if let Some(next) = Message::get(line, &shard.log, Which::Next(trimmed_to.0 + 1, &entities)).await? {
        return Ok(sourced.0 >= next.seq);
    }
    let follows = |source: &super::api::SourceInfo| source.name == shard.log && source.lag == 0;
    let caught_up = state.sources.iter().flatten().any(follows);
    Ok(caught_up && shared.has_stood_for_long())
}
