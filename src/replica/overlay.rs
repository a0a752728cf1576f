//! What is pending, laid over what the log has: the entity as its author wants to see it. The node's own rules say what an
//! operation leads to (`model/entity`), so that nothing looks otherwise here than it will there. Pure.

use std::sync::Arc;

use super::journal::Pending;
use crate::{
    model::{
        InstanceId, Position, TenantId, Timestamp,
        entity::{Author, Base, Content, Decision, Entity, Limits, Stamp, State, decide},
        rights::Entities,
    },
    wire::{
        Refusal,
        codes::Code,
        incoming::{self, ClientMessage},
        operation::{Identity, Sender, Wanted},
    },
};

/// What an operation may hold, as at a node with its usual settings; it is held to the node's own when it comes there.
const LIMITS: Limits = Limits { data_bytes: 1 << 20, open: 16 };
/// Greatest nesting of JSON, likewise.
const DEPTH: usize = 64;

/// Who writes here.
#[derive(Clone, Debug)]
pub(super) struct Writer {
    pub tenant: TenantId,
    pub instance: InstanceId,
    pub user: Option<Arc<str>>,
    pub replica: Arc<str>,
}

impl Writer {
    fn author(&self) -> Author {
        Author { instance: self.instance.clone(), user: self.user.clone(), name: None }
    }
}

/// Whether a node that takes messages of at most so many bytes can take a write, whatever stands.
///
/// # Errors
///
/// It cannot, in its own words.
pub(super) fn check(writer: &Writer, write: &Pending, most: u64) -> Result<(), Refusal> {
    let text = write.message(&writer.replica);
    fits(&text, most)?;
    read(writer, write, &text).map(drop)
}

/// Whether a node that takes messages of at most so many bytes takes one of this length: sent, it would cost the connection.
///
/// # Errors
///
/// It does not.
pub(super) fn fits(text: &str, most: u64) -> Result<(), Refusal> {
    let long = text.len();
    if long as u64 > most {
        let message = format!("{long} bytes as a message, of which a node takes {most}: write it in parts");
        return Err(Refusal::new(Code::TooLarge, message));
    }
    Ok(())
}

/// Reads a write's message as the node will; `None`: it is an event.
fn read(writer: &Writer, write: &Pending, text: &str) -> Result<Option<Wanted>, Refusal> {
    let (author, change) = (writer.author(), &Entities::all());
    let (tenant, now) = (&writer.tenant, Timestamp(write.written_at));
    let sender = Sender { tenant, author: &author, identity: Identity::Claimed, change, now };
    match (incoming::read(text, sender, DEPTH)?, &write.entity) {
        (ClientMessage::Change(changes), Some(_)) => changes.wanted.into_iter().next().transpose(),
        (ClientMessage::Publish(_), None) => Ok(None),
        // What is only passed on is answered by nobody: it would wait for ever.
        _ => Err(Refusal::new(Code::ReservedType, format!("'{}' is no event that is kept", write.kind))),
    }
}

/// The entity with what is pending done to it, as far as it can be; `None`: it is not there.
pub(super) fn lay(writer: &Writer, base: Option<(u64, &str)>, pending: &[Pending]) -> Option<String> {
    let mut entity = match base.and_then(|(version, text)| Some((version, content(text)?))) {
        None => Entity::none(),
        Some((version, data)) => {
            let created = Some(Stamp { by: writer.author(), at: Timestamp::default() });
            Entity { version: Position(version.max(1)), data, state: State { created, ..State::default() } }
        }
    };
    for write in pending {
        let Ok(Some(wanted)) = read(writer, write, &write.message(&writer.replica)) else { continue };
        let mut operation = wanted.operation;
        // What it was made on is what stands here: whether others have changed that is the node's to find out.
        Arc::make_mut(&mut operation).base = None;
        if let Decision::Append { next, .. } = decide(&entity, &operation, Base::NotAsked, LIMITS) {
            let version = entity.version.max(Position(1));
            entity = *next;
            entity.settle(version);
        }
    }
    entity.is_there().then(|| entity.data.text().to_owned())
}

fn content(text: &str) -> Option<Content> {
    serde_json::value::RawValue::from_string(text.to_owned()).ok().and_then(|raw| Content::read(raw).ok())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use uuid::Uuid;

    use super::*;

    fn writer() -> Writer {
        let (tenant, instance) = ("acme".parse().expect("a tenant"), "a".parse().expect("an instance"));
        Writer { tenant, instance, user: None, replica: "r".into() }
    }

    fn write(number: u64, body: Value) -> Pending {
        let (kind, entity) = ("note".into(), Some("n1".into()));
        let body = body.to_string();
        Pending { number, id: Uuid::from_u128(number.into()), kind, entity, base: Some(900), body, written_at: 0 }
    }

    fn laid(base: Option<&str>, bodies: &[Value]) -> Option<Value> {
        let pending: Vec<_> = (1..).zip(bodies).map(|(number, body)| write(number, body.clone())).collect();
        let text = lay(&writer(), base.map(|text| (7, text)), &pending)?;
        Some(serde_json::from_str(&text).expect("JSON"))
    }

    #[test]
    fn what_is_pending_shows_in_its_order_as_the_node_will_do_it() {
        let patch = |patch: Value| json!({"action": "put", "patch": patch});
        assert_eq!(laid(None, &[patch(json!({"a": 1})), patch(json!({"b": 2, "a": null}))]), Some(json!({"b": 2})));
        assert_eq!(laid(Some(r#"{"a":1,"c":3}"#), &[patch(json!({"a": 2}))]), Some(json!({"a": 2, "c": 3})));
        assert_eq!(laid(Some(r#"{"a":1}"#), &[json!({"action": "delete"})]), None);
        assert_eq!(
            laid(Some(r#"{"a":1}"#), &[json!({"action": "delete"}), json!({"action": "restore"})]),
            Some(json!({"a": 1}))
        );
        let text = json!({"action": "update", "text": {"path": "/a", "ops": [2, "c"]}});
        assert_eq!(laid(Some(r#"{"a":"ab"}"#), &[text]), Some(json!({"a": "abc"})));
    }

    #[test]
    fn what_cannot_be_done_shows_nothing_and_hides_nothing() {
        let update = json!({"action": "update", "patch": {"a": 1}});
        assert_eq!(laid(None, std::slice::from_ref(&update)), None);
        let broken = json!({"action": "update", "ops": [{"op": "test", "path": "/a", "value": 9}]});
        assert_eq!(
            laid(Some(r#"{"a":1}"#), &[broken, json!({"action": "update", "patch": {"b": 2}})]),
            Some(json!({"a": 1, "b": 2}))
        );
    }

    #[test]
    fn numbers_and_texts_pass_as_they_are() {
        let exact = r#"{"n":12345678901234567890,"x":1.10,"t":"\ud83d\ude00"}"#;
        assert_eq!(lay(&writer(), Some((7, exact)), &[]).as_deref(), Some(exact));
    }
}
