//! How fast a session's messages may come.

use std::time::Duration;

use actix_web_actors::ws::WebsocketContext;

use super::{Session, reading::Paid};
use crate::{
    model::{EventId, rate::Verdict},
    wire::{Close, Code, Refusal, incoming::ClientMessage},
};

impl Session {
    pub(super) fn within_budget(
        &mut self,
        message: &ClientMessage,
        paid: Paid,
        ctx: &mut WebsocketContext<Self>,
    ) -> bool {
        let now = self.context.uptime();
        let (verdict, publish) = match message {
            ClientMessage::Publish(publish) => (self.take_message(paid), Some(publish.id)),
            ClientMessage::SyncRequest
            | ClientMessage::Change(_)
            | ClientMessage::State(_)
            | ClientMessage::Reconnect { .. } => (self.take_message(paid), None),
            ClientMessage::Signal(_) => (self.signals.take(now), None),
            ClientMessage::Auth(_)
            | ClientMessage::Ping
            | ClientMessage::Ack(_)
            | ClientMessage::Subscribe(_)
            | ClientMessage::Unsubscribe(_)
            | ClientMessage::Focus(_) => (self.controls.take(now), None),
        };
        let in_a_row = match message {
            ClientMessage::Signal(_) => &mut self.signals_refused_in_a_row,
            _ => &mut self.refused_in_a_row,
        };
        let Verdict::Refuse { retry_after } = verdict else {
            // A ping in between does not make a flood of publishes better.
            if !matches!(message, ClientMessage::Ping | ClientMessage::Ack(_)) {
                *in_a_row = 0;
            }
            return true;
        };
        *in_a_row += 1;
        let in_a_row = *in_a_row;
        self.refuse_for_rate(publish, retry_after, in_a_row, ctx);
        false
    }

    pub(super) fn refuse_for_rate(
        &mut self,
        publish: Option<EventId>,
        retry_after: Duration,
        in_a_row: u32,
        ctx: &mut WebsocketContext<Self>,
    ) {
        let mut refusal = Refusal::new(Code::RateLimited, "too many messages; nothing was done with this one");
        refusal.event_id = publish;
        self.refuse(&refusal.after(retry_after));
        if in_a_row >= self.context.config.limits.refusals_before_close {
            self.end(Close::RateLimited, ctx);
        }
    }
}
