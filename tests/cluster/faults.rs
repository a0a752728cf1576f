//! A small run of the drill: what `scripts/drill` does at length.

use std::time::Duration;

use crate::storm::{self, Plan};

#[tokio::test]
async fn nothing_acknowledged_is_lost_doubled_or_reordered_while_nodes_and_servers_die() {
    let plan = Plan { events: 4_000, writers: 2, window: 16, outage: Duration::from_secs(3), tell: |_| {} };
    let report = storm::run(plan).await;
    assert_eq!(report.acked, plan.events + 1, "\n{report}");
}
