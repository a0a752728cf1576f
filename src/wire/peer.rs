//! What nodes say to each other: the one place where it becomes a type and a type becomes JSON.
//!
//! Nodes of different versions run side by side while a cluster is renewed: a message of another major version or of an
//! unknown kind is nobody's business, unknown fields are ignored.

use std::borrow::Cow;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::model::{
    IdError, Timestamp,
    neighbours::{News, Part, Said},
    peers::{Incarnation, NodeId},
    roster::{Attendance, Claim, Generation, Presence, Reason},
};

/// The version that this build speaks.
const VERSION: u32 = 1;
/// The largest message that is looked at, in bytes; ours are far smaller.
const LARGEST: usize = 512 * 1024;

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

/// Why a message cannot be used; nothing is answered.
#[derive(Debug, thiserror::Error)]
pub enum PeerError {
    /// Larger than any message of ours.
    #[error("{0} bytes are too many")]
    TooLarge(usize),
    /// Not of the expected form.
    #[error("not a node's message: {0}")]
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
    instance: Option<Cow<'a, str>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    reason: Option<Cow<'a, str>>,
    #[serde(borrow, default, skip_serializing_if = "Vec::is_empty")]
    members: Vec<Member<'a>>,
    #[serde(default, skip_serializing_if = "is_false")]
    first: bool,
    #[serde(default, skip_serializing_if = "is_false")]
    last: bool,
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
}

#[derive(Serialize)]
struct Message<'a> {
    #[serde(flatten)]
    head: Head<'a>,
    #[serde(flatten)]
    content: Content<'a>,
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

/// Writes what is for all nodes.
pub fn beat(speaker: Speaker, beat: Beat) -> Bytes {
    let kind = match beat {
        Beat::Hello => "hello",
        Beat::Alive => "alive",
        Beat::Farewell => "farewell",
    };
    write(speaker, kind, Content::default())
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

fn member_of(claim: &Claim) -> Member<'_> {
    Member {
        instance: claim.instance.as_str().into(),
        generation: claim.generation.0,
        since: claim.presence.connected_at.0,
        capabilities: claim.presence.capabilities.clone(),
        missed: claim.attendance == Attendance::Missed,
    }
}

fn claim_of(member: Member<'_>) -> Result<Claim, PeerError> {
    let Member { instance, generation, since, capabilities, missed } = member;
    Ok(Claim {
        instance: instance.parse()?,
        generation: Generation(generation),
        presence: Presence { connected_at: Timestamp(since), capabilities },
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

/// Reads what was said to all nodes; `None` if it is of another version or an unknown kind.
///
/// # Errors
///
/// It is no message of a node.
pub fn read_beat(body: &[u8]) -> Result<Option<(Speaker, Beat)>, PeerError> {
    let Some((speaker, kind)) = head(body)? else { return Ok(None) };
    let beat = match &*kind {
        "hello" => Beat::Hello,
        "alive" => Beat::Alive,
        "farewell" => Beat::Farewell,
        _ => return Ok(None),
    };
    Ok(Some((speaker, beat)))
}

/// Reads what was said to the nodes that have a room; `None` if `me` said it, or if it is of another version or an
/// unknown kind.
///
/// # Errors
///
/// It is no message of a node.
pub fn read_said(body: &[u8], me: NodeId) -> Result<Option<(Speaker, Said)>, PeerError> {
    let Some((speaker, kind)) = head(body)?.filter(|(speaker, _)| speaker.node != me) else { return Ok(None) };
    if !["ask", "joined", "missed", "left", "present"].contains(&&*kind) {
        return Ok(None);
    }
    let said = match (&*kind, serde_json::from_slice(body)?) {
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
    Ok(Some((speaker, said)))
}

fn reason_of(word: Option<&str>) -> Reason {
    if word == Some(Reason::Closed.word()) { Reason::Closed } else { Reason::Lost }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::InstanceId;

    const NODE: NodeId = NodeId(Uuid::from_u128(7));
    const ME: NodeId = NodeId(Uuid::from_u128(8));
    const SPEAKER: Speaker = Speaker { node: NODE, incarnation: Incarnation(3) };

    fn claim(name: &str, attendance: Attendance) -> Claim {
        let capabilities = vec!["memory".into(), "\"quoted\"".into()];
        let presence = Presence { connected_at: Timestamp(1_765_015_200_000), capabilities };
        Claim { instance: name.parse().expect("an instance"), generation: Generation(17), presence, attendance }
    }

    #[test]
    fn everything_that_is_said_is_read_back_as_it_was_written() {
        let name: InstanceId = "claude \"1\" é".parse().expect("an instance");
        let claims = vec![claim("a", Attendance::Connected), claim("b", Attendance::Missed)];
        let news = [
            News::Joined(claim("a", Attendance::Connected)),
            News::Missed(name.clone()),
            News::Left(name.clone(), Reason::Closed),
            News::Left(name, Reason::Lost),
            News::Present { claims, part: Part { first: true, last: false } },
            News::Present { claims: vec![], part: Part { first: true, last: true } },
        ];
        let numbered = (1..).zip(news).map(|(number, news)| Said::News { room: 4, number, news });
        for said in numbered.chain([Said::Ask(None), Said::Ask(Some(ME))]) {
            let body = super::said(SPEAKER, &said);
            assert_eq!(read_said(&body, ME).ok().flatten(), Some((SPEAKER, said)), "{body:?}");
            assert!(read_said(&body, NODE).is_ok_and(|own| own.is_none()), "one's own words are not news");
        }
        for kind in [Beat::Hello, Beat::Alive, Beat::Farewell] {
            assert_eq!(read_beat(&beat(SPEAKER, kind)).ok().flatten(), Some((SPEAKER, kind)));
        }
    }

    #[test]
    fn what_a_later_version_says_is_ignored_where_it_is_not_understood() {
        let node = NODE.0;
        for (text, understood) in [
            (format!(r#"{{"v":1,"node":"{node}","inc":3,"kind":"ask","more":[1]}}"#), true),
            (format!(r#"{{"v":1,"node":"{node}","inc":3,"kind":"sang","n":"x"}}"#), false),
            (format!(r#"{{"v":2,"node":"{node}","inc":3,"kind":"ask"}}"#), false),
            (format!(r#"{{"v":1,"node":"{node}","inc":3,"kind":"joined","room":1,"n":1}}"#), false),
        ] {
            let said = read_said(text.as_bytes(), ME);
            assert!(said.is_ok_and(|said| said.is_some() == understood), "{text}");
        }
    }

    #[test]
    fn nonsense_is_an_error_and_nothing_else() {
        let node = NODE.0;
        let bad_name = format!(
            r#"{{"v":1,"node":"{node}","inc":3,"kind":"missed","room":1,"n":1,"instance":"{}"}}"#,
            "x".repeat(129)
        );
        let long = format!(r#"{{"v":1,"node":"{node}","inc":3,"kind":"ask","more":"{}"}}"#, "x".repeat(LARGEST));
        for text in ["", "x", "{}", "[]", r#"{"v":1,"node":"x","inc":3,"kind":"ask"}"#, &bad_name, &long] {
            assert!(read_said(text.as_bytes(), ME).is_err(), "{:.80}", text);
        }
    }

    #[test]
    fn a_full_part_is_far_smaller_than_what_is_looked_at() {
        use crate::model::{
            neighbours::Neighbours,
            roster::{Arrival, Roster},
        };
        let mut roster = Roster::<u32>::new(NODE);
        for number in 0..600 {
            // Names that grow when written, as long as they may be.
            let name = format!("{number:03}{}", "\"".repeat(125)).parse().expect("an instance");
            let capabilities = vec!["\\".repeat(64).into(); 32];
            let presence = Presence { connected_at: Timestamp(0), capabilities };
            roster.join(name, number, presence, Arrival::Fresh);
        }
        for news in Neighbours::list(&roster) {
            let written = said(SPEAKER, &Said::News { room: 1, number: 1, news });
            assert!(written.len() < LARGEST / 4, "{}", written.len());
        }
    }
}
