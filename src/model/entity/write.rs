//! An operation that is done: what it wrote, over what, and whose each field is from now on.

use std::collections::HashSet;

use super::{
    Decision, Entity, Outcome, Overwritten, ReplicaId, Settled, Strategy, THIS,
    decide::{Case, Stop, Touches},
    plan::{How, Plan},
    texts::{self, Merged},
    touch,
};
use crate::model::text::TextOps;

impl Case<'_> {
    /// Writes, also where it clashes: the later one wins, but texts are brought together.
    ///
    /// What changes no value is appended all the same: that a field shall hold what it holds is a statement too, by which
    /// others' older writes of it are judged. And a repeat that comes late, when other values stand there, must find that
    /// it was done.
    pub(super) fn write(&self, plan: Plan<'_>) -> Result<Decision, Stop> {
        if let How::Text(change) = &plan.how {
            return self.edit_text(change);
        }
        let plan = plan.on_seen_arrays(self)?;
        let Plan { touched, how } = plan;
        let in_part: HashSet<String> = how.arrays().iter().cloned().collect();
        let mut next = self.next();
        let how_clashes_end = self.settlement(&how);
        match how {
            // Byte for byte: whoever signed or sealed it may have it so.
            How::Whole(content) => next.data = content.clone(),
            how => next.data.edit(|content| how.apply(content, self.limits))?,
        }
        let clashing: Vec<&String> = touched.iter().filter(|path| self.clash(path).is_some()).collect();
        let merged = self.merge_texts(&mut next, &clashing)?;
        let outcome = match &clashing[..] {
            [] => self.confirmed(),
            clashing => self.settled(
                how_clashes_end,
                clashing.iter().filter(|path| !merged.iter().any(|text| text.path == ***path)),
            ),
        };
        for path in &touched {
            match merged.iter().find(|text| text.path == *path) {
                Some(text) => self.note_merged(&mut next, text),
                None => {
                    let is_whole = !in_part.contains(path);
                    next.state.clocks.write(path, THIS, is_whole.then_some(self.me()).or(self.knowing_me(path)));
                    texts::note_write(&mut next, path);
                }
            }
        }
        let edits = merged.into_iter().map(|text| (text.path, text.applied)).collect();
        self.append(next, outcome, Touches::Content, edits)
    }

    fn settlement(&self, how: &How<'_>) -> Settled {
        match self.operation.strategy {
            _ if matches!(how, How::Whole(_)) => Settled::LastWriteWins,
            Strategy::LastWriteWins => Settled::LastWriteWins,
            Strategy::Merge | Strategy::Version | Strategy::Manual => Settled::Merged,
        }
    }

    fn settled<'p>(&self, how: Settled, lost: impl Iterator<Item = &'p &'p String>) -> Outcome {
        let overwritten = lost.filter_map(|path| {
            let clock = self.clash(path)?;
            Some(Overwritten {
                path: (*path).clone(),
                value: self.head.data.pointer(path).cloned(),
                version: clock.version,
                by: clock.replica.clone(),
            })
        });
        Outcome::Resolved { how, overwritten: overwritten.collect() }
    }

    /// Under [`Strategy::Merge`]: fields known as texts which somebody else edited are merged instead of written over.
    fn merge_texts(&self, next: &mut Entity, clashing: &[&String]) -> Result<Vec<Merged>, Stop> {
        let mut merged = Vec::new();
        let known = |path: &str| self.head.state.texts.iter().any(|text| text.path == path);
        if self.operation.strategy != Strategy::Merge {
            return Ok(merged);
        }
        for path in clashing.iter().filter(|path| known(path)) {
            let values = (self.head.data.pointer(path), next.data.pointer(path));
            let (Some(current), Some(proposed)) =
                (values.0.and_then(|v| v.as_str()), values.1.and_then(|v| v.as_str()))
            else {
                continue;
            };
            match self.three_way(path, current, proposed) {
                Ok(Some(text)) => {
                    next.data.edit(|content| touch::put(content, path, Some(text.text.clone().into())));
                    merged.push(text);
                }
                // Its base is not known any more, or had no text there: it is written over, and its sender told what.
                Ok(None) | Err(Stop::Back(_)) => {}
                Err(Stop::Base) => return Err(Stop::Base),
            }
        }
        Ok(merged)
    }

    /// An edit of a text. One that is brought over what others did writes over nothing, whatever the strategy.
    fn edit_text(&self, change: &super::TextChange) -> Result<Decision, Stop> {
        let text = self.edited(change)?;
        let clashes = self.clash(&change.path).is_some();
        let outcome = if clashes {
            Outcome::Resolved { how: Settled::Merged, overwritten: Vec::new() }
        } else {
            self.confirmed()
        };
        let mut next = self.next();
        next.data.edit(|content| touch::put_string(content, &text.path, text.text.clone()));
        self.note_merged(&mut next, &text);
        let edits: Vec<(String, TextOps)> = vec![(text.path, text.applied)];
        self.append(next, outcome, Touches::Content, edits)
    }

    fn note_merged(&self, next: &mut Entity, text: &Merged) {
        texts::note_edit(next, text, self.operation);
        next.state.clocks.write(&text.path, THIS, self.knowing_me(&text.path));
    }

    /// Whose a field is after a write that leaves others' work in it: the writer's only if it says that it has seen that.
    /// Otherwise its next write, made on what it has seen, would take that for its own and wipe it out.
    fn knowing_me(&self, path: &str) -> Option<&ReplicaId> {
        let unknown = self.head.state.clocks.check(path, self.named_base(), self.me());
        unknown.is_none().then(|| self.me())
    }
}
