//! The yardstick for publishing on NATS: one async-nats client that does nothing else, on a stream like a node's log.
//!
//! It is the least that such a client can do: bodies that are made once, acknowledgements over one subscription, a window,
//! no retries. The stream is its own, with a name and subjects of its own, and is deleted after the run.

use std::{thread, time::Duration};

use anyhow::{Context, bail};
use async_nats::{Client, ConnectOptions, HeaderMap, Message, Subscriber};
use bytes::Bytes;
use futures_util::{FutureExt, StreamExt};
use hdrhistogram::Histogram;
use memchr::memmem;
use serde_json::Value;
use tokio::time::{Instant, timeout};
use uuid::Uuid;

use super::{crowd::histogram, frames};
use crate::{
    backbone::{
        Subject,
        nats::{
            Names,
            definition::{Definition, Shape},
        },
    },
    model::{EventId, InstanceId, TenantId, Timestamp},
    wire::record::Publish,
};

/// As a node's log by default.
const MAX_AGE: Duration = Duration::from_secs(30 * 24 * 3600);
/// Without an acknowledgement for so long, the run is over.
const SILENCE: Duration = Duration::from_secs(20);
/// Acknowledgements that may wait for us.
const WAITING: usize = 65_536;

/// Whether the server is asked to look for repeats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeats {
    /// Each message has an id, as a node's have.
    Found,
    /// None has.
    Taken,
}

/// What to publish.
#[derive(Clone, Debug)]
pub struct Order {
    /// How many.
    pub events: u64,
    /// Unacknowledged at a time.
    pub window: usize,
    /// Bytes of an event's data; the record is larger, as a node's is.
    pub size: usize,
    /// With ids or without.
    pub repeats: Repeats,
    /// When the run is over, finished or not.
    pub deadline: Instant,
}

/// What became of it.
#[derive(Debug)]
pub struct Published {
    /// Messages that were acknowledged.
    pub acknowledged: u64,
    /// Nanoseconds from sending to the ack.
    pub latency: Histogram<u64>,
    /// From the first message to the last ack.
    pub took: Duration,
}

/// A stream for one kind of run.
#[derive(Debug)]
pub struct RawStream {
    url: String,
    client: Client,
    definition: Definition,
    names: Names,
    tenant: TenantId,
}

impl RawStream {
    /// Makes a stream as a node would make its log, without a bound in bytes.
    pub async fn make(url: &str, replicas: u16, tenant: &TenantId) -> anyhow::Result<Self> {
        let client = connect(url).await?;
        let names = Names::new(&format!("bench-{:08x}", fastrand::u32(..)), 1);
        let shape = Shape { names: names.clone(), replicas, max_age: Some(MAX_AGE), max_bytes: None };
        let definition = Definition::log(&shape, 0);
        let stream = Self { url: url.to_owned(), client, definition, names, tenant: tenant.clone() };
        stream.ask("CREATE", stream.definition.to_request(None, None)).await?;
        Ok(stream)
    }

    /// Deletes it.
    pub async fn delete(self) -> anyhow::Result<()> {
        self.ask("DELETE", Vec::new()).await.map(drop)
    }

    async fn ask(&self, what: &str, body: Vec<u8>) -> anyhow::Result<Value> {
        let api = format!("$JS.API.STREAM.{what}.{}", self.definition.name);
        let answer =
            self.client.request(api.clone(), body.into()).await.with_context(|| format!("no answer to {api}"))?;
        let answer: Value = serde_json::from_slice(&answer.payload)?;
        match answer.get("error") {
            Some(error) => bail!("{api} was refused: {error}"),
            None => Ok(answer),
        }
    }

    /// Publishes everything, from a client and threads of its own.
    pub async fn publish(&self, order: Order) -> anyhow::Result<Published> {
        let event = Subject::Event("bench".parse()?);
        let (subject, body) = (self.names.record(&self.tenant, &event), record(&self.tenant, order.size)?);
        let url = self.url.clone();
        let (answer, outcome) = tokio::sync::oneshot::channel();
        thread::spawn(move || {
            // Whoever asked has given up; there is nobody left to tell.
            let _ = answer.send(run(&url, subject, body, &order));
        });
        outcome.await.context("the publisher's thread has died")?
    }
}

async fn connect(url: &str) -> anyhow::Result<Client> {
    let options = ConnectOptions::new().name("continuum bench").subscription_capacity(WAITING);
    let options = crate::backbone::nats::with_user_of(options, url)?;
    options.connect(url).await.with_context(|| format!("cannot connect to {}", crate::config::without_credentials(url)))
}

/// A record as a node would store it.
fn record(tenant: &TenantId, size: usize) -> anyhow::Result<Bytes> {
    let data = frames::Stamp { sent: frames::now(), number: 0, publisher: 0 }.data(size);
    let publish = Publish {
        id: EventId(Uuid::new_v4()),
        event_type: "bench".parse()?,
        timestamp: None,
        data: serde_json::value::RawValue::from_string(data)?,
    };
    let instance: InstanceId = "bench-publisher-0".parse()?;
    Ok(publish.to_body(tenant, &instance, Timestamp(1_765_015_200_000)))
}

fn run(url: &str, subject: String, body: Bytes, order: &Order) -> anyhow::Result<Published> {
    // As many as a node gives its line.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let client = connect(url).await?;
        let inbox = client.new_inbox();
        let acks = client.subscribe(format!("{inbox}.*")).await?;
        client.flush().await?;
        let done = Published { acknowledged: 0, latency: histogram(), took: Duration::ZERO };
        Publisher { client, acks, inbox, subject, body, sent_at: Vec::new(), done }.work(order).await
    })
}

struct Publisher {
    client: Client,
    acks: Subscriber,
    inbox: String,
    subject: String,
    body: Bytes,
    sent_at: Vec<u64>,
    done: Published,
}

impl Publisher {
    async fn work(mut self, order: &Order) -> anyhow::Result<Published> {
        let began = Instant::now();
        while self.done.acknowledged < order.events {
            while (self.sent_at.len() as u64) < order.events && self.in_flight() < order.window {
                self.send(order.repeats).await?;
            }
            let Ok(Some(ack)) = timeout(SILENCE, self.acks.next()).await else {
                bail!("{} of {} messages were acknowledged, then nothing came", self.done.acknowledged, order.events);
            };
            self.take(&ack)?;
            while let Some(Some(ack)) = self.acks.next().now_or_never() {
                self.take(&ack)?;
            }
            if Instant::now() > order.deadline {
                bail!("publishing did not finish: {} of {} were acknowledged", self.done.acknowledged, order.events);
            }
        }
        self.done.took = began.elapsed();
        Ok(self.done)
    }

    fn in_flight(&self) -> usize {
        self.sent_at.len() - usize::try_from(self.done.acknowledged).unwrap_or(usize::MAX)
    }

    async fn send(&mut self, repeats: Repeats) -> anyhow::Result<()> {
        let reply = format!("{}.{}", self.inbox, self.sent_at.len());
        self.sent_at.push(frames::now());
        let (client, subject, body) = (&self.client, self.subject.clone(), self.body.clone());
        match repeats {
            Repeats::Taken => client.publish_with_reply(subject, reply, body).await?,
            Repeats::Found => {
                let mut headers = HeaderMap::new();
                let mut id = [0; uuid::fmt::Hyphenated::LENGTH];
                headers.insert("Nats-Msg-Id", &*Uuid::new_v4().as_hyphenated().encode_lower(&mut id));
                client.publish_with_reply_and_headers(subject, reply, headers, body).await?;
            }
        }
        Ok(())
    }

    fn take(&mut self, ack: &Message) -> anyhow::Result<()> {
        let number = ack.subject.rsplit('.').next().and_then(|number| number.parse::<usize>().ok());
        let sent_at = number.and_then(|number| self.sent_at.get(number)).context("an ack for nothing that was sent")?;
        if ack.status.is_some() || memmem::find(&ack.payload, b"\"error\"").is_some() {
            bail!("a message was refused: {:?} {}", ack.status, String::from_utf8_lossy(&ack.payload));
        }
        self.done.latency.record(frames::now().saturating_sub(*sent_at))?;
        self.done.acknowledged += 1;
        Ok(())
    }
}
