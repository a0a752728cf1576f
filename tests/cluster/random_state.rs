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
    let room = Room::new(Plan { seed: 2, writers: 5, each: 120 }, &nodes);
    tokio::join!(room.write(), async {
        room.reached(30).await;
        room.kill(2, &mut nodes[2]).await;
        room.reached(60).await;
        room.start_again(2, &mut nodes[2]).await;
    });
    room.check(&nodes).await;
}

#[tokio::test]
async fn the_same_holds_on_three_replicas_of_the_log_when_a_server_dies_too() {
    let cluster = NatsCluster::start().await;
    let mut nodes = three_nodes_on(&cluster.urls()).await;
    let room = Room::new(Plan { seed: 3, writers: 5, each: 120 }, &nodes);
    tokio::join!(room.write(), async {
        room.reached(20).await;
        cluster.kill(1).await;
        room.reached(40).await;
        room.kill(2, &mut nodes[2]).await;
        room.reached(60).await;
        cluster.start_again(1).await;
        room.start_again(2, &mut nodes[2]).await;
    });
    room.check(&nodes).await;
}
