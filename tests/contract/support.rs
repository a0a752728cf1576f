//! What the suite needs of a backend, and short ways to say what the promises say.

use std::{collections::BTreeMap, future::Future, time::Duration};

use bytes::Bytes;
use continuum::{
    backbone::{
        Answer, Append, AppendError, Appended, CursorUpdate, Expect, Feed, FeedItem, ReadBudget, Reply, SharedBackbone,
        Stored, Subject, append_one,
    },
    model::{DedupeId, EntityKey, InstanceId, Position, TenantId},
};
use tokio::sync::mpsc;
use uuid::Uuid;

/// What differs from promise to promise.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Bytes that a feed holds.
    pub feed_bytes: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { feed_bytes: 1 << 20 }
    }
}

/// A fresh log of one implementation that can be put through what happens to logs.
pub trait Backend: Sized {
    /// Makes an empty log.
    async fn make(options: Options) -> Self;
    /// The log.
    fn log(&self) -> &SharedBackbone;
    /// Closes it and opens it again.
    async fn reopen(&mut self);
    /// Lets go of it as a crash does: without closing, if the implementation can; then opens it again.
    async fn crash_and_reopen(&mut self);
    /// Makes the log forget its records up to a position, as retention would.
    async fn trim(&self, to: Position);
}

/// A promise that takes this long is broken.
const PATIENCE: Duration = Duration::from_secs(60);

/// Fails rather than hangs.
pub async fn in_time<T>(test: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, test).await.expect("done in time")
}

/// As much as there is.
pub const ALL: ReadBudget = ReadBudget { records: usize::MAX, bytes: usize::MAX };

pub fn tenant(name: &str) -> TenantId {
    name.parse().expect("a tenant id")
}

pub fn instance(name: &str) -> InstanceId {
    name.parse().expect("an instance id")
}

pub fn entity(id: &str) -> EntityKey {
    EntityKey::new("memory", id).expect("an entity key")
}

/// A new dedupe id.
pub fn fresh() -> DedupeId {
    DedupeId(Uuid::new_v4())
}

/// An event of a tenant.
pub fn event(of: &TenantId, body: impl Into<Bytes>) -> Append {
    let subject = Subject::Event("memory.created".parse().expect("a type"));
    Append {
        tenant: of.clone(),
        subject,
        dedupe: fresh(),
        expect: Expect::Anything,
        first_tried: None,
        body: body.into(),
    }
}

/// An entity's new state.
pub fn change(of: &TenantId, key: &EntityKey, expect: Expect, body: impl Into<Bytes>) -> Append {
    Append { subject: Subject::Entity(key.clone()), expect, ..event(of, body) }
}

/// Appends and expects a position.
pub async fn put(log: &SharedBackbone, append: Append) -> Position {
    append_one(log.as_ref(), append).await.expect("appended").position
}

/// Appends all at once; the answers in the order of the appends.
pub async fn put_all(log: &SharedBackbone, appends: Vec<Append>) -> Vec<Result<Appended, AppendError>> {
    let count = appends.len();
    let (to, mut from) = mpsc::channel(count.max(1));
    for (token, append) in (0..).zip(appends) {
        log.append(append, Reply { token, to: to.clone(), keeper: None });
    }
    drop(to);
    let mut answers = Vec::new();
    while let Some(answer) = from.recv().await {
        answers.push(answer);
    }
    assert_eq!(answers.len(), count, "every append is answered once");
    answers.sort_by_key(|(token, _)| *token);
    answers.into_iter().map(|(_, answer)| answer.map(appended)).collect()
}

/// What a log says; only a journal queues.
pub fn appended(answer: Answer) -> Appended {
    match answer {
        Answer::Appended(appended) => appended,
        Answer::Queued => panic!("a log does not queue"),
    }
}

/// Everything that the log holds of a tenant behind a position.
pub async fn all_after(log: &SharedBackbone, of: &TenantId, after: Position) -> Vec<Stored> {
    let page = log.read(of, after, ALL).await.expect("read");
    assert!(!page.more);
    page.records
}

/// Drains a feed until it brought the record at a position; filling holes from the log where it lagged.
pub async fn follow_to(log: &SharedBackbone, of: &TenantId, feed: &mut Feed, last: Position) -> (Vec<Stored>, usize) {
    let (mut seen, mut lags): (Vec<Stored>, _) = (Vec::new(), 0);
    while seen.last().is_none_or(|record| record.position < last) {
        let at = seen.last().map_or(feed.after, |record| record.position);
        let records = match feed.next().await {
            FeedItem::Records(records) => records,
            FeedItem::Lagged => {
                lags += 1;
                all_after(log, of, at).await
            }
            FeedItem::Ended => panic!("the feed ended"),
        };
        // What a feed brings after a lag may overlap with what was read; before one it never does.
        let overlap = records.iter().take_while(|record| record.position <= at).count();
        assert!(lags > 0 || overlap == 0, "a feed brought something twice");
        seen.extend(records.into_iter().skip(overlap));
    }
    (seen, lags)
}

/// A cursor to keep.
pub fn cursor_at(log: &SharedBackbone, of: &TenantId, who: &InstanceId, position: u64) -> CursorUpdate {
    CursorUpdate { tenant: of.clone(), instance: who.clone(), epoch: log.epoch(of), position: Position(position) }
}

/// Where the kept cursor stands.
pub async fn kept(log: &SharedBackbone, of: &TenantId, who: &InstanceId) -> Option<u64> {
    let cursor = log.cursor(of, who).await.expect("read")?;
    assert_eq!((cursor.epoch, cursor.fingerprint), (log.epoch(of), None));
    Some(cursor.position.0)
}

/// All entities in one page, by key.
pub async fn entities(log: &SharedBackbone, of: &TenantId) -> BTreeMap<EntityKey, Stored> {
    let page = log.entities(of, None, ALL).await.expect("read");
    assert_eq!(page.next, None);
    page.entities.into_iter().collect()
}

/// The bodies as text.
pub fn bodies(records: &[Stored]) -> Vec<String> {
    records.iter().map(|record| String::from_utf8_lossy(&record.body).into_owned()).collect()
}
