//! The owner's own rules on a session's messages and on requests: which question a need is, and which refusal an answer.
//!
//! Must not know: how the rules are asked. Who is not granted something is refused before that, and not asked about.

use std::{collections::HashSet, time::Duration};

use crate::{
    auth::{
        Grant,
        hook::{Act, Question, Ruling, Verdict, Who},
    },
    wire::{Code, Need, Refusal, incoming::ClientMessage},
};

/// When it may be tried again to ask.
const AGAIN: Duration = Duration::from_secs(1);

/// Who has a grant, as the rules know it.
pub fn who(grant: &Grant) -> Who {
    let user = grant.author().user.clone();
    Who { tenant: grant.tenant().clone(), user, instance: Some(grant.instance().clone()) }
}

/// What is asked about a need; `None`: nothing.
pub fn question(who: &Who, need: Need<'_>) -> Option<Question> {
    let (act, of) = match need {
        Need::Connect => (Act::Connect, None),
        Need::Hear | Need::Presence => (Act::Subscribe, None),
        Need::Look => (Act::Read, None),
        Need::Read(key) => (Act::Read, Some(&*key.kind)),
        Need::Publish(kind) => (Act::Publish, Some(kind)),
        Need::Change(key) => (Act::Change, Some(&*key.kind)),
        // What is administered is the operator's.
        Need::Admin(_) => return None,
    };
    Some(Question { who: who.clone(), act, of: of.map(Into::into) })
}

/// The questions about some needs, each once.
pub fn questions<'a>(needs: impl IntoIterator<Item = (&'a Who, Need<'a>)>) -> HashSet<Question> {
    needs.into_iter().filter_map(|(who, need)| question(who, need)).collect()
}

/// What a message needs of those that its sender is granted.
pub fn needs_of<'a>(grant: &Grant, message: &'a ClientMessage) -> Vec<Need<'a>> {
    let needs = match message {
        ClientMessage::Publish(publish) => vec![Need::Publish(publish.event_type.as_str())],
        ClientMessage::Signal(sent) => vec![Need::Publish(sent.event_type.as_str())],
        ClientMessage::Change(changes) => {
            changes.wanted.iter().flatten().map(|wanted| Need::Change(&wanted.key)).collect()
        }
        ClientMessage::SyncRequest(_) => vec![Need::Presence],
        ClientMessage::Subscribe(_) => vec![Need::Hear],
        ClientMessage::State(_) => vec![Need::Look],
        ClientMessage::Auth(_)
        | ClientMessage::Ping(_)
        | ClientMessage::Ack(_)
        | ClientMessage::Unsubscribe(_)
        | ClientMessage::Reconnect { .. }
        | ClientMessage::Focus(_) => Vec::new(),
    };
    needs.into_iter().filter(|need| need.is_met(grant.rights())).collect()
}

/// Refuses what the rules do not admit.
///
/// # Errors
///
/// They refuse it, or cannot be asked.
pub fn check(ruling: &Ruling, who: &Who, need: Need<'_>) -> Result<(), Refusal> {
    let Some(question) = question(who, need) else { return Ok(()) };
    match ruling.on(&question) {
        Verdict::Admitted => Ok(()),
        Verdict::Refused(reason) => {
            let what = match (question.act, question.of) {
                (Act::Connect, _) => "to connect".to_owned(),
                (Act::Subscribe, _) => "'subscribe'".to_owned(),
                (Act::Read, None) => "'read'".to_owned(),
                (Act::Read, Some(of)) => format!("'read' of \"{of}\""),
                (Act::Publish, of) => format!("'publish' of \"{}\"", of.unwrap_or_default()),
                (Act::Change, of) => format!("'change' of \"{}\"", of.unwrap_or_default()),
            };
            let why = reason.map(|reason| format!(": {reason}")).unwrap_or_default();
            Err(Refusal::new(Code::RuleRefused, format!("the owner's rule refuses {what}{why}")))
        }
        Verdict::Away => {
            let message = "the owner's rules cannot be asked now; nothing was done, try again";
            Err(Refusal::new(Code::Unavailable, message).after(AGAIN))
        }
    }
}
