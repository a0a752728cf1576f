//! Signals of members, here and on other nodes: passed on at once, never stored.
//!
//! Owns: what is kept of them for newcomers, and how often they go to other nodes. Must not know: who hears what.

use std::{sync::Arc, time::Duration};

use actix::{AsyncContext, Context, Handler};

use super::Room;
use crate::{
    actors::messages::{MemberKey, Order, PassOn},
    backbone::Channel,
    model::{InstanceId, chaos, newest::Newest},
    wire::{
        peer::{self, Told},
        signal::Signal,
    },
};

/// Between two messages of signals to other nodes: the first goes at once, what comes meanwhile goes together.
const PACE: Duration = Duration::from_millis(20);
/// Types and senders of which one may wait for the other nodes, and of which one is kept for newcomers. At the default size of
/// a signal, with its frames, some 12 MiB.
const MOST: usize = 1024;

/// What a room has in hand of signals.
#[derive(Debug)]
pub(super) struct Passing {
    /// How things stand: for newcomers.
    standing: Newest<Arc<Signal>>,
    /// What waits to be told to the other nodes.
    waiting: Newest<Arc<Signal>>,
    /// Whether something went to them a moment ago.
    is_paced: bool,
}

impl Default for Passing {
    fn default() -> Self {
        Self { standing: Newest::new(MOST), waiting: Newest::new(MOST), is_paced: false }
    }
}

impl Passing {
    /// Whoever left stands nowhere.
    pub(super) fn forget(&mut self, instance: &InstanceId) {
        self.standing.forget(instance);
        self.waiting.forget(instance);
    }
}

impl Handler<PassOn> for Room {
    type Result = ();

    fn handle(&mut self, PassOn { key, signal }: PassOn, ctx: &mut Context<Self>) {
        // A room that does not know its place has welcomed nobody who could hear it.
        if self.opening.is_some() || !self.roster.is_member(&signal.sender, key) {
            return;
        }
        self.context.metrics.signals.inc();
        if self.context.nodes.any() {
            self.passing.waiting.put(signal.pair(), signal.clone());
            self.tell_signals(ctx);
        }
        self.pass_on(&signal);
        self.flush(ctx);
    }
}

impl Room {
    /// What comes from somebody who has left already would stay for good.
    fn keep(&mut self, signal: &Arc<Signal>) {
        if signal.is_state() && self.roster.contains(&signal.sender) {
            self.passing.standing.put(signal.pair(), signal.clone());
        }
    }

    fn pass_on(&mut self, signal: &Arc<Signal>) {
        self.keep(signal);
        match signal.trigger() {
            None => self.ports.post_signal(signal),
            Some(trigger) => self.spread(signal, trigger),
        }
    }

    /// Tells those members whom a trigger of chaos draws in. Each node decides for all and tells its own: they all know who is here
    /// and roll the same, so what goes between them is the trigger and not its outcome.
    fn spread(&mut self, signal: &Arc<Signal>, trigger: u64) {
        let set = self.context.config.chaos_of(&self.tenant);
        if !set.enabled {
            return;
        }
        let members = self.roster.present().map(|(instance, presence)| (instance, presence.affinity));
        let roll = |who: &InstanceId, hops| chaos::roll(trigger, who, hops);
        let drawn = chaos::spread(&signal.sender, members, set.hops, roll);
        if !drawn.is_empty() {
            self.ports.post_signal(&Arc::new(signal.for_drawn(drawn)));
        }
    }

    /// Tells the other nodes what waits, unless something went to them a moment ago.
    fn tell_signals(&mut self, ctx: &mut Context<Self>) {
        if self.passing.is_paced {
            return;
        }
        let waiting = self.passing.waiting.take_all();
        if waiting.is_empty() {
            return;
        }
        self.say_signals(Told::Live, &waiting);
        self.passing.is_paced = true;
        ctx.run_later(PACE, |room, ctx| {
            room.passing.is_paced = false;
            room.tell_signals(ctx);
        });
    }

    fn say_signals(&self, told: Told, signals: &[Arc<Signal>]) {
        let channel = Channel::Room(self.tenant.clone());
        for message in peer::signals(self.context.nodes.speaker(), told, signals) {
            self.context.backbone.signal(&channel, message);
        }
    }

    /// Tells another node that asks who is here how things stand with them.
    pub(super) fn say_standing(&self) {
        let is_ours = |signal: &&Arc<Signal>| self.roster.member_of(&signal.sender).is_some();
        let ours: Vec<_> = self.passing.standing.iter().filter(is_ours).cloned().collect();
        self.say_signals(Told::Standing, &ours);
    }

    /// Members of another node signal something.
    pub(super) fn hear_signals(&mut self, told: Told, signals: &[Arc<Signal>]) {
        for signal in signals {
            match told {
                Told::Live => self.pass_on(signal),
                Told::Standing => self.keep(signal),
            }
        }
    }

    /// Tells a newcomer how things stand with those who are here.
    pub(super) fn tell_standing(&mut self, key: MemberKey) {
        let is_here = |signal: &&Arc<Signal>| self.roster.contains(&signal.sender);
        let signals: Vec<_> = self.passing.standing.iter().filter(is_here).cloned().collect();
        if !signals.is_empty() {
            self.ports.post(key.outlet, Order::Standing { key, signals });
        }
    }
}
