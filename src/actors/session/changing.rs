//! What a session does with messages that change entities or what it hears, and with signals.

use std::sync::Arc;

use actix::{AsyncContext, WrapFuture, dev::SendError};
use actix_web_actors::ws::WebsocketContext;

use super::{Membership, Session};
use crate::{
    actors::messages::{Content, PassOn, Publication},
    model::{EventId, resume::Since},
    wire::{
        Code, Refusal,
        changes::Changes,
        message::is_gitmind,
        signal::{Sent, Signal},
    },
};

impl Session {
    /// Sends operations to the room, each on its own.
    pub(super) fn change(&mut self, changes: Changes, ctx: &mut WebsocketContext<Self>) {
        let Changes { wanted, form } = changes;
        for wanted in wanted {
            match wanted {
                Ok(wanted) => {
                    let (token, id) = (self.context.serial(), EventId(wanted.operation.id.0));
                    let reference = Some(wanted.reference.clone());
                    let what = Content::Operation(Box::new(wanted), form);
                    self.send_publication(Publication { token, id, reference, what });
                }
                Err(refusal) => self.refuse(&refusal),
            }
        }
        self.wait_while_full(ctx);
    }

    /// Signals something to the others.
    pub(super) fn signal(&mut self, sent: Sent, ctx: &mut WebsocketContext<Self>) {
        let (limit, bytes) = (self.context.config.limits.signal_bytes, sent.data.get().len());
        if bytes > limit {
            let message = format!("a signal's 'data' may have {limit} bytes; publish what is larger as an event");
            let mut refusal = Refusal::new(Code::TooLarge, message);
            refusal.of_gitmind = is_gitmind(sent.event_type.as_str());
            refusal.reference = sent.reference;
            return self.refuse(&refusal);
        }
        let signal = Arc::new(Signal::new(sent, self.grant.author(), self.context.now()));
        let Some((room, key)) = self.with_outlet(|outlet, key| (outlet.room(), *key)) else { return };
        if let Err(SendError::Full(signal)) = room.room.try_send(PassOn { key, signal }) {
            // Read on when there is room: were it lost, it could be the newest. With a room that has died signals are lost.
            ctx.wait(async move { room.room.send(signal).await.unwrap_or_default() }.into_actor(self));
        }
    }

    /// Hears these channels too.
    pub(super) fn subscribe(&self, channels: &[String]) {
        let Some(known) = self.with_outlet(|outlet, key| outlet.subscribe(*key, channels)) else { return };
        match known {
            Ok(()) => self.link.send(self.voice().subscribed("subscribed", channels)),
            Err(most) => {
                let message = format!("one connection may hear {most} channels; unsubscribe from some first");
                self.refuse(&Refusal::new(Code::LimitReached, message));
            }
        }
    }

    /// Hears these channels no more.
    pub(super) fn unsubscribe(&self, channels: &[String]) {
        if self.with_outlet(|outlet, key| outlet.unsubscribe(*key, channels)).is_some() {
            self.link.send(self.voice().subscribed("unsubscribed", channels));
        }
    }

    /// Goes back and reads on from there.
    pub(super) fn reconnect(&self, since: Since, requested: String) {
        self.with_outlet(|outlet, key| outlet.rewind(*key, since, requested));
    }

    fn with_outlet<T>(
        &self,
        act: impl FnOnce(&crate::actors::outlet::Shared, &crate::actors::messages::MemberKey) -> T,
    ) -> Option<T> {
        let membership = self.membership.borrow();
        let Some(Membership { outlet, key, .. }) = &*membership else { return None };
        Some(act(outlet, key))
    }
}
