//! Streams and records such as nodes make.

use serde_json::{Value, json};

use crate::nats_support::{Admin, secured::file};

pub const LOG: &str = "SYNC_LOG_0";
pub const STATE: &str = "SYNC_STATE_0";
pub const KEPT: &str = "SYNC_KEPT";

pub const EVENT: &str = "sync.log.0.acme.event.memory=2Ecreated";
pub const ENTITY: &str = "sync.log.0.acme.entity.memory.42";
pub const OTHERS: &str = "sync.log.0.other.entity.memory.7";
pub const CURSOR: &str = "sync.cursor.acme.alice";

/// The settings of the streams of one shard, in the order in which they are made: the files in `nats/streams`, filled in as
/// nodes do it.
pub fn settings(shard: u32, replicas: u32) -> [Value; 3] {
    ["log", "state", "kept"].map(|kind| {
        let text = file(&format!("streams/{kind}.json"));
        let text = text.replace("_0\"", &format!("_{shard}\"")).replace("sync.log.0.", &format!("sync.log.{shard}."));
        let mut settings: Value = serde_json::from_str(&text).expect("the files are JSON");
        settings["num_replicas"] = json!(replicas);
        if kind == "log" {
            settings["metadata"] = json!({"sync_epoch": "00112233445566aa"});
            // The servers of these tests have room for one log of the default size.
            settings["max_bytes"] = json!(1 << 30);
        }
        settings
    })
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
