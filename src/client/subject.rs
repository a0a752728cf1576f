//! What a signature or a seal is of, and the bytes that bind it to that.
//!
//! Owns: the canonical form, byte by byte as docs/end-to-end.md has it. Everything that is bound stands by name in one JSON object,
//! written as RFC 8785 says, so that nothing can be taken for something else, and any language can write it.

use serde_json::{Map, Value, json};

use crate::model::{EntityKey, EventId, EventType, InstanceId, TenantId, sealed::Sealed, signing::Signature};

/// Greatest amount of a number: beyond it JSON readers disagree about whole numbers (RFC 7493).
const EXACT: f64 = 9_007_199_254_740_991.0;

/// What is signed or sealed.
#[derive(Clone, Copy, Debug)]
pub enum Subject<'a> {
    /// An event's `data`.
    Event {
        /// Whose room.
        tenant: &'a TenantId,
        /// Who publishes it.
        instance: &'a InstanceId,
        /// Its id.
        id: EventId,
        /// Its type.
        event_type: &'a EventType,
    },
    /// An entity's content.
    Entity {
        /// Whose room.
        tenant: &'a TenantId,
        /// Which.
        key: &'a EntityKey,
    },
}

/// A content holds a number that not every reader takes for the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a number lies beyond 2^53 - 1: not every reader takes it for the same")]
pub struct Inexact;

impl Subject<'_> {
    /// What a signature over a content is made of.
    ///
    /// # Errors
    ///
    /// A number in it is not exact.
    pub fn signed_bytes(&self, signature: &Signature, content: &Value) -> Result<Vec<u8>, Inexact> {
        if !is_exact(content) {
            return Err(Inexact);
        }
        let mut bound = self.bound("signed");
        for (name, text) in [("kid", signature.kid()), ("by", signature.by()), ("at", signature.at_text())] {
            bound.insert(name.into(), text.into());
        }
        bound.insert("alg".into(), crate::model::signing::ALGORITHM.into());
        bound.insert("data".into(), content.clone());
        Ok(canonical(&bound.into()))
    }

    /// What a seal is bound to.
    pub fn sealed_bytes(&self, kid: &str) -> Vec<u8> {
        let mut bound = self.bound("sealed");
        bound.insert("kid".into(), kid.into());
        bound.insert("alg".into(), crate::model::sealed::ALGORITHM.into());
        canonical(&bound.into())
    }

    /// The same for something that was sealed.
    pub(super) fn bytes_of(&self, sealed: &Sealed) -> Vec<u8> {
        self.sealed_bytes(sealed.kid())
    }

    fn bound(&self, what: &str) -> Map<String, Value> {
        let bound = match self {
            Self::Event { tenant, instance, id, event_type } => json!({
                "context": format!("continuum/{what}-event/1"),
                "tenant_id": tenant.as_str(),
                "instance_id": instance.as_str(),
                "event_id": id.to_string(),
                "event_type": event_type.as_str(),
            }),
            Self::Entity { tenant, key } => json!({
                "context": format!("continuum/{what}-entity/1"),
                "tenant_id": tenant.as_str(),
                "entity_type": &*key.kind,
                "entity_id": &*key.id,
            }),
        };
        if let Value::Object(bound) = bound { bound } else { Map::new() }
    }
}

fn is_exact(value: &Value) -> bool {
    match value {
        Value::Number(number) => number.as_f64().is_some_and(|number| number.abs() <= EXACT),
        Value::Array(items) => items.iter().all(is_exact),
        Value::Object(members) => members.values().all(is_exact),
        _ => true,
    }
}

/// JSON as RFC 8785 writes it.
pub(super) fn canonical(value: &Value) -> Vec<u8> {
    serde_json_canonicalizer::to_vec(value).expect("a tree of JSON values has texts for names and finite numbers")
}
