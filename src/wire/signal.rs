//! Signals: messages of the moment (a cursor moves, somebody types). They are passed on and never stored, so they have no
//! position; which types they are follows from the name alone.

mod aim;

use std::{
    borrow::Cow,
    collections::BTreeMap,
    sync::{Arc, LazyLock, OnceLock},
};

use bytes::{BufMut, Bytes, BytesMut};
use serde_json::value::RawValue;
use uuid::Uuid;

use self::aim::Aim;
pub use self::aim::{Listener, Share};
use super::{
    codes::Refusal,
    frame,
    message::{Envelope, is_gitmind},
    record::put_json_string,
};
use crate::model::{EventType, InstanceId, TenantId, Timestamp, chaos::Drawn, entity::Author, newest::Pair};

/// Types that say where somebody is or what somebody has in hand: whoever comes in gets the newest of each.
pub const STATES: [&str; 3] = ["cursor.move", "selection.change", "user.presence"];
/// What might be of use to those whom it concerns.
const SUGGESTION: &str = "gonzai.suggestion";
/// Chaos that spreads to those who want it.
const TRIGGER: &str = "chaos.trigger";

/// In place of a sender, where it does not matter whose something is.
static ANYBODY: LazyLock<InstanceId> = LazyLock::new(|| "anybody".parse().expect("a plain word is an instance id"));

/// Whether messages of a type are signals.
pub fn is_signal(event_type: &str) -> bool {
    STATES.contains(&event_type)
        || ["typing", SUGGESTION, TRIGGER].contains(&event_type)
        || event_type.starts_with("signal.")
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
    aim: Aim,
    frames: [OnceLock<Bytes>; 2],
}

impl Sent {
    /// Whether it is a trigger of chaos.
    pub fn is_trigger(&self) -> bool {
        self.event_type.as_str() == TRIGGER
    }
}

impl Signal {
    /// What an author sends.
    ///
    /// # Errors
    ///
    /// It does not say what its type has to.
    pub fn new(sent: Sent, author: &Author, now: Timestamp) -> Result<Self, Refusal> {
        let Sent { event_type, timestamp, data, .. } = sent;
        let aim = Aim::of(event_type.as_str(), &data)?;
        let (sender, user) = (author.instance.clone(), author.user.clone());
        let (id, timestamp) = (Uuid::new_v4(), timestamp.unwrap_or(now));
        Ok(Self { id, event_type, sender, user, timestamp, data, aim, frames: Default::default() })
    }

    /// What another node passes on; if its type is no signal's, or it does not say what that has to, it is for nobody.
    pub(super) fn of(
        id: Uuid,
        event_type: EventType,
        sender: InstanceId,
        user: Option<Arc<str>>,
        timestamp: Timestamp,
        data: Box<RawValue>,
    ) -> Self {
        let aim = match is_signal(event_type.as_str()) {
            true => Aim::of(event_type.as_str(), &data).unwrap_or(Aim::Nobody),
            false => Aim::Nobody,
        };
        Self { id, event_type, sender, user, timestamp, data, aim, frames: Default::default() }
    }

    /// The same, for those who were drawn in.
    pub fn for_drawn(&self, drawn: BTreeMap<InstanceId, Drawn>) -> Self {
        let Self { id, event_type, sender, user, timestamp, data, .. } = self;
        Self {
            id: *id,
            event_type: event_type.clone(),
            sender: sender.clone(),
            user: user.clone(),
            timestamp: *timestamp,
            data: data.clone(),
            aim: Aim::Drawn(drawn),
            frames: Default::default(),
        }
    }

    /// The number of a trigger of chaos, the same on all nodes, from which all chance follows; `None` for other signals.
    pub fn trigger(&self) -> Option<u64> {
        let (high, low) = self.id.as_u64_pair();
        (self.event_type.as_str() == TRIGGER).then_some(high ^ low)
    }

    /// Its id.
    pub(in crate::wire) fn id(&self) -> Uuid {
        self.id
    }

    /// What it takes the place of: an older one of the same. Of chaos on its way to members there is one at a time, whoever
    /// triggered it: it holds all whom it draws in, and must not wait once per sender.
    pub fn pair(&self) -> Pair {
        let is_drawn = matches!(self.aim, Aim::Drawn(_));
        (self.event_type.clone(), if is_drawn { ANYBODY.clone() } else { self.sender.clone() })
    }

    /// Whether it says how something stands, so that a newcomer wants to know it.
    pub fn is_state(&self) -> bool {
        STATES.contains(&self.event_type.as_str())
    }

    /// The frame in an envelope. What everybody is told is made once.
    pub fn frame(&self, tenant: &TenantId, envelope: Envelope, share: &Share) -> Cow<'_, Bytes> {
        let make = || {
            let mut out = BytesMut::with_capacity(self.data.get().len() + 256);
            match envelope {
                Envelope::Sync => self.put_sync(&mut out, tenant),
                Envelope::Typed => self.put_typed(&mut out),
            }
            out.extend_from_slice(b",\"data\":");
            self.put_data(&mut out, share);
            out.put_u8(b'}');
            frame::text(&out)
        };
        match share {
            Share::Plain => Cow::Borrowed(self.frames[usize::from(envelope == Envelope::Typed)].get_or_init(make)),
            Share::Scored(_) | Share::Drawn(_) => Cow::Owned(make()),
        }
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
mod tests;
