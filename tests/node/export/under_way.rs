//! Imports and exports that are under way: slow ones, many, and those whose ground goes away.

use std::{fmt::Write as _, pin::pin};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::{
    EXPORT, export, imported, join, on, resealed,
    room::{Cast, plant},
    send,
};
use crate::{
    nats_support::NatsServer,
    slow,
    support::{Issuer, Node, RawClient, http, issuer::ADMIN, new_id, raw::narrow, until, within},
};

/// A file with so many events and nothing else.
fn file(tenant: &str, events: usize) -> String {
    let header = json!({"line": "header", "format": "continuum-tenant", "version": 1, "tenant": tenant,
        "epoch": "9f86d081884c7d65", "exported_at": "2026-01-15T09:30:00.000Z"});
    let mut before = format!("{header}\n");
    for seq in 1..=events {
        let event = json!({"event_type": "note", "event_id": new_id(), "tenant_id": tenant, "instance_id": "a",
            "timestamp": "2026-01-15T09:30:00.000Z", "data": {"n": seq}});
        let line = json!({"line": "event", "seq": seq, "stored_at": "2026-01-15T09:30:00.000Z", "event": event});
        writeln!(before, "{line}").expect("a text takes it");
    }
    let sha256 = format!("{:x}", Sha256::digest(&before));
    let end = json!({"line": "end", "position": events, "events": events, "entities": 0, "sha256": sha256});
    format!("{before}{end}\n")
}

fn head(token: &str, tenant: &str, length: usize) -> String {
    format!(
        "POST /v1/tenants/{tenant}/import HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/x-ndjson\r\nContent-Length: {length}\r\n\r\n"
    )
}

/// An import of which only a part has been sent.
async fn begin(node: &Node, token: &str, tenant: &str, part: &str, length: usize) -> RawClient {
    RawClient::open(node.address(), format!("{}{part}", head(token, tenant, length)).as_bytes()).await
}

/// Waits until so many imports have been let in.
async fn let_in(node: &Node, count: usize) {
    until("an import is under way", async || {
        let log = node.log();
        (log.iter().filter(|line| line.contains("a tenant comes as a file")).count() == count).then_some(())
    })
    .await;
}

async fn import_into(node: &Node, tenant: &str, file: &str) -> http::Response {
    let target = format!("/v1/tenants/{tenant}/import");
    send(node, ADMIN, "POST", &target, &[("Content-Type", "application/x-ndjson")], file).await
}

#[tokio::test]
async fn a_file_that_trickles_is_cut_off_and_keeps_nobody_out() {
    let issuer = Issuer::new();
    let node = issuer.node(&[("server.body_timeout", "8s")]).await;
    let mut trickle = pin!(async {
        let mut socket = TcpStream::connect(node.address()).await.expect("the node accepts connections");
        slow::drip(&mut socket, head(ADMIN, "acme", 1_000_000).as_bytes(), b'x').await
    });
    let others = async {
        let_in(&node, 1).await;
        for tenant in ["team-1", "team-2"] {
            let answer = import_into(&node, tenant, &file(tenant, 3)).await;
            assert_eq!((answer.status, &answer.json()["events"]), (200, &json!(3)), "{}", answer.text());
        }
    };
    tokio::select! {
        said = &mut trickle => panic!("the others waited until it was cut off: {said}"),
        () = others => {}
    }
    let said = trickle.await;
    assert!(said.starts_with("HTTP/1.1 408") && said.contains("\"code\":\"too_slow\""), "{said}");
    let answer = import_into(&node, "acme", &file("acme", 3)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

#[tokio::test]
async fn a_node_keeps_few_files_at_a_time_and_one_of_a_tenant() {
    let issuer = Issuer::new();
    let node = issuer.node(&[]).await;
    let mut under_way = Vec::new();
    for number in 1..=4 {
        let tenant = format!("team-{number}");
        under_way.push(begin(&node, ADMIN, &tenant, "{", 1_000).await);
        let_in(&node, number).await;
        let second = import_into(&node, &tenant, &file(&tenant, 1)).await;
        assert!(second.problem(503, "busy")["detail"].to_string().contains("this tenant"), "{}", second.text());
    }
    let fifth = import_into(&node, "team-5", &file("team-5", 1)).await;
    assert!(fifth.problem(503, "busy")["detail"].to_string().contains("4 imports"), "{}", fifth.text());
    // Whoever breaks off leaves its place.
    drop(under_way.pop());
    until("a place is free", async || {
        (import_into(&node, "team-5", &file("team-5", 1)).await.status == 200).then_some(())
    })
    .await;
}

/// The same file in which so many of its entities were changed once more while it was written.
fn changed_meanwhile(file: &str, count: usize) -> String {
    let lines: Vec<_> = file.lines().collect();
    let (end, before) = lines.split_last().expect("lines");
    let later = before.iter().filter(|line| line.starts_with(r#"{"line":"entity""#)).take(count);
    let later: Vec<_> = later.map(|line| line.replacen("entity", "entity_later", 1)).collect();
    assert_eq!(later.len(), count, "{file}");
    let mut end: Value = serde_json::from_str(end).expect("JSON");
    end["entities"] = (end["entities"].as_u64().expect("a number") + count as u64).into();
    resealed(&format!("{}\n{}\n{end}\n", before.join("\n"), later.join("\n")))
}

#[tokio::test]
async fn an_import_remembers_no_more_than_it_may() {
    let issuer = Issuer::new();
    let (from, to) = (issuer.node(&[]).await, issuer.node(&[("limits.import_memory_bytes", "1")]).await);
    let cast = Cast::of(&issuer);
    plant(&from, &cast).await;
    let file = export(&from).await;
    let refused = super::import(&to, ADMIN, &changed_meanwhile(&file, 2)).await;
    let why = refused.problem(413, "too_large")["detail"].to_string();
    assert!(why.contains("limits.import_memory_bytes"), "{why}");
    assert_eq!(export(&to).await.lines().count(), 2, "nothing was written");
    let file = changed_meanwhile(&file, 1);
    let done = imported(&to, &file).await;
    assert_eq!((&done["events"], &done["entities"]), (&json!(4), &json!(7)), "{done}");
    // What is there already is looked for bit by bit.
    let again = imported(&to, &file).await;
    assert_eq!(again["already_there"], 11, "{again}");
    let looks = to.log().iter().filter(|line| line.contains("looked for in the file")).count();
    assert_eq!(looks, 4);
    // The last one is not the file's.
    join(&to, &cast.ada, "instance_id=a").await.publish("note", json!({"mine": true})).await;
    super::import(&to, ADMIN, &file).await.problem(409, "tenant_not_empty");
}

/// A tenant is erased at one node while its file comes to another, or to the same.
async fn erased_meanwhile(issuer: &Issuer, here: &Node, there: &Node) {
    let mut member = join(there, &issuer.token(json!({"sub": "ada"})), "instance_id=a").await;
    member.publish("note", json!({"before": true})).await;
    let file = file("acme", 100);
    // Nothing of it comes before the erasure is over: what does meanwhile is told `tenant_erasing`.
    let mut import = begin(here, ADMIN, "acme", "", file.len()).await;
    let_in(here, 1).await;
    let begun = there.ask(ADMIN, "DELETE", "/v1/tenants/acme", &Value::Null).await;
    assert_eq!(begun.status, 202, "{}", begun.text());
    let place = begun.header("location").expect("where to look").to_owned();
    until("the tenant is erased", async || (here.get(&place).await.json()["stage"] == "done").then_some(())).await;
    until("its name is free", async || (here.get_as(ADMIN, EXPORT).await.status == 200).then_some(())).await;
    import.write(file.as_bytes()).await;
    import.answer().await.problem(401, "tenant_erased");
    for node in [here, there] {
        let left = export(node).await;
        assert_eq!(left.lines().count(), 2, "{left}");
    }
    // The new tenant of that name takes it.
    assert_eq!(imported(here, &file).await["events"], 100);
}

#[tokio::test]
async fn an_import_ends_with_its_tenant() {
    let issuer = Issuer::new();
    let node = issuer.node(&[]).await;
    erased_meanwhile(&issuer, &node, &node).await;
}

#[tokio::test]
async fn an_import_ends_with_its_tenant_that_is_erased_at_another_node() {
    let (issuer, server) = (Issuer::new(), NatsServer::start().await);
    let (a, b) = (issuer.node(&on(&server.url())).await, issuer.node(&on(&server.url())).await);
    erased_meanwhile(&issuer, &a, &b).await;
}

/// Calls a key back at one node, and waits until another knows.
async fn call_back(id: &str, key: &str, here: &Node, there: &Node) {
    let revoked = there.ask(ADMIN, "DELETE", &format!("/v1/admin/keys/{id}"), &Value::Null).await;
    assert!((200..300).contains(&revoked.status), "{}", revoked.text());
    until("the key is known to be good for nothing", async || {
        (here.get_as(key, "/v1/tenants/acme/instances").await.status == 401).then_some(())
    })
    .await;
}

/// The administrator's key is called back at one node while a file comes to another and goes from it, or all at the same.
async fn called_back_meanwhile(issuer: &Issuer, here: &Node, there: &Node) {
    let wanted = json!({"tenant": "acme", "grant": {"admin": "tenant"}});
    let (id, key) = here.api_key(wanted.clone()).await;
    let text = file("acme", 100);
    let (first, rest) = text.split_at(text.len() / 2);
    let mut import = begin(here, &key, "acme", first, text.len()).await;
    let_in(here, 1).await;
    call_back(&id, &key, here, there).await;
    import.write(rest.as_bytes()).await;
    import.answer().await.problem(401, "token_revoked");
    let left = export(here).await;
    assert_eq!(left.lines().count(), 2, "{left}");

    let token = issuer.token(json!({"sub": "ada"}));
    let fill = "x".repeat(4_000);
    let event = json!({"event_type": "note", "instance_id": "a", "data": {"fill": fill}});
    for _ in 0..4 {
        let posted = here.ask(&token, "POST", "/v1/tenants/acme/events", &json!(vec![&event; 250])).await;
        assert_eq!(posted.status, 201, "{}", posted.text());
    }
    let (id, key) = here.api_key(wanted).await;
    // A reader that has taken the beginning, and no more than its small buffer holds.
    let mut socket = narrow(here.address()).await;
    let request = format!("GET {EXPORT} HTTP/1.1\r\nHost: node\r\nAuthorization: Bearer {key}\r\n\r\n");
    socket.write_all(request.as_bytes()).await.expect("it is taken");
    let mut said = Vec::new();
    let head = within("an answer", http::read_response(&mut socket, &mut said)).await.expect("an answer");
    assert_eq!(head.status, 200);
    within("its first event", async {
        while !String::from_utf8_lossy(&said).contains(r#""line":"event""#) {
            assert!(socket.read_buf(&mut said).await.expect("the node writes") > 0);
        }
    })
    .await;
    call_back(&id, &key, here, there).await;
    // The connection is cut, perhaps with a reset.
    let _ = within("the end", socket.read_to_end(&mut said)).await;
    let said = String::from_utf8_lossy(&said);
    assert!(!said.contains(r#""line":"end""#) && !said.ends_with("\r\n0\r\n\r\n"), "it is not whole, and says so");
    assert!(export(here).await.contains(r#""line":"end""#));
}

const SMALL: [(&str, &str); 2] = [("server.send_buffer", "65536"), ("rooms.page_bytes", "65536")];

#[tokio::test]
async fn an_import_and_an_export_end_with_the_key_that_they_were_asked_with() {
    let issuer = Issuer::new();
    let node = issuer.node(&SMALL).await;
    called_back_meanwhile(&issuer, &node, &node).await;
}

#[tokio::test]
async fn an_import_and_an_export_end_with_a_key_that_is_called_back_at_another_node() {
    let (issuer, server) = (Issuer::new(), NatsServer::start().await);
    let url = server.url();
    let settings = [&on(&url)[..], &SMALL].concat();
    let (a, b) = (issuer.node(&settings).await, issuer.node(&settings).await);
    called_back_meanwhile(&issuer, &a, &b).await;
}
