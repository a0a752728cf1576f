//! An entity's content: an object, as the text as which it came or as the values that somebody needed of it.
//!
//! Most contents are only passed on: made by one, written down, sent to the others. Those stay the text that they are, shared
//! by whoever has them; values are made of it once somebody asks for them.
//!
//! Owns: that the text and the values say the same to everybody. A text of which readers could think differently (a name
//! twice in an object, a number larger than whole numbers and doubles hold exactly) is written anew from its values.

#[cfg(test)]
mod tests;

use std::{
    borrow::Cow,
    fmt,
    ops::Deref,
    sync::{Arc, OnceLock},
};

use serde::{
    Deserialize, Serialize, Serializer,
    de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Value, value::RawValue};

use super::{audience::PRIVATE, change::DEPTH};
use crate::model::sealed;

/// Members of an object that are compared with each other; the names of more are looked up by making values.
const MEMBERS: usize = 32;

/// From here on, 2^53, a number that is read as a double may be another one than was written.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// A name that the reader of values takes for a sign of its own: an object that begins with it is read as something else.
pub(super) const RESERVED: &str = "$serde_json::private::RawValue";

/// A content, shared by all who have it; by default nothing, as of an entity that was never made.
#[derive(Clone, Default)]
pub struct Content(Option<Arc<Forms>>);

/// The same twice, at least once.
#[derive(Default)]
struct Forms {
    text: OnceLock<Box<RawValue>>,
    value: OnceLock<Value>,
    is_private: bool,
    is_whole: bool,
}

impl Content {
    /// Takes a text.
    ///
    /// # Errors
    ///
    /// No values can be made of it: a number beyond all bounds, half of a surrogate pair.
    pub fn read(text: Box<RawValue>) -> serde_json::Result<Self> {
        let mut look = Look::default();
        let mut reader = serde_json::Deserializer::from_str(text.get());
        At { level: 0, name: "", look: &mut look }.deserialize(&mut reader)?;
        if look.is_odd {
            return serde_json::from_str::<Value>(text.get()).map(Self::from);
        }
        let Look { is_private, is_whole, .. } = look;
        let forms = Forms { text: text.into(), is_private, is_whole, ..Forms::default() };
        Ok(Self(Some(Arc::new(forms))))
    }

    /// As text.
    pub fn text(&self) -> &str {
        // Writing a value never fails.
        let write = |forms: &Forms| serde_json::value::to_raw_value(forms.value()).unwrap_or_default();
        self.0.as_ref().map_or("null", |forms| forms.text.get_or_init(|| write(forms)).get())
    }

    /// The values for whoever goes on with them.
    pub fn into_value(self) -> Value {
        match self.0.map(Arc::try_unwrap) {
            None => Value::Null,
            Some(Err(shared)) => shared.value().clone(),
            Some(Ok(mut own)) => {
                own.value();
                own.value.take().unwrap_or_default()
            }
        }
    }

    /// Changes it for this one holder.
    pub fn edit<T>(&mut self, change: impl FnOnce(&mut Value) -> T) -> T {
        let mut value = std::mem::take(self).into_value();
        let result = change(&mut value);
        *self = value.into();
        result
    }

    /// Whether it is an object.
    pub fn is_object(&self) -> bool {
        let Some(forms) = &self.0 else { return false };
        forms.value.get().map_or_else(|| self.text().starts_with('{'), Value::is_object)
    }

    /// Whether it asks to be seen by nobody but its owner.
    pub fn is_private(&self) -> bool {
        self.0.as_ref().is_some_and(|forms| forms.is_private)
    }

    /// Whether it is sealed or signed, or says so: it is of one piece, and nothing is merged into it.
    pub fn is_whole(&self) -> bool {
        self.0.as_ref().is_some_and(|forms| forms.is_whole)
    }

    /// Whether it is known to be neither nested deeper than a content may be nor to hold a name that it may not.
    pub(super) fn is_checked(&self) -> bool {
        self.0.as_ref().is_some_and(|forms| forms.value.get().is_none())
    }
}

impl Forms {
    fn value(&self) -> &Value {
        self.value.get_or_init(|| {
            // A text that no values can be made of was not taken. (`RESERVED` is the one name that would make others of them.)
            self.text.get().and_then(|text| serde_json::from_str(text.get()).ok()).unwrap_or_default()
        })
    }
}

impl From<Value> for Content {
    fn from(value: Value) -> Self {
        let is_private = value.get(VISIBILITY).and_then(Value::as_str) == Some(PRIVATE);
        let is_whole = value.as_object().is_some_and(sealed::is_marked);
        Self(Some(Arc::new(Forms { value: value.into(), is_private, is_whole, ..Forms::default() })))
    }
}

impl Deref for Content {
    type Target = Value;

    fn deref(&self) -> &Value {
        self.0.as_ref().map_or(&Value::Null, |forms| forms.value())
    }
}

impl PartialEq for Content {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Some(one), Some(other)) if Arc::ptr_eq(one, other) => true,
            _ => **self == **other,
        }
    }
}

impl PartialEq<Value> for Content {
    fn eq(&self, other: &Value) -> bool {
        **self == *other
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl Serialize for Content {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.as_ref().and_then(|forms| forms.text.get()) {
            Some(text) => text.serialize(serializer),
            None => (**self).serialize(serializer),
        }
    }
}

/// The member that says who may see a content.
const VISIBILITY: &str = "visibility";

/// What a walk through a text has found.
#[derive(Default)]
struct Look {
    /// It is to be written anew.
    is_odd: bool,
    is_private: bool,
    is_whole: bool,
}

/// A place in a text.
struct At<'s> {
    level: usize,
    /// The member of the object that it is.
    name: &'s str,
    look: &'s mut Look,
}

impl<'de> DeserializeSeed<'de> for At<'_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for At<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<(), E> {
        self.look.is_odd |= number.abs() >= EXACT;
        Ok(())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        self.look.is_private |= self.level == 1 && self.name == VISIBILITY && text == PRIVATE;
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let level = self.level + 1;
        self.look.is_odd |= level > DEPTH;
        while list.next_element_seed(At { level, name: "", look: self.look })?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let level = self.level + 1;
        self.look.is_odd |= level > DEPTH;
        let (mut names, mut count) = ([""; MEMBERS], 0);
        while !self.look.is_odd
            && let Some(Name(name)) = members.next_key()?
        {
            match name {
                Cow::Borrowed(name) if count < MEMBERS && name != RESERVED && !names[..count].contains(&name) => {
                    names[count] = name;
                    count += 1;
                    self.look.is_whole |= level == 1 && matches!(name, sealed::SEALED | sealed::SIGNED);
                    members.next_value_seed(At { level, name, look: self.look })?;
                }
                _ => {
                    self.look.is_odd = true;
                    members.next_value::<IgnoredAny>()?;
                }
            }
        }
        // What is wrong with the rest shows when values are made of it.
        while members.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(())
    }
}

/// A member's name, borrowed if it stands there letter by letter.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);
