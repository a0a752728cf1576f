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
use actix_service::{ServiceFactory, fn_service};
use bytes::Bytes;
use tokio::io::AsyncWriteExt;

use super::{
    browsers, door, first,
    parameters::{self, Parameters},
    problem,
    socket::Socket,
};
use crate::{
    actors::{
        context::NodeContext,
        driver::Driver,
        session::{self, Addresses, Session},
        transport::Transport,
    },
    auth::Bearer,
    config::Server,
    wire::{Code, Envelope, Refusal, token::Token},
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
            let (socket, peer) = parts.io.into_inner();
            match check(&request, &context) {
                Ok(knock) if context.authority.asks() => {
                    // On its own: other handshakes do not wait for a token, or for the keys that it is verified with.
                    actix_rt::spawn(first::admit((socket, peer), knock, parts.read_buf, context, addresses));
                }
                Ok(knock) => match knock.request(&context, None) {
                    Ok(session) if context.authority.hook().is_some() => {
                        // On its own, for the same reason.
                        let answer = knock.answer();
                        let knock = (knock, answer, session);
                        actix_rt::spawn(first::admit_if_ruled(
                            (socket, peer),
                            knock,
                            parts.read_buf,
                            context,
                            addresses,
                        ));
                    }
                    Ok(session) => {
                        let (answer, early) = (knock.answer(), parts.read_buf.freeze());
                        knock.connect(socket, answer, session, early, (context, addresses));
                    }
                    Err(refusal) => refuse(socket, refusal, &context.config.server).await,
                },
                Err(refusal) => refuse(socket, refusal, &context.config.server).await,
            }
            Ok::<_, actix_http::Error>(())
        }
    })
}

/// A handshake that is one.
#[derive(Debug)]
pub(super) struct Knock {
    pub(super) envelope: Envelope,
    query: String,
    accept: [u8; 28],
    /// Whether the client offers the subprotocol.
    offers_protocol: bool,
    /// What it shows.
    pub(super) token: Option<Token>,
    slot: Slot,
}

impl Knock {
    /// What it asks for.
    pub(super) fn request(
        &self,
        context: &NodeContext,
        bearer: Option<&Arc<Bearer>>,
    ) -> Result<session::Request, Refusal> {
        parameters::session_request(&self.query, self.envelope, context.config.limits.compress_bytes, bearer)
    }

    /// The answer 101.
    pub(super) fn answer(&self) -> Bytes {
        let mut answer =
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
                .to_vec();
        answer.extend_from_slice(&self.accept);
        if self.offers_protocol {
            answer.extend_from_slice(b"\r\nSec-WebSocket-Protocol: ");
            answer.extend_from_slice(door::PROTOCOL.as_bytes());
        }
        answer.extend_from_slice(b"\r\n\r\n");
        answer.into()
    }

    /// Lets the connection live, behind the first bytes that are sent to it; `early` came from it already.
    pub(super) fn connect(
        self,
        socket: Transport,
        first: Bytes,
        request: session::Request,
        early: Bytes,
        (context, addresses): (Arc<NodeContext>, Arc<Addresses>),
    ) {
        self.slot.pass_on();
        let connection = Driver::connect(socket, first, early, context.clone(), |link, membership| {
            Session::new(request, link, membership, addresses, context)
        });
        actix_rt::spawn(connection);
    }
}

/// Everything that can be refused with an HTTP status before it is known who knocks.
fn check(request: &Request, context: &Arc<NodeContext>) -> Result<Knock, Refusal> {
    let Some((_, envelope)) = PATHS.into_iter().find(|(path, _)| *path == request.path()) else {
        return Err(Refusal::new(Code::NotFound, "no such path; rooms are at /ws/sync and /ws"));
    };
    if ws::verify_handshake(request.head()).is_err() || !is_version_13_with_key(request.headers()) {
        let message =
            "not a WebSocket handshake of version 13: check the Upgrade, Connection and Sec-WebSocket headers";
        return Err(Refusal::new(Code::UpgradeRequired, message));
    }
    browsers::check_upgrade(request.headers(), &context.config)?;
    if context.is_draining() {
        let wait = context.config.drain.spread.max(Duration::from_secs(1));
        return Err(Refusal::new(Code::Draining, "the node is going away; come back later").after(wait));
    }
    let slot = Slot::take(context)?;
    let key = request.headers().get(header::SEC_WEBSOCKET_KEY);
    let query = request.uri().query().unwrap_or_default().to_owned();
    let token = match context.authority.asks() {
        true => door::token_in(request.headers(), &Parameters::read(&query))?.map(Token),
        false => None,
    };
    Ok(Knock {
        envelope,
        accept: ws::hash_key(key.map(|key| key.as_bytes()).unwrap_or_default()),
        offers_protocol: door::protocols(request.headers()).any(|word| word == door::PROTOCOL),
        query,
        token,
        slot,
    })
}

/// One of the node's connections, given back unless a connection lives on in it.
#[derive(Debug)]
struct Slot(Option<Arc<NodeContext>>);

impl Slot {
    fn take(context: &Arc<NodeContext>) -> Result<Self, Refusal> {
        if context.connections.take(context.config.limits.connections_per_node as u64) {
            return Ok(Self(Some(context.clone())));
        }
        Err(Refusal::full("this node has all the connections it may have"))
    }

    /// Leaves it to the connection's driver to give it back.
    fn pass_on(mut self) {
        self.0 = None;
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(context) = &self.0 {
            context.connections.give_back();
        }
    }
}

/// The framework lets older versions and any key pass.
fn is_version_13_with_key(headers: &HeaderMap) -> bool {
    let version = headers.get(header::SEC_WEBSOCKET_VERSION).is_some_and(|version| version == "13");
    version && headers.get(header::SEC_WEBSOCKET_KEY).is_some_and(|key| key.len() == 24)
}

/// Answers with a problem document and closes.
pub(super) async fn refuse(mut socket: Transport, refusal: Refusal, server: &Server) {
    let more = match refusal.code {
        Code::UpgradeRequired => "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nConnection: close\r\n",
        _ => "Connection: close\r\n",
    };
    let answer = async {
        socket.write_all(&answer(&refusal, server, more)).await?;
        socket.shutdown().await
    };
    // The client went away or does not read: there is nobody to answer.
    let _: Result<io::Result<()>, _> = tokio::time::timeout(server.handshake_timeout, answer).await;
}

/// A refusal as the bytes of an answer, for connections that the framework does not have (any more).
pub(super) fn answer(refusal: &Refusal, server: &Server, more: &str) -> Vec<u8> {
    let body = problem::document(refusal);
    let status = refusal.code.status();
    let reason = actix_http::StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
    let retry = problem::retry_after_seconds(refusal).map(|s| format!("Retry-After: {s}\r\n")).unwrap_or_default();
    let head = format!(
        "HTTP/1.1 {status} {}\r\nContent-Type: application/problem+json\r\nContent-Length: {}\r\n{}{retry}{more}\r\n",
        reason.unwrap_or("Error"),
        body.len(),
        browsers::as_text(server),
    );
    [head.as_bytes(), &body].concat()
}
