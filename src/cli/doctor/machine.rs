//! What a node needs of this machine: settings, a directory, a port.

use std::{
    fs::{self, File},
    io::{self, ErrorKind, Write as _},
    net::{SocketAddr, ToSocketAddrs as _},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use serde_json::Value;
use tokio::{task::spawn_blocking, time::timeout};

use super::{super::page, CONFIGURATION};
use crate::{
    auth::hook::Hook,
    backbone::embedded,
    config::{AuthMode, BackboneKind, Config, Loaded, Server, without_credentials},
    http::{Certificate, server},
    journal::{self, Look},
    model::finding::Finding,
};

const DATA: &str = "data directory";
const PORT: &str = "port";
const TLS: &str = "TLS";
const RULES: &str = "rules";
const LOG: &str = "log";
const JOURNAL: &str = "journal";

/// Less free space than this is none, bytes.
const NO_SPACE: u64 = 64 << 20;
/// A slower flush is told of.
const SLOW: Duration = Duration::from_millis(20);
/// Flushes that the figure is the median of.
const FLUSHES: usize = 5;
/// What one flush writes, bytes.
const BLOCK: usize = 4096;
/// How long a node may take to say how it is.
const ANSWER: Duration = Duration::from_secs(2);

/// Where settings come from, and those that are odd.
pub fn configuration(loaded: &Loaded) -> Vec<Finding> {
    let config = &loaded.config;
    let sources: Vec<_> = loaded.sources().iter().map(ToString::to_string).collect();
    let mut findings = vec![Finding::fine(CONFIGURATION, format!("good, from {}", sources.join(", ")))];
    let mut warn = |what: String, mend: &str| findings.push(Finding::warning(CONFIGURATION, what, mend));
    if config.auth.mode == AuthMode::None && config.auth.allow_remote_none {
        warn(
            format!(
                "auth.mode is none and auth.allow_remote_none is set: who reaches {} is let in",
                config.server.host
            ),
            "set another auth.mode, or see to it that the network keeps strangers out",
        );
    }
    if config.limits.messages_per_minute == 0 {
        warn("limits.messages_per_minute is 0: one client may take all there is".into(), "set a limit");
    }
    if config.log.retention_age.is_zero() && config.log.retention_bytes == 0 {
        warn(
            "log.retention_age and log.retention_bytes set no bound: the log grows for ever".into(),
            "set one of them",
        );
    }
    let is_open = |url: &String| url.starts_with("nats://") && !names_this_machine(url);
    if config.backbone.kind == BackboneKind::Nats && !config.nats.tls && config.nats.urls.iter().any(is_open) {
        warn("nats.urls name another machine, and nats.tls does not ask for TLS".into(), "set nats.tls = true");
    }
    findings
}

fn names_this_machine(url: &str) -> bool {
    let host = url.rsplit(['@', '/']).next().unwrap_or_default();
    ["127.", "localhost", "[::1]"].iter().any(|here| host.starts_with(here))
}

/// Whether the node may write there, how much fits, and how long a flush takes.
pub fn data_dir(config: &Config) -> Vec<Finding> {
    let dir = &config.data_dir;
    let (place, missing) = nearest(dir);
    let flush = match probe(&place) {
        Ok(flush) => flush,
        Err(error) => {
            let what = format!("{} cannot be written: {error}", place.display());
            return vec![Finding::wrong(DATA, what, "let the node's user write there, or set data_dir")];
        }
    };
    let stands = if missing { "is not there yet and can be made" } else { "can be written" };
    let told = format!("{} {stands}, a flush takes {:.1} ms", dir.display(), flush.as_secs_f64() * 1e3);
    let mut findings = vec![if flush > SLOW {
        Finding::warning(DATA, told, "a faster disk: each group of publishes waits for a flush")
    } else {
        Finding::fine(DATA, told)
    }];
    findings.push(space(&place, config));
    findings
}

/// The directory, or the nearest one above it that is there.
fn nearest(dir: &Path) -> (PathBuf, bool) {
    let here = |path: &&Path| path.exists() || path.as_os_str().is_empty();
    let found = dir.ancestors().find(here).unwrap_or(Path::new("/"));
    let found = if found.as_os_str().is_empty() { Path::new(".") } else { found };
    (found.to_owned(), found != dir)
}

/// Writes and flushes a file of its own, and removes it. The median of several flushes.
fn probe(dir: &Path) -> io::Result<Duration> {
    let path = dir.join(format!(".continuum-doctor-{}", std::process::id()));
    let times = (|| {
        let mut file = File::options().write(true).create_new(true).open(&path)?;
        let mut times = Vec::new();
        for _ in 0..FLUSHES {
            file.write_all(&[0; BLOCK])?;
            let began = Instant::now();
            file.sync_data()?;
            times.push(began.elapsed());
        }
        times.sort();
        Ok(times)
    })();
    match (times, fs::remove_file(&path)) {
        (Ok(times), Ok(())) => Ok(times[FLUSHES / 2]),
        (Err(error), _) | (Ok(_), Err(error)) => Err(error),
    }
}

fn space(place: &Path, config: &Config) -> Finding {
    let free = match rustix::fs::statvfs(place) {
        Ok(disk) => disk.f_bavail.saturating_mul(disk.f_frsize),
        Err(error) => return Finding::warning(DATA, format!("its free space is not known: {error}"), "see `df`"),
    };
    let (key, most) = match config.backbone.kind {
        BackboneKind::Embedded => ("log.retention_bytes", config.log.retention_bytes),
        BackboneKind::Nats => ("journal.max_bytes", config.journal.max_bytes),
    };
    let told = format!("{} MiB are free", free >> 20);
    if free < NO_SPACE {
        return Finding::wrong(DATA, told, "make room, or set data_dir to a larger disk");
    }
    if free < most {
        let what = format!("{told}, and {key} allows {} MiB", most >> 20);
        return Finding::warning(DATA, what, format!("lower {key}, or make room for what is not there yet"));
    }
    Finding::fine(DATA, told)
}

/// Whether the node could listen; who answers if it could not.
pub async fn port(settings: &Server) -> Finding {
    let Server { host, port, backlog, .. } = settings;
    let backlog = *backlog;
    match server::bind(host, *port, backlog) {
        Ok(_) if *port == 0 => Finding::fine(PORT, format!("any free one on {host}")),
        Ok(_) => Finding::fine(PORT, format!("{host}:{port} is free")),
        Err(error) if error.kind() == ErrorKind::AddrInUse => taken(host, *port).await,
        Err(error) => Finding::wrong(PORT, error.to_string(), "mend server.host and server.port"),
    }
}

/// Whether the node could serve under TLS, if it shall.
pub fn certificate(settings: &Server) -> Option<Finding> {
    match Certificate::load(settings) {
        Ok(None) => None,
        Ok(Some(_)) => {
            Some(Finding::fine(TLS, "server.tls_certificate and server.tls_key can be read and go together"))
        }
        Err(error) => Some(Finding::wrong(TLS, error.to_string(), "put a PEM certificate and its key there")),
    }
}

/// Whether the owner's rules answer; `None` where there are none.
pub async fn rules(config: &Config) -> Option<Finding> {
    let url = without_credentials(&config.auth.hook.url);
    let hook = match Hook::open(&config.auth.hook) {
        Ok(hook) => hook?,
        Err(error) => return Some(Finding::wrong(RULES, error, "set auth.hook.url and auth.hook.key")),
    };
    let answered = spawn_blocking(move || hook.examine()).await.unwrap_or_else(|error| Err(error.to_string()));
    Some(match answered {
        Ok(()) => Finding::fine(RULES, format!("{url} answers")),
        Err(error) => Finding::wrong(
            RULES,
            format!("{url} does not answer as it should: {error}"),
            "start the service, or set auth.hook.url = \"\"",
        ),
    })
}

async fn taken(host: &str, port: u16) -> Finding {
    let at = format!("{host}:{port}");
    let stranger = || {
        Finding::wrong(
            PORT,
            format!("{at} is taken, and no node answers there"),
            "end what listens there, or set server.port",
        )
    };
    let Some(address) = (host, port).to_socket_addrs().ok().and_then(|mut all| all.next()).map(reachable) else {
        return stranger();
    };
    let Ok(Ok(page)) = timeout(ANSWER, page::get(address, "/readyz")).await else { return stranger() };
    let answer: Value = serde_json::from_str(&page.body).unwrap_or_default();
    match (page.status, answer["status"].as_str()) {
        // What a node under TLS tells somebody who comes without.
        (426, _) if answer["code"] == "upgrade_required" => {
            Finding::fine(PORT, format!("a node answers at {at}, under TLS"))
        }
        (200, Some("ready")) => Finding::fine(PORT, format!("a node answers at {at}: it is ready")),
        (200 | 503, Some(status)) => {
            let why = answer["reason"].as_str().map(|reason| format!(" ({reason})")).unwrap_or_default();
            Finding::warning(PORT, format!("a node answers at {at}: it is {status}{why}"), "see its log")
        }
        _ => stranger(),
    }
}

/// Where to ask somebody who listens on all addresses.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        match address {
            SocketAddr::V4(_) => address.set_ip(std::net::Ipv4Addr::LOCALHOST.into()),
            SocketAddr::V6(_) => address.set_ip(std::net::Ipv6Addr::LOCALHOST.into()),
        }
    }
    address
}

/// The embedded log, or the journal in front of another.
pub async fn log(config: &Config) -> Finding {
    match config.backbone.kind {
        BackboneKind::Embedded => embedded_log(&config.data_dir),
        BackboneKind::Nats => journal_in(&config.data_dir.join("journal")).await,
    }
}

fn embedded_log(dir: &Path) -> Finding {
    if !dir.join("log").exists() {
        return Finding::fine(LOG, "there is none yet: a node makes it when it starts");
    }
    match embedded::is_in_use(dir) {
        Ok(true) => Finding::fine(LOG, format!("a node has the log in {} open", dir.display())),
        Ok(false) => Finding::fine(LOG, format!("there is one in {}, and no node has it open", dir.display())),
        Err(error) => Finding::wrong(
            LOG,
            format!("the log in {} cannot be opened: {error}", dir.display()),
            "give it to the node's user (chown)",
        ),
    }
}

async fn journal_in(dir: &Path) -> Finding {
    let figures = match journal::look(dir).await {
        Ok(Look::Nothing) => return Finding::fine(JOURNAL, "there is none yet: a node makes it when it starts"),
        Ok(Look::InUse) => {
            let what = format!("a node has the journal in {} open: its /metrics say what waits", dir.display());
            return Finding::fine(JOURNAL, what);
        }
        Ok(Look::TooLarge(bytes)) => {
            let what = format!("{} MiB in {}: too large to look into", bytes >> 20, dir.display());
            return Finding::warning(JOURNAL, what, "start the node: it brings what waits to the log");
        }
        Ok(Look::Holds(figures)) => figures,
        Err(error) => {
            let mend = "see that the node's user owns it; if it is damaged, keep a copy and move it away";
            return Finding::wrong(JOURNAL, error.to_string(), mend);
        }
    };
    let dead = match figures.dead {
        0 => String::new(),
        dead => format!(", {dead} were refused for good"),
    };
    match (figures.entries, figures.oldest) {
        (0, _) if figures.dead == 0 => Finding::fine(JOURNAL, "nothing waits"),
        (entries, oldest) => {
            let since = oldest.map(|oldest| format!(", the oldest since {oldest}")).unwrap_or_default();
            let waits = if entries == 1 { "publish waits" } else { "publishes wait" };
            let what = format!("{entries} {waits} for the log{since}{dead}");
            Finding::warning(JOURNAL, what, "start the node: it brings what waits to the log")
        }
    }
}
