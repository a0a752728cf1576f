//! An edit that was made on an older text, brought to the end of the log.

use super::{TextError, TextOps, carry};

/// An edit in the log, as the sender of a later one sees it.
#[derive(Clone, Debug, PartialEq)]
pub enum Edit {
    /// Somebody else's, as applied: on the text that the edit before it left.
    Others(TextOps),
    /// The sender's own.
    Mine {
        /// As applied: on the text that the edit before it left.
        applied: TextOps,
        /// As sent: on the version on which the later edit was made, plus the sender's own edits before this one.
        /// `None` if that is not known.
        sent: Option<TextOps>,
    },
}

/// An edit cannot be brought to the end of the log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RebaseError {
    /// An own edit stands after one of others, and the form in which it was sent is not known.
    #[error("an earlier edit of the same sender is not known in the form in which it was sent")]
    OwnEditUnknown,
    /// An own edit, brought to its place in the log, is not what was applied there: it was sent on another version.
    #[error("an earlier edit of the same sender was made on another version of the text")]
    OwnEditDiffers,
    /// The result passes a limit.
    #[error(transparent)]
    Text(#[from] TextError),
}

/// Brings an edit to the end of the log. `seen` is everything that was applied after the version on which `ops` was made,
/// in order; of that the sender had seen nothing but its own edits, which it had applied before it made `ops`.
///
/// Whether `ops` fitted its text shows when the result is applied: what reached beyond the end then still does.
/// The earlier in the log stands to the left of what is inserted at the same place.
///
/// A client that brings its waiting edits past each edit of others as it comes, by [`TextOps::transform_pair`] and with
/// the other's edit as the earlier one, arrives at this very result. Costs a transformation for every pair of an
/// edit of others and a later own one.
pub fn rebase(ops: &TextOps, seen: &[Edit]) -> Result<TextOps, RebaseError> {
    let mut bridge = Bridge::default();
    for edit in seen {
        bridge.extend(edit)?;
    }
    Ok(bridge.carry(ops).within_limits()?)
}

/// What others did, in the form that applies after the sender's own edits: leads from the sender's text to the log's.
///
/// Edit by edit, not as one: what is inserted after a deletion and what before it are the same once both are one edit, so
/// to make way for that is not always what making way for one after the other is, which is what clients do.
#[derive(Clone, Debug, Default)]
pub(super) struct Bridge(Vec<TextOps>);

impl Bridge {
    /// Takes in the next edit of the log.
    pub(super) fn extend(&mut self, edit: &Edit) -> Result<(), RebaseError> {
        match edit {
            Edit::Others(applied) => self.push(applied.clone()),
            // Nothing of others stands between: the sender's text was the log's.
            Edit::Mine { .. } if self.0.is_empty() => {}
            Edit::Mine { applied, sent } => {
                let sent = sent.as_ref().ok_or(RebaseError::OwnEditUnknown)?;
                // Sent on another version, it would lead the bridge astray, and with it what somebody wrote.
                if self.carry(sent) != *applied {
                    return Err(RebaseError::OwnEditDiffers);
                }
            }
        }
        Ok(())
    }

    /// Brings the sender's next edit over to the log's text; afterwards the bridge starts behind that edit.
    pub(super) fn carry(&mut self, ops: &TextOps) -> TextOps {
        let mut carried = ops.clone();
        for others in std::mem::take(&mut self.0) {
            let (others, after) = carry(&others, &carried);
            self.push(others);
            carried = after;
        }
        carried
    }

    fn push(&mut self, others: TextOps) {
        if !others.is_empty() {
            self.0.push(others);
        }
    }
}
