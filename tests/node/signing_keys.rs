//! Who may register a key for whom: only whose it is, and who administers the tenant, by whatever path.

use continuum::client::SigningKey;
use serde_json::{Value, json};

use crate::support::{Client, Issuer, Node, http, new_id};

const OWN: &str = "/v1/tenants/acme/entities/signing_key/user:ada";

fn keys() -> Value {
    json!({"keys": [SigningKey::generate().expect("random numbers").public_jwk()]})
}

fn token(issuer: &Issuer, name: &str, user: &str) -> String {
    let grant = json!({"publish": ["*"], "subscribe": ["*"], "read": ["*"], "change": ["*"]});
    issuer.token(json!({"instance": name, "sub": user, "grant": grant}))
}

/// Everything that could change ada's keys, as a message of both sockets.
fn attacks(entity_id: &str) -> Vec<Value> {
    let base = |action: &str| json!({"entity_type": "signing_key", "entity_id": entity_id, "action": action, "op_id": new_id()});
    let with = |action: &str, name: &str, value: Value| {
        let mut operation = base(action);
        operation[name] = value;
        operation
    };
    let mut settled = with("resolve", "choice", json!("proposed"));
    settled["conflict_id"] = json!(new_id());
    let operations = [
        with("create", "data", keys()),
        with("put", "data", keys()),
        with("update", "patch", keys()),
        base("delete"),
        base("restore"),
        settled.clone(),
    ];
    let message = |kind: &str, data: Value| json!({"type": kind, "event_type": kind, "id": new_id(), "event_id": new_id(), "data": data});
    let mut messages: Vec<_> = operations.iter().map(|operation| message("sync_event", operation.clone())).collect();
    messages.push(message("conflict.resolve", settled));
    for atomic in [false, true] {
        let operations: Vec<_> = operations.iter().take(3).cloned().collect();
        messages.push(message("batch.update", json!({"atomic": atomic, "operations": operations})));
    }
    messages
}

async fn denied_on(client: &mut Client, entity_id: &str) {
    for attack in attacks(entity_id) {
        let count = attack["data"]["operations"].as_array().map_or(1, Vec::len);
        client.send(attack.clone()).await;
        for _ in 0..count {
            let answer = client.find(|said| said["data"]["code"].is_string()).await;
            assert_eq!(answer["data"]["code"], "forbidden", "{attack}\n{answer}");
        }
    }
}

#[tokio::test]
async fn nobody_registers_a_key_for_somebody_else_by_any_path() {
    let issuer = Issuer::new();
    let node = issuer.node(&[]).await;
    let (ada, mallory) = (token(&issuer, "ada-1", "ada"), token(&issuer, "mallory-1", "mallory"));
    let registered = keys();
    assert_eq!(node.ask(&ada, "PUT", OWN, &registered).await.status, 201);
    let mut sync = Client::connect_to(node.address(), &format!("token={mallory}")).await;
    denied_on(&mut sync, "user:ada").await;
    sync.close().await;
    let mut typed = Client::typed(node.address(), &format!("token={mallory}")).await;
    for id in ["user:ada", "instance:mallory-1", "mallory", "user:mallory "] {
        denied_on(&mut typed, id).await;
    }
    // Over HTTP, alone, in a list, together.
    for (method, target, body) in [
        ("PUT", OWN.to_owned(), keys()),
        ("PATCH", OWN.to_owned(), keys()),
        ("DELETE", OWN.to_owned(), Value::Null),
        ("POST", format!("{OWN}/conflicts/{}", new_id()), json!({"choice": "proposed"})),
    ] {
        let refused = node.ask(&mallory, method, &target, &body).await;
        refused.problem(403, "forbidden");
    }
    let operation = json!({"instance_id": "mallory-1", "entity_type": "signing_key", "entity_id": "user:ada", "action": "put", "data": keys()});
    for atomic in ["", "?atomic=1"] {
        let target = format!("/v1/tenants/acme/operations{atomic}");
        node.ask(&mallory, "POST", &target, &operation).await.problem(403, "forbidden");
        let list = node.ask(&mallory, "POST", &target, &json!([operation])).await.json();
        assert_eq!(list["results"][0]["code"], "forbidden", "{list}");
    }
    let stands = node.get_as(&mallory, OWN).await.json();
    assert_eq!((&stands["data"], &stands["version"]), (&registered, &json!(1)), "everybody may read them: {stands}");
    // Its owner on another instance may, and who administers the tenant.
    let elsewhere = token(&issuer, "ada-2", "ada");
    assert_eq!(node.ask(&elsewhere, "PUT", OWN, &keys()).await.status, 200);
    let grant = json!({"change": ["*"], "admin": "tenant"});
    let (_, admin) = node.api_key(json!({"tenant": "acme", "user": "root", "grant": grant})).await;
    let (_, of_another) = node.api_key(json!({"tenant": "evil", "user": "root", "grant": grant})).await;
    node.ask(&of_another, "PUT", OWN, &keys()).await.problem(403, "identity_mismatch");
    assert_eq!(node.ask(&admin, "PUT", OWN, &keys()).await.status, 200);
    assert_eq!(node.ask(&admin, "DELETE", OWN, &Value::Null).await.status, 200);
    node.ask(&mallory, "PUT", OWN, &keys()).await.problem(403, "forbidden");
    let restored =
        json!({"instance_id": "ada-1", "entity_type": "signing_key", "entity_id": "user:ada", "action": "restore"});
    assert_eq!(node.ask(&ada, "POST", "/v1/tenants/acme/operations", &restored).await.status, 201);
}

#[tokio::test]
async fn without_tokens_everybody_is_who_they_say_and_nobody_else() {
    let node = Node::start(&[]).await;
    let mut bob = Client::connect(&node, "tenant_id=acme&instance_id=bob-1&user_id=bob").await;
    denied_on(&mut bob, "user:ada").await;
    denied_on(&mut bob, "instance:bob-1").await;
    let mut nobody = Client::typed(node.address(), "tenant_id=acme&instance_id=ada").await;
    denied_on(&mut nobody, "user:ada").await;
    let own = json!({"type": "sync_event", "id": new_id(), "data":
        {"entity_type": "signing_key", "entity_id": "instance:ada", "action": "create", "data": keys()}});
    assert_eq!(nobody.ask(own).await["success"], true);
}

#[tokio::test]
async fn what_is_registered_is_a_set_of_public_keys_and_never_private() {
    let node = Node::start(&[]).await;
    let headers = [("Content-Type", "application/json")];
    let target = format!("{OWN}?user_id=ada");
    let private = json!({"keys": [SigningKey::generate().expect("random numbers").to_jwk()]});
    let mut hidden = keys();
    hidden["visibility"] = "private".into();
    for content in [json!({}), json!({"keys": []}), private, hidden, json!({"$sealed": {}})] {
        for method in ["PUT", "PATCH"] {
            let refused = http::send(node.address(), method, &target, &headers, content.to_string().as_bytes()).await;
            refused.problem(400, "invalid_operation");
        }
    }
    let good = http::send(node.address(), "PUT", &target, &headers, keys().to_string().as_bytes()).await;
    assert_eq!(good.status, 201, "{}", good.text());
    // Neither by a part.
    let patch = json!([{"op": "add", "path": "/visibility", "value": "private"}]).to_string();
    let headers = [("Content-Type", "application/json-patch+json")];
    http::send(node.address(), "PATCH", &target, &headers, patch.as_bytes()).await.problem(400, "invalid_operation");
    let headers = [("Content-Type", "application/merge-patch+json")];
    let patch = br#"{"visibility":"private"}"#;
    http::send(node.address(), "PATCH", &target, &headers, patch).await.problem(400, "invalid_operation");
    assert_eq!(node.get(OWN).await.status, 200);
}
