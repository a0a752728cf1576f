//! Nothing that somebody was told is there is lost without a word, in whatever order things happen.

use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest};

use super::{
    super::Outcome,
    support::*,
    world::{Event, Fault, World},
};

fn events() -> impl Strategy<Value = Vec<Event>> {
    let strategy = prop_oneof![2 => Just(Lww), 3 => Just(Merge), 1 => Just(Version), 1 => Just(Manual)];
    let fault = prop_oneof![4 => Just(Fault::None), 1 => Just(Fault::Twice), 1 => Just(Fault::Crash)];
    let send = (any::<u8>(), any::<u8>(), any::<u8>(), strategy)
        .prop_map(|(replica, kind, pick, strategy)| Event::Send { replica, kind, pick, strategy });
    let decide = (any::<u8>(), proptest::collection::vec(any::<u8>(), 1..4), fault)
        .prop_map(|(node, picks, fault)| Event::Decide { node, picks, fault });
    let see = (any::<u8>(), any::<u8>()).prop_map(|(replica, records)| Event::See { replica, records });
    proptest::collection::vec(prop_oneof![5 => send, 4 => decide, 4 => see], 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_lost_without_a_word(events in events()) {
        let mut world = World::new();
        for event in &events {
            world.happen(event);
        }
        world.settle();
        for (id, (applied, answers)) in &world.fates {
            prop_assert!(!answers.is_empty(), "{id:?} got no fate");
            prop_assert!(*applied <= 1, "{id:?} was applied {applied} times");
            let is_rolled_back = |outcome: &Outcome| matches!(outcome, Outcome::RolledBack(_));
            // What asks for what holds already leaves nothing behind, and a decision on what has changed is asked again.
            prop_assert!(*applied == 1 || answers.iter().all(|outcome| match outcome {
                Outcome::Confirmed(_) | Outcome::Pending(_) => true,
                outcome => is_rolled_back(outcome),
            }), "{id:?}: {answers:?}");
        }
        let states = &world.log.states;
        let last = world.log.head();
        for (snapshot, from) in [(0, 0), (states.len() / 2, 0), (states.len() / 2, states.len() / 3)] {
            prop_assert_eq!(world.replayed(snapshot, from), (last.data.clone().into_value(), last.state.deleted));
        }
    }
}
