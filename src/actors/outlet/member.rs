//! One member: its connection, how far it has come, and what of a run of records is for it.

use std::{rc::Rc, sync::Arc};

use actix::Addr;
use bytes::Bytes;
use uuid::Uuid;

use super::super::{
    link::{Link, Wanted},
    messages::{Join, JoinKind, MemberKey},
    outlet::Outlet,
    session::named,
};
use super::core::{Following, Late};
use crate::{
    backbone::{Answer, Appended, Outcome},
    model::{
        EventId, InstanceId, Position, RecordMeta, TenantId,
        channels::Channels,
        delivery::{HeldAcks, Reader, Step},
        filter::TypeFilter,
        newest::Newest,
        record::{View, Viewer},
        resume::Since,
        roster::Presence,
    },
    wire::{
        Batch, Close, PRESENCE, Refusal, Variant,
        answer::{Form, Told},
        outgoing::{Duplicate, Voice},
        signal::{Listener, Signal},
    },
};

/// Types and senders of which a signal may wait for one member.
const HELD: usize = 256;

/// What a session asked for when it came.
#[derive(Clone, Debug)]
pub struct Options {
    /// Which types.
    pub filter: TypeFilter,
    /// Whether its own records too.
    pub echo: Echo,
    /// In which form.
    pub variant: Variant,
    /// The channels it subscribed to; `None` until it does so for the first time.
    pub channels: Option<Box<Channels>>,
}

impl Options {
    /// Whether a type is for this session.
    pub(super) fn hears(&self, event_type: &str) -> bool {
        self.filter.admits_name(event_type) && self.channels.as_ref().is_none_or(|channels| channels.admit(event_type))
    }
}

/// Whether a session hears its own records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Echo {
    /// An ack instead.
    Off,
    /// The record, and the ack behind it.
    On,
}

/// Somebody who wants in.
#[derive(Debug)]
pub struct Newcomer {
    /// The member's serial.
    pub serial: u64,
    /// The connection's id.
    pub session: Uuid,
    /// Its connection.
    pub link: Rc<Link>,
    /// Who it is.
    pub instance: InstanceId,
    /// What it may see.
    pub viewer: Viewer,
    /// What the others see.
    pub presence: Presence,
    /// What it asked for.
    pub options: Options,
    /// Where it wants to go on.
    pub since: Since,
    /// The same as it was written.
    pub requested: String,
}

/// Where a member wants to go on, until it is welcomed.
#[derive(Debug)]
pub(super) struct Wish {
    pub(super) since: Since,
    pub(super) requested: String,
}

/// Where a member stands towards the room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Admitted, not yet welcomed.
    Waiting,
    /// At the head: gets what is delivered.
    Live,
    /// Behind: what follows has been asked for.
    Fetching,
    /// Behind: what follows will be asked for when the outbox has drained.
    Draining,
}

#[derive(Debug)]
pub(super) struct Member {
    pub(super) serial: u64,
    pub(super) session: Uuid,
    pub(super) link: Rc<Link>,
    pub(super) instance: InstanceId,
    pub(super) viewer: Viewer,
    pub(super) presence: Presence,
    pub(super) options: Options,
    pub(super) wish: Option<Box<Wish>>,
    pub(super) phase: Phase,
    pub(super) reader: Reader,
    pub(super) acks: HeldAcks<Bytes>,
    /// Position of its own last record in the run being delivered.
    pub(super) own: Position,
    /// Signals that wait until the outbox is empty.
    pub(super) held: Option<Box<Newest<Arc<Signal>>>>,
    /// The parts of the state that it follows.
    pub(super) following: Following,
    /// What it is behind with, if it fell behind.
    pub(super) late: Option<Box<Late>>,
}

impl Member {
    /// What brings it into a room.
    pub(super) fn join(
        &self,
        key: MemberKey,
        outlet: Addr<Outlet>,
        (since, requested): (Since, String),
        kind: JoinKind,
    ) -> Join {
        Join {
            key,
            session: self.session,
            outlet,
            instance: self.instance.clone(),
            presence: self.presence.clone(),
            since,
            requested,
            variant: self.options.variant,
            presence_is_shown: self.viewer.hears(PRESENCE),
            kind,
        }
    }

    /// Whether a run can be sent to this member as it stands.
    pub(super) fn takes_everything(&self, run: &[RecordMeta]) -> bool {
        self.viewer.is_unrestricted()
            && self.options.filter.is_open()
            && self.options.channels.is_none()
            && !self.following.mutes_graph()
            && self.acks.is_empty()
            && (self.own <= self.reader.passed || self.options.echo == Echo::On)
            && self.reader.takes_whole(run)
    }

    /// Closes the chain up to where the member stands, before it is told so: what only names a position closes nothing.
    pub(super) fn bridge(&mut self, voice: Voice<'_>) {
        if let Some(from) = self.reader.bridge() {
            self.link.send(voice.advance(from, self.reader.passed));
        }
    }

    /// Whether anything of a batch is for this member.
    pub(super) fn wants_of(&self, batch: &Batch) -> bool {
        let Self { options, instance, viewer, following, .. } = self;
        batch.metas().iter().any(|meta| Taste { options, instance, viewer, following }.wants(meta))
    }

    /// Sends what is for this member of a batch; returns the number of records.
    pub(super) fn pass(&mut self, batch: &Batch, voice: Voice<'_>) -> u64 {
        let (link, options, instance, viewer) = (&self.link, &self.options, &self.instance, &self.viewer);
        let taste = Taste { options, instance, viewer, following: &self.following };
        let view = |meta: &RecordMeta| meta.view(viewer);
        let wants = |meta: &RecordMeta| taste.wants(meta);
        let mut sent = 0;
        self.reader.pass(batch.metas(), wants, &mut self.acks, |step| match step {
            Step::Records(range) => {
                sent += range.len() as u64;
                let mut from = range.start;
                for run in batch.metas()[range].chunk_by(|a, b| view(a) == view(b)) {
                    let to = from + run.len();
                    let view = view(&run[0]).unwrap_or(View::Left);
                    link.put(&batch.encoded(options.variant, view).slice(from..to));
                    from = to;
                }
            }
            Step::Advance { from, to } => link.send(voice.advance(from, to)),
            Step::Ack(ack) => link.send_soon(ack),
        });
        self.answered();
        sent
    }

    /// Sends a signal if it is for this member and nothing else waits, else holds it. Returns how many were sent.
    pub(super) fn signal(&mut self, signal: &Arc<Signal>, tenant: &TenantId) -> u64 {
        let is_own = signal.sender == self.instance && self.options.echo == Echo::Off;
        let name = signal.event_type.as_str();
        let hears = self.options.hears(name) && self.viewer.hears(name);
        if is_own || self.phase == Phase::Waiting || !hears {
            return 0;
        }
        let Some(share) = signal.share_of(self.as_listener()) else { return 0 };
        if self.held.is_none() && self.link.waiting() == 0 {
            self.link.put(&signal.frame(tenant, self.options.variant.envelope, &share));
            return 1;
        }
        self.held.get_or_insert_with(|| Box::new(Newest::new(HELD))).put(signal.pair(), signal.clone());
        self.link.hold_signals(Wanted::Yes);
        0
    }

    /// Sends signals that were held back until one of them has to wait. Returns how many were sent.
    pub(super) fn release_signals(&mut self, tenant: &TenantId) -> u64 {
        let Some(mut held) = self.held.take() else { return 0 };
        let mut sent = 0;
        while self.link.waiting() == 0
            && let Some(signal) = held.take_next()
        {
            // It may be busy with something else by now.
            if let Some(share) = signal.share_of(self.as_listener()) {
                self.link.put(&signal.frame(tenant, self.options.variant.envelope, &share));
                sent += 1;
            }
        }
        if held.is_empty() {
            self.link.hold_signals(Wanted::No);
        } else {
            self.held = Some(held);
        }
        sent
    }

    fn as_listener(&self) -> Listener<'_> {
        let (instance, user) = (&self.instance, self.presence.user.as_deref());
        Listener { instance, user, focus: self.following.focus() }
    }

    /// What follows is asked for when the outbox has drained.
    pub(super) fn drain_first(&mut self) {
        self.phase = Phase::Draining;
        self.link.want_drained(Wanted::Yes);
    }

    pub(super) fn lag(&mut self, voice: Voice<'_>) {
        self.drain_first();
        self.link.send(voice.lagging(self.reader.passed));
    }

    pub(super) fn settle(&mut self, voice: Voice<'_>, token: u64, id: EventId, answer: Result<Answer, Refusal>) {
        let Some(publication) = self.link.settle(token) else {
            return; // the room before this one had answered it
        };
        let name = publication.reference.as_deref();
        match answer {
            Ok(Answer::Queued) => self.link.send(voice.queued(id, name)),
            Ok(Answer::Appended(Appended { position, outcome })) => {
                let ack = voice.ack((id, name), position, Duplicate(outcome == Outcome::Duplicate));
                self.acks.hold(position, ack);
                self.release();
            }
            Err(refusal) => self.link.send(voice.error(&named(refusal, &publication))),
        }
        self.answered();
    }

    /// The end of an operation, or of all of a batch.
    pub(super) fn operated(&mut self, voice: Voice<'_>, token: u64, form: Form, told: &[Told]) {
        if self.link.settle(token).is_none() {
            return; // the room before this one had answered it
        }
        for told in told {
            match told.words() {
                Ok(words) => {
                    self.acks.hold(told.position(), voice.answer(form, &words));
                    self.release();
                }
                Err(refusal) => self.link.send(voice.error(&refusal)),
            }
        }
        self.answered();
    }

    /// A publish that had been queued is in the log, or will never be.
    pub(super) fn drained(&mut self, voice: Voice<'_>, id: EventId, ended: Result<Appended, Refusal>) {
        match ended {
            Ok(Appended { position, outcome }) => {
                let stored = voice.stored(id, position, Duplicate(outcome == Outcome::Duplicate));
                self.acks.hold(position, stored);
                self.release();
            }
            Err(refusal) => self.link.send(voice.error(&refusal)),
        }
        self.answered();
    }

    /// What changes when answers were sent or held: whoever is being sent home goes when nothing is left to answer.
    pub(super) fn answered(&self) {
        self.link.hold_answers(self.acks.len());
        if let Some(retry_after) = self.link.leaving()
            && self.link.in_flight() == 0
        {
            self.link.close(Close::Restart { retry_after });
        }
    }

    /// Sends the acks whose turn has come.
    pub(super) fn release(&mut self) {
        if self.acks.is_empty() {
            return;
        }
        let link = &self.link;
        self.reader.release(&mut self.acks, |step| {
            if let Step::Ack(ack) = step {
                link.send_soon(ack);
            }
        });
        self.answered();
    }
}

/// What a member wants to get.
#[derive(Clone, Copy)]
struct Taste<'a> {
    options: &'a Options,
    instance: &'a InstanceId,
    viewer: &'a Viewer,
    following: &'a Following,
}

impl Taste<'_> {
    fn wants(&self, meta: &RecordMeta) -> bool {
        self.options.hears(meta.event_type.as_str())
            && !self.following.mutes(meta)
            && (self.options.echo == Echo::On || meta.sender.as_ref() != Some(self.instance))
            && meta.view(self.viewer).is_some()
    }
}
