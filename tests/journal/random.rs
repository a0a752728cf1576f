//! Chance: rooms publish while the switch turns and the journal is closed and opened, in an order drawn anew on every run.

use continuum::{
    backbone::{Answer, Append, Reply},
    journal::Ahead,
    model::TenantId,
};
use tokio::sync::mpsc;

use crate::{
    support::*,
    switch::{Says, Way},
};

const ROOMS: usize = 3;
const STEPS: usize = 400;

/// One room and what was published in it.
struct Room {
    name: TenantId,
    sent: usize,
    /// The last publishes, so that some can be repeated.
    last: Option<Append>,
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_happens_each_publish_is_stored_once_and_in_its_rooms_order() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let mut bench = Bench::new().await;
    let mut rooms: Vec<_> =
        (0..ROOMS).map(|room| Room { name: tenant(&format!("room{room}")), sent: 0, last: None }).collect();
    let mut restarts = 0;
    for _ in 0..STEPS {
        match random.usize(..20) {
            0..=13 => publish(&bench, &mut rooms[random.usize(..ROOMS)], random.usize(1..6)).await,
            14 => repeat(&bench, &rooms[random.usize(..ROOMS)]).await,
            15 | 16 => bench.switch.set(Way::Open, Says::Serving),
            17 => bench.switch.set(Way::CutBefore, [Says::Serving, Says::Degraded][random.usize(..2)]),
            18 => bench.switch.set(Way::CutAfter, [Says::Serving, Says::Degraded][random.usize(..2)]),
            // Closed, not killed: a copy of the files would be drained beside the journal that is still there.
            _ if restarts < 8 => {
                restarts += 1;
                bench.close_and_reopen().await;
            }
            _ => {}
        }
    }
    bench.switch.set(Way::Open, Says::Serving);
    bench.drained().await;
    for room in &rooms {
        assert_eq!(bench.stored(&room.name).await, numbered(room.sent), "{} with seed {seed}", room.name);
    }
}

/// Publishes several at once and takes the answers, none of which may be a refusal.
async fn publish(bench: &Bench, room: &mut Room, count: usize) {
    let (to, mut answers) = mpsc::channel(count);
    for number in 0..count {
        let append = event(&room.name, &room.sent.to_string());
        room.sent += 1;
        room.last = Some(append.clone());
        let ahead = if number == 0 { Ahead::Nothing } else { Ahead::Unanswered };
        bench.journal.append(append, Reply { token: 0, to: to.clone(), keeper: None }, ahead);
    }
    for _ in 0..count {
        let (_, answer) = in_time(answers.recv()).await.expect("an answer");
        assert!(matches!(outcome(&answer), "stored" | "queued" | "duplicate"), "{answer:?}");
    }
}

/// As a client does that did not hear the answer; it says from where on it first tried.
async fn repeat(bench: &Bench, room: &Room) {
    if let Some(last) = room.last.clone() {
        let again = Append { first_tried: Some(continuum::model::Position::START), ..last };
        let answer = bench.put(again).await;
        assert!(matches!(answer, Ok(Answer::Queued | Answer::Appended(_))), "{answer:?}");
    }
}
