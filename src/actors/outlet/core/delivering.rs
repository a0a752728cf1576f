//! New records on their way to the members at the head, and what is noted of those that are late.
//!
//! Owns: invariant **nothing each** (what is measured is measured once for a run of records and not once a member; only
//! whoever falls behind is looked at alone).

use std::{sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};

use super::{Core, Member, Phase};
use crate::{
    actors::{
        context::{NodeContext, Whose},
        link::Offer,
    },
    model::{EventId, Position, RecordMeta, TenantId, Timestamp, record::View},
    telemetry::trace::{Moment, Shown, Span, Stage},
    wire::{Batch, Followed, Variant, outgoing::Voice},
};

/// The first record that a member did not get in its turn.
#[derive(Debug)]
pub(in super::super) struct Late {
    record: EventId,
    position: Position,
    since: Duration,
}

impl Late {
    fn new(meta: &RecordMeta, since: Duration) -> Self {
        Self { record: meta.id, position: meta.position, since }
    }
}

impl Core {
    /// Sends new records to everyone at the head.
    pub(super) fn deliver(&mut self, run: &[Arc<Batch>]) {
        let (Some(first), Some(last)) = (run.first(), run.last()) else { return };
        for meta in run.iter().flat_map(|batch| batch.metas()) {
            if let Some(slot) = meta.sender.as_ref().and_then(|sender| self.by_instance.get(sender)) {
                self.members[*slot].own = meta.position;
            }
        }
        let records: usize = run.iter().map(|batch| batch.metas().len()).sum();
        let is_private = run.iter().any(|batch| batch.is_private());
        let (now, uptime) = (self.context.now(), self.context.uptime());
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
                member.late.get_or_insert_with(|| Box::new(Late::new(&first.metas()[0], uptime)));
            }
        }
        self.context.metrics.count_delivered(delivered);
        self.context.metrics.deferred.inc_by(deferred);
        run.iter().filter_map(|batch| batch.followed()).for_each(|followed| self.trace_delivery(followed));
        if let Some(stored_at) = first.stored_at() {
            self.note_age(&first.metas()[0], stored_at);
        }
    }

    /// Tells of events that are followed that they have been sent to the members here.
    fn trace_delivery(&self, Followed { since, traces }: &Followed) {
        let Some(tracer) = &self.context.tracer else { return };
        let to = Moment::now();
        for (trace, position) in traces {
            let shown = vec![
                ("continuum.seq", Shown::Number(position.0)),
                ("continuum.members", Shown::Number(self.members.len() as u64)),
            ];
            let stage = Stage::Deliver { outlet: self.id };
            tracer.tell(Span { trace: *trace, stage, from: *since, to, shown });
        }
    }

    /// Notes how old a record is when it has been sent here. Clocks of logs may differ from this one's.
    fn note_age(&self, meta: &RecordMeta, stored_at: Timestamp) {
        let context = &self.context;
        let age = Duration::from_millis((context.now().0 - stored_at.0).max(0).unsigned_abs());
        context.metrics.delivery_latency.observe(age.as_secs_f64());
        if let Some(untold) = context.slow_delivery(Whose::Everybody, age) {
            let (tenant, record, seq, ms) = (&self.tenant, meta.id, meta.position, age.as_millis() as u64);
            tracing::warn!(%tenant, %record, %seq, ms, untold, "slow delivery to all members here");
        }
    }
}

impl Member {
    /// Notes for how long it waited for what it did not get in its turn, once it has it.
    pub(super) fn note_late(&mut self, context: &NodeContext, tenant: &TenantId) {
        let passed = self.reader.passed;
        let Some(late) = self.late.take_if(|late| late.position <= passed) else { return };
        let Late { record, position, since } = *late;
        let behind = context.uptime().saturating_sub(since);
        context.metrics.behind.observe(behind.as_secs_f64());
        if let Some(untold) = context.slow_delivery(Whose::Session, behind) {
            let (session, ms) = (self.session, behind.as_millis() as u64);
            tracing::warn!(%tenant, %session, %record, seq = %position, ms, untold, "slow delivery to a session");
        }
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
