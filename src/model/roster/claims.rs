//! What nodes say of their own members, and what that changes for the others.

use std::{
    cmp::Ordering,
    collections::{BTreeSet, btree_map::Entry},
    time::Duration,
};

use super::{Generation, Place, Presence, Roster, Stay};
use crate::model::{InstanceId, peers::NodeId};

/// Whether an instance's node has a connection of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attendance {
    /// It has.
    Connected,
    /// It lost it and waits.
    Missed,
}

/// A node's word that an instance is with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Who.
    pub instance: InstanceId,
    /// Which connection of it.
    pub generation: Generation,
    /// What the others see.
    pub presence: Presence,
    /// Connected, or missed there.
    pub attendance: Attendance,
}

/// What another node's claim comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claimed<M> {
    /// A new stay: announce it.
    New,
    /// The instance is in the roster as it was, perhaps at another place.
    Known,
    /// This connection here is older: close it, announce nothing.
    Takes(M),
    /// The roster knows of a newer connection: nothing changed.
    Older,
}

impl<M: Copy + PartialEq> Roster<M> {
    /// Another node says that an instance is with it.
    pub fn claimed(&mut self, node: NodeId, claim: Claim) -> Claimed<M> {
        let Claim { instance, generation, presence, attendance } = claim;
        let place = Place::There { node, attendance };
        let mut stay = match self.stays.entry(instance) {
            Entry::Vacant(vacant) => {
                self.counts.add(&place, &presence);
                vacant.insert(Stay { presence, generation, place });
                return Claimed::New;
            }
            Entry::Occupied(stay) => stay,
        };
        let (stay, me) = (stay.get_mut(), self.me);
        let newer = match stay.place {
            // A node's own word about itself, in the order in which it was said.
            Place::There { node: known, .. } if known == node => Ordering::Greater,
            Place::There { node: known, .. } => (generation, node).cmp(&(stay.generation, known)),
            Place::Here(_) | Place::Missed { .. } => (generation, node).cmp(&(stay.generation, me)),
            Place::Adrift { .. } => Ordering::Greater,
        };
        if newer != Ordering::Greater {
            return Claimed::Older;
        }
        let before = stay.place;
        self.counts.sub(&before, &stay.presence);
        self.counts.add(&place, &presence);
        *stay = Stay { presence, generation, place };
        match before {
            Place::Here(member) => Claimed::Takes(member),
            _ => Claimed::Known,
        }
    }

    /// Another node lost an instance's connection and waits for it.
    pub fn missed_there(&mut self, node: NodeId, instance: &InstanceId) {
        if self.is_there(node, instance) {
            self.put(instance, Place::There { node, attendance: Attendance::Missed });
        }
    }

    /// Another node says that an instance left. If that ends its stay, returns what the others saw of it: announce it.
    pub fn left_there(&mut self, node: NodeId, instance: &InstanceId) -> Option<Presence> {
        if self.is_there(node, instance) { self.remove(instance) } else { None }
    }

    /// Another node named all that it has: whoever else was there is gone. Returns whom to announce.
    pub fn keep_only(&mut self, node: NodeId, named: &BTreeSet<InstanceId>) -> Vec<(InstanceId, Presence)> {
        let gone: Vec<_> = self.of_node(node).filter(|instance| !named.contains(*instance)).cloned().collect();
        let taken_out = |instance| {
            let presence = self.remove(&instance)?;
            Some((instance, presence))
        };
        gone.into_iter().filter_map(taken_out).collect()
    }

    /// Another node is gone, and with it all that were there. Returns whom to announce.
    pub fn node_gone(&mut self, node: NodeId) -> Vec<(InstanceId, Presence)> {
        self.keep_only(node, &BTreeSet::new())
    }

    /// Another node said farewell: its instances have until then to come back to some other node.
    pub fn node_departed(&mut self, node: NodeId, gone_at: Duration) {
        let adrift: Vec<_> = self.of_node(node).cloned().collect();
        adrift.iter().for_each(|instance| self.put(instance, Place::Adrift { gone_at }));
    }

    /// This node's own word on an instance, if it is with it.
    pub fn claim(&self, instance: &InstanceId) -> Option<Claim> {
        self.stays.get(instance).and_then(|stay| claim_of(instance, stay))
    }

    /// This node's own word on everyone who is with it.
    pub fn claims(&self) -> impl Iterator<Item = Claim> {
        self.stays.iter().filter_map(|(instance, stay)| claim_of(instance, stay))
    }

    /// Where an instance is, if some node has it.
    #[cfg(test)]
    pub(in crate::model) fn place_of(&self, instance: &InstanceId) -> Option<(NodeId, Generation, Attendance)> {
        let stay = self.stays.get(instance)?;
        let (node, attendance) = match stay.place {
            Place::Here(_) => (self.me, Attendance::Connected),
            Place::Missed { .. } => (self.me, Attendance::Missed),
            Place::There { node, attendance } => (node, attendance),
            Place::Adrift { .. } => return None,
        };
        Some((node, stay.generation, attendance))
    }

    fn is_there(&self, node: NodeId, instance: &InstanceId) -> bool {
        self.stays.get(instance).is_some_and(|stay| is_at(stay, node))
    }

    fn of_node(&self, node: NodeId) -> impl Iterator<Item = &InstanceId> {
        self.stays.iter().filter(move |(_, stay)| is_at(stay, node)).map(|(instance, _)| instance)
    }
}

fn is_at<M>(stay: &Stay<M>, node: NodeId) -> bool {
    matches!(stay.place, Place::There { node: there, .. } if there == node)
}

fn claim_of<M>(instance: &InstanceId, stay: &Stay<M>) -> Option<Claim> {
    let attendance = match stay.place {
        Place::Here(_) => Attendance::Connected,
        Place::Missed { .. } => Attendance::Missed,
        Place::There { .. } | Place::Adrift { .. } => return None,
    };
    let (instance, presence) = (instance.clone(), stay.presence.clone());
    Some(Claim { instance, generation: stay.generation, presence, attendance })
}
