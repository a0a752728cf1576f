//! What a rolling update showed, and whether it was one.

use std::{collections::BTreeMap, fmt, time::Duration};

use super::crowd::Latencies;
use crate::support::history::History;

/// What a node takes, bytes.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// Now.
    pub now: u64,
    /// At most since it runs.
    pub most: u64,
}

/// One pod that was replaced.
#[derive(Clone, Debug)]
pub struct Replaced {
    /// Which.
    pub name: String,
    /// From SIGTERM to its end.
    pub stopped: Duration,
    /// From the new build's start until it was ready.
    pub ready: Duration,
    /// What the old build took when it was told to go.
    pub memory: Memory,
}

/// What the clients saw.
pub struct Outcome {
    /// What was published and what came, room by room.
    pub rooms: Vec<History>,
    /// How many events were answered `queued` first.
    pub queued: usize,
    /// From publish to delivery, microseconds.
    pub latencies: Latencies,
    /// When the roll began and ended, microseconds.
    pub roll: [u64; 2],
    /// When somebody was back, and how long it had been apart, microseconds.
    pub absences: Vec<(u64, u64)>,
    /// Attempts to come back that failed.
    pub failed: usize,
    /// Clients that never had to come back.
    pub stayed: usize,
    /// Events that did not come to somebody: acknowledged, or queued by a node whose publisher then went to another one.
    pub missed: usize,
}

/// The whole run.
pub struct Report {
    /// Clients in all.
    pub clients: usize,
    /// Rooms.
    pub tenants: usize,
    /// From the first deletion until the last node was ready for long enough.
    pub rolled: Duration,
    /// The pods, in the order in which they went.
    pub replaced: Vec<Replaced>,
    /// What the nodes took before.
    pub before: Vec<Memory>,
    /// And after.
    pub after: Vec<Memory>,
    /// What the clients saw.
    pub outcome: Outcome,
}

impl Outcome {
    /// Fails with everything that was promised and not kept.
    pub fn verify(&self) {
        for room in &self.rooms {
            room.verify();
            assert!(room.sent_count() > 0, "a room without events proves nothing");
        }
        assert_eq!(self.missed, 0, "everything that was acknowledged or queued comes to everybody");
        // Every node went, so everybody on it had to come back; who never did was on none of them.
        assert_eq!(self.stayed, 0, "clients that were on no node that was replaced");
        for (latencies, phase) in self.latencies.iter().zip(["before", "during", "after"]) {
            assert!(!latencies[0].is_empty(), "nothing was delivered of what was published {phase} the roll");
        }
    }

    /// How many events were acknowledged.
    pub fn acked(&self) -> usize {
        self.rooms.iter().map(History::acked_count).sum()
    }

    /// How many events were sent.
    pub fn sent(&self) -> usize {
        self.rooms.iter().map(History::sent_count).sum()
    }

    /// The most that came back within one second, and when in the roll that was.
    pub fn peak(&self) -> (usize, u64) {
        let mut seconds = BTreeMap::new();
        for (at, _) in &self.absences {
            *seconds.entry(at.saturating_sub(self.roll[0]) / 1_000_000).or_insert(0) += 1;
        }
        seconds.into_iter().map(|(second, count)| (count, second)).max().unwrap_or_default()
    }

    fn absent(&self, hundredth: usize) -> f64 {
        let mut times: Vec<_> = self.absences.iter().map(|(_, time)| *time).collect();
        times.sort_unstable();
        let at = (times.len() * hundredth / 100).min(times.len().saturating_sub(1));
        times.get(at).map_or(0.0, |time| *time as f64 / 1e6)
    }
}

impl fmt::Display for Replaced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, stopped, ready, .. } = self;
        write!(f, "{name}: ended {:.1} s after SIGTERM, ", stopped.as_secs_f64())?;
        write!(f, "the new build ready {:.1} s after its start", ready.as_secs_f64())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { clients, tenants, rolled, replaced, before, after, outcome } = self;
        writeln!(f, "clients, rooms                          {clients}, {tenants}")?;
        writeln!(f, "the roll                                {:.1} s", rolled.as_secs_f64())?;
        writeln!(f, "events acknowledged                     {} of {}", outcome.acked(), outcome.sent())?;
        writeln!(f, "of these lost, doubled, out of order    0, 0, 0")?;
        writeln!(f, "answered `queued` first                 {}", outcome.queued)?;
        let (peak, second) = outcome.peak();
        writeln!(f, "reconnects                              {}", outcome.absences.len())?;
        writeln!(f, "reconnects in one second, at most       {peak}, in second {second} of the roll")?;
        writeln!(f, "attempts to come back that failed       {}", outcome.failed)?;
        let [half, most, longest] = [50, 99, 100].map(|hundredth| outcome.absent(hundredth));
        writeln!(f, "a client's absence: p50, p99, longest   {half:.1} s, {most:.1} s, {longest:.1} s")?;
        writeln!(f, "publish to delivery: p50, p99, longest, deliveries")?;
        for (latencies, phase) in outcome.latencies.iter().zip(["before", "during", "after"]) {
            for (latencies, who) in latencies.iter().zip(["all", "neither side apart"]) {
                let [half, most] = [0.5, 0.99].map(|quantile| latencies.value_at_quantile(quantile) as f64 / 1e3);
                let (longest, count) = (latencies.max() as f64 / 1e3, latencies.len());
                writeln!(f, "  {phase:<7}{who:<20}{half:>9.1} ms{most:>10.1} ms{longest:>10.1} ms{count:>10}")?;
            }
        }
        writeln!(f, "memory of the nodes: old build before, when it went, at most; new build in the end, at most")?;
        for Replaced { name, memory, .. } in replaced {
            let index: usize = name.rsplit('-').next().and_then(|number| number.parse().ok()).unwrap_or_default();
            let mib = |bytes: u64| bytes >> 20;
            let Memory { now, most } = after[index];
            let old = [before[index].now, memory.now, memory.most].map(mib);
            writeln!(f, "  {name}  {} {} {} MiB; {} {} MiB", old[0], old[1], old[2], mib(now), mib(most))?;
        }
        write!(f, "{}", replaced.iter().map(|one| format!("{one}\n")).collect::<String>().trim_end())
    }
}
