//! What became of operations, as HTTP has it: a status, and a body that says the rest.
//!
//! What was done is answered with the content that sockets give it; everything else is a problem document with that content
//! in it. An item of a list is the body that it would have had alone.

use actix_web::{HttpResponse, http::StatusCode};
use tokio::sync::oneshot;

use super::{problem, server::Shared};
use crate::{
    actors::messages::{Enter, OperateFor},
    model::{
        Position, TenantId,
        entity::{Fate, Outcome, Remembered, Rollback, Seen},
        lane::{Company, Said},
    },
    wire::{
        Code, Refusal,
        answer::{Told, rollback_code},
        operation::{Unit, Wanted},
    },
};

/// Nothing is wrong with this one; another one could not be done.
pub(super) const FAILED_DEPENDENCY: u16 = 424;

/// An answer to be.
#[derive(Debug)]
pub(super) struct Settled {
    pub status: u16,
    /// One JSON object.
    pub body: String,
    /// What stands now, if its sender knows that.
    version: Option<Position>,
    /// Whether it deletes what never was.
    pub is_of_nothing: bool,
    retry_after: Option<u64>,
}

impl Settled {
    pub(super) fn of(told: &Told) -> Self {
        let words = match told.words() {
            Ok(words) => words,
            Err(refusal) => return Self::refused(&refusal),
        };
        let outcome = words.kind.rsplit('.').next().unwrap_or_default();
        let content = &words.data[1..];
        let (status, body) = match not_done(told) {
            None => {
                let status = if is_new(told) { 201 } else { 200 };
                (status, format!("{{\"status\":{status},\"outcome\":\"{outcome}\",{content}"))
            }
            Some(NotDone { status, code, detail, names_code }) => {
                let problem = problem::head(status, code, &detail);
                let code = if names_code { String::new() } else { format!("\"code\":\"{code}\",") };
                (status, format!("{{{problem},{code}\"outcome\":\"{outcome}\",{content}"))
            }
        };
        let retry_after = matches!(told.said, Said::Retry).then_some(1);
        let is_of_nothing = is_of_nothing(told);
        Self { status, body, version: known_version(told), is_of_nothing, retry_after }
    }

    pub(super) fn refused(refusal: &Refusal) -> Self {
        Self {
            status: refusal.code.status(),
            body: String::from_utf8(problem::document(refusal)).unwrap_or_default(),
            version: None,
            is_of_nothing: false,
            retry_after: problem::retry_after_seconds(refusal),
        }
    }

    /// For what is not there afterwards: nothing stands that could be validated.
    pub(super) fn without_validator(self) -> Self {
        Self { version: None, ..self }
    }

    pub(super) fn respond(self) -> HttpResponse {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = HttpResponse::build(status);
        response.content_type(if self.status < 300 { "application/json" } else { "application/problem+json" });
        if let Some(version) = self.version {
            response.insert_header(("ETag", etag(version)));
        }
        if let Some(seconds) = self.retry_after {
            response.insert_header(("Retry-After", seconds.to_string()));
        }
        response.body(self.body)
    }
}

/// A version as a validator.
pub(super) fn etag(version: Position) -> String {
    format!("\"{version}\"")
}

/// Why an operation was not done.
struct NotDone {
    status: u16,
    code: &'static str,
    detail: String,
    /// Whether the content of the answer has the code.
    names_code: bool,
}

fn not_done(told: &Told) -> Option<NotDone> {
    let of = |status, code, detail: &str, names_code| Some(NotDone { status, code, detail: detail.into(), names_code });
    let pending = "it clashes with what others wrote, and waits until somebody settles it";
    match &told.said {
        Said::Decided { outcome, .. } => match outcome {
            Outcome::Pending(_) => of(409, "conflict_pending", pending, false),
            Outcome::Repeat(Remembered { fate: Fate::Pending(_), .. }) => of(409, "conflict_pending", pending, false),
            Outcome::RolledBack(why) => of(rollback_status(why), rollback_code(why), &why.to_string(), true),
            Outcome::Confirmed(_) | Outcome::Resolved { .. } | Outcome::Repeat(_) => None,
        },
        Said::Retry => of(503, "contended", "the entity changed each time this was tried; send it again", true),
        Said::Ahead { .. } => of(409, "version_ahead", "base_version is of another log; get the entity anew", true),
        // Answered as a refusal.
        Said::Failed(_) => None,
    }
}

fn is_new(told: &Told) -> bool {
    matches!(&told.said, Said::Decided { made: Some(made), .. } if made.is_new)
}

fn is_of_nothing(told: &Told) -> bool {
    matches!(told.said, Said::Decided { outcome: Outcome::Confirmed(_), version: Position::START, .. })
}

/// `docs/protocol.md` lists them.
fn rollback_status(why: &Rollback) -> u16 {
    match why {
        Rollback::NotFound | Rollback::NoSuchConflict => 404,
        Rollback::Edited | Rollback::BaseGone | Rollback::TooManyOpen(_) | Rollback::Clash(_) => 409,
        Rollback::OutOfRegion => 403,
        Rollback::Deleted => 410,
        Rollback::PreconditionFailed => 412,
        Rollback::TooLarge(_) => 413,
        Rollback::BatchFailed => FAILED_DEPENDENCY,
        Rollback::PatchFailed(_) | Rollback::TestFailed(_) | Rollback::TextFailed(_) | Rollback::WholeOnly => 422,
    }
}

/// The version that an operation made, if nothing of others is in it that its sender has not seen: only then may it stand
/// for what the sender knows.
fn known_version(told: &Told) -> Option<Position> {
    match &told.said {
        Said::Decided { outcome: Outcome::Confirmed(Seen::Head), version, made: Some(made), .. }
            if made.company == Company::Alone =>
        {
            Some(*version)
        }
        _ => None,
    }
}

/// Has operations done that were taken from what their sender may send, and waits for all of them.
///
/// # Errors
///
/// The node is going away.
pub(super) async fn operate(
    shared: &Shared,
    tenant: &TenantId,
    wanted: Vec<Wanted>,
    unit: Unit,
) -> Result<Vec<Settled>, Refusal> {
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let references: Vec<_> = wanted.iter().map(|wanted| wanted.reference.clone()).collect();
    let mut settled = Vec::with_capacity(wanted.len());
    for (answer, reference) in send(shared, tenant, wanted, unit).await?.into_iter().zip(references) {
        settled.push(match answer.await {
            Ok(told) => Settled::of(&told),
            // The room died with the operation under way.
            Err(_) => {
                let refusal = Refusal::new(Code::Unknown, "perhaps done; repeat with the same id");
                Settled::refused(&refusal.concerning(reference))
            }
        });
    }
    Ok(settled)
}

async fn send(
    shared: &Shared,
    tenant: &TenantId,
    wanted: Vec<Wanted>,
    unit: Unit,
) -> Result<Vec<oneshot::Receiver<Told>>, Refusal> {
    let away = || Refusal::new(Code::Draining, "the node is going away; repeat with the same ids");
    loop {
        let entered = shared.addresses.directory.send(Enter(tenant.clone())).await.map_err(|_| away())??;
        let (answers, receivers) = wanted.iter().map(|_| oneshot::channel()).unzip();
        if let Ok(Ok(())) = entered.room.send(OperateFor { wanted: wanted.clone(), unit, answers }).await {
            return Ok(receivers);
        }
        // The room went away in between; repeating is harmless, and the directory has the next one.
    }
}
