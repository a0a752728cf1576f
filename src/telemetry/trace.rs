//! Traces over OTLP (HTTP with JSON): where an event was when, from its publish to its delivery on every node.
//!
//! Owns: whose events are followed, the ids of their spans, and the thread that sends them. A trace's id is made of the
//! event's own, by every node alike: so nothing is carried with a record, and whoever reads it knows whether it is followed.
//! Must not know: rooms, logs. Never holds anybody up: what the collector does not take is counted and dropped.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use serde_json::{Value, json};
use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Spans that may wait for the thread.
const WAITING: usize = 4096;
/// Spans in one request.
const TOGETHER: usize = 512;
/// How long spans wait for others.
const GATHER: Duration = Duration::from_millis(500);

/// What is followed: an event, by the id under which its repeats are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trace(Uuid);

/// A moment, in nanoseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(u64);

/// What happened to an event in some time. Its name says what, and which span it belongs to follows from that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The publisher's room had it, until the log's answer.
    Publish,
    /// The log had it, until a node's room had it too.
    Feed,
    /// The room had it, until it was sent to the members of one of its threads.
    Deliver {
        /// The thread.
        outlet: u64,
    },
}

/// A value that is shown with a span.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shown {
    /// A text.
    Text(String),
    /// A number.
    Number(u64),
}

/// One span.
#[derive(Clone, Debug)]
pub struct Span {
    /// Of which event.
    pub trace: Trace,
    /// What happened.
    pub stage: Stage,
    /// From when.
    pub from: Moment,
    /// Until when.
    pub to: Moment,
    /// What is shown with it.
    pub shown: Vec<(&'static str, Shown)>,
}

/// The collector.
#[derive(Clone, Debug)]
pub struct Collector {
    /// Where `/v1/traces` is.
    pub endpoint: String,
    /// One of so many events is followed.
    pub one_in: u64,
    /// This node.
    pub node: Uuid,
    /// Its name for people.
    pub name: String,
}

enum Said {
    Span(Span),
    End,
}

/// Follows events.
#[derive(Debug)]
pub struct Tracer {
    one_in: u64,
    to: SyncSender<Said>,
    lost: Arc<AtomicU64>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Moment {
    /// Now.
    pub fn now() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
    }

    /// Milliseconds since the Unix epoch.
    pub fn of_millis(millis: i64) -> Self {
        Self(millis.max(0).unsigned_abs().saturating_mul(1_000_000))
    }
}

impl Trace {
    /// The id of a span of this trace, the same wherever it is asked for; never 0, which would be none.
    fn span(self, node: Uuid, stage: Stage) -> u64 {
        let (number, node) = match stage {
            Stage::Publish => (0, Uuid::nil()),
            Stage::Feed => (1, node),
            Stage::Deliver { outlet } => (2 + outlet, node),
        };
        let parts = [self.0.as_bytes().as_slice(), node.as_bytes()].concat();
        xxh3_64_with_seed(&parts, number).max(1)
    }
}

impl Tracer {
    /// Begins to send what is followed through a client that gives up by itself.
    ///
    /// # Errors
    ///
    /// The system gives it no thread.
    pub fn start(collector: Collector, client: ureq::Agent) -> std::io::Result<Self> {
        let (to, spans) = sync_channel(WAITING);
        let lost = Arc::new(AtomicU64::new(0));
        let (one_in, counted) = (collector.one_in.max(1), lost.clone());
        let thread = thread::Builder::new()
            .name("traces".into())
            .spawn(move || send_all(&collector, &client, &spans, &counted))?;
        Ok(Self { one_in, to, lost, thread: Mutex::new(Some(thread)) })
    }

    /// Whether an event is followed, by the id that all its repeats have: the same on every node.
    pub fn follows(&self, id: Uuid) -> Option<Trace> {
        id.as_u64_pair().1.is_multiple_of(self.one_in).then_some(Trace(id))
    }

    /// Sends a span, or drops it when the collector does not keep up.
    pub fn tell(&self, span: Span) {
        if self.to.try_send(Said::Span(span)).is_err() {
            self.lost.fetch_add(1, Relaxed);
        }
    }

    /// Spans that were dropped so far.
    pub fn lost(&self) -> u64 {
        self.lost.load(Relaxed)
    }

    /// Sends what waits, then ends. Blocks for as long as the client's patience.
    pub fn close(&self) {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        // Fails only when the thread is gone already.
        let _ = self.to.send(Said::End);
        if let Some(thread) = thread {
            // It has nothing to say.
            let _ = thread.join();
        }
    }
}

fn send_all(collector: &Collector, client: &ureq::Agent, spans: &Receiver<Said>, lost: &AtomicU64) {
    let mut was_well = true;
    while let Ok(first) = spans.recv() {
        let (mut batch, mut is_last) = (Vec::new(), false);
        let until = Instant::now() + GATHER;
        let mut next = Ok(first);
        loop {
            match next {
                Ok(Said::Span(span)) => batch.push(span),
                Ok(Said::End) | Err(RecvTimeoutError::Disconnected) => is_last = true,
                Err(RecvTimeoutError::Timeout) => break,
            }
            if is_last || batch.len() >= TOGETHER {
                break;
            }
            next = spans.recv_timeout(until.saturating_duration_since(Instant::now()));
        }
        if !batch.is_empty() {
            let sent = send(collector, client, &batch);
            match &sent {
                Err(why) if was_well => tracing::warn!(why, "the collector takes no traces"),
                Ok(()) if !was_well => tracing::info!("the collector takes traces again"),
                _ => {}
            }
            was_well = sent.is_ok();
            if sent.is_err() {
                lost.fetch_add(batch.len() as u64, Relaxed);
            }
        }
        if is_last {
            return;
        }
    }
}

fn send(collector: &Collector, client: &ureq::Agent, spans: &[Span]) -> Result<(), String> {
    let url = format!("{}/v1/traces", collector.endpoint.trim_end_matches('/'));
    let body = written(collector, spans).to_string();
    let answer = client.post(&url).header("Content-Type", "application/json").send(body.as_bytes());
    match answer {
        Ok(answer) if answer.status().is_success() => Ok(()),
        Ok(answer) => Err(format!("status {}", answer.status().as_u16())),
        Err(error) => Err(error.to_string()),
    }
}

fn attribute(key: &str, value: &Shown) -> Value {
    match value {
        Shown::Text(text) => json!({"key": key, "value": {"stringValue": text}}),
        // 64 bits are texts in this format.
        Shown::Number(number) => json!({"key": key, "value": {"intValue": number.to_string()}}),
    }
}

/// An `ExportTraceServiceRequest` as OTLP writes it in JSON: ids in hex, times and whole numbers as texts.
fn written(collector: &Collector, spans: &[Span]) -> Value {
    let text = |text: &str| Shown::Text(text.to_owned());
    let resource = [
        attribute("service.name", &text("continuum")),
        attribute("service.version", &text(env!("CARGO_PKG_VERSION"))),
        attribute("service.instance.id", &text(&collector.node.to_string())),
        attribute("host.name", &text(&collector.name)),
    ];
    let spans: Vec<_> = spans.iter().map(|span| one(collector.node, span)).collect();
    let scope = json!({"name": "continuum", "version": env!("CARGO_PKG_VERSION")});
    json!({"resourceSpans": [{
        "resource": {"attributes": resource},
        "scopeSpans": [{"scope": scope, "spans": spans}],
    }]})
}

fn one(node: Uuid, Span { trace, stage, from, to, shown }: &Span) -> Value {
    // Producer, consumer, internal.
    let (name, kind, parent) = match stage {
        Stage::Publish => ("publish", 4, None),
        Stage::Feed => ("feed", 5, Some(Stage::Publish)),
        Stage::Deliver { .. } => ("deliver", 1, Some(Stage::Feed)),
    };
    let parent = parent.map(|parent| format!("{:016x}", trace.span(node, parent))).unwrap_or_default();
    json!({
        "traceId": trace.0.simple().to_string(),
        "spanId": format!("{:016x}", trace.span(node, *stage)),
        "parentSpanId": parent,
        "name": name,
        "kind": kind,
        "startTimeUnixNano": from.0.to_string(),
        // Clocks of log and node may differ; a span does not end before it begins.
        "endTimeUnixNano": to.max(from).0.to_string(),
        "attributes": shown.iter().map(|(key, value)| attribute(key, value)).collect::<Vec<_>>(),
        "status": {},
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Uuid = Uuid::from_u128(1);
    const B: Uuid = Uuid::from_u128(2);

    #[test]
    fn every_node_gives_the_spans_of_a_trace_the_same_root_and_its_own_ids() {
        let trace = Trace(Uuid::from_u128(0xfeed));
        assert_eq!(trace.span(A, Stage::Publish), trace.span(B, Stage::Publish));
        assert_ne!(trace.span(A, Stage::Feed), trace.span(B, Stage::Feed));
        let other = Trace(Uuid::from_u128(0xbeef));
        let stages = [Stage::Publish, Stage::Feed, Stage::Deliver { outlet: 1 }, Stage::Deliver { outlet: 2 }];
        let mut ids: Vec<_> =
            stages.iter().flat_map(|stage| [trace, other].map(|trace| trace.span(A, *stage))).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), 8);
    }

    #[test]
    fn a_span_is_written_as_the_format_has_it() {
        let (from, to) = (Moment::of_millis(5), Moment::of_millis(3));
        let shown = vec![("continuum.seq", Shown::Number(7)), ("continuum.tenant", Shown::Text("t".into()))];
        let span = one(A, &Span { trace: Trace(Uuid::from_u128(0xfeed)), stage: Stage::Feed, from, to, shown });
        assert_eq!(span["traceId"], "0000000000000000000000000000feed");
        assert_eq!((&span["startTimeUnixNano"], &span["endTimeUnixNano"]), (&json!("5000000"), &json!("5000000")));
        assert_eq!(span["attributes"][0], json!({"key": "continuum.seq", "value": {"intValue": "7"}}));
        assert_eq!(span["spanId"].as_str().map(str::len), Some(16));
        assert_eq!(span["parentSpanId"].as_str().map(str::len), Some(16));
    }
}
