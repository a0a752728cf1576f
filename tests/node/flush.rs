//! The promise "an acknowledged event is on disk", proved from the node's own system calls.

use std::{path::Path, process::Command};

use serde_json::json;
use tempfile::TempDir;

use crate::support::{Node, new_id, until};

/// What is traced: everything that writes to a file or a socket, and everything that flushes.
const CALLS: &str = "trace=write,writev,pwrite64,pwritev,pwritev2,sendto,sendmsg,sendmmsg,\
                     fsync,fdatasync,sync_file_range,msync,syncfs,sync";
const EVENTS_EACH_WAY: usize = 20;

/// A call as it began or ended.
#[derive(Debug)]
struct Call<'a> {
    name: &'a str,
    /// What the descriptor stands for.
    file: &'a str,
    /// The rest of the line: arguments and result.
    rest: &'a str,
    /// Where it began, in lines of the trace.
    begun: usize,
    /// Where it ended well; `None` for one that failed.
    done: Option<usize>,
}

/// The calls of a trace, those that others interrupted put together again.
fn calls(trace: &str) -> Vec<Call<'_>> {
    let mut calls: Vec<Call<'_>> = Vec::new();
    let mut open: Vec<(&str, usize)> = Vec::new();
    for (at, line) in trace.lines().enumerate() {
        let Some((thread, rest)) = line.split_once(' ') else { continue };
        let Some((_, text)) = rest.trim_start().split_once(' ') else { continue };
        if text.starts_with("<... ") {
            let Some(index) = open.iter().position(|(known, _)| *known == thread) else { continue };
            let (_, call) = open.swap_remove(index);
            calls[call].done = succeeded(text).then_some(at);
            continue;
        }
        let Some((name, rest)) = text.split_once('(') else { continue };
        let file = rest.split_once('<').and_then(|(_, file)| file.split_once('>')).map_or("", |(file, _)| file);
        let unfinished = rest.ends_with("<unfinished ...>");
        let done = (!unfinished && succeeded(rest)).then_some(at);
        if unfinished {
            open.push((thread, calls.len()));
        }
        calls.push(Call { name, file, rest, begun: at, done });
    }
    calls
}

fn succeeded(text: &str) -> bool {
    let result = text.rsplit_once(" = ").map_or("", |(_, result)| result);
    result.split(' ').next().is_some_and(|number| number.parse::<i64>().is_ok_and(|number| number >= 0))
}

/// Holds a trace against the promise for one event: its bytes were written to a journal; a flush of that file began
/// after that and ended well; only then did its id go out on a socket.
fn check(trace: &str, id: &str) -> Result<(), String> {
    let calls = calls(trace);
    let names_it = |call: &&Call<'_>| call.rest.contains(id);
    let written = calls.iter().filter(names_it).find(|call| call.file.ends_with(".jnl"));
    let written = written.ok_or_else(|| format!("{id} was never written to a journal"))?;
    let written_at = written.done.ok_or_else(|| format!("writing {id} failed"))?;
    let told = calls.iter().filter(names_it).find(|call| call.file.starts_with("socket:") || call.file.contains("TCP"));
    let told = told.ok_or_else(|| format!("{id} was never acknowledged"))?;
    let is_flush = |call: &&Call<'_>| ["fdatasync", "fsync"].contains(&call.name) && call.file == written.file;
    let flushed =
        calls.iter().filter(is_flush).filter(|call| call.begun > written_at).filter_map(|call| call.done).min();
    match flushed {
        Some(flushed) if flushed < told.begun => Ok(()),
        Some(flushed) => Err(format!("{id} was told in line {} and flushed in line {}", told.begun + 1, flushed + 1)),
        None => Err(format!("{id} was told in line {} and never flushed", told.begun + 1)),
    }
}

/// The process itself stays our child; strace watches it from the side.
fn under_strace(node: &Command, trace: &Path) -> Command {
    let mut command = Command::new("strace");
    command.args(["-D", "-f", "-y", "-tt", "-s", "4096", "-e", CALLS, "-o"]).arg(trace);
    command.arg(node.get_program()).args(node.get_args());
    for (name, value) in node.get_envs().filter(|(_, value)| value.is_none()) {
        assert!(value.is_none());
        command.env_remove(name);
    }
    command
}

fn need_strace() {
    let found = Command::new("strace").arg("-V").output().is_ok_and(|output| output.status.success());
    assert!(found, "strace is not there: run scripts/setup");
}

#[tokio::test]
async fn every_acknowledgement_leaves_the_node_after_its_event_was_flushed() {
    need_strace();
    let directory = TempDir::new().expect("a temporary directory can be made");
    let path = directory.path().join("trace");
    let mut node = Node::start_through(|node| under_strace(&node, &path), &[]).await;
    let mut witness = node.join("room", "witness").await;
    let mut client = node.join("room", "a").await;
    client.catch_up().await;
    let ids: Vec<String> = (0..2 * EVENTS_EACH_WAY).map(|_| new_id()).collect();
    for (index, id) in ids.iter().enumerate() {
        if index % 2 == 0 {
            client.publish_as(id, "memory_added", json!({"message_id": index})).await;
        } else {
            let event = json!({"event_type": "memory_added", "instance_id": "b", "event_id": id, "data": {}});
            let answer = node.post("/v1/tenants/room/events", &event).await;
            assert_eq!(answer.status, 201, "{}", answer.text());
        }
    }
    // Nobody hears of an event before it is on disk, not only its publisher.
    assert_eq!(witness.take(ids.len()).await.len(), ids.len());
    drop((witness, client));
    let pid = node.pid();
    assert_eq!(node.terminate().await.code(), Some(0));
    let trace = until("strace has written everything", async || {
        let trace = std::fs::read_to_string(&path).ok()?;
        let ended = |line: &str| line.starts_with(&pid.to_string()) && line.contains("+++ exited");
        trace.lines().last().is_some_and(ended).then_some(trace)
    });
    let trace = trace.await;
    let broken: Vec<String> = ids.iter().filter_map(|id| check(&trace, id).err()).collect();
    assert!(broken.is_empty(), "{} of {}:\n{}", broken.len(), ids.len(), broken.join("\n"));
}

/// What strace writes for an event that is stored as promised.
const GOOD: &str = r#"7  10:00:00.000001 write(13</d/log/0.jnl>, "\1\"event_id\":\"ID\"", 40) = 40
7  10:00:00.000002 fdatasync(13</d/log/0.jnl> <unfinished ...>
8  10:00:00.000003 write(19<anon_inode:[eventfd]>, "\1", 8) = 8
7  10:00:00.000004 <... fdatasync resumed>) = 0
8  10:00:00.000005 sendto(32<socket:[54]>, "{\"event_id\":\"ID\",\"seq\":2}", 25, 0, NULL, 0) = 25
"#;

#[test]
fn a_good_trace_passes() {
    assert_eq!(check(GOOD, "ID"), Ok(()));
}

#[test]
fn an_acknowledgement_before_the_flush_is_caught() {
    let lines: Vec<&str> = GOOD.lines().collect();
    let early = [lines[0], lines[1], lines[4], lines[3]].join("\n");
    assert_eq!(check(&early, "ID"), Err("ID was told in line 3 and flushed in line 4".to_owned()));
    let unflushed = [lines[0], lines[4]].join("\n");
    assert_eq!(check(&unflushed, "ID"), Err("ID was told in line 2 and never flushed".to_owned()));
}

#[test]
fn a_flush_that_began_before_the_write_ended_does_not_count() {
    let lines: Vec<&str> = GOOD.lines().collect();
    let crossed = [lines[1], lines[0], lines[3], lines[4]].join("\n");
    // As two threads would have it: the write goes on another thread here.
    let crossed = crossed.replacen("\n7 ", "\n9 ", 1);
    assert!(check(&crossed, "ID").is_err_and(|why| why.contains("never flushed")), "{crossed}");
}

#[test]
fn a_flush_that_failed_or_was_of_another_file_does_not_count() {
    let failed = GOOD.replace("resumed>) = 0", "resumed>) = -1 EIO (Input/output error)");
    assert!(check(&failed, "ID").is_err_and(|why| why.contains("never flushed")));
    let other = GOOD.replace("fdatasync(13</d/log/0.jnl>", "fdatasync(14</d/log/1.jnl>");
    assert!(check(&other, "ID").is_err_and(|why| why.contains("never flushed")));
}

#[test]
fn an_event_that_was_never_written_or_never_acknowledged_is_caught() {
    let written = GOOD.lines().next().expect("a line");
    assert!(check(written, "ID").is_err_and(|why| why.contains("never acknowledged")));
    assert!(check(GOOD, "OTHER").is_err_and(|why| why.contains("never written")));
    let failed = GOOD.replace("40) = 40", "40) = -1 ENOSPC (No space left on device)");
    assert!(check(&failed, "ID").is_err_and(|why| why.contains("failed")));
}
