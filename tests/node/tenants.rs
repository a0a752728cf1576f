//! Tenants with everything in common but their name: nothing crosses.

use serde_json::{Value, json};

use crate::support::{Node, Port};

#[tokio::test]
async fn nothing_crosses_between_tenants_that_have_everything_else_in_common() {
    let mut node = Node::start(&[]).await;
    let id = |number: usize| format!("00000000-0000-4000-8000-{number:012}");
    let tenants = ["alice", "bob"];
    let mut readers = Vec::new();
    for tenant in tenants {
        readers.push(node.join(tenant, "reader").await);
        assert_eq!(readers.last().expect("one").ready()["data"]["instances_total"], 1);
    }
    for number in 0..10 {
        for tenant in tenants {
            let mut writer = node.join(tenant, "writer").await;
            let ack = writer.publish_as(&id(number), "memory_added", json!({"of": tenant})).await;
            assert_eq!(ack["duplicate"], false, "{tenant}");
            let concept = json!({"concept_name": format!("{tenant} {number}")});
            let event = json!({"event_type": "concept_learned", "instance_id": "writer", "data": concept});
            assert_eq!(node.post(&format!("/v1/tenants/{tenant}/events"), &event).await.status, 201);
            writer.close().await;
        }
    }
    for (tenant, reader) in tenants.iter().zip(&mut readers) {
        reader.settle().await;
        assert_eq!(reader.records().len(), 20, "{tenant}");
        all_of(tenant, reader.seen());
        assert_eq!(reader.seen_of("instance_joined").count(), 10, "{tenant}");
    }
    for round in ["before", "after"] {
        for tenant in tenants {
            let mut late = node.join_with(tenant, "late", "since=earliest").await;
            let records = late.catch_up().await;
            assert_eq!(records.len(), 20, "{tenant} {round} the restart");
            all_of(tenant, late.seen());
            late.close().await;
            let page = node.get(&format!("/v1/tenants/{tenant}/events")).await.json();
            assert_eq!(page["events"].as_array(), Some(&records));
            let stats = node.get(&format!("/v1/tenants/{tenant}/stats")).await.json();
            assert_eq!((&stats["tenant_id"], &stats["state"]["total_messages"]), (&json!(tenant), &json!(10)));
            assert_eq!(stats["state"]["total_concepts"], 10);
        }
        node.restart(Port::New).await;
    }
}

#[tokio::test]
async fn a_cursor_of_one_tenant_is_only_a_position_to_another() {
    let node = Node::start(&[]).await;
    let (mut alice, mut bob) = (node.join("alice", "a").await, node.join("bob", "b").await);
    let first = alice.publish("note", json!({"of": "alice"})).await;
    bob.publish("note", json!({"of": "bob"})).await;
    let cursor = first["cursor"].as_str().expect("a cursor");
    let mut reader = node.join_with("bob", "c", &format!("since={cursor}")).await;
    let records = reader.catch_up().await;
    assert_eq!(records.iter().map(|record| &record["data"]["of"]).collect::<Vec<_>>(), ["bob"]);
    assert_eq!(node.get("/v1/tenants/nobody/instances").await.json(), json!({"instances": [], "instances_total": 0}));
    assert_eq!(node.get("/v1/tenants/nobody/events").await.json()["events"], json!([]));
}

/// Everything in these messages is this tenant's.
fn all_of(tenant: &str, messages: &[Value]) {
    let other = if tenant == "alice" { "bob" } else { "alice" };
    for message in messages {
        assert_eq!(message["tenant_id"], tenant, "{message}");
        assert!(!message.to_string().contains(other), "{tenant}: {message}");
    }
}
