//! JSON objects and lists, written as their parts come.

use bytes::{BufMut, BytesMut};
use serde::Serialize;

use super::put_value;
use crate::wire::record::put_json_string;

/// A JSON object that is being written.
#[derive(Debug)]
pub(in crate::wire) struct Fields(BytesMut);

impl Default for Fields {
    fn default() -> Self {
        Self(BytesMut::with_capacity(256))
    }
}

impl Fields {
    fn name(&mut self, name: &str) {
        self.0.put_u8(if self.0.is_empty() { b'{' } else { b',' });
        put_json_string(&mut self.0, name);
        self.0.put_u8(b':');
    }

    pub(in crate::wire) fn text(&mut self, name: &str, text: &str) {
        self.name(name);
        put_json_string(&mut self.0, text);
    }

    pub(in crate::wire) fn number(&mut self, name: &str, number: u64) {
        self.value(name, &number);
    }

    pub(in crate::wire) fn value(&mut self, name: &str, value: &impl Serialize) {
        self.name(name);
        put_value(&mut self.0, value);
    }

    pub(in crate::wire) fn raw(&mut self, name: &str, json: &str) {
        self.name(name);
        self.0.extend_from_slice(json.as_bytes());
    }

    /// Which entity something is about.
    pub(in crate::wire) fn entity(&mut self, kind: &str, id: &str) {
        self.text("entity_type", kind);
        self.text("entity_id", id);
    }

    /// Takes another object's fields over.
    pub(in crate::wire) fn splice(&mut self, object: &str) {
        let inner = object.trim().trim_start_matches('{').trim_start();
        if inner.starts_with('}') {
            return;
        }
        self.0.put_u8(if self.0.is_empty() { b'{' } else { b',' });
        self.0.extend_from_slice(&inner.as_bytes()[..inner.len() - 1]);
    }

    pub(in crate::wire) fn end(mut self) -> String {
        if self.0.is_empty() {
            self.0.put_u8(b'{');
        }
        self.0.put_u8(b'}');
        String::from_utf8(self.0.into()).expect("JSON of ours is UTF-8")
    }
}

/// A JSON list of values that are JSON.
pub fn json_list<T: AsRef<str>>(items: impl IntoIterator<Item = T>) -> String {
    let mut out = String::from("[");
    for item in items {
        if out.len() > 1 {
            out.push(',');
        }
        out.push_str(item.as_ref());
    }
    out.push(']');
    out
}
