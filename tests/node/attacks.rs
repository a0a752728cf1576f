//! Requests and messages made to be read differently by two readers, or to cost far more than they bring.

use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::support::{Client, Issuer, Node, RawClient, http, issuer::ADMIN, raw};

const EVENTS: &str = "/v1/tenants/t/events";
const CLOSED: &str = "continuum_closed_total{code=\"4002\"}";
const JSON: [(&str, &str); 1] = [("Content-Type", "application/json")];

/// What stands behind each bad request: a node that reads on answers it.
const SMUGGLED: &str = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

#[tokio::test]
async fn a_request_that_two_readers_could_cut_differently_is_refused_and_nothing_behind_it_is_read() {
    let node = Node::start(&[]).await;
    let length = |value: &str| format!("Content-Length: {value}\r\n\r\n");
    let coding = |value: &str| format!("Transfer-Encoding: {value}\r\n\r\n0\r\n\r\n");
    let chunks = |body: &str| format!("Transfer-Encoding: chunked\r\n\r\n{body}");
    let heads = [
        ("a length and chunks", "Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_owned()),
        ("chunks and a length", "Transfer-Encoding: chunked\r\nContent-Length: 6\r\n\r\n0\r\n\r\n".to_owned()),
        ("two lengths", "Content-Length: 0\r\nContent-Length: 58\r\n\r\n".to_owned()),
        ("the same length twice", "Content-Length: 2\r\nContent-Length: 2\r\n\r\n[]".to_owned()),
        ("a list of lengths", length("0, 0")),
        ("a signed length", length("+0")),
        ("a negative length", length("-1")),
        ("a hexadecimal length", length("0x0")),
        ("a length with a blank in it", length("0 0")),
        ("a length beyond 64 bits", length("18446744073709551616")),
        ("an empty length", length("")),
        ("another coding", coding("xchunked")),
        ("chunks twice", coding("chunked, chunked")),
        ("chunks in something", coding("gzip, chunked")),
        ("chunks after a vertical tab", coding("\u{b}chunked")),
        ("two codings", "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n".to_owned()),
        ("a coding that says nothing", "Transfer-Encoding: identity\r\nContent-Length: 0\r\n\r\n".to_owned()),
        ("a blank before the colon", "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n".to_owned()),
        ("a folded line", "X-A: b\r\n Transfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n".to_owned()),
        ("a line folded by a tab", "Content-Length:\r\n\t0\r\n\r\n".to_owned()),
        ("a bare carriage return", "X-A: b\rTransfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n".to_owned()),
        ("a zero byte", "X-A: b\0c\r\nContent-Length: 0\r\n\r\n".to_owned()),
        ("a line without a colon", "Content-Length\r\nContent-Length: 0\r\n\r\n".to_owned()),
        ("two hosts", "Host: other\r\nContent-Length: 0\r\n\r\n".to_owned()),
        ("a chunk beyond 64 bits", chunks("10000000000000000\r\n")),
        ("a chunk of a negative size", chunks("-1\r\n[]\r\n0\r\n\r\n")),
        ("a chunk's size with a bare line feed", chunks("2\n[]\r\n0\r\n\r\n")),
        ("a line feed in a chunk's extension", chunks("2;a\nb\r\n[]\r\n0\r\n\r\n")),
        ("a chunk with a bare line feed behind it", chunks("2\r\n[]\n0\r\n\r\n")),
        ("a chunk that is longer than it says", chunks("2\r\n[ ]\r\n0\r\n\r\n")),
    ];
    for (what, rest) in heads {
        let request =
            format!("POST {EVENTS} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{rest}{SMUGGLED}");
        is_refused_alone(&node, what, request.as_bytes()).await;
    }
    for (what, request) in [
        ("no host", "GET /healthz HTTP/1.1\r\n\r\n"),
        ("chunks in HTTP/1.0", "POST / HTTP/1.0\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        ("another version", "GET /healthz HTTP/3.0\r\nHost: localhost\r\n\r\n"),
        ("HTTP/2 that nobody agreed on", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        ("a blank before the first header", "GET /healthz HTTP/1.1\r\n Host: localhost\r\n\r\n"),
        ("a blank in the target", "GET /health z HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    ] {
        is_refused_alone(&node, what, format!("{request}{SMUGGLED}").as_bytes()).await;
    }
    let events = node.get(EVENTS).await.json();
    assert_eq!(events["events"], json!([]), "none of them did anything");
}

/// There is one answer, which is a refusal, and then the end.
async fn is_refused_alone(node: &Node, what: &str, request: &[u8]) {
    let mut client = RawClient::open(node.address(), request).await;
    let said = client.rest().await;
    let text = String::from_utf8_lossy(&said);
    assert!(text.starts_with("HTTP/1.1 400"), "{what}: {text:?}");
    assert_eq!(text.matches("HTTP/1.1 ").count(), 1, "{what}: {text:?}");
    // What the framework refuses by itself has no body; what comes to a handler is a problem.
    let answer = http::read_response(&mut &said[..], &mut Vec::new()).await.expect("a whole answer");
    assert!(answer.body.is_empty() || answer.json()["code"] == "invalid_json", "{what}: {text:?}");
}

#[tokio::test]
async fn lines_that_end_with_a_bare_line_feed_are_lines_and_nothing_else() {
    let node = Node::start(&[]).await;
    // RFC 9112, 2.2: a reader may take it for the end of a line. Then it has to do so everywhere in a head.
    let request = "GET /healthz HTTP/1.1\nHost: localhost\nConnection: close\n\n";
    let said = RawClient::open(node.address(), request.as_bytes()).await.rest().await;
    assert!(said.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&said));
    let request = format!(
        "POST {EVENTS} HTTP/1.1\r\nHost: localhost\r\nX-A: b\nTransfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n{SMUGGLED}"
    );
    is_refused_alone(&node, "a coding behind a bare line feed, and a length", request.as_bytes()).await;
}

/// Somebody goes about their business as long as something else takes.
async fn beside(other: &mut Client, attack: impl Future<Output = ()>) {
    let (done, is_done) = watch::channel(false);
    let attack = async {
        attack.await;
        done.send_replace(true);
    };
    let works = async {
        while !*is_done.borrow() {
            other.publish("note", json!({})).await;
        }
    };
    tokio::join!(attack, works);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eight_megabytes_of_newlines_are_refused_at_every_door() {
    let node = Node::start(&[("limits.max_message_bytes", "8388608")]).await;
    let mut other = node.join("t", "other").await;
    let lines = "\n".repeat(8 << 20);
    let doors = [
        ("POST", EVENTS),
        ("POST", "/v1/tenants/t/operations"),
        ("PUT", "/v1/tenants/t/entities/memory/m1"),
        ("PATCH", "/v1/tenants/t/entities/memory/m1"),
    ];
    let over_http = async {
        let all = doors.iter().map(async |(method, target)| {
            let answer = http::send(node.address(), method, target, &JSON, lines.as_bytes()).await;
            answer.problem(400, "invalid_json");
        });
        join_all(all).await;
    };
    beside(&mut other, over_http).await;
    let as_messages = async {
        let mut client = node.join("t", "a").await;
        for _ in 0..3 {
            assert_eq!(client.refused(lines.clone()).await["code"], "invalid_json");
        }
        // And between the parts of a message that is none.
        let padded = format!("{{{}", &lines[..(8 << 20) - 1]);
        assert_eq!(client.refused(padded).await["code"], "invalid_json");
        client.close().await;
    };
    beside(&mut other, as_messages).await;
    // In the place of a request: what is before it may be an empty line or two, and not a stream of them.
    let mut client = RawClient::open(node.address(), b"").await;
    client.write(lines.as_bytes()).await;
    let said = client.rest().await;
    assert!(said.is_empty() || said.starts_with(b"HTTP/1.1 4"), "{}", String::from_utf8_lossy(&said));
    other.publish("note", json!({})).await;
}

#[tokio::test]
async fn json_that_nests_too_deeply_is_refused_at_every_door() {
    let issuer = Issuer::new();
    let node = issuer.node(&[]).await;
    let token = issuer.token(json!({"sub": "ada"}));
    let deep = "[".repeat(1_000_000);
    let within = format!("{{\"data\":{}{}}}", "[".repeat(50_000), "]".repeat(50_000));
    let acme = |rest: &str| format!("/v1/tenants/acme/{rest}");
    let doors = [
        (&token[..], "POST", acme("events")),
        (&token, "POST", acme("operations")),
        (&token, "PUT", acme("entities/memory/m1")),
        (&token, "PATCH", acme("entities/memory/m1")),
        (ADMIN, "POST", "/v1/admin/keys".into()),
        (ADMIN, "POST", "/v1/admin/revocations".into()),
    ];
    for (token, method, target) in doors {
        for body in [&deep, &within] {
            let bearer = format!("Bearer {token}");
            let headers = [("Authorization", bearer.as_str()), JSON[0]];
            let answer = http::send(node.address(), method, &target, &headers, body.as_bytes()).await;
            let code = answer.json()["code"].as_str().expect("a code").to_owned();
            assert!(["too_deep", "invalid_json", "invalid_message"].contains(&&*code), "{method} {target}: {code}");
            answer.problem(400, &code);
        }
    }
    // By a session, in either envelope.
    for path in ["ws/sync", "ws"] {
        let mut member = Client::open_on(node.address(), path, &format!("token={token}&instance_id=deep")).await;
        let data = format!("{}{}", "[".repeat(100), "]".repeat(100));
        member.send_text(format!("{{\"type\":\"note\",\"event_type\":\"note\",\"data\":{data}}}")).await;
        assert_eq!(member.expect("error").await["data"]["code"], "too_deep", "{path}");
    }
    // Before anybody knows who it is, too.
    let request = raw::upgrade_request("tenant_id=acme&instance_id=a", "13", Some(raw::KEY));
    let (mut stranger, _) = RawClient::handshake(node.address(), &request).await;
    let first = format!("{{\"event_type\":\"auth\",\"data\":{}", "[".repeat(10_000));
    stranger.send(raw::TEXT, first.as_bytes()).await;
    assert_eq!(stranger.expect("error").await["data"]["code"], "too_deep");
    assert_eq!(stranger.until_closed().await.code, Some(4001));
    let (mut stranger, _) = RawClient::handshake(node.address(), &request).await;
    stranger.write(&raw::header(0x80 | raw::TEXT, u64::MAX)).await;
    assert_eq!(stranger.until_closed().await.code, Some(1009));
    node.join_with("acme", "a", &format!("token={token}")).await.publish("note", json!({})).await;
}

/// Sends one message after the other, until the node closes the connection.
async fn flood(client: &mut Client, message: impl Fn(usize) -> Value) {
    let mut sent = 0;
    while sent < 100_000 && client.try_send(message(sent)).await {
        sent += 1;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_presence_ends_its_connection_and_others_hear_no_more_than_its_budget() {
    let node = Node::start(&[("limits.signals_per_minute", "60")]).await;
    let kinds = ["user.presence", "selection.change", "typing", "signal.any", "gonzai.focus"];
    for (number, kind) in kinds.into_iter().enumerate() {
        let mut other = node.join(kind.split('.').next().expect("a word"), "other").await;
        let tenant = other.ready()["tenant_id"].as_str().expect("a tenant").to_owned();
        let mut flooder = Client::typed(node.address(), &format!("tenant_id={tenant}&instance_id=flooder")).await;
        let data = |sent: usize| json!({"status": format!("{sent}"), "nodes": [format!("{sent}")]});
        beside(&mut other, flood(&mut flooder, |sent| json!({"type": kind, "id": "f", "data": data(sent)}))).await;
        // What it was told may be lost to it: it was still sending when the node had closed.
        flooder.until_closed().await;
        node.until_metric(CLOSED, |closed| closed == (number + 1) as f64).await;
        other.settle().await;
        let heard = other.seen_of(kind).count();
        assert!(heard <= 120, "{kind}: {heard}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_subscriptions_ends_its_connection_and_others_work_on() {
    let node = Node::start(&[("limits.control_per_minute", "60")]).await;
    let mut other = node.join("t", "other").await;
    let follow = |sent: usize, what: Value| {
        let mut data = json!({"subscription": format!("s{sent}")});
        data.as_object_mut().expect("an object").extend(what.as_object().cloned().expect("an object"));
        json!({"type": "subscribe", "id": "f", "data": data})
    };
    let costly = json!({"query": {"entity_type": "memory", "where": "text.contains('x') || text.contains('y')"}});
    let all = [json!({"ids": ["n1"]}), costly, json!({"region": {"node": "n1", "hops": 3}})];
    for (number, what) in all.into_iter().enumerate() {
        let mut flooder = Client::typed(node.address(), "tenant_id=t&instance_id=flooder").await;
        beside(&mut other, flood(&mut flooder, |sent| follow(sent, what.clone()))).await;
        flooder.until_closed().await;
        node.until_metric(CLOSED, |closed| closed == (number + 1) as f64).await;
    }
}
