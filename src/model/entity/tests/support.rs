//! A log of one entity, and operations in few words.

use serde_json::{Value, json};
use uuid::Uuid;

use super::super::*;
use crate::model::{Timestamp, text::TextOps};

pub const LIMITS: Limits = Limits { data_bytes: 16_384, open: 8 };

pub use Strategy::{LastWriteWins as Lww, Manual, Merge, Version};

/// Every state that the entity had.
#[derive(Clone, Default)]
pub struct Log {
    pub states: Vec<Entity>,
    pub limits: Option<Limits>,
    /// Versions below this are not kept any more.
    pub kept_from: u64,
}

impl Log {
    pub fn head(&self) -> Entity {
        self.states.last().cloned().unwrap_or_else(Entity::none)
    }

    /// What the version is, as a number.
    pub fn version(&self) -> u64 {
        self.head().version.0
    }

    pub fn at(&self, version: Position) -> Base<'_> {
        let state = self.states.iter().rev().find(|state| state.version <= version);
        match state {
            Some(state) if state.version.0 >= self.kept_from => Base::Known(&state.data),
            _ => Base::Gone,
        }
    }

    pub fn decide(&self, head: &Entity, operation: &Operation) -> Decision {
        let limits = self.limits.unwrap_or(LIMITS);
        match decide(head, operation, Base::NotAsked, limits) {
            Decision::NeedsBase => {
                let decision = decide(head, operation, self.at(operation.base.expect("a base")), limits);
                assert_ne!(decision, Decision::NeedsBase, "what it needs was given");
                decision
            }
            decision => decision,
        }
    }

    /// Appends a state, as it is when it is read again. Positions have holes.
    pub fn append(&mut self, next: &Entity) -> Position {
        let position = Position(self.version() + 3);
        self.states.push(reread(next, position));
        position
    }

    pub fn run(&mut self, operation: Operation) -> Outcome {
        match self.decide(&self.head(), &operation) {
            Decision::Append { next, outcome, .. } => {
                self.append(&next);
                outcome
            }
            Decision::Answer(outcome) => outcome,
            other => panic!("{other:?}"),
        }
    }

    pub fn data(&self) -> Value {
        self.head().data.into_value()
    }
}

/// An entity with this content, made by `maker`; its version is 3.
pub fn made(content: Value) -> Log {
    let mut log = Log::default();
    let outcome = log.run(by("maker").act(Action::Create(Change::Replace(content.into()))));
    assert_eq!(outcome, Outcome::Confirmed(Seen::Head));
    log
}

/// A content as it is when it comes as text.
pub fn as_text(content: &Value) -> Content {
    Content::read(serde_json::value::to_raw_value(content).expect("JSON")).expect("a content")
}

/// A state after it was written and read.
pub fn reread(next: &Entity, position: Position) -> Entity {
    assert_eq!(next.version, THIS);
    let stored = serde_json::to_string(&next.state).expect("a state");
    let mut read =
        Entity { version: THIS, data: as_text(&next.data), state: serde_json::from_str(&stored).expect("read") };
    read.settle(position);
    let mut direct = next.clone();
    direct.settle(position);
    assert_eq!(read, direct, "a state is read as it was written");
    assert!(!serde_json::to_string(&read.state).expect("a state").contains(&u64::MAX.to_string()));
    read
}

/// The beginning of an operation.
#[derive(Clone)]
pub struct Ask {
    replica: String,
    base: Option<u64>,
    strategy: Strategy,
    id: Uuid,
    number: Option<u64>,
    only: Precondition,
}

pub fn by(replica: &str) -> Ask {
    Ask {
        replica: replica.to_owned(),
        base: None,
        strategy: Strategy::Merge,
        id: Uuid::new_v4(),
        number: None,
        only: Precondition::Any,
    }
}

pub fn stamp(replica: &str) -> Stamp {
    let by = Author { instance: replica.parse().expect("an instance"), user: None, name: None };
    Stamp { by, at: Timestamp(7) }
}

impl Ask {
    pub fn on(self, base: u64) -> Self {
        Self { base: Some(base), ..self }
    }

    pub fn with(self, strategy: Strategy) -> Self {
        Self { strategy, ..self }
    }

    pub fn id(self, id: u128) -> Self {
        Self { id: Uuid::from_u128(id), ..self }
    }

    pub fn number(self, number: u64) -> Self {
        Self { number: Some(number), ..self }
    }

    pub fn only(self, only: Precondition) -> Self {
        Self { only, ..self }
    }

    pub fn act(self, action: Action) -> Operation {
        Operation {
            id: OpId(self.id),
            stamp: stamp(&self.replica),
            replica: ReplicaId(self.replica.into()),
            number: self.number,
            action,
            base: self.base.map(Position),
            strategy: self.strategy,
            only: self.only,
            within: None,
        }
    }

    pub fn merge(self, patch: Value) -> Operation {
        self.act(Action::Update(Change::Merge(patch)))
    }

    pub fn patch(self, ops: Value) -> Operation {
        self.act(Action::Update(Change::Patch(serde_json::from_value(ops).expect("a patch"))))
    }

    pub fn replace(self, content: Value) -> Operation {
        self.act(Action::Update(Change::Replace(content.into())))
    }

    pub fn create(self, content: Value) -> Operation {
        self.act(Action::Create(Change::Replace(content.into())))
    }

    pub fn edit(self, path: &str, ops: Value) -> Operation {
        let edit = TextEdit::Ops(text_ops(ops));
        self.act(Action::Update(Change::Text(TextChange { path: path.to_owned(), edit })))
    }

    pub fn whole(self, path: &str, text: &str) -> Operation {
        let edit = TextEdit::Whole(text.to_owned());
        self.act(Action::Update(Change::Text(TextChange { path: path.to_owned(), edit })))
    }

    pub fn delete(self) -> Operation {
        self.act(Action::Delete)
    }

    pub fn restore(self) -> Operation {
        self.act(Action::Restore)
    }

    pub fn resolve(self, id: u128, choice: Choice) -> Operation {
        self.act(Action::Resolve(Resolve { id: Uuid::from_u128(id), choice }))
    }
}

pub fn text_ops(ops: Value) -> TextOps {
    serde_json::from_value(ops).expect("an edit")
}

/// An outcome in a word, with what the table says of it.
pub fn word(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Confirmed(Seen::Head) => "confirmed".to_owned(),
        Outcome::Confirmed(Seen::Behind) => "confirmed, merged".to_owned(),
        Outcome::Resolved { how: Settled::Variant(_), .. } => "variant".to_owned(),
        Outcome::Resolved { how, overwritten } => {
            let paths: Vec<_> = overwritten.iter().map(|over| over.path.as_str()).collect();
            format!("{how:?} {}", paths.join(" ")).trim_end().to_lowercase()
        }
        Outcome::Pending(_) => "pending".to_owned(),
        Outcome::RolledBack(why) => {
            let why = format!("{why:?}");
            format!("rollback {}", why.split('(').next().expect("a name").to_lowercase())
        }
        Outcome::Repeat(_) => "repeat".to_owned(),
    }
}

pub fn overwritten(outcome: &Outcome) -> &[Overwritten] {
    match outcome {
        Outcome::Resolved { overwritten, .. } => overwritten,
        _ => &[],
    }
}

pub fn note() -> Value {
    json!({ "title": "one", "body": "hello", "tags": ["a"], "place": { "x": 1, "y": 2 } })
}
