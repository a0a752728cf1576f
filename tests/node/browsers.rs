//! What browsers are let do: origins on sockets and over HTTP alike, what is answered beforehand, the headers of every answer.

use crate::support::{
    Node, RawClient,
    http::{self, Response},
    issuer::Issuer,
    raw,
};

const LISTED: [&str; 2] = ["https://example.org", "http://localhost:3000"];

/// Everything that looks like a listed origin and is not one.
const STRANGERS: [&str; 20] = [
    "",
    "null",
    "*",
    "example.org",
    "http://example.org",
    "https://example.org:443",
    "https://example.org:8443",
    "https://example.org/",
    "https://example.org.evil.example",
    "https://evil.example/https://example.org",
    "https://evilexample.org",
    "https://sub.example.org",
    "https://user@example.org",
    "https://exampleXorg",
    "https://example.orgx",
    "HTTPS://EXAMPLE.ORG",
    "https://Example.org",
    "https://example.org, http://localhost:3000",
    "https://example.org http://localhost:3000",
    "http://localhost",
];

async fn node_with_list() -> Node {
    Node::start(&[("server.allowed_origins", &LISTED.join(","))]).await
}

/// The answer to an upgrade with these origins.
async fn knock(node: &Node, origins: &[&str]) -> Response {
    let request = raw::upgrade_request("tenant_id=t&instance_id=a", "13", Some(raw::KEY));
    let origins: String = origins.iter().map(|origin| format!("\r\nOrigin: {origin}")).collect();
    let request = request.replacen("\r\n", &format!("{origins}\r\n"), 1);
    RawClient::handshake(node.address(), &request).await.1
}

async fn ask(node: &Node, method: &str, target: &str, headers: &[(&str, &str)]) -> Response {
    http::send(node.address(), method, target, headers, b"").await
}

/// What a browser asks before a page may do something.
async fn preflight(node: &Node, origin: &str) -> Response {
    let headers = [
        ("Origin", origin),
        ("Access-Control-Request-Method", "PATCH"),
        ("Access-Control-Request-Headers", "authorization,if-match"),
    ];
    ask(node, "OPTIONS", "/v1/tenants/t/entities/note/n1", &headers).await
}

fn is_told_of_no_page(response: &Response) {
    let told = response.headers.iter().find(|(name, _)| name.starts_with("access-control-"));
    assert_eq!(told, None, "{response:?}");
}

#[tokio::test]
async fn with_a_list_only_its_origins_are_let_in_by_either_door_and_programs_without_one() {
    let node = node_with_list().await;
    for origin in STRANGERS {
        // It knocks at the name `localhost`: that origin is the node's own there.
        let status = if origin == "http://localhost" { 101 } else { 403 };
        assert_eq!(knock(&node, &[origin]).await.status, status, "{origin}");
        for response in [ask(&node, "GET", "/v1/stats", &[("Origin", origin)]).await, preflight(&node, origin).await] {
            response.problem(403, "origin_refused");
            is_told_of_no_page(&response);
            assert_eq!(response.header("vary"), Some("Origin"), "{origin}");
        }
    }
    for twice in [[LISTED[0], "https://evil.example"], ["https://evil.example", LISTED[0]], [LISTED[0], LISTED[0]]] {
        knock(&node, &twice).await.problem(403, "origin_refused");
        let headers = twice.map(|origin| ("Origin", origin));
        ask(&node, "GET", "/v1/stats", &headers).await.problem(403, "origin_refused");
    }
    for origin in LISTED {
        assert_eq!(knock(&node, &[origin]).await.status, 101, "{origin}");
        let response = ask(&node, "GET", "/v1/stats", &[("Origin", origin)]).await;
        assert_eq!((response.status, response.header("access-control-allow-origin")), (200, Some(origin)));
        assert_eq!(response.header("access-control-expose-headers"), Some("ETag, Retry-After, Location"));
        assert_eq!(response.header("access-control-allow-credentials"), None, "tokens go in a header of their own");
    }
    // The node's own pages are of its own scheme, name and port.
    let (own, host) = (node.http(), node.address());
    assert_eq!(ask(&node, "GET", "/v1/stats", &[("Origin", &own)]).await.status, 200);
    for origin in [format!("https://{host}"), format!("http://evil.{host}"), format!("{own}0"), host.to_string()] {
        ask(&node, "GET", "/v1/stats", &[("Origin", &origin)]).await.problem(403, "origin_refused");
    }
    assert_eq!(knock(&node, &[]).await.status, 101);
    let response = node.get("/v1/stats").await;
    assert_eq!(response.status, 200);
    is_told_of_no_page(&response);
}

#[tokio::test]
async fn a_listed_page_learns_beforehand_what_it_may_do_and_may_read_refusals_and_streams() {
    let node = node_with_list().await;
    let answer = preflight(&node, LISTED[0]).await;
    assert_eq!((answer.status, answer.body.len()), (204, 0));
    for (name, value) in [
        ("access-control-allow-origin", LISTED[0]),
        ("access-control-allow-methods", "GET, POST, PUT, PATCH, DELETE"),
        (
            "access-control-allow-headers",
            "Authorization, Content-Type, If-Match, If-None-Match, Idempotency-Key, Last-Event-ID",
        ),
        ("access-control-max-age", "3600"),
        ("vary", "Origin"),
    ] {
        assert_eq!(answer.header(name), Some(value), "{name}");
    }
    // Whoever asks without being a page is told what everybody is told.
    ask(&node, "OPTIONS", "/v1/stats", &[]).await.problem(405, "method_not_allowed");
    ask(&node, "OPTIONS", "/v1/stats", &[("Origin", LISTED[0])]).await.problem(405, "method_not_allowed");
    for target in
        ["/nowhere", "/v1/tenants/*/stats", "/v1/tenants/t/entities/note/none", "/v1/tenants/t/stream?since=x"]
    {
        let response = ask(&node, "GET", target, &[("Origin", LISTED[1])]).await;
        assert!(response.status >= 400, "{response:?}");
        assert_eq!(response.header("access-control-allow-origin"), Some(LISTED[1]), "{target}");
    }
    let request = format!("GET /v1/tenants/t/stream HTTP/1.1\r\nHost: localhost\r\nOrigin: {}\r\n\r\n", LISTED[0]);
    let stream = RawClient::open(node.address(), request.as_bytes()).await.answer().await;
    assert_eq!((stream.status, stream.header("access-control-allow-origin")), (200, Some(LISTED[0])));
    assert_eq!(stream.header("cache-control"), Some("no-store"));
}

#[tokio::test]
async fn without_a_list_only_pages_of_this_machine_may_use_a_node_that_asks_for_nothing() {
    let node = Node::start(&[]).await;
    let own = node.http();
    let other_port = format!("http://127.0.0.1:{}", node.address().port().wrapping_add(1));
    for origin in [own.as_str(), &other_port, "http://localhost", "https://localhost:3000", "http://[::1]:8000"] {
        let response = ask(&node, "GET", "/v1/stats", &[("Origin", origin)]).await;
        assert_eq!((response.status, response.header("access-control-allow-origin")), (200, Some(origin)));
        assert_eq!(preflight(&node, origin).await.status, 204);
        assert_eq!(knock(&node, &[origin]).await.status, 101, "{origin}");
    }
    let looks_like_it =
        ["http://localhost.evil.example", "http://127.0.0.1.evil.example", "http://localhost@evil.example"];
    for origin in STRANGERS.into_iter().filter(|origin| *origin != "http://localhost").chain(looks_like_it) {
        ask(&node, "GET", "/v1/stats", &[("Origin", origin)]).await.problem(403, "origin_refused");
        let response = preflight(&node, origin).await;
        response.problem(403, "origin_refused");
        is_told_of_no_page(&response);
        knock(&node, &[origin]).await.problem(403, "origin_refused");
    }
    // A page whose name was made to lead here asks as if it was the node's own.
    for name in ["evil.example", "localhost.evil.example:80", "localhost@evil.example", ""] {
        for (target, upgrade) in [("/v1/stats", ""), ("/ws/sync?tenant_id=t&instance_id=a", "Upgrade: websocket\r\n")] {
            let request = format!("GET {target} HTTP/1.1\r\nHost: {name}\r\n{upgrade}\r\n");
            let answer = RawClient::open(node.address(), request.as_bytes()).await.answer().await;
            assert!([403, 400, 426].contains(&answer.status), "{name}: {answer:?}");
        }
        let request = format!("GET /v1/stats HTTP/1.1\r\nHost: {name}\r\nOrigin: http://{name}\r\n\r\n");
        let answer = RawClient::open(node.address(), request.as_bytes()).await.answer().await;
        assert!([403, 400].contains(&answer.status), "{name}: {answer:?}");
    }
}

#[tokio::test]
async fn without_a_list_any_page_may_open_a_socket_where_it_has_to_show_a_token() {
    let issuer = Issuer::new();
    let node = issuer.node(&[]).await;
    for origin in STRANGERS.into_iter().chain(LISTED) {
        let response = ask(&node, "GET", "/healthz", &[("Origin", origin)]).await;
        assert_eq!(response.status, 200, "no browser shows it to a page, and programs may send anything");
        is_told_of_no_page(&response);
        let response = preflight(&node, origin).await;
        response.problem(403, "origin_refused");
        is_told_of_no_page(&response);
        assert_eq!(knock(&node, &[origin]).await.status, 101, "its first message is the token");
    }
}

#[tokio::test]
async fn every_answer_tells_a_browser_to_guess_run_frame_and_keep_nothing() {
    let node = node_with_list().await;
    let of_upgrade = |path: &str| raw::upgrade_request("", "13", Some(raw::KEY)).replace("/ws/sync", path);
    let answers = [
        node.get("/").await,
        node.get("/healthz").await,
        node.get("/metrics").await,
        node.get("/nowhere").await,
        node.get("/ws").await,
        node.get("/v1/tenants/t/events").await,
        node.get("/v1/tenants/t/events?limit=0").await,
        ask(&node, "TRACE", "/v1/stats", &[]).await,
        ask(&node, "GET", "/v1/stats", &[("Origin", "null")]).await,
        preflight(&node, LISTED[0]).await,
        knock(&node, &["null"]).await,
        RawClient::handshake(node.address(), &of_upgrade("/ws/sync")).await.1,
        RawClient::handshake(node.address(), &of_upgrade("/nowhere")).await.1,
    ];
    for answer in answers {
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("cache-control", "no-store"),
            ("referrer-policy", "no-referrer"),
            ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
            ("vary", "Origin"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{name} in {answer:?}");
        }
        assert_eq!(answer.header("strict-transport-security"), None, "there is no TLS to hold anybody to");
    }
}

#[tokio::test]
async fn the_pages_are_for_everybody_and_may_do_no_more_than_they_have_to() {
    let issuer = Issuer::new();
    let (open, shut) = (Node::start(&[]).await, issuer.node(&[]).await);
    for (node, path) in [(&open, "client"), (&open, "console"), (&shut, "client"), (&shut, "console")] {
        let page = node.get(&format!("/{path}")).await;
        assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
        let may = page.header("content-security-policy").expect("a policy");
        assert!(may.starts_with("default-src 'none';") && may.ends_with("frame-ancestors 'none'"), "{may}");
        assert!(!may.contains("unsafe") && !may.contains('*') && !may.contains("://"), "{may}");
        assert_eq!(page.header("x-content-type-options"), Some("nosniff"));

        let text = page.text();
        let files: Vec<_> =
            text.split(&format!("=\"{path}/")).skip(1).filter_map(|rest| rest.split('"').next()).collect();
        assert!(files.contains(&"script.js") && files.contains(&"style.css"), "{files:?}");
        for name in files {
            let file = node.get(&format!("/{path}/{name}")).await;
            assert_eq!(file.status, 200, "{name}");
            let policy = file.header("content-security-policy");
            assert_eq!(policy, Some("default-src 'none'; frame-ancestors 'none'"), "{name} is no page");
        }
        assert!(!text.contains("style=") && !text.contains("onclick=") && !text.contains("<script>"), "nothing inline");
        for name in ["page.html", "index.html", "..%2Fpage.html", "..%2Findex.html"] {
            node.get(&format!("/{path}/{name}")).await.problem(404, "not_found");
        }
    }
}
