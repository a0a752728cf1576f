//! The difference of two texts.
//!
//! Owns: the bound on what a comparison may cost, whatever the texts are. A deadline would read the clock and make the
//! result depend on the machine.

use operational_transform::OperationSeq;
use similar::{Algorithm, DiffOp, algorithms::IdentifyDistinct, capture_diff};

use super::MAX_PARTS;

/// What all comparisons of one difference may cost together; one of `n` with `m` items costs `(n + m)²`, which is what
/// the algorithm takes for items that have nothing in common, even if one side is a single item. Enough for two stretches
/// of 2,000 items, and too little to make more than [`MAX_PARTS`] parts of one comparison.
pub(super) const BUDGET: usize = 16_000_000;

/// How closely changed lines are looked at.
#[derive(Clone, Copy, PartialEq)]
enum Detail {
    CodePoints,
    Lines,
}

/// A difference in the making.
struct Difference {
    ops: OperationSeq,
    detail: Detail,
    budget: usize,
}

/// An edit, kept up to the end, that turns `old` into `new`, for at most `budget` (and once more, if many small
/// comparisons made too many parts).
pub(super) fn between(old: &str, new: &str, budget: usize) -> OperationSeq {
    let old: Vec<char> = old.chars().collect();
    let new: Vec<char> = new.chars().collect();
    let find = |detail| {
        let mut difference = Difference { ops: OperationSeq::default(), detail, budget };
        difference.stretch(&old, &new, Difference::by_lines);
        difference.ops
    };
    let fine = find(Detail::CodePoints);
    if fine.ops().len() <= MAX_PARTS { fine } else { find(Detail::Lines) }
}

impl Difference {
    /// Keeps what both stretches begin and end with and compares what is between: by code points, or if that costs too
    /// much, in another way.
    fn stretch(&mut self, old: &[char], new: &[char], otherwise: fn(&mut Self, &[char], &[char])) {
        let prefix = old.iter().zip(new).take_while(|(old, new)| old == new).count();
        let (old, new) = (&old[prefix..], &new[prefix..]);
        let suffix = old.iter().rev().zip(new.iter().rev()).take_while(|(old, new)| old == new).count();
        let (old, new) = (&old[..old.len() - suffix], &new[..new.len() - suffix]);
        self.ops.retain(prefix as u64);
        if old.is_empty() || new.is_empty() {
            self.replace(old, new);
        } else if self.detail == Detail::CodePoints && self.afford(old.len() + new.len()) {
            self.by_code_points(old, new);
        } else {
            otherwise(self, old, new);
        }
        self.ops.retain(suffix as u64);
    }

    fn by_code_points(&mut self, old: &[char], new: &[char]) {
        for op in capture_diff(Algorithm::Myers, old, 0..old.len(), new, 0..new.len()) {
            match op {
                DiffOp::Equal { len, .. } => self.ops.retain(len as u64),
                changed => self.replace(&old[changed.old_range()], &new[changed.new_range()]),
            }
        }
    }

    /// Edits far apart in a long text: first the lines that changed, then what changed in them.
    fn by_lines(&mut self, old: &[char], new: &[char]) {
        let (old, new): (Vec<_>, Vec<_>) = (lines(old), lines(new));
        if !self.afford(old.len() + new.len()) {
            return self.replace(&old.concat(), &new.concat());
        }
        // Numbers instead of lines: comparing two long lines must not cost more than comparing two code points.
        let ids = IdentifyDistinct::<u32>::new(&old[..], 0..old.len(), &new[..], 0..new.len());
        let compared =
            capture_diff(Algorithm::Myers, ids.old_lookup(), ids.old_range(), ids.new_lookup(), ids.new_range());
        for op in compared {
            let (old, new) = (&old[op.old_range()], &new[op.new_range()]);
            match op {
                DiffOp::Equal { .. } => self.ops.retain(old.iter().map(|line| line.len() as u64).sum()),
                _ => self.stretch(&old.concat(), &new.concat(), Self::replace),
            }
        }
    }

    fn replace(&mut self, old: &[char], new: &[char]) {
        self.ops.delete(old.len() as u64);
        self.ops.insert(&new.iter().collect::<String>());
    }

    /// Takes the cost of comparing so many items off the budget, if there is enough of it.
    fn afford(&mut self, items: usize) -> bool {
        let left = self.budget.checked_sub(items.saturating_mul(items));
        self.budget = left.unwrap_or(self.budget);
        left.is_some()
    }
}

/// The lines of a text, each with its line feed.
fn lines(text: &[char]) -> Vec<&[char]> {
    text.split_inclusive(|c| *c == '\n').collect()
}
