//! What the JetStream API says, as far as we ask: the one place where its JSON becomes a type.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{
    line::{AskError, Line},
    names,
};
use crate::{
    backbone::Stored,
    model::{DedupeId, Position, Timestamp},
};

/// JetStream's code for "stream not found".
const NO_STREAM: u64 = 10_059;
/// Its code for "no message found".
const NO_MESSAGE: u64 = 10_037;

/// Its code for a message that could not be deleted, as when it is gone.
const NOT_DELETED: u64 = 10_057;

/// Its codes for a lost condition: with one replica, and with several.
pub const LOST: [u64; 2] = [10_071, 10_164];

/// What a stream says about a publish.
#[derive(Debug, Deserialize)]
pub struct Ack {
    /// Where it stands.
    #[serde(default)]
    pub seq: u64,
    /// The stream had it before.
    #[serde(default)]
    pub duplicate: bool,
    /// Why it was refused.
    pub error: Option<AckError>,
}

/// Why a publish was refused.
#[derive(Debug, Deserialize)]
pub struct AckError {
    /// JetStream's code.
    #[serde(default)]
    pub err_code: u64,
    /// Its words.
    #[serde(default)]
    pub description: String,
}

/// A stream as it stands.
#[derive(Debug, Deserialize)]
pub struct StreamInfo {
    /// Its settings.
    pub config: Map<String, Value>,
    /// What it holds.
    pub state: StreamState,
    /// Who leads it.
    pub cluster: Option<ClusterInfo>,
    /// What it is filled from.
    #[serde(default)]
    pub sources: Option<Vec<SourceInfo>>,
    /// The server's clock when it answered.
    pub ts: Option<String>,
}

/// What a stream holds.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct StreamState {
    /// Messages.
    pub messages: u64,
    /// Their size.
    pub bytes: u64,
    /// The first one's sequence; one more than the last if there is none, 0 if there never was one.
    pub first_seq: u64,
    /// The last one's sequence.
    pub last_seq: u64,
    /// Consumers on it.
    #[serde(default)]
    pub consumer_count: u64,
}

/// Who leads a stream, and who follows.
#[derive(Debug, Deserialize)]
pub struct ClusterInfo {
    /// The leader's name; none while one is elected.
    pub leader: Option<String>,
    /// The others.
    #[serde(default)]
    pub replicas: Option<Vec<Peer>>,
}

/// A server that follows a stream's leader.
#[derive(Debug, Deserialize)]
pub struct Peer {
    /// Its name.
    pub name: String,
    /// Whether it has everything that the leader has, as far as the leader knows: one that is gone may still have.
    #[serde(default)]
    pub current: bool,
    /// Nanoseconds since the leader last heard of it; normally below a second.
    #[serde(default)]
    pub active: u64,
    /// Whether it is away.
    #[serde(default)]
    pub offline: bool,
}

/// What JetStream says of our account.
#[derive(Debug, Deserialize)]
pub struct AccountInfo {
    /// Bytes on disk, every copy counted.
    #[serde(default)]
    pub storage: u64,
    /// Streams.
    #[serde(default)]
    pub streams: u64,
    /// What it may have.
    #[serde(default)]
    pub limits: AccountLimits,
}

/// What an account may have.
#[derive(Debug, Default, Deserialize)]
pub struct AccountLimits {
    /// Bytes on disk; negative: no limit.
    #[serde(default)]
    pub max_storage: i64,
}

/// How far a source has been read.
#[derive(Debug, Deserialize)]
pub struct SourceInfo {
    /// The stream that is read.
    pub name: String,
    /// Messages that are not read yet; 0 also while nobody knows.
    #[serde(default)]
    pub lag: u64,
}

impl StreamInfo {
    /// Asks a stream's leader. `None`: there is no such stream.
    pub async fn get(line: &Line, stream: &str) -> Result<Option<Self>, AskError> {
        match line.ask(format!("STREAM.INFO.{stream}"), Vec::new()).await {
            Ok(info) => Ok(Some(info)),
            Err(AskError::Refused { code: NO_STREAM, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The highest position of another stream that this one was filled from.
    pub async fn sourced_to(&self, line: &Line, stream: &str) -> Result<Position, AskError> {
        if self.state.messages == 0 {
            return Ok(Position::START);
        }
        let last = Message::get(line, stream, Which::At(self.state.last_seq)).await?;
        Ok(last.and_then(|last| last.source_position()).unwrap_or_default())
    }

    /// Everything up to here is gone.
    pub fn trimmed_to(&self) -> Position {
        Position(self.state.first_seq.saturating_sub(1))
    }

    /// A value in the stream's metadata.
    pub fn metadata(&self, key: &str) -> Option<&str> {
        self.config.get("metadata")?.get(key)?.as_str()
    }
}

/// A message as a stream's leader has it.
#[derive(Clone, Debug)]
pub struct Message {
    /// Its subject.
    pub subject: String,
    /// Its sequence.
    pub seq: u64,
    /// Its headers, as text.
    headers: String,
    /// Its content.
    pub body: Bytes,
    /// When the stream took it.
    pub time: Timestamp,
}

/// Which message.
#[derive(Clone, Debug)]
pub enum Which<'a> {
    /// The last on these subjects.
    Last(&'a str),
    /// The first on these subjects at or behind a sequence.
    Next(u64, &'a str),
    /// The one with this sequence.
    At(u64),
}

impl Message {
    /// Asks a stream's leader, which has everything that was acknowledged. `None`: there is no such message.
    pub async fn get(line: &Line, stream: &str, which: Which<'_>) -> Result<Option<Self>, AskError> {
        #[derive(Deserialize)]
        struct Answer {
            message: Raw,
        }
        #[derive(Deserialize)]
        struct Raw {
            subject: String,
            seq: u64,
            #[serde(default)]
            hdrs: String,
            #[serde(default)]
            data: String,
            time: String,
        }
        let request = match which {
            Which::Last(subject) => json!({ "last_by_subj": subject }),
            Which::Next(seq, subject) => json!({ "seq": seq.max(1), "next_by_subj": subject }),
            Which::At(seq) => json!({ "seq": seq }),
        };
        let answer = line.ask::<Answer>(format!("STREAM.MSG.GET.{stream}"), request.to_string().into_bytes()).await;
        let raw = match answer {
            Ok(Answer { message }) => message,
            Err(AskError::Refused { code: NO_MESSAGE, .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let strange = |what: &str| AskError::Away(format!("{stream} answered with {what} that cannot be read"));
        let bytes = |text: &str| BASE64_STANDARD.decode(text).map_err(|_| strange("bytes"));
        Ok(Some(Self {
            headers: String::from_utf8(bytes(&raw.hdrs)?).map_err(|_| strange("headers"))?,
            body: bytes(&raw.data)?.into(),
            time: Timestamp::parse(&raw.time).ok_or_else(|| strange("a time"))?,
            subject: raw.subject,
            seq: raw.seq,
        }))
    }

    /// Deletes a message from a stream, on every replica, its bytes in the file overwritten. Whether it was there.
    pub async fn delete(line: &Line, stream: &str, seq: u64) -> Result<bool, AskError> {
        #[derive(Deserialize)]
        struct Deleted {
            success: bool,
        }
        let request = json!({ "seq": seq, "no_erase": false }).to_string().into_bytes();
        let refused = match line.ask::<Deleted>(format!("STREAM.MSG.DELETE.{stream}"), request).await {
            Ok(Deleted { success: true }) => return Ok(true),
            Ok(Deleted { success: false }) => AskError::Away("a message was not deleted".into()),
            Err(AskError::Refused { code: NO_MESSAGE, .. }) => return Ok(false),
            Err(error @ AskError::Refused { code: NOT_DELETED, .. }) => error,
            Err(error) => return Err(error),
        };
        // A question that is asked again finds that the first one was heard.
        match Self::get(line, stream, Which::At(seq)).await? {
            None => Ok(false),
            Some(_) => Err(refused),
        }
    }

    /// The headers, in order.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        // The first line names the protocol.
        let pairs = self.headers.lines().skip(1).filter_map(|line| line.split_once(':'));
        pairs.map(|(name, value)| (name.trim(), value.trim()))
    }

    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers().find(|(of, _)| of.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// The id under which it was appended.
    pub fn dedupe(&self) -> Option<DedupeId> {
        uuid::Uuid::try_parse(self.header("Nats-Msg-Id")?).ok().map(DedupeId)
    }

    /// Where a sourced message stands in the stream that it came from.
    pub fn source_position(&self) -> Option<Position> {
        source_position(self.header("Nats-Stream-Source")?)
    }

    /// As a record; `None` under a subject that is no record's.
    pub fn into_stored(self, prefix: &str, position: Position) -> Option<Stored> {
        let (_, rest) = names::split(prefix, &self.subject)?;
        let subject = names::subject_in(rest)?;
        Some(Stored { position, stored_at: self.time, subject, body: self.body })
    }
}

/// The second word of `Nats-Stream-Source`.
pub fn source_position(header: &str) -> Option<Position> {
    header.split(' ').nth(1)?.parse().ok().map(Position)
}
