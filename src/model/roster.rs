//! Who is in a room, on this node and on the others: the decisions about joining, moving, leaving and being missed.
//!
//! Owns: invariant **presence** (every observer sees one joined and one left per stay, however often an instance
//! reconnects or moves within it). An instance is at one place: the connection with the highest generation holds it.

mod claims;

use std::{
    collections::{BTreeMap, HashMap, btree_map::Entry},
    sync::Arc,
    time::Duration,
};

use uuid::Uuid;

use super::{InstanceId, Timestamp, chaos::Affinity, peers::NodeId};

pub use claims::{Attendance, Claim, Claimed};

/// An instance as the others see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Presence {
    /// When this stay began.
    pub connected_at: Timestamp,
    /// What it says it can do.
    pub capabilities: Vec<Box<str>>,
    /// The user that it acts for, if it says so.
    pub user: Option<Arc<str>>,
    /// The user's name for people.
    pub name: Option<Arc<str>>,
    /// The newest connection of this stay; `None` only if its node is of a version that does not tell.
    pub connection: Option<Uuid>,
    /// How readily it is drawn into chaos; for nodes only.
    pub affinity: Affinity,
}

/// Connections of a room, on all nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Connections {
    /// All.
    pub total: usize,
    /// Those on other nodes.
    pub elsewhere: usize,
    /// By user; `None`: those that name no user.
    pub by_user: BTreeMap<Option<Arc<str>>, usize>,
}

/// Which connection of an instance is the newest: milliseconds of the wall clock, but always beyond what was known of the
/// instance before. So a newer connection wins also where nobody remembers the older one, and equal ones are told
/// apart by their nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Generation(pub u64);

impl Generation {
    fn at(time: Timestamp) -> Self {
        Self(time.0.max(0).unsigned_abs())
    }

    fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// Where an instance is.
#[derive(Clone, Copy, Debug)]
enum Place<M> {
    /// Connected here.
    Here(M),
    /// Was connected here; declared gone then, on the caller's clock.
    Missed { gone_at: Duration },
    /// On another node, which says what becomes of it.
    There { node: NodeId, attendance: Attendance },
    /// Was on a node that said farewell; declared gone then.
    Adrift { gone_at: Duration },
}

impl<M> Place<M> {
    fn is_connected(&self) -> bool {
        matches!(self, Self::Here(_) | Self::There { attendance: Attendance::Connected, .. })
    }
}

#[derive(Clone, Debug)]
struct Stay<M> {
    presence: Presence,
    generation: Generation,
    place: Place<M>,
}

/// The instances of one room.
#[derive(Clone, Debug)]
pub struct Roster<M> {
    /// This node: decides between equal generations.
    me: NodeId,
    stays: BTreeMap<InstanceId, Stay<M>>,
    counts: Counts,
}

#[derive(Clone, Debug, Default)]
struct Counts {
    /// Connections on all nodes, of each user who has any.
    of_user: HashMap<Arc<str>, usize>,
    here: usize,
    missed: usize,
    there: usize,
    adrift: usize,
}

impl Counts {
    fn of<M>(&mut self, place: &Place<M>) -> Option<&mut usize> {
        match place {
            Place::Here(_) => Some(&mut self.here),
            Place::Missed { .. } => Some(&mut self.missed),
            Place::There { attendance: Attendance::Connected, .. } => Some(&mut self.there),
            Place::There { attendance: Attendance::Missed, .. } => None,
            Place::Adrift { .. } => Some(&mut self.adrift),
        }
    }

    fn add<M>(&mut self, place: &Place<M>, presence: &Presence) {
        self.of(place).into_iter().for_each(|count| *count += 1);
        if let Some(user) = presence.user.as_ref().filter(|_| place.is_connected()) {
            *self.of_user.entry(user.clone()).or_default() += 1;
        }
    }

    fn sub<M>(&mut self, place: &Place<M>, presence: &Presence) {
        self.of(place).into_iter().for_each(|count| *count -= 1);
        let Some(user) = presence.user.as_ref().filter(|_| place.is_connected()) else { return };
        if let Some(count) = self.of_user.get_mut(user) {
            *count -= 1;
            if *count == 0 {
                self.of_user.remove(user);
            }
        }
    }
}

/// How a connection comes to a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// It is new: newer than any known.
    Fresh,
    /// It was in the room before this one and is as new as it was then.
    Again,
}

/// What a join comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Joined<M> {
    /// A new stay: announce it.
    New,
    /// The instance was missed or on another node and is here now: announce nothing.
    Back,
    /// This older connection of the same instance gives way: close it, announce nothing.
    Replaces(M),
    /// A newer connection of the same instance is somewhere: close this one, announce nothing.
    Superseded,
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Farewell {
    /// It said so: announced at once.
    Closed,
    /// It broke: announced when it does not come back in time.
    Lost,
    /// It was silent for the whole timeout: announced at once as lost.
    Silent,
}

/// What a leave comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Left {
    /// The stay is over: announce it. This is what the others saw of it.
    Gone(Presence),
    /// Wait for it until its time is over.
    Missed,
    /// The connection had been replaced: nothing changed.
    Stale,
}

/// Why an instance left, as the others are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It said so.
    Closed,
    /// It broke, was silent, or its node is gone.
    Lost,
}

impl Reason {
    /// The word on the wire.
    pub fn word(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Lost => "lost",
        }
    }
}

/// Whose word it is that an instance is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// This node's: the others wait for it.
    Ours,
    /// Everyone's own.
    Everyones,
}

impl<M: Copy + PartialEq> Roster<M> {
    /// Nobody, seen from a node.
    pub fn new(me: NodeId) -> Self {
        Self { me, stays: BTreeMap::new(), counts: Counts::default() }
    }

    /// Takes a connection in.
    pub fn join(&mut self, instance: InstanceId, member: M, presence: Presence, arrival: Arrival) -> Joined<M> {
        let (me, began) = (self.me, Generation::at(presence.connected_at));
        let mut stay = match self.stays.entry(instance) {
            Entry::Vacant(vacant) => {
                let stay = Stay { presence, generation: began, place: Place::Here(member) };
                self.counts.add(&stay.place, &stay.presence);
                vacant.insert(stay);
                return Joined::New;
            }
            Entry::Occupied(stay) => stay,
        };
        let stay = stay.get_mut();
        let generation = match (arrival, stay.place) {
            (Arrival::Fresh, _) => began.max(stay.generation.next()),
            (Arrival::Again, Place::Here(_)) if stay.generation > began => return Joined::Superseded,
            (Arrival::Again, Place::There { node, .. }) if (stay.generation, node) > (began, me) => {
                return Joined::Superseded;
            }
            (Arrival::Again, _) => began.max(stay.generation),
        };
        let before = stay.place;
        self.counts.sub(&before, &stay.presence);
        stay.presence = Presence { connected_at: stay.presence.connected_at, ..presence };
        stay.generation = generation;
        stay.place = Place::Here(member);
        self.counts.add(&stay.place, &stay.presence);
        match before {
            Place::Here(older) => Joined::Replaces(older),
            Place::Missed { .. } | Place::There { .. } | Place::Adrift { .. } => Joined::Back,
        }
    }

    /// Lets a connection go; one that was replaced meanwhile changes nothing.
    pub fn leave(&mut self, instance: &InstanceId, member: M, how: Farewell, gone_at: Duration) -> Left {
        if !self.is_member(instance, member) {
            return Left::Stale;
        }
        match how {
            Farewell::Closed | Farewell::Silent => self.remove(instance).map_or(Left::Stale, Left::Gone),
            Farewell::Lost => {
                self.put(instance, Place::Missed { gone_at });
                Left::Missed
            }
        }
    }

    /// Takes out those that are waited for and whose time is over.
    pub fn expire(&mut self, now: Duration) -> Vec<(InstanceId, Presence, Whose)> {
        let over = |(instance, stay): (&InstanceId, &Stay<M>)| match stay.place {
            Place::Missed { gone_at } if gone_at <= now => Some((instance.clone(), Whose::Ours)),
            Place::Adrift { gone_at } if gone_at <= now => Some((instance.clone(), Whose::Everyones)),
            _ => None,
        };
        let gone: Vec<_> = self.stays.iter().filter_map(over).collect();
        let taken_out = |(instance, whose)| {
            let presence = self.remove(&instance)?;
            Some((instance, presence, whose))
        };
        gone.into_iter().filter_map(taken_out).collect()
    }

    /// Waits longer for those that are waited for: this node was away itself.
    pub fn wait_longer(&mut self, by: Duration) {
        for stay in self.stays.values_mut() {
            if let Place::Missed { gone_at } | Place::Adrift { gone_at } = &mut stay.place {
                *gone_at = gone_at.saturating_add(by);
            }
        }
    }

    fn put(&mut self, instance: &InstanceId, place: Place<M>) {
        if let Some(stay) = self.stays.get_mut(instance) {
            self.counts.sub(&stay.place, &stay.presence);
            self.counts.add(&place, &stay.presence);
            stay.place = place;
        }
    }

    fn remove(&mut self, instance: &InstanceId) -> Option<Presence> {
        let stay = self.stays.remove(instance)?;
        self.counts.sub(&stay.place, &stay.presence);
        Some(stay.presence)
    }

    /// Whether somebody is waited for.
    pub fn misses_somebody(&self) -> bool {
        self.counts.missed + self.counts.adrift > 0
    }

    /// Number of connections on all nodes.
    pub fn connected(&self) -> usize {
        self.counts.here + self.counts.there
    }

    /// The instances that are connected, on all nodes, by name.
    pub fn present(&self) -> impl Iterator<Item = (&InstanceId, &Presence)> {
        self.stays
            .iter()
            .filter(|(_, stay)| stay.place.is_connected())
            .map(|(instance, stay)| (instance, &stay.presence))
    }

    /// The connections on all nodes, by user.
    pub fn connections(&self) -> Connections {
        let of_user = &self.counts.of_user;
        let mut by_user: BTreeMap<_, _> = of_user.iter().map(|(user, count)| (Some(user.clone()), *count)).collect();
        let of_nobody = self.connected() - by_user.values().sum::<usize>();
        if of_nobody > 0 {
            by_user.insert(None, of_nobody);
        }
        Connections { total: self.connected(), elsewhere: self.counts.there, by_user }
    }

    /// Number of connections of a user, on all nodes.
    pub fn connections_of(&self, user: &str) -> usize {
        self.counts.of_user.get(user).copied().unwrap_or_default()
    }

    /// Number of connections on this node.
    pub fn connected_here(&self) -> usize {
        self.counts.here
    }

    /// Whether this node has to say of nobody what becomes of it.
    pub fn has_nobody_here(&self) -> bool {
        self.counts.here + self.counts.missed == 0
    }

    /// Number of instances, the missed ones too.
    pub fn len(&self) -> usize {
        self.stays.len()
    }

    /// Whether nobody is anywhere or missed.
    pub fn is_empty(&self) -> bool {
        self.stays.is_empty()
    }

    /// Whether this instance is somewhere or missed.
    pub fn contains(&self, instance: &InstanceId) -> bool {
        self.stays.contains_key(instance)
    }

    /// Whether this connection is the instance's present one.
    pub fn is_member(&self, instance: &InstanceId, member: M) -> bool {
        matches!(self.stays.get(instance), Some(Stay { place: Place::Here(here), .. }) if *here == member)
    }

    /// What the others see of an instance.
    pub fn presence(&self, instance: &InstanceId) -> Option<&Presence> {
        self.stays.get(instance).map(|stay| &stay.presence)
    }

    /// The instance's present connection, if it is here.
    pub fn member_of(&self, instance: &InstanceId) -> Option<M> {
        match self.stays.get(instance)?.place {
            Place::Here(member) => Some(member),
            _ => None,
        }
    }

    /// The instances by name.
    pub fn iter(&self) -> impl Iterator<Item = (&InstanceId, &Presence)> {
        self.stays.iter().map(|(instance, stay)| (instance, &stay.presence))
    }
}

#[cfg(test)]
mod tests;
