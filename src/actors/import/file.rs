//! The file of an import, read from its beginning as often as it takes. Blocks: for threads that may.
//!
//! Owns: that a line is no longer than it may be, and what makes a file whole.

use std::{
    collections::{HashMap, HashSet},
    fs::File,
    io::{BufRead as _, BufReader, Read as _, Seek as _},
};

use sha2::{Digest as _, Sha256};

use super::unkept;
use crate::{
    backbone::{Append, Expect, Subject},
    model::{DedupeId, EntityKey, Position, TenantId},
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
    /// Entities that have more than one line, with the number of the one that holds.
    later: HashMap<EntityKey, u64>,
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
}

impl Lines {
    pub(super) fn new(file: File, tenant: TenantId, bounds: Bounds) -> Self {
        Self { input: BufReader::with_capacity(1 << 16, file), tenant, bounds, line: Vec::new(), number: 0 }
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

    /// Holds the whole file to its own word and to what this node takes.
    pub(super) fn check(mut self) -> Result<(Self, Checked), Refusal> {
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
                        later.insert(key, self.number);
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

    /// Whether all these events are the file's.
    pub(super) fn holds_all(mut self, there: &HashSet<DedupeId>) -> Result<Self, Refusal> {
        self.rewind()?;
        let mut missing = there.clone();
        while let Some(line) = self.next()? {
            if let Line::Event(instance, publish) = line {
                missing.remove(&DedupeId::of(&self.tenant, &instance, publish.id));
            }
        }
        if missing.is_empty() { Ok(self) } else { Err(super::not_empty()) }
    }

    /// The next records, until there are so many or they have so many bytes.
    pub(super) fn take(
        mut self,
        there: &HashSet<DedupeId>,
        checked: &Checked,
        (most, bytes): (usize, usize),
    ) -> Result<(Self, Part), Refusal> {
        let (mut part, mut size) = (Part::default(), 0);
        while part.appends.len() < most && size < bytes {
            let Some(line) = self.next()? else {
                part.is_last = true;
                break;
            };
            let append = match line {
                Line::Header(_) | Line::End(_) => continue,
                Line::Event(instance, publish) => {
                    let dedupe = DedupeId::of(&self.tenant, &instance, publish.id);
                    if there.contains(&dedupe) {
                        part.already_there += 1;
                        continue;
                    }
                    let body = publish.to_body(&self.tenant, &instance, self.bounds.now);
                    self.append(Subject::Event(publish.event_type), dedupe, Expect::Anything, body)
                }
                Line::Entity(key, entity, told) => {
                    let holds = checked.later.get(&key).map_or(told == Told::First, |line| *line == self.number);
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
