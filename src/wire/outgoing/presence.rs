//! Who comes and goes, in the words of each kind of listener.
//!
//! On `/ws/sync` instances are announced. On `/ws` users are: to clients that subscribe to channels as PUO Memo has it, to the
//! others as Gitmind has it.

use bytes::Bytes;
use serde::Serialize;
use uuid::Uuid;

use super::{Instance, Voice};
use crate::{
    model::roster::{Presence, Reason},
    wire::{frame, message::Envelope},
};

/// One of the forms of an announcement.
#[derive(Clone, Debug)]
pub struct Announced {
    /// Its type, for filters and channels.
    pub event_type: &'static str,
    /// The frame.
    pub frame: Bytes,
}

/// Something that everyone in a room is told.
#[derive(Clone, Debug)]
pub struct Announcement {
    /// On `/ws/sync`.
    pub sync: Announced,
    /// On `/ws`, to those who subscribed to channels.
    pub subscribed: Announced,
    /// On `/ws`, to the others.
    pub unsubscribed: Announced,
}

/// A user as the others see it: one that names nobody is its instance.
struct User<'a> {
    id: &'a str,
    name: &'a str,
}

impl Voice<'_> {
    /// The instance that this voice names joined.
    pub fn joined(&self, presence: &Presence) -> Announcement {
        let sync =
            self.in_envelope(Envelope::Sync).announced("instance_joined", Instance::new(self.instance, presence));
        self.of_user(sync, "tenant.user_joined", presence, "joined")
    }

    /// The instance that this voice names left.
    pub fn left(&self, presence: &Presence, reason: Reason) -> Announcement {
        #[derive(Serialize)]
        struct Left<'a> {
            instance_id: &'a str,
            reason: &'static str,
            #[serde(skip_serializing_if = "Option::is_none")]
            user_id: Option<&'a str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            user_name: Option<&'a str>,
        }
        let left = Left {
            instance_id: self.instance.as_str(),
            reason: reason.word(),
            user_id: presence.user.as_deref(),
            user_name: presence.name.as_deref(),
        };
        let sync = self.in_envelope(Envelope::Sync).announced("instance_left", left);
        self.of_user(sync, "tenant.user_left", presence, "left")
    }

    /// So many came and went that they are summed up.
    pub fn presence_changed(&self, instances_total: usize, joined: usize, left: usize) -> Announcement {
        #[derive(Clone, Copy, Serialize)]
        struct Changed {
            instances_total: usize,
            joined: usize,
            left: usize,
        }
        let changed = Changed { instances_total, joined, left };
        let [sync, typed] = [Envelope::Sync, Envelope::Typed]
            .map(|envelope| self.in_envelope(envelope).announced("presence_changed", changed));
        Announcement { sync, subscribed: typed.clone(), unsubscribed: typed }
    }

    fn in_envelope(&self, envelope: Envelope) -> Self {
        Self { envelope, ..*self }
    }

    fn announced(&self, event_type: &'static str, data: impl Serialize) -> Announced {
        Announced { event_type, frame: self.say(event_type, data) }
    }

    fn of_user(
        &self,
        sync: Announced,
        event_type: &'static str,
        presence: &Presence,
        status: &'static str,
    ) -> Announcement {
        #[derive(Serialize)]
        struct Connection<'a> {
            user_id: &'a str,
            user_name: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            connection_id: Option<Uuid>,
            instance_id: &'a str,
        }
        let id = presence.user.as_deref().unwrap_or(self.instance.as_str());
        let user = User { id, name: presence.name.as_deref().unwrap_or(id) };
        let connection = Connection {
            user_id: user.id,
            user_name: user.name,
            connection_id: presence.connection,
            instance_id: self.instance.as_str(),
        };
        let subscribed = self.in_envelope(Envelope::Typed).announced(event_type, connection);
        let unsubscribed = Announced { event_type: "user.presence", frame: self.user_presence(&user, status) };
        Announcement { sync, subscribed, unsubscribed }
    }

    /// Gitmind's message: a signal that the node itself sends.
    fn user_presence(&self, user: &User<'_>, status: &'static str) -> Bytes {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Data<'a> {
            user_id: &'a str,
            user_name: &'a str,
            #[serde(rename = "instance_id")]
            instance: &'a str,
            status: &'static str,
        }
        #[derive(Serialize)]
        struct Message<'a> {
            id: Uuid,
            r#type: &'static str,
            timestamp: i64,
            version: &'static str,
            #[serde(rename = "userId")]
            user: &'a str,
            instance_id: &'a str,
            data: Data<'a>,
        }
        let instance = self.instance.as_str();
        let message = Message {
            id: Uuid::new_v4(),
            r#type: "user.presence",
            timestamp: self.now.0,
            version: "1.0",
            user: user.id,
            instance_id: instance,
            data: Data { user_id: user.id, user_name: user.name, instance, status },
        };
        // Cannot fail to serialize: no maps with odd keys, no fallible Serialize.
        frame::text(&serde_json::to_vec(&message).unwrap_or_default())
    }
}
