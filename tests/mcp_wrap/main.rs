//! The wrapper around another MCP server: a real process behind it, a client's pipes before it, and a node, or none, beside it.

#[path = "../node/support/mod.rs"]
mod support;

mod ends;
mod passing;
mod room;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use continuum::{
    auth::agent,
    client::{BaseUrl, ClientOptions},
    mcp::wrap::{self, Config, Ended, Room, WrapError},
    replica::{Options, Replica},
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, DuplexStream, Lines},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use crate::support::{DEADLINE, until, within};

/// Longer than any test.
pub const FOR_EVER: Duration = Duration::from_secs(3_600);
/// For what is given up in the end.
pub const SHORT: Duration = Duration::from_millis(300);
/// Nobody listens there.
pub const NOWHERE: &str = "127.0.0.1:1";

/// A replica of the tenant's room.
pub async fn replica(address: &str, instance: &str, dir: &Path) -> Arc<Replica> {
    let url: BaseUrl = format!("ws://{address}").parse().expect("a URL");
    let client = ClientOptions::new(url, "t".parse().expect("a tenant"), instance.parse().expect("an instance"));
    let options = Options::new(client, agent(Duration::from_secs(10)), dir.to_owned());
    Arc::new(Replica::open(options).await.expect("it opens"))
}

/// A wrapped server with its client.
pub struct Wrapped {
    /// What it has of the room.
    pub replica: Arc<Replica>,
    /// Tells it to stop.
    pub stop: CancellationToken,
    input: Option<DuplexStream>,
    output: Lines<BufReader<DuplexStream>>,
    run: JoinHandle<Result<Ended, WrapError>>,
    dir: TempDir,
}

/// The server of these tests.
pub fn server(log: &Path, manner: &str) -> Config {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mcp_wrap/server.py");
    let mut config = Config::new("python3".into(), vec![script.into(), log.into(), manner.into()]);
    // One that ends by itself has the time for it; for the others it is as good short.
    config.grace = if manner == "polite" { DEADLINE } else { SHORT };
    config
}

impl Wrapped {
    /// Wraps the server beside a room in which we are `a`. Unless a test says otherwise, nothing waits for that.
    pub async fn start(address: &str, manner: &str, change: impl FnOnce(&mut Config)) -> Self {
        let dir = TempDir::new().expect("a directory");
        let replica = replica(address, "a", &dir.path().join("replica")).await;
        let room = Room::new(replica.clone(), "a".parse().expect("an instance")).await.expect("it can be read");
        let mut config = server(&dir.path().join("log"), manner);
        (config.before, config.after) = (Duration::ZERO, Duration::ZERO);
        change(&mut config);
        let (input, their_input) = tokio::io::duplex(64 << 10);
        let (their_output, output) = tokio::io::duplex(64 << 10);
        let stop = CancellationToken::new();
        let run = tokio::spawn(wrap::run(config, room, their_input, their_output, stop.clone()));
        Self { replica, stop, input: Some(input), output: BufReader::new(output).lines(), run, dir }
    }

    /// Says a line, as it is.
    pub async fn say(&mut self, line: &str) {
        let input = self.input.as_mut().expect("not closed");
        within("a line is taken", input.write_all(format!("{line}\n").as_bytes())).await.expect("taken");
    }

    /// Calls a tool.
    pub async fn call(&mut self, id: u64, tool: &str, arguments: Value) {
        let params = json!({"name": tool, "arguments": arguments});
        self.say(&json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params}).to_string()).await;
    }

    /// Calls a tool that says this line.
    pub async fn call_raw(&mut self, id: u64, line: &str) {
        self.call(id, "raw", json!({"raw": line})).await;
    }

    /// Asks for something that is answered at once, and sees that this is what comes next.
    pub async fn ping(&mut self, id: u64) {
        self.say(&json!({"jsonrpc": "2.0", "id": id, "method": "ping"}).to_string()).await;
        assert_eq!(self.hear_json().await, json!({"jsonrpc": "2.0", "id": id, "result": {"method": "ping"}}));
    }

    /// The next line.
    pub async fn hear(&mut self) -> String {
        let line = within("there is a line", self.output.next_line()).await.expect("it can be read");
        line.unwrap_or_else(|| panic!("there is no more; the server heard {}", self.heard()))
    }

    /// The next line, as JSON.
    pub async fn hear_json(&mut self) -> Value {
        serde_json::from_str(&self.hear().await).expect("JSON")
    }

    /// The next line, which has to be an answer with our text behind its contents; gives that.
    pub async fn hear_notice(&mut self) -> String {
        let answer = self.hear_json().await;
        let last = answer["result"]["content"].as_array().and_then(|list| list.last());
        let text = last.and_then(|last| last["text"].as_str()).unwrap_or_default().to_owned();
        assert!(text.starts_with("[continuum] "), "{answer}");
        text
    }

    /// Where the server keeps what it hears.
    pub fn log(&self) -> PathBuf {
        self.dir.path().join("log")
    }

    /// What it heard.
    pub fn heard(&self) -> String {
        fs::read_to_string(self.log()).unwrap_or_default()
    }

    /// Waits until it heard something.
    pub async fn until_heard(&self, text: &str) {
        until("the server hears it", async || self.heard().contains(text).then_some(())).await;
    }

    /// Closes the client's end.
    pub fn close(&mut self) {
        self.input = None;
    }

    /// Waits for the end, and gives what was said until then.
    pub async fn end(mut self) -> (Result<Ended, WrapError>, Vec<String>) {
        let mut rest = Vec::new();
        while let Some(line) = within("it ends", self.output.next_line()).await.expect("it can be read") {
            rest.push(line);
        }
        let ended = within("it ends", self.run).await.expect("no panic");
        // So whoever opened it can close it, and what is left be sent.
        Arc::into_inner(self.replica).expect("nothing is left that has it");
        (ended, rest)
    }
}
