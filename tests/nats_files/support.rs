//! The support for tests against NATS: what it kills is dead, what it cuts is silent, what it heals works.

use std::{net::TcpStream, time::Duration};

use futures_util::StreamExt as _;
use serde_json::json;
use tokio::time::timeout;

use crate::nats_support::{Admin, Line, NatsCluster, NatsConfig, NatsServer, Refused, until, within};

/// Long enough for loopback, short enough to wait for nothing.
const SILENCE: Duration = Duration::from_millis(300);

fn stream(name: &str, replicas: u32) -> serde_json::Value {
    json!({"name": name, "subjects": [format!("{name}.>")], "storage": "file", "num_replicas": replicas, "allow_direct": true})
}

#[tokio::test]
async fn a_killed_server_comes_back_on_its_port_with_its_store() {
    let server = NatsServer::start_with(NatsConfig::new().sync_always().max_payload(4096).max_store("8MB")).await;
    let admin = Admin::connect(&server.url()).await;
    admin.create_stream(stream("KEPT", 1)).await;
    assert_eq!(admin.publish("KEPT.a", &[("Nats-Msg-Id", "1")], "one").await, Ok(1));
    let (url, pid) = (server.url(), server.pid());
    server.kill().await;
    assert!(!server.is_running());
    assert!(TcpStream::connect(server.address()).is_err(), "nobody else has the port");
    server.start_again().await;
    assert!(server.is_running() && server.url() == url && server.pid() != pid);
    let info = admin.until_stream("KEPT", "it is back", |_| true).await;
    assert_eq!(info["state"]["messages"], 1);
    assert_eq!(admin.account_info().await["limits"]["max_storage"], -1);
    assert_eq!(admin.client().max_payload(), 4096);
    let kept = admin.direct_get("KEPT", json!({"seq": 1, "batch": 10})).await.expect("messages");
    assert_eq!(kept.iter().map(|message| (message.seq, &message.body[..])).collect::<Vec<_>>(), [(1, &b"one"[..])]);
    admin.purge_to("KEPT", 1).await;
    let nothing = admin.direct_get("KEPT", json!({"seq": 1})).await;
    assert!(matches!(nothing, Err(Refused::Error { code: 404, .. })), "{nothing:?}");
    server.stop().await;
    assert!(server.log().iter().any(|line| line.contains("Server Exiting")), "it went in peace");
    server.lose_store();
    server.reconfigure(|config| config.max_payload(8192));
    server.start_again().await;
    assert_eq!(Admin::connect(&server.url()).await.stream_info("KEPT").await, None);
}

#[tokio::test]
async fn a_paused_server_is_silent_until_it_is_resumed_and_can_be_killed() {
    let server = NatsServer::start().await;
    let admin = Admin::connect(&server.url()).await;
    server.pause().await;
    assert!(server.is_running() && !server.is_awake());
    let mut answer = std::pin::pin!(admin.account_info());
    assert!(timeout(SILENCE, &mut answer).await.is_err(), "it stands still");
    server.resume();
    within("the answer comes after all", answer).await;
    server.pause().await;
    server.kill().await;
    assert!(!server.is_running());
    server.start_again().await;
    server.pause().await;
    // Dropped while it stands still.
}

#[tokio::test]
async fn a_cut_line_is_silent_and_a_healed_one_passes_what_was_sent() {
    let server = NatsServer::start().await;
    let mut line = Line::to(server.address()).await;
    let near = Admin::connect(&server.url()).await;
    let far = Admin::connect(&line.url()).await;
    let (mut to_near, mut to_far) = (near.subscribe("near").await, far.subscribe("far").await);
    assert_eq!(line.connections(), 1);

    line.cut_to_server();
    far.client().publish("near", "1".into()).await.expect("sent");
    near.client().publish("far", "1".into()).await.expect("sent");
    assert_eq!(within("the other way is open", to_far.next()).await.expect("a message").payload, "1");
    assert!(timeout(SILENCE, to_near.next()).await.is_err(), "cut to the server");
    line.heal().await;
    assert_eq!(within("healed", to_near.next()).await.expect("a message").payload, "1");

    line.cut_from_server();
    far.client().publish("near", "2".into()).await.expect("sent");
    near.client().publish("far", "2".into()).await.expect("sent");
    assert_eq!(within("the other way is open", to_near.next()).await.expect("a message").payload, "2");
    assert!(timeout(SILENCE, to_far.next()).await.is_err(), "cut from the server");
    line.cut();
    let asked = async_nats::ConnectOptions::new().connection_timeout(SILENCE).connect(line.url()).await;
    assert!(asked.is_err(), "no new connections either");
    line.heal().await;
    assert_eq!(within("healed", to_far.next()).await.expect("a message").payload, "2");
    line.delay(SILENCE);
    assert!(timeout(SILENCE / 2, far.round_trip()).await.is_err(), "later");
    far.round_trip().await;
}

#[tokio::test]
async fn a_snapped_line_refuses_until_it_is_healed() {
    let server = NatsServer::start().await;
    let mut line = Line::to(server.address()).await;
    let far = Admin::connect(&line.url()).await;
    line.snap().await;
    assert_eq!(line.connections(), 0);
    assert!(TcpStream::connect(line.address()).is_err(), "refused");
    until("the client notices", async || {
        (far.client().connection_state() != async_nats::connection::State::Connected).then_some(())
    })
    .await;
    line.heal().await;
    until("the client is back", async || {
        (far.client().connection_state() == async_nats::connection::State::Connected).then_some(())
    })
    .await;
    far.round_trip().await;
}

#[tokio::test]
async fn a_cluster_goes_on_without_its_leader_and_takes_it_back() {
    let cluster = NatsCluster::start().await;
    let admin = Admin::connect(&cluster.urls()).await;
    admin.create_stream(stream("S", 3)).await;
    let first = cluster.leader_of("S").await;
    assert_eq!(admin.put("S.a", "one").await, 1);
    assert_ne!(cluster.follower_of("S").await, first);
    cluster.kill(first).await;
    let second = cluster.leader_of("S").await;
    assert_ne!(second, first);
    cluster.wait_healthy().await;
    assert_eq!(admin.stream_info("S").await.expect("it is there")["state"]["messages"], 1);
    cluster.start_again(first).await;
    cluster.wait_healthy().await;
    admin.step_down("S").await;
    cluster.pause(second).await;
    assert_ne!(cluster.leader_of("S").await, second);
    cluster.resume(second);
    cluster.wait_healthy().await;
    let behind = Line::to(cluster.server(0).address()).await;
    let told = Admin::connect(&behind.url()).await.client().server_info();
    assert_eq!(told.connect_urls, Vec::<String>::new(), "clients stay where they connected");
    admin.delete_stream("S").await;
    assert_eq!(admin.stream_info("S").await, None);
}
