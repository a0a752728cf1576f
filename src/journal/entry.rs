//! What the journal keeps of an append, as bytes.
//!
//! Owns: the form of an entry and of a dead letter. Must not know: stores, queues. The format is versioned, because an
//! entry may be read by a later version of this program.

use bytes::Bytes;
use uuid::Uuid;

use crate::{
    backbone::{Append, Expect, Subject},
    model::{DedupeId, EntityKey, Epoch, Position, TenantId, Timestamp},
};

/// The form that is written; older ones are read as long as there are any.
const VERSION: u8 = 2;
/// The form before tenants could be erased.
const WITHOUT_LIFE: u8 = 1;
/// The form of a dead letter.
const LETTER_VERSION: u8 = 1;
const EVENT: u8 = 0;
const ENTITY: u8 = 1;
/// A reason is cut to this many bytes.
const LONGEST_REASON: usize = 256;

/// Not an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an entry of the journal is damaged")]
pub struct Damaged;

/// One append on its way to the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Whose log.
    pub tenant: TenantId,
    /// What the record is about.
    pub subject: Subject,
    /// Its dedupe id.
    pub dedupe: DedupeId,
    /// The log that `first_tried` is a position of.
    pub epoch: Epoch,
    /// The log stood here when the append was tried first.
    pub first_tried: Position,
    /// When the journal took it.
    pub queued_at: Timestamp,
    /// In which life of its tenant: it is for no later one.
    pub life: Timestamp,
    /// The record.
    pub body: Bytes,
}

impl Entry {
    /// As bytes.
    pub fn encode(&self) -> Bytes {
        let mut out = Vec::with_capacity(96 + self.tenant.as_str().len() + self.body.len());
        out.push(VERSION);
        out.extend_from_slice(&self.epoch.0.to_be_bytes());
        out.extend_from_slice(&self.first_tried.0.to_be_bytes());
        out.extend_from_slice(&self.queued_at.0.to_be_bytes());
        out.extend_from_slice(&self.life.0.to_be_bytes());
        out.extend_from_slice(self.dedupe.0.as_bytes());
        put_text(&mut out, self.tenant.as_str());
        match &self.subject {
            Subject::Event(event_type) => {
                out.push(EVENT);
                put_text(&mut out, event_type.as_str());
            }
            Subject::Entity(key) => {
                out.push(ENTITY);
                put_text(&mut out, &key.kind);
                put_text(&mut out, &key.id);
            }
        }
        out.extend_from_slice(&self.body);
        out.into()
    }

    /// From bytes; the body shares them.
    pub fn decode(bytes: &Bytes) -> Result<Self, Damaged> {
        let mut rest = &bytes[..];
        let [version] = take::<1>(&mut rest)?;
        if version != VERSION && version != WITHOUT_LIFE {
            return Err(Damaged);
        }
        let epoch = Epoch(u64::from_be_bytes(take(&mut rest)?));
        let first_tried = Position(u64::from_be_bytes(take(&mut rest)?));
        let queued_at = Timestamp(i64::from_be_bytes(take(&mut rest)?));
        let life = if version == WITHOUT_LIFE { 0 } else { i64::from_be_bytes(take(&mut rest)?) };
        let dedupe = DedupeId(Uuid::from_bytes(take(&mut rest)?));
        let tenant = text(&mut rest)?.parse().map_err(|_| Damaged)?;
        let subject = match take::<1>(&mut rest)? {
            [EVENT] => Subject::Event(text(&mut rest)?.parse().map_err(|_| Damaged)?),
            [ENTITY] => {
                let kind = text(&mut rest)?;
                Subject::Entity(EntityKey::new(kind, text(&mut rest)?).map_err(|_| Damaged)?)
            }
            _ => return Err(Damaged),
        };
        let body = bytes.slice(bytes.len() - rest.len()..);
        Ok(Self { tenant, subject, dedupe, epoch, first_tried, queued_at, life: Timestamp(life), body })
    }

    /// The append for the log as it is now. Of a log that was made anew or restored since, the whole is searched: the
    /// positions of the one before it say nothing about where a copy could stand.
    pub fn into_append(self, epoch: Epoch) -> Append {
        let first_tried = if self.epoch == epoch { self.first_tried } else { Position::START };
        Append {
            tenant: self.tenant,
            subject: self.subject,
            dedupe: self.dedupe,
            expect: Expect::Anything,
            first_tried: Some(first_tried),
            body: self.body,
        }
    }
}

/// An entry that the log refused for good, with the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// Why, for a person.
    pub reason: String,
    /// The entry's bytes, whether or not they can be read.
    pub entry: Bytes,
}

impl DeadLetter {
    /// As bytes; a long reason is cut.
    pub fn encode(&self) -> Bytes {
        let reason = &self.reason[..self.reason.floor_char_boundary(LONGEST_REASON)];
        let mut out = Vec::with_capacity(3 + reason.len() + self.entry.len());
        out.push(LETTER_VERSION);
        put_text(&mut out, reason);
        out.extend_from_slice(&self.entry);
        out.into()
    }

    /// From bytes.
    pub fn decode(bytes: &Bytes) -> Result<Self, Damaged> {
        let mut rest = &bytes[..];
        if take::<1>(&mut rest)? != [LETTER_VERSION] {
            return Err(Damaged);
        }
        let reason = text(&mut rest)?.to_owned();
        Ok(Self { reason, entry: bytes.slice(bytes.len() - rest.len()..) })
    }
}

/// All texts here are bounded by their types, far below what a length can say.
fn put_text(out: &mut Vec<u8>, text: &str) {
    let length = u16::try_from(text.len()).expect("names are shorter than 65,536 bytes");
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

fn text<'a>(rest: &mut &'a [u8]) -> Result<&'a str, Damaged> {
    let length = u16::from_be_bytes(take(rest)?);
    let (head, tail) = rest.split_at_checked(length.into()).ok_or(Damaged)?;
    *rest = tail;
    str::from_utf8(head).map_err(|_| Damaged)
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], Damaged> {
    let (head, tail) = rest.split_first_chunk::<N>().ok_or(Damaged)?;
    *rest = tail;
    Ok(*head)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entries() -> impl Strategy<Value = Entry> {
        let event = "[a-z]{1,128}".prop_map(|name| Subject::Event(name.parse().expect("a type")));
        let entity = ("[a-z]{1,64}", "[^\\p{Cc}]{1,60}")
            .prop_map(|(kind, id)| Subject::Entity(EntityKey::new(&kind, &id).expect("a key")));
        let body = proptest::collection::vec(any::<u8>(), 0..300);
        let numbers = (any::<u128>(), any::<u64>(), any::<u64>(), any::<i64>(), any::<i64>());
        ("[A-Za-z0-9_-]{1,64}", prop_oneof![event, entity], numbers, body).prop_map(
            |(tenant, subject, numbers, body)| {
                let (dedupe, epoch, first_tried, queued_at, life) = numbers;
                Entry {
                    tenant: tenant.parse().expect("a tenant"),
                    subject,
                    dedupe: DedupeId(Uuid::from_u128(dedupe)),
                    epoch: Epoch(epoch),
                    first_tried: Position(first_tried),
                    queued_at: Timestamp(queued_at),
                    life: Timestamp(life),
                    body: body.into(),
                }
            },
        )
    }

    proptest! {
        #[test]
        fn an_entry_is_read_back_as_it_was_written(entry in entries()) {
            prop_assert_eq!(Entry::decode(&entry.encode()), Ok(entry));
        }

        #[test]
        fn an_entry_from_before_tenants_could_be_erased_is_of_the_first_life(entry in entries()) {
            let bytes = entry.encode();
            let old = [&[WITHOUT_LIFE], &bytes[1..25], &bytes[33..]].concat();
            prop_assert_eq!(Entry::decode(&old.into()), Ok(Entry { life: Timestamp(0), ..entry }));
        }

        #[test]
        fn a_cut_entry_is_damage_or_has_a_shorter_body(entry in entries(), cut in any::<proptest::sample::Index>()) {
            let bytes = entry.encode();
            let head = bytes.len() - entry.body.len();
            let cut = cut.index(bytes.len());
            prop_assert_eq!(Entry::decode(&bytes.slice(..cut)).is_ok(), cut >= head);
        }

        #[test]
        fn foreign_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let bytes = Bytes::from(bytes);
            let _ = (Entry::decode(&bytes), DeadLetter::decode(&bytes));
        }

        #[test]
        fn a_dead_letter_keeps_its_entry_whole(reason in ".{0,300}", entry in entries()) {
            let letter = DeadLetter { reason: reason.clone(), entry: entry.encode() };
            let read = DeadLetter::decode(&letter.encode()).expect("a letter");
            prop_assert!(reason.starts_with(&read.reason) && read.reason.len() <= LONGEST_REASON);
            prop_assert_eq!(Entry::decode(&read.entry), Ok(entry));
        }

        #[test]
        fn another_log_is_searched_from_its_start(entry in entries(), now in any::<u64>()) {
            let expected = if entry.epoch == Epoch(now) { entry.first_tried } else { Position::START };
            prop_assert_eq!(entry.into_append(Epoch(now)).first_tried, Some(expected));
        }
    }
}
