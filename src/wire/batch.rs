//! A run of a room's records with their frames: encoded once per variant, when first needed, shared by everyone.
//!
//! Owns: invariant **once** (a record is encoded at most once per variant and batch). Must not know: who receives it.

use std::{
    ops::Range,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::{BufMut, Bytes, BytesMut};
use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use super::{
    frame::{header_len, put_text_header},
    preview,
    record::Record,
};
use crate::model::{Position, RecordMeta};

/// In which form a session receives records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Variant {
    /// Greatest length of strings in `data`, in characters; `None` for the whole.
    pub preview: Option<u32>,
}

/// The frames of a batch in one variant: one buffer, one end per record.
#[derive(Debug)]
pub struct Encoded {
    bytes: Bytes,
    ends: Vec<u32>,
}

impl Encoded {
    /// All frames.
    pub fn all(&self) -> &Bytes {
        &self.bytes
    }

    /// The frames of some records, by index.
    pub fn slice(&self, records: Range<usize>) -> Bytes {
        let offset = |index: usize| if index == 0 { 0 } else { self.ends[index - 1] as usize };
        self.bytes.slice(offset(records.start)..offset(records.end))
    }
}

/// A run of records, in order, chained by `prev`; never empty.
#[derive(Debug)]
pub struct Batch {
    metas: Vec<RecordMeta>,
    bodies: Vec<Bytes>,
    body_bytes: usize,
    encoded: Mutex<Vec<(Variant, Arc<Encoded>)>>,
}

impl Batch {
    /// Takes records over; `None` if there are none.
    pub fn new(records: Vec<Record>) -> Option<Self> {
        if records.is_empty() {
            return None;
        }
        let (metas, bodies): (Vec<_>, Vec<_>) = records.into_iter().map(|record| (record.meta, record.body)).unzip();
        Some(Self::of(metas, bodies))
    }

    /// Joins adjacent batches.
    pub fn join<'a>(batches: impl IntoIterator<Item = &'a Arc<Self>>) -> Self {
        let (mut metas, mut bodies) = (Vec::new(), Vec::new());
        for batch in batches {
            metas.extend_from_slice(&batch.metas);
            bodies.extend_from_slice(&batch.bodies);
        }
        Self::of(metas, bodies)
    }

    fn of(metas: Vec<RecordMeta>, bodies: Vec<Bytes>) -> Self {
        let body_bytes = bodies.iter().map(Bytes::len).sum();
        Self { metas, bodies, body_bytes, encoded: Mutex::default() }
    }

    /// The records' heads.
    pub fn metas(&self) -> &[RecordMeta] {
        &self.metas
    }

    /// Position of the record before the first one.
    pub fn prev(&self) -> Position {
        self.metas.first().map_or(Position::START, |meta| meta.prev)
    }

    /// Position of the last record.
    pub fn last(&self) -> Position {
        self.metas.last().map_or(Position::START, |meta| meta.position)
    }

    /// Sum of the stored bodies, in bytes: the measure for every bound on batches.
    pub fn bytes(&self) -> usize {
        self.body_bytes
    }

    /// One record as one JSON object, for HTTP.
    pub fn json(&self, index: usize) -> Vec<u8> {
        let (meta, body) = (&self.metas[index], &self.bodies[index]);
        let mut out = Vec::with_capacity(body.len() + 48);
        out.extend_from_slice(splice(meta).as_bytes());
        out.extend_from_slice(&body[1..]);
        out
    }

    /// The frames in a variant; made now if nobody needed them before.
    pub fn encoded(&self, variant: Variant) -> Arc<Encoded> {
        // Held while encoding: whoever needs the same frames at the same moment waits instead of making them too.
        let mut made = self.encoded.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, encoded)) = made.iter().find(|(known, _)| *known == variant) {
            return encoded.clone();
        }
        let encoded = Arc::new(self.encode(variant));
        made.push((variant, encoded.clone()));
        encoded
    }

    fn encode(&self, variant: Variant) -> Encoded {
        let mut out = BytesMut::with_capacity(self.body_bytes + 64 * self.metas.len());
        let mut ends = Vec::with_capacity(self.metas.len());
        for (meta, body) in self.metas.iter().zip(&self.bodies) {
            let cut = variant.preview.and_then(|limit| cut_body(body, limit));
            let body = cut.as_ref().unwrap_or(body);
            let head = splice(meta);
            let payload = head.len() + body.len() - 1;
            out.reserve(header_len(payload) + payload);
            put_text_header(&mut out, payload);
            out.extend_from_slice(head.as_bytes());
            out.extend_from_slice(&body[1..]);
            ends.push(out.len() as u32);
        }
        Encoded { bytes: out.freeze(), ends }
    }
}

/// What goes in place of a stored body's opening brace.
fn splice(meta: &RecordMeta) -> String {
    format!("{{\"seq\":{},\"prev\":{},", meta.position, meta.prev)
}

/// A stored body with the long strings of `data` cut; `None` if nothing is too long.
fn cut_body(body: &Bytes, limit: u32) -> Option<Bytes> {
    #[derive(Deserialize)]
    struct Data<'a> {
        #[serde(borrow)]
        data: &'a RawValue,
    }
    let raw = serde_json::from_slice::<Data<'_>>(body).ok()?.data.get();
    if raw.len() <= limit as usize {
        return None;
    }
    let mut value: Value = serde_json::from_str(raw).ok()?;
    let truncated = preview::cut(&mut value, limit as usize);
    if truncated.is_empty() {
        return None;
    }
    // `data` is the stored form's last field, so everything before it stays as it is.
    let head = &body[..body.len() - 1 - raw.len()];
    let mut out = BytesMut::with_capacity(head.len() + limit as usize * 4);
    out.extend_from_slice(head);
    // Writing JSON into memory cannot fail.
    let _ = serde_json::to_writer((&mut out).writer(), &value);
    out.extend_from_slice(b",\"truncated\":");
    let _ = serde_json::to_writer((&mut out).writer(), &truncated);
    out.put_u8(b'}');
    Some(out.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::{EventId, TenantId, Timestamp},
        wire::record::Publish,
    };

    fn record(position: u64, data: &str) -> Record {
        let tenant: TenantId = "default".parse().expect("tenant");
        let publish = Publish {
            id: EventId(uuid::Uuid::nil()),
            event_type: "note".parse().expect("type"),
            timestamp: None,
            data: RawValue::from_string(data.into()).expect("json"),
        };
        let body = publish.to_body(&tenant, &"a".parse().expect("instance"), Timestamp(0));
        Record::read(&tenant, Position(position), Position(position - 1), body).expect("record")
    }

    fn payloads(mut bytes: &[u8]) -> Vec<Value> {
        let mut out = Vec::new();
        while !bytes.is_empty() {
            assert_eq!(bytes[0], 0x81);
            let (header, length) = match bytes[1] {
                126 => (4, usize::from(u16::from_be_bytes([bytes[2], bytes[3]]))),
                short => (2, usize::from(short)),
            };
            out.push(serde_json::from_slice(&bytes[header..header + length]).expect("json"));
            bytes = &bytes[header + length..];
        }
        out
    }

    #[test]
    fn frames_hold_position_and_content() {
        let batch = Batch::new(vec![record(4, "{\"n\":1}"), record(5, "[2]")]).expect("batch");
        let encoded = batch.encoded(Variant { preview: None });
        let frames = payloads(encoded.all());
        assert_eq!((&frames[0]["seq"], &frames[0]["prev"], &frames[0]["data"]["n"]), (&4.into(), &3.into(), &1.into()));
        assert_eq!(payloads(&encoded.slice(1..2)), frames[1..]);
        assert_eq!(serde_json::from_slice::<Value>(&batch.json(1)).expect("json"), frames[1]);
        assert!(Arc::ptr_eq(&encoded, &batch.encoded(Variant { preview: None })), "encoded once");
    }

    #[test]
    fn a_preview_cuts_and_says_where() {
        let batch = Batch::new(vec![record(4, r#"{"text":"abcdefgh","short":"a"}"#), record(5, "1")]).expect("batch");
        let frames = payloads(batch.encoded(Variant { preview: Some(3) }).all());
        assert_eq!(frames[0]["data"]["text"], "abc");
        assert_eq!(frames[0]["truncated"], serde_json::json!(["/text"]));
        assert_eq!(frames[1].get("truncated"), None);
    }

    #[test]
    fn joined_batches_keep_order_and_chain() {
        let (a, b) = (record(4, "1"), record(5, "2"));
        let parts = [Batch::new(vec![a]), Batch::new(vec![b])].map(|batch| Arc::new(batch.expect("batch")));
        let joined = Batch::join(&parts);
        assert_eq!((joined.prev(), joined.last(), joined.metas().len()), (Position(3), Position(5), 2));
    }
}
