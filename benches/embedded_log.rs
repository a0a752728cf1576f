//! Figures for `docs/embedded-log.md`: the embedded log alone, without sockets or rooms. `cargo bench --bench embedded_log`.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use continuum::{
    backbone::{
        Append, Backbone, Expect, ReadBudget, Reply, Subject,
        embedded::{EmbeddedConfig, EmbeddedLog},
    },
    model::{DedupeId, Position, TenantId},
};
use tokio::sync::mpsc;

fn config(dir: &Path) -> EmbeddedConfig {
    EmbeddedConfig {
        data_dir: dir.into(),
        retention_age: None,
        retention_bytes: None,
        sweep_interval: Duration::from_secs(3_600),
        commit_records: 1_024,
        commit_bytes: 4 << 20,
        queue_appends: 8_192,
        feed_bytes: 8 << 20,
    }
}

fn tenants() -> Vec<TenantId> {
    (0..64).map(|n| format!("tenant-{n}").parse().expect("a tenant id")).collect()
}

fn event(tenant: &TenantId) -> Append {
    let subject = Subject::Event("memory.created".parse().expect("a type"));
    let dedupe = DedupeId(uuid::Uuid::new_v4());
    Append {
        tenant: tenant.clone(),
        subject,
        dedupe,
        expect: Expect::Anything,
        first_tried: None,
        body: vec![7; 256].into(),
    }
}

async fn count(log: &EmbeddedLog, tenant: &TenantId) -> usize {
    let (mut after, mut total) = (Position::START, 0);
    loop {
        let page = log.read(tenant, after, ReadBudget { records: 1_000, bytes: 1 << 20 }).await.expect("read");
        total += page.records.len();
        match page.records.last() {
            Some(last) if page.more => after = last.position,
            _ => return total,
        }
    }
}

/// CPU time of all threads of this process, seconds.
fn cpu() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").expect("Linux");
    let fields: Vec<_> = stat.rsplit(')').next().expect("a name").split_whitespace().map(str::to_owned).collect();
    (fields[11].parse::<f64>().expect("utime") + fields[12].parse::<f64>().expect("stime")) / 100.0
}

/// Appends with so many under way; latencies sorted.
async fn run(log: &EmbeddedLog, tenants: &[TenantId], window: usize, records: usize) -> Vec<Duration> {
    let (to, mut from) = mpsc::channel(window);
    let mut sent = Vec::with_capacity(records);
    let mut latencies = Vec::with_capacity(records);
    let send = |sent: &mut Vec<Instant>| {
        let token = u64::try_from(sent.len()).expect("fits");
        let append = event(&tenants[sent.len() % tenants.len()]);
        sent.push(Instant::now());
        log.append(append, Reply { token, to: to.clone(), keeper: None });
    };
    (0..window).for_each(|_| send(&mut sent));
    while latencies.len() < records {
        let (token, answer) = from.recv().await.expect("answered");
        answer.expect("appended");
        latencies.push(sent[usize::try_from(token).expect("fits")].elapsed());
        if sent.len() < records {
            send(&mut sent);
        }
    }
    latencies.sort();
    latencies
}

async fn appends_and_reads() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let tenants = tenants();
    let log = EmbeddedLog::open(config(dir.path())).expect("opens");
    for (window, records) in [(1, 5_000), (32, 50_000), (256, 200_000), (1_024, 500_000)] {
        let (begin, cpu_before, before) = (Instant::now(), cpu(), log.stats());
        let latencies = run(&log, &tenants, window, records).await;
        let (took, after) = (begin.elapsed().as_secs_f64(), log.stats());
        println!(
            "{window} under way: {:.0} appends/s, p50 {:.2} ms, p99 {:.2} ms, {:.0} records a commit, {:.1} CPU s per million",
            records as f64 / took,
            latencies[records / 2].as_secs_f64() * 1e3,
            latencies[records * 99 / 100].as_secs_f64() * 1e3,
            records as f64 / (after.commits - before.commits) as f64,
            (cpu() - cpu_before) / records as f64 * 1e6,
        );
    }
    println!("on disk {:.0} bytes a record", log.stats().disk_bytes as f64 / log.stats().records as f64);
    // The store still merges files at first.
    for _ in 0..4 {
        let cpu_before = cpu();
        tokio::time::sleep(Duration::from_secs(5)).await;
        println!("idle: {:.4} of a core", (cpu() - cpu_before) / 5.0);
    }
    log.close().await;
    let begin = Instant::now();
    let log = EmbeddedLog::open(config(dir.path())).expect("opens");
    println!("opened again in {:?}", begin.elapsed());
    let begin = Instant::now();
    let read = count(&log, &tenants[0]).await;
    println!("read {:.0} records/s", read as f64 / begin.elapsed().as_secs_f64());
    let begin = Instant::now();
    for _ in 0..1_000 {
        log.extent(&tenants[1]).await.expect("extent");
    }
    println!("one small read after the other: {:?} each", begin.elapsed() / 1_000);
}

/// How much disk a log takes that has long been trimmed by size.
async fn retention() {
    const HELD: u64 = 100 << 20;
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let tenants = tenants();
    let retention =
        EmbeddedConfig { retention_bytes: Some(HELD), sweep_interval: Duration::from_secs(1), ..config(dir.path()) };
    let log = EmbeddedLog::open(retention).expect("opens");
    for _ in 0..10 {
        let begin = Instant::now();
        let latencies = run(&log, &tenants, 256, 200_000).await;
        log.sweep_now().await.expect("swept");
        println!(
            "{:.0} appends/s and trimmed, slowest {:.0} ms, held {} MB, on disk {} MB",
            200_000.0 / begin.elapsed().as_secs_f64(),
            latencies[latencies.len() - 1].as_secs_f64() * 1e3,
            log.stats().held_bytes / 1_000_000,
            log.stats().disk_bytes / 1_000_000,
        );
    }
}

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        appends_and_reads().await;
        retention().await;
    });
}
