//! How far a trigger of chaos spreads: nobody is drawn in unasked.
//!
//! Owns: the waves, and the chance of everyone in each. Must not know: who tells those that are drawn in, and how.

use std::collections::BTreeMap;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::InstanceId;

/// How readily somebody is drawn in: a share from 0 to 1, in millionths. Without a word of theirs it is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Affinity(u32);

const WHOLE: u32 = 1_000_000;

impl Affinity {
    /// Never drawn in.
    pub const NONE: Self = Self(0);

    /// A share; `None` unless it is a number from 0 to 1.
    pub fn new(share: f64) -> Option<Self> {
        (0.0..=1.0).contains(&share).then(|| Self((share * f64::from(WHOLE)).round() as u32))
    }

    /// As nodes tell each other.
    pub fn millionths(self) -> u32 {
        self.0
    }

    /// The same, read; more than all is all.
    pub fn of_millionths(millionths: u32) -> Self {
        Self(millionths.min(WHOLE))
    }

    fn share(self) -> f64 {
        f64::from(self.0) / f64::from(WHOLE)
    }
}

/// How somebody was drawn in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Drawn {
    /// How many steps from the origin: 1 for those whom it reached itself.
    pub hops: u8,
    /// From 0 to 1; no higher than that of whoever passed it on.
    pub intensity: f64,
}

/// Whom a trigger draws in. It goes in waves, the first from the origin with an intensity of 1. In each wave everyone who was
/// not reached has one chance: the highest intensity of the wave before, times their own affinity. That is also the intensity
/// with which they are drawn in. It ends with a wave that reaches nobody, or with `most_hops` of them.
///
/// `roll` is the source of chance: for somebody and a wave a number of at least 0 and below 1.
pub fn spread<'a>(
    origin: &InstanceId,
    members: impl Iterator<Item = (&'a InstanceId, Affinity)>,
    most_hops: u8,
    mut roll: impl FnMut(&InstanceId, u8) -> f64,
) -> BTreeMap<InstanceId, Drawn> {
    let mut others: Vec<_> = members.filter(|(who, affinity)| *who != origin && *affinity > Affinity::NONE).collect();
    let (mut drawn, mut highest) = (BTreeMap::new(), 1.0);
    for hops in 1..=most_hops {
        let mut reached = 0.0_f64;
        others.retain(|(who, affinity)| {
            let intensity = highest * affinity.share();
            let is_drawn = roll(who, hops) < intensity;
            if is_drawn {
                drawn.insert((*who).clone(), Drawn { hops, intensity });
                reached = reached.max(intensity);
            }
            !is_drawn
        });
        if reached == 0.0 {
            break;
        }
        highest = reached;
    }
    drawn
}

/// Chance that follows from a trigger's own number: all nodes roll the same, whoever else each of them knows.
pub fn roll(trigger: u64, who: &InstanceId, hops: u8) -> f64 {
    let mixed = xxh3_64_with_seed(who.as_str().as_bytes(), trigger.wrapping_add(u64::from(hops)));
    // The upper 53 bits are what a number of this kind holds.
    (mixed >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests;
