//! An outlet's state and what it does with the room's orders.

mod following;
mod hearing;
mod leaving;
mod standing;

pub use self::leaving::{random_unit, retry_after};

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
    time::Duration,
};

use actix::Addr;
use bytes::{Bytes, BytesMut};
use slab::Slab;

use super::super::{
    context::NodeContext,
    link::{Offer, Wanted},
    messages::{Fetch, Join, JoinKind, MemberKey, Order, Publish, Reach},
    room::Room,
};
use super::member::{Member, Newcomer, Phase, Wish};
use crate::{
    model::{
        Cursor, Epoch, InstanceId, Position, TenantId,
        delivery::{HeldAcks, Reader},
        record::View,
        resume::Since,
    },
    wire::{Batch, Code, PRESENCE, Refusal, Variant, frame, outgoing::Voice},
};
pub(super) use following::Following;
pub use following::TooMany;

/// The members and what is done to them.
#[derive(Debug)]
pub(super) struct Core {
    id: u64,
    tenant: TenantId,
    context: Arc<NodeContext>,
    room: Addr<Room>,
    /// The log that the members' positions are of.
    epoch: Epoch,
    members: Slab<Member>,
    by_instance: HashMap<InstanceId, usize>,
    /// How many members want their records in which form.
    variants: HashMap<Variant, usize>,
}

impl Core {
    pub(super) fn new(id: u64, tenant: TenantId, context: Arc<NodeContext>, room: Addr<Room>) -> Self {
        Self {
            id,
            tenant,
            context,
            room,
            epoch: Epoch::UNKNOWN,
            members: Slab::new(),
            by_instance: HashMap::new(),
            variants: HashMap::new(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Takes a newcomer in, unless its form would be one too many: every form is encoded and kept by itself.
    pub(super) fn admit(&mut self, newcomer: Newcomer) -> Result<usize, Refusal> {
        let Newcomer { serial, session, link, instance, viewer, presence, options, since, requested } = newcomer;
        let limit = self.context.config.rooms.variants;
        if self.variants.len() >= limit && !self.variants.contains_key(&options.variant) {
            let message =
                format!("this room has its {limit} different forms ('preview', 'deltas', 'encoding'); use one of them");
            return Err(Refusal::new(Code::LimitReached, message));
        }
        *self.variants.entry(options.variant).or_default() += 1;
        let slot = self.members.insert(Member {
            serial,
            session,
            link,
            instance: instance.clone(),
            viewer,
            presence,
            options,
            wish: Some(Box::new(Wish { since, requested })),
            phase: Phase::Waiting,
            reader: Reader::default(),
            acks: HeldAcks::default(),
            own: Position::START,
            held: None,
            following: Following::default(),
        });
        self.by_instance.insert(instance, slot);
        Ok(slot)
    }

    pub(super) fn forget(&mut self, key: MemberKey) {
        if self.members.get(key.slot).is_some_and(|member| member.serial == key.serial) {
            let member = self.members.remove(key.slot);
            if let Entry::Occupied(mut count) = self.variants.entry(member.options.variant) {
                *count.get_mut() -= 1;
                if *count.get() == 0 {
                    count.remove();
                }
            }
            if self.by_instance.get(&member.instance) == Some(&key.slot) {
                self.by_instance.remove(&member.instance);
            }
        }
    }

    /// Does what the room wants, in order. Returns who is to be sent home, and when.
    pub(super) fn carry_out(&mut self, epoch: Epoch, orders: Vec<Order>) -> Vec<(MemberKey, Duration)> {
        // A room that has not found its place in the log yet knows no epoch, and says nothing that has to do with one.
        if epoch != Epoch::UNKNOWN {
            self.epoch = epoch;
        }
        let mut sent_home = Vec::new();
        let mut run: Vec<Arc<Batch>> = Vec::new();
        for order in orders {
            if let Order::Deliver(batch) = order {
                run.push(batch);
                continue;
            }
            self.deliver(&std::mem::take(&mut run));
            match order {
                Order::Deliver(_) => {}
                Order::Welcome { key, greeting, after } => self.welcome(key, greeting, after),
                Order::Catch { key, from, batches, reach } => self.catch(key, from, &batches, reach),
                Order::Resync { key, mut report, after } => {
                    self.with(key, |member, voice, _| {
                        // The figures name those who are here.
                        report.state = report.state.take().filter(|_| member.viewer.hears(PRESENCE));
                        member.link.send(voice.resync(&report));
                        member.reader = Reader::at(after);
                        member.drain_first();
                    });
                    self.refill(key);
                }
                Order::Gap => self.fall_behind(),
                Order::Settled { key, token, id, answer } => {
                    self.with(key, |member, voice, _| member.settle(voice, token, id, answer));
                }
                Order::Operated { key, token, form, told } => {
                    self.with(key, |member, voice, _| member.operated(voice, token, form, &told));
                }
                Order::Drained { key, id, ended } => {
                    self.with(key, |member, voice, _| member.drained(voice, id, ended));
                }
                Order::Figures { key, figures } => self.with(key, |member, voice, _| {
                    member.bridge(voice);
                    member.link.send(voice.sync_response(&figures, member.reader.passed));
                }),
                Order::Subscriptions(notices) => self.take_notices(notices),
                Order::SubscriptionsLost => self.lose_notices(),
                Order::Announce { what, except } => self.announce(&what, except),
                Order::Signal(signals) => self.pass_on(&signals),
                Order::Standing { key, signals } => self.tell_standing(key, &signals),
                Order::Dismiss { key, refusal, why } => self.with(key, |member, voice, _| {
                    refusal.iter().for_each(|refusal| member.link.send(voice.error(refusal)));
                    member.link.close(why);
                }),
                Order::SendHome => sent_home = self.send_home(),
            }
        }
        self.deliver(&run);
        sent_home
    }

    /// Does something with a member if it is still there.
    fn with(&mut self, key: MemberKey, act: impl FnOnce(&mut Member, Voice<'_>, &NodeContext)) {
        if let Some(member) = self.members.get_mut(key.slot).filter(|member| member.serial == key.serial) {
            let instance = member.instance.clone();
            let voice = Voice {
                tenant: &self.tenant,
                instance: &instance,
                now: self.context.now(),
                epoch: self.epoch,
                envelope: member.options.variant.envelope,
                encoding: member.options.variant.encoding,
            };
            act(member, voice, &self.context);
        }
    }

    fn welcome(&mut self, key: MemberKey, greeting: Bytes, after: Position) {
        self.with(key, |member, _, _| {
            if !greeting.is_empty() {
                member.link.send(greeting);
                member.wish = None;
                member.reader = Reader::at(after);
            }
            member.drain_first();
        });
        self.refill(key);
    }

    fn catch(&mut self, key: MemberKey, from: Position, batches: &[Arc<Batch>], reach: Reach) {
        let mut delivered = 0;
        self.with(key, |member, voice, _| {
            if !matches!(member.phase, Phase::Fetching | Phase::Draining) {
                return;
            }
            member.reader.passed = member.reader.passed.max(from);
            delivered = batches.iter().map(|batch| member.pass(batch, voice)).sum();
            member.release();
            if reach == Reach::Head {
                member.phase = Phase::Live;
                member.link.send(voice.caught_up(member.reader.passed));
                member.reader.told = member.reader.passed;
                member.link.put(&frame::ping(member.reader.passed));
            } else {
                member.drain_first();
            }
        });
        self.context.metrics.count_delivered(delivered);
        self.refill(key);
        if reach == Reach::Head {
            self.tell_anew(key);
        }
    }

    /// Asks the room for what follows if a member is behind and its outbox has room.
    pub(super) fn refill(&mut self, key: MemberKey) {
        let room = self.room.clone();
        self.with(key, |member, _, _| {
            if member.phase != Phase::Draining || !member.link.is_low() || member.link.is_over() {
                return;
            }
            let fetch = Fetch { key, after: member.reader.passed };
            member.phase = Phase::Fetching;
            member.link.want_drained(Wanted::No);
            if let Err(refused) = room.try_send(fetch) {
                ask_again(&room, fetch, &refused);
            }
        });
    }

    /// Sends new records to everyone at the head.
    fn deliver(&mut self, run: &[Arc<Batch>]) {
        let (Some(first), Some(last)) = (run.first(), run.last()) else { return };
        for meta in run.iter().flat_map(|batch| batch.metas()) {
            if let Some(slot) = meta.sender.as_ref().and_then(|sender| self.by_instance.get(sender)) {
                self.members[*slot].own = meta.position;
            }
        }
        let records: usize = run.iter().map(|batch| batch.metas().len()).sum();
        let is_private = run.iter().any(|batch| batch.is_private());
        let now = self.context.now();
        let epoch = self.epoch;
        let mut frames: Vec<(Variant, Bytes)> = Vec::new();
        let (mut delivered, mut deferred) = (0, 0);
        for (_, member) in &mut self.members {
            if member.phase != Phase::Live {
                continue;
            }
            let takes_whole = !is_private && member.takes_everything(first.metas());
            if !takes_whole && member.reader.passed >= last.last() {
                continue;
            }
            // Of its own records it gets none, and often nobody else wants them either: then they need no frames.
            let size = if takes_whole || run.iter().any(|batch| member.wants_of(batch)) {
                let frames = frames_of(run, member.options.variant, &mut frames);
                if takes_whole && member.link.offer(frames) == Offer::Taken {
                    member.reader.took(last.metas());
                    delivered += records as u64;
                    continue;
                }
                frames.len()
            } else {
                0
            };
            let instance = &member.instance.clone();
            let Variant { envelope, encoding, .. } = member.options.variant;
            let voice = Voice { tenant: &self.tenant, instance, now, epoch, envelope, encoding };
            if member.link.has_room(size) {
                delivered += run.iter().map(|batch| member.pass(batch, voice)).sum::<u64>();
            } else {
                deferred += records as u64;
                member.lag(voice);
            }
        }
        self.context.metrics.count_delivered(delivered);
        self.context.metrics.deferred.inc_by(deferred);
    }

    fn fall_behind(&mut self) {
        for key in self.keys() {
            self.with(key, |member, voice, _| {
                if member.phase == Phase::Live {
                    member.lag(voice);
                }
            });
            self.refill(key);
        }
    }

    fn keys(&self) -> Vec<MemberKey> {
        let key = |(slot, member): (usize, &Member)| MemberKey { outlet: self.id, slot, serial: member.serial };
        self.members.iter().map(key).collect()
    }

    /// A heartbeat names how far the member has come, and a ping follows: its pong proves that all before it arrived.
    pub(super) fn beat(&mut self, key: MemberKey) {
        self.with(key, |member, voice, context| {
            // A connection with this much waiting has no use for another heartbeat; its deadline goes on all the same.
            if member.phase != Phase::Waiting && member.link.waiting() < context.config.limits.outbox_bytes {
                member.bridge(voice);
                member.link.send(voice.heartbeat(member.reader.passed));
                member.link.put(&frame::ping(member.reader.passed));
            }
        });
    }

    /// The members' room is this one now.
    pub(super) fn adopt(&mut self, room: Addr<Room>) {
        self.room = room;
    }

    /// Prepares every member for a new room: where it stands, or where it wanted to start if nobody has welcomed it.
    pub(super) fn start_over(&mut self, addr: &Addr<super::Outlet>) -> Vec<Join> {
        let epoch = self.epoch;
        let mut joins = Vec::new();
        for (slot, member) in &mut self.members {
            let (kind, since, requested) = match &member.wish {
                Some(wish) => (JoinKind::Fresh, wish.since.clone(), wish.requested.clone()),
                None => {
                    let cursor = Cursor { epoch, position: member.reader.passed, fingerprint: None };
                    member.drain_first();
                    (JoinKind::Again, Since::Cursor(cursor), cursor.to_string())
                }
            };
            let key = MemberKey { outlet: self.id, slot, serial: member.serial };
            joins.push(member.join(key, addr.clone(), (since, requested), kind));
        }
        joins
    }

    /// What brings a member that is here to another place in the log.
    pub(super) fn join_again(
        &self,
        key: MemberKey,
        addr: &Addr<super::Outlet>,
        since: Since,
        requested: String,
    ) -> Option<Join> {
        let member = self.members.get(key.slot).filter(|member| member.serial == key.serial)?;
        // Whoever has not been welcomed yet gets everything from where it asked in its handshake.
        member.wish.is_none().then(|| member.join(key, addr.clone(), (since, requested), JoinKind::Elsewhere))
    }

    /// What the members wait for, in the order in which they published it, behind a token.
    pub(super) fn unsettled_after(&self, token: u64) -> Vec<Publish> {
        let mut publishes = Vec::new();
        for (slot, member) in &self.members {
            let key = MemberKey { outlet: self.id, slot, serial: member.serial };
            let unsettled = member.link.unsettled_after(token);
            publishes.extend(unsettled.into_iter().map(|publication| Publish { key, publication }));
        }
        publishes.sort_unstable_by_key(|publish| publish.publication.token);
        publishes
    }
}

/// The frames of a run in one variant, as one buffer: a run of one batch is shared as it is, a longer one is copied
/// together once, which is far cheaper than one write per batch and member.
fn frames_of<'a>(run: &[Arc<Batch>], variant: Variant, known: &'a mut Vec<(Variant, Bytes)>) -> &'a Bytes {
    let index = known.iter().position(|(of, _)| *of == variant).unwrap_or_else(|| {
        let frames = match run {
            [one] => one.encoded(variant, View::Inside).all().clone(),
            many => {
                let parts: Vec<_> = many.iter().map(|batch| batch.encoded(variant, View::Inside)).collect();
                let mut joined = BytesMut::with_capacity(parts.iter().map(|part| part.all().len()).sum());
                parts.iter().for_each(|part| joined.extend_from_slice(part.all()));
                joined.freeze()
            }
        };
        known.push((variant, frames));
        known.len() - 1
    });
    &known[index].1
}

fn ask_again(room: &Addr<Room>, fetch: Fetch, refused: &actix::dev::SendError<Fetch>) {
    if matches!(refused, actix::dev::SendError::Full(_)) {
        let room = room.clone();
        // A closed room is replaced, and its members fetch anew.
        actix_rt::spawn(async move { room.send(fetch).await.unwrap_or_default() });
    }
}
