//! Questions to whoever sits in front of the client: in one form of the protocol they are requests of their own, in the other the
//! answer to a call that is then repeated with what was said.
//!
//! Owns: that a client is asked only what it says it can ask, that what is chosen is chosen about what was shown, and that what is
//! repeated does nothing twice: it names the conflict, and a conflict is settled once.

use std::time::Duration;

use rmcp::{
    ErrorData, RoleServer,
    model::{
        CallToolRequestParams, ElicitRequest, ElicitRequestParams, ElicitResult, ElicitationAction, ElicitationSchema,
        EnumSchema, InputRequest, InputRequests, InputRequiredResult,
    },
    service::RequestContext,
};
use serde_json::Value;

use super::{
    arguments::{self, Choice},
    notebook::Open,
};
use crate::model::EntityKey;

/// How long a person may think.
const THINK: Duration = Duration::from_secs(300);
/// The name of the question.
const KEY: &str = "choice";
/// Longest content that is shown in a question, in characters.
const SHOWN: usize = 600;

/// What came of asking.
#[derive(Debug)]
pub(super) enum Asked {
    /// Somebody chose.
    Chosen(Choice),
    /// Somebody would not, or nobody answered.
    Left,
    /// This has to be answered first.
    First(Box<InputRequiredResult>),
    /// This client cannot ask.
    Cannot,
}

/// Asks what shall hold. The write that clashed was taken: whatever becomes of the question, it is no error.
pub(super) async fn ask(cx: &RequestContext<RoleServer>, open: &Open) -> Asked {
    let can = cx.client_capabilities().and_then(|can| can.elicitation);
    if !can.is_some_and(|can| can.form.is_some() || can.url.is_none()) {
        return Asked::Cannot;
    }
    let choices = ["current", "proposed", "leave"].map(str::to_owned).to_vec();
    let schema =
        ElicitationSchema::builder().required_enum_schema(KEY, EnumSchema::builder(choices).untitled().build());
    let Ok(requested_schema) = schema.build() else { return Asked::Cannot };
    let params = ElicitRequestParams::FormElicitationParams { meta: None, message: question(open), requested_schema };
    if cx.protocol_version().is_some_and(|version| !version.has_initialize()) {
        let requests = InputRequests::from([(KEY.to_owned(), InputRequest::Elicitation(ElicitRequest::new(params)))]);
        let state = format!("{}\n{}\n{}\n{}", open.id, open.version, open.key.kind, open.key.id);
        return Asked::First(Box::new(InputRequiredResult::new(Some(requests), Some(state))));
    }
    // A client that does not do what it says it can, or a person who is away: it stays open.
    cx.peer.create_elicitation_with_timeout(params, Some(THINK)).await.map_or(Asked::Left, |said| chosen(&said))
}

/// What was said to a question that an earlier answer asked; `None`: this call repeats none. One that does, and says nothing, is no new
/// call: its write was taken.
pub(super) fn repeated(request: &CallToolRequestParams) -> Result<Option<(Open, Asked)>, ErrorData> {
    let said = request.input_responses.as_ref().and_then(|responses| responses.get(KEY));
    let wrong = |why: &str| ErrorData::invalid_params(why.to_owned(), None);
    let Some(state) = request.request_state.as_deref() else {
        return if said.is_some() { Err(wrong("requestState is missing")) } else { Ok(None) };
    };
    // Whatever is named here its sender could name in a call of its own.
    let mut parts = state.splitn(4, '\n');
    let (Some(id), Some(Ok(version)), Some(kind), Some(entity)) =
        (parts.next(), parts.next().map(str::parse), parts.next(), parts.next())
    else {
        return Err(wrong("requestState is not one of ours"));
    };
    let key = EntityKey::new(kind, entity).map_err(|error| wrong(&error.to_string()))?;
    uuid::Uuid::try_parse(id).map_err(|_| wrong("requestState is not one of ours"))?;
    let said = said.and_then(|said| serde_json::from_value(said.clone()).ok());
    let said = said.map_or(Asked::Left, |said| chosen(&said));
    Ok(Some((Open { key, id: id.to_owned(), version, shown: Value::Null }, said)))
}

fn chosen(said: &ElicitResult) -> Asked {
    let word = said.content.as_ref().and_then(|content| content[KEY].as_str());
    match (&said.action, word) {
        (ElicitationAction::Accept, Some("current")) => Asked::Chosen(Choice::Current),
        (ElicitationAction::Accept, Some("proposed")) => Asked::Chosen(Choice::Proposed),
        _ => Asked::Left,
    }
}

fn question(open: &Open) -> String {
    let shown = |name: &str| {
        let text = open.shown[name].to_string();
        let cut: String = text.chars().take(SHOWN).collect();
        if cut.len() < text.len() { format!("{cut} …") } else { cut }
    };
    let name = arguments::name(&open.key);
    format!(
        "Two agents changed the same part of {name}. What stands (by another agent): {}. What this agent proposed: {}. What shall hold?",
        shown("current"),
        shown("proposed")
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_question_shows_the_beginning_of_what_is_long() {
        let key = EntityKey::new("context", "task:7").expect("a key");
        let asked = question(&Open {
            key,
            id: String::new(),
            version: 1,
            shown: json!({"current": "ä".repeat(9_999), "proposed": 1}),
        });
        assert!(asked.contains(r#"task "7""#) && asked.contains("proposed: 1."), "{asked}");
        assert_eq!((asked.contains("ä …"), asked.matches('ä').count()), (true, SHOWN - 1));
    }

    #[test]
    fn only_what_a_person_accepts_is_a_choice() {
        let said = |action, choice: Value| {
            let said = json!({"action": action, "content": {"choice": choice}});
            chosen(&serde_json::from_value(said).expect("an answer"))
        };
        assert!(matches!(said("accept", json!("current")), Asked::Chosen(Choice::Current)));
        assert!(matches!(said("accept", json!("proposed")), Asked::Chosen(Choice::Proposed)));
        for (action, choice) in [
            ("accept", json!("leave")),
            ("accept", Value::Null),
            ("decline", json!("proposed")),
            ("cancel", json!("current")),
        ] {
            assert!(matches!(said(action, choice), Asked::Left), "{action}");
        }
    }
}
