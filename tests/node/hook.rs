//! The owner's own rules, asked over HTTP beside the grant: what they are asked and when, what holds when they do not answer, and
//! that nobody else waits for them.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::{
    nats_support::NatsServer,
    support::{
        Client, Issuer, Node, http,
        issuer::ADMIN,
        new_id,
        rules::{Rules, Say, nowhere},
        within,
    },
};

const KEY: &str = "the-key-that-the-node-shows-0123456789";
const EVENTS: &str = "/v1/tenants/acme/events";

/// A node that asks for tokens, and these rules.
async fn node(issuer: &Issuer, rules: &Rules, settings: &[(&str, &str)]) -> Node {
    std::fs::write(issuer.path("hook.key"), KEY).expect("a file");
    let (url, key) = (rules.url(), issuer.path("hook.key").to_str().expect("a path in UTF-8").to_owned());
    issuer.node(&[&[("auth.hook.url", url.as_str()), ("auth.hook.key", &key)], settings].concat()).await
}

/// A node that believes what clients say of themselves, and asks these rules.
async fn believing(url: &str, settings: &[(&str, &str)]) -> Node {
    Node::start(&[&[("auth.hook.url", url), ("limits.connections_per_tenant", "2000")], settings].concat()).await
}

fn operation(action: &str, kind: &str, id: &str) -> Value {
    json!({"entity_type": kind, "entity_id": id, "action": action, "data": {"text": "planted"}, "instance_id": "a",
        "op_id": new_id()})
}

fn change(kind: &str, id: &str) -> Value {
    let id_of_message = new_id();
    let mut data = operation("put", kind, id);
    data["op_id"] = json!(id_of_message);
    json!({"type": "sync_event", "event_type": "sync_event", "id": id_of_message, "event_id": id_of_message, "data": data})
}

/// Sends a message and waits for what answers it.
async fn ask(client: &mut Client, message: Value) -> Value {
    let id = message["event_id"].clone();
    client.send(message).await;
    client.find(|answer| ["id", "event_id", "updateId"].iter().any(|name| answer["data"][*name] == id)).await
}

fn event(kind: &str) -> Value {
    json!({"event_type": kind, "instance_id": "a", "data": {"text": "planted"}})
}

fn refused(answer: &Value, what: &str) {
    assert_eq!(answer["data"]["code"], "rule_refused", "{answer}");
    assert_eq!(answer["data"]["message"], format!("the owner's rule refuses {what}: not today"), "{answer}");
}

#[tokio::test]
async fn the_rules_are_asked_who_wants_what_behind_the_grant_and_see_no_token_and_no_content() {
    let issuer = Issuer::new();
    let rules = Rules::refusing(&[]).await;
    let node = node(&issuer, &rules, &[]).await;
    let grant = json!({"publish": ["memory.*", "cursor.*"], "subscribe": ["*"], "read": ["*"], "change": ["memory"]});
    let token = issuer.token(json!({"sub": "ada", "instance": "a", "grant": grant}));
    let mut client = Client::typed(node.address(), &format!("token={token}")).await;
    client.send(json!({"type": "memory.seen", "id": "1", "data": {"text": "planted"}})).await;
    client.expect("ack").await;
    client.send(json!({"type": "cursor.move", "id": "2", "data": {"x": 1}})).await;
    assert!(ask(&mut client, change("memory", "m1")).await["data"]["entity_id"] == "m1");
    client.send(json!({"type": "subscribe", "id": "3", "data": {"channels": ["a"]}})).await;
    client.find(|message| message["type"] == "subscribed").await;
    client.send(json!({"type": "graph.sync", "id": "4", "data": {}})).await;
    client.find(|message| message["data"]["done"] == true).await;
    // What is not granted is not asked about.
    client.send(json!({"type": "note", "id": "5", "data": {}})).await;
    assert_eq!(client.expect("error").await["data"]["code"], "forbidden");
    assert_eq!(ask(&mut client, change("node", "n1")).await["data"]["code"], "forbidden");
    node.ask(&token, "POST", EVENTS, &event("note")).await.problem(403, "forbidden");
    node.get_as("nonsense", EVENTS).await.problem(401, "unauthenticated");
    let asked = rules.asked();
    let of = |what: &str, of: Option<&str>| {
        let mut question = json!({"what": what, "tenant": "acme", "user": "ada", "instance": "a"});
        if let Some(of) = of {
            question["of"] = json!(of);
        }
        question
    };
    let questions: Vec<_> = asked.iter().map(|asked| asked.question.clone()).collect();
    assert_eq!(
        questions,
        [
            of("connect", None),
            of("publish", Some("memory.seen")),
            of("publish", Some("cursor.move")),
            of("change", Some("memory")),
            of("subscribe", None),
            of("read", None),
        ]
    );
    for asked in asked {
        assert!(asked.head.starts_with("POST /rules HTTP/1.1\r\n"), "{}", asked.head);
        assert!(asked.head.to_lowercase().contains(&format!("authorization: bearer {KEY}\r\n")), "{}", asked.head);
        let text = format!("{}{}", asked.head, asked.question);
        assert!(!text.contains(&token) && !text.contains("planted"), "{text}");
    }
    assert!(!node.log().iter().any(|line| line.contains(KEY)));
}

#[tokio::test]
async fn whom_the_rule_refuses_is_not_let_in_by_either_door() {
    let issuer = Issuer::new();
    let rules = Rules::refusing(&["connect"]).await;
    let strict = node(&issuer, &rules, &[]).await;
    let lenient = believing(&rules.url(), &[]).await;
    let token = issuer.token(json!({"sub": "ada", "instance": "a"}));
    for (node, query) in
        [(&strict, format!("token={token}")), (&lenient, "tenant_id=acme&instance_id=a&user_id=ada".to_owned())]
    {
        for path in ["ws/sync", "ws"] {
            let mut client = Client::open_on(node.address(), path, &query).await;
            refused(&client.expect("error").await, "to connect");
            let closed = client.until_closed().await;
            assert_eq!(closed.code, Some(4012), "{closed:?}");
        }
        assert_eq!(node.metric("continuum_connections").await, 0.0);
    }
    // With the token as its first message too.
    let mut first = Client::open_on(strict.address(), "ws", "").await;
    first.send(json!({"type": "auth", "data": {"token": token}})).await;
    refused(&first.expect("error").await, "to connect");
    assert_eq!(first.until_closed().await.code, Some(4012));
    // Who has no good token is not asked about.
    let before = rules.asked().len();
    let mut stranger = Client::open_on(strict.address(), "ws", "token=nonsense").await;
    assert_eq!(stranger.expect("error").await["data"]["code"], "unauthenticated");
    let mut nameless = http::get(lenient.address(), "/ws/sync?tenant_id=acme").await;
    assert_eq!(nameless.status, 426);
    nameless.body.clear();
    assert_eq!(rules.asked().len(), before);
    // Both nodes asked once each: the answer is remembered.
    assert_eq!(rules.count("connect"), 2);
}

async fn refuses_and_lives(node: &Node, query: &str, path: &str) {
    let mut client = match path {
        "ws" => Client::typed(node.address(), query).await,
        _ => Client::connect_to(node.address(), query).await,
    };
    let publish = |kind: &str| {
        let id = new_id();
        json!({"type": kind, "event_type": kind, "id": id, "event_id": id, "data": {"n": 1}})
    };
    for _ in 0..2 {
        let message = publish("note");
        let id = message["id"].clone();
        let error = ask(&mut client, message).await;
        refused(&error, "'publish' of \"note\"");
        assert!(error["data"]["event_id"] == id || error["data"]["id"] == id, "{error}");
        refused(&ask(&mut client, change("node", "n1")).await, "'change' of \"node\"");
        // It goes on.
        assert!(ask(&mut client, publish("memory.seen")).await["data"].get("code").is_none());
        assert!(ask(&mut client, change("memory", "m1")).await["data"].get("code").is_none());
    }
    // All or nothing: one that is refused undoes all.
    let id = new_id();
    let batch = json!({"type": "batch.update", "event_type": "batch.update", "id": id, "event_id": id, "data": {
        "atomic": true, "operations": [operation("put", "memory", "m2"), operation("put", "node", "n2")]}});
    client.send(batch).await;
    client.find(|message| message["data"]["code"] == "rule_refused").await;
    client.send(json!({"type": "cursor.move", "event_type": "cursor.move", "id": "c", "data": {"x": 1}})).await;
    let error = client.find(|message| message.to_string().contains("cursor.move")).await;
    assert_eq!(error["data"]["code"], "rule_refused", "{error}");
    client.close().await;
    for id in ["n1", "n2"] {
        assert_eq!(node.get(&format!("/v1/tenants/acme/entities/node/{id}")).await.status, 404);
    }
    assert_eq!(node.get("/v1/tenants/acme/entities/memory/m2").await.status, 404);
    assert!(!node.get("/v1/tenants/acme/events?types=note").await.text().contains("note"));
}

const REFUSED: &[&str] = &["publish note", "publish cursor.move", "change node"];

#[tokio::test]
async fn what_the_rule_refuses_is_not_done_and_the_session_lives() {
    let rules = Rules::refusing(REFUSED).await;
    let node = believing(&rules.url(), &[]).await;
    for path in ["ws/sync", "ws"] {
        refuses_and_lives(&node, "tenant_id=acme&instance_id=a", path).await;
    }
    assert_eq!((rules.count("connect"), rules.count("change")), (1, 2), "{:?}", rules.asked());
}

#[tokio::test]
async fn the_same_holds_where_the_log_is_on_nats() {
    let server = NatsServer::start().await;
    let rules = Rules::refusing(REFUSED).await;
    let urls = server.url();
    let nats = [("backbone.kind", "nats"), ("nats.urls", urls.as_str()), ("log.retention_bytes", "0")];
    let node = believing(&rules.url(), &nats).await;
    refuses_and_lives(&node, "tenant_id=acme&instance_id=a", "ws").await;
}

#[tokio::test]
async fn requests_are_held_to_the_rules_as_sessions_are() {
    let rules = Rules::refusing(&["publish note", "change node", "subscribe", "read node"]).await;
    let node = believing(&rules.url(), &[]).await;
    node.post(EVENTS, &event("note")).await.problem(403, "rule_refused");
    assert_eq!(node.post(EVENTS, &event("memory.seen")).await.status, 201);
    let mixed = node.post(EVENTS, &json!([event("memory.seen"), event("note"), event("note")])).await;
    assert_eq!(mixed.status, 207, "{}", mixed.text());
    let codes: Vec<_> =
        mixed.json()["results"].as_array().expect("a list").iter().map(|one| one["error"]["code"].clone()).collect();
    assert_eq!(codes, [Value::Null, json!("rule_refused"), json!("rule_refused")]);
    let operations = "/v1/tenants/acme/operations";
    node.post(operations, &operation("put", "node", "n1")).await.problem(403, "rule_refused");
    assert_eq!(node.post(operations, &operation("put", "memory", "m1")).await.status, 201);
    let atomic = json!([operation("put", "memory", "m2"), operation("put", "node", "n1")]);
    assert_eq!(node.post(&format!("{operations}?atomic=true"), &atomic).await.status, 403);
    let target = |kind: &str, id: &str| format!("/v1/tenants/acme/entities/{kind}/{id}?instance_id=a");
    let json_body = [("Content-Type", "application/json")];
    for (method, kind, status) in
        [("PUT", "node", 403), ("PUT", "memory", 200), ("PATCH", "node", 403), ("DELETE", "node", 403)]
    {
        let answer = http::send(node.address(), method, &target(kind, "m1"), &json_body, b"{\"a\":1}").await;
        assert_eq!(answer.status, status, "{method} {kind}: {}", answer.text());
    }
    // What reads.
    for path in ["events", "stream", "instances"] {
        node.get(&format!("/v1/tenants/acme/{path}?instance_id=a")).await.problem(403, "rule_refused");
    }
    node.get("/api/v4/ws/status?tenant_id=acme&instance_id=a").await.problem(403, "rule_refused");
    for path in
        ["snapshot", "conflicts", "entities/memory/m1", "entities/memory/m1/versions", "entities/memory/m1/conflicts"]
    {
        let answer = node.get(&format!("/v1/tenants/acme/{path}?instance_id=a")).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    }
    node.get("/v1/tenants/acme/entities/memory/m2").await.problem(404, "not_found");
    // Nothing is said of what is not there.
    node.get(&target("node", "n1")).await.problem(404, "not_found");
    let closed = Rules::refusing(&["read"]).await;
    let node = believing(&closed.url(), &[]).await;
    assert_eq!(node.post(operations, &operation("put", "memory", "m1")).await.status, 201);
    for path in
        ["snapshot", "conflicts", "entities/memory/m1", "entities/memory/m1/versions", "entities/memory/m1/conflicts"]
    {
        let answer = node.get(&format!("/v1/tenants/acme/{path}?instance_id=a")).await;
        answer.problem(403, "rule_refused");
        assert!(!answer.text().contains("planted"), "{path}");
    }
}

#[tokio::test]
async fn while_the_rules_are_away_nobody_does_anything_new_unless_that_was_admitted() {
    let url = nowhere().await;
    let strict = believing(&url, &[]).await;
    for path in ["ws/sync", "ws"] {
        let mut client = Client::open_on(strict.address(), path, "tenant_id=acme&instance_id=a").await;
        let error = client.expect("error").await;
        assert_eq!((&error["data"]["code"], &error["data"]["retry_after_ms"]), (&json!("unavailable"), &json!(1000)));
        let closed = client.until_closed().await;
        assert_eq!((closed.code, closed.reason.as_str()), (Some(1012), "restart; retry in 1000 ms"));
    }
    let answer = strict.post(EVENTS, &event("note")).await;
    answer.problem(503, "unavailable");
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert!(strict.metric("continuum_hook_failed_total").await >= 2.0);

    let open = believing(&url, &[("auth.hook.when_down", "admit")]).await;
    let mut client = open.join("acme", "a").await;
    client.publish("note", json!({})).await;
    assert_eq!(open.post(EVENTS, &event("note")).await.status, 201);
    assert!(open.metric("continuum_hook_failed_total").await >= 2.0);
}

#[tokio::test]
async fn an_answer_of_another_form_is_none() {
    let elsewhere = Rules::refusing(&[]).await;
    let redirect =
        format!("HTTP/1.1 307 Temporary Redirect\r\nLocation: {}\r\nContent-Length: 0\r\n\r\n", elsewhere.url());
    let raw = |status: &str, body: &str| format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let large = format!(r#"{{"allow":true,"reason":"{}"}}"#, "x".repeat(20_000));
    let answers = [
        redirect,
        raw("500 Internal Server Error", r#"{"allow":true}"#),
        raw("204 No Content", ""),
        raw("200 OK", "yes"),
        raw("200 OK", r#"{"allow":"true"}"#),
        raw("200 OK", &large),
    ];
    let rules = Rules::start(move |question| {
        let of = question["of"].as_str().expect("a type");
        Say::Raw(answers[of.strip_prefix("t").and_then(|n| n.parse::<usize>().ok()).expect("a number")].clone())
    })
    .await;
    let node = believing(&rules.url(), &[]).await;
    for n in 0..6 {
        node.post(EVENTS, &event(&format!("t{n}"))).await.problem(503, "unavailable");
    }
    assert_eq!((rules.count("publish"), elsewhere.asked().len()), (6, 0));
}

#[tokio::test]
async fn whoever_waits_for_a_slow_rule_keeps_its_order_and_holds_up_nobody() {
    let rules = Rules::start(|question| match question["of"].as_str() {
        Some("slow") => Say::AtGate(json!({"allow": true})),
        _ => Say::Json(json!({"allow": true})),
    })
    .await;
    // One thread serves all.
    let node = believing(&rules.url(), &[("server.workers", "1"), ("auth.hook.deadline", "60s")]).await;
    let (mut one, mut two) = (node.join("acme", "one").await, node.join("acme", "two").await);
    let ids: Vec<_> = (0..4).map(|_| new_id()).collect();
    for (id, kind) in ids.iter().zip(["fast", "slow", "fast", "slow"]) {
        one.send(json!({"event_type": kind, "event_id": id, "data": {}})).await;
    }
    rules.until_asked("publish", 2).await;
    // Others publish, and are heard, also by requests.
    for n in 0..5 {
        two.publish("other", json!({"n": n})).await;
    }
    assert_eq!(node.post(EVENTS, &event("memory.seen")).await.status, 201);
    one.find(|message| message["event_type"] == "memory.seen").await;
    assert_eq!(one.seen_of("ack").count(), 1, "what waits has no answer: {:?}", one.seen());
    rules.open_gate();
    for _ in 0..3 {
        one.expect("ack").await;
    }
    let acked: Vec<_> =
        one.seen_of("ack").map(|ack| ack["data"]["event_id"].as_str().unwrap_or_default().to_owned()).collect();
    assert_eq!(acked, ids);
    // In the log too, and each question was asked once.
    let history = node.get(&format!("{EVENTS}?types=slow,fast")).await.json();
    let stored: Vec<_> =
        history["events"].as_array().expect("a list").iter().map(|event| event["event_type"].clone()).collect();
    assert_eq!(stored, ["fast", "slow", "fast", "slow"]);
    let of_one = |of: &str| {
        rules.asked().iter().filter(|asked| asked.question["instance"] == "one" && asked.question["of"] == of).count()
    };
    assert_eq!((of_one("fast"), of_one("slow")), (1, 1));
}

#[tokio::test]
async fn a_rule_that_is_slower_than_the_deadline_is_no_answer_to_whoever_waited() {
    let rules = Rules::start(|question| match question["of"].as_str() {
        Some("slow") => Say::AtGate(json!({"allow": true})),
        _ => Say::Json(json!({"allow": true})),
    })
    .await;
    let node = believing(&rules.url(), &[("auth.hook.deadline", "100ms")]).await;
    let mut client = node.join("acme", "a").await;
    let begun = std::time::Instant::now();
    let error = ask(&mut client, json!({"event_type": "slow", "event_id": new_id(), "data": {}})).await;
    assert_eq!((&error["data"]["code"], &error["data"]["retry_after_ms"]), (&json!("unavailable"), &json!(1000)));
    assert!(begun.elapsed() >= Duration::from_millis(100));
    client.publish("fast", json!({})).await;
    // It has come back.
    rules.open_gate();
    within("it is allowed", async {
        while ask(&mut client, json!({"event_type": "slow", "event_id": new_id(), "data": {}})).await["event_type"]
            != "ack"
        {}
    })
    .await;
}

#[tokio::test]
async fn an_answer_is_remembered_for_as_long_as_it_says() {
    let rules = Rules::start(|question| match question["of"].as_str() {
        Some("each.time") => Say::Json(json!({"allow": true, "for_ms": 0})),
        Some("moment") => Say::Json(json!({"allow": true, "for_ms": 1})),
        _ => Say::Json(json!({"allow": true})),
    })
    .await;
    let node = believing(&rules.url(), &[]).await;
    let mut client = node.join("acme", "a").await;
    let asked = |of: &str| rules.asked().iter().filter(|asked| asked.question["of"] == of).count();
    for _ in 0..20 {
        client.publish("often", json!({})).await;
        client.publish("each.time", json!({})).await;
    }
    assert_eq!((asked("often"), asked("each.time")), (1, 20));
    while asked("moment") < 3 {
        client.publish("moment", json!({})).await;
    }
    // Another instance, user or tenant is another question.
    node.join("acme", "b").await.publish("often", json!({})).await;
    node.join_with("acme", "a", "user_id=ada").await.publish("often", json!({})).await;
    node.join("other", "a").await.publish("often", json!({})).await;
    assert_eq!(asked("often"), 4);
    assert_eq!(node.metric("continuum_hook_allowed_total").await as usize, rules.asked().len());
}

#[tokio::test]
async fn a_crowd_that_comes_back_at_once_asks_each_question_once_and_few_at_a_time() {
    let rules = Rules::start(|question| match question["what"].as_str() {
        Some("subscribe") => Say::AtGate(json!({"allow": true})),
        _ => Say::Json(json!({"allow": true})),
    })
    .await;
    let settings = [("auth.hook.requests", "4"), ("auth.hook.deadline", "60s"), ("limits.connections_per_user", "0")];
    let node = believing(&rules.url(), &settings).await;
    // The same question 500 times.
    let requests = join_all((0..500).map(|_| node.get("/v1/tenants/acme/events?instance_id=same")));
    let opened = async {
        rules.until_asked("subscribe", 1).await;
        rules.open_gate();
    };
    let (answers, ()) = within("the answers", async { tokio::join!(requests, opened) }).await;
    assert!(answers.iter().all(|answer| answer.status == 200));
    assert_eq!(rules.count("subscribe"), 1);
    // 500 questions.
    let clients = within(
        "the crowd",
        join_all((0..500).map(|n| {
            let query = format!("tenant_id=acme&instance_id=c{n}");
            let address = node.address();
            async move { Client::connect_to(address, &query).await }
        })),
    )
    .await;
    assert_eq!(rules.count("connect"), clients.len());
    assert!((1..=4).contains(&rules.most_at_once()), "{} at once", rules.most_at_once());
    // And again: nothing is asked.
    drop(clients);
    within(
        "the crowd",
        join_all((0..500).map(|n| {
            let target = format!("/v1/tenants/acme/snapshot?instance_id=c{}", n % 2);
            let node = &node;
            async move { node.get(&target).await }
        })),
    )
    .await;
    assert_eq!((rules.count("connect"), rules.count("read")), (500, 2));
}

#[tokio::test]
async fn whoever_is_over_its_limit_makes_nobody_ask() {
    let rules = Rules::refusing(&[]).await;
    let settings = [("limits.http_messages_per_minute", "1"), ("limits.messages_per_minute", "1")];
    let node = believing(&rules.url(), &settings).await;
    let as_ann = |path: &str| format!("/v1/tenants/acme/{path}?user_id=ann&instance_id=a");
    assert_eq!(node.post(&as_ann("events"), &event("first")).await.status, 201);
    node.post(&as_ann("events"), &event("second")).await.problem(429, "rate_limited");
    node.post(&as_ann("operations"), &operation("put", "memory", "m1")).await.problem(429, "rate_limited");
    let json_body = [("Content-Type", "application/json")];
    let put = http::send(node.address(), "PUT", &as_ann("entities/memory/m1"), &json_body, b"{}").await;
    put.problem(429, "rate_limited");
    let mut client = node.join("acme", "b").await;
    client.publish("first", json!({})).await;
    let second = json!({"event_type": "second", "event_id": new_id(), "data": {}});
    assert_eq!(ask(&mut client, second).await["data"]["code"], "rate_limited");
    let asked: Vec<_> = rules.asked().iter().map(|asked| asked.question.clone()).collect();
    let of = |what: &str, of: &str| asked.iter().filter(|asked| asked["what"] == what && asked["of"] == of).count();
    assert_eq!((of("publish", "first"), of("publish", "second"), rules.count("change")), (2, 0, 0), "{asked:?}");
}

#[tokio::test]
async fn a_tenant_that_asks_much_leaves_turns_to_the_others() {
    let rules = Rules::start(|question| match question["tenant"].as_str() {
        Some("acme") => Say::AtGate(json!({"allow": true})),
        _ => Say::Json(json!({"allow": true})),
    })
    .await;
    let node = believing(&rules.url(), &[("auth.hook.requests", "4"), ("auth.hook.deadline", "60s")]).await;
    let kinds: Vec<_> = (0..8).map(|n| event(&format!("t{n}"))).collect();
    let crowd = join_all(kinds.iter().map(|event| node.post(EVENTS, event)));
    let other = async {
        rules.until_asked("publish", 2).await;
        assert_eq!(node.post("/v1/tenants/other/events", &event("note")).await.status, 201);
        let of_acme = rules.asked().iter().filter(|asked| asked.question["tenant"] == "acme").count();
        assert_eq!(of_acme, 2, "half of the turns");
        rules.open_gate();
    };
    let (crowd, ()) = within("the answers", async { tokio::join!(crowd, other) }).await;
    assert!(crowd.iter().all(|answer| answer.status == 201));
    // With a single turn they have it one after the other.
    let single = believing(&rules.url(), &[("auth.hook.requests", "1")]).await;
    assert_eq!(single.post(EVENTS, &event("note")).await.status, 201);
}

#[tokio::test]
async fn what_is_called_back_while_the_rules_are_asked_is_good_for_nothing() {
    let issuer = Issuer::new();
    let rules = Rules::start(|question| match (question["user"].as_str(), question["what"].as_str()) {
        (Some("ada"), Some("publish" | "change")) | (Some("bob"), _) => Say::AtGate(json!({"allow": true})),
        _ => Say::Json(json!({"allow": true})),
    })
    .await;
    let node = node(&issuer, &rules, &[("auth.hook.deadline", "60s")]).await;
    let [ada, bob] = ["ada", "bob"].map(|user| issuer.token(json!({"sub": user})));
    let mut member = Client::connect_to(node.address(), &format!("token={ada}&instance_id=m")).await;
    member.send(json!({"event_type": "of.ada", "event_id": new_id(), "data": {}})).await;
    let mut knocking = Client::open_on(node.address(), "ws", "instance_id=k").await;
    knocking.send(json!({"type": "auth", "data": {"token": bob}})).await;
    let events = async { node.ask(&ada, "POST", EVENTS, &event("of.ada")).await };
    let operations =
        async { node.ask(&ada, "POST", "/v1/tenants/acme/operations", &operation("put", "memory", "m1")).await };
    let called_back = async {
        rules.until_asked("publish", 2).await;
        rules.until_asked("change", 1).await;
        rules.until_asked("connect", 2).await;
        for user in ["ada", "bob"] {
            let what = json!({"tenant": "acme", "user": user});
            assert_eq!(node.ask(ADMIN, "POST", "/v1/admin/revocations", &what).await.status, 201);
        }
        rules.open_gate();
    };
    let (events, operations, ()) = tokio::join!(events, operations, called_back);
    events.problem(401, "token_revoked");
    operations.problem(401, "token_revoked");
    // It was never let in.
    assert_eq!(knocking.next().await["data"]["code"], "token_revoked");
    assert_eq!(member.expect("error").await["data"]["code"], "token_revoked");
    for client in [&mut member, &mut knocking] {
        assert_eq!(client.until_closed().await.code, Some(4001));
    }
    let carl = issuer.token(json!({"sub": "carl"}));
    let history = node.get_as(&carl, &format!("{EVENTS}?types=of.ada")).await.json();
    assert_eq!(history["events"], json!([]), "{history}");
    assert_eq!(node.get_as(&carl, "/v1/tenants/acme/entities/memory/m1").await.status, 404);
}
