//! How a connection stands: for how long its socket has taken nothing, and what it waits for.
//!
//! Owns: that a clock is read for it only where a socket takes less than it is given.

use std::time::Duration;

use super::{Link, Transport};

impl Link {
    /// How the client is connected.
    pub fn transport(&self) -> &'static str {
        match self.socket {
            Transport::Plain(_) => "websocket",
            Transport::Tls(_) => "websocket_tls",
        }
    }

    /// The socket takes no more for now, and something waits.
    pub(super) fn stalls(&self) {
        if self.stuck_since.replace(Some(self.context.uptime())).is_none() {
            self.context.metrics.outboxes_waiting.inc();
        }
    }

    /// Nothing waits any more.
    pub(super) fn flows(&self) {
        if self.stuck_since.take().is_some() {
            self.context.metrics.outboxes_waiting.dec();
        }
    }

    /// For how long the socket has taken nothing although something waits.
    pub fn stuck(&self) -> Duration {
        let since = self.stuck_since.get().filter(|_| self.waiting() > 0);
        since.map_or(Duration::ZERO, |since| self.context.uptime().saturating_sub(since))
    }

    /// How many publishes wait for their answers.
    pub fn unsettled(&self) -> usize {
        self.in_flight.borrow().len()
    }
}
