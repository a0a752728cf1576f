//! The other nodes: this one's heartbeat for them, and their deadlines.

use std::time::Duration;

use actix::{ActorFutureExt, AsyncContext, Context, Handler, Message, StreamHandler, WrapFuture, dev::SendError};
use futures_util::stream;

use super::HeartbeatSupervisor;
use crate::{
    actors::{messages::ClusterChanged, nodes},
    backbone::{Channel, SignalItem},
    model::peers::{Account, BEAT, DEAF_AFTER, Hearing, Introduction},
    wire::peer::{self, Beat, Speaker},
};

/// Before listening is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// What the supervisor knows of the line to the others.
#[derive(Debug, Default)]
pub(super) struct Line {
    /// When this node's heartbeat was sent last; `None` while nobody is listened to.
    beaten: Option<Duration>,
    /// When it came back last.
    heard_myself: Duration,
}

/// Say farewell to the other nodes: this one stops.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct SayFarewell;

impl HeartbeatSupervisor {
    /// Listens to the other nodes, and makes itself heard from then on.
    pub(super) fn listen(&mut self, ctx: &mut Context<Self>) {
        let listening = self.context.backbone.listen(Channel::Nodes);
        ctx.spawn(listening.into_actor(self).map(|listening, supervisor, ctx| match listening {
            Ok(signals) => {
                let context = &supervisor.context;
                // Whoever was there before has not been heard yet.
                context.nodes.peers().excuse(context.uptime());
                ctx.add_stream(stream::unfold(signals, |mut signals| async move {
                    let item = signals.next().await;
                    (item != SignalItem::Ended).then_some((item, signals))
                }));
                supervisor.beat(Beat::Hello);
            }
            Err(error) => {
                tracing::warn!(%error, "the other nodes cannot be listened to yet; trying again");
                ctx.run_later(RETRY, Self::listen);
            }
        }));
    }

    fn beat(&mut self, beat: Beat) {
        self.line.beaten = Some(self.context.uptime());
        let account = nodes::account(&self.context);
        self.context.backbone.signal(&Channel::Nodes, peer::beat(self.context.nodes.speaker(), beat, Some(&account)));
    }

    /// This node was away: nobody was silent, and it is another incarnation.
    pub(super) fn return_anew(&mut self, now: Duration) {
        self.context.nodes.peers().excuse(now);
        self.context.nodes.return_anew();
        if self.line.beaten.is_some() {
            self.beat(Beat::Alive);
        }
        self.tell_rooms(ClusterChanged::WeReturned);
    }

    /// Beats when it is time, and declares gone who was silent for too long.
    pub(super) fn mind_the_others(&mut self, now: Duration) {
        if self.line.beaten.is_some_and(|beaten| now >= beaten + BEAT) {
            self.beat(Beat::Alive);
        }
        let is_deaf = self.is_deaf(now);
        self.context.nodes.set_deaf(is_deaf);
        if is_deaf {
            self.context.nodes.peers().excuse(now);
        }
        let gone = self.context.nodes.peers().expire(now);
        for (node, incarnation) in gone {
            tracing::warn!(%node, "a node fell silent: its instances are gone");
            self.tell_rooms(ClusterChanged::Gone(node, incarnation));
        }
    }

    /// Whoever does not hear itself does not hear the others either, whatever the log says of itself: a log that takes
    /// nothing more can still carry signals, and one that seems well may carry none.
    fn is_deaf(&self, now: Duration) -> bool {
        now.saturating_sub(self.line.heard_myself) >= DEAF_AFTER
    }

    fn hear(&mut self, from: Speaker, beat: Beat, account: Option<Account>) {
        let (context, now) = (self.context.clone(), self.context.uptime());
        let nodes = &context.nodes;
        if from.node == nodes.me() {
            self.line.heard_myself = now;
            return;
        }
        if beat == Beat::Farewell {
            if nodes.peers().depart(from.node) {
                tracing::info!(node = %from.node, "a node said farewell");
                self.tell_rooms(ClusterChanged::Departed(from.node));
            }
            return;
        }
        if nodes.hear(from, now) == Hearing::Ignore {
            return;
        }
        if let Some(account) = account {
            nodes.peers().tell(from.node, account);
        }
        if nodes.peers().introduce(from.node) == Introduction::New {
            tracing::info!(node = %from.node, "a node appeared");
            // It learns of this one before it lets anybody in, rather than at the next beat.
            self.beat(Beat::Alive);
            // A process that has just begun has no rooms; those that it opens ask by themselves.
            if beat != Beat::Hello {
                self.tell_rooms(ClusterChanged::Appeared(from.node));
            }
        }
    }

    fn tell_rooms(&self, changed: ClusterChanged) {
        if let Err(SendError::Full(changed)) = self.directory.try_send(changed) {
            let directory = self.directory.clone();
            // Busy for a moment; it ends only with the node.
            actix_rt::spawn(async move { directory.send(changed).await.unwrap_or_default() });
        }
    }
}

impl StreamHandler<SignalItem> for HeartbeatSupervisor {
    fn handle(&mut self, item: SignalItem, _: &mut Self::Context) {
        match item {
            SignalItem::Signal(body) => match peer::read_beat(&body) {
                Ok(Some((from, beat, account))) => self.hear(from, beat, account),
                Ok(None) => {}
                Err(error) => tracing::debug!(%error, "a signal to all nodes was ignored"),
            },
            SignalItem::Missed => {
                self.context.nodes.peers().excuse(self.context.uptime());
                // The others may not have heard this node either.
                if self.line.beaten.is_some() {
                    self.beat(Beat::Alive);
                }
            }
            SignalItem::Ended => {}
        }
    }

    fn finished(&mut self, _: &mut Self::Context) {
        // The log closes with the node; until then the sessions' deadlines go on.
    }
}

impl Handler<SayFarewell> for HeartbeatSupervisor {
    type Result = ();

    fn handle(&mut self, _: SayFarewell, _: &mut Self::Context) {
        if self.line.beaten.is_some() {
            self.beat(Beat::Farewell);
        }
        self.line.beaten = None;
    }
}
