//! `continuum health`: what a container's health check is told.

use std::process::Output;

use crate::{
    continuum, ended,
    support::{Node, RawClient, until},
};

/// Asks the node at this port; the settings say where it listens.
async fn asked(port: u16, settings: &[&str]) -> (Option<i32>, String) {
    let mut command = continuum(&["health", "--port", &port.to_string()]);
    command.args(settings);
    let Output { status, stdout, stderr } = ended(command).await;
    (status.code(), String::from_utf8([stdout, stderr].concat()).expect("text"))
}

#[tokio::test]
async fn a_node_is_healthy_while_it_is_ready_and_not_when_it_drains_or_is_gone() {
    let mut node = Node::start(&[("drain.timeout", "10s")]).await;
    let port = node.address().port();
    let everywhere = ["--host", "0.0.0.0", "--set", "auth.allow_remote_none=true"];
    for host in [&[][..], &everywhere, &["--host", "localhost"]] {
        let (code, said) = asked(port, host).await;
        assert!(code == Some(0) && said.contains("ready"), "{host:?}: {said}");
    }
    // Holds the drain up for as long as the node waits for its close.
    let mut quiet = RawClient::connect(&node, "tenant_id=room&instance_id=quiet").await;
    quiet.expect("caught_up").await;
    node.ask_to_stop();
    until("it drains", async || {
        let (code, said) = asked(port, &[]).await;
        (code == Some(1) && said.contains("the node is not ready") && said.contains("draining")).then_some(())
    })
    .await;
    node.kill9().await;
    let (code, said) = asked(port, &[]).await;
    assert!(code == Some(1) && said.contains("no node answers at http://127.0.0.1:"), "{said}");
}

#[tokio::test]
async fn which_node_is_meant_has_to_be_known() {
    let (code, said) = asked(0, &[]).await;
    assert!(code == Some(1) && said.contains("say with --port"), "{said}");
    let (code, said) = asked(1, &["--set", "server.prot=1"]).await;
    assert!(code == Some(78) && said.contains("server.prot"), "{said}");
}
