//! A quiet crowd: what it costs to be there.

use std::{sync::atomic::Ordering::SeqCst, time::Duration};

use tokio::time::{Instant, sleep};

use crate::client::Since;

use super::{
    crowd::{Crowd, Plan, Start},
    fanout::add_memory,
    metrics,
    progress::{Counts, Progress},
    report::Figures,
    target::Target,
};

/// Presence is summed up once a second; the crowd is not quiet before that.
const QUIET: Duration = Duration::from_secs(2);

/// One run.
#[derive(Clone, Debug)]
pub struct Idle {
    /// Where to.
    pub target: Target,
    /// How many are there.
    pub members: usize,
    /// Threads that carry them.
    pub threads: usize,
    /// How long they are quiet.
    pub lasts: Duration,
    /// When the run is over, finished or not.
    pub deadline: Instant,
}

impl Idle {
    /// Runs and measures.
    pub async fn run(&self) -> anyhow::Result<Figures> {
        let before = metrics::settled(self.target.address).await;
        let (target, members, threads) = (self.target.clone(), self.members, self.threads);
        let crowd = Crowd::start(&Plan { target, members, publishers: 0, threads, name: "bench".into() });
        let all = self.members as u64;
        crowd.join(Start::At(Since::Latest)).await?;
        {
            let _bar = Progress::of("joining", &crowd.tally, Counts::CaughtUp, all);
            crowd.tally.wait("joining", self.deadline, |tally| tally.caught_up.load(SeqCst) >= all).await?;
        }
        sleep(QUIET).await;
        let joined = metrics::settled(self.target.address).await;
        let (bytes, began) = (crowd.tally.bytes.load(SeqCst), Instant::now());
        sleep(self.lasts).await;
        let seconds = began.elapsed().as_secs_f64();
        let end = metrics::usage(self.target.address).await;
        let bytes = (crowd.tally.bytes.load(SeqCst) - bytes) as f64;

        let mut figures = Figures::default();
        let cpu = joined.zip(end).map(|(joined, end)| (end.cpu_seconds - joined.cpu_seconds) * 100.0 / seconds);
        figures.add_if_known("cpu_percent", "server CPU, % of a core", cpu);
        figures.add("bytes_per_second_each", "bytes a second and member", bytes / seconds / self.members as f64);
        add_memory(&mut figures, self.members, before, joined);
        figures.add_if_known("memory_mb", "server memory, MB", end.map(|end| end.resident_bytes / 1e6));
        figures.problems.extend(crowd.tally.failure());
        crowd.finish()?;
        Ok(figures)
    }
}
