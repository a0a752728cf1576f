//! The embedded log in the suite, and what only it promises.

use std::{fs, path::Path, sync::Arc, time::Duration};

use continuum::{
    backbone::{
        AppendError, Backbone, EntityMark, Expect, Outcome, ReadBudget, Reply, SharedBackbone, append_one,
        embedded::{EmbeddedConfig, EmbeddedLog, OpenError, RECORD_OVERHEAD},
    },
    model::{Position, Timestamp},
};
use tempfile::TempDir;
use tokio::sync::mpsc;

use crate::support::*;

/// Settings under which nothing happens by itself.
pub fn config(dir: &Path) -> EmbeddedConfig {
    EmbeddedConfig {
        data_dir: dir.into(),
        retention_age: None,
        retention_bytes: None,
        sweep_interval: Duration::from_secs(3_600),
        commit_records: 1_024,
        commit_bytes: 4 << 20,
        queue_appends: 8_192,
        feed_bytes: 8 << 20,
    }
}

pub struct Embedded {
    dir: TempDir,
    options: Options,
    log: Arc<EmbeddedLog>,
    shared: SharedBackbone,
}

impl Embedded {
    fn open(dir: &Path, options: Options) -> Arc<EmbeddedLog> {
        let config = EmbeddedConfig { feed_bytes: options.feed_bytes, ..config(dir) };
        Arc::new(EmbeddedLog::open(config).expect("opens"))
    }

    fn set(&mut self, log: Arc<EmbeddedLog>) {
        self.shared = log.clone();
        self.log = log;
    }
}

impl Backend for Embedded {
    async fn make(options: Options) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let log = Self::open(dir.path(), options);
        Self { shared: log.clone(), log, dir, options }
    }

    fn log(&self) -> &SharedBackbone {
        &self.shared
    }

    async fn reopen(&mut self) {
        self.log.close().await;
        self.set(Self::open(self.dir.path(), self.options));
    }

    /// The files as they are at this moment, under another directory: what a crash would leave. `crash.rs` has real ones.
    async fn crash_and_reopen(&mut self) {
        let copy = tempfile::tempdir().expect("a directory");
        copy_dir(self.dir.path(), copy.path());
        self.set(Self::open(copy.path(), self.options));
        self.dir = copy;
    }

    async fn trim(&self, to: Position) {
        self.log.trim_to(to).await.expect("trimmed");
    }
}

/// Copies a log's files, without the zeros behind a journal's last batch.
pub fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("made");
    for entry in fs::read_dir(from).expect("read") {
        let path = entry.expect("read").path();
        let target = to.join(path.file_name().expect("it has a name"));
        if path.is_dir() {
            copy_dir(&path, &target);
        } else if path.extension().is_some_and(|extension| extension == "jnl") {
            fs::write(target, written(&path)).expect("written");
        } else {
            fs::copy(&path, &target).expect("copied");
        }
    }
}

/// What was written to a journal.
pub fn written(journal: &Path) -> Vec<u8> {
    const ZEROS: [u8; 4_096] = [0; 4_096];
    let mut bytes = fs::read(journal).expect("read");
    // By blocks: a new journal reserves 64 MiB.
    let blocks = bytes.chunks(ZEROS.len()).rposition(|chunk| *chunk != ZEROS[..chunk.len()]).map_or(0, |last| last + 1);
    bytes.truncate(blocks * ZEROS.len());
    let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    bytes.truncate(used);
    bytes
}

#[tokio::test]
async fn a_second_open_of_one_directory_is_refused_until_the_first_is_closed() {
    let dir = tempfile::tempdir().expect("a directory");
    let first = EmbeddedLog::open(config(dir.path())).expect("opens");
    let error = EmbeddedLog::open(config(dir.path())).expect_err("in use");
    assert!(matches!(&error, OpenError::Locked(at) if at == dir.path()));
    assert!(error.to_string().contains(&dir.path().display().to_string()));
    first.close().await;
    let second = EmbeddedLog::open(config(dir.path())).expect("opens while the closed one still exists");
    drop(second);
    EmbeddedLog::open(config(dir.path())).expect("opens after a drop");
}

#[tokio::test]
async fn dropping_the_log_finishes_what_waits() {
    let (dir, acme) = (tempfile::tempdir().expect("a directory"), tenant("acme"));
    let log = EmbeddedLog::open(config(dir.path())).expect("opens");
    let (to, mut from) = mpsc::channel(100);
    for token in 0..100 {
        log.append(event(&acme, "x"), Reply { token, to: to.clone(), keeper: None });
    }
    drop((log, to));
    let mut answers = 0;
    while let Some((_, answer)) = from.recv().await {
        answer.expect("appended");
        answers += 1;
    }
    assert_eq!(answers, 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_written_anew_for_several_who_ask_at_the_same_time() {
    let backend = Embedded::make(Options::default()).await;
    let acme = tenant("acme");
    put_all(backend.log(), (0..2_000).map(|number| event(&acme, vec![number as u8; 2_000])).collect()).await;
    let all = (0..8).map(|_| {
        let log = backend.log().clone();
        tokio::spawn(async move { log.scrub().await })
    });
    for scrubbed in all.collect::<Vec<_>>() {
        in_time(scrubbed).await.expect("no panic").expect("the files are written anew");
    }
    assert_eq!(all_after(backend.log(), &acme, Position::START).await.len(), 2_000);
}

#[tokio::test]
async fn single_records_can_be_taken_out_and_are_gone_for_good() {
    let (dir, acme, other) = (tempfile::tempdir().expect("a directory"), tenant("acme"), tenant("other"));
    let log = Arc::new(EmbeddedLog::open(config(dir.path())).expect("opens"));
    let shared: SharedBackbone = log.clone();
    let mut appends: Vec<_> = (0..6).map(|number| event(&acme, number.to_string())).collect();
    appends[3].tenant = other.clone();
    for append in &appends {
        put(&shared, append.clone()).await;
    }
    let held = log.stats().held_bytes;
    // Out of order, one twice, one that never was; what was trimmed ends before the first that is left.
    log.remove([2, 5, 5, 77].map(Position).to_vec()).await.expect("removed");
    assert_eq!(bodies(&all_after(&shared, &acme, Position::START).await), ["0", "2", "5"]);
    assert_eq!(shared.extent(&acme).await.expect("read").trimmed_to, Position::START);
    assert_eq!(log.stats().held_bytes, held / 6 * 4);
    for time in [0, i64::MAX] {
        let position = shared.position_at(&acme, Timestamp(time)).await.expect("holes do no harm");
        assert_eq!(position, Position(if time == 0 { 0 } else { 6 }));
    }
    log.remove([1, 3].map(Position).to_vec()).await.expect("removed");
    assert_eq!(shared.extent(&acme).await.expect("read").trimmed_to, Position(3));
    log.close().await;
    let log = Arc::new(EmbeddedLog::open(config(dir.path())).expect("opens"));
    let shared: SharedBackbone = log.clone();
    assert_eq!(bodies(&all_after(&shared, &acme, Position::START).await), ["5"]);
    assert_eq!(bodies(&all_after(&shared, &other, Position::START).await), ["3"]);
    // What was taken out is no repeat any more; what is left is.
    let again = append_one(shared.as_ref(), appends[1].clone()).await.expect("appended");
    assert_eq!((again.position, again.outcome), (Position(7), Outcome::Stored));
    let again = append_one(shared.as_ref(), appends[5].clone()).await.expect("found");
    assert_eq!((again.position, again.outcome), (Position(6), Outcome::Duplicate));
    log.remove([4, 6, 7].map(Position).to_vec()).await.expect("removed");
    assert_eq!((log.stats().held_bytes, log.stats().end), (0, Position(7)));
}

#[test]
fn a_newer_format_is_refused_and_named() {
    let dir = tempfile::tempdir().expect("a directory");
    drop(EmbeddedLog::open(config(dir.path())).expect("opens"));
    {
        let db = fjall::Database::builder(dir.path().join("log")).open().expect("opens");
        let meta = db.keyspace("meta", fjall::KeyspaceCreateOptions::default).expect("there");
        meta.insert("\0format", 99u32.to_be_bytes()).expect("written");
    }
    let error = EmbeddedLog::open(config(dir.path())).expect_err("newer");
    assert!(matches!(error, OpenError::NewerFormat { found: 99, .. }), "{error}");
}

#[test]
fn foreign_and_damaged_files_are_an_error_and_never_a_panic() {
    let made = tempfile::tempdir().expect("a directory");
    drop(EmbeddedLog::open(config(made.path())).expect("opens"));
    let mut files = Vec::new();
    list(&made.path().join("log"), &mut files);
    assert!(files.len() > 3);
    for file in files {
        for junk in [&b""[..], b"not what was written here, and not of the same length"] {
            let copy = tempfile::tempdir().expect("a directory");
            copy_dir(made.path(), copy.path());
            let name = file.strip_prefix(made.path()).expect("below");
            fs::write(copy.path().join(name), junk).expect("written");
            // Some files can be made anew from the others; what matters is that this returns.
            if let Err(error) = EmbeddedLog::open(config(copy.path())) {
                assert!(error.to_string().contains(&copy.path().display().to_string()), "{error}");
            }
        }
    }
    let file = tempfile::NamedTempFile::new().expect("a file");
    assert!(matches!(EmbeddedLog::open(config(file.path())), Err(OpenError::Io { .. })));
}

fn list(dir: &Path, files: &mut Vec<std::path::PathBuf>) {
    for entry in fs::read_dir(dir).expect("read") {
        let path = entry.expect("read").path();
        if path.is_dir() { list(&path, files) } else { files.push(path) }
    }
}

#[tokio::test]
async fn retention_by_size_keeps_the_newest_that_fit() {
    let (dir, acme, other) = (tempfile::tempdir().expect("a directory"), tenant("acme"), tenant("other"));
    let per_record = 1_000 + RECORD_OVERHEAD as u64;
    let config = EmbeddedConfig { retention_bytes: Some(10 * per_record), ..config(dir.path()) };
    let log = Arc::new(EmbeddedLog::open(config).expect("opens"));
    let shared: SharedBackbone = log.clone();
    // More than one step's worth, so that steps and commits interleave.
    let appends = (0..3_000).map(|n| event(if n % 2 == 0 { &acme } else { &other }, vec![7; 1_000])).collect();
    put_all(&shared, appends).await;
    let (swept, kept) = tokio::join!(log.sweep_now(), put_all(&shared, vec![event(&acme, vec![7; 1_000])]));
    swept.expect("swept");
    assert!(kept[0].is_ok());
    log.sweep_now().await.expect("swept");
    assert_eq!(log.stats().held_bytes, 10 * per_record);
    let held = all_after(&shared, &acme, Position::START).await.len()
        + all_after(&shared, &other, Position::START).await.len();
    assert_eq!(held, 10);
}

#[tokio::test]
async fn retention_by_age_takes_only_what_is_older() {
    let (dir, acme) = (tempfile::tempdir().expect("a directory"), tenant("acme"));
    let old_enough = EmbeddedConfig { retention_age: Some(Duration::from_secs(3_600)), ..config(dir.path()) };
    let log = EmbeddedLog::open(old_enough).expect("opens");
    append_one(&log, change(&acme, &entity("e"), Expect::Anything, "x")).await.expect("appended");
    log.sweep_now().await.expect("swept");
    assert_eq!(log.count_after(&acme, Position::START, 9).await.expect("read"), 1);
    log.close().await;
    let at_once = EmbeddedConfig { retention_age: Some(Duration::ZERO), ..config(dir.path()) };
    let log = EmbeddedLog::open(at_once).expect("opens");
    // True as soon as the clock has moved by a millisecond.
    while log.count_after(&acme, Position::START, 9).await.expect("read") > 0 {
        log.sweep_now().await.expect("swept");
    }
    assert!(log.entity(&acme, &entity("e")).await.expect("read").is_some());
}

#[tokio::test]
async fn sweeps_run_by_themselves() {
    let (dir, acme) = (tempfile::tempdir().expect("a directory"), tenant("acme"));
    let config =
        EmbeddedConfig { retention_bytes: Some(0), sweep_interval: Duration::from_millis(5), ..config(dir.path()) };
    let log = EmbeddedLog::open(config).expect("opens");
    let position = append_one(&log, event(&acme, "x")).await.expect("appended").position;
    in_time(async { while log.extent(&acme).await.expect("extent").trimmed_to < position {} }).await;
}

#[tokio::test]
async fn more_waiting_appends_than_allowed_are_refused_as_busy() {
    let (dir, acme) = (tempfile::tempdir().expect("a directory"), tenant("acme"));
    let config = EmbeddedConfig { queue_appends: 4, ..config(dir.path()) };
    let log: SharedBackbone = Arc::new(EmbeddedLog::open(config).expect("opens"));
    let answers = put_all(&log, (0..5_000).map(|_| event(&acme, "x")).collect()).await;
    let busy = answers.iter().filter(|answer| **answer == Err(AppendError::Busy)).count();
    let stored = answers.iter().flatten().count();
    assert!(busy > 0);
    assert_eq!(busy + stored, answers.len());
    assert_eq!(all_after(&log, &acme, Position::START).await.len(), stored);
}

#[tokio::test]
async fn the_figures_count_commits_records_and_repeats() {
    let (dir, acme) = (tempfile::tempdir().expect("a directory"), tenant("acme"));
    let log = EmbeddedLog::open(config(dir.path())).expect("opens");
    let append = event(&acme, vec![0; 100]);
    append_one(&log, append.clone()).await.expect("appended");
    append_one(&log, append).await.expect("appended");
    let stats = log.stats();
    assert_eq!((stats.commits, stats.records, stats.duplicates), (1, 1, 1));
    assert_eq!((stats.end, stats.held_bytes), (Position(1), 100 + RECORD_OVERHEAD as u64));
    assert!(stats.flush_seconds > 0.0 && stats.disk_bytes > 0);
}

#[tokio::test]
async fn a_mark_that_leads_into_another_room_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let log = EmbeddedLog::open(config(dir.path())).expect("opens");
    let (acme, other) = (tenant("acme"), tenant("other"));
    for tenant in [&acme, &other] {
        for name in ["a", "b", "c"] {
            append_one(&log, change(tenant, &entity(name), Expect::Anything, "x")).await.expect("appended");
        }
    }
    let two = ReadBudget { records: 2, bytes: 1_000 };
    let theirs = log.entities(&other, None, two).await.expect("read").next.expect("more");
    assert_eq!(log.entities(&other, Some(theirs.clone()), two).await.expect("read").entities.len(), 1);
    let mut cut = theirs.clone();
    cut.0.truncate(12);
    for mark in [theirs, cut, EntityMark(vec![0; 8].into()), EntityMark(vec![0xff; 30].into())] {
        assert!(log.entities(&acme, Some(mark), two).await.is_err());
    }
}
