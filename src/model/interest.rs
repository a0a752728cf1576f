//! Interests: parts of the shared state that somebody follows, and which change concerns whom.
//!
//! Owns: which entities belong to which interest, after every change. [`Index`] decides; where contents come from, who is
//! told and in which words are others' business. An interest's result is kept as keys and versions, never as contents.
//!
//! Invariant **result**: after every change an interest's result is what looking at all entities anew would find.

mod area;
mod focus;
mod graph;
mod index;
mod query;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use serde_json::{Map, Value};

pub use self::{
    area::Area,
    focus::{Focus, Glance, Relevance},
    index::{Fetched, Index, Turned, Update},
    query::{Query, Unfit},
};
use super::{EntityKey, Position, entity::Owner, place::place_of, record::Viewer};

/// Names an interest for as long as it lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InterestId(pub u64);

/// What somebody follows.
#[derive(Clone, Debug)]
pub enum Interest {
    /// The nodes of a rectangle, and the edges between them.
    Area(Area),
    /// The nodes that are at most so many edges away from one, whichever way the edges point, and the edges between them.
    Around {
        /// The node in the middle.
        node: Arc<str>,
        /// How many edges away.
        hops: u8,
    },
    /// These.
    Ids(Box<[EntityKey]>),
    /// What a query finds.
    Matching(Arc<Query>),
}

impl Interest {
    /// Whether it stands on the graph.
    pub fn is_region(&self) -> bool {
        matches!(self, Self::Area(_) | Self::Around { .. })
    }
}

/// What is known of an entity at a version.
#[derive(Clone, Copy, Debug)]
pub struct Change<'a> {
    /// Which.
    pub key: &'a EntityKey,
    /// The version.
    pub version: Position,
    /// What it is then; `None`: it is not there.
    pub content: Option<Content<'a>>,
    /// What is new.
    pub touched: Touched<'a>,
}

/// An entity that is there.
#[derive(Clone, Copy, Debug)]
pub struct Content<'a> {
    /// Its fields.
    pub fields: &'a Map<String, Value>,
    /// Whose it is, if only they may see it.
    pub private_to: Option<&'a Owner>,
}

/// What of an entity a change may have altered.
#[derive(Clone, Copy, Debug)]
pub enum Touched<'a> {
    /// Anything.
    All,
    /// These fields and nothing else since the version before.
    Fields(&'a [String]),
}

impl Content<'_> {
    /// Whether somebody may see it, under its key.
    pub fn is_seen_by(&self, viewer: &Viewer, key: &EntityKey) -> bool {
        viewer.sees_what_is(key, self.private_to, || place_of(key, self.fields))
    }
}
