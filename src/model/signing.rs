//! Signatures and the keys that they are checked with, as values.
//!
//! Owns: who signs under which name, what a signature and a set of keys may be made of. Whether a signature is right is found out by
//! whoever receives it (`client/signing.rs`), and not here: the node passes it on.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use ed25519_dalek::VerifyingKey;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{EntityKey, Timestamp, entity::Owner};

/// The type of the entities that hold public keys; the id says whose, see [`signer`].
pub const SIGNING_KEY: &str = "signing_key";
/// The one algorithm: Ed25519 (RFC 8032), under its name in RFC 8037.
pub const ALGORITHM: &str = "EdDSA";
/// Greatest number of keys of one signer: enough for those that are not used any more.
pub const KEYS: usize = 16;
/// Greatest length of a key's id, in bytes.
pub const KEY_ID_BYTES: usize = 64;
/// Greatest length of a signer's name, in bytes: that of an entity's id.
const SIGNER_BYTES: usize = 256;
/// Greatest length of a time, in bytes.
const TIME_BYTES: usize = 32;

/// Why something is no signature, no set of keys or no sealed content; the text is for whoever sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unfit(pub &'static str);

/// The name under which somebody signs, and the id of the entity that holds its keys: `user:ada`, or `instance:claude-1` of who acts
/// for no user. What stands before the first colon says which, so no user's name can be an instance's.
pub fn signer(owner: &Owner) -> String {
    match owner {
        Owner::User(user) => format!("user:{user}"),
        Owner::Instance(instance) => format!("instance:{instance}"),
    }
}

/// Whether an entity holds somebody's public keys.
pub fn holds_keys(key: &EntityKey) -> bool {
    &*key.kind == SIGNING_KEY
}

/// A signature beside what it signs. Its form was checked, nothing else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signature {
    alg: Arc<str>,
    kid: Arc<str>,
    by: Arc<str>,
    at: Arc<str>,
    value: Arc<str>,
}

impl Signature {
    /// Puts one together.
    pub fn new(kid: &str, by: &str, at: Timestamp, value: [u8; 64]) -> Self {
        let value = BASE64.encode(value).into();
        Self { alg: ALGORITHM.into(), kid: kid.into(), by: by.into(), at: at.to_string().into(), value }
    }

    /// Reads one.
    ///
    /// # Errors
    ///
    /// What is wrong with its form.
    pub fn of(value: &Value) -> Result<Self, Unfit> {
        const FORM: Unfit =
            Unfit("a signature is an object of the texts 'alg', 'kid', 'by', 'at' and 'value', and nothing else");
        let signature = Self::deserialize(value).map_err(|_| FORM)?;
        if &*signature.alg != ALGORITHM {
            return Err(Unfit("a signature's 'alg' must be \"EdDSA\""));
        }
        key_id(&signature.kid)?;
        if !["user:", "instance:"].iter().any(|family| signature.by.starts_with(family))
            || signature.by.len() > SIGNER_BYTES
        {
            return Err(Unfit("a signature's 'by' must be user:ID, or instance:ID of who acts for no user"));
        }
        time(&signature.at)?;
        if signature.bytes().is_none() {
            return Err(Unfit("a signature's 'value' must be 64 bytes in base64url without padding"));
        }
        Ok(signature)
    }

    /// The id of the key that it was made with.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// Who says to have signed.
    pub fn by(&self) -> &str {
        &self.by
    }

    /// When, as the signer wrote it: that is signed.
    pub fn at_text(&self) -> &str {
        &self.at
    }

    /// When, by the signer's word.
    pub fn at(&self) -> Timestamp {
        Timestamp::parse(&self.at).unwrap_or_default()
    }

    /// The signature itself.
    pub fn bytes(&self) -> Option<[u8; 64]> {
        BASE64.decode(&*self.value).ok()?.try_into().ok()
    }
}

/// Somebody's public keys: a JWK set (RFC 7517) of Ed25519 keys (RFC 8037), each with the time for which it signs.
#[derive(Clone, Debug, PartialEq)]
pub struct KeySet(Vec<PublicKey>);

/// One of them.
#[derive(Clone, Debug, PartialEq)]
pub struct PublicKey {
    /// Its id.
    pub kid: Box<str>,
    /// What signatures are checked with.
    pub key: VerifyingKey,
    /// From when on it signs.
    pub from: Option<Timestamp>,
    /// Until when.
    pub until: Option<Timestamp>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenSet {
    keys: Vec<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenKey {
    kty: String,
    crv: String,
    kid: String,
    x: String,
    #[serde(default)]
    from: Option<String>,
    #[serde(default)]
    until: Option<String>,
}

impl KeySet {
    /// Reads the content of a [`SIGNING_KEY`].
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn of(content: &Value) -> Result<Self, Unfit> {
        let set = WrittenSet::deserialize(content)
            .map_err(|_| Unfit("a signing_key holds 'keys', a list, and nothing else"))?;
        if set.keys.is_empty() || set.keys.len() > KEYS {
            return Err(Unfit("a signing_key holds 1 to 16 keys; delete it to have none"));
        }
        let keys = set.keys.iter().map(PublicKey::of).collect::<Result<Vec<_>, _>>()?;
        let is_twice = |(at, key): (usize, &PublicKey)| keys[..at].iter().any(|other| other.kid == key.kid);
        if keys.iter().enumerate().any(is_twice) {
            return Err(Unfit("two keys of a signing_key have the same 'kid'"));
        }
        Ok(Self(keys))
    }

    /// The key of this id.
    pub fn key(&self, kid: &str) -> Option<&PublicKey> {
        self.0.iter().find(|key| &*key.kid == kid)
    }
}

impl PublicKey {
    fn of(value: &Value) -> Result<Self, Unfit> {
        if value.get("d").is_some() {
            return Err(Unfit(
                "this is a private key: it belongs to nobody but its owner; leave 'd' out, and use another key from now on",
            ));
        }
        const FORM: Unfit =
            Unfit("a key has the texts 'kty', 'crv', 'kid' and 'x', perhaps 'from' and 'until', and nothing else");
        let WrittenKey { kty, crv, kid, x, from, until } = WrittenKey::deserialize(value).map_err(|_| FORM)?;
        if (&*kty, &*crv) != ("OKP", "Ed25519") {
            return Err(Unfit("a key's 'kty' must be \"OKP\" and its 'crv' \"Ed25519\""));
        }
        key_id(&kid)?;
        const POINT: Unfit = Unfit("a key's 'x' must be an Ed25519 public key, 32 bytes in base64url without padding");
        let bytes: [u8; 32] = BASE64.decode(x).ok().and_then(|bytes| bytes.try_into().ok()).ok_or(POINT)?;
        // A key of small order would let anybody sign anything.
        let key = VerifyingKey::from_bytes(&bytes).ok().filter(|key| !key.is_weak()).ok_or(POINT)?;
        let (from, until) = (from.as_deref().map(time).transpose()?, until.as_deref().map(time).transpose()?);
        if from.zip(until).is_some_and(|(from, until)| from >= until) {
            return Err(Unfit("a key's 'from' must lie before its 'until'"));
        }
        Ok(Self { kid: kid.into(), key, from, until })
    }

    /// Whether it signs at a time.
    pub fn holds_at(&self, time: Timestamp) -> bool {
        self.from.is_none_or(|from| from <= time) && self.until.is_none_or(|until| time < until)
    }
}

/// Whether a text may be a key's id.
pub(super) fn key_id(kid: &str) -> Result<(), Unfit> {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if kid.is_empty() || kid.len() > KEY_ID_BYTES || !kid.bytes().all(is_token) {
        return Err(Unfit("a key's 'kid' must be 1 to 64 letters, digits, '_' and '-'"));
    }
    Ok(())
}

fn time(text: &str) -> Result<Timestamp, Unfit> {
    let time = Timestamp::parse(text).filter(|_| text.len() <= TIME_BYTES && text.ends_with('Z'));
    time.ok_or(Unfit("a time must be as in RFC 3339, in UTC with Z at its end"))
}

#[cfg(test)]
mod tests;
