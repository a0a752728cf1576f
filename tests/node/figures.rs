//! What a node measures and writes down for people: `/metrics`, the dashboard and the alerts that stand on it, and the line
//! of a slow delivery.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use serde_json::{Value, json};

use crate::{
    cluster_presence::on,
    nats_support::NatsServer,
    support::{Issuer, Node, RawClient, new_id, rules::Rules},
};

const DASHBOARD: &str = include_str!("../../k8s/observability/dashboard.json");
const ALERTS: &str = include_str!("../../k8s/observability/alerts.yaml");
const OPERATIONS: &str = include_str!("../../docs/operations.md");
/// What figures of ours are called.
const OURS: [&str; 3] = ["continuum_", "puomemo_", "process_"];

/// The names of figures in a text.
fn used(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    words.filter(|word| OURS.iter().any(|prefix| word.starts_with(prefix))).map(str::to_owned).collect()
}

/// The names under which a node gives figures.
async fn given(node: &Node) -> BTreeSet<String> {
    let text = node.get("/metrics").await.text();
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    samples.filter_map(|line| line.split(['{', ' ']).next()).map(str::to_owned).collect()
}

/// The alerts: each with its text.
fn alerts() -> BTreeMap<&'static str, &'static str> {
    let alerts = ALERTS.split("- alert: ").skip(1).map(|alert| alert.split_once('\n').expect("an alert has lines"));
    alerts.map(|(name, text)| (name.trim(), text)).collect()
}

/// The text behind a key of an alert.
fn field<'a>(alert: &'a str, key: &str) -> &'a str {
    let line = alert.lines().find_map(|line| line.trim().strip_prefix(key)?.strip_prefix(": "));
    line.unwrap_or_else(|| panic!("no {key} in {alert}")).trim_matches('\'')
}

#[tokio::test]
async fn every_figure_of_the_dashboard_and_the_alerts_is_given_by_a_node() {
    let server = NatsServer::start().await;
    let rules = Rules::refusing(&[]).await;
    let (issuer, hook) = (Issuer::new(), rules.url());
    let nodes = [
        Node::start(&[]).await,
        Node::start(&on(&server.url(), &[])).await,
        issuer.node(&[("auth.hook.url", hook.as_str())]).await,
    ];
    for node in &nodes[..2] {
        // A room, without which no shard is read, and an operation.
        let mut member = node.join("t", "i").await;
        member.publish("note", json!({})).await;
        let made = json!([{"op_id": "1", "instance_id": "i", "entity_type": "memory", "entity_id": "m", "action": "create", "data": {}}]);
        assert_eq!(node.post("/v1/tenants/t/operations", &made).await.json()["results"][0]["status"], 201);
        member.close().await;
    }
    let mut all = BTreeSet::new();
    for node in &nodes {
        all.append(&mut given(node).await);
    }
    let dashboard: Value = serde_json::from_str(DASHBOARD).expect("the dashboard is JSON");
    let panels = dashboard["panels"].as_array().expect("panels").iter();
    let expressions: Vec<_> = panels.flat_map(|panel| panel["targets"].as_array().into_iter().flatten()).collect();
    assert!(expressions.len() > 40, "the dashboard is read");
    let on_it: BTreeSet<_> =
        expressions.iter().flat_map(|target| used(target["expr"].as_str().expect("an expression"))).collect();
    let in_them: BTreeSet<_> = alerts().values().flat_map(|alert| used(field(alert, "expr"))).collect();
    assert!(in_them.len() > 10, "the alerts are read");
    // A limit that nobody ran into has no figure yet.
    let known = |name: &&String| all.contains(*name) || *name == "continuum_too_fast_total";
    let missing: Vec<_> = on_it.union(&in_them).filter(|name| !known(name)).collect();
    assert!(missing.is_empty(), "no node gives {missing:?}");
}

#[tokio::test]
async fn every_figure_that_the_operations_guide_names_is_given_by_a_node() {
    let server = NatsServer::start().await;
    let nodes = [Node::start(&[]).await, Node::start(&on(&server.url(), &[])).await];
    let mut all = BTreeSet::new();
    for node in &nodes {
        let _member = node.join("t", "i").await;
        all.append(&mut given(node).await);
    }
    // Only where traces are told.
    all.insert("continuum_spans_lost_total".into());
    let is_given = |name: &String| all.contains(name) || all.contains(&format!("{name}_count"));
    let missing: Vec<_> = used(OPERATIONS).into_iter().filter(|name| !is_given(name)).collect();
    assert!(missing.is_empty(), "no node gives {missing:?}");
}

#[test]
fn every_alert_says_what_is_wrong_and_has_its_run_book() {
    let alerts = alerts();
    let sections = OPERATIONS.split_once("\n## Run-books\n").expect("run-books").1.split("\n### ").skip(1);
    let sections: BTreeMap<_, _> =
        sections.map(|section| section.split_once('\n').expect("a section has lines")).collect();
    assert_eq!(alerts.keys().collect::<Vec<_>>(), sections.keys().collect::<Vec<_>>(), "alerts and run-books");
    for (name, alert) in &alerts {
        assert!(["critical", "warning"].contains(&field(alert, "severity")), "{name}");
        assert!(field(alert, "summary").len() > 10 && field(alert, "description").len() > 20, "{name}");
        assert_eq!(field(alert, "runbook"), format!("docs/operations.md#{}", name.to_ascii_lowercase()));
        assert!(sections[name].trim().len() > 100, "the run-book of {name} says what to do");
    }
}

#[tokio::test]
async fn figures_show_how_the_node_stands_towards_its_log_and_that_it_goes() {
    let server = NatsServer::start().await;
    let node = Node::start(&on(&server.url(), &[("drain.spread", "30s"), ("drain.timeout", "60s")])).await;
    let _member = node.join("t", "i").await;
    for (name, value) in [("ready", 1.0), ("draining", 0.0), ("log_serving", 1.0), ("nats_up", 1.0), ("deaf", 0.0)] {
        assert_eq!(node.metric(&format!("continuum_{name}")).await, value, "{name}");
    }
    assert!(node.metric("continuum_disk_free_bytes").await > 0.0);
    server.stop().await;
    node.until_metric("continuum_nats_up", |up| up == 0.0).await;
    node.until_metric("continuum_log_serving", |serving| serving == 0.0).await;
    assert_eq!(node.metric("continuum_ready").await, 1.0, "it queues");
    node.ask_to_stop();
    node.until_metric("continuum_draining", |draining| draining == 1.0).await;
    assert_eq!(node.metric("continuum_ready").await, 0.0);
}

/// What becomes of it when a member reads nothing for a while: the figures that show it, and the line that says it.
#[tokio::test]
async fn a_slow_delivery_is_written_down_with_the_ids_that_lead_on() {
    let settings = [
        ("limits.outbox_bytes", "65536"),
        ("server.send_buffer", "4096"),
        ("limits.stall_timeout", "60s"),
        ("telemetry.slow_delivery", "1ms"),
        ("logging.format", "json"),
    ];
    let began = Instant::now();
    let node = Node::start(&settings).await;
    let mut writer = node.join("t", "writer").await;
    let mut slow = RawClient::connect_narrow(&node, "tenant_id=t&instance_id=slow&since=latest").await;
    slow.expect("caught_up").await;
    let mut ids = Vec::new();
    while node.metric("continuum_deferred_total").await == 0.0 {
        ids.push(new_id());
        writer.publish_as(ids.last().expect("one"), "note", json!({"text": "x".repeat(20_000)})).await;
    }
    node.until_metric("continuum_slowest_lag_seconds", |seconds| seconds > 0.0).await;
    assert!(node.metric("continuum_slowest_outbox_bytes").await > 0.0);
    assert_eq!(node.metric("continuum_outboxes_waiting").await, 1.0);
    let session = node.get("/v1/admin/sessions?limit=1").await.json()["sessions"][0].take();
    slow.expect("lagging").await;
    slow.expect("caught_up").await;
    let line = node.logs("slow delivery to a session").await;
    let line: Value = serde_json::from_str(&line).expect("a line is one JSON object");
    assert_eq!((&line["level"], &line["message"]), (&json!("WARN"), &json!("slow delivery to a session")));
    assert_eq!((&line["tenant"], &line["session"]), (&json!("t"), &session["session_id"]));
    let (record, seq) = (line["record"].as_str().expect("an id"), line["seq"].as_str().expect("a position"));
    let at = ids.iter().position(|id| id == record).unwrap_or_else(|| panic!("{line}"));
    assert_eq!(seq, (at + 1).to_string());
    assert!(line["ms"].as_u64() > Some(1) && line["timestamp"].is_string(), "{line}");
    node.until_metric("continuum_outboxes_waiting", |waiting| waiting == 0.0).await;
    assert!(node.metric("continuum_slow_deliveries_total").await >= 1.0);
    assert!(node.metric("continuum_behind_seconds_count").await >= 1.0);
    assert!(node.metric("continuum_delivery_seconds_count").await >= ids.len() as f64);
    // A line a second of each kind, however many are late.
    let lines = node.log().iter().filter(|line| line.contains("slow delivery to")).count() as u64;
    assert!(lines <= 2 * (began.elapsed().as_secs() + 1), "{lines} lines");
}
