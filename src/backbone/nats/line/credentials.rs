//! Who we are to NATS: from a file, or from what stands in the URLs, which the client does not read by itself.

use std::path::{Path, PathBuf};

use async_nats::{ConnectOptions, ServerAddr};

use super::{Target, TargetError};

/// How a node proves to NATS who it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Credentials {
    /// By what stands in the URLs, if anything does.
    #[default]
    None,
    /// A `.creds` file (JWT and seed), or a file that holds an nkey seed alone.
    File(PathBuf),
}

/// What stands before the `@` of a URL.
#[derive(Clone, Debug, PartialEq, Eq)]
enum InUrl {
    User(String, String),
    Token(String),
}

/// The options with what the target says of us.
pub(super) fn added(options: ConnectOptions, target: &Target) -> Result<ConnectOptions, TargetError> {
    match &target.credentials {
        Credentials::File(path) => from_file(options, path),
        Credentials::None => from_urls(options, &target.urls),
    }
}

/// A client's options with the user, or the token, that stands in a URL.
///
/// # Errors
///
/// It is no URL.
pub fn with_user_of(options: ConnectOptions, url: &str) -> Result<ConnectOptions, TargetError> {
    from_urls(options, &[url.to_owned()])
}

fn from_urls(options: ConnectOptions, urls: &[String]) -> Result<ConnectOptions, TargetError> {
    Ok(match in_urls(urls)? {
        Some(InUrl::User(user, password)) => options.user_and_password(user, password),
        Some(InUrl::Token(token)) => options.token(token),
        None => options,
    })
}

fn from_file(options: ConnectOptions, path: &Path) -> Result<ConnectOptions, TargetError> {
    let unusable = |why: &str| TargetError::Credentials { path: path.to_owned(), why: why.to_owned() };
    let text = std::fs::read_to_string(path).map_err(|error| unusable(&format!("cannot be read: {error}")))?;
    if text.contains("-----BEGIN") {
        return options.credentials(&text).map_err(|error| unusable(&format!("is no credentials file: {error}")));
    }
    let seed = text.lines().map(str::trim).find(|line| line.starts_with("SU"));
    Ok(options.nkey(seed.ok_or_else(|| unusable("holds no user seed (a line that starts with SU)"))?.to_owned()))
}

/// One for all servers: the client has no way to be somebody else at each.
fn in_urls(urls: &[String]) -> Result<Option<InUrl>, TargetError> {
    let mut found = None;
    for url in urls {
        // Not with the URL: it may hold a password.
        let address: ServerAddr =
            url.parse().map_err(|error| TargetError::Connect(format!("one of nats.urls is no URL: {error}")))?;
        let this = match (address.username(), address.password()) {
            (Some(user), Some(password)) => InUrl::User(decoded(user), decoded(password)),
            (Some(token), None) => InUrl::Token(decoded(token)),
            (None, _) => continue,
        };
        if found.get_or_insert_with(|| this.clone()) != &this {
            return Err(TargetError::Connect("nats.urls name several users; one must do for all servers".into()));
        }
    }
    Ok(found)
}

/// Without percent-encoding.
fn decoded(text: &str) -> String {
    // A plus is a plus here; in a form it would be a blank.
    let form = text.replace('+', "%2B");
    form_urlencoded::parse(form.as_bytes()).next().map_or_else(String::new, |(text, _)| text.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(urls: &[&str]) -> Result<Option<InUrl>, String> {
        let urls: Vec<_> = urls.iter().map(|url| (*url).to_owned()).collect();
        in_urls(&urls).map_err(|error| error.to_string())
    }

    #[test]
    fn who_stands_in_the_urls_is_who_we_are() {
        assert_eq!(found(&["nats://a", "nats://b:4222"]), Ok(None));
        let user = InUrl::User("node".into(), "p+@ss".into());
        assert_eq!(found(&["nats://a", "nats://node:p+%40ss@b:4222"]), Ok(Some(user)));
        assert_eq!(found(&["tls://secret@a"]), Ok(Some(InUrl::Token("secret".into()))));
    }

    #[test]
    fn two_users_are_refused_without_naming_a_password() {
        let refused = found(&["nats://a:x1@a", "nats://b:x2@b"]).expect_err("two");
        assert!(refused.contains("several users") && !refused.contains("x1"), "{refused}");
        let refused = found(&["nats://a:x1@:b:c"]).expect_err("no URL");
        assert!(refused.contains("no URL") && !refused.contains("x1"), "{refused}");
    }
}
