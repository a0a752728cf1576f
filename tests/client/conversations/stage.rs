//! The stage: the process that is the other side of a conversation.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use continuum::{auth::agent, client::ClientOptions};
use serde::Deserialize;
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    time::timeout,
};

use super::{Mode, vectors};

const PATIENCE: Duration = Duration::from_secs(60);

/// Its first line.
#[derive(Deserialize)]
struct Said {
    tenant: String,
    clients: std::collections::HashMap<String, String>,
    control: String,
}

pub struct Stage {
    said: Said,
    process: Child,
    agent: ureq::Agent,
}

impl Stage {
    /// Starts it; a real node has to speak as in a recording, the one that is kept if none is named.
    pub async fn start(vector: &Path, mode: Mode, like: Option<&Path>) -> Result<Self, String> {
        let kept: PathBuf = vectors().join("recorded").join(vector.file_name().expect("a file"));
        let mut command = Command::new(vectors().join("stage"));
        command.arg("--vector").arg(vector);
        match mode {
            Mode::Recorded => command.args(["--mode", "recorded"]),
            Mode::Real => {
                // What is on the wire now must have the form of what is kept, or takes its place.
                let is_recording = like.is_none() && std::env::var_os("RECORD_VECTORS").is_some();
                let to = if is_recording { "--record" } else { "--like" };
                let recording = like.unwrap_or(&kept);
                command.args(["--mode", "real", "--continuum", env!("CARGO_BIN_EXE_continuum"), to]).arg(recording)
            }
        };
        let mut process = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(false)
            .spawn()
            .map_err(|error| format!("the stage does not start: {error}"))?;
        let mut lines = BufReader::new(process.stdout.take().expect("piped")).lines();
        let line = timeout(PATIENCE, lines.next_line()).await;
        let line = line.ok().and_then(Result::ok).flatten().ok_or("the stage does not start")?;
        let said = serde_json::from_str(&line).map_err(|error| format!("{error}: {line}"))?;
        Ok(Self { said, process, agent: agent(PATIENCE) })
    }

    /// What the client of this name connects with.
    pub fn options(&self, client: &str) -> ClientOptions {
        let url = self.said.clients[client].parse().expect("a URL");
        ClientOptions::new(url, self.said.tenant.parse().expect("a tenant"), client.parse().expect("an instance"))
    }

    /// A step begins: the stage does its part of it.
    pub async fn step(&self, number: usize) -> Result<(), String> {
        let (status, answer) = self.post(format!("/step/{number}")).await;
        if status == 200 { Ok(()) } else { Err(answer["wrong"].to_string()) }
    }

    /// The verdict.
    pub async fn end(mut self) -> Result<(), String> {
        let (_, answer) = self.post("/end".to_owned()).await;
        let ended = timeout(PATIENCE, self.process.wait()).await;
        match answer["ok"].as_bool() {
            Some(true) if ended.is_ok() => Ok(()),
            Some(true) => Err("the stage does not end".to_owned()),
            _ => Err(answer["wrong"].to_string()),
        }
    }

    async fn post(&self, path: String) -> (u16, Value) {
        let (agent, url) = (self.agent.clone(), format!("{}{path}", self.said.control));
        let asked = tokio::task::spawn_blocking(move || {
            let mut answer = agent.post(url).send_empty().map_err(|error| error.to_string())?;
            let text = answer.body_mut().read_to_string().map_err(|error| error.to_string())?;
            Ok::<_, String>((answer.status().as_u16(), serde_json::from_str(&text).unwrap_or_default()))
        });
        let answered = asked.await.expect("it does not panic");
        answered.unwrap_or_else(|error| (0, serde_json::json!({"wrong": [error]})))
    }
}
