//! What somebody with a line into NATS could put there: records that are another tenant's, damaged ones, words of nodes that no
//! node said. Whoever may write to a node's streams can write good records as well, API keys and revocations included: that
//! is what NATS' own permissions are for, and nothing here.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    nats_support::{Admin, NatsServer},
    support::{Client, Issuer, Node, new_id},
};

const DROPPED: &str = "continuum_dropped_total";

async fn start(issuer: &Issuer) -> (NatsServer, Node) {
    let server = NatsServer::start().await;
    let url = server.url();
    let nats = [("backbone.kind", "nats"), ("nats.urls", url.as_str()), ("log.retention_bytes", "0")];
    let node = issuer.node(&[&nats[..], &[("logging.level", "debug,async_nats=off")]].concat()).await;
    (server, node)
}

async fn put(client: &mut Client, id: &str, data: Value) -> Value {
    let event = json!({"entity_type": "memory", "entity_id": id, "action": "put", "data": data});
    client.ask(json!({"type": "sync_event", "id": new_id(), "data": event})).await
}

async fn stored(admin: &Admin, subject: &str) -> bytes::Bytes {
    let found = admin.direct_get("SYNC_LOG_0", json!({"last_by_subj": subject})).await.expect("it is stored");
    found.into_iter().next().expect("one").body
}

#[tokio::test]
async fn a_record_that_is_another_tenants_or_damaged_reaches_nobody_on_any_path() {
    let issuer = Issuer::new();
    let (server, node) = start(&issuer).await;
    let token = |tenant: &str, user: &str| issuer.token(json!({"tenant": tenant, "sub": user}));
    let typed = async |tenant: &str, instance: &str| {
        let query = format!("token={}&instance_id={instance}", token(tenant, instance));
        Client::typed(node.address(), &query).await
    };
    let mut victim = typed("team-1", "victim").await;
    let made = put(&mut victim, "m1", json!({"text": "planted"})).await;
    assert_eq!(made["data"]["entity_id"], "m1", "{made}");
    victim.send(json!({"type": "note", "id": "n", "data": {"text": "planted"}})).await;
    victim.expect("ack").await;
    let (mut reader, mut writer) = (typed("acme", "reader").await, typed("acme", "writer").await);
    put(&mut writer, "m2", json!({"text": "own"})).await;
    let admin = Admin::connect(&server.url()).await;
    let entity = stored(&admin, "sync.log.0.team-1.entity.memory.m1").await;
    let event = stored(&admin, "sync.log.0.team-1.event.note").await;
    assert!(
        String::from_utf8_lossy(&entity).contains("planted") && String::from_utf8_lossy(&event).contains("planted")
    );
    let own = stored(&admin, "sync.log.0.acme.entity.memory.m2").await;
    writer.send(json!({"type": "note", "id": "n", "data": {"text": "own"}})).await;
    writer.expect("ack").await;
    let own_note = stored(&admin, "sync.log.0.acme.event.note").await;
    let deep = format!("{{\"planted\":{}", "[".repeat(100_000));
    let odd =
        json!({"tenant_id": "acme", "event_type": ["planted"], "event_id": "planted", "data": "planted"}).to_string();
    let forged = [
        ("entity.memory.m1", entity.clone()),
        ("entity.memory.m3", own.clone()),
        ("entity.memory.m4", own.slice(..own.len() / 2)),
        ("entity.memory.m5", entity.slice(..entity.len() - 1)),
        ("event.note", event.clone()),
        ("event.other", event.slice(1..)),
        // Under another type it would be told to whom may not hear of it.
        ("event.other", own_note),
        ("event.note", entity),
        ("event.note", bytes::Bytes::new()),
        ("event.note", bytes::Bytes::from_static(b"\xff\xfe planted")),
        ("event.note", deep.into()),
        ("event.note", odd.into()),
        ("event.note", format!("\"{}\"", "planted ".repeat(100_000)).into()),
    ];
    let count = forged.len() as f64;
    for (rest, body) in forged {
        admin.put(&format!("sync.log.0.acme.{rest}"), body).await;
    }
    node.until_metric(DROPPED, |dropped| dropped >= count).await;
    // What is good goes on, live and for those who come later, on another node too.
    let own = put(&mut writer, "m6", json!({"text": "own"})).await;
    assert_eq!(own["data"]["entity_id"], "m6", "{own}");
    reader.find(|message| message["data"]["memory"]["id"] == "m6").await;
    reader.settle().await;
    let url = server.url();
    let nats = [("backbone.kind", "nats"), ("nats.urls", url.as_str()), ("log.retention_bytes", "0")];
    let second = issuer.node(&nats).await;
    let clean =
        |what: &str, text: &str| assert!(!text.contains("planted") && !text.contains("team-1"), "{what}: {text}");
    for node in [&node, &second] {
        let query = format!("token={}&instance_id=late&since=earliest", token("acme", "late"));
        let mut late = Client::typed(node.address(), &query).await;
        late.expect("caught_up").await;
        late.send(json!({"type": "graph.sync", "id": "s", "data": {}})).await;
        late.find(|message| message["type"] == "graph.sync" && message["data"]["done"] == true).await;
        clean("a session", &Value::from(late.seen().to_vec()).to_string());
        let records = late.records().len();
        assert!(records >= 2, "what is good is there: {records}");
        late.close().await;
        let reads = token("acme", "late");
        for rest in ["events?limit=100", "snapshot", "conflicts", "stats"] {
            let answer = node.get_as(&reads, &format!("/v1/tenants/acme/{rest}")).await;
            clean(rest, &answer.text());
        }
        for id in ["m1", "m3", "m4", "m5"] {
            for more in ["", "/versions", "/conflicts"] {
                let answer = node.get_as(&reads, &format!("/v1/tenants/acme/entities/memory/{id}{more}")).await;
                assert_ne!(answer.status, 200, "{id}{more}: {}", answer.text());
                clean(id, &answer.text());
            }
        }
        let log = node.log().join("\n");
        assert!(!log.contains("planted"), "{log}");
    }
    clean("a member", &Value::from(reader.seen().to_vec()).to_string());
    for id in ["m1", "m3", "m4"] {
        let answer = put(&mut writer, id, json!({"text": "mine"})).await;
        clean(id, &answer.to_string());
    }
    let theirs = node.get_as(&token("team-1", "victim"), "/v1/tenants/team-1/entities/memory/m1").await;
    assert_eq!(theirs.json()["data"]["text"], "planted", "{}", theirs.text());
}

#[tokio::test]
async fn words_that_no_node_said_change_nothing_that_lasts_and_pass_for_nothing_but_signals() {
    let issuer = Issuer::new();
    let (server, node) = start(&issuer).await;
    let open = async |instance: &str, grant: Value| {
        let token = issuer.token(json!({"instance": instance, "grant": grant}));
        Client::typed(node.address(), &format!("token={token}")).await
    };
    let all = json!({"publish": ["*"], "subscribe": ["*"], "read": ["*"], "change": ["*"]});
    let (mut reader, mut writer) = (open("reader", all.clone()).await, open("writer", all).await);
    let mut narrow = open("narrow", json!({"publish": [], "subscribe": ["note"], "read": [], "change": []})).await;
    let admin = Admin::connect(&server.url()).await;
    let word = |kind: &str, rest: Value| {
        let mut all = json!({"v": 1, "node": Uuid::new_v4(), "inc": 1, "kind": kind});
        all.as_object_mut().expect("an object").extend(rest.as_object().cloned().expect("an object"));
        all.to_string()
    };
    let signals = |types: &[&str]| {
        let one =
            |kind: &&str| json!({"type": kind, "instance": "writer", "user": "ada", "at": 0, "data": {"planted": 1}});
        word("signals", json!({"signals": types.iter().map(one).collect::<Vec<_>>()}))
    };
    let gone = |name: &str, n: u64| word("left", json!({"room": 1, "n": n, "instance": name, "reason": "closed"}));
    let mut said: Vec<Vec<u8>> = vec![
        Vec::new(),
        b"\xff\xfe planted".to_vec(),
        "[".repeat(400_000).into_bytes(),
        vec![b'{'; 600 * 1024],
        word("signals", json!({"signals": "planted"})).into_bytes(),
        word("signals", json!({"v": 2, "signals": []})).into_bytes(),
        word("planted", json!({})).into_bytes(),
        word("present", json!({"room": 1, "n": 1, "members": [{"instance": "a\u{7}b", "generation": 1, "since": 0}]}))
            .into_bytes(),
        word("waits", json!({"entities": [["planted", "x".repeat(10_000)]]})).into_bytes(),
        gone("reader", 2).into_bytes(),
        gone("writer", 3).into_bytes(),
    ];
    let others = ["session_ready", "error", "resync", "caught_up", "draining", "memory.created", "note", "auth", "ack"];
    said.push(signals(&others).into_bytes());
    said.push(signals(&["a b"]).into_bytes());
    for body in &said {
        admin.client().publish("sync.nodes", body.clone().into()).await.expect("sent");
        admin.client().publish("sync.signal.acme", body.clone().into()).await.expect("sent");
    }
    // The last one is well said: a node cannot know it from another node's.
    admin.client().publish("sync.signal.acme", signals(&["signal.fence"]).into()).await.expect("sent");
    let fence = reader.expect("signal.fence").await;
    assert_eq!(fence["data"]["planted"], 1, "{fence}");
    // Everybody is still here and everything still works.
    writer.send(json!({"type": "note", "id": "n", "data": {}})).await;
    writer.expect("ack").await;
    narrow.expect("note").await;
    reader.expect("note").await;
    for client in [&mut reader, &mut writer] {
        client.settle().await;
        let planted: Vec<_> = client.seen().iter().filter(|message| message.to_string().contains("planted")).collect();
        assert!(planted.iter().all(|message| message["type"] == "signal.fence"), "{planted:?}");
    }
    assert!(!Value::from(narrow.seen().to_vec()).to_string().contains("planted"));
    let token = issuer.token(json!({"sub": "ada"}));
    let here = node.get_as(&token, "/v1/tenants/acme/instances").await.json();
    assert_eq!(here["instances_total"], 3, "{here}");
    let history = node.get_as(&token, "/v1/tenants/acme/events").await.text();
    assert!(!history.contains("planted"), "{history}");
}
