//! What an agent keeps of a room: written at once, shared when it can be, and never lost or doubled.

use std::time::Duration;

use continuum::replica::{Freshness, Pulled, Replica};
use serde_json::json;
use tempfile::TempDir;

use crate::{
    PATIENCE, at_node, behind_a_line, change, key,
    nats_support::{Line, until},
    open, put,
    support::{self, Node},
    until_seen,
};

#[tokio::test]
async fn two_agents_share_a_notebook() {
    let node = Node::start(&[]).await;
    let (a_dir, b_dir) = (TempDir::new().expect("a directory"), TempDir::new().expect("a directory"));
    let a = open(node.address(), "a", a_dir.path()).await;
    let ticket = a
        .write(put("task:1", json!({"title": "Refresh tokens", "n": 12345678901234567890u64})))
        .await
        .expect("written");
    // It shows before anybody has answered.
    assert_eq!(a.get(key("task:1")).await.expect("read").expect("there").data["title"], "Refresh tokens");
    let settled = a.settled(ticket, PATIENCE).await.expect("read").expect("settled");
    assert_eq!(settled.outcome, "confirmed", "{settled:?}");

    // Whoever comes later finds it.
    let b = open(node.address(), "b", b_dir.path()).await;
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
    let hits = a.search("refresh", "context", "", 5).await.expect("found");
    assert_eq!(hits[0].seen.entity_id, "task:1", "{hits:?}");
    let status = a.status().await.expect("read");
    assert_eq!((status.sync, status.pending, status.refused), (Freshness::Synced, 0, 0), "{status:?}");

    // Gone for one is gone for the other.
    a.write(change("task:1", None, json!({"action": "delete"}))).await.expect("written");
    assert!(a.get(key("task:1")).await.expect("read").is_none());
    a.push(PATIENCE).await.expect("pushed");
    assert_eq!(b.pull(PATIENCE).await.expect("pulled"), Pulled::Fresh);
    assert!(b.get(key("task:1")).await.expect("read").is_none());
    let figures = a.figures().await.expect("read");
    assert_eq!((figures.written, figures.settled, figures.refused), (2, 2, 0), "{figures:?}");
    assert_eq!((a.close(PATIENCE).await, b.close(PATIENCE).await), (Some(0), Some(0)));
}

#[tokio::test]
async fn what_is_written_without_a_node_goes_out_later_in_its_order_and_once() {
    let (node, mut line, dir, a) = behind_a_line().await;
    a.write(put("task:1", json!({"n": 0}))).await.expect("written");
    assert_eq!(a.push(PATIENCE).await.expect("pushed"), 0);
    line.snap().await;
    for n in 1..=80 {
        a.write(put("task:1", json!({"n": n, format!("f{n}"): n}))).await.expect("written");
    }
    // All of it is here at once, although nobody has it yet.
    let seen = a.get(key("task:1")).await.expect("read").expect("there");
    assert_eq!((seen.pending, &seen.data["n"], &seen.data["f80"]), (80, &json!(80), &json!(80)));
    a.close(Duration::ZERO).await;
    drop(a);
    // Another process goes on.
    line.heal().await;
    let a = open(line.address(), "a", dir.path()).await;
    assert_eq!(a.push(PATIENCE).await.expect("pushed"), 0);
    let stands = at_node(node.address(), "task:1").await.expect("there");
    assert_eq!((&stands["data"]["n"], &stands["data"]["f1"]), (&json!(80), &json!(1)));
    assert_eq!(stands["conflicts"], json!([]), "it clashes with nothing of its own");
    assert!(a.dead_letters().await.expect("read").is_empty());
    // Each was applied once: as many records as writes.
    let (changes, _) = a.changes(0, 1_000).await.expect("read");
    let versions = changes.iter().filter(|change| change.entity_id.as_deref() == Some("task:1")).count();
    assert!(versions <= 81, "{versions} records of 81 writes");
}

#[tokio::test]
async fn an_answer_that_is_lost_leads_to_no_second_write() {
    let (node, mut line, _dir, a) = behind_a_line().await;
    a.write(put("task:1", json!({"n": 0}))).await.expect("written");
    assert_eq!(a.push(PATIENCE).await.expect("pushed"), 0);
    let before = at_node(node.address(), "task:1").await.expect("there")["version"].clone();
    // It arrives, and its answer does not.
    line.cut_from_server();
    a.write(put("task:1", json!({"n": 1}))).await.expect("written");
    let arrived = until("the write arrives", async || {
        let stands = at_node(node.address(), "task:1").await?;
        (stands["version"] != before).then_some(stands["version"].clone())
    });
    let arrived = arrived.await;
    assert_eq!(a.status().await.expect("read").pending, 1);
    // Meanwhile somebody writes on top of it.
    let b_dir = TempDir::new().expect("a directory");
    let b = open(node.address(), "b", b_dir.path()).await;
    assert_eq!(b.pull(PATIENCE).await.expect("pulled"), Pulled::Fresh);
    b.write(put("task:1", json!({"n": 2}))).await.expect("written");
    assert_eq!(b.push(PATIENCE).await.expect("pushed"), 0);
    line.snap().await;
    line.heal().await;
    assert_eq!(a.push(PATIENCE).await.expect("pushed"), 0);
    let stands = at_node(node.address(), "task:1").await.expect("there");
    assert_eq!(stands["data"]["n"], 2, "the repeat of what was there before does not undo what came after it");
    assert!(stands["version"].as_u64() > arrived.as_u64());
    until_seen(&a, "task:1", |data| data["n"] == 2).await;
}

#[tokio::test]
async fn what_the_room_refuses_is_kept_with_the_reason_until_a_person_has_looked() {
    let node = Node::start(&[]).await;
    let dir = TempDir::new().expect("a directory");
    let a = open(node.address(), "a", dir.path()).await;
    let ticket =
        a.write(change("task:1", None, json!({"action": "update", "patch": {"a": 1}}))).await.expect("written");
    let settled = a.settled(ticket, PATIENCE).await.expect("read").expect("settled");
    assert!(settled.is_refusal(), "{settled:?}");
    let dead = a.dead_letters().await.expect("read");
    assert_eq!((dead.len(), dead[0].code.as_str(), dead[0].write.number), (1, "not_found", ticket.number));
    assert!(!dead[0].reason.is_empty());
    let status = a.status().await.expect("read");
    assert_eq!((status.pending, status.refused), (0, 1));
    // Made by somebody meanwhile, it can be tried once more.
    a.write(put("task:1", json!({"b": 2}))).await.expect("written");
    assert_eq!(a.push(PATIENCE).await.expect("pushed"), 0);
    assert!(a.retry(4_711).await.expect("read").is_none());
    let again = a.retry(ticket.number).await.expect("read").expect("it was refused");
    let settled = a.settled(again, PATIENCE).await.expect("read").expect("settled");
    assert_eq!(settled.outcome, "confirmed", "{settled:?}");
    assert_eq!(a.get(key("task:1")).await.expect("read").expect("there").data, json!({"b": 2, "a": 1}));
    assert!(a.dead_letters().await.expect("read").is_empty());
    // What no node would take is not taken here either.
    let wrong = a.write(change("task:1", None, json!({"action": "guess"}))).await;
    assert!(wrong.is_err_and(|error| error.to_string().contains("action")));
}

#[tokio::test]
async fn a_journal_that_is_full_says_so_and_takes_nothing() {
    let dir = TempDir::new().expect("a directory");
    let line = Line::to("127.0.0.1:9".parse().expect("an address")).await;
    let mut options = crate::options(line.address(), "a", dir.path());
    options.journal_bytes = 1_000;
    let a = Replica::open(options).await.expect("it opens");
    let mut taken = 0;
    let refused = loop {
        match a.write(put("task:1", json!({"text": "x".repeat(200)}))).await {
            Ok(_) => taken += 1,
            Err(error) => break error.to_string(),
        }
    };
    assert!(refused.contains("journal_full"), "{refused}");
    assert!((1..5).contains(&taken), "{taken}");
    assert_eq!(a.status().await.expect("read").pending, taken);
}

#[tokio::test]
async fn two_processes_on_one_journal_are_one_agent() {
    let node = Node::start(&[]).await;
    let dir = TempDir::new().expect("a directory");
    let first = open(node.address(), "a", dir.path()).await;
    let second = open(node.address(), "a", dir.path()).await;
    tokio::join!(
        async {
            for n in 0..30 {
                first.write(put("task:1", json!({format!("first{n}"): n}))).await.expect("written");
            }
        },
        async {
            for n in 0..30 {
                second.write(put("task:1", json!({format!("second{n}"): n}))).await.expect("written");
            }
        }
    );
    assert_eq!((first.push(PATIENCE).await.expect("pushed"), second.push(PATIENCE).await.expect("pushed")), (0, 0));
    let stands = at_node(node.address(), "task:1").await.expect("there");
    assert_eq!(stands["data"].as_object().map(serde_json::Map::len), Some(60));
    assert_eq!(stands["conflicts"], json!([]));
    // One connection, and both know that it stands.
    let instances = support::http::get(node.address(), "/v1/tenants/t/instances").await.json();
    assert_eq!(instances["instances"].as_array().map(Vec::len), Some(1), "{instances}");
    until("the one that follows knows", async || {
        (second.status().await.expect("read").sync == Freshness::Synced).then_some(())
    })
    .await;
    // The one that leads goes: the other one takes over.
    first.close(PATIENCE).await;
    drop(first);
    second.write(put("task:1", json!({"last": true}))).await.expect("written");
    assert_eq!(second.push(PATIENCE).await.expect("pushed"), 0);
    assert_eq!(at_node(node.address(), "task:1").await.expect("there")["data"]["last"], true);
    assert_eq!(second.pull(PATIENCE).await.expect("pulled"), Pulled::Fresh);
    assert_eq!(second.figures().await.expect("read").connections, 2, "one after the other");
}

#[tokio::test]
async fn a_directory_is_of_one_agent() {
    let dir = TempDir::new().expect("a directory");
    let nobody = "127.0.0.1:9".parse().expect("an address");
    drop(open(nobody, "a", dir.path()).await);
    let wrong = Replica::open(crate::options(nobody, "b", dir.path())).await;
    assert!(wrong.is_err_and(|error| error.to_string().contains("another directory")));
}

#[tokio::test]
async fn another_log_takes_the_place_of_what_was_mirrored_and_what_waits_goes_to_it() {
    let (_node, mut line, dir, a) = behind_a_line().await;
    for n in 0..5 {
        a.write(put("task:old", json!({"n": n}))).await.expect("written");
        a.push(PATIENCE).await.expect("pushed");
    }
    line.snap().await;
    a.write(put("task:old", json!({"waits": 1}))).await.expect("written");
    a.close(Duration::ZERO).await;
    drop(a);
    let other = Node::start(&[]).await;
    let a = open(other.address(), "a", dir.path()).await;
    assert_eq!(a.push(PATIENCE).await.expect("pushed"), 0);
    assert_eq!(a.pull(PATIENCE).await.expect("pulled"), Pulled::Fresh);
    let seen = a.get(key("task:old")).await.expect("read").expect("there");
    assert_eq!(seen.data, json!({"waits": 1}), "{seen:?}");
    assert_eq!(at_node(other.address(), "task:old").await.expect("there")["data"], json!({"waits": 1}));
    // What happened there before is not told one by one; that it is not is told.
    let (changes, _) = a.changes(0, 10).await.expect("read");
    assert_eq!(changes.iter().filter(|change| change.action == "missed").count(), 1, "{changes:?}");
}
