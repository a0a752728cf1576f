//! The client that the first description of the protocol shows, as it stands there.

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Command, Stdio},
};

use serde_json::json;

use crate::support::{Node, within};

/// Word for word, and a line that runs it; only the port is put in.
const SEED: &str = include_str!("seed_client.py");

#[tokio::test]
async fn the_seeds_own_client_receives_what_another_instance_publishes() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = root.join(".tools/venv/bin/python");
    assert!(python.exists(), "{} is missing: run scripts/setup", python.display());
    // By name, as the seed has it: where localhost is also ::1 the client tries that first and goes on.
    let node = Node::start(&[("server.host", "localhost")]).await;
    let here = format!("localhost:{}", node.address().port());
    assert!(SEED.contains("localhost:8420"));
    let program = tempfile::NamedTempFile::with_suffix(".py").expect("a temporary file can be made");
    std::fs::write(program.path(), SEED.replace("localhost:8420", &here)).expect("it can be written");

    let mut other = node.join("default", "claude-2").await;
    let mut child = Command::new(python)
        .arg("-u")
        .arg(program.path())
        .stdout(Stdio::piped())
        .spawn()
        .expect("Python can be started");
    let lines = BufReader::new(child.stdout.take().expect("stdout is piped")).lines();
    let received = tokio::task::spawn_blocking(move || {
        let mut received: Vec<String> = Vec::new();
        for line in lines.map_while(Result::ok) {
            received.push(line);
            if received.last().is_some_and(|line| line == "Received: memory_added") {
                break;
            }
        }
        received
    });
    let joined = other.expect("instance_joined").await;
    assert_eq!(joined["data"]["instance_id"], "claude-1");
    other.publish("memory_added", json!({"user_message": "What is quantum entanglement?"})).await;
    let received = within("the seed's client prints what it received", received).await.expect("it is read");
    child.kill().expect("it still runs");
    child.wait().expect("it ends");
    // Whether the record came before or after the mark depends on who was faster; nothing else comes.
    let named: Vec<_> = received.iter().filter(|line| *line != "Received: caught_up").collect();
    assert_eq!(named, ["Received: session_ready", "Received: memory_added"]);
}
