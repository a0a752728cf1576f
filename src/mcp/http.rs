//! Over HTTP, on a port of its own: streamable HTTP at `/mcp`, figures at `/metrics`.
//!
//! Owns: that nobody gets in whom the address, the name it is asked under and the token do not let in, and that there are bounds to how
//! many are in. Must not know: the protocol's methods.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, combinators::BoxBody};
use hyper::{
    Method, Request, Response, StatusCode, body::Incoming, header, http::uri::Authority, server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use rmcp::transport::streamable_http_server::{
    StreamableHttpServerConfig, StreamableHttpService, session::local::LocalSessionManager,
};
use sha2::{Digest as _, Sha256};
use tokio::{net::TcpListener, sync::Semaphore};
use tokio_util::sync::CancellationToken;

use super::Server;

/// Sessions at a time, of clients of the older form: each is kept for minutes after its last word. So many more may be opening.
const SESSIONS: usize = 256;
/// Connections at a time: each session may listen on one and ask on another, and there is room for others.
const CONNECTIONS: usize = 2 * SESSIONS + 64;
/// Time for a request's head.
const HEAD: Duration = Duration::from_secs(5);

/// Who is let in.
#[derive(Clone, Debug, Default)]
pub struct Door {
    /// What has to come as `Authorization: Bearer …`; `None`: nothing, which is for this machine only.
    pub token: Option<String>,
    /// Names that it may be asked under beside this machine's own.
    pub hosts: Vec<String>,
    /// Pages that may ask, as `https://host`; without any, none.
    pub origins: Vec<String>,
}

/// What serves all connections.
struct Place {
    service: StreamableHttpService<Server, LocalSessionManager>,
    sessions: Arc<LocalSessionManager>,
    server: Server,
    /// Under which names it may be asked.
    hosts: Vec<String>,
    /// Of the token: compared as such, it tells nothing by how long that takes.
    token: Option<[u8; 32]>,
}

/// Serves until `closing` says so.
pub async fn serve(server: Server, listener: TcpListener, door: Door, closing: CancellationToken) {
    let own = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
    let hosts: Vec<String> = own.into_iter().chain(door.hosts).collect();
    let mut config = StreamableHttpServerConfig::default().with_allowed_hosts(hosts.clone());
    config = config.with_allowed_origins(door.origins).enforce_origin_validation();
    config = config.with_cancellation_token(closing.child_token());
    let first = server.clone();
    let sessions = Arc::new(LocalSessionManager::default());
    let service = StreamableHttpService::new(move || Ok(first.another()), sessions.clone(), config);
    let token = door.token.map(|token| digest(&format!("Bearer {token}")));
    let place = Arc::new(Place { service, sessions, server, hosts, token });
    connections(listener, closing, move |request| answer(place.clone(), request)).await;
}

/// Serves nothing but the figures, until `closing` says so.
pub async fn serve_figures(server: Server, listener: TcpListener, closing: CancellationToken) {
    connections(listener, closing, move |request| figures(server.clone(), request)).await;
}

/// Takes connections and has their requests answered, until `closing` says so.
async fn connections<F>(
    listener: TcpListener,
    closing: CancellationToken,
    answer: impl Fn(Request<Incoming>) -> F + Clone + Send + 'static,
) where
    F: Future<Output = Result<Response<BoxBody<Bytes, Infallible>>, Infallible>> + Send,
{
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let accepted = tokio::select! {
            () = closing.cancelled() => return,
            accepted = accept(&listener, &places) => accepted,
        };
        let Some((stream, seat)) = accepted else { continue };
        let (answer, closing) = (answer.clone(), closing.clone());
        tokio::spawn(async move {
            let _seat = seat;
            let mut connection = http1::Builder::new();
            connection.timer(TokioTimer::new()).header_read_timeout(HEAD);
            let connection = connection.serve_connection(TokioIo::new(stream), service_fn(answer));
            tokio::select! {
                // How it ended is the client's affair.
                _ = connection => {}
                () = closing.cancelled() => {}
            }
        });
    }
}

async fn figures(
    server: Server,
    request: Request<Incoming>,
) -> Result<Response<BoxBody<Bytes, Infallible>>, Infallible> {
    Ok(match request.uri().path() {
        "/metrics" => match server.figures().await {
            Ok(figures) => text(StatusCode::OK, &figures),
            Err(error) => text(StatusCode::SERVICE_UNAVAILABLE, &error),
        },
        _ => text(StatusCode::NOT_FOUND, "no such path; there are /mcp and /metrics\n"),
    })
}

async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> Option<(tokio::net::TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let seat = places.clone().acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, _)) => Some((stream, seat)),
        Err(error) => {
            // Out of descriptors: others end.
            tracing::warn!(%error, "a connection could not be taken");
            tokio::time::sleep(Duration::from_millis(50)).await;
            None
        }
    }
}

async fn answer(
    place: Arc<Place>,
    request: Request<Incoming>,
) -> Result<Response<BoxBody<Bytes, Infallible>>, Infallible> {
    if let Some(token) = &place.token {
        let shown =
            request.headers().get(header::AUTHORIZATION).map(|value| digest(&value.to_str().unwrap_or_default()));
        if shown.as_ref() != Some(token) {
            let mut refused = text(StatusCode::UNAUTHORIZED, "show the token as Authorization: Bearer …\n");
            refused.headers_mut().insert(header::WWW_AUTHENTICATE, header::HeaderValue::from_static("Bearer"));
            return Ok(refused);
        }
    }
    Ok(match request.uri().path() {
        "/mcp" if is_opening(&request) && place.sessions.sessions.read().await.len() >= SESSIONS => {
            let why =
                format!("{SESSIONS} sessions are open, and no more may be; end one, or wait until one is given up\n");
            text(StatusCode::SERVICE_UNAVAILABLE, &why)
        }
        "/mcp" => place.service.handle(request).await,
        _ if !is_known(&place.hosts, &request) => text(StatusCode::FORBIDDEN, "it may not be asked under this name\n"),
        _ => return figures(place.server.clone(), request).await,
    })
}

/// Whether a request may open a session: those of the younger form name another method and stand alone. A session's name that is no
/// text is none.
fn is_opening(request: &Request<Incoming>) -> bool {
    let named = |name: &str| request.headers().get(name);
    request.method() == Method::POST
        && named("mcp-session-id").is_none_or(|id| id.to_str().is_err())
        && named("mcp-method").is_none_or(|method| *method == "initialize")
}

/// Whether it is asked under one of these names, whatever the port.
fn is_known(hosts: &[String], request: &Request<Incoming>) -> bool {
    let asked = request.headers().get(header::HOST).and_then(|value| value.to_str().ok());
    let host = asked.and_then(|asked| asked.parse::<Authority>().ok());
    host.is_some_and(|host| {
        let name = host.host().trim_start_matches('[').trim_end_matches(']');
        hosts.iter().any(|known| known.eq_ignore_ascii_case(name) || known.eq_ignore_ascii_case(host.as_str()))
    })
}

fn digest(text: &impl AsRef<[u8]>) -> [u8; 32] {
    Sha256::digest(text).into()
}

fn text(status: StatusCode, body: &str) -> Response<BoxBody<Bytes, Infallible>> {
    let mut response = Response::new(Full::new(Bytes::from(body.to_owned())).boxed());
    *response.status_mut() = status;
    response
}

/// Whether an address is this machine's own, and so may be served without a token.
pub fn is_own(address: &SocketAddr) -> bool {
    address.ip().is_loopback()
}
