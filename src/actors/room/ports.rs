//! The room's ends towards its outlets: one set of orders under way per outlet, the next one gathers meanwhile. So a
//! busy outlet gets larger batches instead of more of them.
//!
//! Owns: the bound on what gathers: too many record bytes become one [`Order::Gap`], too much news of subscriptions one
//! [`Order::SubscriptionsLost`].

use std::{collections::BTreeMap, iter, mem, sync::Arc};

use actix::{Addr, dev::SendError};

use super::super::{
    gate::Gate,
    messages::{Entered, MemberKey, Order, Orders, RoomDied},
    outlet::Outlet,
};
use crate::{
    model::{Epoch, InstanceId, newest::Newest},
    wire::signal::Signal,
};

/// Types and senders of which a signal may wait for one outlet.
const SIGNALS: usize = 4096;
/// Orders for which there is room beforehand.
const LIKELY: usize = 256;
/// Signals in one set of orders: records wait no longer than it takes to pass these on.
const SIGNALS_AT_ONCE: usize = 64;

#[derive(Debug)]
struct Port {
    addr: Addr<Outlet>,
    waiting: Vec<Order>,
    /// Bytes of records and of news among them.
    bytes: usize,
    /// They go behind everything else.
    signals: Newest<Arc<Signal>>,
    /// Closed while a set of orders is under way.
    gate: Arc<Gate>,
    members: BTreeMap<MemberKey, InstanceId>,
}

/// All outlets of a room.
#[derive(Debug)]
pub(super) struct Ports {
    ports: BTreeMap<u64, Port>,
    capacity: usize,
}

impl Ports {
    /// `capacity`: record bytes that may gather per outlet.
    pub(super) fn new(capacity: usize) -> Self {
        Self { ports: BTreeMap::new(), capacity }
    }

    /// A member joined through an outlet.
    pub(super) fn enter(&mut self, key: MemberKey, instance: InstanceId, addr: &Addr<Outlet>) {
        let port = self.ports.entry(key.outlet).or_insert_with(|| Port {
            addr: addr.clone(),
            waiting: Vec::new(),
            bytes: 0,
            signals: Newest::new(SIGNALS),
            gate: Arc::default(),
            members: BTreeMap::new(),
        });
        port.members.insert(key, instance);
    }

    /// A member left; an outlet without members gets nothing any more.
    pub(super) fn leave(&mut self, key: MemberKey) {
        if let Some(port) = self.ports.get_mut(&key.outlet) {
            port.members.remove(&key);
            if port.members.is_empty() {
                self.ports.remove(&key.outlet);
            }
        }
    }

    /// All outlets.
    pub(super) fn outlets(&self) -> impl Iterator<Item = &Addr<Outlet>> {
        self.ports.values().map(|port| &port.addr)
    }

    /// Who a member is.
    pub(super) fn instance_of(&self, key: MemberKey) -> Option<&InstanceId> {
        self.ports.get(&key.outlet)?.members.get(&key)
    }

    /// Puts an order behind the others for one outlet.
    pub(super) fn post(&mut self, outlet: u64, order: Order) {
        if let Some(port) = self.ports.get_mut(&outlet) {
            port.post(order, self.capacity);
        }
    }

    /// The same for all outlets.
    pub(super) fn post_all(&mut self, order: impl Fn(u64) -> Order) {
        for (id, port) in &mut self.ports {
            port.post(order(*id), self.capacity);
        }
    }

    /// Puts a signal for all outlets in the place of the one before it.
    pub(super) fn post_signal(&mut self, signal: &Arc<Signal>) {
        for port in self.ports.values_mut() {
            port.signals.put(signal.pair(), signal.clone());
        }
    }

    /// Sends what waits to every outlet that can take it; returns the members of those that are gone.
    pub(super) fn flush(&mut self, room: &Arc<Entered>, epoch: Epoch) -> Vec<(InstanceId, MemberKey)> {
        let mut gone = Vec::new();
        for (id, port) in &mut self.ports {
            // Asked again after each set: with more to come, the room is told when the gate opens.
            while port.has_orders() && port.gate.is_open() {
                let orders = port.take_orders();
                match port.addr.try_send(Orders { room: room.clone(), epoch, gate: port.gate.clone(), orders }) {
                    Ok(()) => port.gate.sent(),
                    // Its mailbox holds more than one set, so this does not happen; keep the orders all the same.
                    Err(SendError::Full(orders)) => {
                        port.waiting = orders.orders;
                        break;
                    }
                    Err(SendError::Closed(_)) => {
                        gone.push(*id);
                        break;
                    }
                }
            }
        }
        gone.into_iter().filter_map(|id| self.ports.remove(&id)).flat_map(Port::into_members).collect()
    }

    /// The room is at its end.
    pub(super) fn tell_all_that_room_died(&self, serial: u64) {
        for port in self.ports.values() {
            // Full cannot be, see `flush`; a closed one has nobody left to tell.
            let _ = port.addr.try_send(RoomDied { serial });
        }
    }
}

impl Port {
    fn post(&mut self, order: Order, capacity: usize) {
        if let Order::Deliver(batch) = &order {
            self.bytes += batch.bytes();
            if self.bytes > capacity {
                self.waiting.retain(|order| !matches!(order, Order::Deliver(_)));
                self.waiting.push(Order::Gap);
                self.bytes = 0;
                return;
            }
        }
        if let Order::Subscriptions(notices) = &order {
            self.bytes += notices.iter().map(|notice| notice.frame.len()).sum::<usize>();
            if self.bytes > capacity {
                self.waiting.retain(|order| !matches!(order, Order::Subscriptions(_)));
                self.waiting.push(Order::SubscriptionsLost);
                let bytes = |order: &Order| if let Order::Deliver(batch) = order { batch.bytes() } else { 0 };
                self.bytes = self.waiting.iter().map(bytes).sum();
                return;
            }
        }
        self.waiting.push(order);
    }

    fn has_orders(&self) -> bool {
        !self.waiting.is_empty() || !self.signals.is_empty()
    }

    /// The next set of orders.
    fn take_orders(&mut self) -> Vec<Order> {
        self.bytes = 0;
        // The next set is likely to be as large.
        let next = Vec::with_capacity(self.waiting.len().min(LIKELY));
        let mut orders = mem::replace(&mut self.waiting, next);
        let signals: Vec<_> = iter::from_fn(|| self.signals.take_next()).take(SIGNALS_AT_ONCE).collect();
        if !signals.is_empty() {
            orders.push(Order::Signal(signals));
        }
        orders
    }

    fn into_members(self) -> impl Iterator<Item = (InstanceId, MemberKey)> {
        self.members.into_iter().map(|(key, instance)| (instance, key))
    }
}
