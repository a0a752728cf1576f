//! The file of an import, read from its beginning as often as it takes. Blocks: for threads that may.
//!
//! Owns: that a line is no longer than it may be, and what makes a file whole.

use std::{
    collections::HashMap,
    fs::File,
    io::{BufRead as _, BufReader, Read as _, Seek as _},
};

use sha2::{Digest as _, Sha256};

use super::unkept;
use crate::{
    backbone::{Append, Expect, Subject},
    model::{DedupeId, EntityKey, Position, TenantId, entity::OpId},
    wire::{
        Code, Refusal,
        export::{self, Bounds, End, Header, Line, Told, damaged, moved},
    },
};

/// What is known of a file that is whole.
#[derive(Debug)]
pub(super) struct Checked {
    /// Its last line.
    pub end: End,
    /// Entities that were changed while the file was written, with the number of the line that holds.
    later: HashMap<OpId, u64>,
}

/// Lines that the log holds: a bit each, as there may be many.
#[derive(Debug, Default)]
struct Marks(Vec<u64>);

impl Marks {
    fn place(line: u64) -> (usize, u64) {
        (usize::try_from(line / 64).unwrap_or(usize::MAX), 1 << (line % 64))
    }

    fn set(&mut self, line: u64) {
        let (at, bit) = Self::place(line);
        if self.0.len() <= at {
            self.0.resize(at + 1, 0);
        }
        self.0[at] |= bit;
    }

    fn has(&self, line: u64) -> bool {
        let (at, bit) = Self::place(line);
        self.0.get(at).is_some_and(|bits| bits & bit != 0)
    }
}

/// Some records of a file.
#[derive(Debug, Default)]
pub(super) struct Part {
    /// Those to append.
    pub appends: Vec<Append>,
    /// Events that the log holds.
    pub already_there: u64,
    /// Nothing is behind it.
    pub is_last: bool,
}

/// The file.
#[derive(Debug)]
pub(super) struct Lines {
    input: BufReader<File>,
    tenant: TenantId,
    bounds: Bounds,
    /// The last line that was read, with its end.
    line: Vec<u8>,
    number: u64,
    /// What the log holds of it.
    there: Marks,
}

impl Lines {
    pub(super) fn new(file: File, tenant: TenantId, bounds: Bounds) -> Self {
        let input = BufReader::with_capacity(1 << 16, file);
        Self { input, tenant, bounds, line: Vec::new(), number: 0, there: Marks::default() }
    }

    /// Back to the first line.
    pub(super) fn rewind(&mut self) -> Result<(), Refusal> {
        self.number = 0;
        self.input.rewind().map_err(|error| unkept(&error))
    }

    /// Reads the next line; `None` behind the last.
    fn next(&mut self) -> Result<Option<Line>, Refusal> {
        let most = self.bounds.line_bytes() as u64;
        self.line.clear();
        let mut input = self.input.by_ref().take(most + 1);
        let count = input.read_until(b'\n', &mut self.line).map_err(|error| unkept(&error))?;
        if count == 0 {
            return Ok(None);
        }
        self.number += 1;
        if count as u64 > most {
            let message = format!("line {} is longer than {most} bytes", self.number);
            return Err(Refusal::new(Code::TooLarge, message));
        }
        let line = self.line.strip_suffix(b"\n").unwrap_or(&self.line);
        export::read(line, &self.tenant, self.bounds).map(Some).map_err(|refusal| {
            let code = if refusal.code == Code::TooLarge { Code::TooLarge } else { Code::InvalidExport };
            Refusal::new(code, format!("line {}: {} ({})", self.number, refusal.message, refusal.code.word()))
        })
    }

    /// Holds the whole file to its own word and to what this node takes. No more than `most` entities are remembered.
    pub(super) fn check(mut self, most: usize) -> Result<(Self, Checked), Refusal> {
        self.rewind()?;
        let (mut hash, mut later) = (Sha256::new(), HashMap::new());
        let (mut events, mut entities) = (0, 0);
        match self.next()? {
            Some(Line::Header(header)) => self.check_header(&header)?,
            _ => return Err(damaged("the first line is no header: this is no exported tenant")),
        }
        hash.update(&self.line);
        let end = loop {
            match self.next()? {
                None => return Err(damaged("the file was cut off: its last line is missing")),
                Some(Line::Header(_)) => return Err(damaged(format!("line {}: a second header", self.number))),
                Some(Line::Event(..)) => events += 1,
                Some(Line::Entity(key, _, told)) => {
                    entities += 1;
                    if told == Told::Later {
                        later.insert(short(&key), self.number);
                    }
                    if later.len() > most {
                        let message = format!(
                            "more than {most} entities were changed while the file was written \
                             (limits.import_memory_bytes); export again while less is changed"
                        );
                        return Err(Refusal::new(Code::TooLarge, message));
                    }
                }
                Some(Line::End(end)) => break end,
            }
            hash.update(&self.line);
        };
        if format!("{:x}", hash.finalize()) != end.sha256 {
            return Err(damaged("the file was changed: its SHA-256 is not what its last line says"));
        }
        if (events, entities) != (end.events, end.entities) {
            return Err(damaged("the file has not as many lines as its last line says"));
        }
        if self.input.fill_buf().map_err(|error| unkept(&error))?.is_empty() {
            return Ok((self, Checked { end, later }));
        }
        Err(damaged("there is something behind the last line"))
    }

    fn check_header(&self, header: &Header) -> Result<(), Refusal> {
        if header.format != export::FORMAT || header.version != export::VERSION {
            let (format, version) = (export::FORMAT, export::VERSION);
            let message = format!(
                "this node reads {format} of version {version}, the file is {:.64} of version {}",
                header.format, header.version
            );
            return Err(damaged(message));
        }
        if header.tenant != self.tenant {
            return Err(damaged(format!("the file is of the tenant {}; its name cannot be changed", header.tenant)));
        }
        Ok(())
    }

    /// Finds events that the log holds; none is found yet.
    ///
    /// # Errors
    ///
    /// One of them is not the file's.
    pub(super) fn find(mut self, mut events: HashMap<DedupeId, bool>) -> Result<Self, Refusal> {
        self.rewind()?;
        while let Some(line) = self.next()? {
            if let Line::Event(instance, publish) = line
                && let Some(is_found) = events.get_mut(&DedupeId::of(&self.tenant, &instance, publish.id))
            {
                *is_found = true;
                self.there.set(self.number);
            }
        }
        if events.into_values().all(|is_found| is_found) { Ok(self) } else { Err(super::not_empty()) }
    }

    /// The next records, until there are so many or they have so many bytes.
    pub(super) fn take(mut self, checked: &Checked, (most, bytes): (usize, usize)) -> Result<(Self, Part), Refusal> {
        let (mut part, mut size) = (Part::default(), 0);
        while part.appends.len() < most && size < bytes {
            let Some(line) = self.next()? else {
                part.is_last = true;
                break;
            };
            let append = match line {
                Line::Header(_) | Line::End(_) => continue,
                Line::Event(..) if self.there.has(self.number) => {
                    part.already_there += 1;
                    continue;
                }
                Line::Event(instance, publish) => {
                    let dedupe = DedupeId::of(&self.tenant, &instance, publish.id);
                    let body = publish.to_body(&self.tenant, &instance, self.bounds.now);
                    self.append(Subject::Event(publish.event_type), dedupe, Expect::Anything, body)
                }
                Line::Entity(key, entity, told) => {
                    let holds =
                        checked.later.get(&short(&key)).map_or(told == Told::First, |line| *line == self.number);
                    if !holds {
                        continue;
                    }
                    let body = moved(&self.tenant, &key, *entity, &checked.end.sha256).body;
                    let dedupe = DedupeId(uuid::Uuid::new_v4());
                    self.append(Subject::Entity(key), dedupe, Expect::Version(Position::START), body)
                }
            };
            size += append.body.len();
            part.appends.push(append);
        }
        Ok((self, part))
    }

    fn append(&self, subject: Subject, dedupe: DedupeId, expect: Expect, body: bytes::Bytes) -> Append {
        Append { tenant: self.tenant.clone(), subject, dedupe, expect, first_tried: None, body }
    }
}

/// A key in 16 bytes, however long it is.
fn short(key: &EntityKey) -> OpId {
    export::id_of(key, "")
}
