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
};
use crate::{
    backbone::{AppendError, Expect},
    model::Position,
};

/// Pause between two looks at a log that cannot be asked now.
const PAUSE: std::time::Duration = std::time::Duration::from_millis(100);

/// Times that one append is tried.
const TRIES: u32 = 16;

/// What has to be done with a conditional append.
enum Verdict {
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
            let verdict = judge(&shared, &job).await;
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

async fn judge(shared: &Shared, job: &Job) -> Result<Verdict, AskError> {
    let Expect::Version(version) = job.append.expect else { return Ok(Verdict::NotYet) };
    let (line, log) = (&shared.line, &job.shard.log);
    let next = Message::get(line, log, Which::Next(version.0 + 1, &job.subject)).await?;
    if let Some(next) = next {
        if next.dedupe() == Some(job.append.dedupe) {
            return Ok(Verdict::Stored(next.seq));
        }
        let head = Message::get(line, log, Which::Last(&job.subject)).await?;
        return Ok(Verdict::Lost(Position(head.map_or(next.seq, |head| head.seq))));
    }
    if let Some(head) = Message::get(line, log, Which::Last(&job.subject)).await? {
        let stands = Position(head.seq) == version;
        return Ok(if stands { Verdict::Try(head.seq) } else { Verdict::Lost(Position(head.seq)) });
    }
    forgotten(shared, job, version).await
}

/// LOG has nothing on the subject: STATE may know the version, if it has come so far that it would.
async fn forgotten(shared: &Shared, job: &Job, version: Position) -> Result<Verdict, AskError> {
    let (line, shard) = (&shared.line, &job.shard);
    let kept = Message::get(line, &shard.state, Which::Last(&job.subject)).await?;
    let current = kept.and_then(|kept| kept.source_position()).unwrap_or_default();
    if current > version {
        return Ok(Verdict::Lost(current));
    }
    let Some(log) = StreamInfo::get(line, &shard.log).await? else { return Ok(Verdict::NotYet) };
    let trimmed_to = log.trimmed_to();
    if trimmed_to > Position::START && !is_sourced(shared, job, trimmed_to).await? {
        return Ok(Verdict::NotYet);
    }
    Ok(if current == version { Verdict::Try(0) } else { Verdict::Lost(current) })
}

/// Whether STATE has everything that LOG has trimmed. Positions are compared; a lag of 0 alone is no proof, for it is
/// also said by a STATE that does not know yet.
async fn is_sourced(shared: &Shared, job: &Job, trimmed_to: Position) -> Result<bool, AskError> {
    let (line, shard) = (&shared.line, &job.shard);
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
