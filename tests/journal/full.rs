//! A journal that has no room, and publishes that the log will never take.

use continuum::{
    backbone::AppendError,
    journal::{Entry, Standing},
};

use crate::{
    support::*,
    switch::{Says, Way},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_full_journal_refuses_clearly_and_never_holds_more_than_it_may() {
    let max = 20_000;
    let (bench, acme) = (Bench::with_room_for(max).await, tenant("acme"));
    bench.switch.set(Way::CutBefore, Says::Degraded);
    let mut queued = Vec::new();
    let body = |number: usize| format!("{number} {}", "x".repeat(1000));
    let refused = loop {
        let text = body(queued.len());
        let append = event(&acme, &text);
        match outcome(&bench.put(append.clone()).await) {
            "queued" => queued.push(text),
            other => break (other, append),
        }
        assert!(bench.journal.figures().bytes <= max);
    };
    assert_eq!((refused.0, queued.len() > 10), ("journal_full", true));
    assert_eq!((bench.journal.standing(), bench.journal.figures().refused), (Standing::Full, 1));
    bench.switch.set(Way::Open, Says::Serving);
    bench.drained().await;
    assert_eq!(bench.journal.standing(), Standing::Empty);
    // The same id again: nothing had been stored.
    assert_eq!(outcome(&bench.put(refused.1).await), "stored");
    queued.push(body(queued.len()));
    assert_eq!(bench.stored(&acme).await, queued);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_log_may_have_is_not_called_refused_by_a_full_journal() {
    let (bench, acme) = (Bench::with_room_for(10).await, tenant("acme"));
    bench.switch.set(Way::CutAfter, Says::Serving);
    assert_eq!(outcome(&bench.put(event(&acme, "one")).await), "unknown");
    bench.switch.set(Way::CutBefore, Says::Serving);
    assert_eq!(outcome(&bench.put(event(&acme, "two")).await), "journal_full");
    assert_eq!(bench.stored(&acme).await, ["one"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_log_refuses_for_good_is_kept_as_a_dead_letter_and_holds_nothing_up() {
    let (mut bench, acme) = (Bench::new().await, tenant("acme"));
    let mut notices = bench.journal.notices(&acme);
    bench.switch.set(Way::CutBefore, Says::Degraded);
    let dead = event(&acme, "poison");
    for append in [event(&acme, "0"), dead.clone(), event(&acme, "1")] {
        assert_eq!(outcome(&bench.put(append).await), "queued");
    }
    bench.switch.set(Way::Open, Says::Serving);
    bench.drained().await;
    assert_eq!(bench.stored(&acme).await, numbered(2));
    let ends = [notices.recv().await, notices.recv().await, notices.recv().await].map(|end| end.expect("a notice"));
    let stored: Vec<_> = ends.iter().map(|end| end.end.is_ok()).collect();
    assert_eq!(stored, [true, false, true]);
    assert_eq!((ends[1].dedupe, &ends[1].end), (dead.dedupe, &Err(AppendError::Refused("poison".into()))));
    for _ in 0..2 {
        let letters = bench.journal.dead_letters(9).await.expect("read");
        let entry = Entry::decode(&letters[0].entry).expect("an entry");
        assert_eq!((letters.len(), letters[0].reason.as_str(), &entry.body), (1, "poison", &dead.body));
        assert_eq!((bench.journal.figures().dead, bench.journal.figures().bytes > 0), (1, true));
        bench.close_and_reopen().await;
    }
}
