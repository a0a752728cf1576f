//! One request to the owner's service. Blocking: on threads of its own.
//!
//! Owns: that it goes to the address in the configuration and nowhere else, ends in time, and that nothing of an answer is
//! believed or passed on which is not of the form that was agreed.

use std::{fmt, io::Read as _, path::Path, sync::Arc, time::Duration};

use serde::Deserialize;

use super::question::Asked;
use crate::{
    auth::{agent, url},
    config,
};

/// Longest reason that is passed on, in characters.
pub const REASON: usize = 200;
/// Largest answer that is read, in bytes.
const LARGEST: u64 = 16 * 1024;
/// Shortest key, in bytes.
const KEY: usize = 32;

/// Where the rules are.
pub(super) struct Service {
    url: String,
    /// The header `Authorization`, if there is a key.
    bearer: Option<String>,
    agent: ureq::Agent,
}

// By hand, so that the key is never printed.
impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service").field("url", &self.url).finish_non_exhaustive()
    }
}

/// What the service says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) allow: bool,
    pub(super) reason: Option<Arc<str>>,
    /// For how long, in milliseconds; `None`: as configured.
    pub(super) for_ms: Option<u64>,
}

impl Service {
    /// As the configuration says.
    ///
    /// # Errors
    ///
    /// In words.
    pub(super) fn at(config: &config::Hook) -> Result<Self, String> {
        url::check("auth.hook.url", &config.url)?;
        let bearer = if config.key.as_os_str().is_empty() { None } else { Some(bearer(&config.key)?) };
        Ok(Self { url: config.url.clone(), bearer, agent: agent(config.deadline.max(Duration::from_millis(1))) })
    }

    /// Asks it.
    ///
    /// # Errors
    ///
    /// In words, for the operator: nothing answers in time, or it says something else than was agreed.
    pub(super) fn call(&self, asked: &Asked) -> Result<Answer, String> {
        match self.try_call(asked) {
            // A connection that was kept may have ended unseen. A question may be asked twice.
            Err(ureq::Error::Io(_)) => self.try_call(asked),
            done => done,
        }
        .map_err(|error| error.to_string())
        .and_then(|(status, body)| match status {
            200 => read(&body),
            // A redirect too: nobody is told who asks but the one in the configuration.
            status => Err(format!("the answer has status {status}")),
        })
    }

    fn try_call(&self, asked: &Asked) -> Result<(u16, Vec<u8>), ureq::Error> {
        let mut request = self.agent.post(&self.url).header("Content-Type", "application/json");
        if let Some(bearer) = &self.bearer {
            request = request.header("Authorization", bearer);
        }
        let mut answer = request.send(asked.text())?;
        let mut body = Vec::new();
        answer.body_mut().as_reader().take(LARGEST + 1).read_to_end(&mut body)?;
        Ok((answer.status().as_u16(), body))
    }
}

fn bearer(path: &Path) -> Result<String, String> {
    let shown = path.display();
    let text = std::fs::read_to_string(path).map_err(|error| format!("cannot read {shown}: {error}"))?;
    match text.trim() {
        key if key.len() < KEY => Err(format!("the key in {shown} has fewer than {KEY} bytes")),
        key if !key.bytes().all(|byte| byte.is_ascii_graphic()) => {
            Err(format!("the key in {shown} must be one word of ASCII"))
        }
        key => Ok(format!("Bearer {key}")),
    }
}

fn read(body: &[u8]) -> Result<Answer, String> {
    #[derive(Deserialize)]
    struct Said {
        allow: bool,
        reason: Option<String>,
        for_ms: Option<u64>,
    }
    if body.len() as u64 > LARGEST {
        return Err(format!("the answer is larger than {LARGEST} bytes"));
    }
    // What stands in it is not repeated: it may be anything.
    let said: Said = serde_json::from_slice(body)
        .map_err(|_| r#"the answer is not of the form {"allow": true or false, "reason"?, "for_ms"?}"#.to_owned())?;
    let reason = said.reason.map(|reason| clean(&reason)).filter(|reason| !reason.is_empty());
    Ok(Answer { allow: said.allow, reason: reason.map(Into::into), for_ms: said.for_ms })
}

/// One line that shows as what it is.
fn clean(reason: &str) -> String {
    // Among what is no control character some turn the direction of what follows.
    let shows = |c: &char| {
        !c.is_control() && !matches!(*c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let line: String =
        reason.chars().map(|c| if c.is_whitespace() { ' ' } else { c }).filter(shows).take(REASON).collect();
    line.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_as_agreed_and_nothing_else_is_one() {
        let answer = |text: &str| read(text.as_bytes());
        assert_eq!(answer(r#"{"allow":true}"#), Ok(Answer { allow: true, reason: None, for_ms: None }));
        let refused = Answer { allow: false, reason: Some("after hours".into()), for_ms: Some(5) };
        assert_eq!(answer(r#"{"allow":false,"reason":"after hours","for_ms":5,"more":[1]}"#), Ok(refused));
        for bad in
            ["", "true", "{}", r#"{"allow":"true"}"#, r#"{"allow":1}"#, r#"{"allow":true,"for_ms":-1}"#, "<html>"]
        {
            assert!(answer(bad).is_err(), "{bad}");
        }
        let long = format!(r#"{{"allow":true,"reason":"{}"}}"#, "x".repeat(LARGEST as usize));
        assert!(answer(&long).is_err());
    }

    #[test]
    fn a_reason_is_one_bounded_line_that_shows_as_what_it_is() {
        assert_eq!(clean("no\r\n\u{1b}[31mentry\u{202e}\u{0}"), "no  [31mentry");
        assert_eq!(clean(&"ä".repeat(1_000)).chars().count(), REASON);
        assert_eq!(clean(" \n "), "");
    }
}
