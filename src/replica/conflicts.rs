//! What lies open in the room, as the node lists it.

use rusqlite::{Transaction, params};
use serde::Serialize;
use serde_json::Value;

use super::store::StoreError;
use crate::model::EntityKey;

/// An open conflict, or a kept variant.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Conflict {
    /// The entity's type.
    pub entity_type: String,
    /// The entity's id.
    pub entity_id: String,
    /// As the node shows it.
    #[serde(flatten)]
    pub shown: Value,
}

/// Takes the list of what is open, as the node gives it.
pub(super) fn set(transaction: &Transaction<'_>, conflicts: &[(String, EntityKey, Value)]) -> Result<(), StoreError> {
    transaction.execute("DELETE FROM conflict", [])?;
    let text = "INSERT OR REPLACE INTO conflict (id, kind, entity, body) VALUES (?1, ?2, ?3, ?4)";
    let mut put = transaction.prepare_cached(text)?;
    for (id, key, shown) in conflicts {
        put.execute(params![id, &*key.kind, &*key.id, shown.to_string()])?;
    }
    Ok(())
}

/// What is open.
pub(super) fn all(transaction: &Transaction<'_>) -> Result<Vec<Conflict>, StoreError> {
    let mut asked = transaction.prepare_cached("SELECT kind, entity, body FROM conflict ORDER BY kind, entity, id")?;
    let rows = asked.query_map([], |row| {
        let text: String = row.get(2)?;
        let shown = serde_json::from_str(&text).unwrap_or_default();
        Ok(Conflict { entity_type: row.get(0)?, entity_id: row.get(1)?, shown })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// How many are open.
pub(super) fn count(transaction: &Transaction<'_>) -> Result<u64, StoreError> {
    Ok(transaction.prepare_cached("SELECT count(*) FROM conflict")?.query_row([], |row| row.get(0))?)
}
