//! Server-sent events: a room for those who have no WebSocket.
//!
//! Owns: what a stream says, and when. The framework asks for the next piece only when the client has taken the last one
//! ([`super::socket`] watches that it does), and only then is the room asked for more: a stream holds one piece, and
//! whoever is slow reads from the log. Must not know: where records come from ([`super::tail`]).

use std::{
    convert::Infallible,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use actix_web::{
    HttpRequest, HttpResponse,
    http::header,
    web::{Bytes, Data},
};
use futures_util::{StreamExt as _, stream};
use prometheus_client::metrics::counter::Counter;
use tokio::time::{Instant, sleep_until};
use uuid::Uuid;

use super::{
    asker::Asker,
    parameters::{self, Wish},
    problem,
    proof::Proof,
    server::Shared,
    socket::Peer,
    tail::{PAUSE, Step, Stop, Tail, beginning},
};
use crate::{
    actors::{
        messages::FoundStart,
        metrics::Held,
        outlet::{random_unit, retry_after},
        room::joining::find_for_request,
    },
    model::{
        Cursor, RecordMeta, TenantId,
        delivery::{self, HeldAcks, Reader},
        filter::TypeFilter,
        record::{View, Viewer},
        resume::ResyncReason,
    },
    wire::{
        Batch, Code, Need, PRESENCE, Refusal, Variant,
        entity::shown_type,
        outgoing::ResyncReport,
        sse::{HeartbeatRule, Lines, StreamReady},
    },
};

/// A piece ends behind the event with which it passes this, in bytes.
const PIECE: usize = 256 * 1024;
/// A client whose stream breaks comes back after this and up to a little more, so that not all come at once.
const RETRY: Duration = Duration::from_secs(1);
const RETRY_SPREAD: Duration = Duration::from_secs(4);

/// `GET /v1/tenants/{tenant}/stream`
pub(super) async fn open(shared: Data<Shared>, request: HttpRequest) -> HttpResponse {
    let opened = match begin(&shared, &request).await {
        Ok(opened) => opened,
        Err(refusal) => return problem::respond(&refusal),
    };
    let peer = request.conn_data::<Peer>().cloned().unwrap_or_default();
    let pieces = stream::unfold(opened, async |mut opened| {
        let piece = opened.next().await?;
        Some((Ok::<_, Infallible>(piece), opened))
    });
    HttpResponse::Ok()
        .content_type("text/event-stream")
        .insert_header((header::CACHE_CONTROL, "no-store"))
        // A proxy that gathers what comes before it passes it on would hold every event back.
        .insert_header(("X-Accel-Buffering", "no"))
        .streaming(Box::pin(pieces).take_until(Box::pin(async move { peer.hangs_up().await })))
}

async fn begin(shared: &Data<Shared>, request: &HttpRequest) -> Result<EventStream, Refusal> {
    let asker = Asker::enter(shared, request).await?;
    asker.needs(shared, Need::Hear).await?;
    let tenant = asker.tenant().clone();
    let last_event_id = request.headers().get("Last-Event-ID").map(|id| id.to_str().unwrap_or("?"));
    let wish = parameters::stream_wish(request.query_string(), last_event_id)?;
    // Before the log is asked: from here on what comes is seen.
    let mut tail = Tail::enter(shared, tenant.clone()).await?;
    let found = find_for_request(&shared.context, &tenant, &wish.since).await;
    let (found, log) = found.map_err(|error| problem::log_unavailable(&error))?;
    let place = beginning(&wish.since, found.start, log.epoch);
    tail.go_to(place, log.end);
    let now = Instant::now();
    let interval = shared.context.config.heartbeat.interval;
    let opened = EventStream {
        session: Uuid::new_v4(),
        tenant,
        reader: Reader::at(place.position),
        filter: wish.filter.clone(),
        variant: wish.variant,
        viewer: asker.viewer(),
        proof: asker.proof(shared),
        first: None,
        is_caught_up: false,
        interval,
        heartbeat_due: now + interval,
        leaves_at: None,
        state: State::Open,
        spread: shared.context.config.drain.spread,
        delivered: shared.context.metrics.delivered.clone(),
        tail,
        _counted: Held::one(&shared.context.metrics.streams),
    };
    opened.greeted(&wish, found).await
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    Over,
}

/// How many of some records were looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    All,
    Some,
}

/// One client's stream.
struct EventStream {
    session: Uuid,
    tenant: TenantId,
    tail: Tail,
    reader: Reader,
    filter: TypeFilter,
    variant: Variant,
    viewer: Viewer,
    proof: Proof,
    first: Option<Bytes>,
    is_caught_up: bool,
    interval: Duration,
    heartbeat_due: Instant,
    /// When it is sent home, once that is known.
    leaves_at: Option<Instant>,
    state: State,
    spread: Duration,
    delivered: Counter<u64, AtomicU64>,
    _counted: Held,
}

impl EventStream {
    async fn greeted(mut self, wish: &Wish, found: FoundStart) -> Result<Self, Refusal> {
        let start = found.start;
        let (place, end) = (self.tail.place(), self.tail.known_end());
        let fingerprint = place.fingerprint.filter(|_| end == place.position);
        let ready = StreamReady {
            session_id: self.session,
            protocol: 1,
            epoch: place.epoch.to_string(),
            position: end.0,
            cursor: Cursor { position: end, fingerprint, ..place }.to_string(),
            resume: found.report(&wish.since),
            heartbeat: HeartbeatRule { interval_ms: self.interval.as_millis() as u64 },
        };
        let mut lines = Lines::default();
        lines.retry(RETRY + RETRY_SPREAD.mul_f64(random_unit()));
        // Whoever has to be told of a resync keeps its old place until it was told.
        lines.event("session_ready", start.resync.is_none().then_some(place), &ready);
        if let Some(reason) = start.resync {
            self.say_resync(&mut lines, reason, wish.requested.clone()).await;
        }
        tracing::debug!(tenant = %self.tenant, session = %self.session, after = %start.after, "stream opened");
        self.first = Some(lines.into_bytes());
        Ok(self)
    }

    /// The next piece; `None` when all has been said.
    async fn next(&mut self) -> Option<Bytes> {
        if let Some(first) = self.first.take() {
            return Some(first);
        }
        let mut lines = Lines::default();
        while self.state == State::Open && lines.is_empty() {
            let now = Instant::now();
            if let Err(refusal) = self.proof.check() {
                lines.error(&refusal);
                self.state = State::Over;
            } else if self.leaves_at.is_some_and(|at| at <= now) {
                self.say_farewell(&mut lines);
            } else if self.heartbeat_due <= now {
                self.heartbeat_due = now + self.interval;
                self.say_advance(&mut lines);
                lines.heartbeat();
            } else {
                self.step(&mut lines).await;
            }
        }
        (!lines.is_empty()).then(|| lines.into_bytes())
    }

    /// Goes on to what follows, or waits until something is due.
    async fn step(&mut self, lines: &mut Lines) {
        match self.tail.next().await {
            Ok(Step::Records(batches, reached)) => {
                if self.say_records(lines, &batches) == Said::All {
                    self.pass(Cursor { position: reached, fingerprint: None, ..self.tail.place() });
                }
            }
            Ok(Step::Nothing) if !self.is_caught_up => {
                self.is_caught_up = true;
                self.say_advance(lines);
                lines.caught_up(self.tail.place());
            }
            Ok(Step::Nothing) => {
                let due = self.due();
                tokio::select! {
                    () = self.tail.news() => {}
                    () = sleep_until(due) => {}
                    // Said where the stream goes on.
                    _ = self.proof.ends() => {}
                }
            }
            Ok(Step::Resync(reason, requested)) => {
                self.is_caught_up = false;
                self.say_resync(lines, reason, requested.to_string()).await;
            }
            Ok(Step::SentHome) => self.leave(),
            Err(Stop::Refused(refusal)) if refusal.code == Code::Draining => {
                self.leave();
                sleep_until(self.due()).await;
            }
            // The room has ended, and there is no place in the next one.
            Err(Stop::Refused(refusal)) => {
                let code = refusal.code.word();
                tracing::debug!(tenant = %self.tenant, session = %self.session, code, "stream ended");
                self.state = State::Over;
            }
            Err(Stop::Unreadable(error)) => {
                tracing::debug!(tenant = %self.tenant, %error, "a stream cannot read the log; trying again");
                sleep_until(self.due().min(Instant::now() + PAUSE)).await;
            }
        }
    }

    /// When the next thing is due, whatever the room does.
    fn due(&self) -> Instant {
        self.leaves_at.map_or(self.heartbeat_due, |at| at.min(self.heartbeat_due))
    }

    /// Not all at once, so that not all come back at once.
    fn leave(&mut self) {
        self.leaves_at.get_or_insert_with(|| Instant::now() + self.spread.mul_f64(random_unit()));
    }

    /// Everything up to a place was told or is not wanted.
    fn pass(&mut self, place: Cursor) {
        self.tail.pass(place);
        self.reader.passed = self.tail.place().position;
    }

    /// Says what of these is wanted, until the piece is full.
    fn say_records(&mut self, lines: &mut Lines, batches: &[Arc<Batch>]) -> Said {
        for batch in batches {
            let metas = batch.metas();
            let fresh = metas.partition_point(|meta| meta.position <= self.tail.place().position);
            for (index, meta) in metas.iter().enumerate().skip(fresh) {
                let view = meta.view(&self.viewer).unwrap_or(View::Left);
                let preview = self.variant.preview;
                let json = || batch.json(index, preview, view);
                self.say_record(lines, (meta, view), json);
                if lines.len() >= PIECE {
                    return Said::Some;
                }
            }
        }
        Said::All
    }

    fn say_record(&mut self, lines: &mut Lines, (meta, view): (&RecordMeta, View), json: impl Fn() -> Vec<u8>) {
        let (before, filter, viewer) = (self.tail.place(), &self.filter, &self.viewer);
        let (epoch, delivered) = (before.epoch, &self.delivered);
        let place = Cursor { epoch, position: meta.position, fingerprint: Some(meta.id.fingerprint()) };
        // Nobody waits for an answer here.
        let mut acks = HeldAcks::<Infallible>::default();
        let wants = |meta: &RecordMeta| filter.admits(&meta.event_type) && meta.view(viewer).is_some();
        self.reader.pass(std::slice::from_ref(meta), wants, &mut acks, |step| match step {
            delivery::Step::Records(_) => {
                lines.record(shown_type(meta, view), Some(place), &json());
                delivered.inc();
            }
            delivery::Step::Advance { from, to } if to == before.position => lines.advance(from, before),
            delivery::Step::Advance { from, to } => {
                lines.advance(from, Cursor { epoch, position: to, fingerprint: None });
            }
            delivery::Step::Ack(never) => match never {},
        });
        self.pass(place);
    }

    /// Tells how far the stream has come, if it was not told yet.
    fn say_advance(&mut self, lines: &mut Lines) {
        let place = self.tail.place();
        if self.reader.told < place.position {
            lines.advance(self.reader.told, place);
            self.reader.told = place.position;
        }
    }

    /// Begins anew at the place that the tail has now.
    async fn say_resync(&mut self, lines: &mut Lines, reason: ResyncReason, requested: String) {
        let place = self.tail.place();
        self.reader = Reader::at(place.position);
        let mut report = ResyncReport::new(reason, requested, place.epoch, place.position);
        if self.viewer.hears(PRESENCE) {
            report.state = Some(self.tail.figures().await.unwrap_or_default());
        }
        lines.event("resync", Some(place), &report);
    }

    fn say_farewell(&mut self, lines: &mut Lines) {
        self.say_advance(lines);
        lines.draining(self.tail.place(), retry_after(self.spread));
        self.state = State::Over;
    }
}
