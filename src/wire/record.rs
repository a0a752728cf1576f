//! A record's stored form: the `/ws/sync` envelope without `seq` and `prev`, as one JSON object.
//!
//! It starts with `{"event_type":`, so a frame for `/ws/sync` is made by splicing the position in behind the brace and
//! `data` is never parsed on its way.

use std::{borrow::Cow, fmt::Write, sync::Arc};

use bytes::{BufMut, Bytes, BytesMut};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::model::{
    EventId, EventType, InstanceId, Position, RecordMeta, TenantId, Timestamp,
    place::Places,
    record::{About, Private},
    signing::Signature,
    tally::Counted,
    unreadable::unreadable,
};

use super::message::put_value;

/// What a publisher sends, parsed and checked.
#[derive(Clone, Debug)]
pub struct Publish {
    /// Its id; made by the node when the publisher gave none.
    pub id: EventId,
    /// The same as its publisher wrote it, where that need not be a UUID.
    pub reference: Option<Arc<str>>,
    /// What happened.
    pub event_type: EventType,
    /// The publisher's own time; the node's when it gave none.
    pub timestamp: Option<Timestamp>,
    /// The publisher's signature.
    pub sig: Option<Signature>,
    /// The content, as it came.
    pub data: Box<RawValue>,
}

impl Publish {
    /// The stored form.
    pub fn to_body(&self, tenant: &TenantId, instance: &InstanceId, now: Timestamp) -> Bytes {
        let data = self.data.get();
        let mut out = BytesMut::with_capacity(data.len() + 256);
        let time = self.timestamp.unwrap_or(now);
        put_head(&mut out, self.event_type.as_str(), self.id, tenant, time, instance.as_str());
        if let Some(sig) = &self.sig {
            out.extend_from_slice(b",\"sig\":");
            put_value(&mut out, sig);
        }
        out.extend_from_slice(b",\"data\":");
        out.extend_from_slice(data.as_bytes());
        out.put_u8(b'}');
        out.freeze()
    }
}

/// Writes the fields that every stored form begins with; more fields and `}` must follow.
pub(super) fn put_head(
    out: &mut BytesMut,
    event_type: &str,
    id: EventId,
    tenant: &TenantId,
    time: Timestamp,
    instance: &str,
) {
    out.extend_from_slice(b"{\"event_type\":\"");
    out.extend_from_slice(event_type.as_bytes());
    out.extend_from_slice(b"\",\"event_id\":\"");
    out.extend_from_slice(id.0.hyphenated().encode_lower(&mut [0; 36]).as_bytes());
    out.extend_from_slice(b"\",\"tenant_id\":\"");
    out.extend_from_slice(tenant.as_str().as_bytes());
    out.extend_from_slice(b"\",\"timestamp\":\"");
    // Into memory; it cannot fail.
    let _ = write!(out, "{time}");
    out.extend_from_slice(b"\",\"instance_id\":");
    put_json_string(out, instance);
}

pub(super) fn put_json_string(out: &mut BytesMut, text: &str) {
    // Writing a string into memory cannot fail.
    let _ = serde_json::to_writer(out.writer(), text);
}

/// The stored form, read: only the envelope, `data` stays raw.
#[derive(Debug, Deserialize)]
struct StoredEnvelope<'a> {
    #[serde(borrow)]
    event_type: Cow<'a, str>,
    #[serde(borrow)]
    event_id: Cow<'a, str>,
    #[serde(borrow)]
    tenant_id: Cow<'a, str>,
    #[serde(borrow)]
    instance_id: Cow<'a, str>,
    #[serde(borrow, default)]
    entity: Option<Sight<'a>>,
    #[serde(borrow)]
    data: &'a RawValue,
}

/// What of an entity's change decides who sees it.
#[derive(Debug, Deserialize)]
struct Sight<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(default)]
    private: Option<Private>,
    #[serde(default)]
    places: Option<Places>,
}

/// A record with its content.
#[derive(Clone, Debug)]
pub struct Record {
    /// Who, what, where.
    pub meta: RecordMeta,
    /// The stored form, valid: it begins with a brace and holds one JSON object in UTF-8.
    pub body: Bytes,
    /// What it adds to the room's figures.
    pub counted: Counted,
}

/// Why a stored body was not taken for a record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DamagedRecord {
    /// Not the stored form.
    #[error("not a record: {0}")]
    Malformed(String),
    /// It names another tenant or entity than those it was read for.
    #[error("the record is another tenant's or another entity's")]
    Foreign,
}

impl Record {
    /// Reads a stored body of a tenant; `about` is where it was found, `prev` is the room's record before it.
    ///
    /// # Errors
    ///
    /// It is none, or it is not what belongs there.
    pub fn read(
        tenant: &TenantId,
        about: About,
        (position, prev): (Position, Position),
        body: Bytes,
    ) -> Result<Self, DamagedRecord> {
        let malformed = |error: &dyn std::fmt::Display| DamagedRecord::Malformed(error.to_string());
        let envelope: StoredEnvelope<'_> =
            serde_json::from_slice(&body).map_err(|error| malformed(&unreadable(&error)))?;
        let is_there = match (&about, &envelope.entity) {
            (About::Event, None) => true,
            (About::Entity(key), Some(sight)) => sight.kind == *key.kind && sight.id == *key.id,
            _ => false,
        };
        if envelope.tenant_id != tenant.as_str() || !is_there {
            return Err(DamagedRecord::Foreign);
        }
        if body.first() != Some(&b'{') {
            return Err(DamagedRecord::Malformed("leading blanks".into()));
        }
        let meta = RecordMeta {
            position,
            prev,
            id: envelope.event_id.parse().map_err(|error| malformed(&error))?,
            sender: match &*envelope.instance_id {
                // Only where several have written together.
                "" if envelope.entity.is_some() => None,
                sender => Some(sender.parse().map_err(|error| malformed(&error))?),
            },
            event_type: envelope.event_type.parse().map_err(|error| malformed(&error))?,
            about,
            places: envelope.entity.as_ref().and_then(|sight| sight.places).map(Arc::new),
            private: envelope.entity.and_then(|sight| sight.private).map(Arc::new),
        };
        let counted = counted(&meta.event_type, envelope.data);
        Ok(Self { meta, body, counted })
    }
}

fn counted(event_type: &EventType, data: &RawValue) -> Counted {
    #[derive(Deserialize)]
    struct Concept<'a> {
        #[serde(borrow)]
        concept_name: Cow<'a, str>,
    }
    match event_type.as_str() {
        "memory_added" => Counted::Message,
        "concept_learned" => match serde_json::from_str::<Concept<'_>>(data.get()) {
            Ok(concept) => Counted::concept(&concept.concept_name),
            Err(_) => Counted::Nothing,
        },
        _ => Counted::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn publish(event_type: &str, data: &str) -> Publish {
        Publish {
            id: EventId(uuid::Uuid::nil()),
            event_type: event_type.parse().expect("type"),
            reference: None,
            timestamp: None,
            sig: None,
            data: RawValue::from_string(data.into()).expect("json"),
        }
    }

    #[test]
    fn the_stored_form_is_read_back_and_data_is_untouched() {
        let tenant = "default".parse().expect("tenant");
        let instance: InstanceId = "say \"hi\" \\ 🌗".parse().expect("instance");
        let data = r#"{ "b":1e400 ,"a":"\u00e9\ud83c\udf17" }"#;
        let body = publish("memory_added", data).to_body(&tenant, &instance, Timestamp(0));
        let record = Record::read(&tenant, About::Event, (Position(9), Position(4)), body.clone()).expect("record");
        assert_eq!((record.meta.sender, record.counted), (Some(instance), Counted::Message));
        assert!(body.ends_with(format!("\"data\":{data}}}").as_bytes()));
        let other = "other".parse().expect("tenant");
        assert_eq!(
            Record::read(&other, About::Event, (Position(9), Position(4)), body).err(),
            Some(DamagedRecord::Foreign)
        );
    }

    #[test]
    fn concepts_are_counted_by_name() {
        let tenant = "default".parse().expect("tenant");
        let read = |data| {
            let body = publish("concept_learned", data).to_body(&tenant, &"a".parse().expect("instance"), Timestamp(0));
            Record::read(&tenant, About::Event, (Position(1), Position(0)), body).expect("record").counted
        };
        assert_eq!(read(r#"{"concept_name":"x","confidence":0.5}"#), read(r#"{"concept_name":"x"}"#));
        assert_ne!(read(r#"{"concept_name":"x"}"#), read(r#"{"concept_name":"y"}"#));
        assert_eq!(read(r#"{"name":"x"}"#), Counted::Nothing);
    }

    #[test]
    fn a_damaged_body_is_told_as_such() {
        let tenant: TenantId = "default".parse().expect("tenant");
        for body in ["", "{}", "[]", "\u{1}", r#"{"event_type":"a"}"#] {
            let read =
                Record::read(&tenant, About::Event, (Position(1), Position(0)), Bytes::from_static(body.as_bytes()));
            assert!(matches!(read, Err(DamagedRecord::Malformed(_))), "{body}");
        }
    }
}
