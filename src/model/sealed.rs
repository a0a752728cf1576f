//! Contents that are of one piece: sealed ones, which the node cannot read, and signed ones, which a change of a part would break.
//!
//! Owns: how they are recognised. Neither is ever merged with anything (`entity/plan.rs`), and what is sealed is not cut or looked into.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::signing::{Signature, Unfit, key_id};

/// The member that holds a sealed content.
pub const SEALED: &str = "$sealed";
/// The member that holds the signature over its neighbour [`CONTENT`].
pub const SIGNED: &str = "$signed";
/// The member that holds what is signed.
pub const CONTENT: &str = "content";
/// The one algorithm: XChaCha20-Poly1305.
pub const ALGORITHM: &str = "XC20P";
/// Length of a nonce, in bytes.
pub const NONCE: usize = 24;
/// Length of the tag at the end of a ciphertext, in bytes.
const TAG: usize = 16;

/// A sealed content. Its form was checked, nothing else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sealed {
    alg: String,
    kid: String,
    nonce: String,
    ciphertext: String,
}

impl Sealed {
    /// Puts one together.
    pub fn new(kid: &str, nonce: [u8; NONCE], ciphertext: &[u8]) -> Self {
        let (nonce, ciphertext) = (BASE64.encode(nonce), BASE64.encode(ciphertext));
        Self { alg: ALGORITHM.into(), kid: kid.into(), nonce, ciphertext }
    }

    /// Reads what stands under [`SEALED`].
    ///
    /// # Errors
    ///
    /// What is wrong with its form.
    pub fn of(value: &Value) -> Result<Self, Unfit> {
        const FORM: Unfit =
            Unfit("what is sealed is an object of the texts 'alg', 'kid', 'nonce' and 'ciphertext', and nothing else");
        let sealed = Self::deserialize(value).map_err(|_| FORM)?;
        if sealed.alg != ALGORITHM {
            return Err(Unfit("the 'alg' of what is sealed must be \"XC20P\""));
        }
        key_id(&sealed.kid)?;
        if sealed.nonce().is_none() {
            return Err(Unfit("the 'nonce' of what is sealed must be 24 bytes in base64url without padding"));
        }
        if sealed.ciphertext().is_none_or(|bytes| bytes.len() < TAG) {
            return Err(Unfit(
                "the 'ciphertext' of what is sealed must be at least 16 bytes in base64url without padding",
            ));
        }
        Ok(sealed)
    }

    /// The id of the key that it was sealed with.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The nonce.
    pub fn nonce(&self) -> Option<[u8; NONCE]> {
        BASE64.decode(&self.nonce).ok()?.try_into().ok()
    }

    /// The ciphertext with its tag.
    pub fn ciphertext(&self) -> Option<Vec<u8>> {
        BASE64.decode(&self.ciphertext).ok()
    }
}

/// Whether a content claims to be of one piece.
pub fn is_marked(content: &Map<String, Value>) -> bool {
    content.contains_key(SEALED) || content.contains_key(SIGNED)
}

/// Whether a content is sealed, in the exact form.
pub fn is_sealed(content: &Map<String, Value>) -> bool {
    content.get(SEALED).is_some_and(|sealed| Sealed::of(sealed).is_ok())
}

/// Holds a content that claims to be of one piece to the exact form. Beside that only who may see it can stand there, because the
/// node has to know.
///
/// # Errors
///
/// What is wrong with it.
pub fn check(content: &Map<String, Value>) -> Result<(), Unfit> {
    let is_alone = |own: &[&str]| content.keys().all(|name| own.contains(&name.as_str()) || name == "visibility");
    match (content.get(SEALED), content.get(SIGNED)) {
        (None, None) => Ok(()),
        (Some(sealed), None) if is_alone(&[SEALED]) => Sealed::of(sealed).map(drop),
        (None, Some(signature)) if is_alone(&[SIGNED, CONTENT]) && content.contains_key(CONTENT) => {
            Signature::of(signature).map(drop)
        }
        (Some(_), _) => Err(Unfit("beside '$sealed' a content may hold 'visibility' and nothing else")),
        (None, Some(_)) => {
            Err(Unfit("beside '$signed' a content holds 'content', perhaps 'visibility', and nothing else"))
        }
    }
}
