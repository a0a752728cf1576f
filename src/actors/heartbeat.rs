//! The deadlines of all sessions, on one wheel, and of all other nodes: who needs a heartbeat, who was silent for too
//! long.
//!
//! Owns: invariant **liveness** (any inbound frame is a sign of life; nothing for `heartbeat.timeout` ends the session;
//! a node that is silent for 12 s is gone). Must not: keep a timer per session, or blame others for its own absence.

mod cluster;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use actix::{Actor, Addr, AsyncContext, Context, Handler, Message, WrapFuture, dev::SendError};

use self::cluster::Line;
pub use self::cluster::SayFarewell;
use super::{
    context::NodeContext,
    directory::Directory,
    messages::{Beat, Expire, LookAtToken},
    session::Session,
};
use crate::model::deadlines::{Due, Pulse, Wheel};

/// Take this session in.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Watch {
    /// The session.
    pub session: Addr<Session>,
    /// When it was last heard, in milliseconds of the node's uptime.
    pub heard: Arc<AtomicU64>,
}

/// Have this session look at its token when it ends.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct WatchToken {
    /// The session.
    pub session: Addr<Session>,
    /// The session's own mark for this watch.
    pub watch: u64,
    /// For how long it holds from now.
    pub left: Duration,
}

/// Something was called back: every session looks at its token.
#[derive(Debug, Message)]
#[rtype(result = "()")]
struct CalledBack;

#[derive(Debug)]
struct Watched {
    session: Addr<Session>,
    heard: Arc<AtomicU64>,
    beaten: Duration,
}

/// The actor.
#[derive(Debug)]
pub struct HeartbeatSupervisor {
    context: Arc<NodeContext>,
    directory: Addr<Directory>,
    line: Line,
    pulse: Pulse,
    tick: Duration,
    wheel: Wheel<Watched>,
    /// Sessions whose tokens end.
    tokens: Wheel<(Addr<Session>, u64)>,
    ticked_at: Duration,
    /// Nobody counts as silent since before this: set when the node itself was away.
    excused_until: Duration,
}

impl HeartbeatSupervisor {
    /// With the configured pulse; news of other nodes go to the directory.
    pub fn new(context: Arc<NodeContext>, directory: Addr<Directory>) -> Self {
        let heartbeat = &context.config.heartbeat;
        let pulse = Pulse { interval: heartbeat.interval, timeout: heartbeat.timeout };
        let tick = (pulse.interval / 8).clamp(Duration::from_millis(10), Duration::from_secs(1));
        Self {
            wheel: Wheel::new(tick, pulse.interval),
            tokens: Wheel::new(tick, FORESIGHT),
            ticked_at: context.uptime(),
            excused_until: Duration::ZERO,
            context,
            directory,
            line: Line::default(),
            pulse,
            tick,
        }
    }

    fn tick(&mut self) {
        let now = self.context.uptime();
        let away = now.saturating_sub(self.ticked_at);
        // A stopped process or a suspended machine: what the clients sent meanwhile lies unread in the sockets.
        if away > self.tick * 3 + Duration::from_secs(1) {
            tracing::warn!(away_ms = away.as_millis() as u64, "the node was paused: all deadlines extended");
            self.excused_until = now;
            self.return_anew(now);
        }
        self.ticked_at = now;
        self.mind_the_others(now);
        for watched in self.wheel.advance() {
            self.look_at(watched, now);
        }
        for (session, watch) in self.tokens.advance() {
            if let Err(SendError::Full(_)) = session.try_send(LookAtToken { watch: Some(watch) }) {
                self.tokens.add(self.tick, (session, watch));
            }
        }
    }

    fn look_at(&mut self, mut watched: Watched, now: Duration) {
        let heard = Duration::from_millis(watched.heard.load(Ordering::Relaxed)).max(self.excused_until);
        let sent = match self.pulse.decide(now, heard, watched.beaten) {
            Due::Expire => match watched.session.try_send(Expire) {
                // Its mailbox is full for a moment: again at the next tick.
                Err(SendError::Full(_)) => Some(self.tick),
                _ => None,
            },
            Due::Beat { next } => {
                watched.beaten = now;
                // A full mailbox holds a heartbeat already.
                (!matches!(watched.session.try_send(Beat), Err(SendError::Closed(_)))).then_some(next)
            }
            Due::Wait { next } => watched.session.connected().then_some(next),
        };
        if let Some(next) = sent {
            self.wheel.add(next, watched);
        }
    }
}

/// Between two looks at all tokens.
const BREATH: Duration = Duration::from_millis(200);
/// How far ahead the end of a token is kept; whatever ends later is looked at then, and kept again.
const FORESIGHT: Duration = Duration::from_secs(60);

impl Actor for HeartbeatSupervisor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(4096);
        ctx.run_interval(self.tick, |supervisor, _| supervisor.tick());
        self.listen(ctx);
        let (mut changes, me) = (self.context.authority.registry().changes(), ctx.address());
        ctx.spawn(
            async move {
                while changes.changed().await.is_ok() {
                    me.send(CalledBack).await.unwrap_or_default();
                    // Many call backs wake everybody once.
                    actix_rt::time::sleep(BREATH).await;
                }
            }
            .into_actor(self),
        );
    }
}

impl Handler<WatchToken> for HeartbeatSupervisor {
    type Result = ();

    fn handle(&mut self, WatchToken { session, watch, left }: WatchToken, _: &mut Self::Context) {
        self.tokens.add(left, (session, watch));
    }
}

fn tell_of_revocation(session: &Addr<Session>) {
    if let Err(SendError::Full(look)) = session.try_send(LookAtToken { watch: None }) {
        let session = session.clone();
        // Busy for a moment. One that ends instead needs no news.
        actix_rt::spawn(async move { session.send(look).await.unwrap_or_default() });
    }
}

impl Handler<CalledBack> for HeartbeatSupervisor {
    type Result = ();

    fn handle(&mut self, _: CalledBack, _: &mut Self::Context) {
        for Watched { session, .. } in self.wheel.iter() {
            tell_of_revocation(session);
        }
    }
}

impl Handler<Watch> for HeartbeatSupervisor {
    type Result = ();

    fn handle(&mut self, watch: Watch, _: &mut Self::Context) {
        let Watch { session, heard } = watch;
        // What was called back before it was in here, nobody has told it.
        if self.context.authority.asks() {
            tell_of_revocation(&session);
        }
        let watched = Watched { session, heard, beaten: self.context.uptime() };
        self.wheel.add(self.pulse.interval, watched);
    }
}
