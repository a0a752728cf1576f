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
use crate::actors::readiness::Readiness;

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
    respond(Readiness::now(&shared.context))
}

fn respond(readiness: Readiness) -> HttpResponse {
    let mut response = match readiness {
        Readiness::Ready | Readiness::Degraded(_) => HttpResponse::Ok(),
        Readiness::Starting(_) | Readiness::Draining | Readiness::JournalFull(_) => HttpResponse::ServiceUnavailable(),
    };
    let status = readiness.word();
    match readiness.reason() {
        Some(reason) => response.json(json!({"status": status, "reason": reason})),
        None => response.json(json!({"status": status})),
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

    #[test]
    fn who_starts_goes_away_or_keeps_nothing_more_gets_no_traffic() {
        let why = || "why".to_owned();
        let statuses = [
            (Readiness::Ready, 200),
            (Readiness::Degraded(why()), 200),
            (Readiness::Starting(why()), 503),
            (Readiness::Draining, 503),
            (Readiness::JournalFull(why()), 503),
        ];
        for (readiness, status) in statuses {
            assert_eq!(respond(readiness.clone()).status().as_u16(), status, "{readiness:?}");
        }
    }
}
