//! `preview=N`: long strings in `data` cut to N characters, and where it was done. Asked for, never done unasked. What is sealed stays
//! whole: of a part of it nothing could be opened.

use serde_json::Value;

use crate::model::sealed::{SEALED, is_sealed};

/// Cuts every string longer than `limit` characters; returns JSON pointers to those that were cut.
pub fn cut(value: &mut Value, limit: usize) -> Vec<String> {
    let mut truncated = Vec::new();
    cut_at(value, limit, &mut String::new(), &mut truncated);
    truncated
}

fn cut_at(value: &mut Value, limit: usize, path: &mut String, truncated: &mut Vec<String>) {
    let depth = path.len();
    match value {
        Value::String(text) => {
            // A string of no more bytes than characters allowed cannot be too long.
            if text.len() > limit
                && let Some((end, _)) = text.char_indices().nth(limit)
            {
                text.truncate(end);
                truncated.push(path.clone());
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                path.push('/');
                path.push_str(&index.to_string());
                cut_at(item, limit, path, truncated);
                path.truncate(depth);
            }
        }
        Value::Object(fields) => {
            let is_sealed = is_sealed(fields);
            for (name, field) in fields.iter_mut().filter(|(name, _)| !(is_sealed && *name == SEALED)) {
                path.push('/');
                path.push_str(&name.replace('~', "~0").replace('/', "~1"));
                cut_at(field, limit, path, truncated);
                path.truncate(depth);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_strings_are_cut_by_characters_and_named() {
        let mut value = serde_json::json!({"a":"éééé","b/c":["ab","abcd"],"n":12345});
        assert_eq!(cut(&mut value, 3), ["/a", "/b~1c/1"]);
        assert_eq!(value, serde_json::json!({"a":"ééé","b/c":["ab","abc"],"n":12345}));
    }
}
