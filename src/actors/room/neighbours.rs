//! The same tenant's rooms on other nodes: what this room tells them, what it does about what it hears, and the question
//! who is there.

use std::{collections::BTreeSet, mem, sync::Arc, time::Duration};

use actix::{AsyncContext, Context, Handler, SpawnHandle, StreamHandler};
use futures_util::stream;

use super::Room;
use crate::{
    actors::{
        context::NodeContext,
        messages::{ClusterChanged, MemberKey, Order},
    },
    backbone::{BackboneError, Channel, SignalItem, Signals},
    model::{
        InstanceId, TenantId,
        neighbours::{DIGEST, Effect, Neighbours, News, Part, Run, Said},
        peers::{Hearing, NodeId},
        roster::Roster,
    },
    wire::{
        Close,
        peer::{self, Speaker, Told, Word},
    },
};

/// How long a room that opens waits for the others to say who is there.
const PATIENCE: Duration = Duration::from_millis(150);
/// Messages taken in meanwhile; what comes on top is asked for again.
const ANSWERS: usize = 1024;
/// Several questions within this time get one answer.
const BREATH: Duration = Duration::from_millis(20);

/// What a room has in hand towards its neighbours.
#[derive(Debug, Default)]
pub(super) struct Talk {
    /// Runs towards the next digest, while there are others.
    digest: Option<SpawnHandle>,
    /// When everyone was listed last.
    listed_at: Duration,
    /// Whether a list is due in a moment.
    listing: bool,
    /// Whether the others are told in a moment what the tenant took.
    pub(super) spending: bool,
}

/// What was heard while a room opened.
pub(super) type Heard = Vec<(Speaker, Word)>;

/// Listens to the tenant's rooms on other nodes and asks them who is there. Waits until all nodes have answered, but not
/// for long: a node that does not have the room does not answer.
pub(super) async fn ask_around(context: &NodeContext, tenant: &TenantId) -> Result<(Signals, Heard), BackboneError> {
    let channel = Channel::Room(tenant.clone());
    let mut signals = context.backbone.listen(channel.clone()).await?;
    let (mut awaited, mut heard): (BTreeSet<NodeId>, _) =
        (context.nodes.others().into_iter().map(|(node, _)| node).collect(), Vec::new());
    if awaited.is_empty() {
        return Ok((signals, heard));
    }
    context.backbone.signal(&channel, peer::said(context.nodes.speaker(), &Said::Ask(None)));
    let answers = async {
        while !awaited.is_empty() && heard.len() < ANSWERS {
            let body = match signals.next().await {
                SignalItem::Signal(body) => body,
                SignalItem::Missed => continue,
                SignalItem::Ended => return,
            };
            let Ok(Some((from, word))) = peer::read_word(&body, context.nodes.me()) else { continue };
            if let Word::Said(Said::News { news: News::Present { part: Part { last: true, .. }, .. }, .. }) = word {
                awaited.remove(&from.node);
            }
            heard.push((from, word));
        }
    };
    // Whoever has not answered by then is heard later.
    let _ = tokio::time::timeout(PATIENCE, answers).await;
    Ok((signals, heard))
}

/// Who is in a tenant's room on other nodes, for a node that does not have it.
///
/// # Errors
///
/// The others cannot be heard now.
pub async fn roster_elsewhere(
    context: &Arc<NodeContext>,
    tenant: &TenantId,
) -> Result<Roster<MemberKey>, BackboneError> {
    let mut roster = Roster::new(context.nodes.me());
    if context.nodes.is_deaf() {
        return Err(BackboneError::Unavailable("the other nodes cannot be heard".into()));
    }
    if context.nodes.any() {
        let mut neighbours = Neighbours::new(context.nodes.me(), most_instances(context, tenant));
        for (from, word) in ask_around(context, tenant).await?.1 {
            if let Word::Said(said) = word {
                neighbours.hear(&mut roster, from.node, from.incarnation, said);
            }
        }
    }
    Ok(roster)
}

/// Most instances of one room that others can make this node hold: what may be connected, the missed ones, and some that
/// came in at the same moment on several nodes.
pub(super) fn most_instances(context: &NodeContext, tenant: &TenantId) -> usize {
    (context.tenants.limits(tenant).connections_per_tenant as usize).saturating_mul(2).saturating_add(1024)
}

impl Room {
    /// Takes in what was heard while the room opened, and listens from then on. Nobody is told: those who come in find it in
    /// their greeting, and those who were in the room before this one know.
    pub(super) fn listen_to_neighbours(&mut self, signals: Signals, heard: Heard, ctx: &mut Context<Self>) {
        let mut standing = Vec::new();
        for (from, word) in heard {
            match word {
                _ if !self.is_listened_to(from) => {}
                Word::Said(said) => {
                    let effects = self.neighbours.hear(&mut self.roster, from.node, from.incarnation, said);
                    let is_talk = |effect: &Effect<_>| matches!(effect, Effect::Ask(_) | Effect::Answer);
                    self.perform(effects.into_iter().filter(is_talk).collect(), ctx);
                }
                Word::Signals(_, signals) => standing.extend(signals),
                Word::Spent(_) | Word::Waits(_) => {}
            }
        }
        // Now that it is known who is here; those who come in find it as it stands.
        self.hear_signals(Told::Standing, &standing);
        ctx.add_stream(stream::unfold(signals, |mut signals| async move {
            let item = signals.next().await;
            (item != SignalItem::Ended).then_some((item, signals))
        }));
        self.digest_later(ctx);
    }

    fn is_listened_to(&self, from: Speaker) -> bool {
        self.context.nodes.hear(from, self.context.uptime()) == Hearing::Listen
    }

    /// Tells the others about a member of this node; on a node that is alone it costs nothing.
    pub(super) fn tell(&mut self, news: News) {
        if self.context.nodes.any() {
            let run = Run { incarnation: self.context.nodes.incarnation(), room: self.serial };
            let said = self.neighbours.tell(run, news);
            self.say(&said);
        }
    }

    /// Tells the others that an instance is here now.
    pub(super) fn tell_joined(&mut self, instance: &InstanceId, ctx: &mut Context<Self>) {
        if self.context.nodes.any()
            && let Some(claim) = self.roster.claim(instance)
        {
            self.tell(News::Joined(claim));
            self.digest_later(ctx);
        }
    }

    fn say(&self, said: &Said) {
        let channel = Channel::Room(self.tenant.clone());
        self.context.backbone.signal(&channel, peer::said(self.context.nodes.speaker(), said));
    }

    fn ask(&self, of: Option<NodeId>) {
        if self.context.nodes.any() {
            self.say(&Said::Ask(of));
        }
    }

    /// Tells the others everyone who is here, be it nobody.
    pub(super) fn list(&mut self) {
        // A room that opens does not know yet who will be here.
        if self.opening.is_some() || !self.context.nodes.any() {
            return;
        }
        self.talk.listed_at = self.context.uptime();
        Neighbours::list(&self.roster).into_iter().for_each(|news| self.tell(news));
    }

    /// The same for several who ask at once, and once the members of the room before this one had time to come in.
    fn list_soon(&mut self, ctx: &mut Context<Self>) {
        let since = self.context.uptime().saturating_sub(self.talk.listed_at);
        if since >= BREATH && self.opening.is_none() {
            self.answer_ask();
        } else if !mem::replace(&mut self.talk.listing, true) {
            ctx.run_later(BREATH, |room, _| {
                room.talk.listing = false;
                room.answer_ask();
            });
        }
    }

    /// Tells whoever asked who is here, and before that how things stand with them: the list ends the answer.
    fn answer_ask(&mut self) {
        if self.opening.is_none() && self.context.nodes.any() {
            self.say_standing();
        }
        self.list();
    }

    fn hear(&mut self, from: Speaker, word: Word, ctx: &mut Context<Self>) {
        match word {
            _ if !self.is_listened_to(from) => {}
            Word::Said(said) => {
                let effects = self.neighbours.hear(&mut self.roster, from.node, from.incarnation, said);
                self.perform(effects, ctx);
                self.digest_later(ctx);
            }
            Word::Signals(told, signals) => self.hear_signals(told, &signals),
            Word::Waits(entities) => self.lanes.give_way(&entities),
            Word::Spent(count) => self.tenant_use.charge(count, self.context.uptime()),
        }
    }

    fn perform(&mut self, effects: Vec<Effect<MemberKey>>, ctx: &mut Context<Self>) {
        let is_told = |effect: &&Effect<_>| matches!(effect, Effect::Joined(_) | Effect::Left(..));
        self.announce_at_once(effects.iter().filter(is_told).count());
        for effect in effects {
            match effect {
                Effect::Joined(instance) => self.announce_joined(&instance, None),
                Effect::Left(instance, presence, reason) => self.announce_left(&instance, &presence, reason),
                Effect::Dismiss(key) => {
                    let why = Close::Replaced;
                    self.ports.post(key.outlet, Order::Dismiss { key, refusal: None, why });
                }
                Effect::Ask(of) => self.ask(of),
                Effect::Answer => self.list_soon(ctx),
            }
        }
        self.announce_at_once(0);
        if self.announcements.any() {
            self.tick_later(ctx);
        }
    }

    /// Makes sure that a digest comes, if there are others.
    fn digest_later(&mut self, ctx: &mut Context<Self>) {
        if self.talk.digest.is_none() && (self.neighbours.any() || self.context.nodes.any()) {
            // Rooms that opened together do not speak together.
            let jitter = 0.8 + 0.4 * fastrand::f64();
            self.talk.digest = Some(ctx.run_later(DIGEST.mul_f64(jitter), Self::digest));
        }
    }

    fn digest(&mut self, ctx: &mut Context<Self>) {
        self.talk.digest = None;
        if self.context.nodes.is_deaf() {
            self.neighbours.excuse();
        } else {
            let effects = self.neighbours.tick(&mut self.roster);
            self.perform(effects, ctx);
        }
        self.list();
        self.digest_later(ctx);
        self.flush(ctx);
    }

    /// Something may have been lost in either direction: everyone is told and asked anew.
    fn start_anew(&mut self, of: Option<NodeId>, ctx: &mut Context<Self>) {
        self.list_soon(ctx);
        self.ask(of);
        self.digest_later(ctx);
    }
}

impl StreamHandler<SignalItem> for Room {
    fn handle(&mut self, item: SignalItem, ctx: &mut Context<Self>) {
        match item {
            SignalItem::Signal(body) => match peer::read_word(&body, self.context.nodes.me()) {
                Ok(Some((from, word))) => self.hear(from, word, ctx),
                Ok(None) => {}
                Err(error) => tracing::debug!(tenant = %self.tenant, %error, "a signal was ignored"),
            },
            SignalItem::Missed => {
                self.neighbours.excuse();
                self.start_anew(None, ctx);
            }
            SignalItem::Ended => {}
        }
        self.flush(ctx);
    }

    fn finished(&mut self, _: &mut Context<Self>) {
        // The feed says when the log ends.
    }
}

impl Handler<ClusterChanged> for Room {
    type Result = ();

    fn handle(&mut self, changed: ClusterChanged, ctx: &mut Context<Self>) {
        match changed {
            ClusterChanged::Appeared(node) => self.start_anew(Some(node), ctx),
            ClusterChanged::Gone(node, incarnation) => {
                let effects = self.neighbours.gone(&mut self.roster, node, incarnation);
                self.perform(effects, ctx);
            }
            ClusterChanged::Departed(node) => {
                let gone_at = self.context.uptime() + self.context.config.heartbeat.timeout;
                self.neighbours.departed(&mut self.roster, node, gone_at);
                self.tick_later(ctx);
            }
            ClusterChanged::WeReturned => {
                self.neighbours.excuse();
                self.start_anew(None, ctx);
            }
        }
        self.flush(ctx);
    }
}
