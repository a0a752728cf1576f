//! Thousands who come back at once with tokens of an issuer whose keys lie at a URL: its server hears of one of them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    sync::watch,
};

use crate::{
    support::{
        Issuer, Node, RawClient,
        issuer::{ADMIN, Key},
        raw, until,
    },
    tokens::jwk,
};

/// Clients, and how many tokens they share: of most users there is more than one.
const CLIENTS: usize = 5_000;
/// Of those whose tokens are verified, which code that is not optimized takes its time for.
const VERIFIED: usize = 1_000;
const TOKENS: usize = 100;
/// How long a node leaves a server in peace that has answered nothing yet.
const PAUSE: Duration = Duration::from_secs(2);

/// How a key server behaves now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    /// It answers.
    Well,
    /// It takes the question and says nothing, until it is well.
    Slow,
    /// It hangs up.
    Down,
}

/// A key server that counts who asks.
struct KeyServer {
    url: String,
    mood: watch::Sender<Mood>,
    asked: Arc<AtomicUsize>,
}

impl KeyServer {
    async fn start(keys: Value, mood: Mood) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}/keys", listener.local_addr().expect("an address"));
        let (mood, asked) = (watch::Sender::new(mood), Arc::new(AtomicUsize::new(0)));
        let (count, moods) = (asked.clone(), mood.subscribe());
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                let (body, mut mood) = (keys.to_string(), moods.clone());
                tokio::spawn(async move {
                    if *mood.borrow() == Mood::Down || mood.wait_for(|mood| *mood == Mood::Well).await.is_err() {
                        return;
                    }
                    let head =
                        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
                    // Whoever asked may have given up.
                    let _ = socket.read(&mut [0; 4096]).await;
                    let _ = socket.write_all(format!("{head}{body}").as_bytes()).await;
                });
            }
        });
        Self { url, mood, asked }
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

async fn node(issuer: &Issuer, server: &KeyServer) -> Node {
    issuer.write(&format!(
        "[[issuer]]\nissuer = \"dev\"\naudience = \"continuum\"\ntenants = [\"acme\"]\njwks_url = \"{}\"\n",
        server.url
    ));
    let settings = [
        ("limits.connections_per_tenant", "10000"),
        ("limits.strangers_per_node", "10000"),
        ("rooms.announce_limit", "0"),
    ];
    issuer.node(&settings).await
}

fn tokens(issuer: &Issuer) -> Vec<String> {
    let key = issuer.path("ed25519.private");
    (0..TOKENS).map(|user| issuer.token_of("dev", "one", "EdDSA", &key, json!({"sub": format!("u{user}")}))).collect()
}

/// These have shown a token; what is said to it is still to be read.
async fn come(node: &Node, tokens: &[String], numbers: impl IntoIterator<Item = usize>) -> Vec<RawClient> {
    let mut clients = Vec::new();
    for number in numbers {
        let query = format!("instance_id=i{number}&since=latest&token={}", tokens[number % tokens.len()]);
        let request = raw::upgrade_request(&query, "13", Some(raw::KEY));
        clients.push(RawClient::open(node.address(), request.as_bytes()).await);
    }
    clients
}

/// The first thing that is said to each.
async fn hear(clients: &mut [RawClient]) -> Vec<Value> {
    // One after the other: each has its time, however long all of them take.
    let mut said = Vec::new();
    for client in clients {
        assert_eq!(client.answer().await.status, 101);
        let frame = client.next().await.expect("something is said");
        said.push(serde_json::from_slice(&frame.payload).expect("JSON"));
    }
    said
}

fn is_refused(said: &Value) -> bool {
    let refused = said["event_type"] == "error";
    if refused {
        assert_eq!(said["data"]["code"], "unavailable", "{said}");
        assert!(said["data"]["retry_after_ms"].as_u64().is_some_and(|wait| wait > 0), "{said}");
    } else {
        assert_eq!(said["event_type"], "session_ready", "{said}");
    }
    refused
}

fn issuer() -> (Issuer, Value) {
    let issuer = Issuer::new();
    let keys = json!({"keys": [jwk(&issuer, "one", Key::Ed25519)]});
    (issuer, keys)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_at_once_make_one_question_and_all_of_them_come_in() {
    let (issuer, keys) = issuer();
    let server = KeyServer::start(keys, Mood::Slow).await;
    let node = node(&issuer, &server).await;
    let tokens = tokens(&issuer);
    let began = Instant::now();
    let mut clients = come(&node, &tokens, 0..VERIFIED).await;
    // They all wait for the one answer.
    until("all have shown their token", async || {
        let open = node.get_as(ADMIN, "/v1/stats").await.json()["total_connections"].clone();
        (open == VERIFIED).then_some(())
    })
    .await;
    server.mood.send_replace(Mood::Well);
    // On a machine so slow that the one question was given up before all had come, some are told to come back, and do.
    let mut said = hear(&mut clients).await;
    let mut inside: Vec<_> = clients.into_iter().collect();
    loop {
        let refused: Vec<_> = (0..VERIFIED).filter(|number| is_refused(&said[*number])).collect();
        if refused.is_empty() {
            break;
        }
        let mut again = come(&node, &tokens, refused.iter().copied()).await;
        let heard = hear(&mut again).await;
        for ((number, client), heard) in refused.into_iter().zip(again).zip(heard) {
            (inside[number], said[number]) = (client, heard);
        }
    }
    let allowed = 1 + (began.elapsed().as_secs() / PAUSE.as_secs()) as usize;
    assert!((1..=allowed).contains(&server.asked()), "{} questions, {allowed} allowed", server.asked());
    // And when they all come again, the keys are known.
    let before = server.asked();
    drop(inside);
    let mut clients = come(&node, &tokens, 0..VERIFIED).await;
    assert!(!hear(&mut clients).await.iter().any(is_refused));
    assert_eq!(server.asked(), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_thousand_who_find_the_key_server_down_are_told_to_come_back_and_do_not_keep_it_down() {
    let (issuer, keys) = issuer();
    let server = KeyServer::start(keys, Mood::Down).await;
    let node = node(&issuer, &server).await;
    let tokens = tokens(&issuer);
    let began = Instant::now();
    let mut clients = come(&node, &tokens, 0..CLIENTS).await;
    let said = hear(&mut clients).await;
    let allowed = 1 + (began.elapsed().as_secs() / PAUSE.as_secs()) as usize;
    assert!((1..=allowed).contains(&server.asked()), "{} questions, {allowed} allowed", server.asked());
    assert!(said.iter().all(is_refused), "nobody comes in");
    assert_eq!(clients[0].until_closed().await.code, Some(1012));
    drop(clients);
    server.mood.send_replace(Mood::Well);
    let target = "/v1/tenants/acme/instances";
    until("a token is good again", async || (node.get_as(&tokens[0], target).await.status == 200).then_some(())).await;
}
