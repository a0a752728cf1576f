//! Which of the client's requests are open, and what is to be done with a line of either side. Pure.
//!
//! Owns: that a call is held before it runs and its answer before it is passed, and nothing else is. A number of the client's
//! and one of the server's own questions may be equal: only the client's requests are kept, and only the server's answers are
//! looked up.

use std::{
    collections::{HashMap, hash_map::Entry},
    num::NonZeroUsize,
};

use lru::LruCache;
use tokio::time::Instant;

use super::line::{self, Answer, Id, Key, Outcome, Place, Said};

/// Most requests that are open at a time; one more, and the oldest is forgotten: its answer passes as it is.
const OPEN: NonZeroUsize = NonZeroUsize::new(4_096).expect("more than none");
const INVALID: i32 = -32_600;
const TWICE: &str = "another request with this id is still open";

/// A call of a tool.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Call {
    /// The tool.
    pub tool: String,
    /// The text of its arguments.
    pub arguments: Option<String>,
    /// When it was passed on; until then, when it came.
    pub since: Instant,
    /// Whether it ran with all that the room had.
    pub is_fresh: bool,
}

/// A call that is held. Once it is given up another one may have its id.
#[derive(Debug, PartialEq)]
pub(super) struct Held {
    key: Key,
    turn: u64,
}

/// What is to be done with a line of the client.
#[derive(Debug, PartialEq)]
pub(super) enum FromClient {
    /// It is passed.
    Pass,
    /// It is held until the room was asked.
    Hold(Held, Call),
    /// It is passed, and this call came to nothing by it.
    GaveUp(Call),
    /// Nobody needs to hear it.
    Drop,
    /// It is answered so, and not passed.
    Refuse(Vec<u8>),
}

/// What is to be done with a line of the wrapped server.
#[derive(Debug, PartialEq)]
pub(super) enum FromServer {
    /// It is passed.
    Pass,
    /// It is passed when the room has been told.
    Finish {
        /// The call that it answers.
        call: Call,
        /// Whether it worked.
        ok: bool,
        /// Where a text can be added.
        place: Place,
    },
}

/// The requests that are open.
#[derive(Debug)]
pub(super) struct Traffic {
    /// Calls that wait for the room, with their turns, and their ids as they were written.
    held: HashMap<Key, (u64, Box<str>)>,
    /// How many were held so far.
    turns: u64,
    /// What was passed and not answered.
    running: LruCache<Key, (Box<str>, Option<Call>)>,
}

impl Traffic {
    pub fn new() -> Self {
        Self { held: HashMap::new(), turns: 0, running: LruCache::new(OPEN) }
    }

    /// A line of the client.
    pub fn client_said(&mut self, text: &[u8], now: Instant) -> FromClient {
        match line::said(text) {
            Said::Other => FromClient::Pass,
            Said::Unclear { id, why } => FromClient::Refuse(line::error(id.as_deref(), INVALID, why)),
            Said::Request(Id { key, .. }) | Said::Call { id: Id { key, .. }, .. } if self.is_open(&key) => {
                // Under its id, the other one would take this for its answer.
                FromClient::Refuse(line::error(None, INVALID, TWICE))
            }
            Said::Request(Id { key, text }) => {
                self.run(key, text, None);
                FromClient::Pass
            }
            Said::Call { id: Id { key, text }, tool, arguments } => {
                self.turns += 1;
                self.held.insert(key.clone(), (self.turns, text));
                FromClient::Hold(Held { key, turn: self.turns }, Call { tool, arguments, since: now, is_fresh: false })
            }
            Said::Cancelled(key) if self.held.remove(&key).is_some() => FromClient::Drop,
            // A late answer passes as it is.
            Said::Cancelled(key) => match self.running.pop(&key) {
                Some((_, Some(call))) => FromClient::GaveUp(call),
                _ => FromClient::Pass,
            },
        }
    }

    /// A held call may go. Gives whether anybody still wants it.
    pub fn release(&mut self, Held { key, turn }: Held, call: Call) -> bool {
        let Entry::Occupied(held) = self.held.entry(key) else { return false };
        if held.get().0 != turn {
            return false;
        }
        let (key, (_, text)) = held.remove_entry();
        self.run(key, text, Some(call));
        true
    }

    /// A line of the wrapped server.
    pub fn server_said(&mut self, text: &[u8]) -> FromServer {
        let Some(Answer { key, outcome }) = line::answer(text) else { return FromServer::Pass };
        let Some((_, Some(call))) = self.running.pop(&key) else { return FromServer::Pass };
        match outcome {
            Outcome::Interim => FromServer::Pass,
            Outcome::Done(place) => FromServer::Finish { call, ok: true, place },
            Outcome::Failed(place) => FromServer::Finish { call, ok: false, place },
        }
    }

    /// The ids of all that is open, as they were written, the oldest first; nothing is open any more.
    pub fn end(&mut self) -> Vec<Box<str>> {
        let mut open = Vec::new();
        while let Some((_, (text, _))) = self.running.pop_lru() {
            open.push(text);
        }
        open.extend(self.held.drain().map(|(_, (_, text))| text));
        open
    }

    fn is_open(&self, key: &Key) -> bool {
        self.held.contains_key(key) || self.running.contains(key)
    }

    fn run(&mut self, key: Key, text: Box<str>, call: Option<Call>) {
        if let Some((_, (_, Some(call)))) = self.running.push(key, (text, call)) {
            tracing::warn!(tool = call.tool, "too many requests are open: this call's answer will pass as it is");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALL: &[u8] = br#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t"}}"#;
    const CANCEL: &[u8] = br#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1.0}}"#;
    const DONE: &[u8] = br#"{"jsonrpc":"2.0","id":1,"result":{"content":[]}}"#;

    fn held(traffic: &mut Traffic) -> (Held, Call) {
        match traffic.client_said(CALL, Instant::now()) {
            FromClient::Hold(key, call) => (key, call),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_call_is_held_then_runs_then_is_answered() {
        let mut traffic = Traffic::new();
        let (key, call) = held(&mut traffic);
        assert_eq!(traffic.server_said(DONE), FromServer::Pass, "nothing runs yet");
        assert!(traffic.release(key, call.clone()));
        // The server's own question has the same number.
        let asks = br#"{"jsonrpc":"2.0","id":1,"method":"sampling/createMessage","params":{}}"#;
        assert_eq!(traffic.server_said(asks), FromServer::Pass);
        let says = br#"{"jsonrpc":"2.0","id":1,"result":{"content":[]}}"#;
        assert_eq!(traffic.client_said(says, Instant::now()), FromClient::Pass);
        let FromServer::Finish { call: done, ok: true, place: Place::First(_) } = traffic.server_said(DONE) else {
            panic!("the answer is not taken for one");
        };
        assert_eq!(done, call);
        assert_eq!(traffic.server_said(DONE), FromServer::Pass);
        assert!(traffic.end().is_empty());
    }

    #[test]
    fn a_call_that_is_given_up_does_not_run_or_is_not_waited_for() {
        let mut traffic = Traffic::new();
        let (key, call) = held(&mut traffic);
        assert_eq!(traffic.client_said(CANCEL, Instant::now()), FromClient::Drop);
        assert!(!traffic.release(key, call));
        let (key, call) = held(&mut traffic);
        assert!(traffic.release(key, call.clone()));
        assert_eq!(traffic.client_said(CANCEL, Instant::now()), FromClient::GaveUp(call));
        assert_eq!(traffic.server_said(DONE), FromServer::Pass);
        assert_eq!(traffic.client_said(CANCEL, Instant::now()), FromClient::Pass);
    }

    #[test]
    fn an_id_that_is_open_is_refused_and_all_that_is_open_is_known() {
        let mut traffic = Traffic::new();
        let (key, call) = held(&mut traffic);
        assert!(matches!(traffic.client_said(CALL, Instant::now()), FromClient::Refuse(_)));
        assert!(traffic.release(key, call));
        let ping = br#"{"jsonrpc":"2.0","id":1.0,"method":"ping"}"#;
        assert!(matches!(traffic.client_said(ping, Instant::now()), FromClient::Refuse(_)));
        let ping = br#"{"jsonrpc":"2.0","id":"1","method":"ping"}"#;
        assert_eq!(traffic.client_said(ping, Instant::now()), FromClient::Pass);
        assert_eq!(traffic.end(), ["1".into(), r#""1""#.into()] as [Box<str>; 2]);
    }

    #[test]
    fn a_call_under_the_id_of_one_that_was_given_up_runs_in_its_stead() {
        let mut traffic = Traffic::new();
        let (first, given_up) = held(&mut traffic);
        assert_eq!(traffic.client_said(CANCEL, Instant::now()), FromClient::Drop);
        let (second, call) = held(&mut traffic);
        assert!(!traffic.release(first, given_up));
        assert!(traffic.release(second, call));
    }

    #[test]
    fn what_is_open_has_a_bound() {
        let mut traffic = Traffic::new();
        let (key, call) = held(&mut traffic);
        assert!(traffic.release(key, call));
        for number in 2..=OPEN.get() + 1 {
            let ping = format!(r#"{{"id":{number},"method":"ping"}}"#);
            assert_eq!(traffic.client_said(ping.as_bytes(), Instant::now()), FromClient::Pass);
        }
        assert_eq!(traffic.server_said(DONE), FromServer::Pass);
        assert_eq!(traffic.end().len(), OPEN.get());
    }
}
