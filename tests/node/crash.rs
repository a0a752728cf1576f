//! Killed again and again under load: what was acknowledged is there, once, in order, for every way of coming back.

use std::{net::SocketAddr, time::Duration};

use serde_json::{Value, json};
use tokio::{
    io::AsyncWriteExt as _,
    net::TcpStream,
    sync::{Semaphore, watch},
    task::JoinSet,
};

use crate::support::{
    Node, Port, Wire,
    history::{Promise, Reading, Recorder},
    http, new_id, within,
};

const KILLS: usize = 10;
const EVENTS: usize = 1_000;
const PIPELINED_WRITERS: usize = 3;
const HTTP_WRITERS: usize = 2;
const EVENTS_PER_WRITER: usize = EVENTS / (PIPELINED_WRITERS + HTTP_WRITERS);
/// The type of the very last event, at which readers stop.
const LAST: &str = "last";
const WINDOW: usize = 16;
/// Events that may be sent between one kill and the next.
const PER_ROUND: usize = EVENTS / KILLS;
/// When the whole drill is given up.
const DRILL: Duration = Duration::from_secs(120);

/// Which process serves now: a new number for each, and where.
#[derive(Clone, Copy, Debug)]
struct Serving {
    incarnation: usize,
    address: SocketAddr,
}

/// What writers and readers share.
#[derive(Clone)]
struct Drill {
    recorder: Recorder,
    serving: watch::Receiver<Serving>,
    /// One permit for each event that may be sent.
    released: std::sync::Arc<Semaphore>,
}

impl Drill {
    /// The process that serves, once it is another one than the last that was seen.
    async fn next_after(&mut self, seen: Option<usize>) -> Serving {
        let newer = |serving: &Serving| seen.is_none_or(|seen| serving.incarnation > seen);
        *within("the node is back", self.serving.wait_for(newer)).await.expect("the drill goes on")
    }

    /// Waits until one more event may be sent.
    async fn release(&self) {
        let permit = self.released.acquire().await.expect("the drill goes on");
        permit.forget();
    }
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_doubled_or_reordered_by_ten_kills_in_the_middle_of_requests() {
    tokio::time::timeout(DRILL, drill()).await.expect("the drill ends");
}

async fn drill() {
    let mut node = Node::start(&[]).await;
    let (serve, serving) = watch::channel(Serving { incarnation: 0, address: node.address() });
    let drill = Drill { recorder: Recorder::default(), serving, released: Semaphore::new(0).into() };
    let mut readers = JoinSet::new();
    let (arrived, mut present) = tokio::sync::mpsc::channel(8);
    for name in ["cursor-1", "cursor-2"] {
        readers.spawn(read_by_cursor(drill.clone(), name, arrived.clone()));
    }
    for name in ["instance-1", "instance-2"] {
        readers.spawn(read_by_instance(drill.clone(), name, arrived.clone()));
    }
    for _ in 0..4 {
        within("the readers are there", present.recv()).await.expect("a reader arrives");
    }
    let mut writers = JoinSet::new();
    for index in 0..PIPELINED_WRITERS {
        writers.spawn(write_pipelined(drill.clone(), format!("writer-{index}")));
    }
    for index in 0..HTTP_WRITERS {
        writers.spawn(write_over_http(drill.clone(), format!("poster-{index}")));
    }

    let mut under_way = 0;
    for round in 0..KILLS {
        drill.released.add_permits(PER_ROUND);
        // Here or there in the round, but always with most of it still to come.
        drill.recorder.until_acked(round * PER_ROUND + 10 + 7 * (round % 5)).await;
        node.kill9().await;
        under_way += drill.recorder.with(|history| history.sent_count() - history.acked_count());
        node.restart(Port::Same).await;
        check_history(&node, &drill.recorder).await;
        serve.send_replace(Serving { incarnation: round + 1, address: node.address() });
    }
    assert!(under_way > 0, "no kill met a publish under way");
    while let Some(written) = within("the writers end", writers.join_next()).await {
        written.expect("a writer ends well");
    }
    drill.recorder.until_acked(EVENTS).await;
    let last = new_id();
    drill.recorder.sent(&last);
    let body = json!({"event_type": LAST, "event_id": last, "instance_id": "drill"}).to_string();
    let answer = post(node.address(), &body).await.expect("nobody kills the node any more").json();
    drill.recorder.acked(&last, answer["seq"].as_u64().expect("a position"));
    while let Some(read) = within("the readers end", readers.join_next()).await {
        let reading = read.expect("a reader ends well");
        drill.recorder.with(|history| history.read(reading));
    }
    drill.recorder.with(|history| assert_eq!((history.sent_count(), history.acked_count()), (EVENTS + 1, EVENTS + 1)));
    let fresh = read_from_the_beginning(&node).await;
    let posted = read_over_http(&node).await;
    assert_eq!((fresh.distinct(), posted.distinct()), (EVENTS + 1, EVENTS + 1));
    drill.recorder.with(|history| {
        history.read(fresh);
        history.read(posted);
        history.verify();
    });
}

/// Everything acknowledged so far is in the history, once.
async fn check_history(node: &Node, recorder: &Recorder) {
    let complete_to = recorder.with(|history| history.now());
    let mut reading = read_over_http(node).await;
    reading.complete_to = complete_to;
    let mut account = recorder.snapshot();
    account.read(reading);
    account.verify();
}

async fn read_over_http(node: &Node) -> Reading {
    let mut reading = Reading::new("history", Promise::ExactlyOnce);
    reading.begin(0);
    let mut after = "earliest".to_owned();
    loop {
        let page = node.get(&format!("/v1/tenants/crash/events?limit=333&after={after}")).await.json();
        assert_eq!(page["resync"], Value::Null, "{page}");
        let events = page["events"].as_array().expect("a list of events");
        events.iter().for_each(|event| reading.take(event));
        if page["more"] == false {
            return reading;
        }
        assert!(!events.is_empty(), "an empty page with more behind it: {page}");
        page["cursor"].as_str().expect("a cursor").clone_into(&mut after);
    }
}

async fn read_from_the_beginning(node: &Node) -> Reading {
    let mut client = node.join_with("crash", "fresh", "since=earliest").await;
    let mut reading = Reading::new("fresh", Promise::ExactlyOnce);
    reading.begin(0);
    client.catch_up().await.iter().for_each(|record| reading.take(record));
    reading
}

/// Joins the next process; `None` if that one was killed meanwhile.
async fn come_back(drill: &mut Drill, seen: &mut Option<usize>, query: &str) -> Option<(Wire, Value)> {
    let serving = drill.next_after(*seen).await;
    *seen = Some(serving.incarnation);
    let mut wire = Wire::connect(serving.address, query).await?;
    let ready = wire.next().await?;
    assert_eq!(ready["data"]["resume"]["outcome"], "honoured", "{ready}");
    Some((wire, ready))
}

/// Goes on by its own cursor after each kill.
async fn read_by_cursor(mut drill: Drill, name: &'static str, arrived: tokio::sync::mpsc::Sender<()>) -> Reading {
    let mut reading = Reading::new(name, Promise::ExactlyOnce);
    let (mut since, mut seen) = ("earliest".to_owned(), None);
    loop {
        let query = format!("tenant_id=crash&instance_id={name}&since={since}");
        let Some((mut wire, ready)) = come_back(&mut drill, &mut seen, &query).await else { continue };
        let epoch = ready["data"]["epoch"].as_str().expect("an epoch").to_owned();
        reading.begin(ready["data"]["resume"]["after"].as_u64().expect("a place"));
        arrive(&arrived).await;
        loop {
            let Some(message) = wire.next().await else { break };
            if let Some(seq) = message["seq"].as_u64() {
                reading.take(&message);
                if message["event_type"] == LAST {
                    return reading;
                }
                let id = message["event_id"].as_str().expect("an id");
                since = format!("{epoch}.{seq}.{}", &id[..8]);
            }
        }
    }
}

/// Comes back with its name alone.
async fn read_by_instance(mut drill: Drill, name: &'static str, arrived: tokio::sync::mpsc::Sender<()>) -> Reading {
    let mut reading = Reading::new(name, Promise::AtLeastOnce);
    let mut seen = None;
    loop {
        let query = format!("tenant_id=crash&instance_id={name}");
        let Some((mut wire, ready)) = come_back(&mut drill, &mut seen, &query).await else { continue };
        reading.begin(ready["data"]["resume"]["after"].as_u64().expect("a place"));
        arrive(&arrived).await;
        loop {
            let Some(message) = wire.next().await else { break };
            if let Some(seq) = message["seq"].as_u64() {
                reading.take(&message);
                if message["event_type"] == LAST {
                    return reading;
                }
                let ack = json!({"event_type": "ack", "data": {"seq": seq}});
                // Now and then; what comes between this and a kill comes again.
                if seq % 20 == 0 && wire.send(&ack).await.is_none() {
                    break;
                }
            }
        }
    }
}

/// Only the first arrival of each reader is waited for.
async fn arrive(arrived: &tokio::sync::mpsc::Sender<()>) {
    // Nobody listens once all are there.
    let _ = arrived.try_send(());
}

fn event(id: &str, writer: &str, number: usize) -> Value {
    json!({"event_type": "memory_added", "event_id": id, "instance_id": writer, "data": {"message_id": number}})
}

/// Keeps a window of publishes under way; after each kill it repeats what was not acknowledged, in order.
async fn write_pipelined(mut drill: Drill, name: String) {
    let ids: Vec<String> = (0..EVENTS_PER_WRITER).map(|_| new_id()).collect();
    let (mut sent, mut acked, mut seen) = (0, 0, None);
    while acked < ids.len() {
        let serving = drill.next_after(seen).await;
        seen = Some(serving.incarnation);
        let query = format!("tenant_id=crash&instance_id={name}&since=latest");
        let Some(mut wire) = Wire::connect(serving.address, &query).await else { continue };
        if wire.expect("caught_up").await.is_none() {
            continue;
        }
        // Acks of one connection come in the order of its publishes.
        let (mut next, mut alive) = (acked, true);
        while alive && acked < ids.len() {
            while alive && next < ids.len() && next - acked < WINDOW {
                if next == sent {
                    if drill.released.available_permits() == 0 && next > acked {
                        break; // first hear what is under way
                    }
                    drill.release().await;
                    sent += 1;
                }
                drill.recorder.sent(&ids[next]);
                alive = wire.send(&event(&ids[next], &name, next)).await.is_some();
                next += 1;
            }
            if let Some(answer) = async { if alive { wire.next().await } else { None } }.await {
                assert_ne!(answer["event_type"], "error", "{answer}");
                if answer["event_type"] == "ack" {
                    assert_eq!(answer["data"]["event_id"], ids[acked], "acks come in order: {answer}");
                    drill.recorder.acked(&ids[acked], answer["data"]["seq"].as_u64().expect("a position"));
                    acked += 1;
                }
            } else {
                alive = false;
            }
        }
    }
}

/// Publishes one after the other; after each kill it repeats the last one if that was not answered.
async fn write_over_http(mut drill: Drill, name: String) {
    let mut seen = None;
    let mut serving = drill.next_after(seen).await;
    for number in 0..EVENTS_PER_WRITER {
        let id = new_id();
        drill.release().await;
        drill.recorder.sent(&id);
        let body = event(&id, &name, number).to_string();
        loop {
            seen = Some(serving.incarnation);
            match post(serving.address, &body).await {
                Some(answer) => {
                    assert!([200, 201].contains(&answer.status), "{answer:?}");
                    drill.recorder.acked(&id, answer.json()["seq"].as_u64().expect("a position"));
                    break;
                }
                None => serving = drill.next_after(seen).await,
            }
        }
    }
}

/// Posts an event; `None` when the node is gone before it has answered.
async fn post(address: SocketAddr, body: &str) -> Option<http::Response> {
    within("an answer or the connection's end", async {
        let mut socket = TcpStream::connect(address).await.ok()?;
        let head = format!(
            "POST /v1/tenants/crash/events HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        socket.write_all(&[head.as_bytes(), body.as_bytes()].concat()).await.ok()?;
        http::read_response(&mut socket, &mut Vec::new()).await
    })
    .await
}
