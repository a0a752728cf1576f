//! A node as a pod has it: a process on a volume that outlives it, at another address each time.

use std::{
    fs::{self, File},
    net::SocketAddr,
    path::PathBuf,
    process::{ExitStatus, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::{Child, Command};

use super::{Plan, report::Memory};
use crate::nats_support::until;

/// Dropped, its process is killed.
pub struct Pod {
    index: usize,
    volume: TempDir,
    environment: Option<String>,
    arguments: Vec<String>,
    running: Option<(Child, SocketAddr)>,
}

impl Pod {
    /// A pod with an empty volume.
    pub fn new(index: usize, plan: &Plan, urls: &str) -> Self {
        let volume = TempDir::new().expect("a temporary directory can be made");
        let data = volume.path().join("data");
        let mut arguments = vec!["serve".to_owned(), "--data-dir".to_owned(), data.display().to_string()];
        if let Some((text, _)) = &plan.config {
            let file = volume.path().join("continuum.toml");
            fs::write(&file, text).expect("a file of ours");
            arguments.extend(["--config".to_owned(), file.display().to_string()]);
        }
        // What a pod has that a process beside others on loopback has not.
        let here = [
            ("server.host", "127.0.0.1"),
            ("server.port", "0"),
            ("backbone.kind", "nats"),
            ("nats.urls", urls),
            ("nats.tls", "false"),
            ("nats.tls_ca", ""),
            ("nats.credentials", ""),
            ("auth.mode", "none"),
            ("auth.admin_key", ""),
            ("log.retention_bytes", "0"),
            ("logging.format", "json"),
        ];
        let settings = here.into_iter().chain(plan.settings.iter().map(|(key, value)| (*key, value.as_str())));
        arguments.extend(settings.flat_map(|(key, value)| ["--set".to_owned(), format!("{key}={value}")]));
        let environment = plan.config.as_ref().map(|(_, environment)| environment.clone());
        Self { index, volume, environment, arguments, running: None }
    }

    /// Starts this build, and waits until it listens.
    pub async fn start(&mut self, program: &PathBuf) {
        let mut command = Command::new(program);
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("CONTINUUM_")) {
            command.env_remove(name);
        }
        if let Some(environment) = &self.environment {
            command.env("CONTINUUM_ENV", environment);
        }
        let log = File::create(self.log()).expect("a file of ours");
        command.args(&self.arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).kill_on_drop(true);
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{}: {error}", program.display()));
        let name = self.name();
        let address = until("a node says where it listens", async || {
            let text = fs::read_to_string(self.log()).expect("a file of ours");
            let ended = child.try_wait().expect("a child of ours can be waited for");
            assert!(ended.is_none(), "{name} ended at once:\n{text}");
            text.lines().find_map(listens)
        });
        let address = address.await;
        self.running = Some((child, address));
    }

    /// `continuum-2`.
    pub fn name(&self) -> String {
        format!("continuum-{}", self.index)
    }

    /// Its number, from 0.
    pub fn index(&self) -> usize {
        self.index
    }

    /// Where it listens now.
    pub fn address(&self) -> SocketAddr {
        self.running.as_ref().expect("it was started").1
    }

    /// Whether it does.
    pub fn is_running(&mut self) -> bool {
        let (child, _) = self.running.as_mut().expect("it was started");
        matches!(child.try_wait(), Ok(None))
    }

    /// SIGTERM.
    pub fn ask_to_stop(&self) {
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw).expect("a process id");
        kill_process(pid, Signal::TERM).expect("a process of ours takes signals");
    }

    /// Waits until it is gone.
    pub async fn ended(&mut self) -> ExitStatus {
        let (child, _) = self.running.as_mut().expect("it was started");
        child.wait().await.expect("a child of ours can be waited for")
    }

    /// The program that really runs.
    pub fn program(&self) -> PathBuf {
        fs::read_link(format!("/proc/{}/exe", self.pid())).expect("a process of ours shows its program")
    }

    /// What it takes.
    pub fn memory(&self) -> Memory {
        let status =
            fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("a process of ours shows its status");
        let kilobytes = |name: &str| -> u64 {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).expect(name);
            line.split_whitespace().next().and_then(|number| number.parse().ok()).expect(name)
        };
        Memory { now: kilobytes("VmRSS:") * 1024, most: kilobytes("VmHWM:") * 1024 }
    }

    /// The end of its log.
    pub fn last_words(&self) -> String {
        let text = fs::read_to_string(self.log()).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }

    fn log(&self) -> PathBuf {
        self.volume.path().join("log")
    }

    fn pid(&self) -> u32 {
        self.running.as_ref().and_then(|(child, _)| child.id()).expect("it runs")
    }
}

fn listens(line: &str) -> Option<SocketAddr> {
    let line: Value = serde_json::from_str(line).ok()?;
    (line["message"] == "ready").then(|| line["address"].as_str()?.parse().ok())?
}
