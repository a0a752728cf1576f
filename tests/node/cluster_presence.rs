//! Presence across nodes: real processes on one NATS server. Whoever watches, on whichever node, is told the same.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    nats_support::{Line, NatsServer, until},
    sessions::comings_and_goings,
    support::{Client, InProcess, Node, http},
};

/// What is promised of a node that dies, as its members' neighbours on other nodes see it.
const PROMISE: Duration = Duration::from_secs(15);

/// The settings of a node on a server.
pub fn on<'a>(url: &'a str, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    // A server of a test does not have the room that the default reserves.
    let space = ("log.retention_bytes", "0");
    let mut settings = vec![("backbone.kind", "nats"), ("nats.urls", url), ("rooms.cursor_flush", "20ms"), space];
    settings.extend_from_slice(more);
    settings
}

/// Nodes on one server, each of which has heard of all the others.
pub async fn nodes<const N: usize>(server: &NatsServer, more: &[(&str, &str)]) -> [Node; N] {
    let url = server.url();
    let settings = on(&url, more);
    let mut nodes = Vec::new();
    for _ in 0..N {
        nodes.push(Node::start(&settings).await);
    }
    for node in &nodes {
        until_others(node.address(), N - 1).await;
    }
    nodes.try_into().unwrap_or_else(|_| unreachable!("as many were started"))
}

async fn until_others(node: SocketAddr, count: usize) {
    until("a node knows the others", async || {
        let stats = http::get(node, "/v1/stats").await.json();
        (stats["nodes"]["others"].as_array().map(Vec::len) == Some(count)).then_some(())
    })
    .await;
}

/// Who is in the room, as a node says over HTTP.
async fn roster(node: &Node) -> Vec<String> {
    let answer = node.get("/v1/tenants/t/instances").await.json();
    let names = |list: &Value| -> Vec<String> {
        let items = list.as_array().expect("a list").iter();
        items.map(|item| item["instance_id"].as_str().expect("a name").to_owned()).collect()
    };
    assert_eq!(answer["instances_total"], answer["instances"].as_array().map_or(0, Vec::len));
    names(&answer["instances"])
}

/// Waits until every node says that these are in the room.
async fn until_all_say(nodes: &[&Node], names: &[&str]) {
    for node in nodes {
        until(&format!("a node says {names:?}"), async || (roster(node).await == names).then_some(())).await;
    }
}

/// What a watcher was told, once nothing more is on its way to it.
async fn told(watcher: &mut Client) -> Vec<String> {
    watcher.settle().await;
    comings_and_goings(watcher)
}

#[tokio::test]
async fn who_joins_and_leaves_is_seen_once_on_every_node() {
    let server = NatsServer::start().await;
    let [a, b, idle] = nodes(&server, &[]).await;
    let mut watcher_a = a.join("t", "watcher-a").await;
    let mut watcher_b = b.join("t", "watcher-b").await;
    let seen = &watcher_b.ready()["data"];
    assert_eq!((&seen["instances"][0]["instance_id"], &seen["instances_total"]), (&json!("watcher-a"), &json!(2)));
    watcher_a.expect("instance_joined").await;
    for round in 0..5 {
        let (here, other) = if round % 2 == 0 { (&a, &b) } else { (&b, &a) };
        let guest = here.join_with("t", "guest", "capabilities=memory,learning").await;
        for watcher in [&mut watcher_a, &mut watcher_b] {
            let joined = watcher.expect("instance_joined").await;
            assert_eq!(joined["data"]["capabilities"], json!(["memory", "learning"]));
            assert_eq!(joined["data"]["instance_id"], "guest");
        }
        // The node that has no such room asks the others, and still has none afterwards.
        until_all_say(&[&a, &b, &idle], &["guest", "watcher-a", "watcher-b"]).await;
        assert_eq!(idle.metric("continuum_rooms").await, 0.0);
        let stats = other.get("/v1/tenants/t/stats").await.json();
        assert_eq!(stats["state"]["connected_instances"], json!(["guest", "watcher-a", "watcher-b"]));
        guest.close().await;
        watcher_a.expect("instance_left").await;
        watcher_b.expect("instance_left").await;
    }
    assert_eq!(told(&mut watcher_b).await, ["+guest", "-guest closed"].repeat(5));
    let mut expected = vec!["+watcher-b"];
    expected.extend(["+guest", "-guest closed"].repeat(5));
    assert_eq!(told(&mut watcher_a).await, expected);
}

#[tokio::test]
async fn an_instance_that_moves_between_nodes_was_never_away() {
    let server = NatsServer::start().await;
    let [a, b] = nodes(&server, &[]).await;
    let mut watchers = [a.join("t", "watcher-a").await, b.join("t", "watcher-b").await];
    watchers[0].expect("instance_joined").await;
    let mut guest = a.join("t", "guest").await;
    for watcher in &mut watchers {
        watcher.expect("instance_joined").await;
    }
    for round in 0..6 {
        let node = if round % 2 == 0 { &b } else { &a };
        let newer = node.join("t", "guest").await;
        assert_eq!(guest.until_closed().await.code, Some(4009));
        guest = newer;
    }
    // Lost here, and back there in time.
    guest.vanish();
    let guest = b.join("t", "guest").await;
    let ack = watchers[0].publish("note", json!({})).await;
    watchers[1].find(|message| message["seq"] == ack["seq"]).await;
    until_all_say(&[&a, &b], &["guest", "watcher-a", "watcher-b"]).await;
    guest.close().await;
    for watcher in &mut watchers {
        watcher.expect("instance_left").await;
    }
    assert_eq!(told(&mut watchers[0]).await, ["+watcher-b", "+guest", "-guest closed"]);
    assert_eq!(told(&mut watchers[1]).await, ["+guest", "-guest closed"]);
}

#[tokio::test]
async fn the_instances_of_a_killed_node_are_gone_on_the_others_in_time() {
    let server = NatsServer::start().await;
    let [mut a, b, c] = nodes(&server, &[]).await;
    let mut watchers = [b.join("t", "watcher-b").await, c.join("t", "watcher-c").await];
    watchers[0].expect("instance_joined").await;
    let _stays = a.join("t", "stays").await;
    let _moves = a.join("t", "moves").await;
    for watcher in &mut watchers {
        watcher.expect("instance_joined").await;
        watcher.expect("instance_joined").await;
    }
    let killed = Instant::now();
    a.kill9().await;
    // Whoever comes to another node at once was never away.
    let _moved = b.join("t", "moves").await;
    for watcher in &mut watchers {
        let left = watcher.expect("instance_left").await;
        assert_eq!(left["data"], json!({"instance_id": "stays", "reason": "lost"}));
        assert!(killed.elapsed() < PROMISE, "{:?}", killed.elapsed());
    }
    until_all_say(&[&b, &c], &["moves", "watcher-b", "watcher-c"]).await;
    until_others(b.address(), 1).await;
    let named = ["+stays", "+moves", "-stays lost"];
    assert_eq!(told(&mut watchers[1]).await, named);
    assert_eq!(told(&mut watchers[0]).await, [&["+watcher-c"], &named[..]].concat());
}

#[tokio::test]
async fn a_node_that_was_paused_is_consistent_again() {
    let server = NatsServer::start().await;
    let [a, b] = nodes(&server, &[]).await;
    let mut watcher_a = a.join("t", "watcher-a").await;
    let mut watcher_b = b.join("t", "watcher-b").await;
    let _stays = a.join("t", "stays").await;
    let mut moves = a.join("t", "moves").await;
    let goes = b.join("t", "goes").await;
    until_all_say(&[&a, &b], &["goes", "moves", "stays", "watcher-a", "watcher-b"]).await;
    let told_before = told(&mut watcher_a).await;
    let paused = Instant::now();
    a.pause();
    let _moved = b.join("t", "moves").await;
    goes.close().await;
    for _ in 0..3 {
        watcher_b.expect("instance_left").await;
    }
    assert!(paused.elapsed() < PROMISE, "{:?}", paused.elapsed());
    until_all_say(&[&b], &["moves", "watcher-b"]).await;
    let new = b.join("t", "new").await;
    // The time for which it stands still is what is tested.
    tokio::time::sleep(Duration::from_secs(20).saturating_sub(paused.elapsed())).await;
    let resumed = Instant::now();
    a.resume();
    assert_eq!(moves.until_closed().await.code, Some(4009), "the older of two connections goes");
    until_all_say(&[&a, &b], &["moves", "new", "stays", "watcher-a", "watcher-b"]).await;
    assert!(resumed.elapsed() < Duration::from_secs(5), "{:?}", resumed.elapsed());
    assert_eq!(a.get("/v1/stats").await.json()["nodes"]["incarnation"], 1);
    assert_eq!(b.get("/v1/stats").await.json()["nodes"]["incarnation"], 0);
    new.close().await;
    watcher_a.expect("instance_left").await;
    watcher_a.expect("instance_left").await;
    // Nobody was blamed for the node's own absence.
    let told_a = told(&mut watcher_a).await;
    let since = &told_a[told_before.len()..];
    let mut sorted = since.to_vec();
    sorted.sort();
    assert_eq!(sorted, ["+new", "-goes closed", "-new closed"], "{since:?}");
    let mut told_b = told(&mut watcher_b).await;
    let returned = told_b.split_off(told_b.len() - 4);
    assert_eq!(returned[0], "+new");
    assert_eq!(returned[3], "-new closed");
    assert!(returned[1..3].iter().all(|word| ["+stays", "+watcher-a"].contains(&word.as_str())), "{returned:?}");
    assert!(!told_b.contains(&"-moves lost".to_owned()), "{told_b:?}");
}

#[tokio::test]
async fn a_tenants_limit_counts_its_connections_on_all_nodes() {
    let server = NatsServer::start().await;
    let [a, b] = nodes(&server, &[("limits.connections_per_tenant", "3")]).await;
    let first = a.join("t", "first").await;
    let _second = a.join("t", "second").await;
    let _third = b.join("t", "third").await;
    until_all_say(&[&a, &b], &["first", "second", "third"]).await;
    for node in [&a, &b] {
        let mut refused = Client::open(node, "tenant_id=t&instance_id=fourth").await;
        assert_eq!(refused.expect("error").await["data"]["code"], "limit_reached");
        assert_eq!(refused.until_closed().await.code, Some(4011));
    }
    // An instance that is in already may move.
    let second = b.join("t", "second").await;
    assert_eq!(second.ready()["data"]["instances_total"], 3);
    first.close().await;
    until_all_say(&[&a, &b], &["second", "third"]).await;
    assert_eq!(b.join("t", "fourth").await.ready()["data"]["instances_total"], 3);
}

#[tokio::test]
async fn when_a_node_is_drained_only_those_who_do_not_come_back_are_missed() {
    let server = NatsServer::start().await;
    let more = [("heartbeat.interval", "1s"), ("heartbeat.timeout", "4s")];
    let [mut a, b] = nodes(&server, &more).await;
    let mut watcher = b.join("t", "watcher").await;
    let mut guests = vec![];
    for name in ["returns", "stays-away"] {
        guests.push(a.join("t", name).await);
        watcher.expect("instance_joined").await;
    }
    a.ask_to_stop();
    for guest in &mut guests {
        assert_eq!(guest.until_closed().await.code, Some(1012));
    }
    let mut returned = b.join("t", "returns").await;
    // It reads on: who does not even answer pings is lost as well.
    let reading = tokio::spawn(async move { returned.until_closed().await });
    assert_eq!(a.ended().await.code(), Some(0));
    b.logs("a node said farewell").await;
    let drained = Instant::now();
    let left = watcher.expect("instance_left").await;
    assert_eq!(left["data"], json!({"instance_id": "stays-away", "reason": "lost"}));
    assert!(drained.elapsed() < Duration::from_secs(6), "{:?}", drained.elapsed());
    assert_eq!(told(&mut watcher).await, ["+returns", "+stays-away", "-stays-away lost"]);
    until_all_say(&[&b], &["returns", "watcher"]).await;
    assert!(!reading.is_finished());
}

#[tokio::test]
async fn a_node_that_is_cut_off_blames_nobody_and_is_one_of_all_again_when_it_hears() {
    let server = NatsServer::start().await;
    let mut line = Line::to(server.address()).await;
    let (direct, lined) = (server.url(), line.url());
    let (a, b) = (Node::start(&on(&direct, &[])).await, Node::start(&on(&lined, &[])).await);
    until_others(a.address(), 1).await;
    until_others(b.address(), 1).await;
    let mut watcher_a = a.join("t", "watcher-a").await;
    let mut watcher_b = b.join("t", "watcher-b").await;
    let goes = a.join("t", "goes").await;
    watcher_b.expect("instance_joined").await;
    line.cut();
    let cut = Instant::now();
    goes.close().await;
    watcher_a
        .find(|message| message["data"]["instance_id"] == "watcher-b" && message["event_type"] == "instance_left")
        .await;
    assert!(cut.elapsed() < PROMISE, "{:?}", cut.elapsed());
    until_all_say(&[&a], &["watcher-a"]).await;
    // As long again as it would take to declare somebody gone.
    tokio::time::sleep(PROMISE).await;
    assert_eq!(roster(&b).await, ["goes", "watcher-a", "watcher-b"], "nobody is gone for a node that hears nothing");
    line.heal().await;
    until_all_say(&[&a, &b], &["watcher-a", "watcher-b"]).await;
    let told_b = comings_and_goings(&watcher_b);
    watcher_b.expect("instance_left").await;
    assert_eq!(told_b, ["+goes"]);
    let reason = &comings_and_goings(&watcher_b)[1];
    assert!(["-goes closed", "-goes lost"].contains(&reason.as_str()), "{reason}");
    watcher_a.expect("instance_joined").await;
    assert_eq!(told(&mut watcher_a).await, ["+watcher-b", "+goes", "-goes closed", "-watcher-b lost", "+watcher-b"]);
}

#[tokio::test]
async fn a_room_that_dies_on_one_node_is_not_noticed_on_the_others() {
    let server = NatsServer::start().await;
    let [b] = nodes(&server, &[]).await;
    let url = server.url();
    let a = InProcess::start(&on(&url, &[])).await;
    until_others(b.address(), 1).await;
    until_others(a.address(), 1).await;
    let mut watcher = b.join("t", "watcher").await;
    let mut members = vec![a.join_with("t", "first", "").await, a.join_with("t", "second", "").await];
    watcher.expect("instance_joined").await;
    watcher.expect("instance_joined").await;
    for death in 1..=3 {
        a.fail_room("t").await;
        a.until_metric("continuum_rooms_rebuilt_total", |rebuilt| rebuilt >= f64::from(death)).await;
        until("everyone is in the new room", async || {
            let answer = a.get("/v1/tenants/t/instances").await.json();
            (answer["instances_total"] == 3).then_some(())
        })
        .await;
    }
    for member in &mut members {
        let ack = member.publish("note", json!({})).await;
        watcher.find(|message| message["seq"] == ack["seq"]).await;
    }
    assert_eq!(told(&mut watcher).await, ["+first", "+second"]);
    assert_eq!(told(&mut members[0]).await, ["+second"]);
    assert_eq!(told(&mut members[1]).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_crowd_on_another_node_is_in_the_greeting_and_goes_with_its_node() {
    const CROWD: usize = 200;
    let server = NatsServer::start().await;
    let [mut a, b] = nodes(&server, &[("limits.connections_per_tenant", "1000")]).await;
    // So much to say about each that it takes many messages to name them all.
    let words = vec!["capability".repeat(6); 32].join(",");
    let mut crowd = Vec::new();
    for number in 0..CROWD {
        crowd.push(a.join_with("t", &format!("guest-{number:03}"), &format!("capabilities={words}")).await);
    }
    let mut watcher = b.join("t", "watcher").await;
    let ready = &watcher.ready()["data"];
    assert_eq!(
        (&ready["instances_total"], ready["instances"].as_array().map(Vec::len)),
        (&json!(CROWD + 1), Some(128))
    );
    assert_eq!(ready["instances"][7]["capabilities"].as_array().map(Vec::len), Some(32));
    assert_eq!(roster(&b).await.len(), CROWD + 1);
    let killed = Instant::now();
    a.kill9().await;
    let changed = watcher.find(|message| message["data"]["left"] != 0 && message["data"]["joined"] == 0).await;
    assert_eq!(changed["data"], json!({"instances_total": 1, "joined": 0, "left": CROWD}));
    assert!(killed.elapsed() < PROMISE, "{:?}", killed.elapsed());
    assert_eq!(roster(&b).await, ["watcher"]);
}
