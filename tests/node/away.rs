//! A node whose log goes out of reach and comes back: the log is a real one behind a switch.

use std::{
    path::Path,
    sync::{Arc, atomic::Ordering::SeqCst},
    time::Duration,
};

use continuum::backbone::embedded::{EmbeddedConfig, EmbeddedLog};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    support::{Client, InProcess, Issuer, http, issuer::ADMIN, new_id, until, within},
    switch::{Says, Switch, Way},
};

fn open_log(dir: &Path) -> Arc<Switch> {
    let config = EmbeddedConfig {
        data_dir: dir.into(),
        retention_age: None,
        retention_bytes: None,
        sweep_interval: Duration::from_secs(3600),
        commit_records: 1024,
        commit_bytes: 4 << 20,
        queue_appends: 8192,
        feed_bytes: 1 << 20,
    };
    Switch::over(Arc::new(EmbeddedLog::open(config).expect("the log opens")))
}

struct Away {
    node: InProcess,
    log: Arc<Switch>,
    _dir: TempDir,
}

impl Away {
    async fn start(settings: &[(&str, &str)]) -> Self {
        Self::start_as(Way::Open, Says::Serving, settings).await
    }

    async fn start_as(way: Way, says: Says, settings: &[(&str, &str)]) -> Self {
        let dir = TempDir::new().expect("a temporary directory can be made");
        let log = open_log(dir.path());
        log.set(way, says);
        let node = InProcess::start_on(log.clone(), settings).await;
        Self { node, log, _dir: dir }
    }

    fn go(&self) {
        self.log.set(Way::CutBefore, Says::Degraded);
    }

    fn come_back(&self) {
        self.log.set(Way::Open, Says::Serving);
    }

    async fn readiness(&self) -> (u16, Value) {
        let answer = self.node.get("/readyz").await;
        (answer.status, answer.json())
    }

    /// The `number`s of the room's records, by its history.
    async fn numbers(&self, tenant: &str) -> Vec<u64> {
        let page = self.node.get(&format!("/v1/tenants/{tenant}/events?limit=1000")).await.json();
        let events = page["events"].as_array().expect("events").iter();
        events.map(|event| event["data"]["number"].as_u64().expect("a number")).collect()
    }
}

async fn send(client: &mut Client, number: u64) -> String {
    let id = new_id();
    client.send(json!({"event_type": "note", "event_id": id, "data": {"number": number}})).await;
    id
}

/// Whether a message is of this type and about this publish.
fn about<'a>(event_type: &'a str, id: &'a str) -> impl Fn(&Value) -> bool + 'a {
    move |message| message["event_type"] == event_type && message["data"]["event_id"] == id
}

/// The messages that the document shows of a publish while the log is away.
pub async fn queued_and_stored(publish: &str) -> Vec<Value> {
    let away = Away::start(&[]).await;
    let mut client = away.node.join_with("default", "claude-123", "since=latest").await;
    away.go();
    client.send_text(publish).await;
    client.expect("queued").await;
    away.come_back();
    client.expect("stored").await;
    client.seen().to_vec()
}

#[tokio::test]
async fn members_stay_and_what_they_publish_is_queued_and_then_stored_in_order() {
    let away = Away::start(&[]).await;
    let mut writer = away.node.join_with("t", "writer", "since=latest").await;
    let mut reader = away.node.join_with("t", "reader", "since=latest").await;
    writer.publish("note", json!({"number": 0})).await;
    away.go();
    let mut ids = Vec::new();
    for number in 1..=20 {
        let id = send(&mut writer, number).await;
        writer.find(about("queued", &id)).await;
        ids.push(id);
    }
    // The same again is the same.
    writer.send(json!({"event_type": "note", "event_id": ids[0], "data": {"number": 1}})).await;
    writer.find(about("queued", &ids[0])).await;
    assert_eq!(away.readiness().await, (200, json!({"status": "degraded", "reason": "the switch is off"})));
    assert_eq!(away.node.get("/healthz").await.status, 200);
    assert_eq!(away.node.metric("continuum_journal_entries").await, 20.0);
    away.come_back();
    for id in &ids {
        let stored = writer.find(about("stored", id)).await;
        assert_eq!(stored["data"]["duplicate"], false);
    }
    let seen: Vec<_> = reader.take(21).await.iter().map(|record| record["data"]["number"].clone()).collect();
    assert_eq!(seen, (0..=20).map(|number| json!(number)).collect::<Vec<_>>());
    away.node.until_metric("continuum_journal_bytes", |bytes| bytes == 0.0).await;
    assert_eq!(away.readiness().await, (200, json!({"status": "ready"})));
    assert_eq!(away.node.metric("continuum_journal_drained_total").await, 20.0);
    assert_eq!(writer.publish("note", json!({"number": 21})).await["duplicate"], false);
    assert_eq!(away.numbers("t").await, (0..=21).collect::<Vec<_>>());
}

#[tokio::test]
async fn whoever_came_back_on_another_connection_hears_that_it_is_stored() {
    let away = Away::start(&[]).await;
    let mut first = away.node.join_with("t", "writer", "since=latest").await;
    away.go();
    let id = send(&mut first, 0).await;
    first.find(about("queued", &id)).await;
    let mut second = away.node.join_with("t", "writer", "since=latest").await;
    away.come_back();
    second.find(about("stored", &id)).await;
}

#[tokio::test]
async fn over_http_a_publish_is_202_and_a_list_whose_items_differ_is_207() {
    let away = Away::start(&[]).await;
    let event = |number: u64| json!({"event_type": "note", "instance_id": "h", "data": {"number": number}});
    away.go();
    let answer = away.node.post("/v1/tenants/t/events", &event(0)).await;
    assert_eq!((answer.status, &answer.json()["status"]), (202, &json!("queued")));
    let answer = away.node.post("/v1/tenants/t/events", &json!([event(1), event(2)])).await;
    assert_eq!(answer.status, 202);
    let bad = json!({"event_type": "not a type", "instance_id": "h"});
    let answer = away.node.post("/v1/tenants/t/events", &json!([event(3), bad])).await;
    assert_eq!((answer.status, &answer.json()["results"][0]["status"]), (207, &json!("queued")));
    away.come_back();
    away.node.until_metric("continuum_journal_bytes", |bytes| bytes == 0.0).await;
    assert_eq!(away.numbers("t").await, [0, 1, 2, 3]);
}

#[tokio::test]
async fn over_http_entities_wait_for_the_log_and_say_so() {
    let away = Away::start(&[]).await;
    let address = away.node.address();
    let entity = "/v1/tenants/t/entities/note/n";
    let json = [("Content-Type", "application/json")];
    let put = async |target: &str| http::send(address, "PUT", target, &json, b"{\"n\":1}").await;
    assert_eq!(put(entity).await.status, 201);
    away.go();
    for target in [entity, "/v1/tenants/t/entities/note/other"] {
        put(target).await.problem(503, "unavailable");
        away.node.get(target).await.problem(503, "unavailable");
    }
    let operation =
        json!({"instance_id": "a", "op_id": "mine", "entity_type": "note", "entity_id": "x", "action": "create"});
    let answer = away.node.post("/v1/tenants/t/operations", &operation).await;
    assert!(answer.problem(503, "unavailable")["retry_after_ms"].is_u64());
    let answer = away.node.post("/v1/tenants/t/operations", &json!([operation, {}])).await;
    let results = answer.json()["results"].clone();
    assert_eq!((answer.status, &results[0]["status"], &results[0]["code"]), (207, &json!(503), &json!("unavailable")));
    for listing in ["snapshot", "conflicts", "entities/note/n/versions", "entities/note/n/conflicts"] {
        away.node.get(&format!("/v1/tenants/t/{listing}")).await.problem(503, "unavailable");
    }
    away.come_back();
    assert_eq!(away.node.post("/v1/tenants/t/operations", &operation).await.status, 201);
    assert_eq!(away.node.get(entity).await.json()["data"], json!({"n": 1}));
}

#[tokio::test]
async fn a_room_whose_log_was_never_reached_takes_publishes_and_greets_when_it_can() {
    let away = Away::start_as(Way::CutBefore, Says::NeverReached, &[]).await;
    let (status, readiness) = away.readiness().await;
    assert_eq!((status, &readiness["status"]), (503, &json!("starting")));
    // What is known is said at once.
    let stats = within("the figures", away.node.get("/v1/tenants/t/stats")).await.json();
    assert_eq!((&stats["position"], &stats["total_connections"]), (&json!(0), &json!(0)));
    let event = json!({"event_type": "note", "instance_id": "h", "data": {"number": 0}});
    assert_eq!(away.node.post("/v1/tenants/t/events", &event).await.status, 202);
    let mut waiting = Client::open_to(away.node.address(), "tenant_id=t&instance_id=w&since=earliest").await;
    let id = send(&mut waiting, 1).await;
    let first = waiting.next().await;
    assert!(about("queued", &id)(&first), "{first}");
    // Somebody who goes before the room has opened is not greeted, and nobody waits for it.
    Client::open_to(away.node.address(), "tenant_id=t&instance_id=gone&since=latest").await.vanish();
    away.come_back();
    assert_eq!(waiting.next().await["event_type"], "session_ready", "nothing that names a position comes before");
    waiting.find(about("stored", &id)).await;
    away.node.until_metric("continuum_journal_bytes", |bytes| bytes == 0.0).await;
    assert_eq!(away.numbers("t").await, [0, 1]);
}

#[tokio::test]
async fn a_newcomer_whose_place_cannot_be_looked_up_waits_and_may_publish() {
    let away = Away::start(&[("rooms.ring_bytes", "1")]).await;
    let mut present = away.node.join_with("t", "present", "since=latest").await;
    present.publish("note", json!({"number": 0})).await;
    away.go();
    let mut newcomer = Client::open_to(away.node.address(), "tenant_id=t&instance_id=new&since=earliest").await;
    let id = send(&mut newcomer, 1).await;
    newcomer.find(about("queued", &id)).await;
    away.come_back();
    let first = newcomer.find(|message| message["event_type"] != "queued").await;
    assert_eq!(first["event_type"], "session_ready");
    newcomer.find(about("stored", &id)).await;
    let numbers: Vec<_> = newcomer.records().iter().map(|record| record["data"]["number"].clone()).collect();
    assert_eq!(numbers, [json!(0)], "its own is answered by `stored`");
}

#[tokio::test]
async fn a_full_journal_refuses_clearly_and_takes_the_node_out_of_traffic() {
    let away = Away::start(&[("journal.max_bytes", "1048576")]).await;
    let mut writer = away.node.join_with("t", "writer", "since=latest").await;
    away.go();
    let fill = "x".repeat(200_000);
    let refused = loop {
        let id = new_id();
        writer.send(json!({"event_type": "note", "event_id": id, "data": {"fill": fill}})).await;
        let answer = writer.find(|message| message["data"]["event_id"] == *id).await;
        if answer["event_type"] == "error" {
            break answer["data"].clone();
        }
    };
    assert_eq!(refused["code"], "journal_full");
    assert!(refused["retry_after_ms"].is_number(), "{refused}");
    assert_eq!(away.readiness().await, (503, json!({"status": "journal_full", "reason": "the switch is off"})));
    assert_eq!(away.node.get("/healthz").await.status, 200);
    assert!(away.node.metric("continuum_journal_bytes").await <= 1_048_576.0);
    away.come_back();
    away.node.until_metric("continuum_journal_bytes", |bytes| bytes == 0.0).await;
    assert_eq!(away.readiness().await.0, 200);
    let id = refused["event_id"].as_str().expect("an id");
    assert_eq!(writer.publish_as(id, "note", json!({})).await["duplicate"], false);
}

#[tokio::test]
async fn what_the_log_will_never_take_is_said_to_its_publisher() {
    let away = Away::start(&[]).await;
    let mut writer = away.node.join_with("t", "writer", "since=latest").await;
    away.go();
    let id = send(&mut writer, 0).await;
    writer.find(about("queued", &id)).await;
    away.log.refuse_for_good();
    away.come_back();
    let error = writer.find(about("error", &id)).await;
    assert_eq!(error["data"]["code"], "not_storable");
    assert_eq!(away.node.metric("continuum_journal_dead").await, 1.0);
}

#[tokio::test]
async fn a_node_that_is_stopped_with_its_log_away_keeps_what_it_queued() {
    let Away { node, log, _dir: dir } = Away::start(&[("drain.timeout", "200ms")]).await;
    let mut writer = node.join_with("t", "writer", "since=latest").await;
    log.set(Way::CutBefore, Says::Degraded);
    for number in 0..3 {
        let id = send(&mut writer, number).await;
        writer.find(about("queued", &id)).await;
    }
    drop(writer);
    let data = node.stop_and_keep();
    let log = open_log(dir.path());
    let away = Away { node: InProcess::start_in(data, log.clone(), &[]).await, log, _dir: dir };
    away.node.until_metric("continuum_journal_bytes", |bytes| bytes == 0.0).await;
    assert_eq!(away.numbers("t").await, [0, 1, 2]);
}

#[tokio::test]
async fn a_room_whose_feed_holds_nothing_delivers_everything_from_the_log() {
    let node = InProcess::start(&[("log.feed_bytes", "1")]).await;
    let mut writer = node.join_with("t", "writer", "since=latest").await;
    let mut reader = node.join_with("t", "reader", "since=latest").await;
    for number in 0..200 {
        send(&mut writer, number).await;
    }
    let seen: Vec<_> = reader.take(200).await.iter().map(|record| record["data"]["number"].clone()).collect();
    assert_eq!(seen, (0..200).map(|number| json!(number)).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_tenants_retention_takes_nothing_of_whose_age_it_has_only_heard() {
    let issuer = Issuer::new();
    let settings = issuer.settings();
    let settings: Vec<_> = settings.iter().map(|(key, value)| (*key, value.as_str())).collect();
    let away = Away::start(&[&settings[..], &[("log.sweep_interval", "50ms")]].concat()).await;
    until("it is ready", async || (away.readiness().await.0 == 200).then_some(())).await;
    let token = issuer.token(json!({}));
    let mut writer = away.node.join_with("acme", "w", &format!("token={token}")).await;
    for number in 0..5 {
        writer.publish("note", json!({ "number": number })).await;
    }
    away.log.fall_behind();
    let admin = format!("Bearer {ADMIN}");
    let headers = [("Authorization", admin.as_str()), ("Content-Type", "application/json")];
    let (limits, wanted) = ("/v1/admin/tenants/acme/limits", br#"{"retention_age": "1h"}"#);
    let told = http::send(away.node.address(), "PUT", limits, &headers, wanted).await;
    assert_eq!(told.status, 200, "{}", told.text());
    let before = away.log.times_asked.load(SeqCst);
    // What is said in one sweep is done in the next.
    until("three sweeps", async || (away.log.times_asked.load(SeqCst) >= before + 4).then_some(())).await;
    let page = away.node.get(&format!("/v1/tenants/acme/events?limit=1000&token={token}")).await.json();
    assert_eq!(page["events"].as_array().map(Vec::len), Some(5), "{page}");
}
