//! WebSocket frames and bench events as bytes: read and written without parsing JSON, because whoever measures must cost
//! less than what is measured.

use std::{ops::Range, sync::OnceLock, time::Instant};

use memchr::memmem;

/// A text frame.
pub const TEXT: u8 = 1;
/// A close frame.
pub const CLOSE: u8 = 8;
/// A ping.
pub const PING: u8 = 9;
/// A pong.
pub const PONG: u8 = 10;

/// Longer frames than this are not ours.
const MOST_BYTES: usize = 16 << 20;
/// Where an event's own figures begin; quotes inside strings are escaped, so nothing else reads like this.
const STAMP: &[u8] = b"\"data\":{\"t\":";

/// What comes is not a server's WebSocket frames.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a WebSocket frame of at most {MOST_BYTES} bytes, unfragmented")]
pub struct FrameError;

/// One frame's place in a buffer.
#[derive(Debug, PartialEq, Eq)]
pub struct Header {
    /// What it is.
    pub opcode: u8,
    /// The mask of a client's frame.
    pub mask: Option<[u8; 4]>,
    /// Where its payload stands; the frame ends with it.
    pub payload: Range<usize>,
}

/// The frame at the start of `bytes`, once it is there as a whole.
pub fn header(bytes: &[u8]) -> Result<Option<Header>, FrameError> {
    let [first, second, ..] = *bytes else { return Ok(None) };
    if first & 0xf0 != 0x80 {
        return Err(FrameError);
    }
    let (length, mut at) = match (second & 0x7f, bytes) {
        (126, [_, _, a, b, ..]) => (usize::from(u16::from_be_bytes([*a, *b])), 4),
        (127, [_, _, a, b, c, d, e, f, g, h, ..]) => {
            let length = u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]);
            (usize::try_from(length).map_err(|_| FrameError)?, 10)
        }
        (126 | 127, _) => return Ok(None),
        (short, _) => (usize::from(short), 2),
    };
    if length > MOST_BYTES {
        return Err(FrameError);
    }
    let mut mask = None;
    if second & 0x80 != 0 {
        let Some(key) = bytes.get(at..at + 4) else { return Ok(None) };
        mask = Some([key[0], key[1], key[2], key[3]]);
        at += 4;
    }
    let payload = at..at + length;
    Ok((bytes.len() >= payload.end).then_some(Header { opcode: first & 0x0f, mask, payload }))
}

fn put_head(out: &mut Vec<u8>, opcode: u8, mask_bit: u8, length: usize) {
    out.push(0x80 | opcode);
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(short @ 0..=125), _) => out.push(mask_bit | short),
        (_, Ok(middle)) => {
            out.push(mask_bit | 126);
            out.extend_from_slice(&middle.to_be_bytes());
        }
        _ => {
            out.push(mask_bit | 127);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
}

/// Appends a client's frame. The mask is zero: loopback has no proxy to be fooled, and masking would cost time.
pub fn put_client_frame(out: &mut Vec<u8>, opcode: u8, payload: &[u8]) {
    put_head(out, opcode, 0x80, payload.len());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(payload);
}

/// Appends a server's frame.
pub fn put_server_frame(out: &mut Vec<u8>, opcode: u8, payload: &[u8]) {
    put_head(out, opcode, 0, payload.len());
    out.extend_from_slice(payload);
}

/// Nanoseconds since the process first asked.
pub fn now() -> u64 {
    nanos_at(Instant::now())
}

/// A moment in the same count.
pub fn nanos_at(moment: Instant) -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    let start = START.get_or_init(Instant::now);
    u64::try_from(moment.saturating_duration_since(*start).as_nanos()).expect("a bench lasts less than 584 years")
}

/// What a bench event carries in front of its padding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// When it was sent, or should have been.
    pub sent: u64,
    /// Its publisher's counter, from 0.
    pub number: u64,
    /// Which publisher.
    pub publisher: usize,
}

impl Stamp {
    /// The event's `data`, padded to `size` bytes.
    pub fn data(self, size: usize) -> String {
        let mut data = format!(r#"{{"t":{},"n":{},"p":{},"pad":""#, self.sent, self.number, self.publisher);
        let pad = size.saturating_sub(data.len() + 2);
        data.extend(std::iter::repeat_n('x', pad));
        data.push_str("\"}");
        data
    }

    /// Reads the stamp of a bench event; `hint` remembers where the last one stood, which is nearly always right.
    pub fn find(payload: &[u8], hint: &mut usize) -> Option<Self> {
        let at = match payload.get(*hint..) {
            Some(rest) if rest.starts_with(STAMP) => *hint,
            _ => memmem::find(payload, STAMP)?,
        };
        *hint = at;
        let (sent, rest) = digits(&payload[at + STAMP.len()..])?;
        let (number, rest) = digits(rest.strip_prefix(b",\"n\":")?)?;
        let (publisher, _) = digits(rest.strip_prefix(b",\"p\":")?)?;
        Some(Self { sent, number, publisher: usize::try_from(publisher).ok()? })
    }
}

fn digits(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let end = bytes.iter().position(|b| !b.is_ascii_digit())?;
    let number = bytes[..end].iter().try_fold(0u64, |n, b| n.checked_mul(10)?.checked_add(u64::from(b - b'0')))?;
    (end > 0).then_some((number, &bytes[end..]))
}

/// The number behind `"key":`, the key given with its quotes and colon.
pub fn number_after(payload: &[u8], key: &[u8]) -> Option<u64> {
    let at = memmem::find(payload, key)?;
    digits(&payload[at + key.len()..]).map(|(number, _)| number)
}

/// The text behind `"key":"`, up to the next quote; for values without escapes.
pub fn text_after<'a>(payload: &'a [u8], key: &[u8]) -> Option<&'a str> {
    let at = memmem::find(payload, key)? + key.len();
    let end = memchr::memchr(b'"', &payload[at..])?;
    str::from_utf8(&payload[at..at + end]).ok()
}

/// The message's type, in either envelope: `event_type`, or `type`.
pub fn event_type(payload: &[u8]) -> Option<&str> {
    text_after(payload, b"type\":\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_of_every_length_are_read_as_written() {
        for length in [0, 1, 125, 126, 65_535, 65_536] {
            let payload = vec![b'x'; length];
            let (mut server, mut client) = (Vec::new(), Vec::new());
            put_server_frame(&mut server, TEXT, &payload);
            put_client_frame(&mut client, TEXT, &payload);
            let read = header(&server).expect("a frame").expect("whole");
            assert_eq!((read.opcode, read.mask, &server[read.payload.clone()]), (TEXT, None, &payload[..]));
            let read = header(&client).expect("a frame").expect("whole");
            assert_eq!((read.mask, read.payload.end), (Some([0; 4]), client.len()));
            for cut in 0..server.len().min(12) {
                assert!(matches!(header(&server[..cut]), Ok(None)) || cut == server.len());
            }
        }
        assert_eq!(header(b"HTTP/1.1 400"), Err(FrameError));
    }

    #[test]
    fn a_stamp_is_found_wherever_the_envelope_puts_it() {
        let stamp = Stamp { sent: 123, number: 45, publisher: 1 };
        let data = stamp.data(128);
        assert_eq!(data.len(), 128);
        let mut hint = 0;
        for text in [
            format!(r#"{{"event_type":"bench","seq":7,"data":{data}}}"#),
            format!(r#"{{"event_type":"bench","seq":7,"data":{data}}}"#),
            format!(r#"{{"event_type":"bench","seq":71234,"instance_id":"\"data\":{{","data":{data},"more":1}}"#),
        ] {
            assert_eq!(Stamp::find(text.as_bytes(), &mut hint), Some(stamp), "{text}");
        }
        assert_eq!(Stamp::find(br#"{"event_type":"ack","data":{"seq":1}}"#, &mut hint), None);
        assert_eq!(number_after(br#"{"seq":71,"prev":9}"#, b"\"seq\":"), Some(71));
    }
}
