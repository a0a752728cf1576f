//! From a binary message to its text: what is compressed is inflated.
//!
//! Owns: the rule that inflating is paid for beforehand. A compressed message counts as a publish, whatever it holds, and one
//! beyond the budget is refused as it came: a thousand bytes may ask for the work of a million, and nothing but the
//! budget says how often.

use actix_web_actors::ws::WebsocketContext;

use super::{
    Session,
    budget::{MESSAGES, too_fast},
};
use crate::{
    model::rate::Verdict,
    wire::{
        Close, Code, Encoding, Refusal,
        encoding::{Unreadable, inflate},
    },
};

/// Whether a message has been held against the budget of publishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Paid {
    No,
    Yes,
}

impl Session {
    fn read_bytes(&mut self, bytes: &[u8], paid: Paid, ctx: &mut WebsocketContext<Self>) {
        match std::str::from_utf8(bytes) {
            Ok(text) => self.read(text, paid, ctx),
            Err(_) => self.end(Close::NotUtf8, ctx),
        }
    }

    /// Reads a binary message: JSON like any other, or what it inflates to where that was agreed.
    pub(super) fn read_binary(&mut self, bytes: &[u8], ctx: &mut WebsocketContext<Self>) {
        if self.variant.encoding == Encoding::Text {
            return self.read_bytes(bytes, Paid::No, ctx);
        }
        if let Verdict::Refuse { retry_after } = self.take_messages(Paid::No, 1) {
            self.context.metrics.received.inc();
            self.refused_in_a_row += 1;
            return self.refuse_for_rate(&too_fast(MESSAGES, retry_after), MESSAGES, self.refused_in_a_row, ctx);
        }
        match inflate(bytes, self.context.config.limits.max_message_bytes) {
            Ok(json) => self.read_bytes(&json, Paid::Yes, ctx),
            Err(Unreadable::TooLarge) => self.end(Close::TooLarge, ctx),
            Err(error) => {
                self.context.metrics.received.inc();
                let message = format!("this message cannot be inflated: {error}");
                self.refuse_invalid(&Refusal::new(Code::InvalidEncoding, message), ctx);
            }
        }
    }
}
