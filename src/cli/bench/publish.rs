//! Durable publishes: connections in rooms of their own, each with a window of unacknowledged events.

use tokio::time::Instant;

use super::{
    crowd::histogram,
    metrics,
    publisher::{Order, Pace, Shape},
    publishers::Publishers,
    report::Figures,
    target::Target,
};

/// One run.
#[derive(Clone, Debug)]
pub struct Publish {
    /// Where to; its tenant is the stem of the rooms' names.
    pub target: Target,
    /// Connections.
    pub connections: usize,
    /// Unacknowledged events a connection.
    pub window: usize,
    /// Events, all connections together.
    pub events: u64,
    /// Bytes of `data`.
    pub size: usize,
    /// When the run is over, finished or not.
    pub deadline: Instant,
}

impl Publish {
    /// Runs and measures.
    pub async fn run(&self) -> anyhow::Result<Figures> {
        let mut orders = Vec::new();
        for publisher in 0..self.connections {
            orders.push(Order {
                // Rooms of their own: what one publishes is not delivered to the others.
                target: self.target.with_tenant(format!("{}-{publisher}", self.target.tenant).parse()?),
                publisher,
                events: self.events / self.connections as u64,
                size: self.size,
                pace: Pace::Window(self.window, None),
                shape: Shape::Publish,
                deadline: self.deadline,
            });
        }
        let publishers = Publishers::connect(orders).await?;
        let before = metrics::usage(self.target.address).await;
        let began = Instant::now();
        let published = publishers.run().await?;
        let seconds = began.elapsed().as_secs_f64();
        let after = metrics::usage(self.target.address).await;

        let mut figures = Figures::default();
        let mut latency = histogram();
        for publisher in &published {
            latency.add(&publisher.latency)?;
        }
        let acknowledged = published.iter().map(|p| p.acknowledged).sum::<u64>() as f64;
        let refused = published.iter().map(|p| p.refused).sum::<u64>();
        let cpu = before.zip(after).map(|(before, after)| after.cpu_seconds - before.cpu_seconds);
        figures.add("acks_per_second", "acks a second", acknowledged / seconds);
        figures.add("ack_p50_ms", "ack p50, ms", latency.value_at_quantile(0.5) as f64 / 1e6);
        figures.add("ack_p99_ms", "ack p99, ms", latency.value_at_quantile(0.99) as f64 / 1e6);
        figures.add("ack_max_ms", "ack max, ms", latency.max() as f64 / 1e6);
        figures.add_if_known(
            "cpu_seconds_per_million",
            "server CPU s per million publishes",
            cpu.map(|c| c * 1e6 / acknowledged),
        );
        figures.add("acknowledged", "acknowledged", acknowledged);
        figures.add("refused", "publishes refused", refused as f64);
        if let Some(why) = published.iter().find_map(|p| p.refusal.as_ref()) {
            figures.problems.push(format!("{refused} publishes were refused; the first: {why}"));
        }
        Ok(figures)
    }
}
