//! The moments before a session, where clients have to prove who they are: a token that came with the handshake is verified,
//! and one that did not has to be the first message.
//!
//! Owns: that nothing is done for a stranger beyond reading one message, in bounded time and memory. A bad token is told on the
//! socket, as pages cannot see how a handshake was refused.

use std::{io, sync::Arc, time::Duration};

use actix_codec::Decoder as _;
use actix_http::ws::{Codec, Frame};

use bytes::{BufMut as _, Bytes, BytesMut};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::{Instant, timeout, timeout_at},
};

use super::{door, socket::Peer, upgrade::Knock};
use crate::{
    actors::{
        authority,
        context::NodeContext,
        rules,
        session::{Addresses, Request},
        transport::Transport,
    },
    auth::TokenError,
    wire::{
        Close, Code, Envelope, Need, Refusal, frame,
        guard::FrameGuard,
        stranger,
        token::{Token, read_first},
    },
};

/// The largest first message, in bytes: a token and a little around it.
const LARGEST: usize = 16 * 1024;
/// How long it may take to verify a token: its issuer's keys may have to be fetched.
const VERIFIED: Duration = Duration::from_secs(10);
/// What may be read before it is judged.
const PIECE: usize = 4 * 1024;

/// Lets somebody in who shows a token that holds, or says why not.
pub(super) async fn admit(
    (mut socket, peer): (Transport, Peer),
    knock: Knock,
    mut early: BytesMut,
    context: Arc<NodeContext>,
    addresses: Arc<Addresses>,
) {
    let mut answer = knock.answer();

    let token = match &knock.token {
        Some(token) => Ok(token.clone()),
        None => {
            let deadline = Instant::now() + context.config.auth.first_message;
            let asked = async {
                socket.write_all(&answer).await?;
                answer = Bytes::new();
                ask(&mut socket, &mut early, context.config.limits.json_depth).await
            };
            let said = tokio::select! {
                said = timeout_at(deadline, asked) => said,
                () = peer.ends() => {
                    let message = "too many are here that have shown no token; show it with the handshake";
                    Ok(Ok(Err(Refused::Because(Refusal::full(message)))))
                }
            };
            match said {
                Ok(Ok(said)) => said,
                // It is gone.
                Ok(Err(_)) => return,
                Err(_) => Err(Refused::Because(Refusal::new(
                    Code::Unauthenticated,
                    "no token came; send {\"type\": \"auth\", \"data\": {\"token\": …}} first",
                ))),
            }
        }
    };
    let verified = match token {
        Ok(token) => {
            let verified = timeout(VERIFIED, verified(&knock, &token, &context)).await;
            let late = || Err(authority::refusal(&TokenError::KeysAway));
            verified.unwrap_or_else(|_| late()).map_err(Refused::Because)
        }
        Err(refused) => Err(refused),
    };
    match verified {
        Ok(request) => admit_if_ruled((socket, peer), (knock, answer, request), early, context, addresses).await,
        Err(refused) => turn_away((socket, peer), &answer, &refused, (knock.envelope, &context)).await,
    }
}

/// Lets somebody in who is who it says, if the owner's rules do not refuse it.
pub(super) async fn admit_if_ruled(
    (socket, peer): (Transport, Peer),
    (knock, answer, request): (Knock, Bytes, Request),
    early: BytesMut,
    context: Arc<NodeContext>,
    addresses: Arc<Addresses>,
) {
    peer.is_known();
    match ruled(&request, &context).await {
        Ok(()) => knock.connect(socket, answer, request, early.freeze(), (context, addresses)),
        Err(refusal) => {
            turn_away((socket, peer), &answer, &Refused::Because(refusal), (knock.envelope, &context)).await
        }
    }
}

async fn ruled(request: &Request, context: &NodeContext) -> Result<(), Refusal> {
    let Some(hook) = context.authority.hook() else { return Ok(()) };
    let (who, need) = (rules::who(&request.grant), Need::Connect);
    let ruling = hook.clone().ask(rules::questions([(&who, need)])).await;
    // The token may have been called back meanwhile.
    context.authority.still_holds(&request.grant, context.now()).map_err(|error| authority::refusal(&error))?;
    rules::check(&ruling, &who, need)
}

/// Says why, as long as nobody else needs the place: then what the socket takes at once has to do.
async fn turn_away(
    (mut socket, peer): (Transport, Peer),
    answer: &[u8],
    refused: &Refused,
    (envelope, context): (Envelope, &NodeContext),
) {
    context.metrics.refused.inc();
    let farewell = refused.frames(envelope, context);
    let send = async {
        socket.write_all(&[answer, &farewell].concat()).await?;
        socket.shutdown().await?;
        // Closed with something unread, the socket would take back what was just said.
        let mut rest = [0; 1024];
        while socket.read(&mut rest).await? > 0 {}
        io::Result::Ok(())
    };
    tokio::select! {
        biased;
        // It does not read, or is gone: there is nobody to tell.
        _told = timeout(context.config.server.handshake_timeout, send) => {}
        () = peer.ends() => {}
    }
}

async fn verified(knock: &Knock, token: &Token, context: &NodeContext) -> Result<Request, Refusal> {
    let bearer = door::bearer(context, Some(&token.0)).await?;
    let request = knock.request(context, Some(&bearer))?;
    context.authority.still_holds(&request.grant, context.now()).map_err(|error| authority::refusal(&error))?;
    Ok(request)
}

/// Why a stranger is not let in.
enum Refused {
    Because(Refusal),
    /// What it sent is no WebSocket.
    Broken(Close),
}

impl Refused {
    fn frames(&self, envelope: Envelope, context: &NodeContext) -> Vec<u8> {
        match self {
            Self::Because(refusal) => {
                let close = match refusal.code {
                    Code::LimitReached => Close::LimitReached,
                    Code::RuleRefused => Close::RuleRefused,
                    Code::Unavailable => Close::Restart { retry_after: refusal.retry_after.unwrap_or_default() },
                    Code::InvalidTenant | Code::InvalidInstance | Code::InvalidParameter => Close::Invalid,
                    _ => Close::Unauthenticated,
                };
                let error = stranger::error(envelope, context.now(), refusal);
                [&error[..], &frame::close(close)].concat()
            }
            Self::Broken(close) => frame::close(*close).to_vec(),
        }
    }
}

/// Reads the first message. What came behind it stays in `bytes`.
async fn ask(socket: &mut Transport, bytes: &mut BytesMut, depth: usize) -> io::Result<Result<Token, Refused>> {
    let (mut guard, mut codec) = (FrameGuard::default(), Codec::new().max_size(LARGEST));
    let mut judged = 0;
    loop {
        // Byte by byte, so that nothing behind the first message is judged: that is its session's, which has larger limits.
        while judged < bytes.len() {
            let frames = guard.frames();
            if let Err(close) = guard.check(&bytes[judged..=judged], LARGEST as u64) {
                return Ok(Err(Refused::Broken(close)));
            }
            judged += 1;
            if guard.frames() == frames {
                continue;
            }
            judged = 0;
            match codec.decode(bytes) {
                Ok(Some(Frame::Text(text))) => {
                    let text = std::str::from_utf8(&text).map_err(|_| Refused::Broken(Close::NotUtf8));
                    return Ok(text.and_then(|text| read_first(text, depth).map_err(Refused::Because)));
                }
                Ok(Some(Frame::Ping(payload))) => socket.write_all(&frame::pong(&payload)).await?,
                Ok(Some(Frame::Pong(_))) => {}
                Ok(Some(Frame::Close(_))) => return Ok(Err(Refused::Broken(Close::Normal))),
                Ok(Some(Frame::Binary(_) | Frame::Continuation(_))) => {
                    let message = "the first message must be one text frame with a token";
                    return Ok(Err(Refused::Because(Refusal::new(Code::Unauthenticated, message))));
                }
                Ok(None) | Err(_) => return Ok(Err(Refused::Broken(Close::Protocol))),
            }
        }
        if socket.read_buf(&mut (&mut *bytes).limit(PIECE)).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}
