//! What the wrapper does with the room: before a tool, behind it, and without a node.

use std::time::Duration;

use continuum::{
    mcp::wrap::Answers,
    model::EntityKey,
    replica::{Link, Pulled, Replica, Write},
};
use serde_json::{Map, Value, json};
use tempfile::TempDir;

use crate::{
    FOR_EVER, NOWHERE, SHORT, Wrapped, replica,
    support::{DEADLINE, Node, Port, until, within},
};

async fn put(replica: &Replica, id: &str, patch: Value) {
    let fields = Map::from_iter([("action".to_owned(), json!("put")), ("patch".to_owned(), patch)]);
    let write = Write::Operation { key: EntityKey::new("context", id).expect("a key"), base: None, fields };
    replica.write(write).await.expect("written");
    assert_eq!(replica.push(DEADLINE).await.expect("pushed"), 0);
}

async fn link(replica: &Replica) -> Link {
    replica.status().await.expect("read").connection
}

async fn is_there(replica: &Replica, id: &str) -> bool {
    replica.get(EntityKey::new("context", id).expect("a key")).await.expect("read").is_some()
}

#[tokio::test]
async fn a_tool_runs_with_what_others_wrote_and_they_hear_of_it() {
    let node = Node::start(&[]).await;
    let address = node.address().to_string();
    let dir = TempDir::new().expect("a directory");
    let b = replica(&address, "b", dir.path()).await;
    put(&b, "task:1", json!({"title": "s3cret"})).await;

    let mut wrapped =
        Wrapped::start(&address, "polite", |config| (config.before, config.after) = (FOR_EVER, FOR_EVER)).await;
    wrapped.call(1, "ask", json!({"key": "s3cret"})).await;
    assert_eq!(wrapped.hear_json().await["method"], "notifications/progress");
    assert_eq!(wrapped.hear_json().await["method"], "elicitation/create");
    // It runs, and the notebook is as the other one left it.
    assert!(is_there(&wrapped.replica, "task:1").await);
    assert_eq!(wrapped.replica.figures().await.expect("read").pulled, 1);
    put(&b, "task:2", json!({"title": "s3cret"})).await;
    let arrived = async {
        loop {
            let moved = wrapped.replica.moved();
            if is_there(&wrapped.replica, "task:2").await {
                break;
            }
            moved.await;
        }
    };
    within("what b wrote arrives", arrived).await;
    wrapped.say(r#"{"jsonrpc":"2.0","id":1,"result":{"action":"accept"}}"#).await;
    let text = wrapped.hear_notice().await;
    assert!(text.starts_with("[continuum] sync status: synced (in step "), "{text}");
    assert!(
        text.contains("; 0 pending, 0 conflicted.\nOther agents' work since the last call (a notice, not"),
        "{text}"
    );
    assert!(text.contains(r#"- "context" "task:2": changed by "b" at 20"#), "{text}");
    assert!(!text.contains("s3cret"), "{text}");

    // When the answer is here, the others can have what was done.
    assert_eq!(wrapped.replica.status().await.expect("read").pending, 0);
    assert_eq!(b.pull(DEADLINE).await.expect("pulled"), Pulled::Fresh);
    let (changes, _) = b.changes(0, 100).await.expect("read");
    let told: Vec<_> = changes.iter().filter(|change| change.event_type == "tool_called").collect();
    let [told] = told.as_slice() else { panic!("{changes:?}") };
    let mut data = serde_json::to_value(told).expect("JSON")["data"].take();
    assert!(data["duration_ms"].is_u64(), "{data}");
    data.as_object_mut().expect("an object").remove("duration_ms");
    assert_eq!((told.by.as_str(), data), ("a", json!({"tool": "ask", "server": "python3", "ok": true})));

    // What was told once is not told again, and what an agent did itself is no news.
    wrapped.call_raw(2, r#"{"jsonrpc":"2.0","id":2,"result":{"content":[]}}"#).await;
    let text = wrapped.hear_notice().await;
    assert_eq!(text.lines().count(), 1, "{text}");
    wrapped.close();
    assert_eq!(wrapped.end().await.0.expect("no error").code(), 0);
}

#[tokio::test]
async fn without_a_node_a_tool_runs_after_the_bound_and_says_so() {
    let mut wrapped = Wrapped::start(NOWHERE, "polite", |config| {
        (config.before, config.after) = (Duration::from_millis(200), Duration::from_millis(200));
    })
    .await;
    for id in 1..=2 {
        wrapped.call_raw(id, &format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"content":[]}}}}"#)).await;
        let text = wrapped.hear_notice().await;
        let wanted =
            format!("[continuum] sync status: stale (never in step); {id} pending, 0 conflicted. The room could");
        assert!(text.starts_with(&wanted), "{text}");
    }
    // What failed is told too, and is not changed.
    let line = r#"{"jsonrpc":"2.0","id":3,"error":{"code":1,"message":"x"}}"#;
    wrapped.call_raw(3, line).await;
    assert_eq!(wrapped.hear().await, line);
    let pending = wrapped.replica.pending(0, 10).await.expect("read");
    let oks: Vec<_> = pending.iter().map(|write| write.body.contains(r#""ok":true"#)).collect();
    assert_eq!(oks, [true, true, false]);
}

#[tokio::test]
async fn what_was_called_while_the_node_was_away_is_told_when_it_is_back() {
    let mut node = Node::start(&[]).await;
    let address = node.address().to_string();
    let mut wrapped = Wrapped::start(&address, "polite", |config| {
        (config.before, config.after) = (Duration::from_secs(5), Duration::from_secs(5));
    })
    .await;
    let online = async || (link(&wrapped.replica).await == Link::Online).then_some(());
    until("the node is there", online).await;
    let answer = |id: u64| format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"content":[]}}}}"#);
    wrapped.call_raw(1, &answer(1)).await;
    assert!(wrapped.hear_notice().await.contains("; 0 pending, 0 conflicted."));
    node.kill9().await;
    let away = async || matches!(link(&wrapped.replica).await, Link::Offline { .. }).then_some(());
    until("it is known that the node is away", away).await;
    wrapped.call_raw(2, &answer(2)).await;
    let text = wrapped.hear_notice().await;
    assert!(text.contains("; 1 pending, 0 conflicted. The room could not be asked in time"), "{text}");
    node.restart(Port::Same).await;
    assert_eq!(wrapped.replica.push(DEADLINE).await.expect("pushed"), 0);
    let online = async || (link(&wrapped.replica).await == Link::Online).then_some(());
    until("the node is there again", online).await;
    wrapped.call_raw(3, &answer(3)).await;
    let text = wrapped.hear_notice().await;
    assert!(text.contains("; 0 pending, 0 conflicted.") && !text.contains("in time"), "{text}");
    let all = node.join_with("t", "reader", "since=earliest").await.catch_up().await;
    let told = all.iter().filter(|record| record["event_type"] == "tool_called").count();
    assert_eq!(told, 3, "{all:?}");
}

#[tokio::test]
async fn calls_that_were_held_run_in_the_order_in_which_they_came() {
    // It listens and never answers: not known to be away, so all of them wait.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = silent.local_addr().expect("an address").to_string();
    let mut wrapped = Wrapped::start(&address, "polite", |config| config.before = SHORT).await;
    let lines: Vec<_> =
        (1..=4).map(|id| format!(r#"{{"id":{id},"method":"tools/call","params":{{"name":"hang"}}}}"#)).collect();
    for line in &lines {
        wrapped.say(line).await;
    }
    wrapped.until_heard(&lines[0]).await;
    wrapped.until_heard(&lines[3]).await;
    assert_eq!(wrapped.heard().lines().collect::<Vec<_>>(), lines);
}

#[tokio::test]
async fn a_call_that_is_given_up_while_it_is_held_never_runs() {
    let mut wrapped = Wrapped::start(NOWHERE, "polite", |config| config.before = FOR_EVER).await;
    wrapped.call(1, "hang", json!({})).await;
    wrapped.call(2, "hang", json!({})).await;
    // Others overtake it.
    wrapped.ping(3).await;
    let cancelled = r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}"#;
    wrapped.say(cancelled).await;
    wrapped.ping(4).await;
    assert!(!wrapped.heard().contains("tools/call") && !wrapped.heard().contains("cancelled"), "{}", wrapped.heard());
    // Nobody is there any more for whom the other one would run; whoever still reads is told.
    wrapped.close();
    let log = wrapped.log();
    wrapped.until_heard("end of input").await;
    assert!(!std::fs::read_to_string(log).expect("it heard").contains("tools/call"));
    let (ended, rest) = wrapped.end().await;
    assert_eq!(ended.expect("no error").code(), 0);
    let [answer] = rest.as_slice() else { panic!("{rest:?}") };
    assert!(answer.starts_with(r#"{"jsonrpc":"2.0","id":2,"error":{"code":-32603,"#), "{answer}");
}

#[tokio::test]
async fn a_call_that_is_held_as_the_client_goes_never_runs() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = silent.local_addr().expect("an address").to_string();
    let mut wrapped =
        Wrapped::start(&address, "late", |config| (config.before, config.grace) = (5 * SHORT, DEADLINE)).await;
    // More than a pipe takes: as long as the server does not read, what is passed comes behind it.
    let long = format!(r#"{{"method":"notifications/x","params":"{}"}}"#, "x".repeat(1 << 20));
    wrapped.say(&long).await;
    wrapped.call(1, "hang", json!({})).await;
    wrapped.close();
    // Longer than the call was held.
    assert_eq!(wrapped.replica.pull(8 * SHORT).await.expect("read"), Pulled::Behind);
    let log = wrapped.log();
    std::fs::write(log.with_extension("go"), "").expect("written");
    wrapped.until_heard("end of input").await;
    assert_eq!(wrapped.heard().lines().collect::<Vec<_>>(), [&long, "end of input"]);
    let (ended, rest) = wrapped.end().await;
    assert_eq!((ended.expect("no error").code(), rest.len()), (0, 1));
}

#[tokio::test]
async fn an_answer_waits_for_the_room_and_nothing_else_does() {
    // It listens and never answers: not known to be away, so it is waited for.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = silent.local_addr().expect("an address").to_string();
    let mut wrapped = Wrapped::start(&address, "lingers", |config| {
        config.after = FOR_EVER;
        config.answers = Answers::Untouched;
    })
    .await;
    let line = r#"{"jsonrpc":"2.0","id":1,"result":{"content":[]}}"#;
    wrapped.call_raw(1, line).await;
    let noted = async || (wrapped.replica.status().await.expect("read").pending == 1).then_some(());
    until("the call is noted", noted).await;
    for id in 2..50 {
        wrapped.ping(id).await;
    }
    // Late, but nobody is left without it.
    wrapped.close();
    let (ended, rest) = wrapped.end().await;
    assert_eq!((ended.expect("no error").code(), rest), (128 + 15, vec![line.to_owned()]));
}
