//! Tenant ids at every door: what may be one is one everywhere, and what may not is nowhere.

use std::process::Command;

use serde_json::json;

use crate::{
    nats_support::{Admin, NatsServer},
    support::{Issuer, Node, RawClient, http, issuer::ADMIN, new_id, raw},
};

/// What is no tenant id, as text.
fn bad() -> Vec<String> {
    let long = "x".repeat(65);
    let all = [
        "",
        " ",
        "a b",
        " a",
        "a ",
        "a.b",
        ".",
        "..",
        "*",
        ">",
        "a*",
        "a>",
        "$SYS",
        "_INBOX.a",
        "a/b",
        "../acme",
        "a\\b",
        "~system",
        "~",
        "a\0",
        "a\r\nX-A: b",
        "a\tb",
        "\u{7f}",
        "é",
        "аcme",
        "🌗",
        "a%20b",
        "a=2Eb",
        "a,b",
        "a;b",
        "a\"b",
        "a'b",
        "<a>",
        "{a}",
        &long,
    ];
    all.map(str::to_owned).to_vec()
}

/// What is one.
const GOOD: [&str; 6] =
    ["a", "ACME", "acme", "_", "-", "0123456789-ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz"];

fn escaped(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

#[tokio::test]
async fn a_bad_tenant_id_is_refused_by_sockets_and_paths_and_a_good_one_is_taken_as_it_stands() {
    let node = Node::start(&[]).await;
    let upgrade = |path: &str, tenant: &str| {
        let request = raw::upgrade_request(&format!("tenant_id={tenant}&instance_id=a"), "13", Some(raw::KEY));
        request.replace("/ws/sync?", &format!("{path}?"))
    };
    for bad in bad() {
        let tenant = escaped(&bad);
        for path in ["/ws/sync", "/ws"] {
            let (_, answer) = RawClient::handshake(node.address(), &upgrade(path, &tenant)).await;
            answer.problem(400, "invalid_tenant");
        }
        node.get(&format!("/api/v4/ws/status?tenant_id={tenant}")).await.problem(400, "invalid_tenant");
        for (method, rest) in [
            ("GET", "events"),
            ("POST", "events"),
            ("GET", "stats"),
            ("GET", "instances"),
            ("GET", "snapshot"),
            ("GET", "stream"),
            ("GET", "conflicts"),
            ("POST", "operations"),
            ("GET", "entities/memory/m1"),
            ("PUT", "entities/memory/m1"),
        ] {
            let body = if method == "GET" { &b""[..] } else { b"{}" };
            let headers = [("Content-Type", "application/json")];
            let target = format!("/v1/tenants/{tenant}/{rest}");
            let answer = http::send(node.address(), method, &target, &headers, body).await;
            match bad.is_empty() {
                true => answer.problem(404, "not_found"),
                false => answer.problem(400, "invalid_tenant"),
            };
        }
        // In a message it is not the session's.
        if bad == "~system" {
            let mut client = node.join("t", "a").await;
            let error = client.refused(json!({"event_type": "note", "tenant_id": bad}).to_string()).await;
            assert_eq!(error["code"], "identity_mismatch");
        }
    }
    for good in GOOD {
        node.join(good, "a").await.publish("note", json!({"of": good})).await;
        let events = node.get(&format!("/v1/tenants/{}/events", escaped(good))).await.json();
        assert_eq!(events["events"].as_array().map(Vec::len), Some(1), "{good}: {events}");
        assert_eq!(events["events"][0]["data"]["of"], good);
    }
}

#[tokio::test]
async fn a_bad_tenant_id_is_refused_in_tokens_api_keys_and_on_the_command_line() {
    let issuer = Issuer::new();
    issuer.write(
        "[[issuer]]\nissuer = \"dev\"\naudience = \"continuum\"\ntenants = [\"*\"]\nadmin = \"system\"\n\
         [[issuer.key]]\nid = \"secret\"\nalgorithm = \"HS256\"\nfile = \"secret.public\"\n",
    );
    let node = issuer.node(&[]).await;
    let all = json!({"publish": ["*"], "subscribe": ["*"], "read": ["*"], "change": ["*"], "admin": "system"});
    let boss = issuer.token(json!({"grant": all}));
    for bad in bad() {
        let token = issuer.token(json!({"tenant": bad, "grant": all}));
        let problem = node.get_as(&token, "/v1/stats").await.problem(401, "unauthenticated");
        assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains("'tenant'")), "{bad:?}: {problem}");
        let request = raw::upgrade_request(&format!("instance_id=a&token={token}"), "13", Some(raw::KEY));
        let (mut client, _) = RawClient::handshake(node.address(), &request).await;
        assert_eq!(client.expect("error").await["data"]["code"], "unauthenticated", "{bad:?}");
        assert_eq!(client.until_closed().await.code, Some(4001));
        // Nor by somebody who may administer every tenant.
        for (target, body, code) in [
            ("/v1/admin/keys", json!({"tenant": bad}), "invalid_message"),
            ("/v1/admin/revocations", json!({"tenant": bad, "user": "ada"}), "invalid_tenant"),
        ] {
            for who in [&boss[..], ADMIN] {
                node.ask(who, "POST", target, &body).await.problem(400, code);
            }
        }
        if !bad.is_empty() {
            let target = format!("/v1/tenants/{}/events", escaped(&bad));
            node.get_as(&boss, &target).await.problem(400, "invalid_tenant");
        }
        // No system passes a zero byte in an argument.
        if bad.contains('\0') {
            continue;
        }
        let admin_key = issuer.path("admin.key");
        for command in [&["key", "create"][..], &["token", "revoke", "--user", "ada"]] {
            let done = Command::new(env!("CARGO_BIN_EXE_continuum"))
                .args(command)
                .arg(format!("--tenant={bad}"))
                .args(["--url", &node.http(), "--token-file"])
                .arg(&admin_key)
                .output()
                .expect("the binary can be started");
            let said = String::from_utf8_lossy(&done.stderr);
            assert!(!done.status.success() && !said.is_empty(), "{command:?} {bad:?}: {said}");
            assert!(done.stdout.is_empty(), "{command:?} {bad:?}");
        }
        let done = Command::new(env!("CARGO_BIN_EXE_continuum"))
            .args(["join", "--instance", "a", "--url"])
            .arg(format!("ws://{}", node.address()))
            .arg(format!("--tenant={bad}"))
            .args(["--token-file"])
            .arg(&admin_key)
            .stdin(std::process::Stdio::null())
            .output()
            .expect("the binary can be started");
        assert!(!done.status.success(), "{bad:?}: {}", String::from_utf8_lossy(&done.stderr));
    }
    let listed = node.get_as(ADMIN, "/v1/admin/keys").await.json();
    assert_eq!(listed["keys"], json!([]), "nothing was made");
    for good in GOOD {
        let token = issuer.token(json!({"tenant": good, "grant": all}));
        assert_eq!(node.get_as(&token, &format!("/v1/tenants/{good}/events")).await.status, 200);
    }
}

#[tokio::test]
async fn a_bad_tenant_id_in_a_subject_opens_no_room_and_stops_nobody() {
    let server = NatsServer::start().await;
    let url = server.url();
    let node =
        Node::start(&[("backbone.kind", "nats"), ("nats.urls", url.as_str()), ("log.retention_bytes", "0")]).await;
    let mut reader = node.join("acme", "reader").await;
    let admin = Admin::connect(&server.url()).await;
    // Those that can stand in a subject at all, as they are and as no id is written.
    for token in
        ["~system", "é", "a=2Eb", "a=2eb", "acme=20", "=61cme", "a%20b", "$SYS", "x.acme", "acme.acme", &"x".repeat(65)]
    {
        let body = json!({"event_type": "note", "event_id": new_id(), "tenant_id": "acme",
            "timestamp": "2026-01-01T00:00:00.000Z", "instance_id": "forger", "data": "planted"});
        let subject = format!("sync.log.0.{token}.event.note");
        admin.client().publish(subject, body.to_string().into()).await.expect("sent");
        admin.client().publish(format!("sync.signal.{token}"), "planted".into()).await.expect("sent");
    }
    admin.round_trip().await;
    node.join("acme", "writer").await.publish("note", json!("own")).await;
    assert_eq!(reader.record().await["data"], "own");
    reader.settle().await;
    let mut late = node.join_with("acme", "late", "since=earliest").await;
    assert_eq!(late.catch_up().await.len(), 1);
    let rooms = node.get("/v1/stats").await.text();
    assert!(!rooms.contains("planted"), "{rooms}");
}
