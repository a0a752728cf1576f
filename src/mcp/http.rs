//! Over HTTP, on a port of its own: streamable HTTP at `/mcp`, figures at `/metrics`.
//!
//! Owns: that nobody gets in whom the address, the name it is asked under and the token do not let in, and that there are bounds to how
//! many are in. Must not know: the protocol's methods.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, combinators::BoxBody};
use hyper::{Request, Response, StatusCode, body::Incoming, header, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use rmcp::transport::streamable_http_server::{
    StreamableHttpServerConfig, StreamableHttpService, session::local::LocalSessionManager,
};
use sha2::{Digest as _, Sha256};
use tokio::{net::TcpListener, sync::Semaphore};
use tokio_util::sync::CancellationToken;

use super::Server;

/// Connections at a time.
const CONNECTIONS: usize = 256;
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
    server: Server,
    /// Of the token: compared as such, it tells nothing by how long that takes.
    token: Option<[u8; 32]>,
}

/// Serves until `closing` says so.
pub async fn serve(server: Server, listener: TcpListener, door: Door, closing: CancellationToken) {
    let own = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
    let mut config = StreamableHttpServerConfig::default().with_allowed_hosts(own.into_iter().chain(door.hosts));
    config = config.with_allowed_origins(door.origins).enforce_origin_validation();
    config = config.with_cancellation_token(closing.child_token());
    let first = server.clone();
    let service =
        StreamableHttpService::new(move || Ok(first.another()), Arc::new(LocalSessionManager::default()), config);
    let token = door.token.map(|token| digest(&format!("Bearer {token}")));
    let place = Arc::new(Place { service, server, token });
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
        "/mcp" => place.service.handle(request).await,
        _ => return figures(place.server.clone(), request).await,
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
