//! One member of the crowd: what it has seen, and what a read means to it. No I/O.

use hdrhistogram::Histogram;

use crate::{
    client::Since,
    model::{Cursor, Position},
};

use super::{
    frames::{self, CLOSE, PING, PONG, Stamp, TEXT},
    tally::Seen,
};

/// An odd number with bits all over (2^64 divided by the golden ratio): multiplying by it spreads a difference.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

/// What one read did.
#[derive(Debug, Default)]
pub struct Taken {
    /// Bytes that were whole frames; the rest comes again in front of the next read.
    pub used: usize,
    /// Deliveries.
    pub seen: Seen,
    /// Whether this read brought the first `caught_up` of the connection.
    pub caught_up: bool,
    /// What to send: answers to pings.
    pub answers: Vec<u8>,
}

/// A member; outlives its connections.
#[derive(Debug)]
pub struct Seat {
    /// The number that is due next, a publisher each.
    pub due: Vec<u64>,
    /// Which events came in which order, in one number.
    pub order: u64,
    cursor: Option<Cursor>,
    caught_up: bool,
    hint: usize,
}

impl Seat {
    /// A member that expects every event of so many publishers.
    pub fn new(publishers: usize) -> Self {
        Self { due: vec![0; publishers], order: 0, cursor: None, caught_up: false, hint: 0 }
    }

    /// Another connection begins.
    pub fn sit_down(&mut self) {
        self.caught_up = false;
    }

    /// Where it stands, to go on from.
    pub fn since(&self) -> Option<Since> {
        self.cursor.map(Since::Cursor)
    }

    /// Deliveries that never came, when each publisher sent so many.
    pub fn missing(&self, sent: &[u64]) -> u64 {
        sent.iter().zip(&self.due).map(|(sent, due)| sent.saturating_sub(*due)).sum()
    }

    /// Takes what was read at `now` (nanoseconds).
    pub fn take(&mut self, bytes: &[u8], now: u64, latency: &mut Histogram<u64>) -> anyhow::Result<Taken> {
        let mut taken = Taken::default();
        let mut last_record: Option<&[u8]> = None;
        while let Some(frame) = frames::header(&bytes[taken.used..])? {
            let end = taken.used + frame.payload.end;
            let payload = &bytes[taken.used + frame.payload.start..end];
            taken.used = end;
            match frame.opcode {
                TEXT => match Stamp::find(payload, &mut self.hint) {
                    Some(stamp) => {
                        // Recording into a histogram that resizes itself cannot fail.
                        latency
                            .record(now.saturating_sub(stamp.sent))
                            .expect("an auto-resizing histogram takes any value");
                        self.count(stamp, &mut taken.seen);
                        last_record = Some(payload);
                    }
                    None => self.session_message(payload, &mut taken),
                },
                PING => frames::put_client_frame(&mut taken.answers, PONG, payload),
                CLOSE => anyhow::bail!("{}", close_text(payload)),
                _ => {}
            }
        }
        if let (Some(cursor), Some(payload)) = (&mut self.cursor, last_record) {
            // Records come in their order, so only the last one of a read is looked at.
            cursor.position = Position(frames::number_after(payload, b"\"seq\":").unwrap_or(cursor.position.0));
        }
        Ok(taken)
    }

    fn count(&mut self, stamp: Stamp, seen: &mut Seen) {
        let Some(due) = self.due.get_mut(stamp.publisher) else { return };
        if stamp.number < *due {
            seen.doubled += 1;
            return;
        }
        let event = stamp.number.rotate_left(16) ^ stamp.publisher as u64;
        self.order = (self.order.rotate_left(5) ^ event).wrapping_mul(SPREAD);
        seen.lost += stamp.number - *due;
        seen.delivered += 1;
        *due = stamp.number + 1;
    }

    fn session_message(&mut self, payload: &[u8], taken: &mut Taken) {
        let kind = frames::event_type(payload);
        if !matches!(kind, Some("session_ready" | "caught_up" | "advance" | "resync")) {
            return;
        }
        let cursor = frames::text_after(payload, b"\"cursor\":\"").and_then(|text| text.parse::<Cursor>().ok());
        // A returning member's `session_ready` shows the room's position, which it has yet to reach.
        if cursor.is_some() && (self.cursor.is_none() || kind != Some("session_ready")) {
            self.cursor = cursor;
        }
        if kind == Some("caught_up") && !self.caught_up {
            self.caught_up = true;
            taken.caught_up = true;
        }
    }
}

/// A close frame in words.
pub fn close_text(payload: &[u8]) -> String {
    let [a, b, reason @ ..] = payload else { return "closed by the node without a code".to_owned() };
    let code = u16::from_be_bytes([*a, *b]);
    let mend =
        if code == 4011 { "; start the node with --config config/bench.toml, which raises its limits" } else { "" };
    format!("closed by the node: {code} {}{mend}", String::from_utf8_lossy(reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(number: u64, seq: u64) -> Vec<u8> {
        let data = Stamp { sent: 0, number, publisher: 0 }.data(64);
        let mut out = Vec::new();
        let text = format!(r#"{{"event_type":"bench","seq":{seq},"prev":0,"data":{data}}}"#);
        frames::put_server_frame(&mut out, TEXT, text.as_bytes());
        out
    }

    fn text(text: &str) -> Vec<u8> {
        let mut out = Vec::new();
        frames::put_server_frame(&mut out, TEXT, text.as_bytes());
        out
    }

    fn take(seat: &mut Seat, bytes: &[u8]) -> Taken {
        let mut latency = Histogram::new(3).expect("three digits");
        seat.take(bytes, 0, &mut latency).expect("frames")
    }

    #[test]
    fn skipped_and_repeated_numbers_are_counted() {
        let mut seat = Seat::new(1);
        let bytes: Vec<u8> = [0, 1, 1, 4, 3].iter().flat_map(|n| record(*n, n + 10)).collect();
        let seen = take(&mut seat, &bytes).seen;
        assert_eq!((seen.delivered, seen.lost, seen.doubled), (3, 2, 2));
        assert_eq!(seat.missing(&[7]), 2);
    }

    #[test]
    fn members_who_saw_the_same_in_another_order_are_told_apart() {
        let event = |publisher: usize, number: u64| {
            let data = Stamp { sent: 0, number, publisher }.data(64);
            text(&format!(r#"{{"event_type":"bench","seq":1,"prev":0,"data":{data}}}"#))
        };
        let order = |events: &[(usize, u64)]| {
            let mut seat = Seat::new(2);
            let bytes: Vec<u8> = events.iter().flat_map(|(publisher, number)| event(*publisher, *number)).collect();
            take(&mut seat, &bytes);
            seat.order
        };
        assert_eq!(order(&[(0, 0), (1, 0), (0, 1)]), order(&[(0, 0), (1, 0), (0, 1)]));
        assert_ne!(order(&[(0, 0), (1, 0), (0, 1)]), order(&[(1, 0), (0, 0), (0, 1)]));
        assert_ne!(order(&[(0, 0), (1, 0), (0, 1)]), order(&[(0, 0), (0, 1), (1, 0)]));
    }

    #[test]
    fn half_a_frame_waits_for_its_rest_and_pings_are_answered() {
        let mut seat = Seat::new(1);
        let mut bytes = record(0, 1);
        let whole = bytes.len();
        frames::put_server_frame(&mut bytes, PING, b"hi");
        let with_ping = bytes.len();
        bytes.extend(&record(1, 2)[..20]);
        let taken = take(&mut seat, &bytes);
        assert_eq!((taken.used, taken.seen.delivered), (with_ping, 1));
        assert_eq!(frames::header(&taken.answers).expect("a frame").expect("whole").opcode, PONG);
        assert!(whole < with_ping);
    }

    #[test]
    fn the_cursor_follows_session_messages_and_records() {
        let mut seat = Seat::new(1);
        let ready = text(r#"{"event_type":"session_ready","data":{"cursor":"00000000000000ff.7"}}"#);
        let caught = text(r#"{"event_type":"caught_up","data":{"position":9,"cursor":"00000000000000ff.9"}}"#);
        assert!(!take(&mut seat, &ready).caught_up);
        assert!(take(&mut seat, &caught).caught_up);
        assert!(!take(&mut seat, &caught).caught_up);
        take(&mut seat, &record(0, 12));
        assert_eq!(seat.since().map(|s| s.to_string()).as_deref(), Some("00000000000000ff.12"));
        // The room's own position in `session_ready` is ahead of what a returning member has seen.
        take(&mut seat, &text(r#"{"event_type":"session_ready","data":{"cursor":"00000000000000ff.99"}}"#));
        assert_eq!(seat.since().map(|s| s.to_string()).as_deref(), Some("00000000000000ff.12"));
    }

    #[test]
    fn a_close_is_put_into_words() {
        assert!(close_text(&[0x0f, 0xab, b'x']).starts_with("closed by the node: 4011 x; start the node"));
    }
}
