//! Which entities fit some words best: ranked by BM25 over all texts in them, with names weighing more. No model, no download.
//!
//! Owns: that whatever somebody types is words, and never the search's own language.

use rusqlite::{Transaction, params};
use serde::Serialize;
use serde_json::Value;

use super::{
    mirror::{SEEN, Seen, read_seen},
    store::StoreError,
};
use crate::model::EntityKey;

/// Most words of one question that are looked for.
const WORDS: usize = 32;
/// Words around what was found.
const AROUND: usize = 24;
/// What a word weighs in a name, and in a text.
const NAME: f64 = 4.0;
const TEXT: f64 = 1.0;

/// Something that fits.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Hit {
    /// The entity.
    #[serde(flatten)]
    pub seen: Seen,
    /// How well: higher is better. Only the order means something.
    pub score: f64,
    /// Where, with what was found in brackets.
    pub excerpt: String,
}

/// Notes the texts of an entity, or that it is gone.
pub(super) fn index(
    transaction: &Transaction<'_>,
    row: i64,
    key: &EntityKey,
    content: Option<&str>,
) -> Result<(), StoreError> {
    transaction.prepare_cached("DELETE FROM words WHERE rowid = ?1")?.execute([row])?;
    if let Some(content) = content {
        let mut text = String::new();
        if let Ok(value) = serde_json::from_str::<Value>(content) {
            gather(&value, &mut text);
        }
        transaction
            .prepare_cached("INSERT INTO words (rowid, name, text) VALUES (?1, ?2, ?3)")?
            .execute(params![row, &*key.id, text])?;
    }
    Ok(())
}

/// All texts in a value, and the names of what holds them.
fn gather(value: &Value, text: &mut String) {
    match value {
        Value::String(part) => {
            text.push_str(part);
            text.push('\n');
        }
        Value::Number(number) => {
            text.push_str(&number.to_string());
            text.push('\n');
        }
        Value::Array(parts) => parts.iter().for_each(|part| gather(part, text)),
        Value::Object(fields) => {
            for (name, part) in fields {
                text.push_str(name);
                text.push_str(": ");
                gather(part, text);
            }
        }
        Value::Null | Value::Bool(_) => text.push('\n'),
    }
}

/// What fits best first. Words of which an entity has none cost it; a word's beginning fits too.
pub(super) fn find(
    transaction: &Transaction<'_>,
    question: &str,
    (kind, prefix): (&str, &str),
    most: usize,
) -> Result<Vec<Hit>, StoreError> {
    let Some(words) = words(question) else { return Ok(Vec::new()) };
    // Which they are is known before anything is read of them that is only shown.
    let text = format!(
        "WITH best AS MATERIALIZED (
             SELECT words.rowid AS row, bm25(words, {NAME}, {TEXT}) AS cost, e.id AS id
             FROM words JOIN entity e ON e.row = words.rowid
             WHERE words MATCH ?1 AND e.kind = ?2 AND substr(e.id, 1, length(?3)) = ?3 AND e.local IS NOT NULL
             ORDER BY cost, id LIMIT ?4)
         SELECT {SEEN}, best.cost, snippet(words, -1, '[', ']', ' … ', {AROUND})
         FROM best JOIN entity e ON e.row = best.row JOIN words ON words.rowid = best.row
         WHERE words MATCH ?1 ORDER BY best.cost, best.id"
    );
    let mut asked = transaction.prepare_cached(&text)?;
    let rows = asked.query_map(params![words, kind, prefix, most], |row| {
        Ok(Hit { seen: read_seen(row)?, score: -row.get::<_, f64>(8)?, excerpt: row.get(9)? })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The words of a question, each as a text to be looked for; `None`: there are none.
fn words(question: &str) -> Option<String> {
    let words = question.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    let quoted: Vec<String> = words.take(WORDS).map(|word| format!("\"{word}\"*")).collect();
    (!quoted.is_empty()).then(|| quoted.join(" OR "))
}

#[cfg(test)]
mod tests {
    use super::words;

    #[test]
    fn whatever_is_typed_is_words() {
        assert_eq!(words("refresh-token").as_deref(), Some("\"refresh\"* OR \"token\"*"));
        assert_eq!(words("NOT \"a\" AND (b)").as_deref(), Some("\"NOT\"* OR \"a\"* OR \"AND\"* OR \"b\"*"));
        assert_eq!(words(" \"*- "), None);
    }
}
