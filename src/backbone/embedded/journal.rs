//! Looks through the store's journals before the store does.
//!
//! Owns: telling a torn tail (a crash in the middle of a write; nothing acknowledged is in it) from damage. The store by
//! itself refuses to open on some torn tails (all lengths on disk, some bytes not) and silently drops whatever follows a
//! damaged byte; here the first is cut off and the second is an error. Knows fjall's journal format 3; a file in
//! another format is left to the store.
//!
//! A journal is a row of batches: `1 count:u32 seqno:u64`, then items `2 type:u8 compression:u8 table:u64 key_length:u16
//! value_length:u32 stored_length:u32 key value` or `4 table:u64`, then `3 xxh3(items):u64 "FJL\x03"`; little endian,
//! zeros behind the last.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use xxhash_rust::xxh3::Xxh3;

const START: u8 = 1;
const ITEM: u8 = 2;
const END: u8 = 3;
const CLEAR: u8 = 4;
const TRAILER: &[u8] = b"FJL\x03";

/// Why the journals cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// They could not be read or cut.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Whole batches follow a broken one, so it is no torn tail.
    #[error("journal {} is damaged at byte {at}", .file.display())]
    Damaged {
        /// Which file.
        file: PathBuf,
        /// Where the first broken batch starts.
        at: usize,
    },
}

/// Cuts a torn tail off the newest journal; reports damage in any.
pub fn check(tables: &Path) -> Result<(), JournalError> {
    let mut journals = journals(tables)?;
    journals.sort();
    let newest = journals.last().map(|(number, _)| *number);
    for (number, path) in &journals {
        let bytes = fs::read(path)?;
        let sound = sound_length(&bytes);
        let Some(rest) = bytes.get(sound..) else { continue };
        if is_zero(rest) {
            continue;
        }
        // Only the newest is written to; the others were flushed before the next was begun.
        if Some(*number) != newest || has_batch(rest) {
            return Err(JournalError::Damaged { file: path.clone(), at: sound });
        }
        tracing::info!(file = %path.display(), at = sound, "cutting off a torn write");
        let file = File::options().write(true).open(path)?;
        file.set_len(u64::try_from(sound).expect("a length in memory fits"))?;
        file.sync_all()?;
    }
    Ok(())
}

/// Empties the journals of a store that is closed and had everything written out. The newest stays, with nothing in it: without any
/// journal the store takes itself for new and counts its changes from 0, behind those that are in the tables.
///
/// # Errors
///
/// One could not be removed or emptied; it is read when the store is opened.
pub fn leave(tables: &Path) -> io::Result<()> {
    let mut journals = journals(tables)?;
    journals.sort();
    if let Some((_, newest)) = journals.pop() {
        for (_, path) in journals {
            fs::remove_file(path)?;
        }
        let file = File::options().write(true).open(newest)?;
        file.set_len(0)?;
        file.sync_all()?;
    }
    File::open(tables)?.sync_all()
}

fn journals(tables: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let entries = match fs::read_dir(tables) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let number = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".jnl")?.parse().ok());
        found.extend(number.map(|number| (number, path)));
    }
    Ok(found)
}

/// Whether nothing was written here. By blocks, because a new journal reserves 64 MiB of zeros.
fn is_zero(bytes: &[u8]) -> bool {
    const BLOCK: [u8; 4_096] = [0; 4_096];
    bytes.chunks(BLOCK.len()).all(|chunk| *chunk == BLOCK[..chunk.len()])
}

/// How many bytes at the front are whole batches.
fn sound_length(bytes: &[u8]) -> usize {
    let mut at = 0;
    while let Some(length) = batch_length(&bytes[at..]) {
        at += length;
    }
    at
}

/// Whether a whole batch starts anywhere behind a trailer in here; the trailer may be the torn batch's own.
fn has_batch(bytes: &[u8]) -> bool {
    let trailers = bytes.windows(TRAILER.len()).enumerate().filter(|(_, window)| *window == TRAILER);
    trailers.into_iter().any(|(at, _)| batch_length(&bytes[at + TRAILER.len()..]).is_some())
}

/// The length of the whole batch at the front; `None` if there is none or its checksum is wrong.
fn batch_length(bytes: &[u8]) -> Option<usize> {
    let mut rest = bytes;
    if take(&mut rest, 1)? != [START] {
        return None;
    }
    let count = u32::from_le_bytes(take(&mut rest, 4)?.try_into().ok()?);
    take(&mut rest, 8)?;
    let items = rest;
    for _ in 0..count {
        match take(&mut rest, 1)? {
            [ITEM] => {
                take(&mut rest, 1 + 1 + 8)?;
                let key = u16::from_le_bytes(take(&mut rest, 2)?.try_into().ok()?);
                take(&mut rest, 4)?;
                let value = u32::from_le_bytes(take(&mut rest, 4)?.try_into().ok()?);
                take(&mut rest, usize::from(key))?;
                take(&mut rest, usize::try_from(value).ok()?)?;
            }
            [CLEAR] => drop(take(&mut rest, 8)?),
            _ => return None,
        }
    }
    let items = &items[..items.len() - rest.len()];
    if take(&mut rest, 1)? != [END] {
        return None;
    }
    let checksum = u64::from_le_bytes(take(&mut rest, 8)?.try_into().ok()?);
    let whole = take(&mut rest, TRAILER.len())? == TRAILER && checksum == checksum_of(items);
    whole.then(|| bytes.len() - rest.len())
}

fn checksum_of(items: &[u8]) -> u64 {
    // The streaming form, as the store computes it.
    let mut hash = Xxh3::new();
    hash.update(items);
    hash.digest()
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (head, tail) = rest.split_at_checked(count)?;
    *rest = tail;
    Some(head)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(value: &[u8]) -> Vec<u8> {
        let mut item = vec![ITEM, 0, 0];
        item.extend(7u64.to_le_bytes());
        item.extend(3u16.to_le_bytes());
        item.extend(u32::try_from(value.len()).expect("small").to_le_bytes());
        item.extend(u32::try_from(value.len()).expect("small").to_le_bytes());
        item.extend(b"key");
        item.extend(value);
        let mut bytes = vec![START];
        bytes.extend(1u32.to_le_bytes());
        bytes.extend(9u64.to_le_bytes());
        bytes.extend(&item);
        bytes.push(END);
        bytes.extend(checksum_of(&item).to_le_bytes());
        bytes.extend(TRAILER);
        bytes
    }

    fn check_file(bytes: &[u8]) -> (Result<(), JournalError>, Vec<u8>) {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("3.jnl");
        fs::write(&file, bytes).expect("written");
        (check(dir.path()), fs::read(&file).expect("read"))
    }

    #[test]
    fn a_sound_journal_is_left_alone_with_its_zeros() {
        let bytes = [batch(b"one"), batch(b"FJL\x03two"), vec![0; 100]].concat();
        let (result, after) = check_file(&bytes);
        assert!(result.is_ok());
        assert_eq!(after, bytes);
    }

    #[test]
    fn a_torn_tail_is_cut_off_wherever_it_is_torn() {
        let (first, last) = (batch(b"one"), batch(&[7; 300]));
        for hole in 0..last.len() {
            let mut torn = last.clone();
            torn[hole] ^= 0xff;
            let (result, after) = check_file(&[first.clone(), torn].concat());
            // The count of the sequence number is not under the checksum; a torn one reads as a whole batch.
            if !(5..13).contains(&hole) {
                assert!(result.is_ok(), "{hole}");
                assert_eq!(after, first, "{hole}");
            }
            let (result, after) = check_file(&[&first[..], &last[..hole]].concat());
            assert!(result.is_ok(), "{hole}");
            assert_eq!(after, first, "{hole}");
        }
    }

    #[test]
    fn damage_before_whole_batches_is_no_torn_tail() {
        let mut damaged = batch(b"two");
        damaged[30] ^= 1;
        let bytes = [batch(b"one"), damaged, batch(b"three")].concat();
        let (result, after) = check_file(&bytes);
        assert!(matches!(result, Err(JournalError::Damaged { at, .. }) if at == batch(b"one").len()));
        assert_eq!(after, bytes);
    }
}
