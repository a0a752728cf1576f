//! Operations on entities, by turns with plain publishes of the same number and size over the same connections: what does
//! shared state cost beside a log of events? With one entity for all, and several nodes: what does contention cost?

use serde_json::json;
use tokio::time::Instant;

use super::{
    args::OperationsArgs,
    crowd::histogram,
    metrics,
    publisher::{Order, Pace, Shape},
    publishers::Publishers,
    report::{Beside, Figures, Report},
    target::Target,
};

/// One kind of run.
struct Load {
    targets: Vec<Target>,
    connections: usize,
    window: usize,
    events: u64,
    size: usize,
    shape: Shape,
    deadline: Instant,
}

/// Runs both by turns.
pub async fn compared(args: &OperationsArgs) -> anyhow::Result<Report> {
    let OperationsArgs { urls, common, entities, connections, in_flight, events, size, rounds } = args;
    let parameters = json!({
        "nodes": urls.len(), "entities": entities, "connections": connections, "in_flight": in_flight,
        "events": events, "size": size, "rounds": rounds,
    });
    let mut figures: [Vec<Figures>; 2] = Default::default();
    for _ in 0..*rounds {
        for (at, shape) in [(0, Shape::Operation { entities: *entities }), (1, Shape::Publish)] {
            // A room of its own each time: nobody is to find the entities of the run before.
            let tenant = common.tenant()?;
            let targets = urls.iter().map(|url| Target::new(url.clone(), tenant.clone(), common.reach()));
            let load = Load {
                targets: targets.collect::<Result<_, _>>()?,
                connections: *connections,
                window: *in_flight,
                events: *events,
                size: *size,
                shape,
                deadline: common.deadline(),
            };
            figures[at].push(load.run().await?);
        }
    }
    let [operations, publishes] = figures.map(Figures::median);
    let beside = vec![Beside { name: "publishes", key: "publishes", ratio: "ratio_to_publishes", figures: publishes }];
    Ok(Report { run: "operations", parameters, node: operations, beside })
}

impl Load {
    async fn run(&self) -> anyhow::Result<Figures> {
        let publishers = self.targets.len() * self.connections;
        let mut orders = Vec::new();
        for publisher in 0..publishers {
            orders.push(Order {
                target: self.targets[publisher % self.targets.len()].clone(),
                publisher,
                events: self.events / publishers as u64,
                size: self.size,
                pace: Pace::Window(self.window, None),
                shape: self.shape,
                deadline: self.deadline,
            });
        }
        let publishers = Publishers::connect(orders).await?;
        let before = self.cpu().await;
        let began = Instant::now();
        let published = publishers.run().await?;
        let seconds = began.elapsed().as_secs_f64();
        let cpu = before.zip(self.cpu().await).map(|(before, after)| after - before);
        let mut latency = histogram();
        for publisher in &published {
            latency.add(&publisher.latency)?;
        }
        let done = published.iter().map(|p| p.acknowledged).sum::<u64>() as f64;
        let refused = published.iter().map(|p| p.refused).sum::<u64>();
        let mut figures = Figures::default();
        figures.add("answers_per_second", "answers a second", done / seconds);
        figures.add("answer_p50_ms", "answer p50, ms", latency.value_at_quantile(0.5) as f64 / 1e6);
        figures.add("answer_p99_ms", "answer p99, ms", latency.value_at_quantile(0.99) as f64 / 1e6);
        let million = cpu.map(|cpu| cpu * 1e6 / done);
        figures.add_if_known("cpu_seconds_per_million", "server CPU s per million", million);
        figures.add("answered", "answered", done);
        figures.add("refused", "refused or not done", refused as f64);
        if let Some(why) = published.iter().find_map(|p| p.refusal.as_ref()) {
            figures.problems.push(format!("{refused} were refused; the first: {why}"));
        }
        Ok(figures)
    }

    /// Processor seconds of all nodes.
    async fn cpu(&self) -> Option<f64> {
        let mut seconds = 0.0;
        for target in &self.targets {
            seconds += metrics::usage(target.address).await?.cpu_seconds;
        }
        Some(seconds)
    }
}
