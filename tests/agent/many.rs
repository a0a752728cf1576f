//! Two hundred agents in one room, and the node goes down under them.

use std::{sync::Arc, time::Duration};

use continuum::replica::{Pulled, Replica};
use futures_util::future::join_all;
use serde_json::json;
use tempfile::TempDir;

use crate::{
    at_node, key, open, put,
    support::{Node, Port, http},
};

const AGENTS: usize = 200;
/// Longer than all of it takes, with the longest pauses between two attempts to connect.
const PATIENCE: Duration = Duration::from_secs(600);

/// Each says something of its own and something in the context that all share.
async fn all_write(agents: &[Arc<Replica>], round: usize) {
    join_all(agents.iter().enumerate().map(async |(n, agent)| {
        agent.write(put(&format!("task:{n}"), json!({"round": round}))).await.expect("written");
        agent.write(put("project:all", json!({format!("agent{n}"): round}))).await.expect("written");
    }))
    .await;
}

async fn all_are_out(agents: &[Arc<Replica>]) {
    for left in join_all(agents.iter().map(|agent| agent.push(PATIENCE))).await {
        assert_eq!(left.expect("pushed"), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_restarts_under_two_hundred_agents_gets_all_that_they_write_once() {
    let mut node = Node::start(&[("limits.connections_per_tenant", "250")]).await;
    let dir = TempDir::new().expect("a directory");
    let agents = join_all((0..AGENTS).map(async |n| {
        let name = format!("agent-{n}");
        Arc::new(open(node.address(), &name, &dir.path().join(&name)).await)
    }))
    .await;
    all_write(&agents, 1).await;
    all_are_out(&agents).await;
    // Its end comes while they write, and they go on.
    let (_, _) = tokio::join!(all_write(&agents, 2), node.kill9());
    all_write(&agents, 3).await;
    node.restart(Port::Same).await;
    all_are_out(&agents).await;
    let all = at_node(node.address(), "project:all").await.expect("there");
    assert_eq!(all["conflicts"], json!([]));
    for (n, agent) in agents.iter().enumerate() {
        assert_eq!(all["data"][format!("agent{n}")], 3, "agent {n}");
        let stands = at_node(node.address(), &format!("task:{n}")).await.expect("there");
        assert_eq!((&stands["data"], &stands["conflicts"]), (&json!({"round": 3}), &json!([])), "agent {n}");
        let path = format!("/v1/tenants/t/entities/context/task%3A{n}/versions");
        let versions = http::get(node.address(), &path).await.json();
        assert_eq!(versions["versions"].as_array().map(Vec::len), Some(3), "agent {n}: {versions}");
        assert!(agent.dead_letters().await.expect("read").is_empty(), "agent {n}");
    }
    // And each has what all the others wrote.
    let pulled = join_all(agents.iter().map(|agent| agent.pull(PATIENCE))).await;
    for (n, (agent, pulled)) in agents.iter().zip(pulled).enumerate() {
        assert_eq!(pulled.expect("pulled"), Pulled::Fresh, "agent {n}");
        let seen = agent.get(key("project:all")).await.expect("read").expect("there");
        assert_eq!(seen.data, all["data"], "agent {n}");
        assert_eq!(agent.list("context", "task:", "", AGENTS + 1).await.expect("read").len(), AGENTS, "agent {n}");
    }
    join_all(agents.iter().map(|agent| agent.close(Duration::ZERO))).await;
}
