//! A look into a journal that no node has open, for people. Reads a copy: opening a store writes to it.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use super::{
    Figures, JournalConfig, JournalError,
    index::Index,
    store::{self, Store},
};
use crate::backbone::embedded::{self, EmbeddedLog};

/// A larger journal is not copied, bytes.
const LARGEST_COPY: u64 = 256 << 20;

/// What was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Look {
    /// There is no journal yet.
    Nothing,
    /// A node has it open.
    InUse,
    /// It takes so many bytes of disk, too many to look into.
    TooLarge(u64),
    /// It holds this.
    Holds(Figures),
}

/// Looks into the journal in this directory. Changes nothing there; blocks while it copies and reads.
///
/// # Errors
///
/// It cannot be read, or it cannot be copied to the system's directory for temporary files.
pub async fn look(dir: &Path) -> Result<Look, JournalError> {
    let unreadable = |source| embedded::OpenError::Io { dir: dir.to_owned(), source };
    if !dir.join("lock").exists() {
        return Ok(Look::Nothing);
    }
    if embedded::is_in_use(dir).map_err(unreadable)? {
        return Ok(Look::InUse);
    }
    let size = size_of(dir).map_err(unreadable)?;
    if size > LARGEST_COPY {
        return Ok(Look::TooLarge(size));
    }
    let copy = Copy::of(dir).map_err(unreadable)?;
    // A node that came meanwhile has written while we read.
    if embedded::is_in_use(dir).map_err(unreadable)? {
        return Ok(Look::InUse);
    }
    let config = JournalConfig {
        dir: copy.0.clone(),
        max_bytes: u64::MAX,
        commit_records: 1,
        commit_bytes: 1,
        queue_appends: 1,
    };
    let store = Store::new(EmbeddedLog::open(store::settings(&config))?);
    let mut index = Index::new(config.max_bytes);
    let read = store.recover(&mut index).await;
    store.close().await;
    let (entries, bytes, oldest) = (index.waiting(), index.bytes(), index.oldest());
    Ok(Look::Holds(Figures { entries, bytes, oldest, dead: read?, ..Figures::default() }))
}

/// Bytes on disk.
fn size_of(dir: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let about = entry.metadata()?;
        bytes += if about.is_dir() { size_of(&entry.path())? } else { about.blocks() * 512 };
    }
    Ok(bytes)
}

/// A copy of a directory, removed when dropped.
struct Copy(PathBuf);

impl Copy {
    fn of(dir: &Path) -> io::Result<Self> {
        let name = format!("continuum-look-{}-{:016x}", std::process::id(), fastrand::u64(..));
        let copy = Self(std::env::temp_dir().join(name));
        copy_into(dir, &copy.0)?;
        Ok(copy)
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        // What cannot be removed stays with the other temporary files.
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn copy_into(dir: &Path, copy: &Path) -> io::Result<()> {
    fs::create_dir(copy)?;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let to = copy.join(entry.file_name());
        match entry.file_type()? {
            kind if kind.is_dir() => copy_into(&entry.path(), &to)?,
            _ => drop(fs::copy(entry.path(), to)?),
        }
    }
    Ok(())
}
