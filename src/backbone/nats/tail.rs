//! A shard's tail: one ordered consumer that brings every new record of the shard to this node, while a room follows.
//!
//! Owns: invariant **no gap** (the consumer's own numbering has no hole, or the tail is made anew from the last position).
//! Must not: wait for a room, or read a record that no room follows.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use async_nats::{Message, Subscriber};
use futures_util::{FutureExt, StreamExt};
use serde_json::json;
use tokio::time::{sleep, timeout};

use super::{
    Shared, Standing,
    api::StreamInfo,
    definition::EPOCH,
    line::AskError,
    names,
    shard::{Found, Shard},
};
use crate::{
    backbone::Stored,
    model::{Position, Timestamp},
};

/// How often a quiet consumer says that it is there.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// Silence after which it is made anew: two heartbeats, and a little.
const SILENCE: Duration = Duration::from_millis(2_200);
/// How long the stream's leader may take to answer.
const ANSWER: Duration = Duration::from_millis(800);
/// How long a log must seem to end before what was read from it until that is believed.
const SHORT: Duration = Duration::from_secs(5);
/// Pause before a tail that broke is made anew.
const PAUSE: Duration = Duration::from_millis(100);
/// Most messages handled in one go.
const CHUNK: usize = 1_024;

/// Why a tail ended.
enum End {
    /// Nobody follows any more.
    Idle,
    /// It has to be made anew.
    Broken(String),
}

/// Runs a shard's tail until the log is closed.
pub(super) async fn run(shared: Arc<Shared>, shard: Arc<Shard>) {
    let mut short_since = None;
    while !shard.is_closed() {
        if !shard.is_wanted() {
            shard.wake.notified().await;
            continue;
        }
        match follow(&shared, &shard, &mut short_since).await {
            End::Idle => tracing::debug!(stream = shard.log, "nobody follows"),
            End::Broken(why) => {
                tracing::debug!(stream = shard.log, why, "the tail is made anew");
                shared.tails_remade.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                sleep(PAUSE).await;
            }
        }
    }
}

async fn follow(shared: &Shared, shard: &Shard, short_since: &mut Option<Instant>) -> End {
    if !matches!(&*shared.standing.borrow(), Standing::Ready) || !shared.line.is_up() {
        return End::Broken("NATS is away".into());
    }
    // A stream without a leader says nothing: asked again soon, it may have one.
    let start = match timeout(ANSWER, place(shared, shard, short_since)).await {
        Ok(Ok(start)) => start,
        Ok(Err(why)) => return End::Broken(why),
        Err(_) => return End::Broken("the stream does not answer".into()),
    };
    let mut consumer = match timeout(ANSWER, Consumer::make(shared, shard, start)).await {
        Ok(Ok(consumer)) => consumer,
        Ok(Err(error)) => return End::Broken(error.to_string()),
        Err(_) => return End::Broken("the consumer is not made".into()),
    };
    shard.start(start);
    let mut looked = Instant::now();
    let end = loop {
        match timeout(SILENCE, consumer.next(shared)).await {
            Err(_) => break End::Broken("silence".into()),
            Ok(Err(why)) => break End::Broken(why),
            Ok(Ok(chunk)) => chunk.give(shared, shard),
        }
        // Now and then: it looks at every feed.
        if looked.elapsed() >= HEARTBEAT {
            looked = Instant::now();
            if !shard.is_wanted() {
                break End::Idle;
            }
        }
    };
    consumer.end(shared, shard).await;
    end
}

/// Where the tail goes on. Looks whether the log is still the same.
async fn place(shared: &Shared, shard: &Shard, short_since: &mut Option<Instant>) -> Result<Position, String> {
    let info = match StreamInfo::get(&shared.line, &shard.log).await {
        Ok(Some(info)) => info,
        Ok(None) => {
            shared.look_again.notify_one();
            return Err("there is no log".into());
        }
        Err(error) => return Err(error.to_string()),
    };
    let end = Position(info.state.last_seq);
    let Some(epoch) = info.metadata(EPOCH).and_then(|epoch| epoch.parse().ok()) else {
        shared.look_again.notify_one();
        return Err("the log has no epoch".into());
    };
    if shard.found(epoch, end) == Found::Another {
        tracing::warn!(stream = shard.log, %epoch, "the log was made anew: every reader starts over");
    }
    let Some(position) = shard.position() else { return Ok(end) };
    if position <= end {
        *short_since = None;
    } else {
        // A new leader may not have come as far as it knows yet.
        if short_since.get_or_insert_with(Instant::now).elapsed() < SHORT {
            return Err(format!("the log seems to end at {end}, before {position}"));
        }
        *short_since = None;
        // A power cut took what had been acknowledged, or an old copy was brought back under the same epoch.
        tracing::error!(stream = shard.log, %position, %end, "the log ends before what was read from it: acknowledged \
            records are gone; every reader starts over");
        shard.restart();
        return Ok(end);
    }
    if position < info.trimmed_to() {
        shard.skip_to(info.trimmed_to());
        return Ok(info.trimmed_to());
    }
    Ok(position)
}

struct Consumer {
    name: String,
    messages: Subscriber,
    /// Its number of the last message.
    last: u64,
}

/// New records, and where they lead.
#[derive(Default)]
struct Chunk {
    end: Position,
    messages: Vec<Fresh>,
}

struct Fresh {
    at: Place,
    message: Message,
}

impl Consumer {
    async fn make(shared: &Shared, shard: &Shard, start: Position) -> Result<Self, AskError> {
        let away = |error: &dyn std::fmt::Display| AskError::Away(error.to_string());
        let client = shared.line.client();
        let inbox = client.new_inbox();
        let name = format!("tail-{}", inbox.rsplit('.').next().unwrap_or_default());
        let messages = client.subscribe(inbox.clone()).await.map_err(|error| away(&error))?;
        let config = json!({
            "stream_name": shard.log,
            "action": "create",
            "config": {
                "name": name,
                "description": "a node's tail",
                "deliver_subject": inbox,
                "deliver_policy": "by_start_sequence",
                "opt_start_seq": start.0 + 1,
                "ack_policy": "none",
                "max_deliver": 1,
                "replay_policy": "instant",
                "flow_control": true,
                "idle_heartbeat": HEARTBEAT.as_nanos() as u64,
                "inactive_threshold": Duration::from_secs(30).as_nanos() as u64,
                "mem_storage": true,
                "num_replicas": 1,
            },
        });
        let api = format!("CONSUMER.CREATE.{}.{name}", shard.log);
        shared.line.ask::<serde_json::Value>(api, config.to_string().into_bytes()).await?;
        Ok(Self { name, messages, last: 0 })
    }

    /// The next messages, at least one, heartbeats answered and looked at.
    async fn next(&mut self, shared: &Shared) -> Result<Chunk, String> {
        let mut chunk = Chunk::default();
        let mut next = self.messages.next().await;
        for _ in 0..CHUNK {
            let message = next.ok_or("the subscription ended")?;
            match message.status {
                None => self.take(message, &mut chunk)?,
                Some(_) => self.control(&message, shared).await?,
            }
            match self.messages.next().now_or_never() {
                Some(following) => next = following,
                None => break,
            }
        }
        Ok(chunk)
    }

    fn take(&mut self, message: Message, chunk: &mut Chunk) -> Result<(), String> {
        let place = message.reply.as_ref().and_then(|reply| Place::read(reply));
        let at = place.ok_or("a record came without its place")?;
        if at.delivered != self.last + 1 {
            return Err(format!("a hole: {} came after {}", at.delivered, self.last));
        }
        self.last = at.delivered;
        chunk.end = at.position;
        chunk.messages.push(Fresh { at, message });
        Ok(())
    }

    /// Heartbeats and flow control.
    async fn control(&mut self, message: &Message, shared: &Shared) -> Result<(), String> {
        let header = |name: &str| message.headers.as_ref()?.get(name).map(|value| value.as_str().to_owned());
        let answer_to =
            message.reply.as_ref().map(|reply| reply.to_string()).or_else(|| header("Nats-Consumer-Stalled"));
        if let Some(subject) = answer_to {
            let answered = shared.line.client().publish(subject, bytes::Bytes::new()).await;
            answered.map_err(|error| error.to_string())?;
        }
        match header("Nats-Last-Consumer").and_then(|last| last.parse::<u64>().ok()) {
            Some(last) if last != self.last => Err(format!("a hole: {last} were sent, {} came", self.last)),
            _ => Ok(()),
        }
    }

    async fn end(mut self, shared: &Shared, shard: &Shard) {
        // Whether or not this is heard: the server forgets a consumer that nobody listens to.
        let _ = self.messages.unsubscribe().await;
        let api = format!("CONSUMER.DELETE.{}.{}", shard.log, self.name);
        if shared.line.is_up() {
            let _ = timeout(HEARTBEAT, shared.line.ask::<serde_json::Value>(api, Vec::new())).await;
        }
    }
}

impl Chunk {
    fn give(self, shared: &Shared, shard: &Shard) {
        if self.end == Position::START {
            return; // heartbeats alone
        }
        shard.give(self.end, &self.messages, token_of, |prefix, Fresh { at, message }| {
            let (_, rest) = names::split(prefix, &message.subject)?;
            let stored = names::subject_in(rest).map(|subject| Stored {
                position: at.position,
                stored_at: at.time,
                subject,
                body: message.payload.clone(),
            });
            shared.record(stored)
        });
    }
}

fn token_of<'a>(prefix: &str, fresh: &'a Fresh) -> Option<&'a str> {
    names::split(prefix, &fresh.message.subject).map(|(token, _)| token)
}

/// What a delivery's reply subject tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    position: Position,
    delivered: u64,
    time: Timestamp,
}

impl Place {
    /// `$JS.ACK.<stream>.<consumer>.<times>.<stream seq>.<consumer seq>.<nanoseconds>.<pending>`, or the longer form with
    /// domain and account behind `ACK` and a random token at the end.
    fn read(reply: &str) -> Option<Self> {
        let tokens: Vec<_> = reply.split('.').collect();
        let numbers = match tokens.len() {
            9 => tokens.get(5..8)?,
            11.. => tokens.get(7..10)?,
            _ => return None,
        };
        let number = |index: usize| numbers.get(index)?.parse::<u64>().ok();
        let nanos = i64::try_from(number(2)?).ok()?;
        Some(Self { position: Position(number(0)?), delivered: number(1)?, time: Timestamp(nanos / 1_000_000) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_a_place_are_read() {
        let place = Place { position: Position(42), delivered: 7, time: Timestamp(1_700_000_000_123) };
        let short = "$JS.ACK.SYNC_LOG_0.tail-x.1.42.7.1700000000123456789.3";
        let long = "$JS.ACK.hub.ACCHASH.SYNC_LOG_0.tail-x.1.42.7.1700000000123456789.3.rnd";
        assert_eq!(Place::read(short), Some(place));
        assert_eq!(Place::read(long), Some(place));
        assert_eq!(Place::read("_INBOX.x"), None);
    }
}
