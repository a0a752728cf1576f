//! Random operations of all kinds on shared state, on one node that is killed in the middle.

use crate::{
    random_writers::{Plan, Room},
    support::Node,
};

#[tokio::test]
async fn random_operations_hold_what_is_promised_when_their_node_is_killed_twice_and_started_again() {
    for seed in 1..=4 {
        let mut nodes = [Node::start(&[]).await];
        let room = Room::new(Plan { seed, writers: 4, each: 200 }, &nodes);
        tokio::join!(room.write(), async {
            for share in [33, 66] {
                room.reached(share).await;
                room.kill_and_start_again(&mut nodes[0]).await;
            }
        });
        room.check(&nodes).await;
    }
}
