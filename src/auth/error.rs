//! Why a token is refused, in words for the person who holds it. None of them repeats a part of the token.

/// What is wrong with a token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// There is none.
    #[error("a token is needed: as 'Authorization: Bearer …', as 'token' in the query, or as the first message")]
    Missing,
    /// More than one, and they differ.
    #[error("there are several tokens; send one")]
    Several,
    /// It is no token at all.
    #[error("this is neither an API key nor a JWT: {0}")]
    Malformed(&'static str),
    /// Its issuer is not known here.
    #[error("'iss' names no issuer that this node knows")]
    UnknownIssuer,
    /// No key of its issuer has its key id.
    #[error("'kid' names no key of this issuer")]
    UnknownKey,
    /// Signed otherwise than its key is meant to.
    #[error("'alg' is not the algorithm of this key")]
    Algorithm,
    /// The signature is not the key's.
    #[error("the signature is wrong")]
    Signature,
    /// It is over.
    #[error("the token has expired; get a new one")]
    Expired,
    /// It does not hold yet.
    #[error("'nbf' or 'iat' lies in the future")]
    NotYet,
    /// It is meant for others.
    #[error("'aud' does not hold this node's audience")]
    Audience,
    /// A claim is not there.
    #[error("'{0}' is missing")]
    MissingClaim(String),
    /// A claim is not what it must be.
    #[error("'{claim}' {problem}")]
    Claim {
        /// Which.
        claim: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Its issuer may not speak for its tenant.
    #[error("this issuer may not speak for this tenant")]
    ForeignTenant,
    /// Nobody knows this API key, or its secret is another.
    #[error("there is no such API key")]
    UnknownApiKey,
    /// It was used, is over, or never was.
    #[error("this ticket is not good, or not any more; each is good once, for 30 s")]
    UnknownTicket,
    /// It was called back.
    #[error("the token was revoked")]
    Revoked,
    /// Its tenant is being erased.
    #[error("the tenant is being erased")]
    TenantErasing,
    /// It was issued for a tenant that was erased since.
    #[error("the tenant that this token was issued for was erased; a token that is issued now is good again")]
    TenantErased,
    /// Its issuer's keys cannot be had now.
    #[error("the keys of this issuer cannot be fetched now; try again")]
    KeysAway,
    /// The node does not know yet what was revoked.
    #[error("the node has not read yet which keys and tokens hold; try again")]
    NotReady,
}

impl TokenError {
    /// Whether the same token may be good a moment later.
    pub fn passes(&self) -> bool {
        matches!(self, Self::KeysAway | Self::NotReady)
    }

    /// Whether it is its tenant that is gone.
    pub fn is_erasure(&self) -> bool {
        matches!(self, Self::TenantErasing | Self::TenantErased)
    }

    /// A claim is not what it must be.
    pub(super) fn claim(claim: &str, problem: impl Into<String>) -> Self {
        Self::Claim { claim: claim.to_owned(), problem: problem.into() }
    }
}
