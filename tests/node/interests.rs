//! Subscriptions to parts of the shared state, through real sockets: what comes first, what follows, and what never comes.

use std::{collections::BTreeMap, net::SocketAddr};

use serde_json::{Value, json};

use crate::{
    nats_support::NatsServer,
    support::{Client, InProcess, Node, new_id},
};

const ROOMY: [(&str, &str); 3] = [
    ("limits.control_per_minute", "1000000"),
    ("limits.publishes_in_flight", "4096"),
    ("limits.messages_per_minute", "0"),
];

async fn typed(address: SocketAddr, instance: &str, user: &str) -> Client {
    Client::typed(address, &format!("tenant_id=t&instance_id={instance}&user_id={user}&user_name={user}")).await
}

/// What a client has of a subscription, by type and id: the version and the content.
type State = BTreeMap<String, (u64, Value)>;

/// A client's copy of a subscription's result, which is strict about what it is told.
#[derive(Debug)]
struct Mirror {
    name: String,
    state: State,
    done: bool,
    begun: usize,
}

impl Mirror {
    /// Subscribes and waits for the whole result.
    async fn follow(client: &mut Client, name: &str, what: Value) -> Self {
        let mut data = what;
        data["subscription"] = name.into();
        client.send(json!({"id": new_id(), "type": "subscribe", "event_type": "subscribe", "data": data})).await;
        client.find(|message| message["event_type"] == "subscribed" && message["data"]["subscription"] == *name).await;
        let mut mirror = Self { name: name.into(), state: State::new(), done: false, begun: 0 };
        while !mirror.done {
            mirror.take(&client.next().await);
        }
        mirror
    }

    fn take(&mut self, message: &Value) {
        let data = &message["data"];
        if data["subscription"] != *self.name {
            return;
        }
        let list = |name: &str| data[name].as_array().cloned().unwrap_or_default();
        match message["event_type"].as_str().expect("a type") {
            "region.sync" | "query.results" | "ids.sync" => {
                if data["part"] == 1 {
                    self.state.clear();
                    self.begun += 1;
                }
                for (kind, name) in [("node", "nodes"), ("edge", "edges")] {
                    for mut item in list(name) {
                        let fields = item.as_object_mut().expect("an object");
                        let (id, version) =
                            (fields.remove("id").expect("id"), fields.remove("version").expect("version"));
                        self.put(
                            &json!({"entity_type": kind, "entity_id": id, "version": version, "data": fields}),
                            false,
                        );
                    }
                }
                list("results").iter().for_each(|item| self.put(item, false));
                self.done = data["done"] == true;
            }
            "region.update" | "query.update" | "ids.update" => {
                assert!(self.begun > 0, "nothing comes before the result begins: {message}");
                for item in list("left") {
                    assert!(self.state.remove(&name_of(&item)).is_some(), "{item} was not there: {message}");
                }
                list("entered").iter().for_each(|item| self.put(item, false));
                list("changed").iter().for_each(|item| self.put(item, true));
            }
            _ => {}
        }
    }

    fn put(&mut self, item: &Value, is_there: bool) {
        let entity = (item["version"].as_u64().expect("a version"), item["data"].clone());
        let before = self.state.insert(name_of(item), entity.clone());
        assert_eq!(before.is_some(), is_there, "{item} of {}", self.name);
        assert!(before.is_none_or(|before| before.0 < entity.0), "{item} is old");
    }

    fn names(&self) -> Vec<&str> {
        self.state.keys().map(String::as_str).collect()
    }

    /// Reads until the result has exactly these.
    async fn until(&mut self, client: &mut Client, names: &[&str]) {
        while self.names() != names {
            self.take(&client.next().await);
        }
    }

    /// Everything that was said so far has been taken in.
    async fn settle(&mut self, client: &mut Client) {
        for message in settle(client).await {
            self.take(&message);
        }
    }
}

/// Reads everything that was said before now.
async fn settle(client: &mut Client) -> Vec<Value> {
    let from = client.seen().len();
    client.send(json!({"type": "sync_request", "event_type": "sync_request"})).await;
    client.expect("sync_response").await;
    client.seen()[from..].to_vec()
}

fn name_of(item: &Value) -> String {
    format!("{} {}", item["entity_type"].as_str().expect("a type"), item["entity_id"].as_str().expect("an id"))
}

fn operation(action: &str, kind: &str, id: &str, data: &Value) -> Value {
    let content = if action == "update" { "patch" } else { "data" };
    let mut operation = json!({"op_id": new_id(), "entity_type": kind, "entity_id": id, "action": action});
    if action != "delete" && action != "restore" {
        operation[content] = data.clone();
    }
    operation
}

/// Has operations done, and waits for their answers.
async fn write(client: &mut Client, operations: Vec<Value>) {
    let count = operations.len();
    client.send(json!({"id": new_id(), "type": "batch.update", "event_type": "batch.update", "data": {"operations": operations}})).await;
    for _ in 0..count {
        let answer = client.find(|message| message["data"].get("updateId").is_some()).await;
        assert_eq!(answer["event_type"], "update.confirmed", "{answer}");
    }
}

async fn put(client: &mut Client, action: &str, kind: &str, id: &str, data: Value) {
    write(client, vec![operation(action, kind, id, &data)]).await;
}

fn node(x: f64, y: f64) -> Value {
    json!({"x": x, "y": y})
}

fn square() -> Value {
    json!({"region": {"x": 0, "y": 0, "width": 100, "height": 100}})
}

async fn refused(client: &mut Client, data: Value) -> Value {
    client.send(json!({"id": "asked", "type": "subscribe", "data": data})).await;
    client.expect("error").await["data"].clone()
}

#[tokio::test]
async fn a_rectangle_has_the_nodes_in_it_and_the_edges_between_them() {
    let server = Node::start(&ROOMY).await;
    let (mut ann, mut bob) = (typed(server.address(), "a", "ann").await, typed(server.address(), "b", "bob").await);
    for (id, x) in [("n1", 1.0), ("n2", 2.0), ("n3", 200.0)] {
        put(&mut ann, "create", "node", id, node(x, x)).await;
    }
    put(&mut ann, "create", "edge", "e12", json!({"from": "n1", "to": "n2"})).await;
    put(&mut ann, "create", "edge", "e13", json!({"source": "n1", "target": "n3"})).await;
    let mut mirror = Mirror::follow(&mut bob, "s1", square()).await;
    assert_eq!(mirror.names(), ["edge e12", "node n1", "node n2"]);
    let sync = bob.seen_of("region.sync").last().expect("a result").clone();
    assert_eq!(sync["data"]["region"], square()["region"], "{sync}");
    assert_eq!(sync["data"]["edges"][0]["from"], "n1");
    // Moved in, with its edge; changed; moved out, with its edges; and away from the plane.
    put(&mut ann, "update", "node", "n3", json!({"x": 3})).await;
    mirror.settle(&mut bob).await;
    assert_eq!(mirror.names(), ["edge e12", "node n1", "node n2"], "its y is still outside");
    put(&mut ann, "update", "node", "n3", json!({"y": 3})).await;
    mirror.until(&mut bob, &["edge e12", "edge e13", "node n1", "node n2", "node n3"]).await;
    put(&mut ann, "update", "node", "n2", json!({"label": "new"})).await;
    put(&mut ann, "update", "node", "n1", json!({"x": -1})).await;
    mirror.until(&mut bob, &["node n2", "node n3"]).await;
    assert_eq!(mirror.state["node n2"].1["label"], "new");
    put(&mut ann, "update", "node", "n3", json!({"x": null})).await;
    mirror.until(&mut bob, &["node n2"]).await;
    // The client's own changes count as anybody's.
    put(&mut bob, "update", "node", "n2", json!({"label": "mine"})).await;
    mirror.settle(&mut bob).await;
    for message in bob.seen() {
        if message["event_type"] == "region.update" && message["data"]["changed"][0]["data"]["label"] == "mine" {
            return;
        }
    }
    panic!("its own change did not come");
}

#[tokio::test]
async fn records_of_nodes_and_edges_are_muted_unless_it_is_said_otherwise() {
    let server = Node::start(&ROOMY).await;
    let address = server.address();
    let mut ann = typed(address, "a", "ann").await;
    let (mut bob, mut eve) = (typed(address, "b", "bob").await, typed(address, "e", "eve").await);
    let mut old = server.join("t", "old").await;
    Mirror::follow(&mut bob, "s1", square()).await;
    Mirror::follow(&mut old, "s1", square()).await;
    let mut loud = square();
    loud["mute"] = false.into();
    Mirror::follow(&mut eve, "s1", loud).await;
    put(&mut ann, "create", "node", "n1", node(1.0, 1.0)).await;
    put(&mut ann, "create", "task", "t1", json!({"title": "a"})).await;
    for client in [&mut bob, &mut eve, &mut old] {
        // The clients hold every record against the chain: what is left out was bridged.
        client.expect("sync_event").await;
        settle(client).await;
        assert_eq!(client.seen_of("region.update").count(), 1);
    }
    assert_eq!(eve.seen_of("node.create").count(), 1);
    assert_eq!(bob.seen_of("node.create").count() + old.seen_of("node.create").count(), 0);
    bob.send(json!({"type": "unsubscribe", "data": {"subscription": "s1"}})).await;
    assert_eq!(bob.expect("unsubscribed").await["data"], json!({"subscription": "s1"}));
    put(&mut ann, "update", "node", "n1", json!({"x": 2})).await;
    bob.expect("node.update").await;
    settle(&mut bob).await;
    assert_eq!(bob.seen_of("region.update").count(), 1, "nothing more of what it does not follow");
}

#[tokio::test]
async fn hops_follow_the_edges_that_come_and_go() {
    let server = Node::start(&ROOMY).await;
    let (mut ann, mut bob) = (typed(server.address(), "a", "ann").await, typed(server.address(), "b", "bob").await);
    for id in ["n1", "n2", "n3", "n4"] {
        put(&mut ann, "create", "node", id, json!({"label": id})).await;
    }
    put(&mut ann, "create", "edge", "e12", json!({"from": "n1", "to": "n2"})).await;
    put(&mut ann, "create", "edge", "e32", json!({"from": "n3", "to": "n2"})).await;
    let mut one = Mirror::follow(&mut bob, "one", json!({"region": {"node": "n1", "hops": 1}})).await;
    assert_eq!(one.names(), ["edge e12", "node n1", "node n2"]);
    let mut two = Mirror::follow(&mut bob, "two", json!({"region": {"node": "n1", "hops": 2}})).await;
    assert_eq!(two.names(), ["edge e12", "edge e32", "node n1", "node n2", "node n3"], "whichever way they point");
    put(&mut ann, "create", "edge", "e14", json!({"from": "n4", "to": "n1"})).await;
    one.until(&mut bob, &["edge e12", "edge e14", "node n1", "node n2", "node n4"]).await;
    assert_eq!(one.state["node n4"].1["label"], "n4");
    put(&mut ann, "delete", "edge", "e12", json!({})).await;
    one.until(&mut bob, &["edge e14", "node n1", "node n4"]).await;
    // A deleted middle leaves nothing; its edges wait in the log, and are whole again when it is restored.
    put(&mut ann, "delete", "node", "n1", json!({})).await;
    one.until(&mut bob, &[]).await;
    put(&mut ann, "restore", "node", "n1", json!({})).await;
    one.until(&mut bob, &["edge e14", "node n1", "node n4"]).await;
    // The other subscription was told the same in its own messages.
    two.state.clear();
    two.begun = 0;
    for message in bob.seen() {
        two.take(message);
    }
    two.until(&mut bob, &["edge e14", "node n1", "node n4"]).await;
}

#[tokio::test]
async fn a_list_has_what_is_there_of_it() {
    let server = Node::start(&ROOMY).await;
    let (mut ann, mut bob) = (typed(server.address(), "a", "ann").await, typed(server.address(), "b", "bob").await);
    put(&mut ann, "create", "node", "n1", node(1.0, 1.0)).await;
    put(&mut ann, "create", "node", "n9", node(1.0, 1.0)).await;
    let ids = json!({"ids": ["n1", "n2", {"entity_type": "task", "entity_id": "t1"}]});
    let mut mirror = Mirror::follow(&mut bob, "mine", ids).await;
    assert_eq!(mirror.names(), ["node n1"]);
    put(&mut ann, "create", "task", "t1", json!({"title": "x"})).await;
    put(&mut ann, "create", "node", "n2", node(1.0, 1.0)).await;
    mirror.until(&mut bob, &["node n1", "node n2", "task t1"]).await;
    put(&mut ann, "delete", "node", "n1", json!({})).await;
    mirror.until(&mut bob, &["node n2", "task t1"]).await;
    put(&mut ann, "restore", "node", "n1", json!({})).await;
    mirror.until(&mut bob, &["node n1", "node n2", "task t1"]).await;
}

#[tokio::test]
async fn a_query_has_what_it_finds_and_says_what_is_wrong_with_it() {
    let server = Node::start(&[ROOMY[0], ROOMY[1], ("limits.subscription_entities", "5")]).await;
    let (mut ann, mut bob) = (typed(server.address(), "a", "ann").await, typed(server.address(), "b", "bob").await);
    for n in 0..4 {
        let state = if n % 2 == 0 { "open" } else { "done" };
        put(&mut ann, "create", "task", &format!("t{n}"), json!({"state": state, "rank": n, "tags": ["a"]})).await;
    }
    let query = |text: &str| json!({"query": {"entity_type": "task", "where": text}});
    let mut mirror = Mirror::follow(&mut bob, "open", query("state == 'open' && rank < 10 && 'a' in tags")).await;
    assert_eq!(mirror.names(), ["task t0", "task t2"]);
    assert_eq!(bob.seen_of("query.results").last().expect("results")["data"]["queryId"], "open");
    put(&mut ann, "update", "task", "t1", json!({"state": "open"})).await;
    put(&mut ann, "update", "task", "t2", json!({"rank": 10})).await;
    put(&mut ann, "update", "task", "t0", json!({"title": "first"})).await;
    mirror.until(&mut bob, &["task t0", "task t1"]).await;
    mirror.settle(&mut bob).await;
    assert_eq!(mirror.state["task t0"].1["title"], "first");
    // What is wrong is said, with the subscription's name and the place.
    for (data, code, words) in [
        (query("state == "), "invalid_query", "1:"),
        (query("matches(state, 'o*')"), "invalid_query", "matches"),
        (json!({"query": {"where": "true"}}), "invalid_query", "entity_type"),
        (query("tags.exists(tag, tag == 'a')"), "query_too_costly", "lists"),
        (query(&vec!["rank == 1"; 60].join("||")), "query_too_costly", "parts"),
        (query(&"(".repeat(600)), "query_too_costly", "deep"),
        (query(&format!("{}1", "rank==1?2:".repeat(90))), "query_too_costly", "deep"),
        (query(&format!("rank{} == 1", ".a".repeat(450))), "query_too_costly", "deep"),
        (query(&format!("{}1 == 1", "1-".repeat(450))), "query_too_costly", "deep"),
        (query(&format!("{}true", "!".repeat(900))), "query_too_costly", "deep"),
        (query(&"x".repeat(2_000)), "query_too_costly", "bytes"),
        (json!({"region": {"x": 1, "y": 1, "width": 0, "height": 1}}), "invalid_message", "region"),
        (json!({"region": {"node": "n1", "hops": 99}}), "invalid_message", "hops"),
        (json!({"ids": []}), "invalid_message", "ids"),
        (json!({"ids": vec!["n1"; 257]}), "invalid_message", "ids"),
        (json!({}), "invalid_message", "region"),
    ] {
        let mut named = data.clone();
        named["subscription"] = "bad".into();
        let error = refused(&mut bob, named).await;
        assert_eq!((&error["code"], &error["id"]), (&json!(code), &json!("bad")), "{data} {error}");
        assert!(error["message"].as_str().is_some_and(|message| message.contains(words)), "{error}");
    }
    // Too many from the start, and too many after a while.
    let mut all = Mirror::follow(&mut bob, "all", json!({"query": {"entity_type": "task"}})).await;
    assert_eq!(all.names().len(), 4);
    for n in 4..6 {
        put(&mut ann, "create", "task", &format!("t{n}"), json!({})).await;
    }
    let error = bob.expect("error").await;
    assert_eq!((&error["data"]["code"], &error["data"]["id"]), (&json!("query_too_costly"), &json!("all")), "{error}");
    all.settle(&mut bob).await;
    let error = refused(&mut bob, json!({"subscription": "all", "query": {"entity_type": "task"}})).await;
    assert_eq!(error["code"], "query_too_costly", "{error}");
}

#[tokio::test]
async fn a_flood_of_subscriptions_is_refused_and_a_name_is_taken_over() {
    let settings = [ROOMY[0], ("limits.subscriptions_per_connection", "3"), ("limits.subscriptions_per_room", "4")];
    let server = Node::start(&settings).await;
    let (mut ann, mut bob) = (typed(server.address(), "a", "ann").await, typed(server.address(), "b", "bob").await);
    for name in ["s1", "s2", "s3"] {
        Mirror::follow(&mut bob, name, square()).await;
    }
    let mut data = square();
    data["subscription"] = "s4".into();
    assert_eq!(refused(&mut bob, data.clone()).await["code"], "limit_reached");
    // Another one of the same name takes its place.
    let mut mirror = Mirror::follow(&mut bob, "s3", json!({"ids": ["n1"]})).await;
    Mirror::follow(&mut ann, "s1", square()).await;
    data["subscription"] = "s2".into();
    let error = refused(&mut ann, data).await;
    assert_eq!((&error["code"], &error["id"]), (&json!("limit_reached"), &json!("s2")), "the room is full: {error}");
    bob.send(json!({"type": "unsubscribe", "data": {"subscriptions": ["s1", "s2"]}})).await;
    assert_eq!(bob.expect("unsubscribed").await["data"], json!({"subscriptions": ["s1", "s2"]}));
    Mirror::follow(&mut ann, "s2", square()).await;
    put(&mut ann, "create", "node", "n1", node(1.0, 1.0)).await;
    mirror.until(&mut bob, &["node n1"]).await;
    assert_eq!(bob.seen_of("region.update").count(), 0);
    // Whoever leaves takes its subscriptions along.
    bob.close().await;
    for name in ["s3", "s2"] {
        Mirror::follow(&mut ann, name, square()).await;
    }
    let server = Node::start(&[("limits.control_per_minute", "5")]).await;
    let mut eve = typed(server.address(), "e", "eve").await;
    for _ in 0..20 {
        eve.send(json!({"type": "subscribe", "data": {"subscription": "s", "ids": ["n1"]}})).await;
    }
    assert_eq!(eve.expect("error").await["data"]["code"], "rate_limited");
}

#[tokio::test]
async fn what_is_private_reaches_nobody_else() {
    let server = Node::start(&ROOMY).await;
    let (mut ann, mut bob) = (typed(server.address(), "a", "ann").await, typed(server.address(), "b", "bob").await);
    let mut desk = typed(server.address(), "a2", "ann").await;
    let secret = json!({"x": 2, "y": 2, "visibility": "private", "text": "mine"});
    put(&mut ann, "create", "node", "open", node(1.0, 1.0)).await;
    put(&mut ann, "create", "node", "secret", secret).await;
    put(&mut ann, "create", "edge", "e1", json!({"from": "open", "to": "secret"})).await;
    let all = json!({"query": {"entity_type": "node"}});
    let mut ids = Mirror::follow(&mut bob, "ids", json!({"ids": ["open", "secret"]})).await;
    let mut hops = Mirror::follow(&mut bob, "hops", json!({"region": {"node": "open", "hops": 2}})).await;
    let mut area = Mirror::follow(&mut bob, "area", square()).await;
    let mut query = Mirror::follow(&mut bob, "query", all.clone()).await;
    for mirror in [&ids, &hops, &area, &query] {
        assert_eq!(mirror.names(), ["node open"], "{}", mirror.name);
    }
    let mut own = Mirror::follow(&mut desk, "area", square()).await;
    assert_eq!(own.names(), ["edge e1", "node open", "node secret"], "its owner sees it on every device");
    put(&mut ann, "update", "node", "secret", json!({"text": "still mine"})).await;
    put(&mut ann, "update", "node", "secret", json!({"visibility": "team", "text": "shared"})).await;
    area.until(&mut bob, &["edge e1", "node open", "node secret"]).await;
    put(&mut ann, "update", "node", "secret", json!({"visibility": "private", "text": "again mine"})).await;
    area.until(&mut bob, &["node open"]).await;
    own.settle(&mut desk).await;
    assert_eq!(own.names(), ["edge e1", "node open", "node secret"]);
    settle(&mut bob).await;
    for mirror in [&mut ids, &mut hops, &mut query] {
        mirror.state.clear();
        mirror.begun = 0;
        bob.seen().iter().for_each(|message| mirror.take(message));
        assert_eq!(mirror.names(), ["node open"], "{}", mirror.name);
    }
    let told = bob.seen().iter().map(Value::to_string).collect::<String>();
    assert!(!told.contains("still mine") && !told.contains("again mine"));
}

/// One client makes edges to a node while another deletes and restores it; whoever follows sees no edge without its ends.
async fn edges_stand(first: SocketAddr, second: SocketAddr) {
    const ROUNDS: usize = 25;
    let (mut ann, mut bob) = (typed(first, "a", "ann").await, typed(second, "b", "bob").await);
    let mut followers = [typed(first, "f1", "eve").await, typed(second, "f2", "eve").await];
    put(&mut ann, "create", "node", "hub", node(1.0, 1.0)).await;
    put(&mut ann, "create", "node", "rim", node(2.0, 2.0)).await;
    let mut mirrors = Vec::new();
    for follower in &mut followers {
        follower.find(|message| message["event_type"] == "caught_up").await;
        mirrors.push([
            Mirror::follow(follower, "area", square()).await,
            Mirror::follow(follower, "hops", json!({"region": {"node": "rim", "hops": 1}})).await,
        ]);
    }
    let edges = async {
        for n in 0..ROUNDS {
            put(&mut ann, "create", "edge", &format!("e{n:02}"), json!({"from": "hub", "to": "rim"})).await;
        }
    };
    let flicker = async {
        for _ in 0..ROUNDS {
            put(&mut bob, "delete", "node", "hub", json!({})).await;
            put(&mut bob, "restore", "node", "hub", json!({})).await;
        }
    };
    tokio::join!(edges, flicker);
    let mut whole: Vec<String> = (0..ROUNDS).map(|n| format!("edge e{n:02}")).collect();
    whole.extend(["node hub".to_owned(), "node rim".to_owned()]);
    for (follower, mirrors) in followers.iter_mut().zip(&mut mirrors) {
        while mirrors.iter().any(|mirror| mirror.names() != whole) {
            let message = follower.next().await;
            for mirror in mirrors.iter_mut() {
                mirror.take(&message);
                let has_edges = mirror.state.keys().any(|name| name.starts_with("edge"));
                let has_ends = mirror.state.contains_key("node hub") && mirror.state.contains_key("node rim");
                assert!(!has_edges || has_ends, "an edge without an end: {:?} after {message}", mirror.names());
            }
        }
    }
}

#[tokio::test]
async fn an_edge_is_never_seen_without_its_ends() {
    let server = Node::start(&ROOMY).await;
    edges_stand(server.address(), server.address()).await;
}

#[tokio::test]
async fn an_edge_is_never_seen_without_its_ends_on_two_nodes() {
    let log = NatsServer::start().await;
    let url = log.url();
    let mut settings = vec![("backbone.kind", "nats"), ("nats.urls", url.as_str()), ("log.retention_bytes", "0")];
    settings.extend(ROOMY);
    let (a, b) = (Node::start(&settings).await, Node::start(&settings).await);
    edges_stand(a.address(), b.address()).await;
}

#[tokio::test]
async fn whoever_subscribes_while_everything_changes_misses_nothing_and_gets_nothing_twice() {
    let server = Node::start(&[ROOMY[0], ROOMY[1], ("rooms.page_bytes", "16384")]).await;
    let mut ann = typed(server.address(), "a", "ann").await;
    for chunk in 0..4 {
        let nodes =
            (0..250).map(|n| operation("create", "node", &format!("n{}", chunk * 250 + n), &node(f64::from(n), 1.0)));
        write(&mut ann, nodes.collect()).await;
    }
    let mut followers = Vec::new();
    for n in 0..3 {
        followers.push(typed(server.address(), &format!("f{n}"), "eve").await);
    }
    let changing = async {
        for round in 0..40 {
            let moved = (0..25).map(|n| {
                let id = format!("n{}", (round * 37 + n * 41) % 1_000);
                operation("update", "node", &id, &json!({"x": (round * 7 + n) % 250, "round": round}))
            });
            write(&mut ann, moved.collect()).await;
        }
        put(&mut ann, "create", "node", "last", node(1.0, 1.0)).await;
    };
    let following = async {
        let mut mirrors = Vec::new();
        for (n, follower) in followers.iter_mut().enumerate() {
            let what =
                [square(), json!({"query": {"entity_type": "node", "where": "x < 100 && x >= 0"}})][n % 2].clone();
            mirrors.push(Mirror::follow(follower, "s", what).await);
        }
        mirrors
    };
    let ((), mut mirrors) = tokio::join!(changing, following);
    for (follower, mirror) in followers.iter_mut().zip(&mut mirrors) {
        while !mirror.state.contains_key("node last") {
            mirror.take(&follower.next().await);
        }
        mirror.settle(follower).await;
    }
    let mut fresh = typed(server.address(), "fresh", "zoe").await;
    let expected = Mirror::follow(&mut fresh, "s", square()).await;
    assert!(expected.state.len() > 100);
    for mirror in &mirrors {
        assert_eq!(mirror.state, expected.state);
    }
}

#[tokio::test]
async fn a_follower_that_lags_is_told_everything_anew() {
    let settings = [
        ROOMY[0],
        ROOMY[1],
        ("limits.outbox_bytes", "65536"),
        ("server.send_buffer", "65536"),
        ("limits.stall_timeout", "60s"),
    ];
    let server = Node::start(&settings).await;
    let (mut ann, mut slow) = (typed(server.address(), "a", "ann").await, typed(server.address(), "slow", "bob").await);
    let text = "x".repeat(20_000);
    let nodes = (0..20).map(|n| operation("create", "node", &format!("n{n:02}"), &json!({"x": n, "y": 1})));
    write(&mut ann, nodes.collect()).await;
    let mut mirror = Mirror::follow(&mut slow, "s", square()).await;
    // It does not read meanwhile: 20 MB do not fit into anything on the way.
    for round in 0..50 {
        let changes = (0..20)
            .map(|n| operation("update", "node", &format!("n{n:02}"), &json!({"text": format!("{text}{round}")})));
        write(&mut ann, changes.collect()).await;
    }
    put(&mut ann, "delete", "node", "n00", json!({})).await;
    let last = format!("{text}49");
    let is_done = |mirror: &Mirror| {
        mirror.done && mirror.state.len() == 19 && mirror.state.values().all(|(_, data)| data["text"] == *last)
    };
    while !is_done(&mirror) {
        mirror.take(&slow.next().await);
    }
    assert!(mirror.begun >= 2, "it was told anew");
    put(&mut ann, "create", "node", "n99", node(1.0, 1.0)).await;
    while !mirror.state.contains_key("node n99") {
        mirror.take(&slow.next().await);
    }
}

#[tokio::test]
async fn subscriptions_outlive_their_room() {
    let node_in_process = InProcess::start(&ROOMY).await;
    let address = node_in_process.address();
    let (mut ann, mut bob) = (typed(address, "a", "ann").await, typed(address, "b", "bob").await);
    put(&mut ann, "create", "node", "n1", node(1.0, 1.0)).await;
    let mut mirror = Mirror::follow(&mut bob, "s", square()).await;
    for death in 0..3 {
        node_in_process.fail_room("t").await;
        node_in_process.until_metric("continuum_rooms_rebuilt_total", |rebuilt| rebuilt >= f64::from(death + 1)).await;
        let id = format!("m{death}");
        put(&mut ann, "create", "node", &id, node(1.0, 1.0)).await;
        let wanted = format!("node {id}");
        while !mirror.done || !mirror.state.contains_key(&wanted) {
            mirror.take(&bob.next().await);
        }
    }
    assert_eq!(mirror.names(), ["node m0", "node m1", "node m2", "node n1"]);
}

#[tokio::test]
async fn a_thousand_subscriptions_are_all_kept_up_to_date() {
    const CLIENTS: usize = 16;
    const EACH: usize = 63;
    // Those whose turn to be checked is late read nothing until then, which takes a slow machine minutes.
    let patient = [("heartbeat.timeout", "900s"), ("limits.stall_timeout", "900s")];
    let server = Node::start(&[&ROOMY[..], &patient].concat()).await;
    let mut ann = typed(server.address(), "a", "ann").await;
    let place = |n: usize| node((n * 37 % 1_000) as f64, (n * 91 % 1_000) as f64);
    write(&mut ann, (0..500).map(|n| operation("create", "node", &format!("n{n}"), &place(n))).collect()).await;
    let edge = |n: usize| json!({"from": format!("n{}", n % 500), "to": format!("n{}", n * 13 % 500)});
    write(&mut ann, (0..500).map(|n| operation("create", "edge", &format!("e{n}"), &edge(n))).collect()).await;
    let what = |n: usize| match n % 3 {
        0 => json!({"region": {"x": n * 7 % 900, "y": n * 3 % 900, "width": 100, "height": 100}}),
        1 => json!({"region": {"node": format!("n{}", n % 500), "hops": 2}}),
        _ => json!({"query": {"entity_type": "node", "where": format!("group == {}", n % 50)}}),
    };
    let mut clients = Vec::new();
    for c in 0..CLIENTS {
        let mut client = typed(server.address(), &format!("c{c}"), "eve").await;
        let mut mirrors = BTreeMap::new();
        for s in 0..EACH {
            let name = format!("s{s}");
            mirrors.insert(name.clone(), Mirror::follow(&mut client, &name, what(c * EACH + s)).await);
        }
        clients.push((client, mirrors));
    }
    for round in 0..4 {
        let changes = (0..250).map(|n| match n % 5 {
            0 => operation("update", "edge", &format!("e{}", (n * 7 + round) % 500), &edge(n * 3 + round)),
            1 => operation("update", "node", &format!("n{}", (n * 11 + round) % 500), &place(n + round * 7)),
            _ => operation("update", "node", &format!("n{}", (n * 3 + round) % 500), &json!({"group": n % 50})),
        });
        write(&mut ann, changes.collect()).await;
    }
    let mut checked = 0;
    for (c, (mut client, mirrors)) in clients.into_iter().enumerate() {
        // What is looked up comes a little later than what a change itself brings: ask until all is the same.
        let mut fresh = typed(server.address(), &format!("fresh-{c}"), "eve").await;
        for (s, mirror) in
            mirrors.into_iter().map(|(name, mirror)| (name[1..].parse::<usize>().expect("a number"), mirror))
        {
            let expected = Mirror::follow(&mut fresh, &format!("s{s}"), what(c * EACH + s)).await;
            let mut mirror = Mirror { state: State::new(), begun: 0, ..mirror };
            client.seen().iter().for_each(|message| mirror.take(message));
            while mirror.state != expected.state {
                mirror.take(&client.next().await);
            }
            checked += 1;
        }
    }
    assert_eq!(checked, CLIENTS * EACH);
}

#[tokio::test]
async fn a_graph_that_is_too_large_has_no_regions() {
    let server = Node::start(&[ROOMY[0], ROOMY[1], ("rooms.graph_entities", "10")]).await;
    let mut ann = typed(server.address(), "a", "ann").await;
    let nodes = |numbers: std::ops::Range<u8>| {
        numbers.map(|n| operation("create", "node", &format!("n{n}"), &node(1.0, 1.0))).collect()
    };
    write(&mut ann, nodes(0..8)).await;
    let mut mirror = Mirror::follow(&mut ann, "s", square()).await;
    assert_eq!(mirror.names().len(), 8);
    write(&mut ann, nodes(8..11)).await;
    mirror.settle(&mut ann).await;
    let error = ann.seen_of("error").next().expect("it was ended")["data"].clone();
    assert_eq!((&error["code"], &error["id"]), (&json!("limit_reached"), &json!("s")), "{error}");
    let mut again = square();
    again["subscription"] = "t".into();
    assert_eq!(refused(&mut ann, again).await["code"], "limit_reached");
}

#[tokio::test]
async fn changes_that_have_much_to_do_with_a_focus_are_told_with_score_and_reason() {
    let server = Node::start(&ROOMY).await;
    let (mut ann, mut bob) = (typed(server.address(), "a", "ann").await, typed(server.address(), "b", "bob").await);
    bob.send(json!({"type": "gonzai.focus", "data": {"nodes": ["n1"], "tags": ["rust", "sync"]}})).await;
    settle(&mut bob).await;
    put(&mut ann, "create", "node", "n1", node(1.0, 1.0)).await;
    put(&mut ann, "create", "node", "n2", json!({"tags": ["Rust", "SYNC"]})).await;
    put(&mut ann, "create", "node", "n3", json!({"tags": ["rust"]})).await;
    put(&mut ann, "create", "node", "n4", json!({"tags": ["rust", "sync"], "visibility": "private"})).await;
    put(&mut bob, "update", "node", "n1", json!({"x": 2})).await;
    put(&mut ann, "create", "edge", "e1", json!({"from": "n3", "to": "n1"})).await;
    settle(&mut bob).await;
    let told: Vec<_> = bob.seen_of("gonzai.discover").map(|message| message["data"].clone()).collect();
    let scores: Vec<_> = told.iter().map(|data| (&data["event"]["entity_id"], &data["relevance"])).collect();
    let [n1, n2, e1] = ["n1", "n2", "e1"].map(Value::from);
    let expected = [(&n1, &json!(1.0)), (&n2, &json!(1.0)), (&e1, &json!(0.9))];
    assert_eq!(scores, expected, "{told:?}");
    assert_eq!(told[1]["reason"], "it shares the tags rust, sync");
    bob.send(json!({"type": "gonzai.focus", "data": {}})).await;
    settle(&mut bob).await;
    put(&mut ann, "update", "node", "n1", json!({"x": 3})).await;
    settle(&mut bob).await;
    assert_eq!(bob.seen_of("gonzai.discover").count(), 3, "nothing without a focus");
}
