//! Writers and readers on three nodes while nodes and servers die: everything acknowledged arrives once and in order.
//!
//! Owns: the course of a run and what it reports; [`History`] owns the promises. The same run serves as a test, small, and
//! as a drill, large.

use std::{
    collections::BTreeMap,
    fmt,
    net::SocketAddr,
    ops::Range,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio::{task::JoinSet, time::sleep};

use crate::{
    nats_support::NatsCluster,
    on,
    support::{
        Node, Port, Wire,
        history::{Promise, Reading, Recorder},
        new_id,
    },
};

const TENANT: &str = "storm";
/// The type of the last event, at which readers stop.
const LAST: &str = "last";
const NODES: usize = 3;
/// How long nothing may come: longer than any outage.
const PATIENCE: Duration = Duration::from_secs(120);
/// Pause before somebody who may not go on looks again.
const SOON: Duration = Duration::from_millis(5);
/// Pause before somebody who was refused or cut off tries again.
const AGAIN: Duration = Duration::from_millis(100);

/// How large a run is.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Events that all writers together publish.
    pub events: usize,
    /// Writers on each node.
    pub writers: usize,
    /// Events that a writer has under way.
    pub window: usize,
    /// How long NATS stands still, and how long it is gone.
    pub outage: Duration,
    /// Says what happens.
    pub tell: fn(&str),
}

/// What a run found.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Events acknowledged.
    pub acked: usize,
    /// Publishes that were answered `queued` first.
    pub queued: usize,
    /// Publishes sent again after a lost connection or a refusal.
    pub repeated: usize,
    /// From the killed leader's last acknowledgement to the first after it.
    pub election: Duration,
    /// From the first acknowledgement after the leader's death to the delivery of its event, at the slowest reader.
    pub delivered_after: Duration,
    /// The whole run.
    pub took: Duration,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { acked, queued, repeated, election, delivered_after, took } = self;
        writeln!(f, "acknowledged, delivered once and in order on {NODES} nodes   {acked}")?;
        writeln!(f, "answered `queued` first                                 {queued}")?;
        writeln!(f, "sent again                                              {repeated}")?;
        writeln!(f, "stream leader killed: no acknowledgement for            {} ms", election.as_millis())?;
        writeln!(f, "first acknowledged event delivered everywhere after     {} ms", delivered_after.as_millis())?;
        write!(f, "the whole run                                           {:.1} s", took.as_secs_f64())
    }
}

/// What writers, readers and the course of the run share.
#[derive(Clone)]
struct Storm {
    plan: Plan,
    recorder: Recorder,
    addresses: Vec<SocketAddr>,
    /// Events that may be made, and that were made.
    released: Arc<(AtomicUsize, AtomicUsize)>,
    log: Arc<Mutex<Log>>,
}

#[derive(Default)]
struct Log {
    acks: Vec<(Instant, u64)>,
    deliveries: Vec<BTreeMap<u64, Instant>>,
    queued: usize,
    repeated: usize,
}

impl Storm {
    fn log<T>(&self, act: impl FnOnce(&mut Log) -> T) -> T {
        act(&mut self.log.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Lets the writers go on, and waits until some of what is new is under way.
    async fn release(&self, count: usize) {
        let before = self.recorder.with(|history| history.sent_count());
        self.released.0.store(count, SeqCst);
        while self.recorder.with(|history| history.sent_count()) <= before {
            sleep(SOON).await;
        }
    }

    /// Whether one more event may be made; then it counts as made.
    fn may_make(&self) -> bool {
        let (released, made) = &*self.released;
        made.fetch_update(SeqCst, SeqCst, |made| (made < released.load(SeqCst)).then_some(made + 1)).is_ok()
    }

    async fn until_acked(&self, count: usize) {
        self.until(count, "acknowledged", || self.recorder.with(|history| history.acked_count())).await;
    }

    /// Waits until the slowest reader, who may have been cut off, has so many.
    async fn until_read(&self, count: usize) {
        let slowest = || self.log(|log| log.deliveries.iter().map(BTreeMap::len).min());
        self.until(count, "read by all", || slowest().unwrap_or_default()).await;
    }

    async fn until(&self, count: usize, what: &str, now: impl Fn() -> usize) {
        let mut before = (0, Instant::now());
        loop {
            let reached = now();
            if reached >= count {
                return;
            }
            if reached > before.0 {
                before = (reached, Instant::now());
            }
            assert!(before.1.elapsed() < self.plan.outage + PATIENCE, "no progress: {reached} events are {what}");
            sleep(AGAIN).await;
        }
    }
}

/// Runs it and verifies it.
pub async fn run(plan: Plan) -> Report {
    let began = Instant::now();
    let cluster = NatsCluster::start().await;
    let urls = cluster.urls();
    let settings = [
        ("nats.replicas", "3"),
        ("heartbeat.interval", "5s"),
        ("heartbeat.timeout", "60s"),
        ("limits.publishes_in_flight", "4096"),
        ("limits.control_per_minute", "1000000"),
    ];
    let mut nodes = Vec::new();
    for _ in 0..NODES {
        nodes.push(Node::start(&on(&urls, &settings)).await);
    }
    let addresses = nodes.iter().map(Node::address).collect();
    let log = Log { deliveries: vec![BTreeMap::new(); NODES], ..Log::default() };
    let (recorder, released, log) = (Recorder::default(), Arc::default(), Arc::new(Mutex::new(log)));
    let storm = Storm { plan, recorder, addresses, released, log };
    let mut readers = JoinSet::new();
    (0..NODES).for_each(|node| drop(readers.spawn(read(storm.clone(), node))));
    let mut writers = JoinSet::new();
    let count = NODES * plan.writers;
    for index in 0..count {
        let share = plan.events / count + usize::from(index < plan.events % count);
        writers.spawn(write(storm.clone(), index, share));
    }
    let without_leader = course(&storm, &cluster, &mut nodes).await;
    while let Some(written) = writers.join_next().await {
        written.expect("a writer ends well");
    }
    (plan.tell)("all writers are done");
    finish(&storm).await;
    while let Some(reading) = readers.join_next().await {
        let reading = reading.expect("a reader ends well");
        storm.recorder.with(|history| history.read(reading));
    }
    for node in &nodes {
        let fresh = read_from_the_beginning(node).await;
        assert_eq!(fresh.distinct(), plan.events + 1, "nothing more and nothing less than was sent");
        storm.recorder.with(|history| history.read(fresh));
    }
    storm.recorder.with(|history| history.verify());
    let (acked, sent) = storm.recorder.with(|history| (history.acked_count(), history.sent_count()));
    assert_eq!((acked, sent), (plan.events + 1, plan.events + 1));
    let mut report = storm.log(|log| failover(log, &without_leader));
    (report.acked, report.took) = (acked, began.elapsed());
    assert!(report.queued > 0, "no outage met a publish");
    assert!(report.repeated > 0, "no kill met a publish under way");
    report
}

/// The faults, each when so much of the load is done. Returns the time from the death of the stream's leader until what was
/// published then was acknowledged.
async fn course(storm: &Storm, cluster: &NatsCluster, nodes: &mut [Node]) -> Range<Instant> {
    let Plan { events, outage, tell, .. } = storm.plan;
    let part = |tenths: usize| events * tenths / 10;
    storm.release(part(1)).await;
    storm.until_acked(part(1)).await;
    tell("kill -9 of a node");
    storm.release(part(3)).await;
    nodes[0].kill9().await;
    storm.until_acked(part(2)).await;
    nodes[0].restart(Port::Same).await;
    // Who was cut off by this is back before the next: what comes then is the leader's doing alone.
    storm.until_read(part(3)).await;
    let leader = cluster.leader_of("SYNC_LOG_0").await;
    tell("kill -9 of the stream's leader");
    storm.release(part(5)).await;
    let leader_died = Instant::now();
    cluster.kill(leader).await;
    storm.until_acked(part(5)).await;
    let without_leader = leader_died..Instant::now();
    storm.release(part(6)).await;
    cluster.start_again(leader).await;
    cluster.wait_healthy().await;
    storm.until_read(part(6)).await;
    tell("all NATS servers stand still");
    for server in 0..3 {
        cluster.pause(server).await;
    }
    storm.release(part(7)).await;
    sleep(outage).await;
    (0..3).for_each(|server| cluster.resume(server));
    storm.until_acked(part(7)).await;
    tell("all NATS servers are stopped, and a node is killed meanwhile");
    for server in 0..3 {
        cluster.stop(server).await;
    }
    storm.release(part(8)).await;
    sleep(outage / 2).await;
    nodes[1].kill9().await;
    sleep(outage / 2).await;
    cluster.start_all_again().await;
    nodes[1].restart(Port::Same).await;
    storm.until_acked(part(8)).await;
    tell("SIGSTOP of a node");
    storm.release(events).await;
    nodes[2].pause();
    sleep(outage / 2).await;
    nodes[2].resume();
    without_leader
}

/// Publishes the last event; readers stop when they have it.
async fn finish(storm: &Storm) {
    let last = new_id();
    storm.recorder.sent(&last);
    let mut wire = connect(storm.addresses[0], "finisher", "since=latest").await;
    wire.send(&json!({"event_type": LAST, "event_id": last})).await.expect("nothing fails any more");
    loop {
        let message = wire.next().await.expect("nothing fails any more");
        if ["ack", "stored"].iter().any(|answer| message["event_type"] == *answer) {
            storm.recorder.acked(&last, message["data"]["seq"].as_u64().expect("a position"));
            return;
        }
    }
}

async fn connect(address: SocketAddr, instance: &str, query: &str) -> Wire {
    loop {
        let query = format!("tenant_id={TENANT}&instance_id={instance}&{query}");
        if let Some(wire) = Wire::connect(address, &query).await {
            return wire;
        }
        sleep(AGAIN).await;
    }
}

/// What a writer has under way: ids, and whether they have to be sent (again).
#[derive(Default)]
struct Desk {
    under_way: BTreeMap<String, bool>,
    order: Vec<String>,
    made: usize,
}

async fn write(storm: Storm, index: usize, share: usize) {
    let name = format!("writer-{index}");
    let mut desk = Desk::default();
    let mut at = index % NODES;
    while desk.made < share || !desk.under_way.is_empty() {
        let query = format!("tenant_id={TENANT}&instance_id={name}&since=latest&types=none");
        let Some(wire) = Wire::connect(storm.addresses[at], &query).await else {
            // This node is down: the next one has the same room.
            at = (at + 1) % NODES;
            sleep(AGAIN).await;
            continue;
        };
        for waits in desk.under_way.values_mut() {
            *waits = true;
        }
        storm.log(|log| log.repeated += desk.under_way.len());
        write_through(&storm, wire, &mut desk, share).await;
    }
}

/// Writes until everything is acknowledged or the connection ends.
async fn write_through(storm: &Storm, mut wire: Wire, desk: &mut Desk, share: usize) {
    loop {
        while desk.under_way.len() < storm.plan.window && desk.made < share && storm.may_make() {
            let id = new_id();
            desk.made += 1;
            desk.order.push(id.clone());
            desk.under_way.insert(id, true);
        }
        desk.order.retain(|id| desk.under_way.contains_key(id));
        let due: Vec<_> = desk.order.iter().filter(|id| desk.under_way[*id]).cloned().collect();
        for id in due {
            storm.recorder.sent(&id);
            if wire.send(&json!({"event_type": "note", "event_id": id, "data": {"of": 1}})).await.is_none() {
                return;
            }
            desk.under_way.insert(id, false);
        }
        if desk.under_way.is_empty() {
            if desk.made == share {
                return;
            }
            sleep(SOON).await;
            continue;
        }
        let Some(message) = wire.next_in(PATIENCE).await else { return };
        let data = &message["data"];
        let Some(id) = data["event_id"].as_str().filter(|id| desk.under_way.contains_key(*id)) else { continue };
        match message["event_type"].as_str() {
            Some("ack" | "stored") => {
                let seq = data["seq"].as_u64().expect("a position");
                storm.recorder.acked(id, seq);
                storm.log(|log| log.acks.push((Instant::now(), seq)));
                desk.under_way.remove(id);
            }
            Some("queued") => storm.log(|log| log.queued += 1),
            Some("error") => {
                let code = data["code"].as_str().expect("a code");
                let passes = ["busy", "unavailable", "unknown", "journal_full", "log_full", "draining"];
                assert!(passes.contains(&code), "{message}");
                desk.under_way.insert(id.to_owned(), true);
                storm.log(|log| log.repeated += 1);
                sleep(AGAIN).await;
            }
            _ => {}
        }
    }
}

/// Reads at one node, going on by its own cursor.
async fn read(storm: Storm, node: usize) -> Reading {
    let name = format!("reader-{node}");
    let mut reading = Reading::new(name.clone(), Promise::ExactlyOnce);
    let mut since = "earliest".to_owned();
    loop {
        let mut wire = connect(storm.addresses[node], &name, &format!("since={since}")).await;
        // Whoever comes while the log is away is greeted when it is back.
        let Some(ready) = wire.next_in(PATIENCE).await else { continue };
        assert_eq!(ready["event_type"], "session_ready", "{ready}");
        assert_eq!(ready["data"]["resume"]["outcome"], "honoured", "{ready}");
        reading.begin(ready["data"]["resume"]["after"].as_u64().expect("a position"));
        let epoch = ready["data"]["epoch"].as_str().expect("an epoch").to_owned();
        while let Some(message) = wire.next_in(PATIENCE).await {
            let Some(seq) = message.get("seq").and_then(Value::as_u64) else { continue };
            reading.take(&message);
            storm.log(|log| log.deliveries[node].insert(seq, Instant::now()));
            since = format!("{epoch}.{seq}");
            if message["event_type"] == LAST {
                return reading;
            }
        }
    }
}

async fn read_from_the_beginning(node: &Node) -> Reading {
    let mut reading = Reading::new(format!("fresh at {}", node.address()), Promise::ExactlyOnce);
    let mut wire = connect(node.address(), "fresh", "since=earliest").await;
    reading.begin(0);
    loop {
        let message = wire.next().await.expect("nothing fails any more");
        if message.get("seq").is_some() {
            reading.take(&message);
        }
        if message["event_type"] == "caught_up" {
            return reading;
        }
    }
}

/// How long a dead leader was felt.
fn failover(log: &mut Log, without_leader: &Range<Instant>) -> Report {
    let Log { acks, deliveries, queued, repeated } = log;
    let mut report = Report { queued: *queued, repeated: *repeated, ..Report::default() };
    acks.sort_unstable();
    let first = acks.partition_point(|(at, _)| *at < without_leader.start).max(1);
    let after = acks.partition_point(|(at, _)| *at < without_leader.end);
    let gap = acks[first - 1..after].windows(2).max_by_key(|pair| pair[1].0.duration_since(pair[0].0));
    if let Some([(last, _), (first, seq)]) = gap {
        report.election = first.duration_since(*last);
        let delivered = deliveries.iter().filter_map(|reader| Some(reader.range(seq..).next()?.1));
        report.delivered_after = delivered.map(|at| at.saturating_duration_since(*first)).max().unwrap_or_default();
    }
    report
}
