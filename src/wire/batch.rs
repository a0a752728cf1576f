//! A run of a room's records with their frames: encoded once per variant, when first needed, shared by everyone.
//!
//! Owns: invariant **once** (a record is encoded at most once per variant and batch). Must not know: who receives it.

use std::{
    ops::Range,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use bytes::{Bytes, BytesMut};

use super::{
    frame::{header_len, put_text_header},
    message::{self, Envelope, Variant},
    record::Record,
};
use crate::{
    model::{Position, RecordMeta, Timestamp, record::View},
    telemetry::trace::{Moment, Trace},
};

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

/// In which form, and from where it is looked at.
type Form = (Variant, View);

/// What of it is made, or being made.
type Made = Arc<OnceLock<Arc<Encoded>>>;

/// Records of a run that are followed.
#[derive(Debug)]
pub struct Followed {
    /// When the room had the run.
    pub since: Moment,
    /// Each with its place.
    pub traces: Vec<(Trace, Position)>,
}

/// A run of records, in order, chained by `prev`; never empty.
#[derive(Debug)]
pub struct Batch {
    metas: Vec<RecordMeta>,
    bodies: Vec<Bytes>,
    body_bytes: usize,
    /// Whether some of them are not for everybody as they are.
    is_private: bool,
    /// Whether some of them do not look alike to everybody who gets them.
    differs: bool,
    /// When the log took the first of them, by its clock; `None` where nobody asks.
    stored_at: Option<Timestamp>,
    /// Those of them that are followed.
    followed: Option<Box<Followed>>,
    encoded: Mutex<Vec<(Form, Made)>>,
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
        let is_private = metas.iter().any(|meta| meta.private.is_some());
        let differs = metas.iter().any(|meta| meta.private.is_some() || meta.places.is_some());
        Self {
            metas,
            bodies,
            body_bytes,
            is_private,
            differs,
            stored_at: None,
            followed: None,
            encoded: Mutex::default(),
        }
    }

    /// The same with the time at which the log took the first of them.
    pub fn at(self, stored_at: Timestamp) -> Self {
        Self { stored_at: Some(stored_at), ..self }
    }

    /// The same with those of them that are followed.
    pub fn followed_by(self, followed: Option<Box<Followed>>) -> Self {
        Self { followed, ..self }
    }

    /// Those of them that are followed.
    pub fn followed(&self) -> Option<&Followed> {
        self.followed.as_deref()
    }

    /// When the log took the first of them, where that is known.
    pub fn stored_at(&self) -> Option<Timestamp> {
        self.stored_at
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

    /// Whether some of the records are not for everybody as they are.
    pub fn is_private(&self) -> bool {
        self.is_private
    }

    /// One record as one JSON object, for HTTP.
    pub fn json(&self, index: usize, preview: Option<u32>, view: View) -> Vec<u8> {
        let (meta, body) = (&self.metas[index], &self.bodies[index]);
        let mut out = BytesMut::with_capacity(body.len() + 64);
        message::put(&mut out, meta, body, Variant { preview, ..Variant::whole(Envelope::Sync) }, view);
        out.into()
    }

    /// The frames in a variant; made now if nobody needed them before.
    pub fn encoded(&self, variant: Variant, view: View) -> Arc<Encoded> {
        let form = (variant, if self.differs { view } else { View::Inside });
        // Whoever needs the same frames at the same moment waits instead of making them too; nobody waits for another
        // form's, which may have to be deflated.
        self.made(form).get_or_init(|| Arc::new(self.encode(form))).clone()
    }

    fn made(&self, form: Form) -> Made {
        let mut all = self.encoded.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, made)) = all.iter().find(|(known, _)| *known == form) {
            return made.clone();
        }
        let made = Made::default();
        all.push((form, made.clone()));
        made
    }

    fn encode(&self, (variant, view): Form) -> Encoded {
        let mut out = BytesMut::with_capacity(self.body_bytes + 64 * self.metas.len());
        let mut ends = Vec::with_capacity(self.metas.len());
        let mut message = BytesMut::new();
        for (meta, body) in self.metas.iter().zip(&self.bodies) {
            if let Some(head) = message::splice(meta, variant)
                && variant.encoding.leaves(head.len() + body.len() - 1)
            {
                let payload = head.len() + body.len() - 1;
                out.reserve(header_len(payload) + payload);
                put_text_header(&mut out, payload);
                out.extend_from_slice(head.as_bytes());
                out.extend_from_slice(&body[1..]);
                ends.push(out.len() as u32);
                continue;
            }
            message.clear();
            message::put(&mut message, meta, body, variant, view);
            variant.encoding.put(&mut out, &message);
            ends.push(out.len() as u32);
        }
        Encoded { bytes: out.freeze(), ends }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, value::RawValue};

    use super::*;
    use crate::{
        model::{EventId, TenantId, Timestamp, record::About},
        wire::{
            encoding::{Encoding, inflate},
            record::Publish,
        },
    };

    fn record(position: u64, data: &str) -> Record {
        let tenant: TenantId = "default".parse().expect("tenant");
        let publish = Publish {
            id: EventId(uuid::Uuid::nil()),
            event_type: "note".parse().expect("type"),
            reference: None,
            timestamp: None,
            sig: None,
            data: RawValue::from_string(data.into()).expect("json"),
        };
        let body = publish.to_body(&tenant, &"a".parse().expect("instance"), Timestamp(0));
        Record::read(&tenant, About::Event, (Position(position), Position(position - 1)), body).expect("record")
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
        let encoded = batch.encoded(Variant::whole(Envelope::Sync), View::Inside);
        let frames = payloads(encoded.all());
        assert_eq!((&frames[0]["seq"], &frames[0]["prev"], &frames[0]["data"]["n"]), (&4.into(), &3.into(), &1.into()));
        assert_eq!(payloads(&encoded.slice(1..2)), frames[1..]);
        assert_eq!(serde_json::from_slice::<Value>(&batch.json(1, None, View::Inside)).expect("json"), frames[1]);
        assert!(Arc::ptr_eq(&encoded, &batch.encoded(Variant::whole(Envelope::Sync), View::Inside)), "encoded once");
    }

    #[test]
    fn a_preview_cuts_and_says_where() {
        let batch = Batch::new(vec![record(4, r#"{"text":"abcdefgh","short":"a"}"#), record(5, "1")]).expect("batch");
        let frames =
            payloads(batch.encoded(Variant { preview: Some(3), ..Variant::whole(Envelope::Sync) }, View::Inside).all());
        assert_eq!(frames[0]["data"]["text"], "abc");
        assert_eq!(frames[0]["truncated"], serde_json::json!(["/text"]));
        assert_eq!(frames[1].get("truncated"), None);
    }

    #[test]
    fn large_records_are_deflated_once_for_all_and_small_ones_stay() {
        let long = format!("\"{}\"", "abc ".repeat(500));
        let batch = Batch::new(vec![record(4, &long), record(5, "1")]).expect("batch");
        let plain = batch.encoded(Variant::whole(Envelope::Sync), View::Inside);
        for preview in [None, Some(1_900)] {
            let encoding = Encoding::Deflate { from: 1_024 };
            let variant = Variant { preview, encoding, ..Variant::whole(Envelope::Sync) };
            let encoded = batch.encoded(variant, View::Inside);
            let (large, small) = (encoded.slice(0..1), encoded.slice(1..2));
            assert_eq!(large[..2], [0x82, 126], "a binary frame of more than 125 bytes");
            let json = inflate(&large[4..], 10_000).expect("deflate");
            let sent = serde_json::from_slice::<Value>(&json).expect("json");
            assert_eq!(sent["data"].as_str().map(str::len), Some(preview.unwrap_or(2_000) as usize));
            if preview.is_none() {
                assert_eq!(json, plain.slice(0..1)[4..], "the same JSON");
            }
            assert_eq!(small, plain.slice(1..2));
            assert!(Arc::ptr_eq(&encoded, &batch.encoded(variant, View::Inside)), "encoded once");
        }
    }

    #[test]
    fn joined_batches_keep_order_and_chain() {
        let (a, b) = (record(4, "1"), record(5, "2"));
        let parts = [Batch::new(vec![a]), Batch::new(vec![b])].map(|batch| Arc::new(batch.expect("batch")));
        let joined = Batch::join(&parts);
        assert_eq!((joined.prev(), joined.last(), joined.metas().len()), (Position(3), Position(5), 2));
    }
}
