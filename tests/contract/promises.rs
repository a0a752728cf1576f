//! The promises, one function each.

#[path = "promises/state.rs"]
mod state;
#[path = "promises/together.rs"]
mod together;

use bytes::Bytes;
use continuum::{
    backbone::{
        Append, AppendError, Appended, Expect, FeedItem, Outcome, ReadBudget, Reply, SharedBackbone, append_one,
    },
    model::{EntityKey, Position, TenantId, Timestamp},
};
use tokio::sync::mpsc;

pub use self::{state::*, together::*};
use crate::support::*;

/// A log and one tenant to write to.
async fn one<B: Backend>() -> (B, TenantId) {
    (B::make(Options::default()).await, tenant("acme"))
}

pub async fn appends_get_strictly_rising_positions<B: Backend>() {
    let (backend, acme) = one::<B>().await;
    let appends = (0..300).map(|n| event(&acme, format!("{n}"))).collect();
    let answers = put_all(backend.log(), appends).await;
    let positions: Vec<_> = answers.into_iter().map(|answer| answer.expect("appended").position).collect();
    assert!(positions[0] > Position::START);
    assert!(positions.is_sorted_by(|one, next| one < next), "{positions:?}");
    let records = all_after(backend.log(), &acme, Position::START).await;
    assert_eq!(bodies(&records), (0..300).map(|n| n.to_string()).collect::<Vec<_>>());
}

pub async fn an_answered_append_is_there_for_reads_that_start_afterwards<B: Backend>() {
    let (backend, acme) = one::<B>().await;
    let log = backend.log();
    for n in 0..20 {
        let key = entity(&format!("e{n}"));
        let position = put(log, change(&acme, &key, Expect::Anything, "x")).await;
        assert_eq!(log.extent(&acme).await.expect("extent").last, position);
        assert_eq!(log.entity(&acme, &key).await.expect("read").map(|record| record.position), Some(position));
        assert_eq!(all_after(log, &acme, Position(position.0 - 1)).await.len(), 1);
    }
}

pub async fn records_come_back_as_they_were_appended<B: Backend>() {
    let (backend, acme) = one::<B>().await;
    let before = Timestamp(jiff::Timestamp::now().as_millisecond());
    let key = EntityKey::new("node", "ä id with blanks, dots. and > *").expect("a key");
    let sent = [
        event(&acme, Bytes::new()),
        event(&acme, vec![0; 100_000]),
        change(&acme, &key, Expect::Anything, &b"\0\xff"[..]),
    ];
    for append in &sent {
        put(backend.log(), append.clone()).await;
    }
    let records = all_after(backend.log(), &acme, Position::START).await;
    for (record, append) in records.iter().zip(&sent) {
        assert_eq!((&record.subject, &record.body), (&append.subject, &append.body));
        assert!(record.stored_at >= before);
    }
    assert_eq!(records.len(), sent.len());
}

async fn repeats(log: &SharedBackbone, append: &Append, first: Position) {
    let again = append_one(log.as_ref(), append.clone()).await;
    assert_eq!(again, Ok(Appended { position: first, outcome: Outcome::Duplicate }));
    assert_eq!(all_after(log, &append.tenant, Position::START).await.len(), 1);
}

pub async fn the_same_dedupe_id_makes_one_record<B: Backend>() {
    let (backend, acme) = one::<B>().await;
    let append = event(&acme, "once");
    let first = put(backend.log(), append.clone()).await;
    repeats(backend.log(), &append, first).await;
}

pub async fn the_same_dedupe_id_makes_one_record_also_after_a_restart<B: Backend>() {
    let (mut backend, acme) = one::<B>().await;
    let append = event(&acme, "once");
    let first = put(backend.log(), append.clone()).await;
    backend.reopen().await;
    repeats(backend.log(), &append, first).await;
}

pub async fn the_same_dedupe_id_twice_at_once_makes_one_record<B: Backend>() {
    let (backend, acme) = one::<B>().await;
    let append = event(&acme, "once");
    let answers = put_all(backend.log(), vec![append; 50]).await;
    let appended: Vec<_> = answers.into_iter().map(|answer| answer.expect("appended")).collect();
    assert!(appended.iter().all(|answer| answer.position == appended[0].position));
    assert_eq!(appended.iter().filter(|answer| answer.outcome == Outcome::Stored).count(), 1);
    assert_eq!(all_after(backend.log(), &acme, Position::START).await.len(), 1);
}

pub async fn an_append_with_a_condition_that_is_repeated_makes_one_record<B: Backend>() {
    let (backend, acme) = one::<B>().await;
    let (log, append) = (backend.log(), change(&acme, &entity("e"), Expect::Version(Position::START), "made"));
    let first = put(log, append.clone()).await;
    match append_one(log.as_ref(), append).await {
        Ok(Appended { position, outcome: Outcome::Duplicate }) => assert_eq!(position, first),
        other => assert_eq!(other, Err(AppendError::Conflict { current: first })),
    }
    assert_eq!(all_after(log, &acme, Position::START).await.len(), 1);
}

pub async fn of_racing_conditional_appends_one_goes_through<B: Backend>() {
    let (backend, acme) = one::<B>().await;
    let key = entity("e");
    let mut version = Position::START;
    for round in 0..5 {
        let rivals = (0..20).map(|n| change(&acme, &key, Expect::Version(version), format!("{round}.{n}"))).collect();
        let answers = put_all(backend.log(), rivals).await;
        let won: Vec<_> = answers.iter().flatten().collect();
        assert_eq!(won.len(), 1, "{answers:?}");
        let current = won[0].position;
        let lost = answers.iter().filter_map(|answer| answer.as_ref().err());
        assert!(lost.into_iter().all(|error| *error == AppendError::Conflict { current }));
        version = current;
    }
    assert_eq!(all_after(backend.log(), &acme, Position::START).await.len(), 5);
}

pub async fn a_condition_that_does_not_hold_names_the_version_that_stands<B: Backend>() {
    let (backend, acme) = one::<B>().await;
    let (log, key) = (backend.log(), entity("e"));
    let missing = append_one(log.as_ref(), change(&acme, &key, Expect::Version(Position(7)), "x")).await;
    assert_eq!(missing, Err(AppendError::Conflict { current: Position::START }));
    let current = put(log, change(&acme, &key, Expect::Version(Position::START), "x")).await;
    let again = append_one(log.as_ref(), change(&acme, &key, Expect::Version(Position::START), "x")).await;
    assert_eq!(again, Err(AppendError::Conflict { current }));
}

pub async fn a_feed_brings_everything_after_its_start_and_nothing_twice<B: Backend>() {
    let (backend, acme) = one::<B>().await;
    let (log, other) = (backend.log(), tenant("other"));
    put(log, event(&acme, "before")).await;
    let mut feed = log.follow(&acme).await.expect("followed");
    let mut late = None;
    let mut last = Position::START;
    for round in 0..20 {
        let appends = (0..10).flat_map(|n| [event(&acme, format!("{round}.{n}")), event(&other, "not yours")]);
        let answers = put_all(log, appends.collect()).await;
        last = answers[18].as_ref().expect("appended").position;
        if round == 10 {
            late = Some(log.follow(&acme).await.expect("followed"));
        }
    }
    let mut late = late.expect("followed in between");
    for feed in [&mut feed, &mut late] {
        let after = feed.after;
        let (seen, lags) = follow_to(log, &acme, feed, last).await;
        assert_eq!(lags, 0);
        assert_eq!(seen, all_after(log, &acme, after).await);
    }
}

pub async fn a_feed_that_is_not_drained_lags_and_the_log_fills_the_hole<B: Backend>() {
    let acme = tenant("acme");
    let backend = B::make(Options { feed_bytes: 10_000 }).await;
    let log = backend.log();
    let mut feed = log.follow(&acme).await.expect("followed");
    for _ in 0..10 {
        put_all(log, (0..10).map(|_| event(&acme, vec![1; 1_000])).collect()).await;
    }
    let last = put(log, event(&acme, "last")).await;
    let (seen, lags) = follow_to(log, &acme, &mut feed, last).await;
    assert!(lags > 0);
    assert_eq!(seen, all_after(log, &acme, Position::START).await);
    // It goes on by itself: what comes now is brought, unless what was still on its way filled it once more.
    let mut next = put(log, event(&acme, "next")).await;
    loop {
        match feed.next().await {
            FeedItem::Records(records) if records.last().is_some_and(|record| record.position == next) => break,
            FeedItem::Records(_) => {}
            FeedItem::Lagged => next = put(log, event(&acme, "next")).await,
            FeedItem::Ended => panic!("the feed ended"),
        }
    }
}

pub async fn reads_page_by_records_and_bytes<B: Backend>() {
    let (backend, acme) = one::<B>().await;
    let log = backend.log();
    put_all(log, (0..100).map(|n| event(&acme, vec![0; n * 10])).collect()).await;
    let all = all_after(log, &acme, Position::START).await;
    for budget in [
        ReadBudget { records: 1, bytes: usize::MAX },
        ReadBudget { records: 7, bytes: usize::MAX },
        ReadBudget { records: usize::MAX, bytes: 1 },
        ReadBudget { records: 9, bytes: 2_500 },
    ] {
        let (mut seen, mut after) = (Vec::new(), Position::START);
        loop {
            let page = log.read(&acme, after, budget).await.expect("read");
            let bytes: usize = page.records.iter().map(|record| record.body.len()).sum();
            assert!(page.records.len() <= budget.records);
            assert!(bytes <= budget.bytes || page.records.len() == 1);
            after = page.records.last().expect("a page that was announced has a record").position;
            seen.extend(page.records);
            if !page.more {
                break;
            }
        }
        assert_eq!(seen, all);
    }
}

pub async fn the_epoch_stays_over_a_restart<B: Backend>() {
    let (mut backend, acme) = one::<B>().await;
    let epoch = backend.log().epoch(&acme);
    backend.reopen().await;
    assert_eq!(backend.log().epoch(&acme), epoch);
    assert_ne!(B::make(Options::default()).await.log().epoch(&acme), epoch, "another log has another epoch");
}

pub async fn an_unknown_tenant_is_empty<B: Backend>() {
    let (backend, acme) = one::<B>().await;
    let end = put(backend.log(), event(&tenant("other"), "x")).await;
    let extent = backend.log().extent(&acme).await.expect("extent");
    assert_eq!((extent.trimmed_to, extent.last), (Position::START, Position::START));
    assert!(extent.end >= end);
    assert_eq!(backend.log().follow(&acme).await.expect("followed").after, extent.end);
}

pub async fn close_answers_what_waits<B: Backend>() {
    let (mut backend, acme) = one::<B>().await;
    let (to, mut from) = mpsc::channel(500);
    for token in 0..500 {
        backend.log().append(event(&acme, format!("{token}")), Reply { token, to: to.clone(), keeper: None });
    }
    drop(to);
    backend.log().close().await;
    let mut appended = 0;
    while let Ok((_, answer)) = from.try_recv() {
        answer.expect("an append that waited when the log was closed is finished");
        appended += 1;
    }
    assert_eq!(appended, 500, "answered when close returns");
    backend.reopen().await;
    assert_eq!(all_after(backend.log(), &acme, Position::START).await.len(), 500);
}

pub async fn a_closed_log_says_so<B: Backend>() {
    let (backend, acme) = one::<B>().await;
    let log = backend.log();
    let mut feed = log.follow(&acme).await.expect("followed");
    log.close().await;
    log.close().await;
    assert_eq!(append_one(log.as_ref(), event(&acme, "x")).await, Err(AppendError::Closed));
    assert!(log.read(&acme, Position::START, ALL).await.is_err());
    assert!(log.follow(&acme).await.is_err());
    assert!(log.keep_cursors(Vec::new()).await.is_err());
    assert!(log.keep_tally(&acme, "x".into()).await.is_err());
    assert!(matches!(feed.next().await, FeedItem::Ended));
}

pub async fn a_crash_loses_nothing_acknowledged<B: Backend>() {
    let (mut backend, acme) = one::<B>().await;
    let mut known = Vec::new();
    for round in 0..3 {
        put_all(backend.log(), (0..50).map(|n| event(&acme, format!("{round}.{n}"))).collect()).await;
        let records = all_after(backend.log(), &acme, Position::START).await;
        assert!(records.starts_with(&known));
        known = records;
        backend.crash_and_reopen().await;
        assert_eq!(all_after(backend.log(), &acme, Position::START).await, known);
    }
}
