//! What a node tells those who look after it: its fellow nodes, rooms, sessions, journal, shards. On both kinds of log.

use serde_json::{Value, json};

use crate::{
    cluster_presence::{nodes, on},
    document::openapi::{exchange, hold_to_the_description},
    nats_support::NatsServer,
    support::{Client, Issuer, Node, RawClient, issuer::ADMIN, until},
};

/// Sockets that hold little, so that whoever does not read is soon behind.
const TIGHT: [(&str, &str); 3] =
    [("limits.outbox_bytes", "65536"), ("server.send_buffer", "4096"), ("limits.stall_timeout", "60s")];

/// Asks, and holds the answer to its description.
async fn ask(node: &Node, target: &str) -> Value {
    let target = format!("/v1/admin/{target}");
    let answer = node.get(&target).await;
    assert_eq!(answer.status, 200, "{target}: {}", answer.text());
    hold_to_the_description(&[exchange(("GET", &target), &[], "", &answer)]);
    answer.json()
}

fn names(list: &Value, key: &str) -> Vec<String> {
    let items = list.as_array().expect("a list").iter();
    items.map(|item| item[key].as_str().expect("a name").to_owned()).collect()
}

#[tokio::test]
async fn who_is_slow_comes_first() {
    slow_ones(&Node::start(&TIGHT).await).await;
}

#[tokio::test]
async fn who_is_slow_comes_first_on_nats() {
    let server = NatsServer::start().await;
    slow_ones(&Node::start(&on(&server.url(), &TIGHT)).await).await;
}

async fn slow_ones(node: &Node) {
    let mut writer = node.join("t", "writer").await;
    let mut reader = node.join_with("t", "reader", "user_id=ada").await;
    let mut slow = RawClient::connect_narrow(node, "tenant_id=t&instance_id=slow&since=latest").await;
    slow.expect("caught_up").await;
    let _elsewhere = node.join("other", "alone").await;
    // Until the node says that the one who reads nothing has to wait, and on from there.
    while node.metric("continuum_deferred_total").await == 0.0 {
        writer.publish("note", json!({"text": "x".repeat(20_000)})).await;
    }
    for number in 0..3 {
        writer.publish("note", json!({"number": number})).await;
    }
    reader.settle().await;
    let by_lag = ask(node, "sessions").await;
    assert_eq!((&by_lag["sessions_total"], &by_lag["is_whole"]), (&json!(4), &json!(true)));
    let first = &by_lag["sessions"][0];
    assert_eq!(
        (&first["tenant"], &first["instance"], &first["state"]),
        (&json!("t"), &json!("slow"), &json!("behind"))
    );
    assert!(first["lag"]["records"].as_u64() >= Some(3), "{first}");
    assert!(first["lag"]["seconds"].as_f64() > Some(0.0), "{first}");
    assert!(first["outbox_bytes"].as_u64() > Some(0), "{first}");
    assert_eq!((&first["transport"], &first["user"]), (&json!("websocket"), &Value::Null));
    let nobody_else: Vec<_> =
        by_lag["sessions"].as_array().expect("a list")[1..].iter().map(|session| &session["lag"]).collect();
    assert_eq!(nobody_else, vec![&json!({"records": 0, "seconds": 0.0, "exact": true}); 3]);
    // It takes nothing at all, and for longer each time that it is looked at.
    let stuck = async || ask(node, "sessions?sort=outbox&limit=1").await["sessions"][0]["stuck_ms"].as_u64();
    let before = until("it is stuck", async || stuck().await.filter(|millis| *millis > 0)).await;
    until("it is stuck for longer", async || stuck().await.filter(|millis| *millis > before)).await;
    let by_outbox = ask(node, "sessions?sort=outbox&limit=1").await;
    assert_eq!(names(&by_outbox["sessions"], "instance"), ["slow"]);
    let by_age = ask(node, "sessions?sort=since&tenant=t").await;
    assert_eq!(names(&by_age["sessions"], "instance"), ["writer", "reader", "slow"]);
    assert_eq!((&by_age["sessions_total"], &by_age["sessions"][1]["user"]), (&json!(3), &json!("ada")));
    let rooms = ask(node, "rooms").await;
    assert_eq!(names(&rooms["rooms"], "tenant"), ["other", "t"]);
    let room = &rooms["rooms"][1];
    assert_eq!((&room["members_here"], &room["members_total"], &room["is_open"]), (&json!(3), &json!(3), &json!(true)));
    assert_eq!(room["largest_lag"]["records"], first["lag"]["records"]);
    assert_eq!(room["position"], writer.last());
    assert!(room["outbox_bytes"].as_u64() > Some(0), "{room}");
    // It reads, and is well again.
    slow.expect("lagging").await;
    slow.expect("caught_up").await;
    let well = until("nobody is behind", async || {
        let sessions = ask(node, "sessions?tenant=t&limit=1").await;
        (sessions["sessions"][0]["lag"]["records"] == 0).then_some(sessions)
    })
    .await;
    assert_eq!(well["sessions"][0]["state"], "live", "{well}");
}

#[tokio::test]
async fn of_many_each_is_looked_at_once() {
    let settings = [("server.workers", "1"), ("limits.connections_per_tenant", "1000")];
    let node = Node::start(&settings).await;
    let mut members: Vec<Client> = Vec::new();
    for number in 0..300 {
        members.push(node.join("t", &format!("i{number:03}")).await);
    }
    let all = ask(&node, "sessions?sort=since&limit=500").await;
    let expected: Vec<_> = (0..300).map(|number| format!("i{number:03}")).collect();
    assert_eq!(all["sessions_total"], 300);
    let mut told = names(&all["sessions"], "instance");
    // Within the same millisecond nobody came first.
    told.sort();
    assert_eq!(told, expected);
    let some = ask(&node, "sessions?sort=since&limit=7").await;
    assert_eq!((&some["sessions_total"], some["sessions"].as_array().map(Vec::len)), (&json!(300), Some(7)));
    assert_eq!(ask(&node, "rooms?tenant=t").await["rooms"][0]["members_here"], 300);
}

#[tokio::test]
async fn rooms_come_page_by_page_and_a_wrong_question_is_refused() {
    let node = Node::start(&[]).await;
    let _members = [node.join("a", "i").await, node.join("b", "i").await, node.join("c", "i").await];
    let mut seen = Vec::new();
    let mut next = String::new();
    loop {
        let page = ask(&node, &format!("rooms?limit=2{next}")).await;
        seen.extend(names(&page["rooms"], "tenant"));
        let Some(after) = page["next"].as_str() else { break };
        next = format!("&after={after}");
    }
    assert_eq!(seen, ["a", "b", "c"]);
    assert_eq!(ask(&node, "rooms?limit=3").await["next"], Value::Null);
    assert_eq!(ask(&node, "rooms?tenant=nobody").await["rooms"], json!([]));
    for target in ["rooms?limit=0", "rooms?limit=501", "sessions?sort=age", "sessions?limit=x"] {
        node.get(&format!("/v1/admin/{target}")).await.problem(400, "invalid_parameter");
    }
    node.get("/v1/admin/rooms?tenant=%20").await.problem(400, "invalid_tenant");
    // Asking makes no room.
    assert_eq!(ask(&node, "rooms").await["rooms"].as_array().map(Vec::len), Some(3));
}

#[tokio::test]
async fn nodes_know_each_other_and_see_one_that_goes() {
    let server = NatsServer::start().await;
    let [mut a, b] = nodes(&server, &[("drain.spread", "30s"), ("drain.timeout", "60s")]).await;
    let _member = a.join("t", "i").await;
    let seen = until("the other tells of its connection", async || {
        let seen = ask(&b, "nodes").await;
        (seen["nodes"][1]["connections"] == 1).then_some(seen)
    })
    .await;
    let [own, other] = &seen["nodes"].as_array().expect("a list")[..] else { panic!("two nodes: {seen}") };
    assert_eq!((&own["is_self"], &other["is_self"], &seen["is_deaf"]), (&json!(true), &json!(false), &json!(false)));
    for node in [own, other] {
        let link = &node["link"];
        assert_eq!((&link["kind"], &link["state"]), (&json!("nats"), &json!("serving")), "{node}");
        assert_eq!((&link["server"], &link["connects"]), (&json!(server.name()), &json!(1)), "{node}");
        assert_eq!((&node["status"], &node["hears"]), (&json!("ready"), &json!(1)), "{node}");
        assert_eq!(node["version"], env!("CARGO_PKG_VERSION"));
    }
    let port = |node: &Node| format!(":{}", node.address().port());
    assert!(own["name"].as_str().is_some_and(|name| name.ends_with(&port(&b))), "{own}");
    assert!(other["name"].as_str().is_some_and(|name| name.ends_with(&port(&a))), "{other}");
    assert_eq!(other["rooms"], 1);
    a.ask_to_stop();
    until("the other is seen to go away", async || {
        (ask(&b, "nodes").await["nodes"][1]["status"] == "draining").then_some(())
    })
    .await;
    a.kill9().await;
    // A node alone says so, too.
    let alone = Node::start(&[]).await;
    let told = ask(&alone, "nodes").await;
    assert_eq!(told["nodes"].as_array().map(Vec::len), Some(1));
    assert_eq!(told["nodes"][0]["link"]["kind"], "embedded");
}

#[tokio::test]
async fn what_waits_for_a_log_that_is_away_is_told_tenant_by_tenant() {
    let server = NatsServer::start().await;
    let node = Node::start(&on(&server.url(), &[("journal.max_bytes", "1048576")])).await;
    assert_eq!(ask(&node, "journal").await["standing"], "empty");
    let (mut first, mut second) = (node.join("a", "i").await, node.join("b", "i").await);
    server.stop().await;
    for number in 0..3 {
        first.send(json!({"event_type": "note", "data": {"number": number}})).await;
        first.expect("queued").await;
    }
    while second.seen_of("error").count() == 0 {
        second.send(json!({"event_type": "note", "data": "x".repeat(200_000)})).await;
        second.find(|message| ["queued", "error"].contains(&message["event_type"].as_str().unwrap_or_default())).await;
    }
    let held = ask(&node, "journal").await;
    let total = &held["total"];
    assert_eq!(
        (&held["standing"], &total["refused"], &total["max_bytes"]),
        (&json!("full"), &json!(1), &json!(1 << 20))
    );
    let [a, b] = &held["tenants"].as_array().expect("a list")[..] else { panic!("two tenants: {held}") };
    assert_eq!((&a["tenant"], &a["entries"], &a["refused"]), (&json!("a"), &json!(3), &json!(0)));
    assert_eq!((&b["tenant"], &b["refused"]), (&json!("b"), &json!(1)));
    let sum = |key: &str| a[key].as_u64().zip(b[key].as_u64()).map(|(a, b)| a + b);
    assert_eq!((sum("entries"), sum("bytes")), (total["entries"].as_u64(), total["bytes"].as_u64()));
    assert!(a["oldest_seconds"].as_f64() > Some(0.0) && a["oldest_seconds"] == total["oldest_seconds"], "{held}");
    let page = ask(&node, "journal?limit=1").await;
    assert_eq!((names(&page["tenants"], "tenant"), &page["next"]), (vec!["a".to_owned()], &json!("a")));
    assert_eq!(names(&ask(&node, "journal?after=a").await["tenants"], "tenant"), ["b"]);
    let one = ask(&node, "journal?tenant=a").await;
    assert_eq!((names(&one["tenants"], "tenant"), &one["total"]), (vec!["a".to_owned()], &Value::Null));
    assert_eq!(ask(&node, "rooms?tenant=a").await["rooms"][0]["open"]["queued"], 3);
    let away = ask(&node, "shards").await;
    assert_eq!((&away["shards"][0]["state"], &away["shards"][0]["records"]), (&json!("down"), &Value::Null));
    assert_eq!(ask(&node, "nodes").await["nodes"][0]["link"]["state"], "degraded");
    server.start_again().await;
    let empty = until("the log has it all", async || {
        let journal = ask(&node, "journal").await;
        (journal["total"]["bytes"] == 0).then_some(journal)
    })
    .await;
    assert_eq!(
        (names(&empty["tenants"], "tenant"), &empty["tenants"][0]["entries"]),
        (vec!["b".to_owned()], &json!(0))
    );
}

#[tokio::test]
async fn a_shard_says_what_it_holds_and_how_far_it_was_read() {
    let server = NatsServer::start().await;
    let node = Node::start(&on(&server.url(), &[("nats.shards", "2")])).await;
    let mut member = node.join("t", "i").await;
    for number in 0..5 {
        member.publish("note", json!({"number": number})).await;
    }
    let told = ask(&node, "shards").await;
    let (mut read, mut unread) = (Vec::new(), Vec::new());
    for shard in told["shards"].as_array().expect("a list") {
        assert_eq!((&shard["state"], &shard["reason"]), (&json!("serving"), &Value::Null));
        if shard["read_to"].is_null() { unread.push(shard) } else { read.push(shard) }
    }
    let ([read], [unread]) = (&read[..], &unread[..]) else { panic!("one of each: {told}") };
    assert_eq!((&read["first"], &read["last"], &read["records"]), (&json!(1), &json!(5), &json!(5)));
    assert_eq!((&read["read_to"], &read["lag"], &unread["lag"]), (&json!(5), &json!(0), &Value::Null));
    assert!(read["stream"].as_str().is_some_and(|stream| stream.starts_with("SYNC_LOG_")), "{read}");
    let alone = Node::start(&[]).await;
    let mut member = alone.join("t", "i").await;
    member.publish("note", json!({})).await;
    let shard = ask(&alone, "shards").await["shards"][0].take();
    assert_eq!((&shard["stream"], &shard["last"], &shard["lag"]), (&json!("embedded"), &json!(1), &json!(0)));
}

#[tokio::test]
async fn who_administers_a_tenant_sees_that_one_alone() {
    let issuer = Issuer::new();
    let node = issuer.node(&[]).await;
    let (_, own) = node.api_key(json!({"tenant": "acme", "grant": {"admin": "tenant"}})).await;
    let plain = issuer.token(json!({"sub": "ada"}));
    let mut members = Vec::new();
    for tenant in ["acme", "team-1"] {
        let (_, key) = node.api_key(json!({"tenant": tenant, "user": "ada"})).await;
        members.push(node.join_with(tenant, "i", &format!("token={key}")).await);
    }
    for what in ["rooms", "sessions"] {
        let target = format!("/v1/admin/{what}");
        let tenants = async |token: &str, query: &str| {
            let answer = node.get_as(token, &format!("{target}{query}")).await;
            assert_eq!(answer.status, 200, "{}", answer.text());
            let mut tenants = names(&answer.json()[what], "tenant");
            tenants.sort();
            tenants
        };
        assert_eq!(tenants(ADMIN, "").await, ["acme", "team-1"]);
        assert_eq!(tenants(ADMIN, "?tenant=team-1").await, ["team-1"]);
        assert_eq!(tenants(&own, "").await, ["acme"]);
        assert_eq!(tenants(&own, "?tenant=acme").await, ["acme"]);
        node.get_as(&own, &format!("{target}?tenant=team-1")).await.problem(403, "forbidden");
    }
    node.get_as(&own, "/v1/admin/journal?tenant=team-1").await.problem(403, "forbidden");
    for what in ["nodes", "shards"] {
        node.get_as(&own, &format!("/v1/admin/{what}")).await.problem(403, "forbidden");
        assert_eq!(node.get_as(ADMIN, &format!("/v1/admin/{what}")).await.status, 200);
    }
    for what in ["nodes", "rooms", "sessions", "journal", "shards"] {
        let target = format!("/v1/admin/{what}");
        node.get_as(&plain, &target).await.problem(403, "forbidden");
        node.get(&target).await.problem(401, "unauthenticated");
    }
}
