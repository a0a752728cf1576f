//! Fields that are edited as texts.
//!
//! Owns: which edits of a text are kept, and how one that was made on an older text is brought to the newest: by the kept
//! edits if they reach back that far, else by a merge with the text that it was made on.

use json_patch::jsonptr::Pointer;
use serde::{Deserialize, Serialize};

use super::{
    Entity, Operation, Position, ReplicaId, Rollback, THIS, TextChange, TextEdit, change,
    decide::{Case, Stop},
    settle, stored_version,
    touch::{self, is_within},
};
use crate::model::text::{self, Edit, RebaseError, TextError, TextOps};

/// How many edits of a field are kept.
pub const EDITS: usize = 32;

/// How many bytes of edits of a field are kept, as JSON text.
pub const EDIT_BYTES: usize = 4096;

/// How many fields are known as texts.
pub const TEXTS: usize = 16;

/// A field that was edited as a text at least once, with its latest edits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TextField {
    /// JSON pointer.
    pub path: String,
    /// Every write of it after this version is among the edits.
    #[serde(rename = "since", with = "stored_version")]
    pub since: Position,
    /// The latest edits, oldest first, without a gap between them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub edits: Vec<KeptEdit>,
}

/// One edit as it was applied.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KeptEdit {
    /// The version that it made.
    #[serde(rename = "v", with = "stored_version")]
    pub version: Position,
    /// Whose.
    #[serde(rename = "r")]
    pub replica: ReplicaId,
    /// As applied.
    pub ops: TextOps,
    /// As sent, if that differs, with the base that it was made on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent: Option<(u64, TextOps)>,
}

/// A text after an edit.
pub(super) struct Merged {
    pub path: String,
    pub text: String,
    /// The edit, as it leads there from what stood.
    pub applied: TextOps,
    /// As its sender made it, if that differs.
    pub sent: Option<TextOps>,
}

impl TextField {
    /// The kept edits after a version, as a replica knows them that had seen that version.
    fn after(&self, base: Position, replica: &ReplicaId) -> Vec<Edit> {
        let later = self.edits.iter().enumerate().filter(|(_, edit)| edit.version > base);
        later
            .map(|(index, edit)| match edit.replica == *replica {
                true => Edit::Mine { applied: edit.ops.clone(), sent: self.sent_on(index, base) },
                false => Edit::Others(edit.ops.clone()),
            })
            .collect()
    }

    /// An edit in the form that its sender has it in since it saw `base`, which may be later than what it was made on:
    /// it goes on writing while its edits are under way. `None` if that cannot be told any more.
    fn sent_on(&self, index: usize, base: Position) -> Option<TextOps> {
        let edit = &self.edits[index];
        let Some((made_on, sent)) = &edit.sent else { return Some(edit.ops.clone()) };
        let made_on = Position(*made_on);
        if made_on == base {
            return Some(sent.clone());
        }
        if made_on > base || made_on < self.since {
            return None;
        }
        // What others did between the two, in the form that applies after its own edits before this one.
        let mut bridge = TextOps::default();
        for earlier in self.edits[..index].iter().filter(|earlier| earlier.version > made_on) {
            if earlier.replica == edit.replica {
                let own = match &earlier.sent {
                    None => &earlier.ops,
                    Some((on, sent)) if *on == made_on.0 => sent,
                    Some(_) => return None,
                };
                bridge = TextOps::transform_pair(&bridge, own).ok()?.0;
            } else if earlier.version <= base {
                bridge = bridge.then(&earlier.ops).ok()?;
            }
        }
        sent.transform(&bridge).ok()
    }

    fn last_write(&self) -> Position {
        self.edits.last().map_or(self.since, |edit| edit.version)
    }

    /// Forgets the oldest edits until the others keep their bounds.
    fn trim(&mut self) {
        let mut bytes: Vec<usize> = self.edits.iter().map(change::length).collect();
        let mut total: usize = bytes.iter().sum();
        while bytes.len() > EDITS || total > EDIT_BYTES {
            total -= bytes.remove(0);
            self.since = self.edits.remove(0).version;
        }
    }

    pub(super) fn settle(&mut self, position: Position) {
        settle(&mut self.since, position);
        self.edits.iter_mut().for_each(|edit| settle(&mut edit.version, position));
    }
}

impl Case<'_> {
    /// What an edit of a text leads to.
    pub(super) fn edited(&self, change: &TextChange) -> Result<Merged, Stop> {
        let path = &change.path;
        let current = text_at(&self.head.data, path)?;
        let done = |text, applied| Merged { path: path.clone(), text, applied, sent: None };
        if self.clash(path).is_none() {
            return Ok(match &change.edit {
                TextEdit::Ops(ops) => done(apply(ops, current)?, ops.clone()),
                TextEdit::Whole(whole) => done(whole.clone(), TextOps::between(current, whole)),
            });
        }
        let kept = self.known_text(path).filter(|field| self.seen >= field.since);
        if let (TextEdit::Ops(ops), Some(field)) = (&change.edit, kept) {
            let applied = text::rebase(ops, &field.after(self.seen, self.me())).map_err(unplaced)?;
            let sent = (applied != *ops).then(|| ops.clone());
            return Ok(Merged { path: path.clone(), text: apply(&applied, current)?, applied, sent });
        }
        if kept.is_none() && touch::enclosing_array(path, &self.head.data).is_some() {
            // Another text may stand at that place by now.
            return Err(Rollback::TextFailed(format!("the list around {path} was changed")).into());
        }
        let merged = match &change.edit {
            TextEdit::Whole(whole) => self.three_way(path, current, whole)?,
            TextEdit::Ops(ops) => {
                let proposed = self.text_seen(path)?.map(|seen| apply(ops, &seen)).transpose()?;
                proposed.map(|proposed| self.three_way(path, current, &proposed)).transpose()?.flatten()
            }
        };
        Ok(merged.ok_or(Rollback::BaseGone)?)
    }

    /// What comes of a whole text that was made of an older one; `None` if that is not known any more.
    pub(super) fn three_way(&self, path: &str, current: &str, proposed: &str) -> Result<Option<Merged>, Stop> {
        let Some(seen) = self.text_seen(path)? else { return Ok(None) };
        let (text, applied) = text::merge(&seen, current, proposed);
        let sent = Some(TextOps::between(&seen, proposed)).filter(|sent| *sent != applied);
        Ok(Some(Merged { path: path.to_owned(), text, applied, sent }))
    }

    /// The text that its sender had before its eyes: that at its base, and what it did to it itself since then, as far as
    /// that is kept. `None` if the base is not known any more.
    pub(super) fn text_seen(&self, path: &str) -> Result<Option<String>, Stop> {
        let Some(content) = self.base_content()? else { return Ok(None) };
        let text = text_at(content, path)?;
        let edits = self.known_text(path).map(|field| field.after(self.seen, self.me())).unwrap_or_default();
        let own = edits.iter().filter_map(|edit| match edit {
            Edit::Mine { sent, .. } => Some(sent),
            Edit::Others(_) => None,
        });
        let with_own = own.into_iter().try_fold(text.to_owned(), |text, sent| sent.as_ref()?.apply(&text).ok());
        Ok(Some(with_own.unwrap_or_else(|| text.to_owned())))
    }

    fn known_text(&self, path: &str) -> Option<&TextField> {
        self.head.state.texts.iter().find(|field| field.path == path)
    }
}

/// The text at a path.
pub(super) fn text_at<'a>(content: &'a serde_json::Value, path: &str) -> Result<&'a str, Rollback> {
    // A name with a stray `~` would be another name for a field that has one already.
    let field = Pointer::parse(path).ok().and_then(|_| content.pointer(path));
    field.and_then(|text| text.as_str()).ok_or_else(|| Rollback::TextFailed(format!("no text at {path}")))
}

pub(super) fn apply(ops: &TextOps, text: &str) -> Result<String, Rollback> {
    ops.apply(text).map_err(|error: TextError| Rollback::TextFailed(error.to_string()))
}

fn unplaced(error: RebaseError) -> Rollback {
    Rollback::TextFailed(error.to_string())
}

/// Notes that a text was edited; before its clock is written.
pub(super) fn note_edit(next: &mut Entity, merged: &Merged, operation: &Operation) {
    let texts = &mut next.state.texts;
    let index = texts.iter().position(|field| field.path == merged.path).unwrap_or_else(|| {
        let since = next.state.clocks.last_write(&merged.path);
        texts.push(TextField { path: merged.path.clone(), since, edits: Vec::new() });
        texts.len() - 1
    });
    let on = operation.base.unwrap_or(Position::START).0; // without a base it was applied as it was sent
    texts[index].edits.push(KeptEdit {
        version: THIS,
        replica: operation.replica.clone(),
        ops: merged.applied.clone(),
        sent: merged.sent.clone().map(|sent| (on, sent)),
    });
    texts[index].trim();
    if texts.len() > TEXTS {
        let oldest = texts.iter().enumerate().min_by_key(|(_, field)| field.last_write());
        let oldest = oldest.map_or(0, |(index, _)| index);
        texts.remove(oldest);
    }
}

/// Notes that a field was written, not as a text; after the content has changed.
pub(super) fn note_write(next: &mut Entity, path: &str) {
    let Entity { data, state, .. } = next;
    state.texts.retain_mut(|field| {
        if is_within(&field.path, path) || is_within(path, &field.path) {
            field.since = THIS;
            field.edits.clear();
            return data.pointer(&field.path).is_some_and(|value| value.is_string());
        }
        true
    });
}
