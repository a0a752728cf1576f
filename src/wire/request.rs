//! Operations as HTTP requests have them: the entity in the path, the content in the body, the rest in parameters and
//! headers; or each as one JSON object in a list.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::{
    codes::{Code, Refusal},
    incoming::{check_text, explain, invalid_json, mismatch},
    operation::{Fields, Given, Identity, Sender, Wanted, invalid},
    text::Text,
};
use crate::model::{
    EntityKey, InstanceId, TenantId, Timestamp,
    entity::{Author, Precondition},
    rights::Entities,
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
    let mut fields: Fields<'_> = match request.what {
        What::Settle(_, text) => Fields::read(json::<&RawValue>(text, depth)?.get())?,
        _ => Fields::default(),
    };
    let action = match request.what {
        What::Replace(text) => {
            fields.data = Some(Given::Text(json(text, depth)?));
            "put"
        }
        What::Merge(text) => {
            fields.patch = Some(Given::Text(json(text, depth)?));
            "update"
        }
        What::Patch(text) => {
            fields.ops = Some(json(text, depth)?);
            "update"
        }
        What::Delete => "delete",
        What::Settle(id, _) => {
            fields.conflict_id = Some(id.to_string().into());
            "resolve"
        }
    };
    fields.action = Some(action.into());
    fields.entity_type = Some((&*request.key.kind).into());
    fields.entity_id = Some((&*request.key.id).into());
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

/// Reads one operation of a list, which says itself which instance sends it; `author` says who that is.
///
/// # Errors
///
/// It makes no sense, or is not JSON, or its sender may not be that instance.
pub fn read_item(
    text: &str,
    tenant: &TenantId,
    (identity, change, author): (Identity, &Entities, impl FnOnce(InstanceId) -> Result<Author, Refusal>),
    now: Timestamp,
    depth: usize,
) -> Result<Wanted, Refusal> {
    #[derive(Deserialize)]
    struct Item<'a> {
        #[serde(borrow)]
        tenant_id: Option<Text<'a>>,
        #[serde(borrow)]
        instance_id: Option<Text<'a>>,
        #[serde(borrow)]
        user_name: Option<Text<'a>>,
    }
    check_text(text, depth)?;
    // A list would be read too, field by field.
    if !text.trim_start().starts_with('{') {
        return Err(Refusal::new(Code::InvalidMessage, "an operation is one JSON object"));
    }
    let Item { tenant_id, instance_id, user_name } =
        serde_json::from_str(text).map_err(|error| explain::<Item<'_>>(text, &error))?;
    if tenant_id.is_some_and(|claimed| *claimed != *tenant.as_str()) {
        return Err(mismatch("tenant_id"));
    }
    let Some(instance) = instance_id else {
        return Err(Refusal::new(Code::InvalidMessage, "'instance_id' is missing: say who sends the operation"));
    };
    let instance: InstanceId = instance.parse().map_err(|error| Refusal::of_name(Code::InvalidInstance, &error))?;
    if user_name.as_ref().is_some_and(|name| name.len() > 128 || name.chars().any(char::is_control)) {
        return Err(invalid("'user_name' must have at most 128 bytes and no control characters"));
    }
    let mut author = author(instance)?;
    if identity == Identity::Claimed {
        author.name = author.name.or_else(|| user_name.as_deref().map(Into::into));
    }
    Fields::read(text)?.wanted(Sender { tenant, author: &author, identity, change, now }, None)
}

fn json<'a, T: Deserialize<'a>>(text: &'a str, depth: usize) -> Result<T, Refusal> {
    check_text(text, depth)?;
    serde_json::from_str(text).map_err(|error| invalid_json(&error))
}
