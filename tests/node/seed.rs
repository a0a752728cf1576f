//! The client that the first description of the protocol shows, as it stands there.

use std::process::Command;

use serde_json::json;

use crate::{
    puo_memo::{Program, change_from_elsewhere, tool},
    support::{Client, Issuer, Node},
};

/// Word for word, and a line that runs it; only the port and, where one is asked for, a token are put in.
const SEED: &str = include_str!("seed_client.py");

async fn receives_what_another_publishes(node: &Node, token: Option<(&str, &str)>) {
    let here = format!("localhost:{}", node.address().port());
    assert!(SEED.contains("localhost:8420") && SEED.contains("instance_id=claude-1\""));
    let program = tempfile::NamedTempFile::with_suffix(".py").expect("a temporary file can be made");
    let shown = |token: &str| if token.is_empty() { String::new() } else { format!("&token={token}") };
    let (own, others) = token.map(|(own, other)| (shown(own), shown(other))).unwrap_or_default();
    let text = SEED.replace("localhost:8420", &here).replace("claude-1\"", &format!("claude-1{own}\""));
    std::fs::write(program.path(), text).expect("it can be written");

    let mut other = node.join_with("default", "claude-2", &others).await;
    let mut printed = Program::start(Command::new(tool("bin/python")).arg("-u").arg(program.path()));
    let joined = other.expect("instance_joined").await;
    assert_eq!(joined["data"]["instance_id"], "claude-1");
    assert_eq!(printed.prints("").await, "Received: session_ready");
    other.publish("memory_added", json!({"user_message": "What is quantum entanglement?"})).await;
    // Whether the record comes before or after the mark depends on who is faster; nothing else does.
    assert_eq!(next_received(&mut printed).await, "Received: memory_added");
    let mut third = Client::typed(node.address(), &format!("tenant_id=default&instance_id=claude-3{others}")).await;
    assert_eq!(next_received(&mut printed).await, "Received: instance_joined");
    change_from_elsewhere(&mut third).await;
    for verb in ["created", "updated"] {
        assert_eq!(next_received(&mut printed).await, format!("Received: memory.{verb}"));
    }
}

async fn next_received(printed: &mut Program) -> String {
    loop {
        let line = printed.prints("").await;
        if line != "Received: caught_up" {
            return line;
        }
    }
}

#[tokio::test]
async fn the_seeds_own_client_receives_what_another_instance_publishes() {
    // By name, as the seed has it: where localhost is also ::1 the client tries that first and goes on.
    let node = Node::start(&[("server.host", "localhost")]).await;
    receives_what_another_publishes(&node, None).await;
}

#[tokio::test]
async fn the_seeds_own_client_comes_in_with_a_token_and_with_an_api_key() {
    let issuer = Issuer::new();
    // Its room is the one that it names.
    issuer.write(
        "[[issuer]]\nissuer = \"dev\"\naudience = \"continuum\"\ntenants = [\"default\"]\n\
         [[issuer.key]]\nid = \"secret\"\nalgorithm = \"HS256\"\nfile = \"secret.public\"\n",
    );
    let token = issuer.token(json!({"tenant": "default", "sub": "ada"}));
    for order in 0..2 {
        let node = issuer.node(&[("server.host", "localhost")]).await;
        let (_, key) = node.api_key(json!({"tenant": "default", "user": "ada"})).await;
        let both = if order == 0 { (&token, &key) } else { (&key, &token) };
        receives_what_another_publishes(&node, Some((both.0, both.1))).await;
    }
}
