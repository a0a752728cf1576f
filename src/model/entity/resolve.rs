//! A conflict or a variant, settled by a person.

use serde_json::Value;

use super::{
    Alternative, Choice, Content, Decision, Outcome, Resolve, Rollback, THIS,
    decide::{Case, Stop, Touches},
    plan::Plan,
    texts, touch,
};

impl Case<'_> {
    /// Does what a person chose, if that person has seen what it replaces.
    pub(super) fn resolve(&self, resolve: &Resolve) -> Result<Decision, Stop> {
        let open = &self.head.state.open;
        let index = open.iter().position(|open| open.id == resolve.id).ok_or(Rollback::NoSuchConflict)?;
        let alternative = &open[index];
        let (patch, nulls): (Option<&Value>, &[String]) = match &resolve.choice {
            Choice::Current => (None, &[]),
            Choice::Proposed => (alternative.proposed.as_ref(), &alternative.nulls),
            Choice::Merged(patch) => (Some(patch), &[]),
        };
        let whole = whole(resolve, alternative);
        let plan = match (&whole, patch) {
            (Some(content), _) => Some(Plan::whole(content)),
            (None, Some(_)) if self.head.data.is_whole() => return Err(Rollback::WholeOnly.into()),
            (None, patch) => patch.map(|patch| Plan::merge(patch, &self.head.data)).transpose()?,
        };
        let touched = plan.as_ref().map_or(&[][..], |plan| &plan.touched[..]);
        if self.is_outdated(alternative, touched.iter().chain(nulls)) {
            return Ok(Decision::Answer(Outcome::Pending(Box::new(alternative.clone()))));
        }
        let mut next = self.next();
        next.state.open.remove(index);
        let Some(Plan { mut touched, how }) = plan else {
            if resolve.choice == Choice::Current || next.state.deleted {
                return self.append(next, self.confirmed(), Touches::OpenOnly, Vec::new());
            }
            next.state.deleted = true;
            next.state.clocks.mark(THIS, self.named_base(), self.me());
            return self.append(next, self.confirmed(), Touches::Content, Vec::new());
        };
        next.data.edit(|content| {
            how.apply(content, self.limits)?;
            nulls.iter().for_each(|path| touch::put(content, path, Some(Value::Null)));
            Ok::<_, Rollback>(())
        })?;
        touched.extend_from_slice(nulls);
        for path in touch::outermost(touched) {
            next.state.clocks.write(&path, THIS, Some(self.me()));
            texts::note_write(&mut next, &path);
        }
        if std::mem::take(&mut next.state.deleted) {
            // Whoever wants something in it wants it to be there.
            next.state.clocks.mark(THIS, self.named_base(), self.me());
        }
        self.append(next, self.confirmed(), Touches::Content, Vec::new())
    }

    /// Whether something changed that the person who decides has not seen: a field that clashed, one that would be
    /// written now, or whether the entity is there at all. Then it is asked again.
    fn is_outdated<'p>(&self, alternative: &'p Alternative, touched: impl Iterator<Item = &'p String>) -> bool {
        let is_whole = alternative.paths.is_empty() && self.is_behind();
        is_whole
            || self.head.state.clocks.whole_clashes(self.seen, self.me())
            || alternative.paths.iter().chain(touched).any(|path| self.clash(path).is_some())
    }
}

/// The content that was chosen, where that is no patch for what stands.
fn whole(resolve: &Resolve, alternative: &Alternative) -> Option<Content> {
    match &resolve.choice {
        Choice::Proposed if alternative.whole => alternative.proposed.clone().map(Content::from),
        Choice::Merged(content) => Some(Content::from(content.clone())).filter(Content::is_whole),
        Choice::Current | Choice::Proposed => None,
    }
}
