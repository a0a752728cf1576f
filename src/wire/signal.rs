//! Signals: messages of the moment (a cursor moves, somebody types). They are passed on and never stored, so they have no
//! position; which types they are follows from the name alone.

use std::sync::{Arc, OnceLock};

use bytes::{BufMut, Bytes, BytesMut};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::{
    frame,
    message::{Envelope, is_gitmind},
    record::put_json_string,
};
use crate::model::{EventType, InstanceId, TenantId, Timestamp, entity::Author, newest::Pair};

/// Types that say where somebody is or what somebody has in hand: whoever comes in gets the newest of each.
pub const STATES: [&str; 3] = ["cursor.move", "selection.change", "user.presence"];

/// Whether messages of a type are signals.
pub fn is_signal(event_type: &str) -> bool {
    STATES.contains(&event_type) || event_type == "typing" || event_type.starts_with("signal.")
}

/// A signal as a client sends it, parsed and checked.
#[derive(Clone, Debug)]
pub struct Sent {
    /// Its type.
    pub event_type: EventType,
    /// Its id as its sender wrote it, for errors.
    pub reference: Option<Arc<str>>,
    /// The sender's own time; the node's when it gave none.
    pub timestamp: Option<Timestamp>,
    /// The content, as it came.
    pub data: Box<RawValue>,
}

/// A signal on its way to the members; its frames are made once for all of them.
#[derive(Debug)]
pub struct Signal {
    id: Uuid,
    /// Its type.
    pub event_type: EventType,
    /// Who sends it.
    pub sender: InstanceId,
    /// The user that the sender acts for.
    pub user: Option<Arc<str>>,
    /// When.
    pub timestamp: Timestamp,
    /// The content, as it came.
    pub data: Box<RawValue>,
    frames: [OnceLock<Bytes>; 2],
}

impl Signal {
    /// What an author sends.
    pub fn new(sent: Sent, author: &Author, now: Timestamp) -> Self {
        let Sent { event_type, timestamp, data, .. } = sent;
        let (sender, user) = (author.instance.clone(), author.user.clone());
        Self::of(event_type, sender, user, timestamp.unwrap_or(now), data)
    }

    pub(super) fn of(
        event_type: EventType,
        sender: InstanceId,
        user: Option<Arc<str>>,
        timestamp: Timestamp,
        data: Box<RawValue>,
    ) -> Self {
        Self { id: Uuid::new_v4(), event_type, sender, user, timestamp, data, frames: Default::default() }
    }

    /// What it takes the place of: an older one of the same.
    pub fn pair(&self) -> Pair {
        (self.event_type.clone(), self.sender.clone())
    }

    /// Whether it says how something stands, so that a newcomer wants to know it.
    pub fn is_state(&self) -> bool {
        STATES.contains(&self.event_type.as_str())
    }

    /// The frame in an envelope; made now if nobody needed it before.
    pub fn frame(&self, tenant: &TenantId, envelope: Envelope) -> &Bytes {
        let made = &self.frames[usize::from(envelope == Envelope::Typed)];
        made.get_or_init(|| {
            let mut out = BytesMut::with_capacity(self.data.get().len() + 256);
            match envelope {
                Envelope::Sync => self.put_sync(&mut out, tenant),
                Envelope::Typed => self.put_typed(&mut out),
            }
            out.extend_from_slice(b",\"data\":");
            out.extend_from_slice(self.data.get().as_bytes());
            out.put_u8(b'}');
            frame::text(&out)
        })
    }

    fn put_sync(&self, out: &mut BytesMut, tenant: &TenantId) {
        let (event_type, timestamp) = (&self.event_type, self.timestamp);
        let head = format!(
            "{{\"event_type\":\"{event_type}\",\"tenant_id\":\"{tenant}\",\"timestamp\":\"{timestamp}\",\"instance_id\":"
        );
        out.extend_from_slice(head.as_bytes());
        put_json_string(out, self.sender.as_str());
        if let Some(user) = &self.user {
            out.extend_from_slice(b",\"user_id\":");
            put_json_string(out, user);
        }
    }

    fn put_typed(&self, out: &mut BytesMut) {
        let Self { id, event_type, timestamp, .. } = self;
        let time = if is_gitmind(event_type.as_str()) {
            format!("{},\"version\":\"1.0\"", timestamp.0)
        } else {
            format!("\"{timestamp}\"")
        };
        let head = format!("{{\"id\":\"{id}\",\"type\":\"{event_type}\",\"timestamp\":{time},\"userId\":");
        out.extend_from_slice(head.as_bytes());
        put_json_string(out, self.user.as_deref().unwrap_or(self.sender.as_str()));
        out.extend_from_slice(b",\"instance_id\":");
        put_json_string(out, self.sender.as_str());
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn said(event_type: &str, user: Option<&str>, envelope: Envelope) -> Value {
        let data = RawValue::from_string(r#"{"x":1.50}"#.into()).expect("JSON");
        let sender = "say \"hi\"".parse().expect("an instance");
        let signal =
            Signal::of(event_type.parse().expect("a type"), sender, user.map(Arc::from), Timestamp(1_000), data);
        let frame = signal.frame(&"t".parse().expect("a tenant"), envelope);
        assert!(frame.ends_with(br#""data":{"x":1.50}}"#), "the content is untouched");
        // All of these are between 126 and 65,535 bytes long.
        let mut said: Value = serde_json::from_slice(&frame[4..]).expect("JSON");
        if let Some(id) = said.get_mut("id") {
            *id = "some".into();
        }
        said
    }

    #[test]
    fn each_envelope_has_its_own_form_and_gitminds_types_a_number_for_a_time() {
        let data = json!({"x": 1.5});
        let (me, at) = ("say \"hi\"", "1970-01-01T00:00:01.000Z");
        assert_eq!(
            said("cursor.move", Some("ann"), Envelope::Typed),
            json!({"id": "some", "type": "cursor.move", "timestamp": 1000, "version": "1.0", "userId": "ann",
                "instance_id": me, "data": data})
        );
        assert_eq!(
            said("signal.wave", None, Envelope::Typed),
            json!({"id": "some", "type": "signal.wave", "timestamp": at, "userId": me, "instance_id": me, "data": data})
        );
        assert_eq!(
            said("typing", Some("ann"), Envelope::Sync),
            json!({"event_type": "typing", "tenant_id": "t", "timestamp": at, "instance_id": me, "user_id": "ann",
                "data": data})
        );
    }

    #[test]
    fn the_types_are_known_by_name() {
        for name in ["cursor.move", "selection.change", "user.presence", "typing", "signal.wave", "signal.a.b"] {
            assert!(is_signal(name), "{name}");
        }
        for name in ["cursor.moved", "cursor", "typing.start", "signal", "signals.x", "user.presence.x"] {
            assert!(!is_signal(name), "{name}");
        }
    }
}
