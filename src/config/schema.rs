//! The configuration as typed values. Owns: the names, types and units of the keys. Must not know: where values come from.
//!
//! `config/default.toml` says what each key does and what zero means; field and key have the same name and order.

use std::{fmt, path::PathBuf, time::Duration};

use serde::Deserialize;

use super::secret;

/// Everything that can be set. Made by [`Config::load`] only, so a value of this type has passed every check.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where the embedded log lives.
    pub data_dir: PathBuf,
    /// The listening side.
    pub server: Server,
    /// Which log the node stands on.
    pub backbone: BackboneChoice,
    /// The cluster, for [`BackboneKind::Nats`].
    pub nats: Nats,
    /// How clients prove who they are.
    pub auth: Auth,
    /// Liveness of connections.
    pub heartbeat: Heartbeat,
    /// The embedded log.
    pub log: Log,
    /// What waits for a log that is out of reach.
    pub journal: Journal,
    /// The rooms.
    pub rooms: Rooms,
    /// What clients may do and take.
    pub limits: Limits,
    /// How chaos spreads.
    pub chaos: Chaos,
    /// How the node stops.
    pub drain: Drain,
    /// What is logged and how.
    pub logging: Logging,
    /// What is told of single deliveries.
    pub telemetry: Telemetry,
}

/// `[server]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Server {
    /// IP address or host name to listen on.
    pub host: String,
    /// TCP port; 0 takes any free one.
    pub port: u16,
    /// Threads that serve connections; 0 is one per core.
    pub workers: usize,
    /// Connections that may wait to be accepted.
    pub backlog: u32,
    /// Browser origins that may connect; empty lets any in.
    pub allowed_origins: Vec<String>,
    /// The node's certificate and those above it; empty serves without TLS.
    pub tls_certificate: PathBuf,
    /// Its key.
    pub tls_key: PathBuf,
    /// Time for the TLS handshake, and as much for the request and the upgrade.
    #[serde(with = "humantime_serde")]
    pub handshake_timeout: Duration,
    /// Time for a request's body.
    #[serde(with = "humantime_serde")]
    pub body_timeout: Duration,
    /// SO_SNDBUF in bytes; 0 leaves it to the system.
    pub send_buffer: usize,
}

/// `[backbone]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackboneChoice {
    /// Which one.
    pub kind: BackboneKind,
}

/// The logs that a node can stand on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BackboneKind {
    /// Files in `data_dir`.
    Embedded,
    /// A JetStream cluster.
    Nats,
}

/// `[nats]`
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nats {
    /// The cluster's servers; may hold credentials.
    pub urls: Vec<String>,
    /// A credentials file; empty is none.
    pub credentials: PathBuf,
    /// Whether a server without TLS is refused.
    pub tls: bool,
    /// Certificates to trust; empty is none but the system's.
    pub tls_ca: PathBuf,
    /// The node's own certificate; empty is none.
    pub tls_certificate: PathBuf,
    /// Its key.
    pub tls_key: PathBuf,
    /// What all subjects begin with.
    pub prefix: String,
    /// Logs that the tenants are spread over; at least 1.
    pub shards: u16,
    /// Copies of each stream: 1, 3 or 5.
    pub replicas: u16,
    /// Records on their way at a time; at least 1.
    pub window: usize,
}

// By hand, so that a logged configuration does not give the credentials away.
impl fmt::Debug for Nats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let urls: Vec<_> = self.urls.iter().map(|url| secret::without_credentials(url)).collect();
        f.debug_struct("Nats").field("urls", &urls).field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

/// `[auth]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Auth {
    /// How clients prove who they are.
    pub mode: AuthMode,
    /// Whether [`AuthMode::None`] may listen beyond loopback.
    pub allow_remote_none: bool,
    /// The file that says who may issue tokens; empty is none.
    pub issuers: PathBuf,
    /// The file with the key that may administer everything; empty is none.
    pub admin_key: PathBuf,
    /// How long a connection that brought no token may take to send one.
    #[serde(with = "humantime_serde")]
    pub first_message: Duration,
    /// The owner's own rules.
    pub hook: Hook,
}

/// `[auth.hook]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hook {
    /// Where they are asked; empty is nowhere.
    pub url: String,
    /// The file with what proves to them that it is the node who asks; empty is none.
    pub key: PathBuf,
    /// How long a message or a request may wait for them; above zero.
    #[serde(with = "humantime_serde")]
    pub deadline: Duration,
    /// How long an answer holds that does not say so itself; zero asks each time.
    #[serde(with = "humantime_serde")]
    pub remember: Duration,
    /// What holds while there is no answer.
    pub when_down: WhenDown,
    /// Requests to them at a time; at least 1.
    pub requests: usize,
}

/// What holds while the owner's rules cannot be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WhenDown {
    /// Nobody does what they were not asked about.
    Refuse,
    /// The grant alone.
    Admit,
}

/// The ways to prove who one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AuthMode {
    /// Clients are who they say they are.
    None,
    /// Clients show a token or an API key.
    Token,
}

/// `[heartbeat]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Heartbeat {
    /// Between two heartbeats; above zero.
    #[serde(with = "humantime_serde")]
    pub interval: Duration,
    /// Silence after which a connection is closed; longer than `interval`.
    #[serde(with = "humantime_serde")]
    pub timeout: Duration,
}

/// `[log]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    /// How long a record is kept; zero is forever.
    #[serde(with = "humantime_serde")]
    pub retention_age: Duration,
    /// How many bytes of records are kept; 0 sets no bound.
    pub retention_bytes: u64,
    /// Between two looks for records to drop; above zero.
    #[serde(with = "humantime_serde")]
    pub sweep_interval: Duration,
    /// Most records in one flush; at least 1.
    pub commit_records: usize,
    /// Most bytes in one flush, except for one larger record; at least 1.
    pub commit_bytes: usize,
    /// Appends that may wait; at least 1.
    pub queue_appends: usize,
    /// Bytes that may wait in one feed; at least 1.
    pub feed_bytes: usize,
}

/// `[journal]`, for [`BackboneKind::Nats`]
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Journal {
    /// Greatest number of bytes that wait on disk; at least 1 MiB.
    pub max_bytes: u64,
}

/// `[rooms]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rooms {
    /// Threads that the rooms run on; at least 1.
    pub threads: usize,
    /// How long an empty room stays in memory; zero lets it go at once.
    #[serde(with = "humantime_serde")]
    pub idle_timeout: Duration,
    /// Bytes of the newest records kept in memory, per room; at least 1.
    pub ring_bytes: usize,
    /// Most members whose coming and going is announced one by one; 0 always sums up.
    pub announce_limit: usize,
    /// Between two writes of moved cursors; above zero.
    #[serde(with = "humantime_serde")]
    pub cursor_flush: Duration,
    /// How long records of a large room may wait for others under way; zero never waits.
    #[serde(with = "humantime_serde")]
    pub gather: Duration,
    /// Bytes that one read of the log brings; at least 1.
    pub page_bytes: usize,
    /// Bytes of entities remembered for their next change, per room; at least 1.
    pub entity_bytes: usize,
    /// Distinct forms of records per room and thread; at least 1.
    pub variants: usize,
    /// Nodes and edges that a room keeps for regions; at least 1.
    pub graph_entities: usize,
}

/// `[limits]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Largest message in bytes; at least 1.
    pub max_message_bytes: usize,
    /// Smallest message that is compressed for a connection that asked for it, in bytes; at least 1.
    pub compress_bytes: usize,
    /// Deepest nesting of JSON; 1 to 120.
    pub json_depth: usize,
    /// Publishes per minute and connection; 0 is unlimited.
    pub messages_per_minute: u32,
    /// Publishes of one tenant per minute, on all nodes and all ways; 0 is unlimited.
    pub tenant_messages_per_minute: u32,
    /// Publishes of one user over HTTP per minute, on this node; 0 is unlimited.
    pub http_messages_per_minute: u32,
    /// Requests of one user over HTTP per minute, on this node; 0 is unlimited.
    pub requests_per_minute: u32,
    /// Requests of one tenant over HTTP per minute, on this node; 0 is unlimited.
    pub tenant_requests_per_minute: u32,
    /// Other messages per minute and connection; at least 1.
    pub control_per_minute: u32,
    /// Signals per minute and connection; at least 1.
    pub signals_per_minute: u32,
    /// Largest content of a signal in bytes; at least 1.
    pub signal_bytes: usize,
    /// Refusals for going too fast that close the connection; at least 1.
    pub refusals_before_close: u32,
    /// Invalid messages in a row that close the connection; at least 1.
    pub invalid_in_a_row: u32,
    /// Publishes of one connection that may wait for their ack; at least 1.
    pub publishes_in_flight: usize,
    /// Connections of one user of a tenant on all nodes; 0 is unlimited.
    pub connections_per_user: u32,
    /// Connections of one tenant on all nodes; at least 1.
    pub connections_per_tenant: u32,
    /// Connections on this node; at least 1.
    pub connections_per_node: usize,
    /// Sockets of which is not known whose they are; at least 1.
    pub strangers_per_node: usize,
    /// Bytes that may wait for a slow connection; at least 1.
    pub outbox_bytes: usize,
    /// How long a connection with waiting bytes may take none; above zero.
    #[serde(with = "humantime_serde")]
    pub stall_timeout: Duration,
    /// Largest HTTP body in bytes; at least 1.
    pub http_body_bytes: usize,
    /// Largest file of an import in bytes; at least 1.
    pub import_bytes: u64,
    /// Memory for what an import remembers, in bytes; at least 1.
    pub import_memory_bytes: usize,
    /// Events in one HTTP request; at least 1.
    pub events_per_request: usize,
    /// Subscriptions to parts of the state, of one connection; at least 1.
    pub subscriptions_per_connection: usize,
    /// The same of all members of one room on this node; at least 1.
    pub subscriptions_per_room: u32,
    /// Entities in one subscription's result; at least 1.
    pub subscription_entities: usize,
    /// API keys of one tenant that hold; at least 1.
    pub keys_per_tenant: u32,
}

/// `[chaos]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Chaos {
    /// Whether triggers are taken and passed on.
    pub enabled: bool,
    /// Waves of one trigger; 1 to 8.
    pub hops: u8,
}

/// `[drain]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Drain {
    /// How long a stopping node waits for its connections; zero does not wait.
    #[serde(with = "humantime_serde")]
    pub timeout: Duration,
    /// Greatest random delay that clients are told to come back after; at most `timeout`.
    #[serde(with = "humantime_serde")]
    pub spread: Duration,
}

/// `[logging]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Logging {
    /// A level or env-filter directives; has been parsed once, so it parses.
    pub level: String,
    /// For whom.
    pub format: LogFormat,
}

/// `[telemetry]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Telemetry {
    /// A delivery that takes longer is logged; zero logs none.
    #[serde(with = "humantime_serde")]
    pub slow_delivery: Duration,
    /// The OTLP collector; empty: events are not followed.
    pub otlp_endpoint: String,
    /// One of so many events is followed.
    pub otlp_one_in: u64,
}

/// Shape of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}
