//! The appends that a room has under way, and who waits for each.

use std::{cell::RefCell, collections::HashMap, rc::Rc, task::Poll, time::Duration};

use actix::{Context, Handler, StreamHandler};
use futures_util::{Stream, stream};
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use super::{Room, lanes::Waiter, together::Waiting};
use crate::{
    actors::messages::{Content, Gone, MemberKey, Order, Publication, Publish, PublishFor},
    auth::Grant,
    backbone::{Answer, Append, AppendError, Appended, Expect, Outcome, Reply, Subject},
    journal::Ahead,
    model::{DedupeId, EntityKey, EventId, Timestamp},
    wire::{Code, Refusal, record, signature::check_signer},
};

/// How an append ended, under the room's own mark.
pub(super) type Ended = (u64, Result<Answer, AppendError>);

/// Answers handled in one go.
const ANSWERS: usize = 1024;

#[derive(Debug)]
pub(super) enum Publisher {
    Member {
        key: MemberKey,
        token: u64,
        id: EventId,
        dedupe: DedupeId,
    },
    Request(oneshot::Sender<Result<Answer, AppendError>>),
    /// The operations of an entity.
    Lane(EntityKey),
}

/// What is under way; never more than the channel for the answers holds, so an answer always finds a place.
#[derive(Debug)]
pub(super) struct Appends {
    pending: HashMap<u64, (Publisher, Duration)>,
    next: u64,
    to: mpsc::Sender<Ended>,
    /// Read by the stream, and by whoever knows that answers must be here.
    answers: Rc<RefCell<mpsc::Receiver<Ended>>>,
}

impl Appends {
    pub(super) fn new(limit: usize) -> Self {
        let (to, answers) = mpsc::channel(limit);
        Self { pending: HashMap::new(), next: 0, to, answers: Rc::new(RefCell::new(answers)) }
    }

    /// The answers as a stream of bundles.
    pub(super) fn answers(&self) -> impl Stream<Item = Vec<Ended>> + use<> {
        let answers = self.answers.clone();
        let mut yielded = false;
        stream::poll_fn(move |cx| {
            // An embedded log shows the records before it answers. The feed's turn comes behind this one's; it takes the
            // answers with it, and both go to the outlets as one set of orders.
            if !yielded && !answers.borrow().is_empty() {
                yielded = true;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            yielded = false;
            let mut bundle = Vec::new();
            let received = answers.borrow_mut().poll_recv_many(cx, &mut bundle, ANSWERS);
            received.map(|count| (count > 0).then_some(bundle))
        })
    }

    fn ready_answer(&self) -> Option<Ended> {
        self.answers.borrow_mut().try_recv().ok()
    }

    pub(super) fn is_idle(&self) -> bool {
        self.pending.is_empty()
    }

    pub(super) fn count(&self) -> usize {
        self.pending.len()
    }

    /// Notes an append and gives the mark for its answer; gives the publisher back when too many are under way.
    fn start(&mut self, publisher: Publisher, now: Duration) -> Result<Reply, Publisher> {
        if self.pending.len() >= self.to.max_capacity() {
            return Err(publisher);
        }
        self.next += 1;
        self.pending.insert(self.next, (publisher, now));
        Ok(Reply { token: self.next, to: self.to.clone(), keeper: None })
    }
}

impl Room {
    fn append(&mut self, publisher: Publisher, append: Append, ctx: &mut Context<Self>) {
        let ahead = if self.appends.is_idle() { Ahead::Nothing } else { Ahead::Unanswered };
        match self.appends.start(publisher, self.context.uptime()) {
            Ok(reply) => match &self.context.journal {
                Some(journal) => journal.append(append, reply, ahead),
                None => self.context.backbone.append(append, reply),
            },
            Err(publisher) => self.answer(publisher, Err(AppendError::Busy), ctx),
        }
    }

    /// Appends an entity's record. It has a condition, which the journal could not judge: the log takes it or nobody does.
    ///
    /// # Errors
    ///
    /// Too many appends are under way.
    pub(super) fn append_of_lane(&mut self, key: EntityKey, append: Append) -> Result<(), AppendError> {
        let started = self.appends.start(Publisher::Lane(key), self.context.uptime());
        let reply = started.map_err(|_| AppendError::Busy)?;
        self.context.backbone.append(append, reply);
        Ok(())
    }

    /// Handles the answers that are here already.
    pub(super) fn take_answers(&mut self, ctx: &mut Context<Self>) {
        while let Some(answer) = self.appends.ready_answer() {
            self.answered(answer, ctx);
        }
    }

    fn answered(&mut self, (mark, result): Ended, ctx: &mut Context<Self>) {
        if let Some((publisher, started)) = self.appends.pending.remove(&mark) {
            let taken = self.context.uptime().saturating_sub(started);
            self.context.metrics.append_latency.observe(taken.as_secs_f64());
            self.answer(publisher, result, ctx);
        }
    }

    fn answer(&mut self, publisher: Publisher, result: Result<Answer, AppendError>, ctx: &mut Context<Self>) {
        self.context.metrics.count_append(match &result {
            Ok(Answer::Appended(Appended { outcome: Outcome::Stored, .. })) => "stored",
            Ok(Answer::Appended(Appended { outcome: Outcome::Duplicate, .. })) => "duplicate",
            Ok(Answer::Queued) => "queued",
            Err(AppendError::Unknown(_)) => "unknown",
            Err(AppendError::Conflict { .. }) => "conflict",
            Err(_) => "refused",
        });
        match publisher {
            Publisher::Member { key, token, id, dedupe } => {
                if result == Ok(Answer::Queued) {
                    self.expect_drained(key, id, dedupe);
                }
                let answer = result.map_err(|error| refusal(error).about(id));
                self.post_settled(key, Order::Settled { key, token, id, answer });
            }
            Publisher::Request(to) => {
                // Fails only when the client hung up: nobody is left to hear.
                let _ = to.send(result);
            }
            Publisher::Lane(key) => self.draft_answered(&key, result, ctx),
        }
    }
}

/// What a publish appends; nobody publishes without a grant.
///
/// # Errors
///
/// It is signed in another's name.
pub fn append_of(grant: &Grant, publish: record::Publish, now: Timestamp) -> Result<Append, Refusal> {
    check_signer(&publish, &grant.author().owner())?;
    let (tenant, instance) = (grant.tenant(), grant.instance());
    Ok(Append {
        tenant: tenant.clone(),
        dedupe: DedupeId::of(tenant, instance, publish.id),
        expect: Expect::Anything,
        first_tried: None,
        body: publish.to_body(tenant, instance, now),
        subject: Subject::Event(publish.event_type),
    })
}

/// What a publisher is told; what the log said stays in the node's own log under an id.
pub fn refusal(error: AppendError) -> Refusal {
    let wait = Duration::from_millis(500);
    match error {
        AppendError::Busy => {
            Refusal::new(Code::Busy, "too much is waiting to be stored; repeat with the same id").after(wait)
        }
        AppendError::Erasing => Refusal::new(Code::TenantErasing, "the tenant is being erased; nothing was stored"),
        AppendError::Closed => {
            Refusal::new(Code::Draining, "the node is going away; repeat with the same id").after(wait)
        }
        AppendError::Unavailable(cause) => {
            with_cause(Code::Unavailable, "the log cannot be reached; nothing was stored", &cause).after(wait)
        }
        AppendError::TooLarge { limit } => {
            Refusal::new(Code::TooLarge, format!("the log takes records of at most {limit} bytes"))
        }
        AppendError::Full(cause) => with_cause(Code::LogFull, "the log takes no more; nothing was stored", &cause),
        AppendError::Refused(cause) => {
            with_cause(Code::NotStorable, "the log will never take this; do not repeat it", &cause)
        }
        AppendError::JournalFull(cause) => {
            let message =
                "the log is out of reach and the journal is full; nothing was stored, repeat with the same id";
            with_cause(Code::JournalFull, message, &cause).after(Duration::from_secs(5))
        }
        AppendError::Unknown(cause) => with_cause(Code::Unknown, "perhaps stored; repeat with the same id", &cause),
        AppendError::Conflict { current } => {
            with_cause(Code::Internal, "internal error", &format!("unasked condition failed at {current}"))
        }
    }
}

fn with_cause(code: Code, message: &'static str, cause: &str) -> Refusal {
    let error_id = Uuid::new_v4();
    tracing::error!(%error_id, code = code.word(), cause, "append refused");
    let mut refusal = Refusal::new(code, message);
    refusal.error_id = Some(error_id);
    refusal
}

impl Handler<Publish> for Room {
    type Result = ();

    fn handle(&mut self, Publish { key, publication }: Publish, ctx: &mut Context<Self>) {
        let Publication { token, id, what, .. } = publication;
        match what {
            Content::Event(append) => {
                let publisher = Publisher::Member { key, token, id, dedupe: append.dedupe };
                self.append(publisher, append, ctx);
            }
            Content::Operation(wanted, form) => self.operate(Waiter::Member { key, token, form }, *wanted, ctx),
            Content::Batch(wanted, form) => self.operate_together(Waiting::Member { key, token, form }, wanted, ctx),
        }
        self.tell_spent_later(ctx);
        self.flush(ctx); // sends a refusal at once; usually there is nothing
    }
}

impl Handler<PublishFor> for Room {
    type Result = Result<(), Gone>;

    fn handle(&mut self, PublishFor { appends, answers }: PublishFor, ctx: &mut Context<Self>) -> Self::Result {
        self.is_open()?;
        for (append, answer) in appends.into_iter().zip(answers) {
            self.append(Publisher::Request(answer), append, ctx);
        }
        self.tell_spent_later(ctx);
        self.tick_later(ctx);
        Ok(())
    }
}

impl StreamHandler<Vec<Ended>> for Room {
    fn handle(&mut self, bundle: Vec<Ended>, ctx: &mut Context<Self>) {
        bundle.into_iter().for_each(|answer| self.answered(answer, ctx));
        self.flush(ctx);
    }
}
