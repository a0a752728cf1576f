//! What an agent keeps of a room: written at once, shared when it can be, and never lost or doubled.

use std::{path::Path, time::Duration};

use continuum::{
    auth::agent,
    client::{BaseUrl, ClientOptions},
    model::EntityKey,
    replica::{Freshness, Options, Pulled, Replica, Write},
};
use serde_json::{Map, Value, json};
use tempfile::TempDir;

use crate::support::Node;

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

fn options(address: std::net::SocketAddr, instance: &str, dir: &Path) -> Options {
    let url: BaseUrl = format!("ws://{address}").parse().expect("a URL");
    let client = ClientOptions::new(url, "t".parse().expect("a tenant"), instance.parse().expect("an instance"));
    Options::new(client, agent(Duration::from_secs(10)), dir.to_owned())
}

async fn open(node: &Node, instance: &str, dir: &Path) -> Replica {
    Replica::open(options(node.address(), instance, dir)).await.expect("it opens")
}

fn key(id: &str) -> EntityKey {
    EntityKey::new("context", id).expect("a key")
}

fn put(id: &str, patch: Value) -> Write {
    let fields = Map::from_iter([("action".to_owned(), json!("put")), ("patch".to_owned(), patch)]);
    Write::Operation { key: key(id), base: None, fields }
}

async fn until_seen(replica: &Replica, id: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let look = async {
        loop {
            let moved = replica.moved();
            match replica.get(key(id)).await.expect("read") {
                Some(seen) if wanted(&seen.data) => return seen.data,
                _ => moved.await,
            }
        }
    };
    tokio::time::timeout(PATIENCE, look).await.expect("in time")
}

#[tokio::test]
async fn two_agents_share_a_notebook() {
    let node = Node::start(&[]).await;
    let (a_dir, b_dir) = (TempDir::new().expect("a directory"), TempDir::new().expect("a directory"));
    let a = open(&node, "a", a_dir.path()).await;
    let ticket = a
        .write(put("task:1", json!({"title": "Refresh tokens", "n": 12345678901234567890u64})))
        .await
        .expect("written");
    // It shows before anybody has answered.
    assert_eq!(a.get(key("task:1")).await.expect("read").expect("there").data["title"], "Refresh tokens");
    let settled = a.settled(ticket, PATIENCE).await.expect("read").expect("settled");
    assert_eq!(settled.outcome, "confirmed", "{settled:?}");

    // Whoever comes later finds it.
    let b = open(&node, "b", b_dir.path()).await;
    assert_eq!(b.pull(PATIENCE).await.expect("pulled"), Pulled::Fresh);
    let seen = b.get(key("task:1")).await.expect("read").expect("there");
    assert_eq!(seen.data, json!({"title": "Refresh tokens", "n": 12345678901234567890u64}));
    assert_eq!(seen.pending, 0);
    b.write(put("task:1", json!({"state": "done"}))).await.expect("written");
    assert_eq!(b.push(PATIENCE).await.expect("pushed"), 0);
    until_seen(&a, "task:1", |data| data["state"] == "done").await;

    // Each hears of the other and of what it did.
    let (changes, _) = a.changes(0, 100).await.expect("read");
    assert!(
        changes.iter().any(|change| change.by == "b" && change.entity_id.as_deref() == Some("task:1")),
        "{changes:?}"
    );
    assert!(b.here().contains_key("a") && a.here().contains_key("b"));
    let hits = a.search("refresh", "context", 5).await.expect("found");
    assert_eq!(hits[0].seen.entity_id, "task:1", "{hits:?}");
    let status = a.status().await.expect("read");
    assert_eq!((status.sync, status.pending, status.refused), (Freshness::Synced, 0, 0), "{status:?}");

    // Gone for one is gone for the other.
    let fields = Map::from_iter([("action".to_owned(), json!("delete"))]);
    a.write(Write::Operation { key: key("task:1"), base: None, fields }).await.expect("written");
    assert!(a.get(key("task:1")).await.expect("read").is_none());
    a.push(PATIENCE).await.expect("pushed");
    assert_eq!(b.pull(PATIENCE).await.expect("pulled"), Pulled::Fresh);
    assert!(b.get(key("task:1")).await.expect("read").is_none());
    let figures = a.figures().await.expect("read");
    assert_eq!((figures.written, figures.settled, figures.refused), (2, 2, 0), "{figures:?}");
    assert_eq!((a.close(PATIENCE).await, b.close(PATIENCE).await), (0, 0));
}
