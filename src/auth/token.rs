//! Tokens (JWT, RFC 7519): from text to what they prove.
//!
//! Owns: the checks of RFC 8725 that apply here. The key is found by issuer and key id, and the key says how it signs; of the
//! header nothing else counts.

use jsonwebtoken::{Validation, decode, decode_header, errors::ErrorKind};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{
    Bearer, Origin, TokenError,
    claims::{GrantClaim, Holder},
    issuers::{Issuer, Issuers, Keys},
    keys::Key,
};
use crate::model::{Timestamp, rights::Rights};

/// Longer tokens are not read.
pub const LONGEST: usize = 8 * 1024;
/// By how much an issuer's clock may be ahead of ours, in seconds.
const AHEAD: f64 = 30.0;

/// Verifies a token.
///
/// # Errors
///
/// The first thing that is wrong with it.
pub async fn verify(issuers: &Issuers, token: &str, now: Timestamp) -> Result<Bearer, TokenError> {
    if token.len() > LONGEST {
        return Err(TokenError::Malformed("it is too long"));
    }
    let header = decode_header(token).map_err(|error| malformed(error.kind()))?;
    if header.crit.is_some() {
        return Err(TokenError::Malformed("its header says 'crit', of which nothing is understood here"));
    }
    let issuer = issuers.get(&issuer_of(token)?).ok_or(TokenError::UnknownIssuer)?;
    let id = header.kid.as_deref();
    let claims = match &issuer.keys {
        Keys::Here(keys) => read(token, keys.find(id)?, issuer)?,
        Keys::There(remote) => read(token, remote.get(id).await?.find(id)?, issuer)?,
    };
    bearer(claims, issuer, now)
}

/// Whom a token says it is from; nothing of that is proven.
fn issuer_of(token: &str) -> Result<String, TokenError> {
    #[derive(Deserialize)]
    struct Unproven {
        iss: Option<Value>,
    }
    let claims =
        jsonwebtoken::dangerous::insecure_decode_claims::<Unproven>(token).map_err(|error| malformed(error.kind()))?;
    match claims.iss {
        Some(Value::String(issuer)) => Ok(issuer),
        Some(_) => Err(TokenError::claim("iss", "must be a text")),
        None => Err(TokenError::MissingClaim("iss".into())),
    }
}

fn read(token: &str, key: &Key, issuer: &Issuer) -> Result<Map<String, Value>, TokenError> {
    let mut validation = Validation::new(key.signing().algorithm());
    validation.set_required_spec_claims(&["exp", "iss", "aud"]);
    validation.set_issuer(&[&issuer.name]);
    validation.set_audience(&issuer.audience);
    validation.leeway = 0;
    match decode::<Map<String, Value>>(token, key.decoding(), &validation) {
        Ok(token) => Ok(token.claims),
        Err(error) => Err(match error.into_kind() {
            ErrorKind::InvalidSignature => TokenError::Signature,
            ErrorKind::InvalidAlgorithm | ErrorKind::UnsupportedAlgorithm => TokenError::Algorithm,
            ErrorKind::ExpiredSignature => TokenError::Expired,
            ErrorKind::InvalidAudience => TokenError::Audience,
            ErrorKind::InvalidIssuer => TokenError::UnknownIssuer,
            ErrorKind::MissingRequiredClaim(claim) => TokenError::MissingClaim(claim),
            ErrorKind::InvalidClaimFormat(claim) => TokenError::claim(&claim, "has the wrong type"),
            other => malformed(&other),
        }),
    }
}

fn malformed(error: &ErrorKind) -> TokenError {
    TokenError::Malformed(match error {
        ErrorKind::InvalidToken => "it has not three parts",
        ErrorKind::Base64(_) => "a part is not base64url",
        ErrorKind::InvalidAlgorithmName | ErrorKind::Json(_) | ErrorKind::Utf8(_) => {
            "a part is not the JSON that it must be, or 'alg' is none that is used here"
        }
        _ => "it cannot be read",
    })
}

fn bearer(mut claims: Map<String, Value>, issuer: &Issuer, now: Timestamp) -> Result<Bearer, TokenError> {
    let seconds = now.0 as f64 / 1000.0;
    let issued_at = time(&claims, "iat")?;
    if [time(&claims, "nbf")?, issued_at].into_iter().flatten().any(|from| from > seconds + AHEAD) {
        return Err(TokenError::NotYet);
    }
    let expires_at = time(&claims, "exp")?.ok_or_else(|| TokenError::MissingClaim("exp".into()))?;
    let id = text(&mut claims, "jti")?;
    let names = &issuer.claims;
    let tenant = text(&mut claims, &names.tenant)?.or_else(|| issuer.only_tenant.clone());
    let grant = match claims.remove(&names.grant) {
        None | Some(Value::Null) => None,
        Some(grant) => Some(serde_json::from_value::<GrantClaim>(grant).map_err(|error| {
            // What it found there might be anything; what it wanted is ours.
            let expected = error.to_string().split("expected").nth(1).map(|words| format!(": expected{words}"));
            TokenError::claim(&names.grant, format!("is not a grant{}", expected.unwrap_or_default()))
        })?),
    };
    let holder = Holder {
        tenant: tenant.ok_or_else(|| TokenError::MissingClaim(names.tenant.clone()))?,
        user: text(&mut claims, &names.user)?,
        name: text(&mut claims, &names.name)?,
        instance: text(&mut claims, &names.instance)?,
        grant,
    };
    let mut identity = holder.check(&issuer.rights)?;
    if !issuer.tenants.admits(identity.tenant.as_str()) {
        return Err(TokenError::ForeignTenant);
    }
    if identity.rights.admin > issuer.admin {
        // An issuer cannot give what it does not have.
        let rights = Rights { admin: issuer.admin, ..(*identity.rights).clone() };
        identity.rights = rights.into();
    }
    Ok(Bearer {
        identity,
        origin: Origin::Token { id: id.map(Into::into) },
        issued_at: issued_at.map(|seconds| Timestamp((seconds * 1000.0) as i64)),
        expires_at: Some(Timestamp((expires_at * 1000.0) as i64)),
    })
}

fn time(claims: &Map<String, Value>, name: &str) -> Result<Option<f64>, TokenError> {
    match claims.get(name) {
        None => Ok(None),
        Some(Value::Number(seconds)) => Ok(seconds.as_f64()),
        Some(_) => Err(TokenError::claim(name, "must be a number of seconds")),
    }
}

fn text(claims: &mut Map<String, Value>, name: &str) -> Result<Option<String>, TokenError> {
    match claims.remove(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(TokenError::claim(name, "must be a text")),
    }
}
