//! Addresses that the node itself asks with a secret or for keys.

use ureq::http::Uri;

use crate::config::is_loopback;

/// Whether an address is one that nobody on the way can read or change: HTTPS, or this machine. `what` is its name for people.
/// It is taken apart by what the HTTP client takes it apart with, so both see the same host.
///
/// # Errors
///
/// In words.
pub(super) fn check(what: &str, url: &str) -> Result<(), String> {
    let bad = |why: &str| Err(format!("{what} {why}"));
    let Ok(uri) = url.parse::<Uri>() else { return bad("is not a URL") };
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return bad("must begin with https:// and name a host");
    };
    if authority.as_str().contains('@') {
        // Not repeated: it may be a password.
        return bad("must not hold a user or a password");
    }
    let host = authority.host();
    if host.is_empty() {
        return bad("names no host");
    }
    match scheme {
        "https" => Ok(()),
        "http" if is_loopback(host) => Ok(()),
        _ => bad("must begin with https://"),
    }
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn only_https_and_this_machine_are_asked() {
        for good in [
            "https://example.org/keys",
            "HTTPS://example.org:8443",
            "http://127.0.0.1/keys",
            "http://127.0.0.1:80/keys?x=@",
            "http://localhost:8080",
            "http://[::1]:80/",
        ] {
            assert_eq!(check("url", good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "example.org",
            "/keys",
            "ftp://127.0.0.1/",
            "http://example.org/",
            "http://127.0.0.1:80@evil/",
            "http://127.0.0.1@evil/",
            "http://localhost:@evil/",
            "http://localhost.evil/",
            "http://127.0.0.1.evil/",
            "http://evil/127.0.0.1",
            "http://evil#127.0.0.1",
            "http://127.0.0.1\\@evil/",
            "https://user:secret@example.org/",
            "https:///keys",
            "https://",
        ] {
            let said = check("url", bad).expect_err(bad);
            assert!(!said.contains("secret"), "{said}");
        }
    }
}
