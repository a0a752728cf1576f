//! What nodes show afterwards: the log, entities, their versions, what lies open, the state in pages, a newcomer's replay.

use std::{collections::BTreeMap, net::SocketAddr};

use continuum::model::entity::Delta;
use serde_json::{Value, json};

use super::{ENTITIES, KIND, TENANT};
use crate::support::{Client, http, until};

/// An entity after one of its records.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    pub version: u64,
    pub is_there: bool,
    /// Its content; of a tombstone, the last one that was shown.
    pub data: Value,
    /// The operations that the record did, in their order.
    pub ops: Vec<String>,
}

/// Every state of every entity.
pub type History = BTreeMap<String, Vec<State>>;

/// The state as pages showed it, and from where on the log tells what changed since.
#[derive(Clone, Debug)]
pub struct Snapshot {
    pub entities: BTreeMap<String, (u64, Value)>,
    pub position: u64,
}

/// All records, as a node tells them over HTTP.
pub async fn log(node: SocketAddr) -> Vec<Value> {
    let (mut records, mut after) = (Vec::new(), "earliest".to_owned());
    loop {
        let page = http::get(node, &format!("/v1/tenants/{TENANT}/events?limit=100&after={after}")).await.json();
        assert_eq!(page["resync"], Value::Null);
        records.extend(page["events"].as_array().expect("events").iter().cloned());
        page["cursor"].as_str().expect("a cursor").clone_into(&mut after);
        if page["more"] == false {
            return records;
        }
    }
}

fn entity_path(id: &str) -> String {
    format!("/v1/tenants/{TENANT}/entities/{KIND}/{id}")
}

/// An entity as it stands: its version, and its content unless it is deleted.
pub async fn entity(node: SocketAddr, id: &str) -> (u64, Option<Value>) {
    let shown = http::get(node, &entity_path(id)).await;
    let body = shown.json();
    let version = body["version"].as_u64().unwrap_or_else(|| panic!("{body}"));
    match shown.status {
        200 => (version, Some(body["data"].clone())),
        410 => (version, None),
        _ => panic!("{body}"),
    }
}

/// An entity's versions, the oldest first.
async fn versions(node: SocketAddr, id: &str) -> Vec<Value> {
    let (mut versions, mut before) = (Vec::new(), String::new());
    loop {
        let page = http::get(node, &format!("{}/versions?limit=100{before}", entity_path(id))).await.json();
        assert_eq!(page["trimmed"], false, "{page}");
        versions.extend(page["versions"].as_array().expect("versions").iter().cloned());
        if page["more"] == false {
            versions.reverse();
            return versions;
        }
        before = format!("&before={}", page["before"]);
    }
}

/// The ids of all that lies open, with the entities that it lies open with.
pub async fn open(node: SocketAddr) -> Vec<(String, String)> {
    let page = http::get(node, &format!("/v1/tenants/{TENANT}/conflicts?limit=1000")).await.json();
    assert_eq!(page["next"], Value::Null);
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let items = page["conflicts"].as_array().expect("conflicts").iter();
    items.map(|item| (text(&item["entity_id"]), text(&item["conflict_id"]))).collect()
}

/// The state in small pages, each from another node; `None`: a node could not read the log.
pub async fn try_snapshot(nodes: &[SocketAddr], limit: usize) -> Option<Snapshot> {
    let mut snapshot = Snapshot { entities: BTreeMap::new(), position: 0 };
    let mut page_of = String::new();
    for node in nodes.iter().cycle() {
        let page = http::get(*node, &format!("/v1/tenants/{TENANT}/snapshot?limit={limit}{page_of}")).await;
        if page.status == 503 {
            return None;
        }
        let page = page.json();
        snapshot.position = page["position"].as_u64().unwrap_or_else(|| panic!("{page}"));
        for entity in page["entities"].as_array().expect("entities") {
            let version = entity["version"].as_u64().expect("a version");
            let id = entity["entity_id"].as_str().expect("an id").to_owned();
            let known = snapshot.entities.entry(id).or_default();
            if known.0 < version {
                *known = (version, entity["data"].clone());
            }
        }
        for (id, version) in deleted(&page) {
            if snapshot.entities.get(&id).is_some_and(|known| known.0 < version) {
                snapshot.entities.remove(&id);
            }
        }
        match page["next"].as_str() {
            Some(next) => page_of = format!("&page={next}"),
            None => break,
        }
    }
    Some(snapshot)
}

/// Takes one record in. `deltas`: it holds what changed, unless it is of something new.
fn take_in(states: &mut Vec<State>, record: &Value, deltas: bool) {
    let version = record["seq"].as_u64().expect("a position");
    let name = if record["event_type"].is_string() { &record["event_type"] } else { &record["type"] };
    let event = if record["event"].is_object() { &record["event"] } else { &record["data"]["event"] };
    let before = states.last();
    if let Some(base) = record["data"]["base_version"].as_u64() {
        assert_eq!(base, before.map_or(0, |state| state.version), "it follows another version: {record}");
    }
    let stood = before.map_or(Value::Null, |state| state.data.clone());
    let was_there = before.is_some_and(|state| state.is_there);
    let (is_there, data) = match (name.as_str().expect("a type"), event["action"].as_str()) {
        ("sync_event", Some("delete")) => (false, stood),
        ("sync_event", Some("create")) => (true, event["data"].clone()),
        ("sync_event", Some("update")) => {
            assert!(was_there, "an update of what is not there: {record}");
            let changed = delta(&record["data"]).apply(&stood).unwrap_or_else(|error| panic!("{error}: {record}"));
            assert!(deltas || changed == event["data"], "the change leads to {changed}: {record}");
            (true, changed)
        }
        ("conflict.pending" | "conflict.variant" | "conflict.resolved", None) => (was_there, stood),
        _ => panic!("nobody sent this: {record}"),
    };
    states.push(State { version, is_there, data, ops: Vec::new() });
}

/// What a message says that changed.
pub fn delta(data: &Value) -> Delta {
    let mut fields = json!({});
    for (name, of) in [("text", "text"), ("changes", "patch"), ("ops", "ops")] {
        if !data[name].is_null() {
            fields[of] = data[name].clone();
        }
    }
    serde_json::from_value(fields).unwrap_or_else(|error| panic!("{error}: {data}"))
}

fn entity_of(record: &Value) -> &str {
    [&record["event"], &record["data"]["event"], &record["data"]]
        .iter()
        .find_map(|part| part["entity_id"].as_str())
        .unwrap_or_else(|| panic!("whose record is it? {record}"))
}

/// Every state, from the records, with the operations that led to it, from the lists of versions.
pub async fn replay(node: SocketAddr, log: &[Value]) -> History {
    let mut history = History::new();
    let mut last = 0;
    for record in log {
        assert_eq!(record["prev"], last, "the log has one order: {record}");
        last = record["seq"].as_u64().expect("a position");
        take_in(history.entry(entity_of(record).to_owned()).or_default(), record, false);
    }
    for (id, states) in &mut history {
        assert!(ENTITIES.contains(&&**id));
        let versions = versions(node, id).await;
        assert_eq!(versions.len(), states.len(), "{id} has as many versions as records");
        for (state, version) in states.iter_mut().zip(&versions) {
            assert_eq!(version["version"], state.version, "{version}");
            assert_eq!(version["deleted"] == true, !state.is_there, "{version}");
            let op = |part: &Value| part["op_id"].as_str().expect("an operation's id").to_owned();
            state.ops = match version["parts"].as_array() {
                Some(parts) => parts.iter().map(op).collect(),
                None => {
                    let record = log.iter().find(|record| record["seq"] == state.version).expect("just counted");
                    vec![record["event_id"].as_str().expect("an id").to_owned()]
                }
            };
        }
    }
    history
}

/// What a newcomer has who takes the whole history from a socket, in deltas.
pub async fn newcomer(node: SocketAddr, name: &str) -> History {
    let query = format!("tenant_id={TENANT}&instance_id={name}&since=earliest&deltas=1");
    let mut client = Client::typed(node, &query).await;
    let mut history = History::new();
    for record in client.catch_up().await {
        take_in(history.entry(entity_of(&record).to_owned()).or_default(), &record, true);
    }
    client.close().await;
    history
}

/// What a newcomer has who asks for the state and keeps of each entity the latest version.
pub async fn graph_sync(node: SocketAddr, name: &str) -> BTreeMap<String, (u64, Value)> {
    let mut client = Client::typed(node, &format!("tenant_id={TENANT}&instance_id={name}")).await;
    let wish = json!({"id": "s", "type": "graph.sync", "data": {"types": [KIND]}});
    client.send(wish.clone()).await;
    let mut state = BTreeMap::new();
    loop {
        let page = client.find(|message| message["type"] == "graph.sync" || message["data"]["code"].is_string()).await;
        if page["data"]["code"] == "unavailable" {
            // The entities lie behind the log for longer than a node waits for them.
            client.send(wish.clone()).await;
            continue;
        }
        for entity in page["data"]["entities"].as_array().unwrap_or_else(|| panic!("{page}")) {
            let version = entity["version"].as_u64().expect("a version");
            state.insert(entity["entity_id"].as_str().expect("an id").to_owned(), (version, entity["data"].clone()));
        }
        for (id, version) in deleted(&page["data"]) {
            if state.get(&id).is_some_and(|known: &(u64, Value)| known.0 < version) {
                state.remove(&id);
            }
        }
        if page["data"]["done"] == true {
            client.close().await;
            return state;
        }
    }
}

/// What a page says was deleted lately, each with its version.
fn deleted(page: &Value) -> Vec<(String, u64)> {
    let each = |item: &Value| Some((item["entity_id"].as_str()?.to_owned(), item["version"].as_u64()?));
    page["deleted"].as_array().into_iter().flatten().map(|item| each(item).expect("a deletion")).collect()
}

/// Waits until pages speak for everything up to a position: they may lie behind the log, and say so.
pub async fn until_pages_reach(node: SocketAddr, position: u64) {
    until("the pages reach the log's end", async || {
        try_snapshot(&[node], 1_000).await.filter(|snapshot| snapshot.position >= position)
    })
    .await;
}
