//! Raw JetStream requests, as an operator or a rival would make them.

use async_nats::{Client, ConnectOptions, HeaderMap, RequestErrorKind, Subscriber, ToServerAddrs, client::Request};
use bytes::Bytes;
use futures_util::StreamExt as _;
use serde_json::{Value, json};

use super::{until, within};

/// A connection that may do everything. Its requests wait for their one answer; only questions are asked again when
/// nobody answers, as during an election.
#[derive(Clone, Debug)]
pub struct Admin {
    client: Client,
    echo: Echo,
}

/// What tells a connection that the server has heard everything before it.
#[derive(Clone, Copy, Debug)]
enum Echo {
    /// A message to itself.
    Inbox,
    /// An answer of JetStream's, for who may not publish to inboxes.
    JetStream,
}

/// What JetStream said instead of doing it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// An error of JetStream's.
    Error {
        /// The class, as in HTTP.
        code: u64,
        /// What exactly: 10071 is a lost compare-and-set.
        err_code: u64,
        /// For people.
        description: String,
    },
    /// Nobody listens and nothing has happened: no JetStream, no such stream, no leader, or, in a cluster, a stream so new
    /// that this server has not heard of its subjects.
    NoResponders,
    /// No answer in time: no leader, no permission, or a server that stands still.
    Silent,
}

/// A stored message, as direct gets bring it.
#[derive(Clone, Debug)]
pub struct Message {
    /// Its position in the stream.
    pub seq: u64,
    /// Its subject.
    pub subject: String,
    /// Its headers, those of the direct get included.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

impl Admin {
    /// Connects to a server or, with commas between, to the first that is there of several.
    pub async fn connect(urls: &str) -> Self {
        Self::connect_with(ConnectOptions::new(), urls).await
    }

    /// The same as somebody, over TLS, with a prefix of its own for answers.
    pub async fn connect_with(options: ConnectOptions, urls: &str) -> Self {
        let urls: Vec<&str> = urls.split(',').collect();
        // In order: tests in which two of these talk to each other then have them on the same server.
        let options = options.retry_on_initial_connect().retain_servers_order();
        let client = within("a connection to NATS", options.connect(urls)).await.expect("the addresses are good");
        // With retries the client is there before its connection is.
        let is_connected =
            async || (client.connection_state() == async_nats::connection::State::Connected).then_some(());
        until("a connection to NATS", is_connected).await;
        Self { client, echo: Echo::Inbox }
    }

    /// For a user who may not publish to inboxes, not even to its own.
    #[must_use]
    pub fn with_few_rights(self) -> Self {
        Self { echo: Echo::JetStream, ..self }
    }

    /// The client under it.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// One request and its answer, whatever the subject.
    ///
    /// # Errors
    ///
    /// [`Refused::NoResponders`] and [`Refused::Silent`]; the answer may hold an error of its own.
    pub async fn request(
        &self,
        subject: &str,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<async_nats::Message, Refused> {
        let request = Request::new().headers(headers).payload(body);
        self.client.send_request(subject.to_owned(), request).await.map_err(|error| match error.kind() {
            RequestErrorKind::NoResponders => Refused::NoResponders,
            RequestErrorKind::TimedOut => Refused::Silent,
            kind => panic!("{subject}: {kind}: {error}"),
        })
    }

    /// The same, asked again while nobody listens: what was made on one server is known to the others a moment later.
    pub async fn request_until_heard(
        &self,
        subject: &str,
        body: impl Into<Bytes>,
    ) -> Result<async_nats::Message, Refused> {
        let body = body.into();
        until(&format!("somebody listens to {subject}"), async || {
            let answer = self.request(subject, HeaderMap::new(), body.clone()).await;
            (!matches!(answer, Err(Refused::NoResponders))).then_some(answer)
        })
        .await
    }

    /// Publishes to a stream that may be new and returns the position that the record got.
    pub async fn put(&self, subject: &str, body: impl Into<Bytes>) -> u64 {
        let answer = self.request_until_heard(subject, body).await.and_then(|answer| read_answer(&answer.payload));
        position(&answer.unwrap_or_else(|refused| panic!("{subject}: {refused:?}")))
    }

    /// A request to JetStream's own subjects: `api("STREAM.INFO.SYNC_LOG_0", json!({}))`.
    ///
    /// # Errors
    ///
    /// What JetStream answers instead, or that nobody does.
    pub async fn api(&self, what: &str, body: Value) -> Result<Value, Refused> {
        let body = if body.is_null() { Bytes::new() } else { body.to_string().into() };
        let answer = self.request(&format!("$JS.API.{what}"), HeaderMap::new(), body).await?;
        read_answer(&answer.payload)
    }

    /// `$JS.API.INFO`: streams, consumers, storage and limits of this account.
    pub async fn account_info(&self) -> Value {
        self.ask("INFO", json!(null)).await.expect("an account has JetStream")
    }

    /// What a stream says of itself (`config`, `state`, `cluster`, `sources`); `None` if there is none of this name.
    pub async fn stream_info(&self, stream: &str) -> Option<Value> {
        match self.ask(&format!("STREAM.INFO.{stream}"), json!(null)).await {
            Ok(info) => Some(info),
            Err(Refused::Error { err_code: 10059, .. }) => None,
            Err(refused) => panic!("{stream}: {refused:?}"),
        }
    }

    /// Waits until what a stream says of itself is as wanted, and returns it.
    pub async fn until_stream(&self, stream: &str, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        until(&format!("{stream}: {what}"), async || self.stream_info(stream).await.filter(&wanted)).await
    }

    /// Makes a stream: `{"name": "…", "subjects": ["…"]}`.
    pub async fn create_stream(&self, config: Value) -> Value {
        let name = config["name"].as_str().expect("a stream has a name").to_owned();
        let make = async || self.api(&format!("STREAM.CREATE.{name}"), config.clone()).await;
        let made = match make().await {
            // Servers that have just met replace their routes, and an answer may go down with one. The same stream is made once.
            Err(Refused::Silent) => make().await,
            made => made,
        };
        made.unwrap_or_else(|refused| panic!("{name}: {refused:?}"))
    }

    /// Changes a stream's settings: `change` gets the present ones.
    pub async fn update_stream(&self, stream: &str, change: impl FnOnce(&mut Value)) -> Value {
        let mut info = self.stream_info(stream).await.expect("a stream that is changed is there");
        change(&mut info["config"]);
        let changed = self.api(&format!("STREAM.UPDATE.{stream}"), info["config"].take()).await;
        changed.unwrap_or_else(|refused| panic!("{stream}: {refused:?}"))
    }

    /// Removes a stream with all that it holds.
    pub async fn delete_stream(&self, stream: &str) {
        self.must(&format!("STREAM.DELETE.{stream}"), json!(null)).await;
    }

    /// Removes everything up to and with this position, as retention would.
    pub async fn purge_to(&self, stream: &str, seq: u64) {
        self.must(&format!("STREAM.PURGE.{stream}"), json!({"seq": seq + 1})).await;
    }

    /// Removes everything on these subjects.
    pub async fn purge_subject(&self, stream: &str, filter: &str) {
        self.must(&format!("STREAM.PURGE.{stream}"), json!({"filter": filter})).await;
    }

    /// Asks a stream's leader to hand over; the next one may not be there yet.
    pub async fn step_down(&self, stream: &str) {
        self.must(&format!("STREAM.LEADER.STEPDOWN.{stream}"), json!(null)).await;
    }

    /// Publishes to a stream and returns the position that it got.
    ///
    /// # Errors
    ///
    /// What JetStream answers instead, or that nobody does: with [`Refused::Silent`] it may be stored all the same.
    pub async fn publish(
        &self,
        subject: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Result<u64, Refused> {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let headers = headers.fold(HeaderMap::new(), |mut headers, (name, value)| {
            headers.append(name.as_str(), value.as_str());
            headers
        });
        let answer = self.request(subject, headers, body.into()).await?;
        read_answer(&answer.payload).map(|ack| position(&ack))
    }

    /// Direct gets: one message, or with `batch` as many as come, up to what is asked for.
    ///
    /// # Errors
    ///
    /// What the answering server says instead: 404 when there is nothing.
    pub async fn direct_get(&self, stream: &str, request: Value) -> Result<Vec<Message>, Refused> {
        let is_batch = request.get("batch").is_some() || request.get("multi_last").is_some();
        let inbox = self.client.new_inbox();
        let mut answers = self.client.subscribe(inbox.clone()).await.expect("subscribed");
        let subject = format!("$JS.API.DIRECT.GET.{stream}");
        let sent = self.client.publish_with_reply(subject, inbox, request.to_string().into()).await;
        sent.expect("the connection is there");
        let mut messages = Vec::new();
        loop {
            let answer = within("an answer to a direct get", answers.next()).await.expect("subscribed");
            match answer.status.map(|status| status.as_u16()) {
                None => messages.push(message_of(answer)),
                Some(204) => return Ok(messages),
                Some(503) => return Err(Refused::NoResponders),
                Some(code) => {
                    let description = answer.description.unwrap_or_default();
                    return Err(Refused::Error { code: code.into(), err_code: 0, description });
                }
            }
            if !is_batch {
                return Ok(messages);
            }
        }
    }

    /// Subscribes, and returns when the server has heard of it: what is published there afterwards comes. In a cluster the
    /// other servers hear of it a moment later.
    pub async fn subscribe(&self, subject: &str) -> Subscriber {
        let subscriber = self.client.subscribe(subject.to_owned()).await.expect("subscribed");
        self.round_trip().await;
        subscriber
    }

    /// Returns when the server has taken in everything that this connection sent before.
    pub async fn round_trip(&self) {
        match self.echo {
            Echo::Inbox => {
                let inbox = self.client.new_inbox();
                let mut back = self.client.subscribe(inbox.clone()).await.expect("subscribed");
                self.client.publish(inbox, Bytes::new()).await.expect("the connection is there");
                within("a round trip to NATS", back.next()).await.expect("subscribed");
            }
            Echo::JetStream => {
                self.account_info().await;
            }
        }
    }

    /// A question: asked again while nobody answers or JetStream has no leader.
    async fn ask(&self, what: &str, body: Value) -> Result<Value, Refused> {
        until(what, async || match self.api(what, body.clone()).await {
            Err(Refused::NoResponders | Refused::Silent | Refused::Error { code: 503, .. }) => None,
            answer => Some(answer),
        })
        .await
    }

    async fn must(&self, what: &str, body: Value) {
        let answer = self.api(what, body).await;
        let answer = answer.unwrap_or_else(|refused| panic!("{what}: {refused:?}"));
        assert!(answer.get("success").is_none_or(|success| *success == true), "{what}: {answer}");
    }
}

fn read_answer(payload: &[u8]) -> Result<Value, Refused> {
    let mut answer: Value = serde_json::from_slice(payload).expect("JetStream answers JSON");
    let Some(error) = answer.get_mut("error").map(Value::take) else { return Ok(answer) };
    Err(Refused::Error {
        code: error["code"].as_u64().unwrap_or_default(),
        err_code: error["err_code"].as_u64().unwrap_or_default(),
        description: error["description"].as_str().unwrap_or_default().to_owned(),
    })
}

fn position(ack: &Value) -> u64 {
    ack["seq"].as_u64().expect("an ack has a position")
}

fn message_of(answer: async_nats::Message) -> Message {
    let headers = answer.headers.unwrap_or_default();
    let header = |name: &str| headers.get(name).map(|value| value.as_str().to_owned());
    let seq = header("Nats-Sequence").and_then(|seq| seq.parse().ok()).expect("a direct get names the position");
    let subject = header("Nats-Subject").expect("a direct get names the subject");
    Message { seq, subject, headers, body: answer.payload }
}
