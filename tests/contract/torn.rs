//! Torn writes: the newest journal cut or blotted at any place, as a power loss may leave it.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use continuum::{
    backbone::{SharedBackbone, Stored, embedded::EmbeddedLog},
    model::Position,
};

use crate::{
    embedded::{config, copy_dir, written},
    support::*,
};

const RECORDS: usize = 60;

/// A closed log of some groups of records, what it holds, and how long its journal was behind each record.
async fn made(dir: &Path) -> (Vec<Stored>, Vec<usize>) {
    let acme = tenant("acme");
    let log: SharedBackbone = Arc::new(EmbeddedLog::open(config(dir)).expect("opens"));
    let mut lengths = Vec::new();
    for n in 0..RECORDS {
        put(&log, event(&acme, format!("{n} ").repeat(n * 7))).await;
        lengths.push(written(&journal(dir)).len());
    }
    let records = all_after(&log, &acme, Position::START).await;
    log.close().await;
    (records, lengths)
}

fn journal(dir: &Path) -> PathBuf {
    let mut journals: Vec<_> = fs::read_dir(dir.join("log"))
        .expect("read")
        .map(|entry| entry.expect("read").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "jnl"))
        .collect();
    assert_eq!(journals.len(), 1);
    journals.remove(0)
}

async fn held(dir: &Path) -> Vec<Stored> {
    let log: SharedBackbone = Arc::new(EmbeddedLog::open(config(dir)).expect("opens"));
    let records = all_after(&log, &tenant("acme"), Position::START).await;
    let next = put(&log, event(&tenant("acme"), "after the tear")).await;
    assert!(records.last().is_none_or(|last| last.position < next));
    log.close().await;
    records
}

#[tokio::test]
async fn a_log_cut_anywhere_opens_with_every_record_whose_bytes_were_kept() {
    let dir = tempfile::tempdir().expect("a directory");
    let (records, lengths) = made(dir.path()).await;
    let bytes = written(&journal(dir.path()));
    let first = lengths[0];
    // Every 97th byte, and the bytes around the end of a record.
    let cuts = (first..bytes.len()).step_by(997).chain(lengths.iter().take(5).flat_map(|at| [at - 1, *at, at + 1]));
    for cut in cuts {
        let copy = tempfile::tempdir().expect("a directory");
        copy_dir(dir.path(), copy.path());
        fs::write(journal(copy.path()), &bytes[..cut]).expect("written");
        let kept = lengths.iter().filter(|length| **length <= cut).count();
        assert_eq!(held(copy.path()).await, records[..kept], "cut at {cut}");
    }
}

#[tokio::test]
async fn a_hole_in_the_last_write_costs_only_that_write() {
    let dir = tempfile::tempdir().expect("a directory");
    let (records, lengths) = made(dir.path()).await;
    let bytes = written(&journal(dir.path()));
    let last = lengths[RECORDS - 2];
    for hole in (last..bytes.len() - 64).step_by(101) {
        let copy = tempfile::tempdir().expect("a directory");
        copy_dir(dir.path(), copy.path());
        let mut torn = bytes.clone();
        torn[hole..hole + 64].fill(0);
        fs::write(journal(copy.path()), torn).expect("written");
        assert_eq!(held(copy.path()).await, records[..RECORDS - 1], "hole at {hole}");
    }
}

#[tokio::test]
async fn damage_before_the_last_write_is_an_error_and_nothing_is_changed() {
    let dir = tempfile::tempdir().expect("a directory");
    let (_, lengths) = made(dir.path()).await;
    let mut bytes = written(&journal(dir.path()));
    bytes[lengths[30] + 40] ^= 0xff;
    fs::write(journal(dir.path()), &bytes).expect("written");
    let error = EmbeddedLog::open(config(dir.path())).expect_err("damaged");
    assert!(error.to_string().contains("damaged at byte"), "{error}");
    assert_eq!(written(&journal(dir.path())), bytes);
}
