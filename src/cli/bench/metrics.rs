//! What a server says of itself at `GET /metrics`: processor time and memory.

use std::{net::SocketAddr, time::Duration};

use tokio::time::{sleep, timeout};

use super::super::page;

const PATIENCE: Duration = Duration::from_secs(5);
/// Pause between two readings that shall agree.
const SETTLE_PAUSE: Duration = Duration::from_millis(400);
/// Readings until memory counts as settled, agreed or not.
const SETTLE_READINGS: usize = 20;

/// One reading.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Usage {
    /// Processor seconds of the whole process so far.
    pub cpu_seconds: f64,
    /// Resident bytes.
    pub resident_bytes: f64,
}

/// Reads both figures; `None` from a server that has no such page.
pub async fn usage(server: SocketAddr) -> Option<Usage> {
    // Chunk sizes and all: lines are all that is looked for.
    let text = timeout(PATIENCE, page::get(server, "/metrics")).await.ok()?.ok()?.body;
    Some(Usage {
        cpu_seconds: figure(&text, "process_cpu_seconds_total")?,
        resident_bytes: figure(&text, "process_resident_memory_bytes")?,
    })
}

/// Processor seconds of this process so far.
pub fn own_cpu_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// Reads until memory stays within one part in two hundred between two readings.
pub async fn settled(server: SocketAddr) -> Option<Usage> {
    let mut last = usage(server).await?;
    for _ in 0..SETTLE_READINGS {
        sleep(SETTLE_PAUSE).await;
        let next = usage(server).await?;
        if (next.resident_bytes - last.resident_bytes).abs() <= last.resident_bytes / 200.0 {
            return Some(next);
        }
        last = next;
    }
    Some(last)
}

fn figure(text: &str, name: &str) -> Option<f64> {
    text.lines()
        .filter_map(|line| line.strip_prefix(name))
        .find_map(|rest| rest.strip_prefix(' ').or_else(|| rest.split_once("} ").map(|(_, value)| value)))
        .and_then(|value| value.split_whitespace().next()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_with_and_without_labels() {
        let text = "HTTP/1.1 200 OK\r\n\r\n# TYPE process_cpu_seconds_total counter\r\nprocess_cpu_seconds_total 1.25\r\n\
                    process_resident_memory_bytes{node=\"a\"} 4096 1700000000\r\n";
        assert_eq!(figure(text, "process_cpu_seconds_total"), Some(1.25));
        assert_eq!(figure(text, "process_resident_memory_bytes"), Some(4096.0));
        assert_eq!(figure(text, "process_open_fds"), None);
    }
}
