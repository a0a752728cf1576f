//! The agent's side: a replica's journal and mirror, the notebook over the Model Context Protocol, and their bad days.

mod choices;
mod client;
mod commands;
mod crowd;
mod days;
mod journal;
mod many;
mod mcp;
#[path = "../nats_support/mod.rs"]
mod nats_support;
mod notebook;
mod replica;
mod sending;
#[path = "../small_disk/mod.rs"]
mod small_disk;
mod strategies;
#[path = "../node/support/mod.rs"]
mod support;

use std::{net::SocketAddr, path::Path, time::Duration};

use continuum::{
    auth::agent,
    client::{BaseUrl, ClientOptions},
    model::EntityKey,
    replica::{Options, Replica, Write},
};
use serde_json::{Map, Value, json};
use tempfile::TempDir;

use self::{nats_support::Line, support::Node};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

fn options(address: SocketAddr, instance: &str, dir: &Path) -> Options {
    let url: BaseUrl = format!("ws://{address}").parse().expect("a URL");
    let client = ClientOptions::new(url, "t".parse().expect("a tenant"), instance.parse().expect("an instance"));
    Options::new(client, agent(Duration::from_secs(10)), dir.to_owned())
}

async fn open(address: SocketAddr, instance: &str, dir: &Path) -> Replica {
    Replica::open(options(address, instance, dir)).await.expect("it opens")
}

/// A node, and a replica that comes to it over a line which can be cut.
async fn behind_a_line() -> (Node, Line, TempDir, Replica) {
    let node = Node::start(&[]).await;
    let line = Line::to(node.address()).await;
    let dir = TempDir::new().expect("a directory");
    let a = open(line.address(), "a", dir.path()).await;
    (node, line, dir, a)
}

fn key(id: &str) -> EntityKey {
    EntityKey::new("context", id).expect("a key")
}

/// A write of some fields of a context.
fn put(id: &str, patch: Value) -> Write {
    change(id, None, json!({"action": "put", "patch": patch}))
}

/// Any operation on a context.
fn change(id: &str, base: Option<u64>, fields: Value) -> Write {
    let Value::Object(fields) = fields else { unreachable!("an object") };
    Write::Operation { key: key(id), base, fields: Map::from_iter(fields) }
}

/// Waits until a context looks so.
async fn until_seen(replica: &Replica, id: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let look = async {
        loop {
            match replica.get(key(id)).await.expect("read") {
                Some(seen) if wanted(&seen.data) => return seen.data,
                // Whatever moved between the look and this is seen shortly after, by what moves next.
                _ => drop(tokio::time::timeout(Duration::from_millis(50), replica.moved()).await),
            }
        }
    };
    tokio::time::timeout(PATIENCE, look).await.expect("in time")
}

/// What the node itself has of a context; `None`: nothing.
async fn at_node(address: SocketAddr, id: &str) -> Option<Value> {
    let response =
        support::http::get(address, &format!("/v1/tenants/t/entities/context/{}", id.replace(':', "%3A"))).await;
    (response.status == 200).then(|| response.json())
}
