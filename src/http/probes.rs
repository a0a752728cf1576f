//! Alive, ready, and the figures for Prometheus.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicI64, AtomicU64},
    },
    time::Duration,
};

use actix_web::{HttpResponse, web::Data};
use prometheus_client::{
    metrics::{counter::Counter, gauge::Gauge},
    registry::Registry,
};
use serde_json::json;

use super::server::Shared;
use crate::{backbone::Health, journal::Standing};

/// What the process costs, read when asked.
#[derive(Debug, Default)]
pub struct ProcessFigures {
    cpu: Counter<f64, AtomicU64>,
    memory: Gauge<i64, AtomicI64>,
    counted: Mutex<Duration>,
}

impl ProcessFigures {
    /// Makes them and names them in a registry.
    pub fn new(registry: &mut Registry) -> Self {
        let figures = Self::default();
        registry.register("process_cpu_seconds", "CPU time of the process, user and system", figures.cpu.clone());
        registry.register("process_resident_memory_bytes", "Resident memory", figures.memory.clone());
        figures
    }

    fn read(&self) {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
        let total = Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32);
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        self.cpu.inc_by(total.saturating_sub(*counted).as_secs_f64());
        *counted = total;
        if let Some(bytes) = resident_bytes() {
            self.memory.set(bytes);
        }
    }
}

/// Resident memory, where the system tells it.
fn resident_bytes() -> Option<i64> {
    let pages: i64 = std::fs::read_to_string("/proc/self/statm").ok()?.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as i64)
}

/// `GET /healthz`
pub(super) async fn health() -> HttpResponse {
    HttpResponse::Ok().json(json!({"status": "alive"}))
}

/// `GET /readyz`
pub(super) async fn readiness(shared: Data<Shared>) -> HttpResponse {
    let context = &shared.context;
    let readiness = if context.is_draining() {
        Readiness::Draining
    } else if context.authority.asks() && !context.authority.registry().is_ready() {
        Readiness::Starting("API keys and revocations have not been read yet".into())
    } else {
        Readiness::of(context.backbone.health(), context.journal.as_ref().map(|journal| journal.standing()))
    };
    readiness.respond()
}

/// Whether the node should get traffic.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Readiness {
    Ready,
    /// It serves, with something missing.
    Degraded(String),
    /// The log was not reached yet.
    Starting(String),
    Draining,
    /// The log is out of reach and nothing more can be kept.
    JournalFull(String),
}

impl Readiness {
    /// By the log and the journal, if there is one.
    fn of(health: Health, standing: Option<Standing>) -> Self {
        match (health, standing) {
            (Health::Down(why) | Health::Degraded(why), Some(Standing::Full)) => Self::JournalFull(why),
            (Health::Down(why), _) => Self::Starting(why),
            (Health::Degraded(why), _) => Self::Degraded(why),
            (Health::Serving, None | Some(Standing::Empty)) => Self::Ready,
            (Health::Serving, Some(Standing::Holding(1))) => Self::Degraded("1 publish waits in the journal".into()),
            (Health::Serving, Some(Standing::Holding(entries))) => {
                Self::Degraded(format!("{entries} publishes wait in the journal"))
            }
            (Health::Serving, Some(Standing::Full)) => {
                Self::Degraded("the journal is full and is being drained".into())
            }
        }
    }

    fn respond(self) -> HttpResponse {
        let (mut response, status, reason) = match self {
            Self::Ready => (HttpResponse::Ok(), "ready", None),
            Self::Degraded(why) => (HttpResponse::Ok(), "degraded", Some(why)),
            Self::Starting(why) => (HttpResponse::ServiceUnavailable(), "starting", Some(why)),
            Self::Draining => (HttpResponse::ServiceUnavailable(), "draining", None),
            Self::JournalFull(why) => (HttpResponse::ServiceUnavailable(), "journal_full", Some(why)),
        };
        match reason {
            Some(reason) => response.json(json!({"status": status, "reason": reason})),
            None => response.json(json!({"status": status})),
        }
    }
}

/// `GET /metrics`
pub(super) async fn metrics(shared: Data<Shared>) -> HttpResponse {
    shared.process.read();
    let mut text = String::new();
    // Writing into a string cannot fail.
    let _ = prometheus_client::encoding::text::encode(&mut text, &shared.registry);
    HttpResponse::Ok().content_type("application/openmetrics-text; version=1.0.0; charset=utf-8").body(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(health: Health, standing: Option<Standing>) -> (u16, Readiness) {
        let readiness = Readiness::of(health, standing);
        (readiness.clone().respond().status().as_u16(), readiness)
    }

    #[test]
    fn a_node_whose_log_is_away_gets_traffic_as_long_as_its_journal_has_room() {
        let away = || Health::Degraded("the log is away".into());
        for standing in [Standing::Empty, Standing::Holding(7)] {
            assert_eq!(asked(away(), Some(standing)), (200, Readiness::Degraded("the log is away".into())));
        }
        assert_eq!(asked(away(), Some(Standing::Full)), (503, Readiness::JournalFull("the log is away".into())));
    }

    #[test]
    fn a_node_that_drains_its_journal_serves_and_says_so() {
        assert_eq!(asked(Health::Serving, Some(Standing::Holding(1))).0, 200);
        assert_eq!(asked(Health::Serving, Some(Standing::Full)).0, 200);
        assert_ne!(asked(Health::Serving, Some(Standing::Holding(2))).1, Readiness::Ready);
        for standing in [None, Some(Standing::Empty)] {
            assert_eq!(asked(Health::Serving, standing), (200, Readiness::Ready));
        }
    }

    #[test]
    fn a_log_that_was_never_reached_is_a_node_that_starts() {
        let never = || Health::Down("not reached yet".into());
        assert_eq!(asked(never(), Some(Standing::Holding(3))), (503, Readiness::Starting("not reached yet".into())));
        assert_eq!(asked(never(), None).0, 503);
        assert_eq!(Readiness::Draining.respond().status().as_u16(), 503);
    }
}
