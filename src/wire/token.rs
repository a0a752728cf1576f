//! Tokens in messages.

use std::fmt;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    codes::{Code, Refusal},
    incoming::{check_text, explain},
    text::Text,
};

/// A token as a client sent it; never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(pub String);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(***)")
    }
}

/// Reads the first message of a connection that brought no token, in either envelope: it has to bring one.
///
/// # Errors
///
/// It is another message.
pub fn read_first(text: &str, depth: usize) -> Result<Token, Refusal> {
    #[derive(Deserialize)]
    struct First<'a> {
        #[serde(borrow)]
        event_type: Option<Text<'a>>,
        #[serde(borrow)]
        r#type: Option<Text<'a>>,
        #[serde(borrow)]
        data: Option<&'a RawValue>,
    }
    check_text(text, depth)?;
    let first: First<'_> = serde_json::from_str(text).map_err(|error| explain::<First<'_>>(text, &error))?;
    match first.event_type.or(first.r#type).as_deref() {
        Some("auth") => read(first.data),
        _ => Err(Refusal::new(Code::Unauthenticated, "the first message must be 'auth' with a token in 'data.token'")),
    }
}

pub(super) fn read(data: Option<&RawValue>) -> Result<Token, Refusal> {
    #[derive(Deserialize)]
    struct Data {
        token: String,
    }
    let data = data.and_then(|raw| serde_json::from_str::<Data>(raw.get()).ok());
    let token = data.map(|data| Token(data.token)).filter(|token| !token.0.is_empty());
    token.ok_or_else(|| Refusal::new(Code::InvalidMessage, "'data.token' is missing"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_not_shown_by_what_it_was_read_from() {
        let token = read_first(r#"{"type":"auth","data":{"token":"planted"}}"#, 8).expect("a token");
        assert_eq!(token.0, "planted");
        assert!(!format!("{token:?}").contains("planted"));
    }
}
