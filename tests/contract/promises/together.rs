//! The promises about records that are appended together.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use continuum::{
    backbone::{Append, AppendError, Expect, MOST_TOGETHER, Outcome, SharedBackbone},
    model::{Position, TenantId},
};
use futures_util::future::join_all;
use tokio::task::JoinSet;

use super::one;
use crate::support::*;

const NEW: Expect = Expect::Version(Position::START);

fn several(of: &TenantId, names: &[&str], expect: Expect, body: &str) -> Vec<Append> {
    names.iter().map(|name| change(of, &entity(name), expect, body.to_owned())).collect()
}

async fn contents(log: &SharedBackbone, of: &TenantId, names: &[&str]) -> Vec<Bytes> {
    let found = names.iter().map(async |name| log.entity(of, &entity(name)).await.expect("read").expect("there").body);
    join_all(found).await
}

async fn put_together(log: &SharedBackbone, appends: Vec<Append>) -> Result<Vec<Position>, AppendError> {
    let appended = log.append_all(appends).await?;
    assert!(appended.iter().all(|one| one.outcome == Outcome::Stored));
    let positions: Vec<_> = appended.into_iter().map(|one| one.position).collect();
    assert!(positions.is_sorted_by(|one, next| one.0 + 1 == next.0), "one right behind the other: {positions:?}");
    Ok(positions)
}

pub async fn records_together_stand_side_by_side_among_others<B: Backend>() {
    let (backend, acme) = one::<B>().await;
    let (log, other) = (backend.log(), tenant("other"));
    let mut feed = log.follow(&acme).await.expect("followed");
    let batches = (0..10).map(async |n| {
        let names: Vec<_> = (0..20).map(|m| format!("{n}.{m}")).collect();
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        put_together(log, several(&acme, &names, NEW, "x")).await.expect("appended")
    });
    let others = put_all(log, (0..200).map(|n| event(if n % 2 == 0 { &acme } else { &other }, "y")).collect());
    let (positions, others) = tokio::join!(join_all(batches), others);
    let mut mine: Vec<_> = positions.into_iter().flatten().collect();
    mine.extend(others.into_iter().step_by(2).map(|answer| answer.expect("appended").position));
    mine.sort();
    let (seen, lags) = follow_to(log, &acme, &mut feed, *mine.last().expect("many")).await;
    assert_eq!((seen.iter().map(|record| record.position).collect::<Vec<_>>(), lags), (mine, 0));
    assert_eq!(seen, all_after(log, &acme, Position::START).await);
}

pub async fn of_records_together_all_go_through_or_none<B: Backend>() {
    let (mut backend, acme) = one::<B>().await;
    let log = backend.log();
    let made = put_together(log, several(&acme, &["a", "b"], NEW, "1")).await.expect("appended");
    let conditions = [("a", made[0]), ("b", made[0]), ("c", Position::START)];
    let changes = |conditions: [(&str, Position); 3]| {
        conditions.map(|(name, version)| change(&acme, &entity(name), Expect::Version(version), "2")).to_vec()
    };
    let refused = log.append_all(changes(conditions)).await;
    assert!(matches!(refused, Err(AppendError::Conflict { .. })), "{refused:?}");
    assert_eq!(bodies(&all_after(log, &acme, Position::START).await), ["1", "1"]);
    put_together(log, changes([conditions[0], ("b", made[1]), conditions[2]])).await.expect("now they hold");
    backend.reopen().await;
    let log = backend.log();
    assert_eq!(bodies(&all_after(log, &acme, Position::START).await), ["1", "1", "2", "2", "2"]);
    assert_eq!(contents(log, &acme, &["a", "b", "c"]).await, ["2", "2", "2"]);
}

pub async fn of_racing_batches_that_share_an_entity_one_goes_through<B: Backend>() {
    let (backend, acme) = one::<B>().await;
    let log = backend.log();
    let mut shared = Position::START;
    for round in 0..5 {
        let rivals = (0..6).map(async |n| {
            let own = format!("{round}.{n}");
            let mut batch = several(&acme, &[&own], NEW, &own);
            batch.push(change(&acme, &entity("shared"), Expect::Version(shared), own.clone()));
            log.append_all(batch).await
        });
        let answers = join_all(rivals).await;
        let won: Vec<_> = answers.iter().flatten().collect();
        assert_eq!(won.len(), 1, "{answers:?}");
        shared = won[0][1].position;
    }
    assert_eq!(all_after(log, &acme, Position::START).await.len(), 10, "nothing of those that lost");
}

pub async fn records_together_know_entities_that_the_log_has_trimmed<B: Backend>() {
    let (backend, acme) = one::<B>().await;
    let log = backend.log();
    let made = put_together(log, several(&acme, &["old", "older"], NEW, "1")).await.expect("appended");
    put(log, change(&acme, &entity("z"), NEW, "1")).await;
    backend.trim(made[1]).await;
    let wrong = log.append_all(several(&acme, &["old", "new"], NEW, "2")).await;
    assert_eq!(wrong, Err(AppendError::Conflict { current: made[0] }));
    let right = [("old", made[0]), ("older", made[1]), ("new", Position::START)];
    let right = right.map(|(name, version)| change(&acme, &entity(name), Expect::Version(version), "2"));
    put_together(log, right.to_vec()).await.expect("appended");
    assert_eq!(contents(log, &acme, &["old", "older", "new"]).await, ["2", "2", "2"]);
}

pub async fn a_crash_leaves_records_together_whole_or_not_at_all<B: Backend>() {
    let (mut backend, acme) = one::<B>().await;
    let answered = Arc::new(Mutex::new(Vec::new()));
    let mut writers = JoinSet::new();
    for writer in 0..6 {
        let (log, acme, answered) = (backend.log().clone(), acme.clone(), answered.clone());
        writers.spawn(async move {
            for round in 0.. {
                let name = format!("{writer}.{round}");
                let names: Vec<_> = (0..5).map(|n| format!("{name}.{n}")).collect();
                let names: Vec<_> = names.iter().map(String::as_str).collect();
                if put_together(&log, several(&acme, &names, NEW, &name)).await.is_err() {
                    return;
                }
                answered.lock().expect("sound").push(name);
                tokio::task::yield_now().await;
            }
        });
    }
    let known = || answered.lock().expect("sound").clone();
    while known().len() < 30 {
        tokio::task::yield_now().await;
    }
    let known = known();
    backend.crash_and_reopen().await;
    writers.shutdown().await;
    let mut found: BTreeMap<String, usize> = BTreeMap::new();
    for body in bodies(&all_after(backend.log(), &acme, Position::START).await) {
        *found.entry(body).or_default() += 1;
    }
    assert!(found.values().all(|count| *count == 5), "{found:?}");
    assert!(known.iter().all(|name| found.contains_key(name)), "what was answered is there: {known:?} {found:?}");
}

pub async fn what_cannot_be_appended_together_is_refused<B: Backend>() {
    let (backend, acme) = one::<B>().await;
    let log = backend.log();
    assert_eq!(log.append_all(Vec::new()).await, Ok(Vec::new()));
    let fit = || several(&acme, &["a"], NEW, "x");
    let many: Vec<_> = (0..=MOST_TOGETHER).map(|n| change(&acme, &entity(&n.to_string()), NEW, "x")).collect();
    let unfit = [
        [fit(), fit()].concat(),
        [fit(), vec![event(&acme, "x")]].concat(),
        [fit(), several(&tenant("other"), &["b"], NEW, "x")].concat(),
        [fit(), several(&acme, &["b"], Expect::Anything, "x")].concat(),
        many,
    ];
    for appends in unfit {
        let refused = log.append_all(appends).await;
        assert!(matches!(refused, Err(AppendError::Refused(_))), "{refused:?}");
    }
    assert_eq!(all_after(log, &acme, Position::START).await, []);
    log.close().await;
    assert_eq!(log.append_all(fit()).await, Err(AppendError::Closed));
}
