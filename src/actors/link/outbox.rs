//! A connection's queue of ready frames.
//!
//! Owns: that its bytes are counted as they come and go. Must not know: the socket.

use std::collections::VecDeque;

use bytes::{Buf as _, Bytes};

use crate::wire::Close;

/// What waits for one socket.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    pub(super) queue: VecDeque<Bytes>,
    pub(super) bytes: usize,
    pub(super) closing: Option<Close>,
    pub(super) broken: bool,
}

impl Outbox {
    pub(super) fn has_room(&self, bytes: usize, budget: usize) -> bool {
        self.bytes == 0 || self.bytes + bytes <= budget
    }

    pub(super) fn consume(&mut self, mut written: usize) {
        self.bytes -= written;
        while written > 0 {
            let Some(front) = self.queue.front_mut() else { return };
            if written < front.len() {
                front.advance(written);
                return;
            }
            written -= front.len();
            self.queue.pop_front();
        }
    }
}
