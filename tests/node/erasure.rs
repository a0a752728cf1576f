//! A tenant that is erased: nothing of it is left anywhere, nobody else notices, and nothing brings it back.

use std::{fs, path::Path};

use serde_json::{Value, json};

use crate::{
    nats_support::{Line, NatsCluster, NatsServer},
    support::{Client, Issuer, Node, Port, issuer::ADMIN, new_id, until},
};

/// Stands in everything that is planted.
const SECRET: &str = "planted-5f0c1d7e9ab34468";

/// A node's settings for a log on NATS.
fn on(url: &str) -> Vec<(&str, &str)> {
    vec![("backbone.kind", "nats"), ("nats.urls", url), ("log.retention_bytes", "0"), ("rooms.cursor_flush", "20ms")]
}

/// A token of the tenant that there is now: one that was issued within the second of an erasure counts as older.
async fn fresh(issuer: &Issuer, node: &Node, tenant: &str) -> String {
    until("a new token holds", async || {
        let token = issuer.token(json!({"tenant": tenant, "sub": "ada"}));
        let target = format!("/v1/tenants/{tenant}/instances");
        (node.get_as(&token, &target).await.status == 200).then_some(token)
    })
    .await
}

async fn join(node: &Node, token: &str, tenant: &str, query: &str) -> Client {
    Client::connect_to(node.address(), &format!("token={token}&tenant_id={tenant}&{query}")).await
}

/// Records and entities, one of them changed and deleted. What a change replaces may stay in NATS' files, so that one holds no secret.
async fn plant(node: &Node, token: &str, tenant: &str, count: usize) {
    let mut writer = join(node, token, tenant, "instance_id=writer").await;
    for number in 0..count {
        writer.publish("note", json!({"number": number, "text": SECRET})).await;
        let target = format!("/v1/tenants/{tenant}/entities/memory/m{number}?instance_id=http");
        let put = node.ask(token, "PUT", &target, &json!({"number": number, "text": SECRET})).await;
        assert!([200, 201].contains(&put.status), "{}", put.text());
    }
    let changed = format!("/v1/tenants/{tenant}/entities/memory/changed?instance_id=http");
    assert_eq!(node.ask(token, "PUT", &changed, &json!({"a": 1})).await.status, 201);
    assert_eq!(node.ask(token, "DELETE", &changed, &Value::Null).await.status, 200);
    writer.close().await;
}

/// All that a tenant's history and state show.
async fn everything(node: &Node, token: &str, tenant: &str) -> (Value, Value) {
    let events = node.get_as(token, &format!("/v1/tenants/{tenant}/events?limit=1000&since=earliest")).await;
    let state = node.get_as(token, &format!("/v1/tenants/{tenant}/snapshot")).await;
    assert_eq!((events.status, state.status), (200, 200), "{} {}", events.text(), state.text());
    let entities = state.json()["entities"].clone();
    (events.json()["events"].clone(), entities)
}

/// Begins to erase a tenant, and returns where to look.
async fn begin(node: &Node, token: &str, tenant: &str) -> String {
    let begun = node.ask(token, "DELETE", &format!("/v1/tenants/{tenant}"), &Value::Null).await;
    assert_eq!(begun.status, 202, "{}", begun.text());
    let place = begun.header("location").expect("where to look").to_owned();
    assert_eq!(place, format!("/v1/erasures/{}", begun.json()["receipt"].as_str().expect("a receipt")));
    place
}

/// Waits until it is done, and returns the report. Nobody has to prove anything but the receipt.
async fn done(node: &Node, place: &str) -> Value {
    until("the erasure is done", async || {
        let report = node.get(place).await;
        assert!([200, 202].contains(&report.status), "{}", report.text());
        (report.json()["stage"] == "done").then(|| report.json())
    })
    .await
}

/// Which files below a directory hold a text.
fn files_with(dir: &Path, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(files_with(&path, text));
        } else if fs::read(&path).is_ok_and(|bytes| bytes.windows(text.len()).any(|part| part == text.as_bytes())) {
            found.push(path.display().to_string());
        }
    }
    found
}

fn nothing_left(report: &Value) {
    let left = report["left"].as_object().expect("what was looked for");
    assert!(left.len() >= 3 && left.values().all(|count| count == 0), "{report}");
}

#[tokio::test]
async fn an_erased_tenant_leaves_nothing_behind_in_an_embedded_log() {
    let issuer = Issuer::new();
    let mut node = issuer.node(&[("rooms.cursor_flush", "20ms")]).await;
    let (acme, team) = (issuer.token(json!({"sub": "ada"})), issuer.token(json!({"tenant": "team-1"})));
    plant(&node, &acme, "acme", 40).await;
    let of_team = async |node: &Node| everything(node, &team, "team-1").await;
    let mut other = join(&node, &team, "team-1", "instance_id=other").await;
    for number in 0..20 {
        other.publish("note", json!({ "number": number })).await;
    }
    node.ask(&team, "PUT", "/v1/tenants/team-1/entities/memory/m", &json!({"a": 1})).await;
    let before = of_team(&node).await;
    let (_, key) = node.api_key(json!({"tenant": "acme", "label": SECRET})).await;
    let revoked = json!({"tenant": "acme", "user": SECRET});
    assert_eq!(node.ask(ADMIN, "POST", "/v1/admin/revocations", &revoked).await.status, 201);
    assert_eq!(node.ask(&key, "POST", "/v1/tickets", &Value::Null).await.status, 201);
    let limits = "/v1/admin/tenants/acme/limits";
    let wanted = json!({"changes": {"connections_per_tenant": 7}});
    assert_eq!(node.ask(ADMIN, "PUT", limits, &wanted).await.status, 200);
    let mut member = join(&node, &acme, "acme", "instance_id=member").await;
    let cursor = member.publish("note", json!({"text": SECRET})).await["cursor"].as_str().expect("a cursor").to_owned();
    assert!(!files_with(node.data(), SECRET).is_empty());

    // Not for those who do not administer it.
    node.ask(&acme, "DELETE", "/v1/tenants/acme", &Value::Null).await.problem(403, "forbidden");
    node.ask(&team, "DELETE", "/v1/tenants/acme", &Value::Null).await.problem(403, "forbidden");
    let place = begin(&node, ADMIN, "acme").await;
    let closed = member.until_closed().await;
    assert_eq!(
        (closed.code, closed.reason.as_str()),
        (Some(4013), "the tenant is erased; what was known of it is gone")
    );
    let report = done(&node, &place).await;
    nothing_left(&report);
    let removed = |name: &str| report["removed"][name].as_u64().unwrap_or_default();
    // 40 notes, 41 puts, a delete, the member's note.
    assert_eq!((removed("log"), removed("entities")), (83, 41), "{report}");
    assert!(removed("cursors") >= 2 && removed("registry") >= 3 && removed("dedupe") >= 41, "{report}");
    assert_eq!(report["nodes"][0]["removed"], json!({"rooms": 1}));
    assert_eq!(files_with(node.data(), SECRET), Vec::<String>::new());

    // What was issued before is good for nothing, and a second time there is nothing to do.
    node.get_as(&acme, "/v1/tenants/acme/instances").await.problem(401, "tenant_erased");
    node.get_as(&key, "/v1/tenants/acme/instances").await.problem(401, "unauthenticated");
    let again = node.ask(ADMIN, "DELETE", "/v1/tenants/acme", &Value::Null).await;
    assert_eq!((again.status, &again.json()["stage"]), (200, &json!("nothing")), "{}", again.text());
    assert_eq!(again.json()["last"]["receipt"], report["receipt"]);
    let keys = node.ask(ADMIN, "GET", "/v1/admin/keys?tenant=acme", &Value::Null).await.json();
    assert_eq!(keys, json!({"keys": []}));
    assert_eq!(node.ask(ADMIN, "GET", limits, &Value::Null).await.json()["changes"], json!({}));
    assert_eq!(node.ask(ADMIN, "PUT", limits, &wanted).await.status, 200);
    assert_eq!(node.ask(ADMIN, "POST", "/v1/admin/revocations", &revoked).await.status, 201);
    assert_eq!(of_team(&node).await, before);
    other.publish("note", json!({"after": true})).await;

    for round in ["at once", "after a restart"] {
        // The name is free: whoever comes with the old cursor is told that it leads nowhere.
        let token = fresh(&issuer, &node, "acme").await;
        resynced(&node, &token, &cursor).await;
        let back = join(&node, &token, "acme", "instance_id=member").await;
        // Its place is not kept: it is a new instance.
        let resume = (&back.resume()["outcome"], &back.resume()["missed"]);
        assert_eq!(resume, (&json!("honoured"), &json!(0)), "{round}");
        back.close().await;
        assert_eq!(everything(&node, &token, "acme").await, (json!([]), json!([])), "{round}");
        node.restart(Port::New).await;
    }
    let (events, _) = everything(&node, &team, "team-1").await;
    let events = events.as_array().expect("events");
    assert_eq!(events[..events.len() - 1], before.0.as_array().expect("events")[..], "with one more at the end");
    // A cursor of the new tenant is good, the next time too.
    let token = fresh(&issuer, &node, "acme").await;
    let mut first = join(&node, &token, "acme", "instance_id=one").await;
    let cursor = first.publish("note", json!({"new": true})).await["cursor"].as_str().expect("a cursor").to_owned();
    let next = join(&node, &token, "acme", &format!("instance_id=two&since={cursor}")).await;
    assert_eq!(next.resume()["outcome"], "honoured", "{}", next.resume());
}

#[tokio::test]
async fn tenants_that_are_erased_at_the_same_time_do_not_hold_each_other_up() {
    let issuer = Issuer::new();
    let node = issuer.node(&[]).await;
    let names = ["acme", "team-1", "team-2", "team-3"];
    for name in names {
        plant(&node, &issuer.token(json!({"tenant": name})), name, 10).await;
    }
    let mut places = Vec::new();
    for name in names {
        places.push(begin(&node, ADMIN, name).await);
    }
    for place in &places {
        nothing_left(&done(&node, place).await);
    }
    assert_eq!(files_with(node.data(), SECRET), Vec::<String>::new());
    // None of them had to be tried again.
    let failed: Vec<_> = node.log().into_iter().filter(|line| line.contains("the erasure of a tenant waits")).collect();
    assert_eq!(failed, Vec::<String>::new());
}

#[tokio::test]
async fn a_tenant_that_is_named_like_a_key_takes_nobodys_key_along() {
    let issuer = Issuer::new();
    let mut node = issuer.node(&[]).await;
    let (id, key) = node.api_key(json!({"tenant": "team-1"})).await;
    let (_, own) = node.api_key(json!({"tenant": id})).await;
    let revoked = json!({"tenant": id, "user": "ada"});
    assert_eq!(node.ask(ADMIN, "POST", "/v1/admin/revocations", &revoked).await.status, 201);
    let report = done(&node, &begin(&node, ADMIN, &id).await).await;
    nothing_left(&report);
    // Its own key and its revocation, and this node's word that it has let go.
    assert_eq!(report["removed"]["registry"], 3, "{report}");
    for _ in ["at once", "after a restart"] {
        assert_eq!(node.get_as(&key, "/v1/tenants/team-1/instances").await.status, 200);
        node.get_as(&own, &format!("/v1/tenants/{id}/instances")).await.problem(401, "unauthenticated");
        node.restart(Port::New).await;
    }
}

#[tokio::test]
async fn a_node_that_is_killed_in_the_middle_goes_on_when_it_is_back() {
    let issuer = Issuer::new();
    let mut node = issuer.node(&[]).await;
    plant(&node, &issuer.token(json!({})), "acme", 30).await;
    let place = begin(&node, ADMIN, "acme").await;
    node.restart(Port::New).await;
    nothing_left(&done(&node, &place).await);
    assert_eq!(files_with(node.data(), SECRET), Vec::<String>::new());
    let token = fresh(&issuer, &node, "acme").await;
    assert_eq!(everything(&node, &token, "acme").await, (json!([]), json!([])));
}

#[tokio::test]
async fn the_command_waits_for_the_report_and_says_when_there_is_nothing() {
    let issuer = Issuer::new();
    let node = issuer.node(&[]).await;
    plant(&node, &issuer.token(json!({})), "acme", 3).await;
    let run = || {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_continuum"));
        command.args(["tenant", "delete", "--tenant", "acme", "--url", &node.http(), "--token-file"]);
        let output = command.arg(issuer.path("admin.key")).output().expect("the command runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice::<Value>(&output.stdout).expect("a report")
    };
    let report = run();
    assert_eq!((&report["stage"], &report["removed"]["log"]), (&json!("done"), &json!(8)), "{report}");
    nothing_left(&report);
    assert_eq!(run()["stage"], "nothing");
}

/// A node of an issuer on NATS.
async fn on_nats(issuer: &Issuer, url: &str, more: &[(&str, &str)]) -> Node {
    issuer.node(&[&on(url)[..], more].concat()).await
}

/// Nodes that have heard of each other.
async fn hear_each_other(nodes: &[&Node]) {
    for node in nodes {
        until("a node knows the others", async || {
            let stats = node.get_as(ADMIN, "/v1/stats").await.json();
            (stats["nodes"]["others"].as_array().map(Vec::len) == Some(nodes.len() - 1)).then_some(())
        })
        .await;
    }
}

async fn resynced(node: &Node, token: &str, cursor: &str) {
    let mut late = join(node, token, "acme", &format!("instance_id=late&since={cursor}")).await;
    assert_eq!(late.resume()["outcome"], "resync", "{}", late.resume());
    let reason = late.expect("resync").await["data"]["reason"].clone();
    assert!(reason == "trimmed" || reason == "ahead", "{reason}");
    late.close().await;
}

/// Two nodes, one tenant erased at one of them while members are at both.
async fn erased_on_nats(issuer: &Issuer, url: &str, stores: &[std::path::PathBuf], more: &[(&str, &str)]) {
    let (a, b) = (on_nats(issuer, url, more).await, on_nats(issuer, url, more).await);
    hear_each_other(&[&a, &b]).await;
    let (acme, team) = (issuer.token(json!({"sub": "ada"})), issuer.token(json!({"tenant": "team-1"})));
    plant(&a, &acme, "acme", 40).await;
    plant(&b, &team, "team-1", 20).await;
    let before = everything(&a, &team, "team-1").await;
    let mut other = join(&b, &team, "team-1", "instance_id=other").await;
    let (_, key) = a.api_key(json!({"tenant": "acme", "label": SECRET})).await;
    let mut members =
        [join(&a, &acme, "acme", "instance_id=one").await, join(&b, &acme, "acme", "instance_id=two").await];
    let mut cursor = String::new();
    for member in &mut members {
        let ack = member.publish("note", json!({"text": SECRET})).await;
        ack["cursor"].as_str().expect("a cursor").clone_into(&mut cursor);
    }
    let place = begin(&a, ADMIN, "acme").await;
    for member in &mut members {
        assert_eq!(member.until_closed().await.code, Some(4013));
    }
    let report = done(&b, &place).await;
    nothing_left(&report);
    let removed = |name: &str| report["removed"][name].as_u64().unwrap_or_default();
    // 40 notes, 41 puts, a delete, two notes of members. The state of what was written last may still have been on its way.
    assert_eq!(removed("SYNC_LOG_0"), 84, "{report}");
    assert!((40..=41).contains(&removed("SYNC_STATE_0")), "{report}");
    assert!(removed("SYNC_KEPT") >= 3 && removed("registry") >= 1, "{report}");
    assert_eq!(report["nodes"].as_array().map(Vec::len), Some(2), "{report}");
    let other_events = everything(&b, &team, "team-1").await;
    assert_eq!(other_events, before);
    other.publish("note", json!({"after": true})).await;
    a.get_as(&acme, "/v1/tenants/acme/instances").await.problem(401, "tenant_erased");
    b.get_as(&key, "/v1/tenants/acme/instances").await.problem(401, "unauthenticated");
    let team_place = begin(&b, ADMIN, "team-1").await;
    other.until_closed().await;
    nothing_left(&done(&a, &team_place).await);
    for store in stores {
        assert_eq!(files_with(store, SECRET), Vec::<String>::new());
    }
    for node in [&a, &b] {
        let token = fresh(issuer, node, "acme").await;
        resynced(node, &token, &cursor).await;
        assert_eq!(everything(node, &token, "acme").await, (json!([]), json!([])));
    }
    let token = fresh(issuer, &a, "acme").await;
    let mut first = join(&a, &token, "acme", "instance_id=one").await;
    let cursor = first.publish("note", json!({"new": true})).await["cursor"].as_str().expect("a cursor").to_owned();
    let next = join(&b, &token, "acme", &format!("instance_id=two&since={cursor}")).await;
    assert_eq!(next.resume()["outcome"], "honoured", "{}", next.resume());
}

#[tokio::test]
async fn an_erased_tenant_leaves_nothing_behind_on_nats() {
    let (issuer, server) = (Issuer::new(), NatsServer::start().await);
    erased_on_nats(&issuer, &server.url(), &[server.store()], &[]).await;
}

#[tokio::test]
async fn an_erased_tenant_leaves_nothing_behind_on_three_servers() {
    let (issuer, cluster) = (Issuer::new(), NatsCluster::start().await);
    // Not in their files: what the servers told each other is kept by them until they next sum it up.
    erased_on_nats(&issuer, &cluster.urls(), &[], &[("nats.replicas", "3")]).await;
}

#[tokio::test]
async fn another_node_goes_on_with_an_erasure_whose_node_was_killed() {
    let (issuer, server) = (Issuer::new(), NatsServer::start().await);
    let (mut a, b) = (on_nats(&issuer, &server.url(), &[]).await, on_nats(&issuer, &server.url(), &[]).await);
    hear_each_other(&[&a, &b]).await;
    let token = issuer.token(json!({}));
    plant(&a, &token, "acme", 40).await;
    let place = begin(&a, ADMIN, "acme").await;
    a.kill9().await;
    // While it lasts nothing is taken, and it is said why.
    until("publishes are refused", async || {
        let event = json!({"event_type": "note", "instance_id": "x", "data": {}});
        let refused = b.ask(&token, "POST", "/v1/tenants/acme/events", &event).await;
        (refused.status == 409 && refused.json()["code"] == "tenant_erasing").then_some(())
    })
    .await;
    nothing_left(&done(&b, &place).await);
    assert_eq!(files_with(&server.store(), SECRET), Vec::<String>::new());
    let token = fresh(&issuer, &b, "acme").await;
    assert_eq!(everything(&b, &token, "acme").await, (json!([]), json!([])));
}

#[tokio::test]
async fn a_node_that_has_just_started_finds_out_who_is_there_before_it_says_that_all_have_let_go() {
    let (issuer, server) = (Issuer::new(), NatsServer::start().await);
    let a = on_nats(&issuer, &server.url(), &[]).await;
    let token = issuer.token(json!({}));
    plant(&a, &token, "acme", 3).await;
    let mut member = join(&a, &token, "acme", "instance_id=member").await;
    // Not heard while the other one starts, and far from gone.
    a.pause();
    let b = on_nats(&issuer, &server.url(), &[]).await;
    let place = begin(&b, ADMIN, "acme").await;
    until("the new node has had time to go on alone", async || {
        let stats = b.get_as(ADMIN, "/v1/stats").await.json();
        (stats["uptime_seconds"].as_u64() >= Some(5)).then_some(())
    })
    .await;
    assert_eq!(b.get(&place).await.json()["stage"], "closing");
    a.resume();
    assert_eq!(member.until_closed().await.code, Some(4013));
    let report = done(&b, &place).await;
    nothing_left(&report);
    let rooms: u64 =
        report["nodes"].as_array().expect("nodes").iter().filter_map(|node| node["removed"]["rooms"].as_u64()).sum();
    assert_eq!((report["nodes"].as_array().map(Vec::len), rooms), (Some(2), 1), "{report}");
}

/// What a node has queued, it does not bring back: whether it was cut off or was not even running.
async fn not_brought_back(is_restarted: bool) {
    let (issuer, server) = (Issuer::new(), NatsServer::start().await);
    let mut line = Line::to(server.address()).await;
    let (a, mut b) = (on_nats(&issuer, &server.url(), &[]).await, on_nats(&issuer, &line.url(), &[]).await);
    hear_each_other(&[&a, &b]).await;
    let (acme, team) = (issuer.token(json!({})), issuer.token(json!({"tenant": "team-1"})));
    let mut members = Vec::new();
    for (token, tenant, text) in [(&acme, "acme", SECRET), (&team, "team-1", "harmless")] {
        let mut member = join(&b, token, tenant, "instance_id=member").await;
        member.publish("note", json!({"text": text})).await;
        members.push((member, text));
    }
    line.snap().await;
    for (member, text) in &mut members {
        for number in 0..20 {
            let text = json!({"number": number, "text": text});
            member.send(json!({"event_type": "note", "event_id": new_id(), "data": text})).await;
            member.expect("queued").await;
        }
    }
    let place = begin(&a, ADMIN, "acme").await;
    // It waits for the node that is away until that counts as gone.
    nothing_left(&done(&a, &place).await);
    if is_restarted {
        b.kill9().await;
        line.heal().await;
        b.restart(Port::New).await;
    } else {
        line.heal().await;
        assert_eq!(members[0].0.until_closed().await.code, Some(4013));
    }
    b.until_metric("continuum_journal_bytes", |bytes| bytes == 0.0).await;
    // The other tenant's entries have arrived.
    let (events, _) = everything(&a, &team, "team-1").await;
    assert_eq!(events.as_array().map(Vec::len), Some(21));
    let token = fresh(&issuer, &a, "acme").await;
    assert_eq!(everything(&a, &token, "acme").await, (json!([]), json!([])));
    assert_eq!(b.metric("continuum_journal_dead").await, 0.0);
    let late = until("the other node takes the new token", async || {
        (b.get_as(&token, "/v1/tenants/acme/instances").await.status == 200).then_some(())
    });
    late.await;
    let event = json!({"event_type": "note", "instance_id": "x", "data": {"new": true}});
    assert_eq!(b.ask(&token, "POST", "/v1/tenants/acme/events", &event).await.status, 201);
    let (events, _) = everything(&a, &token, "acme").await;
    assert_eq!(events.as_array().map(Vec::len), Some(1));
    until("the secret is out of the journal's files", async || files_with(b.data(), SECRET).is_empty().then_some(()))
        .await;
}

#[tokio::test]
async fn a_node_that_was_cut_off_does_not_bring_an_erased_tenant_back() {
    not_brought_back(false).await;
}

#[tokio::test]
async fn a_node_that_was_down_does_not_bring_an_erased_tenant_back() {
    not_brought_back(true).await;
}
