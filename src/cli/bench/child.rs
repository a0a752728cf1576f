//! The reference server as a child process: its own processor time, its own memory.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};

use anyhow::Context;

use crate::client::BaseUrl;

/// A running reference; ends with this value.
#[derive(Debug)]
pub struct Reference {
    child: Child,
    /// Where it listens.
    pub url: BaseUrl,
}

impl Reference {
    /// Starts this same program as a reference server on a free port.
    pub fn start() -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("cannot find this program's own file")?;
        let mut child = Command::new(program)
            .args(["bench", "reference-server", "--until-input-ends"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start the reference server")?;
        let output = child.stdout.take().context("the reference server has no output")?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        let url = line
            .trim()
            .strip_prefix("listening on ")
            .and_then(|address| format!("ws://{address}").parse().ok())
            .context("the reference server did not say where it listens")?;
        Ok(Self { child, url })
    }
}

impl Drop for Reference {
    fn drop(&mut self) {
        // It may have ended by itself; either way there is nothing left to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
