//! Contexts as resources, and who wants to hear of their changes.
//!
//! Owns: the form of their addresses, `continuum://context/LEVEL/ID`, both percent-encoded.

use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::arguments;
use crate::model::EntityKey;

const SCHEME: &str = "continuum://context/";

/// How all addresses look, for clients that fill it in.
pub(super) const TEMPLATE: &str = "continuum://context/{level}/{context_id}";

/// A context's address; `None`: it is no context.
pub(super) fn address(kind: &str, id: &str) -> Option<String> {
    let (level, id) = id.split_once(':').filter(|_| kind == "context")?;
    let escaped = |part: &str| utf8_percent_encode(part, NON_ALPHANUMERIC).to_string();
    Some(format!("{SCHEME}{}/{}", escaped(level), escaped(id)))
}

/// The context at an address.
///
/// # Errors
///
/// In words.
pub(super) fn key(address: &str) -> Result<EntityKey, String> {
    let rest = address.strip_prefix(SCHEME).and_then(|rest| rest.split_once('/'));
    let (level, id) = rest.ok_or_else(|| format!("an address looks like {TEMPLATE}"))?;
    let decoded = |part: &str| percent_decode_str(part).decode_utf8().map(|text| text.into_owned());
    match (decoded(level), decoded(id)) {
        (Ok(level), Ok(id)) => arguments::key(&level, &id),
        _ => Err("an address is UTF-8, percent-encoded".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_leads_to_its_context_and_back() {
        for id in ["task:42", "branch:feature/x y:z", "global:ä%2F"] {
            let there = address("context", id).expect("an address");
            assert_eq!(&*key(&there).expect("a key").id, id, "{there}");
        }
        assert_eq!(address("node", "a:b"), None);
        assert_eq!(address("context", "odd"), None);
        for bad in ["", "continuum://context/task", "continuum://context/%ff/x", "file:///etc/passwd"] {
            assert!(key(bad).is_err(), "{bad}");
        }
    }
}
