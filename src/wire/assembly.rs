//! From the parser's frames to whole messages: fragments put together, and for whatever cannot be read the close code that
//! RFC 6455 asks for.
//!
//! Why beside the guard: that sees headers only and has bounded sizes and checked the order of fragments before anything
//! comes here; what payloads must be (text that is UTF-8, close frames with a code that exists) is judged here and in
//! the parser. Must not know: who reads the messages.

use actix_http::ws::{Item, Message, ProtocolError};
use bytes::Bytes;

use super::codes::Close;

/// The message of one connection that has not come whole yet.
#[derive(Debug, Default)]
pub struct Assembly(Option<Box<Fragments>>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Text,
    Binary,
}

#[derive(Debug)]
struct Fragments {
    kind: Kind,
    bytes: Vec<u8>,
    /// So many of them are known to be UTF-8.
    text: usize,
}

impl Assembly {
    /// Takes the next frame; gives the message that is whole with it, text, binary, ping or pong, if there is one.
    ///
    /// # Errors
    ///
    /// How the connection ends: because of what came, or because the client has closed it. Nothing may be fed after that.
    pub fn take(&mut self, frame: Result<Message, ProtocolError>) -> Result<Option<Message>, Close> {
        match frame {
            Ok(Message::Continuation(item)) => self.add(item),
            Ok(Message::Close(_)) => Err(Close::Normal),
            Ok(Message::Nop) => Ok(None),
            Ok(whole) => Ok(Some(whole)),
            // What the guard lets through fails here for its text alone.
            Err(ProtocolError::Io(_)) => Err(Close::NotUtf8),
            Err(_) => Err(Close::Protocol),
        }
    }

    fn add(&mut self, item: Item) -> Result<Option<Message>, Close> {
        match item {
            Item::FirstText(bytes) => self.begin(Kind::Text, &bytes),
            Item::FirstBinary(bytes) => self.begin(Kind::Binary, &bytes),
            Item::Continue(bytes) => match &mut self.0 {
                Some(fragments) => fragments.push(&bytes),
                None => Err(Close::Protocol),
            },
            Item::Last(bytes) => {
                let mut fragments = self.0.take().ok_or(Close::Protocol)?;
                fragments.push(&bytes)?;
                fragments.finish().map(Some)
            }
        }
    }

    fn begin(&mut self, kind: Kind, bytes: &Bytes) -> Result<Option<Message>, Close> {
        let mut fragments = Box::new(Fragments { kind, bytes: Vec::new(), text: 0 });
        fragments.push(bytes)?;
        self.0 = Some(fragments);
        Ok(None)
    }
}

impl Fragments {
    /// Refuses bad text with the fragment that spoils it; a character may go on in the next one.
    fn push(&mut self, bytes: &[u8]) -> Result<Option<Message>, Close> {
        self.bytes.extend_from_slice(bytes);
        if self.kind == Kind::Text {
            self.text += match std::str::from_utf8(&self.bytes[self.text..]) {
                Ok(text) => text.len(),
                Err(error) if error.error_len().is_none() => error.valid_up_to(),
                Err(_) => return Err(Close::NotUtf8),
            };
        }
        Ok(None)
    }

    fn finish(self) -> Result<Message, Close> {
        match self.kind {
            Kind::Binary => Ok(Message::Binary(self.bytes.into())),
            // Looked at twice, which costs less than telling the compiler that it is text.
            Kind::Text => match String::from_utf8(self.bytes) {
                Ok(text) => Ok(Message::Text(text.into())),
                Err(_) => Err(Close::NotUtf8),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text_of(parts: &[&'static [u8]]) -> (usize, Result<Option<Message>, Close>) {
        let mut assembly = Assembly::default();
        for (index, part) in parts.iter().enumerate() {
            let bytes = Bytes::from_static(part);
            let item = match index {
                0 => Item::FirstText(bytes),
                last if last + 1 == parts.len() => Item::Last(bytes),
                _ => Item::Continue(bytes),
            };
            let taken = assembly.take(Ok(Message::Continuation(item)));
            if taken != Ok(None) {
                return (index, taken);
            }
        }
        (parts.len(), Ok(None))
    }

    #[test]
    fn a_character_may_be_cut_between_fragments() {
        let whole = Ok(Some(Message::Text("é🌗".into())));
        assert_eq!(text_of(&[b"\xc3", b"\xa9\xf0\x9f", b"", b"\x8c", b"\x97"]), (4, whole));
    }

    #[test]
    fn bad_text_is_refused_with_the_fragment_that_spoils_it() {
        assert_eq!(text_of(&[b"ok\xf4", b"\x90", b"\x80"]), (1, Err(Close::NotUtf8)));
        assert_eq!(text_of(&[b"\xed\xa0\x80", b"", b""]), (0, Err(Close::NotUtf8)));
        assert_eq!(text_of(&[b"half", b"\xe2\x82"]), (1, Err(Close::NotUtf8)));
    }

    #[test]
    fn bytes_need_be_no_text_and_control_frames_may_come_between_them() {
        let mut assembly = Assembly::default();
        let mut take = |message| assembly.take(Ok(message));
        assert_eq!(take(Message::Continuation(Item::FirstBinary(Bytes::from_static(b"\xff")))), Ok(None));
        let ping = Message::Ping(Bytes::from_static(b"here?"));
        assert_eq!(take(ping), Ok(Some(Message::Ping(Bytes::from_static(b"here?")))));
        let whole = Ok(Some(Message::Binary(Bytes::from_static(b"\xff\xfe"))));
        assert_eq!(take(Message::Continuation(Item::Last(Bytes::from_static(b"\xfe")))), whole);
        assert_eq!(take(Message::Close(None)), Err(Close::Normal));
    }
}
