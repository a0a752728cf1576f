//! What a session does about its token: it goes on under a new one, and ends with the one it has.

use std::time::Duration;

use actix::{ActorFutureExt, AsyncContext, Handler, WrapFuture, dev::SendError};
use actix_web_actors::ws::WebsocketContext;

use super::Session;
use crate::{
    actors::{authority::refusal, heartbeat::WatchToken, messages::LookAtToken},
    wire::{Close, Code, Refusal, token::Token},
};

impl Session {
    /// Goes on under another token of the same holder; what was granted may change with it.
    pub(super) fn renew(&mut self, token: Token, ctx: &mut WebsocketContext<Self>) {
        if !self.context.authority.asks() {
            // Who is believed without a token is believed with one.
            return self.link.send(self.voice().authenticated(None));
        }
        let (context, before) = (self.context.clone(), self.grant.clone());
        let renewed = async move {
            let now = context.now();
            let bearer = context.authority.verify(&token.0, now).await.map_err(|error| refusal(&error))?;
            let mismatch =
                |what| Refusal::new(Code::IdentityMismatch, format!("this token is for {what}; connect anew with it"));
            if bearer.identity.user != before.author().user {
                return Err(mismatch("another user"));
            }
            let grant = bearer.grant(before.tenant().clone(), before.instance().clone(), None);
            let grant = grant.map_err(|_| mismatch("another tenant or instance"))?;
            if grant.rights() != before.rights() {
                return Err(mismatch("something else than the one before"));
            }
            context.authority.still_holds(&grant, now).map_err(|error| refusal(&error))?;
            Ok(grant)
        };
        // What comes next is judged by the new token.
        ctx.wait(renewed.into_actor(self).map(|renewed, session, ctx| match renewed {
            Ok(grant) => {
                session.grant = grant;
                session.watch_token(ctx);
                session.link.send(session.voice().authenticated(session.grant.expires_at()));
            }
            // The one it has holds on.
            Err(refusal) => session.refuse(&refusal),
        }));
    }

    /// Has the token looked at when it ends.
    pub(super) fn watch_token(&mut self, ctx: &mut WebsocketContext<Self>) {
        let Some(end) = self.grant.expires_at() else { return };
        // The one before, if it still runs, is nobody's: there is one at a time.
        self.token_watch += 1;
        let left = Duration::from_millis(u64::try_from(end.0 - self.context.now().0).unwrap_or_default());
        let watch = WatchToken { session: ctx.address(), watch: self.token_watch, left };
        let supervisor = self.addresses.supervisor.clone();
        if let Err(SendError::Full(watch)) = supervisor.try_send(watch) {
            ctx.spawn(async move { supervisor.send(watch).await.unwrap_or_default() }.into_actor(self));
        }
    }

    /// Ends the session if its token holds no more.
    fn look_at_token(&mut self, watch: Option<u64>, ctx: &mut WebsocketContext<Self>) {
        let is_over = watch == Some(self.token_watch);
        match self.context.authority.still_holds(&self.grant, self.context.now()) {
            // It ends later than the supervisor can think.
            Ok(()) if is_over => self.watch_token(ctx),
            Err(error) if error.passes() && is_over => self.watch_token(ctx),
            Ok(()) => {}
            Err(error) if error.passes() => {}
            Err(error) => {
                self.refuse(&refusal(&error));
                self.end(if error.is_erasure() { Close::TenantErased } else { Close::Unauthenticated }, ctx);
            }
        }
    }
}

impl Handler<LookAtToken> for Session {
    type Result = ();

    fn handle(&mut self, LookAtToken { watch }: LookAtToken, ctx: &mut Self::Context) {
        self.look_at_token(watch, ctx);
    }
}
