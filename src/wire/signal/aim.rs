//! Whom a signal is for, and what each of them is told of it: most are for everybody, in the same words.

use std::collections::{BTreeMap, HashSet};

use bytes::{BufMut, BytesMut};
use serde_json::{Map, Value, value::RawValue};

use super::Signal;
use crate::{
    model::{
        InstanceId,
        chaos::Drawn,
        interest::{Focus, Glance, Relevance},
    },
    wire::{
        codes::{Code, Refusal},
        message::Fields,
    },
};

/// Greatest number of receivers, nodes and tags of one suggestion.
const LISTED: usize = 64;

/// Whom a signal is for.
#[derive(Debug)]
pub(super) enum Aim {
    /// Everybody.
    Everyone,
    /// Those whose focus this concerns.
    Concerned(Box<Glance>),
    /// These, by user or instance.
    Named(HashSet<String>),
    /// Nobody: a trigger of chaos before a room has decided on it, or what cannot be read.
    Nobody,
    /// Those whom a trigger of chaos has drawn in.
    Drawn(BTreeMap<InstanceId, Drawn>),
}

/// Somebody who may hear a signal.
#[derive(Clone, Copy, Debug)]
pub struct Listener<'a> {
    /// Who.
    pub instance: &'a InstanceId,
    /// The user that it acts for.
    pub user: Option<&'a str>,
    /// What it is busy with.
    pub focus: Option<&'a Focus>,
}

/// What somebody is told of a signal.
#[derive(Debug)]
pub enum Share {
    /// What everybody is told.
    Plain,
    /// With what it has to do with them.
    Scored(Relevance),
    /// With how they were drawn in.
    Drawn(Drawn),
}

impl Aim {
    /// What the content says of it.
    pub(super) fn of(event_type: &str, data: &RawValue) -> Result<Self, Refusal> {
        match event_type {
            super::SUGGESTION => suggestion(data),
            super::TRIGGER => Ok(Self::Nobody),
            _ => Ok(Self::Everyone),
        }
    }
}

fn suggestion(data: &RawValue) -> Result<Aim, Refusal> {
    let wrong = |message: &'static str| Refusal::new(Code::InvalidMessage, message);
    let fields: Map<String, Value> =
        serde_json::from_str(data.get()).map_err(|_| wrong("'data' of a suggestion must be an object"))?;
    let lists =
        "'receivers', 'nodes' and 'tags' of a suggestion are lists of up to 64 texts; no list of receivers is empty";
    for name in ["receivers", "nodes", "tags"] {
        let fits = |list: &Vec<Value>| list.len() <= LISTED && list.iter().all(Value::is_string);
        if fields.get(name).is_some_and(|value| !value.as_array().is_some_and(fits)) {
            return Err(wrong(lists));
        }
    }
    if let Some(Value::Array(names)) = fields.get("receivers") {
        let names: HashSet<_> = names.iter().filter_map(Value::as_str).map(str::to_owned).collect();
        return if names.is_empty() { Err(wrong(lists)) } else { Ok(Aim::Named(names)) };
    }
    let glance = Glance::at_suggestion(&fields);
    if glance.is_empty() {
        let message =
            "a suggestion needs 'receivers', or says what it is about: 'nodes', 'from' and 'to', 'tags' or 'text'";
        return Err(wrong(message));
    }
    Ok(Aim::Concerned(Box::new(glance)))
}

impl Signal {
    /// Whether it is for everybody.
    pub fn is_for_all(&self) -> bool {
        matches!(self.aim, Aim::Everyone)
    }

    /// What somebody is told of it, if it is for them.
    pub fn share_of(&self, listener: Listener<'_>) -> Option<Share> {
        match &self.aim {
            Aim::Everyone => Some(Share::Plain),
            Aim::Concerned(glance) => listener.focus?.relevance(glance).map(Share::Scored),
            Aim::Named(names) => {
                let is_meant = [Some(listener.instance.as_str()), listener.user];
                let is_meant = is_meant.into_iter().flatten().any(|name| names.contains(name));
                is_meant.then(|| Share::Scored(Relevance { score: 1.0, reason: "it is meant for you".into() }))
            }
            Aim::Nobody => None,
            Aim::Drawn(drawn) => drawn.get(listener.instance).copied().map(Share::Drawn),
        }
    }

    /// Writes `data` as it is told with a share.
    pub(super) fn put_data(&self, out: &mut BytesMut, share: &Share) {
        let mut fields = Fields::default();
        match share {
            Share::Plain => return out.put(self.data.get().as_bytes()),
            Share::Scored(Relevance { score, reason }) => {
                // As it was written, and nothing of what it names: not everybody may see that.
                fields.raw("suggestion", self.data.get());
                fields.value("relevance", score);
                fields.text("reason", reason);
            }
            Share::Drawn(Drawn { hops, intensity }) => {
                fields.text("initiator", self.user.as_deref().unwrap_or(self.sender.as_str()));
                fields.number("hops", u64::from(*hops));
                fields.value("intensity", intensity);
                fields.text("message", "Chaos is contagious! 🐵");
            }
        }
        out.put(fields.end().as_bytes());
    }
}
