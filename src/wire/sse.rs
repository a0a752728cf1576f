//! Server-sent events: what a room says, as the lines of an event stream (HTML standard, "Server-sent events").
//!
//! Owns: that whatever is said is one event, however it was written. Must not know: who reads it.

use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;

use crate::model::{Cursor, Position};

use super::{
    Refusal,
    outgoing::{ErrorReport, ResumeReport},
};

/// Lines that were not sent yet.
#[derive(Debug, Default)]
pub struct Lines(Vec<u8>);

/// The first event's content: what `session_ready` says on a socket, without what only members have.
#[derive(Clone, Debug, Serialize)]
pub struct StreamReady {
    /// The stream's id, as in the node's log.
    pub session_id: uuid::Uuid,
    /// The protocol's version.
    pub protocol: u32,
    /// The log's epoch.
    pub epoch: String,
    /// Where the room stands.
    pub position: u64,
    /// The same as a cursor.
    pub cursor: String,
    /// How this stream goes on.
    pub resume: ResumeReport,
    /// How often there is a sign of life.
    pub heartbeat: HeartbeatRule,
}

/// The heartbeat's rule; nothing is expected from the reader.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct HeartbeatRule {
    /// How often the node sends one.
    pub interval_ms: u64,
}

impl Lines {
    /// Whether there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// In bytes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Ready to be sent.
    pub fn into_bytes(self) -> Bytes {
        self.0.into()
    }

    fn line(&mut self, field: &str, value: &[u8]) {
        self.0.extend_from_slice(field.as_bytes());
        self.0.extend_from_slice(b": ");
        self.0.extend_from_slice(value);
        self.0.push(b'\n');
    }

    fn end(&mut self) {
        self.0.push(b'\n');
    }

    /// How long to wait before coming back.
    pub fn retry(&mut self, after: Duration) {
        self.line("retry", after.as_millis().to_string().as_bytes());
        self.end();
    }

    /// A sign of life that no listener hears.
    pub fn heartbeat(&mut self) {
        self.line("", b"heartbeat");
        self.end();
    }

    /// One event; with an id, whoever comes back after it goes on from there.
    pub fn event<D: Serialize>(&mut self, name: &str, id: Option<Cursor>, data: &D) {
        // None of what is said can fail to serialize, and no serializer of ours breaks lines.
        let data = serde_json::to_vec(data).unwrap_or_default();
        self.record(name, id, &data);
    }

    /// One event whose content is JSON already.
    pub fn record(&mut self, name: &str, id: Option<Cursor>, json: &[u8]) {
        if let Some(id) = id {
            self.line("id", id.to_string().as_bytes());
        }
        self.line("event", name.as_bytes());
        self.line("data", json);
        if memchr::memchr2(b'\n', b'\r', json).is_some() {
            // Only blanks between tokens can be such bytes: inside strings JSON has them escaped.
            let (end, start) = (self.0.len() - 1, self.0.len() - 1 - json.len());
            self.0[start..end].iter_mut().filter(|byte| matches!(byte, b'\n' | b'\r')).for_each(|byte| *byte = b' ');
        }
        self.end();
    }

    /// `caught_up`.
    pub fn caught_up(&mut self, place: Cursor) {
        #[derive(Serialize)]
        struct Place {
            position: u64,
            cursor: String,
        }
        self.event("caught_up", Some(place), &Place { position: place.position.0, cursor: place.to_string() });
    }

    /// `advance`.
    pub fn advance(&mut self, from: Position, to: Cursor) {
        #[derive(Serialize)]
        struct Advance {
            from: u64,
            to: u64,
            cursor: String,
        }
        let advance = Advance { from: from.0, to: to.position.0, cursor: to.to_string() };
        self.event("advance", Some(to), &advance);
    }

    /// `error`: why the stream ends.
    pub fn error(&mut self, refusal: &Refusal) {
        self.event("error", None, &ErrorReport::new(refusal));
    }

    /// `draining`, and when to come back.
    pub fn draining(&mut self, place: Cursor, after: Duration) {
        #[derive(Serialize)]
        struct Draining {
            retry_after_ms: u64,
        }
        self.retry(after);
        self.event("draining", Some(place), &Draining { retry_after_ms: after.as_millis() as u64 });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Epoch, Fingerprint};

    const PLACE: Cursor = Cursor { epoch: Epoch(7), position: Position(5), fingerprint: Some(Fingerprint(0xab)) };

    fn text(say: impl FnOnce(&mut Lines)) -> String {
        let mut lines = Lines::default();
        say(&mut lines);
        String::from_utf8(lines.into_bytes().to_vec()).expect("UTF-8")
    }

    #[test]
    fn every_event_has_its_id_its_name_and_one_line_of_data() {
        let said = text(|lines| lines.record("note", Some(PLACE), b"{\"a\":\r\n[1,\n2]}"));
        assert_eq!(said, "id: 0000000000000007.5.000000ab\nevent: note\ndata: {\"a\":  [1, 2]}\n\n");
        let said = text(|lines| lines.record("note", None, b"{\"a\":\"\\n\"}"));
        assert_eq!(said, "event: note\ndata: {\"a\":\"\\n\"}\n\n");
    }

    #[test]
    fn what_is_no_event_reaches_no_listener() {
        assert_eq!(text(Lines::heartbeat), ": heartbeat\n\n");
        assert_eq!(text(|lines| lines.retry(Duration::from_millis(1234))), "retry: 1234\n\n");
    }

    #[test]
    fn a_farewell_says_when_to_come_back() {
        let said = text(|lines| lines.draining(PLACE, Duration::from_millis(700)));
        let event = "id: 0000000000000007.5.000000ab\nevent: draining\ndata: {\"retry_after_ms\":700}\n\n";
        assert_eq!(said, format!("retry: 700\n\n{event}"));
    }
}
