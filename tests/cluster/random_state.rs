//! Random operations of all kinds on shared state, on three nodes of which one is killed, and on servers of which one is.

use crate::{
    nats_support::{NatsCluster, NatsServer},
    node_on,
    random_writers::{Plan, Room},
    support::Node,
};

async fn three_nodes_on(urls: &str) -> Vec<Node> {
    let mut nodes = Vec::new();
    for _ in 0..3 {
        nodes.push(node_on(urls, &[]).await);
    }
    nodes
}

#[tokio::test]
async fn random_operations_at_three_nodes_hold_what_is_promised_when_one_dies_and_comes_back() {
    let server = NatsServer::start().await;
    let mut nodes = three_nodes_on(&server.url()).await;
    let room = Room::new(Plan { seed: 5, writers: 5, each: 200 }, &nodes);
    tokio::join!(room.write(), async {
        room.reached(30).await;
        room.kill(2, &mut nodes[2]).await;
        room.reached(60).await;
        room.start_again(2, &mut nodes[2]).await;
    });
    room.check(&nodes).await;
}

#[tokio::test]
async fn the_same_holds_on_three_replicas_of_the_log_when_their_leader_dies_too() {
    let cluster = NatsCluster::start().await;
    let mut nodes = three_nodes_on(&cluster.urls()).await;
    let room = Room::new(Plan { seed: 6, writers: 5, each: 200 }, &nodes);
    tokio::join!(room.write(), async {
        room.reached(20).await;
        // What it was just storing is stored or not, and nobody knows at first.
        let leader = cluster.leader_of("SYNC_LOG_0").await;
        cluster.kill(leader).await;
        cluster.start_again(leader).await;
        room.reached(45).await;
        room.kill(2, &mut nodes[2]).await;
        room.reached(70).await;
        room.start_again(2, &mut nodes[2]).await;
    });
    room.check(&nodes).await;
}
