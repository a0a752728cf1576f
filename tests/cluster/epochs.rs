//! A log that was made anew, or that forgot: readers are told, never left with a silent gap.

use serde_json::json;

use crate::{
    nats_support::{Admin, NatsServer, until},
    node_on,
};

#[tokio::test]
async fn a_stream_made_anew_resyncs_everyone_explicitly() {
    let server = NatsServer::start().await;
    let (one, two) = (node_on(&server.url(), &[]).await, node_on(&server.url(), &[]).await);
    let (mut a, mut b) = (one.join("t", "a").await, two.join("t", "b").await);
    for n in 0..5 {
        a.publish("note", json!(n)).await;
    }
    let last = b.take(5).await.pop().expect("five")["seq"].as_u64().expect("seq");
    let cursor = b.cursor().to_owned();
    let old = a.ready()["data"]["epoch"].clone();
    Admin::connect(&server.url()).await.delete_stream("SYNC_LOG_0").await;
    for member in [&mut a, &mut b] {
        let resync = member.expect("resync").await;
        assert_eq!(resync["data"]["reason"], "other_epoch", "{resync}");
        assert_ne!(resync["data"]["epoch"], old);
    }
    let ack = until("the new log takes publishes", async || {
        let body = json!({"event_type": "note", "instance_id": "x", "data": "anew"});
        let answer = one.post("/v1/tenants/t/events", &body).await;
        (answer.status == 201).then(|| answer.json())
    })
    .await;
    assert!(ack["seq"].as_u64().expect("seq") > last, "positions do not run backwards: {ack}");
    for member in [&mut a, &mut b] {
        assert_eq!(member.record().await["data"], "anew");
    }
    let mut late = two.join_with("t", "late", &format!("since={cursor}")).await;
    assert_eq!(late.resume()["outcome"], "resync");
    assert_eq!(late.expect("resync").await["data"]["reason"], "other_epoch");
    assert_eq!(late.record().await["data"], "anew");
}

#[tokio::test]
async fn retention_that_passed_a_cursor_is_told() {
    let server = NatsServer::start().await;
    let node = node_on(&server.url(), &[]).await;
    let mut writer = node.join("t", "writer").await;
    let mut sleeper = node.join_with("t", "sleeper", "since=earliest").await;
    writer.publish("note", json!("seen")).await;
    sleeper.record().await;
    let cursor = sleeper.cursor().to_owned();
    sleeper.vanish();
    let mut last = 0;
    for n in 0..10 {
        last = writer.publish("note", json!(n)).await["seq"].as_u64().expect("seq");
    }
    Admin::connect(&server.url()).await.purge_to("SYNC_LOG_0", last - 1).await;
    // Another node, for this one still has everything in memory.
    let other = node_on(&server.url(), &[]).await;
    let mut back = other.join_with("t", "sleeper", &format!("since={cursor}")).await;
    assert_eq!(back.resume()["outcome"], "resync");
    let resync = back.expect("resync").await;
    assert_eq!(resync["data"]["reason"], "trimmed", "{resync}");
    let record = back.record().await;
    assert_eq!((&record["seq"], &record["data"]), (&json!(last), &json!(9)));
}
