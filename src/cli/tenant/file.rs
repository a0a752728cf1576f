//! A tenant on its way to a file and back, with signs of how far it is.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufRead as _, BufReader, Read, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use anyhow::{Context as _, bail};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::{
    cli::remote::Remote,
    wire::export::{End, read_end},
};

/// A sign of life each so many bytes.
const EACH: u64 = 16 << 20;

/// Writes a tenant to a file that is not there yet; what it prints in the end is the file's last line.
///
/// # Errors
///
/// The node's refusal, or the file cannot be written, or did not come to its end: then there is none.
pub fn export(remote: &Remote, tenant: &str, output: &Path) -> anyhow::Result<Value> {
    let from = remote.download(&format!("/v1/tenants/{tenant}/export"))?;
    // For nobody else to read: it holds what is private.
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(output);
    let file = file.with_context(|| format!("cannot make {}", output.display()))?;
    let written = copy(Watched::new(from, "received"), &file);
    let written = written.and_then(|end| file.sync_all().context("cannot keep the file").map(|()| end));
    if written.is_err()
        && let Err(error) = fs::remove_file(output)
    {
        eprintln!("{} is not whole and cannot be removed: {error}", output.display());
    }
    let End { position, events, entities, damaged, sha256 } = written?;
    if damaged > 0 {
        eprintln!("{damaged} records could not be read and are left out; the node's log names them");
    }
    Ok(json!({"tenant": tenant, "position": position, "events": events, "entities": entities, "damaged": damaged,
        "sha256": sha256}))
}

/// Copies lines as long as they come, and holds them to what the last one says.
fn copy(from: impl Read, file: &File) -> anyhow::Result<End> {
    let (mut from, mut to) = (BufReader::with_capacity(1 << 16, from), io::BufWriter::new(file));
    let (mut hash, mut line, mut end) = (Sha256::new(), Vec::new(), None);
    loop {
        line.clear();
        let count = from.read_until(b'\n', &mut line).context("the node broke off; ask again")?;
        if count == 0 {
            break;
        }
        to.write_all(&line).context("cannot write the file")?;
        end = read_end(&line);
        if end.is_none() {
            hash.update(&line);
        }
    }
    to.flush().context("cannot write the file")?;
    match end {
        Some(end) if end.sha256 == format!("{:x}", hash.finalize()) => Ok(end),
        Some(_) => bail!("what came is not what the node sent; ask again"),
        None => bail!("the node broke off; ask again"),
    }
}

/// Sends a file to a node.
///
/// # Errors
///
/// The node's refusal, or the file cannot be read.
pub fn import(remote: &Remote, tenant: &str, input: &Path) -> anyhow::Result<Value> {
    let file = File::open(input).with_context(|| format!("cannot read {}", input.display()))?;
    let mut from = Watched::new(file, "sent");
    remote.upload(&format!("/v1/tenants/{tenant}/import"), &mut from)
}

/// Says now and then how far it is.
struct Watched<R> {
    from: R,
    verb: &'static str,
    count: u64,
    said: u64,
}

impl<R> Watched<R> {
    fn new(from: R, verb: &'static str) -> Self {
        Self { from, verb, count: 0, said: 0 }
    }
}

impl<R: Read> Read for Watched<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.from.read(into)?;
        self.count += count as u64;
        let is_end = count == 0 && !into.is_empty();
        if self.count - self.said >= EACH || (is_end && self.count > self.said) {
            eprintln!("{} MB {}", self.count.div_ceil(1_000_000), self.verb);
            self.said = self.count;
        }
        Ok(count)
    }
}
