//! Tenants with everything in common but their name: nothing crosses.

use serde_json::{Value, json};

use crate::{
    nats_support::NatsServer,
    support::{Client, Node, Port, RawClient, until},
};

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

#[tokio::test]
async fn the_same_operation_in_two_tenants_is_two_operations() {
    operations_never_meet(Node::start(&LIMITED).await).await;
}

#[tokio::test]
async fn the_same_operation_in_two_tenants_is_two_operations_on_nats() {
    let server = NatsServer::start().await;
    let url = server.url();
    let nats = [("backbone.kind", "nats"), ("nats.urls", url.as_str()), ("log.retention_bytes", "0")];
    operations_never_meet(Node::start(&[&LIMITED[..], &nats].concat()).await).await;
}

const LIMITED: [(&str, &str); 3] = [
    ("limits.messages_per_minute", "20"),
    ("limits.connections_per_tenant", "3"),
    ("limits.connections_per_user", "2"),
];

/// The same user with the same instance replays, in one tenant after the other, the same operations under the same ids.
async fn operations_never_meet(mut node: Node) {
    let operation = |number: usize, action: &str, data: &Value| {
        json!({"op_id": format!("op-{number}"), "replica_id": "r", "op_number": number, "instance_id": "i", "entity_type": "memory",
            "entity_id": "m1", "action": action, "data": data})
    };
    let conflicted = async |node: &Node, tenant: &str| {
        let made = json!([operation(1, "create", &json!({"of": tenant}))]);
        node.post(&format!("/v1/tenants/{tenant}/operations?user_id=ann"), &made).await.json()
    };
    for tenant in ["alice", "bob"] {
        for (round, duplicate) in [("first", None), ("again", Some(true))] {
            let answer = conflicted(&node, tenant).await;
            let result = &answer["results"][0];
            assert_eq!(result["duplicate"].as_bool().filter(|is| *is), duplicate, "{tenant} {round}: {answer}");
        }
    }
    for round in ["before", "after"] {
        for tenant in ["alice", "bob"] {
            let entity = node.get(&format!("/v1/tenants/{tenant}/entities/memory/m1")).await.json();
            assert_eq!(entity["data"]["of"], tenant, "{round} the restart: {entity}");
            // On NATS the state may be a little older than the log; it says so, and comes.
            let count = until("the state has come so far", async || {
                let snapshot = node.get(&format!("/v1/tenants/{tenant}/snapshot")).await.json();
                (snapshot["position"] != 0).then(|| snapshot["entities"].as_array().map(Vec::len))
            })
            .await;
            assert_eq!(count, Some(1));
        }
        node.restart(Port::New).await;
    }
    // An idempotency key, a publish id and a cursor are the tenant's own.
    for tenant in ["alice", "bob"] {
        let event = json!({"event_type": "note", "event_id": "00000000-0000-4000-8000-000000000001", "instance_id": "i",
            "data": {"of": tenant}});
        let answer = node.post(&format!("/v1/tenants/{tenant}/events"), &event).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        assert_eq!(node.post(&format!("/v1/tenants/{tenant}/events"), &event).await.status, 200);
    }
    // What one has spent of its limits, the other has not.
    let query = |tenant: &str, instance: &str| format!("tenant_id={tenant}&instance_id={instance}&user_id=ann");
    let mut one = Client::connect(&node, &query("alice", "i")).await;
    loop {
        one.send(json!({"event_type": "note", "data": {"of": "alice"}})).await;
        let answer = one.find(|message| ["ack", "error"].iter().any(|kind| message["event_type"] == *kind)).await;
        if answer["event_type"] == "error" {
            assert_eq!(answer["data"]["code"], "rate_limited");
            break;
        }
    }
    let _second = Client::connect(&node, &query("alice", "j")).await;
    let mut third = Client::open(&node, &query("alice", "k")).await;
    assert_eq!(third.expect("error").await["data"]["code"], "limit_reached");
    let mut other = Client::connect(&node, &query("bob", "i")).await;
    for _ in 0..10 {
        other.publish("note", json!({"of": "bob"})).await;
    }
    // A page of one tenant's is none of another's.
    for number in 2..5 {
        for tenant in ["alice", "bob"] {
            let put = json!({"of": tenant});
            let answer = node.put_memory(tenant, number, &put).await;
            assert_eq!(answer, 201, "{tenant}");
        }
    }
    let first = node.get("/v1/tenants/alice/snapshot?limit=2").await.json();
    let page = first["next"].as_str();
    let page = page.unwrap_or_else(|| panic!("there is more: {first}"));
    let stolen = node.get(&format!("/v1/tenants/bob/snapshot?limit=10&page={page}")).await;
    assert!(!stolen.text().contains("alice"), "{}", stolen.text());
    stolen.problem(400, "invalid_parameter");
}

#[tokio::test]
async fn a_page_of_one_tenants_conflicts_is_none_of_anothers() {
    let node = Node::start(&[]).await;
    for tenant in ["alice", "bob"] {
        let operations = format!("/v1/tenants/{tenant}/operations");
        let make = |n: usize| {
            json!({"instance_id": "i", "op_id": format!("make-{n}"), "entity_type": "memory", "entity_id": format!("m{n:03}"),
                "action": "create", "data": {"of": tenant}})
        };
        let made = node.post(&operations, &(0..60).map(make).collect()).await;
        assert_eq!(made.status, 201, "{}", made.text());
        let first = node.get(&format!("/v1/tenants/{tenant}/entities/memory/m000")).await.json();
        let change = |n: usize| {
            json!({"instance_id": format!("i-{n}"), "op_id": format!("change-{n}"), "entity_type": "memory", "entity_id": "m000",
                "action": "update", "base_version": first["version"], "strategy": "manual", "patch": {"of": format!("{tenant} {n}")}})
        };
        for n in 0..2 {
            node.post(&operations, &change(n)).await;
        }
    }
    let first = node.get("/v1/tenants/alice/conflicts?limit=1").await.json();
    assert_eq!(first["conflicts"].as_array().map(Vec::len), Some(1), "{first}");
    let next = first["next"].as_str().unwrap_or_else(|| panic!("there is more to look through: {first}"));
    node.get(&format!("/v1/tenants/bob/conflicts?page={next}")).await.problem(400, "invalid_parameter");
    assert_eq!(node.get(&format!("/v1/tenants/alice/conflicts?page={next}")).await.status, 200);
}

#[tokio::test]
async fn the_same_instance_of_two_tenants_goes_on_at_two_places() {
    kept_places_never_meet(Node::start(&KEPT).await).await;
}

#[tokio::test]
async fn the_same_instance_of_two_tenants_goes_on_at_two_places_on_nats() {
    let server = NatsServer::start().await;
    let url = server.url();
    let nats = [("backbone.kind", "nats"), ("nats.urls", url.as_str()), ("log.retention_bytes", "0")];
    kept_places_never_meet(Node::start(&[&KEPT[..], &nats].concat()).await).await;
}

const KEPT: [(&str, &str); 1] = [("rooms.cursor_flush", "10ms")];

/// An instance that has read everything in one tenant, and next to nothing in another that began before.
async fn kept_places_never_meet(mut node: Node) {
    for (tenant, read) in [("bob", 1), ("alice", 3)] {
        // Nothing but what it says moves its place.
        let mut reader = RawClient::connect(&node, &format!("tenant_id={tenant}&instance_id=desk")).await;
        reader.expect("caught_up").await;
        let mut writer = node.join(tenant, "writer").await;
        let mut seqs = Vec::new();
        for n in 0..3 {
            seqs.push(writer.publish("note", json!({"of": tenant, "n": n})).await["seq"].clone());
        }
        reader.send_json(&json!({"event_type": "ack", "data": {"seq": seqs[read - 1]}})).await;
        reader.send_json(&json!({"event_type": "sync_request"})).await;
        reader.expect("sync_response").await;
    }
    node.terminate().await;
    node.restart(Port::New).await;
    for (tenant, missed) in [("bob", 2), ("alice", 0)] {
        let mut reader = node.join(tenant, "desk").await;
        let records = reader.catch_up().await;
        assert_eq!(records.len(), missed, "{tenant}: {records:?}");
        all_of(tenant, reader.seen());
    }
}

impl Node {
    async fn put_memory(&self, tenant: &str, number: usize, data: &Value) -> u16 {
        let target = format!("/v1/tenants/{tenant}/entities/memory/m{number}?instance_id=i");
        let headers = [("Content-Type", "application/json")];
        crate::support::http::send(self.address(), "PUT", &target, &headers, data.to_string().as_bytes()).await.status
    }
}

/// Everything in these messages is this tenant's.
fn all_of(tenant: &str, messages: &[Value]) {
    let other = if tenant == "alice" { "bob" } else { "alice" };
    for message in messages {
        assert_eq!(message["tenant_id"], tenant, "{message}");
        assert!(!message.to_string().contains(other), "{tenant}: {message}");
    }
}
