//! `continuum serve` in front of a NATS that is wrong: it ends, and one line says why and how to mend it. In front of none
//! it waits.

use std::{
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    process::{Child, Stdio},
};

use serde_json::json;
use tempfile::TempDir;
use tokio::sync::mpsc;

use crate::{
    continuum, ended,
    nats_support::{Admin, NatsConfig, NatsServer},
    roomy,
    support::{Node, http, until, within},
};

/// Serves on this NATS; returns the one line that says what is wrong.
async fn refused(url: &str, settings: &[(&str, &str)]) -> String {
    let data = TempDir::new().expect("a temporary directory can be made");
    let mut command = continuum(&["serve", "--port", "0", "--set", "backbone.kind=nats", "--data-dir"]);
    command.arg(data.path()).arg("--set").arg(format!("nats.urls={url}"));
    for (key, value) in settings {
        command.arg("--set").arg(format!("{key}={value}"));
    }
    let output = ended(command).await;
    let said = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(1), "{said}");
    let mut of_it = said.lines().filter(|line| line.contains("NATS cannot be used"));
    let line = of_it.next().unwrap_or_else(|| panic!("{said}"));
    assert_eq!((of_it.next(), said.lines().last()), (None, Some(line)), "once, and last: {said}");
    line.to_owned()
}

#[tokio::test]
async fn a_nats_without_jetstream_ends_the_node_with_the_mend() {
    let server = NatsServer::start_with(NatsConfig::new().without_jetstream()).await;
    let line = refused(&server.url(), &[]).await;
    assert!(line.contains("without JetStream") && line.contains("add `jetstream {"), "{line}");
}

#[tokio::test]
async fn streams_that_differ_end_the_node_with_both_sides_and_the_mend() {
    let server = NatsServer::start_with(roomy()).await;
    let url = server.url();
    drop(Node::start(&[("backbone.kind", "nats"), ("nats.urls", &url)]).await);
    let admin = Admin::connect(&url).await;
    admin.update_stream("SYNC_LOG_0", |config| config["max_msgs"] = json!(10)).await;
    let line = refused(&url, &[]).await;
    assert!(line.contains("max_msgs is 10 and must be -1") && line.contains("nats stream edit"), "{line}");
    // One server cannot hold three copies.
    admin.delete_stream("SYNC_LOG_0").await;
    let line = refused(&url, &[("nats.replicas", "3")]).await;
    assert!(line.contains("replicas"), "{line}");
}

#[tokio::test]
async fn a_user_who_may_not_or_is_not_let_in_ends_the_node_with_the_mend() {
    let users = r#"authorization { users: [
        { user: node, password: p, permissions: { publish: ["sync.>"], subscribe: [">"] } }
    ] }"#;
    let server = NatsServer::start_with(NatsConfig::new().text(users)).await;
    let line = refused(&format!("nats://node:p@{}", server.address()), &[]).await;
    let subject = "Permissions Violation for Publish to \"$JS.API.STREAM.INFO.SYNC_LOG_0\"";
    assert!(line.contains(subject) && line.contains("nats/README.md"), "{line}");
    let line = refused(&format!("nats://node:wrong@{}", server.address()), &[]).await;
    assert!(line.contains("authorization violation") && line.contains("nats.credentials"), "{line}");
}

/// A node that is not waited for.
struct Serving {
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl Serving {
    fn start(url: &str, data: &TempDir) -> Self {
        let mut command = continuum(&["serve", "--port", "0", "--set", "backbone.kind=nats", "--data-dir"]);
        command.arg(data.path()).arg("--set").arg(format!("nats.urls={url}"));
        let mut child = command.stderr(Stdio::piped()).spawn().expect("the program starts");
        let source = BufReader::new(child.stderr.take().expect("stderr is piped"));
        let (to, lines) = mpsc::channel(10_000);
        std::thread::spawn(move || source.lines().map_while(Result::ok).try_for_each(|line| to.blocking_send(line)));
        Self { child, lines }
    }

    /// The next line with this in it.
    async fn says(&mut self, part: &str) -> String {
        within(&format!("the node says {part:?}"), async {
            loop {
                let line = self.lines.recv().await.expect("it says that before it ends");
                if line.contains(part) {
                    return line;
                }
            }
        })
        .await
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn without_any_nats_a_node_starts_waits_and_becomes_ready_when_it_comes() {
    let server = NatsServer::start_with(roomy()).await;
    server.stop().await;
    let data = TempDir::new().expect("a temporary directory can be made");
    let mut node = Serving::start(&server.url(), &data);
    node.says("waiting for NATS").await;
    let line = node.says(" ready ").await;
    let address = line.split_once("address=").map(|(_, rest)| rest.split_whitespace().next().unwrap_or_default());
    let address: SocketAddr = address.and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("{line}"));
    let answer = http::get(address, "/readyz").await;
    assert_eq!((answer.status, &answer.json()["status"]), (503, &json!("starting")));
    let reason = answer.json()["reason"].clone();
    assert!(reason.as_str().is_some_and(|reason| reason.contains("waiting for NATS")), "{reason}");
    server.start_again().await;
    node.says("the log on NATS is ready").await;
    until("/readyz answers 200", async || (http::get(address, "/readyz").await.status == 200).then_some(())).await;
}
