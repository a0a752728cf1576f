//! Lanes of several nodes race for one entity, on a log that refuses, forgets to answer, and outlives the nodes.

use std::{collections::BTreeMap, sync::Arc};

use proptest::prelude::*;
use serde_json::{Value, json};
use uuid::Uuid;

use super::*;
use crate::model::{
    Timestamp,
    entity::{Action, Author, Change, OpId, Precondition, ReplicaId, Stamp, Strategy as Settling},
};

const LIMITS: Limits = Limits { data_bytes: 1 << 20, open: 16 };

/// What may happen next.
#[derive(Clone, Debug)]
enum Event {
    /// A client sends its next operation to a node.
    Send { node: usize, client: usize },
    /// The oldest thing that a node waits for ends; an append so.
    End { node: usize, fate: Fate },
    /// A node dies; the clients that waited there turn to another one.
    Crash { node: usize },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Answered,
    /// It is in the log, and nobody says so.
    UnknownStored,
    /// It is not in the log, and nobody says so.
    UnknownLost,
    /// The log is away.
    Unavailable,
}

/// What a node waits for.
#[derive(Debug)]
enum Waits {
    Load,
    Append(Box<Draft>),
    Rest,
}

#[derive(Default)]
struct Node {
    lane: Lane<u64>,
    waits: Option<Waits>,
}

#[derive(Default)]
struct World {
    /// Every version of the entity, with the operations that its record holds.
    log: Vec<(Arc<Entity>, Vec<OpId>)>,
    nodes: Vec<Node>,
    /// The operations that were sent and not answered, by number, with the node that has them.
    open: BTreeMap<u64, usize>,
    /// What the senders were told.
    told: BTreeMap<u64, Said>,
    sent: u64,
}

fn operation(number: u64) -> Operation {
    let client = number % 3;
    let instance = format!("client-{client}").parse().expect("an instance");
    Operation {
        id: OpId(Uuid::from_u128(u128::from(number) + 1)),
        replica: ReplicaId(format!("client-{client}").into()),
        number: None,
        // Each writes a field of its own: whatever happens to the others, it has to be there in the end.
        action: match number % 5 {
            0 => Action::Create(Change::Replace(json!({format!("k{number}"): number}).into())),
            _ => Action::Put(Change::Merge(json!({format!("k{number}"): number}))),
        },
        base: None,
        strategy: Settling::Merge,
        only: Precondition::Any,
        within: None,
        stamp: Stamp { by: Author { instance, user: None, name: None }, at: Timestamp(0) },
    }
}

impl World {
    fn head(&self) -> Arc<Entity> {
        self.log.last().map_or_else(|| Arc::new(Entity::none()), |(entity, _)| entity.clone())
    }

    fn run(&mut self, node: usize, todo: Vec<Do<u64>>) {
        for one in todo {
            match one {
                Do::Answer(number, _, said) => {
                    assert_eq!(self.open.remove(&number), Some(node), "answered once");
                    self.told.insert(number, said);
                }
                Do::Load => self.wait(node, Waits::Load),
                Do::Append(draft) => self.wait(node, Waits::Append(draft)),
                Do::Rest(_) => self.wait(node, Waits::Rest),
                Do::LoadBase(_) => unreachable!("a merge patch at the head needs no base"),
            }
        }
        let next = self.nodes[node].lane.step(LIMITS);
        if !next.is_empty() {
            self.run(node, next);
        }
    }

    fn wait(&mut self, node: usize, what: Waits) {
        assert!(self.nodes[node].waits.replace(what).is_none(), "one thing at a time");
    }

    fn send(&mut self, node: usize, number: u64) {
        self.open.insert(number, node);
        self.nodes[node].lane.push(number, Arc::new(operation(number))).expect("room");
        self.run(node, Vec::new());
    }

    fn append(&mut self, draft: &Draft) -> Result<Position, Refused> {
        if draft.before.version != self.head().version {
            return Err(Refused::Conflict);
        }
        let position = Position(self.log.len() as u64 * 10 + 10);
        let mut next = (*draft.next).clone();
        next.settle(position);
        self.log.push((Arc::new(next), draft.parts.iter().map(|(id, _)| *id).collect()));
        Ok(position)
    }

    fn end(&mut self, node: usize, fate: Fate) {
        let Some(waits) = self.nodes[node].waits.take() else { return };
        let todo = match (waits, fate) {
            (Waits::Load, Fate::Unavailable) => self.nodes[node].lane.loaded(Err(Failure::Unavailable)),
            (Waits::Load, _) => {
                let head = self.head();
                self.nodes[node].lane.loaded(Ok(head))
            }
            (Waits::Rest, _) => {
                self.nodes[node].lane.rested();
                Vec::new()
            }
            (Waits::Append(draft), fate) => {
                let ended = match fate {
                    Fate::Answered => self.append(&draft),
                    Fate::UnknownStored => {
                        let _ = self.append(&draft); // whatever it was
                        Err(Refused::Unknown)
                    }
                    Fate::UnknownLost => Err(Refused::Unknown),
                    Fate::Unavailable => Err(Refused::Failed(Failure::Unavailable)),
                };
                match ended {
                    Ok(position) => self.nodes[node].lane.appended(position),
                    Err(why) => self.nodes[node].lane.refused(why),
                }
            }
        };
        self.run(node, todo);
    }

    fn crash(&mut self, node: usize) {
        // What was under way may have reached the log all the same.
        if let Some(Waits::Append(draft)) = self.nodes[node].waits.take() {
            let _ = self.append(&draft); // nobody is left to hear
        }
        self.nodes[node] = Node::default();
        let waiting: Vec<u64> = self.open.iter().filter(|(_, at)| **at == node).map(|(number, _)| *number).collect();
        let next = (node + 1) % self.nodes.len();
        waiting.into_iter().for_each(|number| self.send(next, number));
    }

    /// Everything ends well from now on; whoever was not served asks again.
    fn settle(&mut self) {
        for _ in 0..10_000 {
            for node in 0..self.nodes.len() {
                self.end(node, Fate::Answered);
            }
            let again: Vec<u64> =
                self.told.iter().filter(|(_, said)| !is_done(said)).map(|(number, _)| *number).collect();
            for number in &again {
                self.told.remove(number);
                self.send(0, *number);
            }
            if self.open.is_empty() && again.is_empty() {
                return;
            }
        }
        panic!("no progress: {:?}", self.open);
    }
}

fn is_done(said: &Said) -> bool {
    matches!(said, Said::Decided { outcome: Outcome::Confirmed(_) | Outcome::Resolved { .. } | Outcome::Repeat(_), .. })
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let fate = prop_oneof![
        8 => Just(Fate::Answered),
        1 => Just(Fate::UnknownStored),
        1 => Just(Fate::UnknownLost),
        1 => Just(Fate::Unavailable)
    ];
    let event = prop_oneof![
        4 => (0..3usize, 0..3usize).prop_map(|(node, client)| Event::Send { node, client }),
        6 => (0..3usize, fate).prop_map(|(node, fate)| Event::End { node, fate }),
        1 => (0..3usize).prop_map(|node| Event::Crash { node }),
    ];
    prop::collection::vec(event, 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn no_operation_is_lost_or_applied_twice_whatever_is_killed_when(events in events()) {
        let mut world = World { nodes: (0..3).map(|_| Node::default()).collect(), ..World::default() };
        for event in events {
            match event {
                Event::Send { node, client } => {
                    let number = world.sent * 3 + client as u64;
                    world.sent += 1;
                    world.send(node, number);
                }
                Event::End { node, fate } => world.end(node, fate),
                Event::Crash { node } => world.crash(node),
            }
        }
        let told_before = world.told.clone();
        world.settle();
        let applied: Vec<OpId> = world.log.iter().flat_map(|(_, ids)| ids.clone()).collect();
        let head = world.head();
        for number in world.told.keys() {
            let id = operation(*number).id;
            prop_assert_eq!(applied.iter().filter(|known| **known == id).count(), 1, "{}", number);
            prop_assert_eq!(&head.data[format!("k{number}")], &json!(number));
        }
        prop_assert_eq!(applied.len(), world.told.len());
        // What was said to be done while all went wrong was done, at the version that was named.
        for (number, said) in told_before {
            if let Said::Decided { version, .. } = said {
                let record = world.log.iter().find(|(entity, _)| entity.version == version);
                let id = operation(number).id;
                prop_assert!(record.is_some_and(|(_, ids)| ids.contains(&id)), "{} at {}", number, version);
            }
        }
    }
}

#[test]
fn what_comes_while_a_record_is_under_way_goes_into_the_next_one_together() {
    let mut world = World { nodes: vec![Node::default()], ..World::default() };
    (1..101).for_each(|number| world.send(0, number));
    world.settle();
    assert_eq!(world.told.len(), 100);
    assert_eq!(world.log.len(), 2);
    let Said::Decided { made: Some(made), .. } = world.told[&99] else { panic!("{:?}", world.told[&99]) };
    assert_eq!(made.company, Company::Several);
}

#[test]
fn what_is_made_is_supposed_not_to_be_there_and_looked_for_only_if_it_is() {
    let mut world = World { nodes: vec![Node::default(), Node::default()], ..World::default() };
    world.send(0, 0);
    assert!(matches!(world.nodes[0].waits, Some(Waits::Append(_))), "nothing was read");
    world.send(1, 5);
    world.end(0, Fate::Answered);
    world.end(1, Fate::Answered);
    assert!(matches!(world.nodes[1].waits, Some(Waits::Load)), "it was there after all");
    world.settle();
    assert_eq!((world.log.len(), world.told.len()), (2, 2));
}

#[test]
fn a_rollback_is_said_of_the_log_and_not_of_what_is_remembered() {
    let (mut lane, mut here) = (Lane::<u64>::new(Some(Arc::new(Entity::none()))), operation(1));
    here.action = Action::Update(Change::Merge(json!({"a": 1})));
    lane.push(1, Arc::new(here)).expect("room");
    assert!(matches!(lane.step(LIMITS)[..], [Do::Load]), "what is remembered may be old");
    lane.loaded(Ok(Arc::new(Entity::none())));
    let said = lane.step(LIMITS);
    let [Do::Answer(1, _, Said::Decided { outcome: Outcome::RolledBack(_), .. })] = &said[..] else {
        panic!("{said:?}")
    };
}

#[test]
fn a_record_that_is_too_large_together_is_written_one_by_one() {
    let mut world = World { nodes: vec![Node::default()], ..World::default() };
    (1..4).for_each(|number| world.send(0, number));
    world.end(0, Fate::Answered);
    let Some(Waits::Append(draft)) = world.nodes[0].waits.take() else { panic!("an append") };
    assert_eq!(draft.parts.len(), 3);
    let todo = world.nodes[0].lane.refused(Refused::Failed(Failure::TooLarge));
    world.run(0, todo);
    let Some(Waits::Append(draft)) = &world.nodes[0].waits else { panic!("an append") };
    assert_eq!(draft.parts.len(), 1);
    world.settle();
    assert_eq!(world.told.len(), 3);
}

/// What was answered, by number: the outcome, the version, and what was told of the record.
fn answers(todo: Vec<Do<u64>>) -> BTreeMap<u64, (Outcome, Position, Option<Made>, Option<Content>)> {
    let answer = |one| match one {
        Do::Answer(number, _, Said::Decided { outcome, version, made, current }) => {
            (number, (outcome, version, made, current))
        }
        other => panic!("{other:?}"),
    };
    todo.into_iter().map(answer).collect()
}

fn made_at(position: Position, content: Value) -> Arc<Entity> {
    let make = Operation { action: Action::Create(Change::Replace(content.into())), ..operation(90) };
    let Decision::Append { mut next, .. } =
        crate::model::entity::decide(&Entity::none(), &make, Base::NotAsked, LIMITS)
    else {
        panic!("it is made")
    };
    next.settle(position);
    Arc::new(*next)
}

#[test]
fn of_several_that_share_a_record_one_has_made_the_entity() {
    let mut lane = Lane::new(Some(Arc::new(Entity::none())));
    for number in 0..3 {
        lane.push(number, Arc::new(operation(number))).expect("room");
    }
    assert!(matches!(&lane.step(LIMITS)[..], [Do::Append(_)]));
    let told = answers(lane.appended(Position(10)));
    let is_new: Vec<_> = told.values().map(|(_, _, made, _)| made.expect("it was appended").is_new).collect();
    assert_eq!(is_new, [true, false, false]);
}

#[test]
fn a_precondition_is_not_judged_by_a_head_that_may_be_old() {
    let mut lane = Lane::new(Some(made_at(Position(10), json!({"a": 1}))));
    let demand = Operation { only: Precondition::At(Position(20)), ..operation(1) };
    lane.push(1, Arc::new(demand)).expect("room");
    assert!(matches!(&lane.step(LIMITS)[..], [Do::Load]));
    lane.loaded(Ok(made_at(Position(20), json!({"a": 2}))));
    assert!(matches!(&lane.step(LIMITS)[..], [Do::Append(_)]));
    assert!(matches!(answers(lane.appended(Position(30)))[&1], (Outcome::Confirmed(_), Position(30), Some(_), None)));
    lane.push(2, Arc::new(Operation { only: Precondition::Absent, ..operation(2) })).expect("room");
    assert!(matches!(&lane.step(LIMITS)[..], [Do::Load]));
    lane.loaded(Ok(made_at(Position(30), json!({"a": 2, "k1": 1}))));
    let told = answers(lane.step(LIMITS));
    let failed = Outcome::RolledBack(Rollback::PreconditionFailed);
    assert_eq!(told[&2], (failed, Position(30), None, Some(json!({"a": 2, "k1": 1}).into())));
}

#[test]
fn who_hears_that_others_wait_lets_them_go_first_for_some_records() {
    let mut lane = Lane::new(Some(Arc::new(Entity::none())));
    let mut rests = Vec::new();
    for turn in 0..12 {
        lane.push(2 * turn, Arc::new(operation(2 * turn))).expect("room");
        assert!(matches!(&lane.step(LIMITS)[..], [Do::Append(_)]));
        lane.push(2 * turn + 1, Arc::new(operation(2 * turn + 1))).expect("room");
        if turn == 2 {
            lane.give_way();
        }
        let rest = lane.appended(Position(10 * turn + 10)).pop();
        rests.push(matches!(rest, Some(Do::Rest(Why::Polite))));
        lane.rested();
        assert!(matches!(&lane.step(LIMITS)[..], [Do::Append(_)]));
        lane.appended(Position(10 * turn + 15));
    }
    assert_eq!(rests, [vec![false; 2], vec![true; POLITE as usize], vec![false; 2]].concat());
}

#[test]
fn of_what_may_be_in_the_log_nobody_says_that_it_is_not() {
    let head = made_at(Position(10), json!({"a": 1}));
    for is_read in [false, true] {
        let mut lane = Lane::new(Some(head.clone()));
        lane.push(1, Arc::new(operation(1))).expect("room");
        assert!(matches!(&lane.step(LIMITS)[..], [Do::Append(_)]));
        assert!(matches!(&lane.refused(Refused::Unknown)[..], [Do::Rest(Why::Unsure(1))]));
        lane.rested();
        assert!(matches!(&lane.step(LIMITS)[..], [Do::Load]));
        let told = if is_read {
            lane.loaded(Ok(head.clone()));
            assert!(matches!(&lane.step(LIMITS)[..], [Do::Append(_)]));
            lane.refused(Refused::Failed(Failure::Full))
        } else {
            lane.loaded(Err(Failure::Unavailable))
        };
        assert!(matches!(&told[..], [Do::Answer(1, _, Said::Failed(Failure::Unknown))]));
    }
}

#[test]
fn of_what_is_hidden_nothing_is_told() {
    let head = made_at(Position(10), json!({"visibility": "private"}));
    let mut lane = Lane::default();
    lane.push(1, Arc::new(Operation { base: Some(Position(99)), ..operation(1) })).expect("room");
    assert!(matches!(&lane.step(LIMITS)[..], [Do::Load]));
    lane.loaded(Ok(head));
    let told = answers(lane.step(LIMITS));
    assert_eq!(told[&1], (Outcome::RolledBack(Rollback::NotFound), Position::START, None, None));
}
