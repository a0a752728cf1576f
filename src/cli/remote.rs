//! A node's HTTP side, for commands that administer it.

use std::{
    io::Read,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;

use crate::auth::agent;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// The same of what is large.
const LONG: Duration = Duration::from_secs(24 * 3600);

/// Where the node is, and what proves who asks.
#[derive(Debug, clap::Args)]
pub struct Remote {
    /// The node
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8420")]
    url: String,
    /// A file with the token or API key of an administrator; - reads it from standard input
    #[arg(long, value_name = "FILE")]
    token_file: PathBuf,
}

impl Remote {
    /// Asks for something.
    ///
    /// # Errors
    ///
    /// What the node says against it, or why it cannot be reached.
    pub fn get(&self, path: &str) -> anyhow::Result<Value> {
        let token = self.token()?;
        self.read(agent(PATIENCE).get(format!("{}{path}", self.url)).header("Authorization", token).call())
    }

    /// Sends something.
    ///
    /// # Errors
    ///
    /// As [`Remote::get`].
    pub fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        let request = agent(PATIENCE).post(format!("{}{path}", self.url)).header("Authorization", self.token()?);
        self.read(request.header("Content-Type", "application/json").send(body.to_string()))
    }

    /// Takes something away.
    ///
    /// # Errors
    ///
    /// As [`Remote::get`].
    pub fn delete(&self, path: &str) -> anyhow::Result<Value> {
        self.read(agent(PATIENCE).delete(format!("{}{path}", self.url)).header("Authorization", self.token()?).call())
    }

    /// Asks for what may be large and take long, as it comes.
    ///
    /// # Errors
    ///
    /// As [`Remote::get`].
    pub fn download(&self, path: &str) -> anyhow::Result<impl Read + use<>> {
        let request = agent(LONG).get(format!("{}{path}", self.url)).header("Authorization", self.token()?);
        let answer = request.call().with_context(|| format!("cannot reach {}", self.url))?;
        if !answer.status().is_success() {
            self.read(Ok(answer))?;
            bail!("the node did not answer with what was asked for");
        }
        Ok(answer.into_body().into_with_config().limit(u64::MAX).reader())
    }

    /// Sends what may be large and take long.
    ///
    /// # Errors
    ///
    /// As [`Remote::get`].
    pub fn upload(&self, path: &str, from: &mut impl Read) -> anyhow::Result<Value> {
        let request = agent(LONG).post(format!("{}{path}", self.url)).header("Authorization", self.token()?);
        let request = request.header("Content-Type", "application/x-ndjson");
        self.read(request.send(ureq::SendBody::from_reader(from)))
    }

    fn token(&self) -> anyhow::Result<String> {
        Ok(format!("Bearer {}", token_in(&self.token_file)?))
    }

    fn read(&self, answer: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> anyhow::Result<Value> {
        let mut answer = answer.with_context(|| format!("cannot reach {}", self.url))?;
        let text = answer.body_mut().read_to_string().with_context(|| format!("{} broke off", self.url))?;
        let body: Value = serde_json::from_str(&text).unwrap_or_default();
        if answer.status().is_success() {
            return Ok(body);
        }
        let word = |name: &str| body[name].as_str().unwrap_or("?").to_owned();
        bail!("the node refused ({} {}): {}", answer.status().as_u16(), word("code"), word("detail"))
    }
}

/// What a file holds, or standard input.
///
/// # Errors
///
/// It cannot be read, or holds nothing.
pub fn token_in(file: &Path) -> anyhow::Result<String> {
    let text =
        if file.as_os_str() == "-" { std::io::read_to_string(std::io::stdin()) } else { std::fs::read_to_string(file) };
    let text = text.with_context(|| format!("cannot read {}", file.display()))?;
    ensure!(!text.trim().is_empty(), "{} holds no token", file.display());
    Ok(text.trim().to_owned())
}

/// An option's value that is JSON.
///
/// # Errors
///
/// In words.
pub fn json(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|error| format!("not JSON: {error}"))
}
