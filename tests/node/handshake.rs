//! Who is let in: names, parameters, versions, limits. Origins are in `browsers.rs`.

use serde_json::json;

use crate::support::{
    Client, Node, RawClient,
    http::{self, Response},
    raw,
};

async fn knock(node: &Node, query: &str) -> Response {
    RawClient::handshake(node.address(), &raw::upgrade_request(query, "13", Some(raw::KEY))).await.1
}

#[tokio::test]
async fn a_bad_name_or_parameter_is_refused_before_the_upgrade() {
    let node = Node::start(&[]).await;
    let mut bystander = node.join("t", "b").await;
    bystander.catch_up().await;
    let long = "x".repeat(10_240);
    let (long_tenant, long_instance) =
        (format!("tenant_id={long}&instance_id=a"), format!("tenant_id=t&instance_id={long}"));
    let named = format!("tenant_id=t&instance_id=a&user_id={}", "x".repeat(129));
    let capable = format!("tenant_id=t&instance_id=a&capabilities={}", ["x"; 33].join(","));
    let cases = [
        (named.as_str(), "invalid_parameter"),
        (&capable, "invalid_parameter"),
        ("tenant_id=t&instance_id=a&user_id=a%0Ab", "invalid_parameter"),
        ("", "invalid_tenant"),
        ("instance_id=a", "invalid_tenant"),
        ("tenant_id=&instance_id=a", "invalid_tenant"),
        (&long_tenant, "invalid_tenant"),
        ("tenant_id=*&instance_id=a", "invalid_tenant"),
        ("tenant_id=%2A&instance_id=a", "invalid_tenant"),
        ("tenant_id=%3E&instance_id=a", "invalid_tenant"),
        ("tenant_id=.&instance_id=a", "invalid_tenant"),
        ("tenant_id=a.b&instance_id=a", "invalid_tenant"),
        ("tenant_id=..%2Fother&instance_id=a", "invalid_tenant"),
        ("tenant_id=%00&instance_id=a", "invalid_tenant"),
        ("tenant_id=t%0d%0a&instance_id=a", "invalid_tenant"),
        ("tenant_id=%F0%9F%8C%97&instance_id=a", "invalid_tenant"),
        ("tenant_id=%FF&instance_id=a", "invalid_tenant"),
        ("tenant_id=%zz&instance_id=a", "invalid_tenant"),
        ("tenant_id=t+t&instance_id=a", "invalid_tenant"),
        ("tenant_id=t", "invalid_instance"),
        ("tenant_id=t&instance_id=", "invalid_instance"),
        (&long_instance, "invalid_instance"),
        ("tenant_id=t&instance_id=%00", "invalid_instance"),
        ("tenant_id=t&instance_id=a%0Ab", "invalid_instance"),
        ("tenant_id=t&instance_id=%7F", "invalid_instance"),
        ("tenant_id=t&instance_id=%C2%85", "invalid_instance"),
        ("tenant_id=t&instance_id=a&since=sometime", "invalid_parameter"),
        ("tenant_id=t&instance_id=a&since=1.2.3.4", "invalid_parameter"),
        ("tenant_id=t&instance_id=a&types=a%20b", "invalid_parameter"),
        ("tenant_id=t&instance_id=a&echo=perhaps", "invalid_parameter"),
        ("tenant_id=t&instance_id=a&preview=0", "invalid_parameter"),
        ("tenant_id=t&instance_id=a&preview=-1", "invalid_parameter"),
        ("tenant_id=t&instance_id=a&preview=many", "invalid_parameter"),
        ("tenant_id=t&instance_id=a&capabilities=%00", "invalid_parameter"),
        ("tenant_id=t&instance_id=a&chaos_affinity=", "invalid_parameter"),
        ("tenant_id=t&instance_id=a&chaos_affinity=all", "invalid_parameter"),
        ("tenant_id=t&instance_id=a&chaos_affinity=NaN", "invalid_parameter"),
        ("tenant_id=t&instance_id=a&chaos_affinity=1.01", "invalid_parameter"),
        ("tenant_id=t&instance_id=a&chaos_affinity=-0.5", "invalid_parameter"),
    ];
    for (query, code) in cases {
        let problem = knock(&node, query).await.problem(400, code);
        let detail = problem["detail"].as_str().expect("a detail");
        assert!(!detail.contains(&long) && !detail.chars().any(char::is_control), "{query}: {problem}");
    }
    assert_eq!(bystander.settle().await, [] as [serde_json::Value; 0], "nobody hears of it");
}

#[tokio::test]
async fn names_at_the_edge_of_what_is_allowed_are_let_in() {
    let node = Node::start(&[]).await;
    let tenant = "T-_9".repeat(16);
    for (query, instance) in [
        ("instance_id=claude%201%2F%3F%26", "claude 1/?&".to_owned()),
        ("instance_id=%F0%9F%8C%97", "🌗".to_owned()),
        ("instance_id=*", "*".to_owned()),
        (&format!("instance_id={}", "i".repeat(128)), "i".repeat(128)),
        ("instance_id=first&instance_id=second&unknown=1", "first".to_owned()),
    ] {
        let mut client = Client::connect(&node, &format!("tenant_id={tenant}&{query}")).await;
        assert_eq!(client.ready()["instance_id"], instance);
        assert_eq!(client.ready()["tenant_id"], tenant);
        client.publish("note", json!({})).await;
        client.close().await;
    }
}

#[tokio::test]
async fn what_is_no_handshake_is_told_which_one_is() {
    let node = Node::start(&[]).await;
    let good = "tenant_id=t&instance_id=a";
    let of = raw::upgrade_request;
    let post = of(good, "13", Some(raw::KEY)).replace("GET ", "POST ");
    for request in [of(good, "8", Some(raw::KEY)), of(good, "13", None), of(good, "13", Some("short")), post] {
        let (_, response) = RawClient::handshake(node.address(), &request).await;
        response.problem(426, "upgrade_required");
        assert_eq!(response.header("sec-websocket-version"), Some("13"), "{request}");
    }
    node.get(&format!("/ws/sync?{good}")).await.problem(426, "upgrade_required");
    for path in ["/wss", "/ws/", "/ws/sync/", "/ws/other"] {
        let upgrade = of(good, "13", Some(raw::KEY)).replace("/ws/sync?", &format!("{path}?"));
        RawClient::handshake(node.address(), &upgrade).await.1.problem(404, "not_found");
        node.get(path).await.problem(404, "not_found");
    }
    // What comes behind a good handshake in the same packet is not lost.
    let ping = raw::frame(0x80 | raw::TEXT, br#"{"event_type":"ping"}"#);
    let mut early = of(good, "13", Some(raw::KEY)).into_bytes();
    early.extend(ping);
    let mut client = RawClient::open(node.address(), &early).await;
    assert_eq!(client.answer().await.status, 101);
    client.expect("pong").await;
}

#[tokio::test]
async fn a_tenant_with_all_its_connections_is_told_so_and_nobody_hears_of_it() {
    let node = Node::start(&[("limits.connections_per_tenant", "2")]).await;
    let (a, mut b) = (node.join("t", "a").await, node.join("t", "b").await);
    b.catch_up().await;
    let mut third = Client::open(&node, "tenant_id=t&instance_id=c").await;
    let error = third.expect("error").await;
    assert_eq!(error["data"]["code"], "limit_reached");
    assert_eq!(third.until_closed().await.code, Some(4011));
    // Others are not concerned; a newer connection of a member takes its place; a place that is free can be had.
    node.join("u", "c").await;
    let mut newer = node.join("t", "a").await;
    newer.settle().await;
    assert_eq!(b.settle().await, [] as [serde_json::Value; 0]);
    drop(a);
    newer.close().await;
    b.expect("instance_left").await;
    node.join("t", "c").await;
    assert_eq!(b.expect("instance_joined").await["data"]["instance_id"], "c");
}

#[tokio::test]
async fn a_user_with_all_its_connections_is_told_so_and_other_users_are_not_concerned() {
    let node = Node::start(&[("limits.connections_per_user", "2")]).await;
    let join = |tenant: &'static str, instance: &'static str, user: &'static str| {
        let node = &node;
        async move { node.join_with(tenant, instance, &format!("user_id={user}")).await }
    };
    let (a, b) = (join("t", "a", "ann").await, join("t", "b", "ann").await);
    let mut third = Client::open(&node, "tenant_id=t&instance_id=c&user_id=ann").await;
    let error = third.expect("error").await;
    assert_eq!(error["data"]["code"], "limit_reached");
    assert!(error["data"]["message"].as_str().expect("a text").contains("this user"), "{error}");
    assert_eq!(third.until_closed().await.code, Some(4011));
    // Nobody's connections are no user's, and the same name in another tenant is another user.
    for (tenant, instance, user) in
        [("t", "d", "bob"), ("t", "e", ""), ("t", "f", ""), ("t", "g", ""), ("u", "c", "ann")]
    {
        join(tenant, instance, user).await;
    }
    join("t", "a", "ann").await.settle().await;
    drop(a);
    b.close().await;
    node.until_metric("continuum_connections", |open| open == 0.0).await;
    join("t", "c", "ann").await;
}

#[tokio::test]
async fn a_node_with_all_its_connections_answers_429() {
    let node = Node::start(&[("limits.connections_per_node", "2")]).await;
    let (a, _b) = (node.join("t", "a").await, node.join("u", "b").await);
    let response = knock(&node, "tenant_id=v&instance_id=c").await;
    response.problem(429, "limit_reached");
    assert!(response.header("retry-after").is_some());
    a.close().await;
    node.until_metric("continuum_connections", |open| open == 1.0).await;
    node.join("v", "c").await;
}

#[tokio::test]
async fn who_publishes_too_fast_is_told_when_to_go_on_and_in_the_end_closed() {
    let node = Node::start(&[("limits.messages_per_minute", "2"), ("limits.refusals_before_close", "3")]).await;
    let (mut fast, mut other) = (node.join("t", "a").await, node.join("t", "b").await);
    fast.publish("note", json!({})).await;
    fast.publish("note", json!({})).await;
    for refusal in 1..=3 {
        let id = format!("00000000-0000-4000-8000-00000000000{refusal}");
        let error = fast.refused(json!({"event_type": "note", "event_id": id}).to_string()).await;
        assert_eq!((&error["code"], &error["event_id"]), (&json!("rate_limited"), &json!(id)));
        let wait = error["retry_after_ms"].as_u64().expect("when to go on");
        assert!((1..=30_000).contains(&wait), "{error}");
    }
    assert_eq!(fast.until_closed().await.code, Some(4002));
    other.take(2).await;
    assert!(other.settle().await.iter().all(|message| message.get("seq").is_none()), "nothing was done with the rest");
    // Others have budgets of their own.
    node.join("t", "c").await.publish("note", json!({})).await;
}

#[tokio::test]
async fn what_passes_in_between_does_not_make_a_flood_better() {
    let node = Node::start(&[("limits.messages_per_minute", "1"), ("limits.refusals_before_close", "3")]).await;
    for (instance, between) in [("a", "ping"), ("b", "cursor.move")] {
        let mut fast = node.join("t", instance).await;
        fast.publish("note", json!({})).await;
        for _ in 0..3 {
            fast.send(json!({"event_type": between, "data": {}})).await;
            let error = fast.refused(json!({"event_type": "note", "data": {}}).to_string()).await;
            assert_eq!(error["code"], "rate_limited", "{error}");
        }
        assert_eq!(fast.until_closed().await.code, Some(4002), "{between}");
    }
}

#[tokio::test]
async fn no_more_is_read_while_too_many_publishes_wait_for_their_answer() {
    let node = Node::start(&[("limits.publishes_in_flight", "1")]).await;
    let mut client = node.join("t", "a").await;
    for _ in 0..5 {
        client.send(json!({"event_type": "note", "data": {}})).await;
        client.send(json!({"event_type": "ping"})).await;
    }
    client.settle().await;
    let answers = client.seen().iter().filter_map(|message| message["event_type"].as_str());
    let answers: Vec<_> = answers.filter(|kind| ["ack", "pong"].contains(kind)).take(10).collect();
    assert_eq!(answers, ["ack", "pong"].repeat(5));
}

#[tokio::test]
async fn acks_and_pings_have_a_budget_of_their_own() {
    let node = Node::start(&[("limits.messages_per_minute", "1"), ("limits.control_per_minute", "3")]).await;
    let mut client = node.join("t", "a").await;
    client.publish("note", json!({})).await;
    for _ in 0..3 {
        client.send(json!({"event_type": "ping"})).await;
        client.expect("pong").await;
    }
    let error = client.refused(json!({"event_type": "ping"}).to_string()).await;
    assert_eq!(error["code"], "rate_limited");
    assert!(error["retry_after_ms"].as_u64().is_some_and(|wait| wait <= 20_000), "{error}");
    // Those of the protocol itself count among them: what is beyond is not answered.
    let mut client = RawClient::connect(&node, "tenant_id=t&instance_id=b").await;
    client.expect("caught_up").await;
    for number in 0..5 {
        client.send(raw::PING, &[number]).await;
    }
    client.send_json(&json!({"event_type": "note", "data": {}})).await;
    let mut answered = Vec::new();
    loop {
        let frame = client.next().await.expect("the connection lives");
        match frame.first & 0x0f {
            raw::PONG => answered.push(frame.payload),
            _ if String::from_utf8_lossy(&frame.payload).contains("\"ack\"") => break,
            _ => {}
        }
    }
    assert_eq!(answered, [[0], [1], [2]]);
}

#[tokio::test]
async fn a_request_that_does_not_come_is_not_waited_for() {
    let node = Node::start(&[("server.handshake_timeout", "2s")]).await;
    let mut client = RawClient::open(node.address(), b"GET /ws/sync?tenant").await;
    let answer = client.rest().await;
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 408"), "{}", String::from_utf8_lossy(&answer));
    assert_eq!(http::get(node.address(), "/healthz").await.status, 200);
}
