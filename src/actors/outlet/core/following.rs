//! What members follow: their subscriptions survive rooms, and what a slow member misses of them is sent anew.
//!
//! A member that is behind, or whose outbox is full, gets no news of what it follows: it is **stale**, and is told
//! everything from the beginning once it can take it.

use std::{collections::BTreeMap, future::poll_fn, rc::Rc, sync::Arc};

use actix::Addr;

use super::{
    super::{
        super::{
            link::{Link, Offer},
            messages::MemberKey,
            room::{
                Room,
                interests::{Ask, Asked, Notice, Then},
            },
        },
        Shared,
        member::{Member, Phase},
        registry,
    },
    Core,
};
use crate::{
    model::{RecordMeta, interest::Focus, record::About},
    wire::{
        Envelope,
        interest::{GraphRecords, Subscription},
    },
};

/// One connection follows too much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooMany;

/// What one member follows.
#[derive(Debug, Default)]
pub(in super::super) struct Following {
    /// By the client's names, with the numbers that rooms know them by.
    subscriptions: BTreeMap<Arc<str>, (u64, Arc<Subscription>)>,
    mutes_graph: bool,
    is_stale: bool,
    /// What it is busy with.
    focus: Option<Arc<Focus>>,
}

impl Following {
    /// What it is busy with.
    pub(in super::super) fn focus(&self) -> Option<&Focus> {
        self.focus.as_deref()
    }

    /// Whether records of nodes and edges are left out.
    pub(in super::super) fn mutes_graph(&self) -> bool {
        self.mutes_graph
    }

    /// Whether a record is left out: what it says comes with a subscription.
    pub(in super::super) fn mutes(&self, meta: &RecordMeta) -> bool {
        let name = meta.event_type.as_str();
        self.mutes_graph
            && matches!(meta.about, About::Entity(_))
            && (name.starts_with("node.") || name.starts_with("edge."))
    }

    fn serials(&self) -> Vec<u64> {
        self.subscriptions.values().map(|(serial, _)| *serial).collect()
    }

    fn remove(&mut self, name: &str) -> Option<u64> {
        let (serial, _) = self.subscriptions.remove(name)?;
        self.look_for_mutes();
        Some(serial)
    }

    fn look_for_mutes(&mut self) {
        let mutes = |(_, subscription): &(u64, Arc<Subscription>)| subscription.records == GraphRecords::Muted;
        self.mutes_graph = self.subscriptions.values().any(mutes);
    }
}

impl Shared {
    /// A member follows this too, under a number that no other subscription of this node has; another one of the same name ends.
    pub fn follow(&self, key: MemberKey, serial: u64, subscription: Arc<Subscription>) -> Result<(), TooMany> {
        self.core.borrow_mut().follow(key, serial, subscription)
    }

    /// A member is busy with this now.
    pub fn focus(&self, key: MemberKey, focus: &Arc<Focus>) {
        self.core.borrow_mut().focus(key, focus);
    }

    /// A member follows these no more.
    pub fn unfollow(&self, key: MemberKey, names: &[Arc<str>]) {
        self.core.borrow_mut().unfollow(key, names);
    }
}

impl Core {
    fn follow(&mut self, key: MemberKey, serial: u64, subscription: Arc<Subscription>) -> Result<(), TooMany> {
        let most = self.context.config.limits.subscriptions_per_connection;
        let mut fits = true;
        let mut asks = Vec::new();
        self.with(key, |member, _, _| {
            let following = &mut member.following;
            if following.subscriptions.len() >= most && !following.subscriptions.contains_key(&subscription.name) {
                fits = false;
                return;
            }
            let older = following.subscriptions.insert(subscription.name.clone(), (serial, subscription.clone()));
            following.look_for_mutes();
            asks.extend(older.map(|(older, _)| Asked::Unfollow(vec![older])));
            let (viewer, envelope) = (member.viewer.clone(), member.options.variant.envelope);
            asks.push(Asked::Follow { serial, viewer, envelope, subscription });
        });
        asks.into_iter().for_each(|what| ask(&self.room, Ask { key, what }));
        if fits { Ok(()) } else { Err(TooMany) }
    }

    fn unfollow(&mut self, key: MemberKey, names: &[Arc<str>]) {
        let mut serials = Vec::new();
        self.with(key, |member, _, _| serials.extend(names.iter().filter_map(|name| member.following.remove(name))));
        if !serials.is_empty() {
            ask(&self.room, Ask { key, what: Asked::Unfollow(serials) });
        }
    }

    fn focus(&mut self, key: MemberKey, focus: &Arc<Focus>) {
        let mut asked = None;
        self.with(key, |member, _, _| {
            member.following.focus = Some(focus.clone());
            asked = member.focused();
        });
        asked.into_iter().for_each(|what| ask(&self.room, Ask { key, what }));
    }

    /// What all members follow, for a room that does not know.
    pub(in super::super) fn follows(&self) -> Vec<Ask> {
        let mut asks = Vec::new();
        for (slot, member) in &self.members {
            let key = MemberKey { outlet: self.id, slot, serial: member.serial };
            asks.extend(member.focused().map(|what| Ask { key, what }));
            for (serial, subscription) in member.following.subscriptions.values() {
                let (serial, subscription) = (*serial, subscription.clone());
                let (viewer, envelope) = (member.viewer.clone(), member.options.variant.envelope);
                asks.push(Ask { key, what: Asked::Follow { serial, viewer, envelope, subscription } });
            }
        }
        asks
    }

    /// Gives members news of what they follow.
    pub(super) fn take_notices(&mut self, notices: Vec<Notice>) {
        let room = self.room.clone();
        for Notice { key, serial, frame, then } in notices {
            let mut is_lost = false;
            self.with(key, |member, _, _| {
                if serial == Notice::OF_THE_MOMENT {
                    if member.phase == Phase::Live {
                        // Of the moment: who has no room for it now does without.
                        let _ = member.link.offer(&frame);
                    }
                    return;
                }
                let following = &mut member.following;
                let known = following.subscriptions.iter().find(|(_, (known, _))| *known == serial);
                let Some(name) = known.map(|(name, _)| name.clone()) else { return };
                if then == Then::End {
                    following.remove(&name);
                    member.link.send(frame);
                    return;
                }
                is_lost = following.is_stale || member.phase != Phase::Live || member.link.offer(&frame) == Offer::Full;
                if !is_lost && then == Then::More {
                    let room = room.clone();
                    when_low(&member.link, move || ask(&room, Ask { key, what: Asked::GoOn(serial) }));
                }
            });
            if is_lost {
                self.miss(key);
            }
        }
    }

    /// News got lost on the way.
    pub(super) fn lose_notices(&mut self) {
        for key in self.keys() {
            self.miss(key);
        }
    }

    /// A member missed something: it is told anew when it can take it.
    fn miss(&mut self, key: MemberKey) {
        let tenant = self.tenant.clone();
        self.with(key, |member, _, _| {
            if member.following.subscriptions.is_empty() || std::mem::replace(&mut member.following.is_stale, true) {
                return;
            }
            // One that is behind is told when it is at the head again.
            if member.phase == Phase::Live {
                when_low(&member.link, move || {
                    if let Some(shared) = registry::find(&tenant) {
                        shared.core.borrow_mut().tell_anew(key);
                    }
                });
            }
        });
    }

    /// A member can take news again: if it missed some, it gets everything anew.
    pub(super) fn tell_anew(&mut self, key: MemberKey) {
        let (mut serials, mut envelope) = (Vec::new(), Envelope::Typed);
        self.with(key, |member, _, _| {
            envelope = member.options.variant.envelope;
            if member.phase == Phase::Live && std::mem::take(&mut member.following.is_stale) {
                serials = member.following.serials();
            }
        });
        if !serials.is_empty() {
            ask(&self.room, Ask { key, what: Asked::StartOver(serials, envelope) });
        }
    }
}

impl Member {
    /// What it is busy with, as its room is told.
    fn focused(&self) -> Option<Asked> {
        let focus = self.following.focus.clone()?;
        Some(Asked::Focus { viewer: self.viewer.clone(), envelope: self.options.variant.envelope, focus })
    }
}

/// Does something when an outbox has drained far enough.
fn when_low(link: &Rc<Link>, act: impl FnOnce() + 'static) {
    let link = link.clone();
    actix_rt::spawn(async move {
        poll_fn(|cx| link.poll_low(cx)).await;
        if !link.is_over() {
            act();
        }
    });
}

fn ask(room: &Addr<Room>, ask: Ask) {
    if let Err(actix::dev::SendError::Full(ask)) = room.try_send(ask) {
        let room = room.clone();
        // A closed room is replaced, and the next one is told what is followed.
        actix_rt::spawn(async move { room.send(ask).await.unwrap_or_default() });
    }
}
