//! How a message's JSON becomes a frame: as text, or, where a client asked for it and the message is large, deflated in a
//! binary frame; and the way back, bounded.
//!
//! Owns: raw deflate (RFC 1951, no header around it). Must not know: what the JSON says.

use std::cell::RefCell;

use bytes::{Bytes, BytesMut};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use super::frame::{header_len, put_binary_header, put_text_header};

/// The value of the handshake's parameter, which is also what browsers call it.
pub const DEFLATE_RAW: &str = "deflate-raw";

/// Measured on records of 3 KB and 100 KB: level 1 is hardly faster and leaves a quarter more, level 6 saves another fifth
/// at four times the price.
const LEVEL: u32 = 2;

thread_local! {
    // A compressor has 270 KB of tables and an inflater its window: one of each per thread, emptied for each message, so
    // that no message depends on another and frames can be shared.
    static COMPRESS: RefCell<Compress> = RefCell::new(Compress::new(Compression::new(LEVEL), false));
    static DECOMPRESS: RefCell<Decompress> = RefCell::new(Decompress::new(false));
}

/// In which frames a session gets its messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// Text, always.
    Text,
    /// Large messages deflated.
    Deflate {
        /// The smallest JSON that is, in bytes.
        from: usize,
    },
}

impl Encoding {
    /// Its name and from which size on it is used; `None` for plain text.
    pub fn negotiated(self) -> Option<(&'static str, usize)> {
        match self {
            Self::Text => None,
            Self::Deflate { from } => Some((DEFLATE_RAW, from)),
        }
    }

    /// Whether a message of so many bytes stays text.
    pub(super) fn leaves(self, bytes: usize) -> bool {
        match self {
            Self::Text => true,
            Self::Deflate { from } => bytes < from,
        }
    }

    /// Writes a message as a frame.
    pub(super) fn put(self, out: &mut BytesMut, json: &[u8]) {
        let deflated = if self.leaves(json.len()) { None } else { deflate(json) };
        let payload = deflated.as_deref().unwrap_or(json);
        out.reserve(header_len(payload.len()) + payload.len());
        match deflated {
            Some(_) => put_binary_header(out, payload.len()),
            None => put_text_header(out, payload.len()),
        }
        out.extend_from_slice(payload);
    }

    /// A message as a frame.
    pub(super) fn frame(self, json: &[u8]) -> Bytes {
        let mut out = BytesMut::new();
        self.put(&mut out, json);
        out.freeze()
    }
}

/// `None`: it would not be smaller.
fn deflate(json: &[u8]) -> Option<Vec<u8>> {
    COMPRESS.with_borrow_mut(|compress| {
        compress.reset();
        // What does not fit in here is not wanted.
        let mut out = Vec::with_capacity(json.len());
        match compress.compress_vec(json, &mut out, FlushCompress::Finish) {
            Ok(Status::StreamEnd) if out.len() < json.len() => Some(out),
            _ => None,
        }
    })
}

/// Why a binary message cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// It would be larger than it may be.
    #[error("it inflates to more than a message may have")]
    TooLarge,
    /// Not deflate.
    #[error("it is not raw deflate (RFC 1951)")]
    Corrupt,
    /// Its end is missing.
    #[error("its end is missing")]
    Truncated,
    /// Something follows its end.
    #[error("something follows its end")]
    Trailing,
}

/// Inflates a whole message. Memory and time are bounded by `limit`, the greatest result in bytes, and by what came,
/// whatever that would become.
pub fn inflate(input: &[u8], limit: usize) -> Result<Vec<u8>, Unreadable> {
    DECOMPRESS.with_borrow_mut(|decompress| {
        decompress.reset(false);
        // JSON shrinks to a third or so; one byte beyond the limit shows that it was passed.
        let mut out = Vec::with_capacity(input.len().saturating_mul(4).min(limit) + 1);
        loop {
            let read = decompress.total_in() as usize;
            let status = decompress.decompress_vec(&input[read..], &mut out, FlushDecompress::None);
            let status = status.map_err(|_| Unreadable::Corrupt)?;
            if out.len() > limit {
                return Err(Unreadable::TooLarge);
            }
            match status {
                Status::StreamEnd if decompress.total_in() as usize == input.len() => return Ok(out),
                Status::StreamEnd => return Err(Unreadable::Trailing),
                // It had room left and still did not come to an end.
                _ if out.len() < out.capacity() => return Err(Unreadable::Truncated),
                _ => out.reserve_exact(out.len().min(limit - out.len()) + 1),
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEFLATE: Encoding = Encoding::Deflate { from: 100 };

    fn payload(frame: &[u8]) -> &[u8] {
        let header = match frame[1] {
            126 => 4,
            127 => 10,
            _ => 2,
        };
        &frame[header..]
    }

    #[test]
    fn what_is_large_and_shrinks_is_deflated_and_comes_back() {
        for length in [100, 1_000, 70_000, 3_000_000] {
            let json = format!("{{\"data\":\"{}\"}}", "ab c".repeat(length / 4)).into_bytes();
            let frame = DEFLATE.frame(&json);
            assert_eq!(frame[0], 0x82, "{length}");
            assert!(frame.len() < json.len() / 2);
            assert_eq!(inflate(payload(&frame), json.len()).as_deref(), Ok(&json[..]));
            assert_eq!(inflate(payload(&frame), json.len() - 1), Err(Unreadable::TooLarge));
            assert_eq!(Encoding::Text.frame(&json)[0], 0x81);
        }
    }

    #[test]
    fn what_is_small_or_does_not_shrink_stays_text() {
        let small = [b' '; 99];
        let mut random = fastrand::Rng::with_seed(7);
        let noise: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(10_000).collect();
        for json in [&small[..], &noise] {
            let frame = DEFLATE.frame(json);
            assert_eq!((frame[0], payload(&frame)), (0x81, json));
        }
    }

    #[test]
    fn a_bomb_stops_at_the_limit() {
        let zeros = deflate(&vec![0; 20_000_000]).expect("nothing shrinks like it");
        assert!(zeros.len() < 100_000);
        assert_eq!(inflate(&zeros, 1_000_000), Err(Unreadable::TooLarge));
        // Without its end as well: it is never reached.
        assert_eq!(inflate(&zeros[..1_500], 1_000_000), Err(Unreadable::TooLarge));
    }

    #[test]
    fn every_kind_of_damage_is_told() {
        let whole = deflate("a message that says what it says ".repeat(20).as_bytes()).expect("smaller");
        for length in 0..whole.len() {
            assert_eq!(inflate(&whole[..length], 10_000), Err(Unreadable::Truncated), "{length}");
        }
        let trailing = [&whole[..], b"x"].concat();
        assert_eq!(inflate(&trailing, 10_000), Err(Unreadable::Trailing));
        assert_eq!(inflate(&[&whole[..], &whole].concat(), 10_000), Err(Unreadable::Trailing));
        assert_eq!(inflate(b"\xff\xff\xff\xff", 10_000), Err(Unreadable::Corrupt));
        // With the header of zlib around it, which is the other format that programs make by mistake.
        assert!(inflate(&[&b"\x78\x9c"[..], &whole].concat(), 10_000).is_err());
        assert_eq!(inflate(&whole, 10_000).map(|out| out.len()), Ok(660), "and nothing of that stays behind");
    }

    #[test]
    fn the_limit_itself_is_within_it() {
        for length in [1, 2, 255, 4_096, 65_535] {
            let input = deflate(&vec![b'x'; length.max(40)]).expect("smaller");
            assert_eq!(inflate(&input, length.max(40)).map(|out| out.len()), Ok(length.max(40)), "{length}");
        }
    }

    proptest::proptest! {
        #[test]
        fn whatever_comes_is_read_or_refused_within_the_limit(input: Vec<u8>, limit in 0_usize..5_000) {
            if let Ok(out) = inflate(&input, limit) {
                proptest::prop_assert!(out.len() <= limit);
            }
        }
    }
}
