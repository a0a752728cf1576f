//! Users: who is announced to whom on `/ws`, in the roster, across nodes, and how many they are.

use serde_json::{Value, json};

use crate::{
    cluster_presence::nodes,
    nats_support::{NatsServer, until},
    support::{Client, Node},
};

async fn typed(node: &Node, query: &str) -> Client {
    Client::typed(node.address(), &format!("tenant_id=t&{query}")).await
}

/// What a client of `/ws` was told of users since it joined.
fn told(client: &Client) -> Vec<String> {
    let word = |message: &Value| {
        let data = &message["data"];
        let name = |field: &str| data[field].as_str().unwrap_or_default().to_owned();
        match message["type"].as_str()? {
            "tenant.user_joined" => Some(format!("+{}", name("user_name"))),
            "tenant.user_left" => Some(format!("-{}", name("user_name"))),
            "user.presence" => Some(format!("{} {}", name("userName"), name("status"))),
            _ => None,
        }
    };
    client.seen().iter().filter_map(word).collect()
}

#[tokio::test]
async fn users_are_announced_in_the_words_of_each_seed() {
    let node = Node::start(&[]).await;
    let mut gitmind = typed(&node, "instance_id=g&user_id=gus&user_name=Gus").await;
    let mut memo = typed(&node, "instance_id=m&user_id=mia&user_name=Mia").await;
    let (mut memories, mut old) = (typed(&node, "instance_id=q").await, node.join("t", "o").await);
    memo.send(json!({"type": "subscribe", "data": {"channels": ["tenant.updates"]}})).await;
    memories.send(json!({"type": "subscribe", "data": {"channels": ["memories"]}})).await;
    for client in [&mut memo, &mut memories] {
        client.expect("subscribed").await;
    }
    let jane = typed(&node, "instance_id=phone&user_id=u1&user_name=Jane%20Smith").await;
    let connection = jane.ready()["data"]["session_id"].clone();
    let joined = memo.expect("tenant.user_joined").await;
    let named =
        json!({"user_id": "u1", "user_name": "Jane Smith", "connection_id": connection, "instance_id": "phone"});
    assert_eq!(joined["data"], named, "{joined}");
    assert!(joined["timestamp"].is_string(), "{joined}");
    let present = gitmind.find(|message| message["data"]["userId"] == "u1").await;
    let status = json!({"userId": "u1", "userName": "Jane Smith", "instance_id": "phone", "status": "joined"});
    assert_eq!((&present["type"], &present["data"]), (&json!("user.presence"), &status), "{present}");
    assert_eq!((&present["userId"], &present["instance_id"]), (&json!("u1"), &json!("phone")));
    assert!(present["timestamp"].is_u64() && present["id"].is_string(), "{present}");
    let joined = old.expect("instance_joined").await;
    let expected = (&json!("u1"), &json!("Jane Smith"), &connection);
    let data = &joined["data"];
    assert_eq!((&data["user_id"], &data["user_name"], &data["connection_id"]), expected, "{joined}");
    jane.close().await;
    assert_eq!(memo.expect("tenant.user_left").await["data"], named);
    gitmind
        .find(|message| {
            message["data"]
                == json!({"userId": "u1", "userName": "Jane Smith", "instance_id": "phone", "status": "left"})
        })
        .await;
    let left = old.expect("instance_left").await;
    assert_eq!(
        left["data"],
        json!({"instance_id": "phone", "reason": "closed", "user_id": "u1", "user_name": "Jane Smith"})
    );
    memories.settle().await;
    assert!(told(&memories).iter().all(|word| !word.contains("Jane")), "{:?}", told(&memories));
    // Whoever names no user is its instance.
    let nobody = node.join("t", "robot").await;
    let joined = memo.expect("tenant.user_joined").await;
    assert_eq!((&joined["data"]["user_id"], &joined["data"]["user_name"]), (&json!("robot"), &json!("robot")));
    nobody.close().await;
    let left = old.expect("instance_left").await;
    assert_eq!(left["data"], json!({"instance_id": "robot", "reason": "closed"}));
}

#[tokio::test]
async fn a_filter_over_types_holds_for_users_as_well() {
    let node = Node::start(&[]).await;
    let mut quiet = typed(&node, "instance_id=a&types=note").await;
    let mut watcher = typed(&node, "instance_id=b&types=user.presence").await;
    typed(&node, "instance_id=c&user_id=cleo").await.close().await;
    watcher.find(|message| message["data"]["status"] == "left").await;
    quiet.settle().await;
    assert_eq!(told(&quiet), [] as [String; 0]);
    assert_eq!(told(&watcher), ["cleo joined", "cleo left"]);
}

#[tokio::test]
async fn the_greeting_and_the_roster_show_users() {
    let node = Node::start(&[]).await;
    let ann = typed(&node, "instance_id=a&user_id=ann&user_name=Ann").await;
    let bob = typed(&node, "instance_id=b").await;
    let listed = &bob.ready()["data"]["instances"][0];
    assert_eq!((&listed["user_id"], &listed["user_name"]), (&json!("ann"), &json!("Ann")), "{listed}");
    assert_eq!(listed["connection_id"], ann.ready()["data"]["session_id"]);
    let roster = node.get("/v1/tenants/t/instances").await.json();
    assert_eq!(roster["instances"][0], *listed);
    assert!(roster["instances"][1].get("user_id").is_none(), "{roster}");
}

async fn status(node: &Node, query: &str) -> Value {
    let answer = node.get(&format!("/api/v4/ws/status{query}")).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

fn counts(user: usize, tenant: usize, total: usize) -> Value {
    json!({"user_connections": user, "tenant_connections": tenant, "total_connections": total, "websocket_url": "/ws"})
}

#[tokio::test]
async fn the_status_counts_a_users_a_tenants_and_all_connections() {
    let node = Node::start(&[]).await;
    assert_eq!(status(&node, "").await, counts(0, 0, 0));
    let mut open = vec![Client::typed(node.address(), "token=x").await, Client::typed(node.address(), "token=x").await];
    assert_eq!(status(&node, "").await, counts(2, 2, 2), "who names nobody is counted with the others who do not");
    for instance in ["phone", "desk", "bot"] {
        let user = if instance == "bot" { "" } else { "ann" };
        open.push(typed(&node, &format!("instance_id={instance}&user_id={user}")).await);
    }
    assert_eq!(status(&node, "?tenant_id=t&user_id=ann").await, counts(2, 3, 5));
    assert_eq!(status(&node, "?tenant_id=t").await, counts(1, 3, 5));
    assert_eq!(status(&node, "?tenant_id=other&user_id=ann").await, counts(0, 0, 5));
    node.get("/api/v4/ws/status?tenant_id=a%20b").await.problem(400, "invalid_tenant");
}

#[tokio::test]
async fn the_metrics_have_the_names_that_the_seeds_dashboards_know() {
    let node = Node::start(&[]).await;
    let mut ann = typed(&node, "instance_id=a").await;
    let mut bob = typed(&node, "instance_id=b").await;
    ann.expect("user.presence").await;
    bob.catch_up().await;
    assert_eq!(node.metric("puomemo_websocket_connections").await, 2.0);
    let sent = node.metric("puomemo_websocket_messages_sent_total").await;
    // session_ready and caught_up for each, and one word about bob.
    assert_eq!(sent, 5.0);
    let received = node.metric("puomemo_websocket_messages_received_total").await;
    ann.send(json!({"id": "1", "type": "note", "data": {}})).await;
    ann.expect("ack").await;
    bob.expect("note").await;
    bob.send(json!({"type": "typing", "data": {}})).await;
    ann.expect("typing").await;
    assert_eq!(node.metric("puomemo_websocket_messages_received_total").await - received, 2.0);
    // The ack, the record, the signal.
    assert_eq!(node.metric("puomemo_websocket_messages_sent_total").await - sent, 3.0);
    for ours in ["continuum_received_total", "continuum_sent_total"] {
        assert!(node.metric(ours).await > 0.0, "{ours}");
    }
}

#[tokio::test]
async fn users_come_and_go_on_every_node() {
    let server = NatsServer::start().await;
    let [a, b, idle] = nodes(&server, &[]).await;
    let mut gitmind = typed(&a, "instance_id=g&user_id=gus").await;
    let mut memo = typed(&b, "instance_id=m&user_id=mia").await;
    gitmind.find(|message| message["data"]["userId"] == "mia").await;
    memo.send(json!({"type": "subscribe", "data": {"channels": ["tenant.updates"]}})).await;
    memo.expect("subscribed").await;
    let jane = typed(&a, "instance_id=phone&user_id=u1&user_name=Jane").await;
    let connection = jane.ready()["data"]["session_id"].clone();
    let joined = memo.expect("tenant.user_joined").await;
    let named = json!({"user_id": "u1", "user_name": "Jane", "connection_id": connection, "instance_id": "phone"});
    assert_eq!(joined["data"], named);
    for node in [&a, &b, &idle] {
        until("a node counts all", async || {
            (status(node, "?tenant_id=t&user_id=u1").await == counts(1, 3, 3)).then_some(())
        })
        .await;
        let roster = node.get("/v1/tenants/t/instances").await.json();
        let listed = &roster["instances"][2];
        assert_eq!((&listed["user_id"], &listed["connection_id"]), (&json!("u1"), &connection), "{roster}");
    }
    // A second node's greeting shows her as well.
    let late = typed(&b, "instance_id=z").await;
    let listed = late.ready()["data"]["instances"].as_array().expect("a list").clone();
    assert!(listed.iter().any(|item| item["user_name"] == "Jane"), "{listed:?}");
    jane.close().await;
    assert_eq!(memo.expect("tenant.user_left").await["data"], named);
    gitmind.find(|message| message["data"]["status"] == "left").await;
    assert_eq!(told(&gitmind), ["mia joined", "Jane joined", "z joined", "Jane left"]);
}
