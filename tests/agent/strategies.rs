//! Two agents change the same context while neither knows of the other: what becomes of that under each strategy.

use continuum::replica::{Pulled, Replica, Settled};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{PATIENCE, at_node, change, key, nats_support::Line, open, put, support::Node, until_seen};

struct Pair {
    node: Node,
    a: Replica,
    b: Replica,
    _dirs: [TempDir; 2],
    _line: Line,
}

/// `a` has changed a field on what both knew, and `b` has changed it while it knew nothing of that.
async fn clash(strategy: &str) -> (Pair, Settled) {
    let node = Node::start(&[]).await;
    let mut line = Line::to(node.address()).await;
    let dirs = [(); 2].map(|()| TempDir::new().expect("a directory"));
    let a = open(node.address(), "a", dirs[0].path()).await;
    let b = open(line.address(), "b", dirs[1].path()).await;
    a.write(put("task:1", json!({"state": "open", "owner": "nobody"}))).await.expect("written");
    assert_eq!(a.push(PATIENCE).await.expect("pushed"), 0);
    assert_eq!(b.pull(PATIENCE).await.expect("pulled"), Pulled::Fresh);
    line.snap().await;
    let base = b.get(key("task:1")).await.expect("read").expect("there").version;
    let patch = json!({"state": "b's", "only_b": 1});
    let write = json!({"action": "put", "strategy": strategy, "patch": patch});
    let ticket = b.write(change("task:1", Some(base), write)).await.expect("written");
    // Its author sees it as it wrote it.
    assert_eq!(b.get(key("task:1")).await.expect("read").expect("there").data["state"], "b's");
    a.write(put("task:1", json!({"state": "a's", "only_a": 1}))).await.expect("written");
    assert_eq!(a.push(PATIENCE).await.expect("pushed"), 0);
    line.heal().await;
    let settled = b.settled(ticket, PATIENCE).await.expect("read").expect("settled");
    (Pair { node, a, b, _dirs: dirs, _line: line }, settled)
}

impl Pair {
    /// Both see this, and the node has it.
    async fn agree_on(&self, data: &Value) {
        for replica in [&self.a, &self.b] {
            until_seen(replica, "task:1", |seen| seen == data).await;
        }
        assert_eq!(&at_node(self.node.address(), "task:1").await.expect("there")["data"], data);
    }

    async fn until_open(&self, count: usize) {
        for replica in [&self.a, &self.b] {
            let knows = async {
                while replica.conflicts().await.expect("read").len() != count {
                    drop(tokio::time::timeout(std::time::Duration::from_millis(50), replica.moved()).await);
                }
            };
            if tokio::time::timeout(PATIENCE, knows).await.is_err() {
                let there = crate::support::http::get(self.node.address(), "/v1/tenants/t/conflicts").await.text();
                panic!("{:?} {:?} {there}", replica.conflicts().await, replica.status().await);
            }
        }
    }
}

#[tokio::test]
async fn merge_keeps_both_and_says_what_was_written_over() {
    let (pair, settled) = clash("merge").await;
    assert_eq!((settled.outcome.as_str(), &settled.answer["resolution"]), ("conflict_resolved", &json!("merged")));
    assert_eq!(settled.answer["overwritten"][0]["path"], "/state");
    assert_eq!(settled.answer["overwritten"][0]["value"], "a's");
    assert!(settled.answer["overwritten"][0]["by"].as_str().is_some_and(|by| by.starts_with("a~")), "{settled:?}");
    pair.agree_on(&json!({"state": "b's", "owner": "nobody", "only_a": 1, "only_b": 1})).await;
    assert_eq!(pair.b.figures().await.expect("read").clashed, 1);
}

#[tokio::test]
async fn last_write_wins_says_what_was_written_over() {
    let (pair, settled) = clash("last_write_wins").await;
    assert_eq!(settled.answer["resolution"], "last_write_wins");
    assert_eq!(settled.answer["overwritten"][0]["value"], "a's");
    pair.agree_on(&json!({"state": "b's", "owner": "nobody", "only_a": 1, "only_b": 1})).await;
}

#[tokio::test]
async fn version_keeps_what_stands_and_the_other_beside_it() {
    let (pair, settled) = clash("version").await;
    assert_eq!((settled.outcome.as_str(), &settled.answer["resolution"]), ("conflict_resolved", &json!("variant")));
    pair.until_open(1).await;
    let stands = at_node(pair.node.address(), "task:1").await.expect("there");
    assert_eq!((&stands["data"]["state"], stands["variants"].as_array().map(Vec::len)), (&json!("a's"), Some(1)));
    until_seen(&pair.b, "task:1", |data| data["state"] == "a's").await;
}

#[tokio::test]
async fn manual_waits_for_a_choice_that_either_may_make() {
    let (pair, settled) = clash("manual").await;
    assert_eq!(settled.outcome, "conflict_pending");
    let id = settled.answer["conflict_id"].as_str().expect("an id").to_owned();
    pair.until_open(1).await;
    assert_eq!(pair.a.status().await.expect("read").conflicted, 1);
    assert_eq!(pair.a.conflicts().await.expect("read")[0].shown["proposed"]["state"], "b's");
    until_seen(&pair.b, "task:1", |data| data["state"] == "a's").await;
    let choice = json!({"action": "resolve", "conflict_id": id, "choice": "proposed"});
    let ticket = pair.a.write(change("task:1", None, choice)).await.expect("written");
    let settled = pair.a.settled(ticket, PATIENCE).await.expect("read").expect("settled");
    assert!(!settled.is_refusal(), "{settled:?}");
    pair.until_open(0).await;
    until_seen(&pair.b, "task:1", |data| data["state"] == "b's").await;
    until_seen(&pair.a, "task:1", |data| data["state"] == "b's").await;
}
