//! Bad days: killed at every step, offline for long, disks that are full or damaged, clocks that jump.

use std::{
    fs,
    io::{Seek as _, SeekFrom, Write as _},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use continuum::replica::{Clock, Freshness, Pulled, Replica, StoreError, WriteError};
use serde_json::json;
use tempfile::TempDir;
use tokio::time::Instant;

use crate::{
    PATIENCE, at_node,
    client::{Client, Form, hasty},
    key,
    nats_support::{Line, until, within},
    open, options, put, small_disk,
    support::{self, Node},
};

/// Where a write is when its process dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// On this disk; nothing was sent.
    Written,
    /// Sent, and not there yet.
    OnTheWay,
    /// Applied, and the answer is not here yet.
    Applied,
}

/// A server that does not wait long for what others wrote.
fn brief(line: &Line, dir: &TempDir) -> tokio::process::Command {
    let mut command = hasty(line.address(), "a", dir.path());
    command.args(["--pull-wait", "300ms", "--push-wait", "50s"]);
    command
}

#[tokio::test]
async fn killed_at_each_step_between_the_write_and_its_answer_nothing_is_lost_or_done_twice() {
    for step in [Step::Written, Step::OnTheWay, Step::Applied] {
        for form in [Form::Handshake, Form::Alone] {
            let node = Node::start(&[]).await;
            let mut line = Line::to(node.address()).await;
            let dir = TempDir::new().expect("a directory");
            let mut a = Client::start(brief(&line, &dir), form, None).await;
            let write = |n: u64| json!({"action": "update", "level": "task", "context_id": "1", "data": {"n": n}});
            a.call("manage_context", write(1)).await;
            let before = at_node(node.address(), "task:1").await.expect("there")["version"].clone();
            match step {
                Step::Written => line.snap().await,
                Step::OnTheWay => line.cut_to_server(),
                Step::Applied => line.cut_from_server(),
            }
            a.begin("tools/call", json!({"name": "manage_context", "arguments": write(2)})).await;
            match step {
                Step::Applied => {
                    until("it is applied", async || {
                        let stands = at_node(node.address(), "task:1").await?;
                        (stands["version"] != before).then_some(())
                    })
                    .await;
                }
                Step::Written | Step::OnTheWay => {
                    let look = Replica::look(dir.path().to_owned()).await.expect("a journal");
                    until("it is written", async || (look.status().await.expect("read").pending == 1).then_some(()))
                        .await;
                }
            }
            a.kill().await;
            line.snap().await;
            line.heal().await;
            let mut a = Client::start(brief(&line, &dir), form, None).await;
            until("it is settled", async || {
                let status = a.call("manage_context", json!({"action": "status"})).await;
                (status["sync"]["pending"] == 0 && status["sync"]["connection"]["state"] == "online").then_some(())
            })
            .await;
            let stands = at_node(node.address(), "task:1").await.expect("there");
            assert_eq!((&stands["data"]["n"], &stands["conflicts"]), (&json!(2), &json!([])), "{step:?}");
            let versions =
                support::http::get(node.address(), "/v1/tenants/t/entities/context/task%3A1/versions").await.json();
            assert_eq!(versions["versions"].as_array().map(Vec::len), Some(2), "{step:?}: {versions}");
        }
    }
}

#[tokio::test]
async fn an_hour_of_edits_without_a_node_ends_without_a_conflict_with_itself() {
    let node = Node::start(&[]).await;
    let mut line = Line::to(node.address()).await;
    let dirs = [(); 2].map(|()| TempDir::new().expect("a directory"));
    let minutes = Arc::new(AtomicU64::new(0));
    let mut options = options(line.address(), "a", dirs[0].path());
    let passed = minutes.clone();
    options.clock = Clock(Arc::new(move || Instant::now() + Duration::from_secs(60 * passed.load(Ordering::SeqCst))));
    let a = Replica::open(options).await.expect("it opens");
    let b = open(node.address(), "b", dirs[1].path()).await;
    a.write(put("task:1", json!({"minute": 0, "text": "start"}))).await.expect("written");
    assert_eq!(a.push(PATIENCE).await.expect("pushed"), 0);
    assert_eq!(a.pull(PATIENCE).await.expect("pulled"), Pulled::Fresh);
    assert_eq!(a.status().await.expect("read").sync, Freshness::Synced);
    line.snap().await;
    until("it notices", async || {
        let link = serde_json::to_value(a.status().await.expect("read").connection).expect("JSON");
        (link["state"] == "offline").then_some(())
    })
    .await;
    // Nobody waits for what is known to be away.
    let pulled = within("it is not waited for", a.pull(Duration::from_secs(3_600))).await;
    assert_eq!(pulled.expect("pulled"), Pulled::Behind);
    for minute in 1..=60_u64 {
        minutes.store(minute, Ordering::SeqCst);
        a.write(put("task:1", json!({"minute": minute}))).await.expect("written");
        let status = a.status().await.expect("read");
        let wanted = match minute {
            1..=4 => Freshness::Recent,
            _ => Freshness::Stale,
        };
        assert_eq!((status.sync, status.pending), (wanted, minute), "after {minute} minutes");
    }
    // Somebody else changed something else meanwhile.
    b.pull(PATIENCE).await.expect("pulled");
    b.write(put("task:1", json!({"other": true}))).await.expect("written");
    assert_eq!(b.push(PATIENCE).await.expect("pushed"), 0);
    line.heal().await;
    assert_eq!(a.push(PATIENCE).await.expect("pushed"), 0);
    let stands = at_node(node.address(), "task:1").await.expect("there");
    assert_eq!(stands["data"], json!({"minute": 60, "text": "start", "other": true}));
    assert_eq!((&stands["conflicts"], &stands["variants"]), (&json!([]), &json!([])));
    assert!(a.dead_letters().await.expect("read").is_empty());
    assert_eq!(a.figures().await.expect("read").clashed, 0);
    assert_eq!(a.pull(PATIENCE).await.expect("pulled"), Pulled::Fresh);
    assert_eq!(a.status().await.expect("read").sync, Freshness::Synced);
}

#[tokio::test]
async fn a_torn_or_damaged_file_loses_nothing_that_was_whole_and_stops_nobody() {
    let nobody = "127.0.0.1:9".parse().expect("an address");
    let dir = TempDir::new().expect("a directory");
    let path = |end: &str| dir.path().join(format!("replica.db{end}"));
    {
        let a = open(nobody, "a", dir.path()).await;
        for n in 0..3 {
            a.write(put(&format!("task:{n}"), json!({"n": n}))).await.expect("written");
        }
        // As it is when the machine loses its power, with half of a fourth write behind.
        fs::create_dir(dir.path().join("torn")).expect("a directory");
        for end in ["", "-wal"] {
            fs::copy(path(end), dir.path().join(format!("torn/replica.db{end}"))).expect("copied");
        }
    }
    let torn = dir.path().join("torn");
    let mut wal = fs::OpenOptions::new().append(true).open(torn.join("replica.db-wal")).expect("opened");
    wal.write_all(&[0x5a; 3_000]).expect("written");
    drop(wal);
    let a = open(nobody, "a", &torn).await;
    assert_eq!((a.status().await.expect("read").pending, a.set_aside()), (3, None));
    assert_eq!(a.get(key("task:2")).await.expect("read").expect("there").data["n"], 2);
    a.close(Duration::ZERO).await;
    drop(a);

    // Damaged where it can be no journal any more: it is put aside for a person, and work goes on.
    until("its lock is free", async || fs::File::open(torn.join("leader.lock")).ok()?.try_lock().ok()).await;
    let mut file = fs::OpenOptions::new().write(true).open(torn.join("replica.db")).expect("opened");
    file.seek(SeekFrom::Start(0)).expect("a beginning");
    file.write_all(&[0x5a; 8_192]).expect("written");
    drop(file);
    let a = open(nobody, "a", &torn).await;
    let aside = a.set_aside().expect("it was put aside").to_owned();
    assert!(aside.exists() && aside.file_name().is_some_and(|name| name.to_string_lossy().contains("damaged")));
    assert_eq!(a.status().await.expect("read").pending, 0);
    a.write(put("task:9", json!({"n": 9}))).await.expect("written");
    assert_eq!(a.status().await.expect("read").pending, 1);
}

#[tokio::test]
async fn a_clock_that_jumps_changes_no_order_and_no_age() {
    let node = Node::start(&[]).await;
    let dir = TempDir::new().expect("a directory");
    let a = open(node.address(), "a", dir.path()).await;
    a.write(put("task:1", json!({"n": 1}))).await.expect("written");
    assert_eq!(a.push(PATIENCE).await.expect("pushed"), 0);
    a.close(PATIENCE).await;
    drop(a);
    let line = Line::to("127.0.0.1:9".parse().expect("an address")).await;
    let a = Replica::open(options(line.address(), "a", dir.path())).await.expect("it opens");
    for n in 2..=4 {
        a.write(put("task:1", json!({"n": n}))).await.expect("written");
    }
    a.close(Duration::ZERO).await;
    drop(a);
    // The clock said other times when these were written than it says now: the future, and long ago.
    let db = rusqlite::Connection::open(dir.path().join("replica.db")).expect("opened");
    db.execute("UPDATE pending SET written_at = CASE number % 2 WHEN 0 THEN 99999999999999 ELSE -5 END", [])
        .expect("set");
    db.execute("UPDATE fact SET value = json_set(value, '$.told_at', 99999999999999) WHERE name = 'live'", [])
        .expect("set");
    drop(db);
    let look = Replica::look(dir.path().to_owned()).await.expect("a journal");
    assert_eq!(look.status().await.expect("read").pending, 3);
    let a = open(node.address(), "a", dir.path()).await;
    assert_eq!(a.push(PATIENCE).await.expect("pushed"), 0);
    assert_eq!(at_node(node.address(), "task:1").await.expect("there")["data"]["n"], 4);
    assert_eq!(a.pull(PATIENCE).await.expect("pulled"), Pulled::Fresh);
    let status = a.status().await.expect("read");
    assert_eq!((status.sync, status.refused), (Freshness::Synced, 0), "{status:?}");
}

#[test]
fn a_full_disk_is_said_and_loses_nothing() {
    small_disk::run("days::on_a_disk_that_is_soon_full", 4, small_disk::Temporary::Elsewhere);
}

#[tokio::test]
async fn on_a_disk_that_is_soon_full() {
    let Some(disk) = small_disk::given() else { return };
    let node = Node::start(&[]).await;
    let mut line = Line::to(node.address()).await;
    let dir = disk.join("journal");
    let a = open(line.address(), "a", &dir).await;
    a.write(put("task:0", json!({"n": 0}))).await.expect("written");
    assert_eq!(a.push(PATIENCE).await.expect("pushed"), 0);
    line.snap().await;
    let mut taken = Vec::new();
    let refused = loop {
        let n = taken.len() + 1;
        match a.write(put(&format!("task:{n}"), json!({"n": n, "text": "x".repeat(20_000)}))).await {
            Ok(ticket) => taken.push(ticket),
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, WriteError::Store(StoreError::Full(_))), "{refused}");
    assert!(refused.to_string().contains("disk is full") && !taken.is_empty(), "{refused}");
    // What was taken is there, what was not is not; it can be read, and it goes out.
    assert_eq!(a.status().await.expect("read").pending, taken.len() as u64);
    let first = a.get(key("task:1")).await.expect("read").expect("there");
    assert_eq!(first.data["n"], 1);
    line.heal().await;
    assert_eq!(a.push(PATIENCE).await.expect("pushed"), 0);
    for n in 1..=taken.len() {
        assert_eq!(at_node(node.address(), &format!("task:{n}")).await.expect("there")["data"]["n"], n);
    }
}
