//! Told to stop: everyone is sent home spread out over time, what is under way is answered, nothing is lost.

use std::{
    collections::BTreeSet,
    process::{Output, Stdio},
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt as _, net::TcpStream};

use crate::support::{
    Client, Closed, Event, Node, Port, RawClient, http, new_id,
    raw::{CLOSE, KEY, upgrade_request},
    until, within,
};

/// How far apart members are sent home here.
const SPREAD: Duration = Duration::from_secs(1);
/// The least time after which a client comes back.
const LEAST_RETRY_MS: u64 = 500;
/// What a busy machine may add to any time.
const SLACK: Duration = Duration::from_secs(3);
const MEMBERS: usize = 20;

fn retry_ms(closed: &Closed) -> u64 {
    assert_eq!(closed.code, Some(1012), "{closed:?}");
    let wait = closed.reason.strip_prefix("restart; retry in ").and_then(|rest| rest.strip_suffix(" ms"));
    wait.and_then(|wait| wait.parse().ok()).unwrap_or_else(|| panic!("{closed:?}"))
}

#[tokio::test]
async fn members_are_sent_home_at_different_times_within_the_spread() {
    let mut node = Node::start(&[("drain.spread", "1s")]).await;
    let names: Vec<String> = (0..MEMBERS).map(|index| format!("member-{index}")).collect();
    let members = join_all(names.iter().map(|name| node.join("room", name))).await;
    let asked = Instant::now();
    node.ask_to_stop();
    let leave = members.into_iter().map(|mut member| async move {
        let draining = member.expect("draining").await;
        let wait = draining["data"]["retry_after_ms"].as_u64().expect("a time");
        (wait, member.until_closed().await, asked.elapsed())
    });
    let left = join_all(leave).await;
    let most = LEAST_RETRY_MS + SPREAD.as_millis() as u64;
    for (told, closed, after) in &left {
        for wait in [*told, retry_ms(closed)] {
            assert!((LEAST_RETRY_MS..=most).contains(&wait), "{wait} ms in {closed:?}");
        }
        assert!(*after < SPREAD + SLACK, "sent home only after {after:?}");
    }
    let waits: BTreeSet<u64> = left.iter().map(|(_, closed, _)| retry_ms(closed)).collect();
    assert!(waits.len() > MEMBERS / 2, "they come back at different times: {waits:?}");
    let times = left.iter().map(|(.., after)| *after);
    let (first, last) = (times.clone().min().expect("a member"), times.max().expect("a member"));
    assert!(last - first > SPREAD / 4, "all between {first:?} and {last:?}");
    assert_eq!(node.ended().await.code(), Some(0));
}

#[tokio::test]
async fn a_draining_node_is_not_ready_and_lets_nobody_in_and_still_answers() {
    let mut node = Node::start(&[("drain.timeout", "10s")]).await;
    // Holds the drain up for as long as the node waits for its close.
    let mut quiet = RawClient::connect(&node, "tenant_id=room&instance_id=quiet").await;
    quiet.expect("caught_up").await;
    assert_eq!(node.get("/readyz").await.status, 200);
    node.ask_to_stop();
    node.logs("draining").await;
    let ready =
        until("/readyz answers 503", async || Some(node.get("/readyz").await).filter(|answer| answer.status == 503));
    assert_eq!(ready.await.json()["status"], "draining");
    let request = upgrade_request("tenant_id=room&instance_id=late", "13", Some(KEY));
    let (_, refused) = RawClient::handshake(node.address(), &request).await;
    refused.problem(503, "draining");
    let seconds: u64 = refused.header("retry-after").expect("Retry-After").parse().expect("seconds");
    assert!(seconds >= 1, "{refused:?}");
    let event = json!({"event_type": "memory_added", "instance_id": "late", "event_id": new_id()});
    node.post("/v1/tenants/room/events", &event).await.problem(503, "draining");
    assert_eq!(node.get("/healthz").await.status, 200);
    assert_eq!(node.ended().await.code(), Some(0));
}

#[tokio::test]
async fn a_member_that_never_answers_the_close_holds_the_node_up_no_longer_than_the_timeout() {
    let mut node = Node::start(&[("drain.timeout", "300ms")]).await;
    let mut silent = RawClient::connect(&node, "tenant_id=room&instance_id=silent").await;
    silent.expect("caught_up").await;
    let asked = Instant::now();
    node.ask_to_stop();
    node.logs("drain.timeout is over").await;
    assert_eq!(node.ended().await.code(), Some(0));
    assert!(asked.elapsed() < Duration::from_millis(300) + SLACK, "it took {:?}", asked.elapsed());
    // It was told all the same.
    silent.expect("draining").await;
    let close = silent.next().await.expect("a close frame");
    assert_eq!((close.opcode(), &close.payload[..2]), (CLOSE, &1012_u16.to_be_bytes()[..]));
}

/// Publishes 200 events in one go; reads what becomes of each.
async fn burst(client: &mut Client) -> Vec<String> {
    let ids: Vec<String> = (0..200).map(|_| new_id()).collect();
    for id in &ids {
        client.send(json!({"event_type": "memory_added", "event_id": id, "data": {}})).await;
    }
    ids
}

#[tokio::test]
async fn publishes_under_way_over_websocket_are_answered_before_the_close_and_nothing_is_lost() {
    for _ in 0..5 {
        let mut node = Node::start(&[]).await;
        let mut reader = node.join("room", "reader").await;
        let mut writer = node.join("room", "writer").await;
        writer.catch_up().await;
        let mut ids = burst(&mut writer).await;
        // The pong overtakes the acks and says that the node has read everything before the ping.
        writer.send(json!({"event_type": "ping"})).await;
        writer.expect("pong").await;
        node.ask_to_stop();
        retry_ms(&writer.until_closed().await);
        let mut acked = Vec::new();
        for answer in writer.seen().iter().filter(|message| message["data"]["event_id"].is_string()) {
            let id = answer["data"]["event_id"].as_str().expect("an id").to_owned();
            match answer["event_type"].as_str() {
                Some("ack") => acked.push(id.clone()),
                Some("error") => assert_eq!(answer["data"]["code"], "draining", "{answer}"),
                _ => panic!("{answer}"),
            }
            ids.retain(|known| *known != id);
        }
        assert!(ids.is_empty(), "{} of 200 publishes were not answered, {} stored", ids.len(), acked.len());
        retry_ms(&reader.until_closed().await);
        assert_eq!(node.ended().await.code(), Some(0));
        resumes_with_everything(&mut node, &reader, &acked).await;
    }
}

/// After the restart a reader that goes on by its cursor has had each acknowledged event exactly once.
async fn resumes_with_everything(node: &mut Node, reader: &Client, acked: &[String]) {
    node.restart(Port::Same).await;
    let since = if reader.cursor().is_empty() { "earliest" } else { reader.cursor() };
    let mut again = node.join_with("room", "reader", &format!("since={since}")).await;
    assert_eq!(again.resume()["outcome"], "honoured", "{}", again.ready());
    let later = again.catch_up().await;
    let got: Vec<&str> =
        reader.records().into_iter().chain(&later).map(|record| record["event_id"].as_str().expect("an id")).collect();
    assert_eq!(got.iter().collect::<BTreeSet<_>>().len(), got.len(), "an event came twice");
    for id in acked {
        assert!(got.contains(&id.as_str()), "{id} was acknowledged and lost");
    }
}

/// Connections that have been served once and send one more request now.
async fn half_done(node: &Node, count: usize) -> Vec<TcpStream> {
    let mut sockets = Vec::new();
    for _ in 0..count {
        let mut socket = TcpStream::connect(node.address()).await.expect("the node accepts connections");
        socket.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").await.expect("the node reads");
        let answer = within("an answer", http::read_response(&mut socket, &mut Vec::new())).await;
        assert_eq!(answer.expect("an answer").status, 200);
        sockets.push(socket);
    }
    sockets
}

#[tokio::test]
async fn publishes_under_way_over_http_are_answered() {
    for _ in 0..5 {
        let mut node = Node::start(&[]).await;
        let mut sockets = half_done(&node, 20).await;
        for (index, socket) in sockets.iter_mut().enumerate() {
            let event =
                |n| json!({"event_type": "memory_added", "instance_id": format!("poster-{index}"), "data": {"n": n}});
            let body = Value::from_iter((0..100).map(event)).to_string();
            let head = "POST /v1/tenants/room/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json";
            let request = format!("{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
            socket.write_all(request.as_bytes()).await.expect("the node reads");
        }
        let mut first = sockets.remove(0);
        let answer = within("an answer", http::read_response(&mut first, &mut Vec::new())).await;
        assert_eq!(answer.expect("the node works on it").status, 201);
        drop(first);
        node.ask_to_stop();
        for mut socket in sockets {
            let answer = within("an answer", http::read_response(&mut socket, &mut Vec::new())).await;
            let answer = answer.expect("a request that was sent before the node was told to stop is answered");
            assert!([201, 503].contains(&answer.status), "{answer:?} {}", answer.text());
        }
        assert_eq!(node.ended().await.code(), Some(0));
    }
}

#[tokio::test]
async fn sigint_once_drains_as_sigterm_does() {
    let mut node = Node::start(&[]).await;
    let mut client = node.join("room", "a").await;
    node.interrupt();
    client.expect("draining").await;
    retry_ms(&client.until_closed().await);
    assert_eq!(node.ended().await.code(), Some(0));
}

#[tokio::test]
async fn sigint_twice_ends_at_once_and_what_was_acknowledged_is_there() {
    let mut node = Node::start(&[("drain.spread", "20s"), ("drain.timeout", "25s")]).await;
    let mut client = node.join("room", "a").await;
    let ack = client.publish("memory_added", json!({"message_id": 1})).await;
    node.interrupt();
    node.logs("draining").await;
    let asked = Instant::now();
    node.interrupt();
    assert_eq!(node.ended().await.code(), Some(130));
    assert!(asked.elapsed() < SLACK, "it took {:?}", asked.elapsed());
    node.restart(Port::New).await;
    let history = node.get("/v1/tenants/room/events").await.json();
    assert_eq!(history["events"][0]["seq"], ack["seq"], "{history}");
}

/// Runs a node that should refuse to start.
async fn refused(node: &Node, port: u16, data: &std::path::Path) -> Output {
    let mut command = Node::command(&Default::default(), data, port);
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let child = child.expect("the node's binary can be started");
    let ended = tokio::task::spawn_blocking(move || child.wait_with_output().expect("it can be waited for"));
    let output = within("a node that cannot start ends", ended).await.expect("no panic");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(node.get("/readyz").await.status, 200, "the first node lives on");
    output
}

/// The one line that says why.
fn complaint(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let lines: Vec<&str> = text.lines().filter(|line| line.starts_with("continuum: ")).collect();
    assert_eq!(lines.len(), 1, "{text}");
    assert!(text.trim_end().ends_with(lines[0]), "nothing comes behind it: {text}");
    assert!(!text.contains("panicked") && !text.contains("backtrace"), "{text}");
    lines[0].to_owned()
}

#[tokio::test]
async fn a_second_node_on_the_same_data_directory_refuses_and_the_first_lives_on() {
    let node = Node::start(&[]).await;
    let mut client = node.join("room", "a").await;
    let output = refused(&node, 0, node.data()).await;
    let complaint = complaint(&output);
    assert!(complaint.contains(&node.data().display().to_string()), "{complaint}");
    client.publish("memory_added", json!({"message_id": 1})).await;
}

#[tokio::test]
async fn a_port_that_is_taken_is_said_in_one_line() {
    let node = Node::start(&[]).await;
    let elsewhere = tempfile::TempDir::new().expect("a temporary directory can be made");
    let output = refused(&node, node.address().port(), elsewhere.path()).await;
    let complaint = complaint(&output);
    assert!(complaint.contains(&node.address().to_string()), "{complaint}");
    assert!(complaint.to_lowercase().contains("in use"), "{complaint}");
}

#[tokio::test]
async fn a_member_that_publishes_without_pause_does_not_hold_the_drain_up() {
    let mut node = Node::start(&[]).await;
    let mut client = node.join("room", "busy").await;
    client.catch_up().await;
    let asked = Instant::now();
    node.ask_to_stop();
    let closed = within("the node sends it home", async {
        loop {
            client.send(json!({"event_type": "memory_added", "data": {}})).await;
            match client.next_event().await {
                Event::Closed(closed) => return closed,
                Event::Message(_) => {}
            }
        }
    });
    retry_ms(&closed.await);
    assert_eq!(node.ended().await.code(), Some(0));
    assert!(asked.elapsed() < Duration::from_secs(5) + SLACK);
}
