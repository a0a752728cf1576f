//! What the tools do, in a room.
//!
//! Owns: the pull before and the push after, each with its bound; on which version an agent's write is made; and that a write which
//! cannot be settled in time is told as what it is, safe here and on its way. Must not know: the protocol that asks.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use serde_json::{Map, Value, json};

use super::{
    answers::{self, News},
    arguments::{Call, Choice, raw},
};
use crate::{
    model::EntityKey,
    replica::{Pulled, Replica, Seen, Settled, StoreError, Write, WriteError},
};

/// Most of what others did that is told beside an answer.
const NEWS: usize = 10;
/// Most that is read to find it.
const READ: usize = 500;

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
}

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
#[derive(Debug)]
pub(super) struct Done {
    /// What is told.
    pub told: Map<String, Value>,
    /// Whether it came about.
    pub is_error: bool,
    /// A conflict that waits for somebody's choice.
    pub conflict: Option<Open>,
    pulled: Option<Pulled>,
}

/// A conflict that waits for somebody's choice.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Open {
    pub key: EntityKey,
    pub id: String,
    /// What stands and what was proposed.
    pub shown: Value,
}

impl Done {
    fn of(told: Value, pulled: Pulled) -> Self {
        let told = if let Value::Object(told) = told { told } else { Map::new() };
        Self { pulled: Some(pulled), ..Self::plain(told) }
    }

    /// Something to tell.
    pub fn plain(told: Map<String, Value>) -> Self {
        Self { told, is_error: false, conflict: None, pulled: None }
    }
}

impl Notebook {
    /// What is written here is written as the replica's instance.
    pub async fn open(replica: Arc<Replica>, patience: Patience) -> Result<Self, StoreError> {
        let told = match replica.told().await? {
            // What others did while this agent was away is news.
            Some(told) => told,
            None => replica.changes(0, 1).await?.1,
        };
        Ok(Self { replica, patience, told: Arc::new(AtomicU64::new(told)) })
    }

    /// The room.
    pub fn replica(&self) -> &Arc<Replica> {
        &self.replica
    }

    /// Does what a call asks for.
    pub(super) async fn call(&self, call: Call) -> Result<Done, Failed> {
        let pulled = self.replica.pull(self.patience.pull).await?;
        let done = match call {
            Call::Get(key) => {
                let seen = self.replica.get(key.clone()).await?;
                let told = match &seen {
                    Some(seen) => {
                        self.replica.show(key, seen.version).await?;
                        json!({"found": true, "context": answers::context(seen), "note": answers::OTHERS})
                    }
                    None => json!({"found": false}),
                };
                Done::of(told, pulled)
            }
            Call::List { level, after, limit } => {
                let prefix = level.map_or_else(String::new, |level| format!("{level}:"));
                let after = if after.contains(':') || prefix.is_empty() { after } else { format!("{prefix}{after}") };
                let seen = self.replica.list("context", &prefix, &after, limit).await?;
                let next = if seen.len() == limit { seen.last().map(|seen| seen.entity_id.clone()) } else { None };
                let told = self.show_all(&seen).await?;
                Done::of(json!({"contexts": told, "next_after": next, "note": answers::OTHERS}), pulled)
            }
            Call::Search { query, level, limit } => {
                // Levels are part of the names: more is found than is told.
                let most = if level.is_some() { READ } else { limit };
                let mut hits = self.replica.search(&query, "context", most).await?;
                if let Some(level) = level {
                    let prefix = format!("{level}:");
                    hits.retain(|hit| hit.seen.entity_id.starts_with(&prefix));
                }
                hits.truncate(limit);
                for hit in &hits {
                    self.note_shown(&hit.seen).await?;
                }
                let told: Vec<Value> = hits.iter().map(answers::hit).collect();
                Done::of(json!({"results": told, "note": answers::OTHERS}), pulled)
            }
            Call::Changes { since, limit } => {
                let news = self.news(since, limit).await?;
                if since.is_none() {
                    self.has_told(&news).await?;
                }
                let told: Vec<Value> = news.changes.iter().map(answers::change).collect();
                Done::of(
                    json!({"changes": told, "more": news.more, "mark": news.mark, "note": answers::OTHERS}),
                    pulled,
                )
            }
            Call::Status => {
                let open = self.replica.conflicts().await?;
                let open: Vec<Value> = open.iter().map(answers::conflict).collect();
                Done::of(json!({"conflicts": open, "metrics": self.metrics().await?}), pulled)
            }
            Call::Here => {
                let here: Vec<Value> = self.replica.here().into_values().collect();
                Done::of(json!({"you": self.replica.instance(), "others": here, "note": answers::OTHERS}), pulled)
            }
            Call::Publish { event_type, data } => {
                let event_type = event_type.parse().map_err(|error| Failed::Wrong(format!("'event_type': {error}")))?;
                let write = Write::Event { event_type, data: raw(data).map_err(Failed::Wrong)? };
                self.write(write, None, pulled).await?
            }
            Call::Update { key, data, base, strategy } => {
                let fields = operation("put", strategy, [("patch", Value::Object(data))]);
                self.operate(key, base, fields, pulled).await?
            }
            Call::Delete { key, base, strategy } => {
                self.operate(key, base, operation("delete", strategy, []), pulled).await?
            }
            Call::Resolve { key, conflict, choice } => self.resolve(key, &conflict.to_string(), choice, pulled).await?,
        };
        Ok(done)
    }

    /// Settles a conflict.
    pub(super) async fn settle(&self, open: &Open, choice: Choice) -> Result<Done, Failed> {
        self.resolve(open.key.clone(), &open.id, choice, Pulled::Fresh).await
    }

    async fn resolve(&self, key: EntityKey, conflict: &str, choice: Choice, pulled: Pulled) -> Result<Done, Failed> {
        let (word, data) = match choice {
            Choice::Current => ("current", None),
            Choice::Proposed => ("proposed", None),
            Choice::Merged(data) => ("merged", Some(("data", Value::Object(data)))),
        };
        let more = [("conflict_id", conflict.into()), ("choice", word.into())];
        let fields = operation("resolve", None, more.into_iter().chain(data));
        let base = self.replica.get(key.clone()).await?.map(|seen| seen.version).filter(|version| *version > 0);
        self.write(Write::Operation { key: key.clone(), base, fields }, Some(key), pulled).await
    }

    async fn operate(
        &self,
        key: EntityKey,
        base: Option<u64>,
        fields: Map<String, Value>,
        pulled: Pulled,
    ) -> Result<Done, Failed> {
        // What this agent was never shown it cannot have taken into account: it is told if it writes over that.
        let base = match base {
            Some(base) => base,
            None => self.replica.shown(key.clone()).await?,
        };
        self.write(Write::Operation { key: key.clone(), base: Some(base), fields }, Some(key), pulled).await
    }

    /// Writes, and waits a little for what becomes of it.
    async fn write(&self, write: Write, key: Option<EntityKey>, pulled: Pulled) -> Result<Done, Failed> {
        let ticket = self.replica.write(write).await?;
        let settled = self.replica.settled(ticket, self.patience.push).await?;
        let mut done = Done::of(told(settled.as_ref()), pulled);
        done.told.insert("id".into(), ticket.id.to_string().into());
        done.is_error = settled.as_ref().is_some_and(Settled::is_refusal);
        let Some(key) = key else { return Ok(done) };
        if let Some(settled) = settled.filter(|settled| settled.outcome == "conflict_pending")
            && let Some(id) = settled.answer["conflict_id"].as_str()
        {
            done.told.insert("how_to_resolve".into(), answers::how_to_resolve(id).into());
            done.conflict = Some(Open { key: key.clone(), id: id.to_owned(), shown: settled.answer });
        }
        // As it stands here now, with what is on its way.
        if let Some(seen) = self.replica.get(key).await? {
            self.note_shown(&seen).await?;
            done.told.insert("context".into(), answers::context(&seen));
        }
        Ok(done)
    }

    async fn show_all(&self, seen: &[Seen]) -> Result<Vec<Value>, Failed> {
        for one in seen {
            self.note_shown(one).await?;
        }
        Ok(seen.iter().map(answers::context).collect())
    }

    async fn note_shown(&self, seen: &Seen) -> Result<(), StoreError> {
        match EntityKey::new(&seen.entity_type, &seen.entity_id) {
            Ok(key) => self.replica.show(key, seen.version).await,
            Err(_) => Ok(()),
        }
    }

    /// What goes with every answer.
    pub(super) async fn finish(&self, mut done: Done) -> Result<Done, Failed> {
        let news = self.news(None, NEWS).await?;
        self.has_told(&news).await?;
        done.told.insert("news".into(), answers::news(&news));
        let mut status = self.replica.status().await?;
        // An answer counts what it lists, even if one more came meanwhile.
        if let Some(listed) = done.told.get("conflicts").and_then(Value::as_array) {
            status.conflicted = listed.len() as u64;
        }
        done.told.insert("sync".into(), answers::sync(&status, done.pulled));
        Ok(done)
    }

    async fn has_told(&self, news: &News) -> Result<(), StoreError> {
        if self.told.fetch_max(news.mark, Relaxed) < news.mark {
            self.replica.note_told(news.mark).await?;
        }
        Ok(())
    }

    /// What others did behind a mark.
    async fn news(&self, since: Option<u64>, most: usize) -> Result<News, StoreError> {
        let after = since.unwrap_or_else(|| self.told.load(Relaxed));
        let (changes, last) = self.replica.changes(after, READ).await?;
        let is_cut = changes.len() == READ;
        let mark = if is_cut { changes.last().map_or(last, |change| change.number) } else { last };
        let own = self.replica.instance().as_str();
        let mut changes: Vec<_> = changes.into_iter().filter(|change| change.by != own).collect();
        let more = changes.len().saturating_sub(most);
        // The latest: what happened before them is in what they led to.
        changes.drain(..more);
        Ok(News { changes, more, mark })
    }

    /// The seeds' metrics.
    pub(super) async fn metrics(&self) -> Result<Value, StoreError> {
        let figures = self.replica.figures().await?;
        Ok(json!({
            "avg_latency_ms": figures.average_latency_ms(),
            "p50_latency_below_ms": figures.latency_below_ms(0.5),
            "p99_latency_below_ms": figures.latency_below_ms(0.99),
            "success_rate": figures.success_rate(),
            "cache_hit_rate": figures.hit_rate(),
            "conflict_rate": figures.conflict_rate(),
            "total_syncs": figures.settled + figures.refused,
            "written": figures.written,
            "pulls": figures.pulled,
            "pulls_given_up": figures.gave_up,
            "connections": figures.connections,
        }))
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

/// A write's fate in words.
fn told(settled: Option<&Settled>) -> Value {
    let Some(Settled { outcome, answer }) = settled else {
        return json!({
            "outcome": "pending",
            "note": "it is safe in this machine's journal and goes out by itself as soon as it can; go on with your work"
        });
    };
    let mut told = json!({"outcome": outcome});
    for name in [
        "version",
        "resolution",
        "overwritten",
        "conflict_id",
        "variant_id",
        "merged",
        "code",
        "reason",
        "current",
        "proposed",
        "base",
        "seq",
    ] {
        if let Some(value) = answer.get(name) {
            told[name] = value.clone();
        }
    }
    // Of a replica's name, who it is.
    for one in told["overwritten"].as_array_mut().into_iter().flatten() {
        if let Some(by) = one["by"].as_str().and_then(|by| by.split('~').next()) {
            one["by"] = by.to_owned().into();
        }
    }
    if outcome == "refused" {
        told["reason"] = answer["message"].clone();
    }
    told
}
