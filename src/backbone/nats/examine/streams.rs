//! The streams: what stands, where it differs, who leads, who lags.

use std::time::{Duration, Instant, SystemTime};

use super::{
    super::{
        api::{Peer, StreamInfo},
        definition::{Definition, EPOCH},
    },
    Examiner, bytes, millis,
};
use crate::model::Epoch;

/// Records that STATE may be behind its log in passing.
const LAG: u64 = 1_000;
/// A leader hears of each copy once a second.
const SILENCE: Duration = Duration::from_millis(2_500);
/// A server takes 1,000 consumers a stream.
const CONSUMERS: u64 = 900;

impl Examiner {
    /// All streams of all shards, and our clock by the first answer.
    pub(super) async fn streams(&mut self) {
        for shard in 0..self.shape.names.shards() {
            let (log, state) = (Definition::log(&self.shape, shard), Definition::state(&self.shape, shard));
            let stands = self.stream(&log).await;
            if let Some(info) = &stands {
                self.epoch(&log.name, info);
            }
            if let Some(info) = self.stream(&state).await {
                self.follows(&log.name, &state.name, &info);
                if stands.is_none() && info.state.messages > 0 {
                    self.warn(
                        format!("{} is gone while {} stands", log.name, state.name),
                        "restore it, or let the node make a new log: entities stay, history is lost",
                    );
                }
            }
        }
        let kept = Definition::kept(&self.shape);
        self.stream(&kept).await;
    }

    async fn stream(&mut self, definition: &Definition) -> Option<StreamInfo> {
        let name = &definition.name;
        let (asked, began) = (SystemTime::now(), Instant::now());
        let info = match StreamInfo::get(&self.line, name).await {
            Ok(Some(info)) => info,
            Ok(None) => {
                self.fine(format!("{name} is not there yet: a node makes it when it starts"));
                return None;
            }
            Err(error) => {
                self.failed(name, &error);
                return None;
            }
        };
        if let Some(answered) = info.ts.as_deref().filter(|_| !std::mem::replace(&mut self.clock_is_known, true)) {
            self.clock(asked, began.elapsed(), answered);
        }
        let differences = definition.differences(&info.config);
        for difference in &differences {
            self.wrong(
                format!("{name}: {difference}"),
                format!("change the configuration, or the stream with `nats stream edit {name}`"),
            );
        }
        self.members(name, &info);
        if info.state.consumer_count > CONSUMERS {
            self.warn(
                format!("{name} has {} consumers, and a server takes 1,000", info.state.consumer_count),
                format!("see `nats consumer report {name}`: a node needs one, the rest is somebody else's"),
            );
        }
        if differences.is_empty() {
            self.fine(told(name, &info));
        }
        Some(info)
    }

    fn epoch(&mut self, name: &str, info: &StreamInfo) {
        let epoch = info.metadata(EPOCH).and_then(|epoch| epoch.parse::<Epoch>().ok());
        if epoch.is_none_or(|epoch| epoch == Epoch::UNKNOWN) {
            self.wrong(
                format!("{name} has no epoch in its metadata"),
                format!("`nats stream edit {name} --metadata {EPOCH}=` and 16 random hex digits, or delete the stream"),
            );
        }
    }

    /// Leader and copies.
    fn members(&mut self, name: &str, info: &StreamInfo) {
        let Some(cluster) = &info.cluster else { return };
        if cluster.leader.is_none() {
            self.wrong(format!("{name} has no leader"), "start the servers that are away: a majority must run");
        }
        for Peer { name: peer, current, active, offline } in cluster.replicas.iter().flatten() {
            let silence = Duration::from_nanos(*active);
            if *offline || silence > SILENCE {
                let what = format!("{name}: its copy on {peer} was last heard of {} ago", millis(silence));
                self.warn(what, format!("start {peer}, or see why the others do not reach it"));
            } else if !current {
                let mend = format!("wait; if it stays so, see the log of {peer}");
                self.warn(format!("{name}: its copy on {peer} is behind"), mend);
            }
        }
    }

    /// Whether STATE keeps up.
    fn follows(&mut self, log: &str, state: &str, info: &StreamInfo) {
        let source = info.sources.iter().flatten().find(|source| source.name == log);
        let Some(lag) = source.map(|source| source.lag).filter(|lag| *lag > LAG) else { return };
        self.warn(
            format!("{state} is {lag} records behind {log}"),
            "wait: after an election it stands still for some 20 s; if it stays so, see the server's log",
        );
    }
}

/// A stream as it is, in a line.
fn told(name: &str, info: &StreamInfo) -> String {
    let setting =
        |key: &str| info.config.get(key).and_then(serde_json::Value::as_i64).and_then(|n| u64::try_from(n).ok());
    let (messages, size) = (info.state.messages, bytes(info.state.bytes));
    let most = setting("max_bytes").filter(|most| *most > 0).map(|most| format!(" of {}", bytes(most)));
    let epoch = info.metadata(EPOCH).map(|epoch| format!(", epoch {epoch}"));
    let consumers = match info.state.consumer_count {
        0 => None,
        1 => Some(", 1 consumer".to_owned()),
        more => Some(format!(", {more} consumers")),
    };
    let led = info.cluster.as_ref().and_then(|cluster| {
        let copies = cluster.replicas.as_ref().map_or(0, Vec::len);
        let leader = cluster.leader.as_ref()?;
        (copies > 0).then(|| format!(", led by {leader} with {copies} more copies"))
    });
    let parts = [most, epoch, consumers, led].map(Option::unwrap_or_default).concat();
    format!("{name} is as configured: {messages} records, {size}{parts}")
}
