//! Where to connect, who as, and what to receive.

use std::{fmt, str::FromStr, time::Duration};

use super::tls::Trust;
use crate::{
    model::{Cursor, IdError, InstanceId, TenantId, Timestamp},
    wire::{encoding::DEFLATE_RAW, token::Token},
};

/// Why a base URL was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// Not `ws://` or one of the others.
    #[error("the URL must start with ws:// or http://, or for TLS with wss:// or https://")]
    Scheme,
    /// No host, or something that cannot be one.
    #[error("the URL has no host")]
    Host,
    /// The port is not a number from 1 to 65535.
    #[error("the URL's port is not a number from 1 to 65535")]
    Port,
    /// A query or fragment, which the client would have to drop.
    #[error("the URL must be the node's base, without '?' and '#'")]
    NotABase,
}

/// Whether the bytes go as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// `ws://`, `http://`.
    Plain,
    /// `wss://`, `https://`.
    Tls,
}

/// A node's base URL: `ws://host:port`, `http://` taken alike, as `wss://` and `https://` are; a path before `/ws/sync` is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseUrl {
    scheme: Scheme,
    host: String,
    port: u16,
    path: String,
}

impl BaseUrl {
    /// Where a node listens unless told otherwise.
    pub const DEFAULT_PORT: u16 = 8420;

    /// Whether TLS is spoken there.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Host name or address, without the brackets of an IPv6 address.
    pub fn host(&self) -> &str {
        self.host.trim_start_matches('[').trim_end_matches(']')
    }

    /// TCP port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where its HTTP side is: a path below the base's own path.
    pub fn http(&self, path: &str) -> String {
        let scheme = if self.scheme == Scheme::Tls { "https" } else { "http" };
        format!("{scheme}://{}{}", self.authority(), self.path(path))
    }

    /// `host:port` as the Host header wants it.
    pub fn authority(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// A path on this node, below the base's own path.
    pub fn path(&self, path: &str) -> String {
        format!("{}{path}", self.path)
    }
}

impl FromStr for BaseUrl {
    type Err = UrlError;
    fn from_str(text: &str) -> Result<Self, UrlError> {
        let (scheme, rest) = text.split_once("://").ok_or(UrlError::Scheme)?;
        let scheme = match scheme {
            "ws" | "http" => Scheme::Plain,
            "wss" | "https" => Scheme::Tls,
            _ => return Err(UrlError::Scheme),
        };
        if rest.contains(['?', '#']) {
            return Err(UrlError::NotABase);
        }
        let (authority, path) = rest.split_once('/').map_or((rest, String::new()), |(authority, path)| {
            let path = path.trim_end_matches('/').trim_end_matches("ws/sync").trim_end_matches('/');
            (authority, if path.is_empty() { String::new() } else { format!("/{path}") })
        });
        let port_at = authority.rfind(':').filter(|at| authority.rfind(']').is_none_or(|bracket| bracket < *at));
        let (host, port) = match port_at {
            Some(at) => (&authority[..at], authority[at + 1..].parse().map_err(|_| UrlError::Port)?),
            None => (authority, Self::DEFAULT_PORT),
        };
        if host.is_empty() || host.contains(|c: char| c.is_whitespace() || c.is_control() || c == '@') {
            return Err(UrlError::Host);
        }
        if port == 0 {
            return Err(UrlError::Port);
        }
        Ok(Self { scheme, host: host.to_owned(), port, path })
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.scheme == Scheme::Tls { "wss" } else { "ws" };
        write!(f, "{scheme}://{}:{}{}", self.host, self.port, self.path)
    }
}

/// Where in the room's history to start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    /// After everything this cursor has seen.
    Cursor(Cursor),
    /// The oldest record that the log still holds.
    Earliest,
    /// Only what comes from now on.
    Latest,
    /// Records stored since this time.
    Time(Timestamp),
}

impl FromStr for Since {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        match text {
            "earliest" => Ok(Self::Earliest),
            "latest" => Ok(Self::Latest),
            _ => text.parse().map(Self::Cursor).ok().or_else(|| Timestamp::parse(text).map(Self::Time)).ok_or(
                IdError::Malformed { what: "since", form: "a cursor, 'earliest', 'latest' or an RFC 3339 time" },
            ),
        }
    }
}

impl fmt::Display for Since {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cursor(cursor) => cursor.fmt(f),
            Self::Earliest => f.write_str("earliest"),
            Self::Latest => f.write_str("latest"),
            Self::Time(time) => time.fmt(f),
        }
    }
}

/// Whether one's own records come back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Echo {
    /// Only an ack in their place.
    #[default]
    AckOnly,
    /// The record itself too.
    Records,
}

/// In which frames the node's messages come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encoding {
    /// Text.
    #[default]
    Text,
    /// Large ones deflated.
    DeflateRaw,
}

impl FromStr for Encoding {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        match text {
            "text" => Ok(Self::Text),
            DEFLATE_RAW => Ok(Self::DeflateRaw),
            _ => Err(IdError::Malformed { what: "encoding", form: "'text' or 'deflate-raw'" }),
        }
    }
}

/// What a connection asks for.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// The node.
    pub url: BaseUrl,
    /// The room.
    pub tenant: TenantId,
    /// Who we are in it.
    pub instance: InstanceId,
    /// Where to start; `None` leaves it to the node's own cursor for this instance.
    pub since: Option<Since>,
    /// Types to receive, `*` for any run of characters; empty means all.
    pub types: Vec<String>,
    /// Own records.
    pub echo: Echo,
    /// Strings in `data` cut to this many characters.
    pub preview: Option<u32>,
    /// The user for whom we act, if that is not said by a token.
    pub user: Option<String>,
    /// Words shown to others in the roster.
    pub capabilities: Vec<String>,
    /// Whether large messages may come deflated.
    pub encoding: Encoding,
    /// What proves who we are.
    pub token: Option<Token>,
    /// Whose certificates are believed, for `wss://`; `None` is the system's choice.
    pub trust: Option<Trust>,
    /// Longest time for the node to take what we send.
    pub send_time: Duration,
}

impl ClientOptions {
    /// Everything in `tenant` from where the node left this instance off.
    pub fn new(url: BaseUrl, tenant: TenantId, instance: InstanceId) -> Self {
        Self {
            url,
            tenant,
            instance,
            since: None,
            types: Vec::new(),
            echo: Echo::default(),
            preview: None,
            user: None,
            capabilities: Vec::new(),
            encoding: Encoding::default(),
            token: None,
            trust: None,
            send_time: Duration::from_secs(30),
        }
    }

    /// The token, for the header.
    pub fn token(&self) -> Option<&str> {
        self.token.as_ref().map(|token| token.0.as_str())
    }

    /// Path and query of the upgrade request, with `since` in place of the options' own.
    pub fn target(&self, since: Option<Since>) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("tenant_id", self.tenant.as_str()).append_pair("instance_id", self.instance.as_str());
        if let Some(since) = since {
            query.append_pair("since", &since.to_string());
        }
        if !self.types.is_empty() {
            query.append_pair("types", &self.types.join(","));
        }
        if self.echo == Echo::Records {
            query.append_pair("echo", "1");
        }
        if let Some(preview) = self.preview {
            query.append_pair("preview", &preview.to_string());
        }
        if let Some(user) = &self.user {
            query.append_pair("user_id", user);
        }
        if !self.capabilities.is_empty() {
            query.append_pair("capabilities", &self.capabilities.join(","));
        }
        if self.encoding == Encoding::DeflateRaw {
            query.append_pair("encoding", DEFLATE_RAW);
        }
        format!("{}?{}", self.url.path("/ws/sync"), query.finish())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_urls_of_both_schemes_mean_the_same_node() {
        for (text, authority, path) in [
            ("ws://127.0.0.1:8420", "127.0.0.1:8420", ""),
            ("http://127.0.0.1:8420/", "127.0.0.1:8420", ""),
            ("ws://localhost", "localhost:8420", ""),
            ("ws://[::1]:9000/behind/proxy/", "[::1]:9000", "/behind/proxy"),
            ("ws://[::1]", "[::1]:8420", ""),
            ("ws://host:1/ws/sync", "host:1", ""),
            ("wss://host", "host:8420", ""),
            ("https://host:1/behind/", "host:1", "/behind"),
        ] {
            let url: BaseUrl = text.parse().expect(text);
            assert_eq!(url.scheme() == Scheme::Tls, text.starts_with("wss:") || text.starts_with("https:"), "{text}");
            assert_eq!((url.authority().as_str(), url.path.as_str()), (authority, path), "{text}");
        }
        for (text, error) in [
            ("ftp://host", UrlError::Scheme),
            ("host:1", UrlError::Scheme),
            ("ws://", UrlError::Host),
            ("ws://user@host", UrlError::Host),
            ("ws://host:0", UrlError::Port),
            ("ws://host:99999", UrlError::Port),
            ("ws://host?x=1", UrlError::NotABase),
        ] {
            assert_eq!(text.parse::<BaseUrl>(), Err(error), "{text}");
        }
    }

    #[test]
    fn the_target_escapes_names_and_carries_only_what_was_asked() {
        let url = "ws://h".parse().expect("url");
        let mut options =
            ClientOptions::new(url, "default".parse().expect("tenant"), "a b&c=é".parse().expect("instance"));
        assert_eq!(options.target(None), "/ws/sync?tenant_id=default&instance_id=a+b%26c%3D%C3%A9");
        options.types = vec!["memory.*".to_owned(), "note".to_owned()];
        options.echo = Echo::Records;
        options.preview = Some(80);
        options.encoding = Encoding::DeflateRaw;
        assert_eq!(
            options.target(Some(Since::Earliest)),
            "/ws/sync?tenant_id=default&instance_id=a+b%26c%3D%C3%A9&since=earliest&types=memory.*%2Cnote&echo=1&preview=80&encoding=deflate-raw"
        );
    }

    #[test]
    fn since_reads_cursors_times_and_words() {
        for text in ["earliest", "latest", "00000000000000ff.17", "00000000000000ff.17.0012abcd"] {
            assert_eq!(text.parse::<Since>().map(|s| s.to_string()).as_deref(), Ok(text));
        }
        assert!(matches!("2025-12-06T10:00:00Z".parse(), Ok(Since::Time(_))));
        assert!("yesterday".parse::<Since>().is_err());
    }
}
