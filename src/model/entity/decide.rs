//! The table: what an operation meets, and what follows.

use serde_json::{Map, Value};

use super::{
    Action, AlternativeKind, Base, Change, Clock, Content, Decision, Entity, Fate, Limits, Operation, Outcome,
    Position, Remembered, ReplicaId, Rollback, Seen, Settled, Strategy, THIS,
    change::{self},
    plan::{self, Plan},
};
use crate::model::text::TextOps;

/// Decides what becomes of an operation on an entity.
///
/// `head` may be the state that another operation's decision is about to append: several then share one record. `base` is
/// what stood at the operation's base; [`Base::NotAsked`] does, until the answer is [`Decision::NeedsBase`].
pub fn decide(head: &Entity, operation: &Operation, base: Base<'_>, limits: Limits) -> Decision {
    let is_hidden = head.is_hidden_from(Some(&operation.stamp.by.owner()));
    let is_out = head.was_made() && !operation.reaches(head);
    // Before anything else: a repeat is one whatever happened since. But a number can be guessed, and would tell of
    // something hidden that it is there.
    if let Some(remembered) = repeats(head, operation).filter(|_| !(is_hidden || is_out) || operation.number.is_none())
    {
        return Decision::Answer(Outcome::Repeat(remembered));
    }
    if is_hidden {
        return Decision::Answer(Outcome::RolledBack(Rollback::NotFound));
    }
    if is_out {
        return Decision::Answer(Outcome::RolledBack(Rollback::OutOfRegion));
    }
    if !operation.only.holds(head) {
        return Decision::Answer(Outcome::RolledBack(Rollback::PreconditionFailed));
    }
    if operation.base.is_some_and(|base| base > head.stands_at()) {
        return Decision::Ahead;
    }
    let seen = match (&operation.action, operation.base) {
        (_, Some(base)) => base,
        (Action::Create(_), None) => Position::START,
        // Later than whatever stands, also than what others did in the same record.
        (_, None) => THIS,
    };
    let case = Case { head, operation, base, limits, seen };
    let decision = match &operation.action {
        Action::Create(Change::Replace(content)) => create(&case, content),
        Action::Create(_) => Err(Rollback::PatchFailed("what is made is given as a whole".to_owned()).into()),
        Action::Put(Change::Replace(content)) if !head.is_there() => create(&case, content),
        Action::Put(Change::Merge(patch)) if !head.is_there() => {
            // What the patch removes is not there.
            let mut content = Value::Object(Map::new());
            json_patch::merge(&mut content, patch);
            create(&case, &content.into())
        }
        Action::Update(change) | Action::Put(change) => update(&case, change),
        Action::Delete => delete(&case),
        Action::Restore => restore(&case),
        Action::Resolve(resolve) => case.resolve(resolve),
    };
    if let Ok(Decision::Append { next, .. }) = &decision
        && !operation.reaches(next)
    {
        return Decision::Answer(Outcome::RolledBack(Rollback::OutOfRegion));
    }
    decision.unwrap_or_else(|stop| match stop {
        Stop::Base => Decision::NeedsBase,
        Stop::Back(why) => Decision::Answer(Outcome::RolledBack(why)),
    })
}

fn repeats(head: &Entity, operation: &Operation) -> Option<Remembered> {
    if let Some(remembered) = head.state.recent.find(operation) {
        return Some(remembered);
    }
    // Forgotten, but what it proposed still lies open: proposing it again would show it twice.
    let open = head.state.open.iter().find(|open| open.id == operation.id.0)?;
    let fate = match (&operation.action, open.kind) {
        (Action::Resolve(_), _) => return None, // named after what it settles
        (_, AlternativeKind::Conflict) => Fate::Pending(open.id),
        (_, AlternativeKind::Variant) => Fate::Resolved(Settled::Variant(open.id), Vec::new()),
    };
    Some(Remembered { version: head.version, fate })
}

/// Nothing is appended.
pub(super) enum Stop {
    /// What stood at the base has to be looked up first.
    Base,
    /// It cannot be done.
    Back(Rollback),
}

impl From<Rollback> for Stop {
    fn from(why: Rollback) -> Self {
        Self::Back(why)
    }
}

/// An operation and what it meets.
pub(super) struct Case<'a> {
    pub head: &'a Entity,
    pub operation: &'a Operation,
    base: Base<'a>,
    pub limits: Limits,
    /// Everything up to here is known to the sender, and what it did itself.
    pub seen: Position,
}

/// What is appended beside the next state.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Touches {
    /// The content, or whether it is there.
    Content,
    /// Only what lies open beside it.
    OpenOnly,
}

impl<'a> Case<'a> {
    pub fn me(&self) -> &'a ReplicaId {
        &self.operation.replica
    }

    /// Who wrote what its sender has not seen there, if anybody.
    pub fn clash(&self, path: &str) -> Option<&'a Clock> {
        self.head.state.clocks.check(path, self.seen, self.me())
    }

    /// What its sender says that it has seen. Whoever names nothing writes over whatever stands, but need not know it.
    pub fn named_base(&self) -> Position {
        self.operation.base.unwrap_or(Position::START)
    }

    /// Whether others did anything that its sender has not seen.
    pub fn is_behind(&self) -> bool {
        self.clash("").is_some()
    }

    pub fn confirmed(&self) -> Outcome {
        Outcome::Confirmed(if self.is_behind() { Seen::Behind } else { Seen::Head })
    }

    /// What stood at its base; `None`: that is not kept any more.
    pub fn base_content(&self) -> Result<Option<&'a Value>, Stop> {
        if self.seen == THIS || self.seen == self.head.version {
            return Ok(Some(&self.head.data));
        }
        match self.base {
            _ if self.seen == Position::START => Ok(Some(&Value::Null)),
            Base::NotAsked => Err(Stop::Base),
            Base::Known(content) => Ok(Some(content)),
            Base::Gone => Ok(None),
        }
    }

    /// The next state, as yet the same: the one copy that a decision makes.
    pub fn next(&self) -> Box<Entity> {
        let mut next = Box::new(self.head.clone());
        next.version = THIS;
        next.state.stands_at = self.head.stands_at();
        next
    }

    pub fn append(
        &self,
        mut next: Box<Entity>,
        outcome: Outcome,
        touches: Touches,
        texts: Vec<(String, TextOps)>,
    ) -> Result<Decision, Stop> {
        if touches == Touches::Content {
            change::check(&next.data, self.limits)?;
            let stamp = &self.operation.stamp;
            next.state.changed = (next.state.created.as_ref() != Some(stamp)).then(|| stamp.clone());
        }
        next.state.recent.remember(self.operation, Remembered { version: THIS, fate: Fate::of(&outcome) });
        Ok(Decision::Append { next, outcome, texts })
    }
}

fn create(case: &Case<'_>, content: &Content) -> Result<Decision, Stop> {
    if !content.is_object() {
        return Err(plan::no_object().into());
    }
    if case.head.is_there() {
        return write_or_propose(case, Plan::create(content, &case.head.data));
    }
    let is_unseen = case.head.was_made() && case.head.state.clocks.whole_clashes(case.seen, case.me());
    let outcome = match case.operation.strategy {
        _ if !is_unseen => Outcome::Confirmed(Seen::Head),
        Strategy::LastWriteWins => Outcome::Resolved { how: Settled::Recreated, overwritten: Vec::new() },
        Strategy::Merge | Strategy::Version | Strategy::Manual => return Err(Rollback::Deleted.into()),
    };
    let mut next = case.next();
    next.data = content.clone();
    next.state.deleted = false;
    next.state.created = Some(case.operation.stamp.clone());
    next.state.texts.clear();
    next.state.clocks.reset(THIS, case.me());
    case.append(next, outcome, Touches::Content, Vec::new())
}

fn update(case: &Case<'_>, change: &Change) -> Result<Decision, Stop> {
    if !case.head.was_made() {
        return Err(Rollback::NotFound.into());
    }
    if case.head.state.deleted && case.operation.strategy != Strategy::Manual {
        return Err(Rollback::Deleted.into());
    }
    write_or_propose(case, Plan::of(case, change)?)
}

fn write_or_propose(case: &Case<'_>, plan: Plan<'_>) -> Result<Decision, Stop> {
    let clashes = plan.touched.iter().any(|path| case.clash(path).is_some());
    match case.operation.strategy {
        _ if case.head.state.deleted => case.propose(plan, AlternativeKind::Conflict),
        Strategy::Version if clashes => case.propose(plan, AlternativeKind::Variant),
        Strategy::Manual if clashes => case.propose(plan, AlternativeKind::Conflict),
        _ => case.write(plan),
    }
}

fn delete(case: &Case<'_>) -> Result<Decision, Stop> {
    // What is asked for holds already. Nothing is appended, so a repeat is decided anew, and finds the same or more.
    if !case.head.is_there() {
        return Ok(Decision::Answer(case.confirmed()));
    }
    match case.operation.strategy {
        Strategy::Merge | Strategy::Version if case.is_behind() => Err(Rollback::Edited.into()),
        Strategy::Manual if case.is_behind() => case.propose_deletion(),
        _ => {
            let mut next = case.next();
            next.state.deleted = true;
            next.state.clocks.mark(THIS, case.named_base(), case.me());
            case.append(next, case.confirmed(), Touches::Content, Vec::new())
        }
    }
}

fn restore(case: &Case<'_>) -> Result<Decision, Stop> {
    if !case.head.was_made() {
        return Err(Rollback::NotFound.into());
    }
    if case.head.is_there() {
        return Ok(Decision::Answer(case.confirmed()));
    }
    let mut next = case.next();
    next.state.deleted = false;
    next.state.clocks.mark(THIS, case.named_base(), case.me());
    case.append(next, case.confirmed(), Touches::Content, Vec::new())
}
