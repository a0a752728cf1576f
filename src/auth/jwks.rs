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

#[cfg(test)]
mod tests {
    //! Nobody waits here: time passes by making the keys older, and the last question longer ago.

    use std::{
        io::Write as _,
        net::TcpListener,
        sync::{
            Mutex as Lock,
            atomic::{AtomicUsize, Ordering},
        },
        thread,
    };

    use serde_json::{Value, json};

    use super::*;

    /// A key server; it ends with the test's process.
    struct Server {
        keys: RemoteKeys,
        /// What it answers; `None`: it hangs up.
        answer: Arc<Lock<Option<String>>>,
        asked: Arc<AtomicUsize>,
    }

    /// A set of public keys with these ids.
    fn set(ids: &[&str]) -> Option<String> {
        let key = |id: &&str| json!({"kty": "OKP", "crv": "Ed25519", "kid": id, "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"});
        Some(json!({"keys": ids.iter().map(key).collect::<Value>()}).to_string())
    }

    impl Server {
        fn start(answer: Option<String>) -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
            let url = format!("http://{}/keys", listener.local_addr().expect("an address"));
            let (answer, asked) = (Arc::new(Lock::new(answer)), Arc::new(AtomicUsize::new(0)));
            let (served, count) = (answer.clone(), asked.clone());
            thread::spawn(move || {
                for mut socket in listener.incoming().map_while(Result::ok) {
                    count.fetch_add(1, Ordering::SeqCst);
                    let body = served.lock().expect("not poisoned").clone();
                    let read = socket.read(&mut [0; 4096]);
                    if let (Ok(_), Some(body)) = (read, body) {
                        let head =
                            format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
                        // Whoever asked may have read enough.
                        let _ = socket.write_all(format!("{head}{body}").as_bytes());
                    }
                }
            });
            Self { keys: RemoteKeys::at(&url).expect("it is this machine"), answer, asked }
        }

        fn answers(&self, answer: Option<String>) {
            *self.answer.lock().expect("not poisoned") = answer;
        }

        async fn pass(&self, time: Duration) {
            if let Some((_, at)) = &mut *self.keys.known.write().expect("not poisoned") {
                *at -= time;
            }
            if let Some(at) = &mut *self.keys.asked.lock().await {
                *at -= time;
            }
        }

        /// Whether a key is there, and how often the server was asked until then.
        async fn has(&self, id: &str) -> (bool, usize) {
            let found = self.keys.get(Some(id)).await.is_ok_and(|keys| keys.find(Some(id)).is_ok());
            (found, self.asked.load(Ordering::SeqCst))
        }
    }

    #[tokio::test]
    async fn an_unknown_key_id_asks_again_once_a_minute_has_passed() {
        let server = Server::start(set(&["one"]));
        assert_eq!(server.has("one").await, (true, 1));
        server.answers(set(&["one", "two"]));
        server.pass(AGAIN - Duration::from_secs(10)).await;
        assert_eq!(server.has("two").await, (false, 1));
        server.pass(Duration::from_secs(10)).await;
        assert_eq!(server.has("two").await, (true, 2));
        assert_eq!(server.has("three").await, (false, 2));
        assert_eq!(server.has("one").await, (true, 2), "the old one lives through the rotation");
    }

    #[tokio::test]
    async fn a_key_that_was_taken_out_is_forgotten_when_the_set_is_old() {
        let server = Server::start(set(&["one", "two"]));
        assert_eq!(server.has("one").await, (true, 1));
        server.answers(set(&["two"]));
        assert_eq!(server.has("one").await, (true, 1));
        server.pass(STALE).await;
        assert_eq!(server.has("one").await, (false, 2));
        assert_eq!(server.has("two").await, (true, 2));
    }

    #[tokio::test]
    async fn the_last_good_keys_hold_while_the_server_has_none_that_can_be_taken() {
        let server = Server::start(set(&["one"]));
        assert_eq!(server.has("one").await, (true, 1));
        let blanks = " ".repeat(LARGEST as usize);
        let too_large = set(&[]).map(|text| text + &blanks);
        for (round, answer) in [None, Some("nonsense".to_owned()), too_large].into_iter().enumerate() {
            server.answers(answer);
            server.pass(STALE).await;
            assert_eq!(server.has("one").await, (true, round + 2));
        }
    }

    #[tokio::test]
    async fn without_any_keys_the_server_is_asked_every_two_seconds() {
        let server = Server::start(None);
        assert_eq!(server.has("one").await, (false, 1));
        server.answers(set(&["one"]));
        assert_eq!(server.has("one").await, (false, 1));
        server.pass(WITHOUT).await;
        assert_eq!(server.has("one").await, (true, 2));
    }
}
