//! Grants by region: whoever sees a part of the plane sees nodes come and go there and nothing beyond it, on every path; and whoever may
//! change a part changes nothing that lies, or would lie, elsewhere.

use serde_json::{Value, json};

use crate::{
    nats_support::NatsServer,
    support::{Client, Issuer, Node, new_id},
};

const ENTITIES: &str = "/v1/tenants/acme/entities";

fn token(issuer: &Issuer, name: &str, grant: Value) -> String {
    issuer.token(json!({"instance": name, "grant": grant}))
}

fn all() -> Value {
    json!({"publish": ["*"], "subscribe": ["*"], "read": ["*"], "change": ["*"]})
}

/// Does something to an entity, over HTTP.
async fn act(node: &Node, token: &str, method: &str, kind: &str, id: &str, body: Value) -> u64 {
    let answer = node.ask(token, method, &format!("{ENTITIES}/{kind}/{id}"), &body).await;
    assert!((200..300).contains(&answer.status), "{method} {kind} {id}: {}", answer.text());
    answer.json()["version"].as_u64().unwrap_or_default()
}

fn at(x: f64, y: f64, text: &str) -> Value {
    json!({"x": x, "y": y, "text": text})
}

/// What happens in the room; `secret` is what nobody of the region `0,0,10,10` may ever see. Returns two versions of `comer`: one
/// outside the region and one inside.
async fn play(node: &Node, writer: &str) -> [u64; 2] {
    let put = async |kind: &str, id: &str, content: Value| act(node, writer, "PUT", kind, id, content).await;
    put("node", "in", at(5.0, 5.0, "shown")).await;
    put("node", "beyond", at(50.0, 50.0, "secret")).await;
    put("node", "edge-of-it", at(10.0, 5.0, "secret")).await;
    put("node", "mover", at(1.0, 1.0, "shown")).await;
    let gone = json!({"x": 50, "text": "secret"});
    act(node, writer, "PATCH", "node", "mover", gone).await;
    act(node, writer, "PATCH", "node", "mover", json!({"text": "secret too"})).await;
    let outside = put("node", "comer", at(50.0, 50.0, "secret")).await;
    act(node, writer, "PATCH", "node", "comer", json!({"x": 2, "y": 2, "text": "shown"})).await;
    let inside = act(node, writer, "PATCH", "node", "comer", json!({"color": "red"})).await;
    put("node", "gone", at(3.0, 3.0, "shown")).await;
    act(node, writer, "DELETE", "node", "gone", Value::Null).await;
    put("node", "gone-beyond", at(60.0, 3.0, "secret")).await;
    act(node, writer, "DELETE", "node", "gone-beyond", Value::Null).await;
    put("node", "nowhere", json!({"text": "secret"})).await;
    put("node", "elsewhere", json!({"x": "5", "y": "5", "text": "secret"})).await;
    put("memory", "here", at(5.0, 5.0, "secret")).await;
    put("edge", "here", json!({"from": "in", "to": "comer", "x": 5, "y": 5, "text": "secret"})).await;
    put("node", "hidden", json!({"x": 5, "y": 5, "visibility": "private", "text": "secret"})).await;
    [outside, inside]
}

/// What is told of nodes, in order, and nothing that is secret.
fn told(messages: &[Value]) -> Vec<(String, String)> {
    let text = Value::from(messages.to_vec()).to_string();
    assert!(!text.contains("secret"), "{text}");
    let mut told = Vec::new();
    for message in messages {
        let kind = message["event_type"].as_str().or(message["type"].as_str()).unwrap_or_default();
        let id = message["data"]["node"]["id"].as_str().or(message["data"]["node_id"].as_str());
        if let Some(id) = id.filter(|_| kind.starts_with("node.")) {
            told.push((kind.to_owned(), id.to_owned()));
        }
    }
    told
}

const TOLD: [(&str, &str); 7] = [
    ("node.create", "in"),
    ("node.create", "mover"),
    ("node.delete", "mover"),
    ("node.create", "comer"),
    ("node.update", "comer"),
    ("node.create", "gone"),
    ("node.delete", "gone"),
];

fn as_told() -> Vec<(String, String)> {
    TOLD.map(|(kind, id)| (kind.to_owned(), id.to_owned())).to_vec()
}

async fn fenced(client: &mut Client) -> Vec<(String, String)> {
    client.find(|message| message["data"]["fence"] == "here").await;
    told(client.seen())
}

async fn walk(node: &Node, issuer: &Issuer) {
    let writer = token(issuer, "writer", all());
    let grant = json!({"publish": ["*"], "subscribe": ["*"], "read": ["region:0,0,10,10"]});
    let reader = token(issuer, "reader-*", grant);
    let connect = async |path: &str, name: &str, more: &str| {
        let query = format!("token={reader}&instance_id={name}&{more}");
        match path {
            "ws" => Client::typed(node.address(), &query).await,
            _ => Client::connect_to(node.address(), &query).await,
        }
    };
    let ways = [("ws/sync", ""), ("ws", ""), ("ws/sync", "deltas=1"), ("ws", "deltas=1")];
    let mut live = Vec::new();
    for (n, (path, more)) in ways.into_iter().enumerate() {
        live.push(connect(path, &format!("reader-{n}"), more).await);
    }
    let mut follower = connect("ws", "reader-follower", "").await;
    for (name, wanted) in [
        ("nodes", json!({"query": {"entity_type": "node"}})),
        ("red", json!({"query": {"entity_type": "node", "where": "color == 'red'"}})),
        ("box", json!({"region": {"x": -100, "y": -100, "width": 200, "height": 200}})),
        ("hops", json!({"region": {"node": "in", "hops": 3}})),
        ("list", json!({"ids": ["in", "beyond", "mover", "comer", "nowhere"]})),
    ] {
        let mut data = json!({"subscription": name});
        data.as_object_mut().expect("an object").extend(wanted.as_object().cloned().expect("an object"));
        follower.send(json!({"type": "subscribe", "id": name, "data": data})).await;
        follower.find(|message| message["data"]["subscription"] == name && message["data"]["done"] == true).await;
    }
    let [outside, inside] = play(node, &writer).await;
    let fence = json!({"event_type": "fence", "instance_id": "writer", "data": {"fence": "here"}});
    assert_eq!(node.ask(&writer, "POST", "/v1/tenants/acme/events", &fence).await.status, 201);
    // Live, in both envelopes, whole and as changes.
    for (client, way) in live.iter_mut().zip(ways) {
        assert_eq!(fenced(client).await, as_told(), "{way:?}");
    }
    follower.find(|message| message["data"]["fence"] == "here").await;
    told(follower.seen());
    // Replayed.
    for (n, (path, more)) in ways.into_iter().enumerate() {
        let mut client = connect(path, &format!("reader-again-{n}"), &format!("since=earliest&{more}")).await;
        assert_eq!(fenced(&mut client).await, as_told(), "{path} {more}");
    }
    let history = node.get_as(&reader, "/v1/tenants/acme/events?limit=100&instance_id=reader-h").await.json();
    assert_eq!(told(history["events"].as_array().expect("a list")), as_told());
    let mut stream = node.stream("acme", &format!("since=earliest&token={reader}&instance_id=reader-s")).await;
    assert_eq!(told(&stream.records(8).await), as_told());
    // As state, and by subscriptions.
    let mut state = connect("ws", "reader-state", "").await;
    state.send(json!({"type": "graph.sync", "id": "s", "data": {}})).await;
    state.find(|message| message["type"] == "graph.sync" && message["data"]["done"] == true).await;
    for (name, wanted) in [
        ("nodes", json!({"query": {"entity_type": "node"}})),
        ("box", json!({"region": {"x": -100, "y": -100, "width": 200, "height": 200}})),
        ("hops", json!({"region": {"node": "in", "hops": 3}})),
        ("far", json!({"region": {"node": "beyond", "hops": 3}})),
        ("list", json!({"ids": ["in", "beyond", "mover", "comer", "nowhere"]})),
    ] {
        let mut data = json!({"subscription": name});
        data.as_object_mut().expect("an object").extend(wanted.as_object().cloned().expect("an object"));
        state.send(json!({"type": "subscribe", "id": name, "data": data})).await;
        let end = state
            .find(|message| message["data"]["subscription"] == name && message["data"]["done"] == true)
            .await
            .to_string();
        assert_eq!(end.contains("shown"), name != "far", "{end}");
        assert!(!end.contains("mover"), "{end}");
    }
    told(state.seen());
    // Over HTTP.
    let get = async |target: &str| node.get_as(&reader, target).await;
    for (kind, id, status) in [
        ("node", "in", 200),
        ("node", "comer", 200),
        ("node", "gone", 410),
        ("node", "mover", 404),
        ("node", "beyond", 404),
        ("node", "gone-beyond", 404),
        ("node", "nowhere", 404),
        ("node", "hidden", 404),
        ("memory", "here", 404),
        ("edge", "here", 404),
    ] {
        let answer = get(&format!("{ENTITIES}/{kind}/{id}?instance_id=reader-g")).await;
        assert_eq!(answer.status, status, "{kind} {id}: {}", answer.text());
        for more in ["versions", "conflicts"] {
            let answer = get(&format!("{ENTITIES}/{kind}/{id}/{more}?instance_id=reader-g")).await;
            assert_eq!(
                answer.status,
                if status == 404 { 404 } else { 200 },
                "{more} of {kind} {id}: {}",
                answer.text()
            );
            assert!(!answer.text().contains("secret"), "{}", answer.text());
        }
    }
    let versions = get(&format!("{ENTITIES}/node/comer/versions?instance_id=reader-g")).await.json();
    let actions: Vec<_> =
        versions["versions"].as_array().expect("a list").iter().map(|version| version["action"].clone()).collect();
    assert_eq!(actions, ["update", "create"], "{versions}");
    let old = async |version| get(&format!("{ENTITIES}/node/comer?version={version}&instance_id=reader-g")).await;
    old(outside).await.problem(404, "version_gone");
    assert_eq!(old(inside).await.status, 200);
    for target in ["snapshot", "conflicts"] {
        let answer = get(&format!("/v1/tenants/acme/{target}?instance_id=reader-g")).await.text();
        assert!(!answer.contains("secret") && !answer.contains("mover") && !answer.contains("beyond"), "{answer}");
        assert_eq!(answer.contains("shown"), target == "snapshot");
    }
    // Nothing changes for whoever may see everything.
    let everything = node.get_as(&writer, "/v1/tenants/acme/snapshot").await.text();
    assert!(everything.contains("secret too") && everything.contains("nowhere"));
}

#[tokio::test]
async fn whoever_sees_a_region_sees_nothing_beyond_it_on_any_path() {
    let issuer = Issuer::new();
    walk(&issuer.node(&[]).await, &issuer).await;
}

#[tokio::test]
async fn the_same_holds_where_the_log_is_on_nats() {
    let (issuer, server) = (Issuer::new(), NatsServer::start().await);
    let urls = server.url();
    let settings = [("backbone.kind", "nats"), ("nats.urls", urls.as_str()), ("log.retention_bytes", "0")];
    let node = issuer.node(&settings).await;
    walk(&node, &issuer).await;
    bounds(&node, &issuer).await;
}

async fn bounds(node: &Node, issuer: &Issuer) {
    let writer = token(issuer, "other-writer", all());
    let grant = json!({"publish": ["*"], "subscribe": ["*"], "read": ["region:100,100,110,110"],
        "change": ["region:100,100,110,110"]});
    let changer = token(issuer, "changer", grant);
    act(node, &writer, "PUT", "node", "theirs", at(150.0, 150.0, "planted")).await;
    act(node, &changer, "PUT", "node", "own", at(105.0, 105.0, "mine")).await;
    let target = |kind: &str, id: &str| format!("{ENTITIES}/{kind}/{id}");
    for (method, kind, id, body, code) in [
        ("PUT", "node", "new", at(150.0, 105.0, "x"), "out_of_region"),
        ("PUT", "node", "new", json!({"text": "x"}), "out_of_region"),
        ("PUT", "node", "own", at(110.0, 105.0, "x"), "out_of_region"),
        ("PATCH", "node", "own", json!({"x": 99.9}), "out_of_region"),
        ("PATCH", "node", "own", json!({"y": null}), "out_of_region"),
        ("PUT", "node", "theirs", at(105.0, 105.0, "x"), "out_of_region"),
        ("PATCH", "node", "theirs", json!({"text": "x"}), "out_of_region"),
        ("DELETE", "node", "theirs", Value::Null, "out_of_region"),
        ("PUT", "edge", "e", json!({"from": "own", "to": "theirs"}), "forbidden"),
        ("PUT", "memory", "m", at(105.0, 105.0, "x"), "forbidden"),
    ] {
        let answer = node.ask(&changer, method, &target(kind, id), &body).await;
        assert!(!answer.text().contains("planted"), "{}", answer.text());
        answer.problem(403, code);
    }
    // Over sockets, one by one and all or nothing.
    for path in ["ws/sync", "ws"] {
        let mut client = Client::open_on(node.address(), path, &format!("token={changer}")).await;
        let operation = |id: &str, data: Value| json!({"op_id": new_id(), "entity_type": "node", "entity_id": id, "action": "put", "data": data});
        for (id, data) in [("theirs", at(105.0, 105.0, "x")), ("own", at(0.0, 0.0, "x")), ("new", json!({}))] {
            let operation = operation(id, data);
            let update = operation["op_id"].clone();
            let message = json!({"type": "sync_event", "event_type": "sync_event", "id": new_id(), "event_id": new_id(), "data": operation});
            client.send(message).await;
            let answer = client.find(|message| message["data"]["updateId"] == update).await;
            assert_eq!(
                (&answer["data"]["code"], &answer["data"]["version"]),
                (&json!("out_of_region"), &json!(0)),
                "{answer}"
            );
        }
        let operations = [operation("own", at(101.0, 101.0, "moved")), operation("theirs", at(105.0, 105.0, "x"))];
        let id = new_id();
        let message = json!({"type": "batch.update", "event_type": "batch.update", "id": id, "event_id": id,
            "data": {"atomic": true, "operations": operations}});
        client.send(message).await;
        // Each is told when it is known.
        let mut codes = Vec::new();
        while codes.len() < 2 {
            let told = client.find(|message| message["data"]["updateId"].is_string()).await;
            codes.push(told["data"]["code"].as_str().unwrap_or_default().to_owned());
        }
        codes.sort();
        assert_eq!(codes, ["batch_failed", "out_of_region"]);
        assert!(!Value::from(client.seen().to_vec()).to_string().contains("planted"));
        client.close().await;
    }
    let stands = async |id: &str| node.get_as(&writer, &target("node", id)).await.json()["data"].clone();
    assert_eq!(stands("own").await, at(105.0, 105.0, "mine"));
    assert_eq!(stands("theirs").await, at(150.0, 150.0, "planted"));
    // Within it everything goes.
    act(node, &changer, "PATCH", "node", "own", json!({"x": 100, "text": "more"})).await;
    act(node, &changer, "DELETE", "node", "own", Value::Null).await;
    act(node, &changer, "PUT", "node", "own", at(109.0, 109.0, "again")).await;
    assert_eq!(stands("own").await, at(109.0, 109.0, "again"));
}

#[tokio::test]
async fn whoever_may_change_a_region_changes_nothing_beyond_it() {
    let issuer = Issuer::new();
    bounds(&issuer.node(&[]).await, &issuer).await;
}
