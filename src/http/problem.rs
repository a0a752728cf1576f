//! Refusals as `application/problem+json` (RFC 9457).

use std::time::Duration;

use actix_web::{HttpResponse, http::StatusCode};
use serde::Serialize;
use uuid::Uuid;

use crate::{
    backbone::BackboneError,
    wire::{Code, Refusal, outgoing::EventIdText},
};

#[derive(Serialize)]
struct Problem<'a> {
    r#type: String,
    title: &'static str,
    status: u16,
    code: &'static str,
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_id: Option<EventIdText>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_id: Option<Uuid>,
}

/// The problem document.
pub(super) fn document(refusal: &Refusal) -> Vec<u8> {
    let status = refusal.code.status();
    let title = StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason()).unwrap_or("Error");
    let problem = Problem {
        r#type: format!("urn:continuum:error:{}", refusal.code.word()),
        title,
        status,
        code: refusal.code.word(),
        detail: &refusal.message,
        event_id: refusal.event_id.map(EventIdText),
        retry_after_ms: refusal.retry_after.map(|wait| wait.as_millis() as u64),
        error_id: refusal.error_id,
    };
    // Plain strings and numbers always serialize.
    serde_json::to_vec(&problem).unwrap_or_default()
}

/// The first fields of a problem document that goes on with others.
pub(super) fn head(status: u16, code: &str, detail: &str) -> String {
    let title = StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason()).unwrap_or("Error");
    let detail = serde_json::Value::from(detail);
    format!(r#""type":"urn:continuum:error:{code}","title":"{title}","status":{status},"detail":{detail}"#)
}

/// The answer to a refused request, with more fields: the inside of a JSON object.
pub(super) fn respond_with(refusal: &Refusal, more: &str) -> HttpResponse {
    let status = StatusCode::from_u16(refusal.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut body = document(refusal);
    body.pop();
    body.extend_from_slice(format!(",{more}}}").as_bytes());
    HttpResponse::build(status).content_type("application/problem+json").body(body)
}

/// Seconds for `Retry-After`, rounded up.
pub(super) fn retry_after_seconds(refusal: &Refusal) -> Option<u64> {
    refusal.retry_after.map(|wait| wait.as_millis().div_ceil(1000) as u64)
}

/// The answer to a refused request.
pub(super) fn respond(refusal: &Refusal) -> HttpResponse {
    let status = StatusCode::from_u16(refusal.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = HttpResponse::build(status);
    response.content_type("application/problem+json");
    if let Some(seconds) = retry_after_seconds(refusal) {
        response.insert_header(("Retry-After", seconds.to_string()));
    }
    response.body(document(refusal))
}

/// The log could not be asked: the cause goes to the node's own log under an id.
pub(super) fn log_unavailable(error: &BackboneError) -> Refusal {
    let error_id = Uuid::new_v4();
    tracing::error!(%error_id, %error, "request failed");
    let mut refusal = match error {
        BackboneError::Unavailable(_) => {
            Refusal::new(Code::Unavailable, "the log cannot be reached now").after(Duration::from_secs(1))
        }
        BackboneError::Store(_) => Refusal::new(Code::Internal, "the log cannot be read now"),
    };
    refusal.error_id = Some(error_id);
    refusal
}
