//! What a sender is told of its operation: the same content in every envelope and over HTTP.

use std::sync::Arc;

use serde_json::value::RawValue;

use super::{
    codes::{Code, Refusal},
    message::{Fields, json_list},
    operation::Wanted,
};
use crate::model::{
    EntityKey, Position,
    entity::{Alternative, Content, Fate, OpId, Outcome, Overwritten, Rollback, Seen, Settled},
    lane::{Company, Failure, Made, Said},
};

/// In which words an answer is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `update.confirmed` and its like.
    Update,
    /// Aether's `sync_response`.
    SyncResponse,
}

/// An answer to be.
#[derive(Clone, Debug)]
pub struct Told {
    /// Which entity.
    pub key: EntityKey,
    /// The operation's id.
    pub op: OpId,
    /// The operation's id as its sender wrote it.
    pub reference: Arc<str>,
    /// What became of it.
    pub said: Said,
    /// What the record changed, if it became part of one now: a delta's fields as one object.
    pub delta: Option<Arc<RawValue>>,
}

/// An answer's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Words {
    /// `update.confirmed`, `update.conflict_resolved`, `update.conflict_pending`, `update.rollback` or `update.retry`.
    pub kind: &'static str,
    /// `data`, one JSON object.
    pub data: String,
    /// `conflict_info`, as Aether has it.
    pub conflict: Option<String>,
}

impl Told {
    /// What is said of an operation that was not tried, because another one of its batch could not be done.
    pub fn apart(wanted: Wanted) -> Self {
        let Wanted { key, operation, reference } = wanted;
        Self { key, op: operation.id, reference, said: Said::apart(), delta: None }
    }

    /// Everything up to here has to be passed before the answer is given; it names nothing later.
    pub fn position(&self) -> Position {
        match &self.said {
            Said::Decided { version, .. } | Said::Ahead { version } => *version,
            Said::Retry | Said::Failed(_) => Position::START,
        }
    }

    /// The outcome in a word, for the figures.
    pub fn outcome_word(&self) -> &'static str {
        match &self.said {
            Said::Decided { outcome, .. } => match outcome {
                Outcome::Confirmed(_) => "confirmed",
                Outcome::Resolved { .. } => "resolved",
                Outcome::Pending(_) => "pending",
                Outcome::RolledBack(_) => "rolled_back",
                Outcome::Repeat(_) => "duplicate",
            },
            Said::Retry => "retry",
            Said::Ahead { .. } => "ahead",
            Said::Failed(_) => "failed",
        }
    }

    /// The answer's words.
    ///
    /// # Errors
    ///
    /// The operation could not be decided or written: the refusal says why.
    pub fn words(&self) -> Result<Words, Refusal> {
        let mut fields = Fields::default();
        fields.text("updateId", &self.reference);
        fields.entity(&self.key.kind, &self.key.id);
        let mut conflict = None;
        let kind = match &self.said {
            Said::Decided { outcome, version, made, current } => {
                fields.number("version", version.0);
                let current = current.as_ref();
                if let Outcome::Pending(open) = outcome {
                    conflict = Some(self.conflict_info(open, current));
                }
                self.decided(&mut fields, outcome, *made, current)
            }
            Said::Retry => {
                fields.text("code", "contended");
                fields.text("reason", "the entity changed each time this was tried; nothing was done, send it again");
                fields.number("retry_after_ms", 250);
                "update.retry"
            }
            Said::Ahead { version } => {
                fields.number("version", version.0);
                fields.text("code", "version_ahead");
                fields
                    .text("reason", "base_version lies beyond the entity's version: it is of another log; get it anew");
                "update.rollback"
            }
            Said::Failed(failure) => return Err(refusal(*failure).concerning(self.reference.clone())),
        };
        Ok(Words { kind, data: fields.end(), conflict })
    }

    fn decided(
        &self,
        fields: &mut Fields,
        outcome: &Outcome,
        made: Option<Made>,
        current: Option<&Content>,
    ) -> &'static str {
        match outcome {
            Outcome::Confirmed(seen) => {
                // Whoever had seen the head and was alone knows what it led to.
                let knows = *seen == Seen::Head && made.is_none_or(|made| made.company == Company::Alone);
                if *seen == Seen::Behind {
                    fields.raw("merged", "true");
                }
                if !knows {
                    self.put_delta(fields, made);
                }
                "update.confirmed"
            }
            Outcome::Resolved { how, overwritten } => {
                put_settled(fields, *how);
                fields.raw("overwritten", &overwritten_list(overwritten));
                self.put_delta(fields, made);
                "update.conflict_resolved"
            }
            Outcome::Pending(open) => {
                fields.value("conflict_id", &open.id);
                fields.value("base", &open.was);
                fields.value("current", &current);
                fields.value("proposed", &open.proposed);
                put_whole(fields, open);
                fields.value("paths", &open.paths);
                "update.conflict_pending"
            }
            Outcome::RolledBack(why) => {
                fields.text("code", rollback_code(why));
                fields.text("reason", &why.to_string());
                fields.value("current", &current);
                "update.rollback"
            }
            Outcome::Repeat(remembered) => {
                fields.raw("duplicate", "true");
                match &remembered.fate {
                    Fate::Confirmed(_) | Fate::Applied => "update.confirmed",
                    Fate::Resolved(how, paths) => {
                        put_settled(fields, *how);
                        fields.value("overwritten_paths", paths);
                        "update.conflict_resolved"
                    }
                    Fate::Pending(id) => {
                        fields.value("conflict_id", id);
                        "update.conflict_pending"
                    }
                }
            }
        }
    }

    fn put_delta(&self, fields: &mut Fields, made: Option<Made>) {
        if let (Some(made), Some(delta)) = (made, &self.delta) {
            fields.number("base_version", made.base.0);
            fields.splice(delta.get());
        }
    }

    fn conflict_info(&self, open: &Alternative, current: Option<&Content>) -> String {
        let mut fields = Fields::default();
        fields.entity(&self.key.kind, &self.key.id);
        fields.value("local_data", &open.proposed);
        fields.value("remote_data", &current);
        fields.value("conflict_id", &open.id);
        fields.value("paths", &open.paths);
        fields.end()
    }
}

/// Says that what was proposed is a whole content, where a merge patch would be expected.
pub(super) fn put_whole(fields: &mut Fields, open: &Alternative) {
    if open.whole {
        fields.raw("whole", "true");
    }
}

fn put_settled(fields: &mut Fields, how: Settled) {
    let word = match how {
        Settled::LastWriteWins => "last_write_wins",
        Settled::Merged => "merged",
        Settled::Variant(_) => "variant",
        Settled::Recreated => "recreated",
    };
    fields.text("resolution", word);
    if let Settled::Variant(id) = how {
        fields.value("variant_id", &id);
    }
}

fn overwritten_list(overwritten: &[Overwritten]) -> String {
    let items = overwritten.iter().map(|over| {
        let mut fields = Fields::default();
        fields.text("path", &over.path);
        fields.value("value", &over.value);
        fields.number("version", over.version.0);
        fields.value("by", &over.by);
        fields.end()
    });
    json_list(items)
}

/// The stable word for a rollback.
pub fn rollback_code(why: &Rollback) -> &'static str {
    match why {
        Rollback::NotFound => "not_found",
        Rollback::Deleted => "deleted",
        Rollback::Edited => "edited",
        Rollback::PatchFailed(_) => "patch_failed",
        Rollback::TestFailed(_) => "test_failed",
        Rollback::TextFailed(_) => "text_failed",
        Rollback::WholeOnly => "whole_only",
        Rollback::BaseGone => "base_gone",
        Rollback::TooManyOpen(_) => "too_many_open",
        Rollback::TooLarge(_) => "too_large",
        Rollback::NoSuchConflict => "no_such_conflict",
        Rollback::OutOfRegion => "out_of_region",
        Rollback::PreconditionFailed => "precondition_failed",
        Rollback::Clash(_) => "clash",
        Rollback::BatchFailed => "batch_failed",
    }
}

fn refusal(failure: Failure) -> Refusal {
    let wait = std::time::Duration::from_millis(500);
    match failure {
        Failure::Busy => {
            Refusal::new(Code::Busy, "too much waits for this entity or for the log; repeat with the same id")
                .after(wait)
        }
        Failure::Unavailable => {
            Refusal::new(Code::Unavailable, "the log cannot be reached; nothing was done, repeat with the same id")
                .after(wait)
        }
        Failure::Full => Refusal::new(Code::LogFull, "the log takes no more; nothing was done"),
        Failure::TooLarge => Refusal::new(
            Code::TooLarge,
            "the entity with what is kept beside it would be larger than the log takes; settle conflicts or send less",
        ),
        Failure::Unknown => Refusal::new(Code::Unknown, "perhaps done; repeat with the same id"),
    }
}
