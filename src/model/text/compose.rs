//! Two edits in a row as one.
//!
//! The crate's own `compose` copies the rest of an insertion for every part that cuts into it, so a megabyte inserted
//! and then edited in thousands of places takes it many seconds. This one is linear; a test holds it to the crate's results.

use std::slice::Iter;

use operational_transform::{Operation, OperationSeq};

/// A part of the first edit, or the front of one.
enum Piece<'a> {
    Keep(u64),
    Delete(u64),
    Insert(&'a str),
}

/// The first edit, handed out in pieces as the second one cuts it.
struct Pieces<'a> {
    parts: Iter<'a, Operation>,
    /// What the last cut left over.
    rest: Option<Piece<'a>>,
}

/// `first` and then `second`; what either leaves unsaid at its end is kept.
pub(super) fn compose(first: &[Operation], second: &[Operation]) -> OperationSeq {
    let mut out = OperationSeq::default();
    let mut pieces = Pieces { parts: first.iter(), rest: None };
    for part in second {
        match part {
            Operation::Insert(text) => out.insert(text),
            Operation::Retain(count) => pieces.pass(*count, |piece| piece.write(&mut out)),
            Operation::Delete(count) => pieces.pass(*count, |piece| match piece {
                Piece::Keep(count) | Piece::Delete(count) => out.delete(count),
                Piece::Insert(_) => {} // inserted by the first, deleted by the second
            }),
        }
    }
    while let Some(piece) = pieces.next() {
        piece.write(&mut out);
    }
    out
}

impl Piece<'_> {
    fn write(self, out: &mut OperationSeq) {
        match self {
            Self::Keep(count) => out.retain(count),
            Self::Delete(count) => out.delete(count),
            Self::Insert(text) => out.insert(text),
        }
    }
}

impl<'a> Pieces<'a> {
    fn next(&mut self) -> Option<Piece<'a>> {
        self.rest.take().or_else(|| {
            self.parts.next().map(|part| match part {
                Operation::Retain(count) => Piece::Keep(*count),
                Operation::Delete(count) => Piece::Delete(*count),
                Operation::Insert(text) => Piece::Insert(text),
            })
        })
    }

    /// Hands out the pieces that stand for `count` code points of the text between the two edits.
    fn pass(&mut self, mut count: u64, mut take: impl FnMut(Piece<'a>)) {
        while count > 0 {
            match self.next().unwrap_or(Piece::Keep(count)) {
                Piece::Delete(deleted) => take(Piece::Delete(deleted)), // of this the second edit saw nothing
                Piece::Keep(kept) => {
                    let taken = kept.min(count);
                    self.rest = (kept > taken).then_some(Piece::Keep(kept - taken));
                    count -= taken;
                    take(Piece::Keep(taken));
                }
                Piece::Insert(text) => {
                    let (front, back, taken) = cut(text, count);
                    self.rest = (!back.is_empty()).then_some(Piece::Insert(back));
                    count -= taken;
                    take(Piece::Insert(front));
                }
            }
        }
    }
}

/// The first `count` code points of a text or all of it, the rest, and how many the first are.
fn cut(text: &str, count: u64) -> (&str, &str, u64) {
    let mut taken = 0;
    for (at, _) in text.char_indices() {
        if taken == count {
            let (front, back) = text.split_at(at);
            return (front, back, taken);
        }
        taken += 1;
    }
    (text, "", taken)
}
