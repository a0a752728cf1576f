//! What clashes and must not be written: kept beside what stands, until somebody settles it.

use serde_json::Value;

use super::{
    Alternative, AlternativeKind, Decision, Outcome, Rollback, Settled, TextChange, TextEdit, change,
    decide::{Case, Stop, Touches},
    delta::as_merge_patch,
    plan::{How, Plan, an_object, as_object},
    texts,
    touch::{self, Field},
};

/// What is proposed, as a merge patch and the fields that shall hold an explicit `null`.
type Proposal = (Value, Vec<String>);

impl Case<'_> {
    /// Keeps what an operation would write.
    pub(super) fn propose(&self, plan: Plan<'_>, kind: AlternativeKind) -> Result<Decision, Stop> {
        let base = self.base_content()?;
        let plan = plan.on_seen_arrays(self)?;
        let is_clash = |path: &String| self.head.state.deleted || self.clash(path).is_some();
        let mut paths: Vec<String> = plan.touched.iter().filter(|path| is_clash(path)).cloned().collect();
        paths.retain(|path| !path.is_empty()); // the whole is named by no name
        let whole = matches!(plan.how, How::Whole(_));
        let (proposed, nulls) = self.proposal(plan.how)?;
        let proposed = proposed.into();
        change::check(&proposed, self.limits)?;
        let was = base.filter(|_| !paths.is_empty()).map(|base| {
            let value = |path: &String| base.pointer(path).cloned();
            as_merge_patch(paths.iter().map(|path| Field { path: path.clone(), value: value(path) }).collect()).0
        });
        self.keep(Alternative {
            was,
            proposed: Some(proposed.into_value()),
            whole,
            nulls,
            paths,
            ..self.alternative(kind)
        })
    }

    /// Keeps that somebody wants it deleted.
    pub(super) fn propose_deletion(&self) -> Result<Decision, Stop> {
        let is_whole = self.head.data.is_whole();
        let was = self
            .base_content()?
            .filter(|_| !is_whole)
            .map(|base| as_merge_patch(touch::difference(&self.head.data, &as_object(base))).0);
        self.keep(Alternative { was, ..self.alternative(AlternativeKind::Conflict) })
    }

    fn alternative(&self, kind: AlternativeKind) -> Alternative {
        Alternative {
            id: self.operation.id.0,
            kind,
            base: self.operation.base.unwrap_or(self.head.version),
            was: None,
            proposed: None,
            whole: false,
            nulls: Vec::new(),
            paths: Vec::new(),
            stamp: self.operation.stamp.clone(),
        }
    }

    fn proposal(&self, how: How<'_>) -> Result<Proposal, Stop> {
        Ok(match how {
            How::Merge(patch) => (patch.clone(), Vec::new()),
            How::Fields(fields) => as_merge_patch(fields),
            How::Patch(patch, _) => {
                let mut new = Value::clone(&self.head.data);
                change::patch(&mut new, patch, self.limits)?;
                as_merge_patch(touch::difference(&self.head.data, an_object(&new)?))
            }
            How::Text(change) => self.proposed_text(change)?,
            How::Whole(content) => (Value::clone(content), Vec::new()),
        })
    }

    /// The whole text as its sender has it: what others did to it since is no part of what it proposes.
    fn proposed_text(&self, change: &TextChange) -> Result<Proposal, Stop> {
        let seen = self.text_seen(&change.path)?.ok_or(Rollback::BaseGone)?;
        let text = match &change.edit {
            TextEdit::Ops(ops) => texts::apply(ops, &seen)?,
            TextEdit::Whole(whole) => whole.clone(),
        };
        let base = as_object(self.base_content()?.ok_or(Rollback::BaseGone)?);
        let mut new = base.clone();
        touch::put_string(&mut new, &change.path, text);
        Ok(as_merge_patch(touch::difference(&base, &new)))
    }

    fn keep(&self, alternative: Alternative) -> Result<Decision, Stop> {
        let open = &self.head.state.open;
        if open.len() >= self.limits.open {
            return Err(Rollback::TooManyOpen(open.len()).into());
        }
        let mut next = self.next();
        next.state.open.push(alternative.clone());
        let outcome = match alternative.kind {
            AlternativeKind::Conflict => Outcome::Pending(Box::new(alternative)),
            AlternativeKind::Variant => {
                Outcome::Resolved { how: Settled::Variant(alternative.id), overwritten: Vec::new() }
            }
        };
        self.append(next, outcome, Touches::OpenOnly, Vec::new())
    }
}
