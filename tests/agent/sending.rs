//! What goes out: in which order, what does not any more, and how it is known that it did.

use std::{fs, io::Write as _};

use continuum::replica::{Pulled, Replica, Write};
use serde_json::{Value, json, value::RawValue};
use tempfile::TempDir;

use crate::{
    PATIENCE, at_node, behind_a_line, change, key,
    nats_support::{Admin, Line, NatsServer, until},
    open, put, small_disk,
    support::{self, Node},
};

fn event(event_type: &str, data: &Value) -> Write {
    let data = RawValue::from_string(data.to_string()).expect("JSON");
    Write::Event { event_type: event_type.parse().expect("a type"), data }
}

async fn until_offline(replica: &Replica) {
    until("it notices", async || replica.is_away().then_some(())).await;
}

/// The room's records, in their order: their types, and what they say.
async fn records(node: &Node) -> Vec<Value> {
    let page = support::http::get(node.address(), "/v1/tenants/t/events?limit=1000&after=earliest").await.json();
    page["events"].as_array().expect("events").clone()
}

#[tokio::test]
async fn an_event_comes_behind_the_changes_that_were_written_before_it() {
    let (node, mut line, _dir, a) = behind_a_line().await;
    line.snap().await;
    until_offline(&a).await;
    a.write(put("task:1", json!({"n": 1}))).await.expect("written");
    a.write(put("task:1", json!({"n": 2}))).await.expect("written");
    a.write(event("tests_passed", &json!({"n": 2}))).await.expect("written");
    line.heal().await;
    assert_eq!(a.push(PATIENCE).await.expect("pushed"), 0);
    let records = records(&node).await;
    let place = |wanted: &dyn Fn(&Value) -> bool| records.iter().position(wanted).expect("there");
    let second = place(&|record| record["data"]["context"]["n"] == 2);
    assert!(second < place(&|record| record["event_type"] == "tests_passed"), "{records:?}");
}

#[tokio::test]
async fn what_is_dropped_while_the_node_is_away_never_goes_out() {
    let (node, mut line, _dir, a) = behind_a_line().await;
    a.write(put("task:0", json!({"n": 0}))).await.expect("written");
    assert_eq!(a.push(PATIENCE).await.expect("pushed"), 0);
    line.snap().await;
    until_offline(&a).await;
    let dropped = a.write(put("task:1", json!({"n": 1}))).await.expect("written");
    a.write(put("task:2", json!({"n": 2}))).await.expect("written");
    assert!(a.drop_write(dropped.number).await.expect("dropped").is_some());
    line.heal().await;
    assert_eq!(a.push(PATIENCE).await.expect("pushed"), 0);
    assert!(at_node(node.address(), "task:2").await.is_some());
    assert_eq!(at_node(node.address(), "task:1").await, None);
    assert_eq!(a.get(key("task:1")).await.expect("read"), None);
}

#[tokio::test]
async fn an_event_whose_answer_was_lost_is_stored_once_even_where_the_log_has_forgotten_its_id() {
    let nats = NatsServer::start().await;
    let url = nats.url();
    let node =
        Node::start(&[("backbone.kind", "nats"), ("nats.urls", url.as_str()), ("log.retention_bytes", "0")]).await;
    let admin = Admin::connect(&url).await;
    admin.update_stream("SYNC_LOG_0", |config| config["duplicate_window"] = json!(1_000_000_000)).await;
    let mut line = Line::to(node.address()).await;
    let dir = TempDir::new().expect("a directory");
    let a = open(line.address(), "a", dir.path()).await;
    a.write(event("first", &json!({}))).await.expect("written");
    assert_eq!(a.push(PATIENCE).await.expect("pushed"), 0);
    assert_eq!(a.pull(PATIENCE).await.expect("pulled"), Pulled::Fresh);
    line.cut_from_server();
    let lost = a.write(event("decision_made", &json!({"n": 1}))).await.expect("written");
    let made = async |event_type: &str| {
        records(&node).await.iter().filter(|record| record["event_type"] == event_type).count()
    };
    until("it is stored", async || (made("decision_made").await == 1).then_some(())).await;
    line.snap().await;
    drop(a);
    // Once a repeat of what was stored later makes a second record, the log knows the first one's id no more either.
    let probe = json!({"event_type": "probe", "event_id": "11111111-1111-4111-8111-111111111111", "instance_id": "p", "data": {}});
    until("the log forgets ids", async || {
        support::http::post(node.address(), "/v1/tenants/t/events", probe.to_string().as_bytes()).await;
        (made("probe").await > 1).then_some(())
    })
    .await;
    line.heal().await;
    let a = open(line.address(), "a", dir.path()).await;
    let settled = a.settled(lost, PATIENCE).await.expect("read").expect("in time");
    assert_eq!(settled.outcome, "stored", "{settled:?}");
    a.write(event("later", &json!({}))).await.expect("written");
    assert_eq!(a.push(PATIENCE).await.expect("pushed"), 0);
    assert_eq!((made("decision_made").await, made("later").await), (1, 1));
}

#[test]
fn what_others_do_while_the_disk_is_full_is_told_when_there_is_space() {
    small_disk::run("sending::on_a_disk_that_is_full_for_a_while", 16, small_disk::Temporary::Elsewhere);
}

#[tokio::test]
async fn on_a_disk_that_is_full_for_a_while() {
    let Some(disk) = small_disk::given() else { return };
    let node = Node::start(&[("limits.messages_per_minute", "0")]).await;
    let a = open(node.address(), "a", &disk.join("journal")).await;
    let elsewhere = TempDir::new().expect("a directory");
    let b = open(node.address(), "b", elsewhere.path()).await;
    b.write(put("task:gone", json!({"n": 1}))).await.expect("written");
    assert_eq!(b.push(PATIENCE).await.expect("pushed"), 0);
    assert_eq!(a.pull(PATIENCE).await.expect("pulled"), Pulled::Fresh);
    let filler = disk.join("filler");
    let mut file = fs::File::create(&filler).expect("made");
    while file.write_all(&[0; 4096]).is_ok() {}
    drop(file);
    for n in 0..40 {
        b.write(event("said", &json!({"n": n, "text": "y".repeat(50_000)}))).await.expect("written");
    }
    b.write(change("task:gone", None, json!({"action": "delete"}))).await.expect("written");
    assert_eq!(b.push(PATIENCE).await.expect("pushed"), 0);
    until("it is said", async || {
        let link = serde_json::to_value(a.status().await.expect("read").connection).expect("JSON");
        link["why"].as_str().is_some_and(|why| why.contains("disk is full")).then_some(())
    })
    .await;
    fs::remove_file(&filler).expect("removed");
    until("all of it is here", async || (a.pull(PATIENCE).await.expect("pulled") == Pulled::Fresh).then_some(())).await;
    let (changes, _) = a.changes(0, 1_000).await.expect("read");
    let said = changes.iter().filter(|change| change.event_type == "said").count();
    assert_eq!((said, a.get(key("task:gone")).await.expect("read")), (40, None));
}
