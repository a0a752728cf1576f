//! How members are sent home when the node goes away: told at once, closed one after the other.

use std::time::Duration;

use super::Core;
use crate::actors::messages::MemberKey;

impl Core {
    pub(super) fn send_home(&mut self) -> Vec<(MemberKey, Duration)> {
        let spread = self.context.config.drain.spread;
        let keys = self.keys();
        for key in &keys {
            self.with(*key, |member, voice, _| member.link.send(voice.draining(retry_after(spread))));
        }
        keys.into_iter().map(|key| (key, spread.mul_f64(random_unit()))).collect()
    }

    pub(in super::super) fn close_for_restart(&mut self, key: MemberKey) {
        let spread = self.context.config.drain.spread;
        self.with(key, |member, _, _| {
            member.link.send_home(retry_after(spread));
            member.answered();
        });
    }
}

/// When somebody who is sent home shall come back.
pub fn retry_after(spread: Duration) -> Duration {
    Duration::from_millis(500) + spread.mul_f64(random_unit())
}

/// A number in `0..1`; spreading reconnects needs no better source.
pub fn random_unit() -> f64 {
    f64::from(uuid::Uuid::new_v4().as_fields().0) / f64::from(u32::MAX)
}
