//! A full disk: the log in a small file system of its own, in a user namespace of this test's own.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use continuum::{
    backbone::{AppendError, SharedBackbone, append_one, embedded::EmbeddedLog},
    model::Position,
};

use crate::{
    embedded::config,
    small_disk::{self, Temporary},
    support::*,
};

/// Small enough to fill in a moment, large enough for the store's tables.
const MEBIBYTES: usize = 24;

#[test]
fn a_full_disk_refuses_appends_loses_nothing_and_mends_by_itself() {
    small_disk::run("full_disk::the_child_fills_its_disk", MEBIBYTES, Temporary::Elsewhere);
}

/// Not a test by itself: what the child process runs.
#[tokio::test]
async fn the_child_fills_its_disk() {
    let Some(dir) = small_disk::given() else { return };
    let (dir, acme) = (&dir, tenant("acme"));
    let ballast = dir.join("ballast");
    std::fs::write(&ballast, vec![1; 4 << 20]).expect("written");
    let log: SharedBackbone = Arc::new(EmbeddedLog::open(config(dir)).expect("opens"));
    let mut feed = log.follow(&acme).await.expect("followed");
    let (mut stored, mut refused, mut unknown) = (Vec::new(), 0, 0);
    while refused < 3 {
        let answers = put_all(&log, (0..20).map(|_| event(&acme, vec![7; 10_000])).collect()).await;
        for answer in answers {
            match answer {
                Ok(appended) => stored.push(appended.position),
                Err(AppendError::Full(cause)) => {
                    assert!(cause.contains("space"), "{cause}");
                    refused += 1;
                }
                // The store could not even be opened again to look.
                Err(AppendError::Unknown(_)) => unknown += 1,
                Err(other) => panic!("{other}"),
            }
        }
    }
    if unknown == 0 {
        let held = all_after(&log, &acme, Position::START).await;
        let held: Vec<_> = held.iter().map(|record| record.position).collect();
        assert_eq!(held, stored, "readable while the disk is full, and nothing there that was refused");
    }
    std::fs::remove_file(&ballast).expect("removed");
    let begin = Instant::now();
    let again = loop {
        match append_one(log.as_ref(), event(&acme, "there is room again")).await {
            Ok(appended) => break appended.position,
            Err(AppendError::Full(_)) => assert!(begin.elapsed() < Duration::from_secs(30), "it never mended"),
            Err(other) => panic!("{other}"),
        }
    };
    let held = all_after(&log, &acme, Position::START).await;
    let held: Vec<_> = held.iter().map(|record| record.position).collect();
    assert!(held.starts_with(&stored) && held.len() <= stored.len() + unknown + 1);
    if unknown == 0 {
        let (seen, _) = follow_to(&log, &acme, &mut feed, again).await;
        assert_eq!(seen.len(), held.len());
    }
    log.close().await;
    let log: SharedBackbone = Arc::new(EmbeddedLog::open(config(dir)).expect("opens"));
    assert_eq!(all_after(&log, &acme, Position::START).await.len(), held.len());
}
