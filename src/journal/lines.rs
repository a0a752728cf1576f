//! Publishes that wait behind their room's queue without going through the disk: while the log serves and the queue is
//! short, what comes now is held for a moment and goes straight on when the queue is empty.
//!
//! Owns: that a room comes out of its journal under load. If all that comes had to pass the queue, the queue would never be
//! empty again. Whoever is held is not answered yet, so nothing is promised that is not on a disk.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use super::desk::Desk;
use crate::{
    backbone::{Append, AppendError, Health, Keeper, Reply},
    model::TenantId,
};

/// Behind more entries than this nothing is held: it would wait for too long.
const SHORT: usize = 4096;
/// Appends released in one go.
const GROUP: usize = 256;

/// Appends in the order in which they came, by room. A room that is here is passed by nothing.
pub type Lines = HashMap<TenantId, VecDeque<(Append, Reply)>>;

impl Desk {
    /// Takes an append of a room that has others here: holds it, or keeps it.
    pub fn line_up(&self, append: Append, reply: Reply) {
        let serves = self.backbone.health_of(&append.tenant) == Health::Serving;
        let mut append = Some((append, reply));
        self.with_lines(|lines, index| {
            let Some((waiting, reply)) = append.take() else { return };
            if let Some(line) = lines.get_mut(&waiting.tenant) {
                line.push_back((waiting, reply));
            } else if serves && index.is_moving(&waiting.tenant, SHORT) {
                lines.entry(waiting.tenant.clone()).or_default().push_back((waiting, reply));
            } else {
                append = Some((waiting, reply));
            }
        });
        if let Some((append, reply)) = append {
            self.put(append, reply, Otherwise::SayFull);
        }
    }

    /// Lets the lines of rooms whose queue is empty go on to the log.
    pub fn release(self: &Arc<Self>) {
        loop {
            let group = self.with_lines(|lines, index| {
                // Gone only when nothing is left: until then newer ones stand behind.
                lines.retain(|tenant, line| !line.is_empty() || index.is_queued(tenant));
                let free = lines.iter_mut().find(|(tenant, _)| !index.is_queued(tenant));
                free.map(|(_, line)| line.drain(..line.len().min(GROUP)).collect::<Vec<_>>()).unwrap_or_default()
            });
            if group.is_empty() {
                return;
            }
            for (append, mut reply) in group {
                reply.keeper = Some(self.clone());
                self.backbone.append(append, reply);
            }
        }
    }

    /// A room's queue does not move: what stands behind it is kept.
    pub fn keep_line(&self, tenant: &TenantId) {
        loop {
            let next = self.with_lines(|lines, _| {
                let next = lines.get_mut(tenant).and_then(VecDeque::pop_front);
                if next.is_none() {
                    lines.remove(tenant);
                }
                next
            });
            let Some((append, reply)) = next else { return };
            self.put(append, reply, Otherwise::SayFull);
        }
    }

    /// The journal closes: whoever is still held is told so.
    pub fn dismiss_lines(&self) {
        for (_, line) in self.with_lines(|lines, _| std::mem::take(lines)) {
            line.into_iter().for_each(|(_, reply)| reply.send(Err(AppendError::Closed)));
        }
    }
}

/// What is said of an append that cannot be kept.
#[derive(Clone, Debug)]
pub enum Otherwise {
    /// That there is no room: the log does not have it.
    SayFull,
    /// That nobody knows: the log may have it.
    SayUnknown(String),
}

impl Otherwise {
    /// As an error.
    pub fn error(self, why: String) -> AppendError {
        match self {
            Self::SayFull => AppendError::JournalFull(why),
            Self::SayUnknown(why) => AppendError::Unknown(why),
        }
    }
}

impl Keeper for Desk {
    fn keep(&self, append: Append, error: AppendError, reply: Reply) {
        let otherwise = match error {
            AppendError::Unavailable(_) | AppendError::Full(_) | AppendError::Busy => Otherwise::SayFull,
            // It may be in the log: "nothing was stored" would be a lie.
            AppendError::Unknown(why) => Otherwise::SayUnknown(why),
            other => return reply.send(Err(other)),
        };
        self.put(append, reply, otherwise);
    }
}
