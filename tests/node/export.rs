//! A tenant that moves: what was exported from one log stands in another, and a file that is not whole leaves nothing.

mod room;
mod under_way;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::{io::AsyncWriteExt as _, net::TcpSocket};

use self::room::{Cast, LAST, events, plant, without_positions};
use crate::{
    nats_support::NatsServer,
    support::{Client, Issuer, Node, http, issuer::ADMIN, new_id},
};

const EXPORT: &str = "/v1/tenants/acme/export";
const IMPORT: &str = "/v1/tenants/acme/import";

fn on(url: &str) -> Vec<(&str, &str)> {
    vec![("backbone.kind", "nats"), ("nats.urls", url), ("log.retention_bytes", "0")]
}

async fn send(
    node: &Node,
    token: &str,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> http::Response {
    let bearer = format!("Bearer {token}");
    let headers = [&[("Authorization", bearer.as_str())], headers].concat();
    http::send(node.address(), method, target, &headers, body.as_bytes()).await
}

async fn import(node: &Node, token: &str, file: &str) -> http::Response {
    send(node, token, "POST", IMPORT, &[("Content-Type", "application/x-ndjson")], file).await
}

async fn export(node: &Node) -> String {
    let answer = node.get_as(ADMIN, EXPORT).await;
    assert_eq!(
        (answer.status, answer.header("content-type")),
        (200, Some("application/x-ndjson")),
        "{}",
        answer.text()
    );
    answer.text()
}

async fn imported(node: &Node, file: &str) -> Value {
    let answer = import(node, ADMIN, file).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

/// The same file with another word, and with its digest made anew if the change is to be believed.
fn resealed(file: &str) -> String {
    let lines: Vec<_> = file.lines().collect();
    let (end, before) = lines.split_last().expect("lines");
    let before: String = before.iter().map(|line| format!("{line}\n")).collect();
    let mut end: Value = serde_json::from_str(end).expect("JSON");
    end["sha256"] = format!("{:x}", Sha256::digest(&before)).into();
    format!("{before}{end}\n")
}

fn entity(path: &str) -> String {
    format!("/v1/tenants/acme/entities/{path}")
}

async fn write(node: &Node, token: &str, method: &str, path: &str, id: &str, content: Value) -> Value {
    let kind = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
    let headers = [("Content-Type", kind), ("Idempotency-Key", id)];
    let body = if method == "DELETE" { String::new() } else { content.to_string() };
    let answer = send(node, token, method, &entity(path), &headers, &body).await;
    let waits = answer.status == 409 && answer.json()["code"] == "conflict_pending";
    assert!(waits || [200, 201].contains(&answer.status), "{method} {path}: {} {}", answer.status, answer.text());
    answer.json()
}

async fn join(node: &Node, token: &str, query: &str) -> Client {
    Client::connect_to(node.address(), &format!("token={token}&tenant_id=acme&{query}")).await
}

/// A tenant goes from one node to the other, and is there what it was.
async fn moves(from: &Node, to: &Node, cast: &Cast) {
    let cursor = plant(from, cast).await;
    let file = export(from).await;
    let done = imported(to, &file).await;
    assert_eq!(
        (&done["events"], &done["entities"], &done["already_there"]),
        (&json!(4), &json!(7), &json!(0)),
        "{done}"
    );
    let again = export(to).await;
    assert_eq!(without_positions(&again), without_positions(&file));
    assert_eq!(events(&again), events(&file));
    assert!(events(&again)[1].contains(r#"{ "z" : 1e2,"a":"\u00e9\ud83c\udf17 \n",   "n":12345678901234567890 }"#));

    // Nothing is made twice of the same file.
    let repeated = imported(to, &file).await;
    assert_eq!((&repeated["already_there"], &repeated["events"]), (&json!(11), &json!(4)), "{repeated}");
    assert_eq!(without_positions(&export(to).await), without_positions(&file));

    // Whoever comes with a cursor of the old log is told, and gets everything.
    let mut ada = join(to, &cast.ada, &format!("instance_id=ada-2&since={cursor}")).await;
    assert_eq!(ada.resume()["outcome"], "resync", "{}", ada.resume());
    let texts: Vec<_> = ada.catch_up().await.iter().map(|record| record["data"]["text"].clone()).collect();
    assert!(texts.contains(&json!("one")) && texts.contains(&json!("last")), "{texts:?}");

    // Privacy holds.
    for (token, own, other) in [(&cast.ada, "of-ada", "of-bob"), (&cast.bob, "of-bob", "of-ada")] {
        assert_eq!(to.get_as(token, &entity(&format!("memory/{own}"))).await.status, 200);
        to.get_as(token, &entity(&format!("memory/{other}"))).await.problem(404, "not_found");
        let state = to.get_as(token, "/v1/tenants/acme/snapshot").await.text();
        assert!(state.contains(own) && !state.contains(other), "{state}");
        let log = to.get_as(token, "/v1/tenants/acme/events?limit=1000&after=earliest").await.text();
        assert!(log.contains(own) && !log.contains(other), "{log}");
    }
    to.get_as(&cast.ada, &entity("note/gone")).await.problem(410, "deleted");

    // What was applied is known by its id, and what was published too.
    let repeat = write(to, &cast.bob, "PATCH", "note/n1?instance_id=bob-1", "patch-n1", json!({"title": "two"})).await;
    let head = to.get_as(&cast.ada, &entity("note/n1")).await.json();
    assert_eq!((&repeat["version"], &head["data"]["title"]), (&head["version"], &json!("two")), "{repeat}");
    let mut first = join(to, &cast.ada, "instance_id=ada-1").await;
    assert_eq!(first.publish_as(LAST, "memory_added", json!({"text": "last"})).await["duplicate"], true);

    // What waits for somebody waits here, and can be settled.
    let open = to.get_as(&cast.bob, "/v1/tenants/acme/conflicts").await.json();
    let note = to.get_as(&cast.bob, &entity("note/c")).await.json();
    assert_eq!(note["conflicts"].as_array().map(Vec::len), Some(1), "{note} {open}");
    assert_eq!(to.get_as(&cast.bob, &entity("note/v")).await.json()["variants"].as_array().map(Vec::len), Some(1));
    let conflict = note["conflicts"][0]["conflict_id"].as_str().expect("an id");
    let settle = entity(&format!("note/c/conflicts/{conflict}?instance_id=bob-1"));
    let settled = to.ask(&cast.bob, "POST", &settle, &json!({"choice": "proposed"})).await;
    assert_eq!(settled.status, 200, "{}", settled.text());
    assert_eq!(to.get_as(&cast.bob, &entity("note/c")).await.json()["data"]["t"], 2);

    // An edit on what stands is no clash, one of a version before it is told as such.
    let on = format!("note/n1?instance_id=ada-9&base_version={}", head["version"]);
    let edit = write(to, &cast.ada, "PATCH", &on, &new_id(), json!({"title": "three"})).await;
    assert_eq!(edit["outcome"], "confirmed", "{edit}");
    // And now that it has gone on, it is not the file's any more.
    import(to, ADMIN, &file).await.problem(409, "tenant_not_empty");
}

#[tokio::test]
async fn a_tenant_moves_from_an_embedded_log_to_nats() {
    let (issuer, server) = (Issuer::new(), NatsServer::start().await);
    let (from, to) = (issuer.node(&[]).await, issuer.node(&on(&server.url())).await);
    moves(&from, &to, &Cast::of(&issuer)).await;
}

#[tokio::test]
async fn a_tenant_moves_from_nats_to_an_embedded_log() {
    let (issuer, server) = (Issuer::new(), NatsServer::start().await);
    let (from, to) = (issuer.node(&on(&server.url())).await, issuer.node(&[]).await);
    moves(&from, &to, &Cast::of(&issuer)).await;
}

#[tokio::test]
async fn a_file_that_is_not_whole_leaves_nothing() {
    let issuer = Issuer::new();
    let (from, to) = (issuer.node(&[]).await, issuer.node(&[("limits.max_message_bytes", "2000")]).await);
    plant(&from, &Cast::of(&issuer)).await;
    let file = export(&from).await;
    let lines: Vec<_> = file.lines().collect();
    let swap = |from: &str, to: &str| {
        assert!(file.contains(from), "{from} in {file}");
        resealed(&file.replacen(from, to, 1))
    };
    let deep = "[".repeat(70) + &"]".repeat(70);
    let long = "x".repeat(9_000);
    let cases = [
        (String::new(), "no header"),
        ("hello\n".to_owned(), "line 1"),
        (lines[1..].join("\n"), "no header"),
        (lines[..lines.len() - 1].join("\n"), "cut off"),
        (file[..file.len() / 2].to_owned(), "line"),
        (file.replacen("Once", "Ance", 1), "SHA-256"),
        (file.replacen(&format!("{}\n", lines[3]), "", 1), "SHA-256"),
        (swap(&format!("{}\n", lines[3]), ""), "as many lines"),
        (format!("{file}{{}}\n"), "behind the last line"),
        (swap(r#""version":1"#, r#""version":2"#), "of version 2"),
        (swap(r#""tenant":"acme""#, r#""tenant":"team-1""#), "team-1"),
        (swap(r#""tenant_id":"acme""#, r#""tenant_id":"team-1""#), "tenant_id"),
        (swap(r#""event_type":"note""#, r#""event_type":"session_ready""#), "reserved_type"),
        (swap(r#""event_type":"note""#, r#""event_type":"node.update""#), "reserved_type"),
        (swap(r#"{"text":"one"}"#, &deep), "too_deep"),
        (swap(r#""data":{"x":1.5"#, r#""data":{"id":"other","x":1.5"#), "invalid_operation"),
        (swap(r#""data":{"title":"two","body":"Once"}"#, "\"data\":[1]"), "invalid"),
        (swap("Once", &"x".repeat(3_000)), "invalid_export"),
        (swap(r#""state":{"created""#, r#""state":{"made""#), "nobody has made"),
        (swap(r#""entity_type":"note""#, r#""entity_type":"""#), "invalid_entity"),
    ];
    let mut wrong = Vec::new();
    for (number, (file, why)) in cases.iter().enumerate() {
        let answer = import(&to, ADMIN, file).await;
        if answer.status != 422 || !answer.problem(422, "invalid_export")["detail"].to_string().contains(why) {
            wrong.push(format!("{number}: {why:?} and {}", answer.text()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    import(&to, ADMIN, &swap(r#"{"text":"one"}"#, &format!("\"{long}\""))).await.problem(413, "too_large");
    let endless = format!("{}\n{}", lines[0], "x".repeat(2_000_000));
    import(&to, ADMIN, &endless).await.problem(413, "too_large");
    let empty = export(&to).await;
    assert_eq!(empty.lines().count(), 2, "{empty}");
    // Whole, it is taken after all that.
    imported(&to, &file).await;
}

#[tokio::test]
async fn a_file_larger_than_is_kept_is_refused() {
    let issuer = Issuer::new();
    let node = issuer.node(&[("limits.import_bytes", "2000")]).await;
    import(&node, ADMIN, &"x".repeat(2_001)).await.problem(413, "too_large");
    import(&node, ADMIN, &"x".repeat(2_000)).await.problem(422, "invalid_export");
}

#[tokio::test]
async fn only_an_empty_tenant_is_imported_into() {
    let issuer = Issuer::new();
    let (from, to) = (issuer.node(&[]).await, issuer.node(&[]).await);
    let cast = Cast::of(&issuer);
    plant(&from, &cast).await;
    let file = export(&from).await;
    let mut writer = join(&to, &cast.ada, "instance_id=a").await;
    writer.publish("note", json!({"mine": true})).await;
    let before = export(&to).await;
    import(&to, ADMIN, &file).await.problem(409, "tenant_not_empty");
    assert_eq!(events(&export(&to).await), events(&before));
    let other = issuer.node(&[]).await;
    write(&other, &cast.ada, "PUT", "note/other?instance_id=a", "x", json!({})).await;
    import(&other, ADMIN, &file).await.problem(409, "tenant_not_empty");
}

#[tokio::test]
async fn an_import_that_stopped_halfway_goes_on_with_the_same_file() {
    let issuer = Issuer::new();
    let (server, from) = (NatsServer::start().await, issuer.node(&[]).await);
    let cast = Cast::of(&issuer);
    plant(&from, &cast).await;
    let file = export(&from).await;
    for to in [issuer.node(&[]).await, issuer.node(&on(&server.url())).await] {
        // What an import that stopped leaves: records as it makes them, here by the same clients.
        let event: Value = serde_json::from_str(events(&file)[3].strip_suffix('}').expect("a line")).expect("JSON");
        let posted = to.ask(&cast.ada, "POST", "/v1/tenants/acme/events", &event).await;
        assert_eq!(posted.status, 201, "{}", posted.text());
        let done = imported(&to, &file).await;
        assert_eq!((&done["events"], &done["already_there"]), (&json!(4), &json!(1)), "{done}");
        let mut there = events_of(&export(&to).await);
        let mut wanted = events_of(&file);
        there.sort();
        wanted.sort();
        assert_eq!(there, wanted);
    }
}

#[tokio::test]
async fn what_changes_while_it_is_exported_is_in_the_file_as_of_one_position() {
    let (issuer, server) = (Issuer::new(), NatsServer::start().await);
    let cast = Cast::of(&issuer);
    for more in [vec![], on(&server.url())] {
        let settings = [&more[..], &[("server.send_buffer", "65536"), ("rooms.page_bytes", "65536")]].concat();
        let (from, to) = (issuer.node(&settings).await, issuer.node(&[]).await);
        let fill = "x".repeat(4_000);
        for part in 0..4 {
            let note = |n| {
                json!({"entity_type": "note", "entity_id": format!("n{n:04}"), "instance_id": "a", "action": "put",
                "data": {"n": n, "fill": fill}})
            };
            let all: Vec<_> = (part * 250..(part + 1) * 250).map(note).collect();
            let made = from.ask(&cast.ada, "POST", "/v1/tenants/acme/operations", &json!(all)).await;
            assert_eq!(made.status, 201, "{}", made.text());
        }
        // A reader that has taken the beginning, and no more than its small buffer holds.
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(16 * 1024).expect("a small buffer");
        let mut socket = socket.connect(from.address()).await.expect("a connection");
        let request = format!("GET {EXPORT} HTTP/1.1\r\nHost: node\r\nAuthorization: Bearer {ADMIN}\r\n\r\n");
        socket.write_all(request.as_bytes()).await.expect("it is taken");
        let mut buffer = Vec::new();
        let head = http::read_response(&mut socket, &mut buffer).await.expect("an answer");
        assert_eq!(head.status, 200);
        for path in ["note/n0000", "note/n0999", "note/new"] {
            let put = format!("{path}?instance_id=a");
            write(&from, &cast.ada, "PUT", &put, &new_id(), json!({"changed": path})).await;
            write(&from, &cast.ada, "PUT", &put, &new_id(), json!({"changed": [path]})).await;
        }
        write(&from, &cast.ada, "DELETE", "note/n0500?instance_id=a", &new_id(), Value::Null).await;
        let file = http::read_chunks(&mut socket, &mut buffer).await.expect("all of it");
        let file = String::from_utf8(file).expect("UTF-8");
        assert!(file.contains(r#""line":"entity_later""#));
        imported(&to, &file).await;
        assert_eq!(without_positions(&export(&to).await), without_positions(&export(&from).await));
    }
}

fn events_of(file: &str) -> Vec<String> {
    events(file).into_iter().map(str::to_owned).collect()
}

#[tokio::test]
async fn only_who_administers_the_tenant_may() {
    let issuer = Issuer::new();
    let node = issuer.node(&[]).await;
    let cast = Cast::of(&issuer);
    plant(&node, &cast).await;
    let file = export(&node).await;
    let (_, own) = node.api_key(json!({"tenant": "acme", "grant": {"admin": "tenant"}})).await;
    let (_, other) = node.api_key(json!({"tenant": "team-1", "grant": {"admin": "tenant"}})).await;
    for token in [&cast.ada, &other] {
        node.get_as(token, EXPORT).await.problem(403, "forbidden");
        import(&node, token, &file).await.problem(403, "forbidden");
    }
    http::get(node.address(), EXPORT).await.problem(401, "unauthenticated");
    assert_eq!(without_positions(&node.get_as(&own, EXPORT).await.text()), without_positions(&file));
    assert_eq!(import(&node, &own, &file).await.status, 409, "its own, which is not empty");
}

#[tokio::test]
async fn the_commands_move_a_tenant_and_keep_no_half_file() {
    let issuer = Issuer::new();
    let (from, to) = (issuer.node(&[]).await, issuer.node(&[]).await);
    let cast = Cast::of(&issuer);
    let mut writer = join(&from, &cast.ada, "instance_id=a").await;
    let events: Vec<_> =
        (0..1_000).map(|n| json!({"event_type": "note", "instance_id": "a", "data": {"n": n}})).collect();
    for _ in 0..20 {
        let posted = from.ask(&cast.ada, "POST", "/v1/tenants/acme/events", &json!(events)).await;
        assert_eq!(posted.status, 201, "{}", posted.text());
    }
    writer.publish("note", json!({"n": "last"})).await;
    let file = issuer.path("acme.jsonl");
    let run = |node: &Node, verb: &str, option: &str| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_continuum"));
        command.args(["tenant", verb, "--tenant", "acme", "--url", &node.http(), option]).arg(&file);
        command.arg("--token-file").arg(issuer.path("admin.key")).output().expect("the command runs")
    };
    let answer = |output: std::process::Output| -> Value {
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).expect("a report")
    };
    let written = answer(run(&from, "export", "--output"));
    assert_eq!((&written["events"], &written["entities"]), (&json!(20_001), &json!(0)), "{written}");
    assert!(!run(&from, "export", "--output").status.success(), "it is there already");
    let read = answer(run(&to, "import", "--input"));
    assert_eq!((&read["events"], &read["sha256"]), (&json!(20_001), &written["sha256"]), "{read}");
    let (here, there) = (export(&from).await, export(&to).await);
    assert_eq!(events_of(&here), events_of(&there));
}
