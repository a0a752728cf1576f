//! `continuum bench` in small form against a real node: each run ends well, with nothing lost and nothing doubled.

use std::{path::Path, process::Command};

use serde_json::Value;

use crate::support::{Node, within};

/// A node as it is started for measuring.
async fn node() -> Node {
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/bench.toml");
    let with_config = |mut command: Command| {
        command.arg("--config").arg(config);
        command
    };
    // Over the file: what the other tests set as well, and the log line that says where the node listens.
    let settings = [("limits.messages_per_minute", "6000000"), ("logging.level", "info")];
    Node::start_through(with_config, &settings).await
}

/// Runs a bench to its end; returns its figures.
async fn bench(node: &Node, run: &str, flags: &[&str]) -> Value {
    let mut command = Command::new(env!("CARGO_BIN_EXE_continuum"));
    command.args(["bench", run, "--json", "--timeout", "20s", "--url"]).arg(format!("ws://{}", node.address()));
    command.args(flags).env_remove("CONTINUUM_URL");
    let ended = tokio::task::spawn_blocking(move || command.output().expect("the program runs"));
    let output = within("the bench ends", ended).await.expect("no panic");
    let report: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{run}: {error}: {output:?}"));
    assert_eq!(output.status.code(), Some(0), "{run}: {report}");
    assert_eq!((&report["passed"], &report["run"]), (&Value::Bool(true), &Value::from(run)), "{report}");
    for nothing in ["lost", "doubled"] {
        if let Some(count) = report["node"][nothing].as_f64() {
            assert_eq!(count, 0.0, "{nothing} in {report}");
        }
    }
    report["node"].clone()
}

fn figure(figures: &Value, key: &str) -> f64 {
    figures[key].as_f64().unwrap_or_else(|| panic!("no {key} in {figures}"))
}

#[tokio::test]
async fn fanout_delivers_every_event_to_every_member_once() {
    let node = node().await;
    let figures = bench(&node, "fanout", &["--members", "40", "--events", "100", "--in-flight", "8"]).await;
    assert_eq!(figure(&figures, "delivered"), 4_000.0);
    assert_eq!((figure(&figures, "lost"), figure(&figures, "doubled")), (0.0, 0.0));
    assert_eq!(node.metric("continuum_delivered_total").await, 4_000.0, "the node counts as the bench does");
}

#[tokio::test]
async fn a_large_room_whose_records_gather_gets_every_event_once() {
    let node = node().await;
    // Large enough that records wait for others under way, and many under way.
    let flags = ["--members", "300", "--events", "200", "--in-flight", "16"];
    let figures = bench(&node, "fanout", &flags).await;
    assert_eq!(figure(&figures, "delivered"), 60_000.0);
    assert_eq!((figure(&figures, "lost"), figure(&figures, "doubled")), (0.0, 0.0));
}

#[tokio::test]
async fn publish_gets_every_event_acknowledged() {
    let node = node().await;
    bench(&node, "publish", &["--connections", "3", "--events", "1500", "--in-flight", "32"]).await;
    assert_eq!(node.metric("continuum_published_total{outcome=\"stored\"}").await, 1_500.0);
}

#[tokio::test]
async fn resume_gives_everyone_everything_that_was_missed() {
    let node = node().await;
    let figures = bench(&node, "resume", &["--members", "40", "--events", "100"]).await;
    assert_eq!((figure(&figures, "lost"), figure(&figures, "doubled")), (0.0, 0.0));
    assert!(node.metric("continuum_delivered_total").await >= 4_000.0);
}

#[tokio::test]
async fn a_storm_loses_and_doubles_nothing() {
    let node = node().await;
    let figures = bench(&node, "storm", &["--members", "100", "--events", "50"]).await;
    assert_eq!((figure(&figures, "lost"), figure(&figures, "doubled")), (0.0, 0.0));
}

#[tokio::test]
async fn a_quiet_crowd_stays() {
    let node = node().await;
    bench(&node, "idle", &["--members", "100", "--seconds", "1"]).await;
    assert_eq!(node.metric("continuum_closed_total{code=\"4008\"}").await, 0.0);
}

#[tokio::test]
async fn overload_loses_and_doubles_nothing() {
    let node = node().await;
    let flags = ["--members", "30", "--rate", "500", "--seconds", "1", "--publishers", "4"];
    let figures = bench(&node, "overload", &flags).await;
    assert_eq!(figure(&figures, "delivered"), 15_000.0);
    assert_eq!((figure(&figures, "lost"), figure(&figures, "doubled")), (0.0, 0.0));
}
