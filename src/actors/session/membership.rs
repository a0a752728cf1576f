//! A session's place in its room: how it gets it and how it gives it up.

use std::{cell::RefCell, rc::Rc, sync::Arc};

use actix::{ActorFutureExt, AsyncContext, WrapFuture};
use actix_web_actors::ws::WebsocketContext;

use super::{Request, Session};
use crate::{
    actors::{
        messages::{Enter, Entered, Join, JoinKind, Leave, MemberKey},
        outlet::{self, Newcomer},
    },
    model::{
        InstanceId,
        roster::{Farewell, Presence},
    },
    wire::{Close, Code, Need, Refusal},
};

/// A session's place in its room.
#[derive(Debug)]
pub struct Membership {
    /// The outlet of its thread.
    pub outlet: Rc<outlet::Shared>,
    /// The place in it.
    pub key: MemberKey,
    /// Who it is.
    pub instance: InstanceId,
    /// The room that it asked to let it in last; its outlet hears of a new one a little later.
    pub entered: Option<Arc<Entered>>,
}

impl Membership {
    /// Ends it and tells the room.
    pub fn end(self, how: Farewell) {
        let Self { outlet, key, instance, entered } = self;
        let room = outlet.room();
        outlet.dismiss(key);
        let entered = entered.filter(|entered| entered.serial != room.serial);
        for room in [Some(room), entered].into_iter().flatten() {
            let leave = Leave { key, instance: instance.clone(), how };
            if let Err(actix::dev::SendError::Full(leave)) = room.room.try_send(leave) {
                // The room is busy for a moment; the farewell must not get lost.
                actix_rt::spawn(async move { room.room.send(leave).await.unwrap_or_default() });
            }
        }
    }
}

/// Membership as the session and its driver share it.
pub type SharedMembership = Rc<RefCell<Option<Membership>>>;

impl Session {
    /// Enters the room; until that is done nothing the client says is read.
    pub(super) fn join(&mut self, ctx: &mut WebsocketContext<Self>) {
        let Some(request) = self.request.take() else { return };
        let Request { grant, since, requested, options, capabilities, affinity } = *request;
        let (tenant, instance) = (grant.tenant().clone(), grant.instance().clone());
        let (variant, presence_is_shown) = (options.variant, Need::Presence.is_met(grant.rights()));
        let author = grant.author();
        let presence = Presence {
            connected_at: self.context.now(),
            capabilities,
            user: author.user.clone(),
            name: author.name.clone(),
            connection: Some(self.id),
            affinity,
        };
        let newcomer = Newcomer {
            serial: self.context.serial(),
            session: self.id,
            link: self.link.clone(),
            instance: instance.clone(),
            viewer: grant.viewer(),
            presence: presence.clone(),
            options,
            since: since.clone(),
            requested: requested.clone(),
        };
        let (context, directory, session) = (self.context.clone(), self.addresses.directory.clone(), self.id);
        let membership = self.membership.clone();
        let joining = async move {
            let mut newcomer = Some(newcomer);
            loop {
                let entered = match directory.send(Enter(tenant.clone())).await {
                    Ok(entered) => entered?,
                    Err(_) => return Err(Refusal::new(Code::Draining, "the node is going away")),
                };
                if let Some(newcomer) = newcomer.take() {
                    if newcomer.link.is_over() {
                        return Ok(());
                    }
                    let outlet = outlet::Shared::for_tenant(&tenant, &entered, &directory, &context);
                    let key = outlet.admit(newcomer)?;
                    *membership.borrow_mut() =
                        Some(Membership { outlet, key, instance: instance.clone(), entered: None });
                }
                let (key, outlet) = match &mut *membership.borrow_mut() {
                    Some(Membership { outlet, key, entered: last, .. }) => {
                        *last = Some(entered.clone());
                        (*key, outlet.addr())
                    }
                    None => return Ok(()), // the connection ended meanwhile
                };
                let Some(outlet) = outlet else { return Ok(()) };
                let join = Join {
                    key,
                    session,
                    outlet,
                    instance: instance.clone(),
                    presence: presence.clone(),
                    since: since.clone(),
                    requested: requested.clone(),
                    variant,
                    presence_is_shown,
                    kind: JoinKind::Fresh,
                };
                if let Ok(Ok(())) = entered.room.send(join).await {
                    return Ok(());
                }
            }
        };
        ctx.wait(joining.into_actor(self).map(|joined, session, _| {
            if let Err(refusal) = joined {
                session.refuse(&refusal);
                session.link.close(match refusal.code {
                    Code::LimitReached => Close::LimitReached,
                    Code::Draining => Close::Restart { retry_after: refusal.retry_after.unwrap_or_default() },
                    _ => Close::Internal,
                });
            }
        }));
    }
}
