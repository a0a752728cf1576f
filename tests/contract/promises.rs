//! The promises, one function each.

use std::collections::BTreeMap;

use bytes::Bytes;
use continuum::{
    backbone::{
        Append, AppendError, Appended, CursorUpdate, Expect, Outcome, ReadBudget, Reply, SharedBackbone, append_one,
    },
    model::{EntityKey, Position, TenantId, Timestamp},
};
use tokio::sync::mpsc;

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

pub async fn a_duplicate_is_answered_before_its_condition_is_looked_at<B: Backend>() {
    let (backend, acme) = one::<B>().await;
    let append = change(&acme, &entity("e"), Expect::Version(Position::START), "made");
    let first = put(backend.log(), append.clone()).await;
    repeats(backend.log(), &append, first).await;
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
    let next = put(log, event(&acme, "next")).await;
    let (seen, lags) = follow_to(log, &acme, &mut feed, next).await;
    assert_eq!((seen.last().map(|record| record.position), lags), (Some(next), 0), "a feed goes on after it lagged");
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

pub async fn trimming_shows_in_the_extent_and_keeps_entity_state<B: Backend>() {
    let (mut backend, acme) = one::<B>().await;
    let key = entity("kept");
    put(backend.log(), change(&acme, &key, Expect::Anything, "old")).await;
    let changed = put(backend.log(), change(&acme, &key, Expect::Anything, "new")).await;
    let moved = put(backend.log(), change(&acme, &entity("later"), Expect::Anything, "1")).await;
    let last = put(backend.log(), change(&acme, &entity("later"), Expect::Version(moved), "2")).await;
    backend.trim(moved).await;
    for _ in 0..2 {
        let log = backend.log();
        let extent = log.extent(&acme).await.expect("extent");
        assert!(extent.trimmed_to >= moved && extent.trimmed_to < last, "{extent:?}");
        assert_eq!(extent.last, last);
        let page = log.read(&acme, Position::START, ALL).await.expect("read");
        assert_eq!(page.records.len(), 1);
        assert!(page.trimmed_to >= moved);
        let state = log.entity(&acme, &key).await.expect("read").expect("kept");
        assert_eq!((state.position, &state.body[..]), (changed, &b"new"[..]));
        let entities = log.entities(&acme, None, ALL).await.expect("read").entities;
        assert_eq!(entities.iter().map(|(_, record)| record.position).collect::<Vec<_>>(), [changed, last]);
        backend.reopen().await;
    }
    let log = backend.log();
    let conflict = append_one(log.as_ref(), change(&acme, &key, Expect::Version(Position::START), "x")).await;
    assert_eq!(conflict, Err(AppendError::Conflict { current: changed }), "a trimmed entity keeps its version");
    put(log, change(&acme, &key, Expect::Version(changed), "newer")).await;
    assert_eq!(log.entity(&acme, &key).await.expect("read").expect("kept").body, "newer");
}

pub async fn positions_are_never_used_again_after_everything_was_trimmed<B: Backend>() {
    let (mut backend, acme) = one::<B>().await;
    let mut last = Position::START;
    for _ in 0..3 {
        let next = put(backend.log(), event(&acme, "x")).await;
        assert!(next > last);
        last = next;
        backend.trim(last).await;
        backend.reopen().await;
        let extent = backend.log().extent(&acme).await.expect("extent");
        assert_eq!((extent.trimmed_to, extent.last), (last, last));
        assert!(extent.end >= last);
    }
}

pub async fn nothing_crosses_tenants<B: Backend>() {
    let (backend, acme) = one::<B>().await;
    let (log, key) = (backend.log(), entity("same"));
    let others = ["a", "acm", "acme-", "acme0", "Acme"].map(tenant);
    let mut feeds = Vec::new();
    for other in &others {
        feeds.push(log.follow(other).await.expect("followed"));
    }
    let made = change(&acme, &key, Expect::Anything, "secret");
    put(log, made.clone()).await;
    let mine = log.follow(&acme).await.expect("followed").after;
    log.keep_cursors(vec![CursorUpdate { tenant: acme.clone(), instance: instance("i"), position: mine }])
        .await
        .expect("kept");
    log.keep_tally(&acme, "secret".into()).await.expect("kept");
    for (other, mut feed) in others.into_iter().zip(feeds) {
        assert_eq!(all_after(log, &other, Position::START).await, []);
        assert_eq!(log.entity(&other, &key).await.expect("read"), None);
        assert!(log.entities(&other, None, ALL).await.expect("read").entities.is_empty());
        assert_eq!(log.extent(&other).await.expect("extent").last, Position::START);
        assert_eq!(log.last_at(&other, mine).await.expect("read"), Position::START);
        assert_eq!(log.count_after(&other, Position::START, 9).await.expect("read"), 0);
        assert_eq!(log.cursor(&other, &instance("i")).await.expect("read"), None);
        assert_eq!(log.tally(&other).await.expect("read"), None);
        // The other's entity of the same name is a different one.
        let own = change(&other, &key, Expect::Version(Position::START), "own");
        let own = put(log, own).await;
        let (seen, _) = follow_to(log, &other, &mut feed, own).await;
        assert_eq!(bodies(&seen), ["own"]);
    }
    assert_eq!(bodies(&all_after(log, &acme, Position::START).await), ["secret"]);
}

pub async fn cursors_only_move_forward<B: Backend>() {
    let (backend, acme) = one::<B>().await;
    let (log, ann) = (backend.log(), instance("ann"));
    let to = |position| CursorUpdate { tenant: acme.clone(), instance: ann.clone(), position: Position(position) };
    assert_eq!(log.cursor(&acme, &ann).await.expect("read"), None);
    for (updates, kept) in
        [(vec![to(5)], 5), (vec![to(3)], 5), (vec![to(8), to(6)], 8), (vec![], 8), (vec![to(1), to(9), to(2)], 9)]
    {
        log.keep_cursors(updates).await.expect("kept");
        assert_eq!(log.cursor(&acme, &ann).await.expect("read"), Some(Position(kept)));
    }
    assert_eq!(log.cursor(&acme, &instance("an")).await.expect("read"), None);
}

pub async fn cursors_survive_a_restart<B: Backend>() {
    let (mut backend, acme) = one::<B>().await;
    let ann = instance("ann");
    let update = CursorUpdate { tenant: acme.clone(), instance: ann.clone(), position: Position(5) };
    backend.log().keep_cursors(vec![update]).await.expect("kept");
    backend.crash_and_reopen().await;
    assert_eq!(backend.log().cursor(&acme, &ann).await.expect("read"), Some(Position(5)));
}

pub async fn a_tally_is_kept_whole<B: Backend>() {
    let (mut backend, acme) = one::<B>().await;
    assert_eq!(backend.log().tally(&acme).await.expect("read"), None);
    for tally in ["one", "", "three"] {
        backend.log().keep_tally(&acme, tally.into()).await.expect("kept");
        assert_eq!(backend.log().tally(&acme).await.expect("read").as_deref(), Some(tally.as_bytes()));
    }
    backend.reopen().await;
    assert_eq!(backend.log().tally(&acme).await.expect("read").as_deref(), Some(&b"three"[..]));
}

/// Ten records of one tenant, with another's in between.
async fn interleaved(log: &SharedBackbone, acme: &TenantId) -> Vec<Position> {
    let mut positions = Vec::new();
    for n in 0..10 {
        put(log, event(&tenant("other"), "x")).await;
        positions.push(put(log, event(acme, format!("{n}"))).await);
    }
    positions
}

pub async fn count_after_counts_to_its_limit<B: Backend>() {
    let (backend, acme) = one::<B>().await;
    let positions = interleaved(backend.log(), &acme).await;
    for (after, at_most, count) in
        [(Position::START, 100, 10), (Position::START, 4, 4), (positions[6], 100, 3), (positions[9], 100, 0)]
    {
        assert_eq!(backend.log().count_after(&acme, after, at_most).await.expect("read"), count);
    }
    backend.trim(positions[7]).await;
    assert_eq!(backend.log().count_after(&acme, Position::START, 100).await.expect("read"), 2);
}

pub async fn last_at_finds_the_record_at_or_before<B: Backend>() {
    let (backend, acme) = one::<B>().await;
    let log = backend.log();
    let positions = interleaved(log, &acme).await;
    let mut last = Position::START;
    for at in 0..=positions[9].0 + 5 {
        last = positions.iter().copied().find(|position| position.0 == at).unwrap_or(last);
        assert_eq!(log.last_at(&acme, Position(at)).await.expect("read"), last);
    }
    backend.trim(positions[4]).await;
    assert_eq!(log.last_at(&acme, positions[4]).await.expect("read"), Position::START);
    assert_eq!(log.last_at(&acme, positions[5]).await.expect("read"), positions[5]);
}

pub async fn position_at_misses_nothing_stored_since<B: Backend>() {
    let (backend, acme) = one::<B>().await;
    let log = backend.log();
    interleaved(log, &acme).await;
    let records = all_after(log, &acme, Position::START).await;
    let (first, last) = (records[0].stored_at, records[9].stored_at);
    for time in (first.0 - 2..=last.0 + 2).map(Timestamp) {
        let from = log.position_at(&acme, time).await.expect("read");
        let since = all_after(log, &acme, from).await;
        for record in records.iter().filter(|record| record.stored_at >= time) {
            assert!(since.contains(record), "{record:?} was stored since {time:?} but not read from {from}");
        }
    }
    let after_all = log.position_at(&acme, Timestamp(last.0 + 1_000_000)).await.expect("read");
    assert_eq!(all_after(log, &acme, after_all).await, []);
}

pub async fn snapshot_pages_and_their_tail_make_the_full_state<B: Backend>() {
    let (backend, acme) = one::<B>().await;
    let log = backend.log();
    let keys: Vec<_> = (0..40).map(|n| entity(&format!("e{n}"))).collect();
    put_all(log, keys.iter().map(|key| change(&acme, key, Expect::Anything, "first")).collect()).await;
    let (mut state, mut start, mut after) = (BTreeMap::new(), None, None);
    loop {
        let page = log.entities(&acme, after, ReadBudget { records: 7, bytes: 1_000 }).await.expect("read");
        assert!(page.entities.is_sorted_by(|(one, _), (next, _)| one < next));
        start.get_or_insert(page.as_of);
        after = page.entities.last().map(|(key, _)| key.clone());
        state.extend(page.entities);
        if !page.more {
            break;
        }
        // The world goes on between two pages, before and behind the reader.
        put(log, change(&acme, &keys[0], Expect::Anything, format!("changed {}", state.len()))).await;
        put(log, change(&acme, &entity(&format!("new{}", state.len())), Expect::Anything, "new")).await;
    }
    let start = start.expect("there was a first page");
    for record in all_after(log, &acme, start).await {
        if let continuum::backbone::Subject::Entity(key) = &record.subject {
            state.insert(key.clone(), record);
        }
    }
    let full: BTreeMap<_, _> = log.entities(&acme, None, ALL).await.expect("read").entities.into_iter().collect();
    assert_eq!(state, full);
}

pub async fn the_epoch_stays_over_a_restart<B: Backend>() {
    let (mut backend, _) = one::<B>().await;
    let epoch = backend.log().epoch();
    backend.reopen().await;
    assert_eq!(backend.log().epoch(), epoch);
    assert_ne!(B::make(Options::default()).await.log().epoch(), epoch, "another log has another epoch");
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
        backend.log().append(event(&acme, format!("{token}")), Reply { token, to: to.clone() });
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
    assert!(matches!(feed.next().await, continuum::backbone::FeedItem::Ended));
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
