//! What is in a journal gets out of it: in its order, once, or refused with a reason; nothing blocks what stands behind it.

use std::{
    fs,
    io::{Seek as _, SeekFrom, Write as _},
    path::Path,
    time::Duration,
};

use continuum::replica::{Link, Pulled, Replica, Write, WriteError};
use serde_json::{Value, json, value::RawValue};
use tempfile::TempDir;

use crate::{
    PATIENCE, at_node, behind_a_line, change, key,
    nats_support::{Line, until},
    open, put,
    support::Node,
    until_seen,
};

fn event(event_type: &str, data: &Value) -> Write {
    let data = RawValue::from_string(data.to_string()).expect("JSON");
    Write::Event { event_type: event_type.parse().expect("a type"), data }
}

fn code(refused: Result<impl Sized, WriteError>) -> &'static str {
    match refused {
        Err(WriteError::Invalid(refusal)) => refusal.code.word(),
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("it was taken"),
    }
}

#[tokio::test]
async fn writes_to_several_contexts_that_wait_all_go_out_in_their_order() {
    let (node, mut line, dir, a) = behind_a_line().await;
    assert_eq!(a.pull(PATIENCE).await.expect("pulled"), Pulled::Fresh);
    // They are on their way, and no answer comes.
    line.cut_from_server();
    for id in ["task:1", "task:1", "task:2", "task:2"] {
        let n = a.status().await.expect("read").pending;
        a.write(put(id, json!({"n": n}))).await.expect("written");
        a.write(event("decision_made", &json!({"n": n}))).await.expect("written");
    }
    a.write(put("task:1", json!({"last": true}))).await.expect("written");
    line.snap().await;
    line.heal().await;
    assert_eq!(a.push(PATIENCE).await.expect("pushed"), 0);
    for (id, wanted) in [("task:1", json!({"n": 2, "last": true})), ("task:2", json!({"n": 6}))] {
        let stands = at_node(node.address(), id).await.expect("there");
        assert_eq!((&stands["data"], &stands["conflicts"]), (&wanted, &json!([])), "{id}");
    }
    assert_eq!(a.pull(PATIENCE).await.expect("pulled"), Pulled::Fresh);
    let (changes, _) = a.changes(0, 100).await.expect("read");
    let events: Vec<_> = changes.iter().filter(|change| change.event_type == "decision_made").collect();
    assert_eq!(events.len(), 4, "{changes:?}");
    // Who looks later is not told that it stands as it stood then.
    a.close(PATIENCE).await;
    let look = Replica::look(dir.path().to_owned()).await.expect("a journal");
    assert!(matches!(look.status().await.expect("read").connection, Link::Offline { .. }));
}

#[tokio::test]
async fn of_one_context_one_write_is_on_its_way_and_what_was_dropped_behind_it_never_is() {
    let (node, mut line, _dir, a) = behind_a_line().await;
    assert_eq!(a.pull(PATIENCE).await.expect("pulled"), Pulled::Fresh);
    line.cut_from_server();
    a.write(put("task:1", json!({"n": 1}))).await.expect("written");
    let dropped = a.write(put("task:1", json!({"n": 2}))).await.expect("written");
    a.write(put("task:2", json!({"n": 3}))).await.expect("written");
    // What is about something else has come past them; it came on the same connection.
    until("the last one is there", async || at_node(node.address(), "task:2").await).await;
    assert_eq!(at_node(node.address(), "task:1").await.expect("there")["data"], json!({"n": 1}));
    assert!(a.drop_write(dropped.number).await.expect("dropped").is_some());
    a.write(put("task:1", json!({"m": 4}))).await.expect("written");
    line.snap().await;
    line.heal().await;
    assert_eq!(a.push(PATIENCE).await.expect("pushed"), 0);
    assert_eq!(at_node(node.address(), "task:1").await.expect("there")["data"], json!({"n": 1, "m": 4}));
}

#[tokio::test]
async fn what_no_node_takes_is_refused_at_once_and_never_waits() {
    let nobody = "127.0.0.1:9".parse().expect("an address");
    let dir = TempDir::new().expect("a directory");
    let a = open(nobody, "a", dir.path()).await;
    let long = "x".repeat((1 << 20) + 1);
    let nested = |levels: usize| (0..levels).fold(json!(1), |inner, _| json!({"in": inner}));
    assert_eq!(code(a.write(put("task:1", json!({"text": &long}))).await), "too_large");
    assert_eq!(code(a.write(event("decision_made", &json!({"text": &long}))).await), "too_large");
    assert_eq!(code(a.write(put("task:1", nested(62))).await), "too_deep");
    assert_eq!(code(a.write(event("decision_made", &nested(64))).await), "too_deep");
    // Answered by nobody, or something else than an event.
    for word in ["typing", "signal.wave", "ping", "sync_request", "update.confirmed", "context.update", "session_ready"]
    {
        assert_eq!(code(a.write(event(word, &json!({}))).await), "reserved_type", "{word}");
    }
    assert_eq!(a.status().await.expect("read").pending, 0);
    a.write(put("task:1", nested(50))).await.expect("written");
    a.write(event("decision_made", &nested(60))).await.expect("written");
    // And a node takes what was taken here.
    let node = Node::start(&[]).await;
    a.close(Duration::ZERO).await;
    let a = open(node.address(), "a", dir.path()).await;
    assert_eq!(a.push(PATIENCE).await.expect("pushed"), 0);
    assert!(a.dead_letters().await.expect("read").is_empty());
}

#[tokio::test]
async fn what_is_too_large_for_this_node_is_put_aside_and_what_stands_behind_it_goes_on() {
    let node = Node::start(&[("limits.max_message_bytes", "65536")]).await;
    let dir = TempDir::new().expect("a directory");
    let nobody = "127.0.0.1:9".parse().expect("an address");
    let a = open(nobody, "a", dir.path()).await;
    // Of this node it knows nothing yet.
    let large = put("task:1", json!({"text": "x".repeat(100_000)}));
    let ticket = a.write(large.clone()).await.expect("written");
    a.write(put("task:1", json!({"n": 1}))).await.expect("written");
    a.write(put("task:2", json!({"n": 2}))).await.expect("written");
    a.close(Duration::ZERO).await;
    drop(a);
    let a = open(node.address(), "a", dir.path()).await;
    assert_eq!(a.push(PATIENCE).await.expect("pushed"), 0);
    for (id, n) in [("task:1", 1), ("task:2", 2)] {
        assert_eq!(at_node(node.address(), id).await.expect("there")["data"], json!({"n": n}), "{id}");
    }
    let dead = a.dead_letters().await.expect("read");
    assert_eq!((dead.len(), &*dead[0].code, dead[0].write.number), (1, "too_large", ticket.number), "{dead:?}");
    assert_eq!(a.get(key("task:1")).await.expect("read").expect("there").data, json!({"n": 1}));
    // From now on it knows.
    assert_eq!(code(a.write(large).await), "too_large");
}

#[tokio::test]
async fn who_has_seen_nothing_writes_over_nothing_in_silence() {
    let node = Node::start(&[]).await;
    let dirs = [(); 2].map(|()| TempDir::new().expect("a directory"));
    let nobody = "127.0.0.1:9".parse().expect("an address");
    let a = open(nobody, "a", dirs[0].path()).await;
    let ticket = a.write(put("task:1", json!({"state": "a's"}))).await.expect("written");
    a.close(Duration::ZERO).await;
    drop(a);
    let b = open(node.address(), "b", dirs[1].path()).await;
    b.write(put("task:1", json!({"state": "b's"}))).await.expect("written");
    assert_eq!(b.push(PATIENCE).await.expect("pushed"), 0);
    let a = open(node.address(), "a", dirs[0].path()).await;
    let settled = a.settled(ticket, PATIENCE).await.expect("read").expect("settled");
    assert_eq!(
        (&*settled.outcome, &settled.answer["overwritten"][0]["value"]),
        ("conflict_resolved", &json!("b's")),
        "{settled:?}"
    );
}

#[tokio::test]
async fn two_who_edit_one_text_without_each_other_lose_no_letter() {
    let node = Node::start(&[]).await;
    let mut line = Line::to(node.address()).await;
    let dirs = [(); 2].map(|()| TempDir::new().expect("a directory"));
    let a = open(line.address(), "a", dirs[0].path()).await;
    let b = open(node.address(), "b", dirs[1].path()).await;
    a.write(put("task:1", json!({"text": "the plan"}))).await.expect("written");
    assert_eq!(a.push(PATIENCE).await.expect("pushed"), 0);
    until_seen(&b, "task:1", |data| data["text"] == "the plan").await;
    until_seen(&a, "task:1", |data| data["text"] == "the plan").await;
    let edit = |ops: Value| change("task:1", None, json!({"action": "update", "text": {"path": "/text", "ops": ops}}));
    line.snap().await;
    a.write(edit(json!([8, ", a's end"]))).await.expect("written");
    a.write(edit(json!(["A: "]))).await.expect("written");
    assert_eq!(a.get(key("task:1")).await.expect("read").expect("there").data["text"], "A: the plan, a's end");
    b.write(edit(json!([4, "good "]))).await.expect("written");
    assert_eq!(b.push(PATIENCE).await.expect("pushed"), 0);
    line.heal().await;
    assert_eq!(a.push(PATIENCE).await.expect("pushed"), 0);
    for one in [&a, &b] {
        until_seen(one, "task:1", |data| data["text"] == "A: the good plan, a's end").await;
    }
}

/// Overwrites the first page of a table.
fn spoil(path: &Path, table: &str) {
    let db = rusqlite::Connection::open(path).expect("opened");
    let page: u64 =
        db.query_row("SELECT rootpage FROM sqlite_schema WHERE name = ?1", [table], |row| row.get(0)).expect("a table");
    let size: u64 = db.query_row("PRAGMA page_size", [], |row| row.get(0)).expect("a size");
    drop(db);
    let mut file = fs::OpenOptions::new().write(true).open(path).expect("opened");
    file.seek(SeekFrom::Start((page - 1) * size)).expect("a page");
    file.write_all(&vec![0x5a; usize::try_from(size).expect("a size")]).expect("written");
}

#[tokio::test]
async fn damage_in_what_can_be_had_again_costs_no_write() {
    let node = Node::start(&[]).await;
    for table in ["entity", "words_data", "conflict"] {
        let dir = TempDir::new().expect("a directory");
        let nobody = "127.0.0.1:9".parse().expect("an address");
        let a = open(nobody, "a", dir.path()).await;
        a.write(put("task:1", json!({"table": table}))).await.expect("written");
        let dropped = a.write(put("task:2", json!({"table": table}))).await.expect("written");
        a.drop_write(dropped.number).await.expect("dropped");
        a.close(Duration::ZERO).await;
        drop(a);
        let path = dir.path().join("replica.db");
        until("nobody has it open", async || (!path.with_extension("db-wal").exists()).then_some(())).await;
        let name = || -> String {
            let db = rusqlite::Connection::open(&path).expect("opened");
            db.query_row("SELECT value FROM fact WHERE name = 'replica'", [], |row| row.get(0)).expect("a name")
        };
        let known = name();
        spoil(&path, table);
        // Who only looks says so and touches nothing.
        if table == "entity" {
            let look = Replica::look(dir.path().to_owned()).await;
            assert!(look.is_ok_and(|look| look.set_aside().is_none()) && path.exists());
        }
        let a = open(node.address(), "a", dir.path()).await;
        assert!(a.set_aside().is_some_and(Path::exists), "{table}");
        assert_eq!(name(), known, "the node knows its numbers under this name");
        assert_eq!(a.get(key("task:1")).await.expect("read").expect("there").data["table"], table);
        let next = a.write(put("task:3", json!({"table": table}))).await.expect("written");
        assert!(next.number > dropped.number, "no number is given twice");
        assert_eq!(a.push(PATIENCE).await.expect("pushed"), 0, "{table}");
        assert_eq!(at_node(node.address(), "task:1").await.expect("there")["data"]["table"], table);
        assert_eq!(a.close(PATIENCE).await, Some(0));
    }
}
