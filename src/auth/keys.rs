//! Keys that tokens are verified with. Each has one algorithm, whatever a token says of itself.

use std::{fmt, path::Path};

use jsonwebtoken::{
    Algorithm, DecodingKey,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse},
};
use serde::Deserialize;
use serde_json::Value;

use super::TokenError;

/// A shorter secret could be guessed from a token that it signed.
const SECRET_BYTES: usize = 32;

/// How keys sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum Signing {
    /// HMAC with SHA-256: whoever verifies could sign too.
    HS256,
    /// RSA with SHA-256.
    RS256,
    /// ECDSA on P-256.
    ES256,
    /// Ed25519.
    EdDSA,
}

impl Signing {
    /// As the library names it.
    pub fn algorithm(self) -> Algorithm {
        match self {
            Self::HS256 => Algorithm::HS256,
            Self::RS256 => Algorithm::RS256,
            Self::ES256 => Algorithm::ES256,
            Self::EdDSA => Algorithm::EdDSA,
        }
    }
}

/// One key.
#[derive(Clone)]
pub struct Key {
    id: Option<String>,
    signing: Signing,
    decoding: DecodingKey,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("id", &self.id).field("signing", &self.signing).finish_non_exhaustive()
    }
}

impl Key {
    /// From a file: a secret as it stands there (without the line's end), or a public key as PEM.
    ///
    /// # Errors
    ///
    /// In words, with the path.
    pub fn from_file(id: Option<String>, signing: Signing, path: &Path) -> Result<Self, String> {
        let shown = path.display();
        let bytes = std::fs::read(path).map_err(|error| format!("cannot read {shown}: {error}"))?;
        let decoding = match signing {
            Signing::HS256 => {
                let secret = bytes.trim_ascii_end();
                if secret.len() < SECRET_BYTES {
                    return Err(format!("the secret in {shown} has fewer than {SECRET_BYTES} bytes"));
                }
                Ok(DecodingKey::from_secret(secret))
            }
            Signing::RS256 => DecodingKey::from_rsa_pem(&bytes),
            Signing::ES256 => DecodingKey::from_ec_pem(&bytes),
            Signing::EdDSA => DecodingKey::from_ed_pem(&bytes),
        };
        let decoding = decoding.map_err(|_| format!("{shown} holds no public key for {signing:?} as PEM"))?;
        Ok(Self { id, signing, decoding })
    }

    /// How it signs.
    pub fn signing(&self) -> Signing {
        self.signing
    }

    /// For the library.
    pub fn decoding(&self) -> &DecodingKey {
        &self.decoding
    }
}

/// An issuer's keys.
#[derive(Clone, Debug, Default)]
pub struct KeySet(Vec<Key>);

impl KeySet {
    /// Of these.
    pub fn new(keys: Vec<Key>) -> Self {
        Self(keys)
    }

    /// The key that a token names; one that names none means the only one there is.
    ///
    /// # Errors
    ///
    /// [`TokenError::UnknownKey`].
    pub fn find(&self, id: Option<&str>) -> Result<&Key, TokenError> {
        match (id, &self.0[..]) {
            (None, [only]) => Ok(only),
            (None, _) => Err(TokenError::UnknownKey),
            // A key without an id answers to any, as long as there is no other that a token could mean.
            (Some(_), [only @ Key { id: None, .. }]) => Ok(only),
            (Some(id), keys) => keys.iter().find(|key| key.id.as_deref() == Some(id)).ok_or(TokenError::UnknownKey),
        }
    }

    /// Reads a JSON Web Key Set (RFC 7517). Keys that are not for signatures, or of a kind that is not used here, are passed
    /// over, as the standard asks.
    ///
    /// # Errors
    ///
    /// In words: it is none. One without a key that could be used is one: its issuer may have taken all back.
    pub fn from_jwks(text: &[u8]) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Set {
            keys: Vec<Value>,
        }
        let set: Set = serde_json::from_slice(text).map_err(|_| "it is no JSON Web Key Set".to_owned())?;
        let keys: Vec<_> = set.keys.into_iter().filter_map(|key| usable(serde_json::from_value(key).ok()?)).collect();
        if keys.is_empty() {
            tracing::warn!("a key set holds no key for RS256, ES256 or EdDSA");
        }
        Ok(Self(keys))
    }
}

fn usable(jwk: Jwk) -> Option<Key> {
    if jwk.common.public_key_use.as_ref().is_some_and(|usage| *usage != PublicKeyUse::Signature) {
        return None;
    }
    // A secret that is published is none.
    let signing = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => Signing::RS256,
        AlgorithmParameters::EllipticCurve(curve) if curve.curve == EllipticCurve::P256 => Signing::ES256,
        AlgorithmParameters::OctetKeyPair(pair) if pair.curve == EllipticCurve::Ed25519 => Signing::EdDSA,
        _ => return None,
    };
    let said = match jwk.common.key_algorithm {
        None => None,
        Some(KeyAlgorithm::RS256) => Some(Signing::RS256),
        Some(KeyAlgorithm::ES256) => Some(Signing::ES256),
        Some(KeyAlgorithm::EdDSA) => Some(Signing::EdDSA),
        Some(_) => return None,
    };
    if said.is_some_and(|said| said != signing) {
        return None;
    }
    let decoding = DecodingKey::from_jwk(&jwk).ok()?;
    Some(Key { id: jwk.common.key_id, signing, decoding })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn of_a_published_set_only_public_keys_for_signatures_are_taken() {
        // The example of RFC 7517.
        let curve = |id: &str, more: Value| {
            let mut key = json!({"kty": "EC", "crv": "P-256", "kid": id,
                "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4", "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"});
            json_patch::merge(&mut key, &more);
            key
        };
        let keys = json!({"keys": [
            curve("plain", json!({})),
            curve("said", json!({"use": "sig", "alg": "ES256"})),
            curve("for-sealing", json!({"use": "enc"})),
            curve("says-another", json!({"alg": "RS256"})),
            curve("says-a-secret", json!({"alg": "HS256"})),
            curve("another-curve", json!({"crv": "P-384"})),
            {"kty": "oct", "kid": "secret", "k": "YSBzZWNyZXQgdGhhdCBpcyBwdWJsaXNoZWQ"},
            {"kty": "oct", "kid": "said-secret", "alg": "HS256", "k": "YSBzZWNyZXQgdGhhdCBpcyBwdWJsaXNoZWQ"},
            {"kty": "new", "kid": "odd"},
        ]});
        let keys = KeySet::from_jwks(keys.to_string().as_bytes()).expect("a set");
        let taken: Vec<_> = keys.0.iter().filter_map(|key| key.id.as_deref()).collect();
        assert_eq!(taken, ["plain", "said"]);
        assert!(keys.0.iter().all(|key| key.signing == Signing::ES256));
    }
}
