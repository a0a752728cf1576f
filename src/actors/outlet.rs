//! The members of one room on one worker thread. The room sends its orders once per thread; from here on no lock, no
//! atomic and no allocation is spent per member.
//!
//! Owns: which members are at the head (**live**) and which are **behind** and read from the log. Must not know: JSON
//! from clients, other threads' members.

mod core;
mod member;
mod registry;

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
};

use actix::{Actor, ActorContext, Addr, AsyncContext, Context, Handler, MessageResult, WrapFuture};

use self::core::Core;
pub use self::core::{TooMany, random_unit, retry_after};
pub use self::member::{Echo, Newcomer, Options};
use super::{
    context::NodeContext,
    directory::Directory,
    gate::Awaited,
    messages::{CarriedOut, Emptied, Enter, Entered, Gone, Join, MemberKey, Orders, RoomDied},
    room::Room,
    survey::Look,
};
use crate::{
    model::{TenantId, resume::Since},
    wire::Refusal,
};

/// An outlet as its thread's sessions see it.
#[derive(Debug)]
pub struct Shared {
    id: u64,
    tenant: TenantId,
    core: RefCell<Core>,
    /// The room that the members belong to.
    room: RefCell<Arc<Entered>>,
    /// Set while what the members wait for is repeated to a new room.
    moving: Cell<bool>,
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
        room: &Arc<Entered>,
        directory: &Addr<Directory>,
        context: &Arc<NodeContext>,
    ) -> Rc<Self> {
        if let Some(shared) = registry::find(tenant) {
            // A newer room than the one known makes itself known with its first orders, or by the end of the older.
            return shared;
        }
        let id = context.serial();
        let shared = Rc::new(Self {
            id,
            tenant: tenant.clone(),
            core: RefCell::new(Core::new(id, tenant.clone(), context.clone(), room.room.clone())),
            room: RefCell::new(room.clone()),
            moving: Cell::new(false),
            addr: RefCell::default(),
        });
        let addr = Outlet { shared: shared.clone(), directory: directory.clone() }.start();
        *shared.addr.borrow_mut() = Some(addr);
        registry::put(tenant.clone(), shared.clone());
        shared
    }

    /// Takes a member in; it gets nothing until the room welcomes it.
    pub fn admit(&self, newcomer: Newcomer) -> Result<MemberKey, Refusal> {
        let serial = newcomer.serial;
        let slot = self.core.borrow_mut().admit(newcomer)?;
        Ok(MemberKey { outlet: self.id, slot, serial })
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
    pub fn room(&self) -> Arc<Entered> {
        self.room.borrow().clone()
    }

    /// Whether publishes have to wait: they would overtake those that are repeated to a new room.
    pub fn is_moving(&self) -> bool {
        self.moving.get()
    }

    /// From here on the members belong to this room.
    fn adopt(&self, room: Arc<Entered>) {
        self.moving.set(true);
        self.core.borrow_mut().adopt(room.room.clone());
        *self.room.borrow_mut() = room;
    }

    /// A member's outbox was drained: ask for what follows if it is behind.
    pub fn refill(&self, key: MemberKey) {
        self.core.borrow_mut().refill(key);
    }

    /// A member hears these channels too.
    ///
    /// # Errors
    ///
    /// They would be too many; says how many there may be.
    pub fn subscribe(&self, key: MemberKey, channels: &[String]) -> Result<(), usize> {
        self.core.borrow_mut().subscribe(key, channels)
    }

    /// A member hears these channels no more.
    pub fn unsubscribe(&self, key: MemberKey, channels: &[String]) {
        self.core.borrow_mut().unsubscribe(key, channels);
    }

    /// A member wants to read on from elsewhere.
    pub fn rewind(&self, key: MemberKey, since: Since, requested: String) {
        let Some(addr) = self.addr() else { return };
        let Some(join) = self.core.borrow().join_again(key, &addr, since, requested) else { return };
        let room = self.room();
        // A room that has died lets everybody join anew from where they stand; the request is then lost, and repeated.
        if let Err(actix::dev::SendError::Full(join)) = room.room.try_send(join) {
            actix_rt::spawn(async move { room.room.send(join).await.map(drop).unwrap_or_default() });
        }
    }

    /// A member's outbox is empty: signals that were held back can go.
    pub fn release_signals(&self, key: MemberKey) {
        self.core.borrow_mut().release_signals(key);
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

    fn handle(&mut self, Orders { room, epoch, gate, orders }: Orders, ctx: &mut Self::Context) {
        let known = self.shared.room.borrow().serial;
        if room.serial < known {
            return; // the last words of a room that died; its members are in the next one
        }
        let is_new = room.serial > known;
        if is_new {
            // The one before it retired without members, while newcomers were on their way in.
            self.shared.adopt(room.clone());
        }
        let sent_home = self.shared.core.borrow_mut().carry_out(epoch, orders);
        for (key, delay) in sent_home {
            let shared = self.shared.clone();
            ctx.run_later(delay, move |_, _| shared.core.borrow_mut().close_for_restart(key));
        }
        if is_new {
            let (shared, room) = (self.shared.clone(), room.room.clone());
            // A room that dies over it says so, and everything is repeated to the next one.
            ctx.wait(async move { repeat_publishes(&shared, &room).await.unwrap_or_default() }.into_actor(self));
        }
        if gate.carried_out() == Awaited::Yes && room.room.try_send(CarriedOut).is_err() {
            // The room's mailbox is full for a moment: wait for a place. A dead room answers at once.
            ctx.spawn(async move { room.room.send(CarriedOut).await.unwrap_or_default() }.into_actor(self));
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

impl Handler<Look> for Outlet {
    type Result = MessageResult<Look>;

    fn handle(&mut self, look: Look, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.shared.core.borrow().look(look))
    }
}

impl Handler<RoomDied> for Outlet {
    type Result = ();

    fn handle(&mut self, RoomDied { serial }: RoomDied, ctx: &mut Self::Context) {
        if serial < self.shared.room.borrow().serial {
            return; // it died while the members were on their way to it, and they have found the next one
        }
        let (shared, directory, me) = (self.shared.clone(), self.directory.clone(), ctx.address());
        // Nothing else may be carried out meanwhile: orders of the old room mean nothing any more.
        ctx.wait(async move { move_to_new_room(&shared, &directory, &me).await }.into_actor(self));
    }
}

/// Brings all members over to the tenant's new room, each at the place where it stood, and repeats what they had
/// published and got no answer for; the same ids make repeats harmless.
async fn move_to_new_room(shared: &Rc<Shared>, directory: &Addr<Directory>, me: &Addr<Outlet>) {
    loop {
        let entered = match directory.send(Enter(shared.tenant.clone())).await {
            Ok(Ok(entered)) => entered,
            // The node is going away; so are the members.
            Ok(Err(_)) | Err(_) => return,
        };
        let room = entered.room.clone();
        shared.adopt(entered);
        let joins = shared.core.borrow_mut().start_over(me);
        if rejoin(&room, joins).await.is_ok() && repeat_publishes(shared, &room).await.is_ok() {
            return;
        }
    }
}

async fn rejoin(room: &Addr<Room>, joins: Vec<Join>) -> Result<(), Gone> {
    for join in joins {
        room.send(join).await.map_err(|_| Gone)??;
    }
    Ok(())
}

/// Sends a new room what the members follow and what they wait for. What they publish meanwhile goes behind it, so that the order of each
/// connection holds.
async fn repeat_publishes(shared: &Rc<Shared>, room: &Addr<Room>) -> Result<(), Gone> {
    let follows = shared.core.borrow().follows();
    for ask in follows {
        room.send(ask).await.map_err(|_| Gone)?;
    }
    let mut repeated = 0;
    loop {
        let publishes = shared.core.borrow().unsettled_after(repeated);
        let Some(last) = publishes.last() else {
            shared.moving.set(false);
            return Ok(());
        };
        repeated = last.publication.token;
        for publish in publishes {
            room.send(publish).await.map_err(|_| Gone)?;
        }
    }
}
