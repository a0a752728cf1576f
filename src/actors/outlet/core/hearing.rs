//! What members hear beside records: announcements and signals, each as far as it chose to.
//!
//! Owns: the rule that signals give way. A member whose outbox is not empty gets of each type and sender only the newest, once it
//! has read what was before.

use std::sync::Arc;

use super::{super::member::Phase, Core};
use crate::{
    actors::messages::MemberKey,
    model::channels,
    wire::{Envelope, PRESENCE, outgoing::Announcement, signal::Signal},
};

impl Core {
    pub(super) fn announce(&mut self, what: &Announcement, except: Option<MemberKey>) {
        let mut sent = 0;
        for (slot, member) in &self.members {
            let excepted = except.is_some_and(|key| key.slot == slot && key.serial == member.serial);
            let form = match member.options.variant.envelope {
                Envelope::Sync => &what.sync,
                Envelope::Typed if member.options.channels.is_some() => &what.subscribed,
                Envelope::Typed => &what.unsubscribed,
            };
            let hears = member.options.hears(form.event_type) && member.viewer.hears(PRESENCE);
            if !excepted && member.phase != Phase::Waiting && hears {
                // Presence is of the moment: a member whose outbox is full learns it from its next session.
                let _ = member.link.offer(&form.frame);
                sent += 1;
            }
        }
        self.context.metrics.sent.inc_by(sent);
    }

    /// Passes signals on to everyone but their senders.
    pub(super) fn pass_on(&mut self, signals: &[Arc<Signal>]) {
        let mut sent = 0;
        for (_, member) in &mut self.members {
            for signal in signals {
                sent += member.signal(signal, &self.tenant);
            }
        }
        self.context.metrics.sent.inc_by(sent);
    }

    /// Tells a newcomer how things stand.
    pub(super) fn tell_standing(&mut self, key: MemberKey, signals: &[Arc<Signal>]) {
        let tenant = self.tenant.clone();
        self.with(key, |member, _, context| {
            let sent = signals.iter().map(|signal| member.signal(signal, &tenant)).sum();
            context.metrics.sent.inc_by(sent);
        });
    }

    /// A member's outbox is empty: what was held back goes as far as its socket takes it.
    pub(in super::super) fn release_signals(&mut self, key: MemberKey) {
        let tenant = self.tenant.clone();
        self.with(key, |member, _, context| {
            let sent = member.release_signals(&tenant);
            context.metrics.sent.inc_by(sent);
        });
    }

    pub(in super::super) fn subscribe(&mut self, key: MemberKey, channels: &[String]) -> Result<(), usize> {
        let mut fits = true;
        self.with(key, |member, _, _| fits = member.options.channels.get_or_insert_default().add(channels));
        if fits { Ok(()) } else { Err(channels::MOST) }
    }

    pub(in super::super) fn unsubscribe(&mut self, key: MemberKey, channels: &[String]) {
        self.with(key, |member, _, _| member.options.channels.get_or_insert_default().remove(channels));
    }
}
