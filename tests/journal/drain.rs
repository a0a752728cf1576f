//! Many entries.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::Instant,
};

use continuum::{
    backbone::{Answer, Reply},
    journal::{Ahead, Standing},
};
use tokio::sync::mpsc;

use crate::{
    support::*,
    switch::{Says, Way},
};

const ROOMS: usize = 20;
const ENTRIES: usize = 100_000;
const WINDOW: usize = 5_000;

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_thousand_entries_drain_in_order_and_none_is_lost() {
    let bench = Bench::new().await;
    let rooms: Vec<_> = (0..ROOMS).map(|room| tenant(&format!("room{room}"))).collect();
    bench.switch.set(Way::CutBefore, Says::Degraded);
    let (to, mut answers) = mpsc::channel(WINDOW);
    let begin = Instant::now();
    for start in (0..ENTRIES).step_by(WINDOW) {
        for number in start..start + WINDOW {
            let append = event(&rooms[number % ROOMS], &(number / ROOMS).to_string());
            bench.journal.append(append, Reply { token: 0, to: to.clone(), keeper: None }, Ahead::Nothing);
        }
        for _ in 0..WINDOW {
            let (_, answer) = in_time(answers.recv()).await.expect("an answer");
            assert_eq!(answer, Ok(Answer::Queued));
        }
    }
    assert_eq!(bench.journal.standing(), Standing::Holding(ENTRIES));
    let queued = begin.elapsed();
    bench.switch.set(Way::Open, Says::Serving);
    bench.drained().await;
    println!("{ENTRIES} entries: queued in {queued:?}, drained in {:?}", begin.elapsed() - queued);
    for room in &rooms {
        assert_eq!(bench.stored(room).await, numbered(ENTRIES / ROOMS));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_room_that_cannot_be_drained_holds_no_other_up() {
    let (bench, stuck, free) = (Bench::new().await, tenant("stuck"), tenant("free"));
    bench.switch.set(Way::CutBefore, Says::Degraded);
    for number in 0..300 {
        let of = if number % 3 == 0 { &free } else { &stuck };
        assert_eq!(outcome(&bench.put(event(of, &number.to_string())).await), "queued");
    }
    bench.switch.set_for(&stuck, Way::CutBefore);
    bench.switch.set(Way::Open, Says::Degraded);
    until("the free room is drained, and its room on disk given back", || {
        bench.journal.standing() == Standing::Holding(200)
    })
    .await;
    assert_eq!(bench.stored(&free).await.len(), 100);
    assert_eq!(bench.stored(&stuck).await.len(), 0);
    bench.switch.set_for(&stuck, Way::Open);
    bench.switch.set(Way::Open, Says::Serving);
    bench.drained().await;
    assert_eq!(bench.stored(&stuck).await.len(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_room_comes_out_of_its_journal_while_it_is_published_to() {
    const WRITERS: usize = 64;
    let (bench, acme) = (Bench::new().await, tenant("acme"));
    bench.switch.set(Way::CutBefore, Says::Degraded);
    // Each writer publishes its next number the moment that its last one was answered, until it was told to stop.
    let going = Arc::new(AtomicBool::new(true));
    let (queued, straight) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let (journal, acme, going) = (bench.journal.clone(), acme.clone(), going.clone());
            let (queued, straight) = (queued.clone(), straight.clone());
            tokio::spawn(async move {
                let mut made = 0;
                while going.load(SeqCst) {
                    let answer = put(&journal, event(&acme, &format!("{writer}.{made}"))).await;
                    made += 1;
                    match outcome(&answer) {
                        "queued" => queued.fetch_add(1, SeqCst),
                        "stored" => straight.fetch_add(1, SeqCst),
                        other => panic!("{other}"),
                    };
                }
                made
            })
        })
        .collect();
    until("much is queued", || queued.load(SeqCst) > 1_000).await;
    bench.switch.set(Way::Open, Says::Serving);
    until("the log answers again", || straight.load(SeqCst) > 1_000).await;
    until("the journal is empty", || bench.journal.figures().entries == 0).await;
    let before = queued.load(SeqCst);
    let more = straight.load(SeqCst) + 1_000;
    until("all goes straight", || straight.load(SeqCst) > more).await;
    assert_eq!(queued.load(SeqCst), before, "nothing passes the journal any more");
    going.store(false, SeqCst);
    let mut next = Vec::new();
    for writer in writers {
        next.push(writer.await.expect("a writer ends well"));
    }
    let mut seen = vec![0; WRITERS];
    for body in bench.stored(&acme).await {
        let (writer, number) = body.split_once('.').expect("two numbers");
        let writer: usize = writer.parse().expect("a number");
        assert_eq!(number.parse(), Ok(seen[writer]), "in order, once");
        seen[writer] += 1;
    }
    assert_eq!(seen, next, "everything");
}
