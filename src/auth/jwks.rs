//! An issuer's keys at a URL: fetched, kept, and fetched again when a token names one that is not known.
//!
//! Owns: that the key server is asked by one at a time, and at most once a minute for keys that it does not have; that the
//! last good keys hold while it is away.

use std::{
    io::Read as _,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use tokio::{sync::Mutex, time::Instant};

use super::{TokenError, agent, keys::KeySet, url};

/// How often an unknown key id may ask the server.
const AGAIN: Duration = Duration::from_secs(60);
/// The same while there are no keys at all.
const WITHOUT: Duration = Duration::from_secs(2);
/// Keys older than this are fetched anew beside their use, so that one that was taken out is forgotten.
const STALE: Duration = Duration::from_secs(600);
/// How long a fetch may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// The largest set that is read, in bytes.
const LARGEST: u64 = 1024 * 1024;

/// The keys behind a URL.
#[derive(Debug)]
pub struct RemoteKeys {
    url: String,
    known: RwLock<Option<(Arc<KeySet>, Instant)>>,
    /// When the server was asked last; held while it is asked.
    asked: Mutex<Option<Instant>>,
}

impl RemoteKeys {
    /// None fetched yet.
    ///
    /// # Errors
    ///
    /// In words: keys that anybody on the way could change are no keys.
    pub fn at(address: &str) -> Result<Self, String> {
        url::check("jwks_url", address)?;
        Ok(Self { url: address.to_owned(), known: RwLock::default(), asked: Mutex::default() })
    }

    fn known(&self) -> Option<(Arc<KeySet>, Instant)> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The keys among which the one with this id should be.
    ///
    /// # Errors
    ///
    /// [`TokenError::KeysAway`]: there are none yet, and they cannot be had.
    pub async fn get(&self, id: Option<&str>) -> Result<Arc<KeySet>, TokenError> {
        let holds = |keys: &KeySet| keys.find(id).is_ok();
        match self.known() {
            Some((keys, at)) if holds(&keys) && at.elapsed() < STALE => return Ok(keys),
            Some((keys, _)) if holds(&keys) => {
                // A precaution, for which one waits and the others do not.
                if let Ok(asked) = self.asked.try_lock() {
                    self.ask(asked, AGAIN).await;
                }
                return Ok(self.known().map_or(keys, |(keys, _)| keys));
            }
            _ => {}
        }
        let asked = self.asked.lock().await;
        // Somebody may have asked while this one waited.
        match self.known() {
            Some((keys, _)) if holds(&keys) => return Ok(keys),
            Some(_) => self.ask(asked, AGAIN).await,
            None => self.ask(asked, WITHOUT).await,
        }
        self.known().map(|(keys, _)| keys).ok_or(TokenError::KeysAway)
    }

    async fn ask(&self, mut asked: tokio::sync::MutexGuard<'_, Option<Instant>>, pause: Duration) {
        if asked.is_some_and(|at| at.elapsed() < pause) {
            return;
        }
        let url = self.url.clone();
        let fetched = tokio::task::spawn_blocking(move || fetch(&url)).await;
        // From its end on: whoever waited for it does not ask again at once.
        *asked = Some(Instant::now());
        match fetched.unwrap_or_else(|error| Err(error.to_string())) {
            Ok(keys) => {
                tracing::info!(url = self.url, "keys fetched");
                *self.known.write().unwrap_or_else(PoisonError::into_inner) = Some((Arc::new(keys), Instant::now()));
            }
            Err(error) => tracing::warn!(url = self.url, error, "keys cannot be fetched"),
        }
    }
}

fn fetch(url: &str) -> Result<KeySet, String> {
    let mut answer = agent(PATIENCE).get(url).call().map_err(|error| error.to_string())?;
    if answer.status() != 200 {
        return Err(format!("the answer is {}", answer.status()));
    }
    let mut text = Vec::new();
    let read = answer.body_mut().as_reader().take(LARGEST + 1).read_to_end(&mut text);
    read.map_err(|error| error.to_string())?;
    if text.len() as u64 > LARGEST {
        return Err(format!("it is larger than {LARGEST} bytes"));
    }
    KeySet::from_jwks(&text)
}
