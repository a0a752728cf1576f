//! Members' signals on their way to other nodes: several in one message, each as small as it can be.

use std::{borrow::Cow, sync::Arc};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::{Content, PeerError, Speaker, write};
use crate::{
    model::Timestamp,
    wire::{signal::Signal, text::Text},
};

/// Bytes of signals in one message, about; one more may go beyond.
const PART_BYTES: usize = 32 * 1024;

/// Why signals are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// They were sent just now: pass them on.
    Live,
    /// Somebody asked who is there: this is how things stand.
    Standing,
}

/// One signal between nodes.
#[derive(Deserialize, Serialize)]
pub(super) struct Item<'a> {
    #[serde(borrow)]
    r#type: Cow<'a, str>,
    #[serde(borrow)]
    instance: Cow<'a, str>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    user: Option<Text<'a>>,
    /// Of one that is not for everybody: all nodes decide alike by it for whom it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    id: Option<Uuid>,
    /// Milliseconds since the Unix epoch.
    at: i64,
    #[serde(borrow)]
    data: &'a RawValue,
}

/// Writes signals for the nodes that have a room, in as many messages as it takes. Those that are not for everybody are of a
/// kind of their own: a node that does not know whom they are for ignores them.
pub fn signals(speaker: Speaker, told: Told, signals: &[Arc<Signal>]) -> Vec<Bytes> {
    let mut messages = Vec::new();
    let (open, aimed): (Vec<_>, Vec<_>) = signals.iter().partition(|signal| signal.is_for_all());
    for (kind, signals) in [("aimed", aimed), ("signals", open)] {
        let (mut part, mut bytes) = (Vec::new(), 0);
        for (index, signal) in signals.iter().enumerate() {
            bytes += signal.data.get().len() + 256;
            part.push(item_of(signal));
            if bytes >= PART_BYTES || index + 1 == signals.len() {
                let signals = std::mem::take(&mut part);
                let content = Content { signals, standing: told == Told::Standing, ..Content::default() };
                messages.push(write(speaker, kind, content));
                bytes = 0;
            }
        }
    }
    messages
}

fn item_of(signal: &Signal) -> Item<'_> {
    Item {
        r#type: signal.event_type.as_str().into(),
        instance: signal.sender.as_str().into(),
        user: signal.user.as_deref().map(Text::from),
        id: (!signal.is_for_all()).then(|| signal.id()),
        at: signal.timestamp.0,
        data: &signal.data,
    }
}

pub(super) fn signal_of(item: Item<'_>) -> Result<Arc<Signal>, PeerError> {
    let Item { r#type, instance, user, id, at, data } = item;
    let user = user.map(|user| Arc::from(&*user));
    let id = id.unwrap_or_else(Uuid::new_v4);
    Ok(Arc::new(Signal::of(id, r#type.parse()?, instance.parse()?, user, Timestamp(at), data.to_owned())))
}
