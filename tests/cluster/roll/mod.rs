//! A rolling update under load: nodes are replaced one after the other, as the manifests' stateful set does it.
//!
//! Owns: the course of a run and when it has failed. [`pod`] is one node as a pod, [`service`] sends clients to those that are
//! ready, [`crowd`] is the clients, [`report`] what is said in the end. The promises are [`History`](crate::support::history)'s.

mod crowd;
mod pod;
mod report;
mod service;

use std::{path::PathBuf, time::Duration};

use serde::Deserialize;
use tokio::time::{Instant, sleep, timeout};

use crate::nats_support::{NatsCluster, NatsConfig};
use crowd::Crowd;
use pod::Pod;
pub use report::Report;
use report::{Memory, Replaced};
use service::Service;

/// How long the last events may take to reach everybody.
const SETTLED: Duration = Duration::from_secs(60);
/// How much of preStop passes until the endpoint is gone everywhere: the reason why there is a preStop.
const ENDPOINT_LAG: u32 = 5;

/// What the manifests say of a node's life; `k8s/checks/rolling.py` prints it.
#[derive(Clone, Debug, Deserialize)]
pub struct Numbers {
    /// How many there are at least.
    pub nodes: usize,
    /// Between the deletion of a pod and SIGTERM.
    #[serde(with = "humantime_serde")]
    pub pre_stop: Duration,
    /// Between its deletion and SIGKILL.
    #[serde(with = "humantime_serde")]
    pub grace: Duration,
    /// How long one has to be ready before the next one goes.
    #[serde(with = "humantime_serde")]
    pub min_ready: Duration,
    /// Until it has started.
    pub startup: Probe,
    /// Whether clients come to it.
    pub readiness: Probe,
}

/// One probe.
#[derive(Clone, Debug, Deserialize)]
pub struct Probe {
    /// What is asked for.
    pub path: String,
    /// How often.
    #[serde(with = "humantime_serde")]
    pub period: Duration,
    /// How long an answer may take.
    #[serde(with = "humantime_serde")]
    pub timeout: Duration,
    /// After how many failures in a row it has failed.
    pub failures: u32,
}

/// A run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The manifests' numbers.
    pub numbers: Numbers,
    /// The nodes' file of settings and their `CONTINUUM_ENV`, if there are any.
    pub config: Option<(String, String)>,
    /// Settings beside them.
    pub settings: Vec<(&'static str, String)>,
    /// The build that goes.
    pub old: PathBuf,
    /// The build that comes.
    pub new: PathBuf,
    /// Clients in all.
    pub clients: usize,
    /// Rooms that they are spread over evenly.
    pub tenants: usize,
    /// How many of them publish, in each room.
    pub publishers: usize,
    /// Between two events of a publisher.
    pub pace: Duration,
    /// How long nothing is replaced, before and after.
    pub calm: Duration,
    /// Says what happens.
    pub tell: fn(&str),
}

/// Runs it and verifies it.
pub async fn run(plan: Plan) -> Report {
    let config = NatsConfig::new().sync_always().max_store("4GB");
    let cluster = NatsCluster::start_with(config).await;
    let service = Service::start().await;
    let mut pods = Vec::new();
    for index in 0..plan.numbers.nodes {
        let mut pod = Pod::new(index, &plan, &cluster.urls());
        pod.start(&plan.old).await;
        service.begin(index, pod.address(), &plan.numbers);
        pods.push(pod);
    }
    for index in 0..pods.len() {
        service.until_ready(index).await;
    }
    (plan.tell)(&format!("{} nodes of the old build are ready", pods.len()));
    let crowd = Crowd::gather(&plan, service.address()).await;
    (plan.tell)(&format!("{} clients are in {} rooms", plan.clients, plan.tenants));
    sleep(plan.calm).await;
    let before: Vec<Memory> = pods.iter().map(Pod::memory).collect();
    crowd.roll_begins();
    let began = Instant::now();
    let mut replaced = Vec::new();
    // As a stateful set does it: from the last one down.
    for index in (0..pods.len()).rev() {
        replaced.push(replace(&plan, &service, &mut pods[index]).await);
        (plan.tell)(&replaced.last().expect("one was replaced").to_string());
    }
    let rolled = began.elapsed();
    crowd.roll_ends();
    sleep(plan.calm).await;
    let after = pods.iter().map(Pod::memory).collect();
    let outcome = crowd.finish(SETTLED).await;
    outcome.verify();
    for pod in &mut pods {
        assert!(pod.is_running(), "{} does not run in the end", pod.name());
    }
    Report { clients: plan.clients, tenants: plan.tenants, rolled, replaced, before, after, outcome }
}

/// One pod goes and comes back as the new build; the next one may go when this returns.
async fn replace(plan: &Plan, service: &Service, pod: &mut Pod) -> Replaced {
    let Numbers { pre_stop, grace, min_ready, .. } = plan.numbers;
    let deleted = Instant::now();
    let memory = pod.memory();
    let lag = pre_stop / ENDPOINT_LAG;
    sleep(lag).await;
    service.remove(pod.index());
    sleep(pre_stop.saturating_sub(lag)).await;
    let asked = Instant::now();
    pod.ask_to_stop();
    let left = grace.saturating_sub(deleted.elapsed());
    let status = timeout(left, pod.ended()).await;
    let stopped = asked.elapsed();
    let status = status.unwrap_or_else(|_| panic!("{} outlived its grace period of {grace:?}", pod.name()));
    assert!(status.success(), "{} ended with {status}:\n{}", pod.name(), pod.last_words());
    let begun = Instant::now();
    pod.start(&plan.new).await;
    assert_eq!(pod.program(), plan.new.canonicalize().expect("the new build is there"), "{}", pod.name());
    service.begin(pod.index(), pod.address(), &plan.numbers);
    service.until_ready(pod.index()).await;
    let ready = begun.elapsed();
    // Ready all that time, or the stateful set would wait longer.
    timeout(min_ready, service.until_unready(pod.index())).await.expect_err("it stays ready");
    Replaced { name: pod.name(), stopped, ready, memory }
}
