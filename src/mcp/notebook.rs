//! What the tools do, in a room.
//!
//! Owns: the pull before and the push after, each with its bound; on which version an agent's write is made; and that a write which
//! cannot be settled in time is told as what it is, safe here and on its way. Must not know: the protocol that asks.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use serde_json::{Map, Value, json};
use tokio::time::timeout;

use super::{
    answers,
    arguments::{Call, Choice, raw},
    metrics,
};
use crate::{
    model::EntityKey,
    replica::{Bound, Part, Pulled, Replica, Seen, Settled, StoreError, Write, WriteError},
};

/// Most of what others did that is told beside an answer.
const NEWS: Bound = Bound { items: 10, bytes: 2 << 10 };
/// Most of one event's content that is told if it is asked for.
const CONTENT: usize = 16 << 10;
/// What the disk may take beside the waiting for the node.
const DISK: Duration = Duration::from_secs(1);

/// How long an answer waits for the room at most.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For what others wrote, before a tool runs.
    pub pull: Duration,
    /// For what was written here, after it.
    pub push: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { pull: Duration::from_secs(2), push: Duration::from_secs(2) }
    }
}

/// A room's notebook.
#[derive(Clone, Debug)]
pub struct Notebook {
    replica: Arc<Replica>,
    patience: Patience,
    /// Up to where it was told what others did.
    told: Arc<AtomicU64>,
    /// Up to where that is written down.
    kept: Arc<AtomicU64>,
    /// What was shown and is not written down yet.
    shown: Arc<Mutex<Shown>>,
    /// Held by who writes it down.
    keeping: Arc<tokio::sync::Mutex<()>>,
}

/// Entities, each at the version that was shown.
type Shown = Vec<(EntityKey, u64)>;

/// Why a call comes to nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failed {
    /// It makes no sense.
    #[error("{0}")]
    Wrong(String),
    /// It was not taken.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// What is here cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What became of a call.
#[derive(Debug, Default)]
pub(super) struct Done {
    /// What is told.
    pub told: Map<String, Value>,
    /// Whether it came about.
    pub is_error: bool,
    /// A conflict that waits for somebody's choice.
    pub conflict: Option<Open>,
    /// A write was taken: who is told of an error now writes it once more.
    is_taken: bool,
    /// What it shows.
    shown: Shown,
    /// Why what is here may be behind.
    behind: Option<String>,
    /// Up to where it tells what others did.
    mark: u64,
}

/// A conflict that waits for somebody's choice.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Open {
    pub key: EntityKey,
    pub id: String,
    /// What stood is of this version: a choice holds for no other.
    pub version: u64,
    /// What stands and what was proposed.
    pub shown: Value,
}

impl Done {
    fn of(told: Value, behind: Option<String>) -> Self {
        let told = if let Value::Object(told) = told { told } else { Map::new() };
        Self { behind, ..Self::plain(told) }
    }

    /// Something to tell.
    fn plain(told: Map<String, Value>) -> Self {
        Self { told, ..Self::default() }
    }

    /// A conflict stays as it is.
    pub fn left(conflict: &str) -> Self {
        let mut told = Map::new();
        told.insert("outcome".into(), "conflict_pending".into());
        told.insert("conflict_id".into(), conflict.into());
        told.insert("how_to_resolve".into(), answers::how_to_resolve(conflict).into());
        Self { is_taken: true, ..Self::plain(told) }
    }
}

impl Notebook {
    /// What is written here is written as the replica's instance.
    pub async fn open(replica: Arc<Replica>, patience: Patience) -> Result<Self, StoreError> {
        let told = match replica.told().await? {
            // What others did while this agent was away is news.
            Some(told) => told,
            None => {
                let last = replica.last_change().await?;
                note(replica.note_told(last)).await;
                last
            }
        };
        let of = |told| Arc::new(AtomicU64::new(told));
        let (shown, keeping) = (Arc::default(), Arc::default());
        Ok(Self { replica, patience, told: of(told), kept: of(told), shown, keeping })
    }

    /// The room.
    pub fn replica(&self) -> &Arc<Replica> {
        &self.replica
    }

    /// Does what a call asks for. Who reads waits for the node first; who writes waits for it while that is on its way.
    pub(super) async fn call(&self, call: Call) -> Result<Done, Failed> {
        let behind = if call.is_reading() { self.pull().await } else { None };
        let mut shown = Shown::new();
        let told = match call {
            Call::Get(key) => match self.replica.get(key).await? {
                Some(seen) => {
                    shown.extend(place(&seen));
                    json!({"found": true, "context": answers::context(&seen), "note": answers::OTHERS})
                }
                None => json!({"found": false}),
            },
            Call::List { level, after, limit } => {
                let prefix = prefix(level.as_deref());
                let after = if after.contains(':') || prefix.is_empty() { after } else { format!("{prefix}{after}") };
                let seen = self.replica.list("context", &prefix, &after, limit).await?;
                let next = if seen.len() == limit { seen.last().map(|seen| seen.entity_id.clone()) } else { None };
                json!({"contexts": show(seen.iter(), &mut shown), "next_after": next, "note": answers::OTHERS})
            }
            Call::Search { query, level, limit } => {
                let hits = self.replica.search(&query, "context", &prefix(level.as_deref()), limit).await?;
                let told = show(hits.iter().map(|hit| &hit.seen), &mut shown);
                let told: Vec<Value> = told.into_iter().zip(&hits).map(|(told, hit)| answers::hit(told, hit)).collect();
                json!({"results": told, "note": answers::OTHERS})
            }
            Call::Changes { since, limit } => {
                let (after, part) = match since {
                    Some(since) => (since, Part::Earliest),
                    None => (self.told.load(Relaxed), Part::Latest),
                };
                let news = self.replica.news(after, part, Bound { items: limit, bytes: CONTENT }).await?;
                let told = Value::Object(answers::news("changes", &news, after));
                // Who looks back, or leafs through, is told the latest all the same.
                let mark = if since.is_none() { news.mark } else { 0 };
                return Ok(Done { mark, ..Done::of(told, behind) });
            }
            Call::Status => {
                let (open, more) = answers::conflicts(&self.replica.conflicts().await?);
                json!({"conflicts": open, "more_conflicts": more, "metrics": metrics::seeds(&self.replica.figures().await?)})
            }
            Call::Here => {
                let here: Vec<Value> = self.replica.here().into_values().collect();
                json!({"you": self.replica.instance(), "others": here, "note": answers::OTHERS})
            }
            Call::Publish { event_type, data } => {
                let event_type = event_type.parse().map_err(|error| Failed::Wrong(format!("'event_type': {error}")))?;
                let data = raw(data).map_err(Failed::Wrong)?;
                return self.write(Write::Event { event_type, data }, None).await;
            }
            Call::Update { key, data, base, strategy } => {
                let fields = operation("put", strategy, [("patch", Value::Object(data))]);
                return self.operate(key, base, fields).await;
            }
            Call::Delete { key, base, strategy } => {
                return self.operate(key, base, operation("delete", strategy, [])).await;
            }
            Call::Resolve { key, conflict, choice, base } => {
                let base = self.base(&key, base).await?;
                return self.resolve(key, base, &conflict.to_string(), choice).await;
            }
        };
        Ok(Done { shown, ..Done::of(told, behind) })
    }

    /// Settles a conflict. If the choice cannot be kept, it stays open, and so it is told, with the reason.
    pub(super) async fn settle(&self, open: &Open, choice: Choice, mut left: Done) -> Done {
        self.resolve(open.key.clone(), open.version, &open.id, choice).await.unwrap_or_else(|error| {
            left.told.insert("reason".into(), format!("the choice cannot be kept: {error}").into());
            left
        })
    }

    /// Settles a conflict as whoever saw this version chose. If the room is further, the node asks again.
    async fn resolve(&self, key: EntityKey, base: u64, conflict: &str, choice: Choice) -> Result<Done, Failed> {
        let (word, data) = match choice {
            Choice::Current => ("current", None),
            Choice::Proposed => ("proposed", None),
            Choice::Merged(data) => ("merged", Some(("data", Value::Object(data)))),
        };
        let more = [("conflict_id", conflict.into()), ("choice", word.into())];
        let fields = operation("resolve", None, more.into_iter().chain(data));
        self.write(Write::Operation { key: key.clone(), base: Some(base), fields }, Some(key)).await
    }

    async fn operate(&self, key: EntityKey, base: Option<u64>, fields: Map<String, Value>) -> Result<Done, Failed> {
        let base = self.base(&key, base).await?;
        self.write(Write::Operation { key: key.clone(), base: Some(base), fields }, Some(key)).await
    }

    /// On which version an agent acts. What it was never shown it cannot have taken into account: it is told if it writes over that.
    async fn base(&self, key: &EntityKey, named: Option<u64>) -> Result<u64, StoreError> {
        match named {
            Some(base) => Ok(base),
            None => {
                self.keep_told().await;
                self.replica.shown(key.clone()).await
            }
        }
    }

    /// Writes, and waits a little for what becomes of it and for what others wrote. Once it is taken nothing is an error any more that
    /// is not the write's own.
    async fn write(&self, write: Write, key: Option<EntityKey>) -> Result<Done, Failed> {
        let ticket = self.replica.write(write).await?;
        let within = if self.replica.is_away() { Duration::ZERO } else { self.patience.push };
        let (behind, settled) = tokio::join!(self.pull(), self.replica.settled(ticket, within));
        let settled = settled.unwrap_or_else(|error| {
            tracing::warn!(%error, "what became of a write cannot be read now");
            None
        });
        let mut done = Done { behind, is_taken: true, ..Done::plain(answers::fate(settled.as_ref())) };
        done.told.insert("id".into(), ticket.id.to_string().into());
        done.is_error = settled.as_ref().is_some_and(Settled::is_refusal);
        let Some(key) = key else { return Ok(done) };
        if let Some(settled) = settled.filter(|settled| settled.outcome == "conflict_pending")
            && let Some(id) = settled.answer["conflict_id"].as_str()
        {
            done.told.insert("how_to_resolve".into(), answers::how_to_resolve(id).into());
            // A repeated answer does not have what clashed: nobody can be asked about that, and the version is that of then.
            if settled.answer["duplicate"] != true
                && let Some(version) = settled.answer["version"].as_u64()
            {
                // The answer shows it, also if nothing stands any more.
                done.shown.push((key.clone(), version));
                done.conflict = Some(Open { key: key.clone(), id: id.to_owned(), version, shown: settled.answer });
            }
        }
        // As it stands here now, with what is on its way.
        match self.replica.get(key).await {
            Ok(Some(seen)) => {
                done.shown.extend(place(&seen));
                done.told.insert("context".into(), answers::context(&seen));
            }
            Ok(None) => {}
            Err(error) => tracing::warn!(%error, "what a write led to cannot be read now"),
        }
        Ok(done)
    }

    /// Waits for what others wrote; if that is not here then, the reason. What is here is read all the same.
    async fn pull(&self) -> Option<String> {
        let pulling = timeout(self.patience.pull + DISK, self.replica.pull(self.patience.pull));
        let (pulled, ()) = tokio::join!(pulling, self.keep_told());
        match pulled {
            Ok(Ok(Pulled::Fresh)) => None,
            Ok(Ok(Pulled::Behind)) | Err(_) => Some(answers::BEHIND.to_owned()),
            Ok(Err(error)) => Some(format!("{}; the node was not asked: {error}", answers::BEHIND)),
        }
    }

    /// Notes what an answer shows, when nothing keeps it from going out any more.
    pub(super) fn goes_out(&self, done: &mut Done) {
        self.shown().append(&mut done.shown);
    }

    fn shown(&self) -> MutexGuard<'_, Shown> {
        // Whole between any two statements that could panic.
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What goes with every answer.
    pub(super) async fn finish(&self, mut done: Done) -> Result<Done, Failed> {
        answers::label(&mut done.told);
        match self.add_news(&mut done).await {
            Err(error) if done.is_taken => tracing::warn!(%error, "it cannot be told now how it stands"),
            added => added?,
        }
        self.goes_out(&mut done);
        Ok(done)
    }

    async fn add_news(&self, done: &mut Done) -> Result<(), StoreError> {
        let after = self.told.load(Relaxed).max(done.mark);
        let news = self.replica.news(after, Part::Latest, NEWS).await?;
        let told = answers::news("from_others", &news, after);
        done.told.insert("news".into(), told.into());
        let mut status = self.replica.status().await?;
        // An answer counts what it lists, even if one more came meanwhile.
        if let Some(listed) = done.told.get("conflicts").and_then(Value::as_array) {
            let more = done.told.get("more_conflicts").and_then(Value::as_u64).unwrap_or(0);
            status.conflicted = listed.len() as u64 + more;
        }
        done.told.insert("sync".into(), answers::sync(&status, done.behind.as_deref()));
        self.told.fetch_max(news.mark, Relaxed);
        Ok(())
    }

    /// Writes down what was told and shown. Only who calls again, or ends well, is sure to have heard it: who dies before is told once
    /// more. If it fails, more is told as written over than was; no answer fails by it.
    pub async fn keep_told(&self) {
        let told = self.told.load(Relaxed);
        if self.kept.fetch_max(told, Relaxed) < told {
            note(self.replica.note_told(told)).await;
        }
        // One after the other: who finds nothing to write down knows that it was.
        let _turn = self.keeping.lock().await;
        let shown = std::mem::take(&mut *self.shown());
        if !shown.is_empty() {
            note(self.replica.show(shown)).await;
        }
    }
}

fn operation(
    action: &str,
    strategy: Option<String>,
    more: impl IntoIterator<Item = (&'static str, Value)>,
) -> Map<String, Value> {
    let mut fields = Map::from_iter([("action".to_owned(), action.into())]);
    fields.extend(strategy.map(|strategy| ("strategy".to_owned(), strategy.into())));
    fields.extend(more.into_iter().map(|(name, value)| (name.to_owned(), value)));
    fields
}

/// Shows many, those that are too long without their content: of them nothing was seen.
fn show<'a>(all: impl Iterator<Item = &'a Seen>, shown: &mut Shown) -> Vec<Value> {
    let told = all.map(|seen| match answers::short(seen) {
        Some(told) => {
            shown.extend(place(seen));
            told
        }
        None => answers::without_content(seen),
    });
    told.collect()
}

fn place(seen: &Seen) -> Option<(EntityKey, u64)> {
    Some((EntityKey::new(&seen.entity_type, &seen.entity_id).ok()?, seen.version))
}

/// How the names of a level's contexts begin; of all levels' if none is named.
fn prefix(level: Option<&str>) -> String {
    level.map_or_else(String::new, |level| format!("{level}:"))
}

/// Writes down what can do without. Beyond this time nobody waits for it; what is on its way to the disk gets there.
async fn note(writing: impl Future<Output = Result<(), StoreError>>) {
    match timeout(DISK, writing).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, "it is not written down what an agent was told"),
        Err(_) => tracing::warn!("the disk is slow: it is not written down yet what an agent was told"),
    }
}
