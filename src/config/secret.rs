//! What must not be printed. Owns: which keys and which parts of a value are secret.

/// Stands where a secret was.
pub(super) const MASK: &str = "***";

/// A key with one of these words in its name is never printed.
const WORDS: [&str; 4] = ["secret", "password", "token", "credentials"];

/// The value as it may be printed under this key. It may hold several URLs, as a variable does.
pub(super) fn printable(key: &str, text: &str) -> String {
    let key = key.to_lowercase();
    // That nothing is set is no secret.
    if WORDS.iter().any(|word| key.contains(word)) && !text.is_empty() && text != "\"\"" {
        return MASK.to_owned();
    }
    match text.rfind('@') {
        // Written without its scheme it is no good URL, but the error that says so must not show it either.
        Some(at) if key.ends_with("urls") && !text.contains("://") => format!("{MASK}{}", &text[at..]),
        _ => without_credentials(text),
    }
}

/// A URL with `***` in place of `user:password`; text that is no URL stays as it is.
pub fn without_credentials(url: &str) -> String {
    // To the last `@`, wherever it is: an unescaped `@`, `/` or `,` in a password must not leave a part of it standing.
    match (url.find("://"), url.rfind('@')) {
        (Some(scheme), Some(at)) if scheme < at => format!("{}://{MASK}{}", &url[..scheme], &url[at..]),
        _ => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_in_a_url_are_masked_whatever_the_password_holds() {
        for (url, shown) in [
            ("nats://user:pass@host:4222", "nats://***@host:4222"),
            ("nats://token@host", "nats://***@host"),
            ("nats://user:p@ss@host/x", "nats://***@host/x"),
            ("nats://user:p/s,s@host", "nats://***@host"),
            ("nats://host:4222", "nats://host:4222"),
            ("https://example.org", "https://example.org"),
        ] {
            assert_eq!(without_credentials(url), shown);
        }
    }

    #[test]
    fn a_key_that_sounds_secret_shows_nothing() {
        assert_eq!(printable("auth.jwt_Secret", "abc"), MASK);
        assert_eq!(printable("nats.urls", "nats://a:b@x,nats://c:d@y"), "nats://***@y");
        assert_eq!(printable("nats.urls", "user:pass@host"), "***@host");
        assert_eq!(printable("data_dir", "/srv/a@b"), "/srv/a@b");
    }
}
