//! What is looked at before a node stands on NATS: the server, JetStream, the streams. Makes what is missing, alters nothing.

use std::fmt;

use async_nats::ServerInfo;
use uuid::Uuid;

use super::{
    api::{Message, StreamInfo, Which},
    definition::{Definition, EPOCH, Shape},
    direct::{self, From},
    line::{AskError, Line},
    shard::WINDOW,
};
use crate::model::{Epoch, Position, Timestamp};

/// Servers before this drop settings that they do not know, silently.
const OLDEST_SERVER: (i64, i64, i64) = (2, 12, 7);
/// JetStream's codes for a stream that somebody else made at the same moment.
const MADE_MEANWHILE: [u64; 2] = [10_058, 10_065];
/// Its codes for an account or a system without JetStream.
const NO_JETSTREAM: [u64; 3] = [10_039, 10_076, 10_074];

/// Its codes for no leader and no servers enough: a cluster that is coming up, or one smaller than nats.replicas.
const UNAVAILABLE: [u64; 2] = [10_005, 10_008];
/// Its codes for limits that a stream's size does not fit into: the server's, the account's, the cluster's.
const NO_ROOM: [u64; 2] = [10_023, 10_047];

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
    /// Where it stood a dedupe window ago.
    pub settled: Position,
}

/// Something that is no reason to refuse.
pub type Warning = String;

/// Looks at the server itself.
pub fn check_server(line: &Line, needed_payload: usize) -> Result<Option<Warning>, SetupError> {
    let Some(server) = line.server().filter(|_| line.is_up()) else { return Err(unreached(line)) };
    match version_fault(&server.version).or_else(|| jetstream_fault(&server)) {
        Some(fault) => Err(SetupError::Wrong(fault.to_string())),
        None => Ok(payload_fault(&server, needed_payload).map(|fault| fault.to_string())),
    }
}

fn unreached(line: &Line) -> SetupError {
    let why = line.complaint().unwrap_or_else(|| "no connection to NATS yet".into());
    // Later on it may be a server that is being set up anew.
    match *line.connections().borrow() {
        0 => explained(AskError::Away(why)),
        _ => SetupError::Away(why),
    }
}

/// Something wrong, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub mend: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.mend)
    }
}

/// What is wrong with a server of this version, if anything is.
pub fn version_fault(version: &str) -> Option<Fault> {
    let (major, minor, patch) = OLDEST_SERVER;
    // A pre-release counts as what it becomes.
    let mut numbers = version.trim_start_matches('v').split(['-', '+']).next().unwrap_or_default().split('.');
    let mut number = || numbers.next().and_then(|number| number.parse::<i64>().ok());
    let read = number().zip(number()).zip(number()).map(|((major, minor), patch)| (major, minor, patch));
    let is_old = read.is_none_or(|read| read < OLDEST_SERVER);
    is_old.then(|| Fault {
        what: format!("nats-server is {version:?}, at least {major}.{minor}.{patch} is needed"),
        mend: "upgrade it".into(),
    })
}

/// What is wrong with a server that has no JetStream.
pub fn jetstream_fault(server: &ServerInfo) -> Option<Fault> {
    (!server.jetstream).then(|| Fault {
        what: "nats-server runs without JetStream".into(),
        mend: "add `jetstream { store_dir: ... }` to its configuration".into(),
    })
}

/// What is odd about a server that takes less than a client may send.
pub fn payload_fault(server: &ServerInfo, needed: usize) -> Option<Fault> {
    let is_small = server.max_payload < needed;
    is_small.then(|| Fault {
        what: format!(
            "the server's max_payload of {} bytes is smaller than limits.max_message_bytes and what goes with it \
             ({needed} bytes), so that larger messages are refused",
            server.max_payload
        ),
        mend: "raise max_payload in the server's configuration, or lower limits.max_message_bytes".into(),
    })
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
            let state = shape.names.state_stream(shard);
            let sourced = match StreamInfo::get(line, &state).await.map_err(explained)? {
                Some(info) => info.sourced_to(line, &state).await.map_err(explained)?,
                None => Position::START,
            };
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
    let end = Position(info.state.last_seq);
    Ok(LogStart { epoch, end, settled: settled(line, shape, shard, &info).await? })
}

/// Where a log stood a dedupe window ago, by the server's clock.
async fn settled(line: &Line, shape: &Shape, shard: u16, info: &StreamInfo) -> Result<Position, SetupError> {
    let now = info.ts.as_deref().and_then(Timestamp::parse);
    let Some(now) = now.filter(|_| info.state.messages > 0) else { return Ok(info.trimmed_to()) };
    let since = now.earlier_by(i64::try_from(WINDOW.as_millis()).unwrap_or(i64::MAX));
    let subjects = shape.names.log_subjects(shard);
    let stream = shape.names.log_stream(shard);
    let first = direct::get(line, &stream, From::Time(since), &subjects, (1, 1)).await.map_err(explained)?;
    if let Some(first) = first.messages.first() {
        return Ok(Position(first.seq - 1));
    }
    // A replica that is behind finds nothing either; the leader's last message tells.
    match Message::get(line, &stream, Which::At(info.state.last_seq)).await.map_err(explained)? {
        Some(last) if last.time >= since => Err(SetupError::Away(format!("a replica of {stream} is behind"))),
        _ => Ok(Position(info.state.last_seq)),
    }
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

/// A request that failed, for people.
pub fn explained(error: AskError) -> SetupError {
    match fault_in(&error) {
        Some(fault) => SetupError::Wrong(fault.to_string()),
        None => SetupError::Away(match error {
            AskError::Refused { description, .. } => format!(
                "{description}; if this lasts: are there as many servers as nats.replicas, and do they reach each other?"
            ),
            AskError::Away(why) => why,
        }),
    }
}

/// What is wrong when a request fails like this; `None` if it may work in a moment.
pub fn fault_in(error: &AskError) -> Option<Fault> {
    let (what, mend) = match error {
        AskError::Refused { code, description } if NO_JETSTREAM.contains(code) => {
            (format!("NATS has no JetStream for this account: {description} ({code})"), "enable it for the account")
        }
        AskError::Refused { code, .. } if UNAVAILABLE.contains(code) => return None,
        AskError::Refused { code, description } if NO_ROOM.contains(code) => (
            format!("JetStream has no room: {description} ({code})"),
            "raise max_file_store of the server or the account's limit, or lower log.retention_bytes",
        ),
        AskError::Refused { code, description } => {
            (format!("JetStream refuses: {description} ({code})"), "see the server's log")
        }
        AskError::Away(why) if why.contains("ermissions Violation") => {
            (why.clone(), "give the node's user the permissions that nats/README.md lists")
        }
        AskError::Away(why) if why.contains("uthorization violation") => {
            (format!("NATS does not let us in: {why}"), "check nats.credentials, or the user in nats.urls")
        }
        AskError::Away(_) => return None,
    };
    Some(Fault { what, mend: mend.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_taken_from_the_oldest_good_version_on() {
        for good in ["2.12.7", "2.12.10", "2.15.1", "3.0.0", "2.12.7-beta.1", "v2.15.0", "2.15.0+build"] {
            assert_eq!(version_fault(good), None, "{good}");
        }
        for old in ["2.12.6", "2.9.10", "1.99.99", "2.12", "", "unknown"] {
            let fault = version_fault(old).unwrap_or_else(|| panic!("{old} is too old"));
            assert!(fault.what.contains(old) && fault.what.contains("2.12.7") && fault.mend == "upgrade it", "{fault}");
        }
    }

    #[test]
    fn what_mends_itself_is_no_fault() {
        let refused = |code| AskError::Refused { code, description: "words".into() };
        let away = |why: &str| AskError::Away(why.into());
        for passing in [refused(10_008), away("no answer within 5s"), away("no connection to NATS")] {
            assert_eq!(fault_in(&passing), None, "{passing}");
        }
        for (lasting, mend) in [
            (refused(10_039), "enable it for the account"),
            (refused(10_047), "log.retention_bytes"),
            (refused(1), "see the server's log"),
            (away("NATS says: Permissions Violation for Publish to \"x\""), "nats/README.md"),
            (away("authorization violation"), "nats.credentials"),
        ] {
            assert!(fault_in(&lasting).is_some_and(|fault| fault.mend.contains(mend)), "{lasting}");
        }
    }
}
