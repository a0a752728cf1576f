//! The embedded log against a model of a few lines, over random operations.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use continuum::{
    backbone::{Append, AppendError, Appended, Backbone, Expect, Outcome, Subject, append_one, embedded::EmbeddedLog},
    model::{DedupeId, EntityKey, Position, TenantId},
};
use proptest::prelude::*;
use uuid::Uuid;

use crate::{embedded::config, support::*};

#[derive(Clone, Copy, Debug)]
enum Condition {
    None,
    Current,
    Stale,
}

#[derive(Clone, Debug)]
enum Operation {
    Append { tenant: usize, entity: Option<usize>, id: u128, condition: Condition },
    Trim { share: u64 },
    Reopen,
}

fn operation() -> impl Strategy<Value = Operation> {
    let condition = prop_oneof![3 => Just(Condition::None), 2 => Just(Condition::Current), 1 => Just(Condition::Stale)];
    let entity = prop_oneof![Just(None), (0..3usize).prop_map(Some)];
    let append = (0..3usize, entity, 0..40u128, condition);
    prop_oneof![
        20 => append.prop_map(|(tenant, entity, id, condition)| Operation::Append { tenant, entity, id, condition }),
        2 => (0..=100u64).prop_map(|share| Operation::Trim { share }),
        1 => Just(Operation::Reopen),
    ]
}

#[derive(Default)]
struct Model {
    end: u64,
    trimmed: u64,
    records: Vec<(Position, Append)>,
    entities: BTreeMap<(TenantId, EntityKey), (Position, Append)>,
    trimmed_to: BTreeMap<TenantId, Position>,
}

impl Model {
    fn version(&self, append: &Append) -> Position {
        match &append.subject {
            Subject::Event(_) => Position::START,
            Subject::Entity(key) => {
                self.entities.get(&(append.tenant.clone(), key.clone())).map_or(Position::START, |(at, _)| *at)
            }
        }
    }

    fn append(&mut self, append: &Append) -> Result<Appended, AppendError> {
        let is_free = |append: &Append| append.expect == Expect::Anything;
        let same = |(_, kept): &&(Position, Append)| {
            kept.tenant == append.tenant && kept.dedupe == append.dedupe && is_free(kept) && is_free(append)
        };
        if let Some((position, _)) = self.records.iter().find(same) {
            return Ok(Appended { position: *position, outcome: Outcome::Duplicate });
        }
        let current = self.version(append);
        if matches!(append.expect, Expect::Version(expected) if expected != current) {
            return Err(AppendError::Conflict { current });
        }
        self.end += 1;
        let position = Position(self.end);
        self.records.push((position, append.clone()));
        if let Subject::Entity(key) = &append.subject {
            self.entities.insert((append.tenant.clone(), key.clone()), (position, append.clone()));
        }
        Ok(Appended { position, outcome: Outcome::Stored })
    }

    fn trim(&mut self, to: u64) {
        self.trimmed = self.trimmed.max(to.min(self.end));
        let gone = self.records.iter().take_while(|(position, _)| position.0 <= to).count();
        for (position, append) in self.records.drain(..gone) {
            self.trimmed_to.insert(append.tenant, position);
        }
    }

    fn of<'a>(&'a self, tenant: &'a TenantId) -> impl Iterator<Item = &'a (Position, Append)> {
        self.records.iter().filter(move |(_, append)| append.tenant == *tenant)
    }
}

async fn compare(log: &EmbeddedLog, model: &Model, tenant: &TenantId) {
    let trimmed_to = model.trimmed_to.get(tenant).copied().unwrap_or_default();
    let last = model.of(tenant).last().map_or(trimmed_to, |(position, _)| *position);
    let extent = log.extent(tenant).await.expect("extent");
    assert_eq!((extent.trimmed_to, extent.last, extent.end), (trimmed_to, last, Position(model.end)));
    let after = Position(model.end / 2);
    for from in [Position::START, after] {
        let page = log.read(tenant, from, ALL).await.expect("read");
        let held: Vec<_> = page.records.iter().map(|record| (record.position, &record.subject, &record.body)).collect();
        let expected: Vec<_> = model.of(tenant).filter(|(position, _)| *position > from).collect();
        assert_eq!(held, expected.iter().map(|(at, kept)| (*at, &kept.subject, &kept.body)).collect::<Vec<_>>());
        assert_eq!(log.count_after(tenant, from, 1_000).await.expect("read"), expected.len());
    }
    let at = model.of(tenant).filter(|(position, _)| *position <= after).last();
    assert_eq!(log.last_at(tenant, after).await.expect("read"), at.map_or(Position::START, |(position, _)| *position));
    let page = log.entities(tenant, None, ALL).await.expect("read");
    let held: Vec<_> = page.entities.iter().map(|(key, record)| (key, record.position, &record.body)).collect();
    let expected = model.entities.iter().filter(|((of, _), _)| of == tenant);
    assert_eq!(held, expected.map(|((_, key), (at, kept))| (key, *at, &kept.body)).collect::<Vec<_>>());
}

async fn run(dir: &Path, operations: &[Operation]) {
    let tenants = ["a", "b", "c"].map(tenant);
    let open = || Arc::new(EmbeddedLog::open(config(dir)).expect("opens"));
    let (mut log, mut model) = (open(), Model::default());
    for (step, operation) in operations.iter().enumerate() {
        match operation {
            Operation::Append { tenant, entity: of, id, condition } => {
                let base = event(&tenants[*tenant], format!("{step}"));
                let subject = of.map_or(base.subject.clone(), |n| Subject::Entity(entity(&format!("e{n}"))));
                let mut append = Append { subject, dedupe: DedupeId(Uuid::from_u128(*id)), ..base };
                append.expect = match condition {
                    Condition::None => Expect::Anything,
                    Condition::Current => Expect::Version(model.version(&append)),
                    Condition::Stale => Expect::Version(Position(model.end + 1)),
                };
                assert_eq!(append_one(log.as_ref(), append.clone()).await, model.append(&append));
            }
            Operation::Trim { share } => {
                let to = model.end * share / 100;
                log.trim_to(Position(to)).await.expect("trimmed");
                model.trim(to);
            }
            Operation::Reopen => {
                log.close().await;
                log = open();
            }
        }
    }
    for tenant in &tenants {
        compare(&log, &model, tenant).await;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_embedded_log_does_what_its_model_does(operations in prop::collection::vec(operation(), 1..120)) {
        let dir = tempfile::tempdir().expect("a directory");
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(run(dir.path(), &operations));
    }
}
