//! What is answered when.

use continuum::{
    backbone::{Answer, AppendError, Expect, Outcome, Reply},
    journal::{Ahead, Figures, Standing},
    model::Position,
};
use tokio::sync::mpsc;

use crate::{
    support::*,
    switch::{Says, Way},
};

#[tokio::test(flavor = "multi_thread")]
async fn while_the_log_serves_the_journal_is_not_touched() {
    let (bench, acme) = (Bench::new().await, tenant("acme"));
    assert_eq!(outcome(&bench.put(event(&acme, "one")).await), "stored");
    let untouched = Figures { max_bytes: bench.journal.figures().max_bytes, ..Figures::default() };
    assert_eq!((bench.journal.figures(), bench.journal.standing()), (untouched, Standing::Empty));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_reach_the_log_is_queued_and_stored_when_it_is_back() {
    let (bench, acme) = (Bench::new().await, tenant("acme"));
    let mut notices = bench.journal.notices(&acme);
    bench.switch.set(Way::CutBefore, Says::Serving);
    let append = event(&acme, "one");
    assert_eq!(outcome(&bench.put(append.clone()).await), "queued", "the log gave it up");
    bench.switch.set(Way::CutBefore, Says::Degraded);
    assert_eq!(outcome(&bench.put(event(&acme, "two")).await), "queued", "the log was not even asked");
    assert_eq!(bench.journal.standing(), Standing::Holding(2));
    bench.switch.set(Way::Open, Says::Serving);
    bench.drained().await;
    let drained = in_time(notices.recv()).await.expect("a notice");
    assert_eq!((drained.dedupe, drained.end.expect("stored").outcome), (append.dedupe, Outcome::Stored));
    assert_eq!(bench.stored(&acme).await, ["one", "two"]);
    assert_eq!(bench.journal.figures().drained, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_log_had_taken_before_the_answer_was_lost_is_not_stored_twice() {
    let (bench, acme) = (Bench::new().await, tenant("acme"));
    assert_eq!(outcome(&bench.put(event(&acme, "before")).await), "stored");
    let mut notices = bench.journal.notices(&acme);
    bench.switch.set(Way::CutAfter, Says::Serving);
    assert_eq!(outcome(&bench.put(event(&acme, "one")).await), "queued");
    bench.switch.set(Way::Open, Says::Serving);
    bench.drained().await;
    let end = in_time(notices.recv()).await.expect("a notice").end.expect("found");
    assert_eq!((end.outcome, end.position), (Outcome::Duplicate, Position(2)));
    assert_eq!(bench.stored(&acme).await, ["before", "one"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn later_publishes_of_a_room_queue_behind_and_other_rooms_do_not() {
    let (bench, acme, other) = (Bench::new().await, tenant("acme"), tenant("other"));
    bench.switch.set_for(&acme, Way::CutBefore);
    for body in ["0", "1", "2"] {
        assert_eq!(outcome(&bench.put(event(&acme, body)).await), "queued");
        assert_eq!(outcome(&bench.put(event(&other, body)).await), "stored");
    }
    // Only the first was tried straight: the others had it before them.
    bench.switch.set_for(&acme, Way::Open);
    assert_eq!(outcome(&bench.put(event(&acme, "3")).await), "queued");
    bench.drained().await;
    assert_eq!(outcome(&bench.put(event(&acme, "4")).await), "stored");
    assert_eq!(bench.stored(&acme).await, numbered(5));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publish_does_not_overtake_one_that_still_waits_for_the_logs_answer() {
    let (bench, acme) = (Bench::new().await, tenant("acme"));
    bench.switch.set(Way::Held, Says::Serving);
    let (to, mut answers) = mpsc::channel(2);
    let reply = |token| Reply { token, to: to.clone(), keeper: None };
    bench.journal.append(event(&acme, "0"), reply(0), Ahead::Nothing);
    // Now the log says that it is away, and it has not answered the first.
    bench.switch.set(Way::Held, Says::Degraded);
    bench.journal.append(event(&acme, "1"), reply(1), Ahead::Unanswered);
    bench.switch.set(Way::CutBefore, Says::Degraded);
    bench.switch.give_up();
    for _ in 0..2 {
        assert_eq!(outcome(&in_time(answers.recv()).await.expect("an answer").1), "queued");
    }
    bench.switch.set(Way::Open, Says::Serving);
    bench.drained().await;
    assert_eq!(bench.stored(&acme).await, numbered(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_of_what_is_queued_is_answered_alike_and_makes_no_second_entry() {
    let (bench, acme) = (Bench::new().await, tenant("acme"));
    bench.switch.set(Way::CutBefore, Says::Degraded);
    let append = event(&acme, "one");
    for _ in 0..3 {
        assert_eq!(outcome(&bench.put(append.clone()).await), "queued");
    }
    assert_eq!(bench.journal.figures().entries, 1);
    bench.switch.set(Way::Open, Says::Serving);
    bench.drained().await;
    let again = continuum::backbone::Append { first_tried: Some(Position::START), ..append };
    assert_eq!(outcome(&bench.put(again).await), "duplicate");
    assert_eq!(bench.stored(&acme).await, ["one"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_append_with_a_condition_is_never_kept() {
    let (bench, acme) = (Bench::new().await, tenant("acme"));
    bench.switch.set(Way::CutBefore, Says::Degraded);
    let append = continuum::backbone::Append { expect: Expect::Version(Position::START), ..event(&acme, "one") };
    assert_eq!(outcome(&bench.put(append).await), "unavailable");
    assert_eq!(bench.journal.figures().entries, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_before_the_log_was_ever_reached_is_stored_once() {
    let (bench, acme) = (Bench::new().await, tenant("acme"));
    // Another node had stored it, and its client did not hear of it.
    let append = event(&acme, "one");
    assert_eq!(outcome(&bench.put(append.clone()).await), "stored");
    bench.switch.set(Way::CutBefore, Says::NeverReached);
    assert_eq!(outcome(&bench.put(append).await), "queued");
    assert_eq!(outcome(&bench.put(event(&acme, "two")).await), "queued");
    bench.switch.set(Way::Open, Says::Serving);
    bench.drained().await;
    assert_eq!(bench.stored(&acme).await, ["one", "two"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_hears_each_end_once_and_a_newer_one_takes_its_place() {
    let (bench, acme) = (Bench::new().await, tenant("acme"));
    let mut older = bench.journal.notices(&acme);
    let mut newer = bench.journal.notices(&acme);
    assert_eq!(in_time(older.recv()).await, None);
    bench.switch.set(Way::CutBefore, Says::Degraded);
    let answer = bench.put(event(&acme, "one")).await;
    assert_eq!(answer, Ok::<_, AppendError>(Answer::Queued));
    bench.switch.set(Way::Open, Says::Serving);
    assert!(in_time(newer.recv()).await.is_some());
    bench.drained().await;
    assert!(newer.try_recv().is_err());
}
