//! The yardstick for publishing on NATS: one async-nats client that does nothing else, on a stream like a node's log.
//!
//! It is the least that such a client can do: bodies that are made once, an id on each, acknowledgements over one
//! subscription, a window, no retries. The stream is its own, with a name and subjects of its own, and is deleted after the
//! run. It can be asked for what a node needs on top: that everything comes back, and that a second stream keeps entities.

use std::{iter, thread, time::Duration};

use anyhow::{Context, bail};
use async_nats::{Client, ConnectOptions, HeaderMap, Message, Subscriber};
use bytes::Bytes;
use futures_util::{FutureExt, StreamExt};
use hdrhistogram::Histogram;
use memchr::memmem;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

use super::{
    crowd::histogram,
    frames,
    publisher::{Pace, due},
};
use crate::{
    backbone::{
        Subject,
        nats::{
            self, Names,
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

/// What the client does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Duty {
    /// It publishes.
    Write,
    /// It gets everything back through a consumer as well, and entities would go to a second stream: as a node has it.
    WriteAndRead,
}

/// What to publish.
#[derive(Clone, Debug)]
pub struct Order {
    /// How many.
    pub events: u64,
    /// When.
    pub pace: Pace,
    /// Bytes of an event's data; the record is larger, as a node's is.
    pub size: usize,
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
    log: Definition,
    state: Option<Definition>,
    names: Names,
    tenant: TenantId,
}

impl RawStream {
    /// Makes a stream as a node would make its log, without a bound in bytes, and what the duty needs beside it.
    pub async fn make(url: &str, replicas: u16, tenant: &TenantId, duty: Duty) -> anyhow::Result<Self> {
        let client = connect(url).await?;
        let names = Names::new(&format!("bench-{:08x}", fastrand::u32(..)), 1);
        let shape = Shape { names: names.clone(), replicas, max_age: Some(MAX_AGE), max_bytes: None };
        let log = Definition::log(&shape, 0);
        let state = (duty == Duty::WriteAndRead).then(|| Definition::state(&shape, 0));
        let stream = Self { url: url.to_owned(), client, log, state, names, tenant: tenant.clone() };
        for definition in stream.definitions() {
            ask(&stream.client, &format!("STREAM.CREATE.{}", definition.name), definition.to_request(None, None))
                .await?;
        }
        Ok(stream)
    }

    fn definitions(&self) -> impl Iterator<Item = &Definition> {
        iter::once(&self.log).chain(&self.state)
    }

    /// Deletes it.
    pub async fn delete(self) -> anyhow::Result<()> {
        for definition in self.definitions() {
            ask(&self.client, &format!("STREAM.DELETE.{}", definition.name), Vec::new()).await?;
        }
        Ok(())
    }

    /// Publishes everything, from a client and threads of its own.
    pub async fn publish(&self, order: Order) -> anyhow::Result<Published> {
        let event = Subject::Event("bench".parse()?);
        let (subject, body) = (self.names.record(&self.tenant, &event), record(&self.tenant, order.size)?);
        let url = self.url.clone();
        let read = self.state.is_some().then(|| self.log.name.clone());
        let (answer, outcome) = tokio::sync::oneshot::channel();
        thread::spawn(move || {
            // Whoever asked has given up; there is nobody left to tell.
            let _ = answer.send(run(&url, read, subject, body, &order));
        });
        outcome.await.context("the publisher's thread has died")?
    }
}

async fn ask(client: &Client, what: &str, body: Vec<u8>) -> anyhow::Result<()> {
    let api = format!("$JS.API.{what}");
    let answer = client.request(api.clone(), body.into()).await.with_context(|| format!("no answer to {api}"))?;
    let answer: Value = serde_json::from_slice(&answer.payload)?;
    match answer.get("error") {
        Some(error) => bail!("{api} was refused: {error}"),
        None => Ok(()),
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
        reference: None,
        sig: None,
        timestamp: None,
        data: serde_json::value::RawValue::from_string(data)?,
    };
    let instance: InstanceId = "bench-publisher-0".parse()?;
    Ok(publish.to_body(tenant, &instance, Timestamp(1_765_015_200_000)))
}

fn run(url: &str, read: Option<String>, subject: String, body: Bytes, order: &Order) -> anyhow::Result<Published> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(nats::THREADS).enable_all().build()?;
    runtime.block_on(async {
        let client = connect(url).await?;
        let inbox = client.new_inbox();
        let acks = client.subscribe(format!("{inbox}.*")).await?;
        client.flush().await?;
        if let Some(stream) = read {
            read_all(&client, &stream).await?;
        }
        let done = Published { acknowledged: 0, latency: histogram(), took: Duration::ZERO };
        Publisher { client, acks, inbox, subject, body, sent_at: Vec::new(), done }.work(order).await
    })
}

/// Lets the stream send everything to this client, which looks at nothing. The consumer goes with the connection.
async fn read_all(client: &Client, stream: &str) -> anyhow::Result<()> {
    let inbox = client.new_inbox();
    let mut records = client.subscribe(inbox.clone()).await?;
    let config =
        json!({ "deliver_subject": inbox, "deliver_policy": "new", "ack_policy": "none", "mem_storage": true });
    let request = json!({ "stream_name": stream, "config": config });
    ask(client, &format!("CONSUMER.CREATE.{stream}"), request.to_string().into_bytes()).await?;
    tokio::spawn(async move { while records.next().await.is_some() {} });
    Ok(())
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
        let mut heard = began;
        while self.done.acknowledged < order.events {
            let next = self.fill(order, began).await?;
            match timeout_at(next.min(heard + SILENCE), self.acks.next()).await {
                Ok(Some(ack)) => self.take(&ack)?,
                Ok(None) => bail!("the client has ended"),
                Err(_) if heard.elapsed() < SILENCE => continue,
                Err(_) => bail!("{} of {} were acknowledged, then nothing came", self.done.acknowledged, order.events),
            }
            while let Some(Some(ack)) = self.acks.next().now_or_never() {
                self.take(&ack)?;
            }
            heard = Instant::now();
            if heard > order.deadline {
                bail!("publishing did not finish: {} of {} were acknowledged", self.done.acknowledged, order.events);
            }
        }
        self.done.took = began.elapsed();
        Ok(self.done)
    }

    /// Sends what may go now; returns when the next may go whether or not anything is acknowledged.
    async fn fill(&mut self, order: &Order, began: Instant) -> anyhow::Result<Instant> {
        let now = Instant::now();
        while (self.sent_at.len() as u64) < order.events {
            match order.pace {
                Pace::Window(window, _) if self.in_flight() >= window => break,
                Pace::Window(..) => self.send(frames::now()).await?,
                Pace::Rate(rate) => match due(began, rate, self.sent_at.len() as u64, now) {
                    Ok(moment) => self.send(moment).await?,
                    Err(later) => return Ok(later),
                },
            }
        }
        Ok(now + SILENCE)
    }

    fn in_flight(&self) -> usize {
        self.sent_at.len() - usize::try_from(self.done.acknowledged).unwrap_or(usize::MAX)
    }

    async fn send(&mut self, moment: u64) -> anyhow::Result<()> {
        let reply = format!("{}.{}", self.inbox, self.sent_at.len());
        self.sent_at.push(moment);
        let mut headers = HeaderMap::new();
        let mut id = [0; uuid::fmt::Hyphenated::LENGTH];
        headers.insert("Nats-Msg-Id", &*Uuid::new_v4().as_hyphenated().encode_lower(&mut id));
        let (subject, body) = (self.subject.clone(), self.body.clone());
        Ok(self.client.publish_with_reply_and_headers(subject, reply, headers, body).await?)
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
