//! The HTTP side: publishing, history, rosters, figures, probes, problems.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::{Node, http, new_id};

const EVENTS: &str = "/v1/tenants/t/events";

fn event(data: Value) -> Value {
    json!({"event_type": "note", "event_id": new_id(), "instance_id": "poster", "data": data})
}

#[tokio::test]
async fn one_event_is_stored_once_and_reaches_the_room() {
    let node = Node::start(&[]).await;
    let mut reader = node.join("t", "reader").await;
    let event = event(json!({"n": 1}));
    let stored = node.post(EVENTS, &event).await;
    assert_eq!(stored.status, 201);
    let answer = stored.json();
    let record = reader.record().await;
    assert_eq!((&answer["status"], &answer["duplicate"]), (&json!("stored"), &json!(false)));
    assert_eq!((&answer["seq"], &answer["event_id"]), (&record["seq"], &event["event_id"]));
    assert_eq!((&record["data"], &record["instance_id"]), (&json!({"n": 1}), &json!("poster")));
    let cursor = format!("{}.{}.{}", reader.ready()["data"]["epoch"].as_str().expect("epoch"), record["seq"], {
        &event["event_id"].as_str().expect("id")[..8]
    });
    assert_eq!(answer["cursor"], cursor);
    let again = node.post(EVENTS, &event).await;
    assert_eq!((again.status, &again.json()["status"]), (200, &json!("duplicate")));
    assert_eq!(again.json()["seq"], answer["seq"]);
}

#[tokio::test]
async fn a_list_is_answered_item_by_item() {
    let node = Node::start(&[]).await;
    let mut reader = node.join("t", "reader").await;
    let (first, second) = (event(json!(1)), event(json!(2)));
    let stored = node.post(EVENTS, &json!([first, second])).await;
    assert_eq!(stored.status, 201);
    let seqs: Vec<_> = stored.json()["results"].as_array().expect("results").iter().map(|r| r["seq"].clone()).collect();
    let records = reader.take(2).await;
    assert_eq!(seqs, records.iter().map(|record| record["seq"].clone()).collect::<Vec<_>>(), "in the list's order");
    assert_eq!(node.post(EVENTS, &json!([first, second])).await.status, 200);
    let bad_id = json!({"event_type": "note", "event_id": "7", "instance_id": "p"});
    let reserved = json!({"event_type": "resync", "event_id": new_id(), "instance_id": "p"});
    let mixed = node.post(EVENTS, &json!([event(json!(3)), first, bad_id, reserved, 7, {}])).await;
    assert_eq!(mixed.status, 207);
    let results = mixed.json()["results"].clone();
    let words: Vec<_> = results
        .as_array()
        .expect("results")
        .iter()
        .map(|item| (item["status"].clone(), item["error"]["code"].clone()))
        .collect();
    assert_eq!(
        json!(words),
        json!([
            ["stored", null],
            ["duplicate", null],
            ["refused", "invalid_event_id"],
            ["refused", "reserved_type"],
            ["refused", "invalid_message"],
            ["refused", "invalid_message"],
        ])
    );
    assert_eq!(results[3]["error"]["event_id"], reserved["event_id"]);
    assert_eq!(reader.record().await["data"], 3);
    assert_eq!(node.post(EVENTS, &json!([bad_id, bad_id])).await.status, 400);
    assert_eq!(node.post(EVENTS, &json!([])).await.json(), json!({"results": []}));
    reader.settle().await;
    assert_eq!(reader.records().len(), 3);
}

#[tokio::test]
async fn what_cannot_be_published_is_a_problem_with_its_code() {
    let node = Node::start(&[
        ("limits.max_message_bytes", "1000"),
        ("limits.http_body_bytes", "4000"),
        ("limits.events_per_request", "3"),
    ])
    .await;
    let deep = format!(r#"{{"event_type":"a","instance_id":"p","data":{}{}}}"#, "[".repeat(1000), "]".repeat(1000));
    let with = |field: &str, value: Value| {
        let mut event = event(json!(1));
        event[field] = value;
        event.to_string()
    };
    let cases: Vec<(Vec<u8>, u16, &str)> = vec![
        (b"".to_vec(), 400, "invalid_json"),
        (b"nonsense".to_vec(), 400, "invalid_json"),
        (b"[{]".to_vec(), 400, "invalid_json"),
        (b"{\"event_type\":\"\xff\"}".to_vec(), 400, "invalid_json"),
        (b"7".to_vec(), 400, "invalid_message"),
        (br#"{"event_type":"a"}"#.to_vec(), 400, "invalid_message"),
        (with("instance_id", json!("")).into(), 400, "invalid_instance"),
        (with("instance_id", json!("a\u{0}")).into(), 400, "invalid_instance"),
        (with("instance_id", json!(7)).into(), 400, "invalid_message"),
        (with("event_type", json!("a b")).into(), 400, "invalid_type"),
        (with("event_type", json!("ping")).into(), 400, "reserved_type"),
        (with("event_type", json!("ack")).into(), 400, "reserved_type"),
        (with("event_type", json!("session_ready")).into(), 400, "reserved_type"),
        (with("event_id", json!("x")).into(), 400, "invalid_event_id"),
        (with("tenant_id", json!("other")).into(), 403, "identity_mismatch"),
        (with("timestamp", json!("now")).into(), 400, "invalid_message"),
        (deep[..].into(), 400, "too_deep"),
        (with("data", json!("x".repeat(1000))).into(), 413, "too_large"),
        (vec![b' '; 4001], 413, "too_large"),
        (
            json!([event(json!(1)), event(json!(2)), event(json!(3)), event(json!(4))]).to_string().into(),
            413,
            "too_large",
        ),
    ];
    for (body, status, code) in cases {
        let start = String::from_utf8_lossy(&body[..body.len().min(120)]).into_owned();
        let answer = http::post(node.address(), EVENTS, &body).await;
        assert_eq!(answer.status, status, "{start}: {}", String::from_utf8_lossy(&answer.body));
        answer.problem(status, code);
    }
    for tenant in ["a.b", "%2A", "%3E", "%20", "%00", "%F0%9F%8C%97", &"x".repeat(65)] {
        for rest in ["events", "instances", "stats", "stream"] {
            node.get(&format!("/v1/tenants/{tenant}/{rest}")).await.problem(400, "invalid_tenant");
        }
        node.post(&format!("/v1/tenants/{tenant}/events"), &event(json!(1))).await.problem(400, "invalid_tenant");
    }
    assert_eq!(node.get(EVENTS).await.json()["events"], json!([]), "nothing of it was stored");
    assert_eq!(node.post(EVENTS, &event(json!(1))).await.status, 201);
}

#[tokio::test]
async fn the_pages_of_history_are_what_a_socket_sees() {
    let node = Node::start(&[]).await;
    let mut writer = node.join("t", "writer").await;
    // Another tenant's records lie between.
    let mut other = node.join("u", "writer").await;
    for number in 0..25 {
        writer.publish("note", json!({"number": number})).await;
        other.publish("note", json!({})).await;
    }
    let seen = node.join_with("t", "reader", "since=earliest").await.catch_up().await;
    assert_eq!(seen.len(), 25);
    for limit in [1, 7, 25, 1000] {
        let (mut pages, mut after) = (Vec::new(), "earliest".to_owned());
        loop {
            let page = node.get(&format!("{EVENTS}?after={after}&limit={limit}")).await.json();
            assert_eq!(page["resync"], Value::Null);
            let events = page["events"].as_array().expect("events");
            assert!(events.len() <= limit, "{limit}");
            pages.extend(events.iter().cloned());
            page["cursor"].as_str().expect("a cursor").clone_into(&mut after);
            if page["more"] == json!(false) {
                break;
            }
        }
        assert_eq!(pages, seen, "in pages of {limit}");
        let end = node.get(&format!("{EVENTS}?after={after}")).await.json();
        assert_eq!((&end["events"], &end["cursor"], &end["more"]), (&json!([]), &end["cursor"], &json!(false)));
        // The cursor of a page is good for a socket, too.
        let mut live = node.join_with("t", "reader", &format!("since={after}")).await;
        assert_eq!(live.catch_up().await.len(), 0);
    }
    let by_time = node.get(&format!("{EVENTS}?after=2000-01-01T00:00:00Z")).await.json();
    assert_eq!(by_time["events"].as_array(), Some(&seen));
    assert_eq!(node.get(&format!("{EVENTS}?after=latest")).await.json()["events"], json!([]));
    assert_eq!(node.get(EVENTS).await.json()["events"].as_array(), Some(&seen), "earliest is the default");
    for query in ["limit=0", "limit=1001", "limit=x", "limit=-1", "after=yesterday", "after=1.2.3.4"] {
        node.get(&format!("{EVENTS}?{query}")).await.problem(400, "invalid_parameter");
    }
}

#[tokio::test]
async fn a_page_after_a_cursor_that_cannot_be_honoured_says_so_and_starts_anew() {
    let node = Node::start(&[]).await;
    let mut writer = node.join("t", "writer").await;
    for number in 0..3 {
        writer.publish("note", json!({"number": number})).await;
    }
    let epoch = writer.ready()["data"]["epoch"].as_str().expect("epoch").to_owned();
    for (after, reason) in [
        ("0123456789abcdef.2".to_owned(), "other_epoch"),
        (format!("{epoch}.999"), "ahead"),
        (format!("{epoch}.2.00000000"), "mismatch"),
    ] {
        let page = node.get(&format!("{EVENTS}?after={after}")).await.json();
        let expected = json!({"reason": reason, "requested": after, "after": 0, "cursor": format!("{epoch}.0")});
        assert_eq!(page["resync"], expected);
        assert_eq!(page["events"].as_array().map(Vec::len), Some(3));
    }
}

#[tokio::test]
async fn the_roster_and_the_figures_are_those_of_the_room() {
    let node = Node::start(&[]).await;
    let instances = "/v1/tenants/t/instances";
    assert_eq!(node.get(instances).await.json(), json!({"instances": [], "instances_total": 0}));
    let mut a = node.join_with("t", "a", "capabilities=memory").await;
    let b = node.join("t", "b").await;
    let roster = node.get(instances).await.json();
    assert_eq!(roster["instances_total"], 2);
    assert_eq!(roster["instances"][0]["instance_id"], "a");
    assert_eq!(roster["instances"][0]["capabilities"], json!(["memory"]));
    assert_eq!(roster["instances"][1], a.expect("instance_joined").await["data"]);
    let ack = a.publish("memory_added", json!({})).await;
    let stats = node.get("/v1/tenants/t/stats").await.json();
    let state = json!({"total_concepts": 0, "total_messages": 1, "connected_instances": ["a", "b"]});
    assert_eq!((&stats["state"], &stats["position"], &stats["tenant_id"]), (&state, &ack["seq"], &json!("t")));
    assert_eq!(stats["total_connections"], 2);
    let stats = node.get("/v1/stats").await.json();
    assert_eq!((&stats["total_connections"], &stats["published"]), (&json!(2), &json!(1)));
    assert_eq!(stats["total_rooms"], json!(1));
    b.close().await;
    a.expect("instance_left").await;
    assert_eq!(node.get(instances).await.json()["instances_total"], 1);
}

#[tokio::test]
async fn the_probes_and_the_index_answer() {
    let mut node = Node::start(&[("drain.spread", "4s")]).await;
    assert_eq!(node.get("/healthz").await.json(), json!({"status": "alive"}));
    assert_eq!(node.get("/readyz").await.json(), json!({"status": "ready"}));
    let index = node.get("/").await.json();
    assert_eq!((&index["service"], &index["version"]), (&json!("continuum"), &json!(env!("CARGO_PKG_VERSION"))));
    for (name, link) in index["links"].as_object().expect("links") {
        let target = link.as_str().expect("a link").replace("{tenant}", "t").replace("{instance}", "a");
        let status = node.get(&target.replace("{type}", "note").replace("{id}", "n")).await.status;
        let expected = match name.as_str() {
            "rooms" => 426,
            // Only written to.
            "operations" => 405,
            // There is none.
            name if name.starts_with("entity") => 404,
            _ => 200,
        };
        assert_eq!(status, expected, "{name}");
    }
    // Somebody is still here: the node drains, lives, and is not ready.
    let mut client = node.join("t", "a").await;
    node.ask_to_stop();
    client.expect("draining").await;
    let ready = node.get("/readyz").await;
    assert_eq!((ready.status, ready.json()), (503, json!({"status": "draining"})));
    assert_eq!(node.get("/healthz").await.status, 200);
    let refused = node.post(EVENTS, &event(json!(1))).await;
    refused.problem(503, "draining");
    assert!(refused.header("retry-after").is_some());
    assert_eq!(client.until_closed().await.code, Some(1012));
    assert_eq!(node.ended().await.code(), Some(0));
}

#[tokio::test]
async fn the_metrics_parse_and_no_label_names_who_is_served() {
    let node = Node::start(&[]).await;
    let mut client = node.join("secret-tenant", "secret-instance").await;
    client.publish("secret.type", json!({})).await;
    client.refused("nonsense").await;
    client.close().await;
    let answer = node.get("/metrics").await;
    assert!(answer.header("content-type").is_some_and(|kind| kind.starts_with("application/openmetrics-text")));
    let text = answer.text();
    assert!(!text.contains("secret") && text.ends_with("# EOF\n"), "{text}");
    let mut names = BTreeSet::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line}"));
        assert!(value.parse::<f64>().is_ok(), "{line}");
        let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
        assert!(name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'), "{line}");
        for label in labels.trim_end_matches('}').split(',').filter(|label| !label.is_empty()) {
            let (label, _) = label.split_once('=').unwrap_or_else(|| panic!("{line}"));
            assert!(["outcome", "source", "code", "le", "version", "shard"].contains(&label), "{line}");
        }
        names.insert(name.to_owned());
    }
    for name in ["continuum_connections", "continuum_published_total", "continuum_append_seconds_count"] {
        assert!(names.contains(name), "{name} in {names:?}");
    }
    assert_eq!(node.metric("continuum_published_total").await, 1.0);
    assert_eq!(node.metric("continuum_refused_total").await, 1.0);
    assert!(node.metric("process_resident_memory_bytes").await > 0.0);
}

#[tokio::test]
async fn every_wrong_path_and_method_is_a_problem() {
    let node = Node::start(&[]).await;
    for path in ["/nothing", "/v1", "/v1/tenants", "/v1/tenants/t/nothing", "/healthz/", "//"] {
        for method in ["GET", "POST", "DELETE"] {
            http::send(node.address(), method, path, &[], b"").await.problem(404, "not_found");
        }
    }
    let tenants = ["stats", "instances", "stream"].map(|rest| format!("/v1/tenants/t/{rest}"));
    for path in ["/", "/healthz", "/readyz", "/metrics", "/v1/stats"].into_iter().chain(tenants.iter().map(|p| &**p)) {
        for method in ["POST", "PUT", "DELETE"] {
            let answer = http::send(node.address(), method, path, &[], b"").await;
            answer.problem(405, "method_not_allowed");
            assert_eq!(answer.header("allow"), Some("GET"), "{method} {path}");
        }
    }
    for method in ["PUT", "PATCH", "DELETE"] {
        http::send(node.address(), method, EVENTS, &[], b"").await.problem(405, "method_not_allowed");
    }
    // What a path says of itself is what is described of it.
    let description: Value = serde_json::from_str(include_str!("../../docs/openapi.json")).expect("JSON");
    for (path, described) in description["paths"].as_object().expect("paths") {
        let described = described.as_object().expect("an object");
        let known = ["GET", "POST", "PUT", "PATCH", "DELETE"];
        let has = known.into_iter().filter(|method| described.contains_key(&method.to_lowercase()));
        let target = path.replace("{tenant}", "t").replace("{type}", "a").replace(['{', '}'], "");
        let answer = http::send(node.address(), "TRACE", &target, &[], b"").await;
        answer.problem(405, "method_not_allowed");
        assert_eq!(answer.header("allow"), Some(&*has.collect::<Vec<_>>().join(", ")), "{path}");
    }
}
