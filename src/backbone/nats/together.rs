//! Appends that go through together or not at all: JetStream's atomic batches.
//!
//! Owns: invariant **no guess**, for batches. Their records have conditions, so the log itself tells what became of one
//! whose answer is missing, and repeating it can do no harm. Slow beside the pipeline (a few questions a record and two
//! round trips): only for those who asked for all or nothing.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Instant,
};

use async_nats::{HeaderMap, Message};
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use super::{
    Shared,
    api::{Ack, AckError, LOST},
    conditions::{Condition, Verdict, judge},
    line::AskError,
    publisher::{Counted, NO_ROOM, PASSES, PATIENCE, STUCK, TRY},
    shard::{Shard, Trouble},
};
use crate::{
    backbone::{Append, AppendError, Appended, Expect, Outcome, check_together},
    model::Position,
};

/// Pause between two looks at what became of a batch.
const PAUSE: std::time::Duration = std::time::Duration::from_millis(50);
/// Records that are asked about at a time.
const AT_A_TIME: usize = 32;

/// JetStream's code for a batch of which a part got lost, as when the stream's leader changed in between.
const INCOMPLETE: u64 = 10_176;

/// A batch on its way.
struct Batch {
    shared: Arc<Shared>,
    shard: Arc<Shard>,
    appends: Vec<(Append, String)>,
}

/// How one try ended.
enum Tried {
    /// All are in the log, the last one here.
    Stored(u64),
    /// Not this time, or nobody knows: the log has to be asked. Without its last record none of a batch is kept.
    Ask(Part, String),
    /// None is in the log, nor will be.
    Refused(AppendError),
}

/// What the log says of a batch.
enum Stands {
    /// All are in the log, the first one here.
    Stored(u64),
    /// A condition does not hold.
    Lost(Position),
    /// It may be tried with these conditions.
    Try(Vec<u64>),
    /// It cannot be told now.
    NotYet,
}

/// Appends records together.
pub(super) async fn append_all(shared: Arc<Shared>, appends: Vec<Append>) -> Result<Vec<Appended>, AppendError> {
    check_together(&appends)?;
    let Some(first) = appends.first() else { return Ok(Vec::new()) };
    if *shared.closing.borrow() {
        return Err(AppendError::Closed);
    }
    if shared.busy.load(Relaxed) >= shared.most_busy {
        return Err(AppendError::Busy);
    }
    let shard = shared.shard_of(&first.tenant).clone();
    // Held until the end: a log that closes waits for it.
    let _counted = Counted::new(&shared.busy);
    let names = &shared.shape.names;
    let appends = appends.into_iter().map(|append| {
        let subject = names.record(&append.tenant, &append.subject);
        (append, subject)
    });
    let appends: Vec<_> = appends.collect();
    let (runtime, batch) = (shared.runtime.clone(), Batch { shared, shard, appends });
    // On the connection's own threads, like everything that talks to NATS.
    let run = runtime.spawn(async move {
        let appended = batch.run().await;
        drop(_counted);
        appended
    });
    run.await.unwrap_or_else(|_| Err(AppendError::Unknown("the log went away before it answered".into())))
}

impl Batch {
    async fn run(&self) -> Result<Vec<Appended>, AppendError> {
        let deadline = Instant::now() + PATIENCE;
        let mut uncertain = false;
        loop {
            if !self.shared.tenancies.takes(&self.appends[0].0.tenant) {
                return Err(AppendError::Erasing);
            }
            let why = match self.ask().await {
                Ok(Stands::Stored(first)) => return Ok(self.appended(first)),
                Ok(Stands::Lost(current)) => return Err(AppendError::Conflict { current }),
                Ok(Stands::Try(expected)) if Instant::now() < deadline => match self.publish(&expected).await {
                    Tried::Stored(last) => return Ok(self.appended(last + 1 - self.appends.len() as u64)),
                    Tried::Refused(error) if !uncertain => return Err(error),
                    Tried::Refused(error) => error.to_string(),
                    Tried::Ask(part, why) => {
                        uncertain |= part == Part::Last;
                        why
                    }
                },
                Ok(Stands::Try(_) | Stands::NotYet) => "the entities' versions cannot be told now".into(),
                Err(error) => error.to_string(),
            };
            if Instant::now() >= deadline {
                return Err(if uncertain { AppendError::Unknown(why) } else { AppendError::Unavailable(why) });
            }
            sleep(PAUSE).await;
        }
    }

    fn appended(&self, first: u64) -> Vec<Appended> {
        let places = first..first + self.appends.len() as u64;
        self.shard.know(Position(places.end - 1));
        places.map(|seq| Appended { position: Position(seq), outcome: Outcome::Stored }).collect()
    }

    /// Asks the log how things stand.
    async fn ask(&self) -> Result<Stands, AskError> {
        let asked: Vec<_> = self.appends.iter().map(|(append, subject)| self.ask_one(append, subject)).collect();
        let verdicts: Vec<Verdict> = stream::iter(asked).buffered(AT_A_TIME).try_collect().await?;
        let (mut expected, mut lost, mut is_known) = (Vec::new(), None, true);
        for (at, verdict) in (0..).zip(verdicts) {
            match verdict {
                // One right behind the other: the place of one is that of all.
                Verdict::Stored(seq) => return Ok(Stands::Stored(seq - at)),
                Verdict::Lost(current) => lost = Some(current),
                Verdict::Try(seq) => expected.push(seq),
                Verdict::NotYet => is_known = false,
            }
        }
        Ok(match lost {
            Some(current) => Stands::Lost(current),
            None if is_known => Stands::Try(expected),
            None => Stands::NotYet,
        })
    }

    async fn ask_one(&self, append: &Append, subject: &str) -> Result<Verdict, AskError> {
        let Expect::Version(version) = append.expect else { return Ok(Verdict::NotYet) }; // never: checked
        let Append { tenant, dedupe, .. } = append;
        judge(&self.shared, Condition { tenant, shard: &self.shard, subject, version, dedupe: *dedupe }).await
    }

    async fn publish(&self, expected: &[u64]) -> Tried {
        let client = self.shared.line.client();
        let (id, count) = (Uuid::new_v4().to_string(), self.appends.len());
        for (nth, ((append, subject), expected)) in (1..).zip(self.appends.iter().zip(expected)) {
            let mut headers = HeaderMap::new();
            headers.insert("Nats-Msg-Id", append.dedupe.0.to_string());
            headers.insert("Nats-Expected-Last-Subject-Sequence", expected.to_string());
            headers.insert("Nats-Batch-Id", &*id);
            headers.insert("Nats-Batch-Sequence", nth.to_string());
            let (subject, body) = (subject.clone(), append.body.clone());
            if nth == count {
                headers.insert("Nats-Batch-Commit", "1");
                return self.asked(client.request_with_headers(subject, headers, body), Part::Last).await;
            }
            if nth == 1 {
                // The first one is answered too: with nothing, or with why there can be no batch.
                match self.asked(client.request_with_headers(subject, headers, body), Part::First).await {
                    Tried::Stored(_) => {}
                    ended => return ended,
                }
            } else if !matches!(timeout(STUCK, client.publish_with_headers(subject, headers, body)).await, Ok(Ok(()))) {
                // Without its commit nothing of a batch is kept.
                return Tried::Refused(AppendError::Unavailable("the connection to NATS takes nothing".into()));
            }
        }
        Tried::Refused(AppendError::Refused("there is nothing to append".into()))
    }

    async fn asked<E: std::fmt::Display>(
        &self,
        request: impl Future<Output = Result<Message, E>>,
        part: Part,
    ) -> Tried {
        let answer = match timeout(TRY, self.shared.line.unless_cut(request)).await {
            Ok(Ok(Ok(message))) => message.payload,
            Ok(Ok(Err(error))) => return Tried::Ask(part, error.to_string()),
            Ok(Err(cut)) => return Tried::Ask(part, cut.to_string()),
            Err(_) => {
                self.shared.is_silent(&self.shard, "NATS does not answer");
                return Tried::Ask(part, "NATS does not answer".into());
            }
        };
        if part == Part::First && answer.is_empty() {
            return Tried::Stored(0);
        }
        let ack: Ack = match serde_json::from_slice(&answer) {
            Ok(ack) => ack,
            Err(error) => return Tried::Ask(part, format!("an acknowledgement could not be read: {error}")),
        };
        match ack.error {
            None => Tried::Stored(ack.seq),
            Some(AckError { err_code, description })
                if LOST.contains(&err_code) || PASSES.contains(&err_code) || err_code == INCOMPLETE =>
            {
                Tried::Ask(part, description)
            }
            Some(AckError { err_code, description }) => {
                let why = format!("{description} ({err_code})");
                self.shard.is_in(Trouble::Refusal(Instant::now(), why.clone()));
                let no_room = NO_ROOM.contains(&err_code);
                Tried::Refused(if no_room { AppendError::Full(why) } else { AppendError::Unavailable(why) })
            }
        }
    }
}

/// Which record of a batch is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    First,
    Last,
}
