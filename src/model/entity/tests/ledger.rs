//! What was promised to whom, written down apart from the rules: what somebody was told is there has to be there, until
//! somebody replaces it who has seen it, or who is told.

use std::collections::HashMap;

use serde_json::Value;
use uuid::Uuid;

use super::{super::*, support::*, world::Step};

/// Something that holds, and since when for whom.
#[derive(Clone, Debug)]
struct Claim {
    what: What,
    /// Who knows of it, whatever else it has seen: who made it, and who was told of it.
    known_to: Vec<ReplicaId>,
    version: Position,
}

#[derive(Clone, Debug)]
enum What {
    /// This value stands at the path; `None`: nothing.
    Value(String, Option<Value>),
    /// The text at the path has this in it.
    Mark(String, char),
    /// The list at the path has this in it.
    Element(String, Value),
    /// This conflict or variant is open.
    Open(Uuid),
}

#[derive(Default)]
pub struct Ledger {
    claims: Vec<Claim>,
    /// What each replica has seen by its own word.
    seen: HashMap<ReplicaId, Position>,
}

impl Ledger {
    pub fn step(&mut self, step: &Step, position: Position) {
        for over in overwritten(&step.outcome) {
            assert_eq!(over.value.as_ref(), step.before.data.pointer(&over.path), "what is told is what stood there");
        }
        let Operation { action, base, replica, .. } = &step.operation;
        if matches!(action, Action::Create(_)) && step.before.state.deleted {
            // Everybody was told that it was deleted, and this is another one in its place.
            self.claims.retain(|claim| matches!(claim.what, What::Open(_)));
        }
        let seen = match (action, base) {
            (_, Some(base)) => *base,
            (Action::Create(_), None) => Position::START,
            // Without a base it writes over what stands, whatever that is.
            (_, None) => THIS,
        };
        let so_far = self.seen.entry(replica.clone()).or_default();
        *so_far = (*so_far).max(base.unwrap_or_default());
        let seen = seen.max(*so_far);
        self.claims.retain_mut(|claim| {
            claim.tell(step);
            let holds = claim.holds(&step.after);
            // Of whole texts it is known that an insertion which both sides have can stand there twice.
            let is_whole = matches!(claim.what, What::Mark(..)) && !is_edit(&step.operation);
            let (before, after) = (claim.count(&step.before), claim.count(&step.after));
            assert!(
                is_whole || after <= before.max(1),
                "applied twice: {claim:?} in {:?} by {:?}",
                step.after,
                step.operation
            );
            assert!(
                holds || claim.is_released_by(step, seen),
                "lost without a word: {claim:?}\nby {:?}\nwith {:?}\nbefore {:?}\nafter {:?}",
                step.operation,
                step.outcome,
                step.before,
                step.after
            );
            holds
        });
        for what in claims(step) {
            let claim = Claim { what, known_to: vec![step.operation.replica.clone()], version: position };
            assert!(claim.holds(&step.after), "not done: {claim:?} by {step:?}", step = step.operation);
            self.claims.push(claim);
        }
    }
}

impl Claim {
    fn path(&self) -> &str {
        match &self.what {
            What::Value(path, _) | What::Mark(path, _) | What::Element(path, _) => path,
            What::Open(_) => "",
        }
    }

    fn holds(&self, entity: &Entity) -> bool {
        let at = |path: &str| entity.data.pointer(path);
        match &self.what {
            What::Value(path, value) => at(path) == value.as_ref(),
            What::Mark(path, mark) => at(path).and_then(Value::as_str).is_some_and(|text| text.contains(*mark)),
            What::Element(path, element) => {
                at(path).and_then(Value::as_array).is_some_and(|list| list.contains(element))
            }
            What::Open(id) => entity.state.open.iter().any(|open| open.id == *id),
        }
    }

    /// How often it stands there.
    fn count(&self, entity: &Entity) -> usize {
        match (&self.what, entity.data.pointer(self.path())) {
            (What::Mark(_, mark), Some(Value::String(text))) => text.matches(*mark).count(),
            (What::Element(_, element), Some(Value::Array(list))) => list.iter().filter(|e| *e == element).count(),
            _ => 0,
        }
    }

    /// Who wrote over it was told of it, or asked for no more than to write over what stands; even if it holds still,
    /// because the same was written.
    fn tell(&mut self, step: &Step) {
        let is_blind = step.operation.base.is_none() && !matches!(step.operation.action, Action::Create(_));
        let is_edit = matches!(step.operation.action, Action::Update(Change::Text(_)));
        let is_whole = matches!(self.what, What::Value(..)) || matches!(self.what, What::Mark(..)) && !is_edit;
        let is_same = is_whole && is_blind && writes(&step.operation, self.path());
        if is_same || overwritten(&step.outcome).iter().any(|over| overlap(&over.path, self.path())) {
            self.known_to.push(step.operation.replica.clone());
        }
    }

    fn is_released_by(&self, step: &Step, seen: Position) -> bool {
        let operation = &step.operation;
        if let What::Open(id) = self.what {
            return matches!(&operation.action, Action::Resolve(resolve) if resolve.id == id);
        }
        let knows = self.known_to.contains(&operation.replica) || self.version <= seen;
        knows && writes(operation, self.path())
    }
}

fn overlap(one: &str, other: &str) -> bool {
    let within = |inner: &str, outer: &str| inner == outer || inner.starts_with(&format!("{outer}/"));
    within(one, other) || within(other, one)
}

/// Whether an operation can change a field.
fn writes(operation: &Operation, path: &str) -> bool {
    match &operation.action {
        Action::Create(Change::Replace(content)) => values(content).iter().any(|(field, _)| overlap(field, path)),
        Action::Update(Change::Merge(patch)) => values(patch).iter().any(|(field, _)| overlap(field, path)),
        Action::Update(Change::Patch(ops)) => {
            serde_json::to_value(ops).expect("a patch").as_array().is_some_and(|ops| {
                ops.iter()
                    .flat_map(|op| [&op["path"], &op["from"]])
                    .filter_map(Value::as_str)
                    .any(|at| overlap(at, path))
            })
        }
        Action::Update(Change::Text(text)) => overlap(&text.path, path),
        Action::Update(Change::Replace(_)) | Action::Resolve(_) => true,
        _ => false,
    }
}

fn is_edit(operation: &Operation) -> bool {
    matches!(&operation.action, Action::Update(Change::Text(TextChange { edit: TextEdit::Ops(_), .. })))
}

/// The plain values and empty objects in a patch, each with its field.
fn values(patch: &Value) -> Vec<(String, Value)> {
    let members = patch.as_object().filter(|members| !members.is_empty());
    let Some(members) = members else { return vec![(String::new(), patch.clone())] };
    let inner = |(key, value): (&String, &Value)| {
        let key = key.clone();
        values(value).into_iter().map(move |(path, value)| (format!("/{key}{path}"), value))
    };
    members.iter().flat_map(inner).collect()
}

/// What the sender may rely on after this.
fn claims(step: &Step) -> Vec<What> {
    match &step.outcome {
        Outcome::Pending(open) => vec![What::Open(open.id)],
        Outcome::Resolved { how: Settled::Variant(id), .. } => vec![What::Open(*id)],
        Outcome::Confirmed(_) | Outcome::Resolved { .. } => written(step),
        Outcome::RolledBack(_) | Outcome::Repeat(_) => panic!("nothing is appended for {:?}", step.outcome),
    }
}

fn written(step: &Step) -> Vec<What> {
    let value = |(path, value): (String, Value)| match (&path[..], value) {
        ("/body", Value::String(text)) => What::Mark(path, text.chars().last().expect("a mark")),
        (_, Value::Null) => What::Value(path, None),
        (_, value) => What::Value(path, Some(value)),
    };
    let values = |patch| values(patch).into_iter().filter(|(_, value)| !value.is_object());
    match &step.operation.action {
        // Of a first content only what others may write.
        Action::Create(Change::Replace(content)) if !step.before.was_made() => {
            values(content).filter(|(path, _)| path != "/list" && path != "/body").map(value).collect()
        }
        Action::Create(Change::Replace(content)) => values(content).map(value).collect(),
        Action::Update(Change::Merge(patch)) => values(patch).map(value).collect(),
        Action::Update(Change::Patch(ops)) => ops.iter().filter_map(patched).collect(),
        // The field that was changed in it holds the number that names the operation.
        Action::Update(Change::Replace(content)) => {
            let own = u64::from(u32::try_from(step.operation.id.0.as_u128()).expect("small") + 0x4E00);
            values(content).filter(|(_, value)| value.as_u64() == Some(own)).map(value).collect()
        }
        Action::Update(Change::Text(TextChange { path, edit })) => {
            let marks = match edit {
                TextEdit::Ops(ops) => serde_json::to_value(ops).expect("an edit"),
                TextEdit::Whole(text) => Value::from(vec![text.clone()]),
            };
            let inserted = marks.as_array().and_then(|parts| parts.iter().find_map(Value::as_str)).expect("a mark");
            vec![What::Mark(path.clone(), inserted.chars().last().expect("a mark"))]
        }
        Action::Resolve(Resolve { choice: Choice::Merged(patch), .. }) => values(patch).map(value).collect(),
        _ => Vec::new(),
    }
}

fn patched(operation: &json_patch::PatchOperation) -> Option<What> {
    match operation {
        json_patch::PatchOperation::Add(add) if add.path.as_str() == "/list/0" => {
            Some(What::Element("/list".to_owned(), add.value.clone()))
        }
        json_patch::PatchOperation::Add(add) => Some(What::Value(add.path.to_string(), Some(add.value.clone()))),
        _ => None,
    }
}
