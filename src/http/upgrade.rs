//! The WebSocket upgrade: checks the request while it still is one, answers 101, and hands the socket to a driver.
//!
//! It stands in front of the framework's body machinery, so an open connection keeps neither its dispatcher nor its
//! buffers.

use std::{io, sync::Arc, time::Duration};

use actix_codec::Framed;
use actix_http::{
    HttpMessage, Request, h1,
    header::{self, HeaderMap},
    ws,
};
use actix_rt::net::TcpStream;
use actix_service::{ServiceFactory, fn_service};
use bytes::Bytes;
use tokio::io::AsyncWriteExt;

use super::{parameters, problem, socket::Socket};
use crate::{
    actors::{
        context::NodeContext,
        driver::Driver,
        session::{self, Addresses, Session},
    },
    wire::{Code, Envelope, Refusal},
};

/// Where sessions connect, and in which envelope they speak there.
const PATHS: [(&str, Envelope); 2] = [("/ws/sync", Envelope::Sync), ("/ws", Envelope::Typed)];

/// The service that gets every request for an upgrade.
pub(super) fn service(
    context: Arc<NodeContext>,
    addresses: Arc<Addresses>,
) -> impl ServiceFactory<
    (Request, Framed<Socket, h1::Codec>),
    Config = (),
    Response = (),
    Error = actix_http::Error,
    InitError = (),
> {
    fn_service(move |(request, framed): (Request, Framed<Socket, h1::Codec>)| {
        let (context, addresses) = (context.clone(), addresses.clone());
        async move {
            let parts = framed.into_parts();
            // The driver watches over the socket itself.
            let socket = parts.io.into_inner();
            match check(&request, &context) {
                Ok(session) => {
                    let key = request.headers().get(header::SEC_WEBSOCKET_KEY);
                    let accept = ws::hash_key(key.map(|key| key.as_bytes()).unwrap_or_default());
                    connect(socket, &accept, session, parts.read_buf.freeze(), context, addresses);
                }
                Err(refusal) => refuse(socket, refusal, context.config.server.handshake_timeout).await,
            }
            Ok::<_, actix_http::Error>(())
        }
    })
}

/// Everything that can be refused with an HTTP status.
fn check(request: &Request, context: &Arc<NodeContext>) -> Result<session::Request, Refusal> {
    let Some((_, envelope)) = PATHS.into_iter().find(|(path, _)| *path == request.path()) else {
        return Err(Refusal::new(Code::NotFound, "no such path; rooms are at /ws/sync and /ws"));
    };
    if ws::verify_handshake(request.head()).is_err() || !is_version_13_with_key(request.headers()) {
        let message =
            "not a WebSocket handshake of version 13: check the Upgrade, Connection and Sec-WebSocket headers";
        return Err(Refusal::new(Code::UpgradeRequired, message));
    }
    check_origin(request.headers(), &context.config.server.allowed_origins)?;
    if context.is_draining() {
        let wait = context.config.drain.spread.max(Duration::from_secs(1));
        return Err(Refusal::new(Code::Draining, "the node is going away; come back later").after(wait));
    }
    let query = request.uri().query().unwrap_or_default();
    let session = parameters::session_request(query, envelope, context.config.limits.compress_bytes)?;
    if !context.connections.take(context.config.limits.connections_per_node as u64) {
        let refusal = Refusal::new(Code::LimitReached, "this node has all the connections it may have");
        return Err(refusal.after(Duration::from_secs(5)));
    }
    Ok(session)
}

/// The framework lets older versions and any key pass.
fn is_version_13_with_key(headers: &HeaderMap) -> bool {
    let version = headers.get(header::SEC_WEBSOCKET_VERSION).is_some_and(|version| version == "13");
    version && headers.get(header::SEC_WEBSOCKET_KEY).is_some_and(|key| key.len() == 24)
}

fn check_origin(headers: &HeaderMap, allowed: &[String]) -> Result<(), Refusal> {
    // Programs send no origin; browsers always do.
    let Some(origin) = headers.get(header::ORIGIN) else { return Ok(()) };
    if allowed.is_empty() || allowed.iter().any(|allowed| origin == allowed.as_str()) {
        return Ok(());
    }
    Err(Refusal::new(Code::OriginRefused, "this origin is not in server.allowed_origins"))
}

/// Answers 101 and lets the connection live.
fn connect(
    socket: TcpStream,
    accept: &[u8],
    request: session::Request,
    early: Bytes,
    context: Arc<NodeContext>,
    addresses: Arc<Addresses>,
) {
    let mut answer =
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
            .to_vec();
    answer.extend_from_slice(accept);
    answer.extend_from_slice(b"\r\n\r\n");
    let connection = Driver::connect(socket, answer.into(), early, context.clone(), |link, membership| {
        Session::new(request, link, membership, addresses, context)
    });
    actix_rt::spawn(connection);
}

/// Answers with a problem document and closes.
async fn refuse(mut socket: TcpStream, refusal: Refusal, patience: Duration) {
    let body = problem::document(&refusal);
    let status = refusal.code.status();
    let reason = actix_http::StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
    let retry = problem::retry_after_seconds(&refusal).map(|s| format!("Retry-After: {s}\r\n")).unwrap_or_default();
    let upgrade =
        if refusal.code == Code::UpgradeRequired { "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" } else { "" };
    let head = format!(
        "HTTP/1.1 {status} {}\r\nContent-Type: application/problem+json\r\nContent-Length: {}\r\n{upgrade}{retry}Connection: close\r\n\r\n",
        reason.unwrap_or("Error"),
        body.len(),
    );
    let answer = async {
        socket.write_all(&[head.as_bytes(), &body].concat()).await?;
        socket.shutdown().await
    };
    // The client went away or does not read: there is nobody to answer.
    let _: Result<io::Result<()>, _> = tokio::time::timeout(patience, answer).await;
}
