//! API keys: `cnt_<id>_<secret>`. The secret is 32 random bytes and is shown once; what is kept is its hash.

use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::TokenError;

/// What every API key begins with; a JWT cannot.
pub const PREFIX: &str = "cnt_";

/// A new key's parts.
#[derive(Debug)]
pub struct Minted {
    /// Names it: 32 hexadecimal digits.
    pub id: String,
    /// The key itself.
    pub key: String,
    /// What is kept of it.
    pub hash: String,
}

/// Makes a key.
pub fn mint() -> Minted {
    // Two random UUIDs are 244 bits from the system's source of randomness.
    let (id, secret) = (Uuid::new_v4().simple(), [Uuid::new_v4().simple(), Uuid::new_v4().simple()]);
    let secret = secret.map(|part| part.to_string()).concat();
    Minted { id: id.to_string(), key: format!("{PREFIX}{id}_{secret}"), hash: hash_of(&secret) }
}

/// The id and the secret in a key.
///
/// # Errors
///
/// [`TokenError::Malformed`].
pub fn parts(key: &str) -> Result<(&str, &str), TokenError> {
    let is_hex = |text: &str, digits| text.len() == digits && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    match key.strip_prefix(PREFIX).and_then(|rest| rest.split_once('_')) {
        Some((id, secret)) if is_hex(id, 32) && is_hex(secret, 64) => Ok((id, secret)),
        _ => Err(TokenError::Malformed("an API key is cnt_, 32 digits, _ and 64 digits")),
    }
}

/// What is kept of a secret. A plain hash does: what it hides is too long to be guessed.
pub fn hash_of(secret: &str) -> String {
    Sha256::digest(secret.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether a secret is the one that was hashed, in a time that does not tell how much of it is right.
pub fn is_the_one(secret: &str, hash: &str) -> bool {
    let found = hash_of(secret);
    found.len() == hash.len() && found.bytes().zip(hash.bytes()).fold(0, |odd, (a, b)| odd | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minted_key_is_the_one_it_was_hashed_from() {
        let minted = mint();
        let (id, secret) = parts(&minted.key).expect("a key");
        assert_eq!(id, minted.id);
        assert!(is_the_one(secret, &minted.hash));
        assert!(!is_the_one(secret, &mint().hash) && !is_the_one(secret, ""));
        assert!(!minted.hash.contains(secret));
    }

    #[test]
    fn what_is_no_key_is_not_looked_up() {
        let id = "0".repeat(32);
        for text in ["", "cnt_", "cnt_a_b", &format!("cnt_{id}_{}", "x".repeat(64)), &format!("cnt_{id}_")] {
            assert!(parts(text).is_err(), "{text}");
        }
    }
}
