//! What values may be. Owns: ranges, choices, and which values cannot hold together. Must not know: how sources are read.

use std::{net::IpAddr, time::Duration};

use tracing_subscriber::EnvFilter;

use super::{
    schema::{AuthMode, Config},
    source::Value,
};

const KIB: i64 = 1024;
const GIB: i64 = KIB * KIB * KIB;
const MILLION: i64 = 1_000_000;

/// The least and the greatest of every whole number. The upper ends are where a value is surely a slip of the hand.
const WHOLE: &[(&str, i64, i64)] = &[
    ("server.port", 0, 65_535),
    ("server.workers", 0, 1024),
    ("server.backlog", 1, 65_535),
    ("server.send_buffer", 0, GIB),
    ("nats.shards", 1, 1024),
    ("nats.replicas", 1, 5),
    ("nats.window", 1, MILLION),
    ("auth.hook.requests", 1, 256),
    ("log.retention_bytes", 0, i64::MAX),
    ("log.commit_records", 1, MILLION),
    ("log.commit_bytes", 1, GIB),
    ("log.queue_appends", 1, MILLION),
    ("log.feed_bytes", 1, GIB),
    ("journal.max_bytes", KIB * KIB, i64::MAX),
    ("rooms.threads", 1, 1024),
    ("rooms.ring_bytes", 1, GIB),
    ("rooms.announce_limit", 0, MILLION),
    ("rooms.page_bytes", 1, GIB),
    ("rooms.entity_bytes", 1, 64 * GIB),
    ("rooms.variants", 1, 1024),
    ("rooms.graph_entities", 1, 100 * MILLION),
    ("limits.max_message_bytes", 1, GIB),
    ("limits.compress_bytes", 1, GIB),
    // Readers of JSON on the other side, serde_json among them, stop at 128.
    ("limits.json_depth", 1, 120),
    ("limits.messages_per_minute", 0, 1000 * MILLION),
    ("limits.tenant_messages_per_minute", 0, 1000 * MILLION),
    ("limits.http_messages_per_minute", 0, 1000 * MILLION),
    ("limits.requests_per_minute", 0, 1000 * MILLION),
    ("limits.tenant_requests_per_minute", 0, 1000 * MILLION),
    ("limits.control_per_minute", 1, 1000 * MILLION),
    ("limits.signals_per_minute", 1, 1000 * MILLION),
    ("limits.signal_bytes", 1, 65_536),
    ("limits.refusals_before_close", 1, 1000 * MILLION),
    ("limits.invalid_in_a_row", 1, 1000 * MILLION),
    ("limits.publishes_in_flight", 1, MILLION),
    ("limits.connections_per_user", 0, 10 * MILLION),
    ("limits.connections_per_tenant", 1, 10 * MILLION),
    ("limits.connections_per_node", 1, 10 * MILLION),
    ("limits.strangers_per_node", 1, 10 * MILLION),
    ("limits.outbox_bytes", 1, GIB),
    ("limits.http_body_bytes", 1, GIB),
    ("limits.import_bytes", 1, 1024 * GIB),
    ("limits.import_memory_bytes", 1, 64 * GIB),
    ("limits.events_per_request", 1, MILLION),
    ("limits.subscriptions_per_connection", 1, MILLION),
    ("limits.subscriptions_per_room", 1, MILLION),
    ("limits.subscription_entities", 1, MILLION),
    ("limits.keys_per_tenant", 1, MILLION),
    ("chaos.hops", 1, 8),
    ("telemetry.otlp_one_in", 1, 1000 * MILLION),
];

/// Durations whose zero has a meaning; every other one lies above zero.
const MAY_BE_ZERO: &[&str] = &[
    "auth.hook.remember",
    "log.retention_age",
    "rooms.idle_timeout",
    "rooms.gather",
    "drain.timeout",
    "drain.spread",
    "telemetry.slow_delivery",
];

/// Finer is no timer; longer overflows clocks.
const SHORTEST: Duration = Duration::from_millis(1);
const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// Texts that name one of a few things.
const CHOICES: &[(&str, &[&str])] = &[
    ("backbone.kind", &["embedded", "nats"]),
    ("auth.mode", &["none", "token"]),
    ("auth.hook.when_down", &["refuse", "admit"]),
    ("logging.format", &["text", "json"]),
];

/// Texts that may be left empty.
const MAY_BE_EMPTY: &[&str] = &[
    "server.tls_certificate",
    "server.tls_key",
    "nats.credentials",
    "nats.tls_ca",
    "nats.tls_certificate",
    "nats.tls_key",
    "auth.issuers",
    "auth.admin_key",
    "auth.hook.url",
    "auth.hook.key",
    "telemetry.otlp_endpoint",
];

/// Whether the value, of the right kind already, may stand at this key.
pub(super) fn allows(key: &str, value: &Value) -> bool {
    match value {
        Value::Whole(number) if key == "nats.replicas" => [1, 3, 5].contains(number),
        Value::Whole(number) => (least_of(key)..=greatest_of(key)).contains(number),
        Value::Time(text) => humantime::parse_duration(text)
            .is_ok_and(|time| (SHORTEST..=LONGEST).contains(&time) || (time.is_zero() && MAY_BE_ZERO.contains(&key))),
        Value::Text(text) => match choices_of(key) {
            Some(choices) => choices.contains(&text.as_str()),
            None if key == "logging.level" => is_level(text),
            None if key == "nats.prefix" => is_prefix(text),
            None if MAY_BE_EMPTY.contains(&key) => true,
            None => !text.trim().is_empty(),
        },
        Value::List(items) if key == "server.allowed_origins" => items.iter().all(|origin| is_origin(origin)),
        Value::List(items) if key == "nats.urls" => !items.is_empty() && items.iter().all(|url| url.contains("://")),
        Value::List(_) | Value::Flag(_) => true,
    }
}

/// What may stand at this key, for people.
pub(super) fn expected(key: &str, default: &Value) -> String {
    match default {
        Value::Whole(_) if key == "nats.replicas" => "1, 3 or 5".to_owned(),
        Value::Whole(_) => format!("a whole number from {} to {}", least_of(key), greatest_of(key)),
        Value::Time(_) if MAY_BE_ZERO.contains(&key) => "a duration such as \"0s\", \"30s\" or \"7d\"".to_owned(),
        Value::Time(_) => "a duration above zero such as \"250ms\", \"30s\" or \"7d\"".to_owned(),
        Value::Flag(_) => "true or false".to_owned(),
        Value::Text(_) => match choices_of(key) {
            Some(choices) => choices.iter().map(|choice| format!("{choice:?}")).collect::<Vec<_>>().join(" or "),
            None if key == "logging.level" => {
                "a level (off, error, warn, info, debug, trace) or directives such as \"info,continuum=debug\""
                    .to_owned()
            }
            None if key == "nats.prefix" => "1 to 32 of a-z 0-9 _ -".to_owned(),
            None if MAY_BE_EMPTY.contains(&key) => "a text, or \"\" for none".to_owned(),
            None => "a text that is not empty".to_owned(),
        },
        Value::List(_) if key == "server.allowed_origins" => {
            "a list of origins such as [\"https://example.org\"] (in a variable: with commas between)".to_owned()
        }
        Value::List(_) => {
            "a list of URLs such as [\"nats://127.0.0.1:4222\"] (in a variable: with commas between)".to_owned()
        }
    }
}

fn least_of(key: &str) -> i64 {
    WHOLE.iter().find(|(name, _, _)| *name == key).map_or(0, |(_, least, _)| *least)
}

fn greatest_of(key: &str) -> i64 {
    WHOLE.iter().find(|(name, _, _)| *name == key).map_or(i64::MAX, |(_, _, greatest)| *greatest)
}

fn choices_of(key: &str) -> Option<&'static [&'static str]> {
    CHOICES.iter().find(|(name, _)| *name == key).map(|(_, choices)| *choices)
}

/// A single word must be a level: env-filter would take a misspelt one for the name of a module and log nothing else.
fn is_level(text: &str) -> bool {
    let directives: Vec<_> = text.split(',').map(str::trim).collect();
    let bare_words_are_levels = directives
        .iter()
        .filter(|directive| !directive.contains(['=', '[']))
        .all(|word| ["off", "error", "warn", "info", "debug", "trace"].contains(&word.to_lowercase().as_str()));
    bare_words_are_levels && EnvFilter::try_new(text).is_ok()
}

/// One subject token that is also a stream's name in capitals.
fn is_prefix(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_' || byte == b'-';
    (1..=32).contains(&text.len()) && text.bytes().all(plain)
}

/// As browsers send it: scheme, host, perhaps a port, and no path.
fn is_origin(text: &str) -> bool {
    text.split_once("://").is_some_and(|(scheme, host)| {
        !scheme.is_empty() && !host.is_empty() && !host.contains(['/', '?', '#', '@', ' ', '*'])
    })
}

/// Values that collide: the keys, and what to do about it.
pub(super) struct Collision {
    pub(super) keys: Vec<&'static str>,
    pub(super) problem: String,
}

/// The first collision among values that are each fine.
pub(super) fn collision(config: &Config) -> Option<Collision> {
    if config.heartbeat.timeout <= config.heartbeat.interval {
        let [timeout, interval] = [config.heartbeat.timeout, config.heartbeat.interval].map(humantime::format_duration);
        let problem = format!(
            "heartbeat.timeout = \"{timeout}\" must be longer than heartbeat.interval = \"{interval}\"; three times as long is usual"
        );
        return Some(Collision { keys: vec!["heartbeat.timeout", "heartbeat.interval"], problem });
    }
    if config.drain.spread > config.drain.timeout {
        let [spread, timeout] = [config.drain.spread, config.drain.timeout].map(humantime::format_duration);
        let problem =
            format!("drain.spread = \"{spread}\" must not be longer than drain.timeout = \"{timeout}\"; lower it");
        return Some(Collision { keys: vec!["drain.spread", "drain.timeout"], problem });
    }
    if config.server.tls_certificate.as_os_str().is_empty() != config.server.tls_key.as_os_str().is_empty() {
        let problem = "server.tls_certificate and server.tls_key go together: set both or neither".to_owned();
        return Some(Collision { keys: vec!["server.tls_certificate", "server.tls_key"], problem });
    }
    if config.nats.tls_certificate.as_os_str().is_empty() != config.nats.tls_key.as_os_str().is_empty() {
        let problem = "nats.tls_certificate and nats.tls_key go together: set both or neither".to_owned();
        return Some(Collision { keys: vec!["nats.tls_certificate", "nats.tls_key"], problem });
    }
    let auth = &config.auth;
    let has_nothing = auth.issuers.as_os_str().is_empty() && auth.admin_key.as_os_str().is_empty();
    if auth.mode == AuthMode::Token && has_nothing {
        let problem =
            "auth.mode = \"token\" lets nobody in without auth.issuers or auth.admin_key; set one of them".into();
        return Some(Collision { keys: vec!["auth.mode", "auth.issuers", "auth.admin_key"], problem });
    }
    if config.auth.mode == AuthMode::None && !config.auth.allow_remote_none && !is_loopback(&config.server.host) {
        let host = &config.server.host;
        let problem = format!(
            "server.host = {host:?} with auth.mode = \"none\" lets every network neighbour in; \
             listen on \"127.0.0.1\" or set auth.allow_remote_none = true"
        );
        return Some(Collision { keys: vec!["server.host", "auth.mode", "auth.allow_remote_none"], problem });
    }
    None
}

/// Whether a name or an address means this machine.
pub fn is_loopback(host: &str) -> bool {
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::{super::defaults, *};

    #[test]
    fn every_whole_number_has_a_range_and_every_range_a_key() {
        let keys = defaults().expect("default.toml is good");
        let whole: Vec<_> =
            keys.iter().filter(|(_, value)| matches!(value, Value::Whole(_))).map(|(key, _)| key.as_str()).collect();
        assert_eq!(whole, WHOLE.iter().map(|(key, _, _)| *key).collect::<Vec<_>>());
    }

    #[test]
    fn every_rule_is_about_a_key_that_exists() {
        let keys = defaults().expect("default.toml is good");
        let named = MAY_BE_ZERO.iter().chain(MAY_BE_EMPTY).chain(CHOICES.iter().map(|(key, _)| key));
        for name in named {
            assert!(keys.iter().any(|(key, _)| key == name), "{name}");
        }
    }

    #[test]
    fn a_misspelt_level_is_no_level() {
        for good in ["info", "WARN", "off", "info,continuum=debug", "continuum::actors=trace"] {
            assert!(is_level(good), "{good}");
        }
        for bad in ["", "inof", "info,inof", "continuum=loud"] {
            assert!(!is_level(bad), "{bad}");
        }
    }

    #[test]
    fn an_origin_is_what_a_browser_sends() {
        for good in ["https://example.org", "http://localhost:3000"] {
            assert!(is_origin(good), "{good}");
        }
        for bad in ["example.org", "https://", "https://example.org/", "https://*.example.org", "*"] {
            assert!(!is_origin(bad), "{bad}");
        }
    }

    #[test]
    fn loopback_is_told_from_the_network() {
        for here in ["127.0.0.1", "127.8.8.8", "::1", "localhost", "LocalHost"] {
            assert!(is_loopback(here), "{here}");
        }
        for there in ["0.0.0.0", "::", "10.0.0.1", "example.org", "127.0.0.1.example.org"] {
            assert!(!is_loopback(there), "{there}");
        }
    }
}
