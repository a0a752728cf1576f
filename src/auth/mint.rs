//! Makes tokens for development and tests, and says what a token proves. A node never signs anything.

use std::{path::Path, time::Duration};

use jsonwebtoken::{EncodingKey, Header, encode};
use serde_json::{Map, Value, json};

use super::{Bearer, TokenError, issuers::Issuers, keys::Signing, token};
use crate::model::Timestamp;

/// A token that is wanted.
#[derive(Debug)]
pub struct Wanted<'a> {
    /// `iss`.
    pub issuer: &'a str,
    /// `aud`.
    pub audience: &'a str,
    /// The key's id.
    pub key_id: Option<&'a str>,
    /// How the key signs: `HS256`, `RS256`, `ES256` or `EdDSA`.
    pub algorithm: &'a str,
    /// The private key as PEM, or the secret.
    pub key: &'a Path,
    /// For how long.
    pub lasts: Duration,
    /// Everything else that it says.
    pub claims: Map<String, Value>,
}

/// Makes a token.
///
/// # Errors
///
/// In words: the key cannot be used.
pub fn mint(wanted: Wanted<'_>, now: Timestamp) -> Result<String, String> {
    let signing: Signing = serde_json::from_value(json!(wanted.algorithm))
        .map_err(|_| "the algorithm is HS256, RS256, ES256 or EdDSA".to_owned())?;
    let shown = wanted.key.display();
    let bytes = std::fs::read(wanted.key).map_err(|error| format!("cannot read {shown}: {error}"))?;
    let key = match signing {
        Signing::HS256 => Ok(EncodingKey::from_secret(bytes.trim_ascii_end())),
        Signing::RS256 => EncodingKey::from_rsa_pem(&bytes),
        Signing::ES256 => EncodingKey::from_ec_pem(&bytes),
        Signing::EdDSA => EncodingKey::from_ed_pem(&bytes),
    };
    let key = key.map_err(|_| format!("{shown} holds no private key for {signing:?} as PEM"))?;
    let seconds = now.0 / 1000;
    let lasts = i64::try_from(wanted.lasts.as_secs()).unwrap_or(i64::MAX);
    let mut claims = wanted.claims;
    for (name, value) in [
        ("iss", json!(wanted.issuer)),
        ("aud", json!(wanted.audience)),
        ("iat", json!(seconds)),
        ("exp", json!(seconds.saturating_add(lasts))),
        ("jti", json!(uuid::Uuid::new_v4().to_string())),
    ] {
        claims.entry(name).or_insert(value);
    }
    let header = Header { kid: wanted.key_id.map(str::to_owned), ..Header::new(signing.algorithm()) };
    encode(&header, &claims, &key).map_err(|error| format!("cannot sign with {shown}: {error}"))
}

/// What a token proves to a node with this issuers' file.
///
/// # Errors
///
/// In words: the file is no good.
pub async fn check(issuers: &Path, token: &str, now: Timestamp) -> Result<Result<Bearer, TokenError>, String> {
    let issuers = Issuers::read(issuers)?;
    Ok(token::verify(&issuers, token, now).await)
}
