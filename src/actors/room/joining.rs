//! Coming in: who may, where its reading starts, and the greeting.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use actix::{AsyncContext, Context, Handler};
use bytes::{Bytes, BytesMut};

use super::{Room, read_record};
use crate::{
    actors::{
        context::NodeContext,
        messages::{FoundStart, Gone, Join, JoinKind, Order, StartFound},
    },
    backbone::{BackboneError, CursorUpdate, record_at},
    model::{
        Cursor, Epoch, Fingerprint, InstanceId, Position, TenantId,
        resume::{self, LogView, Since, Start},
        roster::{Arrival, Joined},
    },
    wire::{
        Close, Refusal,
        outgoing::{HeartbeatReport, Instance, LimitsReport, ResyncReport, SessionReady, place},
    },
};

/// Missed records are counted so far.
const COUNT_TO: usize = 10_000;
/// A resume by time goes this much further back: clocks differ, and a record is stamped a little before it is visible.
const OVERLAP_MS: i64 = 2_000;
/// Instances listed in the greeting.
const LISTED: usize = 128;
/// Newcomers whose start is looked up in the log at a time.
const LOOKUPS: usize = 32;
/// How long to wait before a start is looked up again after the log could not tell it.
const LOOK_UP_AGAIN: Duration = Duration::from_secs(1);

/// Newcomers whose start the log has to tell; as many wait as have joined.
#[derive(Debug, Default)]
pub(super) struct Lookups {
    queue: VecDeque<Join>,
    running: usize,
}

impl Handler<Join> for Room {
    type Result = Result<(), Gone>;

    fn handle(&mut self, join: Join, ctx: &mut Context<Self>) -> Self::Result {
        self.is_open()?;
        self.used_at = self.context.uptime();
        self.ports.enter(join.key, join.instance.clone(), &join.outlet);
        let Some(join) = self.unless_early(join) else { return Ok(()) };
        let is_member = self.roster.is_member(&join.instance, join.key);
        if is_member != (join.kind == JoinKind::Elsewhere) {
            return Ok(()); // after a room's end both the session and its outlet may ask
        }
        let is_one_more = join.kind == JoinKind::Fresh && !self.roster.contains(&join.instance);
        if is_one_more && let Err(message) = self.has_room_for(&join) {
            let refusal = Some(Refusal::full(message));
            self.ports.post(join.key.outlet, Order::Dismiss { key: join.key, refusal, why: Close::LimitReached });
            self.flush(ctx);
            return Ok(());
        }
        if !is_member && !self.let_in(&join, ctx) {
            self.flush(ctx);
            return Ok(());
        }
        match self.start_of(&join) {
            Some(found) => self.welcome(join, found),
            None => {
                self.lookups.queue.push_back(join);
                self.look_up_more(ctx);
            }
        }
        // For what waits now: an announcement to be summed up, a cursor to be kept.
        self.tick_later(ctx);
        self.flush(ctx);
        Ok(())
    }
}

impl Handler<StartFound> for Room {
    type Result = ();

    fn handle(&mut self, StartFound { join, found }: StartFound, ctx: &mut Context<Self>) {
        self.lookups.running -= 1;
        self.look_up_more(ctx);
        match found {
            Ok(found) => {
                self.welcome(join, found);
                self.tick_later(ctx);
            }
            Err(error) => {
                tracing::debug!(tenant = %self.tenant, %error, "a session could not be placed in the log; trying again");
                ctx.run_later(LOOK_UP_AGAIN, |room, ctx| {
                    // Whoever left meanwhile is not looked for any more.
                    if room.roster.is_member(&join.instance, join.key) {
                        room.lookups.queue.push_back(join);
                        room.look_up_more(ctx);
                    }
                });
            }
        }
        self.flush(ctx);
    }
}

impl Room {
    /// Puts a newcomer into the roster; `false` if a newer connection of its instance is elsewhere.
    fn let_in(&mut self, join: &Join, ctx: &mut Context<Self>) -> bool {
        let arrival = match join.kind {
            JoinKind::Fresh => Arrival::Fresh,
            JoinKind::Again | JoinKind::Elsewhere => Arrival::Again,
        };
        let joined = self.roster.join(join.instance.clone(), join.key, join.presence.clone(), arrival);
        let gives_way = match joined {
            Joined::Replaces(older) => Some(older),
            Joined::Superseded => Some(join.key),
            Joined::New | Joined::Back => None,
        };
        if let Some(key) = gives_way {
            self.ports.post(key.outlet, Order::Dismiss { key, refusal: None, why: Close::Replaced });
        }
        if (&joined, join.kind) == (&Joined::New, JoinKind::Fresh) {
            self.announce_joined(&join.instance, Some(join.key));
        }
        if joined == Joined::Superseded {
            return false;
        }
        self.tell_joined(&join.instance, ctx);
        true
    }

    fn log_view(&self) -> LogView {
        LogView { epoch: self.epoch, trimmed_to: self.trimmed_to, end: self.head }
    }

    /// Where a reader starts, if the room knows without asking the log.
    fn start_of(&self, join: &Join) -> Option<FoundStart> {
        let at = |after| Start { after, resync: None };
        let start = match join.since {
            Since::Latest => at(self.head),
            Since::Cursor(cursor) if join.kind == JoinKind::Again && self.leads_on(cursor) => at(cursor.position),
            Since::Cursor(cursor) => self.start_in_ring(cursor)?,
            Since::Earliest | Since::Time(_) | Since::Instance => return None,
        };
        let missed = match join.kind {
            JoinKind::Again => 0,
            JoinKind::Fresh | JoinKind::Elsewhere => self.ring.count_after(start.after)?,
        };
        Some(FoundStart { start, missed: missed.min(COUNT_TO), exact: missed <= COUNT_TO })
    }

    /// Whether a member of a room before this one stands in this one's log.
    fn leads_on(&self, cursor: Cursor) -> bool {
        cursor.epoch == self.epoch && cursor.position <= self.head
    }

    fn start_in_ring(&self, cursor: Cursor) -> Option<Start> {
        let log = self.log_view();
        if cursor.epoch != log.epoch {
            return Some(resume::from_cursor(cursor, None, log));
        }
        if cursor.position < self.ring.from() || cursor.position > self.head {
            return None;
        }
        let found = self.ring.id_at(cursor.position).map(|id| id.fingerprint());
        // Without the record at hand a fingerprint is checked against the log.
        (cursor.fingerprint.is_none() || found.is_some()).then(|| resume::from_cursor(cursor, found, log))
    }

    /// Asks the log, for a few newcomers at a time: a crowd that returns at once would cost memory for nothing.
    fn look_up_more(&mut self, ctx: &mut Context<Self>) {
        while self.lookups.running < LOOKUPS {
            let Some(join) = self.lookups.queue.pop_front() else {
                self.lookups.queue = VecDeque::new();
                return;
            };
            self.lookups.running += 1;
            let (context, tenant, room) = (self.context.clone(), self.tenant.clone(), ctx.address());
            let (epoch, head, unkept) = (self.epoch, self.head, self.cursors.of(&join.instance));
            actix_rt::spawn(async move {
                let found = look_up(&context, &tenant, &join, (epoch, head), unkept).await;
                // A room that is gone is replaced, and the session joins again.
                let _ = room.send(StartFound { join, found }).await;
            });
        }
    }

    fn welcome(&mut self, join: Join, found: FoundStart) {
        if !self.roster.is_member(&join.instance, join.key) {
            return; // it left or was replaced meanwhile
        }
        let after = found.start.after;
        if let (JoinKind::Again, Some(reason)) = (join.kind, found.start.resync) {
            let mut report = ResyncReport::new(reason, join.requested, self.epoch, after);
            report.state = Some(self.figures());
            return self.ports.post(join.key.outlet, Order::Resync { key: join.key, report, after });
        }
        let greeting = match join.kind {
            JoinKind::Again => Bytes::new(),
            JoinKind::Fresh | JoinKind::Elsewhere => self.greeting(&join, found),
        };
        if join.kind == JoinKind::Fresh {
            // Kept at once: whoever goes again before its first ack gets what it missed.
            self.cursors.begin(join.instance, after);
        }
        self.ports.post(join.key.outlet, Order::Welcome { key: join.key, greeting, after });
        if join.kind == JoinKind::Fresh {
            self.tell_standing(join.key);
        }
    }

    /// Whether its tenant and its user may have one more connection.
    fn has_room_for(&self, join: &Join) -> Result<(), String> {
        let limits = self.tenant_use.limits();
        if self.connections() >= limits.connections_per_tenant as usize {
            let limit = limits.connections_per_tenant;
            return Err(format!("this tenant has its {limit} connections; close one first"));
        }
        let most = limits.connections_per_user as usize;
        match &join.presence.user {
            Some(user) if most > 0 && self.roster.connections_of(user) >= most => {
                Err(format!("this user has its {most} connections; close one first"))
            }
            _ => Ok(()),
        }
    }

    fn greeting(&self, join: &Join, found: FoundStart) -> Bytes {
        let (epoch, voice) = (self.epoch, self.voice(&join.instance, join.variant.envelope));
        let (config, tenant) = (&self.context.config, self.tenant_use.limits());
        let start = found.start;
        let others = self.roster.iter().filter(|(instance, _)| **instance != join.instance);
        let shown = |count: usize| if join.presence_is_shown { count } else { 0 };
        // The greeting itself is text: it is what tells the client which frames follow.
        let (encoding, compress_bytes) = join.variant.encoding.negotiated().unzip();
        let ready = SessionReady {
            session_id: join.session,
            protocol: 1,
            epoch: epoch.to_string(),
            position: self.head.0,
            cursor: place(epoch, self.head),
            resume: found.report(&join.since),
            heartbeat: HeartbeatReport {
                interval_ms: config.heartbeat.interval.as_millis() as u64,
                timeout_ms: config.heartbeat.timeout.as_millis() as u64,
            },
            encoding,
            limits: LimitsReport {
                max_message_bytes: config.limits.max_message_bytes,
                messages_per_minute: tenant.messages_per_minute,
                publishes_in_flight: config.limits.publishes_in_flight,
                signals_per_minute: tenant.signals_per_minute,
                signal_bytes: config.limits.signal_bytes,
                compress_bytes,
            },
            instances: others
                .take(shown(LISTED))
                .map(|(instance, presence)| Instance::new(instance, presence))
                .collect(),
            instances_total: shown(self.roster.len()),
        };
        let mut greeting = BytesMut::from(
            &match join.kind {
                JoinKind::Elsewhere => voice.reconnected(&ready.resume, self.head),
                JoinKind::Fresh | JoinKind::Again => voice.session_ready(&ready),
            }[..],
        );
        if let Some(reason) = start.resync {
            let mut report = ResyncReport::new(reason, join.requested.clone(), epoch, start.after);
            report.state = join.presence_is_shown.then(|| self.figures());
            greeting.extend_from_slice(&voice.resync(&report));
        }
        greeting.freeze()
    }
}

/// Finds a reader's start in the log.
async fn look_up(
    context: &Arc<NodeContext>,
    tenant: &TenantId,
    join: &Join,
    (epoch, head): (Epoch, Position),
    unkept: Option<Position>,
) -> Result<FoundStart, BackboneError> {
    let start = match join.since {
        Since::Instance => start_of_instance(context, tenant, &join.instance, (epoch, head), unkept).await?,
        ref since => find_start(context, tenant, since, log_view(context, tenant, head).await?, head).await?,
    };
    let counted = context.backbone.count_after(tenant, start.after, COUNT_TO + 1).await?;
    Ok(FoundStart { start, missed: counted.min(COUNT_TO), exact: counted <= COUNT_TO })
}

/// Where an instance goes on by the node's own cursor; `unkept` is what the log may not have of it yet.
async fn start_of_instance(
    context: &Arc<NodeContext>,
    tenant: &TenantId,
    instance: &InstanceId,
    (epoch, head): (Epoch, Position),
    unkept: Option<Position>,
) -> Result<Start, BackboneError> {
    let unkept = unkept.map(|position| Cursor { epoch, position, fingerprint: None });
    let kept = match (context.backbone.cursor(tenant, instance).await?, unkept) {
        // Neither moves backwards within one log: the later one holds.
        (Some(kept), Some(unkept)) if kept.epoch == unkept.epoch && kept.position > unkept.position => Some(kept),
        (kept, unkept) => unkept.or(kept),
    };
    if let Some(kept) = kept {
        return Ok(resume::from_cursor(kept, None, log_view(context, tenant, head).await?));
    }
    let update = CursorUpdate { tenant: tenant.clone(), instance: instance.clone(), epoch, position: head };
    keep_first_cursor(context, update).await;
    Ok(Start { after: head, resync: None })
}

/// Keeps the place of an instance that relies on the node's cursor, before it is greeted: it gets what it misses even if
/// the node is killed a moment later.
async fn keep_first_cursor(context: &Arc<NodeContext>, update: CursorUpdate) {
    let tenant = update.tenant.clone();
    if let Err(error) = context.backbone.keep_cursors(vec![update]).await {
        // A log that takes nothing more can still be read: the instance is let in.
        tracing::warn!(%tenant, %error, "a first cursor was not kept");
    }
}

/// The log as it stands; `known` is how far the asker has read it.
async fn log_view(context: &Arc<NodeContext>, tenant: &TenantId, known: Position) -> Result<LogView, BackboneError> {
    let extent = context.backbone.extent(tenant).await?;
    // The log may be ahead of the room: a cursor from another reader of the same log is good up to there.
    Ok(LogView { epoch: context.backbone.epoch(tenant), trimmed_to: extent.trimmed_to, end: extent.last.max(known) })
}

async fn find_start(
    context: &Arc<NodeContext>,
    tenant: &TenantId,
    since: &Since,
    log: LogView,
    head: Position,
) -> Result<Start, BackboneError> {
    Ok(match since {
        // Without an instance there is nothing kept to go by.
        Since::Latest | Since::Instance => Start { after: head, resync: None },
        Since::Earliest => Start { after: log.trimmed_to, resync: None },
        Since::Cursor(cursor) => {
            let found = if cursor.epoch == log.epoch { id_at(context, tenant, *cursor).await? } else { None };
            resume::from_cursor(*cursor, found, log)
        }
        Since::Time(time) => {
            let position = context.backbone.position_at(tenant, time.earlier_by(OVERLAP_MS)).await?;
            Start { after: position.max(log.trimmed_to).min(head), resync: None }
        }
    })
}

/// The fingerprint of the room's record at a cursor's position.
async fn id_at(
    context: &Arc<NodeContext>,
    tenant: &TenantId,
    cursor: Cursor,
) -> Result<Option<Fingerprint>, BackboneError> {
    if cursor.fingerprint.is_none() || cursor.position == Position::START {
        return Ok(None);
    }
    let found = record_at(context.backbone.as_ref(), tenant, cursor.position).await?;
    Ok(found.and_then(|record| {
        read_record(tenant, Position::START, &record).ok().map(|record| record.meta.id.fingerprint())
    }))
}

/// The same decision for a request over HTTP, with the log that it was made for.
pub async fn place_for_request(
    context: &Arc<NodeContext>,
    tenant: &TenantId,
    since: &Since,
) -> Result<(Start, LogView), BackboneError> {
    let log = log_view(context, tenant, Position::START).await?;
    // A request has no instance: what it does not say is the beginning.
    let since = if *since == Since::Instance { &Since::Earliest } else { since };
    Ok((find_start(context, tenant, since, log, log.end).await?, log))
}

/// The same with what was missed.
pub async fn find_for_request(
    context: &Arc<NodeContext>,
    tenant: &TenantId,
    since: &Since,
) -> Result<(FoundStart, LogView), BackboneError> {
    let (start, log) = place_for_request(context, tenant, since).await?;
    let counted = context.backbone.count_after(tenant, start.after, COUNT_TO + 1).await?;
    Ok((FoundStart { start, missed: counted.min(COUNT_TO), exact: counted <= COUNT_TO }, log))
}
