//! Event streams in bad times: nodes that are killed, rooms that die, readers that do not read.

use std::{
    net::SocketAddr,
    ops::Range,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio::{
    net::TcpSocket,
    sync::{mpsc, watch},
    task::JoinSet,
};

use crate::support::{EventStream, InProcess, Node, PASSED_BY_RETENTION, Port, http, new_id, until, within};

const TARGET: &str = "tenants/room/stream";
const EVENTS: &str = "/v1/tenants/room/events";
const CUT: &str = "continuum_closed_total{code=\"4010\"}";
const RESIDENT: &str = "process_resident_memory_bytes";

/// A reader that comes back as browsers do, until it has this many records; tells each one's number.
async fn read_on(
    mut serving: watch::Receiver<SocketAddr>,
    query: &str,
    wanted: usize,
    tell: mpsc::Sender<usize>,
) -> Vec<Value> {
    let (mut records, mut last): (Vec<Value>, Option<String>) = (Vec::new(), None);
    within("all records", async {
        while records.len() < wanted {
            let address = *serving.borrow_and_update();
            let opened = EventStream::ask(address, &format!("{TARGET}?{query}"), last.as_deref()).await;
            let Some(Ok(mut stream)) = opened else {
                tokio::task::yield_now().await;
                continue;
            };
            while let Some((name, _, data)) = stream.event().await {
                assert_ne!(name, "resync", "{data}");
                last = stream.last_id().map(str::to_owned);
                if data.get("seq").is_some() {
                    records.push(data);
                    // Somebody listens as long as the test goes well.
                    let _ = tell.send(records.len()).await;
                }
                if records.len() == wanted {
                    break;
                }
            }
        }
    })
    .await;
    records
}

/// Publishes numbered events one after the other, each under its id until it is answered.
async fn write_all(serving: watch::Receiver<SocketAddr>, numbers: Range<usize>, mut go: mpsc::Receiver<()>) {
    for number in numbers {
        let event = json!({"event_type": "note", "event_id": new_id(), "instance_id": "w", "data": number});
        let body = event.to_string();
        within("an event is stored", async {
            loop {
                let address = *serving.borrow();
                if let Some(answer) = http::try_post(address, EVENTS, body.as_bytes()).await
                    && [200, 201].contains(&answer.status)
                {
                    return;
                }
                tokio::task::yield_now().await;
            }
        })
        .await;
        // Half of them one by one, as the readers come along.
        if number % 2 == 0 {
            within("the test goes on", go.recv()).await;
        }
    }
}

fn all(records: &[Value], count: usize) {
    let numbers: Vec<_> = records.iter().map(|record| record["data"].as_u64().expect("a number") as usize).collect();
    assert_eq!(numbers, (0..count).collect::<Vec<_>>(), "each once, in order");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_in_the_middle_cost_a_stream_nothing_and_double_nothing() {
    const WANTED: usize = 400;
    const KILLS: usize = 5;
    let mut node = Node::start(&[]).await;
    let (serve, serving) = watch::channel(node.address());
    let (tell, mut told) = mpsc::channel(1);
    let (deaf, _nobody) = mpsc::channel(WANTED);
    let (go, going) = mpsc::channel(WANTED);
    let mut readers = JoinSet::new();
    readers.spawn(async move { read_on(serving, "since=earliest", WANTED, tell).await });
    readers.spawn({
        let serving = serve.subscribe();
        async move { read_on(serving, "since=earliest&types=n*", WANTED, deaf).await }
    });
    let writing = tokio::spawn(write_all(serve.subscribe(), 0..WANTED, going));
    let mut next_kill = WANTED / (KILLS + 1);
    while let Some(read) = within("a record", told.recv()).await {
        // Nobody waits once all is written.
        let _ = go.send(()).await;
        if read == next_kill {
            node.restart(Port::Same).await;
            serve.send_replace(node.address());
            next_kill += WANTED / (KILLS + 1);
        }
    }
    writing.await.expect("the writer ends well");
    while let Some(read) = within("the readers end", readers.join_next()).await {
        all(&read.expect("a reader ends well"), WANTED);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_lives_on_when_its_room_dies() {
    const DEATHS: usize = 5;
    let node = InProcess::start(&[]).await;
    let mut stream = EventStream::open(node.address(), &format!("{TARGET}?since=earliest"), None).await;
    let mut poll_after = "earliest".to_owned();
    for number in 0..DEATHS {
        let target = format!("{EVENTS}?after={poll_after}&wait=30s");
        let poll = node.get(&target);
        let write = async {
            node.fail_room("room").await;
            let event = json!({"event_type": "note", "event_id": new_id(), "instance_id": "w", "data": number});
            let stored = async || {
                let answer = node.post(EVENTS, &event).await;
                [200, 201].contains(&answer.status).then_some(())
            };
            until("the next room takes it", stored).await;
        };
        let (page, ()) = tokio::join!(poll, write);
        let page = page.json();
        assert_eq!(page["events"].as_array().map(Vec::len), Some(1), "{page}");
        assert_eq!(page["events"][0]["data"], number);
        page["cursor"].as_str().expect("a cursor").clone_into(&mut poll_after);
        assert_eq!(stream.record().await.expect("the stream goes on")["data"], number);
    }
}

/// Publishes large events, a few at a time.
async fn publish_large(node: &Node, numbers: Range<usize>) {
    let text = "x".repeat(64 * 1024);
    let event = |number: &usize| {
        format!(r#"{{"event_type":"blob","instance_id":"w","data":{{"number":{number},"text":"{text}"}}}}"#)
    };
    let numbers: Vec<usize> = numbers.collect();
    for few in numbers.chunks(4) {
        let events = few.iter().map(event).collect::<Vec<_>>().join(",");
        let answer = http::post(node.address(), EVENTS, format!("[{events}]").as_bytes()).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
    }
}

fn small_socket() -> TcpSocket {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4096).expect("an option of every socket");
    socket
}

async fn large_record(stream: &mut EventStream) -> usize {
    let record = stream.record().await.expect("the stream goes on");
    record["data"]["number"].as_u64().expect("a number") as usize
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_readers_cost_the_node_a_bounded_amount_and_lose_nothing() {
    const SLOW: usize = 10;
    const LARGE: usize = 400;
    // Per reader a piece here, and what the framework holds of it; 400 large events are 25 MiB each would have to get.
    const MEMORY: f64 = 64.0 * 1024.0 * 1024.0;
    let settings = [("limits.stall_timeout", "60s"), ("server.send_buffer", "65536"), ("rooms.ring_bytes", "1048576")];
    let node = Node::start(&settings).await;
    publish_large(&node, 0..100).await;
    let mut slow = Vec::new();
    for _ in 0..SLOW {
        let stream = EventStream::ask_through(small_socket(), node.address(), TARGET, None).await;
        slow.push(stream.expect("an answer").expect("a stream"));
    }
    let mut fast = node.stream("room", "").await;
    fast.expect("caught_up").await;
    let before = node.metric(RESIDENT).await;
    let (mut most, mut slowest) = (0.0_f64, Duration::ZERO);
    for first in (100..100 + LARGE).step_by(4) {
        let sent = Instant::now();
        publish_large(&node, first..first + 4).await;
        for number in first..first + 4 {
            assert_eq!(large_record(&mut fast).await, number);
        }
        slowest = slowest.max(sent.elapsed());
        most = most.max(node.metric(RESIDENT).await);
    }
    assert!(most - before < MEMORY, "memory grew from {before} to {most}");
    assert!(slowest < Duration::from_secs(2), "a fast reader waited {slowest:?}");
    assert_eq!(node.metric(CUT).await, 0.0);
    // Late, but all of it.
    for stream in &mut slow {
        for number in 100..100 + LARGE {
            assert_eq!(large_record(stream).await, number);
        }
    }
}

#[tokio::test]
async fn a_stream_that_takes_nothing_is_cut_in_time_and_goes_on_where_it_was() {
    let settings =
        [("limits.stall_timeout", "500ms"), ("server.send_buffer", "65536"), ("heartbeat.interval", "100ms")];
    let node = Node::start(&settings).await;
    let stalled = EventStream::ask_through(small_socket(), node.address(), TARGET, None).await;
    let mut stalled = stalled.expect("an answer").expect("a stream");
    stalled.expect("caught_up").await;
    // One that has nothing to take is not cut for that.
    let mut idle = node.stream("other", "").await;
    publish_large(&node, 0..40).await;
    node.until_metric(CUT, |cut| cut == 1.0).await;
    node.until_metric("continuum_streams", |open| open == 1.0).await;
    for _ in 0..10 {
        assert!(idle.next().await.is_some());
    }
    // What the system had taken for it is still there; then the connection is over.
    let mut next = 0;
    while let Some(record) = stalled.record().await {
        assert_eq!(record["data"]["number"], next);
        next += 1;
    }
    assert!(next < 40, "it was cut in the middle");
    let last = stalled.last_id().expect("an id").to_owned();
    let mut back = node.stream_after("room", "", &last).await;
    for number in next..40 {
        assert_eq!(large_record(&mut back).await, number);
    }
    assert_eq!(node.metric(CUT).await, 1.0);
}

#[tokio::test]
async fn retention_that_passes_a_slow_stream_is_told_in_its_middle() {
    let node = Node::start(&PASSED_BY_RETENTION).await;
    let slow = EventStream::ask_through(small_socket(), node.address(), TARGET, None).await;
    let mut slow = slow.expect("an answer").expect("a stream");
    slow.expect("caught_up").await;
    publish_large(&node, 0..200).await;
    // The system and the framework hold less than half of it for the reader; the rest is gone from the log.
    let trimmed = async || {
        let page = node.get(&format!("{EVENTS}?limit=1")).await.json();
        (page["events"][0]["data"]["number"].as_u64()? > 100).then_some(())
    };
    until("retention passes the reader", trimmed).await;
    // What lies between two resyncs; retention may pass it more than once.
    let mut runs = vec![Vec::new()];
    while runs.last().and_then(|run| run.last()) != Some(&199) {
        let (name, _, data) = slow.event().await.expect("the stream goes on");
        match name.as_str() {
            "resync" => {
                assert_eq!(data["reason"], "trimmed", "{data}");
                runs.push(Vec::new());
            }
            "blob" => {
                let run = runs.last_mut().expect("one at least");
                run.push(data["data"]["number"].as_u64().expect("a number"));
            }
            _ => {}
        }
    }
    assert!(runs.len() > 1 && runs[0].first() == Some(&0), "{runs:?}");
    for run in &runs {
        assert!(run.windows(2).all(|pair| pair[0] + 1 == pair[1]), "no hole but those that were told: {runs:?}");
    }
    let all = runs.concat();
    assert!(all.is_sorted_by(|a, b| a < b), "nothing twice: {runs:?}");
    slow.expect("caught_up").await;
}

#[tokio::test]
async fn what_is_said_behind_a_long_history_follows_without_a_seam() {
    const OLD: usize = 3_000;
    let node = Node::start(&[("rooms.ring_bytes", "20000"), ("rooms.page_bytes", "5000")]).await;
    let batch = |numbers: Range<usize>| {
        let event = |number| json!({"event_type": "note", "event_id": new_id(), "instance_id": "w", "data": number});
        Value::from(numbers.map(event).collect::<Vec<_>>())
    };
    for first in (0..OLD).step_by(500) {
        assert_eq!(node.post(EVENTS, &batch(first..first + 500)).await.status, 201);
    }
    let mut stream = node.stream("room", "since=earliest").await;
    let (write, read) = (
        async {
            for first in (OLD..2 * OLD).step_by(50) {
                assert_eq!(node.post(EVENTS, &batch(first..first + 50)).await.status, 201);
            }
        },
        stream.records(2 * OLD),
    );
    let ((), records) = tokio::join!(write, read);
    all(&records, 2 * OLD);
}
