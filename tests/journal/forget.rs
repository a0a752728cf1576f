//! A tenant that is erased: nothing of it stays in the journal's files, however it had left the journal.

use std::{fs, path::Path};

use continuum::model::{Timestamp, erasure::Tenancy};

use crate::{
    support::*,
    switch::{Says, Way},
};

/// Stands in everything of the tenant.
const SECRET: &str = "planted-7be1f09c2d6a4853";

fn is_in(dir: &Path) -> bool {
    fs::read_dir(dir).expect("readable").any(|entry| {
        let path = entry.expect("readable").path();
        let is_in_file =
            || fs::read(&path).is_ok_and(|bytes| bytes.windows(SECRET.len()).any(|part| part == SECRET.as_bytes()));
        if path.is_dir() { is_in(&path) } else { is_in_file() }
    })
}

/// A journal through which much of a tenant went, which is erased now.
async fn erased() -> Bench {
    let (bench, acme) = (Bench::new().await, tenant("acme"));
    // Whatever may have been there before is gone.
    in_time(bench.journal.forget(&tenant("other"))).await.expect("there is nothing");
    bench.switch.set(Way::CutBefore, Says::Degraded);
    for body in numbered(50) {
        assert_eq!(outcome(&bench.put(event(&acme, &format!("{SECRET} {body}"))).await), "queued");
    }
    bench.switch.set(Way::Open, Says::Serving);
    bench.drained().await;
    assert!(is_in(&bench.journal_dir()));
    bench.log.set_tenancy(&acme, Tenancy { since: Timestamp(i64::MAX), is_closed: true, floor: None });
    bench
}

#[tokio::test]
async fn what_went_through_the_journal_before_leaves_its_files_too() {
    let bench = erased().await;
    let counts = in_time(bench.journal.forget(&tenant("acme"))).await.expect("it is forgotten");
    assert!(counts.values().all(|count| *count == 0), "{counts:?}");
    assert!(!is_in(&bench.journal_dir()));
}

#[tokio::test]
async fn a_journal_that_was_killed_before_it_was_through_goes_on_when_it_is_back() {
    let mut bench = erased().await;
    bench.crash_and_reopen().await;
    bench.drained().await;
    assert!(is_in(&bench.journal_dir()));
    in_time(bench.journal.forget(&tenant("acme"))).await.expect("it is forgotten");
    assert!(!is_in(&bench.journal_dir()));
}
