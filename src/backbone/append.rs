//! An append, what may become of it, and how its asker hears.

use std::{collections::HashSet, fmt::Debug, sync::Arc};

use bytes::Bytes;
use tokio::sync::mpsc;

use super::{Backbone, Subject};
use crate::model::{DedupeId, Position, TenantId};

/// When an append may go through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// Always.
    Anything,
    /// Only while the entity's last record stands at this position; [`Position::START`] means "there is none".
    Version(Position),
}

/// One record to append.
#[derive(Clone, Debug)]
pub struct Append {
    /// Whose log.
    pub tenant: TenantId,
    /// What the record is about. [`Expect::Version`] is meant for [`Subject::Entity`].
    pub subject: Subject,
    /// Found again within the dedupe window, the first record answers and nothing is appended. With a condition it only
    /// marks the record.
    pub dedupe: DedupeId,
    /// The condition.
    pub expect: Expect,
    /// Set on a repeat: the first try began when the log stood here. Whatever the dedupe window, the log is searched from
    /// here on before anything is appended.
    pub first_tried: Option<Position>,
    /// The record, opaque here.
    pub body: Bytes,
}

/// An append's good end: the record is in the log, as safely as the backbone promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Where the record stands; of a duplicate, where the first one stands.
    pub position: Position,
    /// Whether this append was a repeat.
    pub outcome: Outcome,
}

/// Whether an append made a record or found it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A record was made.
    Stored,
    /// The same dedupe id had been appended before.
    Duplicate,
}

/// An append's other ends.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// The condition did not hold; nothing was appended.
    #[error("the entity stands at {current}")]
    Conflict {
        /// Where the entity's last record stands now.
        current: Position,
    },
    /// The body is larger than the log takes; nothing was appended.
    #[error("the record is larger than {limit} bytes")]
    TooLarge {
        /// The largest body that the log takes, in bytes.
        limit: usize,
    },
    /// Too many appends are waiting; nothing was appended.
    #[error("too many appends are waiting")]
    Busy,
    /// The log cannot be reached now; nothing was appended.
    #[error("the log cannot be reached: {0}")]
    Unavailable(String),
    /// The log takes no more (disk full, limits); nothing was appended.
    #[error("the log takes no more: {0}")]
    Full(String),
    /// The log will never take this record (larger than its server allows, for one); nothing was appended.
    #[error("the log does not take this record: {0}")]
    Refused(String),
    /// The log is out of reach and the node's journal takes no more; nothing was appended. Said by the journal, never by
    /// a log.
    #[error("the journal takes no more: {0}")]
    JournalFull(String),
    /// Nobody can tell whether the record was appended; repeating with the same dedupe id is safe.
    #[error("it is unknown whether the record was stored: {0}")]
    Unknown(String),
    /// The tenant is being erased; nothing was appended.
    #[error("the tenant is being erased")]
    Erasing,
    /// The backbone is closed; nothing was appended.
    #[error("the log is closed")]
    Closed,
}

/// An append's good answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The log has it.
    Appended(Appended),
    /// This node's journal has it on disk, on its way to the log. Said by the journal, never by a log.
    Queued,
}

/// Who takes an append that the log could not take, so that its asker need not hear of it.
pub trait Keeper: Send + Sync + Debug {
    /// Takes it, and answers. `error` is what the log would have said: [`AppendError::Unavailable`], [`AppendError::Full`]
    /// (nothing was appended) or [`AppendError::Unknown`]; `append.first_tried` is set. A tenant's appends are given up in
    /// the order in which they were made: the keeper keeps this order. Blocks for no I/O.
    fn keep(&self, append: Append, error: AppendError, reply: Reply);
}

/// Where one append's answer goes. The receiver must have room for every append that it has under way, so an answer
/// never waits and never gets lost.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The caller's own mark.
    pub token: u64,
    /// Where to.
    pub to: mpsc::Sender<(u64, Result<Answer, AppendError>)>,
    /// Who takes what the log could not take; `None` if the asker wants to hear it.
    pub keeper: Option<Arc<dyn Keeper>>,
}

impl Reply {
    /// Says how it ended.
    pub fn send(self, result: Result<Appended, AppendError>) {
        // Fails only when the asker is gone (nobody is left to hear) or broke its promise to have room.
        let _ = self.to.try_send((self.token, result.map(Answer::Appended)));
    }

    /// Says that the journal has it.
    pub fn queued(self) {
        // As above.
        let _ = self.to.try_send((self.token, Ok(Answer::Queued)));
    }

    /// Ends an append whose log is out of reach: its keeper takes it, or its asker hears the error.
    pub fn give_up(mut self, append: Append, error: AppendError) {
        match self.keeper.take() {
            Some(keeper) => keeper.keep(append, error, self),
            None => self.send(Err(error)),
        }
    }
}

/// Most records that one [`Backbone::append_all`] takes: JetStream's own bound on an atomic batch.
pub const MOST_TOGETHER: usize = 1_000;

/// Whether records can be appended together: of one tenant, each with a condition on an entity of its own, none a repeat.
///
/// # Errors
///
/// [`AppendError::Refused`]: they cannot.
pub fn check_together(appends: &[Append]) -> Result<(), AppendError> {
    let Some(first) = appends.first() else { return Ok(()) };
    let mut subjects = HashSet::new();
    let is_fit = |append: &Append| {
        append.tenant == first.tenant
            && matches!(append.expect, Expect::Version(_))
            && matches!(append.subject, Subject::Entity(_))
            && append.first_tried.is_none()
    };
    if appends.len() > MOST_TOGETHER || !appends.iter().all(|append| is_fit(append) && subjects.insert(&append.subject))
    {
        return Err(AppendError::Refused("these records cannot be appended together".into()));
    }
    Ok(())
}

/// Appends one record and waits for the answer.
pub async fn append_one(backbone: &dyn Backbone, append: Append) -> Result<Appended, AppendError> {
    let (to, mut answer) = mpsc::channel(1);
    backbone.append(append, Reply { token: 0, to, keeper: None });
    if let Some((_, result)) = answer.recv().await {
        return match result? {
            Answer::Appended(appended) => Ok(appended),
            Answer::Queued => Err(AppendError::Unavailable("it waits in the journal".into())),
        };
    }
    Err(AppendError::Unknown("the log went away before it answered".into()))
}
