//! The members of one room on one worker thread. The room sends its orders once per thread; from here on no lock, no
//! atomic and no allocation is spent per member.
//!
//! Owns: which members are at the head (**live**) and which are **behind** and read from the log. Must not know: JSON
//! from clients, other threads' members.

mod core;
mod member;
mod registry;

use std::{cell::RefCell, rc::Rc, sync::Arc};

use actix::{Actor, ActorContext, Addr, AsyncContext, Context, Handler, WrapFuture};

use self::core::Core;
pub use self::member::{Echo, Newcomer, Options};
use super::{
    context::NodeContext,
    directory::Directory,
    messages::{CarriedOut, Emptied, Enter, Gone, Join, MemberKey, Orders, Publish, RoomDied},
    room::Room,
};
use crate::model::TenantId;

/// An outlet as its thread's sessions see it.
#[derive(Debug)]
pub struct Shared {
    id: u64,
    tenant: TenantId,
    core: RefCell<Core>,
    room: RefCell<Addr<Room>>,
    addr: RefCell<Option<Addr<Outlet>>>,
}

/// The actor: takes the room's orders. Its state is shared with the sessions of its thread.
#[derive(Debug)]
pub struct Outlet {
    shared: Rc<Shared>,
    directory: Addr<Directory>,
}

impl Shared {
    /// The thread's outlet for a tenant, made on this thread if there is none.
    pub fn for_tenant(
        tenant: &TenantId,
        room: &Addr<Room>,
        directory: &Addr<Directory>,
        context: &Arc<NodeContext>,
    ) -> Rc<Self> {
        if let Some(shared) = registry::find(tenant) {
            // A newer room than the one known is the tenant's room now; its members are brought over by `RoomDied`.
            return shared;
        }
        let id = context.serial();
        let shared = Rc::new(Self {
            id,
            tenant: tenant.clone(),
            core: RefCell::new(Core::new(id, tenant.clone(), context.clone(), room.clone())),
            room: RefCell::new(room.clone()),
            addr: RefCell::default(),
        });
        let addr = Outlet { shared: shared.clone(), directory: directory.clone() }.start();
        *shared.addr.borrow_mut() = Some(addr);
        registry::put(tenant.clone(), shared.clone());
        shared
    }

    /// Takes a member in; it gets nothing until the room welcomes it.
    pub fn admit(&self, newcomer: Newcomer) -> MemberKey {
        let serial = newcomer.serial;
        let slot = self.core.borrow_mut().admit(newcomer);
        MemberKey { outlet: self.id, slot, serial }
    }

    /// Lets a member go.
    pub fn dismiss(&self, key: MemberKey) {
        let mut core = self.core.borrow_mut();
        core.forget(key);
        if core.is_empty()
            && let Some(addr) = &*self.addr.borrow()
        {
            // Lost only if the mailbox is full, and then it is not idle; the next farewell asks again.
            let _ = addr.try_send(Emptied);
        }
    }

    /// The outlet's address.
    pub fn addr(&self) -> Option<Addr<Outlet>> {
        self.addr.borrow().clone()
    }

    /// The room that the members belong to.
    pub fn room(&self) -> Addr<Room> {
        self.room.borrow().clone()
    }

    /// A member's outbox was drained: ask for what follows if it is behind.
    pub fn refill(&self, key: MemberKey) {
        self.core.borrow_mut().refill(key);
    }

    /// Sends a heartbeat and a ping to a member.
    pub fn beat(&self, key: MemberKey) {
        self.core.borrow_mut().beat(key);
    }
}

impl Actor for Outlet {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        // The room sends one set of orders at a time; the rest is housekeeping.
        ctx.set_mailbox_capacity(64);
    }
}

impl Handler<Orders> for Outlet {
    type Result = ();

    fn handle(&mut self, orders: Orders, ctx: &mut Self::Context) {
        let sent_home = self.shared.core.borrow_mut().carry_out(orders.0);
        for (key, delay) in sent_home {
            let shared = self.shared.clone();
            ctx.run_later(delay, move |_, _| shared.core.borrow_mut().close_for_restart(key));
        }
        let room = self.shared.room();
        if room.try_send(CarriedOut { outlet: self.shared.id }).is_err() {
            // The room's mailbox is full for a moment: wait for a place. A dead room answers at once.
            let carried_out = CarriedOut { outlet: self.shared.id };
            ctx.spawn(async move { room.send(carried_out).await.unwrap_or_default() }.into_actor(self));
        }
    }
}

impl Handler<Emptied> for Outlet {
    type Result = ();

    fn handle(&mut self, _: Emptied, ctx: &mut Self::Context) {
        if self.shared.core.borrow().is_empty() {
            registry::remove(&self.shared.tenant, self.shared.id);
            ctx.stop();
        }
    }
}

impl Handler<RoomDied> for Outlet {
    type Result = ();

    fn handle(&mut self, _: RoomDied, ctx: &mut Self::Context) {
        let (shared, directory, me) = (self.shared.clone(), self.directory.clone(), ctx.address());
        // Nothing else may be carried out meanwhile: orders of the old room mean nothing any more.
        ctx.wait(async move { move_to_new_room(&shared, &directory, &me).await }.into_actor(self));
    }
}

/// Brings all members over to the tenant's new room, each at the place where it stood, and repeats what they had
/// published and got no answer for; the same ids make repeats harmless.
async fn move_to_new_room(shared: &Rc<Shared>, directory: &Addr<Directory>, me: &Addr<Outlet>) {
    loop {
        let room = match directory.send(Enter(shared.tenant.clone())).await {
            Ok(Ok(room)) => room,
            // The node is going away; so are the members.
            Ok(Err(_)) | Err(_) => return,
        };
        *shared.room.borrow_mut() = room.clone();
        let joins = shared.core.borrow_mut().start_over(room.clone(), me);
        if rejoin(&room, joins).await.is_ok() {
            return;
        }
    }
}

async fn rejoin(room: &Addr<Room>, joins: Vec<(Join, Vec<Publish>)>) -> Result<(), Gone> {
    for (join, publishes) in joins {
        room.send(join).await.map_err(|_| Gone)??;
        for publish in publishes {
            room.send(publish).await.map_err(|_| Gone)?;
        }
    }
    Ok(())
}
