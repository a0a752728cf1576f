//! What nodes say to each other: the one place where it becomes a type and a type becomes JSON.
//!
//! Nodes of different versions run side by side while a cluster is renewed: a message of another major version or of an
//! unknown kind is nobody's business, unknown fields are ignored.

mod signals;

use std::{borrow::Cow, sync::Arc};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

pub use self::signals::{Told, signals};
use super::{signal::Signal, text::Text};
use crate::model::{
    EntityKey, IdError, Timestamp,
    chaos::Affinity,
    neighbours::{News, Part, Said},
    peers::{Account, Incarnation, NodeId},
    roster::{Attendance, Claim, Generation, Presence, Reason},
    unreadable::unreadable,
};

/// The version that this build speaks.
const VERSION: u32 = 1;
/// The largest message that is looked at, in bytes; ours are far smaller.
const LARGEST: usize = 512 * 1024;

/// How many entities one message names.
const ENTITIES: usize = 64;

/// Who says something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Speaker {
    /// The node.
    pub node: NodeId,
    /// Its incarnation.
    pub incarnation: Incarnation,
}

/// What nodes say to all nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beat {
    /// The first heartbeat of a process: no room of it is open yet.
    Hello,
    /// A heartbeat.
    Alive,
    /// The last word of a node that stops.
    Farewell,
}

/// What a node says to those that have a room.
#[derive(Debug)]
pub enum Word {
    /// Who is there.
    Said(Said),
    /// What its members signal.
    Signals(Told, Vec<Arc<Signal>>),
    /// These entities are being written here so fast that it does not get its turn.
    Waits(Vec<EntityKey>),
    /// So many messages of the tenant were taken there lately.
    Spent(u32),
}

/// Why a message cannot be used; nothing is answered.
#[derive(Debug, thiserror::Error)]
pub enum PeerError {
    /// Larger than any message of ours.
    #[error("{0} bytes are too many")]
    TooLarge(usize),
    /// Not of the expected form.
    #[error("not a node's message: {}", unreadable(.0))]
    Malformed(#[from] serde_json::Error),
    /// A name in it is none.
    #[error("a name in it is none: {0}")]
    Name(#[from] IdError),
}

/// What every message has.
#[derive(Deserialize, Serialize)]
struct Head<'a> {
    v: u32,
    node: Uuid,
    inc: u64,
    #[serde(borrow)]
    kind: Cow<'a, str>,
}

/// What a message may have beside that; which of it, its kind says.
#[derive(Default, Deserialize, Serialize)]
struct Content<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    room: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    n: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    of: Option<Uuid>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    instance: Option<Text<'a>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    reason: Option<Text<'a>>,
    #[serde(borrow, default, skip_serializing_if = "Vec::is_empty")]
    members: Vec<Member<'a>>,
    #[serde(default, skip_serializing_if = "is_false")]
    first: bool,
    #[serde(default, skip_serializing_if = "is_false")]
    last: bool,
    #[serde(borrow, default, skip_serializing_if = "Vec::is_empty")]
    signals: Vec<signals::Item<'a>>,
    #[serde(default, skip_serializing_if = "is_false")]
    standing: bool,
    #[serde(borrow, default, skip_serializing_if = "Vec::is_empty")]
    entities: Vec<(Text<'a>, Text<'a>)>,
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    account: Option<&'a Account>,
}

/// A heartbeat, as far as it is not in its head. Read by itself: it counts whatever a later version says of itself.
#[derive(Deserialize)]
struct Pulse<'a> {
    #[serde(borrow)]
    account: Option<&'a RawValue>,
}

#[derive(Deserialize, Serialize)]
struct Member<'a> {
    #[serde(borrow)]
    instance: Cow<'a, str>,
    generation: u64,
    /// Milliseconds since the Unix epoch.
    since: i64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    capabilities: Vec<Box<str>>,
    #[serde(default, skip_serializing_if = "is_false")]
    missed: bool,
    // Nodes of the first version know none of these.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    user: Option<Text<'a>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    name: Option<Text<'a>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    connection: Option<Uuid>,
    #[serde(default, skip_serializing_if = "is_none_of_it")]
    affinity: u32,
}

#[derive(Serialize)]
struct Message<'a> {
    #[serde(flatten)]
    head: Head<'a>,
    #[serde(flatten)]
    content: Content<'a>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the serializer's signature")]
fn is_none_of_it(millionths: &u32) -> bool {
    *millionths == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the serializer's signature")]
fn is_false(value: &bool) -> bool {
    !*value
}

fn write(speaker: Speaker, kind: &str, content: Content<'_>) -> Bytes {
    let head = Head { v: VERSION, node: speaker.node.0, inc: speaker.incarnation.0, kind: kind.into() };
    // None of these types can fail to serialize: no maps with odd keys, no fallible Serialize.
    serde_json::to_vec(&Message { head, content }).unwrap_or_default().into()
}

/// Writes what is for all nodes, and what the speaker says of itself.
pub fn beat(speaker: Speaker, beat: Beat, account: Option<&Account>) -> Bytes {
    let kind = match beat {
        Beat::Hello => "hello",
        Beat::Alive => "alive",
        Beat::Farewell => "farewell",
    };
    write(speaker, kind, Content { account, ..Content::default() })
}

/// Writes what is for the nodes that have a room.
pub fn said(speaker: Speaker, said: &Said) -> Bytes {
    let (room, number, news) = match said {
        Said::Ask(of) => return write(speaker, "ask", Content { of: of.map(|of| of.0), ..Content::default() }),
        Said::News { room, number, news } => (*room, *number, news),
    };
    let numbered = Content { room: Some(room), n: Some(number), ..Content::default() };
    match news {
        News::Joined(claim) => write(speaker, "joined", Content { members: vec![member_of(claim)], ..numbered }),
        News::Missed(instance) => {
            write(speaker, "missed", Content { instance: Some(instance.as_str().into()), ..numbered })
        }
        News::Left(instance, reason) => {
            let (instance, reason) = (Some(instance.as_str().into()), Some(reason.word().into()));
            write(speaker, "left", Content { instance, reason, ..numbered })
        }
        News::Present { claims, part: Part { first, last } } => {
            let members = claims.iter().map(member_of).collect();
            write(speaker, "present", Content { members, first: *first, last: *last, ..numbered })
        }
    }
}

/// Writes that somebody waits for their turn with entities; of very many only some are named.
pub fn waits<'a>(speaker: Speaker, entities: impl IntoIterator<Item = &'a EntityKey>) -> Bytes {
    let name = |key: &'a EntityKey| (Text::from(&*key.kind), Text::from(&*key.id));
    let entities = entities.into_iter().take(ENTITIES).map(name).collect();
    write(speaker, "waits", Content { entities, ..Content::default() })
}

/// Writes how many messages of a tenant were taken.
pub fn spent(speaker: Speaker, count: u32) -> Bytes {
    write(speaker, "spent", Content { n: Some(u64::from(count)), ..Content::default() })
}

fn member_of(claim: &Claim) -> Member<'_> {
    let Presence { connected_at, capabilities, user, name, connection, affinity } = &claim.presence;
    Member {
        instance: claim.instance.as_str().into(),
        generation: claim.generation.0,
        since: connected_at.0,
        capabilities: capabilities.clone(),
        missed: claim.attendance == Attendance::Missed,
        user: user.as_deref().map(Text::from),
        name: name.as_deref().map(Text::from),
        connection: *connection,
        affinity: affinity.millionths(),
    }
}

fn claim_of(member: Member<'_>) -> Result<Claim, PeerError> {
    let Member { instance, generation, since, capabilities, missed, user, name, connection, affinity } = member;
    let [user, name] = [user, name].map(|text| text.map(|text| Arc::from(&*text)));
    Ok(Claim {
        instance: instance.parse()?,
        generation: Generation(generation),
        presence: Presence {
            connected_at: Timestamp(since),
            capabilities,
            user,
            name,
            connection,
            affinity: Affinity::of_millionths(affinity),
        },
        attendance: if missed { Attendance::Missed } else { Attendance::Connected },
    })
}

fn head(body: &[u8]) -> Result<Option<(Speaker, Cow<'_, str>)>, PeerError> {
    if body.len() > LARGEST {
        return Err(PeerError::TooLarge(body.len()));
    }
    let Head { v, node, inc, kind } = serde_json::from_slice(body)?;
    let speaker = Speaker { node: NodeId(node), incarnation: Incarnation(inc) };
    Ok((v == VERSION).then_some((speaker, kind)))
}

/// Reads what was said to all nodes, with what the speaker says of itself; `None` if it is of another version or an unknown
/// kind.
///
/// # Errors
///
/// It is no message of a node.
pub fn read_beat(body: &[u8]) -> Result<Option<(Speaker, Beat, Option<Account>)>, PeerError> {
    let Some((speaker, kind)) = head(body)? else { return Ok(None) };
    let beat = match &*kind {
        "hello" => Beat::Hello,
        "alive" => Beat::Alive,
        "farewell" => Beat::Farewell,
        _ => return Ok(None),
    };
    let Pulse { account } = serde_json::from_slice(body)?;
    let account = account.and_then(|account| serde_json::from_str(account.get()).ok());
    Ok(Some((speaker, beat, account)))
}

/// Reads what was said to the nodes that have a room; `None` if `me` said it, or if it is of another version or an
/// unknown kind.
///
/// # Errors
///
/// It is no message of a node.
pub fn read_word(body: &[u8], me: NodeId) -> Result<Option<(Speaker, Word)>, PeerError> {
    let Some((speaker, kind)) = head(body)?.filter(|(speaker, _)| speaker.node != me) else { return Ok(None) };
    if !["ask", "joined", "missed", "left", "present", "signals", "aimed", "waits", "spent"].contains(&&*kind) {
        return Ok(None);
    }
    let said = match (&*kind, serde_json::from_slice(body)?) {
        ("signals" | "aimed", Content { signals, standing, .. }) => {
            let told = if standing { Told::Standing } else { Told::Live };
            let signals = signals.into_iter().map(signals::signal_of).collect::<Result<_, _>>()?;
            return Ok(Some((speaker, Word::Signals(told, signals))));
        }
        ("waits", Content { entities, .. }) => {
            let keys = entities.iter().take(ENTITIES).map(|(kind, id)| EntityKey::new(kind, id));
            return Ok(Some((speaker, Word::Waits(keys.collect::<Result<_, _>>()?))));
        }
        ("spent", Content { n, .. }) => {
            let count = u32::try_from(n.unwrap_or_default()).unwrap_or(u32::MAX);
            return Ok(Some((speaker, Word::Spent(count))));
        }
        ("ask", Content { of, .. }) => Said::Ask(of.map(NodeId)),
        (kind, Content { room: Some(room), n: Some(number), instance, reason, members, first, last, .. }) => {
            let claims = members.into_iter().map(claim_of).collect::<Result<Vec<_>, _>>()?;
            let news = match (kind, instance, claims) {
                ("joined", _, mut claims) if claims.len() == 1 => News::Joined(claims.remove(0)),
                ("missed", Some(instance), _) => News::Missed(instance.parse()?),
                ("left", Some(instance), _) => News::Left(instance.parse()?, reason_of(reason.as_deref())),
                ("present", _, claims) => News::Present { claims, part: Part { first, last } },
                _ => return Ok(None),
            };
            Said::News { room, number, news }
        }
        _ => return Ok(None),
    };
    Ok(Some((speaker, Word::Said(said))))
}

fn reason_of(word: Option<&str>) -> Reason {
    if word == Some(Reason::Closed.word()) { Reason::Closed } else { Reason::Lost }
}

#[cfg(test)]
mod tests;
