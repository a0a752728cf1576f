//! Members hear of changes that have much to do with what they are busy with.

use actix::Context;

use super::{super::Room, Asked, Notice, Outgoing, Then};
use crate::{
    actors::messages::MemberKey,
    model::{EntityKey, interest::Glance},
    wire::interest::{Read, discovery},
};

impl Room {
    /// A member is busy with something else now.
    pub(super) fn focus(&mut self, key: MemberKey, what: Asked, _: &mut Context<Self>) {
        let Asked::Focus { viewer, envelope, focus } = what else { return };
        if focus.is_empty() || self.ports.instance_of(key).is_none() {
            self.interests.foci.remove(&key);
        } else {
            self.interests.foci.insert(key, (viewer, envelope, focus));
        }
    }

    /// Tells those for whom a change is relevant; a signal of the moment, which nobody is told again.
    pub(super) fn discover(&self, key: &EntityKey, read: &Read, outgoing: &mut Outgoing) {
        let Some(content) = read.content().filter(|_| !self.interests.foci.is_empty()) else { return };
        let glance = Glance::at(key, content.fields);
        for (member, (viewer, envelope, focus)) in &self.interests.foci {
            let is_own = self.ports.instance_of(*member).is_some_and(|instance| read.is_by(instance.as_str()));
            if is_own || !content.is_seen_by(viewer, key) {
                continue;
            }
            let Some(relevance) = focus.relevance(&glance) else { continue };
            let data = discovery(key, read, &relevance);
            let frame = self.voice_of_room(*envelope).of_subscription(("gonzai.discover", &data));
            let notice = Notice { key: *member, serial: Notice::OF_THE_MOMENT, frame, then: Then::Changes };
            outgoing.notices.entry(member.outlet).or_default().push(notice);
        }
    }
}
