//! `continuum mcp` as its options have it: around another server, at a node that asks for tokens, over HTTP.

use std::{
    fs,
    io::{Seek as _, SeekFrom, Write as _},
    net::SocketAddr,
    path::Path,
    process::Stdio,
    time::Duration,
};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    process::Command,
};

use crate::{
    PATIENCE,
    client::{Client, Form, command, hasty},
    nats_support::{until, within},
    open, put,
    support::{self, Issuer, Node},
};

#[tokio::test]
async fn a_wrapped_servers_calls_are_told_to_the_room_and_its_end_is_the_commands() {
    let node = Node::start(&[]).await;
    let dir = TempDir::new().expect("a directory");
    let b = open(node.address(), "b", &dir.path().join("b")).await;
    let mut start = command(node.address(), "a", &dir.path().join("a"));
    start.args(["--wrap", "--", "python3", concat!(env!("CARGO_MANIFEST_DIR"), "/tests/mcp_wrap/server.py")]);
    start.arg(dir.path().join("log")).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut wrapped = start.spawn().expect("it starts");
    let mut input = wrapped.stdin.take().expect("piped");
    let mut output = BufReader::new(wrapped.stdout.take().expect("piped")).lines();
    let mut call = async |id: u64, tool: &str, arguments: Value| {
        let params = json!({"name": tool, "arguments": arguments});
        let line = json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params});
        input.write_all(format!("{line}\n").as_bytes()).await.expect("it reads");
    };
    let said = json!({"jsonrpc": "2.0", "id": 1, "result": {"content": [{"type": "text", "text": "done"}]}});
    call(1, "raw", json!({"raw": said.to_string()})).await;
    let line = within("it answers", output.next_line()).await.expect("read").expect("a line");
    let answer: Value = serde_json::from_str(&line).expect("JSON");
    let content = answer["result"]["content"].as_array().expect("contents");
    assert_eq!((content.len(), &content[0]["text"]), (2, &json!("done")), "{answer}");
    assert!(content[1]["text"].as_str().is_some_and(|text| text.starts_with("[continuum] ")), "{answer}");
    b.pull(PATIENCE).await.expect("pulled");
    let (changes, _) = b.changes(0, 100).await.expect("read");
    let told: Vec<_> = changes.iter().filter(|change| change.event_type == "tool_called").collect();
    let [told] = told.as_slice() else { panic!("{changes:?}") };
    let data = serde_json::to_value(told).expect("JSON")["data"].take();
    assert_eq!((told.by.as_str(), &data["tool"], &data["ok"]), ("a", &json!("raw"), &json!(true)), "{data}");
    call(2, "exit", json!({"code": 7})).await;
    let ended = within("it ends", wrapped.wait()).await.expect("it can be waited for");
    assert_eq!(ended.code(), Some(7));
}

fn agent_of(node: &Node, dir: &Path, token: Option<&Path>) -> Command {
    let mut start = Command::new(env!("CARGO_BIN_EXE_continuum"));
    start.args(["mcp", "--url", &format!("ws://{}", node.address()), "--tenant", "acme", "--instance", "a"]);
    start.args(["--pull-wait", "300ms", "--push-wait", "300ms", "--flush", "200ms", "--dir"]).arg(dir);
    if let Some(token) = token {
        start.arg("--token-file").arg(token);
    }
    start.env_remove("CONTINUUM_URL").kill_on_drop(true);
    start
}

#[tokio::test]
async fn with_a_good_token_it_writes_and_with_none_or_a_bad_one_it_waits_and_says_why() {
    let issuer = Issuer::new();
    let node = issuer.node(&[]).await;
    let good = issuer.token(json!({"sub": "ada"}));
    let dir = TempDir::new().expect("a directory");
    let (journal, file) = (dir.path().join("journal"), dir.path().join("token"));
    let update = |n: u64| json!({"action": "update", "level": "task", "context_id": "7", "data": {"n": n}});
    let status = json!({"action": "status"});
    let stands = async || {
        let answer = node.get_as(&good, "/v1/tenants/acme/entities/context/task%3A7").await;
        (answer.status == 200).then(|| answer.json()["data"]["n"].clone())
    };
    let until_out = async |a: &mut Client| {
        until("nothing waits", async || {
            (a.call("manage_context", status.clone()).await["sync"]["pending"] == 0).then_some(())
        })
        .await;
    };

    fs::write(&file, format!("{good}\n")).expect("written");
    let mut a = Client::start(agent_of(&node, &journal, Some(&file)), Form::Handshake, None).await;
    a.call("manage_context", update(1)).await;
    until_out(&mut a).await;
    assert_eq!(stands().await, Some(json!(1)));
    assert!(a.close().await.success());

    // None, then one that is none; what was written waits, over a restart too.
    fs::write(&file, "nonsense").expect("written");
    for (n, token) in [(2, None), (3, Some(&*file))] {
        let mut a = Client::start(agent_of(&node, &journal, token), Form::Alone, None).await;
        let done = a.call("manage_context", update(n)).await;
        assert_eq!((&done["outcome"], &done["context"]["data"]["n"]), (&json!("pending"), &json!(n)), "{done}");
        let blocked = until("it says why", async || {
            let told = a.call("manage_context", status.clone()).await;
            let why = told["sync"]["blocked"].as_str()?.to_owned();
            assert_eq!(told["sync"]["pending"], n - 1, "{told}");
            Some(why)
        });
        let why = blocked.await;
        assert!(why.contains("token") || why.contains("401"), "{why}");
        assert_eq!(stands().await, Some(json!(1)));
        if token.is_some() {
            // A good one in the same file is all that it takes.
            fs::write(&file, &good).expect("written");
            until_out(&mut a).await;
            assert_eq!(stands().await, Some(json!(3)));
            let told = a.call("manage_context", status.clone()).await;
            assert_eq!((&told["sync"]["blocked"], &told["sync"]["refused"]), (&Value::Null, &json!(0)), "{told}");
        }
        assert!(a.close().await.success());
    }
}

/// Says these bytes over a connection of its own; all that is said to them.
async fn say(address: SocketAddr, head: &str, body: &str) -> String {
    let length = body.len();
    let request = format!("{head}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}");
    let mut asking = support::RawClient::open(address, request.as_bytes()).await;
    String::from_utf8(asking.rest().await).expect("UTF-8")
}

#[tokio::test]
async fn over_http_there_is_a_greatest_number_of_sessions_and_one_name_for_all_paths() {
    let node = Node::start(&[]).await;
    let dir = TempDir::new().expect("a directory");
    let mut start = command(node.address(), "a", dir.path());
    let mut server = start.args(["--http", "127.0.0.1:0"]).stderr(Stdio::piped()).spawn().expect("it starts");
    let mut lines = BufReader::new(server.stderr.take().expect("piped")).lines();
    let address: SocketAddr = loop {
        let line = within("it says where", lines.next_line()).await.expect("read").expect("it goes on");
        if let Some(rest) = line.split("http://").nth(1) {
            break rest.trim_end_matches("/mcp").parse().expect("an address");
        }
    };
    let opening = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}});
    let head = "POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
                Accept: application/json, text/event-stream";
    let open = async || say(address, head, &opening.to_string()).await;
    let session = |answer: &str| -> Option<String> {
        let line = answer.lines().find(|line| line.to_ascii_lowercase().starts_with("mcp-session-id:"))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    let mut last = String::new();
    for n in 0..256 {
        let answer = open().await;
        last = session(&answer).unwrap_or_else(|| panic!("{n}: {answer}"));
    }
    let refused = open().await;
    assert!(refused.starts_with("HTTP/1.1 503") && refused.contains("256 sessions are open"), "{refused}");
    // Who stands alone needs none.
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {}
    });
    let call = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call",
        "params": {"name": "who_is_here", "arguments": {}, "_meta": meta}});
    let alone =
        format!("{head}\r\nMCP-Protocol-Version: 2026-07-28\r\nMcp-Method: tools/call\r\nMcp-Name: who_is_here");
    let answer = say(address, &alone, &call.to_string()).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    // One that ends makes room.
    let end = format!("DELETE /mcp HTTP/1.1\r\nHost: localhost\r\nMcp-Session-Id: {last}");
    say(address, &end, "").await;
    until("there is room again", async || session(&open().await)).await;

    let figures = say(address, "GET /metrics HTTP/1.1\r\nHost: localhost:9000", "").await;
    assert!(figures.starts_with("HTTP/1.1 200"), "{figures}");
    for path in ["GET /metrics HTTP/1.1", "DELETE /mcp HTTP/1.1"] {
        let elsewhere = say(address, &format!("{path}\r\nHost: evil.example"), "").await;
        assert!(elsewhere.starts_with("HTTP/1.1 403"), "{elsewhere}");
    }
    // Nor is a body kept that is longer than a message may be.
    let long = say(address, &alone, &"x".repeat((4 << 20) + 1)).await;
    assert!(long.starts_with("HTTP/1.1 413"), "{long}");
}

#[tokio::test]
async fn who_opens_a_damaged_journal_is_told_whether_what_waited_in_it_goes_on() {
    let (nobody, dir) = ("127.0.0.1:9".parse().expect("an address"), TempDir::new().expect("a directory"));
    let a = open(nobody, "a", dir.path()).await;
    a.write(put("task:1", json!({"n": 1}))).await.expect("written");
    a.close(Duration::ZERO).await;
    drop(a);
    let file = dir.path().join("replica.db");
    let lock = dir.path().join("leader.lock");
    until("its lock is free", async || fs::File::open(&lock).ok()?.try_lock().ok()).await;
    let number = |text: &str| {
        let db = rusqlite::Connection::open(&file).expect("opened");
        db.query_row(text, [], |row| row.get::<_, u64>(0)).expect("a number")
    };
    let page = number("PRAGMA page_size");
    let at = (number("SELECT rootpage FROM sqlite_schema WHERE name = 'change'") - 1) * page;
    let damage = |at: u64| {
        assert_eq!(number("PRAGMA wal_checkpoint(TRUNCATE)"), 0, "all of it is in the file");
        let mut file = fs::OpenOptions::new().write(true).open(&file).expect("opened");
        file.seek(SeekFrom::Start(at)).expect("a place");
        file.write_all(&vec![0x5a; usize::try_from(page).expect("a page")]).expect("written");
    };
    for (at, wanted) in [(at, "goes on, do not write it again"), (0, "in there alone and not sent")] {
        damage(at);
        let mut start = hasty(nobody, "a", dir.path());
        let ran = start.args(["--flush", "0s"]).stdin(Stdio::null()).output();
        let said = within("it ends", ran).await.expect("it ran").stderr;
        let said = String::from_utf8_lossy(&said);
        assert!(said.contains("damaged") && said.contains(wanted), "{said}");
    }
}
