//! Who knocks: tokens as requests carry them, and what a bearer may be let in as.
//!
//! Owns: where a token may stand, and which refusal a bad one gets. A token is never logged and never repeated.

use std::sync::Arc;

use actix_http::header::{self, HeaderMap};

use super::parameters::Parameters;
use crate::{
    actors::{
        authority::{self, refusal},
        context::NodeContext,
    },
    auth::{Bearer, Mismatch, TokenError, tickets},
    wire::{Code, Refusal},
};

/// What a subprotocol that carries a token begins with: the one header that a page can set on a WebSocket.
const BEARER: &str = "bearer.";
/// The subprotocol that is spoken; a client that offers one has to be answered with one.
pub(super) const PROTOCOL: &str = "continuum.v1";

/// The token that a request carries: in the header `Authorization`, among the subprotocols, or as `token` in the query.
///
/// # Errors
///
/// There are several, and they differ; or the header is no good.
pub(super) fn token_in(headers: &HeaderMap, parameters: &Parameters<'_>) -> Result<Option<String>, Refusal> {
    let mut found: Option<String> = None;
    let mut take = |token: &str| match &found {
        Some(before) if before != token => Err(refusal(&TokenError::Several)),
        _ => {
            found = Some(token.to_owned());
            Ok(())
        }
    };
    for value in headers.get_all(header::AUTHORIZATION) {
        let text = value.to_str().unwrap_or_default();
        let token = text.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
        let (_, token) = token.ok_or_else(|| {
            Refusal::new(Code::Unauthenticated, "the header 'Authorization' must be 'Bearer' and a token")
        })?;
        take(token.trim())?;
    }
    for token in protocols(headers).filter_map(|word| word.strip_prefix(BEARER)) {
        take(token)?;
    }
    if let Some(token) = parameters.get("token").filter(|token| !token.is_empty()) {
        take(token)?;
    }
    Ok(found)
}

/// The subprotocols that a client offers.
pub(super) fn protocols(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let values = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim)
}

/// Whose token this is, if it holds.
///
/// # Errors
///
/// Says what is wrong with it.
pub(super) async fn bearer(context: &NodeContext, token: Option<&str>) -> Result<Arc<Bearer>, Refusal> {
    let token = token.ok_or_else(|| refusal(&TokenError::Missing))?;
    let bearer = match token.starts_with(tickets::PREFIX) {
        true => authority::redeem(context, token).await?,
        false => context.authority.verify(token, context.now()).await.map_err(|error| refusal(&error))?,
    };
    context.authority.holds(&bearer, (None, None), context.now()).map_err(|error| refusal(&error))?;
    Ok(bearer)
}

/// What is said to somebody who wants to be somebody else.
pub(super) fn mismatch(error: Mismatch) -> Refusal {
    Refusal::new(Code::IdentityMismatch, error.to_string())
}
