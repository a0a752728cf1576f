//! What somebody may do in a room, as a value. Owns: the patterns and their meaning. Must not know: tokens, sockets.
//!
//! A right that is not given is not there: an empty list admits nothing. What stands in a token or an API key is read by
//! `auth/claims.rs`.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{
    EntityKey,
    glob::Glob,
    place::{Place, Rectangle, has_place},
};

/// Greatest number of patterns or rules in one list: the worst that fits in is looked through in less than a microsecond
/// (`cargo bench --bench grants`).
pub const MOST: usize = 32;
/// Greatest length of a pattern, in bytes.
pub const LONGEST: usize = 256;

/// All that somebody may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rights {
    /// Types of events and signals that it may publish.
    pub publish: Patterns,
    /// Types of events and signals that it may hear.
    pub subscribe: Patterns,
    /// Entities that it may see.
    pub read: Entities,
    /// Entities that it may make, change and delete.
    pub change: Entities,
    /// What it may administer.
    pub admin: Admin,
}

/// What somebody may administer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Admin {
    /// Nothing: written by leaving it out.
    #[serde(skip)]
    Nothing,
    /// Its own tenant: keys, revocations, limits.
    Tenant,
    /// All tenants and the nodes.
    System,
}

/// Names in which one `*` stands for any run of characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Patterns(Scope<Glob>);

/// Which entities: those that a rule admits by name, and nodes by where they lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entities {
    named: Scope<EntityRule>,
    regions: Regions,
}

/// Parts of the plane in which nodes are admitted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Regions(Arc<[Rectangle]>);

impl Regions {
    /// Whether one of them holds a place; what lies nowhere is in none.
    pub fn hold(&self, place: Option<Place>) -> bool {
        place.is_some_and(|place| self.0.iter().any(|rectangle| rectangle.holds(place)))
    }
}

/// One rule of [`Entities`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntityRule {
    /// Which types, `*` in it stands for any run of characters.
    pub kind: Glob,
    /// Which ids, likewise.
    pub id: Glob,
}

impl EntityRule {
    /// As whoever gave it wrote it, no longer: what is written down is held to the same bounds again when it is read.
    fn text(&self) -> String {
        match self.id.as_str() {
            "*" => self.kind.as_str().to_owned(),
            id => format!("{}:{id}", self.kind.as_str()),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Scope<T> {
    All,
    Only(Arc<[T]>),
}

impl Rights {
    /// Everything but administration.
    pub fn all() -> Self {
        Self {
            publish: Patterns::all(),
            subscribe: Patterns::all(),
            read: Entities::all(),
            change: Entities::all(),
            admin: Admin::Nothing,
        }
    }
}

impl Patterns {
    /// Every name.
    pub fn all() -> Self {
        Self(Scope::All)
    }

    /// Those that one of these admits.
    pub fn of(patterns: impl IntoIterator<Item = String>) -> Self {
        let patterns: Vec<Glob> = patterns.into_iter().map(Glob::from).collect();
        let is_all = patterns.iter().any(|pattern| pattern.as_str() == "*");
        Self(if is_all { Scope::All } else { Scope::Only(patterns.into()) })
    }

    /// Whether it admits every name, so that nobody needs to ask.
    pub fn is_all(&self) -> bool {
        matches!(self.0, Scope::All)
    }

    /// As a list that makes the same.
    pub fn list(&self) -> Vec<String> {
        match &self.0 {
            Scope::All => vec!["*".into()],
            Scope::Only(patterns) => patterns.iter().map(|pattern| pattern.as_str().to_owned()).collect(),
        }
    }

    /// Whether it admits a name.
    pub fn admits(&self, name: &str) -> bool {
        match &self.0 {
            Scope::All => true,
            Scope::Only(patterns) => patterns.iter().any(|pattern| pattern.admits(name)),
        }
    }
}

impl Entities {
    /// Every entity.
    pub fn all() -> Self {
        Self { named: Scope::All, regions: Regions::default() }
    }

    /// Those that one of these admits.
    pub fn of(rules: impl IntoIterator<Item = EntityRule>) -> Self {
        let rules: Vec<_> = rules.into_iter().collect();
        let is_all = rules.iter().any(|rule| rule.kind.as_str() == "*" && rule.id.as_str() == "*");
        Self { named: if is_all { Scope::All } else { Scope::Only(rules.into()) }, regions: Regions::default() }
    }

    /// And the nodes that lie in one of these.
    pub fn and_in(mut self, regions: impl IntoIterator<Item = Rectangle>) -> Self {
        self.regions = Regions(regions.into_iter().collect());
        self
    }

    /// Whether it admits every entity, so that nobody needs to ask.
    pub fn is_all(&self) -> bool {
        matches!(self.named, Scope::All)
    }

    /// As a list that makes the same, each `type`, `type:id` or `region:x0,y0,x1,y1`.
    pub fn list(&self) -> Vec<String> {
        let mut list = match &self.named {
            Scope::All => vec!["*".into()],
            Scope::Only(rules) => rules.iter().map(EntityRule::text).collect(),
        };
        list.extend(self.regions.0.iter().map(|rectangle| format!("region:{rectangle}")));
        list
    }

    /// Whether it admits an entity wherever that lies.
    fn names(&self, key: &EntityKey) -> bool {
        match &self.named {
            Scope::All => true,
            Scope::Only(rules) => rules.iter().any(|rule| rule.kind.admits(&key.kind) && rule.id.admits(&key.id)),
        }
    }

    /// Whether it depends on where nodes lie.
    pub fn is_regional(&self) -> bool {
        !self.is_all() && !self.regions.0.is_empty()
    }

    /// Where an entity has to lie to be admitted; `None`: it is wherever it lies.
    pub fn limits(&self, key: &EntityKey) -> Option<Regions> {
        let regions = if has_place(key) { self.regions.clone() } else { Regions::default() };
        (!self.names(key)).then_some(regions)
    }

    /// Whether it admits an entity that lies there; `place` is only asked for where it matters.
    pub fn admits(&self, key: &EntityKey, place: impl FnOnce() -> Option<Place>) -> bool {
        self.names(key) || (has_place(key) && !self.regions.0.is_empty() && self.regions.hold(place()))
    }

    /// Whether it admits an entity somewhere.
    pub fn may_admit(&self, key: &EntityKey) -> bool {
        self.names(key) || (has_place(key) && !self.regions.0.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(kind: &str, id: &str) -> EntityKey {
        EntityKey::new(kind, id).expect("a key")
    }

    fn rule(kind: &str, id: &str) -> EntityRule {
        EntityRule { kind: kind.into(), id: id.into() }
    }

    #[test]
    fn an_empty_list_admits_nothing_and_a_star_everything() {
        assert!(!Patterns::of([]).admits("memory.created"));
        assert!(Patterns::of(["a".into(), "*".into()]).is_all());
        assert!(!Entities::of([]).may_admit(&key("node", "n1")));
        assert!(Entities::of([rule("*", "*")]).is_all());
        assert!(!Entities::of([rule("*", "n1")]).is_all());
    }

    #[test]
    fn a_pattern_admits_what_it_names_and_nothing_beside() {
        let patterns = Patterns::of(["memory.*".into(), "cursor.move".into()]);
        for name in ["memory.created", "cursor.move"] {
            assert!(patterns.admits(name), "{name}");
        }
        for name in ["memory", "cursor.moved", "node.create", ""] {
            assert!(!patterns.admits(name), "{name}");
        }
    }

    #[test]
    fn a_region_admits_nodes_that_lie_there_and_nothing_else() {
        let rectangle = |text: &str| text.parse::<Rectangle>().expect("a rectangle");
        let entities = Entities::of([rule("edge", "*")]).and_in([rectangle("0,0,10,10"), rectangle("20,20,30,30")]);
        let node = key("node", "n");
        for inside in [(0.0, 0.0), (25.0, 20.0)] {
            assert!(entities.admits(&node, || Some(inside)));
        }
        assert!(!entities.admits(&node, || Some((15.0, 5.0))) && !entities.admits(&node, || None));
        assert!(entities.may_admit(&node) && entities.is_regional());
        assert!(entities.admits(&key("edge", "e"), || unreachable!("it is named")));
        assert!(!entities.may_admit(&key("task", "t")) && !entities.admits(&key("task", "t"), || Some((1.0, 1.0))));
        assert_eq!(entities.limits(&key("edge", "e")), None);
        assert!(entities.limits(&node).expect("limits").hold(Some((1.0, 1.0))));
        assert!(!entities.limits(&key("task", "t")).expect("limits").hold(Some((1.0, 1.0))));
        // Who may see everything need not be asked where that lies.
        assert!(!Entities::all().and_in([rectangle("0,0,1,1")]).is_regional());
    }

    #[test]
    fn a_rule_admits_a_type_or_a_single_entity() {
        let entities = Entities::of([rule("memory", "*"), rule("node", "n1"), rule("edge", "e-*")]);
        for (kind, id) in [("memory", "m1"), ("node", "n1"), ("edge", "e-7")] {
            assert!(entities.admits(&key(kind, id), || None), "{kind} {id}");
        }
        for (kind, id) in [("node", "n2"), ("edge", "f"), ("memory2", "m1")] {
            assert!(!entities.may_admit(&key(kind, id)), "{kind} {id}");
        }
    }
}
