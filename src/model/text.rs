//! Text that several people edit at once: edits as values, how they apply, follow each other and make way for each other.
//!
//! Owns: invariant **convergence** (two edits of one text lead to the same text in either order, once each was
//! transformed against the other) and the rule for two insertions at one place: **the earlier in the log stands to the
//! left**. Must not know: who sent an edit, what the text belongs to, where the log is.
//!
//! Every length and place is in Unicode code points. A text is at most [`MAX_REACH`] of them long; that limit is for
//! whoever stores texts to keep.

mod between;
mod compose;
mod form;
mod rebase;
#[cfg(test)]
mod tests;

use operational_transform::{Operation, OperationSeq};

pub use rebase::{Edit, RebaseError, rebase};

/// How far into a text an edit may reach, in code points: what it keeps and deletes, added up.
pub const MAX_REACH: usize = 16_777_216;

/// Greatest number of parts in one edit.
pub const MAX_PARTS: usize = 10_000;

/// An edit of a text, in the form that ot.js made common: a list in which a positive whole number keeps so many code
/// points, a negative one deletes so many, and a string is inserted. What follows the last part is kept.
///
/// Always in its one canonical form: neighbours of one kind are merged, an insertion stands before a deletion at the
/// same place, nothing is empty and nothing is kept at the end. So equal edits compare as equal, and both sides of a
/// connection, whichever way the sender wrote it, transform the same edit.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TextOps(OperationSeq);

/// An edit does not fit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// The text is shorter than the edit takes it to be.
    #[error("the edit reaches {reach} code points into the text, but the text has {length}")]
    OutOfRange {
        /// Length of the text in code points.
        length: usize,
        /// How many code points the edit keeps and deletes before its end.
        reach: usize,
    },
    /// What would come out reaches further than [`MAX_REACH`].
    #[error("the edit would reach {reach} code points into the text; {MAX_REACH} is the limit")]
    TooFar {
        /// How many code points it would keep and delete before its end.
        reach: usize,
    },
    /// What would come out has more than [`MAX_PARTS`] parts.
    #[error("the edit would have {parts} parts; {MAX_PARTS} is the limit")]
    TooManyParts {
        /// How many it would have.
        parts: usize,
    },
}

impl TextOps {
    /// A small edit that turns `old` into `new`, found by code points; the same for the same texts everywhere.
    ///
    /// Bounded in cost: what is too long to be compared by code points is compared by lines, and what is too long even
    /// for that is replaced as a whole. Never has more than [`MAX_PARTS`] parts.
    pub fn between(old: &str, new: &str) -> Self {
        Self::canonical(between::between(old, new, between::BUDGET))
    }

    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        self.0.ops().is_empty()
    }

    /// How many code points of the text it keeps and deletes before its end: the length that the text needs to have.
    pub fn reach(&self) -> usize {
        self.0.base_len()
    }

    /// The text after the edit. Fails with [`TextError::OutOfRange`] if the text is too short for it.
    pub fn apply(&self, text: &str) -> Result<String, TextError> {
        let length = text.chars().count();
        let out_of_range = TextError::OutOfRange { length, reach: self.reach() };
        if self.reach() > length {
            return Err(out_of_range);
        }
        self.padded(length).apply(text).map_err(|_| out_of_range)
    }

    /// One edit that does what this one and then `other`, made on the text that this one leaves, do.
    /// Fails if the result passes [`MAX_REACH`] or [`MAX_PARTS`].
    ///
    /// Leads to the same text, but makes way and is made way for in its own way: a deletion and an insertion that touch
    /// become one place. Both ends of a connection have to transform the same edits, so neither may join on its own
    /// what the other takes one by one.
    pub fn then(&self, other: &Self) -> Result<Self, TextError> {
        Self::canonical(compose::compose(self.0.ops(), other.0.ops())).within_limits()
    }

    /// This edit in the form that applies after `against`; both were made on the same text, and `against` stands
    /// earlier in the log. Where both insert at one place, `against` stands to the left.
    /// Fails if the result passes [`MAX_REACH`] or [`MAX_PARTS`].
    pub fn transform(&self, against: &Self) -> Result<Self, TextError> {
        carry(against, self).1.within_limits()
    }

    /// Both sides of one transformation of edits of the same text: `earlier` in the form that applies after `later`,
    /// and `later` in the form that applies after `earlier`. Where both insert at one place, `earlier` stands to the
    /// left. Fails if a result passes [`MAX_REACH`] or [`MAX_PARTS`].
    pub fn transform_pair(earlier: &Self, later: &Self) -> Result<(Self, Self), TextError> {
        let (earlier, later) = carry(earlier, later);
        Ok((earlier.within_limits()?, later.within_limits()?))
    }

    /// The crate's sequence is canonical but for what it keeps at the end.
    fn canonical(ops: OperationSeq) -> Self {
        match ops.ops() {
            [rest @ .., Operation::Retain(_)] => Self(rest.iter().cloned().collect()),
            _ => Self(ops),
        }
    }

    /// The crate compares lengths, so for it the edit has to keep its text up to the end. Never shortens.
    fn padded(&self, length: usize) -> OperationSeq {
        let mut ops = self.0.clone();
        ops.retain(length.saturating_sub(self.reach()) as u64);
        ops
    }

    /// Holds what comes out to what may come in: whatever is stored can be read again.
    fn within_limits(self) -> Result<Self, TextError> {
        let (reach, parts) = (self.reach(), self.0.ops().len());
        if reach > MAX_REACH {
            return Err(TextError::TooFar { reach });
        }
        if parts > MAX_PARTS {
            return Err(TextError::TooManyParts { parts });
        }
        Ok(self)
    }
}

/// [`TextOps::transform_pair`] without limits.
fn carry(earlier: &TextOps, later: &TextOps) -> (TextOps, TextOps) {
    let length = earlier.reach().max(later.reach());
    // The crate lets its left side insert first.
    let pair = earlier.padded(length).transform(&later.padded(length));
    let (earlier, later) = pair.expect("both sides were padded to one length");
    (TextOps::canonical(earlier), TextOps::canonical(later))
}

/// Three-way merge: what turned `base` into `proposed`, done to `current`. The merged text, and the edit that leads to it
/// from `current`.
///
/// `current` counts as the earlier one: where both inserted at one place, its insertion stands to the left. What both
/// sides changed is not compared, so an insertion that both made stands there twice, unless the two texts are equal.
pub fn merge(base: &str, current: &str, proposed: &str) -> (String, TextOps) {
    if current == proposed {
        return (current.to_owned(), TextOps::default());
    }
    let (_, ops) = carry(&TextOps::between(base, current), &TextOps::between(base, proposed));
    let merged = ops.apply(current).expect("carried over the difference that leads to this very text");
    match ops.within_limits() {
        Ok(ops) => (merged, ops),
        // Two differences cut each other into more parts than one may have; a fresh one stays below.
        Err(_) => {
            let ops = TextOps::between(current, &merged);
            (merged, ops)
        }
    }
}
