//! Rooms that die and rooms that retire: the members notice at most a short pause.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::support::{
    Client, InProcess, Wire,
    history::{Promise, Reading, Recorder},
    new_id, until, within,
};

const DEATHS: usize = 10;
const WRITERS: usize = 3;
const EVENTS_PER_WRITER: usize = 150;
const EVENTS: usize = WRITERS * EVENTS_PER_WRITER;
const WINDOW: usize = 16;
/// How often somebody enters at the very moment when the room dies or retires.
const MOMENTS: usize = 60;

#[tokio::test]
async fn a_room_that_dies_again_and_again_under_load_loses_nothing_and_nobody() {
    let node = InProcess::start(&[]).await;
    let recorder = Recorder::default();
    let mut readers = JoinSet::new();
    for name in ["reader-1", "reader-2", "reader-3"] {
        let client = node.join_with("room", name, "since=earliest").await;
        readers.spawn(read_all(client, name));
    }
    let mut writers = JoinSet::new();
    for index in 0..WRITERS {
        let client = Wire::connect(node.address(), &format!("tenant_id=room&instance_id=writer-{index}")).await;
        writers.spawn(write_all(client.expect("a connection"), recorder.clone()));
    }
    for death in 0..DEATHS {
        recorder.until_acked(death * (EVENTS / DEATHS) / 2 + 1).await;
        node.fail_room("room").await;
        node.until_metric("continuum_rooms_rebuilt_total", |rebuilt| rebuilt >= (death + 1) as f64).await;
    }
    while let Some(written) = within("the writers end", writers.join_next()).await {
        written.expect("a writer stays connected and hears everything");
    }
    while let Some(read) = within("the readers end", readers.join_next()).await {
        let reading = read.expect("a reader stays connected and hears everything");
        assert_eq!(reading.distinct(), EVENTS);
        recorder.with(|history| history.read(reading));
    }
    recorder.with(|history| history.verify());
    let mut visitor = node.join_with("room", "visitor", "since=earliest").await;
    assert_eq!(visitor.catch_up().await.len(), EVENTS);
    visitor.send(json!({"event_type": "sync_request"})).await;
    let figures = visitor.expect("sync_response").await;
    assert_eq!(figures["data"]["state"]["total_messages"], EVENTS, "{figures}");
    assert!(node.metric("continuum_rooms_rebuilt_total").await >= DEATHS as f64);
}

/// Reads everything over one connection: a room that is rebuilt does not end it.
async fn read_all(mut client: Client, name: &str) -> Reading {
    let mut reading = Reading::new(name, Promise::ExactlyOnce);
    reading.begin(client.resume()["after"].as_u64().expect("a place"));
    for _ in 0..EVENTS {
        reading.take(&client.record().await);
    }
    let greetings = client.seen_of("session_ready").count();
    assert_eq!(greetings, 1, "{name} is greeted once");
    reading
}

/// Publishes everything over one connection, pipelined; every publish is answered, in order.
async fn write_all(mut wire: Wire, recorder: Recorder) {
    wire.expect("caught_up").await.expect("a welcome");
    let ids: Vec<String> = (0..EVENTS_PER_WRITER).map(|_| new_id()).collect();
    let (mut sent, mut answers) = (0, Vec::new());
    while answers.len() < ids.len() {
        while sent < ids.len() && sent - answers.len() < WINDOW {
            recorder.sent(&ids[sent]);
            let event = json!({"event_type": "memory_added", "event_id": ids[sent], "data": {"message_id": sent}});
            wire.send(&event).await.expect("the connection lives on");
            sent += 1;
        }
        let answer = wire.next().await.expect("the connection lives on");
        assert_ne!(answer["event_type"], "error", "{answer}");
        if answer["event_type"] == "ack" {
            let seq = answer["data"]["seq"].as_u64().expect("a position");
            let id = answer["data"]["event_id"].as_str().expect("an id").to_owned();
            recorder.acked(&id, seq);
            answers.push((id, seq));
        }
    }
    let answered: Vec<&String> = answers.iter().map(|(id, _)| id).collect();
    assert_eq!(answered, ids.iter().collect::<Vec<_>>(), "each publish is answered once, in order");
    assert!(answers.is_sorted_by_key(|(_, seq)| *seq), "what one connection sends keeps its order: {answers:?}");
}

#[tokio::test]
async fn a_rebuilt_room_has_the_same_figures_roster_and_history() {
    let node = InProcess::start(&[]).await;
    let mut a = node.join_with("room", "a", "").await;
    let mut b = node.join_with("room", "b", "capabilities=memory").await;
    b.catch_up().await;
    for number in 0..20 {
        a.publish("memory_added", json!({"message_id": number})).await;
        a.publish("concept_learned", json!({"concept_name": format!("concept {}", number % 7)})).await;
    }
    let before = figures(&mut a).await;
    assert_eq!((&before["total_messages"], &before["total_concepts"]), (&json!(20), &json!(7)), "{before}");
    let (roster, history) =
        (roster(&node).await, node.get("/v1/tenants/room/events?limit=1000").await.json()["events"].clone());
    assert_eq!(history.as_array().map(Vec::len), Some(41));
    node.fail_room("room").await;
    node.until_metric("continuum_rooms_rebuilt_total", |rebuilt| rebuilt >= 1.0).await;
    until("everyone is in the new room", async || (self::roster(&node).await == roster).then_some(())).await;
    assert_eq!(figures(&mut a).await, before);
    let after = node.get("/v1/tenants/room/events?limit=41").await.json()["events"].clone();
    assert_eq!(after, history);
    let ack = a.publish("memory_added", json!({"message_id": "after"})).await;
    b.find(|message| message["seq"] == ack["seq"]).await;
    assert_eq!(b.records().len(), 43);
    // Nobody left and nobody came.
    for event_type in ["instance_left", "instance_joined"] {
        b.settle().await;
        assert_eq!(b.seen_of(event_type).count(), 0, "{event_type}: {:?}", b.seen_of(event_type).next());
    }
}

async fn figures(client: &mut Client) -> Value {
    // What is asked of a room that dies is not answered; the next one is.
    client.publish("decision_made", json!({})).await;
    client.send(json!({"event_type": "sync_request"})).await;
    client.expect("sync_response").await["data"]["state"].clone()
}

async fn roster(node: &InProcess) -> BTreeMap<String, Value> {
    let report = node.get("/v1/tenants/room/instances").await.json();
    let instances = report["instances"].as_array().expect("a list").iter();
    instances.map(|instance| (instance["instance_id"].to_string(), instance["capabilities"].clone())).collect()
}

#[tokio::test]
async fn whoever_enters_at_the_moment_of_a_rooms_death_is_welcomed() {
    let node = InProcess::start(&[]).await;
    let mut resident = node.join_with("room", "resident", "").await;
    for moment in 0..MOMENTS {
        let name = format!("visitor-{moment}");
        // A start that the log has to be asked for takes longest and meets the death most surely.
        let visit = async {
            let mut visitor = node.join_with("room", &name, "since=earliest").await;
            visitor.catch_up().await;
            let ack = visitor.publish("memory_added", json!({"message_id": moment})).await;
            visitor.close().await;
            ack["seq"].clone()
        };
        let (seq, ()) = tokio::join!(visit, node.fail_room("room"));
        let record = resident.find(|message| message["data"]["message_id"] == moment).await;
        assert_eq!(record["seq"], seq);
    }
}

#[tokio::test]
async fn publishes_over_http_are_answered_while_the_room_dies() {
    let node = InProcess::start(&[]).await;
    let mut stored = Vec::new();
    for moment in 0..MOMENTS {
        let id = new_id();
        let event =
            json!({"event_type": "memory_added", "event_id": id, "instance_id": "poster", "data": {"n": moment}});
        let (answer, ()) = tokio::join!(node.post("/v1/tenants/room/events", &event), async {
            if moment > 0 {
                node.fail_room("room").await;
            }
        });
        // 503 `unknown` says to repeat with the same id, and that is safe.
        let answer = if answer.status == 503 {
            answer.problem(503, "unknown");
            node.post("/v1/tenants/room/events", &event).await
        } else {
            answer
        };
        assert!([200, 201].contains(&answer.status), "{answer:?} {}", answer.text());
        stored.push((id, answer.json()["seq"].clone()));
    }
    let page = node.get("/v1/tenants/room/events?limit=1000").await.json();
    let events = page["events"].as_array().expect("a list").iter();
    let there: Vec<_> =
        events.map(|event| (event["event_id"].as_str().expect("an id").to_owned(), event["seq"].clone())).collect();
    assert_eq!(there, stored);
}

#[tokio::test]
async fn a_room_that_nobody_needs_retires_and_comes_back_with_its_history_and_figures() {
    let node = InProcess::start(&[("rooms.idle_timeout", "50ms"), ("rooms.cursor_flush", "10ms")]).await;
    let mut client = node.join_with("room", "a", "").await;
    for number in 0..10 {
        client.publish("memory_added", json!({"message_id": number})).await;
        client.publish("concept_learned", json!({"concept_name": format!("concept {}", number % 3)})).await;
    }
    client.settle().await;
    let figures = client.seen_of("sync_response").last().expect("it was asked for")["data"].clone();
    assert_eq!(client.close().await.code, Some(1000));
    node.until_metric("continuum_rooms", |rooms| rooms == 0.0).await;
    let mut client = node.join_with("room", "a", "since=earliest").await;
    assert_eq!(client.catch_up().await.len(), 0, "its own records come as nothing without echo");
    client.settle().await;
    assert_eq!(client.seen_of("sync_response").last().expect("it was asked for")["data"]["state"], figures["state"]);
    let mut other = node.join_with("room", "b", "since=earliest").await;
    assert_eq!(other.catch_up().await.len(), 20);
    assert_eq!(node.metric("continuum_rooms").await, 1.0);
    assert_eq!(node.metric("continuum_rooms_rebuilt_total").await, 0.0, "to retire is not to die");
}

#[tokio::test]
async fn whoever_enters_at_the_moment_of_retirement_is_welcomed() {
    let node = InProcess::start(&[("rooms.idle_timeout", "0s"), ("rooms.cursor_flush", "1ms")]).await;
    let mut guests = JoinSet::new();
    let address = node.address();
    // Two rooms, each entered and left by one after the other: it retires again and again.
    for tenant in ["one", "two"] {
        guests.spawn(async move {
            for moment in 0..MOMENTS * 4 {
                let query = format!("tenant_id={tenant}&instance_id=guest-{}&since=earliest&echo=1", moment % 3);
                let mut guest = Client::connect_to(address, &query).await;
                let records = guest.catch_up().await;
                assert_eq!(records.len(), moment, "{tenant}");
                guest.publish("memory_added", json!({"message_id": moment})).await;
                if moment % 2 == 0 {
                    assert_eq!(guest.close().await.code, Some(1000));
                } else {
                    // The next one comes while this one is still leaving.
                    tokio::spawn(guest.close());
                }
            }
        });
    }
    while let Some(visited) = within("the guests have been there", guests.join_next()).await {
        visited.expect("every guest is welcomed");
    }
    for tenant in ["one", "two"] {
        let answer = node.get(&format!("/v1/tenants/{tenant}/stats")).await;
        assert_eq!(answer.json()["state"]["total_messages"], MOMENTS * 4, "{answer:?}");
    }
}
