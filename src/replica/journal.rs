//! The journal: what was written here, from the moment it is on disk until its fate is known.
//!
//! Owns: that a write is sent under the same id and number however often it takes, that nothing leaves the journal but by an
//! answer of the node or a person's word, and that what was refused for good stays with the reason.

use std::{collections::HashSet, sync::Arc};

use rusqlite::{OptionalExtension as _, Row, Transaction, params};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, value::RawValue};
use uuid::Uuid;

use super::{
    mirror,
    store::{KEPT_BYTES, KEPT_TURNS, StoreError, latest, now_ms},
};
use crate::model::{EntityKey, EventType};

/// How many settled writes are remembered, for those who wait for them.
const SETTLED: i64 = 4_096;

/// Refusals that say that what the author had seen stands no more: who tries again means what stands now.
const OUTDATED: [&str; 4] = ["edited", "deleted", "base_gone", "version_ahead"];

/// Something to be written.
#[derive(Clone, Debug)]
pub enum Write {
    /// A change of an entity: the fields of an operation beside its id, number, entity and base, as the protocol has them.
    Operation {
        /// Which entity.
        key: EntityKey,
        /// The version that its author has seen; `None`: the one in the mirror.
        base: Option<u64>,
        /// `action`, `strategy`, and one of `patch`, `ops`, `text`, `data`, or `conflict_id` and `choice`.
        fields: Map<String, Value>,
    },
    /// An event.
    Event {
        /// Its type.
        event_type: EventType,
        /// Its content.
        data: Box<RawValue>,
    },
}

/// A write that is on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ticket {
    /// Its id, under which it is applied once.
    pub id: Uuid,
    /// Its place in the journal.
    pub number: u64,
}

/// What became of a write.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settled {
    /// `confirmed`, `conflict_resolved`, `conflict_pending`, `rollback`, `stored` or `queued`; for what could not be decided, `refused`.
    pub outcome: String,
    /// The node's answer: the `data` of the message that gave it.
    pub answer: Value,
}

impl Settled {
    /// Whether it did not come about.
    pub fn is_refusal(&self) -> bool {
        matches!(self.outcome.as_str(), "rollback" | "refused")
    }
}

/// A write whose fate is open.
#[derive(Clone, Debug, Serialize)]
pub struct Pending {
    /// Its place.
    pub number: u64,
    /// Its id.
    pub id: Uuid,
    /// The entity's type, or the event's.
    pub kind: Arc<str>,
    /// The entity's id; `None`: an event.
    pub entity: Option<Arc<str>>,
    /// The version that its author had seen.
    pub base: Option<u64>,
    /// An operation's other fields, or an event's content, as JSON.
    #[serde(serialize_with = "as_json")]
    pub body: String,
    /// When, in milliseconds since 1970, by this machine's clock.
    pub written_at: i64,
}

/// A write that the node refused for good.
#[derive(Clone, Debug, Serialize)]
pub struct DeadLetter {
    /// What it was.
    #[serde(flatten)]
    pub write: Pending,
    /// The node's code.
    pub code: String,
    /// The node's words.
    pub reason: String,
    /// What stood in its way, if the node showed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current: Option<Value>,
    /// When, in milliseconds since 1970, by this machine's clock.
    pub refused_at: i64,
}

fn as_json<S: serde::Serializer>(text: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serde_json::from_str::<&RawValue>(text).map_err(serde::ser::Error::custom)?.serialize(serializer)
}

impl Pending {
    /// Which entity it is about.
    pub(super) fn key(&self) -> Option<EntityKey> {
        EntityKey::new(&self.kind, self.entity.as_deref()?).ok()
    }

    /// An operation's fields as the protocol has them, one JSON object.
    pub(super) fn operation(&self, replica: &str) -> String {
        let mut fields = Map::new();
        fields.insert("op_id".into(), self.id.to_string().into());
        fields.insert("op_number".into(), self.number.into());
        fields.insert("replica_id".into(), replica.into());
        fields.insert("entity_type".into(), (*self.kind).into());
        fields.insert("entity_id".into(), self.entity.as_deref().into());
        if let Some(base) = self.base {
            fields.insert("base_version".into(), base.into());
        }
        let mut text = Value::from(fields).to_string();
        // The body as it was written, whatever its numbers.
        let rest = self.body.trim_start().strip_prefix('{').unwrap_or("}").trim_start();
        text.truncate(text.len() - 1);
        if rest != "}" {
            text.push(',');
        }
        text + rest
    }

    /// The message that it goes out as.
    pub(super) fn message(&self, replica: &str) -> String {
        match self.entity {
            Some(_) => format!(
                r#"{{"event_type":"sync_event","event_id":"{}","data":{{"event":{}}}}}"#,
                self.id,
                self.operation(replica)
            ),
            None => format!(
                r#"{{"event_type":{},"event_id":"{}","data":{}}}"#,
                Value::from(&*self.kind),
                self.id,
                self.body
            ),
        }
    }
}

const COLUMNS: &str = "number, id, kind, entity, base, body, written_at";

fn read(row: &Row<'_>) -> rusqlite::Result<Pending> {
    let text = |index: usize| row.get::<_, String>(index);
    let id = text(1)?;
    Ok(Pending {
        number: row.get(0)?,
        id: Uuid::try_parse(&id).map_err(|error| {
            rusqlite::Error::FromSqlConversionFailure(1, rusqlite::types::Type::Text, Box::new(error))
        })?,
        kind: text(2)?.into(),
        entity: row.get::<_, Option<String>>(3)?.map(Into::into),
        base: row.get(4)?,
        body: text(5)?,
        written_at: row.get(6)?,
    })
}

/// Puts a write behind the others. Gives its number.
pub(super) fn append(transaction: &Transaction<'_>, write: &Pending) -> Result<u64, StoreError> {
    transaction
        .prepare_cached(
            "INSERT INTO pending (id, kind, entity, base, body, written_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![
            write.id.to_string(),
            &*write.kind,
            write.entity.as_deref(),
            write.base,
            write.body,
            write.written_at
        ])?;
    Ok(transaction.last_insert_rowid().unsigned_abs())
}

/// What a journal holds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counts {
    /// Writes whose fate is open.
    pub pending: u64,
    /// Writes that were refused.
    pub refused: u64,
    /// Bytes of both.
    pub bytes: u64,
}

/// Counts what it holds.
pub(super) fn count(transaction: &Transaction<'_>) -> Result<Counts, StoreError> {
    let text = "SELECT (SELECT count(*) FROM pending), (SELECT count(*) FROM refused),
        (SELECT ifnull(sum(octet_length(body)), 0) FROM pending) + (SELECT ifnull(sum(octet_length(body) + ifnull(octet_length(current), 0)), 0) FROM refused)";
    let counts = |row: &Row<'_>| Ok(Counts { pending: row.get(0)?, refused: row.get(1)?, bytes: row.get(2)? });
    Ok(transaction.prepare_cached(text)?.query_row([], counts)?)
}

/// Whether nothing is pending.
pub(super) fn is_empty(transaction: &Transaction<'_>) -> Result<bool, StoreError> {
    Ok(transaction.prepare_cached("SELECT NOT EXISTS (SELECT 1 FROM pending)")?.query_row([], |row| row.get(0))?)
}

/// Which of these numbers, the first to the last, are pending.
pub(super) fn numbers(transaction: &Transaction<'_>, first: u64, last: u64) -> Result<HashSet<u64>, StoreError> {
    let mut asked = transaction.prepare_cached("SELECT number FROM pending WHERE number BETWEEN ?1 AND ?2")?;
    let rows = asked.query_map([first, last], |row| row.get(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Writes behind a place, in their order.
pub(super) fn page(transaction: &Transaction<'_>, after: u64, most: usize) -> Result<Vec<Pending>, StoreError> {
    let text = format!("SELECT {COLUMNS} FROM pending WHERE number > ?1 ORDER BY number LIMIT ?2");
    let mut asked = transaction.prepare_cached(&text)?;
    let rows = asked.query_map(params![after, most], read)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// What is pending for an entity, in its order.
pub(super) fn of_entity(transaction: &Transaction<'_>, key: &EntityKey) -> Result<Vec<Pending>, StoreError> {
    let text = format!("SELECT {COLUMNS} FROM pending WHERE kind = ?1 AND entity = ?2 ORDER BY number");
    let mut asked = transaction.prepare_cached(&text)?;
    let rows = asked.query_map(params![&*key.kind, &*key.id], read)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The node answered: the write leaves the journal, or goes to those that were refused. Nothing happens the second time.
pub(super) fn settle(
    transaction: &Transaction<'_>,
    id: Uuid,
    settled: &Settled,
) -> Result<Option<Pending>, StoreError> {
    let text = format!("DELETE FROM pending WHERE id = ?1 RETURNING {COLUMNS}");
    let mut asked = transaction.prepare_cached(&text)?;
    let Some(write) = asked.query_map([id.to_string()], read)?.next().transpose()? else { return Ok(None) };
    if settled.is_refusal() {
        let word = |name: &str| settled.answer[name].as_str().map(str::to_owned);
        let reason = word("reason").or_else(|| word("message")).unwrap_or_default();
        let current = settled.answer.get("current").filter(|current| !current.is_null()).map(Value::to_string);
        transaction
            .prepare_cached(
                "INSERT INTO refused (number, id, kind, entity, base, body, written_at, code, reason, current, refused_at)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
            )?
            .execute(params![
                write.number,
                write.id.to_string(),
                &*write.kind,
                write.entity.as_deref(),
                write.base,
                write.body,
                write.written_at,
                word("code").unwrap_or_default(),
                reason,
                current,
                now_ms()
            ])?;
    }
    let answer = serde_json::to_string(settled).map_err(|error| StoreError::Broken(error.to_string()))?;
    transaction
        .prepare_cached("INSERT OR REPLACE INTO settled (id, answer) VALUES (?1, ?2)")?
        .execute(params![id.to_string(), answer])?;
    let turn = transaction.last_insert_rowid();
    transaction.prepare_cached("DELETE FROM settled WHERE turn <= ?1")?.execute([turn - SETTLED])?;
    if turn % KEPT_TURNS == 0 {
        transaction.prepare_cached(&latest("settled", "turn", "answer"))?.execute([KEPT_BYTES])?;
    }
    Ok(Some(write))
}

/// What became of a write; `None`: it is pending, or was settled long ago.
pub(super) fn settled(transaction: &Transaction<'_>, id: Uuid) -> Result<Option<Settled>, StoreError> {
    let mut asked = transaction.prepare_cached("SELECT answer FROM settled WHERE id = ?1")?;
    let mut rows = asked.query_map([id.to_string()], |row| row.get::<_, String>(0))?;
    let Some(text) = rows.next().transpose()? else { return Ok(None) };
    serde_json::from_str(&text).map(Some).map_err(|error| StoreError::Broken(error.to_string()))
}

/// What was refused.
pub(super) fn dead(transaction: &Transaction<'_>) -> Result<Vec<DeadLetter>, StoreError> {
    let text = format!("SELECT {COLUMNS}, code, reason, current, refused_at FROM refused ORDER BY number");
    let mut asked = transaction.prepare_cached(&text)?;
    let rows = asked.query_map([], |row| {
        let current = row.get::<_, Option<String>>(9)?.and_then(|text| serde_json::from_str(&text).ok());
        Ok(DeadLetter { write: read(row)?, code: row.get(7)?, reason: row.get(8)?, current, refused_at: row.get(10)? })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Writes something that was refused once more, under a new id: as what it is, another attempt. Its author has seen what they had seen
/// then, so what others wrote since is not written over unsaid; only where the refusal says that this stands no more it goes on what
/// stands now.
pub(super) fn retry(
    transaction: &Transaction<'_>,
    number: u64,
) -> Result<Option<(Ticket, Option<EntityKey>)>, StoreError> {
    let text = "SELECT code FROM refused WHERE number = ?1";
    let code: Option<String> = transaction.prepare_cached(text)?.query_row([number], |row| row.get(0)).optional()?;
    let Some(mut write) = take_dead(transaction, number)? else { return Ok(None) };
    let key = write.key();
    (write.id, write.written_at) = (Uuid::new_v4(), now_ms());
    let is_outdated = code.is_some_and(|code| OUTDATED.contains(&code.as_str()));
    if let (Some(key), true) = (&key, is_outdated || write.base.is_none()) {
        write.base = Some(mirror::version(transaction, key)?);
    }
    let number = append(transaction, &write)?;
    Ok(Some((Ticket { id: write.id, number }, key)))
}

/// Forgets something that was refused, or that waits. What waits may have reached the node.
pub(super) fn drop_one(transaction: &Transaction<'_>, number: u64) -> Result<Option<Pending>, StoreError> {
    if let Some(write) = take_dead(transaction, number)? {
        return Ok(Some(write));
    }
    let text = format!("DELETE FROM pending WHERE number = ?1 RETURNING {COLUMNS}");
    let mut asked = transaction.prepare_cached(&text)?;
    Ok(asked.query_map([number], read)?.next().transpose()?)
}

fn take_dead(transaction: &Transaction<'_>, number: u64) -> Result<Option<Pending>, StoreError> {
    let text = format!("DELETE FROM refused WHERE number = ?1 RETURNING {COLUMNS}");
    let mut asked = transaction.prepare_cached(&text)?;
    Ok(asked.query_map([number], read)?.next().transpose()?)
}

/// The log is another one: versions of the old one mean nothing in it.
pub(super) fn forget_bases(transaction: &Transaction<'_>) -> Result<(), StoreError> {
    transaction.execute("UPDATE pending SET base = 0 WHERE entity IS NOT NULL", [])?;
    transaction.execute("UPDATE refused SET base = 0 WHERE entity IS NOT NULL", [])?;
    Ok(())
}

/// Entities that have something pending.
pub(super) fn entities(transaction: &Transaction<'_>) -> Result<HashSet<EntityKey>, StoreError> {
    let text = "SELECT DISTINCT kind, entity FROM pending WHERE entity IS NOT NULL";
    let mut asked = transaction.prepare_cached(text)?;
    let rows = asked.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))?;
    let keys: Vec<(String, String)> = rows.collect::<Result<_, _>>()?;
    Ok(keys.iter().filter_map(|(kind, id)| EntityKey::new(kind, id).ok()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replica::store::{Care, Store};

    #[tokio::test]
    async fn what_was_refused_takes_space_until_a_person_has_looked() {
        let dir = tempfile::TempDir::new().expect("a directory");
        let store = Store::open(dir.path()).expect("a store");
        let count = store.write(Care::Quick, |transaction| {
            for id in [1, 2].map(Uuid::from_u128) {
                let (kind, body) = ("said".into(), r#""four""#.to_owned());
                append(transaction, &Pending { number: 0, id, kind, entity: None, base: None, body, written_at: 0 })?;
            }
            let refused = Settled { outcome: "refused".to_owned(), answer: Value::Null };
            settle(transaction, Uuid::from_u128(1), &refused)?;
            let before = count(transaction)?;
            drop_one(transaction, dead(transaction)?[0].write.number)?;
            Ok((before, count(transaction)?))
        });
        let (before, after) = count.await.expect("counted");
        assert_eq!((before.pending, before.refused, before.bytes), (1, 1, 12));
        assert_eq!((after.pending, after.refused, after.bytes), (1, 0, 6));
    }
}
