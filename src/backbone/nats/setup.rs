//! What is looked at before a node stands on NATS: the server, JetStream, the streams. Makes what is missing, alters nothing.

use uuid::Uuid;

use super::{
    api::{Message, StreamInfo, Which},
    definition::{Definition, EPOCH, Shape},
    line::{AskError, Line},
};
use crate::model::{Epoch, Position};

/// Servers before this drop settings that they do not know, silently.
const OLDEST_SERVER: (i64, i64, i64) = (2, 12, 7);
/// JetStream's codes for a stream that somebody else made at the same moment.
const MADE_MEANWHILE: [u64; 2] = [10_058, 10_065];
/// Its codes for an account or a system without JetStream.
const NO_JETSTREAM: [u64; 3] = [10_039, 10_076, 10_074];

/// What keeps a node from standing on NATS.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SetupError {
    /// It will not get better by itself. One line, with the mend.
    #[error("{0}")]
    Wrong(String),
    /// Not reached yet.
    #[error("{0}")]
    Away(String),
}

/// How a shard's log stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogStart {
    /// Its epoch.
    pub epoch: Epoch,
    /// Its end.
    pub end: Position,
}

/// Something that is no reason to refuse.
pub type Warning = String;

/// Looks at the server itself.
pub fn check_server(line: &Line, needed_payload: usize) -> Result<Option<Warning>, SetupError> {
    let Some(server) = line.server().filter(|_| line.is_up()) else {
        return Err(SetupError::Away(line.complaint().unwrap_or_else(|| "no connection to NATS yet".into())));
    };
    let (major, minor, patch) = OLDEST_SERVER;
    if !line.client().is_server_compatible(major, minor, patch) {
        return Err(SetupError::Wrong(format!(
            "nats-server is {}, at least {major}.{minor}.{patch} is needed: upgrade it",
            server.version
        )));
    }
    if !server.jetstream {
        return Err(SetupError::Wrong(
            "nats-server runs without JetStream: add `jetstream { store_dir: ... }` to its configuration".into(),
        ));
    }
    let small = server.max_payload < needed_payload;
    Ok(small.then(|| {
        format!(
            "the server's max_payload of {} bytes is smaller than limits.max_message_bytes and what goes with it \
             ({needed_payload} bytes): larger messages are refused",
            server.max_payload
        )
    }))
}

/// Makes or checks all streams. The shards' logs in order.
pub async fn streams(line: &Line, shape: &Shape, known: &[Position]) -> Result<Vec<LogStart>, SetupError> {
    let mut starts = Vec::new();
    for shard in 0..shape.names.shards() {
        let known = known.get(usize::from(shard)).copied().unwrap_or_default();
        starts.push(shard_streams(line, shape, shard, known).await?);
    }
    ensure(line, &Definition::kept(shape), None, None).await?;
    Ok(starts)
}

async fn shard_streams(line: &Line, shape: &Shape, shard: u16, known: Position) -> Result<LogStart, SetupError> {
    let log = Definition::log(shape, shard);
    let info = match stands(line, &log).await? {
        Some(info) => info,
        None => {
            // Above everything that STATE or this node ever saw, or versions would run backwards.
            let sourced = sourced_to(line, &shape.names.state_stream(shard)).await?;
            let first = sourced.max(known).0 + 1;
            let epoch = fresh_epoch().to_string();
            tracing::warn!(stream = log.name, epoch, first, "making the log: there is none");
            ensure(line, &log, Some(&epoch), (first > 1).then_some(first)).await?
        }
    };
    let epoch = info.metadata(EPOCH).and_then(|epoch| epoch.parse::<Epoch>().ok());
    let Some(epoch) = epoch.filter(|epoch| *epoch != Epoch::UNKNOWN) else {
        return Err(SetupError::Wrong(format!(
            "stream {name} has no epoch: run `nats stream edit {name} --metadata {EPOCH}={}`, or delete the stream and \
             let the node make it",
            fresh_epoch(),
            name = log.name
        )));
    };
    ensure(line, &Definition::state(shape, shard), None, None).await?;
    Ok(LogStart { epoch, end: Position(info.state.last_seq) })
}

/// The highest position that a STATE stream has taken from its log.
pub async fn sourced_to(line: &Line, state: &str) -> Result<Position, SetupError> {
    let Some(info) = StreamInfo::get(line, state).await.map_err(explained)? else { return Ok(Position::START) };
    if info.state.messages == 0 {
        return Ok(Position::START);
    }
    let last = Message::get(line, state, Which::At(info.state.last_seq)).await.map_err(explained)?;
    Ok(last.and_then(|last| last.source_position()).unwrap_or_default())
}

fn fresh_epoch() -> Epoch {
    let (high, low) = Uuid::new_v4().as_u64_pair();
    Epoch((high ^ low).max(1))
}

async fn ensure(
    line: &Line,
    definition: &Definition,
    epoch: Option<&str>,
    first: Option<u64>,
) -> Result<StreamInfo, SetupError> {
    if let Some(info) = stands(line, definition).await? {
        return Ok(info);
    }
    let request = definition.to_request(epoch, first);
    match line.ask::<StreamInfo>(format!("STREAM.CREATE.{}", definition.name), request).await {
        Ok(info) => checked(definition, info),
        Err(AskError::Refused { code, .. }) if MADE_MEANWHILE.contains(&code) => stands(line, definition)
            .await?
            .ok_or_else(|| SetupError::Away(format!("stream {} comes and goes", definition.name))),
        Err(error) => Err(explained(error)),
    }
}

async fn stands(line: &Line, definition: &Definition) -> Result<Option<StreamInfo>, SetupError> {
    match StreamInfo::get(line, &definition.name).await.map_err(explained)? {
        Some(info) => checked(definition, info).map(Some),
        None => Ok(None),
    }
}

/// What the server says that a stream is, held against what it must be: also right after making it, for a server may
/// drop what it does not know.
fn checked(definition: &Definition, info: StreamInfo) -> Result<StreamInfo, SetupError> {
    let differences = definition.differences(&info.config);
    if differences.is_empty() {
        return Ok(info);
    }
    Err(SetupError::Wrong(format!(
        "stream {} is not as configured: {}; change the configuration, or the stream with `nats stream edit`",
        definition.name,
        differences.join(", ")
    )))
}

/// A refused request, for people.
fn explained(error: AskError) -> SetupError {
    match error {
        AskError::Refused { code, description } if NO_JETSTREAM.contains(&code) => SetupError::Wrong(format!(
            "NATS has no JetStream for this account: {description} ({code}); enable it for the account"
        )),
        // No leader, no servers enough: a cluster that is coming up, or one smaller than nats.replicas.
        AskError::Refused { code: 10_005 | 10_008, description } => SetupError::Away(format!(
            "{description}; if this lasts: are there as many servers as nats.replicas, and do they reach each other?"
        )),
        AskError::Refused { code, description } => {
            SetupError::Wrong(format!("JetStream refuses: {description} ({code}); see the server's log"))
        }
        AskError::Away(why) if why.contains("ermissions Violation") => {
            SetupError::Wrong(format!("{why}; give the node's user the permissions that nats/README.md lists"))
        }
        AskError::Away(why) if why.contains("uthorization Violation") => {
            SetupError::Wrong(format!("{why}; check nats.credentials"))
        }
        AskError::Away(why) => SetupError::Away(why),
    }
}
