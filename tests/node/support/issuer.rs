//! Somebody who issues tokens: keys in a folder of its own, and the file that tells a node of them.

use std::{fs, path::PathBuf, process::Command, time::Duration};

use continuum::{
    auth::mint::{Wanted, mint},
    model::Timestamp,
};
use serde_json::{Map, Value, json};
use tempfile::TempDir;

use super::{Node, http};

/// The key that may administer everything.
pub const ADMIN: &str = "the-administrators-planted-secret-0123456789";

/// An issuer named `dev`, and others beside it.
pub struct Issuer {
    folder: TempDir,
}

/// One of the issuers' keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    Secret,
    Rsa,
    P256,
    Ed25519,
}

impl Key {
    pub const ALL: [Self; 4] = [Self::Secret, Self::Rsa, Self::P256, Self::Ed25519];

    pub fn algorithm(self) -> &'static str {
        match self {
            Self::Secret => "HS256",
            Self::Rsa => "RS256",
            Self::P256 => "ES256",
            Self::Ed25519 => "EdDSA",
        }
    }

    fn id(self) -> String {
        format!("{self:?}").to_lowercase()
    }
}

impl Issuer {
    /// With keys of all kinds, for the tenants `acme` and `team-…`.
    pub fn new() -> Self {
        let issuer = Self { folder: TempDir::new().expect("a temporary directory can be made") };
        fs::write(issuer.path("secret.private"), "a planted secret that is long enough to be one").expect("a file");
        fs::copy(issuer.path("secret.private"), issuer.path("secret.public")).expect("a file");
        for (key, arguments) in [
            (Key::Rsa, &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"][..]),
            (Key::P256, &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]),
            (Key::Ed25519, &["-algorithm", "ED25519"]),
        ] {
            let (private, public) = (issuer.private(key), issuer.path(&format!("{}.public", key.id())));
            openssl(&[&["genpkey"], arguments, &["-out", text(&private)]].concat());
            openssl(&["pkey", "-in", text(&private), "-pubout", "-out", text(&public)]);
        }
        fs::write(issuer.path("admin.key"), ADMIN).expect("a file");
        let keys: String = Key::ALL
            .map(|key| {
                let (id, algorithm) = (key.id(), key.algorithm());
                format!("[[issuer.key]]\nid = \"{id}\"\nalgorithm = \"{algorithm}\"\nfile = \"{id}.public\"\n")
            })
            .concat();
        let dev =
            format!("[[issuer]]\nissuer = \"dev\"\naudience = \"continuum\"\ntenants = [\"acme\", \"team-*\"]\n{keys}");
        // Another one, with a key of the same id.
        let other = "[[issuer]]\nissuer = \"other\"\naudience = [\"continuum\"]\ntenants = [\"elsewhere\"]\n[[issuer.key]]\nid = \"secret\"\nalgorithm = \"HS256\"\nfile = \"other.secret\"\n";
        fs::write(issuer.path("other.secret"), "another planted secret that is long enough too").expect("a file");
        issuer.write(&format!("{dev}{other}"));
        issuer
    }

    /// What the issuers' file says from now on.
    pub fn write(&self, text: &str) {
        fs::write(self.path("issuers.toml"), text).expect("a file");
    }

    /// A file of the issuer.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn private(&self, key: Key) -> PathBuf {
        self.path(&format!("{}.private", key.id()))
    }

    /// A node that asks for tokens.
    pub async fn node(&self, settings: &[(&str, &str)]) -> Node {
        let own = self.settings();
        let own: Vec<_> = own.iter().map(|(key, value)| (*key, value.as_str())).collect();
        Node::start(&[&own, settings].concat()).await
    }

    /// What makes a node ask for tokens.
    pub fn settings(&self) -> [(&'static str, String); 3] {
        [
            ("auth.mode", "token".into()),
            ("auth.issuers", text(&self.path("issuers.toml")).into()),
            ("auth.admin_key", text(&self.path("admin.key")).into()),
        ]
    }

    /// A token of `dev` with these claims, for `acme` and one hour unless they say otherwise.
    pub fn token(&self, claims: Value) -> String {
        self.token_by(Key::Secret, claims)
    }

    /// The same, signed with another key.
    pub fn token_by(&self, key: Key, claims: Value) -> String {
        self.token_of("dev", &key.id(), key.algorithm(), &self.private(key), claims)
    }

    /// The same, with everything said.
    pub fn token_of(&self, issuer: &str, id: &str, algorithm: &str, key: &std::path::Path, claims: Value) -> String {
        let mut all = Map::from_iter([("tenant".to_owned(), json!("acme"))]);
        all.extend(claims.as_object().cloned().unwrap_or_default());
        let key_id = (!id.is_empty()).then_some(id);
        let lasts = Duration::from_secs(3600);
        let wanted = Wanted { issuer, audience: "continuum", key_id, algorithm, key, lasts, claims: all };
        mint(wanted, now()).expect("a token")
    }
}

/// The clock of this machine, and so of its nodes.
pub fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    Timestamp(since.as_millis() as i64)
}

/// Seconds since 1970, so many from now.
pub fn seconds(from_now: f64) -> f64 {
    now().0 as f64 / 1000.0 + from_now
}

fn text(path: &std::path::Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

fn openssl(arguments: &[&str]) {
    let done = Command::new("openssl").args(arguments).output().expect("openssl is installed");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

impl Node {
    /// Asks with a token.
    pub async fn ask(&self, token: &str, method: &str, target: &str, body: &Value) -> http::Response {
        let bearer = format!("Bearer {token}");
        let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
        let body = if body.is_null() { String::new() } else { body.to_string() };
        http::send(self.address(), method, target, &headers, body.as_bytes()).await
    }

    /// `GET` with a token.
    pub async fn get_as(&self, token: &str, target: &str) -> http::Response {
        self.ask(token, "GET", target, &Value::Null).await
    }

    /// Makes an API key; its id and itself.
    pub async fn api_key(&self, wanted: Value) -> (String, String) {
        let made = self.ask(ADMIN, "POST", "/v1/admin/keys", &wanted).await;
        assert_eq!(made.status, 201, "{}", made.text());
        let made = made.json();
        let text = |name: &str| made[name].as_str().expect("a text").to_owned();
        (text("id"), text("key"))
    }
}
