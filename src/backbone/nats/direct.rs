//! Batched direct gets: many messages for one request, from any replica.
//!
//! Owns: what one answer holds. Must not know: whether the replica that answered has everything; the asker makes sure.

use std::pin::pin;

use async_nats::{HeaderMap, StatusCode};
use bytes::Bytes;
use futures_util::StreamExt;
use serde_json::json;
use tokio::time::{Instant, interval, timeout_at};
use uuid::Uuid;

use super::{
    line::{AGAIN, ANSWER, AskError, Line},
    names,
};
use crate::{
    backbone::Stored,
    model::{DedupeId, Position, Timestamp},
};

/// Most messages in one answer: what the server gives at most.
pub const MOST: usize = 1_000;

/// Where a batch begins.
#[derive(Clone, Copy, Debug)]
pub enum From {
    /// At this sequence or behind.
    Sequence(u64),
    /// At this time or later.
    Time(Timestamp),
}

/// A message of a batch.
#[derive(Clone, Debug)]
pub struct Direct {
    /// Its sequence.
    pub seq: u64,
    /// Its subject.
    pub subject: String,
    /// When the stream took it.
    pub time: Timestamp,
    /// Its headers, with the server's own.
    pub headers: HeaderMap,
    /// Its content.
    pub body: Bytes,
}

/// An answer.
#[derive(Debug, Default)]
pub struct Batch {
    /// Messages by rising sequence.
    pub messages: Vec<Direct>,
    /// How many more the replica had behind them.
    pub pending: u64,
    /// How many the replica had from the start on.
    pub total: u64,
}

impl Direct {
    fn read(message: async_nats::Message) -> Option<Self> {
        let headers = message.headers?;
        let text = |name: &str| headers.get(name).map(|value| value.as_str());
        let seq = text("Nats-Sequence")?.parse().ok()?;
        let subject = text("Nats-Subject")?.to_owned();
        let time = Timestamp::parse(text("Nats-Time-Stamp")?)?;
        Some(Self { seq, subject, time, headers, body: message.payload })
    }

    fn number(&self, name: &str) -> Option<u64> {
        self.headers.get(name)?.as_str().parse().ok()
    }

    /// The id under which it was appended.
    pub fn dedupe(&self) -> Option<DedupeId> {
        Uuid::try_parse(self.headers.get("Nats-Msg-Id")?.as_str()).ok().map(DedupeId)
    }

    /// As a record of a log; `None` under a subject that is no record's.
    pub fn into_stored(self, prefix: &str) -> Option<Stored> {
        let position = Position(self.seq);
        self.into_stored_at(prefix, position)
    }

    /// The same, standing at another position than its own.
    pub fn into_stored_at(self, prefix: &str, position: Position) -> Option<Stored> {
        let (_, rest) = names::split(prefix, &self.subject)?;
        Some(Stored { position, stored_at: self.time, subject: names::subject_in(rest)?, body: self.body })
    }
}

/// Gets messages on some subjects from some replica. An answer that ends early is no error: go on behind its last.
pub async fn get(
    line: &Line,
    stream: &str,
    from: From,
    subjects: &str,
    (messages, bytes): (usize, usize),
) -> Result<Batch, AskError> {
    if !line.is_up() {
        return Err(AskError::Away("no connection to NATS".into()));
    }
    let mut request = json!({
        "next_by_subj": subjects,
        "batch": messages.clamp(1, MOST),
        "max_bytes": bytes.clamp(1, 1 << 30),
    });
    match from {
        From::Sequence(seq) => request["seq"] = json!(seq.max(1)),
        From::Time(time) => request["start_time"] = json!(time.to_string()),
    }
    let lost = |error: &dyn std::fmt::Display| AskError::Away(error.to_string());
    let client = line.client();
    let inbox = client.new_inbox();
    let mut answers = client.subscribe(inbox.clone()).await.map_err(|error| lost(&error))?;
    let body = Bytes::from(request.to_string().into_bytes());
    let api = format!("$JS.API.DIRECT.GET.{stream}");
    let mut forbidden = pin!(line.forbids(&api));
    let (mut batch, mut again) = (Batch::default(), interval(AGAIN));
    let (mut heard, mut nobody) = (Instant::now(), false);
    loop {
        let answer = tokio::select! {
            biased;
            answer = line.unless_cut(timeout_at(heard + ANSWER, answers.next())) => answer?,
            why = &mut forbidden => return Err(AskError::Away(why)),
            // Should two answers come after all, the second reads as an early end of the first.
            _ = again.tick(), if batch.messages.is_empty() => {
                let asked = client.publish_with_reply(api.clone(), inbox.clone(), body.clone()).await;
                asked.map_err(|error| lost(&error))?;
                continue;
            }
        };
        let Ok(Some(message)) = answer else {
            if batch.messages.is_empty() {
                let silence =
                    format!("{} {api} within {ANSWER:?}", if nobody { "nobody took" } else { "no answer to" });
                return Err(AskError::Away(line.complaint().unwrap_or(silence)));
            }
            return Ok(batch); // it ended early
        };
        // For a moment no replica listens: the stream is new, or its leader is. The question is asked again.
        nobody = message.status == Some(StatusCode::NO_RESPONDERS);
        if nobody {
            continue;
        }
        heard = Instant::now();
        match message.status {
            None => {}
            // The end, or nothing there.
            Some(status) if [204, 404].contains(&status.as_u16()) => return Ok(batch),
            Some(status) => {
                let why = message.description.unwrap_or_default();
                return Err(AskError::Away(format!("{api} was answered {} {why}", status.as_u16())));
            }
        }
        let Some(direct) = Direct::read(message) else {
            return Err(AskError::Away(format!("{api} was answered strangely")));
        };
        let before = batch.messages.last().map_or(0, |last| last.seq);
        if direct.number("Nats-Last-Sequence") != Some(before) {
            return Ok(batch); // an answer in between was lost
        }
        batch.pending = direct.number("Nats-Num-Pending").unwrap_or_default();
        if batch.messages.is_empty() {
            batch.total = batch.pending + 1;
        }
        batch.messages.push(direct);
    }
}

impl std::convert::From<super::api::Message> for Direct {
    /// A message that the leader gave, in the same form.
    fn from(message: super::api::Message) -> Self {
        let mut headers = HeaderMap::new();
        for (name, value) in message.headers() {
            headers.append(name, value);
        }
        let super::api::Message { subject, seq, body, time, .. } = message;
        Self { seq, subject, time, headers, body }
    }
}
