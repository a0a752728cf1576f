//! Who is let in with `auth.mode = token`, by which door, and for how long.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use continuum::{
    auth::Authority,
    config::{Config, Sources},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use crate::{
    nats_support::NatsServer,
    support::{
        Client, Issuer, Node, Port, RawClient,
        issuer::{ADMIN, Key, seconds},
        raw, until, within,
    },
};

const HERE: &str = "/v1/tenants/acme/instances";

/// A token whose parts are these texts.
fn forged(header: &Value, claims: &Value, signature: &[u8]) -> String {
    let part = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
    [part(header.to_string().as_bytes()), part(claims.to_string().as_bytes()), part(signature)].join(".")
}

fn good_claims() -> Value {
    json!({"iss": "dev", "aud": "continuum", "tenant": "acme", "exp": seconds(3600.0)})
}

#[tokio::test]
async fn good_tokens_of_every_algorithm_are_taken_and_every_bad_one_is_refused_with_its_reason() {
    let issuer = Issuer::new();
    let node = issuer.node(&[]).await;
    for key in Key::ALL {
        let token = issuer.token_by(key, json!({"sub": "ada"}));
        assert_eq!(node.get_as(&token, HERE).await.status, 200, "{key:?}");
        let list = issuer.token_by(key, json!({"aud": ["other", "continuum"]}));
        assert_eq!(node.get_as(&list, HERE).await.status, 200, "{key:?}");
    }
    let secret = issuer.path("secret.private");
    let of = |claims: Value| issuer.token(claims);
    let signed_as =
        |id: &str, algorithm: &str, key: &str| issuer.token_of("dev", id, algorithm, &issuer.path(key), json!({}));
    let good = of(json!({}));
    let none = json!({"alg": "none", "typ": "JWT"});
    let with_header = |more: Value| {
        let mut header = json!({"alg": "HS256", "kid": "secret"});
        header.as_object_mut().expect("an object").extend(more.as_object().cloned().expect("an object"));
        forged(&header, &good_claims(), b"nothing")
    };
    let without_exp = {
        let mut claims = good_claims();
        claims.as_object_mut().expect("an object").remove("exp");
        sign(&claims, &secret)
    };
    let bad = [
        (String::new(), "a token is needed"),
        ("nonsense".into(), "three parts"),
        ("a.b.c".into(), "base64url"),
        ("x".repeat(9_000), "too long"),
        ("cnt_1_2".into(), "an API key is"),
        (format!("cnt_{}_{}", "0".repeat(32), "0".repeat(64)), "no such API key"),
        (forged(&none, &good_claims(), b""), "'alg' is none that is used here"),
        (forged(&json!({"alg": "HS256", "kid": "secret"}), &good_claims(), b"x"), "signature"),
        (format!("{}x", good), "signature"),
        // The public key is no secret.
        (signed_as("rsa", "HS256", "rsa.public"), "'alg' is not the algorithm of this key"),
        (signed_as("secret", "RS256", "rsa.private"), "'alg' is not the algorithm of this key"),
        (signed_as("p256", "EdDSA", "ed25519.private"), "'alg' is not the algorithm of this key"),
        (signed_as("unknown", "HS256", "secret.private"), "'kid' names no key"),
        (signed_as("", "HS256", "secret.private"), "'kid' names no key"),
        // Another issuer has a key of this id.
        (signed_as("secret", "HS256", "other.secret"), "signature"),
        (issuer.token_of("other", "secret", "HS256", &secret, json!({"tenant": "elsewhere"})), "signature"),
        (with_header(json!({"jku": "http://127.0.0.1:1/keys", "x5u": "http://127.0.0.1:1/x"})), "signature"),
        (with_header(json!({"crit": ["b64"], "b64": false})), "crit"),
        (of(json!({"iss": "nobody"})), "'iss' names no issuer"),
        (of(json!({"iss": ["dev"]})), "'iss' must be a text"),
        (of(json!({"aud": "another"})), "'aud' does not hold"),
        (of(json!({"aud": 5})), "'aud'"),
        (without_exp, "'exp' is missing"),
        (of(json!({"exp": "9999999999"})), "'exp'"),
        (of(json!({"exp": null})), "'exp'"),
        (of(json!({"exp": seconds(-1.0)})), "expired"),
        (of(json!({"nbf": seconds(3600.0)})), "lies in the future"),
        (of(json!({"iat": seconds(3600.0)})), "lies in the future"),
        (of(json!({"nbf": "now"})), "'nbf' must be a number"),
        (of(json!({"tenant": "elsewhere"})), "may not speak for this tenant"),
        (of(json!({"tenant": null})), "'tenant' is missing"),
        (of(json!({"tenant": ["acme"]})), "'tenant' must be a text"),
        (of(json!({"tenant": "acme/../other"})), "'tenant'"),
        (of(json!({"sub": 7})), "'sub' must be a text"),
        (of(json!({"grant": "all"})), "'grant' is not a grant"),
        (of(json!({"grant": {"read": "memory"}})), "'grant' is not a grant"),
        (of(json!({"grant": {"reads": ["memory"]}})), "'grant' is not a grant"),
    ];
    for (token, reason) in bad {
        let start: String = token.chars().take(40).collect();
        let answer = match token.as_str() {
            "" => node.get(HERE).await,
            token => node.get_as(token, HERE).await,
        };
        let code = if reason == "expired" { "token_expired" } else { "unauthenticated" };
        let problem = answer.problem(401, code);
        let detail = problem["detail"].as_str().expect("a text");
        assert!(detail.contains(reason), "{start}: {detail}");
        assert!(token.is_empty() || !detail.contains(&token), "{detail}");
    }
}

fn sign(claims: &Value, secret: &std::path::Path) -> String {
    let key =
        jsonwebtoken::EncodingKey::from_secret(std::fs::read_to_string(secret).expect("a file").trim().as_bytes());
    let header = jsonwebtoken::Header { kid: Some("secret".into()), ..Default::default() };
    jsonwebtoken::encode(&header, claims, &key).expect("a token")
}

/// The next message, in whichever envelope: it is of this type.
async fn first_said(client: &mut RawClient, kind: &str) -> Value {
    let frame = client.next().await.expect("a frame");
    let message: Value = serde_json::from_slice(&frame.payload).unwrap_or_else(|_| panic!("{frame:?}"));
    assert!(message["event_type"] == kind || message["type"] == kind, "{message}");
    message
}

#[tokio::test]
async fn a_token_comes_in_by_every_door_and_two_that_differ_by_none() {
    let issuer = Issuer::new();
    let node = issuer.node(&[]).await;
    let token = issuer.token(json!({"sub": "ada", "instance": "a-*"}));
    for path in ["/ws/sync", "/ws"] {
        let request = |query: &str, headers: &str| {
            let version = "Host: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13";
            let key = raw::KEY;
            format!(
                "GET {path}?instance_id=a-1{query} HTTP/1.1\r\n{version}\r\nSec-WebSocket-Key: {key}\r\n{headers}\r\n"
            )
        };
        let bearer = format!("Authorization: Bearer {token}\r\n");
        let protocol = format!("Sec-WebSocket-Protocol: continuum.v1, bearer.{token}\r\n");
        for (query, headers) in [
            ("", bearer.as_str()),
            ("", &protocol),
            (&format!("&token={token}"), ""),
            (&format!("&token={token}"), &bearer),
        ] {
            let (mut client, answer) = RawClient::handshake(node.address(), &request(query, headers)).await;
            assert_eq!(answer.status, 101);
            let offered = headers.contains("continuum.v1").then_some("continuum.v1");
            assert_eq!(answer.header("sec-websocket-protocol"), offered);
            first_said(&mut client, "session_ready").await;
        }
        // In the first message, behind a ping.
        let (mut client, _) = RawClient::handshake(node.address(), &request("", "")).await;
        client.send(raw::PING, b"here?").await;
        assert_eq!(client.next().await.expect("a pong").payload, b"here?");
        client.send_json(&json!({"event_type": "auth", "type": "auth", "data": {"token": token}})).await;
        first_said(&mut client, "session_ready").await;
        let other = issuer.token(json!({"sub": "bob"}));
        let (_, answer) = RawClient::handshake(node.address(), &request(&format!("&token={other}"), &bearer)).await;
        answer.problem(401, "unauthenticated");
    }
    let target = format!("{HERE}?instance_id=a-1&token={token}");
    assert_eq!(node.get(&target).await.status, 200);
    let wrong = [("instance_id=b", "for this instance"), ("user_id=bob", "another user")];
    for (query, reason) in wrong {
        let problem = node.get(&format!("{HERE}?{query}&token={token}")).await.problem(403, "identity_mismatch");
        assert!(problem["detail"].as_str().expect("a text").contains(reason), "{problem}");
    }
    node.get(&format!("/v1/tenants/team-1/instances?token={token}")).await.problem(403, "identity_mismatch");
}

#[tokio::test]
async fn a_stranger_is_told_why_it_is_not_let_in_and_costs_the_others_nothing() {
    let issuer = Issuer::new();
    let node = issuer.node(&[("auth.first_message", "300ms")]).await;
    let good = issuer.token(json!({"instance": "a"}));
    for (path, query) in [("/ws/sync", "instance_id=a"), ("/ws", "")] {
        let open = async |more: &str| {
            let target = format!("{path}?{query}{more}");
            let request = raw::upgrade_request("", "13", Some(raw::KEY)).replace("/ws/sync?", &target);
            RawClient::handshake(node.address(), &request).await
        };
        // A bad token, another message, no message at all, what is no WebSocket.
        let (mut client, answer) = open("&token=nonsense").await;
        assert_eq!(answer.status, 101, "a page could not see why");
        assert_eq!(first_said(&mut client, "error").await["data"]["code"], "unauthenticated");
        assert_eq!(client.until_closed().await.code, Some(4001));
        let (mut client, _) = open("").await;
        client.send_json(&json!({"event_type": "note", "type": "note", "data": {}})).await;
        assert_eq!(first_said(&mut client, "error").await["data"]["code"], "unauthenticated");
        assert_eq!(client.until_closed().await.code, Some(4001));
        let (mut client, _) = open("").await;
        let error = first_said(&mut client, "error").await;
        assert!(error["data"]["message"].as_str().expect("a text").contains("no token came"), "{error}");
        assert_eq!(client.until_closed().await.code, Some(4001));
        let (mut client, _) = open("").await;
        client.write(&[0x81, 0x05, b'h', b'e', b'l', b'l', b'o']).await;
        assert_eq!(client.until_closed().await.code, Some(1002));
        let (mut client, _) = open("").await;
        client.write(&raw::header(0x81, 1 << 20)).await;
        assert_eq!(client.until_closed().await.code, Some(1009));
        let (mut client, _) = open(&format!("&token={good}")).await;
        first_said(&mut client, "session_ready").await;
    }
    node.until_metric("continuum_connections", |open| open <= 2.0).await;
}

#[tokio::test]
async fn a_session_ends_with_its_token_unless_it_was_renewed_and_so_do_a_stream_and_a_wait() {
    let issuer = Issuer::new();
    let node = issuer.node(&[("heartbeat.interval", "1s"), ("heartbeat.timeout", "60s")]).await;
    let short = || issuer.token(json!({"sub": "ada", "exp": seconds(2.5)}));
    let connect = async |instance: &str| node.join_with("acme", instance, &format!("token={}", short())).await;
    let (mut ends, mut renews) = (connect("ends").await, connect("renews").await);
    let mut stream = node.stream("acme", &format!("token={}", short())).await;
    let waits = format!("/v1/tenants/acme/events?after=latest&wait=30s&token={}", short());
    let waits = node.get(&waits);
    let gone = json!({"tenant": "acme", "token_id": "gone"});
    assert_eq!(node.ask(ADMIN, "POST", "/v1/admin/revocations", &gone).await.status, 201);
    // Another's token does not pass for a renewal, nor one that grants something else, nor a bad one.
    for (claims, code) in [
        (json!({"sub": "bob"}), "identity_mismatch"),
        (json!({"sub": "ada", "tenant": "team-1"}), "identity_mismatch"),
        (json!({"sub": "ada", "instance": "other"}), "identity_mismatch"),
        (json!({"sub": "ada", "grant": {"publish": ["*"]}}), "identity_mismatch"),
        (json!({"sub": "ada", "exp": seconds(-5.0)}), "token_expired"),
        (json!({"sub": "ada", "jti": "gone"}), "token_revoked"),
    ] {
        renews.send(json!({"event_type": "auth", "data": {"token": issuer.token(claims)}})).await;
        assert_eq!(renews.expect("error").await["data"]["code"], code);
    }
    let longer = issuer.token(json!({"sub": "ada", "exp": seconds(3600.0)}));
    renews.send(json!({"event_type": "auth", "data": {"token": longer}})).await;
    let taken = renews.expect("authenticated").await;
    assert!(taken["data"]["expires_at"].is_string(), "{taken}");
    assert_eq!(ends.expect("error").await["data"]["code"], "token_expired");
    assert_eq!(ends.until_closed().await.code, Some(4001));
    assert_eq!(stream.expect("error").await["code"], "token_expired");
    assert!(stream.next().await.is_none(), "the stream ends");
    waits.await.problem(401, "token_expired");
    // The one that was renewed goes on, however often it is.
    for _ in 0..100 {
        renews.send(json!({"event_type": "auth", "data": {"token": longer}})).await;
        renews.expect("authenticated").await;
    }
    renews.publish("note", json!({})).await;
}

#[tokio::test]
async fn what_is_revoked_ends_on_every_node_and_stays_revoked() {
    let (issuer, server) = (Issuer::new(), NatsServer::start().await);
    let url = server.url();
    let nats = [("backbone.kind", "nats"), ("nats.urls", url.as_str()), ("log.retention_bytes", "0")];
    // A stream looks at its token with each heartbeat too; here it has to be woken.
    let slow = [("heartbeat.interval", "10m"), ("heartbeat.timeout", "30m")];
    let settings = [&nats[..], &slow].concat();
    let (mut a, b) = (issuer.node(&settings).await, issuer.node(&settings).await);
    let (id, key) = a.api_key(json!({"tenant": "acme", "user": "ada", "label": "a laptop"})).await;
    // The other node knows it a moment later.
    until("the key opens the other node too", async || (b.get_as(&key, HERE).await.status == 200).then_some(())).await;
    let jti = issuer.token(json!({"jti": "t-1"}));
    let of_user = issuer.token(json!({"sub": "bob"}));
    let of_instance = issuer.token(json!({"instance": "worker"}));
    let any = issuer.token(json!({}));
    let mut sessions = Vec::new();
    for (instance, token) in [("by-key", &key), ("by-jti", &jti), ("by-user", &of_user), ("worker", &of_instance)] {
        sessions.push(b.join_with("acme", instance, &format!("token={token}")).await);
    }
    let mut stream = b.stream("acme", &format!("token={of_user}")).await;
    let mut stays = b.join_with("acme", "stays", &format!("token={}", issuer.token(json!({"sub": "eve"})))).await;
    assert_eq!(a.ask(ADMIN, "DELETE", &format!("/v1/admin/keys/{id}"), &Value::Null).await.status, 200);
    for what in [json!({"token_id": "t-1"}), json!({"user": "bob"}), json!({"instance": "worker"})] {
        let mut wanted = json!({"tenant": "acme"});
        wanted.as_object_mut().expect("an object").extend(what.as_object().cloned().expect("an object"));
        let answer = a.ask(ADMIN, "POST", "/v1/admin/revocations", &wanted).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
    }
    for session in &mut sessions {
        assert_eq!(session.expect("error").await["data"]["code"], "token_revoked");
        assert_eq!(session.until_closed().await.code, Some(4001));
    }
    assert_eq!(stream.expect("error").await["code"], "token_revoked");
    stays.publish("note", json!({})).await;
    // Who has the same name in another tenant is another.
    let elsewhere = issuer.token(json!({"tenant": "team-1", "sub": "bob", "jti": "t-1"}));
    for round in ["before", "after"] {
        for token in [&key, &jti, &of_user] {
            a.get_as(token, HERE).await.problem(401, "token_revoked");
            a.ask(token, "POST", "/v1/tickets", &Value::Null).await.problem(401, "token_revoked");
        }
        let theirs = a.get_as(&elsewhere, "/v1/tenants/team-1/instances?instance_id=worker").await;
        assert_eq!(theirs.status, 200, "{round}: {}", theirs.text());
        for instance in ["worker", "by-jti"] {
            let shown = if instance == "worker" { &any } else { &jti };
            let query = format!("tenant_id=acme&instance_id={instance}&token={shown}");
            let mut refused = Client::open(&a, &query).await;
            assert_eq!(refused.expect("error").await["data"]["code"], "token_revoked", "{round}: {instance}");
            assert_eq!(refused.until_closed().await.code, Some(4001));
        }
        a.get_as(&of_instance, &format!("{HERE}?instance_id=worker")).await.problem(401, "token_revoked");
        // Who may be any instance is not this one either.
        let event = json!({"event_type": "note", "instance_id": "worker", "data": {}});
        a.ask(&any, "POST", "/v1/tenants/acme/events", &event).await.problem(401, "token_revoked");
        let later = issuer.token(json!({"sub": "bob", "iat": seconds(2.0)}));
        assert_eq!(a.get_as(&later, HERE).await.status, 200, "{round}: what was issued later holds");
        a.restart(Port::New).await;
    }
    let listed = a.get_as(ADMIN, "/v1/admin/keys?tenant=acme").await.json();
    assert_eq!(listed["keys"][0]["label"], "a laptop", "{listed}");
    assert!(listed["keys"][0]["revoked_at"].is_string() && !listed.to_string().contains("hash"), "{listed}");
}

#[tokio::test]
async fn keys_are_administered_by_those_who_may_and_of_their_own_tenant_only() {
    let issuer = Issuer::new();
    let mut node = issuer.node(&[]).await;
    let (id, boss) = node.api_key(json!({"tenant": "acme", "grant": {"admin": "tenant"}})).await;
    // Its id is no secret, and not enough.
    let guessed = format!("cnt_{id}_{}", "0".repeat(64));
    node.get_as(&guessed, "/v1/admin/keys").await.problem(401, "unauthenticated");
    node.get_as(&guessed, HERE).await.problem(401, "unauthenticated");
    let (foreign, plain) = node.api_key(json!({"tenant": "team-1", "user": "ada"})).await;
    // An issuer gives no more than it has: this one may not administer anything.
    let token = issuer.token(json!({"grant": {"admin": "system"}}));
    for (token, code) in [(&plain, "forbidden"), (&token, "forbidden")] {
        node.get_as(token, "/v1/admin/keys").await.problem(403, code);
        let problem = node.ask(token, "POST", "/v1/admin/keys", &json!({"tenant": "team-1"})).await;
        assert_eq!(problem.problem(403, code)["detail"], "the grant 'admin' of the tenant is missing");
    }
    assert_eq!(node.get_as(&boss, "/v1/admin/keys").await.json()["keys"].as_array().map(Vec::len), Some(1));
    node.get_as(&boss, "/v1/admin/keys?tenant=team-1").await.problem(403, "forbidden");
    node.ask(&boss, "DELETE", &format!("/v1/admin/keys/{foreign}"), &Value::Null).await.problem(404, "not_found");
    node.ask(&boss, "POST", "/v1/admin/keys", &json!({"tenant": "team-1"})).await.problem(403, "forbidden");
    let more = json!({"tenant": "acme", "grant": {"admin": "system"}});
    node.ask(&boss, "POST", "/v1/admin/keys", &more).await.problem(403, "forbidden");
    node.ask(&boss, "POST", "/v1/admin/revocations", &json!({"tenant": "team-1", "user": "ada"}))
        .await
        .problem(403, "forbidden");
    for bad in
        [json!({"tenant": "acme", "grants": {}}), json!({"tenant": "a b"}), json!({"tenant": "acme", "expires_in": 5})]
    {
        node.ask(&boss, "POST", "/v1/admin/keys", &bad).await.problem(400, "invalid_message");
    }
    let own = node.ask(&boss, "POST", "/v1/admin/keys", &json!({"tenant": "acme", "expires_in": "1h"})).await;
    let own = own.json()["key"].as_str().expect("a key").to_owned();
    // Kept, across a crash, as a hash.
    node.kill9().await;
    node.restart(Port::New).await;
    assert_eq!(node.get_as(&own, HERE).await.status, 200);
    assert_eq!(node.get_as(&plain, "/v1/tenants/team-1/instances").await.status, 200);
    node.get_as(&plain, HERE).await.problem(403, "identity_mismatch");
}

#[tokio::test]
async fn an_api_key_ends_when_it_expires_and_so_does_what_is_open_under_it() {
    let issuer = Issuer::new();
    let node = issuer.node(&[]).await;
    let (_, key) = node.api_key(json!({"tenant": "acme", "expires_in": "3s"})).await;
    let mut session = node.join_with("acme", "a", &format!("token={key}")).await;
    session.publish("note", json!({})).await;
    assert_eq!(session.expect("error").await["data"]["code"], "token_expired");
    assert_eq!(session.until_closed().await.code, Some(4001));
    node.get_as(&key, HERE).await.problem(401, "token_expired");
}

#[tokio::test]
async fn a_node_that_does_not_know_what_was_revoked_lets_nobody_in() {
    let issuer = Issuer::new();
    let own = issuer.settings();
    let own: Vec<_> = own.iter().map(|(key, value)| (*key, value.as_str())).collect();
    // Nobody listens there.
    let away = [("backbone.kind", "nats"), ("nats.urls", "nats://127.0.0.1:1"), ("log.retention_bytes", "0")];
    let node = Node::start_unready(&[&own[..], &away].concat()).await;
    for (token, target) in [(issuer.token(json!({})).as_str(), HERE), (ADMIN, "/v1/stats")] {
        let problem = node.get_as(token, target).await.problem(503, "unavailable");
        assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains("not read yet")), "{problem}");
    }
}

#[test]
fn secrets_that_could_be_guessed_are_refused() {
    for file in ["secret.public", "admin.key"] {
        let issuer = Issuer::new();
        let open = || {
            let overrides = issuer.settings().map(|(key, value)| (key.to_owned(), value)).into_iter().collect();
            let config =
                Config::load(&Sources { overrides, ..Sources::default() }).expect("the settings are good").config;
            Authority::open(&config.auth).map(drop)
        };
        std::fs::write(issuer.path(file), "a secret of thirty-two bytes, aa\n").expect("a file");
        assert_eq!(open(), Ok(()));
        std::fs::write(issuer.path(file), "a secret of thirty-one bytes, a\n").expect("a file");
        let error = open().expect_err("it could be guessed");
        assert!(error.contains("fewer than 32 bytes") && error.contains(file) && !error.contains("thirty"), "{error}");
    }
}

#[tokio::test]
async fn a_ticket_is_good_once_on_whichever_node_and_ends_with_what_was_shown_for_it() {
    let (issuer, server) = (Issuer::new(), NatsServer::start().await);
    let url = server.url();
    let nats = [("backbone.kind", "nats"), ("nats.urls", url.as_str()), ("log.retention_bytes", "0")];
    let (a, b) = (issuer.node(&nats).await, issuer.node(&nats).await);
    let token =
        issuer.token(json!({"sub": "ada", "jti": "t-1", "instance": "a-*", "grant": {"publish": ["memory.*"]}}));
    let make = async || {
        let made = a.ask(&token, "POST", "/v1/tickets", &Value::Null).await;
        assert_eq!(made.status, 201, "{}", made.text());
        made.json()["ticket"].as_str().expect("a ticket").to_owned()
    };
    a.ask("nonsense", "POST", "/v1/tickets", &Value::Null).await.problem(401, "unauthenticated");
    // Of many who show it at once, on both nodes, one gets in.
    let ticket = make().await;
    let probe = make().await;
    until("the other node has heard of tickets", async || {
        let answer = b.get(&format!("/v1/tenants/acme/events?token={probe}")).await;
        (answer.status == 200).then_some(())
    })
    .await;
    let target = format!("/v1/tenants/acme/events?instance_id=a-1&token={ticket}");
    let all = (0..20).map(|n| if n % 2 == 0 { a.get(&target) } else { b.get(&target) });
    let answers = within("all answers", futures_util::future::join_all(all)).await;
    let mut statuses: Vec<_> = answers.iter().map(|answer| answer.status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
    assert!(statuses[1..].iter().all(|status| *status == 401), "{statuses:?}");
    // It is who asked for it, with what that may do, for as long as that holds.
    let mut session = a.join_with("acme", "a-1", &format!("token={}", make().await)).await;
    session.send(json!({"event_type": "note", "data": {}})).await;
    assert_eq!(session.expect("error").await["data"]["code"], "forbidden");
    session.publish("memory.x", json!({})).await;
    let foreign = a.get(&format!("/v1/tenants/team-1/events?token={}", make().await)).await;
    foreign.problem(403, "identity_mismatch");
    let what = json!({"tenant": "acme", "token_id": "t-1"});
    assert_eq!(a.ask(ADMIN, "POST", "/v1/admin/revocations", &what).await.status, 201);
    assert_eq!(session.expect("error").await["data"]["code"], "token_revoked");
    assert_eq!(session.until_closed().await.code, Some(4001));
}

/// A key server: what it serves, and how often it was asked.
async fn key_server(keys: Value) -> (String, Arc<std::sync::Mutex<Value>>, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}/keys", listener.local_addr().expect("an address"));
    let (keys, asked) = (Arc::new(std::sync::Mutex::new(keys)), Arc::new(AtomicUsize::new(0)));
    let (served, count) = (keys.clone(), asked.clone());
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::SeqCst);
            let body = served.lock().expect("not poisoned").to_string();
            let answer =
                format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len());
            let _ = socket.read(&mut [0; 4096]).await;
            let _ = socket.write_all(answer.as_bytes()).await;
        }
    });
    (url, keys, asked)
}

pub fn jwk(issuer: &Issuer, id: &str, key: Key) -> Value {
    let private = std::fs::read(issuer.path(&format!("{}.private", format!("{key:?}").to_lowercase()))).expect("a key");
    let (encoding, algorithm) = match key {
        Key::P256 => (jsonwebtoken::EncodingKey::from_ec_pem(&private), jsonwebtoken::Algorithm::ES256),
        _ => (jsonwebtoken::EncodingKey::from_ed_pem(&private), jsonwebtoken::Algorithm::EdDSA),
    };
    let jwk = jsonwebtoken::jwk::Jwk::from_encoding_key(&encoding.expect("a key"), algorithm).expect("a key");
    let mut jwk = serde_json::to_value(jwk).expect("JSON");
    jwk["kid"] = json!(id);
    jwk
}

#[tokio::test]
async fn keys_at_a_url_rotate_and_their_server_is_not_stampeded() {
    let issuer = Issuer::new();
    let secret = json!({"kty": "oct", "kid": "shared", "k": BASE64_URL_SAFE_NO_PAD.encode("a secret that is published is none")});
    let first = json!({"keys": [jwk(&issuer, "one", Key::P256), secret, {"kty": "new", "kid": "odd"}]});
    let (url, keys, asked) = key_server(first).await;
    issuer.write(&format!(
        "[[issuer]]\nissuer = \"dev\"\naudience = \"continuum\"\ntenants = [\"acme\"]\njwks_url = \"{url}\"\n"
    ));
    let node = issuer.node(&[]).await;
    let by = |id: &str, algorithm: &str, key: &str| issuer.token_of("dev", id, algorithm, &issuer.path(key), json!({}));
    let one = by("one", "ES256", "p256.private");
    // All at once, and the server hears of it once.
    let all = (0..200).map(|_| node.get_as(&one, HERE));
    let answers = within("all answers", futures_util::future::join_all(all)).await;
    assert!(answers.iter().all(|answer| answer.status == 200));
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    let shared = by("shared", "HS256", "secret.private");
    node.get_as(&shared, HERE).await.problem(401, "unauthenticated");
    // A new key beside the old one: found by the next token that names it, unless the server was asked within a minute.
    let two = by("two", "EdDSA", "ed25519.private");
    let both = json!({"keys": [jwk(&issuer, "one", Key::P256), jwk(&issuer, "two", Key::Ed25519)]});
    *keys.lock().expect("not poisoned") = both;
    let unknown = (0..100).map(|_| node.get_as(&two, HERE));
    let answers = within("all answers", futures_util::future::join_all(unknown)).await;
    assert!(answers.iter().all(|answer| answer.status == 401));
    assert_eq!(asked.load(Ordering::SeqCst), 1, "an unknown key id asks at most once a minute");
    // The issuers' file was changed, so everything is read anew.
    issuer.write(&format!(
        "# again\n[[issuer]]\nissuer = \"dev\"\naudience = \"continuum\"\ntenants = [\"acme\"]\njwks_url = \"{url}\"\n"
    ));
    until("the new key is known", async || (node.get_as(&two, HERE).await.status == 200).then_some(())).await;
    assert_eq!(node.get_as(&one, HERE).await.status, 200, "the old one still holds");
    assert_eq!(asked.load(Ordering::SeqCst), 2);
    // All taken back.
    *keys.lock().expect("not poisoned") = json!({"keys": []});
    issuer.write(&format!(
        "# once more\n[[issuer]]\nissuer = \"dev\"\naudience = \"continuum\"\ntenants = [\"acme\"]\njwks_url = \"{url}\"\n"
    ));
    until("no key is known", async || (node.get_as(&one, HERE).await.status == 401).then_some(())).await;
}

#[tokio::test]
async fn a_key_whose_file_is_written_anew_is_another_key() {
    let (issuer, next) = (Issuer::new(), Issuer::new());
    let node = issuer.node(&[]).await;
    let (old, new) = (issuer.token_by(Key::Ed25519, json!({})), next.token_by(Key::Ed25519, json!({})));
    assert_eq!(node.get_as(&old, HERE).await.status, 200);
    node.get_as(&new, HERE).await.problem(401, "unauthenticated");
    std::fs::copy(next.path("ed25519.public"), issuer.path("ed25519.public")).expect("a file");
    until("the new key is known", async || (node.get_as(&new, HERE).await.status == 200).then_some(())).await;
    node.get_as(&old, HERE).await.problem(401, "unauthenticated");
}

#[tokio::test]
async fn what_a_node_writes_holds_no_token_and_no_content() {
    let issuer = Issuer::new();
    let node = issuer.node(&[("logging.level", "trace")]).await;
    let token = issuer.token(json!({"sub": "ada"}));
    let (_, key) = node.api_key(json!({"tenant": "acme"})).await;
    let bad = format!("{token}x");
    let content = "a planted secret in a content";
    for shown in [&token, &key] {
        let mut client = node.join_with("acme", "a", &format!("token={shown}")).await;
        client.publish("note", json!({"text": content})).await;
        client.send(json!({"event_type": "auth", "data": {"token": bad}})).await;
        client.expect("error").await;
        client.send_text(format!("{{\"event_type\":\"note\",\"data\":{{\"text\":\"{content}\"}}")).await;
        client.expect("error").await;
        client.close().await;
    }
    for shown in [&token, &bad, &key] {
        node.get(&format!("{HERE}?token={shown}")).await;
        let event = json!({"event_type": "note", "instance_id": "a", "data": {"text": content}});
        node.ask(shown, "POST", "/v1/tenants/acme/events", &event).await;
    }
    let mut stranger = Client::open(&node, &format!("instance_id=a&token={bad}")).await;
    stranger.until_closed().await;
    let metrics = node.get("/metrics").await.text();
    let said = node.log().join("\n") + &metrics;
    assert!(said.contains("connected"), "there is something to look at");
    for secret in [&token, &key, ADMIN, content, "a planted secret that is long enough"] {
        assert!(!said.contains(secret), "{secret}");
    }
    // Nor does the store hold a key.
    let mut files = vec![node.data().to_owned()];
    while let Some(path) = files.pop() {
        match std::fs::read_dir(&path) {
            Ok(entries) => files.extend(entries.map(|entry| entry.expect("an entry").path())),
            Err(_) => {
                let bytes = std::fs::read(&path).unwrap_or_default();
                let secret = key.rsplit('_').next().expect("a secret").as_bytes();
                assert!(!bytes.windows(secret.len()).any(|window| window == secret), "{}", path.display());
            }
        }
    }
}
