//! The index against looking at everything: thousands of random changes, and after each one every result.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde_json::{Map, Value, json};

use super::*;
use crate::model::rights::{Entities, EntityRule, Rights};

const MOST: usize = 10_000;
const KINDS: [&str; 3] = ["todo", "done", "later"];

fn key(kind: &str, id: impl ToString) -> EntityKey {
    EntityKey { kind: kind.into(), id: id.to_string().into() }
}

fn user(name: &str) -> Owner {
    Owner::User(name.into())
}

/// Where rex may see nodes.
const REGION: &str = "-20,-20,20,30";

/// Everybody may read everything but tim, who may read the nodes whose id begins with n1, and rex, who may read those of a
/// region; both may read whatever is no node.
fn viewer(name: &str) -> Viewer {
    let rule = |kind: &str, id: &str| EntityRule { kind: kind.into(), id: id.into() };
    let read = match name {
        "tim" => Entities::of([rule("node", "n1*"), rule("edge", "*"), rule("task", "*")]),
        "rex" => Entities::of([rule("edge", "*"), rule("task", "*")]).and_in([REGION.parse().expect("a rectangle")]),
        _ => Entities::all(),
    };
    Viewer::new(Some(user(name)), Arc::new(Rights { read, ..Rights::all() }))
}

fn query(kind: &str, text: &str) -> Interest {
    let condition = (!text.is_empty()).then(|| cel::Program::compile(text).expect("a condition"));
    Interest::Matching(Arc::new(Query::new(kind, condition).expect("a cheap one")))
}

fn area(x: f64, y: f64, width: f64, height: f64) -> Interest {
    Interest::Area(Area::new(x, y, width, height).expect("a rectangle"))
}

/// An entity that is there: its fields, and whose it is.
type There = (Map<String, Value>, Option<Owner>);

/// Everything as it stands, and the followers as their clients are.
struct World {
    random: fastrand::Rng,
    clock: u64,
    entities: BTreeMap<EntityKey, (u64, Option<There>)>,
    index: Index,
    followers: BTreeMap<InterestId, (String, Interest, BTreeMap<EntityKey, u64>)>,
}

impl World {
    fn new(seed: u64) -> Self {
        let random = fastrand::Rng::with_seed(seed);
        Self { random, clock: 0, entities: BTreeMap::new(), index: Index::new(MOST), followers: BTreeMap::new() }
    }

    fn change<'a>(key: &'a EntityKey, (version, there): &'a (u64, Option<There>), touched: Touched<'a>) -> Change<'a> {
        let content = there.as_ref().map(|(fields, owner)| Content { fields, private_to: owner.as_ref() });
        Change { key, version: Position(*version), content, touched }
    }

    /// Takes a follower in at once, as a room does once it has looked at everything.
    fn follow(&mut self, name: &str, interest: Interest) {
        let id = InterestId(self.followers.len() as u64 + 1);
        self.index.add(id, viewer(name), interest.clone());
        let is_first_region = interest.is_region() && !self.index.has_graph();
        if is_first_region {
            self.index.keep_graph();
        }
        if is_first_region || matches!(interest, Interest::Matching(_)) {
            for (key, entity) in &self.entities {
                if entity.0 > 0 {
                    assert_eq!(self.index.show(&Self::change(key, entity, Touched::All)), []);
                }
            }
        }
        if interest.is_region() {
            assert!(self.index.begin(id));
        }
        self.index.searched(id);
        self.followers.insert(id, (name.to_owned(), interest, BTreeMap::new()));
    }

    fn put(&mut self, key: EntityKey, there: Option<There>) {
        self.clock += 1;
        let before = self.entities.insert(key.clone(), (self.clock, there));
        let entity = &self.entities[&key];
        let touched: Option<Vec<String>> = match (before, &entity.1) {
            (Some((_, Some((before, was)))), Some((fields, is))) if was == *is => {
                let names = before.keys().chain(fields.keys()).collect::<BTreeSet<_>>();
                Some(names.into_iter().filter(|name| before.get(*name) != fields.get(*name)).cloned().collect())
            }
            _ => None,
        };
        let touched = touched.as_deref().map_or(Touched::All, Touched::Fields);
        let owed: Vec<_> = self.followers.keys().filter(|id| self.index.is_owed(**id)).copied().collect();
        let updates = self.index.see(&Self::change(&key, entity, touched));
        for id in self.followers.keys().filter(|id| self.index.is_owed(**id) && !owed.contains(id)) {
            assert!(updates.iter().any(|update| update.id == *id), "nobody was told that {id:?} is owed something");
        }
        for update in updates {
            assert!(!update.is_overgrown);
            let (_, _, has) = self.followers.get_mut(&update.id).expect("a follower");
            for key in &update.left {
                assert!(has.remove(key).is_some(), "{key:?} was never given to {:?}", update.id);
            }
            if let Some(turned) = update.turned {
                let before = has.insert(key.clone(), self.clock);
                assert_eq!(before.is_some(), turned == Turned::Changed, "{key:?} for {:?}", update.id);
            }
        }
    }

    /// Looks up what a follower is owed.
    fn serve(&mut self, id: InterestId, most: usize) {
        for key in self.index.take_owed(id, most) {
            let found = self.entities.get(&key).cloned().unwrap_or_default();
            let change = Self::change(&key, &found, Touched::All);
            let found = change.content.map(|content| (change.version, content));
            if self.index.fetched(id, &key, found) == Fetched::Give {
                let (_, _, has) = self.followers.get_mut(&id).expect("a follower");
                assert!(has.insert(key.clone(), change.version.0).is_none(), "{key:?} was given twice");
            }
        }
    }

    /// One random change.
    fn step(&mut self) {
        let random = &mut self.random;
        let node = |random: &mut fastrand::Rng| format!("n{}", random.u8(..24));
        let owner = if random.u8(..6) == 0 { Some(user(["ann", "bob"][random.usize(..2)])) } else { None };
        let (key, mut fields) = match random.u8(..10) {
            0..4 => {
                let (x, y) = (f64::from(random.i8(..)) / 2.0, f64::from(random.i8(..)) / 2.0);
                (
                    key("node", node(random)),
                    if random.u8(..12) == 0 { json!({"x": x}) } else { json!({"x": x, "y": y}) },
                )
            }
            4..7 => {
                let (from, to) = (node(random), node(random));
                let names = [["from", "to"], ["source", "target"]][random.usize(..2)];
                (key("edge", random.u8(..40)), json!({names[0]: from, names[1]: to}))
            }
            _ => {
                let state = KINDS[random.usize(..3)];
                let fields = json!({"state": state, "size": random.u8(..8), "tags": [state], "other": random.u8(..)});
                (key("task", random.u8(..30)), fields)
            }
        };
        let known = self.entities.get(&key).and_then(|(_, there)| there.clone());
        let there = match (random.u8(..6), known) {
            (0, _) => None,
            // A single field, as most changes are.
            (1..4, Some((mut before, owner))) => {
                let fields = fields.as_object_mut().expect("an object");
                let nth = random.usize(..fields.len());
                let (name, value) = fields.iter().nth(nth).expect("a field");
                before.insert(name.clone(), value.clone());
                Some((before, owner))
            }
            _ => Some((fields.as_object().expect("an object").clone(), owner)),
        };
        self.put(key, there);
    }

    fn is_there(&self, key: &EntityKey, viewer: &str) -> Option<&Map<String, Value>> {
        let (_, there) = self.entities.get(key)?;
        let lies_in = |fields: &Map<String, Value>| {
            let at = |name: &str| fields.get(name).and_then(Value::as_f64);
            at("x").is_some_and(|x| (-20.0..20.0).contains(&x)) && at("y").is_some_and(|y| (-20.0..30.0).contains(&y))
        };
        let may_read = match viewer {
            _ if &*key.kind != "node" => true,
            "tim" => key.id.starts_with("n1"),
            "rex" => there.as_ref().is_some_and(|(fields, _)| lies_in(fields)),
            _ => true,
        };
        let is_seen = |owner: &Option<Owner>| may_read && owner.as_ref().is_none_or(|owner| *owner == user(viewer));
        there.as_ref().filter(|(_, owner)| is_seen(owner)).map(|(fields, _)| fields)
    }

    /// What a follower should have, by looking at everything.
    fn expected(&self, viewer: &str, interest: &Interest) -> BTreeSet<EntityKey> {
        let seen = || self.entities.keys().filter_map(|key| Some((key, self.is_there(key, viewer)?)));
        let ends = |fields: &Map<String, Value>| -> Option<[EntityKey; 2]> {
            let end = |a, b| fields.get(a).or(fields.get(b)).and_then(Value::as_str);
            Some([key("node", end("from", "source")?), key("node", end("to", "target")?)])
        };
        let nodes: BTreeSet<EntityKey> = match interest {
            Interest::Ids(keys) => {
                return keys.iter().filter(|key| self.is_there(key, viewer).is_some()).cloned().collect();
            }
            Interest::Matching(query) => {
                let found = seen().filter(|(key, fields)| *key.kind == **query.kind() && query.finds(key, fields));
                return found.map(|(key, _)| key.clone()).collect();
            }
            Interest::Area(area) => {
                let place =
                    |fields: &Map<String, Value>| Some((fields.get("x")?.as_f64()?, fields.get("y")?.as_f64()?));
                let lies_in = |fields| place(fields).is_some_and(|place| area.holds(place));
                let found = seen().filter(|(key, fields)| *key.kind == *"node" && lies_in(fields));
                found.map(|(key, _)| key.clone()).collect()
            }
            Interest::Around { node, hops } => {
                let mut found: BTreeSet<_> = [key("node", node)].into();
                found.retain(|key| self.is_there(key, viewer).is_some());
                for _ in 0..*hops {
                    for [a, b] in seen().filter(|(key, _)| *key.kind == *"edge").filter_map(|(_, edge)| ends(edge)) {
                        // One more hop from what the last round found, not from what this one does.
                        found.extend(
                            [(&a, &b), (&b, &a)]
                                .into_iter()
                                .filter(|(at, _)| found.contains(*at))
                                .map(|(_, to)| EntityKey { kind: "next".into(), id: to.id.clone() })
                                .collect::<Vec<_>>(),
                        );
                    }
                    found = found.into_iter().map(|key| EntityKey { kind: "node".into(), id: key.id }).collect();
                    found.retain(|key| self.is_there(key, viewer).is_some());
                }
                found
            }
        };
        let is_between = |fields| ends(fields).is_some_and(|ends| ends.iter().all(|end| nodes.contains(end)));
        let edges = seen().filter(|(key, fields)| *key.kind == *"edge" && is_between(fields));
        let edges: Vec<_> = edges.map(|(key, _)| key.clone()).collect();
        nodes.into_iter().chain(edges).collect()
    }

    fn check(&mut self) {
        for (id, (viewer, interest, has)) in &self.followers {
            let mut result = self.index.result(*id);
            if matches!(interest, Interest::Ids(_)) {
                // A list is owed what it names; what is not there turns out when it is looked up.
                result.retain(|key| self.is_there(key, viewer).is_some());
            }
            assert_eq!(result, self.expected(viewer, interest), "{id:?} {interest:?}");
            assert!(has.keys().all(|key| result.contains(key)), "{id:?} has what is not its any more");
        }
    }

    /// With nothing owed any more, what the clients have is the world.
    fn check_clients(&mut self) {
        for id in self.followers.keys().copied().collect::<Vec<_>>() {
            self.serve(id, usize::MAX);
            // An edge that was asked for before its ends comes behind them.
            self.serve(id, usize::MAX);
            assert!(!self.index.is_owed(id));
            let (viewer, interest, has) = &self.followers[&id];
            let expected: BTreeMap<_, _> =
                self.expected(viewer, interest).into_iter().map(|key| (key.clone(), self.entities[&key].0)).collect();
            assert_eq!(*has, expected, "{id:?} {interest:?}");
        }
    }

    fn interest(&mut self) -> Interest {
        let random = &mut self.random;
        let node: Arc<str> = format!("n{}", random.u8(..24)).into();
        match random.u8(..10) {
            0..3 => {
                let mut side = || f64::from(random.i8(..)) / 2.0;
                let (x, y, width, height) = (side(), side(), side().abs() + 1.0, side().abs() + 1.0);
                area(x, y, width, height)
            }
            3..6 => Interest::Around { node, hops: random.u8(..4) },
            6 => Interest::Ids((0..8).map(|n| key("node", format!("n{n}"))).chain([key("task", 1)]).collect()),
            7 => query("task", &format!("state == '{}'", KINDS[random.usize(..3)])),
            8 => query("task", "2 < size && size < 6 && 'todo' in tags"),
            _ => query(
                ["node", "task"][random.usize(..2)],
                ["", "size == 3", "id.startsWith('1') || x < 0"][random.usize(..3)],
            ),
        }
    }
}

#[test]
fn every_result_is_what_looking_at_everything_finds_after_every_change() {
    for seed in 0..24 {
        let mut world = World::new(seed);
        for step in 0..250 {
            if step % 10 == 0 {
                let (viewer, interest) = (["ann", "bob", "tim", "eve", "rex"][step / 10 % 5], world.interest());
                world.follow(viewer, interest);
            }
            world.step();
            world.check();
            // Lookups take their time, and changes go on meanwhile.
            for id in world.followers.keys().copied().collect::<Vec<_>>() {
                if world.random.bool() {
                    world.serve(id, 2);
                }
            }
            if step % 25 == 24 {
                world.check_clients();
            }
        }
        for id in world.followers.keys().copied().collect::<Vec<_>>() {
            world.index.remove(id);
        }
        assert_eq!((world.index.len(), world.index.held(), world.index.has_graph()), (0, 0, false));
    }
}

#[test]
fn an_edge_without_one_of_its_ends_stays_out_until_the_end_is_restored() {
    let mut world = World::new(0);
    let node = |x: f64| Some((json!({"x": x, "y": 0}).as_object().expect("an object").clone(), None));
    let edge = Some((json!({"from": "a", "to": "b"}).as_object().expect("an object").clone(), None));
    world.follow("ann", area(-1.0, -1.0, 10.0, 10.0));
    world.follow("ann", Interest::Around { node: "a".into(), hops: 1 });
    world.put(key("node", "a"), node(1.0));
    world.put(key("edge", "ab"), edge);
    let both = BTreeSet::from([key("node", "a"), key("node", "b"), key("edge", "ab")]);
    for (is_there, result) in [(true, both), (false, BTreeSet::from([key("node", "a")]))].iter().cycle().take(6) {
        world.put(key("node", "b"), if *is_there { node(2.0) } else { None });
        world.check_clients();
        for id in [InterestId(1), InterestId(2)] {
            assert_eq!(world.index.result(id), *result);
        }
    }
}

#[test]
fn an_edge_whose_end_is_gone_when_it_is_looked_up_is_not_given_before_the_end_is_there_again() {
    let object = |value: Value| Some((value.as_object().expect("an object").clone(), None));
    let mut world = World::new(0);
    world.follow("ann", Interest::Around { node: "rim".into(), hops: 1 });
    for id in ["hub", "rim"] {
        world.put(key("node", id), object(json!({"x": 0, "y": 0})));
    }
    world.put(key("edge", "e"), object(json!({"from": "hub", "to": "rim"})));
    // The log is ahead of what the index was shown.
    let hub = world.entities.insert(key("node", "hub"), (4, None)).expect("it was there");
    world.serve(InterestId(1), usize::MAX);
    let has = |world: &World| world.followers[&InterestId(1)].2.keys().cloned().collect::<Vec<_>>();
    assert_eq!(has(&world), [key("node", "rim")]);
    assert!(!world.index.is_owed(InterestId(1)), "it would be looked up for ever");
    world.put(key("node", "hub"), None);
    world.check();
    world.put(key("node", "hub"), hub.1);
    world.check_clients();
    assert_eq!(has(&world), [key("edge", "e"), key("node", "hub"), key("node", "rim")]);
}

#[test]
fn a_result_that_grows_too_large_ends() {
    let mut index = Index::new(3);
    index.add(InterestId(1), viewer("ann"), query("task", ""));
    index.searched(InterestId(1));
    let fields = Map::new();
    let content = Some(Content { fields: &fields, private_to: None });
    let mut see = |n: u64| {
        let key = key("task", n);
        index.see(&Change { key: &key, version: Position(n), content, touched: Touched::All })
    };
    for n in 1..=3 {
        assert_eq!(see(n)[0].turned, Some(Turned::Entered));
    }
    assert!(see(4)[0].is_overgrown);
    assert_eq!(see(5), []);
    assert_eq!((index.len(), index.held()), (0, 0));
}

#[test]
fn conditions_that_could_be_costly_are_not_taken() {
    let unfit = |text: &str| Query::new("task", Some(cel::Program::compile(text).expect("CEL"))).err();
    assert_eq!(unfit("state == 'todo' && size(tags) > 2 && name.startsWith('a')"), None);
    assert_eq!(unfit("tags.exists(tag, tag == 'a')"), Some(Unfit::Loops));
    assert_eq!(unfit(&vec!["n == 1"; 40].join(" || ")), Some(Unfit::TooLong));
    assert_eq!(unfit("name + name == 'aa'"), Some(Unfit::Unknown("+".into())));
    assert_eq!(unfit("matches(name, 'a*')"), Some(Unfit::Unknown("matches".into())));
    assert_eq!(unfit("{'a': 1}['a'] == 1"), Some(Unfit::Makes));
}

#[test]
fn what_a_condition_cannot_tell_is_no() {
    let finds = |text: &str| {
        let Interest::Matching(query) = query("task", text) else { return false };
        let fields = json!({"n": 1, "text": "a", "list": [1, "b"], "deep": {"m": 2.5}, "none": null, "odd name": 1});
        query.finds(&key("task", "t1"), fields.as_object().expect("an object"))
    };
    let yes = [
        "n == 1.0",
        "deep.m > 2",
        "'b' in list",
        "none == null",
        "id == 't1'",
        "gone == 1 || n == 1",
        "data['odd name'] == 1",
        "has(deep.m) && !has(deep.k)",
    ];
    let no = ["gone == 1", "gone != 1", "n", "text > 1", "deep.m.k == 1", "list[5] == 1", "text == 1"];
    assert!(yes.into_iter().all(finds), "{:?}", yes.into_iter().filter(|text| !finds(text)).collect::<Vec<_>>());
    assert!(!no.into_iter().any(finds), "{:?}", no.into_iter().filter(|text| finds(text)).collect::<Vec<_>>());
}
