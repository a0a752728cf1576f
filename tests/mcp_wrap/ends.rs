//! How it ends: whoever ends first, all of it does, in bounded time, and nobody is left waiting.

use std::{path::PathBuf, process::Stdio};

use continuum::mcp::wrap::{self, Config, Room, WrapError};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    process::Command,
};
use tokio_util::sync::CancellationToken;

use crate::{NOWHERE, Wrapped, replica, server, support::within};

#[tokio::test]
async fn when_the_server_ends_whoever_waits_is_told_and_its_status_is_ours() {
    let mut wrapped = Wrapped::start(NOWHERE, "polite", |_| ()).await;
    wrapped.call(1, "hang", json!({})).await;
    wrapped.say(r#"{"jsonrpc":"2.0","id":"\u0061","method":"tools/call","params":{"name":"hang"}}"#).await;
    wrapped.until_heard("u0061").await;
    wrapped.call(3, "exit", json!({"code": 3})).await;
    let (ended, rest) = wrapped.end().await;
    assert_eq!(ended.expect("no error").code(), 3);
    let message = "the wrapped server has ended (exit status: 3)";
    let answer = |id: &str| format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":-32603,"message":"{message}"}}}}"#);
    assert_eq!(rest, [answer("1"), answer(r#""\u0061""#), answer("3")]);
}

#[tokio::test]
async fn when_the_client_goes_the_server_is_asked_then_told_then_killed() {
    for (manner, code) in [("polite", 0), ("lingers", 128 + 15), ("stubborn", 128 + 9)] {
        let mut wrapped = Wrapped::start(NOWHERE, manner, |_| ()).await;
        wrapped.call(1, "hang", json!({})).await;
        wrapped.until_heard("hang").await;
        wrapped.close();
        let (ended, rest) = wrapped.end().await;
        assert_eq!(ended.expect("no error").code(), code, "{manner}");
        assert_eq!(rest.len(), 1, "{rest:?}");
    }
}

#[tokio::test]
async fn when_it_is_told_to_stop_it_stops() {
    for (manner, code) in [("lingers", 128 + 15), ("stubborn", 128 + 9)] {
        let mut wrapped = Wrapped::start(NOWHERE, manner, |_| ()).await;
        wrapped.ping(1).await;
        wrapped.stop.cancel();
        assert_eq!(wrapped.end().await.0.expect("no error").code(), code, "{manner}");
    }
}

#[tokio::test]
async fn a_line_without_an_end_is_the_end() {
    let mut wrapped = Wrapped::start(NOWHERE, "polite", |_| ()).await;
    wrapped.call(1, "long", json!({})).await;
    let (ended, rest) = wrapped.end().await;
    let error = ended.expect_err("too long");
    assert!(matches!(error, WrapError::LineTooLong { of: "wrapped server" }), "{error}");
    let answer: Value = serde_json::from_str(&rest[0]).expect("JSON");
    assert_eq!(answer["error"]["message"], "a line of the wrapped server is longer than 64 MiB");
}

#[tokio::test]
async fn a_program_that_cannot_be_started_says_nothing_to_the_client() {
    let dir = TempDir::new().expect("a directory");
    let room = Room::new(replica(NOWHERE, "a", dir.path()).await, "a".parse().expect("a name")).await.expect("read");
    let missing = dir.path().join("missing").into_os_string();
    for (program, code) in [(missing, 127), (dir.path().to_owned().into_os_string(), 126)] {
        let mut said = Vec::new();
        let config = Config::new(program, Vec::new());
        let run = wrap::run(config, room.clone(), tokio::io::empty(), &mut said, CancellationToken::new());
        let error = run.await.expect_err("it cannot be started");
        assert_eq!((error.code(), said.len()), (code, 0), "{error}");
    }
}

const DIRECTORY: &str = "WRAPPED_IN";

/// Does nothing by itself: the next test runs it as a process of its own.
#[tokio::test]
async fn as_a_process() {
    let Some(dir) = std::env::var_os(DIRECTORY).map(PathBuf::from) else { return };
    let replica = replica(NOWHERE, "a", &dir.join("replica")).await;
    let room = Room::new(replica, "a".parse().expect("a name")).await.expect("read");
    let ended = wrap::stdio(server(&dir.join("log"), "lingers"), room).await.expect("no error");
    std::process::exit(ended.code().into());
}

#[tokio::test]
async fn a_signal_ends_a_process_and_its_server() {
    let dir = TempDir::new().expect("a directory");
    let mut process = Command::new(std::env::current_exe().expect("a program"));
    process.args(["--exact", "ends::as_a_process", "--nocapture"]).env(DIRECTORY, dir.path());
    process.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut process = process.spawn().expect("it starts");
    let mut input = process.stdin.take().expect("a pipe");
    let mut output = BufReader::new(process.stdout.take().expect("a pipe")).lines();
    input.write_all(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}\n").await.expect("written");
    loop {
        // What runs it as a test says something too.
        let line = within("a line", output.next_line()).await.expect("it can be read").expect("a line");
        if line.starts_with('{') {
            assert_eq!(line, r#"{"jsonrpc": "2.0", "id": 1, "result": {"method": "ping"}}"#);
            break;
        }
    }
    let pid = process.id().and_then(|id| Pid::from_raw(id.cast_signed())).expect("it runs");
    kill_process(pid, Signal::TERM).expect("told");
    let status = within("it ends", process.wait()).await.expect("it ends");
    assert_eq!(status.code(), Some(128 + 15));
}
