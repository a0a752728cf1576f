//! What a session does while the owner's rules are asked about a message: nothing. What comes behind it waits, so its messages
//! stay in order; other sessions do not.

use actix::{ActorFutureExt, AsyncContext, WrapFuture};
use actix_web_actors::ws::WebsocketContext;

use super::Session;
use crate::{
    actors::rules,
    wire::{Need, Refusal, incoming::ClientMessage},
};

impl Session {
    /// Does what a message says, as soon as it is known what the rules say of it.
    pub(super) fn perform_when_ruled(&mut self, message: ClientMessage, ctx: &mut WebsocketContext<Self>) {
        let Some(hook) = self.context.authority.hook() else { return self.perform(message, ctx) };
        let (who, needs) = (rules::who(&self.grant), rules::needs_of(&self.grant, &message));
        let questions = rules::questions(needs.into_iter().map(|need| (&who, need)));
        if let Some(known) = hook.recall(&questions) {
            self.ruling = known;
            return self.perform(message, ctx);
        }
        let asked = hook.clone().ask(questions);
        ctx.wait(asked.into_actor(self).map(|ruling, session, ctx| {
            // The connection may have ended meanwhile, and so may the token.
            let ended = session.context.authority.still_holds(&session.grant, session.context.now());
            if !session.link.is_over() && !ended.is_err_and(|error| !error.passes()) {
                session.ruling = ruling;
                session.perform(message, ctx);
            }
        }));
    }

    /// Whether the grant suffices for something, and the rules admit it.
    pub(super) fn needs(&self, need: Need<'_>) -> Result<(), Refusal> {
        need.check(self.grant.rights())?;
        match self.context.authority.hook() {
            Some(_) => rules::check(&self.ruling, &rules::who(&self.grant), need),
            None => Ok(()),
        }
    }
}
