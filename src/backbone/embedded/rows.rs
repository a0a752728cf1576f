//! Keys and values of the embedded log's tables as bytes.
//!
//! Owns: the format on disk ([`FORMAT`]). Must not know: when a row is written or by whom. All numbers are big endian, so
//! that keys sort as the numbers do. A room is a tenant's number, given at its first write.

use bytes::Bytes;

use crate::{
    backbone::{Stored, Subject},
    model::{DedupeId, EntityKey, InstanceId, Position, TenantId, Timestamp},
};

/// The version of everything in this file; a change that an older program would misread raises it.
pub const FORMAT: u32 = 1;

/// What a record costs the retention budget beyond its body, in bytes: its rows' keys and fixed parts, rounded up.
pub const RECORD_OVERHEAD: usize = 128;

/// `meta`: the format version (u32).
pub const META_FORMAT: &[u8] = b"\0format";
/// `meta`: the epoch (u64).
pub const META_EPOCH: &[u8] = b"\0epoch";
/// `meta`: the log's [`Tail`].
pub const META_TAIL: &[u8] = b"\0tail";
/// `meta`: first byte of every room row's key.
pub const ROOM_PREFIX: u8 = 1;
const TALLY_PREFIX: u8 = 2;
const CURSOR_PREFIX: u8 = 3;

/// A row that does not read as it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a row of table '{0}' is damaged")]
pub struct Damaged(pub &'static str);

/// Reads a value from its front.
struct Reader<'a> {
    rest: &'a [u8],
    table: &'static str,
}

impl<'a> Reader<'a> {
    fn new(bytes: &'a [u8], table: &'static str) -> Self {
        Self { rest: bytes, table }
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], Damaged> {
        let (head, rest) = self.rest.split_at_checked(count).ok_or(Damaged(self.table))?;
        self.rest = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Damaged> {
        self.take(N)?.try_into().map_err(|_| Damaged(self.table))
    }

    fn u8(&mut self) -> Result<u8, Damaged> {
        self.array().map(u8::from_be_bytes)
    }

    fn u32(&mut self) -> Result<u32, Damaged> {
        self.array().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Result<u64, Damaged> {
        self.array().map(u64::from_be_bytes)
    }

    fn time(&mut self) -> Result<Timestamp, Damaged> {
        self.array().map(i64::from_be_bytes).map(Timestamp)
    }

    /// Text behind its length in two bytes.
    fn text(&mut self) -> Result<&'a str, Damaged> {
        let length = u16::from_be_bytes(self.array()?);
        str::from_utf8(self.take(usize::from(length))?).map_err(|_| Damaged(self.table))
    }
}

fn put_text(into: &mut Vec<u8>, text: &str) {
    let length = u16::try_from(text.len()).expect("names are at most 256 bytes: model::ids");
    into.extend_from_slice(&length.to_be_bytes());
    into.extend_from_slice(text.as_bytes());
}

/// A number kept alone (format, epoch).
pub fn read_u32(bytes: &[u8], table: &'static str) -> Result<u32, Damaged> {
    Reader::new(bytes, table).u32()
}

/// A number kept alone (epoch, position).
pub fn read_u64(bytes: &[u8], table: &'static str) -> Result<u64, Damaged> {
    Reader::new(bytes, table).u64()
}

/// The whole log's state; written with every commit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tail {
    /// The last position given out.
    pub end: u64,
    /// Every record up to here has been trimmed.
    pub trimmed: u64,
    /// Bodies and overhead of the records held.
    pub bytes: u64,
    /// The latest time at which any record was stored; unlike the clock it never goes back.
    pub high: Timestamp,
}

impl Tail {
    /// As bytes.
    pub fn encode(&self) -> [u8; 32] {
        let mut row = [0; 32];
        row[..8].copy_from_slice(&self.end.to_be_bytes());
        row[8..16].copy_from_slice(&self.trimmed.to_be_bytes());
        row[16..24].copy_from_slice(&self.bytes.to_be_bytes());
        row[24..].copy_from_slice(&self.high.0.to_be_bytes());
        row
    }

    /// From bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, Damaged> {
        let mut row = Reader::new(bytes, "meta");
        Ok(Self { end: row.u64()?, trimmed: row.u64()?, bytes: row.u64()?, high: row.time()? })
    }
}

/// A tenant's number and how far it was trimmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoomRow {
    /// The number.
    pub room: u32,
    /// The tenant's last trimmed record; with the log's own rows it also says where the tenant's last record stood.
    pub trimmed_to: Position,
}

impl RoomRow {
    /// The key.
    pub fn key(tenant: &TenantId) -> Vec<u8> {
        let mut key = vec![ROOM_PREFIX];
        key.extend_from_slice(tenant.as_str().as_bytes());
        key
    }

    /// The tenant in a key.
    pub fn tenant(key: &[u8]) -> Result<TenantId, Damaged> {
        let text = key.get(1..).and_then(|name| str::from_utf8(name).ok()).ok_or(Damaged("rooms"))?;
        TenantId::from_stored(text).map_err(|_| Damaged("rooms"))
    }

    /// As bytes.
    pub fn encode(&self) -> [u8; 12] {
        room_position(self.room, self.trimmed_to)
    }

    /// From bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, Damaged> {
        let mut row = Reader::new(bytes, "rooms");
        Ok(Self { room: row.u32()?, trimmed_to: Position(row.u64()?) })
    }
}

/// The key of a log row.
pub fn room_position(room: u32, position: Position) -> [u8; 12] {
    let mut key = [0; 12];
    key[..4].copy_from_slice(&room.to_be_bytes());
    key[4..].copy_from_slice(&position.0.to_be_bytes());
    key
}

/// The position in a log row's key.
pub fn position_in(key: &[u8]) -> Result<Position, Damaged> {
    let mut key = Reader::new(key, "log");
    key.u32()?;
    key.u64().map(Position)
}

/// The key of a dedupe row.
pub fn dedupe_key(room: u32, id: DedupeId) -> [u8; 20] {
    let mut key = [0; 20];
    key[..4].copy_from_slice(&room.to_be_bytes());
    key[4..].copy_from_slice(id.0.as_bytes());
    key
}

/// The key of a tally.
pub fn tally_key(room: u32) -> [u8; 5] {
    let mut key = [TALLY_PREFIX; 5];
    key[1..].copy_from_slice(&room.to_be_bytes());
    key
}

/// What the keys of a room's cursors begin with.
pub fn cursors_of(room: u32) -> Vec<u8> {
    let mut key = vec![CURSOR_PREFIX];
    key.extend_from_slice(&room.to_be_bytes());
    key
}

/// The key of a cursor.
pub fn cursor_key(room: u32, instance: &InstanceId) -> Vec<u8> {
    let mut key = cursors_of(room);
    key.extend_from_slice(instance.as_str().as_bytes());
    key
}

/// The key of an entity; sorts like [`EntityKey`] because neither half can hold a zero byte.
pub fn entity_key(room: u32, key: &EntityKey) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(5 + key.kind.len() + key.id.len());
    bytes.extend_from_slice(&room.to_be_bytes());
    bytes.extend_from_slice(key.kind.as_bytes());
    bytes.push(0);
    bytes.extend_from_slice(key.id.as_bytes());
    bytes
}

/// The entity in a key.
pub fn entity_in(key: &[u8]) -> Result<EntityKey, Damaged> {
    let damaged = Damaged("entities");
    let text = key.get(4..).and_then(|rest| str::from_utf8(rest).ok()).ok_or(damaged)?;
    let (kind, id) = text.split_once('\0').ok_or(damaged)?;
    EntityKey::new(kind, id).map_err(|_| damaged)
}

/// Beside the lowest bit of an order row's flags, which says that it is an entity's.
const WITHOUT_ID: u8 = 2;

/// What the order table keeps of a record: enough to trim it and to find it by time without reading its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrderRow {
    /// Whose.
    pub room: u32,
    /// When it was stored.
    pub stored_at: Timestamp,
    /// The latest `stored_at` up to here.
    pub high: Timestamp,
    /// What it counts against the retention budget, bytes.
    pub size: u32,
    /// Whether it is an entity's.
    pub is_entity: bool,
    /// Its dedupe id, if its repeats are known by that.
    pub dedupe: Option<DedupeId>,
}

impl OrderRow {
    /// As bytes.
    pub fn encode(&self) -> [u8; 41] {
        let mut row = [0; 41];
        row[..4].copy_from_slice(&self.room.to_be_bytes());
        row[4..12].copy_from_slice(&self.stored_at.0.to_be_bytes());
        row[12..20].copy_from_slice(&self.high.0.to_be_bytes());
        row[20..24].copy_from_slice(&self.size.to_be_bytes());
        row[24] = u8::from(self.is_entity) | if self.dedupe.is_none() { WITHOUT_ID } else { 0 };
        if let Some(id) = self.dedupe {
            row[25..].copy_from_slice(id.0.as_bytes());
        }
        row
    }

    /// From bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, Damaged> {
        let mut row = Reader::new(bytes, "order");
        let (room, stored_at, high, size, flags) = (row.u32()?, row.time()?, row.time()?, row.u32()?, row.u8()?);
        let id = DedupeId(uuid::Uuid::from_bytes(row.array()?));
        let dedupe = (flags & WITHOUT_ID == 0).then_some(id);
        Ok(Self { room, stored_at, high, size, is_entity: flags & 1 == 1, dedupe })
    }
}

/// The value of a log row.
pub fn encode_record(stored_at: Timestamp, subject: &Subject, body: &[u8]) -> Vec<u8> {
    let mut row = Vec::with_capacity(64 + body.len());
    row.extend_from_slice(&stored_at.0.to_be_bytes());
    match subject {
        Subject::Event(event_type) => {
            row.push(0);
            put_text(&mut row, event_type.as_str());
        }
        Subject::Entity(key) => {
            row.push(1);
            put_text(&mut row, &key.kind);
            put_text(&mut row, &key.id);
        }
    }
    row.extend_from_slice(body);
    row
}

/// The record in a log row's value. The body is copied: a slice would keep the store's whole block in memory.
pub fn decode_record(position: Position, bytes: &[u8]) -> Result<Stored, Damaged> {
    let damaged = Damaged("log");
    let mut row = Reader::new(bytes, "log");
    let stored_at = row.time()?;
    let subject = match row.u8()? {
        0 => Subject::Event(row.text()?.parse().map_err(|_| damaged)?),
        1 => {
            let kind = row.text()?;
            Subject::Entity(EntityKey::new(kind, row.text()?).map_err(|_| damaged)?)
        }
        _ => return Err(damaged),
    };
    Ok(Stored { position, stored_at, subject, body: Bytes::copy_from_slice(row.rest) })
}

/// An entity's row: where its last record stands, and the record itself once the log has trimmed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntityRow<'a> {
    /// Where it stands.
    pub position: Position,
    /// As [`encode_record`] made it; `None` while the log holds the record.
    pub kept: Option<&'a [u8]>,
}

impl<'a> EntityRow<'a> {
    /// The row, as bytes, of an entity whose record the log holds.
    pub fn in_log(position: Position) -> [u8; 8] {
        position.0.to_be_bytes()
    }

    /// As bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut row = Self::in_log(self.position).to_vec();
        row.extend_from_slice(self.kept.unwrap_or_default());
        row
    }

    /// From bytes.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, Damaged> {
        let mut row = Reader::new(bytes, "entities");
        let position = Position(row.u64()?);
        Ok(Self { position, kept: (!row.rest.is_empty()).then_some(row.rest) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_read_back_as_written_and_a_cut_row_is_damage() {
        let entity = EntityKey::new("memory", "a/ü 1").expect("a key");
        assert_eq!(entity_in(&entity_key(7, &entity)), Ok(entity.clone()));
        for subject in [Subject::Event("a.b".parse().expect("a type")), Subject::Entity(entity)] {
            let row = encode_record(Timestamp(-5), &subject, b"body");
            let stored = decode_record(Position(9), &row).expect("whole");
            assert_eq!((stored.stored_at, &stored.subject, &stored.body[..]), (Timestamp(-5), &subject, &b"body"[..]));
            assert_eq!(decode_record(Position(9), &row[..10]), Err(Damaged("log")));
        }
        let tail = Tail { end: 5, trimmed: 2, bytes: 99, high: Timestamp(3) };
        assert_eq!(Tail::decode(&tail.encode()), Ok(tail));
        assert_eq!(Tail::decode(&tail.encode()[1..]), Err(Damaged("meta")));
    }

    #[test]
    fn entity_rows_sort_as_their_keys_do() {
        let keys = [("a", "z"), ("a-b", "a"), ("b", "1"), ("b", "10"), ("b", "2")];
        let rows: Vec<_> = keys.map(|(kind, id)| EntityKey::new(kind, id).expect("a key")).into();
        assert!(rows.is_sorted());
        assert!(rows.iter().map(|key| entity_key(1, key)).is_sorted());
    }
}
