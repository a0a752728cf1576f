//! Which interests a change concerns, and what it does to their results.
//!
//! A change is held against those that hold its entity already (a reverse index says which) and those that it may bring it
//! to: rectangles by tiles, lists by id, queries by type and by the value that one of their fields must have. Regions of
//! hops are found anew only when an edge or a node at their border changes.

mod turn;

use std::{
    collections::{HashMap, VecDeque, hash_map::Entry},
    sync::Arc,
};

use super::{Content, Interest, InterestId, Query, area::Tiles, graph::Graph, query::Scalar};
use crate::model::{EntityKey, Position, record::Viewer};

/// An entity of a result.
#[derive(Clone, Copy, Debug)]
struct Held {
    /// The version that its follower has; while it is owed, one that it must at least get.
    version: Position,
    given: Given,
}

/// Whether the follower has an entity; the later, the further it is from that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Given {
    Yes,
    /// It is in the queue, or being looked up.
    Owed,
    /// It was gone when it was looked up: the change that took it away is on its way.
    Missing,
}

/// One interest with its result.
#[derive(Debug)]
struct Follower {
    viewer: Viewer,
    interest: Interest,
    held: HashMap<EntityKey, Held>,
    /// What it is owed, in this order; what it is not owed any more is passed over.
    queue: VecDeque<EntityKey>,
    /// Set until all entities were shown to a query: what was not touched may be new to it all the same. A region has no
    /// result until the graph is known.
    is_searching: bool,
}

/// What a change means for one interest; if it says nothing, the follower is owed something ([`Index::is_owed`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    /// Which.
    pub id: InterestId,
    /// What became of the entity that changed, if its new content goes to the follower.
    pub turned: Option<Turned>,
    /// What it has to give back.
    pub left: Vec<EntityKey>,
    /// Whether its result has become too large. It is gone then.
    pub is_overgrown: bool,
}

/// What became of an entity in a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turned {
    /// It came in.
    Entered,
    /// It is another.
    Changed,
}

/// What to do with an entity that was looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fetched {
    /// Give it to the follower.
    Give,
    /// Nothing.
    Pass,
}

/// Queries of one entity type.
#[derive(Debug, Default)]
struct OfKind {
    /// By a field's value.
    equal: HashMap<Box<str>, HashMap<Scalar, Vec<InterestId>>>,
    rest: Vec<InterestId>,
}

/// All interests of a room.
#[derive(Debug)]
pub struct Index {
    followers: HashMap<InterestId, Follower>,
    /// As soon as a region needs it.
    graph: Option<Graph>,
    /// Whether somebody sees nodes by where they lie, or did.
    is_regional: bool,
    tiles: Tiles,
    middles: HashMap<Arc<str>, Vec<InterestId>>,
    ids: HashMap<EntityKey, Vec<InterestId>>,
    queries: HashMap<Arc<str>, OfKind>,
    /// Who holds what.
    holders: HashMap<EntityKey, Vec<InterestId>>,
    /// Greatest number of entities in one result.
    most: usize,
    /// Entities in all results.
    total: usize,
}

impl Index {
    /// No interests yet. `most`: greatest number of entities in one result.
    pub fn new(most: usize) -> Self {
        Self {
            followers: HashMap::new(),
            graph: None,
            is_regional: false,
            tiles: Tiles::default(),
            middles: HashMap::new(),
            ids: HashMap::new(),
            queries: HashMap::new(),
            holders: HashMap::new(),
            most,
            total: 0,
        }
    }

    /// How many interests there are.
    pub fn len(&self) -> usize {
        self.followers.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.followers.is_empty()
    }

    /// Entities in all results together.
    pub fn held(&self) -> usize {
        self.total
    }

    /// Takes an interest in. A list is owed its entities at once; a query finds what [`Index::show`] shows it until
    /// [`Index::searched`]; a region begins with [`Index::begin`], once the graph is known.
    pub fn add(&mut self, id: InterestId, viewer: Viewer, interest: Interest) {
        if viewer.is_regional() {
            self.is_regional = true;
            self.graph.iter_mut().for_each(Graph::see_by_place);
        }
        match &interest {
            Interest::Area(area) => self.tiles.add(id, area),
            Interest::Around { node, .. } => self.middles.entry(node.clone()).or_default().push(id),
            Interest::Ids(keys) => keys.iter().for_each(|key| self.ids.entry(key.clone()).or_default().push(id)),
            Interest::Matching(query) => self.list_of(query).push(id),
        }
        let is_searching = !matches!(interest, Interest::Ids(_));
        let keys = if let Interest::Ids(keys) = &interest { keys.clone() } else { Box::default() };
        let (held, queue) = (HashMap::new(), VecDeque::new());
        let mut follower = Follower { viewer, interest, held, queue, is_searching };
        keys.into_iter().for_each(|key| self.owe(id, &mut follower, key, Position::START));
        self.followers.insert(id, follower);
    }

    /// Lets an interest go.
    pub fn remove(&mut self, id: InterestId) {
        if let Some(follower) = self.followers.remove(&id) {
            self.forget(id, &follower);
        }
        if !self.followers.values().any(|follower| follower.interest.is_region()) {
            self.graph = None;
        }
    }

    fn forget(&mut self, id: InterestId, follower: &Follower) {
        match &follower.interest {
            Interest::Area(area) => self.tiles.remove(id, area),
            Interest::Around { node, .. } => take_out(&mut self.middles, node, id),
            Interest::Ids(keys) => keys.iter().for_each(|key| take_out(&mut self.ids, key, id)),
            Interest::Matching(query) => {
                self.list_of(query).retain(|known| *known != id);
                self.tidy_queries(query);
            }
        }
        self.total -= follower.held.len();
        follower.held.keys().for_each(|key| take_out(&mut self.holders, key, id));
    }

    fn list_of(&mut self, query: &Query) -> &mut Vec<InterestId> {
        let of_kind = self.queries.entry(query.kind().clone()).or_default();
        match &query.equal {
            Some((field, value)) => of_kind.equal.entry(field.clone()).or_default().entry(value.clone()).or_default(),
            None => &mut of_kind.rest,
        }
    }

    fn tidy_queries(&mut self, query: &Query) {
        if let Some(of_kind) = self.queries.get_mut(query.kind()) {
            of_kind.equal.retain(|_, values| {
                values.retain(|_, ids| !ids.is_empty());
                !values.is_empty()
            });
            if of_kind.equal.is_empty() && of_kind.rest.is_empty() {
                self.queries.remove(query.kind());
            }
        }
    }

    /// Whether anybody cares for an entity.
    pub fn cares_for(&self, key: &EntityKey) -> bool {
        self.queries.contains_key(&key.kind)
            || (self.graph.is_some() && matches!(&*key.kind, "node" | "edge"))
            || self.ids.contains_key(key)
    }

    // --- The graph ---

    /// From here on nodes and edges are kept.
    pub fn keep_graph(&mut self) {
        let graph = self.graph.get_or_insert_default();
        if self.is_regional {
            graph.see_by_place();
        }
    }

    /// Whether nodes and edges are kept.
    pub fn has_graph(&self) -> bool {
        self.graph.is_some()
    }

    /// How many nodes and edges are kept.
    pub fn graph_len(&self) -> usize {
        self.graph.as_ref().map_or(0, Graph::len)
    }

    /// The graph is known: finds a region, all of which is owed. `false` if it is too large; it is gone then.
    #[must_use]
    pub fn begin(&mut self, id: InterestId) -> bool {
        let Some(mut follower) = self.followers.remove(&id) else { return true };
        let found = self.region(&follower);
        let is_too_large = found.is_err();
        follower.is_searching = false;
        for (key, version) in found.unwrap_or_default() {
            self.owe(id, &mut follower, key, version);
        }
        self.put_back(id, follower, is_too_large)
    }

    // --- Contents ---

    /// What an interest is owed next.
    pub fn take_owed(&mut self, id: InterestId, most: usize) -> Vec<EntityKey> {
        let Some(follower) = self.followers.get_mut(&id) else { return Vec::new() };
        let mut owed = Vec::new();
        while owed.len() < most
            && let Some(key) = follower.queue.pop_front()
        {
            if follower.held.get(&key).is_some_and(|held| held.given == Given::Owed) {
                owed.push(key);
            }
        }
        owed
    }

    /// Puts what was taken and not looked up back to where it was.
    pub fn put_owed_back(&mut self, id: InterestId, keys: impl DoubleEndedIterator<Item = EntityKey>) {
        if let Some(follower) = self.followers.get_mut(&id) {
            keys.rev().for_each(|key| follower.queue.push_front(key));
        }
    }

    /// What a change would have given to a follower comes when it is looked up.
    pub fn owe_again(&mut self, id: InterestId, key: &EntityKey) {
        if let Some(follower) = self.followers.get_mut(&id)
            && let Some(held) = follower.held.get_mut(key)
        {
            held.given = Given::Owed;
            follower.queue.push_back(key.clone());
        }
    }

    /// Whether an interest is owed something that is not being looked up.
    pub fn is_owed(&self, id: InterestId) -> bool {
        self.followers.get(&id).is_some_and(|follower| !follower.queue.is_empty())
    }

    /// An entity that was owed was looked up.
    pub fn fetched(&mut self, id: InterestId, key: &EntityKey, found: Option<(Position, Content<'_>)>) -> Fetched {
        let ends = self.followers.get(&id).map_or(Given::Yes, |follower| self.ends_given(follower, key));
        let Some(follower) = self.followers.get_mut(&id) else { return Fetched::Pass };
        let Some(held) = follower.held.get_mut(key).filter(|held| held.given == Given::Owed) else {
            return Fetched::Pass; // it left, or the follower got a later version meanwhile
        };
        match ends {
            Given::Yes => {}
            Given::Owed => {
                follower.queue.push_back(key.clone());
                return Fetched::Pass;
            }
            // The edge leaves with it.
            Given::Missing => return Fetched::Pass,
        }
        let seen = found.filter(|(_, content)| content.is_seen_by(&follower.viewer, key));
        match seen {
            Some((version, _)) if version >= held.version => {
                *held = Held { version, given: Given::Yes };
                Fetched::Give
            }
            Some(_) => {
                follower.queue.push_back(key.clone());
                Fetched::Pass
            }
            None => {
                if matches!(follower.interest, Interest::Ids(_)) {
                    // A list names what need not be there.
                    follower.held.remove(key);
                    self.total -= 1;
                    take_out(&mut self.holders, key, id);
                } else {
                    held.given = Given::Missing;
                }
                Fetched::Pass
            }
        }
    }

    /// A follower has nothing any more: it is owed everything.
    pub fn start_over(&mut self, id: InterestId) {
        let Some(follower) = self.followers.get_mut(&id) else { return };
        follower.held.values_mut().for_each(|held| held.given = Given::Owed);
        let mut keys: Vec<_> = follower.held.keys().cloned().collect();
        // Edges behind the nodes that they join; what is missing of a list may be there again by the time it is looked up.
        if let Interest::Ids(listed) = &follower.interest {
            keys = listed.to_vec();
        }
        keys.sort_by(|a, b| (*a.kind == *"edge", a).cmp(&(*b.kind == *"edge", b)));
        follower.queue = keys.into();
    }
}

fn take_out<K: std::hash::Hash + Eq + Clone>(from: &mut HashMap<K, Vec<InterestId>>, key: &K, id: InterestId) {
    if let Entry::Occupied(mut ids) = from.entry(key.clone()) {
        ids.get_mut().retain(|known| *known != id);
        if ids.get().is_empty() {
            ids.remove();
        }
    }
}
