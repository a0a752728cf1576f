//! What holds of every spread, and what a few look like.

use proptest::{collection::vec, prelude::*};

use super::*;

fn named(number: usize) -> InstanceId {
    format!("m{number}").parse().expect("an instance")
}

fn crowd(millionths: &[u32]) -> Vec<(InstanceId, Affinity)> {
    let of = |(number, affinity): (usize, &u32)| (named(number), Affinity::of_millionths(*affinity));
    millionths.iter().enumerate().map(of).collect()
}

fn spread_in(crowd: &[(InstanceId, Affinity)], most_hops: u8, trigger: u64) -> BTreeMap<InstanceId, Drawn> {
    let members = crowd.iter().map(|(who, affinity)| (who, *affinity));
    spread(&named(0), members, most_hops, |who, hops| roll(trigger, who, hops))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn nobody_is_drawn_in_unasked_twice_or_from_too_far(
        millionths in vec(prop_oneof![Just(0), Just(WHOLE), 0..WHOLE], 0..40),
        most_hops in 0_u8..6,
        trigger: u64,
    ) {
        let crowd = crowd(&millionths);
        let (mut rolls, mut last) = (BTreeMap::<_, u8>::new(), 0);
        let members = crowd.iter().map(|(who, affinity)| (who, *affinity));
        let drawn = spread(&named(0), members, most_hops, |who, hops| {
            assert!(hops >= last, "wave after wave");
            last = hops;
            assert!(rolls.insert(who.clone(), hops).is_none_or(|before| before < hops), "one chance a wave");
            roll(trigger, who, hops)
        });
        prop_assert!(!drawn.contains_key(&named(0)), "never the origin");
        prop_assert_eq!(&drawn, &spread_in(&crowd, most_hops, trigger), "the same chance, the same outcome");
        for (who, Drawn { hops, intensity }) in &drawn {
            prop_assert!((1..=most_hops).contains(hops));
            prop_assert_eq!(rolls[who], *hops, "whoever is drawn in has no further chance, and so is told once");
            let affinity = crowd.iter().find(|(known, _)| known == who).expect("only members are drawn in").1;
            prop_assert!(affinity > Affinity::NONE);
            prop_assert!((0.0..=affinity.share()).contains(intensity) && *intensity > 0.0);
            prop_assert!(*hops == 1 || drawn.values().any(|before| before.hops + 1 == *hops), "no wave from nowhere");
        }
    }

    #[test]
    fn chance_is_at_least_nothing_and_below_one(trigger: u64, number: usize, hops: u8) {
        prop_assert!((0.0..1.0).contains(&roll(trigger, &named(number), hops)));
    }
}

#[test]
fn whoever_wants_all_is_always_drawn_in_at_once_and_a_cap_of_none_draws_nobody() {
    let crowd = crowd(&[WHOLE; 9]);
    let drawn = spread_in(&crowd, 3, 7);
    assert_eq!(drawn.len(), 8);
    assert!(drawn.values().all(|drawn| *drawn == Drawn { hops: 1, intensity: 1.0 }));
    assert!(spread_in(&crowd, 0, 7).is_empty());
}

#[test]
fn each_wave_is_weaker_and_ends_with_one_that_reaches_nobody() {
    let crowd = crowd(&[0, 500_000, 400_000, 200_000]);
    let members = || crowd.iter().map(|(who, affinity)| (who, *affinity));
    // The first is reached by the origin, the second only by the first, the third by nobody.
    let rolls = |who: &InstanceId, hops: u8| match (who.as_str(), hops) {
        ("m1", 1) | ("m2", 2) => 0.1,
        _ => 0.9,
    };
    let drawn = spread(&named(0), members(), 9, rolls);
    let expected = [(named(1), Drawn { hops: 1, intensity: 0.5 }), (named(2), Drawn { hops: 2, intensity: 0.5 * 0.4 })];
    assert_eq!(drawn, BTreeMap::from(expected));
    assert_eq!(spread(&named(0), members(), 1, rolls).len(), 1, "one hop, one wave");
    assert!(spread(&named(0), members(), 9, |_, _| 0.9).is_empty());
}

#[test]
fn over_many_triggers_somebody_is_drawn_in_as_often_as_the_affinity_says() {
    let crowd = crowd(&[0, 300_000]);
    let times = (0..10_000).filter(|trigger| spread_in(&crowd, 1, *trigger).len() == 1).count();
    assert!((2_800..3_200).contains(&times), "{times}");
}

#[test]
fn an_affinity_is_a_number_from_none_to_all() {
    for (share, millionths) in [(0.0, 0), (-0.0, 0), (0.25, 250_000), (1.0, WHOLE)] {
        assert_eq!(Affinity::new(share).map(Affinity::millionths), Some(millionths), "{share}");
    }
    for share in [-0.1, 1.000_001, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        assert_eq!(Affinity::new(share), None, "{share}");
    }
    assert_eq!(Affinity::of_millionths(u32::MAX), Affinity(WHOLE));
    assert_eq!(Affinity::default(), Affinity::NONE);
}
