//! Events followed over two nodes: what a collector of traces gets. The collector here speaks OTLP as JSON over HTTP.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::{
    cluster_presence::{nodes, on},
    nats_support::NatsServer,
    support::{
        Node, new_id,
        rules::{Rules, Say, nowhere},
        until,
    },
};

/// A collector, and where it is.
async fn collector() -> (Rules, String) {
    let rules = Rules::start(|_| Say::Json(json!({"partialSuccess": {}}))).await;
    let endpoint = rules.url().replace("/rules", "");
    (rules, endpoint)
}

/// What a collector has got: each span with the id of its node.
fn spans(collector: &Rules) -> Vec<(String, Value)> {
    let mut all = Vec::new();
    for asked in collector.asked() {
        assert!(asked.head.starts_with("POST /v1/traces HTTP/1.1\r\n"), "{}", asked.head);
        for resource in asked.question["resourceSpans"].as_array().expect("resources") {
            assert_eq!(attribute(&resource["resource"], "service.name"), "continuum");
            let node = attribute(&resource["resource"], "service.instance.id");
            let scopes = resource["scopeSpans"].as_array().expect("scopes").iter();
            let spans = scopes.flat_map(|scope| scope["spans"].as_array().expect("spans"));
            all.extend(spans.map(|span| (node.clone(), span.clone())));
        }
    }
    all
}

fn attribute(thing: &Value, key: &str) -> String {
    let attributes = thing["attributes"].as_array().expect("attributes");
    let found = attributes.iter().find(|attribute| attribute["key"] == key);
    let value = &found.unwrap_or_else(|| panic!("no {key} in {thing}"))["value"];
    let text = value["stringValue"].as_str().or(value["intValue"].as_str());
    text.expect("a text or a number").to_owned()
}

async fn id_of(node: &Node) -> String {
    node.get("/v1/stats").await.json()["nodes"]["id"].as_str().expect("an id").to_owned()
}

/// The span of a stage on a node, of this trace.
fn find<'a>(spans: &'a [(String, Value)], trace: &str, node: &str, name: &str) -> Option<&'a Value> {
    let is_it = |(at, span): &&(String, Value)| at == node && span["name"] == name && span["traceId"] == trace;
    spans.iter().find(is_it).map(|(_, span)| span)
}

#[tokio::test]
async fn an_event_is_one_trace_from_its_publish_to_its_delivery_on_another_node() {
    let server = NatsServer::start().await;
    let (collector, endpoint) = collector().await;
    let settings = [("telemetry.otlp_endpoint", endpoint.as_str()), ("telemetry.otlp_one_in", "1")];
    let [a, b] = nodes(&server, &settings).await;
    let (mut writer, mut reader) = (a.join("t", "writer").await, b.join("t", "reader").await);
    let (by_socket, by_request) = (new_id(), new_id());
    let ack = writer.publish_as(&by_socket, "note", json!({})).await;
    let event = json!({"event_type": "note", "event_id": by_request, "instance_id": "i", "data": {}});
    assert_eq!(a.post("/v1/tenants/t/events", &event).await.status, 201);
    reader.take(2).await;
    let (node_a, node_b) = (id_of(&a).await, id_of(&b).await);
    for id in [&by_socket, &by_request] {
        let (trace, all) = until("the collector has the event's spans of both nodes", async || {
            let all = spans(&collector);
            let feed = all.iter().find(|(node, span)| {
                *node == node_b && span["name"] == "feed" && attribute(span, "continuum.event_id") == *id
            });
            let trace = feed?.1["traceId"].as_str()?.to_owned();
            let names = [(&node_a, "publish"), (&node_a, "deliver"), (&node_b, "deliver")];
            names.iter().all(|(node, name)| find(&all, &trace, node, name).is_some()).then_some((trace, all))
        })
        .await;
        assert_eq!(trace.len(), 32);
        let span = |node: &str, name: &str| find(&all, &trace, node, name).expect("it is there");
        let publish = span(&node_a, "publish");
        assert_eq!((&publish["parentSpanId"], attribute(publish, "continuum.answer")), (&json!(""), "stored".into()));
        assert!(find(&all, &trace, &node_b, "publish").is_none(), "it was published on one node");
        for node in [&node_a, &node_b] {
            let (feed, deliver) = (span(node, "feed"), span(node, "deliver"));
            assert_eq!(feed["parentSpanId"], publish["spanId"]);
            assert_eq!(deliver["parentSpanId"], feed["spanId"]);
            assert_eq!(attribute(feed, "continuum.tenant"), "t");
            assert_eq!(attribute(deliver, "continuum.seq"), attribute(publish, "continuum.seq"));
            for span in [publish, feed, deliver] {
                let time = |key: &str| span[key].as_str().and_then(|text| text.parse::<u64>().ok()).expect("a time");
                assert!(time("startTimeUnixNano") <= time("endTimeUnixNano"), "{span}");
            }
        }
        assert_ne!(span(&node_a, "feed")["spanId"], span(&node_b, "feed")["spanId"]);
    }
    let traces: BTreeSet<_> = spans(&collector).into_iter().map(|(_, span)| span["traceId"].to_string()).collect();
    assert_eq!(traces.len(), 2, "each event is a trace of its own");
    assert_eq!(ack["seq"], 1);
}

#[tokio::test]
async fn nodes_follow_the_same_of_many_events() {
    let server = NatsServer::start().await;
    let (collector, endpoint) = collector().await;
    let settings = [("telemetry.otlp_endpoint", endpoint.as_str()), ("telemetry.otlp_one_in", "10")];
    let [mut a, mut b] = nodes(&server, &settings).await;
    let (mut writer, mut reader) = (a.join("t", "writer").await, b.join("t", "reader").await);
    for number in 0..200 {
        writer.publish("note", json!({"number": number})).await;
    }
    reader.take(200).await;
    let (node_a, node_b) = (id_of(&a).await, id_of(&b).await);
    // What waits is sent before a node ends.
    a.terminate().await;
    b.terminate().await;
    let all = spans(&collector);
    let of = |node: &str, name: &str| -> BTreeSet<String> {
        let of_it = all.iter().filter(|(at, span)| at == node && span["name"] == name);
        of_it.map(|(_, span)| span["traceId"].to_string()).collect()
    };
    let published = of(&node_a, "publish");
    assert!((1..80).contains(&published.len()), "one of ten: {}", published.len());
    assert_eq!(of(&node_b, "feed"), published);
    assert_eq!(of(&node_b, "deliver"), published);
}

#[tokio::test]
async fn a_collector_that_is_away_holds_nobody_up() {
    let endpoint = nowhere().await.replace("/rules", "");
    let settings = [("telemetry.otlp_endpoint", endpoint.as_str()), ("telemetry.otlp_one_in", "1")];
    let server = NatsServer::start().await;
    let node = Node::start(&on(&server.url(), &settings)).await;
    let mut member = node.join("t", "i").await;
    for number in 0..20 {
        member.publish("note", json!({"number": number})).await;
    }
    node.logs("the collector takes no traces").await;
    node.until_metric("continuum_spans_lost_total", |lost| lost >= 20.0).await;
    let told = node.log().iter().filter(|line| line.contains("the collector takes no traces")).count();
    assert_eq!(told, 1, "once, not for each");
}
