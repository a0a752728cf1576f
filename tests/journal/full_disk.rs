//! A full disk under the journal: a small file system of its own, in a user namespace of this test's own.

use continuum::journal::Standing;

use crate::{
    small_disk::{self, Temporary},
    support::*,
    switch::{Says, Switch, Way},
};

/// Small enough to fill in a moment, large enough for the store's tables.
const MEBIBYTES: usize = 24;

#[test]
fn a_full_disk_is_a_full_journal_and_mends_by_itself() {
    small_disk::run("full_disk::the_child_fills_its_disk", MEBIBYTES, Temporary::Elsewhere);
}

/// Not a test by itself: what the child process runs.
#[tokio::test(flavor = "multi_thread")]
async fn the_child_fills_its_disk() {
    let Some(dir) = small_disk::given() else { return };
    let (small, acme) = (&dir, tenant("acme"));
    let ballast = small.join("ballast");
    std::fs::write(&ballast, vec![1; 4 << 20]).expect("written");
    let other = tempfile::tempdir().expect("a directory");
    let log = open_log(other.path());
    let switch = Switch::over(log.clone());
    switch.set(Way::CutBefore, Says::Degraded);
    let journal = open_journal(&small.join("journal"), 1 << 30, switch.clone()).await;
    let (mut sure, mut unsure) = (Vec::new(), Vec::new());
    for number in 0.. {
        let body = format!("{number} {}", "x".repeat(100_000));
        match outcome(&put(&journal, event(&acme, &body)).await) {
            "queued" => sure.push(body),
            "unknown" => unsure.push(body),
            "journal_full" => break,
            other => panic!("{other}"),
        }
    }
    assert!(sure.len() > 10);
    assert_eq!(journal.standing(), Standing::Full);
    std::fs::remove_file(&ballast).expect("removed");
    let last = event(&acme, "there is room again");
    in_time(async {
        while outcome(&put(&journal, last.clone()).await) != "queued" {
            tokio::task::yield_now().await;
        }
    })
    .await;
    switch.set(Way::Open, Says::Serving);
    until("it is drained", || journal.figures().entries == 0).await;
    let mut held = stored(&log, &acme).await;
    assert_eq!(held.pop().as_deref(), Some("there is room again"));
    held.retain(|body| !unsure.contains(body));
    assert!(held == sure, "everything that was answered `queued`, once and in order");
}
