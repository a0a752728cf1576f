//! The connection to NATS: made once, kept for good, and its requests.
//!
//! Owns: whether there is a line and what the server complained about last; requests to the JetStream API. Must not
//! know: what the streams mean.

mod credentials;

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use async_nats::{Client, ConnectOptions, Event, RequestErrorKind, ServerError, ServerInfo, connection::State};
use bytes::Bytes;
use futures_util::{StreamExt, stream::FuturesUnordered};
use serde::{Deserialize, de::DeserializeOwned};
use tokio::{sync::watch, time::interval};

pub use credentials::{Credentials, with_user_of};

/// How long an answer from the JetStream API may take.
pub const ANSWER: Duration = Duration::from_secs(2);
/// After which a question is sent once more: a stream without a leader drops it without a word, and the next leader, who may
/// be there in a moment, has not heard it.
pub const AGAIN: Duration = Duration::from_millis(400);
/// How often the line is tried; two pings without an answer end it.
const PING: Duration = Duration::from_secs(2);
/// The longest pause between two tries to connect.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// How long a complaint of the server explains what else went wrong.
const COMPLAINT_HOLDS: Duration = Duration::from_secs(10);

/// How the line is secured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// Whether a server without TLS is refused.
    pub required: bool,
    /// Trusted roots beside the system's.
    pub ca: Option<PathBuf>,
    /// Our certificate and its key, for servers that verify clients.
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// Where and how to connect.
#[derive(Clone, Debug)]
pub struct Target {
    /// The servers, any of them.
    pub urls: Vec<String>,
    /// Who we are.
    pub credentials: Credentials,
    /// How it is secured.
    pub tls: Tls,
    /// What all our inboxes begin with.
    pub inbox_prefix: String,
    /// Messages that may wait in one subscription.
    pub subscription_capacity: usize,
}

/// Why a target is none.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// The credentials cannot be read.
    #[error("nats.credentials: {path} {why}")]
    Credentials {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The URLs or certificates cannot be used.
    #[error("cannot connect to NATS: {0}")]
    Connect(String),
}

/// Why a request has no good answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AskError {
    /// Nobody answered in time: no line, no leader, no permission. Says what is known.
    #[error("{0}")]
    Away(String),
    /// The server refused.
    #[error("{description} ({code})")]
    Refused {
        /// JetStream's own error code.
        code: u64,
        /// Its words.
        description: String,
    },
}

/// What was heard last that explains why something does not work, and when.
type Complaint = Option<(Instant, String)>;

/// The line.
#[derive(Clone, Debug)]
pub struct Line {
    client: Client,
    /// Rises with every connection.
    connections: watch::Receiver<u64>,
    complaints: watch::Receiver<Complaint>,
}

impl Line {
    /// Connects in the background, again and again, on the runtime that runs this.
    ///
    /// # Errors
    ///
    /// When the target cannot even be tried.
    pub async fn open(target: &Target) -> Result<Self, TargetError> {
        let (made, connections) = watch::channel(0);
        let (complained, complaints) = watch::channel(None);
        let mut options = ConnectOptions::new()
            .name("continuum")
            .custom_inbox_prefix(&target.inbox_prefix)
            .ping_interval(PING)
            .request_timeout(Some(ANSWER))
            .subscription_capacity(target.subscription_capacity)
            .retry_on_initial_connect()
            .max_reconnects(None)
            .reconnect_delay_callback(pause)
            .require_tls(target.tls.required)
            // Ours are made of tokens that cannot be wrong.
            .skip_subject_validation(true)
            .event_callback(move |event| {
                heard(&event, &made, &complained);
                async {}
            });
        if let Some(ca) = &target.tls.ca {
            options = options.add_root_certificates(ca.clone());
        }
        if let Some((certificate, key)) = &target.tls.identity {
            options = options.add_client_certificate(certificate.clone(), key.clone());
        }
        options = credentials::added(options, target)?;
        let client = options.connect(&target.urls).await.map_err(|error| TargetError::Connect(error.to_string()))?;
        Ok(Self { client, connections, complaints })
    }

    /// The client underneath.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Whether the line stands now.
    pub fn is_up(&self) -> bool {
        self.client.connection_state() == State::Connected
    }

    /// What the server says of itself; `None` before the first connection.
    pub fn server(&self) -> Option<ServerInfo> {
        self.client.try_server_info()
    }

    /// Changes with every new connection.
    pub fn connections(&self) -> watch::Receiver<u64> {
        self.connections.clone()
    }

    /// What the server complained about a moment ago; a forbidden request shows itself only so.
    pub fn complaint(&self) -> Option<String> {
        let last = self.complaints.borrow();
        last.as_ref().filter(|(at, _)| at.elapsed() < COMPLAINT_HOLDS).map(|(_, text)| text.clone())
    }

    /// Ends when the server says, from now on, that this subject is forbidden to us; with its words.
    pub fn forbids(&self, subject: &str) -> impl Future<Output = String> + use<> {
        let (mut complaints, subject) = (self.complaints.clone(), format!("\"{subject}\""));
        complaints.mark_unchanged();
        async move {
            loop {
                if complaints.changed().await.is_err() {
                    // The line is gone, and nothing more is said.
                    return std::future::pending().await;
                }
                let said = complaints.borrow_and_update().as_ref().map(|(_, text)| text.clone()).unwrap_or_default();
                if said.contains(&subject) {
                    return said;
                }
            }
        }
    }

    /// Asks the JetStream API; sends the question again until there is an answer, so it must be one that may be sent twice.
    pub async fn ask<T: DeserializeOwned>(&self, api: String, body: Vec<u8>) -> Result<T, AskError> {
        let (subject, body) = (format!("$JS.API.{api}"), Bytes::from(body));
        let (mut asked, mut again) = (FuturesUnordered::new(), interval(AGAIN));
        let answer = loop {
            tokio::select! {
                biased;
                Some(answer) = asked.next() => break answer?,
                _ = again.tick() => asked.push(self.request(subject.clone(), body.clone())),
            }
        };
        #[derive(Deserialize)]
        struct Refused {
            error: Option<ApiError>,
        }
        #[derive(Deserialize)]
        struct ApiError {
            #[serde(default)]
            err_code: u64,
            #[serde(default)]
            description: String,
        }
        if let Ok(Refused { error: Some(ApiError { err_code: code, description }) }) = serde_json::from_slice(&answer) {
            return Err(AskError::Refused { code, description });
        }
        serde_json::from_slice(&answer)
            .map_err(|error| AskError::Away(format!("{api} was answered strangely: {error}")))
    }

    /// Waits for something that a new connection cannot bring any more.
    pub async fn unless_cut<T>(&self, waiting: impl Future<Output = T>) -> Result<T, AskError> {
        let mut connections = self.connections.clone();
        connections.mark_unchanged();
        tokio::select! {
            answer = waiting => Ok(answer),
            _ = connections.changed() => Err(AskError::Away("the connection to NATS was lost".into())),
        }
    }

    /// Asks anybody. A request that the server forbids ends as soon as the server says so.
    pub async fn request(&self, subject: String, body: Bytes) -> Result<Bytes, AskError> {
        if !self.is_up() {
            return Err(AskError::Away("no connection to NATS".into()));
        }
        let forbidden = self.forbids(&subject);
        let answer = tokio::select! {
            answer = self.unless_cut(self.client.request(subject.clone(), body)) => answer?,
            why = forbidden => return Err(AskError::Away(why)),
        };
        match answer {
            Ok(message) => Ok(message.payload),
            Err(error) => Err(AskError::Away(match (self.complaint(), error.kind()) {
                (Some(complaint), _) => complaint,
                (None, RequestErrorKind::TimedOut) => format!("no answer to {subject} within {ANSWER:?}"),
                (None, RequestErrorKind::NoResponders) => format!("nobody answers {subject}: is JetStream on?"),
                (None, _) => error.to_string(),
            })),
        }
    }
}

/// From 50 ms on, doubled up to the longest, with jitter so that nodes do not come back in step.
fn pause(attempt: usize) -> Duration {
    let doubled = Duration::from_millis(25) * (1 << attempt.min(7));
    doubled.min(LONGEST_PAUSE).mul_f64(0.5 + fastrand::f64() / 2.0)
}

fn heard(event: &Event, made: &watch::Sender<u64>, complained: &watch::Sender<Complaint>) {
    let complain = |text: &str| {
        // Nobody may listen any more; the client says who speaks.
        complained.send_replace(Some((Instant::now(), text.trim_start_matches("nats: ").to_owned())));
    };
    match event {
        Event::Connected => {
            tracing::info!("connected to NATS");
            made.send_modify(|connections| *connections += 1);
        }
        Event::Disconnected => tracing::warn!("the connection to NATS is lost; trying again"),
        // The gap that this makes is found and mended by whoever reads the subscription.
        Event::SlowConsumer(_) => tracing::warn!("a subscription was overrun"),
        Event::ServerError(error) => {
            tracing::warn!(%error, "NATS complains");
            match error {
                ServerError::Other(text) => complain(&format!("NATS says: {text}")),
                error => complain(&error.to_string()),
            }
        }
        Event::ClientError(error) => {
            tracing::debug!(%error, "cannot reach NATS");
            complain(&error.to_string());
        }
        Event::LameDuckMode | Event::Draining | Event::Closed => tracing::info!(%event, "NATS"),
    }
}
