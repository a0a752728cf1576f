//! What a session does with messages that change entities or what it hears.

use actix_web_actors::ws::WebsocketContext;

use super::{Membership, Session};
use crate::{
    actors::messages::{Content, Publication},
    model::{EventId, resume::Since},
    wire::{Code, Refusal, changes::Changes},
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
