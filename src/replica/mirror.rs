//! The room's entities as the log has them, and as they look with what is pending.
//!
//! Owns: that an entity only goes forward in the log's order, and that what is shown and what is searched is what the log has
//! with what is pending laid over it, in the same transaction. Must not know: connections.

use std::collections::HashSet;

use rusqlite::{OptionalExtension as _, Row, Transaction, params};
use serde::Serialize;
use serde_json::{Value, value::RawValue};

use super::{
    journal::{self, Pending},
    overlay::{self, Writer},
    search,
    store::{KEPT_BYTES, KEPT_TURNS, StoreError, fact, latest, set_fact},
    told::{Author, Page, Standing, Told, What},
};
use crate::model::EntityKey;

/// How many changes are kept to be told.
const CHANGES: i64 = 10_000;

/// An entity as it is seen here.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Seen {
    /// Its type.
    pub entity_type: String,
    /// Its id.
    pub entity_id: String,
    /// The log's version of it; 0: the log has none yet.
    pub version: u64,
    /// Its content with what is pending.
    pub data: Value,
    /// How many writes to it are pending.
    pub pending: u64,
    /// The instance that changed it last; `None`: not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub changed_by: Option<String>,
    /// The user for whom.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// When, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub changed_at: Option<String>,
}

/// Something that came from the room.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Change {
    /// Its place in this replica's list of them, rising.
    pub number: u64,
    /// Its place in the room's order.
    pub seq: u64,
    /// The record's type.
    pub event_type: String,
    /// What happened: `changed`, `deleted`, `open` (a conflict or variant was opened or settled) or `event`; or `missed`: the log did
    /// not go back far enough, what others did before this is not all told.
    pub action: String,
    /// The entity's type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entity_type: Option<String>,
    /// The entity's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entity_id: Option<String>,
    /// The instance that it comes from.
    pub by: String,
    /// The user for whom that acts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// When, RFC 3339.
    pub at: String,
    /// An event's content.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<Box<JsonText>>,
}

/// JSON as it came.
#[derive(Clone, Debug, PartialEq)]
pub struct JsonText(pub String);

impl Serialize for JsonText {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serde_json::from_str::<&RawValue>(&self.0).map_err(serde::ser::Error::custom)?.serialize(serializer)
    }
}

/// Entities that look otherwise than they did, perhaps: they are laid anew, once, at the end of a transaction.
pub(super) type Touched = HashSet<EntityKey>;

/// Takes one record.
pub(super) fn apply(transaction: &Transaction<'_>, told: &Told, touched: &mut Touched) -> Result<(), StoreError> {
    let (action, data) = match &told.what {
        What::Entity(key, data) => {
            if put(transaction, key, told.seq, data.as_deref(), Some(&told.author))? {
                touched.insert(key.clone());
            }
            (if data.is_some() { "changed" } else { "deleted" }, None)
        }
        What::Open(key) => {
            raise(transaction, key, told.seq)?;
            ("open", None)
        }
        What::Event(data) => ("event", Some(data)),
    };
    // What the log tells once more is no news.
    let last = "SELECT ifnull((SELECT seq FROM change ORDER BY number DESC LIMIT 1), 0)";
    if told.seq <= transaction.prepare_cached(last)?.query_row([], |row| row.get::<_, u64>(0))? {
        return Ok(());
    }
    let key = told.what.key();
    transaction
        .prepare_cached(
            "INSERT INTO change (seq, type, kind, entity, action, by, user, at, data)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )?
        .execute(params![
            told.seq,
            told.event_type,
            key.map(|key| &*key.kind),
            key.map(|key| &*key.id),
            action,
            told.author.by,
            told.author.user,
            told.author.at,
            data
        ])?;
    let number = transaction.last_insert_rowid();
    transaction.prepare_cached("DELETE FROM change WHERE number <= ?1")?.execute([number - CHANGES])?;
    if number % KEPT_TURNS == 0 {
        transaction.prepare_cached(&latest("change", "number", "data"))?.execute([KEPT_BYTES])?;
    }
    Ok(())
}

/// Puts what the log has of an entity, unless something later is there, or the same with its author.
fn put(
    transaction: &Transaction<'_>,
    key: &EntityKey,
    version: u64,
    data: Option<&str>,
    author: Option<&Author>,
) -> Result<bool, StoreError> {
    let changed = transaction
        .prepare_cached(
            "INSERT INTO entity (kind, id, version, data, by, user, at, round) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
             ON CONFLICT (kind, id) DO UPDATE SET version = ?3, data = ?4, by = ?5, user = ?6, at = ?7, round = ?8
             WHERE version < ?3 OR (version = ?3 AND by IS NULL)",
        )?
        .execute(params![
            &*key.kind,
            &*key.id,
            version,
            data,
            author.map(|author| &author.by),
            author.and_then(|author| author.user.as_ref()),
            author.map(|author| &author.at),
            round(transaction)?
        ])?;
    Ok(changed > 0)
}

/// An entity's content is as it was, but its version rose.
fn raise(transaction: &Transaction<'_>, key: &EntityKey, version: u64) -> Result<(), StoreError> {
    transaction
        .prepare_cached("UPDATE entity SET version = max(version, ?3) WHERE kind = ?1 AND id = ?2 AND version > 0")?
        .execute(params![&*key.kind, &*key.id, version])?;
    Ok(())
}

/// An entity's row, the log's version and content of it, and how it looks.
type Known = (i64, u64, Option<String>, Option<String>);

fn known(transaction: &Transaction<'_>, key: &EntityKey) -> Result<Option<Known>, StoreError> {
    let text = "SELECT row, version, data, local FROM entity WHERE kind = ?1 AND id = ?2";
    let mut asked = transaction.prepare_cached(text)?;
    let row = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?));
    Ok(asked.query_row(params![&*key.kind, &*key.id], row).optional()?)
}

/// Lays what is pending over an entity anew.
pub(super) fn relay(transaction: &Transaction<'_>, writer: &Writer, key: &EntityKey) -> Result<(), StoreError> {
    let known = known(transaction, key)?;
    let pending = journal::of_entity(transaction, key)?;
    let base = known.as_ref().and_then(|(_, version, data, _)| Some((*version, data.as_deref()?)));
    let local = match pending.is_empty() {
        true => base.map(|(_, text)| text.to_owned()),
        false => overlay::lay(writer, base, &pending),
    };
    show_as(transaction, key, known, local, pending.is_empty())
}

/// The same for all that have something pending.
pub(super) fn relay_all(transaction: &Transaction<'_>, writer: &Writer) -> Result<(), StoreError> {
    journal::entities(transaction)?.iter().try_for_each(|key| relay(transaction, writer, key))
}

/// Lays one more write on how an entity looks: that of the ones before it is laid already.
pub(super) fn lay_on(
    transaction: &Transaction<'_>,
    writer: &Writer,
    key: &EntityKey,
    write: Pending,
) -> Result<(), StoreError> {
    let known = known(transaction, key)?;
    let looks = known.as_ref().and_then(|(_, version, _, local)| Some((*version, local.as_deref()?)));
    // Of something that is gone, how it was is not kept here: what is pending may bring it back.
    let Some(looks) = looks else { return relay(transaction, writer, key) };
    let local = overlay::lay(writer, Some(looks), &[write]);
    show_as(transaction, key, known, local, false)
}

fn show_as(
    transaction: &Transaction<'_>,
    key: &EntityKey,
    known: Option<Known>,
    local: Option<String>,
    is_settled: bool,
) -> Result<(), StoreError> {
    let row = match known {
        Some((row, 0, ..)) if local.is_none() && is_settled => {
            transaction.prepare_cached("DELETE FROM entity WHERE row = ?1")?.execute([row])?;
            row
        }
        Some((.., looked)) if looked == local => return Ok(()),
        Some((row, ..)) => {
            transaction.prepare_cached("UPDATE entity SET local = ?2 WHERE row = ?1")?.execute(params![row, local])?;
            row
        }
        None if local.is_none() => return Ok(()),
        None => {
            transaction
                .prepare_cached("INSERT INTO entity (kind, id, version, local) VALUES (?1, ?2, 0, ?3)")?
                .execute(params![&*key.kind, &*key.id, local])?;
            transaction.last_insert_rowid()
        }
    };
    search::index(transaction, row, key, local.as_deref())
}

/// The log's version of an entity; 0: nothing is known of it, and whoever writes says so.
pub(super) fn version(transaction: &Transaction<'_>, key: &EntityKey) -> Result<u64, StoreError> {
    let mut asked = transaction.prepare_cached("SELECT version FROM entity WHERE kind = ?1 AND id = ?2")?;
    Ok(asked.query_row(params![&*key.kind, &*key.id], |row| row.get(0)).optional()?.unwrap_or(0))
}

/// Notes which version somebody was shown.
pub(super) fn show(transaction: &Transaction<'_>, key: &EntityKey, version: u64) -> Result<(), StoreError> {
    transaction
        .prepare_cached("UPDATE entity SET shown = max(shown, ?3) WHERE kind = ?1 AND id = ?2")?
        .execute(params![&*key.kind, &*key.id, version])?;
    Ok(())
}

/// Which version was shown last; 0: none.
pub(super) fn shown(transaction: &Transaction<'_>, key: &EntityKey) -> Result<u64, StoreError> {
    let mut asked = transaction.prepare_cached("SELECT shown FROM entity WHERE kind = ?1 AND id = ?2")?;
    Ok(asked.query_row(params![&*key.kind, &*key.id], |row| row.get(0)).optional()?.unwrap_or(0))
}

pub(super) const SEEN: &str = "e.kind, e.id, e.version, e.local, iif(e.data IS NULL, NULL, e.by),
    iif(e.data IS NULL, NULL, e.user), iif(e.data IS NULL, NULL, e.at),
    (SELECT count(*) FROM pending p WHERE p.kind = e.kind AND p.entity = e.id)";

pub(super) fn read_seen(row: &Row<'_>) -> rusqlite::Result<Seen> {
    let text: String = row.get(3)?;
    Ok(Seen {
        entity_type: row.get(0)?,
        entity_id: row.get(1)?,
        version: row.get(2)?,
        data: serde_json::from_str(&text).unwrap_or(Value::String(text)),
        changed_by: row.get(4)?,
        user: row.get(5)?,
        changed_at: row.get(6)?,
        pending: row.get(7)?,
    })
}

/// An entity; `None`: it is not there.
pub(super) fn get(transaction: &Transaction<'_>, key: &EntityKey) -> Result<Option<Seen>, StoreError> {
    let text = format!("SELECT {SEEN} FROM entity e WHERE e.kind = ?1 AND e.id = ?2 AND e.local IS NOT NULL");
    let mut asked = transaction.prepare_cached(&text)?;
    Ok(asked.query_row(params![&*key.kind, &*key.id], read_seen).optional()?)
}

/// Entities of a type whose ids begin so, by id, behind one.
pub(super) fn list(
    transaction: &Transaction<'_>,
    kind: &str,
    (prefix, after): (&str, &str),
    most: usize,
) -> Result<Vec<Seen>, StoreError> {
    let text = format!(
        "SELECT {SEEN} FROM entity e WHERE e.kind = ?1 AND e.id > ?2 AND substr(e.id, 1, length(?3)) = ?3
         AND e.local IS NOT NULL ORDER BY e.id LIMIT ?4"
    );
    let mut asked = transaction.prepare_cached(&text)?;
    let rows = asked.query_map(params![kind, after, prefix, most], read_seen)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

pub(super) const CHANGE: &str = "number, seq, type, action, kind, entity, by, user, at";

pub(super) fn read_change(row: &Row<'_>, data: Option<String>) -> rusqlite::Result<Change> {
    Ok(Change {
        number: row.get(0)?,
        seq: row.get(1)?,
        event_type: row.get(2)?,
        action: row.get(3)?,
        entity_type: row.get(4)?,
        entity_id: row.get(5)?,
        by: row.get(6)?,
        user: row.get(7)?,
        at: row.get(8)?,
        data: data.map(|text| Box::new(JsonText(text))),
    })
}

/// What came from the room behind a place in the list, and where the list ends.
pub(super) fn changes(
    transaction: &Transaction<'_>,
    after: u64,
    most: usize,
) -> Result<(Vec<Change>, u64), StoreError> {
    let text = format!("SELECT {CHANGE}, data FROM change WHERE number > ?1 ORDER BY number LIMIT ?2");
    let mut asked = transaction.prepare_cached(&text)?;
    let rows = asked.query_map(params![after, most], |row| read_change(row, row.get(9)?))?;
    let changes: Vec<Change> = rows.collect::<Result<_, _>>()?;
    Ok((changes, last_change(transaction)?))
}

/// The number of the latest change.
pub(super) fn last_change(transaction: &Transaction<'_>) -> Result<u64, StoreError> {
    let text = "SELECT ifnull(max(number), 0) FROM change";
    Ok(transaction.prepare_cached(text)?.query_row([], |row| row.get(0))?)
}

/// Which round of reading the whole state it is: what no message of the round named is not there any more.
fn round(transaction: &Transaction<'_>) -> Result<i64, StoreError> {
    Ok(fact(transaction, "round")?.and_then(|text| text.parse().ok()).unwrap_or(0))
}

/// The whole state will be read. `is_other_log`: versions of what is here mean nothing in it.
pub(super) fn begin_state(
    transaction: &Transaction<'_>,
    writer: &Writer,
    is_other_log: bool,
) -> Result<(), StoreError> {
    set_fact(transaction, "whole", "")?;
    set_fact(transaction, "round", &(round(transaction)? + 1).to_string())?;
    if is_other_log {
        transaction.execute("UPDATE entity SET version = 0, shown = 0, data = NULL", [])?;
        transaction.execute("DELETE FROM conflict", [])?;
        transaction.execute("DELETE FROM change", [])?;
        journal::forget_bases(transaction)?;
        relay_all(transaction, writer)?;
    }
    Ok(())
}

/// Takes a page of the state.
pub(super) fn put_page(transaction: &Transaction<'_>, page: &Page, touched: &mut Touched) -> Result<(), StoreError> {
    for Standing { key, version, data, author } in &page.entities {
        if !put(transaction, key, *version, data.as_deref(), author.as_ref())? {
            transaction
                .prepare_cached("UPDATE entity SET round = ?3 WHERE kind = ?1 AND id = ?2")?
                .execute(params![&*key.kind, &*key.id, round(transaction)?])?;
        }
        touched.insert(key.clone());
    }
    Ok(())
}

/// The whole state was read, of this log and these types: what it does not have is gone.
pub(super) fn end_state(transaction: &Transaction<'_>, writer: &Writer, of: &str) -> Result<(), StoreError> {
    let gone: Vec<(String, String)> = {
        let text = "SELECT kind, id FROM entity WHERE round < ?1 AND (version > 0 OR local IS NOT NULL)";
        let mut asked = transaction.prepare_cached(text)?;
        let rows = asked.query_map([round(transaction)?], |row| Ok((row.get(0)?, row.get(1)?)))?;
        rows.collect::<Result<_, _>>()?
    };
    for (kind, id) in gone {
        let Ok(key) = EntityKey::new(&kind, &id) else { continue };
        transaction
            .prepare_cached("UPDATE entity SET version = 0, data = NULL WHERE kind = ?1 AND id = ?2")?
            .execute(params![kind, id])?;
        relay(transaction, writer, &key)?;
    }
    set_fact(transaction, "whole", of)
}

/// Of which log and which types the whole state is here.
pub(super) fn whole(transaction: &Transaction<'_>) -> Result<Option<String>, StoreError> {
    Ok(fact(transaction, "whole")?.filter(|of| !of.is_empty()))
}

#[cfg(test)]
mod tests;
