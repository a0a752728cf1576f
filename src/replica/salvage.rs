//! What becomes of a file that is damaged.
//!
//! Owns: that it is put aside and not thrown away, that nobody goes on writing into it, and that what was promised and can still be
//! read goes on in the new one.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use rusqlite::{Connection, OpenFlags, params};

use super::{
    lead,
    store::{StoreError, connect, now_ms},
};

/// Puts a damaged file aside, and one in its place that has what waits and what was refused, if all of it can be read; what was
/// mirrored can be had again. Gives the other name.
///
/// # Errors
///
/// There is no space, or another process has it open and would go on writing into it.
pub(super) fn mend(dir: &Path, path: &Path) -> Result<Option<PathBuf>, StoreError> {
    if lead::lock(dir)?.is_none() {
        return Err(StoreError::Broken(
            "it is damaged, and another process has it open; end that one first".to_owned(),
        ));
    }
    let new = path.with_extension("db.new");
    // One that was begun and not ended.
    each(|end| gone_is_fine(fs::remove_file(with_end(&new, end))))?;
    let mut to = connect(&new)?;
    match copy(path, &mut to) {
        Ok(pending) => {
            tracing::error!(path = %path.display(), pending, "the journal was damaged; what it held goes on")
        }
        Err(error) => {
            tracing::error!(path = %path.display(), %error, "the journal was damaged; what it held is not sent")
        }
    }
    // As one file, which gets its name in one step.
    to.pragma_update(None, "journal_mode", "DELETE")?;
    drop(to);
    fs::rename(&new, mended(path))?;
    finish(path)
}

/// Ends what was begun: once there is a mended file, it is the journal. Gives the other name of the damaged one.
///
/// # Errors
///
/// A file cannot be renamed.
pub(super) fn finish(path: &Path) -> Result<Option<PathBuf>, StoreError> {
    let mended = mended(path);
    if !mended.try_exists()? {
        return Ok(None);
    }
    let aside = path.with_extension(format!("db.damaged-{}", now_ms()));
    each(|end| gone_is_fine(fs::rename(with_end(path, end), with_end(&aside, end))))?;
    fs::rename(mended, path)?;
    Ok(Some(aside))
}

fn mended(path: &Path) -> PathBuf {
    path.with_extension("db.mended")
}

/// A file of SQLite and those that may lie beside it.
fn each(work: impl Fn(&str) -> io::Result<()>) -> io::Result<()> {
    ["", "-wal", "-shm"].into_iter().try_for_each(work)
}

fn with_end(path: &Path, end: &str) -> PathBuf {
    PathBuf::from(format!("{}{end}", path.display()))
}

fn gone_is_fine(done: io::Result<()>) -> io::Result<()> {
    done.or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) })
}

fn copy(damaged: &Path, new: &mut Connection) -> Result<usize, rusqlite::Error> {
    let old = Connection::open_with_flags(damaged, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    let transaction = new.transaction()?;
    let last: u64 = old.query_row("SELECT seq FROM sqlite_sequence WHERE name = 'pending'", [], |row| row.get(0))?;
    for name in ["owner", "replica"] {
        let value: String = old.query_row("SELECT value FROM fact WHERE name = ?1", [name], |row| row.get(0))?;
        transaction.execute("INSERT INTO fact (name, value) VALUES (?1, ?2)", [name, &value])?;
    }
    let mut copied = 0;
    for (table, columns) in [
        ("pending", "number, id, kind, entity, base, body, written_at"),
        ("refused", "number, id, kind, entity, base, body, written_at, code, reason, current, refused_at"),
    ] {
        let count = columns.split(',').count();
        let places: Vec<String> = (1..=count).map(|place| format!("?{place}")).collect();
        let text = format!("INSERT INTO {table} ({columns}) VALUES ({})", places.join(", "));
        let mut put = transaction.prepare(&text)?;
        let mut asked = old.prepare(&format!("SELECT {columns} FROM {table} ORDER BY number"))?;
        let mut rows = asked.query([])?;
        while let Some(row) = rows.next()? {
            for place in 0..count {
                put.raw_bind_parameter(place + 1, row.get::<_, rusqlite::types::Value>(place)?)?;
            }
            copied += put.raw_execute()?;
        }
    }
    // A number that was given once is known at the node.
    transaction.execute("INSERT INTO sqlite_sequence (name, seq) SELECT 'pending', 0 WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'pending')", [])?;
    transaction.execute("UPDATE sqlite_sequence SET seq = ?1 WHERE name = 'pending'", params![last])?;
    transaction.commit()?;
    Ok(copied)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replica::store::Store;

    #[test]
    fn what_is_damaged_is_put_aside_when_nobody_writes_into_it() {
        let dir = tempfile::TempDir::new().expect("a directory");
        fs::write(dir.path().join("replica.db"), [0x5a; 8_192]).expect("written");
        let held = lead::lock(dir.path()).expect("a lock");
        let refused = Store::open(dir.path()).map(drop);
        assert!(refused.is_err_and(|error| error.to_string().contains("end that one first")));
        drop(held);
        let store = Store::open(dir.path()).expect("opened");
        assert!(store.set_aside().is_some_and(Path::exists));
    }
}
