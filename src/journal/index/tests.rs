//! The queue against a plain model, and the cases that a model hides.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::backbone::Outcome;

const SIZE: u64 = 10;

fn tenant(number: usize) -> TenantId {
    format!("t{number}").parse().expect("a tenant")
}

fn place(position: u64) -> Place {
    Place { position: Position(position), size: SIZE, queued_at: Timestamp(0) }
}

fn stored(position: u64) -> End {
    Ok(Appended { position: Position(position), outcome: Outcome::Stored })
}

fn put(index: &mut Index, room: usize, position: u64) {
    index.admit(&tenant(room), SIZE).expect("room");
    index.written(&tenant(room), place(position));
}

#[derive(Clone, Debug)]
enum Step {
    Put(usize),
    RefusedByStore(usize),
    Start,
    /// The n-th draining room's first entry ends.
    End(usize),
    /// The n-th draining room stops, empty or not.
    Stop(usize, Stop),
    Wake(usize),
    Remove,
}

#[derive(Clone, Copy, Debug)]
enum Stop {
    Well,
    Failed,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..4_usize).prop_map(Step::Put),
        1 => (0..4_usize).prop_map(Step::RefusedByStore),
        2 => Just(Step::Start),
        4 => (0..4_usize).prop_map(Step::End),
        1 => (0..4_usize, prop_oneof![Just(Stop::Well), Just(Stop::Failed)]).prop_map(|(n, stop)| Step::Stop(n, stop)),
        1 => (0..4_usize).prop_map(Step::Wake),
        1 => Just(Step::Remove),
    ];
    proptest::collection::vec(step, 0..120)
}

proptest! {
    #[test]
    fn a_rooms_entries_leave_in_the_order_in_which_they_came_and_every_byte_is_given_back(steps in steps()) {
        let max = 12 * SIZE;
        let mut index = Index::new(max);
        let mut expected: BTreeMap<usize, VecDeque<u64>> = BTreeMap::new();
        let (mut next, mut held, mut draining) = (0, 0_u64, Vec::new());
        for step in steps {
            match step {
                Step::Put(room) => {
                    let admitted = index.admit(&tenant(room), SIZE).is_ok();
                    prop_assert_eq!(admitted, held + SIZE <= max);
                    if admitted {
                        prop_assert!(index.is_queued(&tenant(room)), "from the moment on when it is admitted");
                        next += 1;
                        held += SIZE;
                        index.written(&tenant(room), place(next));
                        expected.entry(room).or_default().push_back(next);
                    }
                }
                Step::RefusedByStore(room) => {
                    if index.admit(&tenant(room), SIZE).is_ok() {
                        index.refused(&tenant(room), SIZE);
                    }
                }
                Step::Start => {
                    if let Some(name) = index.next_ready() {
                        let room = (0..4).find(|room| tenant(*room) == name).expect("one of ours");
                        prop_assert!(!draining.contains(&room), "a room is drained once at a time");
                        draining.push(room);
                    }
                }
                Step::End(n) if n < draining.len() => {
                    let room = draining[n];
                    if let Some(first) = index.front(&tenant(room), 1).first().copied() {
                        prop_assert_eq!(expected.entry(room).or_default().pop_front(), Some(first.position.0));
                        index.ended(&tenant(room), first.position, stored(1));
                    }
                }
                Step::Stop(n, stop) if n < draining.len() => {
                    let room = draining.remove(n);
                    match stop {
                        Stop::Well => index.drained(&tenant(room)),
                        Stop::Failed => index.rest(&tenant(room)),
                    }
                }
                Step::Wake(room) => index.wake(&tenant(room)),
                Step::Remove => {
                    let positions = index.take_removable(3);
                    held -= SIZE * positions.len() as u64;
                    index.removed(&positions);
                }
                Step::End(_) | Step::Stop(..) => {}
            }
            let waiting: usize = expected.values().map(VecDeque::len).sum();
            prop_assert_eq!((index.waiting(), index.bytes()), (waiting, held));
            for room in 0..4 {
                let is_queued = expected.get(&room).is_some_and(|queue| !queue.is_empty());
                prop_assert_eq!(index.is_queued(&tenant(room)), is_queued);
            }
        }
        // Whatever happened, all of it can be brought to an end.
        draining.iter().for_each(|room| index.drained(&tenant(*room)));
        (0..4).for_each(|room| index.wake(&tenant(room)));
        while let Some(room) = index.next_ready() {
            while let Some(first) = index.front(&room, 1).first().copied() {
                index.ended(&room, first.position, stored(1));
            }
            index.drained(&room);
        }
        let positions = index.take_removable(usize::MAX);
        index.removed(&positions);
        prop_assert_eq!((index.waiting(), index.bytes(), index.done.len(), index.rooms.len()), (0, 0, 0, 0));
    }
}

#[test]
fn a_repeat_waits_with_the_first_and_takes_no_room() {
    let mut index = Index::new(100);
    put(&mut index, 0, 1);
    index.admit(&tenant(0), SIZE).expect("room");
    assert_eq!(index.repeated(&tenant(0), place(1)), Repeat::Waits);
    assert_eq!((index.waiting(), index.bytes()), (1, SIZE));
}

#[test]
fn a_repeat_of_what_ended_is_answered_with_its_end_until_the_store_has_forgotten_it() {
    let mut index = Index::new(100);
    put(&mut index, 0, 1);
    index.ended(&tenant(0), Position(1), stored(77));
    assert!(!index.is_queued(&tenant(0)));
    index.admit(&tenant(0), SIZE).expect("room");
    assert_eq!(index.repeated(&tenant(0), place(1)), Repeat::Ended(stored(77)));
    assert_eq!(index.take_removable(9), [Position(1)]);
    index.removed(&[Position(1)]);
    assert_eq!((index.waiting(), index.bytes()), (0, 0));
}

#[test]
fn what_a_write_left_behind_that_had_seemed_to_fail_waits_again_at_its_place() {
    let mut index = Index::new(100);
    index.admit(&tenant(0), SIZE).expect("room");
    index.refused(&tenant(0), SIZE);
    put(&mut index, 0, 6);
    index.admit(&tenant(0), SIZE).expect("room");
    assert_eq!(index.repeated(&tenant(0), place(5)), Repeat::Waits);
    assert_eq!(index.front(&tenant(0), 9), [place(5), place(6)]);
}

#[test]
fn only_places_side_by_side_are_read_together() {
    let mut index = Index::new(100);
    for position in [3, 4, 6] {
        put(&mut index, 0, position);
    }
    assert_eq!(index.front(&tenant(0), 9), [place(3), place(4)]);
    assert_eq!(index.front(&tenant(0), 1), [place(3)]);
}

#[test]
fn what_could_not_be_removed_is_removed_later_and_takes_room_until_then() {
    let mut index = Index::new(SIZE);
    put(&mut index, 0, 1);
    index.ended(&tenant(0), Position(1), stored(1));
    let positions = index.take_removable(9);
    index.still_there(positions);
    assert_eq!(index.admit(&tenant(1), SIZE), Err(Full));
    let positions = index.take_removable(9);
    index.removed(&positions);
    assert_eq!(index.admit(&tenant(1), SIZE), Ok(()));
}

#[test]
fn dead_letters_take_room_for_good() {
    let mut index = Index::new(2 * SIZE);
    index.buried(SIZE);
    put(&mut index, 0, 1);
    assert_eq!(index.admit(&tenant(0), SIZE), Err(Full));
    assert_eq!(index.oldest(), Some(Timestamp(0)));
}
