//! A journal over a switched log, and short ways to say what the tests say.

use std::{
    fs,
    future::Future,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use continuum::{
    backbone::{
        Answer, Append, AppendError, Expect, Outcome, ReadBudget, Reply, SharedBackbone, Subject,
        embedded::{EmbeddedConfig, EmbeddedLog},
    },
    journal::{Ahead, Journal, JournalConfig},
    model::{DedupeId, Position, TenantId},
};
use tempfile::TempDir;
use tokio::sync::mpsc;
use uuid::Uuid;

use crate::switch::Switch;

/// A promise that takes this long is broken.
const PATIENCE: Duration = Duration::from_secs(120);
/// Between two looks at a condition.
const LOOK: Duration = Duration::from_millis(5);

/// Fails rather than hangs.
pub async fn in_time<T>(test: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, test).await.expect("done in time")
}

/// Waits for a condition.
pub async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(LOOK).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("{what}"));
}

pub fn open_log(dir: &Path) -> SharedBackbone {
    let config = EmbeddedConfig {
        data_dir: dir.into(),
        retention_age: None,
        retention_bytes: None,
        sweep_interval: Duration::from_secs(3600),
        commit_records: 1024,
        commit_bytes: 4 << 20,
        queue_appends: 100_000,
        feed_bytes: 1 << 20,
    };
    Arc::new(EmbeddedLog::open(config).expect("the log opens"))
}

pub async fn open_journal(dir: &Path, max_bytes: u64, log: Arc<Switch>) -> Arc<Journal> {
    let config = JournalConfig {
        dir: dir.into(),
        max_bytes,
        commit_records: 1024,
        commit_bytes: 4 << 20,
        queue_appends: 10_000,
    };
    Journal::open(config, log).await.expect("the journal opens")
}

/// A log, a switch in front of it, a journal in front of that.
pub struct Bench {
    pub log: SharedBackbone,
    pub switch: Arc<Switch>,
    pub journal: Arc<Journal>,
    dir: TempDir,
    max_bytes: u64,
    /// How often the journal was opened from a copy.
    copies: usize,
}

impl Bench {
    pub async fn new() -> Self {
        Self::with_room_for(1 << 30).await
    }

    pub async fn with_room_for(max_bytes: u64) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let log = open_log(&dir.path().join("log"));
        let switch = Switch::over(log.clone());
        let journal = open_journal(&dir.path().join("journal0"), max_bytes, switch.clone()).await;
        Self { log, switch, journal, dir, max_bytes, copies: 0 }
    }

    /// Where the journal is.
    pub fn journal_dir(&self) -> PathBuf {
        self.dir.path().join(format!("journal{}", self.copies))
    }

    /// A directory beside it.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// As a killed process leaves it: the files as they are at this moment, nothing closed.
    pub async fn crash_and_reopen(&mut self) {
        let from = self.journal_dir();
        self.copies += 1;
        copy(&from, &self.journal_dir());
        self.journal = open_journal(&self.journal_dir(), self.max_bytes, self.switch.clone()).await;
    }

    pub async fn close_and_reopen(&mut self) {
        self.journal.close().await;
        self.journal = open_journal(&self.journal_dir(), self.max_bytes, self.switch.clone()).await;
    }

    pub async fn put(&self, append: Append) -> Result<Answer, AppendError> {
        put(&self.journal, append).await
    }

    /// Waits until the log has everything and the journal's disk nothing.
    pub async fn drained(&self) {
        until("the journal is drained", || {
            let figures = self.journal.figures();
            figures.entries == 0 && (figures.dead > 0 || figures.bytes == 0)
        })
        .await;
    }

    /// The bodies that the log holds of a room, in order.
    pub async fn stored(&self, of: &TenantId) -> Vec<String> {
        stored(&self.log, of).await
    }
}

pub async fn stored(log: &SharedBackbone, of: &TenantId) -> Vec<String> {
    let all = ReadBudget { records: usize::MAX, bytes: usize::MAX };
    let page = log.read(of, Position::START, all).await.expect("read");
    page.records.iter().map(|record| String::from_utf8_lossy(&record.body).into_owned()).collect()
}

pub async fn put(journal: &Arc<Journal>, append: Append) -> Result<Answer, AppendError> {
    let (to, mut answer) = mpsc::channel(1);
    journal.append(append, Reply { token: 0, to, keeper: None }, Ahead::Nothing);
    in_time(answer.recv()).await.expect("an answer").1
}

/// Copies a directory that may be in use.
pub fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("made");
    for entry in fs::read_dir(from).expect("readable") {
        let entry = entry.expect("readable");
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("copied");
        }
    }
}

pub fn tenant(name: &str) -> TenantId {
    name.parse().expect("a tenant id")
}

/// A publish of a room.
pub fn event(of: &TenantId, body: &str) -> Append {
    Append {
        tenant: of.clone(),
        subject: Subject::Event("note".parse().expect("a type")),
        dedupe: DedupeId(Uuid::new_v4()),
        expect: Expect::Anything,
        first_tried: None,
        body: body.to_owned().into(),
    }
}

/// What the answer says.
pub fn outcome(answer: &Result<Answer, AppendError>) -> &'static str {
    match answer {
        Ok(Answer::Queued) => "queued",
        Ok(Answer::Appended(appended)) if appended.outcome == Outcome::Stored => "stored",
        Ok(Answer::Appended(_)) => "duplicate",
        Err(AppendError::JournalFull(_)) => "journal_full",
        Err(AppendError::Unknown(_)) => "unknown",
        Err(AppendError::Unavailable(_)) => "unavailable",
        Err(AppendError::Closed) => "closed",
        Err(_) => "another error",
    }
}

/// The names of a run of bodies.
pub fn numbered(count: usize) -> Vec<String> {
    (0..count).map(|number| number.to_string()).collect()
}
