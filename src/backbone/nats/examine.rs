//! A look at NATS as a node would find it, for people: servers, account, streams, permissions, clock.
//!
//! Owns: what is looked at and in which order. What is right and wrong is said where the node itself asks: `setup`,
//! `definition`. Changes nothing: a consumer that is made to see whether it may be is deleted again, and publishes carry a
//! condition that never holds.

mod permissions;
mod streams;

use std::{
    collections::BTreeMap,
    time::{Duration, Instant, SystemTime},
};

use async_nats::{ServerAddr, ServerInfo};
use futures_util::{StreamExt, future::join_all};
use tokio::{
    net::TcpStream,
    time::{sleep, timeout},
};

use super::{
    NatsConfig,
    api::AccountInfo,
    definition::Shape,
    line::{AskError, Line, Target},
    setup::{self, Fault},
    shared::OVERHEAD,
};
use crate::{
    backbone::Channel,
    config::without_credentials,
    model::finding::{Finding, Verdict},
};

/// How long a server may take to let us in.
const CONNECT: Duration = Duration::from_secs(4);
/// How often is looked whether it did.
const LOOK: Duration = Duration::from_millis(5);
/// How long a signal may take to come back.
const ROUND_TRIP: Duration = Duration::from_secs(2);
/// Round trips that the figure is the median of.
const TRIPS: usize = 9;
/// Clocks may differ by so much.
const CLOCKS: Duration = Duration::from_secs(1);
/// An account that is fuller than this, in percent, is told of.
const FULL: u64 = 90;

const NATS: &str = "nats";

/// An examination under way.
struct Examiner {
    line: Line,
    config: NatsConfig,
    shape: Shape,
    /// Servers that are known of.
    servers: usize,
    /// Whether they are a cluster.
    clustered: bool,
    clock_is_known: bool,
    findings: Vec<Finding>,
}

/// Looks at everything that a node needs of NATS, as the user that the configuration names. Takes milliseconds where all
/// is well, seconds where a server does not answer.
pub async fn examine(config: &NatsConfig) -> Vec<Finding> {
    let looks = join_all(config.urls.iter().map(|url| look(config, url))).await;
    let is_any = looks.iter().any(|look| look.server.is_ok());
    let mut findings: Vec<_> = looks.iter().map(|look| look.finding(is_any)).collect();
    let servers: BTreeMap<_, _> =
        looks.iter().filter_map(|look| Some((look.name(), look.server.as_ref().ok()?))).collect();
    for (name, server) in &servers {
        findings.extend(faults_of(name, server, config.largest_body + OVERHEAD));
    }
    if !is_any || findings.iter().any(|finding| finding.verdict == Verdict::Wrong) {
        return findings;
    }
    let known = servers.values().map(|server| server.connect_urls.len()).max().unwrap_or_default();
    let line = match connected(config.target()).await {
        Ok(line) => line,
        Err(why) => {
            findings.push(Finding::wrong(NATS, why, "run this again: a server that was there a moment ago is gone"));
            return findings;
        }
    };
    let mut examiner = Examiner {
        line,
        shape: config.shape(),
        config: config.clone(),
        servers: servers.len().max(known),
        clustered: servers.values().any(|server| server.cluster.is_some()),
        clock_is_known: false,
        findings,
    };
    if examiner.account().await {
        examiner.round_trip().await;
        examiner.streams().await;
        examiner.permissions().await;
    }
    examiner.findings
}

/// What one URL led to.
struct Look {
    url: String,
    server: Result<ServerInfo, String>,
    took: Duration,
}

async fn look(config: &NatsConfig, url: &str) -> Look {
    let began = Instant::now();
    let line = connected(Target { urls: vec![url.to_owned()], ..config.target() }).await;
    let mut server = line.and_then(|line| line.server().ok_or_else(|| "the server says nothing of itself".to_owned()));
    if let Err(why) = &mut server
        && let Some(cause) = cause(url).await
    {
        *why = cause;
    }
    Look { url: without_credentials(url), server, took: began.elapsed() }
}

/// Why not even a socket can be opened, which the client does not tell; `None` if one can.
async fn cause(url: &str) -> Option<String> {
    let address: ServerAddr = url.parse().ok()?;
    match timeout(CONNECT, TcpStream::connect((address.host(), address.port()))).await {
        Ok(Ok(_)) => None,
        Ok(Err(error)) => Some(error.to_string()),
        Err(_) => Some(format!("nobody answers within {CONNECT:?}")),
    }
}

/// A line that stands.
async fn connected(target: Target) -> Result<Line, String> {
    let line = Line::open(&target).await.map_err(|error| error.to_string())?;
    let stands = async {
        while !line.is_up() {
            if let Some(complaint) = line.complaint() {
                return Err(complaint);
            }
            sleep(LOOK).await;
        }
        Ok(())
    };
    match timeout(CONNECT, stands).await {
        Ok(Ok(())) => Ok(line),
        Ok(Err(complaint)) => Err(complaint),
        Err(_) => Err(format!("no answer within {CONNECT:?}")),
    }
}

impl Look {
    /// What the server is called; its address if nobody gave it a name.
    fn name(&self) -> &str {
        match &self.server {
            Ok(server) if server.server_name != server.server_id => &server.server_name,
            _ => &self.url,
        }
    }

    fn finding(&self, is_any_reached: bool) -> Finding {
        let url = &self.url;
        let why = match &self.server {
            Ok(server) => {
                let cluster = server.cluster.as_ref().map(|name| format!(" of cluster {name}")).unwrap_or_default();
                let tls = if server.tls_required { ", TLS" } else { "" };
                let (version, took) = (&server.version, millis(self.took));
                let name = if self.name() == url { String::new() } else { format!(" {}{cluster}", self.name()) };
                return Finding::fine(NATS, format!("{url} is nats-server {version}{name}{tls}, reached in {took}"));
            }
            Err(why) => why,
        };
        let mend = match why.to_lowercase() {
            why if why.contains("authorization") || why.contains("nonce") || why.contains("nats.credentials") => {
                "check nats.credentials, or the user in nats.urls"
            }
            why if why.contains("tls") || why.contains("certificate") => {
                "check nats.tls, nats.tls_ca, nats.tls_certificate and nats.tls_key"
            }
            _ => "start nats-server there, or mend nats.urls",
        };
        if is_any_reached {
            return Finding::warning(NATS, format!("{url} cannot be reached, others can: {why}"), mend);
        }
        Finding::wrong(NATS, format!("{url} cannot be reached: {why}"), mend)
    }
}

/// What is wrong with a server by what it says of itself.
fn faults_of(name: &str, server: &ServerInfo, payload: usize) -> Vec<Finding> {
    let wrong = |fault: Fault| Finding::wrong(NATS, format!("{name}: {}", fault.what), fault.mend);
    let small = setup::payload_fault(server, payload);
    let faults = [setup::version_fault(&server.version), setup::jetstream_fault(server)];
    let mut findings: Vec<_> = faults.into_iter().flatten().map(wrong).collect();
    match small {
        Some(fault) => findings.push(Finding::warning(NATS, format!("{name}: {}", fault.what), fault.mend)),
        None if findings.is_empty() => {
            let most = server.max_payload;
            findings
                .push(Finding::fine(NATS, format!("{name} has JetStream and takes messages of up to {most} bytes")));
        }
        None => {}
    }
    findings
}

impl Examiner {
    fn fine(&mut self, what: impl Into<String>) {
        self.findings.push(Finding::fine(NATS, what));
    }

    fn warn(&mut self, what: impl Into<String>, mend: impl Into<String>) {
        self.findings.push(Finding::warning(NATS, what, mend));
    }

    fn wrong(&mut self, what: impl Into<String>, mend: impl Into<String>) {
        self.findings.push(Finding::wrong(NATS, what, mend));
    }

    /// A request that failed.
    fn failed(&mut self, asked: &str, error: &AskError) {
        match setup::fault_in(error) {
            Some(fault) => self.wrong(format!("{asked}: {}", fault.what), fault.mend),
            None => {
                self.wrong(format!("{asked}: {error}"), "see the server's log, and whether the cluster has a majority")
            }
        }
    }

    /// The account, and whether the cluster is as large as it must be. Says whether there is anything more to look at.
    async fn account(&mut self) -> bool {
        let account = match self.line.ask::<AccountInfo>("INFO".into(), Vec::new()).await {
            Ok(account) => account,
            Err(error) => {
                self.failed("the account", &error);
                // What is forbidden here may be allowed elsewhere, and the rest should be told as well.
                return permissions::is_forbidden(&error);
            }
        };
        let (streams, used) = (account.streams, account.storage);
        match u64::try_from(account.limits.max_storage).ok().filter(|most| *most > 0) {
            Some(most) if used >= most / 100 * FULL => self.warn(
                format!("the account uses {} of {} on disk", bytes(used), bytes(most)),
                "raise the account's limit, or lower log.retention_bytes and log.retention_age",
            ),
            Some(most) => self.fine(format!(
                "the account has {streams} streams and uses {} of {} on disk",
                bytes(used),
                bytes(most)
            )),
            None => self
                .fine(format!("the account has {streams} streams and uses {} on disk, without a limit", bytes(used))),
        }
        self.size_of_cluster();
        true
    }

    fn size_of_cluster(&mut self) {
        let (replicas, servers) = (usize::from(self.config.replicas), self.servers);
        match replicas {
            1 if self.clustered => self.warn(
                "nats.replicas is 1 in a cluster: with the one server that holds a stream the log is gone",
                "set nats.replicas = 3 before the streams are made",
            ),
            1 => self.fine("one server, one copy of each stream (nats.replicas = 1)"),
            _ if !self.clustered => self.wrong(
                format!("nats.replicas is {replicas} and the server is in no cluster"),
                "set nats.replicas = 1, or build a cluster",
            ),
            _ if servers < replicas => self.warn(
                format!("nats.replicas is {replicas} and {servers} servers of the cluster are known"),
                "name all servers in nats.urls; there must be at least as many as copies",
            ),
            _ => self.fine(format!("{servers} servers of the cluster are known for {replicas} copies of each stream")),
        }
    }

    /// A signal there and back, several times.
    async fn round_trip(&mut self) {
        let room = format!("doctor-{:08x}", fastrand::u32(..)).parse().expect("a plain word is a tenant id");
        let subject = self.shape.names.channel(&Channel::Room(room));
        match self.trips(&subject).await {
            Ok(took) => self.fine(format!("a signal on {subject} comes back in {} (median of {TRIPS})", millis(took))),
            Err(why) => {
                let error = AskError::Away(why);
                let mend = setup::fault_in(&error).map(|fault| fault.mend);
                self.wrong(
                    format!("a signal on {subject} does not come back: {error}"),
                    mend.unwrap_or_else(|| "see the server's log".into()),
                );
            }
        }
    }

    async fn trips(&self, subject: &str) -> Result<Duration, String> {
        let client = self.line.client();
        // Of the subscription and of the publish: both are quoted like this.
        let forbidden = self.line.forbids(subject);
        let trips = async {
            let mut back = client.subscribe(subject.to_owned()).await.map_err(|error| error.to_string())?;
            let mut times = Vec::new();
            for _ in 0..TRIPS {
                let began = Instant::now();
                client.publish(subject.to_owned(), "doctor".into()).await.map_err(|error| error.to_string())?;
                match timeout(ROUND_TRIP, back.next()).await {
                    Ok(Some(_)) => times.push(began.elapsed()),
                    _ => return Err(format!("nothing within {ROUND_TRIP:?}")),
                }
            }
            times.sort();
            Ok(times[TRIPS / 2])
        };
        tokio::select! {
            took = trips => took,
            why = forbidden => Err(why),
        }
    }

    /// Holds our clock against the server's, by an answer that says when it was given.
    fn clock(&mut self, asked: SystemTime, took: Duration, answered: &str) {
        let Ok(theirs) = answered.parse::<jiff::Timestamp>() else { return };
        let ours = asked + took / 2;
        let theirs = SystemTime::from(theirs);
        let (differ, which) = match theirs.duration_since(ours) {
            Ok(ahead) => (ahead, "ahead of"),
            Err(behind) => (behind.duration(), "behind"),
        };
        let says = format!("the server's clock is {} {which} ours (± {})", millis(differ), millis(took / 2));
        if differ > CLOCKS + took / 2 {
            self.warn(says, "let NTP (chrony, systemd-timesyncd) set the clocks of both machines");
        } else {
            self.fine(says);
        }
    }
}

/// For people.
fn millis(time: Duration) -> String {
    let millis = time.as_secs_f64() * 1e3;
    if millis < 1_000.0 { format!("{millis:.1} ms") } else { format!("{:.1} s", millis / 1e3) }
}

/// For people.
fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["bytes", "KiB", "MiB", "GiB", "TiB"];
    let (mut value, mut unit) = (count as f64, 0);
    while value >= 1_024.0 && unit + 1 < UNITS.len() {
        (value, unit) = (value / 1_024.0, unit + 1);
    }
    if unit == 0 { format!("{count} bytes") } else { format!("{value:.1} {}", UNITS[unit]) }
}
