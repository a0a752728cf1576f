//! What others did, as it is told to somebody. Owns: that no telling is larger than it may be, whatever an event holds, and that all of
//! it can be had, page by page.

use rusqlite::{Row, Transaction, params};
use serde_json::Value;

use super::{
    Replica,
    mirror::{self, CHANGE, Change},
    store::StoreError,
};
use crate::model::EntityKey;

/// What others did behind a place in the list.
#[derive(Debug, Default)]
pub struct News {
    /// In the list's order.
    pub items: Vec<Item>,
    /// More than are told here: behind these, or before them if it was asked for the latest.
    pub more: u64,
    /// Up to where it is told.
    pub mark: u64,
}

/// One thing that somebody did.
#[derive(Debug)]
pub struct Item {
    /// What it was.
    pub change: Change,
    /// Its content had so many bytes, and only its beginning is here, as a text.
    pub cut_from: Option<u64>,
}

/// Which are told if there are too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The earliest, so that somebody can go on from their end.
    Earliest,
    /// The latest: what happened before them is in what they led to.
    Latest,
}

/// How much is told at a time.
#[derive(Clone, Copy, Debug)]
pub struct Bound {
    /// Changes.
    pub items: usize,
    /// Bytes of one event's content.
    pub bytes: usize,
}

impl Replica {
    /// What others did behind a place in the list.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    pub async fn news(&self, after: u64, part: Part, bound: Bound) -> Result<News, StoreError> {
        let own = self.instance().to_string();
        self.shared.store.read(move |transaction| news(transaction, &own, after, part, bound)).await
    }

    /// Which entities of a type were changed behind a place in the list, each once, and where the list ends.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    pub async fn touched(&self, kind: &str, after: u64) -> Result<(Vec<EntityKey>, u64), StoreError> {
        let kind = kind.to_owned();
        let look = move |transaction: &Transaction<'_>| {
            let text = "SELECT DISTINCT entity FROM change WHERE number > ?1 AND kind = ?2";
            let mut asked = transaction.prepare_cached(text)?;
            let rows = asked.query_map(params![after, kind], |row| row.get::<_, String>(0))?;
            let ids: Vec<String> = rows.collect::<Result<_, _>>()?;
            let keys = ids.iter().filter_map(|id| EntityKey::new(&kind, id).ok()).collect();
            Ok((keys, mirror::last_change(transaction)?))
        };
        self.shared.store.read(look).await
    }
}

/// Among what is told stands from here on that something is not.
pub(super) fn note_missed(transaction: &Transaction<'_>, at: &str) -> Result<(), StoreError> {
    transaction
        .prepare_cached(
            "INSERT INTO change (seq, type, action, by, at)
             SELECT ifnull((SELECT seq FROM change ORDER BY number DESC LIMIT 1), 0), 'resync', 'missed', '', ?1",
        )?
        .execute([at])?;
    Ok(())
}

fn news(transaction: &Transaction<'_>, own: &str, after: u64, part: Part, bound: Bound) -> Result<News, StoreError> {
    let order = match part {
        Part::Earliest => "ASC",
        Part::Latest => "DESC",
    };
    let text = format!(
        "SELECT {CHANGE}, octet_length(data), substr(data, 1, ?3)
         FROM change WHERE number > ?1 AND by <> ?2 ORDER BY number {order} LIMIT ?4"
    );
    let mut asked = transaction.prepare_cached(&text)?;
    let rows = asked.query_map(params![after, own, bound.bytes, bound.items], |row| read(row, bound.bytes))?;
    let mut items: Vec<Item> = rows.collect::<Result<_, _>>()?;
    if part == Part::Latest {
        items.reverse();
    }
    let text = "SELECT count(*) FROM change WHERE number > ?1 AND by <> ?2";
    let all: u64 = transaction.prepare_cached(text)?.query_row(params![after, own], |row| row.get(0))?;
    let more = all.saturating_sub(items.len() as u64);
    let mark = match items.last() {
        Some(last) if part == Part::Earliest && more > 0 => last.change.number,
        _ => mirror::last_change(transaction)?,
    };
    Ok(News { items, more, mark })
}

fn read(row: &Row<'_>, most: usize) -> rusqlite::Result<Item> {
    let (bytes, data): (Option<u64>, Option<String>) = (row.get(9)?, row.get(10)?);
    let cut_from = bytes.filter(|bytes| *bytes > most as u64);
    let data = data.map(|text| match cut_from {
        None => text,
        Some(_) => Value::from(&text[..text.floor_char_boundary(most)]).to_string(),
    });
    Ok(Item { change: mirror::read_change(row, data)?, cut_from })
}
