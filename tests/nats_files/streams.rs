//! Streams and records such as nodes make.

use serde_json::{Value, json};

use crate::nats_support::Admin;

pub const LOG: &str = "SYNC_LOG_0";
pub const STATE: &str = "SYNC_STATE_0";
pub const KEPT: &str = "SYNC_KEPT";

pub const EVENT: &str = "sync.log.0.acme.event.memory=2Ecreated";
pub const ENTITY: &str = "sync.log.0.acme.entity.memory.42";
pub const OTHERS: &str = "sync.log.0.other.entity.memory.7";
pub const CURSOR: &str = "sync.cursor.acme.alice";

/// The settings of the streams of one shard, in the order in which they are made.
pub fn settings(shard: u32, replicas: u32) -> [Value; 3] {
    let (log, state) = (format!("SYNC_LOG_{shard}"), format!("SYNC_STATE_{shard}"));
    [
        json!({
            "name": log, "subjects": [format!("sync.log.{shard}.>")], "num_replicas": replicas, "storage": "file",
            "max_age": 30_u64 * 86_400_000_000_000, "duplicate_window": 120_000_000_000_u64,
            "allow_direct": true, "allow_msg_ttl": true, "metadata": {"sync_epoch": "00112233445566aa"},
        }),
        json!({
            "name": state, "sources": [{"name": log, "filter_subject": format!("sync.log.{shard}.*.entity.*.*")}],
            "num_replicas": replicas, "storage": "file", "max_msgs_per_subject": 1, "allow_direct": true,
        }),
        json!({
            "name": KEPT, "subjects": ["sync.cursor.*.*", "sync.tally.*"], "num_replicas": replicas, "storage": "file",
            "max_msgs_per_subject": 1, "allow_direct": true,
        }),
    ]
}

/// Makes the streams of shard 0, with four records of two tenants and one cursor, and waits until STATE has followed.
pub async fn make(node: &Admin, replicas: u32) {
    for settings in settings(0, replicas) {
        node.create_stream(settings).await;
    }
    for (seq, subject) in (1..).zip([EVENT, ENTITY, ENTITY, OTHERS]) {
        assert_eq!(node.put(subject, format!("{{\"n\":{seq}}}")).await, seq);
    }
    assert_eq!(node.put(CURSOR, "{}").await, 1);
    node.until_stream(STATE, "it has both entities", |info| info["state"]["num_subjects"] == 2).await;
}
