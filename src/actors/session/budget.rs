//! How fast a session's messages may come.

use std::time::Duration;

use actix_web_actors::ws::WebsocketContext;

use super::{Session, reading::Paid};
use crate::{
    model::rate::Verdict,
    wire::{Close, Code, Refusal, incoming::ClientMessage},
};

/// The keys of the limits, for whoever is over one.
pub(super) const MESSAGES: &str = "messages_per_minute";
const CONTROLS: &str = "control_per_minute";
const SIGNALS: &str = "signals_per_minute";

impl Session {
    pub(super) fn within_budget(
        &mut self,
        message: &ClientMessage,
        paid: Paid,
        ctx: &mut WebsocketContext<Self>,
    ) -> bool {
        let (verdict, limit) = match message {
            ClientMessage::Publish(_) => self.take_publishes(paid, 1),
            // Each of several operations counts, as it would alone.
            ClientMessage::Change(changes) => {
                self.take_publishes(paid, u32::try_from(changes.wanted.len()).unwrap_or(u32::MAX).max(1))
            }
            // These make the node read.
            ClientMessage::State(_) | ClientMessage::Reconnect { .. } => (self.take_messages(paid, 1), MESSAGES),
            ClientMessage::Signal(_) => {
                let limit = self.tenant.limits().signals_per_minute;
                (self.signals.take(1, limit, self.context.uptime()), SIGNALS)
            }
            ClientMessage::Auth(_)
            | ClientMessage::Ping(_)
            | ClientMessage::SyncRequest(_)
            | ClientMessage::Ack(_)
            | ClientMessage::Subscribe(_)
            | ClientMessage::Unsubscribe(_)
            | ClientMessage::Focus(_) => (self.take_control(), CONTROLS),
        };
        let in_a_row = match message {
            ClientMessage::Signal(_) => &mut self.signals_refused_in_a_row,
            _ => &mut self.refused_in_a_row,
        };
        let Verdict::Refuse { retry_after } = verdict else {
            // A ping in between does not make a flood of publishes better.
            if !matches!(message, ClientMessage::Ping(_) | ClientMessage::Ack(_)) {
                *in_a_row = 0;
            }
            return true;
        };
        *in_a_row += 1;
        let in_a_row = *in_a_row;
        let mut refusal = too_fast(limit, retry_after);
        match message {
            ClientMessage::Publish(publish) => refusal.event_id = Some(publish.id),
            ClientMessage::Ping(name) | ClientMessage::SyncRequest(name) => refusal.reference.clone_from(name),
            ClientMessage::State(wish) => refusal.reference.clone_from(&wish.reference),
            ClientMessage::Change(changes) => {
                refusal.reference = match changes.wanted.first() {
                    Some(Ok(wanted)) => Some(wanted.reference.clone()),
                    Some(Err(refused)) => refused.reference.clone(),
                    None => None,
                }
            }
            _ => {}
        }
        self.refuse_for_rate(&refusal, limit, in_a_row, ctx);
        false
    }

    /// Takes messages from the connection's budget of publishes; one of them may have been taken before.
    pub(super) fn take_messages(&mut self, paid: Paid, count: u32) -> Verdict {
        let count = count - u32::from(paid == Paid::Yes);
        if count == 0 {
            return Verdict::Pass;
        }
        self.messages.take(count, self.tenant.limits().messages_per_minute, self.context.uptime())
    }

    /// The same, and from the tenant's.
    fn take_publishes(&mut self, paid: Paid, count: u32) -> (Verdict, &'static str) {
        if let refuse @ Verdict::Refuse { .. } = self.take_messages(paid, count) {
            return (refuse, MESSAGES);
        }
        match self.tenant.take_messages(count, self.context.uptime()) {
            Ok(()) => (Verdict::Pass, MESSAGES),
            Err((over, retry_after)) => {
                // What is not done does not count, but what it cost before.
                self.messages.give_back(count - u32::from(paid == Paid::Yes));
                (Verdict::Refuse { retry_after }, over.key())
            }
        }
    }

    pub(super) fn take_control(&mut self) -> Verdict {
        self.controls.take(1, self.context.config.limits.control_per_minute, self.context.uptime())
    }

    pub(super) fn refuse_for_rate(
        &mut self,
        refusal: &Refusal,
        limit: &'static str,
        in_a_row: u32,
        ctx: &mut WebsocketContext<Self>,
    ) {
        self.context.metrics.count_over(limit);
        self.refuse(refusal);
        if in_a_row >= self.context.config.limits.refusals_before_close {
            self.end(Close::RateLimited, ctx);
        }
    }
}

/// What is said to whoever is over a limit.
pub(super) fn too_fast(limit: &str, retry_after: Duration) -> Refusal {
    let message = format!("too many messages (limits.{limit}); nothing was done with this one");
    Refusal::new(Code::RateLimited, message).after(retry_after)
}
