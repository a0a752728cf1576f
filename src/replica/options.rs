//! What a replica is of, and where it lies.

use std::{fmt, fs, path::PathBuf, sync::Arc};

use tokio::time::Instant;

use crate::{client::ClientOptions, model::EntityKey};

/// Most bytes that may be pending.
pub const JOURNAL_BYTES: u64 = 64 << 20;

/// Where the token comes from, each time that one is needed: it may be another one then.
#[derive(Clone, Debug, Default)]
pub enum TokenSource {
    /// None is needed.
    #[default]
    None,
    /// From this file.
    File(PathBuf),
}

/// What a replica is of, and where it lies.
#[derive(Clone, Debug)]
pub struct Options {
    /// The room and who we are in it.
    pub client: ClientOptions,
    /// What proves that.
    pub token: TokenSource,
    /// For what is asked over HTTP.
    pub agent: ureq::Agent,
    /// Where it lies; made if missing. One room and one instance in one directory.
    pub dir: PathBuf,
    /// Entities of these types are mirrored; empty: all.
    pub kinds: Vec<String>,
    /// Most bytes that may be pending.
    pub journal_bytes: u64,
    /// By what ages are measured.
    pub clock: Clock,
}

impl Options {
    /// All entities, no token.
    pub fn new(client: ClientOptions, agent: ureq::Agent, dir: PathBuf) -> Self {
        let (token, kinds, clock) = (TokenSource::None, Vec::new(), Clock::default());
        Self { client, token, agent, dir, kinds, journal_bytes: JOURNAL_BYTES, clock }
    }

    /// Whether an entity is mirrored.
    pub(super) fn mirrors(&self, key: &EntityKey) -> bool {
        self.kinds.is_empty() || self.kinds.iter().any(|kind| **kind == *key.kind)
    }
}

/// A clock that is not set: ages are measured by it.
#[derive(Clone)]
pub struct Clock(pub Arc<dyn Fn() -> Instant + Send + Sync>);

impl Default for Clock {
    fn default() -> Self {
        Self(Arc::new(Instant::now))
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

impl TokenSource {
    /// The token, as it is now.
    pub(super) fn token(&self) -> Result<Option<String>, String> {
        match self {
            Self::None => Ok(None),
            Self::File(path) => {
                let text = fs::read_to_string(path);
                let text = text.map_err(|error| format!("cannot read {}: {error}", path.display()))?;
                Ok(Some(text.trim().to_owned()))
            }
        }
    }
}
