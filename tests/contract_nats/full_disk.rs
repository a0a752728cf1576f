//! A full disk under JetStream: a server with its store in a small file system, in a user namespace of this test's own.

use std::{env, path::Path, process::Command};

use continuum::{
    backbone::{AppendError, Appended, SharedBackbone, append_one, nats::NatsLog},
    model::Position,
};

use crate::{
    nats_support::{NatsServer, until},
    single::config,
    support::*,
};

const DIR: &str = "CONTINUUM_TEST_SMALL_DISK";
const MEBIBYTES: usize = 40;

#[test]
fn what_a_full_disk_took_is_there_and_what_it_refused_was_never_acknowledged() {
    let dir = tempfile::tempdir().expect("a directory");
    let me = env::current_exe().expect("this program");
    let script = format!(
        "mount -t tmpfs -o size={MEBIBYTES}m none \"${DIR}\" || exit 77
        TMPDIR=\"${DIR}\" exec \"$0\" --exact full_disk::the_child_fills_its_disk --nocapture"
    );
    let status = Command::new("unshare").args(["-rm", "sh", "-c", &script]).arg(me).env(DIR, dir.path()).status();
    match status.as_ref().map(std::process::ExitStatus::code) {
        Ok(Some(0)) => {}
        // No user namespaces here, or no such program: there is nothing to fill.
        Err(_) | Ok(Some(1 | 77 | 127)) if !may_mount() => {
            let why = "no small file system can be mounted here (unprivileged user namespaces, `unshare` and `mount`)";
            // A person may go on without; where the project is judged, this is part of it.
            assert!(env::var_os("CI").is_none(), "{why}");
            eprintln!("not run: {why}");
        }
        other => panic!("{other:?}"),
    }
}

fn may_mount() -> bool {
    let probe = "mount -t tmpfs none /mnt";
    Command::new("unshare").args(["-rm", "sh", "-c", probe]).status().is_ok_and(|status| status.success())
}

/// Not a test by itself: what the child process runs.
#[tokio::test]
async fn the_child_fills_its_disk() {
    let Some(dir) = env::var_os(DIR) else { return };
    let (ballast, acme) = (Path::new(&dir).join("ballast"), tenant("acme"));
    std::fs::write(&ballast, vec![1; 8 << 20]).expect("written");
    let server = NatsServer::start().await;
    let log: SharedBackbone = std::sync::Arc::new(NatsLog::open(config(&server.url(), 1 << 20)).await.expect("opens"));
    let (mut stored, mut refused) = (Vec::new(), 0);
    while refused < 3 {
        assert!(stored.len() < MEBIBYTES * 10, "it is not full yet");
        let append = event(&acme, vec![7; 100_000]);
        match in_time(append_one(log.as_ref(), append)).await {
            Ok(Appended { position, .. }) => stored.push(position),
            Err(AppendError::Full(_) | AppendError::Unavailable(_) | AppendError::Unknown(_)) => refused += 1,
            Err(other) => panic!("{other}"),
        }
    }
    assert!(stored.len() > 50, "only {} were stored", stored.len());
    // With room again, and a server that looks again, everything that was acknowledged is there.
    std::fs::remove_file(ballast).expect("removed");
    server.stop().await;
    server.start_again().await;
    let held = until("the log can be read", async || log.read(&acme, Position::START, ALL).await.ok()).await;
    let held: Vec<_> = held.records.into_iter().map(|record| record.position).collect();
    assert!(held.starts_with(&stored), "acknowledged: {stored:?}, held: {held:?}");
    let again = until("it takes appends", async || append_one(log.as_ref(), event(&acme, "small")).await.ok()).await;
    assert!(again.position > *stored.last().expect("some"));
}
