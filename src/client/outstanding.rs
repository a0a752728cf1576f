//! Publishes until they are acknowledged: repeated with the same id after a refusal that passes or a lost connection.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

use super::{
    backoff::CAP,
    incoming,
    publish::{Answer, Publish},
};
use crate::model::EventId;

/// Most publishes that wait for their ack; a caller that meets it stops reading its input.
pub const MOST: usize = 256;
/// How many go out at once before the node has shown that it takes them.
const FIRST_WINDOW: usize = 32;
/// How long to pause after a refusal that names no time; twice as long after each further one of the same publish.
const PAUSE: Duration = Duration::from_secs(1);

/// Refusals after which the same publish may go through, beside those that say when: none of them speaks of the publish.
const PASSING: [&str; 8] =
    ["rate_limited", "busy", "log_full", "journal_full", "unavailable", "unknown", "draining", "internal"];

/// There are [`MOST`] publishes without an ack already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{MOST} publishes wait for their acknowledgement already")]
pub struct Full;

/// What an error message from the node meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It will be sent again by itself.
    Repeats,
    /// The publish is given up.
    Refused,
    /// It was about none of ours.
    Foreign,
}

#[derive(Debug)]
struct Entry {
    publish: Publish,
    sent: bool,
    /// How often it was refused for a while.
    refused: u32,
}

/// Publishes in the order in which they were made.
#[derive(Debug)]
pub struct Outstanding {
    entries: VecDeque<Entry>,
    window: usize,
    most_in_flight: usize,
    paused_until: Option<Instant>,
}

impl Default for Outstanding {
    fn default() -> Self {
        Self { entries: VecDeque::new(), window: FIRST_WINDOW, most_in_flight: MOST, paused_until: None }
    }
}

impl Outstanding {
    /// Takes a publish; never more than [`MOST`].
    pub fn push(&mut self, publish: Publish) -> Result<(), Full> {
        if self.is_full() {
            return Err(Full);
        }
        self.entries.push_back(Entry { publish, sent: false, refused: 0 });
        Ok(())
    }

    /// Whether another publish would be refused.
    pub fn is_full(&self) -> bool {
        self.entries.len() >= MOST
    }

    /// Whether everything was acknowledged or refused.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// A new connection: everything is sent again, at most `limit` at once.
    pub fn connected(&mut self, limit: u64) {
        self.most_in_flight = usize::try_from(limit).unwrap_or(MOST).clamp(1, MOST);
        self.window = FIRST_WINDOW.min(self.most_in_flight);
        // What is sent once belonged to the connection before.
        self.entries.retain(|entry| entry.publish.answer != Answer::None);
        self.entries.iter_mut().for_each(|entry| entry.sent = false);
    }

    /// Forgets one of them, sent or not.
    pub fn forget(&mut self, id: EventId) {
        self.entries.retain(|entry| !entry.publish.answer.is_of(id));
    }

    /// Forgets all of it: it will be pushed once more as something else.
    pub fn clear(&mut self) {
        self.entries.clear();
    }

    /// Until when nothing is sent.
    pub fn pause(&self, now: Instant) -> Option<Instant> {
        self.paused_until.filter(|until| *until > now && !self.is_empty())
    }

    /// The next text to send; [`Outstanding::sent`] follows when it is on its way.
    pub fn next(&self, now: Instant) -> Option<String> {
        let in_flight = self.entries.iter().filter(|entry| entry.sent).count();
        if self.pause(now).is_some() || in_flight >= self.window {
            return None;
        }
        self.entries.iter().find(|entry| !entry.sent).map(|entry| entry.publish.text.clone())
    }

    /// What [`Outstanding::next`] gave is on its way.
    pub fn sent(&mut self) {
        if let Some(at) = self.entries.iter().position(|entry| !entry.sent) {
            match self.entries[at].publish.answer {
                Answer::Ack(_) | Answer::Fate(_) | Answer::Message(..) => self.entries[at].sent = true,
                Answer::None => drop(self.entries.remove(at)),
            }
        }
    }

    /// The log has it, or the node's journal; an operation's fate is known.
    pub fn acknowledged(&mut self, id: EventId) {
        self.entries.retain(|entry| !entry.publish.answer.is_of(id));
        self.window = (self.window + 1).min(self.most_in_flight);
    }

    /// A message of this type came; it may be what a question waited for.
    pub fn answered(&mut self, event_type: &str) {
        let asked = |entry: &Entry| matches!(entry.publish.answer, Answer::Message(_, answer) if answer == event_type);
        if let Some(at) = self.entries.iter().position(|entry| entry.sent && asked(entry)) {
            self.entries.remove(at);
        }
    }

    /// The node refused something.
    pub fn refused(&mut self, error: &incoming::Error, now: Instant) -> Verdict {
        // The node names what it refuses, if it can be named: without a name of ours it is about something else.
        let named = error.event_id.as_deref().or(error.id.as_deref()).and_then(|id| id.parse().ok());
        let Some(at) = named.and_then(|id| self.position(id)) else { return Verdict::Foreign };
        if error.retry_after_ms.is_none() && !PASSING.contains(&error.code.as_str()) {
            self.entries.remove(at);
            return Verdict::Refused;
        }
        self.repeat(at, error.retry_after_ms, now);
        Verdict::Repeats
    }

    /// An operation was tried and could not be done now.
    pub fn try_again(&mut self, id: EventId, retry_after_ms: Option<u64>, now: Instant) {
        if let Some(at) = self.position(id) {
            self.repeat(at, retry_after_ms, now);
        }
    }

    fn position(&self, id: EventId) -> Option<usize> {
        self.entries.iter().position(|entry| entry.sent && entry.publish.answer.is_of(id))
    }

    fn repeat(&mut self, at: usize, retry_after_ms: Option<u64>, now: Instant) {
        let entry = &mut self.entries[at];
        entry.sent = false;
        // One at a time from here on: what is refused in the middle of a window comes back behind its followers.
        self.window = 1;
        let unhinted = CAP.min(PAUSE * (1 << entry.refused.min(6)));
        entry.refused = entry.refused.saturating_add(1);
        let pause = retry_after_ms.map_or(unhinted, Duration::from_millis);
        self.paused_until = Some(self.paused_until.map_or(now + pause, |until| until.max(now + pause)));
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn publish(n: u128) -> (EventId, Publish) {
        let id = EventId(Uuid::from_u128(n));
        let text = format!(r#"{{"event_type":"note","event_id":"{id}"}}"#);
        (id, Publish::from_json(&text).expect("a publish"))
    }

    fn error(code: &str, id: EventId, retry_after_ms: Option<u64>) -> incoming::Error {
        let (code, event_id) = (code.to_owned(), Some(id.to_string()));
        incoming::Error { code, message: String::new(), event_id, id: None, retry_after_ms }
    }

    /// One publish on its way.
    fn sent() -> (EventId, Outstanding) {
        let mut outstanding = Outstanding::default();
        let (id, only) = publish(1);
        outstanding.push(only).expect("room");
        outstanding.sent();
        (id, outstanding)
    }

    #[test]
    fn what_was_not_acknowledged_is_sent_again_on_the_next_connection() {
        let now = Instant::now();
        let mut outstanding = Outstanding::default();
        let ((a, first), (_, second)) = (publish(1), publish(2));
        outstanding.push(first).expect("room");
        outstanding.push(second).expect("room");
        for _ in 0..2 {
            assert!(outstanding.next(now).is_some());
            outstanding.sent();
        }
        assert_eq!(outstanding.next(now), None);
        outstanding.acknowledged(a);
        outstanding.connected(256);
        assert!(outstanding.next(now).is_some_and(|text| text.contains("000000000002")));
        assert_eq!(outstanding.len(), 1);
    }

    #[test]
    fn a_refusal_that_passes_pauses_and_repeats_and_another_gives_up() {
        let now = Instant::now();
        let (id, mut outstanding) = sent();
        assert_eq!(outstanding.refused(&error("rate_limited", id, Some(500)), now), Verdict::Repeats);
        assert_eq!(outstanding.next(now), None);
        assert!(outstanding.next(now + Duration::from_millis(500)).is_some());
        outstanding.sent();
        assert_eq!(outstanding.refused(&error("too_large", id, None), now), Verdict::Refused);
        assert!(outstanding.is_empty());
        assert_eq!(outstanding.refused(&error("too_large", id, None), now), Verdict::Foreign);
    }

    #[test]
    fn what_passes_is_what_says_when_or_speaks_of_the_node_alone() {
        for (code, hint, verdict) in [
            ("journal_full", None, Verdict::Repeats),
            ("internal", None, Verdict::Repeats),
            ("limit_reached", Some(5_000), Verdict::Repeats),
            ("new_in_a_later_version", Some(5_000), Verdict::Repeats),
            ("limit_reached", None, Verdict::Refused),
            ("not_storable", None, Verdict::Refused),
        ] {
            let (id, mut outstanding) = sent();
            assert_eq!(outstanding.refused(&error(code, id, hint), Instant::now()), verdict, "{code}");
        }
    }

    #[test]
    fn without_a_hint_the_pause_grows_to_a_minute() {
        let (id, mut outstanding) = sent();
        let mut now = Instant::now();
        for seconds in [1, 2, 4, 8, 16, 32, 60, 60] {
            assert_eq!(outstanding.refused(&error("internal", id, None), now), Verdict::Repeats);
            now += Duration::from_secs(seconds);
            assert_eq!(outstanding.pause(now - Duration::from_millis(1)), Some(now));
            assert!(outstanding.next(now).is_some());
            outstanding.sent();
        }
    }

    #[test]
    fn a_refusal_that_names_nothing_of_ours_is_not_ours() {
        let (id, mut outstanding) = sent();
        let other = EventId(Uuid::from_u128(2)).to_string();
        for (event_id, name) in [(None, None), (None, Some("state")), (Some(other), None)] {
            let foreign = incoming::Error { event_id, id: name.map(str::to_owned), ..error("forbidden", id, None) };
            assert_eq!(outstanding.refused(&foreign, Instant::now()), Verdict::Foreign);
        }
        assert_eq!(outstanding.len(), 1);
    }

    #[test]
    fn a_refused_question_is_settled_as_well() {
        let mut outstanding = Outstanding::default();
        let id = EventId(Uuid::from_u128(1));
        let question = format!(r#"{{"event_type":"sync_request","event_id":"{id}"}}"#);
        outstanding.push(Publish::from_json(&question).expect("a question")).expect("room");
        outstanding.sent();
        let refusal = incoming::Error { event_id: None, id: Some(id.to_string()), ..error("forbidden", id, None) };
        assert_eq!(outstanding.refused(&refusal, Instant::now()), Verdict::Refused);
        assert!(outstanding.is_empty());
    }

    #[test]
    fn a_question_waits_for_its_answer() {
        let mut outstanding = Outstanding::default();
        outstanding.push(Publish::from_json(r#"{"event_type":"sync_request"}"#).expect("a question")).expect("room");
        outstanding.sent();
        outstanding.answered("pong");
        assert_eq!(outstanding.len(), 1);
        outstanding.answered("sync_response");
        assert!(outstanding.is_empty());
    }

    #[test]
    fn the_queue_is_bounded() {
        let mut outstanding = Outstanding::default();
        for n in 0..MOST {
            outstanding.push(publish(n as u128).1).expect("room");
        }
        assert_eq!(outstanding.push(publish(7).1), Err(Full));
    }
}
