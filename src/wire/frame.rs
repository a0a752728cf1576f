//! Server-side WebSocket frames (RFC 6455): unmasked, whole, ready to be shared by everyone who gets them.

use bytes::{BufMut, Bytes, BytesMut};

use super::codes::Close;
use crate::model::Position;

const FIN: u8 = 0x80;
const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xa;

/// Length of the header in front of a payload of this length.
pub fn header_len(payload: usize) -> usize {
    match payload {
        0..=125 => 2,
        126..=65_535 => 4,
        _ => 10,
    }
}

fn put_header(out: &mut BytesMut, opcode: u8, payload: usize) {
    out.put_u8(FIN | opcode);
    match payload {
        0..=125 => out.put_u8(payload as u8),
        126..=65_535 => {
            out.put_u8(126);
            out.put_u16(payload as u16);
        }
        _ => {
            out.put_u8(127);
            out.put_u64(payload as u64);
        }
    }
}

/// Writes the header of a text frame; exactly `payload` bytes of UTF-8 must follow.
pub fn put_text_header(out: &mut BytesMut, payload: usize) {
    put_header(out, TEXT, payload);
}

/// Writes the header of a binary frame; exactly `payload` bytes must follow.
pub fn put_binary_header(out: &mut BytesMut, payload: usize) {
    put_header(out, BINARY, payload);
}

/// A text frame.
pub fn text(payload: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(header_len(payload.len()) + payload.len());
    put_text_header(&mut out, payload.len());
    out.extend_from_slice(payload);
    out.freeze()
}

/// A ping that carries a position; its pong proves that everything before it arrived.
pub fn ping(position: Position) -> Bytes {
    let mut out = BytesMut::with_capacity(10);
    put_header(&mut out, PING, 8);
    out.put_u64(position.0);
    out.freeze()
}

/// The answer to a client's ping; its payload, at most 125 bytes, comes back.
pub fn pong(payload: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(2 + payload.len());
    put_header(&mut out, PONG, payload.len());
    out.extend_from_slice(payload);
    out.freeze()
}

/// Reads the position back from a pong; `None` if the pong answers no ping of ours.
pub fn pong_position(payload: &[u8]) -> Option<Position> {
    payload.try_into().ok().map(|bytes| Position(u64::from_be_bytes(bytes)))
}

/// A close frame.
pub fn close(close: Close) -> Bytes {
    let reason = close.reason();
    let mut out = BytesMut::with_capacity(4 + reason.len());
    put_header(&mut out, CLOSE, 2 + reason.len());
    out.put_u16(close.code());
    out.extend_from_slice(reason.as_bytes());
    out.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_take_the_shortest_form() {
        for (payload, header) in [(0, 2), (125, 2), (126, 4), (65_535, 4), (65_536, 10)] {
            assert_eq!(text(&vec![b'x'; payload]).len(), payload + header, "{payload}");
            assert_eq!(header_len(payload), header);
        }
        assert_eq!(text(b"hi")[..], [0x81, 2, b'h', b'i']);
    }

    #[test]
    fn a_pong_brings_its_pings_position_back() {
        assert_eq!(pong_position(&ping(Position(77))[2..]), Some(Position(77)));
        assert_eq!(pong_position(b"other"), None);
    }
}
