//! Real crashes: a child process appends and is killed with `kill -9`, again and again in one log.

use std::{
    collections::BTreeMap,
    env,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
};

use continuum::{
    backbone::{Append, Backbone, Expect, Reply, SharedBackbone, embedded::EmbeddedLog},
    model::{DedupeId, Position},
};
use tokio::sync::mpsc;
use uuid::Uuid;

use crate::{embedded::config, support::*};

const DIR: &str = "CONTINUUM_TEST_CRASH_DIR";
const FIRST: &str = "CONTINUUM_TEST_CRASH_FIRST";
/// Appends under way at once.
const WINDOW: usize = 100;

/// The append with a number: the same in every life of the child, so that a repeat is a repeat.
fn append(number: u64) -> Append {
    let acme = tenant("acme");
    let body = format!("{number} ").repeat(1 + usize::try_from(number % 200).expect("small"));
    let append = match number % 3 {
        0 => change(&acme, &entity(&format!("e{}", number % 7)), Expect::Anything, body),
        _ => event(&acme, body),
    };
    Append { dedupe: DedupeId(Uuid::from_u128(u128::from(number) + 1)), ..append }
}

/// Not a test by itself: what the child process runs.
#[tokio::test]
async fn the_child_appends_until_it_is_killed() {
    let (Some(dir), Ok(first)) = (env::var_os(DIR), env::var(FIRST)) else { return };
    let log = EmbeddedLog::open(config(Path::new(&dir))).expect("opens after a crash");
    let (to, mut from) = mpsc::channel(WINDOW);
    let mut next: u64 = first.parse().expect("a number");
    for _ in 0..WINDOW {
        log.append(append(next), Reply { token: next, to: to.clone(), keeper: None });
        next += 1;
    }
    while let Some((number, answer)) = from.recv().await {
        let position = appended(answer.expect("appended")).position;
        // One write, so that a kill cannot cut a line without cutting the stream there.
        std::io::stdout().write_all(format!("\nack {number} {position}\n").as_bytes()).expect("the parent reads");
        log.append(append(next), Reply { token: next, to: to.clone(), keeper: None });
        next += 1;
    }
}

/// Runs the child until it acknowledged so many, kills it, and returns all it acknowledged.
fn run_and_kill(dir: &Path, first: u64, after: usize) -> Vec<(u64, Position)> {
    let mut child = Command::new(env::current_exe().expect("this program"))
        .args(["--exact", "crash::the_child_appends_until_it_is_killed", "--nocapture", "--test-threads=1"])
        .env(DIR, dir)
        .env(FIRST, first.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .expect("started");
    let mut acknowledged = Vec::new();
    for line in BufReader::new(child.stdout.take().expect("piped")).split(b'\n') {
        let line = String::from_utf8(line.expect("read")).expect("text");
        let mut words = line.split(' ');
        if let (Some("ack"), Some(number), Some(position)) = (words.next(), words.next(), words.next()) {
            // The last line may be cut; a cut number would be another number, so only lines before the kill count.
            if acknowledged.len() < after {
                let position = Position(position.parse().expect("a position"));
                acknowledged.push((number.parse().expect("a number"), position));
            }
        }
        if acknowledged.len() == after {
            // Twice is harmless: the second finds a process that is gone.
            let _ = child.kill();
        }
    }
    child.wait().expect("waited");
    assert_eq!(acknowledged.len(), after, "the child went on until it was killed");
    acknowledged
}

#[tokio::test]
async fn after_kill_9_everything_acknowledged_is_there_once_and_in_order() {
    let dir = tempfile::tempdir().expect("a directory");
    let (mut known, mut next): (BTreeMap<u64, Position>, u64) = (BTreeMap::new(), 0);
    for _ in 0..6 {
        // 1 to 3,000, other ones on every run.
        let after = usize::try_from(Uuid::new_v4().as_u128() % 3_000).expect("small") + 1;
        known.extend(run_and_kill(dir.path(), next, after));
        let log: SharedBackbone = std::sync::Arc::new(EmbeddedLog::open(config(dir.path())).expect("opens"));
        let records = all_after(&log, &tenant("acme"), Position::START).await;
        assert!(records.is_sorted_by(|one, next| one.position < next.position));
        let mut there = BTreeMap::new();
        for record in &records {
            let text = String::from_utf8(record.body.to_vec()).expect("text");
            let number: u64 = text.split(' ').next().expect("a word").parse().expect("a number");
            assert_eq!((&record.body, &record.subject), (&append(number).body, &append(number).subject), "whole");
            assert_eq!(there.insert(number, record.position), None, "{number} is there once");
        }
        for (number, position) in &known {
            assert_eq!(there.get(number), Some(position), "{number} was acknowledged");
        }
        // What the child had under way may be there; it is repeated by the next life and must not come twice.
        next = *known.keys().next_back().expect("at least one");
        known = there;
        log.close().await;
    }
}
