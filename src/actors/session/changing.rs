//! What a session does with messages that change entities or what it hears, and with signals.

use std::sync::Arc;

use actix::{AsyncContext, WrapFuture, dev::SendError};
use actix_web_actors::ws::WebsocketContext;

use super::{Membership, Session};
use crate::{
    actors::{
        messages::{Content, PassOn, Publication},
        outlet::TooMany,
    },
    model::{EventId, interest::Focus, resume::Since},
    wire::{
        Code, Need, Refusal,
        answer::{Form, Told},
        changes::Changes,
        check_own,
        interest::{Subscribe, Unsubscribe},
        message::is_gitmind,
        operation::{Unit, Wanted, bounded},
        signal::{Sent, Signal},
    },
};

impl Session {
    /// Sends operations to the room.
    pub(super) fn change(&mut self, changes: Changes, ctx: &mut WebsocketContext<Self>) {
        let Changes { wanted, form, unit } = changes;
        let wanted = wanted.into_iter().map(|wanted| self.granted(wanted?)).collect();
        if unit == Unit::Batch {
            self.change_together(wanted, form);
            return self.wait_while_full(ctx);
        }
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

    /// An operation that its sender may do.
    fn granted(&self, wanted: Wanted) -> Result<Wanted, Refusal> {
        let granted = self.needs(Need::Change(&wanted.key));
        match granted.and_then(|()| check_own(&wanted.key, &wanted.operation.stamp.by, self.grant.rights())) {
            Ok(()) => Ok(wanted),
            Err(refusal) => Err(refusal.concerning(wanted.reference.clone())),
        }
    }

    /// Sends operations of which all are to be done or none; whatever is wrong with one undoes all.
    fn change_together(&mut self, wanted: Vec<Result<Wanted, Refusal>>, form: Form) {
        let (mut fit, mut unfit) = (Vec::new(), Vec::new());
        for wanted in bounded(wanted) {
            match wanted {
                Ok(wanted) => fit.push(wanted),
                Err(refusal) => unfit.push(refusal),
            }
        }
        if !unfit.is_empty() {
            unfit.iter().for_each(|refusal| self.refuse(refusal));
            for told in fit.into_iter().map(Told::apart) {
                if let Ok(words) = told.words() {
                    self.link.send(self.voice().answer(form, &words));
                }
            }
        } else if let Some(first) = fit.first() {
            let (token, id) = (self.context.serial(), EventId(first.operation.id.0));
            let reference = Some(first.reference.clone());
            self.send_publication(Publication { token, id, reference, what: Content::Batch(fit, form) });
        }
    }

    /// Signals something to the others.
    pub(super) fn signal(&mut self, sent: Sent, ctx: &mut WebsocketContext<Self>) {
        let (of_gitmind, reference) = (is_gitmind(sent.event_type.as_str()), sent.reference.clone());
        let signal = match self.checked(sent) {
            Ok(signal) => Arc::new(signal),
            Err(refusal) => return self.refuse(&Refusal { of_gitmind, reference, ..refusal }),
        };
        let Some((room, key)) = self.with_outlet(|outlet, key| (outlet.room(), *key)) else { return };
        if let Err(SendError::Full(signal)) = room.room.try_send(PassOn { key, signal }) {
            // Read on when there is room: were it lost, it could be the newest. With a room that has died signals are lost.
            ctx.wait(async move { room.room.send(signal).await.unwrap_or_default() }.into_actor(self));
        }
    }

    fn checked(&self, sent: Sent) -> Result<Signal, Refusal> {
        let (config, bytes) = (&self.context.config, sent.data.get().len());
        if bytes > config.limits.signal_bytes {
            let limit = config.limits.signal_bytes;
            let message = format!("a signal's 'data' may have {limit} bytes; publish what is larger as an event");
            return Err(Refusal::new(Code::TooLarge, message));
        }
        self.needs(Need::Publish(sent.event_type.as_str()))?;
        if sent.is_trigger() && !config.chaos_of(self.grant.tenant()).enabled {
            return Err(Refusal::new(Code::SwitchedOff, "chaos is switched off here; nobody was told"));
        }
        Signal::new(sent, self.grant.author(), self.context.now())
    }

    /// Hears these channels too, and follows this.
    pub(super) fn subscribe(&self, Subscribe { channels, subscription }: Subscribe) {
        if let Err(refusal) = self.needs(Need::Hear) {
            return self.refuse(&match &subscription {
                Some(subscription) => refusal.concerning(subscription.name.clone()),
                None => refusal,
            });
        }
        if let Some(channels) = &channels {
            match self.with_outlet(|outlet, key| outlet.subscribe(*key, channels)) {
                None => return,
                Some(Ok(())) => {}
                Some(Err(most)) => {
                    let message = format!("one connection may hear {most} channels; unsubscribe from some first");
                    return self.refuse(&Refusal::new(Code::LimitReached, message));
                }
            }
        }
        let name = subscription.as_ref().map(|subscription| subscription.name.clone());
        if let Some(subscription) = subscription {
            let (name, most) = (subscription.name.clone(), self.context.config.limits.subscriptions_per_connection);
            let serial = self.context.serial();
            match self.with_outlet(|outlet, key| outlet.follow(*key, serial, subscription)) {
                None => return,
                Some(Ok(())) => {}
                Some(Err(TooMany)) => {
                    let message = format!("one connection may have {most} subscriptions; unsubscribe from some first");
                    return self.refuse(&Refusal::new(Code::LimitReached, message).concerning(name));
                }
            }
        }
        let names: Vec<_> = name.into_iter().collect();
        self.link.send(self.voice().subscribed("subscribed", channels.as_deref(), &names));
    }

    /// Hears these channels and follows these subscriptions no more.
    pub(super) fn unsubscribe(&self, Unsubscribe { channels, subscriptions }: Unsubscribe) {
        let names = subscriptions.unwrap_or_default();
        let unsubscribe = |outlet: &crate::actors::outlet::Shared, key: &crate::actors::messages::MemberKey| {
            channels.iter().for_each(|channels| outlet.unsubscribe(*key, channels));
            outlet.unfollow(*key, &names);
        };
        if self.with_outlet(unsubscribe).is_some() {
            self.link.send(self.voice().subscribed("unsubscribed", channels.as_deref(), &names));
        }
    }

    /// Is busy with this now.
    pub(super) fn focus(&self, focus: &Arc<Focus>) {
        self.with_outlet(|outlet, key| outlet.focus(*key, focus));
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
