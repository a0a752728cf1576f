//! Who is in a room: the decisions about joining, replacing, leaving and being missed.
//!
//! Owns: invariant **presence** (one joined and one left per stay, however often an instance reconnects within it).

use std::{
    collections::{BTreeMap, btree_map::Entry},
    time::Duration,
};

use super::{InstanceId, Timestamp};

/// An instance as the others see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Presence {
    /// When this stay began.
    pub connected_at: Timestamp,
    /// What it says it can do.
    pub capabilities: Vec<Box<str>>,
}

#[derive(Clone, Debug)]
struct Stay<M> {
    presence: Presence,
    /// The connection; `None` while the instance is missed.
    member: Option<M>,
    /// When it is declared gone, on the caller's clock.
    gone_at: Duration,
}

/// The instances of one room.
#[derive(Clone, Debug)]
pub struct Roster<M> {
    stays: BTreeMap<InstanceId, Stay<M>>,
    connected: usize,
}

/// What a join comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Joined<M> {
    /// A new stay: announce it.
    New,
    /// The instance was missed and is back: announce nothing.
    Back,
    /// This older connection of the same instance gives way: close it, announce nothing.
    Replaces(M),
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// The stay is over: announce it.
    Gone,
    /// Wait for it until its time is over.
    Missed,
    /// The connection had been replaced: nothing changed.
    Stale,
}

impl<M> Default for Roster<M> {
    fn default() -> Self {
        Self { stays: BTreeMap::new(), connected: 0 }
    }
}

impl<M: Copy + PartialEq> Roster<M> {
    /// Takes a connection in.
    pub fn join(&mut self, instance: InstanceId, member: M, presence: Presence) -> Joined<M> {
        match self.stays.entry(instance) {
            Entry::Vacant(place) => {
                place.insert(Stay { presence, member: Some(member), gone_at: Duration::MAX });
                self.connected += 1;
                Joined::New
            }
            Entry::Occupied(mut stay) => {
                let stay = stay.get_mut();
                stay.presence.capabilities = presence.capabilities;
                match stay.member.replace(member) {
                    Some(older) => Joined::Replaces(older),
                    None => {
                        self.connected += 1;
                        Joined::Back
                    }
                }
            }
        }
    }

    /// Lets a connection go; one that was replaced meanwhile changes nothing.
    pub fn leave(&mut self, instance: &InstanceId, member: M, how: Farewell, gone_at: Duration) -> Left {
        let Some(stay) = self.stays.get_mut(instance) else { return Left::Stale };
        if stay.member != Some(member) {
            return Left::Stale;
        }
        self.connected -= 1;
        match how {
            Farewell::Closed | Farewell::Silent => {
                self.stays.remove(instance);
                Left::Gone
            }
            Farewell::Lost => {
                stay.member = None;
                stay.gone_at = gone_at;
                Left::Missed
            }
        }
    }

    /// Takes out the missed instances whose time is over.
    pub fn expire(&mut self, now: Duration) -> Vec<InstanceId> {
        let over = |stay: &Stay<M>| stay.member.is_none() && stay.gone_at <= now;
        let gone: Vec<_> =
            self.stays.iter().filter(|(_, stay)| over(stay)).map(|(instance, _)| instance.clone()).collect();
        for instance in &gone {
            self.stays.remove(instance);
        }
        gone
    }

    /// Whether somebody is missed.
    pub fn misses_somebody(&self) -> bool {
        self.stays.len() > self.connected
    }

    /// Number of connections.
    pub fn connected(&self) -> usize {
        self.connected
    }

    /// Number of instances, the missed ones too.
    pub fn len(&self) -> usize {
        self.stays.len()
    }

    /// Whether nobody is here or missed.
    pub fn is_empty(&self) -> bool {
        self.stays.is_empty()
    }

    /// Whether this instance is here or missed.
    pub fn contains(&self, instance: &InstanceId) -> bool {
        self.stays.contains_key(instance)
    }

    /// Whether this connection is the instance's present one.
    pub fn is_member(&self, instance: &InstanceId, member: M) -> bool {
        self.stays.get(instance).is_some_and(|stay| stay.member == Some(member))
    }

    /// The instance's present connection.
    pub fn member_of(&self, instance: &InstanceId) -> Option<M> {
        self.stays.get(instance)?.member
    }

    /// The instances by name.
    pub fn iter(&self) -> impl Iterator<Item = (&InstanceId, &Presence)> {
        self.stays.iter().map(|(instance, stay)| (instance, &stay.presence))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn join(roster: &mut Roster<u32>, name: &str, member: u32) -> Joined<u32> {
        let presence = Presence { connected_at: Timestamp(0), capabilities: vec![] };
        roster.join(name.parse().expect("instance"), member, presence)
    }

    fn leave(roster: &mut Roster<u32>, name: &str, member: u32, how: Farewell) -> Left {
        roster.leave(&name.parse().expect("instance"), member, how, Duration::from_secs(90))
    }

    #[test]
    fn a_newer_connection_fences_the_older_ones_farewell() {
        let mut roster = Roster::default();
        assert_eq!(join(&mut roster, "a", 1), Joined::New);
        assert_eq!(join(&mut roster, "a", 2), Joined::Replaces(1));
        assert_eq!(leave(&mut roster, "a", 1, Farewell::Closed), Left::Stale);
        assert_eq!((roster.connected(), roster.len()), (1, 1));
        assert_eq!(leave(&mut roster, "a", 2, Farewell::Closed), Left::Gone);
        assert!(roster.is_empty());
    }

    #[test]
    fn a_lost_instance_that_comes_back_in_time_was_never_away() {
        let mut roster = Roster::default();
        join(&mut roster, "a", 1);
        assert_eq!(leave(&mut roster, "a", 1, Farewell::Lost), Left::Missed);
        assert!(roster.misses_somebody());
        assert_eq!(roster.expire(Duration::from_secs(89)), []);
        assert_eq!(join(&mut roster, "a", 2), Joined::Back);
        assert_eq!(roster.expire(Duration::from_secs(91)), []);
        leave(&mut roster, "a", 2, Farewell::Lost);
        assert_eq!(roster.expire(Duration::from_secs(90)).len(), 1);
        assert_eq!((roster.connected(), roster.len()), (0, 0));
    }
}
