//! Real nodes on the servers that are configured by the files: what the files grant is enough, and what the page says of
//! nodes is so.

use std::{fs, path::PathBuf};

use continuum::config::{Config, Sources};
use serde_json::json;
use tempfile::TempDir;

use crate::{
    nats_support::{SecuredCluster, secured},
    node_support::{Node, Port},
    page::fenced,
    streams::LOG,
};

/// What the page says that a node needs, with this cluster's addresses and secrets.
fn settings(secured: &SecuredCluster) -> Vec<(String, String)> {
    let directory = TempDir::new().expect("a temporary directory can be made");
    let file: PathBuf = directory.path().join("node.toml");
    fs::write(&file, fenced(&secured::file("README.md"), "toml").join("\n")).expect("a file of ours");
    let config = Config::load(&Sources { file: Some(file), ..Sources::default() }).expect("the page is right").config;
    assert_eq!(config.nats.urls.len(), 3);
    let path = |name: &str| secured.secret(name).display().to_string();
    [
        ("backbone.kind", "nats".to_owned()),
        ("nats.urls", secured.urls()),
        ("nats.credentials", path("node.nk")),
        ("nats.tls", config.nats.tls.to_string()),
        ("nats.tls_ca", path("ca.pem")),
        ("nats.replicas", config.nats.replicas.to_string()),
        ("nats.shards", "4".to_owned()),
    ]
    .map(|(key, value)| (key.to_owned(), value))
    .to_vec()
}

#[tokio::test]
async fn nodes_serve_with_the_rights_that_they_have() {
    let secured = SecuredCluster::start().await;
    let settings = settings(&secured);
    let settings: Vec<_> = settings.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    let (mut one, two) = (Node::start(&settings).await, Node::start(&settings).await);
    // Enough tenants to be on all shards.
    for tenant in ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"] {
        let (mut writer, mut reader) = (one.join(tenant, "writer").await, two.join(tenant, "reader").await);
        writer.publish("note", json!({"of": tenant})).await;
        assert_eq!(reader.expect("note").await["data"]["of"], tenant);
        let mut late = two.join_with(tenant, "late", "since=earliest").await;
        assert_eq!(late.expect("note").await["data"]["of"], tenant);
        writer.close().await;
    }
    let operator = secured.connect("operator").await;
    for shard in 0..4 {
        let info = operator.stream_info(&format!("SYNC_LOG_{shard}")).await.expect("the nodes made it");
        assert_ne!(info["state"]["messages"], 0, "shard {shard} was used");
    }
    let kept = operator.stream_info("SYNC_KEPT").await.expect("the nodes made it");
    assert_ne!(kept["state"]["messages"], 0, "cursors were kept");
    let mut said = [one.log(), two.log()].concat();
    said.retain(|line| line.contains("NATS complains"));
    assert_eq!(said, Vec::<String>::new());

    // A setting that was changed by hand is not changed back, and not put up with.
    let changed = 60_u64 * 86_400_000_000_000;
    operator.update_stream(LOG, |config| config["max_age"] = json!(changed)).await;
    one.kill9().await;
    let usual = settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let refused = Node::command(&usual, one.data(), 0).output().expect("the node's binary can be started");
    assert!(!refused.status.success());
    let said = String::from_utf8_lossy(&refused.stderr);
    for part in [LOG, "max_age is 5184000000000000 and must be 2592000000000000", "nats stream edit"] {
        assert!(said.contains(part), "{said}");
    }
    operator.update_stream(LOG, |config| config["max_age"] = json!(changed / 2)).await;
    one.restart(Port::Same).await;
    let mut back = one.join("a", "writer").await;
    back.publish("note", json!({})).await;
}
