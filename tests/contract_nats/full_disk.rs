//! A full disk under JetStream: a server with its store in a small file system, in a user namespace of this test's own.

use continuum::{
    backbone::{AppendError, Appended, SharedBackbone, append_one, nats::NatsLog},
    model::Position,
};

use crate::{
    nats_support::{NatsServer, until},
    single::config,
    small_disk::{self, Temporary},
    support::*,
};

const MEBIBYTES: usize = 40;

#[test]
fn what_a_full_disk_took_is_there_and_what_it_refused_was_never_acknowledged() {
    small_disk::run("full_disk::the_child_fills_its_disk", MEBIBYTES, Temporary::OnTheDisk);
}

/// Not a test by itself: what the child process runs.
#[tokio::test]
async fn the_child_fills_its_disk() {
    let Some(dir) = small_disk::given() else { return };
    let (ballast, acme) = (dir.join("ballast"), tenant("acme"));
    std::fs::write(&ballast, vec![1; 8 << 20]).expect("written");
    let server = NatsServer::start().await;
    let log: SharedBackbone = std::sync::Arc::new(NatsLog::open(config(&server.url(), 1 << 20)).await.expect("opens"));
    let (mut stored, mut refused) = (Vec::new(), 0);
    while refused < 3 {
        assert!(stored.len() < MEBIBYTES * 10, "it is not full yet");
        let append = event(&acme, vec![7; 100_000]);
        match in_time(append_one(log.as_ref(), append)).await {
            Ok(Appended { position, .. }) => stored.push(position),
            Err(AppendError::Full(_) | AppendError::Unavailable(_) | AppendError::Unknown(_)) => refused += 1,
            Err(other) => panic!("{other}"),
        }
    }
    assert!(stored.len() > 50, "only {} were stored", stored.len());
    // With room again, and a server that looks again, everything that was acknowledged is there.
    std::fs::remove_file(ballast).expect("removed");
    server.stop().await;
    server.start_again().await;
    let held = until("the log can be read", async || log.read(&acme, Position::START, ALL).await.ok()).await;
    let held: Vec<_> = held.records.into_iter().map(|record| record.position).collect();
    assert!(held.starts_with(&stored), "acknowledged: {stored:?}, held: {held:?}");
    let again = until("it takes appends", async || append_one(log.as_ref(), event(&acme, "small")).await.ok()).await;
    assert!(again.position > *stored.last().expect("some"));
}
