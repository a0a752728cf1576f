//! What a change does to results.

use std::{collections::HashSet, sync::Arc};

use super::{
    super::{
        Change, Interest, InterestId,
        graph::{Node, Shift, TooLarge, key as key_of},
        query::Scalar,
    },
    Follower, Given, Held, Index, Turned, Update, take_out,
};
use crate::model::{EntityKey, Position, place::place_of};

impl Index {
    /// Takes a change of an entity in, and says what it means for whom.
    pub fn see(&mut self, change: &Change<'_>) -> Vec<Update> {
        let shift = self.graph.as_mut().map(|graph| graph.apply(change)).unwrap_or_default();
        let mut concerned = Vec::new();
        self.concern(change, &shift, &mut concerned);
        self.turn_all(concerned, change, &shift)
    }

    /// Shows an entity as it stands to the interests that are searching, and to the graph. It must not have changed since.
    pub fn show(&mut self, change: &Change<'_>) -> Vec<Update> {
        if let Some(graph) = &mut self.graph {
            graph.apply(change);
        }
        let mut concerned = Vec::new();
        self.concern_queries(change, &mut concerned);
        concerned.retain(|id| self.followers.get(id).is_some_and(|follower| follower.is_searching));
        let mut updates = self.turn_all(concerned, change, &Shift::default());
        // Contents come in order, when the follower can take them.
        for update in &mut updates {
            if update.turned.take().is_some() {
                self.owe_again(update.id, change.key);
            }
        }
        updates.retain(|update| update.is_overgrown || !update.left.is_empty());
        updates
    }

    /// Everything was shown to an interest.
    pub fn searched(&mut self, id: InterestId) {
        if let Some(follower) = self.followers.get_mut(&id) {
            follower.is_searching = false;
        }
    }

    /// What is in a result.
    #[cfg(test)]
    pub(in crate::model::interest) fn result(&self, id: InterestId) -> std::collections::BTreeSet<EntityKey> {
        self.followers[&id].held.keys().cloned().collect()
    }

    /// Finds the interests that a change may concern.
    fn concern(&self, change: &Change<'_>, shift: &Shift, into: &mut Vec<InterestId>) {
        into.extend(self.holders.get(change.key).into_iter().flatten());
        into.extend(self.ids.get(change.key).into_iter().flatten());
        self.concern_queries(change, into);
        if self.graph.is_none() {
            return;
        }
        if *change.key.kind == *"node" {
            if let Some(place) = change.content.and_then(|content| place_of(change.key, content.fields)) {
                self.tiles.at(place, into);
            }
            into.extend(self.middles.get(&change.key.id).into_iter().flatten());
        }
        for node in &shift.near {
            into.extend(self.holders.get(&key_of("node", node)).into_iter().flatten());
        }
    }

    fn concern_queries(&self, change: &Change<'_>, into: &mut Vec<InterestId>) {
        let (Some(of_kind), Some(content)) = (self.queries.get(&change.key.kind), change.content) else { return };
        into.extend(&of_kind.rest);
        for (field, values) in &of_kind.equal {
            let value = content.fields.get(&**field).and_then(Scalar::of);
            into.extend(value.and_then(|value| values.get(&value)).into_iter().flatten());
        }
    }

    fn turn_all(&mut self, mut concerned: Vec<InterestId>, change: &Change<'_>, shift: &Shift) -> Vec<Update> {
        concerned.sort_unstable();
        concerned.dedup();
        let mut updates = Vec::new();
        for id in concerned {
            // Out of the map meanwhile, so that the rest of the index can be changed too.
            if self.followers.get(&id).is_none_or(|known| known.is_searching && known.interest.is_region()) {
                continue;
            }
            let Some(mut follower) = self.followers.remove(&id) else { continue };
            let mut update = Update { id, turned: None, left: Vec::new(), is_overgrown: false };
            let too_large = self.turn(&mut update, &mut follower, change, shift).is_err();
            let is_owed = !follower.queue.is_empty();
            update.is_overgrown = !self.put_back(id, follower, too_large);
            if update.turned.is_some() || !update.left.is_empty() || is_owed || update.is_overgrown {
                updates.push(update);
            }
        }
        updates
    }

    /// Puts an interest back, unless it has become too large; `false` then.
    pub(super) fn put_back(&mut self, id: InterestId, follower: Follower, too_large: bool) -> bool {
        if too_large || follower.held.len() > self.most {
            self.forget(id, &follower);
            return false;
        }
        self.followers.insert(id, follower);
        true
    }

    fn turn(
        &mut self,
        update: &mut Update,
        follower: &mut Follower,
        change: &Change<'_>,
        shift: &Shift,
    ) -> Result<(), TooLarge> {
        let seen = change.content.filter(|content| content.is_seen_by(&follower.viewer, change.key));
        let was_held = follower.held.contains_key(change.key);
        let is_held = match &follower.interest {
            Interest::Ids(keys) => seen.is_some() && keys.contains(change.key),
            Interest::Matching(query) => seen.is_some_and(|content| {
                if *change.key.kind != **query.kind() {
                    return false;
                }
                // Whoever sees by place may see now what it did not, though the query finds it as before.
                let is_as_before =
                    !follower.is_searching && !follower.viewer.is_regional() && !query.looks_at(change.touched);
                if is_as_before { was_held } else { query.finds(change.key, content.fields) }
            }),
            Interest::Area(area) => match &*change.key.kind {
                "node" => {
                    seen.and_then(|content| place_of(change.key, content.fields)).is_some_and(|place| area.holds(place))
                }
                _ => seen.is_some() && self.is_between(follower, change.key),
            },
            Interest::Around { .. } if shift.is_structural => return self.turn_region(update, follower, change),
            Interest::Around { .. } => was_held && seen.is_some(),
        };
        self.turn_one(update, follower, change, (was_held, is_held));
        if let (Interest::Area(_), "node") = (&follower.interest, &*change.key.kind) {
            self.turn_edges(update, follower, &change.key.id, (was_held, is_held));
        }
        Ok(())
    }

    /// Whether both ends of an edge are in a region.
    fn is_between(&self, follower: &Follower, edge: &EntityKey) -> bool {
        let edge = self.graph.as_ref().and_then(|graph| graph.edge(&edge.id));
        edge.is_some_and(|edge| edge.ends.iter().all(|end| follower.held.contains_key(&key_of("node", end))))
    }

    /// Finds a region anew and compares.
    fn turn_region(
        &mut self,
        update: &mut Update,
        follower: &mut Follower,
        change: &Change<'_>,
    ) -> Result<(), TooLarge> {
        let found = self.region(follower)?;
        let keys: HashSet<&EntityKey> = found.iter().map(|(key, _)| key).collect();
        let was_held = follower.held.contains_key(change.key);
        let is_held = keys.contains(change.key);
        let gone: Vec<_> = follower.held.keys().filter(|key| !keys.contains(*key)).cloned().collect();
        for key in gone.into_iter().filter(|key| key != change.key) {
            self.take(update, follower, key);
        }
        for (key, version) in found {
            if key != *change.key && !follower.held.contains_key(&key) {
                self.owe(update.id, follower, key, version);
            }
        }
        self.turn_one(update, follower, change, (was_held, is_held));
        Ok(())
    }

    pub(super) fn region(&self, follower: &Follower) -> Result<Vec<(EntityKey, Position)>, TooLarge> {
        let Some(graph) = &self.graph else { return Ok(Vec::new()) };
        match &follower.interest {
            Interest::Around { node, hops } => graph.around(node, *hops, &follower.viewer, self.most),
            Interest::Area(area) => {
                let lies_in = |(id, node): &(&Arc<str>, &Node)| {
                    node.place.is_some_and(|place| area.holds(place)) && node.is_seen_by(&follower.viewer, id)
                };
                let nodes: HashSet<&Arc<str>> =
                    graph.nodes().filter(lies_in).map(|(id, _)| id).take(self.most + 1).collect();
                if nodes.len() > self.most {
                    return Err(TooLarge);
                }
                let with_version = |id: &&Arc<str>| Some((key_of("node", id), graph.node(id)?.version));
                let mut region: Vec<_> = nodes.iter().filter_map(with_version).collect();
                graph.between(&follower.viewer, |id| nodes.contains(id), nodes.iter().copied(), &mut region);
                if region.len() > self.most { Err(TooLarge) } else { Ok(region) }
            }
            Interest::Ids(_) | Interest::Matching(_) => Ok(Vec::new()),
        }
    }

    /// What a node that came into a rectangle or left it means for its edges.
    fn turn_edges(
        &mut self,
        update: &mut Update,
        follower: &mut Follower,
        node: &Arc<str>,
        (was_held, is_held): (bool, bool),
    ) {
        let Some(graph) = self.graph.as_ref().filter(|_| was_held != is_held) else { return };
        let edges: Vec<_> = graph
            .edges_at(node)
            .filter(|(id, edge)| edge.is_seen_by(&follower.viewer, id))
            .map(|(id, edge)| (key_of("edge", id), edge.version))
            .collect();
        for (edge, version) in edges {
            if !is_held {
                self.take(update, follower, edge);
            } else if self.is_between(follower, &edge) && !follower.held.contains_key(&edge) {
                self.owe(update.id, follower, edge, version);
            }
        }
    }

    /// What the change of an entity means for its own place in a result.
    fn turn_one(
        &mut self,
        update: &mut Update,
        follower: &mut Follower,
        change: &Change<'_>,
        (was_held, is_held): (bool, bool),
    ) {
        match (was_held, is_held) {
            (false, false) => {}
            (true, false) => self.take(update, follower, change.key.clone()),
            (false, true) if self.ends_given(follower, change.key) != Given::Yes => {
                self.owe(update.id, follower, change.key.clone(), change.version);
            }
            (false, true) => {
                self.hold(update.id, follower, change.key.clone(), Held { version: change.version, given: Given::Yes });
                update.turned = Some(Turned::Entered);
            }
            (true, true) => {
                let waits = self.ends_given(follower, change.key) != Given::Yes;
                let Some(held) = follower.held.get_mut(change.key) else { return };
                let is_new = held.given != Given::Yes || held.version < change.version;
                match held.given {
                    // It was looked up, and the look went further than this change.
                    Given::Yes if !is_new => {}
                    Given::Yes => {
                        held.version = change.version;
                        update.turned = Some(Turned::Changed);
                    }
                    _ if waits => held.version = held.version.max(change.version),
                    Given::Owed | Given::Missing => {
                        *held = Held { version: change.version, given: Given::Yes };
                        update.turned = Some(Turned::Entered);
                    }
                }
            }
        }
    }

    /// Whether the follower of a region has the nodes that an edge joins; of two the one that is further from it.
    pub(super) fn ends_given(&self, follower: &Follower, key: &EntityKey) -> Given {
        if !follower.interest.is_region() || *key.kind != *"edge" {
            return Given::Yes;
        }
        let Some(edge) = self.graph.as_ref().and_then(|graph| graph.edge(&key.id)) else { return Given::Yes };
        let given = |end: &Arc<str>| follower.held.get(&key_of("node", end)).map_or(Given::Missing, |held| held.given);
        edge.ends.iter().map(given).max().unwrap_or(Given::Yes)
    }

    fn hold(&mut self, id: InterestId, follower: &mut Follower, key: EntityKey, held: Held) {
        if follower.held.insert(key.clone(), held).is_none() {
            self.total += 1;
            self.holders.entry(key).or_default().push(id);
        }
    }

    pub(super) fn owe(&mut self, id: InterestId, follower: &mut Follower, key: EntityKey, version: Position) {
        follower.queue.push_back(key.clone());
        self.hold(id, follower, key, Held { version, given: Given::Owed });
    }

    /// Takes an entity out of a result; the follower hears of it if it has it.
    fn take(&mut self, update: &mut Update, follower: &mut Follower, key: EntityKey) {
        if let Some(held) = follower.held.remove(&key) {
            self.total -= 1;
            take_out(&mut self.holders, &key, update.id);
            if held.given == Given::Yes {
                update.left.push(key);
            }
        }
    }
}
