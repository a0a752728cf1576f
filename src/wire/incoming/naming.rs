//! The id of a message that cannot be read: whoever sent it waits for an answer under that name.

use std::fmt;

use serde::de::{Deserializer as _, IgnoredAny, MapAccess, Visitor};
use serde_json::Deserializer;

use super::Text;

/// An id is no longer than this, in bytes: a refusal is not to say more than was sent.
const LONGEST: usize = 128;

/// The text in a message's first field of this name, if the message is an object at least up to there.
pub(in crate::wire) fn first(field: &'static str, text: &str) -> Option<String> {
    let mut found = None;
    // It may fail behind the field: what was found stays.
    let _ = Deserializer::from_str(text).deserialize_map(Search { field, found: &mut found });
    found.filter(|id| id.len() <= LONGEST)
}

struct Search<'a> {
    field: &'static str,
    found: &'a mut Option<String>,
}

impl<'de> Visitor<'de> for Search<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key::<Text<'_>>()? {
            if &*name == self.field {
                *self.found = Some(map.next_value()?);
                break;
            }
            map.next_value::<IgnoredAny>()?;
        }
        Ok(())
    }
}
