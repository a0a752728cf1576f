//! Where events that are followed are in a room: when it gave them to the log, and when the log gave them to it.
//!
//! Owns: that nothing is done for it while no event is followed. Events of clients and requests are; what an operation makes of
//! its entity is not.

use super::Room;
use crate::{
    backbone::{Answer, Append, AppendError, Stored},
    model::{DedupeId, Position, Timestamp, record::About},
    telemetry::trace::{Moment, Shown, Span, Stage, Trace},
    wire::{Followed, record::Record},
};

/// A publish that is followed, under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Begun {
    trace: Trace,
    from: Moment,
}

impl Room {
    /// Whether a publish is followed from here on.
    pub(super) fn begin_trace(&self, append: &Append) -> Option<Box<Begun>> {
        let trace = self.context.tracer.as_ref()?.follows(append.dedupe.0)?;
        Some(Box::new(Begun { trace, from: Moment::now() }))
    }

    /// The log has answered it.
    pub(super) fn trace_publish(&self, begun: Option<Box<Begun>>, result: &Result<Answer, AppendError>) {
        let (Some(begun), Some(tracer)) = (begun, &self.context.tracer) else { return };
        let Begun { trace, from } = *begun;
        let mut shown = vec![("continuum.tenant", Shown::Text(self.tenant.to_string()))];
        let answer = match result {
            Ok(Answer::Appended(appended)) => {
                shown.push(("continuum.seq", Shown::Number(appended.position.0)));
                "stored"
            }
            Ok(Answer::Queued) => "queued",
            Err(_) => "refused",
        };
        shown.push(("continuum.answer", Shown::Text(answer.into())));
        tracer.tell(Span { trace, stage: Stage::Publish, from, to: Moment::now(), shown });
    }

    /// When the log took what it brings now, if any of it may be followed.
    pub(super) fn times_of(&self, fresh: &[Stored]) -> Option<Vec<(Position, Timestamp)>> {
        self.context.tracer.as_ref()?;
        Some(fresh.iter().map(|stored| (stored.position, stored.stored_at)).collect())
    }

    /// The room has records: which of them are followed.
    pub(super) fn trace_feed(
        &self,
        times: Option<Vec<(Position, Timestamp)>>,
        records: &[Record],
    ) -> Option<Box<Followed>> {
        let (tracer, times, since) = (self.context.tracer.as_ref()?, times?, Moment::now());
        let mut traces = Vec::new();
        for meta in records.iter().map(|record| &record.meta).filter(|meta| meta.about == About::Event) {
            let Some(sender) = &meta.sender else { continue };
            let Some(trace) = tracer.follows(DedupeId::of(&self.tenant, sender, meta.id).0) else { continue };
            let at = times.binary_search_by_key(&meta.position, |(position, _)| *position);
            let stored_at = at.map_or(since, |at| Moment::of_millis(times[at].1.0));
            let shown = vec![
                ("continuum.tenant", Shown::Text(self.tenant.to_string())),
                ("continuum.event_id", Shown::Text(meta.id.to_string())),
                ("continuum.event_type", Shown::Text(meta.event_type.to_string())),
                ("continuum.seq", Shown::Number(meta.position.0)),
            ];
            tracer.tell(Span { trace, stage: Stage::Feed, from: stored_at, to: since, shown });
            traces.push((trace, meta.position));
        }
        (!traces.is_empty()).then(|| Box::new(Followed { since, traces }))
    }
}
