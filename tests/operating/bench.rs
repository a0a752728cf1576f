//! The benches that need NATS, in small form: they end well, with nothing lost, doubled or out of order, and leave nothing.

use std::{path::Path, process::Command};

use serde_json::Value;

use crate::{
    continuum, ended,
    nats_support::{Admin, NatsServer},
    roomy,
    support::Node,
};

/// A node as it is started for measuring.
async fn node(server: &NatsServer) -> Node {
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/bench.toml");
    let with_config = |mut command: Command| {
        command.arg("--config").arg(config);
        command
    };
    // Over the file: what the other tests set as well, and the log line that says where the node listens.
    let url = server.url();
    let settings = [
        ("limits.messages_per_minute", "6000000"),
        ("logging.level", "info"),
        ("backbone.kind", "nats"),
        ("nats.urls", &url),
    ];
    Node::start_through(with_config, &settings).await
}

/// Runs a bench to its good end; returns its report.
async fn bench(flags: &[&str]) -> Value {
    let mut command = continuum(&["bench"]);
    command.args(flags).args(["--json", "--timeout", "20s"]);
    let output = ended(command).await;
    let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    assert_eq!((output.status.code(), &report["passed"]), (Some(0), &Value::Bool(true)), "{report}");
    report
}

fn figure(figures: &Value, key: &str) -> f64 {
    figures[key].as_f64().unwrap_or_else(|| panic!("no {key} in {figures}"))
}

fn at(node: &Node) -> String {
    format!("ws://{}", node.address())
}

#[tokio::test]
async fn what_is_published_on_one_node_comes_once_and_in_order_to_all_readers_of_both() {
    let server = NatsServer::start_with(roomy()).await;
    let (a, b) = (node(&server).await, node(&server).await);
    let (near, far) = (at(&a), at(&b));
    let load = ["--rate", "400", "--seconds", "1", "--readers", "3", "--writers", "2"];
    let report = bench(&[&["relay", "--url", &near, "--url", &far][..], &load].concat()).await;
    let figures = &report["node"];
    assert_eq!(figure(figures, "delivered"), 2_400.0);
    for (key, count) in [("lost", 0.0), ("doubled", 0.0), ("orders", 1.0), ("rate", 400.0)] {
        assert_eq!(figure(figures, key), count, "{key} in {report}");
    }
    assert!(figure(figures, "relay_p99_ms") >= figure(figures, "relay_p50_ms"));
    assert_eq!(b.metric("continuum_delivered_total").await, 1_200.0, "the other node counts as the bench does");

    // Without a rate, half of the greatest one.
    let report = bench(&["relay", "--url", &near, "--url", &far, "--seconds", "1", "--in-flight", "8"]).await;
    let (greatest, rate) = (figure(&report["node"], "greatest_rate"), figure(&report["node"], "rate"));
    assert!(greatest > 0.0 && (rate - greatest / 2.0).abs() < 1.0, "{report}");
}

#[tokio::test]
async fn a_relay_needs_two_nodes() {
    let output = ended(continuum(&["bench", "relay", "--url", "ws://127.0.0.1:9"])).await;
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && said.contains("give --url twice"), "{said}");
}

#[tokio::test]
async fn publishing_is_held_against_a_bare_client_and_its_streams_are_gone_after_it() {
    let server = NatsServer::start_with(roomy()).await;
    let node = node(&server).await;
    let (url, nats) = (at(&node), server.url());
    let flags = ["publish", "--url", &url, "--nats", &nats, "--events", "3000", "--in-flight", "64", "--rounds", "2"];
    let report = bench(&flags).await;
    for client in ["node", "raw", "raw_that_reads"] {
        assert_eq!(figure(&report[client], "acknowledged"), 3_000.0);
        assert!(figure(&report[client], "acks_per_second") > 0.0);
        // Found by its port; it may have worked for less than the system counts.
        assert!(figure(&report[client], "nats_cpu_per_100k") >= 0.0);
        assert!(figure(&report[client], "bench_cpu_per_100k") > 0.0);
    }
    assert!(figure(&report["node"], "node_cpu_per_100k") > 0.0);
    assert_eq!(report["raw"]["node_cpu_per_100k"], Value::Null, "the node has no part in it");
    assert!(figure(&report["ratio_to_raw"], "acks_per_second") > 0.0);
    let flags = ["publish", "--url", &url, "--nats", &nats, "--events", "600", "--rate", "2000"];
    let report = bench(&flags).await;
    for client in ["node", "raw", "raw_that_reads"] {
        assert_eq!(figure(&report[client], "acknowledged"), 600.0);
        // The last goes when it is due and not before; a little more for what a clock counts.
        assert!(figure(&report[client], "acks_per_second") < 2_010.0, "{report}");
    }
    let admin = Admin::connect(&server.url()).await;
    assert_eq!(admin.account_info().await["streams"], 3, "those of the node");
    assert_eq!(node.metric("continuum_published_total{outcome=\"stored\"}").await, 6_600.0);
}

#[tokio::test]
async fn another_machine_is_refused_unless_it_is_meant() {
    let flags = ["bench", "publish", "--url", "ws://127.0.0.1:9", "--nats", "nats://user:secret@192.0.2.1:4222"];
    let output = ended(continuum(&flags)).await;
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("--remote") && !said.contains("secret"), "{said}");
}
