//! What is between the node and browsers: which pages may speak with it, and what every answer holds a browser to.
//!
//! By hand, because a page is judged alike where it asks for a socket, which no middleware sees, and whoever is refused gets a
//! problem document. Owns: origins (RFC 6454) and the headers that follow from them. Must not know: what is asked for.

use actix_http::{Method, header::HeaderMap};
use actix_web::{
    Error, HttpResponse,
    body::{EitherBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::{
        header::{self, HeaderName, HeaderValue},
        uri::{Authority, Uri},
    },
    middleware::Next,
    web::Data,
};

use super::{problem, server::Shared, socket::Peer};
use crate::{
    config::{Config, Server, is_loopback},
    wire::{Code, Refusal},
};

/// On every answer. But for one that says itself what it may do, nothing is a page, so nothing may be run, framed, guessed at or kept.
pub(super) const HARDENING: [(HeaderName, &str); 5] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::CACHE_CONTROL, "no-store"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
    (header::VARY, "Origin"),
];
/// The same under TLS: a year from the last answer on, no browser asks without it.
pub(super) const UNDER_TLS: (HeaderName, &str) = (header::STRICT_TRANSPORT_SECURITY, "max-age=31536000");

/// What a page may ask with.
const PREFLIGHT: [(HeaderName, &str); 3] = [
    (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, POST, PUT, PATCH, DELETE"),
    (
        header::ACCESS_CONTROL_ALLOW_HEADERS,
        "Authorization, Content-Type, If-Match, If-None-Match, Idempotency-Key, Last-Event-ID",
    ),
    (header::ACCESS_CONTROL_MAX_AGE, "3600"),
];
/// What a page may read beside the few headers that it always may.
const EXPOSED: &str = "ETag, Retry-After, Location";

/// Which page a request comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Page {
    /// None: programs send no origin, browsers do whenever a page asks beyond its own.
    None,
    /// One that the node serves itself, or that is in `server.allowed_origins`.
    Known(HeaderValue),
    /// Any other.
    Stranger,
}

/// Whether this node speaks TLS.
fn is_secure(server: &Server) -> bool {
    !server.tls_certificate.as_os_str().is_empty()
}

/// Byte for byte: a browser writes an origin in one way only.
fn is_listed(origin: &HeaderValue, server: &Server) -> bool {
    server.allowed_origins.iter().any(|allowed| origin == allowed.as_str())
}

/// The page's origin: `None` without one, refused with several.
fn origin_of(headers: &HeaderMap) -> Result<Option<&HeaderValue>, Refusal> {
    let mut origins = headers.get_all(header::ORIGIN);
    match (origins.next(), origins.next()) {
        (origin, None) => Ok(origin),
        _ => Err(refusal()),
    }
}

fn page(headers: &HeaderMap, config: &Config) -> Page {
    let server = &config.server;
    if config.is_open() && is_loopback(&server.host) && !is_asked_as_itself(headers) {
        return Page::Stranger;
    }
    let Ok(origin) = origin_of(headers) else { return Page::Stranger };
    let Some(origin) = origin else { return Page::None };
    let scheme: &[u8] = if is_secure(server) { b"https://" } else { b"http://" };
    let host = headers.get(header::HOST).map(HeaderValue::as_bytes);
    let is_own = host.is_some_and(|host| origin.as_bytes().strip_prefix(scheme) == Some(host));
    let is_known = is_own || is_listed(origin, server) || (config.is_open() && is_of_this_machine(origin));
    if is_known { Page::Known(origin.clone()) } else { Page::Stranger }
}

fn is_of_this_machine(origin: &HeaderValue) -> bool {
    let origin = origin.to_str().ok().and_then(|origin| origin.parse::<Uri>().ok());
    origin.is_some_and(|origin| origin.host().is_some_and(is_loopback))
}

/// Whether a node that is for this machine alone is asked under a name of this machine. A page whose own name was made to lead here
/// (DNS rebinding) asks without an origin, but it cannot hide its name.
fn is_asked_as_itself(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(header::HOST) else { return true };
    let host = host.to_str().ok().and_then(|host| host.parse::<Authority>().ok());
    host.is_some_and(|host| is_loopback(host.host()))
}

/// Whether pages that are not known are kept out: there is a list of those that may come, or nothing else keeps them out.
fn is_shut(config: &Config) -> bool {
    config.is_open() || !config.server.allowed_origins.is_empty()
}

fn refusal() -> Refusal {
    Refusal::new(
        Code::OriginRefused,
        "pages from there may not use this node; server.allowed_origins lists those that may",
    )
}

/// Who may open a socket. No browser asks beforehand whether it may. Where a token is needed and nobody is listed, any may: it has to show one.
pub(super) fn check_upgrade(headers: &HeaderMap, config: &Config) -> Result<(), Refusal> {
    origin_of(headers)?;
    if is_shut(config) && page(headers, config) == Page::Stranger { Err(refusal()) } else { Ok(()) }
}

/// Stands around every request: answers what browsers ask beforehand, keeps strangers out if there is a list, and says on
/// each answer what a browser has to know.
pub(super) async fn watch<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, Error> {
    let shared = request.app_data::<Data<Shared>>().expect("the application is built with it").clone();
    let _asked = request.conn_data::<Peer>().map(Peer::has_asked);
    let (config, server) = (&shared.context.config, &shared.context.config.server);
    let page = page(request.headers(), config);
    let asks_beforehand =
        request.method() == Method::OPTIONS && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    let answer = match &page {
        Page::Known(_) if asks_beforehand => Some(preflight()),
        Page::Stranger if asks_beforehand || is_shut(config) => Some(problem::respond(&refusal())),
        _ => None,
    };
    let mut response = match answer {
        Some(answer) => request.into_response(answer).map_into_right_body(),
        None => next.call(request).await?.map_into_left_body(),
    };
    let headers = response.headers_mut();
    for (name, value) in HARDENING.into_iter().chain(is_secure(server).then_some(UNDER_TLS)) {
        if name != header::CONTENT_SECURITY_POLICY || !headers.contains_key(&name) {
            headers.insert(name, HeaderValue::from_static(value));
        }
    }
    if let Page::Known(origin) = page {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
    }
    Ok(response)
}

fn preflight() -> HttpResponse {
    let mut answer = HttpResponse::NoContent();
    for header in PREFLIGHT {
        answer.insert_header(header);
    }
    answer.finish()
}

/// The same headers as text, for answers that are written by hand.
pub(super) fn as_text(server: &Server) -> String {
    let headers = HARDENING.into_iter().chain(is_secure(server).then_some(UNDER_TLS));
    headers.map(|(name, value)| format!("{name}: {value}\r\n")).collect()
}
