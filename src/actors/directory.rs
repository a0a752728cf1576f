//! Which room belongs to which tenant. Starts rooms, lets idle ones go, replaces one that died.
//!
//! Owns: invariant **one room** (a tenant has at most one room on a node that lets members in). Must not know: the
//! protocol.

use std::{collections::BTreeMap, hash::BuildHasher, ops::Bound, sync::Arc};

use actix::{Actor, Addr, Arbiter, AsyncContext, Context, Handler, Message, dev::SendError};

use super::{
    context::NodeContext,
    messages::{AllRooms, ClusterChanged, Enter, Entered, Find, Retire},
    room::Room,
    survey::ListRooms,
};
use crate::{
    model::TenantId,
    wire::{Code, Refusal},
};

/// The actor.
#[derive(Debug)]
pub struct Directory {
    context: Arc<NodeContext>,
    /// The threads that rooms run on.
    arbiters: Vec<Arbiter>,
    /// By name, so that some of many can be listed.
    rooms: BTreeMap<TenantId, Arc<Entered>>,
    /// Spreads the tenants over the arbiters.
    spread: std::hash::RandomState,
}

/// A room ended by a fault.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Died {
    /// Whose.
    pub tenant: TenantId,
    /// Which.
    pub serial: u64,
}

impl Directory {
    /// Without rooms.
    pub fn new(context: Arc<NodeContext>) -> Self {
        let arbiters = (0..context.config.rooms.threads.max(1)).map(|_| Arbiter::new()).collect();
        Self { context, arbiters, rooms: BTreeMap::new(), spread: Default::default() }
    }

    fn room_of(&mut self, tenant: TenantId, me: Addr<Self>) -> Arc<Entered> {
        match self.rooms.get(&tenant) {
            Some(entry) if entry.room.connected() => return entry.clone(),
            Some(_) => self.bury(&tenant),
            None => {}
        }
        let serial = self.context.serial();
        let arbiter = &self.arbiters[self.spread.hash_one(&tenant) as usize % self.arbiters.len()];
        let (context, name) = (self.context.clone(), tenant.clone());
        let room = Room::start_in_arbiter(&arbiter.handle(), move |_| Room::new(serial, name, context, me));
        let entered = Arc::new(Entered { serial, room });
        self.rooms.insert(tenant, entered.clone());
        entered
    }
}

impl Directory {
    /// A room is dead; noticed by its own word or by whoever wanted in, whichever comes first.
    fn bury(&mut self, tenant: &TenantId) {
        tracing::error!(%tenant, "room died and will be rebuilt from the log");
        self.context.metrics.rooms_rebuilt.inc();
        self.rooms.remove(tenant);
    }
}

impl Actor for Directory {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(4096);
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        for arbiter in &self.arbiters {
            arbiter.stop();
        }
    }
}

impl Handler<Enter> for Directory {
    type Result = Result<Arc<Entered>, Refusal>;

    fn handle(&mut self, Enter(tenant): Enter, ctx: &mut Self::Context) -> Self::Result {
        if self.context.is_draining() {
            let retry = self.context.config.drain.spread;
            return Err(Refusal::new(Code::Draining, "the node is going away; come back later").after(retry));
        }
        if self.context.backbone.tenancy(&tenant).is_closed {
            return Err(Refusal::new(Code::TenantErasing, "the tenant is being erased"));
        }
        Ok(self.room_of(tenant, ctx.address()))
    }
}

impl Handler<Find> for Directory {
    type Result = Option<Addr<Room>>;

    fn handle(&mut self, Find(tenant): Find, _: &mut Self::Context) -> Self::Result {
        self.rooms.get(&tenant).map(|entry| entry.room.clone())
    }
}

impl Handler<AllRooms> for Directory {
    type Result = Vec<Addr<Room>>;

    fn handle(&mut self, _: AllRooms, _: &mut Self::Context) -> Self::Result {
        self.rooms.values().map(|entry| entry.room.clone()).collect()
    }
}

impl Handler<ListRooms> for Directory {
    type Result = Vec<(TenantId, Addr<Room>)>;

    fn handle(&mut self, ListRooms { after, most }: ListRooms, _: &mut Self::Context) -> Self::Result {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let rooms = self.rooms.range((from, Bound::Unbounded)).take(most);
        rooms.map(|(tenant, entry)| (tenant.clone(), entry.room.clone())).collect()
    }
}

impl Handler<ClusterChanged> for Directory {
    type Result = ();

    fn handle(&mut self, changed: ClusterChanged, _: &mut Self::Context) {
        for Entered { room, .. } in self.rooms.values().map(|entry| &**entry) {
            if let Err(SendError::Full(changed)) = room.try_send(changed) {
                let room = room.clone();
                // Busy for a moment. One that ends instead needs no news.
                actix_rt::spawn(async move { room.send(changed).await.unwrap_or_default() });
            }
        }
    }
}

impl Handler<Retire> for Directory {
    type Result = bool;

    fn handle(&mut self, Retire { tenant, serial }: Retire, _: &mut Self::Context) -> Self::Result {
        let is_current = self.rooms.get(&tenant).is_some_and(|entry| entry.serial == serial);
        if is_current {
            self.rooms.remove(&tenant);
        }
        is_current
    }
}

impl Handler<Died> for Directory {
    type Result = ();

    fn handle(&mut self, Died { tenant, serial }: Died, _: &mut Self::Context) {
        if self.rooms.get(&tenant).is_some_and(|entry| entry.serial == serial) {
            self.bury(&tenant);
        }
    }
}
