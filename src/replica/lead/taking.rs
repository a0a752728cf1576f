//! What the node's messages lead to: steps that are written down in one transaction, with the cursor behind them.

use std::{sync::Arc, time::Duration};

use rusqlite::Transaction;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::Instant;
use uuid::Uuid;

use super::{Leading, State, Stop, tell};
use crate::{
    client::{
        Happening,
        incoming::{Frame, Incoming, Ready},
    },
    model::EventId,
    replica::{
        journal::{self, Settled},
        mirror, news,
        shared::MESSAGE_BYTES,
        status::Link,
        store::{Care, StoreError, fact, now_ms, set_fact},
        told::{self, Page, Told},
    },
};

/// After what opens or settles something, it is asked what lies open: with what follows at once.
const SHORTLY: Duration = Duration::from_millis(100);

/// Pause before a question is asked again, and before one that was refused is.
const SOON: Duration = Duration::from_secs(1);
const REFUSED: Duration = Duration::from_secs(60);

/// One thing to be written down.
#[derive(Debug)]
pub(super) enum Step {
    /// A record.
    Record(Told),
    /// A write's fate.
    Fate(Uuid, Settled),
    /// The whole state will come; `true`: of another log.
    BeginState(bool),
    /// A part of it.
    Page(Page),
    /// It was all, of this log and these types.
    EndState(String),
    /// What happened up to this time will not all be told: the log has it no more.
    Missed(String),
    /// Pulls up to this one are done.
    Pulled(u64),
}

impl Leading {
    /// Reads what happened.
    pub(super) async fn read(&mut self, happening: Happening, steps: &mut Vec<Step>) -> Result<(), Stop> {
        match happening {
            Happening::Waiting { why, .. } => {
                self.pulling = None;
                if self.state == State::Coming {
                    self.state = State::Settled;
                }
                self.begin_anew();
                tell(&self.shared, Link::Offline { why }).await;
            }
            Happening::Refused(refused) => {
                let (frame, error) = *refused;
                let named = error.event_id.as_deref().or(error.id.as_deref());
                if let Some(id) = named.and_then(|id| Uuid::try_parse(id).ok()) {
                    let answer = serde_json::from_str(frame.envelope.data.get()).unwrap_or_default();
                    steps.push(Step::Fate(id, Settled { outcome: "refused".into(), answer }));
                }
            }
            Happening::Frame(frame) => self.frame(&frame, steps).await?,
        }
        Ok(())
    }

    async fn frame(&mut self, frame: &Frame, steps: &mut Vec<Step>) -> Result<(), Stop> {
        let data = &frame.envelope.data;
        match &frame.message {
            Incoming::Ready(ready) => self.ready(ready, frame, steps).await?,
            // The cursor was not honoured: between what is here and what comes anything may be missing.
            Incoming::Resync(_) => {
                steps.push(Step::Missed(frame.envelope.timestamp.clone()));
                self.want_state(false, steps);
            }
            Incoming::Record(place) => match told::read(&frame.envelope, place.seq) {
                Ok(told) => {
                    self.own_event(&told, place.event_id, steps);
                    self.record(told, steps);
                }
                Err(error) => tracing::warn!(error, "a record is not of the form that its type has; it is left out"),
            },
            Incoming::CaughtUp(_) => {
                tell(&self.shared, Link::Online).await;
                self.conflicts_due = Some(Instant::now());
            }
            Incoming::Lagging => tell(&self.shared, Link::CatchingUp).await,
            Incoming::Ack(ack) | Incoming::Stored(ack) => {
                steps.push(Step::Fate(ack.event_id.0, settled("stored", data.get())));
            }
            Incoming::Queued(queued) => steps.push(Step::Fate(queued.event_id.0, settled("queued", data.get()))),
            Incoming::Fate(fate) => {
                let outcome = frame.envelope.event_type.strip_prefix("update.").unwrap_or_default();
                if outcome != "retry"
                    && let Ok(id) = Uuid::try_parse(&fate.update_id)
                {
                    steps.push(Step::Fate(id, settled(outcome, data.get())));
                }
            }
            Incoming::Error(error) => self.error(error),
            Incoming::Other => self.other(frame, steps),
            Incoming::Advance(_) | Incoming::Heartbeat | Incoming::Draining(_) => {}
        }
        self.pulled(steps);
        Ok(())
    }

    async fn ready(&mut self, ready: &Ready, frame: &Frame, steps: &mut Vec<Step>) -> Result<(), Stop> {
        #[derive(Deserialize)]
        struct Here {
            #[serde(default)]
            instances: Vec<Value>,
        }
        let here: Here = serde_json::from_str(frame.envelope.data.get()).unwrap_or(Here { instances: Vec::new() });
        let named = |one: Value| Some((one["instance_id"].as_str()?.to_owned(), one));
        *self.shared.live().0.here_mut() = here.instances.into_iter().filter_map(named).collect();
        self.shared.counter.count(|figures| figures.connections += 1);
        self.pulling = None;
        self.since = Instant::now();
        tell(&self.shared, Link::CatchingUp).await;
        let whole = self.shared.store.read(mirror::whole).await?;
        let known = self.shared.store.read(|transaction| fact(transaction, "epoch")).await?;
        let epoch = ready.epoch.to_string();
        let most = ready.limits.max_message_bytes;
        if most < self.most {
            // What was made ready may be too long for it.
            self.begin_anew();
        }
        self.most = most;
        let set = move |transaction: &Transaction<'_>| set_fact(transaction, MESSAGE_BYTES, &most.to_string());
        self.shared.store.write(Care::Quick, set).await?;
        if whole != Some(self.whole_of(&epoch)) {
            self.want_state(known.is_some_and(|known| known != epoch), steps);
        }
        Ok(())
    }

    /// What the whole state is of.
    fn whole_of(&self, epoch: &str) -> String {
        format!("{epoch} {}", self.shared.options.kinds.join(","))
    }

    /// The whole state has to be read.
    pub(super) fn want_state(&mut self, is_other_log: bool, steps: &mut Vec<Step>) {
        steps.push(Step::BeginState(is_other_log));
        if is_other_log {
            self.open_at = 0;
        }
        self.state = State::Wanted(Instant::now());
    }

    /// An event of ours among what was missed: its answer was lost.
    fn own_event(&mut self, told: &Told, id: EventId, steps: &mut Vec<Step>) {
        let is_own = told.author.by == self.shared.writer.instance.as_str();
        if is_own && matches!(told.what, told::What::Event(_)) && self.shared.live().0.link != Link::Online {
            self.queue.retain(|write| write.id != id.0);
            self.room.forget(id);
            let answer = json!({"event_id": id.to_string(), "seq": told.seq, "duplicate": true});
            steps.push(Step::Fate(id.0, Settled { outcome: "stored".into(), answer }));
        }
    }

    fn record(&mut self, told: Told, steps: &mut Vec<Step>) {
        let is_wanted = told.what.key().is_none_or(|key| self.shared.options.mirrors(key));
        let is_about_open = told.what.key().is_some_and(|key| self.open.contains(key));
        if is_about_open || matches!(told.what, told::What::Open(_)) {
            self.open_at = told.seq;
            self.conflicts_due = Some(Instant::now() + SHORTLY);
        }
        if is_wanted {
            steps.push(Step::Record(told));
        }
    }

    fn error(&mut self, error: &crate::client::incoming::Error) {
        let wait = |otherwise| Instant::now() + error.retry_after_ms.map_or(otherwise, Duration::from_millis);
        let is_about = |asked| error.id.iter().chain(&error.event_id).any(|id| is_about(id, asked));
        // The question for the state was not answered: it is asked once more.
        if self.state == State::Coming && is_about(self.asked) {
            self.state = State::Wanted(wait(SOON));
        }
        if matches!(self.pulling, Some((_, None))) && is_about(self.pull) {
            self.pulling = None;
            // Who may not ask is not told otherwise a second later.
            self.pull_after = wait(REFUSED);
        }
    }

    fn other(&mut self, frame: &Frame, steps: &mut Vec<Step>) {
        let data = &frame.envelope.data;
        match frame.envelope.event_type.as_str() {
            "graph.sync" if self.state == State::Coming => match told::page(data) {
                // A page of an answer that is not waited for any more says nothing of this one.
                Ok(page) if !is_about(&page.id, self.asked) => {}
                Ok(page) => {
                    let is_last = page.as_of.is_some();
                    steps.push(Step::Page(page));
                    if is_last {
                        self.state = State::Settled;
                        let epoch = self.room.tracker().cursor().map(|cursor| cursor.epoch.to_string());
                        steps.push(Step::EndState(self.whole_of(&epoch.unwrap_or_default())));
                    }
                }
                Err(error) => {
                    tracing::warn!(error, "the room's state cannot be read");
                    self.state = State::Wanted(Instant::now() + Duration::from_secs(60));
                }
            },
            "sync_response" => {
                #[derive(Deserialize)]
                struct Stands {
                    position: u64,
                }
                if let (Some(pulling), Ok(stands)) = (&mut self.pulling, serde_json::from_str::<Stands>(data.get())) {
                    pulling.1 = Some(stands.position);
                }
            }
            kind @ ("instance_joined" | "instance_left") => {
                let one: Value = serde_json::from_str(data.get()).unwrap_or_default();
                let Some(name) = one["instance_id"].as_str().map(str::to_owned) else { return };
                let mut live = self.shared.live();
                let here = live.0.here_mut();
                if kind == "instance_joined" {
                    here.insert(name, one);
                } else {
                    here.remove(&name);
                }
            }
            _ => {}
        }
    }

    /// Everything up to where the node stood when it was asked is here, and so is the whole state.
    fn pulled(&mut self, steps: &mut Vec<Step>) {
        let at = self.room.tracker().cursor().map_or(0, |cursor| cursor.position.0);
        if let Some((wanted, Some(position))) = self.pulling
            && at >= position
            && self.state == State::Settled
        {
            steps.push(Step::Pulled(wanted));
            self.pulling = None;
        }
    }

    /// If all is here that the node has told, it is as fresh as can be.
    fn note_fresh(&self) {
        let now = self.shared.now();
        let mut live = self.shared.live();
        if live.0.link == Link::Online && self.state == State::Settled {
            live.1 = Some(now);
        }
    }

    /// Writes it all down.
    pub(super) async fn write(&mut self, steps: Vec<Step>) -> Result<(), Stop> {
        let tracker = self.room.tracker();
        let (writer, cursor) = (self.shared.writer.clone(), tracker.cursor());
        for step in &steps {
            if let Step::Fate(id, settled) = step {
                self.flying.remove(id);
                if settled.outcome == "conflict_pending" || settled.answer["resolution"] == "variant" {
                    self.conflicts_due = Some(Instant::now() + SHORTLY);
                }
            }
        }
        if steps.is_empty() && cursor == self.written {
            self.note_fresh();
            return Ok(());
        }
        let is_other_log = steps.iter().any(|step| matches!(step, Step::BeginState(true)));
        let steps = Arc::new(steps);
        let again = steps.clone();
        let written = self.shared.store.write(Care::Quick, move |transaction| {
            let (mut done, mut touched) = (Vec::new(), mirror::Touched::new());
            for step in &*steps {
                match step {
                    Step::Record(told) => mirror::apply(transaction, told, &mut touched)?,
                    Step::Fate(id, settled) => {
                        if let Some(write) = journal::settle(transaction, *id, settled)? {
                            touched.extend(write.key());
                            done.push((write.written_at, settled.clone()));
                        }
                    }
                    Step::BeginState(is_other_log) => mirror::begin_state(transaction, &writer, *is_other_log)?,
                    Step::Page(page) => mirror::put_page(transaction, page, &mut touched)?,
                    Step::EndState(epoch) => mirror::end_state(transaction, &writer, epoch)?,
                    Step::Missed(at) => news::note_missed(transaction, at)?,
                    Step::Pulled(wanted) => set_fact(transaction, "answered", &wanted.to_string())?,
                }
            }
            touched.iter().try_for_each(|key| mirror::relay(transaction, &writer, key))?;
            if let Some(cursor) = cursor {
                set_fact(transaction, "cursor", &cursor.to_string())?;
                set_fact(transaction, "epoch", &cursor.epoch.to_string())?;
            }
            Ok(done)
        });
        let mut full = None;
        let done = match written.await {
            // Of another log, nothing of what is here must be taken for its.
            Err(StoreError::Full(why)) if !is_other_log => {
                full = Some(why);
                self.shared.store.write(Care::Quick, move |transaction| settle_only(transaction, &again)).await?
            }
            written => written?,
        };
        if full.is_none() {
            self.written = cursor;
            self.note_fresh();
        }
        if is_other_log {
            self.begin_anew();
        }
        let now = now_ms();
        self.shared.counter.count(|figures| {
            for (written_at, settled) in &done {
                if settled.is_refusal() {
                    figures.refused += 1;
                    continue;
                }
                figures.settled += 1;
                let is_clash = matches!(settled.outcome.as_str(), "conflict_resolved" | "conflict_pending");
                figures.clashed += u64::from(is_clash);
                // By a clock that may be set: what makes no sense is no time.
                figures.took(Duration::from_millis(u64::try_from(now - written_at).unwrap_or(0)));
            }
        });
        self.shared.has_moved();
        // What there was no space for comes once more to the next connection, which begins at the cursor that is written down.
        full.map_or(Ok(()), |why| Err(StoreError::Full(why).into()))
    }
}

/// Without space for what came at least what is settled goes, which makes space.
fn settle_only(transaction: &Transaction<'_>, steps: &[Step]) -> Result<Vec<(i64, Settled)>, StoreError> {
    let mut done = Vec::new();
    for step in steps {
        if let Step::Fate(id, settled) = step
            && let Some(write) = journal::settle(transaction, *id, settled)?
        {
            done.push((write.written_at, settled.clone()));
        }
    }
    Ok(done)
}

fn is_about(id: &str, asked: Uuid) -> bool {
    Uuid::try_parse(id) == Ok(asked)
}

fn settled(outcome: &str, data: &str) -> Settled {
    Settled { outcome: outcome.to_owned(), answer: serde_json::from_str(data).unwrap_or_default() }
}
