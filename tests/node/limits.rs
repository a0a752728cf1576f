//! What tenants, users and strangers may take, and how they are told that it is too much.

use serde_json::{Value, json};

use crate::{
    cluster_presence::nodes,
    nats_support::NatsServer,
    support::{
        Client, Node, Port, RawClient, http,
        issuer::{ADMIN, Issuer},
        new_id,
        raw::{KEY, upgrade_request},
        until,
    },
};

const EVENTS: &str = "/v1/tenants/t/events";

fn event(instance: &str) -> Value {
    json!({"event_type": "note", "instance_id": instance, "data": {}})
}

fn publish() -> String {
    json!({"event_type": "note", "data": {}}).to_string()
}

async fn in_use(node: &Node, tenant: &str, what: &str) -> Value {
    node.get(&format!("/v1/tenants/{tenant}/stats")).await.json()["in_use"][what].clone()
}

#[tokio::test]
async fn a_tenants_members_share_its_messages_and_keep_their_connections() {
    let settings = [("limits.tenant_messages_per_minute", "4"), ("limits.refusals_before_close", "3")];
    let node = Node::start(&settings).await;
    let (mut ann, mut bob) = (node.join("t", "a").await, node.join("t", "b").await);
    for client in [&mut ann, &mut bob] {
        client.publish("note", json!({})).await;
        client.publish("note", json!({})).await;
    }
    let refused = ann.refused(publish()).await;
    assert_eq!(refused["code"], "rate_limited");
    assert!(refused["message"].as_str().expect("words").contains("limits.tenant_messages_per_minute"), "{refused}");
    let wait = refused["retry_after_ms"].as_u64().expect("when to go on");
    assert!((1..=15_000).contains(&wait), "{refused}");
    // Over HTTP and for operations it is the same budget.
    node.post(EVENTS, &event("c")).await.problem(429, "rate_limited");
    let put = http::send(node.address(), "PUT", "/v1/tenants/t/entities/memory/m", &[], b"{}").await;
    put.problem(429, "rate_limited");
    assert!(put.header("retry-after").is_some());
    assert_eq!(in_use(&node, "t", "messages_per_minute").await, json!({"used": 4, "limit": 4}));
    assert_eq!(node.metric("continuum_too_fast_total").await, 3.0);
    // Nothing was done, another tenant is not concerned, and whoever waits goes on.
    node.join("u", "a").await.publish("note", json!({})).await;
    until("the tenant may go on", async || {
        let answer = node.post(EVENTS, &event("c")).await;
        (answer.status == 201).then_some(())
    })
    .await;
    bob.settle().await;
    let notes = bob.seen().iter().filter(|message| message["event_type"] == "note").count();
    assert_eq!(notes, 3, "two of ann's and the one over HTTP");
    assert_eq!(node.metric("continuum_closed_total").await, 0.0);
}

#[tokio::test]
async fn each_operation_of_a_batch_counts_as_it_would_alone() {
    let node = Node::start(&[("limits.messages_per_minute", "10")]).await;
    let mut ann = Client::typed(node.address(), "tenant_id=t&instance_id=a&user_id=ann").await;
    let batch = |name: &str| {
        let create = |n: u32| json!({"action": "create", "entity_type": "node", "entity_id": format!("{name}-{n}"), "data": {"n": n}});
        json!({"type": "batch.update", "id": name, "data": {"operations": (0..8).map(create).collect::<Vec<_>>()}})
    };
    ann.send(batch("first")).await;
    for _ in 0..8 {
        ann.expect("update.confirmed").await;
    }
    ann.send(batch("second")).await;
    let refused = ann.find(|message| message["data"]["code"] == "rate_limited").await;
    assert!(refused["data"]["retry_after_ms"].as_u64().is_some_and(|wait| wait > 20_000), "{refused}");
}

#[tokio::test]
async fn what_a_tenant_takes_on_one_node_counts_on_the_others() {
    let server = NatsServer::start().await;
    let [a, b] = nodes(&server, &[("limits.tenant_messages_per_minute", "30")]).await;
    let (mut ann, mut bob) = (a.join("t", "a").await, b.join("t", "b").await);
    for _ in 0..25 {
        ann.publish("note", json!({})).await;
    }
    until("the other node has heard of it", async || {
        (in_use(&b, "t", "messages_per_minute").await["used"].as_u64() >= Some(10)).then_some(())
    })
    .await;
    let mut refused = 0;
    for _ in 0..25 {
        bob.send_text(publish()).await;
        let answer = bob.find(|message| ["ack", "error"].iter().any(|kind| message["event_type"] == *kind)).await;
        refused += u32::from(answer["event_type"] == "error");
    }
    assert!(refused > 0, "50 messages passed where 30 a minute may");
    // Another tenant on the same nodes has its own.
    b.join("u", "b").await.publish("note", json!({})).await;
}

#[tokio::test]
async fn requests_and_what_they_bring_are_counted_by_user_and_by_tenant() {
    let settings = [
        ("limits.requests_per_minute", "5"),
        ("limits.tenant_requests_per_minute", "8"),
        ("limits.http_messages_per_minute", "3"),
    ];
    let node = Node::start(&settings).await;
    let here = |user: &str| format!("/v1/tenants/t/instances?user_id={user}");
    let events = |user: &str| format!("{EVENTS}?user_id={user}");
    assert_eq!(node.post(&events("ann"), &json!([event("a"), event("a"), event("a")])).await.status, 201);
    // What one request brings is taken whole or not at all.
    let refused = node.post(&events("ann"), &json!([event("a"), event("a")])).await;
    refused.problem(429, "rate_limited");
    assert!(refused.text().contains("http_messages_per_minute"), "{}", refused.text());
    for _ in 0..3 {
        assert_eq!(node.get(&here("ann")).await.status, 200);
    }
    let refused = node.get(&here("ann")).await;
    refused.problem(429, "rate_limited");
    assert!(refused.text().contains("limits.requests_per_minute"), "{}", refused.text());
    assert!(refused.json()["retry_after_ms"].as_u64().is_some_and(|wait| (1..=12_000).contains(&wait)));
    // Another user has its own, until the tenant has none left.
    for _ in 0..3 {
        assert_eq!(node.get(&here("bob")).await.status, 200);
    }
    let refused = node.get(&here("bob")).await;
    refused.problem(429, "rate_limited");
    assert!(refused.text().contains("limits.tenant_requests_per_minute"), "{}", refused.text());
    assert_eq!(node.get("/v1/tenants/u/instances?user_id=ann").await.status, 200, "the same name elsewhere is another");
    assert_eq!(node.get("/healthz").await.status, 200);
    let stored = node.get("/v1/tenants/t/events").await;
    stored.problem(429, "rate_limited");
}

#[tokio::test]
async fn who_has_shown_nothing_gives_way_to_those_who_come() {
    let issuer = Issuer::new();
    let settings =
        [("limits.strangers_per_node", "8"), ("server.handshake_timeout", "10m"), ("auth.first_message", "10m")];
    let node = issuer.node(&[&settings[..], &[("limits.connections_per_node", "10000")]].concat()).await;
    let token = issuer.token(json!({}));
    let mut member = node.join_with("acme", "member", &format!("token={token}")).await;
    let half = b"GET /ws/sync?tenant";
    let unproven = upgrade_request("tenant_id=acme&instance_id=x", "13", Some(KEY));
    let mut told = RawClient::open(node.address(), unproven.as_bytes()).await;
    assert_eq!(told.answer().await.status, 101);
    let mut silent = Vec::new();
    for number in 0..400 {
        silent.push(match number % 3 {
            0 => RawClient::open(node.address(), half).await,
            1 => RawClient::open(node.address(), b"").await,
            _ => RawClient::open(node.address(), unproven.as_bytes()).await,
        });
        // Those who come in earnest come in at any time, over HTTP too.
        if number % 50 == 0 {
            node.join_with("acme", &format!("guest-{number}"), &format!("token={token}"))
                .await
                .publish("note", json!({}))
                .await;
            assert_eq!(node.get_as(&token, "/v1/tenants/acme/instances").await.status, 200);
        }
    }
    node.until_metric("continuum_strangers_ended_total", |ended| ended >= 380.0).await;
    node.until_metric("continuum_strangers", |here| here <= 8.0).await;
    // Where there are words for it, it is told.
    assert_eq!(told.expect("error").await["data"]["code"], "limit_reached");
    assert_eq!(told.until_closed().await.code, Some(4011));
    // A member is no stranger, however long it is silent.
    member.settle().await;
    member.publish("note", json!({})).await;
}

#[tokio::test]
async fn strangers_who_do_not_listen_are_gone_at_once() {
    const MANY: usize = 200;
    let issuer = Issuer::new();
    let settings =
        [("limits.strangers_per_node", "8"), ("server.handshake_timeout", "10m"), ("auth.first_message", "10m")];
    let node = issuer.node(&settings).await;
    let unproven = upgrade_request("tenant_id=acme&instance_id=x", "13", Some(KEY));
    let mut silent = Vec::new();
    for _ in 0..MANY {
        let mut client = RawClient::open(node.address(), unproven.as_bytes()).await;
        assert_eq!(client.answer().await.status, 101);
        silent.push(client);
    }
    // None of them reads on, or closes.
    until("their places are free", async || {
        let open = node.get_as(ADMIN, "/v1/stats").await.json()["total_connections"].as_u64().expect("a number");
        (open <= 8).then_some(())
    })
    .await;
    // What the socket took was said all the same.
    for mut client in silent.drain(..MANY - 16) {
        let farewell = client.until_closed().await;
        assert_eq!(farewell.code, Some(4011));
    }
}

#[tokio::test]
async fn an_administrator_changes_a_tenants_limits_while_it_is_connected() {
    let (issuer, server) = (Issuer::new(), NatsServer::start().await);
    let url = server.url();
    let nats = [("backbone.kind", "nats"), ("nats.urls", url.as_str()), ("log.retention_bytes", "0")];
    let (mut a, b) = (issuer.node(&nats).await, issuer.node(&nats).await);
    let limits = "/v1/admin/tenants/acme/limits";
    let usual = a.ask(ADMIN, "GET", limits, &Value::Null).await.json();
    assert_eq!(usual["changes"], json!({}));
    assert_eq!(usual["limits"]["connections_per_tenant"], 100);
    let (_, admin) = a.api_key(json!({"tenant": "acme", "grant": {"admin": "tenant"}})).await;
    assert_eq!(a.get_as(&admin, limits).await.status, 200);
    let wanted = json!({"changes": {"messages_per_minute": 2, "connections_per_tenant": 1}});
    // A tenant does not lift its own limits, and knows nothing of others'.
    a.ask(&admin, "PUT", limits, &wanted).await.problem(403, "forbidden");
    a.get_as(&admin, "/v1/admin/tenants/team-1/limits").await.problem(403, "forbidden");
    a.get_as(&issuer.token(json!({})), limits).await.problem(403, "forbidden");
    for wrong in
        [json!({"changes": {"connections_per_tenant": 0}}), json!({"changes": {"nonsense": 1}}), json!({"nonsense": 1})]
    {
        a.ask(ADMIN, "PUT", limits, &wrong).await.problem(400, "invalid_message");
    }
    let mut member = b.join_with("acme", "m", &format!("token={}", issuer.token(json!({})))).await;
    let changed = a.ask(ADMIN, "PUT", limits, &wanted).await;
    assert_eq!(changed.status, 200, "{}", changed.text());
    assert_eq!(changed.json()["limits"]["messages_per_minute"], 2);
    // It holds for those who are connected, on the other node too.
    until("the other node knows it", async || {
        (b.ask(ADMIN, "GET", limits, &Value::Null).await.json()["changes"] == wanted["changes"]).then_some(())
    })
    .await;
    member.publish("note", json!({})).await;
    member.publish("note", json!({})).await;
    assert_eq!(member.refused(publish()).await["code"], "rate_limited");
    let mut other = Client::open(&a, &format!("tenant_id=acme&instance_id=o&token={}", issuer.token(json!({})))).await;
    let error = other.expect("error").await;
    assert_eq!(error["data"]["code"], "limit_reached");
    assert!(error["data"]["retry_after_ms"].as_u64().is_some(), "{error}");
    // It outlives the node, and goes when it is taken back.
    a.kill9().await;
    a.restart(Port::New).await;
    until("the node knows it again", async || {
        (a.ask(ADMIN, "GET", limits, &Value::Null).await.json()["changes"] == wanted["changes"]).then_some(())
    })
    .await;
    assert_eq!(a.ask(ADMIN, "PUT", limits, &json!({"changes": {}})).await.json()["limits"], usual["limits"]);
}

/// What is too old of one tenant goes, on every node, and nothing else: no other tenant's record, and no entity.
async fn a_tenants_own_retention(issuer: &Issuer, (a, b): (&Node, &Node)) {
    let limits = "/v1/admin/tenants/acme/limits";
    let (acme, other) = (issuer.token(json!({})), issuer.token(json!({"tenant": "team-1"})));
    let mut writer = a.join_with("acme", "w", &format!("token={acme}")).await;
    let mut elsewhere = a.join_with("team-1", "w", &format!("token={other}")).await;
    // So that the log does not begin with what goes.
    elsewhere.publish("note", json!({"n": "first"})).await;
    let memory = "/v1/tenants/acme/entities/memory/m1";
    let made = a.ask(&acme, "PUT", memory, &json!({"text": "old"})).await;
    assert_eq!(made.status, 201, "{}", made.text());
    for n in 0..20 {
        writer.publish("note", json!({"n": n})).await;
        elsewhere.publish("note", json!({"n": n})).await;
    }
    for wrong in ["0s", "1ms", "eight days", "8d"] {
        a.ask(ADMIN, "PUT", limits, &json!({"retention_age": wrong})).await.problem(400, "invalid_message");
    }
    let told = a.ask(ADMIN, "PUT", limits, &json!({"retention_age": "1s"})).await.json();
    assert_eq!((&told["retention_age"], &told["changes"]), (&json!("1s"), &json!({})));
    let is_gone = async |node: &Node| {
        until("what is too old is gone", async || {
            let page = node.get_as(&acme, "/v1/tenants/acme/events?after=earliest&limit=1000").await.json();
            let left = page["events"].as_array().expect("events").len();
            (left == 0).then_some(())
        })
        .await;
    };
    for node in [a, b] {
        is_gone(node).await;
        let all = node.get_as(&other, "/v1/tenants/team-1/events?after=earliest&limit=1000").await.json();
        assert_eq!(all["events"].as_array().map(Vec::len), Some(21), "{all}");
        assert_eq!(node.get_as(&acme, memory).await.json()["data"], json!({"text": "old"}));
    }
    // A cursor from before is told so; what is new is there, for as long as it is new.
    let mut late = b.join_with("acme", "late", &format!("token={acme}&since=earliest")).await;
    writer.publish("note", json!({"n": "new"})).await;
    assert_eq!(late.record().await["data"], json!({"n": "new"}));
    // Once this one is passed over too, those before it have left the log.
    is_gone(a).await;
    // An entity that the log has forgotten is changed and not made anew, by whichever node.
    let changed = b.ask(&acme, "PATCH", memory, &json!({"more": 1})).await;
    assert_eq!(changed.status, 200, "{}", changed.text());
    assert_eq!(a.get_as(&acme, memory).await.json()["data"], json!({"text": "old", "more": 1}));
    let taken = a
        .ask(
            &acme,
            "POST",
            "/v1/tenants/acme/operations",
            &json!({"instance_id": "w", "entity_type": "memory",
        "entity_id": "m1", "action": "create", "op_id": "again", "data": {}}),
        )
        .await;
    assert_ne!(taken.status, 201, "{}", taken.text());
}

const RETENTION: [(&str, &str); 2] = [("log.sweep_interval", "300ms"), ("log.retention_age", "7d")];

#[tokio::test]
async fn a_tenants_records_are_kept_as_long_as_an_administrator_says() {
    let issuer = Issuer::new();
    let node = issuer.node(&RETENTION).await;
    a_tenants_own_retention(&issuer, (&node, &node)).await;
}

#[tokio::test]
async fn a_tenants_records_on_nats_are_kept_as_long_as_an_administrator_says() {
    let (issuer, server) = (Issuer::new(), NatsServer::start().await);
    let url = server.url();
    let nats = [("backbone.kind", "nats"), ("nats.urls", url.as_str()), ("log.retention_bytes", "0")];
    let settings = [&nats[..], &RETENTION].concat();
    let (a, b) = (issuer.node(&settings).await, issuer.node(&settings).await);
    a_tenants_own_retention(&issuer, (&a, &b)).await;
    // A node that comes later knows it before it serves.
    let c = issuer.node(&settings).await;
    let acme = issuer.token(json!({}));
    let memory = "/v1/tenants/acme/entities/memory/m1";
    let changed = c.ask(&acme, "PATCH", memory, &json!({"late": true})).await;
    assert_eq!(changed.status, 200, "{}", changed.text());
    assert_eq!(a.get_as(&acme, memory).await.json()["data"], json!({"text": "old", "more": 1, "late": true}));
}

#[tokio::test]
async fn requests_of_who_administers_are_counted_too() {
    let issuer = Issuer::new();
    let node = issuer.node(&[("limits.requests_per_minute", "3")]).await;
    for _ in 0..3 {
        assert_eq!(node.get_as(ADMIN, "/v1/admin/keys").await.status, 200);
    }
    node.get_as(ADMIN, "/v1/admin/keys").await.problem(429, "rate_limited");
    assert_eq!(node.get_as(&issuer.token(json!({})), "/v1/tenants/acme/instances").await.status, 200);
}

#[tokio::test]
async fn a_tenant_has_so_many_api_keys_and_no_more() {
    let issuer = Issuer::new();
    let node = issuer.node(&[("limits.keys_per_tenant", "2")]).await;
    let wanted = json!({"tenant": "acme", "user": "ada"});
    let (first, _) = node.api_key(wanted.clone()).await;
    node.api_key(wanted.clone()).await;
    node.ask(ADMIN, "POST", "/v1/admin/keys", &wanted).await.problem(429, "limit_reached");
    node.api_key(json!({"tenant": "team-1"})).await;
    assert_eq!(node.ask(ADMIN, "DELETE", &format!("/v1/admin/keys/{first}"), &Value::Null).await.status, 200);
    // A revoked one makes room, but not for ever: what is revoked is kept.
    for _ in 0..18 {
        let (id, _) = node.api_key(wanted.clone()).await;
        assert_eq!(node.ask(ADMIN, "DELETE", &format!("/v1/admin/keys/{id}"), &Value::Null).await.status, 200);
    }
    let refused = node.ask(ADMIN, "POST", "/v1/admin/keys", &wanted).await;
    refused.problem(429, "limit_reached");
    assert!(refused.text().contains("ten times"), "{}", refused.text());
    for number in 0..20 {
        let wanted = json!({"tenant": "acme", "token_id": format!("t-{number}")});
        assert_eq!(node.ask(ADMIN, "POST", "/v1/admin/revocations", &wanted).await.status, 201);
    }
    let one_more = json!({"tenant": "acme", "token_id": "t-20"});
    node.ask(ADMIN, "POST", "/v1/admin/revocations", &one_more).await.problem(429, "limit_reached");
    let again = json!({"tenant": "acme", "token_id": "t-3"});
    assert_eq!(node.ask(ADMIN, "POST", "/v1/admin/revocations", &again).await.status, 201);
}

#[tokio::test]
async fn who_asks_for_the_state_too_often_is_told_which_question_it_was_and_a_look_at_the_place_is_no_message() {
    let node = Node::start(&[("limits.messages_per_minute", "1")]).await;
    let mut ann = node.join("t", "a").await;
    ann.publish("note", json!({})).await;
    let id = new_id();
    ann.send(json!({"event_type": "graph.sync", "event_id": id, "data": {}})).await;
    let refused = ann.expect("error").await;
    assert_eq!((&refused["data"]["code"], &refused["data"]["id"]), (&json!("rate_limited"), &json!(id)), "{refused}");
    ann.send(json!({"event_type": "sync_request"})).await;
    ann.expect("sync_response").await;
}
