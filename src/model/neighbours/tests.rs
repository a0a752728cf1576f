//! Rooms of several nodes on a network that loses, delays and cuts, with nodes that die, pause and are declared gone.
//!
//! Whatever happens, what a room has announced is its roster. Once everything is heard again and everyone has sent one
//! digest, all rosters are the same and equal what is really connected.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::model::{
    Timestamp,
    chaos::Affinity,
    roster::{Arrival, Attendance, Farewell, Generation, Joined, Left, Presence},
};

type Connection = u64;

const NODES: usize = 3;
const INSTANCES: usize = 4;
const TIMEOUT: Duration = Duration::from_millis(200);
const STEP: u64 = 10;

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Up,
    Paused,
    Dead,
}

struct Node {
    id: NodeId,
    state: State,
    /// How far its clock is ahead.
    skew: u64,
    incarnation: u64,
    room: u64,
    roster: Roster<Connection>,
    neighbours: Neighbours,
    /// What is really connected here.
    connections: BTreeMap<Connection, InstanceId>,
    /// What a member of this room was told: joined and not left since.
    announced: BTreeSet<InstanceId>,
}

struct World {
    nodes: Vec<Node>,
    /// What is on its way, by sender and receiver.
    wires: BTreeMap<(usize, usize), VecDeque<(u64, Said)>>,
    now: u64,
    /// The newest connection of each instance.
    newest: BTreeMap<InstanceId, Connection>,
}

fn instance(number: usize) -> InstanceId {
    format!("instance-{}", number % INSTANCES).parse().expect("an instance")
}

fn presence(at: i64, capabilities: Vec<Box<str>>) -> Presence {
    let (user, name, connection, affinity) = (None, None, None, Affinity::NONE);
    Presence { connected_at: Timestamp(at), capabilities, user, name, connection, affinity }
}

fn node_id(number: usize) -> NodeId {
    NodeId(Uuid::from_u128(number as u128 + 1))
}

impl Node {
    fn run(&self) -> Run {
        Run { incarnation: Incarnation(self.incarnation), room: self.room }
    }

    fn check(&self) {
        let roster: BTreeSet<_> = self.roster.iter().map(|(instance, _)| instance.clone()).collect();
        assert_eq!(self.announced, roster, "what {} has announced is its roster", self.id);
    }
}

impl World {
    fn new(skews: [u64; NODES]) -> Self {
        let node = |(number, skew): (usize, u64)| Node {
            id: node_id(number),
            state: State::Up,
            skew,
            incarnation: 0,
            room: 1,
            roster: Roster::new(node_id(number)),
            neighbours: Neighbours::new(node_id(number), 1000),
            connections: BTreeMap::new(),
            announced: BTreeSet::new(),
        };
        let nodes = skews.into_iter().enumerate().map(node).collect();
        Self { nodes, wires: BTreeMap::new(), now: 1000, newest: BTreeMap::new() }
    }

    fn is_up(&self, at: usize) -> bool {
        self.nodes[at].state == State::Up
    }

    fn send(&mut self, from: usize, said: &Said) {
        let incarnation = self.nodes[from].incarnation;
        for to in (0..NODES).filter(|to| *to != from) {
            self.wires.entry((from, to)).or_default().push_back((incarnation, said.clone()));
        }
    }

    fn tell(&mut self, from: usize, news: News) {
        let run = self.nodes[from].run();
        let said = self.nodes[from].neighbours.tell(run, news);
        self.send(from, &said);
    }

    fn list(&mut self, from: usize) {
        for news in Neighbours::list(&self.nodes[from].roster) {
            self.tell(from, news);
        }
    }

    fn announce_joined(&mut self, at: usize, instance: InstanceId) {
        assert!(self.nodes[at].announced.insert(instance.clone()), "{instance} joined twice");
    }

    fn announce_left(&mut self, at: usize, instance: &InstanceId) {
        assert!(self.nodes[at].announced.remove(instance), "{instance} left without having joined");
    }

    fn perform(&mut self, at: usize, effects: Vec<Effect<Connection>>) {
        for effect in effects {
            match effect {
                Effect::Joined(instance) => self.announce_joined(at, instance),
                Effect::Left(instance, ..) => self.announce_left(at, &instance),
                Effect::Dismiss(connection) => {
                    let node = &mut self.nodes[at];
                    let instance = node.connections.remove(&connection).expect("it is connected");
                    let left = node.roster.leave(&instance, connection, Farewell::Closed, TIMEOUT);
                    assert_eq!(left, Left::Stale);
                }
                Effect::Ask(of) => self.send(at, &Said::Ask(of)),
                Effect::Answer => self.list(at),
            }
        }
    }

    fn join(&mut self, at: usize, number: usize) {
        self.now += STEP;
        let connection = self.now;
        let node = &mut self.nodes[at];
        let presence = presence((self.now + node.skew).cast_signed(), vec![]);
        let instance = instance(number);
        let joined = node.roster.join(instance.clone(), connection, presence, Arrival::Fresh);
        node.connections.insert(connection, instance.clone());
        match joined {
            Joined::New => self.announce_joined(at, instance.clone()),
            Joined::Replaces(older) => drop(self.nodes[at].connections.remove(&older)),
            Joined::Back => {}
            Joined::Superseded => unreachable!("nothing is newer than what is fresh"),
        }
        self.newest.insert(instance.clone(), connection);
        let claim = self.nodes[at].roster.claim(&instance).expect("it has just joined");
        self.tell(at, News::Joined(claim));
    }

    fn leave(&mut self, at: usize, number: usize, how: Farewell) {
        let connections = &self.nodes[at].connections;
        let found = connections.iter().nth(number % connections.len().max(1)).map(|(key, name)| (*key, name.clone()));
        let Some((connection, instance)) = found else { return };
        self.nodes[at].connections.remove(&connection);
        let gone_at = Duration::from_millis(self.now) + TIMEOUT;
        match self.nodes[at].roster.leave(&instance, connection, how, gone_at) {
            Left::Gone(_) => {
                self.announce_left(at, &instance);
                self.tell(at, News::Left(instance, Reason::Closed));
            }
            Left::Missed => self.tell(at, News::Missed(instance)),
            Left::Stale => panic!("a connection that is not the member was not dismissed"),
        }
    }

    fn expire(&mut self, at: usize) {
        let now = Duration::from_millis(self.now);
        for (instance, ..) in self.nodes[at].roster.expire(now) {
            self.announce_left(at, &instance);
            self.tell(at, News::Left(instance, Reason::Lost));
        }
    }

    /// One message arrives.
    fn deliver(&mut self, from: usize, to: usize) -> bool {
        if !self.is_up(to) {
            return false;
        }
        let Some((incarnation, said)) = self.wires.get_mut(&(from, to)).and_then(VecDeque::pop_front) else {
            return false;
        };
        let (sender, node) = (self.nodes[from].id, &mut self.nodes[to]);
        let effects = node.neighbours.hear(&mut node.roster, sender, Incarnation(incarnation), said);
        self.perform(to, effects);
        true
    }

    fn declare_gone(&mut self, at: usize, other: usize) {
        let (id, incarnation) = (self.nodes[other].id, Incarnation(self.nodes[other].incarnation));
        let node = &mut self.nodes[at];
        let effects = node.neighbours.gone(&mut node.roster, id, incarnation);
        self.perform(at, effects);
    }

    fn kill(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        node.state = State::Dead;
        node.connections.clear();
        node.announced.clear();
        node.roster = Roster::new(node.id);
    }

    /// The node stops as it should; whoever hears it knows.
    fn depart(&mut self, at: usize, heard_by: impl Fn(usize) -> bool) {
        self.kill(at);
        let gone_at = Duration::from_millis(self.now) + TIMEOUT;
        for to in (0..NODES).filter(|to| *to != at && heard_by(*to)) {
            if self.is_up(to) {
                let (id, node) = (node_id(at), &mut self.nodes[to]);
                node.neighbours.departed(&mut node.roster, id, gone_at);
            }
        }
    }

    fn resume(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        node.state = State::Up;
        node.incarnation += 1;
        node.neighbours.excuse();
        self.list(at);
        self.send(at, &Said::Ask(None));
    }

    /// The room dies and another one takes its members over.
    fn rebuild(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        node.room += 1;
        node.roster = Roster::new(node.id);
        node.neighbours = Neighbours::new(node.id, 1000);
        node.announced.clear();
        self.send(at, &Said::Ask(None));
        for (connection, instance) in self.nodes[at].connections.clone() {
            let node = &mut self.nodes[at];
            let presence = presence((connection + node.skew).cast_signed(), vec![]);
            let joined = node.roster.join(instance.clone(), connection, presence, Arrival::Again);
            assert_eq!(joined, Joined::New);
            self.announce_joined(at, instance.clone());
            let claim = self.nodes[at].roster.claim(&instance).expect("it has just joined");
            self.tell(at, News::Joined(claim));
        }
    }

    fn digest(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        let effects = node.neighbours.tick(&mut node.roster);
        self.perform(at, effects);
        self.list(at);
    }

    fn step(&mut self, (op, a, b): (u8, usize, usize)) {
        self.now += STEP;
        let (at, other) = (a % NODES, b % NODES);
        match op {
            0..=4 if self.is_up(at) => self.join(at, b),
            5..=6 if self.is_up(at) => self.leave(at, b, Farewell::Closed),
            7 if self.is_up(at) => self.leave(at, b, Farewell::Lost),
            8 if self.is_up(at) => self.expire(at),
            9..=20 => drop(self.deliver(at, other)),
            21 => drop(self.wires.get_mut(&(at, other)).and_then(VecDeque::pop_front)),
            28 => drop(self.wires.remove(&(at, other))),
            22 if self.is_up(at) && at != other => self.declare_gone(at, other),
            23 if self.is_up(at) => self.nodes[at].state = State::Paused,
            24 if self.nodes[at].state == State::Paused => self.resume(at),
            25 if self.is_up(at) && b % 4 == 0 => self.kill(at),
            30 if self.is_up(at) && b % 4 == 0 => self.depart(at, |to| b & (1 << to) == 0),
            26 if self.is_up(at) => self.rebuild(at),
            27 if self.is_up(at) => self.digest(at),
            29 => self.wires.retain(|(from, to), _| *from != at && *to != at),
            _ => {}
        }
        self.nodes.iter().for_each(Node::check);
    }

    /// Everything that is on its way arrives, in an order between the senders that `order` chooses.
    fn deliver_all(&mut self, order: &mut impl Iterator<Item = usize>) {
        loop {
            let busy: Vec<_> = self
                .wires
                .iter()
                .filter(|((_, to), waiting)| self.is_up(*to) && !waiting.is_empty())
                .map(|(wire, _)| *wire)
                .collect();
            if busy.is_empty() {
                return;
            }
            let (from, to) = busy[order.next().unwrap_or_default() % busy.len()];
            self.deliver(from, to);
            self.nodes[to].check();
        }
    }

    fn heal(&mut self, mut order: impl Iterator<Item = usize>) {
        for at in 0..NODES {
            if self.nodes[at].state == State::Paused {
                self.resume(at);
            }
        }
        self.deliver_all(&mut order);
        self.now += 2 * TIMEOUT.as_millis() as u64;
        let dead: Vec<_> = (0..NODES).filter(|at| self.nodes[*at].state == State::Dead).collect();
        for at in (0..NODES).filter(|at| !dead.contains(at)).collect::<Vec<_>>() {
            dead.iter().for_each(|other| self.declare_gone(at, *other));
            self.expire(at);
        }
        self.deliver_all(&mut order);
        for at in (0..NODES).filter(|at| !dead.contains(at)).collect::<Vec<_>>() {
            self.digest(at);
        }
        self.deliver_all(&mut order);
    }

    fn verify(&self) {
        let living: Vec<_> = self.nodes.iter().filter(|node| node.state == State::Up).collect();
        let mut truth = BTreeMap::new();
        for node in &living {
            for claim in node.roster.claims() {
                let there = (node.id, claim.generation, claim.attendance);
                let twice = truth.insert(claim.instance.clone(), there);
                assert_eq!(twice, None, "{} is at one place", claim.instance);
            }
            let here: Vec<_> = node.connections.iter().map(|(key, name)| (name, *key)).collect();
            let connected = node.roster.claims().filter(|claim| claim.attendance == Attendance::Connected).count();
            assert_eq!(connected, here.len(), "everyone who is connected, and nobody else, is here");
            assert!(here.iter().all(|(name, key)| node.roster.is_member(name, *key)));
        }
        for node in &living {
            let seen: BTreeMap<InstanceId, (NodeId, Generation, Attendance)> = node.roster.places().collect();
            assert_eq!(seen, truth, "{} agrees", node.id);
        }
    }
}

impl<M: Copy + PartialEq> Roster<M> {
    /// Where everyone is, for comparing.
    fn places(&self) -> impl Iterator<Item = (InstanceId, (NodeId, Generation, Attendance))> {
        self.iter().map(|(instance, _)| {
            let place = self.place_of(instance).expect("it is in the roster");
            (instance.clone(), place)
        })
    }
}

fn operations() -> impl Strategy<Value = Vec<(u8, usize, usize)>> {
    prop::collection::vec((0_u8..31, 0..NODES, 0_usize..24), 1..120)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, ..ProptestConfig::default() })]

    #[test]
    fn after_healing_and_one_digest_all_rosters_agree_with_what_is_connected(
        operations in operations(),
        order in prop::collection::vec(0_usize..1000, 0..200),
        skews in [0_u64..60, 0_u64..60, 0_u64..60],
    ) {
        let mut world = World::new(skews);
        operations.into_iter().for_each(|operation| world.step(operation));
        world.heal(order.into_iter());
        world.verify();
    }

    #[test]
    fn with_good_clocks_the_newest_connection_of_an_instance_is_the_one_that_stays(
        operations in operations(),
        order in prop::collection::vec(0_usize..1000, 0..200),
    ) {
        let mut world = World::new([0; NODES]);
        operations.into_iter().for_each(|operation| world.step(operation));
        let open = |world: &World, key: &Connection| world.nodes.iter().any(|node| node.connections.contains_key(key));
        let newest: Vec<_> = world.newest.values().copied().filter(|key| open(&world, key)).collect();
        world.heal(order.into_iter());
        world.verify();
        prop_assert!(newest.iter().all(|key| open(&world, key)));
    }
}

fn settle(world: &mut World) {
    world.deliver_all(&mut std::iter::empty());
}

#[test]
fn what_is_said_without_loss_is_known_at_once() {
    let mut world = World::new([0; NODES]);
    world.join(0, 0);
    world.join(1, 1);
    settle(&mut world);
    world.verify();
    world.join(2, 0);
    settle(&mut world);
    world.verify();
    assert!(world.nodes[0].connections.is_empty(), "it moved");
    world.leave(2, 0, Farewell::Closed);
    settle(&mut world);
    world.verify();
    assert_eq!(world.nodes[0].roster.len(), 1);
}

#[test]
fn a_hole_is_found_with_the_next_word_and_mended_by_asking() {
    let mut world = World::new([0; NODES]);
    world.join(0, 0);
    world.wires.clear();
    world.join(0, 1);
    settle(&mut world);
    world.verify();
}

#[test]
fn a_neighbour_that_fell_silent_without_a_word_has_nobody_here_after_some_digests() {
    let mut world = World::new([0; NODES]);
    world.join(0, 0);
    settle(&mut world);
    // Its room ends, and not even that is heard.
    world.leave(0, 0, Farewell::Closed);
    world.wires.clear();
    for _ in 1..FORGET_AFTER {
        world.digest(1);
        assert_eq!(world.nodes[1].roster.len(), 1);
    }
    let asked = world.wires[&(1, 0)].iter().filter(|(_, said)| matches!(said, Said::Ask(_))).count();
    assert_eq!(asked, (FORGET_AFTER - ASK_AFTER) as usize);
    world.digest(1);
    assert!(world.nodes[1].roster.is_empty());
    assert!(!world.nodes[1].neighbours.any());
}

#[test]
fn an_older_connection_is_found_again_when_the_newer_ones_end_was_not_heard() {
    let mut world = World::new([0; NODES]);
    world.join(0, 0);
    settle(&mut world);
    // Only one of the others hears that it moved, and nobody that it left again.
    world.join(1, 0);
    world.deliver(1, 2);
    world.leave(1, 0, Farewell::Closed);
    world.wires.clear();
    world.digest(0);
    settle(&mut world);
    assert_eq!(world.nodes[2].roster.place_of(&instance(0)).map(|(node, ..)| node), Some(node_id(1)));
    world.digest(1);
    settle(&mut world);
    world.verify();
    assert_eq!(world.nodes[2].roster.place_of(&instance(0)).map(|(node, ..)| node), Some(node_id(0)));
}

#[test]
fn a_roster_of_thousands_is_listed_in_parts_and_a_lost_part_takes_nobody_away() {
    let mut roster = Roster::<u64>::new(node_id(0));
    for number in 0..5000 {
        let presence = presence(number, vec!["memory".into()]);
        let name = format!("instance-{number}").parse().expect("an instance");
        roster.join(name, number.cast_unsigned(), presence, Arrival::Fresh);
    }
    let parts = Neighbours::list(&roster);
    assert!((10..100).contains(&parts.len()), "{}", parts.len());
    let mut teller = Neighbours::new(node_id(0), 10_000);
    let (mut listener, mut copy) = (Neighbours::new(node_id(1), 10_000), Roster::<u64>::new(node_id(1)));
    let mut hear = |lost: Option<usize>, copy: &mut Roster<u64>| {
        let mut asked = false;
        for (index, news) in Neighbours::list(&roster).into_iter().enumerate() {
            let said = teller.tell(Run::default(), news);
            if lost != Some(index) {
                let effects = listener.hear(copy, node_id(0), Incarnation(0), said);
                asked |= effects.contains(&Effect::Ask(Some(node_id(0))));
            }
        }
        asked
    };
    assert!(!hear(None, &mut copy));
    assert_eq!(copy.len(), 5000);
    assert!(hear(Some(3), &mut copy), "the hole is seen");
    assert_eq!(copy.len(), 5000, "and nobody is taken for gone");
}

#[test]
fn others_cannot_make_a_room_hold_more_than_its_bound() {
    let mut roster = Roster::<u64>::new(node_id(0));
    let mut neighbours = Neighbours::new(node_id(0), 10);
    let claims = (0..1000).map(|number| Claim {
        instance: format!("instance-{number}").parse().expect("an instance"),
        generation: Generation(number),
        presence: presence(0, vec![]),
        attendance: Attendance::Connected,
    });
    let news = News::Present { claims: claims.collect(), part: Part { first: true, last: false } };
    neighbours.hear(&mut roster, node_id(1), Incarnation(0), Said::News { room: 1, number: 1, news });
    assert_eq!(roster.len(), 10);
    assert_eq!(neighbours.sources[&node_id(1)].named.as_ref().map(BTreeSet::len), Some(10));
}
