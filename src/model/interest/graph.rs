//! The graph as far as regions need it: where nodes are, which edges join them, and who may see what.

use std::{
    collections::{HashMap, HashSet, VecDeque, hash_map::Entry},
    sync::Arc,
};

use serde_json::Value;

use super::{Change, Content};
use crate::model::{
    EntityKey, Position,
    entity::Owner,
    place::{Place, place_of},
    record::Viewer,
};

/// A node that is there.
#[derive(Debug, PartialEq)]
pub(super) struct Node {
    pub(super) version: Position,
    pub(super) place: Option<Place>,
    private_to: Option<Owner>,
}

/// An edge that is there; its ends need not be.
#[derive(Debug, PartialEq)]
pub(super) struct Edge {
    pub(super) version: Position,
    pub(super) ends: [Arc<str>; 2],
    private_to: Option<Owner>,
}

/// Nodes, edges, and which edges end at which node.
#[derive(Debug, Default)]
pub(super) struct Graph {
    nodes: HashMap<Arc<str>, Node>,
    edges: HashMap<Arc<str>, Edge>,
    /// Also for nodes that are not there: an edge whose end is restored is whole again.
    at: HashMap<Arc<str>, Vec<Arc<str>>>,
    /// Whether somebody sees nodes by where they lie.
    is_regional: bool,
}

/// What a change did to the graph.
#[derive(Debug, Default)]
pub(super) struct Shift {
    /// Whether anything is joined otherwise than before, or seen by others.
    pub(super) is_structural: bool,
    /// The nodes around what changed, as it was and as it is.
    pub(super) near: Vec<Arc<str>>,
}

/// Finding a region was given up: it is too large.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooLarge;

impl Node {
    pub(super) fn is_seen_by(&self, viewer: &Viewer, id: &Arc<str>) -> bool {
        viewer.sees_what_is(&key("node", id), self.private_to.as_ref(), || self.place)
    }
}

impl Edge {
    pub(super) fn is_seen_by(&self, viewer: &Viewer, id: &Arc<str>) -> bool {
        viewer.sees_what_is(&key("edge", id), self.private_to.as_ref(), || None)
    }

    fn other(&self, end: &str) -> &Arc<str> {
        if *self.ends[0] == *end { &self.ends[1] } else { &self.ends[0] }
    }
}

/// Which nodes an edge says that it joins.
fn ends_of(content: &Content<'_>) -> Option<[Arc<str>; 2]> {
    let end = |names: [&str; 2]| match names.into_iter().find_map(|name| content.fields.get(name))? {
        Value::String(id) => Some(Arc::from(id.as_str())),
        // Ids that are numbers elsewhere.
        Value::Number(id) => Some(Arc::from(id.to_string())),
        _ => None,
    };
    Some([end(["from", "source"])?, end(["to", "target"])?])
}

impl Graph {
    /// From here on it matters to who sees what where nodes lie.
    pub(super) fn see_by_place(&mut self) {
        self.is_regional = true;
    }

    pub(super) fn len(&self) -> usize {
        self.nodes.len() + self.edges.len()
    }

    pub(super) fn node(&self, id: &str) -> Option<&Node> {
        self.nodes.get(id)
    }

    pub(super) fn edge(&self, id: &str) -> Option<&Edge> {
        self.edges.get(id)
    }

    pub(super) fn nodes(&self) -> impl Iterator<Item = (&Arc<str>, &Node)> {
        self.nodes.iter()
    }

    /// The edges that end at a node, each once.
    pub(super) fn edges_at(&self, node: &str) -> impl Iterator<Item = (&Arc<str>, &Edge)> {
        let ids = self.at.get(node).into_iter().flatten();
        ids.filter_map(|id| self.edges.get_key_value(id))
    }

    /// Takes a change of a node or an edge in.
    pub(super) fn apply(&mut self, change: &Change<'_>) -> Shift {
        match &*change.key.kind {
            "node" => self.apply_node(change),
            "edge" => self.apply_edge(change),
            _ => Shift::default(),
        }
    }

    fn apply_node(&mut self, change: &Change<'_>) -> Shift {
        let id = &change.key.id;
        let next = change.content.map(|content| Node {
            version: change.version,
            place: place_of(change.key, content.fields),
            private_to: content.private_to.cloned(),
        });
        let is_regional = self.is_regional;
        let place = |node: &Node| node.place.filter(|_| is_regional);
        let sight = |node: Option<&Node>| node.map(|node| (node.private_to.clone(), place(node)));
        let is_structural = sight(self.nodes.get(id)) != sight(next.as_ref());
        match next {
            Some(node) => drop(self.nodes.insert(id.clone(), node)),
            None => drop(self.nodes.remove(id)),
        }
        let near = if is_structural {
            self.edges_at(id).map(|(_, edge)| edge.other(id).clone()).collect()
        } else {
            Vec::new()
        };
        Shift { is_structural, near }
    }

    fn apply_edge(&mut self, change: &Change<'_>) -> Shift {
        let id = &change.key.id;
        let next = change.content.and_then(|content| {
            let ends = ends_of(&content)?;
            Some(Edge { version: change.version, ends, private_to: content.private_to.cloned() })
        });
        let before = self.edges.remove(id);
        let joins = |edge: &Option<Edge>| edge.as_ref().map(|edge| (edge.ends.clone(), edge.private_to.clone()));
        let is_structural = joins(&before) != joins(&next);
        let mut near = Vec::new();
        if is_structural {
            for end in before.iter().flat_map(|edge| &edge.ends) {
                if let Entry::Occupied(mut at) = self.at.entry(end.clone()) {
                    at.get_mut().retain(|known| known != id);
                    if at.get().is_empty() {
                        at.remove();
                    }
                }
            }
            if let Some(edge) = &next {
                let [from, to] = &edge.ends;
                self.at.entry(from.clone()).or_default().push(id.clone());
                if from != to {
                    self.at.entry(to.clone()).or_default().push(id.clone());
                }
            }
            near.extend(before.iter().chain(&next).flat_map(|edge| edge.ends.iter().cloned()));
        }
        if let Some(edge) = next {
            self.edges.insert(id.clone(), edge);
        }
        Shift { is_structural, near }
    }

    /// The nodes at most so many edges away from one, as somebody sees the graph, and the edges between them.
    pub(super) fn around(
        &self,
        node: &Arc<str>,
        hops: u8,
        viewer: &Viewer,
        most: usize,
    ) -> Result<Vec<(EntityKey, Position)>, TooLarge> {
        let mut found: HashSet<&Arc<str>> = HashSet::new();
        let mut next = VecDeque::new();
        if self.sees_node(node, viewer) {
            found.insert(node);
            next.push_back((node, 0));
        }
        let mut looked_at = 0;
        while let Some((id, distance)) = next.pop_front() {
            if distance == hops {
                continue;
            }
            for (edge_id, edge) in self.edges_at(id) {
                looked_at += 1;
                let other = edge.other(id);
                if edge.is_seen_by(viewer, edge_id) && self.sees_node(other, viewer) && found.insert(other) {
                    next.push_back((other, distance + 1));
                }
            }
            if found.len() > most || looked_at > most * 16 {
                return Err(TooLarge);
            }
        }
        let nodes = found.iter().filter_map(|id| Some((key("node", id), self.nodes.get(*id)?.version)));
        let mut region: Vec<_> = nodes.collect();
        self.between(viewer, |id| found.contains(id), found.iter().copied(), &mut region);
        if region.len() > most { Err(TooLarge) } else { Ok(region) }
    }

    /// Adds the edges between nodes of a region.
    pub(super) fn between<'a>(
        &self,
        viewer: &Viewer,
        holds: impl Fn(&Arc<str>) -> bool,
        nodes: impl Iterator<Item = &'a Arc<str>>,
        into: &mut Vec<(EntityKey, Position)>,
    ) {
        for node in nodes {
            for (id, edge) in self.edges_at(node) {
                // Each edge is met at both its ends, and taken at the first.
                if edge.ends[0] == *node && holds(&edge.ends[1]) && edge.is_seen_by(viewer, id) {
                    into.push((key("edge", id), edge.version));
                }
            }
        }
    }

    fn sees_node(&self, id: &Arc<str>, viewer: &Viewer) -> bool {
        self.nodes.get(id).is_some_and(|node| node.is_seen_by(viewer, id))
    }
}

/// The key of a node or an edge.
pub(super) fn key(kind: &'static str, id: &Arc<str>) -> EntityKey {
    thread_local! {
        static KINDS: [Arc<str>; 2] = [Arc::from("node"), Arc::from("edge")];
    }
    let kind = KINDS.with(|[node, edge]| if kind == "node" { node.clone() } else { edge.clone() });
    EntityKey { kind, id: id.clone() }
}
