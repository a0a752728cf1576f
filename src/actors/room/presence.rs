//! Who is told of whose coming and going: one by one in small rooms, summed up in large ones.

use std::sync::Arc;

use actix::{Context, Handler};

use super::Room;
use crate::{
    actors::messages::{Leave, MemberKey, Order},
    model::{
        InstanceId,
        neighbours::News,
        roster::{Farewell, Left, Presence, Reason, Whose},
    },
    wire::{
        Encoding, Envelope,
        outgoing::{Announcement, Voice},
    },
};

/// What waits to be summed up.
#[derive(Debug, Default)]
pub(super) struct Announcements {
    joined: usize,
    left: usize,
    /// Set while a crowd comes or goes at once: whoever is left may be few, but is told in one word too.
    is_crowd: bool,
}

impl Announcements {
    pub(super) fn any(&self) -> bool {
        self.joined + self.left > 0
    }
}

impl Handler<Leave> for Room {
    type Result = ();

    fn handle(&mut self, Leave { key, instance, how }: Leave, ctx: &mut Context<Self>) {
        self.member_left(key, &instance, how, ctx);
        self.flush(ctx);
    }
}

impl Room {
    /// What the room says to or about an instance.
    pub(super) fn voice<'a>(&'a self, instance: &'a InstanceId, envelope: Envelope) -> Voice<'a> {
        let (now, epoch) = (self.context.now(), self.epoch);
        Voice { tenant: &self.tenant, instance, now, epoch, envelope, encoding: Encoding::Text }
    }

    fn is_large(&self) -> bool {
        self.announcements.is_crowd || self.roster.len() > self.context.config.rooms.announce_limit
    }

    /// What is announced from here on is of so many who come or go at once.
    pub(super) fn announce_at_once(&mut self, count: usize) {
        self.announcements.is_crowd = count > self.context.config.rooms.announce_limit;
    }

    /// Tells the members, except the one that joined if it is one of them.
    pub(super) fn announce_joined(&mut self, instance: &InstanceId, except: Option<MemberKey>) {
        if self.is_large() {
            self.announcements.joined += 1;
            return;
        }
        let Some(presence) = self.roster.presence(instance) else { return };
        let what = self.voice(instance, Envelope::Sync).joined(presence);
        self.announce(what, except);
    }

    fn announce(&mut self, what: Announcement, except: Option<MemberKey>) {
        let what = Arc::new(what);
        self.ports.post_all(|_| Order::Announce { what: what.clone(), except });
    }

    /// Tells the members; the roster does not know the instance any more.
    pub(super) fn announce_left(&mut self, instance: &InstanceId, presence: &Presence, reason: Reason) {
        self.passing.forget(instance);
        if self.is_large() {
            self.announcements.left += 1;
            return;
        }
        let what = self.voice(instance, Envelope::Sync).left(presence, reason);
        self.announce(what, None);
    }

    pub(super) fn member_left(
        &mut self,
        key: MemberKey,
        instance: &InstanceId,
        how: Farewell,
        ctx: &mut Context<Self>,
    ) {
        self.ports.leave(key);
        self.forget_early(key);
        self.forget_interests(key);
        let now = self.context.uptime();
        match self.roster.leave(instance, key, how, now + self.context.config.heartbeat.timeout) {
            Left::Gone(presence) => {
                let reason = if how == Farewell::Silent { Reason::Lost } else { Reason::Closed };
                self.announce_left(instance, &presence, reason);
                self.tell(News::Left(instance.clone(), reason));
            }
            Left::Missed => self.tell(News::Missed(instance.clone())),
            Left::Stale => {}
        }
        self.used_at = now;
        self.tick_later(ctx);
    }

    pub(super) fn expire_missed(&mut self) {
        if !self.roster.misses_somebody() {
            return;
        }
        let gone = self.roster.expire(self.context.uptime());
        self.announce_at_once(gone.len());
        for (instance, presence, whose) in gone {
            self.announce_left(&instance, &presence, Reason::Lost);
            if whose == Whose::Ours {
                self.tell(News::Left(instance, Reason::Lost));
            }
        }
        self.announce_at_once(0);
    }

    pub(super) fn sum_up_presence(&mut self) {
        if !self.announcements.any() {
            return;
        }
        let Announcements { joined, left, .. } = std::mem::take(&mut self.announcements);
        let room = "room".parse().expect("a plain word is an instance id");
        let total = self.roster.len();
        let what = self.voice(&room, Envelope::Sync).presence_changed(total, joined, left);
        self.announce(what, None);
    }
}
