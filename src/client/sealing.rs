//! Seals contents so that the node and its log cannot read them, and opens what others have sealed.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use chacha20poly1305::{
    KeyInit as _, XChaCha20Poly1305,
    aead::{Aead as _, Payload},
};
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};

use super::subject::Subject;
use crate::model::sealed::{ALGORITHM, NONCE, SEALED, Sealed};

/// A key that whoever shall read has in common.
pub struct SealingKey {
    kid: String,
    key: [u8; 32],
    cipher: XChaCha20Poly1305,
}

/// Nothing of the key.
impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealingKey").field("kid", &self.kid).finish_non_exhaustive()
    }
}

/// A key file holds something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadKey(pub(super) &'static str);

/// Why something cannot be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unopened {
    /// It is sealed with another key.
    #[error("it is sealed with another key")]
    OtherKey,
    /// It was sealed for another place or was changed, or the key is another one of the same id.
    #[error("it was not sealed for this place with this key, or was changed")]
    Wrong,
    /// What was sealed is not JSON.
    #[error("what was sealed is not JSON")]
    NotJson,
}

#[derive(Deserialize)]
struct Written {
    kty: String,
    alg: String,
    kid: String,
    k: String,
}

impl SealingKey {
    fn new(kid: String, key: [u8; 32]) -> Self {
        Self { kid, key, cipher: XChaCha20Poly1305::new(&key.into()) }
    }

    /// A new one.
    ///
    /// # Errors
    ///
    /// The system has no random numbers.
    pub fn generate() -> Result<Self, getrandom::Error> {
        let (mut key, mut kid) = ([0; 32], [0; 12]);
        getrandom::fill(&mut key)?;
        getrandom::fill(&mut kid)?;
        Ok(Self::new(BASE64.encode(kid), key))
    }

    /// Reads a secret JWK (RFC 7518, section 6.4).
    ///
    /// # Errors
    ///
    /// It is none.
    pub fn from_jwk(text: &str) -> Result<Self, BadKey> {
        const FORM: BadKey =
            BadKey("a sealing key is a JWK: kty \"oct\", alg \"XC20P\", with kid and k, 32 bytes in base64url");
        let Written { kty, alg, kid, k } = serde_json::from_str(text).map_err(|_| FORM)?;
        let key = BASE64.decode(k).ok().and_then(|bytes| bytes.try_into().ok()).ok_or(FORM)?;
        if (&*kty, &*alg) != ("oct", ALGORITHM) {
            return Err(FORM);
        }
        Ok(Self::new(kid, key))
    }

    /// The JWK: for the files of those who shall read, and nowhere else.
    pub fn to_jwk(&self) -> Value {
        json!({"kty": "oct", "alg": ALGORITHM, "kid": self.kid, "k": BASE64.encode(self.key)})
    }

    /// Seals a content, any JSON value; an entity's has to be an object.
    ///
    /// # Errors
    ///
    /// The system has no random numbers.
    pub fn seal(&self, subject: Subject<'_>, content: &RawValue) -> Result<Value, getrandom::Error> {
        let mut nonce = [0; NONCE];
        // Long enough to be random: no two are alike in as many as can ever be made.
        getrandom::fill(&mut nonce)?;
        Ok(self.seal_with(nonce, subject, content))
    }

    /// The same with a nonce of the caller's, which must never have been used with this key: for test vectors.
    pub fn seal_with(&self, nonce: [u8; NONCE], subject: Subject<'_>, content: &RawValue) -> Value {
        let bound = subject.sealed_bytes(&self.kid);
        let payload = Payload { msg: content.get().as_bytes(), aad: &bound };
        let ciphertext = self.cipher.encrypt(&nonce.into(), payload).expect("shorter than 256 GB");
        json!({SEALED: Sealed::new(&self.kid, nonce, &ciphertext)})
    }

    /// Opens what was sealed.
    ///
    /// # Errors
    ///
    /// Why it cannot be.
    pub fn open(&self, subject: Subject<'_>, sealed: &Sealed) -> Result<Box<RawValue>, Unopened> {
        if sealed.kid() != self.kid {
            return Err(Unopened::OtherKey);
        }
        let (Some(nonce), Some(ciphertext)) = (sealed.nonce(), sealed.ciphertext()) else {
            return Err(Unopened::Wrong);
        };
        let bound = subject.bytes_of(sealed);
        let payload = Payload { msg: &ciphertext, aad: &bound };
        let text = self.cipher.decrypt(&nonce.into(), payload).map_err(|_| Unopened::Wrong)?;
        String::from_utf8(text).ok().and_then(|text| RawValue::from_string(text).ok()).ok_or(Unopened::NotJson)
    }
}

/// What is sealed in a content, if it is.
pub fn sealed_in(content: &Value) -> Option<Sealed> {
    content.get(SEALED).and_then(|sealed| Sealed::of(sealed).ok())
}
