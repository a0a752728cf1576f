//! What the owner's rule is asked: who wants to do what. Never a token and never a content.

use std::sync::Arc;

use serde::Serialize;

use crate::model::{InstanceId, TenantId};

/// Who wants to do something.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Who {
    /// Where.
    pub tenant: TenantId,
    /// For whom it acts.
    pub user: Option<Arc<str>>,
    /// As which instance, if it is one.
    pub instance: Option<InstanceId>,
}

/// What somebody wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Act {
    /// To be in the room over a socket, and so to hear what its grant admits.
    Connect,
    /// To hear over HTTP, or to choose what it hears.
    Subscribe,
    /// To look at entities.
    Read,
    /// To publish.
    Publish,
    /// To make, change or delete entities.
    Change,
}

/// One question. Who asks the same may be told the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Question {
    /// Who.
    pub who: Who,
    /// What.
    pub act: Act,
    /// Which type of event, signal or entity; `None` where it is of no single one.
    pub of: Option<Box<str>>,
}

/// A question as it is sent.
#[derive(Debug)]
pub(super) struct Asked(String);

#[derive(Serialize)]
struct Fields<'a> {
    what: Word,
    #[serde(skip_serializing_if = "Option::is_none")]
    of: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<&'a TenantId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    instance: Option<&'a InstanceId>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Word {
    Act(Act),
    Check(&'static str),
}

impl Asked {
    /// This question.
    pub(super) fn of(question: &Question) -> Self {
        let Question { who: Who { tenant, user, instance }, act, of } = question;
        let (user, instance) = (user.as_deref(), instance.as_ref());
        Self::write(&Fields { what: Word::Act(*act), of: of.as_deref(), tenant: Some(tenant), user, instance })
    }

    /// Whether anybody answers.
    pub(super) fn check() -> Self {
        Self::write(&Fields { what: Word::Check("check"), of: None, tenant: None, user: None, instance: None })
    }

    fn write(fields: &Fields<'_>) -> Self {
        // Names and words: none of them can fail to serialize.
        Self(serde_json::to_string(fields).unwrap_or_default())
    }

    /// As JSON.
    pub(super) fn text(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_says_who_and_what_and_nothing_else() {
        let who = Who { tenant: "acme".parse().expect("a tenant"), user: Some("ada".into()), instance: None };
        let question = Question { who, act: Act::Publish, of: Some("memory.created".into()) };
        let text = r#"{"what":"publish","of":"memory.created","tenant":"acme","user":"ada"}"#;
        assert_eq!(Asked::of(&question).text(), text);
        assert_eq!(Asked::check().text(), r#"{"what":"check"}"#);
    }
}
