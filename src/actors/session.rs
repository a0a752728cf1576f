//! One connection's actor: reads what the client says, holds it against its budgets, and asks the room.
//!
//! Owns: the client's identity, grant and budgets. Must not: append to the log, know other sessions. (`snapshot` reads it.)

mod budget;
mod changing;
mod membership;
mod proof;
mod reading;
mod ruling;
mod snapshot;

use std::{
    future::poll_fn,
    rc::{Rc, Weak},
    sync::Arc,
    task::Poll,
    time::Duration,
};

use actix::{Actor, ActorContext, Addr, AsyncContext, Handler, StreamHandler, WrapFuture};
use actix_http::ws::{Message as Frame, ProtocolError};
use actix_web_actors::ws::WebsocketContext;
use bytes::Bytes;
use uuid::Uuid;

pub use self::membership::{Membership, SharedMembership};
use self::reading::Paid;
use super::{
    context::NodeContext,
    directory::Directory,
    heartbeat::{HeartbeatSupervisor, Watch},
    link::Link,
    messages::{Acknowledged, Beat, Content, Expire, MemberKey, Publication, Publish, TellFigures},
    outlet::Options,
    room::{Room, appends::append_of},
    tenants::Tenant,
};
use crate::{
    auth::{Grant, hook::Ruling},
    model::{
        chaos::Affinity,
        rate::{RateBudget, Verdict},
        resume::Since,
    },
    wire::{
        Close, Code, Envelope, Need, Refusal, Variant,
        assembly::Assembly,
        frame,
        incoming::{self, ClientMessage},
        operation::{Identity, Sender},
        outgoing::Voice,
        record, typed,
    },
};

/// What a connection asked for in its handshake, checked.
#[derive(Clone, Debug)]
pub struct Request {
    /// Who it is and what it may do.
    pub grant: Grant,
    /// Where it goes on.
    pub since: Since,
    /// The same as it was written.
    pub requested: String,
    /// How it wants its records.
    pub options: Options,
    /// What it says it can do.
    pub capabilities: Vec<Box<str>>,
    /// How readily it is drawn into chaos.
    pub affinity: Affinity,
}

/// The addresses that a session needs.
#[derive(Clone, Debug)]
pub struct Addresses {
    /// For its room.
    pub directory: Addr<Directory>,
    /// For its deadline.
    pub supervisor: Addr<HeartbeatSupervisor>,
}

/// The actor.
pub struct Session {
    id: Uuid,
    grant: Grant,
    variant: Variant,
    /// What it asked for, until it has joined.
    request: Option<Box<Request>>,
    link: Rc<Link>,
    membership: SharedMembership,
    addresses: Arc<Addresses>,
    context: Arc<NodeContext>,
    tenant: Arc<Tenant>,
    messages: RateBudget,
    controls: RateBudget,
    signals: RateBudget,
    /// Refusals for rate since the last message that passed.
    refused_in_a_row: u32,
    /// The same of signals, which come so often that they would hide a flood of other messages.
    signals_refused_in_a_row: u32,
    /// Invalid messages since the last valid one.
    invalid_in_a_row: u32,
    assembly: Assembly,
    /// What the owner's rules say of the message that is being performed.
    ruling: Ruling,
    /// The watch that the supervisor keeps over the token now.
    token_watch: u64,
    /// Alive while the room's state is being sent.
    sends_state: Weak<()>,
}

impl Session {
    /// A session for a connection whose handshake is done.
    pub fn new(
        request: Request,
        link: Rc<Link>,
        membership: SharedMembership,
        addresses: Arc<Addresses>,
        context: Arc<NodeContext>,
    ) -> Self {
        let now = context.uptime();
        Self {
            id: Uuid::new_v4(),
            tenant: context.tenants.of(request.grant.tenant(), now),
            messages: RateBudget::new(now),
            controls: RateBudget::new(now),
            signals: RateBudget::new(now),
            grant: request.grant.clone(),
            variant: request.options.variant,
            request: Some(Box::new(request)),
            link,
            membership,
            addresses,
            context,
            refused_in_a_row: 0,
            signals_refused_in_a_row: 0,
            invalid_in_a_row: 0,
            assembly: Assembly::default(),
            ruling: Ruling::default(),
            token_watch: 0,
            sends_state: Weak::new(),
        }
    }

    fn voice(&self) -> Voice<'_> {
        Voice {
            tenant: self.grant.tenant(),
            instance: self.grant.instance(),
            now: self.context.now(),
            epoch: self.context.backbone.epoch(self.grant.tenant()),
            envelope: self.variant.envelope,
            encoding: self.variant.encoding,
        }
    }

    fn refuse(&self, refusal: &Refusal) {
        self.context.metrics.refused.inc();
        self.link.send(self.voice().error(refusal));
    }

    /// Reads one whole message.
    fn read(&mut self, text: &str, paid: Paid, ctx: &mut WebsocketContext<Self>) {
        self.context.metrics.received.inc();
        let (tenant, author) = (self.grant.tenant(), self.grant.author());
        let (identity, change) = (Identity::of(self.grant.is_proven()), &self.grant.rights().change);
        let sender = Sender { tenant, author, identity, change, now: self.context.now() };
        let depth = self.context.config.limits.json_depth;
        let read = match self.variant.envelope {
            Envelope::Sync => incoming::read(text, sender, depth),
            Envelope::Typed => typed::read(text, sender, depth),
        };
        let message = match read {
            Ok(message) => message,
            Err(refusal) => return self.refuse_invalid(&refusal, ctx),
        };
        self.invalid_in_a_row = 0;
        if self.within_budget(&message, paid, ctx) {
            self.perform_when_ruled(message, ctx);
        }
    }

    fn perform(&mut self, message: ClientMessage, ctx: &mut WebsocketContext<Self>) {
        match message {
            ClientMessage::Publish(publish) => self.publish(publish, ctx),
            ClientMessage::Signal(sent) => self.signal(sent, ctx),
            ClientMessage::Auth(token) => self.renew(token, ctx),
            ClientMessage::Ping(_) => self.link.send(self.voice().pong()),
            ClientMessage::SyncRequest(name) => match self.needs(Need::Presence) {
                Ok(()) => self.ask_room(name, |key| TellFigures { key }),
                Err(refusal) => self.refuse(&Refusal { reference: name, ..refusal }),
            },
            ClientMessage::Change(changes) => self.change(changes, ctx),
            ClientMessage::State(request) => self.send_state(request),
            ClientMessage::Subscribe(wanted) => self.subscribe(wanted),
            ClientMessage::Unsubscribe(unwanted) => self.unsubscribe(unwanted),
            ClientMessage::Reconnect { since, requested } => self.reconnect(since, requested),
            ClientMessage::Focus(focus) => self.focus(&focus),
            ClientMessage::Ack(None) => {}
            ClientMessage::Ack(Some(position)) => {
                let instance = self.grant.instance().clone();
                self.ask_room(None, |key| Acknowledged { key, instance, position });
            }
        }
    }

    fn refuse_invalid(&mut self, refusal: &Refusal, ctx: &mut WebsocketContext<Self>) {
        self.refuse(refusal);
        self.invalid_in_a_row += 1;
        if self.invalid_in_a_row >= self.context.config.limits.invalid_in_a_row {
            self.end(Close::Invalid, ctx);
        }
    }

    fn publish(&mut self, publish: record::Publish, ctx: &mut WebsocketContext<Self>) {
        let (token, id) = (self.context.serial(), publish.id);
        let reference = publish.reference.clone();
        let granted = self.needs(Need::Publish(publish.event_type.as_str()));
        let append = match granted.and_then(|()| append_of(&self.grant, publish, self.context.now())) {
            Ok(append) => append,
            Err(refusal) => {
                return self.refuse(&match reference {
                    Some(reference) => refusal.concerning(reference),
                    None => refusal.about(id),
                });
            }
        };
        let publication = Publication { token, id, reference, what: Content::Event(append) };
        self.send_publication(publication);
        self.wait_while_full(ctx);
    }

    /// Sends something to be stored to the room.
    fn send_publication(&self, publication: Publication) {
        if let Some(wait) = self.link.leaving() {
            let refusal = Refusal::new(Code::Draining, "the node is going away; repeat with the same id");
            return self.refuse_publication(&refusal.after(wait), &publication);
        }
        let place = self.membership.borrow().as_ref().map(|m| (m.outlet.clone(), m.key));
        let Some((outlet, key)) = place else { return };
        self.link.expect(publication.clone());
        if outlet.is_moving() {
            return; // it goes to the new room behind those that are repeated to it
        }
        match outlet.room().room.try_send(Publish { key, publication }) {
            Ok(()) => {}
            Err(actix::dev::SendError::Full(publish)) => {
                self.link.settle(publish.publication.token);
                let refusal = Refusal::new(Code::Busy, "too much is waiting to be stored; repeat with the same id");
                self.refuse_publication(&refusal.after(Duration::from_millis(100)), &publish.publication);
            }
            // A dead room: its outlet repeats what waits to the new one.
            Err(actix::dev::SendError::Closed(_)) => {}
        }
    }

    fn refuse_publication(&self, refusal: &Refusal, publication: &Publication) {
        match &publication.what {
            Content::Batch(wanted, _) => {
                let each = wanted.iter().map(|wanted| refusal.clone().concerning(wanted.reference.clone()));
                each.for_each(|refusal| self.refuse(&refusal));
            }
            Content::Event(_) | Content::Operation(..) => self.refuse(&named(refusal.clone(), publication)),
        }
    }

    /// Reads nothing more while too many publishes wait for their answer.
    fn wait_while_full(&self, ctx: &mut WebsocketContext<Self>) {
        let (limit, link) = (self.context.config.limits.publishes_in_flight, self.link.clone());
        if link.in_flight() < limit {
            return;
        }
        // Whoever settles a publish wakes the driver, which polls this.
        let settled =
            poll_fn(move |_| if link.in_flight() < limit || link.is_over() { Poll::Ready(()) } else { Poll::Pending });
        ctx.wait(settled.into_actor(self));
    }

    /// Sends a small request of this name to the room; one that finds the mailbox full is only a question asked again later.
    fn ask_room<M>(&self, name: Option<Arc<str>>, message: impl FnOnce(MemberKey) -> M)
    where
        M: actix::Message<Result = ()> + Send + 'static,
        Room: Handler<M>,
    {
        if let Some(Membership { outlet, key, .. }) = &*self.membership.borrow()
            && let Err(actix::dev::SendError::Full(_)) = outlet.room().room.try_send(message(*key))
        {
            let refusal = Refusal::new(Code::Busy, "the room is busy; ask again").after(Duration::from_millis(100));
            self.refuse(&Refusal { reference: name, ..refusal });
        }
    }

    fn end(&mut self, close: Close, ctx: &mut WebsocketContext<Self>) {
        self.link.close(close);
        // Stop reading what is already here. The driver ends the connection.
        ctx.stop();
    }

    fn answer_ping(&mut self, payload: &Bytes) {
        if let Verdict::Pass = self.take_control() {
            self.link.put(&frame::pong(payload));
        }
    }
}

/// Names what a refusal is about as its sender named it.
pub(super) fn named(refusal: Refusal, publication: &Publication) -> Refusal {
    match &publication.reference {
        Some(reference) => refusal.concerning(reference.clone()),
        None => refusal.about(publication.id),
    }
}

impl Actor for Session {
    type Context = WebsocketContext<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let grant = &self.grant;
        tracing::debug!(session = %self.id, tenant = %grant.tenant(), instance = %grant.instance(), "connected");
        let watch = Watch { session: ctx.address(), heard: self.link.heard() };
        let supervisor = self.addresses.supervisor.clone();
        if let Err(actix::dev::SendError::Full(watch)) = supervisor.try_send(watch) {
            ctx.spawn(async move { supervisor.send(watch).await.unwrap_or_default() }.into_actor(self));
        }
        self.watch_token(ctx);
        self.join(ctx);
    }
}

impl StreamHandler<Result<Frame, ProtocolError>> for Session {
    fn handle(&mut self, frame: Result<Frame, ProtocolError>, ctx: &mut Self::Context) {
        self.link.handle_frame();
        if self.link.is_over() {
            return;
        }
        match self.assembly.take(frame) {
            Ok(Some(Frame::Text(text))) => self.read(&text, Paid::No, ctx),
            Ok(Some(Frame::Binary(bytes))) => self.read_binary(&bytes, ctx),
            Ok(Some(Frame::Ping(payload))) => self.answer_ping(&payload),
            Ok(Some(Frame::Pong(payload))) => {
                if let Some(position) = frame::pong_position(&payload) {
                    let instance = self.grant.instance().clone();
                    self.ask_room(None, |key| Acknowledged { key, instance, position });
                }
            }
            Ok(_) => {} // a fragment
            // The stream would go on after an error: end it here, once.
            Err(close) => self.end(close, ctx),
        }
    }

    fn finished(&mut self, _: &mut Self::Context) {
        // The input ends with the driver, which ends the session.
    }
}

impl Handler<Beat> for Session {
    type Result = ();

    fn handle(&mut self, _: Beat, _: &mut Self::Context) {
        if let Some(Membership { outlet, key, .. }) = &*self.membership.borrow() {
            outlet.beat(*key);
        }
    }
}

impl Handler<Expire> for Session {
    type Result = ();

    fn handle(&mut self, _: Expire, ctx: &mut Self::Context) {
        self.end(Close::HeartbeatLost, ctx);
    }
}
