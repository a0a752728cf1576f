//! Signs what is published, and checks what others have signed. docs/end-to-end.md says what that proves, and what it does not.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use ed25519_dalek::{Signer as _, SigningKey as Secret};
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{
    sealing::BadKey,
    subject::{Inexact, Subject, canonical},
};
use crate::model::{
    Timestamp,
    sealed::{CONTENT, SIGNED},
    signing::{KeySet, Signature, Unfit},
};

/// A key to sign with.
pub struct SigningKey {
    kid: String,
    secret: Secret,
}

/// Nothing of the key.
impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("kid", &self.kid).finish_non_exhaustive()
    }
}

/// Why a signature proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unproven {
    /// It has not the form.
    #[error("{0}")]
    Form(#[from] Unfit),
    /// It is in the name of another instance than the one that published.
    #[error("it is signed in another instance's name")]
    OtherInstance,
    /// Its signer has no such key.
    #[error("its signer has no key of this id")]
    UnknownKey,
    /// The key was not yet, or not any more, in use.
    #[error("its key was not in use at that time")]
    OutOfTime,
    /// A number in it is not exact.
    #[error("{0}")]
    Inexact(#[from] Inexact),
    /// It is of something else, or of another key.
    #[error("the signature is not of this content, here, by this key")]
    Wrong,
}

#[derive(Deserialize)]
struct Written {
    kty: String,
    crv: String,
    kid: String,
    d: String,
    x: String,
}

impl SigningKey {
    /// A new one; its id is its thumbprint (RFC 7638), so whoever knows the id knows the key.
    ///
    /// # Errors
    ///
    /// The system has no random numbers.
    pub fn generate() -> Result<Self, getrandom::Error> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed)?;
        let secret = Secret::from_bytes(&seed);
        let thumbprint = canonical(&json!({"crv": "Ed25519", "kty": "OKP", "x": x_of(&secret)}));
        Ok(Self { kid: BASE64.encode(Sha256::digest(thumbprint)), secret })
    }

    /// Reads a private JWK (RFC 8037).
    ///
    /// # Errors
    ///
    /// It is none.
    pub fn from_jwk(text: &str) -> Result<Self, BadKey> {
        const FORM: BadKey = BadKey("a signing key is a JWK: kty \"OKP\", crv \"Ed25519\", with kid, x and d");
        let Written { kty, crv, kid, d, x } = serde_json::from_str(text).map_err(|_| FORM)?;
        let seed: [u8; 32] = BASE64.decode(d).ok().and_then(|bytes| bytes.try_into().ok()).ok_or(FORM)?;
        let secret = Secret::from_bytes(&seed);
        if (&*kty, &*crv) != ("OKP", "Ed25519") || x != x_of(&secret) {
            return Err(FORM);
        }
        Ok(Self { kid, secret })
    }

    /// The private JWK: for its owner's file, and nowhere else.
    pub fn to_jwk(&self) -> Value {
        let mut jwk = self.public_jwk();
        jwk["d"] = BASE64.encode(self.secret.to_bytes()).into();
        jwk
    }

    /// The public JWK, as it stands in a `signing_key`.
    pub fn public_jwk(&self) -> Value {
        json!({"kty": "OKP", "crv": "Ed25519", "kid": self.kid, "x": x_of(&self.secret)})
    }

    /// Signs a content in the name of `by`: `user:ID` or `instance:ID`.
    ///
    /// # Errors
    ///
    /// A number in it is not exact.
    pub fn sign(&self, subject: Subject<'_>, by: &str, at: Timestamp, content: &Value) -> Result<Signature, Inexact> {
        let unsigned = Signature::new(&self.kid, by, at, [0; 64]);
        let value = self.secret.sign(&subject.signed_bytes(&unsigned, content)?).to_bytes();
        Ok(Signature::new(&self.kid, by, at, value))
    }

    /// A whole content of an entity with its signature: what is sent as `data` of an operation.
    ///
    /// # Errors
    ///
    /// A number in it is not exact.
    pub fn signed_content(
        &self,
        subject: Subject<'_>,
        by: &str,
        at: Timestamp,
        content: Value,
    ) -> Result<Value, Inexact> {
        let signature = self.sign(subject, by, at, &content)?;
        Ok(json!({SIGNED: signature, CONTENT: content}))
    }
}

fn x_of(secret: &Secret) -> String {
    BASE64.encode(secret.verifying_key().to_bytes())
}

/// Checks a signature against the keys of whoever `signature.by()` names.
///
/// # Errors
///
/// Why it proves nothing.
pub fn verify(subject: Subject<'_>, signature: &Signature, content: &Value, keys: &KeySet) -> Result<(), Unproven> {
    // Who acts for no user signs in its own name; a user's instances are all the user's.
    if let (Subject::Event { instance, .. }, Some(named)) = (subject, signature.by().strip_prefix("instance:"))
        && named != instance.as_str()
    {
        return Err(Unproven::OtherInstance);
    }
    let key = keys.key(signature.kid()).ok_or(Unproven::UnknownKey)?;
    if !key.holds_at(signature.at()) {
        return Err(Unproven::OutOfTime);
    }
    let bytes = subject.signed_bytes(signature, content)?;
    let value = signature.bytes().ok_or(Unfit("the signature's value is not 64 bytes"))?;
    key.key.verify_strict(&bytes, &ed25519_dalek::Signature::from_bytes(&value)).map_err(|_| Unproven::Wrong)
}
