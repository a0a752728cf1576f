//! What a grant lets through, on every path: sockets and HTTP, live, replayed, as state, as history; and what is said where one is
//! missing.

use serde_json::{Value, json};

use crate::support::{Client, Issuer, Node, PASSED_BY_RETENTION, RawClient, http, issuer::ADMIN, new_id, until};

/// Somebody with a grant, as instance `name`.
fn token(issuer: &Issuer, name: &str, grant: Value) -> String {
    issuer.token(json!({"instance": name, "grant": grant}))
}

fn all() -> Value {
    json!({"publish": ["*"], "subscribe": ["*"], "read": ["*"], "change": ["*"]})
}

async fn sync(node: &Node, token: &str, query: &str) -> Client {
    Client::connect_to(node.address(), &format!("token={token}&{query}")).await
}

async fn typed(node: &Node, token: &str, query: &str) -> Client {
    Client::typed(node.address(), &format!("token={token}&{query}")).await
}

async fn put(client: &mut Client, kind: &str, id: &str) -> Value {
    let event =
        json!({"entity_type": kind, "entity_id": id, "action": "put", "data": {"x": 1, "y": 1, "text": "planted"}});
    let mut message = json!({"type": "sync_event", "event_type": "sync_event", "id": new_id(), "data": event});
    message["event_id"] = message["id"].clone();
    client.ask(message).await
}

#[tokio::test]
async fn what_may_not_be_published_or_changed_is_refused_by_the_grant_that_is_missing() {
    let issuer = Issuer::new();
    let node = issuer.node(&[]).await;
    let grant = json!({"publish": ["memory.*", "cursor.*"], "subscribe": ["*"], "read": ["*"], "change": ["memory", "node:mine-*"]});
    let token = token(&issuer, "a", grant);
    let mut watcher = sync(&node, &self::token(&issuer, "watcher", all()), "").await;
    let (mut one, mut two) = (sync(&node, &token, "").await, typed(&node, &token, "instance_id=a").await);
    // The newer connection of an instance takes over; the first one is for the other path.
    one.until_closed().await;
    two.send(json!({"type": "memory.seen", "id": "1", "data": {}})).await;
    two.expect("ack").await;
    two.send(json!({"type": "note", "id": "2", "data": {}})).await;
    let error = two.expect("error").await;
    assert_eq!((&error["data"]["code"], &error["data"]["id"]), (&json!("forbidden"), &json!("2")), "{error}");
    assert_eq!(error["data"]["message"], "the grant 'publish' of \"note\" is missing");
    two.send(json!({"type": "selection.change", "id": "3", "data": {}})).await;
    let error = two.find(|message| message["type"] == "system.error" || message["type"] == "error").await;
    assert_eq!((&error["data"]["code"], &error["data"]["id"]), (&json!("forbidden"), &json!("3")), "{error}");
    for (kind, id, code) in [
        ("memory", "m1", None),
        ("node", "mine-1", None),
        ("node", "other", Some("\"node:other\"")),
        ("edge", "e1", Some("\"edge:e1\"")),
    ] {
        let answer = put(&mut two, kind, id).await;
        match code {
            None => assert_eq!(answer["data"]["entity_id"], id, "{answer}"),
            Some(missing) => {
                assert_eq!(answer["data"]["code"], "forbidden", "{answer}");
                assert!(answer["data"]["message"].as_str().expect("a text").contains(missing), "{answer}");
            }
        }
    }
    // Over HTTP the same.
    let event = |kind: &str| json!({"event_type": kind, "instance_id": "a", "data": {}});
    assert_eq!(node.ask(&token, "POST", "/v1/tenants/acme/events", &event("memory.x")).await.status, 201);
    node.ask(&token, "POST", "/v1/tenants/acme/events", &event("note")).await.problem(403, "forbidden");
    let stranger = json!({"event_type": "memory.x", "instance_id": "b", "data": {}});
    node.ask(&token, "POST", "/v1/tenants/acme/events", &stranger).await.problem(403, "identity_mismatch");
    let target = |kind: &str, id: &str| format!("/v1/tenants/acme/entities/{kind}/{id}");
    assert_eq!(node.ask(&token, "PUT", &target("memory", "m2"), &json!({"a": 1})).await.status, 201);
    for method in ["PUT", "DELETE"] {
        node.ask(&token, method, &target("node", "other"), &json!({"a": 1})).await.problem(403, "forbidden");
    }
    node.ask(
        &token,
        "POST",
        &format!("{}/conflicts/{}", target("node", "other"), new_id()),
        &json!({"choice": "local"}),
    )
    .await
    .problem(403, "forbidden");
    let operation = |kind: &str, instance: &str| json!({"action": "put", "entity_type": kind, "entity_id": "h", "instance_id": instance, "op_id": new_id(), "data": {"a": 1}});
    let list = json!([operation("memory", "a"), operation("edge", "a"), operation("memory", "b")]);
    let answers = node.ask(&token, "POST", "/v1/tenants/acme/operations", &list).await.json();
    let codes: Vec<_> = answers["results"].as_array().expect("a list").iter().map(|one| one["code"].clone()).collect();
    assert_eq!(codes, [Value::Null, json!("forbidden"), json!("identity_mismatch")], "{answers}");
    // Nobody else heard of what was refused.
    watcher.settle().await;
    let heard = Value::from(watcher.seen().to_vec()).to_string();
    for quiet in ["\"note\"", "other", "\"e1\"", "selection.change", "forbidden"] {
        assert!(!heard.contains(quiet), "{quiet} in {heard}");
    }
}

#[tokio::test]
async fn what_may_not_be_read_or_heard_is_on_no_path() {
    let issuer = Issuer::new();
    let node = issuer.node(&[]).await;
    let writer = token(&issuer, "writer", all());
    let grant =
        json!({"subscribe": ["memory.seen"], "read": ["memory", "node:shown"], "change": ["*"], "publish": ["*"]});
    let reader = token(&issuer, "reader", grant);
    let mut live = sync(&node, &reader, "").await;
    let mut writes = typed(&node, &writer, "instance_id=writer").await;
    let kinds = [("memory", "m1"), ("node", "shown"), ("node", "secret"), ("edge", "secret"), ("task", "secret")];
    for (kind, id) in kinds {
        assert_eq!(put(&mut writes, kind, id).await["data"]["entity_id"], id);
    }
    for (event, data) in [("memory.seen", "open"), ("secret.event", "secret"), ("cursor.move", "secret")] {
        writes.send(json!({"type": event, "id": event, "data": {"of": data}})).await;
    }
    writes.settle().await;
    writes.send(json!({"type": "memory.seen", "id": "last", "data": {"n": "last"}})).await;
    let last = |message: &Value| message["data"]["n"] == "last";
    live.find(last).await;
    let shown = |seen: &[Value]| {
        let text = Value::from(seen.to_vec()).to_string();
        assert!(!text.contains("secret"), "{text}");
        assert!(text.contains("m1") && text.contains("shown"), "{text}");
    };
    shown(live.seen());
    // Nor is it told who is here, or what the room's figures are.
    assert_eq!(live.ready()["data"]["instances"], json!([]), "{}", live.ready());
    assert_eq!(live.seen_of("instance_joined").count(), 0);
    let id = new_id();
    live.send(json!({"event_type": "sync_request", "event_id": id})).await;
    let refused = live.expect("error").await["data"].clone();
    assert_eq!((&refused["code"], &refused["id"]), (&json!("forbidden"), &json!(id)));
    for target in ["/v1/tenants/acme/instances", "/v1/tenants/acme/stats", "/api/v4/ws/status"] {
        node.get_as(&reader, target).await.problem(403, "forbidden");
    }
    node.get_as(&reader, "/v1/stats").await.problem(403, "forbidden");
    live.close().await;
    // Replayed, as state, by subscriptions.
    let mut replayed = sync(&node, &reader, "since=earliest").await;
    replayed.catch_up().await;
    shown(replayed.seen());
    let greeting = &replayed.ready()["data"];
    assert_eq!((&greeting["instances"], &greeting["instances_total"]), (&json!([]), &json!(0)), "{greeting}");
    replayed.close().await;
    let mut state = typed(&node, &reader, "instance_id=reader").await;
    state.send(json!({"type": "graph.sync", "id": "s", "data": {}})).await;
    state.find(|message| message["type"] == "graph.sync" && message["data"]["done"] == true).await;
    shown(state.seen());
    for (name, wanted) in [
        ("nodes", json!({"query": {"entity_type": "node"}})),
        ("tasks", json!({"query": {"entity_type": "task"}})),
        ("box", json!({"region": {"x": 0, "y": 0, "width": 9, "height": 9}})),
        ("hops", json!({"region": {"node": "shown", "hops": 2}})),
        ("list", json!({"ids": ["secret", "shown"]})),
    ] {
        let mut data = json!({"subscription": name});
        data.as_object_mut().expect("an object").extend(wanted.as_object().cloned().expect("an object"));
        state.send(json!({"type": "subscribe", "id": name, "data": data})).await;
        let is_end = |message: &Value| message["data"]["subscription"] == name && message["data"]["done"] == true;
        let end = state.find(is_end).await;
        assert_eq!(end.to_string().contains("shown"), name != "tasks", "{end}");
    }
    // And as it changes.
    for (kind, id) in kinds {
        put(&mut writes, kind, id).await;
    }
    writes.send(json!({"type": "memory.seen", "id": "fence", "data": {"n": "fence"}})).await;
    state.find(|message| message["data"]["n"] == "fence").await;
    shown(state.seen());
    // Over HTTP.
    for (kind, id) in kinds {
        for more in ["", "/versions", "/conflicts"] {
            let answer = node.get_as(&reader, &format!("/v1/tenants/acme/entities/{kind}/{id}{more}")).await;
            assert_eq!(answer.status, if id == "secret" { 404 } else { 200 }, "{kind} {id} {more}: {}", answer.text());
        }
    }
    for target in ["snapshot", "events?limit=100", "conflicts"] {
        let answer = node.get_as(&reader, &format!("/v1/tenants/acme/{target}")).await;
        assert_eq!(answer.status, 200);
        assert!(!answer.text().contains("secret"), "{target}: {}", answer.text());
    }
    let mut stream = node.stream("acme", &format!("since=earliest&token={reader}")).await;
    let records = stream.records(4).await;
    shown(&records);
}

#[tokio::test]
async fn another_tenants_token_finds_nothing_on_any_path_that_is_described() {
    let issuer = Issuer::new();
    let node = issuer.node(&[]).await;
    let mut writer = typed(&node, &token(&issuer, "writer", all()), "").await;
    put(&mut writer, "node", "n1").await;
    writer.send(json!({"type": "note", "id": "note", "data": {"text": "planted"}})).await;
    writer.expect("ack").await;
    let (_, thief) = node
        .api_key(json!({"tenant": "team-1", "grant": {
            "publish": ["*"], "subscribe": ["*"], "read": ["*"], "change": ["*"], "admin": "tenant"
        }}))
        .await;
    let description: Value = serde_json::from_str(include_str!("../../docs/openapi.json")).expect("JSON");
    let paths = description["paths"].as_object().expect("paths");
    let (mut tried, json_body) = (0, [("Content-Type", "application/json")]);
    for (path, methods) in paths.iter().filter(|(path, _)| path.contains("{tenant}")) {
        let target = path.replace("{tenant}", "acme").replace("{type}", "node").replace("{id}", "n1");
        let target = target.replace("{conflict}", &new_id());
        for method in ["get", "post", "put", "patch", "delete"] {
            if methods.get(method).is_none() {
                continue;
            }
            tried += 1;
            let body = if method == "get" { Value::Null } else { json!({"text": "stolen"}) };
            let answer = node.ask(&thief, &method.to_uppercase(), &target, &body).await;
            assert!(!answer.text().contains("planted"), "{method} {target}: {}", answer.text());
            // Who administers a tenant is told that this one is not its own to administer.
            let administers = methods[method]["tags"][0] == "admin";
            let code = if administers { "forbidden" } else { "identity_mismatch" };
            answer.problem(403, code);
            let nobody = http::send(node.address(), &method.to_uppercase(), &target, &json_body, b"{}").await;
            nobody.problem(401, "unauthenticated");
        }
    }
    assert!(tried >= 15, "only {tried} requests are described");
    // By the sockets and the paths that name no tenant.
    for path in ["ws/sync", "ws"] {
        let mut refused =
            Client::open_on(node.address(), path, &format!("tenant_id=acme&instance_id=x&token={thief}")).await;
        assert_eq!(refused.expect("error").await["data"]["code"], "identity_mismatch");
        assert_eq!(refused.until_closed().await.code, Some(4001));
    }
    node.get_as(&thief, "/api/v4/ws/status?tenant_id=acme").await.problem(403, "identity_mismatch");
    // Of its own it is told how many are connected, and that is all.
    let status = node.get_as(&thief, "/api/v4/ws/status").await.json();
    assert_eq!((&status["tenant_connections"], &status["total_connections"]), (&json!(0), &json!(0)), "{status}");
    node.get_as(&thief, "/v1/stats").await.problem(403, "forbidden");
    node.get_as(&thief, "/v1/admin/keys?tenant=acme").await.problem(403, "forbidden");
    let own = node.get_as(&thief, "/v1/tenants/team-1/events").await;
    assert_eq!(own.json()["events"], json!([]));
    let head = node.get_as(&token(&issuer, "writer", all()), "/v1/tenants/acme/entities/node/n1").await.json();
    assert_eq!(head["data"]["text"], "planted", "{head}");
}

#[tokio::test]
async fn nobody_is_another_by_saying_so_in_an_operation() {
    let issuer = Issuer::new();
    let node = issuer.node(&[]).await;
    let ada = issuer.token(json!({"sub": "ada", "instance": "ada"}));
    let mut owner = typed(&node, &ada, "").await;
    let secret = json!({"entity_type": "memory", "entity_id": "m1", "action": "put",
        "data": {"visibility": "private", "text": "planted"}});
    let made = owner.ask(json!({"type": "sync_event", "id": new_id(), "data": secret})).await;
    assert_eq!(made["data"]["entity_id"], "m1", "{made}");
    // Its token names no user; it may change memories.
    let (_, thief) = node.api_key(json!({"tenant": "acme"})).await;
    let claims = |action: &str| {
        let (failing, id) = (json!([{"op": "test", "path": "/zz", "value": 1}]), new_id());
        json!({"id": id, "op_id": id, "instance_id": "thief", "entity_type": "memory", "entity_id": "m1", "action": action,
            "user_id": "ada", "user_name": "Ada", "ops": failing, "data": {"text": "stolen"}})
    };
    for action in ["update", "put", "delete"] {
        let answer = node.ask(&thief, "POST", "/v1/tenants/acme/operations", &claims(action)).await;
        assert!(!answer.text().contains("planted"), "{}", answer.text());
        answer.problem(403, "identity_mismatch");
    }
    for path in ["ws/sync", "ws"] {
        let mut socket = Client::open_on(node.address(), path, &format!("token={thief}&instance_id=thief")).await;
        for action in ["update", "delete"] {
            let operation = claims(action);
            let id = operation["id"].clone();
            let message =
                json!({"type": "sync_event", "event_type": "sync_event", "id": id, "event_id": id, "data": operation});
            let answer = socket.ask(message).await;
            assert_eq!(answer["data"]["code"], "identity_mismatch", "{path}: {answer}");
        }
        if path == "ws/sync" {
            let own = json!({"entity_type": "memory", "entity_id": "own", "action": "put", "data": {}});
            let id = new_id();
            let message = json!({"event_type": "sync_event", "event_id": id, "tenant_id": "team-1", "data": own});
            socket.send(message).await;
            let refused = socket.expect("error").await;
            assert_eq!(refused["data"]["code"], "identity_mismatch", "{refused}");
            assert!(refused["data"]["message"].as_str().is_some_and(|text| text.contains("tenant_id")), "{refused}");
        }
        if path == "ws" {
            socket.send(json!({"type": "note", "userId": "ada", "data": {}})).await;
            let refused = socket.expect("error").await;
            assert_eq!(refused["data"]["code"], "identity_mismatch", "{refused}");
        }
        assert!(!Value::from(socket.seen().to_vec()).to_string().contains("planted"));
        socket.close().await;
    }
    // Nor is a user of one tenant the user of that name in another, whatever it administers.
    let (_, boss) = node
        .api_key(json!({"tenant": "team-1", "user": "ada", "grant": {
            "read": ["*"], "change": ["*"], "subscribe": ["*"], "publish": ["*"], "admin": "system"
        }}))
        .await;
    for token in [boss.as_str(), ADMIN] {
        node.get_as(token, "/v1/tenants/acme/entities/memory/m1").await.problem(404, "not_found");
        let snapshot = node.get_as(token, "/v1/tenants/acme/snapshot?instance_id=ada").await;
        assert_eq!(snapshot.json()["entities"], json!([]));
    }
    let mut inside = sync(&node, &boss, "tenant_id=acme&instance_id=ada&since=earliest").await;
    inside.catch_up().await;
    inside.send(json!({"event_type": "graph.sync", "data": {}})).await;
    let state = inside.find(|message| message["event_type"] == "graph.sync" && message["data"]["done"] == true).await;
    assert!(!Value::from(inside.seen().to_vec()).to_string().contains("planted"), "{state}");
    inside.close().await;
    // And in the tenant that is the system's own is nobody at all.
    for path in ["ws/sync", "ws"] {
        let mut refused = Client::open_on(node.address(), path, &format!("instance_id=x&token={ADMIN}")).await;
        assert_eq!(refused.expect("error").await["data"]["code"], "identity_mismatch");
        assert_eq!(refused.until_closed().await.code, Some(4001));
    }
    node.get_as(ADMIN, "/api/v4/ws/status").await.problem(403, "identity_mismatch");
}

#[tokio::test]
async fn a_resync_names_nobody_to_whom_may_not_know_who_is_here() {
    let issuer = Issuer::new();
    let node = issuer.node(&[]).await;
    let _here = sync(&node, &token(&issuer, "somebody-here", all()), "").await;
    let reader = token(&issuer, "reader", json!({"subscribe": ["note"]}));
    let old = "0000000000000001.5";
    let mut member = sync(&node, &reader, &format!("since={old}")).await;
    let resync = member.expect("resync").await;
    assert!(resync["data"].get("state").is_none(), "{resync}");
    let mut stream = node.stream("acme", &format!("since={old}&token={reader}")).await;
    let resync = stream.expect("resync").await;
    assert!(resync.get("state").is_none() && !resync.to_string().contains("somebody"), "{resync}");
    assert!(!Value::from(member.seen().to_vec()).to_string().contains("somebody"));
}

#[tokio::test]
async fn a_resync_that_comes_later_names_nobody_either() {
    let issuer = Issuer::new();
    let node = issuer.node(&PASSED_BY_RETENTION).await;
    let writer = token(&issuer, "somebody-here", all());
    let _here = sync(&node, &writer, "").await;
    let reader = token(&issuer, "reader", json!({"subscribe": ["note"]}));
    // It reads nothing until retention has passed it.
    let mut slow = RawClient::connect_narrow(&node, &format!("token={reader}")).await;
    let text = "x".repeat(64 * 1024);
    for number in 0..200 {
        let event =
            json!({"event_type": "note", "instance_id": "somebody-here", "data": {"number": number, "text": text}});
        assert_eq!(node.ask(&writer, "POST", "/v1/tenants/acme/events", &event).await.status, 201);
    }
    until("retention passes the reader", async || {
        let page = node.get_as(&writer, "/v1/tenants/acme/events?limit=1&after=earliest").await.json();
        (page["events"][0]["data"]["number"].as_u64()? > 100).then_some(())
    })
    .await;
    let resync = loop {
        let frame = slow.next().await.expect("the connection goes on");
        let said: Value = serde_json::from_slice(&frame.payload).unwrap_or_default();
        if said["event_type"] == "resync" {
            break said;
        }
    };
    assert_eq!(resync["data"]["reason"], "trimmed", "{resync}");
    assert!(resync["data"].get("state").is_none(), "{resync}");
}
