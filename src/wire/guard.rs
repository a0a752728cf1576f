//! Looks at the headers of inbound frames before their payload is buffered anywhere.
//!
//! Why: the parser behind it waits for a whole frame before it looks at its size, so a single announced length could
//! make the node collect gigabytes; and the rules it does not check (masks, reserved bits, control frames, the order
//! of fragments, their sum) end in the close code that RFC 6455 asks for.

use super::codes::Close;

/// Follows the frames of one connection.
#[derive(Debug, Default)]
pub struct FrameGuard {
    header: [u8; 14],
    have: u8,
    /// Length that the present header announces.
    announced: u64,
    /// Payload bytes of the present frame still to come.
    payload: u64,
    /// Sum of the present message's fragments so far.
    message: u64,
    fragmented: bool,
    /// Whole frames so far.
    frames: u64,
    /// Whether a close frame was among them.
    closed: bool,
}

const CONTINUATION: u8 = 0;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PONG: u8 = 10;

/// Bytes of the mask, a header's last.
const MASK: u8 = 4;
/// The longest payload of a control frame.
const CONTROL_MOST: u8 = 125;

impl FrameGuard {
    /// Checks the next bytes from the socket; `limit` is the greatest message in bytes. After an error nothing more
    /// may be fed.
    pub fn check(&mut self, mut bytes: &[u8], limit: u64) -> Result<(), Close> {
        loop {
            let skip = self.payload.min(bytes.len() as u64);
            self.payload -= skip;
            if skip > 0 && self.payload == 0 {
                self.frames += 1;
            }
            bytes = &bytes[skip as usize..];
            let Some((&byte, rest)) = bytes.split_first() else { return Ok(()) };
            self.header[usize::from(self.have)] = byte;
            self.have += 1;
            bytes = rest;
            self.look_at_header(limit)?;
        }
    }

    /// Whether the client has said that it closes, or answered that we do.
    pub fn saw_close(&self) -> bool {
        self.closed
    }

    /// How many frames have come whole.
    pub fn frames(&self) -> u64 {
        self.frames
    }

    /// Judges each byte of a header as soon as it is here: the parser does so too, with codes of its own.
    fn look_at_header(&mut self, limit: u64) -> Result<(), Close> {
        if self.have < 2 {
            return Ok(());
        }
        if self.have == 2 {
            self.check_kind()?;
        }
        let until_mask = size_before_mask(self.header[1]);
        if self.have == until_mask {
            self.check_length(limit)?;
        }
        if self.have == until_mask + MASK {
            (self.have, self.payload) = (0, self.announced);
            if self.payload == 0 {
                self.frames += 1;
            }
        }
        Ok(())
    }

    fn check_kind(&mut self) -> Result<(), Close> {
        let [first, second, ..] = self.header;
        let (last, opcode, masked) = (first & 0x80 != 0, first & 0x0f, second & 0x80 != 0);
        let good = match opcode {
            CLOSE..=PONG => last && second & 0x7f <= CONTROL_MOST,
            CONTINUATION..=BINARY => (opcode == CONTINUATION) == self.fragmented,
            _ => false,
        };
        self.closed |= opcode == CLOSE;
        if good && masked && first & 0x70 == 0 { Ok(()) } else { Err(Close::Protocol) }
    }

    fn check_length(&mut self, limit: u64) -> Result<(), Close> {
        let (first, second) = (self.header[0], self.header[1]);
        self.announced = match second & 0x7f {
            126 => u64::from(u16::from_be_bytes([self.header[2], self.header[3]])),
            127 => {
                let mut long = [0; 8];
                long.copy_from_slice(&self.header[2..10]);
                u64::from_be_bytes(long)
            }
            short => u64::from(short),
        };
        if let CONTINUATION..=BINARY = first & 0x0f {
            self.message = if self.fragmented { self.message.saturating_add(self.announced) } else { self.announced };
            self.fragmented = first & 0x80 == 0;
            if self.message > limit {
                return Err(Close::TooLarge);
            }
        }
        Ok(())
    }
}

/// Size of a header whose second byte is this one, without the mask.
fn size_before_mask(second: u8) -> u8 {
    match second & 0x7f {
        126 => 4,
        127 => 10,
        _ => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: u64 = 1000;

    fn frame(first: u8, length: usize) -> Vec<u8> {
        let mut out = vec![first];
        match length {
            0..=125 => out.push(0x80 | length as u8),
            126..=65_535 => {
                out.push(0x80 | 126);
                out.extend((length as u16).to_be_bytes());
            }
            _ => {
                out.push(0x80 | 127);
                out.extend((length as u64).to_be_bytes());
            }
        }
        out.extend([1, 2, 3, 4]);
        out
    }

    fn whole(first: u8, length: usize) -> Vec<u8> {
        let mut out = frame(first, length);
        out.resize(out.len() + length, 0);
        out
    }

    fn check(bytes: &[u8], chunk: usize) -> Result<(), Close> {
        let mut guard = FrameGuard::default();
        bytes.chunks(chunk).try_for_each(|part| guard.check(part, LIMIT))
    }

    #[test]
    fn good_frames_pass_however_they_are_cut() {
        let mut bytes = whole(0x81, 5);
        bytes.extend(whole(0x89, 125)); // ping
        bytes.extend(whole(0x01, 400)); // first fragment
        bytes.extend(whole(0x8a, 0)); // pong in between
        bytes.extend(whole(0x80, 600)); // last fragment
        bytes.extend(whole(0x82, 1000));
        for chunk in [1, 2, 3, 7, 4096] {
            assert_eq!(check(&bytes, chunk), Ok(()), "{chunk}");
        }
    }

    #[test]
    fn a_frame_counts_when_its_last_byte_is_there() {
        let bytes = [whole(0x81, 5), whole(0x8a, 0), whole(0x89, 125), frame(0x82, 3)].concat();
        for chunk in [1, 2, 3, 7, 4096] {
            let mut guard = FrameGuard::default();
            bytes.chunks(chunk).for_each(|part| guard.check(part, LIMIT).expect("good frames"));
            assert_eq!(guard.frames(), 3, "{chunk}");
            guard.check(&[0; 2], LIMIT).expect("payload");
            assert_eq!(guard.frames(), 3, "{chunk}");
            guard.check(&[0], LIMIT).expect("payload");
            assert_eq!(guard.frames(), 4, "{chunk}");
        }
    }

    #[test]
    fn a_too_large_frame_is_refused_at_its_header() {
        assert_eq!(check(&frame(0x81, 1001), 1), Err(Close::TooLarge));
        assert_eq!(check(&frame(0x82, usize::MAX), 3), Err(Close::TooLarge));
    }

    #[test]
    fn a_header_is_judged_before_it_is_whole() {
        let cases = [
            (frame(0xc1, 1), 2, Close::Protocol),
            (frame(0x83, 1), 2, Close::Protocol),
            (vec![0x81, 2], 2, Close::Protocol),
            (frame(0x81, 1001), 4, Close::TooLarge),
            (frame(0x81, usize::MAX), 10, Close::TooLarge),
        ];
        for (bytes, enough, close) in cases {
            assert_eq!(check(&bytes[..enough - 1], 1), Ok(()), "{bytes:x?}");
            assert_eq!(check(&bytes[..enough], 1), Err(close), "{bytes:x?}");
        }
    }

    #[test]
    fn fragments_are_summed() {
        let mut bytes = whole(0x01, 600);
        bytes.extend(frame(0x80, 401));
        assert_eq!(check(&bytes, 64), Err(Close::TooLarge));
    }

    #[test]
    fn broken_framing_is_a_protocol_error() {
        let unmasked = vec![0x81, 2, b'h', b'i'];
        let mut nested = whole(0x01, 1);
        nested.extend(frame(0x81, 1));
        for bytes in [
            unmasked,
            frame(0xc1, 1),
            frame(0x83, 1),
            frame(0x8b, 1),
            frame(0x80, 1),
            frame(0x09, 1),
            frame(0x89, 126),
            nested,
        ] {
            assert_eq!(check(&bytes, 1), Err(Close::Protocol), "{bytes:x?}");
        }
    }
}
