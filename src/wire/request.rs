//! Operations as HTTP requests have them: the entity in the path, the content in the body, the rest in parameters and
//! headers; or each as one JSON object in a list.

use std::sync::Arc;

use serde_json::Value;
use uuid::Uuid;

use super::{
    codes::{Code, Refusal},
    incoming::{check_text, invalid_json, mismatch},
    operation::{Fields, Sender, Wanted, invalid},
};
use crate::model::{
    EntityKey, InstanceId, TenantId, Timestamp,
    entity::{Author, Precondition},
};

/// A request that changes one entity.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Which.
    pub key: &'a EntityKey,
    /// The operation's id, as its sender wrote it.
    pub id: Option<&'a str>,
    /// Who writes; without it the sender's instance.
    pub replica: Option<&'a str>,
    /// The version that the sender had seen.
    pub base: Option<u64>,
    /// How a clash is settled.
    pub strategy: Option<&'a str>,
    /// How the entity has to stand.
    pub only: Precondition,
    /// What is to be done.
    pub what: What<'a>,
}

/// What a request wants done; the texts are JSON.
#[derive(Clone, Copy, Debug)]
pub enum What<'a> {
    /// This is the whole content: make or replace it.
    Replace(&'a str),
    /// A merge patch.
    Merge(&'a str),
    /// A JSON patch.
    Patch(&'a str),
    /// Delete it.
    Delete,
    /// Settle this conflict or variant: `{choice, data?, base_version?}`.
    Settle(Uuid, &'a str),
}

/// Reads a request. `depth` is the greatest nesting of JSON.
///
/// # Errors
///
/// Something in it makes no sense, or the body is not JSON.
pub fn read(request: Request<'_>, sender: Sender<'_>, depth: usize) -> Result<Wanted, Refusal> {
    let mut fields = match request.what {
        What::Settle(_, text) => Fields::read(json(text, depth)?)?,
        _ => Fields::default(),
    };
    let action = match request.what {
        What::Replace(text) => {
            fields.data = Some(json(text, depth)?);
            "put"
        }
        What::Merge(text) => {
            fields.patch = Some(json(text, depth)?);
            "update"
        }
        What::Patch(text) => {
            fields.ops = Some(json(text, depth)?);
            "update"
        }
        What::Delete => "delete",
        What::Settle(id, _) => {
            fields.conflict_id = Some(id.to_string());
            "resolve"
        }
    };
    fields.action = Some(action.into());
    fields.entity_type = Some(request.key.kind.to_string());
    fields.entity_id = Some(request.key.id.to_string());
    for (field, given) in [
        (&mut fields.op_id, request.id),
        (&mut fields.replica_id, request.replica),
        (&mut fields.strategy, request.strategy),
    ] {
        if let Some(given) = given {
            *field = Some(given.into());
        }
    }
    fields.base_version = request.base.or(fields.base_version);
    let mut wanted = fields.wanted(sender, None)?;
    Arc::make_mut(&mut wanted.operation).only = request.only;
    Ok(wanted)
}

/// Reads one operation of a list, which says itself who sends it.
///
/// # Errors
///
/// It makes no sense, or is not JSON.
pub fn read_item(text: &str, tenant: &TenantId, now: Timestamp, depth: usize) -> Result<Wanted, Refusal> {
    let Value::Object(mut fields) = json(text, depth)? else {
        return Err(Refusal::new(Code::InvalidMessage, "an operation is one JSON object"));
    };
    let mut take = |name: &str| match fields.shift_remove(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(Refusal::new(Code::InvalidMessage, format!("'{name}' has the wrong type"))),
    };
    if take("tenant_id")?.is_some_and(|claimed| claimed != tenant.as_str()) {
        return Err(mismatch("tenant_id"));
    }
    let Some(instance) = take("instance_id")? else {
        return Err(Refusal::new(Code::InvalidMessage, "'instance_id' is missing: say who sends the operation"));
    };
    let instance: InstanceId = instance.parse().map_err(|error| Refusal::of_name(Code::InvalidInstance, &error))?;
    let name = take("user_name")?;
    if name.as_ref().is_some_and(|name| name.len() > 128 || name.chars().any(char::is_control)) {
        return Err(invalid("'user_name' must have at most 128 bytes and no control characters"));
    }
    let author = Author { instance, user: None, name: name.map(Into::into) };
    Fields::read(Value::Object(fields))?.wanted(Sender { tenant, author: &author, now }, None)
}

fn json(text: &str, depth: usize) -> Result<Value, Refusal> {
    check_text(text, depth)?;
    serde_json::from_str(text).map_err(|error| invalid_json(&error))
}
