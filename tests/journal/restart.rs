//! The journal's own end, at every step of an entry's way.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use continuum::{
    backbone::{Backbone, append_one},
    journal::Standing,
    model::Position,
};
use tokio::time::Instant;

use crate::{
    support::*,
    switch::{Says, Switch, Way},
};

#[tokio::test(flavor = "multi_thread")]
async fn what_is_queued_survives_a_kill_and_a_close() {
    let (mut bench, acme) = (Bench::new().await, tenant("acme"));
    bench.switch.set(Way::CutBefore, Says::Degraded);
    for number in 0..10 {
        assert_eq!(outcome(&bench.put(event(&acme, &number.to_string())).await), "queued");
        if number % 4 == 1 {
            bench.crash_and_reopen().await;
        }
        if number % 4 == 3 {
            bench.close_and_reopen().await;
        }
        assert_eq!(bench.journal.standing(), Standing::Holding(number + 1));
    }
    bench.switch.set(Way::Open, Says::Serving);
    bench.drained().await;
    assert_eq!(bench.stored(&acme).await, numbered(10));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_between_the_logs_answer_and_the_removal_stores_nothing_twice() {
    let (mut bench, acme) = (Bench::new().await, tenant("acme"));
    bench.switch.set(Way::CutBefore, Says::Degraded);
    for number in 0..4 {
        assert_eq!(outcome(&bench.put(event(&acme, &number.to_string())).await), "queued");
    }
    // The files as they are when the log has the third entry and nobody was told.
    let (from, to) = (bench.journal_dir(), bench.beside("killed"));
    let taken = AtomicUsize::new(0);
    bench.switch.when_taken(move |_| {
        if taken.fetch_add(1, SeqCst) == 2 {
            copy(&from, &to);
        }
    });
    bench.switch.set(Way::Open, Says::Serving);
    bench.drained().await;
    assert_eq!(bench.stored(&acme).await, numbered(4));
    let killed = open_journal(&bench.beside("killed"), 1 << 30, bench.switch.clone()).await;
    until("what the killed one held is drained", || killed.figures().bytes == 0).await;
    assert!(killed.figures().drained >= 2, "it still had what the log was given last");
    assert_eq!(bench.stored(&acme).await, numbered(4));
    bench.crash_and_reopen().await;
    assert_eq!(bench.journal.standing(), Standing::Empty, "what was removed stays removed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_was_made_anew_gets_everything_once() {
    let (bench, acme) = (Bench::new().await, tenant("acme"));
    for _ in 0..9 {
        assert_eq!(outcome(&bench.put(event(&acme, "of the old log")).await), "stored");
    }
    bench.switch.set(Way::CutBefore, Says::Degraded);
    let appends = ["0", "1"].map(|body| event(&acme, body));
    for append in &appends {
        assert_eq!(outcome(&bench.put(append.clone()).await), "queued");
    }
    bench.journal.close().await;
    // The new log has the first already, through another node, at a position that was behind in the old one.
    let log = open_log(&bench.beside("another log"));
    let switch = Switch::over(log.clone());
    assert_ne!(switch.epoch(&acme), bench.switch.epoch(&acme));
    let position = append_one(switch.as_ref(), appends[0].clone()).await.expect("appended").position;
    assert_eq!(position, Position(1));
    let journal = open_journal(&bench.journal_dir(), 1 << 30, switch).await;
    until("it is drained", || journal.figures().bytes == 0).await;
    assert_eq!(stored(&log, &acme).await, numbered(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_says_how_many_entries_stay() {
    let (mut bench, acme) = (Bench::new().await, tenant("acme"));
    bench.switch.set(Way::CutBefore, Says::Degraded);
    for body in ["0", "1"] {
        assert_eq!(outcome(&bench.put(event(&acme, body)).await), "queued");
    }
    assert_eq!(bench.journal.settle(Instant::now()).await, 2);
    let (journal, cut) = (bench.journal.clone(), bench.switch.clone());
    let settling =
        tokio::spawn(async move { journal.settle(Instant::now() + std::time::Duration::from_secs(100)).await });
    until("it was tried again", || cut.cut.load(SeqCst) > 1).await;
    bench.switch.set(Way::Open, Says::Serving);
    assert_eq!(in_time(settling).await.expect("settled"), 0);
    bench.journal.close().await;
    assert_eq!(outcome(&bench.put(event(&acme, "2")).await), "stored", "the log is still there");
    bench.switch.set(Way::CutBefore, Says::Degraded);
    assert_eq!(outcome(&bench.put(event(&acme, "3")).await), "closed");
    bench.close_and_reopen().await;
    assert_eq!(bench.journal.standing(), Standing::Empty);
}
