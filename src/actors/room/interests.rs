//! Subscriptions to parts of the shared state: who follows what, and how their results come to them.
//!
//! `model/interest` decides what a change means. This performs it: it shows the index all entities when somebody needs that
//! (one pass over the log's state for all who wait), looks up what a follower is owed, and sends it part by part as the
//! follower takes it. Changes go on meanwhile; what they say is newer than what is read, and wins.
//!
//! Owns: the bounds (subscriptions and entities of a room, size of the graph, lookups under way).

mod focus;
mod lookups;
mod news;
mod search;

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{Arc, LazyLock},
};

use actix::{Context, Handler, Message};
use bytes::Bytes;

use super::Room;
use crate::{
    actors::messages::MemberKey,
    backbone::{Stored, Subject},
    config::Config,
    model::{
        InstanceId,
        interest::{Focus, Index, Interest, InterestId},
        record::Viewer,
    },
    wire::{Code, Envelope, Refusal, interest::Subscription, outgoing::Voice},
};

use self::search::Search;

/// Entities in the results of one room, all together: about 150 bytes each.
const HELD: usize = 2_000_000;

static ROOM: LazyLock<InstanceId> = LazyLock::new(|| "room".parse().expect("a plain word is an instance id"));

/// What a member wants of its subscriptions.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct Ask {
    /// Who.
    pub key: MemberKey,
    /// What.
    pub what: Asked,
}

/// What is asked; the numbers are those under which a member follows.
#[derive(Clone, Debug)]
pub enum Asked {
    /// Follow this.
    Follow {
        /// The number, of which there is no other on this node.
        serial: u64,
        /// Who looks.
        viewer: Viewer,
        /// In which envelope it is told.
        envelope: Envelope,
        /// What is followed.
        subscription: Arc<Subscription>,
    },
    /// No more of these.
    Unfollow(Vec<u64>),
    /// A part was taken; send the next one.
    GoOn(u64),
    /// Something got lost; send these from their beginning.
    StartOver(Vec<u64>, Envelope),
    /// The member is busy with this now.
    Focus {
        /// Who looks.
        viewer: Viewer,
        /// In which envelope it is told.
        envelope: Envelope,
        /// With what; nothing ends it.
        focus: Arc<Focus>,
    },
}

/// A message about a subscription, for one member.
#[derive(Clone, Debug)]
pub struct Notice {
    /// Who.
    pub key: MemberKey,
    /// Under which number it follows.
    pub serial: u64,
    /// The frame.
    pub frame: Bytes,
    /// What comes behind it.
    pub then: Then,
}

impl Notice {
    /// In place of a number: of no subscription, and not told again to those who miss it.
    pub const OF_THE_MOMENT: u64 = 0;
}

/// What comes behind a message about a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// Whatever changes.
    Changes,
    /// Another part, when it is asked for.
    More,
    /// Nothing: the subscription is over.
    End,
}

/// How far a subscription has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Entities are being looked through for it, or will be.
    Waiting,
    /// Its result is being sent.
    Filling {
        /// Whether its follower has taken the last part.
        taken: bool,
    },
    /// Its follower has the whole result, and gets what changes.
    Live,
}

#[derive(Debug)]
struct Served {
    key: MemberKey,
    envelope: Envelope,
    subscription: Arc<Subscription>,
    phase: Phase,
    /// Parts sent since its result began.
    parts: u64,
    /// Whether entities are being looked up for it.
    is_looking: bool,
}

/// All subscriptions of a room.
#[derive(Debug)]
pub(super) struct Interests {
    index: Index,
    served: HashMap<InterestId, Served>,
    members: BTreeMap<MemberKey, Vec<InterestId>>,
    foci: BTreeMap<MemberKey, (Viewer, Envelope, Arc<Focus>)>,
    /// Wait for the next pass over all entities.
    waiting: Vec<InterestId>,
    search: Option<Search>,
    /// Whether all nodes and edges were shown to the index.
    knows_graph: bool,
    /// Are owed something, and wait for their turn to have it looked up.
    in_line: VecDeque<InterestId>,
    looking: usize,
}

impl Interests {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            index: Index::new(config.limits.subscription_entities),
            served: HashMap::new(),
            members: BTreeMap::new(),
            foci: BTreeMap::new(),
            waiting: Vec::new(),
            search: None,
            knows_graph: false,
            in_line: VecDeque::new(),
            looking: 0,
        }
    }

    /// How many are served.
    pub(super) fn count(&self) -> usize {
        self.served.len()
    }

    /// Of new records, those of entities that somebody follows, or may.
    pub(super) fn pick(&self, records: &[Stored]) -> Vec<Stored> {
        if self.served.is_empty() && self.foci.is_empty() {
            return Vec::new();
        }
        let matters = |stored: &&Stored| match &stored.subject {
            Subject::Entity(key) => !self.foci.is_empty() || self.search.is_some() || self.index.cares_for(key),
            Subject::Event(_) => false,
        };
        records.iter().filter(matters).cloned().collect()
    }

    fn forget(&mut self, id: InterestId) -> Option<Served> {
        self.index.remove(id);
        self.knows_graph &= self.index.has_graph();
        self.waiting.retain(|waiting| *waiting != id);
        let served = self.served.remove(&id)?;
        if let Some(ids) = self.members.get_mut(&served.key) {
            ids.retain(|known| *known != id);
            if ids.is_empty() {
                self.members.remove(&served.key);
            }
        }
        Some(served)
    }
}

/// Messages that wait to be posted, each made once for all who get the same bytes.
#[derive(Debug, Default)]
struct Outgoing {
    notices: BTreeMap<u64, Vec<Notice>>,
    made: HashMap<(Envelope, String), Bytes>,
}

impl Room {
    fn follow_part(
        &mut self,
        key: MemberKey,
        (serial, viewer, envelope): (u64, Viewer, Envelope),
        subscription: Arc<Subscription>,
        ctx: &mut Context<Self>,
    ) {
        let id = InterestId(serial);
        if self.ports.instance_of(key).is_none() || self.interests.served.contains_key(&id) {
            return; // it left, or it is here: after a room's end both the session and its outlet may ask
        }
        let interests = &mut self.interests;
        let interest = subscription.interest.clone();
        let served = Served { key, envelope, subscription, phase: Phase::Waiting, parts: 0, is_looking: false };
        let most = self.tenant_use.limits().subscriptions_per_room as usize;
        if interests.served.len() >= most || interests.index.held() >= HELD {
            let message = "this room has all the subscriptions that it can have; try again later";
            return self.refuse_subscription(id, &served, &Refusal::full(message));
        }
        interests.index.add(id, viewer, interest.clone());
        interests.served.insert(id, served);
        interests.members.entry(key).or_default().push(id);
        match interest {
            Interest::Ids(_) => self.fill_from_start(id, ctx),
            Interest::Area(_) | Interest::Around { .. } if interests.knows_graph => self.begin_region(id, ctx),
            Interest::Area(_) | Interest::Around { .. } | Interest::Matching(_) => {
                interests.waiting.push(id);
                self.search_for_waiting(ctx);
            }
        }
    }

    /// The graph is known: the region is, too.
    fn begin_region(&mut self, id: InterestId, ctx: &mut Context<Self>) {
        if self.interests.index.begin(id) {
            self.fill_from_start(id, ctx);
        } else {
            self.end_overgrown(id);
        }
    }

    fn fill_from_start(&mut self, id: InterestId, ctx: &mut Context<Self>) {
        if let Some(served) = self.interests.served.get_mut(&id) {
            served.phase = Phase::Filling { taken: true };
            served.parts = 0;
            self.fill(id, ctx);
        }
    }

    fn start_over(&mut self, key: MemberKey, (serial, envelope): (u64, Envelope), ctx: &mut Context<Self>) {
        let id = InterestId(serial);
        match self.interests.served.get(&id) {
            Some(served) if served.phase == Phase::Waiting => {}
            Some(_) => {
                self.interests.index.start_over(id);
                self.fill_from_start(id, ctx);
            }
            None => {
                // It ended, and the word of that got lost too.
                let message = "this subscription has ended; subscribe again";
                let frame = self.voice_of_room(envelope).error(&Refusal::new(Code::Busy, message));
                self.post_notice(Notice { key, serial, frame, then: Then::End });
            }
        }
    }

    /// A member is gone.
    pub(super) fn forget_interests(&mut self, key: MemberKey) {
        self.interests.foci.remove(&key);
        for id in self.interests.members.remove(&key).unwrap_or_default() {
            self.interests.forget(id);
        }
    }

    /// The same bytes for everybody: the envelope names the room and not the receiver.
    fn voice_of_room(&self, envelope: Envelope) -> Voice<'_> {
        self.voice(&ROOM, envelope)
    }

    fn refuse_subscription(&mut self, id: InterestId, served: &Served, refusal: &Refusal) {
        let refusal = refusal.clone().concerning(served.subscription.name.clone());
        let frame = self.voice_of_room(served.envelope).error(&refusal);
        self.post_notice(Notice { key: served.key, serial: id.0, frame, then: Then::End });
    }

    fn end_subscription(&mut self, id: InterestId, refusal: &Refusal) {
        if let Some(served) = self.interests.forget(id) {
            self.refuse_subscription(id, &served, refusal);
        }
    }

    fn end_overgrown(&mut self, id: InterestId) {
        let most = self.context.config.limits.subscription_entities;
        let message = format!("this has more than {most} entities; the subscription is over, ask for less");
        self.end_subscription(id, &Refusal::new(Code::QueryTooCostly, message));
    }
}

impl Handler<Ask> for Room {
    type Result = ();

    fn handle(&mut self, ask: Ask, ctx: &mut Context<Self>) {
        let Some(Ask { key, what }) = self.unless_early(ask) else { return };
        match what {
            Asked::Follow { serial, viewer, envelope, subscription } => {
                self.follow_part(key, (serial, viewer, envelope), subscription, ctx);
            }
            Asked::Unfollow(serials) => {
                serials.into_iter().for_each(|serial| drop(self.interests.forget(InterestId(serial))));
            }
            Asked::GoOn(serial) => {
                let id = InterestId(serial);
                if let Some(served) = self.interests.served.get_mut(&id)
                    && let Phase::Filling { taken } = &mut served.phase
                {
                    *taken = true;
                    self.fill(id, ctx);
                }
            }
            Asked::Focus { .. } => self.focus(key, what, ctx),
            Asked::StartOver(serials, envelope) => {
                serials.into_iter().for_each(|serial| self.start_over(key, (serial, envelope), ctx));
            }
        }
        self.flush(ctx);
    }
}
