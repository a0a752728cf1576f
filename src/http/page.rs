//! Where a listing of entities goes on: a page token that clients carry and cannot read.
//!
//! Owns: that a token leads on only in the listing and the log that it is of. It is no secret: somebody who makes one up
//! gets other pages of what they may see anyway.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64;

use crate::{
    backbone::EntityMark,
    model::{Epoch, Position},
    wire::{Code, Refusal},
};

/// The form of tokens.
const FORM: u8 = 1;

/// A place between two pages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Where the log stood when the first page was read.
    pub position: Position,
    /// The latest record that was looked at.
    pub reached: Position,
    /// What was shown on the pages before it.
    pub shown: u64,
    /// Where the log goes on.
    pub mark: EntityMark,
}

impl Place {
    /// As a token. `listing` says what is listed of whom.
    pub(super) fn token(&self, listing: &str, epoch: Epoch) -> String {
        let numbers = [epoch.0, self.position.0, self.reached.0, self.shown].map(u64::to_be_bytes).concat();
        let content = [&[FORM][..], &numbers, &self.mark.0].concat();
        let sum = checksum(listing, &content).to_be_bytes();
        URL_SAFE_NO_PAD.encode([&content[..], &sum].concat())
    }

    /// Reads a token.
    ///
    /// # Errors
    ///
    /// It was changed, or is of another listing or another log.
    pub(super) fn read(token: &str, listing: &str, epoch: Epoch) -> Result<Self, Refusal> {
        let wrong =
            || Refusal::new(Code::InvalidParameter, "'page' is not the 'next' of an earlier page of this listing");
        let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| wrong())?;
        let (content, sum) = bytes.split_last_chunk::<8>().ok_or_else(wrong)?;
        if u64::from_be_bytes(*sum) != checksum(listing, content) || content.first() != Some(&FORM) {
            return Err(wrong());
        }
        let mut rest = &content[1..];
        let mut number = || {
            let (number, after) = rest.split_first_chunk::<8>().ok_or_else(wrong)?;
            rest = after;
            Ok::<u64, Refusal>(u64::from_be_bytes(*number))
        };
        let (of, position, reached, shown) = (number()?, Position(number()?), Position(number()?), number()?);
        if of != epoch.0 {
            let message =
                "'page' is of another log (resync: other_epoch); drop what you have and start at the first page";
            return Err(Refusal::new(Code::PageGone, message));
        }
        Ok(Self { position, reached, shown, mark: EntityMark(Bytes::copy_from_slice(rest)) })
    }
}

fn checksum(listing: &str, content: &[u8]) -> u64 {
    let head = [listing.len().to_be_bytes().as_slice(), listing.as_bytes()].concat();
    xxh3_64(&[&head[..], content].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    const EPOCH: Epoch = Epoch(7);

    fn place() -> Place {
        Place { position: Position(9), reached: Position(3), shown: 2, mark: EntityMark(Bytes::from_static(b"mark")) }
    }

    fn code(token: &str, listing: &str, epoch: Epoch) -> Option<Code> {
        Place::read(token, listing, epoch).err().map(|refusal| refusal.code)
    }

    #[test]
    fn a_token_leads_back_to_its_place() {
        let token = place().token("snapshot of t", EPOCH);
        assert_eq!(Place::read(&token, "snapshot of t", EPOCH), Ok(place()));
        assert!(token.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)), "{token}");
    }

    #[test]
    fn what_is_not_such_a_token_is_refused() {
        let token = place().token("snapshot of t", EPOCH);
        for at in 0..token.len() {
            let other = if token.as_bytes()[at] == b'A' { "B" } else { "A" };
            let changed = format!("{}{other}{}", &token[..at], &token[at + 1..]);
            assert_eq!(code(&changed, "snapshot of t", EPOCH), Some(Code::InvalidParameter), "{changed}");
            assert_eq!(code(&token[..at], "snapshot of t", EPOCH), Some(Code::InvalidParameter));
        }
        assert_eq!(code(&token, "snapshot of u", EPOCH), Some(Code::InvalidParameter));
        assert_eq!(code("a b", "snapshot of t", EPOCH), Some(Code::InvalidParameter));
        assert_eq!(code(&token, "snapshot of t", Epoch(8)), Some(Code::PageGone));
    }
}
