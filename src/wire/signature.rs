//! Signatures and public keys as clients send them.
//!
//! Owns: where a signature may stand, and that whoever sends one signs in its own name. Whether it is right is for those who receive
//! it: they would have to check it anyway, as it is there for those who do not take the node's word.

use serde_json::{Value, value::RawValue};

use super::{
    codes::{Code, Refusal},
    operation::invalid,
    record::Publish,
};
use crate::model::{
    EntityKey,
    entity::{Action, Change, Choice, Owner, Resolve},
    signing::{KeySet, Signature, holds_keys, signer},
};

/// Reads the signature of a publish.
///
/// # Errors
///
/// It is none, or the publish has no id of its sender's making that it could be over.
pub(super) fn read(sig: Option<&RawValue>, names_id: bool) -> Result<Option<Signature>, Refusal> {
    let Some(sig) = sig.filter(|sig| sig.get() != "null") else { return Ok(None) };
    if !names_id {
        return Err(refused("a signature is over the event's id: name it, as a UUID"));
    }
    let value: Value = serde_json::from_str(sig.get()).map_err(|_| refused("'sig' must be an object"))?;
    Signature::of(&value).map(Some).map_err(|unfit| refused(unfit.0))
}

/// Where no signature can stand.
///
/// # Errors
///
/// There is one.
pub(super) fn none(sig: Option<&RawValue>) -> Result<(), Refusal> {
    if sig.is_some_and(|sig| sig.get() != "null") { Err(misplaced()) } else { Ok(()) }
}

/// What is said of a signature that nobody could check.
pub(super) fn misplaced() -> Refusal {
    refused(
        "only events have a 'sig': a signal is not kept, and what an operation says is merged with what others say; sign an entity's whole content with '$signed'",
    )
}

fn refused(message: &'static str) -> Refusal {
    Refusal::new(Code::InvalidSignature, message)
}

/// Holds a publish to its publisher: nobody signs in another's name.
///
/// # Errors
///
/// Names who may.
pub fn check_signer(publish: &Publish, publisher: &Owner) -> Result<(), Refusal> {
    let own = signer(publisher);
    match &publish.sig {
        Some(sig) if sig.by() != own => {
            let message = format!("'sig.by' must be \"{own}\", in whose name this is published");
            Err(Refusal::new(Code::InvalidSignature, message))
        }
        _ => Ok(()),
    }
}

/// Holds what is done to somebody's public keys to the form. They are always given as a whole, so no merge can make a set that nobody
/// wrote.
///
/// # Errors
///
/// What is wrong with it.
pub(super) fn check_keys(key: &EntityKey, action: &Action) -> Result<(), Refusal> {
    if !holds_keys(key) {
        return Ok(());
    }
    let content: &Value = match action {
        Action::Create(change) | Action::Update(change) | Action::Put(change) => match change {
            Change::Replace(content) => content,
            Change::Merge(content) => content,
            Change::Patch(_) | Change::Text(_) => {
                return Err(invalid("the keys of a signing_key are given as a whole, in 'data'"));
            }
        },
        Action::Resolve(Resolve { choice: Choice::Merged(content), .. }) => content,
        Action::Resolve(_) | Action::Delete | Action::Restore => return Ok(()),
    };
    KeySet::of(content).map(drop).map_err(|unfit| invalid(unfit.0))
}
