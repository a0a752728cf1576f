//! Coming back: a crowd that has missed much joins at once, or one that is cut off returns with its cursors.

use std::{sync::atomic::Ordering::SeqCst, time::Duration};

use tokio::time::{Instant, sleep};

use crate::client::Since;

use super::{
    crowd::{Crowd, Plan, Start},
    fanout::{add_memory, judge},
    metrics,
    progress::{Counts, Progress},
    publisher::{Order, Pace, Shape},
    publishers::Publishers,
    report::Figures,
    target::Target,
};

/// In flight while the history is made.
const WINDOW: usize = 128;
/// How long the storm's publisher runs on both sides of the cut.
const AROUND_THE_CUT: Duration = Duration::from_millis(500);

/// One run.
#[derive(Clone, Debug)]
pub struct Return {
    /// Where to.
    pub target: Target,
    /// How many come.
    pub members: usize,
    /// Threads that carry them.
    pub threads: usize,
    /// Events that they miss (resume), or that are published around the cut (storm).
    pub events: u64,
    /// Bytes of `data`.
    pub size: usize,
    /// When the run is over, finished or not.
    pub deadline: Instant,
}

impl Return {
    fn order(&self, pace: Pace) -> Order {
        Order {
            target: self.target.clone(),
            publisher: 0,
            events: self.events,
            size: self.size,
            pace,
            shape: Shape::Publish,
            deadline: self.deadline,
        }
    }

    fn crowd(&self) -> Crowd {
        let (target, members, threads) = (self.target.clone(), self.members, self.threads);
        Crowd::start(&Plan { target, members, publishers: 1, threads, name: "bench".into() })
    }

    async fn all_caught_up(&self, what: &'static str, crowd: &Crowd) -> anyhow::Result<()> {
        let all = self.members as u64;
        let _bar = Progress::of(what, &crowd.tally, Counts::CaughtUp, all);
        crowd.tally.wait(what, self.deadline, |tally| tally.caught_up.load(SeqCst) >= all).await
    }

    /// Publishes events, then lets everybody in at once from before the first of them.
    pub async fn resume(&self) -> anyhow::Result<Figures> {
        let before_them = self.target.now().await?;
        let published = Publishers::connect(vec![self.order(Pace::Window(WINDOW, None))]).await?.run().await?;
        let sent: Vec<u64> = published.iter().map(|published| published.sent).collect();
        let before = metrics::settled(self.target.address).await;
        let crowd = self.crowd();
        let began = Instant::now();
        crowd.join(Start::At(before_them)).await?;
        self.all_caught_up("resuming", &crowd).await?;
        let seconds = began.elapsed().as_secs_f64();
        let end = metrics::usage(self.target.address).await;
        let joined = metrics::settled(self.target.address).await;

        let mut figures = Figures::default();
        let (lost, doubled) = (crowd.tally.lost.load(SeqCst), crowd.tally.doubled.load(SeqCst));
        let delivered = (crowd.tally.accounted() - lost) as f64;
        let lost = lost + crowd.finish()?.missing(&sent);
        let cpu = before.zip(end).map(|(before, end)| end.cpu_seconds - before.cpu_seconds);
        figures.add("seconds", "until all have caught up, s", seconds);
        figures.add("events_per_second", "events a second", delivered / seconds);
        figures.add_if_known(
            "cpu_seconds_per_million",
            "server CPU s per million events",
            cpu.map(|c| c * 1e6 / delivered),
        );
        add_memory(&mut figures, self.members, before, joined);
        figures.add("delivered", "delivered", delivered);
        figures.add("lost", "lost", lost as f64);
        figures.add("doubled", "doubled", doubled as f64);
        judge(&mut figures, lost, doubled);
        Ok(figures)
    }

    /// Cuts everybody off at once while events are published; each returns with its own cursor.
    pub async fn storm(&self) -> anyhow::Result<Figures> {
        let empty = metrics::settled(self.target.address).await;
        let crowd = self.crowd();
        crowd.join(Start::At(Since::Latest)).await?;
        self.all_caught_up("joining", &crowd).await?;
        let before = metrics::settled(self.target.address).await;

        let spread = self.events as f64 / (4.0 * AROUND_THE_CUT.as_secs_f64());
        let publishers = Publishers::connect(vec![self.order(Pace::Rate(spread.max(1.0)))]).await?;
        let publishing = tokio::spawn(publishers.run());
        sleep(AROUND_THE_CUT).await;
        let cut = Instant::now();
        crowd.join(Start::WhereTheyWere).await?;
        self.all_caught_up("returning", &crowd).await?;
        let seconds = cut.elapsed().as_secs_f64();
        let published = publishing.await??;
        let sent: Vec<u64> = published.iter().map(|published| published.sent).collect();
        // What does not come counts as lost below.
        let _ = crowd.tally.tail(sent.iter().sum::<u64>() * self.members as u64, self.deadline).await;
        let after = metrics::settled(self.target.address).await;

        let mut figures = Figures::default();
        let (lost, doubled) = (crowd.tally.lost.load(SeqCst), crowd.tally.doubled.load(SeqCst));
        let delivered = crowd.tally.accounted() - lost;
        let failure = crowd.tally.failure();
        let lost = lost + crowd.finish()?.missing(&sent);
        let megabytes = |usage: Option<metrics::Usage>| usage.map(|usage| usage.resident_bytes / 1e6);
        figures.add("seconds", "until all have caught up, s", seconds);
        figures.add_if_known("memory_empty_mb", "server memory empty, MB", megabytes(empty));
        figures.add_if_known("memory_before_mb", "server memory before the cut, MB", megabytes(before));
        figures.add_if_known("memory_after_mb", "server memory after, MB", megabytes(after));
        figures.add("delivered", "delivered", delivered as f64);
        figures.add("lost", "lost", lost as f64);
        figures.add("doubled", "doubled", doubled as f64);
        judge(&mut figures, lost, doubled);
        figures.problems.extend(failure);
        Ok(figures)
    }
}
