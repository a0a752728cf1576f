//! A client of the Model Context Protocol over standard input and output, in both forms of the protocol. It speaks the protocol
//! itself, line by line: nothing of the library that the server uses is in it.

use std::{
    net::SocketAddr,
    path::Path,
    process::{ExitStatus, Stdio},
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
};

use crate::nats_support::within;

/// Which form of the protocol a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// 2025-11-25: with a handshake; the server sends requests of its own.
    Handshake,
    /// 2026-07-28: every request stands alone.
    Alone,
}

/// What a person would choose if asked; `None`: this client cannot ask.
pub type Person = Option<&'static str>;

/// A client and the server that it started.
pub struct Client {
    child: Child,
    to: Option<ChildStdin>,
    from: Lines<BufReader<ChildStdout>>,
    form: Form,
    person: Person,
    last: u64,
    /// Notices that came meanwhile.
    pub notices: Vec<Value>,
    /// Questions that were asked.
    pub asked: Vec<Value>,
}

/// The arguments of a tool, about a task.
pub fn task(id: &str, mut more: Value) -> Value {
    more["level"] = "task".into();
    more["context_id"] = id.into();
    more
}

/// The arguments of an update of it.
pub fn update(id: &str, data: Value) -> Value {
    task(id, json!({"action": "update", "data": data}))
}

/// The command of a server that waits as long as it takes.
pub fn command(address: SocketAddr, instance: &str, dir: &Path) -> Command {
    let mut command = hasty(address, instance, dir);
    command.args(["--pull-wait", "50s", "--push-wait", "50s"]);
    command
}

/// The command of a server.
pub fn hasty(address: SocketAddr, instance: &str, dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_continuum"));
    command.args(["mcp", "--url", &format!("ws://{address}"), "--tenant", "t", "--instance", instance]);
    command.arg("--dir").arg(dir).env_remove("CONTINUUM_URL").kill_on_drop(true);
    command
}

impl Client {
    /// Starts a server and opens it.
    pub async fn start(mut command: Command, form: Form, person: Person) -> Self {
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the binary can be started");
        let to = child.stdin.take();
        let from = BufReader::new(child.stdout.take().expect("stdout is piped")).lines();
        let mut client = Self { child, to, from, form, person, last: 0, notices: Vec::new(), asked: Vec::new() };
        match form {
            Form::Handshake => {
                let params = json!({
                    "protocolVersion": "2025-11-25", "capabilities": client.capabilities(),
                    "clientInfo": {"name": "test", "version": "1"}
                });
                let opened = client.request("initialize", params).await;
                assert_eq!(opened["result"]["protocolVersion"], "2025-11-25", "{opened}");
                client.send(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"})).await;
            }
            Form::Alone => {
                let found = client.request("server/discover", json!({})).await;
                let versions = found["result"]["supportedVersions"].as_array().cloned().unwrap_or_default();
                assert!(versions.contains(&"2026-07-28".into()), "{found}");
            }
        }
        client
    }

    fn capabilities(&self) -> Value {
        if self.person.is_some() { json!({"elicitation": {"form": {}}}) } else { json!({}) }
    }

    /// Sends a line.
    pub async fn send(&mut self, message: &Value) {
        let to = self.to.as_mut().expect("the input is open");
        to.write_all(format!("{message}\n").as_bytes()).await.expect("the server reads");
        to.flush().await.expect("the server reads");
    }

    /// Sends a request; its id.
    pub async fn begin(&mut self, method: &str, mut params: Value) -> u64 {
        if self.form == Form::Alone {
            params["_meta"] = json!({
                "io.modelcontextprotocol/protocolVersion": "2026-07-28",
                "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
                "io.modelcontextprotocol/clientCapabilities": self.capabilities(),
            });
        }
        self.last += 1;
        let id = self.last;
        self.send(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params})).await;
        id
    }

    /// The next message.
    pub async fn next(&mut self) -> Value {
        let line = within("the server says something", self.from.next_line()).await;
        let line = line.expect("the server can be read").expect("the server goes on");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
    }

    /// Waits for an answer; questions of the server are answered as the person would.
    pub async fn answer(&mut self, id: u64) -> Value {
        loop {
            let message = self.next().await;
            match (&message["id"], &message["method"]) {
                (_, Value::String(method)) if method == "elicitation/create" => {
                    self.asked.push(message["params"].clone());
                    let said = self.said();
                    self.send(&json!({"jsonrpc": "2.0", "id": message["id"], "result": said})).await;
                }
                (Value::Null, Value::String(_)) => self.notices.push(message),
                (known, Value::Null) if *known == id => return message,
                _ => panic!("nobody asked for {message}"),
            }
        }
    }

    fn said(&self) -> Value {
        let choice = self.person.expect("only who can ask is asked");
        json!({"action": "accept", "content": {"choice": choice}})
    }

    /// A request and its answer.
    pub async fn request(&mut self, method: &str, params: Value) -> Value {
        let id = self.begin(method, params).await;
        self.answer(id).await
    }

    /// Calls a tool; what it tells.
    pub async fn call(&mut self, tool: &str, arguments: Value) -> Value {
        let mut answer = self.request("tools/call", json!({"name": tool, "arguments": arguments})).await;
        while answer["result"]["resultType"] == "input_required" {
            assert_eq!(self.form, Form::Alone);
            let asked = answer["result"]["inputRequests"].as_object().expect("questions").clone();
            let said = asked.iter().map(|(name, _)| (name.clone(), self.said())).collect::<serde_json::Map<_, _>>();
            self.asked.extend(asked.into_iter().map(|(_, question)| question["params"].clone()));
            let again = json!({
                "name": tool, "arguments": arguments, "inputResponses": said,
                "requestState": answer["result"]["requestState"]
            });
            answer = self.request("tools/call", again).await;
        }
        let result = &answer["result"];
        assert!(result.is_object(), "{answer}");
        // Whoever reads only text reads the same.
        if !result["structuredContent"].is_null() {
            let text = result["content"][0]["text"].as_str().expect("a text");
            assert_eq!(serde_json::from_str::<Value>(text).expect("JSON"), result["structuredContent"]);
        }
        let mut told = result["structuredContent"].clone();
        if told.is_null() {
            told = json!({"text": result["content"][0]["text"]});
        }
        told["isError"] = result["isError"].clone();
        told
    }

    /// Ends the input, and waits until the server has ended.
    pub async fn close(mut self) -> ExitStatus {
        drop(self.to.take());
        within("the server ends", self.child.wait()).await.expect("it can be waited for")
    }

    /// SIGKILL, at once.
    pub async fn kill(mut self) {
        self.child.kill().await.expect("it can be killed");
    }
}
