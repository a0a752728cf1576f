//! What a node does, done in small: each request that it needs is really made, in a form that changes nothing.

use std::time::Duration;

use async_nats::{HeaderMap, client::Request};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::{
    super::{api::StreamInfo, line::AskError},
    Examiner,
};

/// A stream that nobody has: a publish that expects it is refused, and a request to make it under another's subject too.
const NO_STREAM: &str = "CONTINUUM-DOCTOR";
/// How long the server may take to say that something is forbidden.
const COMPLAINT: Duration = Duration::from_millis(100);
/// How long the server keeps a consumer of ours if we cannot delete it.
const FORGETS: Duration = Duration::from_secs(5);

/// Whether a request failed because it is not allowed.
pub(super) fn is_forbidden(error: &AskError) -> bool {
    matches!(error, AskError::Away(why) if why.contains("ermissions Violation"))
}

/// What was tried.
#[derive(Default)]
struct Tried {
    answered: usize,
    forbidden: usize,
}

impl Examiner {
    /// Tries everything.
    pub(super) async fn permissions(&mut self) {
        let mut tried = Tried::default();
        let names = self.shape.names.clone();
        for shard in 0..names.shards() {
            for stream in [names.log_stream(shard), names.state_stream(shard)] {
                self.read(&stream, &mut tried).await;
            }
            self.consume(&names.log_stream(shard), &mut tried).await;
            self.publish(format!("{}doctor.event.doctor", names.log_prefix(shard)), &mut tried).await;
        }
        self.read(&names.kept_stream(), &mut tried).await;
        for subject in names.kept_subjects() {
            self.publish(subject.replace('*', "doctor"), &mut tried).await;
        }
        self.listen(names.channel(&crate::backbone::Channel::Nodes), &mut tried).await;
        let Tried { answered, forbidden } = tried;
        if forbidden == 0 {
            self.fine(format!("{answered} requests of a node were tried, and all are allowed"));
        }
    }

    /// Making a stream (if it is not there) and reading it.
    async fn read(&mut self, stream: &str, tried: &mut Tried) {
        // If nobody can say whether it stands, that was told with the streams.
        let stands = matches!(StreamInfo::get(&self.line, stream).await, Ok(Some(_)));
        if !stands {
            self.ask(format!("STREAM.CREATE.{stream}"), json!({"name": NO_STREAM}), tried).await;
        }
        self.ask(format!("DIRECT.GET.{stream}"), json!({"seq": 1}), tried).await;
        self.ask(format!("STREAM.MSG.GET.{stream}"), json!({"seq": 1}), tried).await;
        // There is no message 0.
        self.ask(format!("STREAM.MSG.DELETE.{stream}"), json!({"seq": 0}), tried).await;
    }

    /// A consumer, made and deleted.
    async fn consume(&mut self, stream: &str, tried: &mut Tried) {
        let name = format!("doctor-{:08x}", fastrand::u32(..));
        let config = json!({
            "stream_name": stream,
            "action": "create",
            "config": {
                "name": name,
                "description": "made to see whether it may be, and deleted at once",
                "deliver_policy": "new",
                "ack_policy": "none",
                "inactive_threshold": u64::try_from(FORGETS.as_nanos()).unwrap_or(u64::MAX),
                "mem_storage": true,
                "num_replicas": 1,
            },
        });
        self.ask(format!("CONSUMER.CREATE.{stream}.{name}"), config, tried).await;
        self.ask(format!("CONSUMER.DELETE.{stream}.{name}"), Value::Null, tried).await;
    }

    /// A publish that the stream refuses, because it expects to be in another.
    async fn publish(&mut self, subject: String, tried: &mut Tried) {
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Expected-Stream", NO_STREAM);
        let request = Request::new().headers(headers).payload("doctor".into());
        let forbidden = self.line.forbids(&subject);
        let why = tokio::select! {
            // Whatever the answer is: that there is one is the answer.
            _ = self.line.client().send_request(subject.clone(), request) => None,
            why = forbidden => Some(why),
        };
        self.note(&format!("publishing to {subject}"), why, tried);
    }

    /// A subscription. What is not forbidden in a moment is allowed.
    async fn listen(&mut self, subject: String, tried: &mut Tried) {
        let forbidden = self.line.forbids(&subject);
        let listening = self.line.client().subscribe(subject.clone()).await;
        let why = timeout(COMPLAINT, forbidden).await.ok();
        drop(listening);
        self.note(&format!("listening to {subject}"), why, tried);
    }

    /// A request to JetStream. A refusal is an answer: it may ask.
    async fn ask(&mut self, api: String, body: Value, tried: &mut Tried) {
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let subject = format!("$JS.API.{api}");
        let refused = self.line.request(subject, body.into()).await.err().filter(is_forbidden);
        self.note(&api, refused.map(|error| error.to_string()), tried);
    }

    fn note(&mut self, what: &str, forbidden: Option<String>, tried: &mut Tried) {
        let Some(why) = forbidden else {
            tried.answered += 1;
            return;
        };
        tried.forbidden += 1;
        self.failed(what, &AskError::Away(why));
    }
}
