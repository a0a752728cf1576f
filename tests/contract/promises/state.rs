//! The promises about what outlives a record: entities, extents, cursors, tallies, places found by time or count.

use std::collections::BTreeMap;

use continuum::{
    backbone::{AppendError, CursorUpdate, Expect, ReadBudget, SharedBackbone, Subject, append_one},
    model::{Epoch, Position, TenantId, Timestamp},
};

use super::one;
use crate::support::{self, *};

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
        let entities = entities(log, &acme).await;
        assert_eq!(entities.values().map(|record| record.position).collect::<Vec<_>>(), [changed, last]);
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
    log.keep_cursors(vec![cursor_at(log, &acme, &instance("i"), mine.0)]).await.expect("kept");
    log.keep_tally(&acme, "secret".into()).await.expect("kept");
    for (other, mut feed) in others.into_iter().zip(feeds) {
        assert_eq!(all_after(log, &other, Position::START).await, []);
        assert_eq!(log.entity(&other, &key).await.expect("read"), None);
        assert!(entities(log, &other).await.is_empty());
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
    let to = |position| cursor_at(log, &acme, &ann, position);
    assert_eq!(log.cursor(&acme, &ann).await.expect("read"), None);
    for (updates, kept) in
        [(vec![to(5)], 5), (vec![to(3)], 5), (vec![to(8), to(6)], 8), (vec![], 8), (vec![to(1), to(9), to(2)], 9)]
    {
        log.keep_cursors(updates).await.expect("kept");
        assert_eq!(support::kept(log, &acme, &ann).await, Some(kept));
    }
    let foreign = CursorUpdate { epoch: Epoch(log.epoch(&acme).0 ^ 1), ..to(20) };
    log.keep_cursors(vec![foreign]).await.expect("dropped");
    assert_eq!(support::kept(log, &acme, &ann).await, Some(9), "a cursor of another log says nothing about this one");
    assert_eq!(log.cursor(&acme, &instance("an")).await.expect("read"), None);
}

pub async fn cursors_survive_a_restart<B: Backend>() {
    let (mut backend, acme) = one::<B>().await;
    let ann = instance("ann");
    let update = cursor_at(backend.log(), &acme, &ann, 5);
    backend.log().keep_cursors(vec![update]).await.expect("kept");
    backend.crash_and_reopen().await;
    assert_eq!(support::kept(backend.log(), &acme, &ann).await, Some(5));
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
    // What is kept of entities may follow the log a little later.
    while entities(log, &acme).await.len() < keys.len() {}
    let (mut state, mut mark, mut pages) = (BTreeMap::new(), None, 0);
    let mut starts = Vec::new();
    loop {
        let page = log.entities(&acme, mark, ReadBudget { records: 7, bytes: 1_000 }).await.expect("read");
        assert!(page.entities.len() <= 7);
        state.extend(page.entities);
        pages += 1;
        starts.push(page.as_of);
        mark = page.next;
        if mark.is_none() {
            break;
        }
        // The world goes on between two pages, before and behind the reader.
        put(log, change(&acme, &keys[0], Expect::Anything, format!("changed {pages}"))).await;
        put(log, change(&acme, &entity(&format!("new{pages}")), Expect::Anything, "new")).await;
    }
    assert!(pages > 5);
    assert!(starts.is_sorted() && starts[0] > Position::START, "{starts:?}");
    for start in [starts[0], starts[3], starts[pages - 1]] {
        let mut state = state.clone();
        for record in all_after(log, &acme, start).await {
            if let Subject::Entity(key) = &record.subject {
                state.insert(key.clone(), record);
            }
        }
        assert_eq!(state.len(), keys.len() + pages - 1);
        for (key, record) in state {
            let head = log.entity(&acme, &key).await.expect("read").expect("there");
            assert_eq!((head.position, head.body), (record.position, record.body));
        }
    }
}
