//! Whose publishes wait in the node's journal, so that they hear when the log has them.
//!
//! Owns: the bound on what is remembered; beyond it the oldest is forgotten, and its publisher hears nothing more. The
//! publish itself is safe all the same.

use std::{
    cell::RefCell,
    collections::{HashMap, VecDeque},
    rc::Rc,
};

use actix::{AsyncContext, Context, StreamHandler};
use futures_util::stream;

use super::{Room, appends::refusal};
use crate::{
    actors::messages::{MemberKey, Order},
    journal::Drained,
    model::{DedupeId, EventId, InstanceId},
};

/// Publishes remembered per room.
const MOST: usize = 65_536;
/// Notices handled in one go.
const NOTICES: usize = 1024;

#[derive(Clone, Debug, PartialEq, Eq)]
struct Publisher {
    key: MemberKey,
    instance: InstanceId,
    id: EventId,
}

/// Who waits for which publish.
#[derive(Debug, Default)]
pub(super) struct Queued {
    /// With the number under which `order` knows it.
    publishers: HashMap<DedupeId, (Publisher, u64)>,
    order: VecDeque<(DedupeId, u64)>,
    next: u64,
}

impl Queued {
    fn note(&mut self, dedupe: DedupeId, publisher: Publisher) {
        self.next += 1;
        self.publishers.insert(dedupe, (publisher, self.next));
        self.order.push_back((dedupe, self.next));
        if self.order.len() > MOST
            && let Some((oldest, number)) = self.order.pop_front()
            && self.publishers.get(&oldest).is_some_and(|(_, known)| *known == number)
        {
            self.publishers.remove(&oldest);
        }
    }

    fn take(&mut self, dedupe: DedupeId) -> Option<Publisher> {
        let (publisher, _) = self.publishers.remove(&dedupe)?;
        if self.publishers.is_empty() {
            *self = Self { next: self.next, ..Self::default() };
        }
        Some(publisher)
    }
}

impl Room {
    /// Listens to what becomes of this room's publishes in the journal, if there is one.
    pub(super) fn listen_to_journal(&mut self, ctx: &mut Context<Self>) {
        let Some(journal) = &self.context.journal else { return };
        let notices = Rc::new(RefCell::new(journal.notices(&self.tenant)));
        ctx.add_stream(stream::poll_fn(move |cx| {
            let mut bundle = Vec::new();
            let received = notices.borrow_mut().poll_recv_many(cx, &mut bundle, NOTICES);
            received.map(|count| (count > 0).then_some(bundle))
        }));
    }

    /// A member's publish waits in the journal.
    pub(super) fn expect_drained(&mut self, key: MemberKey, id: EventId, dedupe: DedupeId) {
        if let Some(instance) = self.ports.instance_of(key).cloned() {
            self.queued.note(dedupe, Publisher { key, instance, id });
        }
    }

    fn tell_drained(&mut self, Drained { dedupe, end }: Drained) {
        let Some(Publisher { key, instance, id }) = self.queued.take(dedupe) else { return };
        // The instance may have come back on another connection since.
        let Some(key) = self.roster.member_of(&instance).or_else(|| self.ports.instance_of(key).map(|_| key)) else {
            return;
        };
        let ended = end.map_err(|error| refusal(error).about(id));
        self.post_settled(key, Order::Drained { key, id, ended });
    }
}

impl StreamHandler<Vec<Drained>> for Room {
    fn handle(&mut self, bundle: Vec<Drained>, ctx: &mut Context<Self>) {
        // The answer `queued` was given before the notice, through another channel: it has to be handled first.
        self.take_answers(ctx);
        bundle.into_iter().for_each(|drained| self.tell_drained(drained));
        self.flush(ctx);
    }

    fn finished(&mut self, ctx: &mut Context<Self>) {
        // The journal dropped a listener that was far behind: go on with what comes from here.
        if !self.retiring {
            self.listen_to_journal(ctx);
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn publisher(slot: usize) -> Publisher {
        let key = MemberKey { outlet: 1, slot, serial: slot as u64 };
        Publisher { key, instance: "a".parse().expect("an instance"), id: EventId(Uuid::nil()) }
    }

    fn id(number: usize) -> DedupeId {
        DedupeId(Uuid::from_u128(number as u128))
    }

    #[test]
    fn the_newest_connection_of_a_repeated_publish_hears_of_it_once() {
        let mut queued = Queued::default();
        queued.note(id(1), publisher(1));
        queued.note(id(1), publisher(2));
        assert_eq!(queued.take(id(1)), Some(publisher(2)));
        assert_eq!(queued.take(id(1)), None);
        assert!(queued.order.is_empty(), "nothing is remembered of what is settled");
    }

    #[test]
    fn beyond_the_bound_the_oldest_is_forgotten() {
        let mut queued = Queued::default();
        (0..=MOST).for_each(|number| queued.note(id(number), publisher(number)));
        assert_eq!(queued.take(id(0)), None);
        assert_eq!(queued.take(id(1)), Some(publisher(1)));
        assert_eq!(queued.take(id(MOST)), Some(publisher(MOST)));
        // Said anew, it is the newest.
        queued.note(id(2), publisher(9));
        (0..MOST - 1).for_each(|number| queued.note(id(2 * MOST + number), publisher(0)));
        assert_eq!(queued.take(id(2)), Some(publisher(9)));
    }
}
