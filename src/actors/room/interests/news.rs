//! What changes mean to followers, on its way to them.

use std::sync::Arc;

use actix::Context;

use super::{super::Room, Notice, Outgoing, Phase, Then};
use crate::{
    actors::messages::Order,
    backbone::{Stored, Subject},
    model::{
        EntityKey,
        interest::{InterestId, Turned, Update},
    },
    wire::interest::{News, Part, PartPlace, Read},
};

impl Room {
    /// Tells followers what new records mean to them.
    pub(in super::super) fn tell_followers(&mut self, changed: Vec<Stored>, ctx: &mut Context<Self>) {
        let mut outgoing = Outgoing::default();
        let mut owed = Vec::new();
        for Stored { position, subject, body, .. } in changed {
            let Subject::Entity(key) = subject else { continue };
            self.note_for_search(&key, position);
            if self.interests.foci.is_empty() && !self.interests.index.cares_for(&key) {
                continue;
            }
            let Some(read) = Read::of(&self.tenant, position, &body) else { continue };
            self.discover(&key, &read, &mut outgoing);
            let updates = self.interests.index.see(&read.change(&key));
            self.tell_updates(updates, Some((&key, &read)), &mut outgoing, &mut owed);
        }
        for (outlet, notices) in outgoing.notices {
            self.ports.post(outlet, Order::Subscriptions(notices));
        }
        self.bound_graph();
        owed.sort_unstable();
        owed.dedup();
        owed.into_iter().for_each(|id| self.fill(id, ctx));
    }

    pub(super) fn tell_updates(
        &mut self,
        updates: Vec<Update>,
        entity: Option<(&EntityKey, &Read)>,
        outgoing: &mut Outgoing,
        owed: &mut Vec<InterestId>,
    ) {
        let mut shown: Option<Arc<str>> = None;
        for Update { id, turned, left, is_overgrown } in updates {
            if is_overgrown {
                self.end_overgrown(id);
                continue;
            }
            let Some(served) = self.interests.served.get(&id) else { continue };
            let mut news = News { left, ..News::default() };
            if let (Some(turned), Some((key, read))) = (turned, entity) {
                if served.parts == 0 {
                    // Nothing comes before the first part, which begins the result.
                    self.interests.index.owe_again(id, key);
                } else {
                    let shown = shown.get_or_insert_with(|| read.as_entity(key).into()).clone();
                    match turned {
                        Turned::Entered => news.entered.push(shown),
                        Turned::Changed => news.changed.push(shown),
                    }
                }
            }
            if !(news.entered.is_empty() && news.changed.is_empty() && news.left.is_empty()) {
                self.announce_news(id, &news, outgoing);
            }
            if self.interests.index.is_owed(id) {
                owed.push(id);
            }
        }
    }

    pub(super) fn announce_news(&self, id: InterestId, news: &News, outgoing: &mut Outgoing) {
        let Some(served) = self.interests.served.get(&id) else { return };
        let (key, envelope) = (served.key, served.envelope);
        let (word, data) = served.subscription.news(news, self.head);
        let made = outgoing.made.entry((envelope, format!("{word} {data}")));
        let frame = made.or_insert_with(|| self.voice_of_room(envelope).of_subscription((word, &data))).clone();
        let notice = Notice { key, serial: id.0, frame, then: Then::Changes };
        outgoing.notices.entry(key.outlet).or_default().push(notice);
    }

    /// Sends a part of a result, and whether it is the last one.
    pub(super) fn send_part(&mut self, id: InterestId, part: &Part, done: bool) {
        let position = self.head;
        let Some(served) = self.interests.served.get_mut(&id) else { return };
        served.parts += 1;
        served.phase = if done { Phase::Live } else { Phase::Filling { taken: false } };
        let (key, envelope) = (served.key, served.envelope);
        let (word, data) = served.subscription.part(part, PartPlace { number: served.parts, position, done });
        let frame = self.voice_of_room(envelope).of_subscription((word, &data));
        let then = if done { Then::Changes } else { Then::More };
        self.post_notice(Notice { key, serial: id.0, frame, then });
    }
}
