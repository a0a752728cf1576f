//! Batches decided on heads as they may stand.

use serde_json::{Value, json};
use uuid::Uuid;

use super::*;
use crate::model::{
    Timestamp,
    entity::{
        Action, Author, Change, Fate, OpId, Precondition, ReplicaId, Seen, Stamp, Strategy, TextChange, TextEdit,
    },
};

const LIMITS: Limits = Limits { data_bytes: 1 << 20, open: 16 };

fn key(id: &str) -> EntityKey {
    EntityKey::new("node", id).expect("a key")
}

fn operation(id: &str, by: &str, action: Action) -> (EntityKey, Arc<Operation>) {
    let operation = Operation {
        id: OpId(Uuid::new_v4()),
        replica: ReplicaId(by.into()),
        number: None,
        base: None,
        strategy: Strategy::default(),
        only: Precondition::Any,
        within: None,
        stamp: Stamp {
            by: Author { instance: by.parse().expect("an instance"), user: None, name: None },
            at: Timestamp(0),
        },
        action,
    };
    (key(id), Arc::new(operation))
}

fn create(id: &str, content: Value) -> (EntityKey, Arc<Operation>) {
    operation(id, "ann", Action::Create(Change::Replace(content.into())))
}

fn update(id: &str, patch: Value) -> (EntityKey, Arc<Operation>) {
    operation(id, "ann", Action::Update(Change::Merge(patch)))
}

fn seen(
    version: u64,
    strategy: Strategy,
    (key, operation): (EntityKey, Arc<Operation>),
) -> (EntityKey, Arc<Operation>) {
    (key, Arc::new(Operation { base: Some(Position(version)), strategy, ..Arc::unwrap_or_clone(operation) }))
}

type Heads = HashMap<EntityKey, Arc<Entity>>;

/// Does a batch, its records standing from a position on.
fn write(heads: &mut Heads, operations: Vec<(EntityKey, Arc<Operation>)>, first: u64) -> Vec<Said> {
    let batch = Together::new(operations);
    let mut deciding = batch.decide(heads);
    let plan = loop {
        match deciding.step(LIMITS) {
            Step::End(Verdict::Append(plan)) => break plan,
            Step::End(Verdict::Answer(said)) => return said,
            // What was proposed on it is told with it if it is known.
            Step::LoadBase(..) => deciding.base_loaded(None),
        }
    };
    let keys = plan.drafts.iter().filter(|(_, draft)| !draft.parts.is_empty()).map(|(key, _)| key.clone());
    let positions: HashMap<_, _> = keys.clone().zip((first..).map(Position)).collect();
    let keys: Vec<_> = keys.collect();
    let (said, entities) = batch.done(plan, &positions);
    heads.extend(keys.into_iter().zip(entities.into_iter().map(Arc::new)));
    said
}

fn heads() -> Heads {
    let mut heads = Heads::new();
    write(&mut heads, vec![create("a", json!({"n": 1, "text": "one"})), create("b", json!({"n": 1}))], 1);
    heads
}

/// The place and the cause of what undid a batch, when everything else was not tried.
fn cause(heads: &Heads, operations: &[(EntityKey, Arc<Operation>)]) -> (usize, Said) {
    let mut after = heads.clone();
    let said = write(&mut after, operations.to_vec(), 100);
    assert_eq!(after, *heads, "something was done");
    let causes: Vec<_> = said.into_iter().enumerate().filter(|(_, said)| *said != Said::apart()).collect();
    assert_eq!(causes.len(), 1, "{causes:?}");
    causes.into_iter().next().expect("one")
}

fn rolled_back(said: Said) -> Rollback {
    match said {
        Said::Decided { outcome: Outcome::RolledBack(why), made: None, .. } => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn operations_of_a_batch_are_done_one_after_the_other_with_one_record_for_each_entity() {
    let mut heads = heads();
    let batch = vec![
        update("a", json!({"n": 2})),
        create("c", json!({"made": "here"})),
        update("b", json!({"n": 2})),
        update("a", json!({"m": 3})),
        operation("c", "ann", Action::Delete),
        operation("gone", "ann", Action::Delete),
    ];
    let said = write(&mut heads, batch, 10);
    let told: Vec<_> = said
        .iter()
        .map(|said| match said {
            Said::Decided { outcome: Outcome::Confirmed(_), version, made, current: None } => {
                (version.0, made.map(|made| (made.base.0, made.company, made.is_new)))
            }
            other => panic!("{other:?}"),
        })
        .collect();
    let of_a = (10, Some((1, Company::Several, false)));
    let [made, unmade] = [true, false].map(|is_new| (11, Some((0, Company::Several, is_new))));
    assert_eq!(told, [of_a, made, (12, Some((2, Company::Alone, false))), of_a, unmade, (0, None)]);
    assert_eq!(heads[&key("a")].data, json!({"n": 2, "text": "one", "m": 3}));
    assert!(!heads[&key("c")].is_there() && heads[&key("c")].was_made());
    assert!(!heads.contains_key(&key("gone")));
}

#[test]
fn one_operation_that_cannot_be_done_undoes_all() {
    let mut heads = heads();
    write(&mut heads, vec![operation("a", "bob", Action::Update(Change::Merge(json!({"n": 7}))))], 5);
    let (first, last) = (update("b", json!({"n": 2})), update("b", json!({"n": 3})));
    let refused = |operation| {
        let (at, said) = cause(&heads, &[first.clone(), operation, last.clone()]);
        assert_eq!(at, 1);
        said
    };
    assert_eq!(rolled_back(refused(update("none", json!({})))), Rollback::NotFound);
    assert_eq!(refused(seen(9, Strategy::Merge, update("a", json!({})))), Said::Ahead { version: Position(5) });
    for strategy in [Strategy::Manual, Strategy::Version] {
        let why = refused(seen(1, strategy, update("a", json!({"n": 8}))));
        let Said::Decided { version, current: Some(current), .. } = &why else { panic!("{why:?}") };
        assert_eq!((version.0, &current["n"]), (5, &json!(7)), "its sender sees what stands");
        assert_eq!(rolled_back(why), Rollback::Clash(vec!["/n".to_owned()]));
    }
    let mut after = heads.clone();
    let said = write(&mut after, vec![first, seen(1, Strategy::Merge, update("a", json!({"n": 8}))), last], 10);
    assert!(matches!(&said[1], Said::Decided { outcome: Outcome::Resolved { .. }, made: Some(_), .. }), "{said:?}");
    assert_eq!(after[&key("a")].data["n"], 8, "what is settled is done");
}

#[test]
fn a_batch_that_is_repeated_is_done_and_writes_nothing() {
    let mut heads = heads();
    let batch = vec![update("a", json!({"n": 2})), update("b", json!({"n": 2}))];
    write(&mut heads, batch.clone(), 10);
    let again = write(&mut heads, batch.clone(), 20);
    for (said, version) in again.iter().zip([10, 11]) {
        let Said::Decided { outcome: Outcome::Repeat(repeat), version: of, made: None, .. } = said else {
            panic!("{said:?}")
        };
        assert_eq!((of.0, &repeat.fate), (version, &Fate::Confirmed(Seen::Head)));
    }
    let said = write(&mut heads, [batch, vec![update("a", json!({"n": 3}))]].concat(), 20);
    assert!(matches!(said[2], Said::Decided { version: Position(20), made: Some(_), .. }), "{said:?}");
    assert_eq!(heads[&key("b")].version, Position(11), "what was done stands where it stood");
}

#[test]
fn what_stood_at_a_base_is_asked_for_and_used() {
    let mut heads = heads();
    write(&mut heads, vec![operation("a", "bob", Action::Update(Change::Merge(json!({"text": "one more"}))))], 5);
    let whole = TextChange { path: "/text".to_owned(), edit: TextEdit::Whole("only one".to_owned()) };
    let edit = operation("a", "ann", Action::Update(Change::Text(whole)));
    let batch = Together::new(vec![update("b", json!({"n": 2})), seen(1, Strategy::Merge, edit)]);
    let mut deciding = batch.decide(&heads);
    let Step::LoadBase(of, Position(1)) = deciding.step(LIMITS) else { panic!("it needs the text at its base") };
    assert_eq!(of, key("a"));
    deciding.base_loaded(Some(json!({"n": 1, "text": "one"}).into()));
    let Step::End(Verdict::Append(plan)) = deciding.step(LIMITS) else { panic!("it can be done now") };
    assert_eq!(plan.drafts[1].1.next.data["text"], "only one more");
}
