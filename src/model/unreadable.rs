//! What is wrong with a JSON text, in words that may stand in a log.

use serde_json::error::{Category, Error};

/// Says where a text stops being what it should be, and nothing of what stands there: serde's own words repeat it.
pub fn unreadable(error: &Error) -> String {
    let what = match error.classify() {
        Category::Io => "cannot be read",
        Category::Syntax => "is no JSON",
        Category::Data => "is JSON of another form",
        Category::Eof => "ends early",
    };
    format!("it {what}, at line {}, column {}", error.line(), error.column())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_the_text_is_repeated() {
        for (text, words) in [
            ("\"planted\"", "it is JSON of another form, at line 1, column 9"),
            ("[planted", "it is no JSON, at line 1, column 2"),
            ("[1", "it ends early, at line 1, column 2"),
        ] {
            let error = serde_json::from_str::<Vec<u8>>(text).expect_err("no list of numbers");
            assert_eq!(unreadable(&error), words);
        }
    }
}
